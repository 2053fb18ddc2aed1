"""When the daemon stops guarding, and when it guards again."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.events import DaemonStatus, Event, Status
from riskd.testing import make_event
from trader.model.guard_watch import ConnectionChange, GuardChange, GuardWatch

GONE = ConnectionChange(connected=False, reason="lost")
BACK = ConnectionChange(connected=True, reason="connected")


def status(name: str, message: str = "A sentence") -> DaemonStatus:
    data: Any = make_event("daemon_status", {"status": name, "message": message}).data
    assert isinstance(data, DaemonStatus)
    return data


ERROR, RUNNING, STOPPING = map(status, ("ERROR", "RUNNING", "STOPPING"))


class GuardWatchTests(SynchronousTestCase):
    """Which changes are reported."""

    def setUp(self) -> None:
        self.begin(from_start=False)

    def begin(self, *, from_start: bool) -> None:
        self.changes: list[GuardChange] = []
        self.watch = GuardWatch(self.changes.append, from_start=from_start)

    def connect(self, daemon: DaemonStatus | None = RUNNING) -> None:
        self.watch.connection(daemon, is_connected=True, reason="connected")

    def lose(self) -> None:
        self.watch.connection(RUNNING, is_connected=False, reason="lost")

    def test_a_loss_is_reported_once_and_so_is_the_return(self) -> None:
        self.connect()
        self.assertEqual(self.changes, [])
        for _ in range(3):
            self.lose()
        self.connect()
        self.assertEqual(self.changes, [GONE, BACK])

    def test_an_error_is_reported_and_the_end_of_it(self) -> None:
        self.connect()
        for each in (RUNNING, ERROR, RUNNING, RUNNING):
            self.watch.status(each)
        self.assertEqual(self.changes, [Event(None, ERROR), Event(None, RUNNING)])

    def test_an_error_that_comes_again_between_others_is_reported_once(self) -> None:
        graver = status("ERROR", "Graver")
        self.connect()
        for each in (ERROR, graver, ERROR, graver):
            self.watch.status(each)
        self.assertEqual(self.changes, [Event(None, ERROR), Event(None, graver)])

    def test_a_daemon_that_stops_is_reported_when_it_is_gone(self) -> None:
        self.connect()
        self.watch.status(STOPPING)
        self.assertEqual(self.changes, [])
        self.lose()
        self.assertEqual(self.changes, [GONE])

    def test_an_error_that_the_return_finds_is_reported(self) -> None:
        self.connect()
        self.lose()
        self.connect(ERROR)
        self.assertEqual(self.changes, [GONE, BACK, Event(None, ERROR)])

    def test_an_error_that_ended_during_the_loss_has_an_end(self) -> None:
        self.connect()
        self.watch.status(ERROR)
        self.lose()
        self.watch.status(RUNNING)  # Published by a daemon that is not connected.
        self.connect(RUNNING)
        self.assertEqual(self.changes, [Event(None, ERROR), GONE, BACK, Event(None, RUNNING)])

    def test_what_the_trader_sees_at_the_start_is_no_news(self) -> None:
        self.lose()
        self.connect(ERROR)
        self.assertEqual(self.changes, [])
        self.watch.status(RUNNING)
        self.assertEqual(self.changes, [Event(None, RUNNING)])

    def test_without_a_screen_it_is(self) -> None:
        self.begin(from_start=True)
        self.lose()
        self.connect(ERROR)
        self.assertEqual(self.changes, [GONE, BACK, Event(None, ERROR)])

    def test_an_unknown_status_says_nothing(self) -> None:
        self.connect(None)
        self.watch.status(None)
        self.assertEqual(self.changes, [])

    @given(st.lists(st.sampled_from(["connect", "lose", "ERROR", "RUNNING", "STOPPING"])))
    def test_each_loss_and_each_error_has_one_end(self, course: list[str]) -> None:
        """What was reported last says whether the daemon is gone, and whether it has an error."""
        self.begin(from_start=True)
        is_connected, daemon, has_error = None, None, False
        for act in course:
            if act in ("connect", "lose"):
                is_connected = act == "connect"
                self.watch.connection(daemon, is_connected=is_connected, reason=act)
            elif is_connected:
                daemon = status(act)
                self.watch.status(daemon)
                # Until it runs again, one that stops has what it had.
                has_error = act == "ERROR" or (has_error and act == "STOPPING")
        connections = [each for each in self.changes if isinstance(each, ConnectionChange)]
        statuses = [
            each.data.status
            for each in self.changes
            if isinstance(each, Event) and isinstance(each.data, DaemonStatus)
        ]
        expected = bool(connections) and not connections[-1].connected
        self.assertEqual(is_connected is False, expected)
        for one, next_one in pairwise(connections):
            self.assertNotEqual(one.connected, next_one.connected)
        self.assertEqual(has_error, bool(statuses) and statuses[-1] is Status.ERROR)
        for one, next_one in pairwise(statuses):
            self.assertNotEqual(one, next_one)
