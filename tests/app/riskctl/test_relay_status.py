"""``riskctl`` at the state directory of a desk's relay."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout

from riskd.app.riskctl.doctor.daemon import check_relay
from riskd.app.riskctl.main import main
from riskd.journal.daemon_file import DaemonRecord
from riskd.journal.discovery import RunningDaemon
from riskd.journal.gateway_identity import DESK
from riskd.model.account import AccountState
from riskd.model.events import DaemonStatus, Status
from tests.support.journal import NOON, StoreTestCase

RUNNING = DaemonStatus(status=Status.RUNNING, message="ben: In step", timestamp=NOON)
LOST = DaemonStatus(
    status=Status.ERROR,
    message="LINK LOST since Nov 30 12:00:00 UTC: anna (accounts 1, 2); no heartbeat comes",
    timestamp=NOON,
)


class RelayTests(StoreTestCase):
    """What a relay has published, whether it runs or not."""

    def setUp(self) -> None:
        super().setUp()
        statuses = {1: LOST, 2: LOST, 3: RUNNING}
        accounts = [AccountState(account_id=key, daemon=each) for key, each in statuses.items()]
        self.store.write(accounts, DESK, NOON)
        self.store.publish()

    def riskctl(self, *arguments: str) -> tuple[int, str, str]:
        with redirect_stdout(io.StringIO()) as shown, redirect_stderr(io.StringIO()) as said:
            status = main([f"--state={self.directory}", *arguments])
        return status, shown.getvalue(), said.getvalue()

    def test_the_status_has_traders_and_what_is_wrong_once(self) -> None:
        status, shown, _said = self.riskctl("status")
        self.assertEqual(status, 0)
        self.assertIn("the relay does not run", shown)
        self.assertEqual(shown.count("anna "), 3)
        self.assertEqual(shown.count("LINK LOST since"), 1)
        self.assertRegex(shown, r"3 +ben +RUNNING")

    def test_it_is_in_json(self) -> None:
        _status, shown, _said = self.riskctl("status", "--json")
        report = json.loads(shown)
        self.assertEqual((report["gateway"], report["is_running"]), ("desk", False))
        found = [(each["account"], each["trader"], each["status"]) for each in report["accounts"]]
        self.assertEqual(
            found, [(1, "anna", "ERROR"), (2, "anna", "ERROR"), (3, "ben", "RUNNING")]
        )

    def test_no_command_goes_through_it(self) -> None:
        for command in (("lock", "1", "--reason", "x"), ("rules", "1"), ("flatten", "1")):
            status, _shown, said = self.riskctl(*command)
            self.assertEqual(status, 1)
            self.assertIn("of a desk's relay, which only shows", said)

    def test_the_doctor_says_what_it_is(self) -> None:
        record = DaemonRecord(port=8765, instance="x", kind=DESK, pid=7)
        (finding,) = check_relay(RunningDaemon(directory=self.directory, record=record))
        self.assertIn("process 7 on port 8765 is a desk's relay and no riskd", finding.says)
