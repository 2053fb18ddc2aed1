"""The link to one riskd, by its heartbeats."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.links import (
    LAG_SECONDS,
    LOST_SECONDS,
    Link,
    LinkState,
    account_words,
    link_words,
)
from riskd.desk.messages import Heartbeat
from riskd.model.desk_status import LINK_LOST
from riskd.model.event_number import Number
from riskd.model.events import Status
from tests.support.desk_clock import NOON, moment

LAST = Number(1, 5)


class LinkTests(SynchronousTestCase):
    """States, and since when they are."""

    def setUp(self) -> None:
        self.link = Link(moment(0))

    def beat(
        self, seconds: float, number: Number = LAST, delivered: int = 5, **fields: object
    ) -> None:
        # What the other machine's clock says is of no importance.
        beat = Heartbeat(
            **{
                "epoch": number.epoch,
                "seq": number.seq,
                "at": datetime(1999, 1, 1, tzinfo=UTC),
                "status": Status.RUNNING,
                **fields,
            }  # type: ignore[arg-type]
        )
        self.link.receive(beat, Number(1, delivered), moment(seconds))

    def state(self, seconds: float, delivered: int = 5) -> LinkState:
        return self.link.look(Number(1, delivered), moment(seconds))

    def words(self, *accounts: int, problem: str = "") -> str:
        return link_words(self.link, "anna", accounts, problem)

    def test_a_link_waits_for_its_first_heartbeat(self) -> None:
        self.assertIs(self.state(LOST_SECONDS - 0.1), LinkState.WAITING)
        self.assertIn("Waiting for the first heartbeat of anna (account 101)", self.words(101))
        self.assertIs(self.state(LOST_SECONDS), LinkState.LOST)
        self.assertEqual(self.link.since, NOON)

    def test_heartbeats_keep_it_live(self) -> None:
        for seconds in range(0, 60, 5):
            self.beat(seconds)
            self.assertIs(self.state(seconds + 4.9), LinkState.LIVE)
        self.assertEqual(self.words(101), "")

    def test_without_heartbeats_it_is_lost_since_the_last_one(self) -> None:
        self.beat(3)
        self.assertIs(self.state(3 + LOST_SECONDS - 0.1), LinkState.LIVE)
        self.assertIs(self.state(3 + LOST_SECONDS), LinkState.LOST)
        self.assertTrue(
            self.words(101, 102).startswith(
                f"{LINK_LOST} since Nov 30 12:00:03 UTC: anna (accounts 101, 102)"
            )
        )
        self.assertIn("no way", self.words(101, problem="no way"))
        # It has been lost since then for as long as it is.
        self.state(100)
        self.assertIn("12:00:03", self.words(101))
        self.beat(100)
        self.assertIs(self.state(100), LinkState.LIVE)

    def test_a_heartbeat_that_was_stored_keeps_it_live_for_as_long_as_it_is_new(self) -> None:
        self.beat(0)
        self.state(30)
        # Sent at 24, and read at 30.
        self.beat(24)
        self.assertIs(self.state(30), LinkState.LIVE)
        self.assertIs(self.state(24 + LOST_SECONDS), LinkState.LOST)
        self.assertEqual(self.link.since, moment(24).at)

    def test_a_daemon_that_is_gone_is_told_apart(self) -> None:
        self.beat(0)
        self.beat(5, status=None)
        self.assertIs(self.state(5.5), LinkState.GONE)
        self.assertIn("DAEMON GONE since Nov 30 12:00:05 UTC", self.words(101))

    def test_it_lags_while_announced_events_are_missing(self) -> None:
        self.beat(0, Number(1, 9))
        self.assertIs(self.state(LAG_SECONDS - 0.1), LinkState.LIVE)
        self.assertIs(self.state(LAG_SECONDS), LinkState.LAGGING)
        self.assertIn("LAGGING since", self.words(101))
        # Further events do not begin the wait anew.
        self.beat(5, Number(1, 12), delivered=8)
        self.assertIs(self.state(5.1, delivered=8), LinkState.LAGGING)
        self.assertIs(self.state(5.2, delivered=9), LinkState.LIVE)

    def test_nothing_is_missing_before_the_first_event(self) -> None:
        self.beat(0, Number(0, 0))
        self.assertIs(self.link.look(None, moment(4.9)), LinkState.LIVE)

    def test_accounts_are_listed_briefly(self) -> None:
        self.assertEqual(account_words([]), "no account yet")
        self.assertEqual(account_words([7]), "account 7")
        self.assertEqual(account_words([1, 2, 3, 4, 5, 6]), "accounts 1, 2, 3, 4 and 2 more")
        for state in LinkState:
            self.link.state = state
            self.assertLess(len(link_words(self.link, "a" * 32, [10**18] * 200, "")), 300)
