"""A daemon announces itself in its state directory while it serves."""

from __future__ import annotations

import os

from riskd.app.daemon_file import DaemonFileService, daemon_record
from riskd.journal.daemon_file import (
    DAEMON_NAME,
    directory_mark,
    is_running,
    read_daemon,
    remove_daemon,
)
from riskd.journal.ownership import Owner
from tests.support.broker import observed
from tests.support.state_directories import PAPER, StateHomeTestCase


class ServiceTests(StateHomeTestCase):
    """The service that writes the file."""

    def setUp(self) -> None:
        super().setUp()
        self.problems: list[tuple[str, str]] = []
        self.owner = Owner(gateway=PAPER, instance="one", directory=directory_mark(self.home))
        self.service = DaemonFileService(
            self.home,
            lambda: daemon_record(("127.0.0.1", 9000), self.owner, [123, 456]),
            lambda *problem: self.problems.append(problem),
        )

    def test_the_file_is_there_while_the_service_runs(self) -> None:
        self.service.startService()
        record = read_daemon(self.home)
        assert record is not None
        self.assertTrue(is_running(record))
        self.assertEqual(
            (record.port, record.instance, record.kind, record.accounts, record.pid),
            (9000, "one", "practice", (123, 456), os.getpid()),
        )
        self.service.stopService()
        self.assertIsNone(read_daemon(self.home))
        self.assertEqual(self.problems, [])

    def test_the_process_is_the_one_that_serves(self) -> None:
        """twistd forks after the daemon is assembled."""
        self.patch(os, "getpid", lambda: 1)
        self.service.startService()
        record = read_daemon(self.home)
        assert record is not None
        self.assertEqual(record.pid, 1)

    def test_a_file_that_cannot_be_written_is_a_problem_and_no_end(self) -> None:
        (self.home / DAEMON_NAME).mkdir()
        self.service.startService()
        ((source, problem),) = self.problems
        self.assertEqual(source, "daemon.json")
        self.assertIn("only with --state and --url", problem)
        self.service.stopService()

    def test_a_file_that_is_gone_is_no_problem_at_the_stop(self) -> None:
        self.service.startService()
        remove_daemon(self.home)
        events = observed(self)
        self.service.stopService()
        self.assertEqual(events, [])

    def test_the_host_is_one_that_reaches_the_daemon(self) -> None:
        for address, host in (
            ("127.0.0.1", "localhost"),
            ("::1", "localhost"),
            ("127.0.0.2", "127.0.0.2"),
        ):
            record = daemon_record((address, 9000), self.owner, [])
            self.assertEqual(record.url, f"ws://{host}:9000")
