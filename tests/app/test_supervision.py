"""What a service manager learns of a daemon: when it is ready, and its sentence."""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.supervision import notify_services
from riskd.engine.service import JOURNAL_SECONDS
from riskd.host.service_manager import CHECK_SECONDS
from tests.support.directories import temporary_directory
from tests.support.practice_daemon import ACCOUNT, PracticeDaemon
from tests.support.recorded_daemon import RecordedDaemon
from tests.support.service_manager import Notice, ReceivedNotices


class SupervisionTests(SynchronousTestCase):
    """A daemon in memory, and the notices that it sends."""

    def setUp(self) -> None:
        self.notices = ReceivedNotices(temporary_directory(self) / "notify")
        self.addCleanup(self.notices.close)

    def supervise(self, clock: Any, engine: Any) -> None:
        with patch.dict(os.environ, NOTIFY_SOCKET=self.notices.variable):
            (service,) = notify_services(clock, engine)
        service.startService()
        self.addCleanup(service.stopService)

    def after(self, daemon: PracticeDaemon, seconds: float = 2 * CHECK_SECONDS) -> Notice:
        """Return what was reported within some seconds, the last of each kind."""
        daemon.clock.pump([0.05] * round(seconds / 0.05))
        return {name: fact for notice in self.notices.all() for name, fact in notice.items()}

    def daemon(self, *, is_slow: bool = False) -> PracticeDaemon:
        """Return a daemon that has just started on what an earlier one has written."""
        daemon = PracticeDaemon()
        self.addCleanup(daemon.close)
        daemon.advance(1)
        daemon.stop()
        daemon.restart(is_slow=is_slow)
        self.supervise(daemon.clock, daemon.engine)
        return daemon

    def test_a_daemon_is_ready_once_its_journal_is_recovered(self) -> None:
        daemon = self.daemon(is_slow=True)
        self.assertEqual(self.after(daemon, 1), {})
        self.assertFalse(daemon.engine.is_recovered)
        daemon.disk.hurry()
        self.assertTrue(daemon.engine.is_recovered)
        sentence = "RUNNING: Daemon started successfully on the PRACTICE gateway"
        self.assertEqual(self.after(daemon), {"READY": "1", "STATUS": sentence})

    def test_a_daemon_that_guards_without_its_journal_is_ready_and_says_what_is_wrong(
        self,
    ) -> None:
        """To wait would let systemd end a daemon that guards the accounts."""
        daemon = self.daemon(is_slow=True)
        self.assertNotIn("READY", self.after(daemon, JOURNAL_SECONDS - 0.5))
        told = self.after(daemon, 1)
        self.assertEqual(
            told, {"READY": "1", "STATUS": "ERROR: The state file cannot be read yet"}
        )
        daemon.disk.hurry()

    def test_the_status_is_the_daemons_latest_sentence(self) -> None:
        daemon = self.daemon()
        self.after(daemon, 1)
        daemon.engine.report_problem("feed", "The feed\nis lost")
        self.assertEqual(self.after(daemon), {"STATUS": "ERROR: The feed is lost"})
        daemon.engine.report_problem("feed", "")
        self.assertIn("RUNNING: Running again", self.after(daemon)["STATUS"])

    def test_a_daemon_that_records_reports_too(self) -> None:
        daemon = RecordedDaemon(f"[[accounts]]\nid = {ACCOUNT}\n", is_open=False)
        self.addCleanup(daemon.clean_up)
        self.addCleanup(daemon.end)
        self.supervise(daemon.clock, daemon.engine)
        daemon.advance(2)
        told = {name: fact for each in self.notices.all() for name, fact in each.items()}
        self.assertEqual(told["READY"], "1")
        self.assertIn("RUNNING: Daemon started", told["STATUS"])

    def test_a_daemon_that_no_service_manager_started_reports_nothing(self) -> None:
        daemon = self.daemon()
        with patch.dict(os.environ):
            os.environ.pop("NOTIFY_SOCKET", None)
            self.assertEqual(notify_services(daemon.clock, daemon.engine), ())
