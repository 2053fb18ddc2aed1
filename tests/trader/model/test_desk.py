"""The accounts of a desk, whose relay has the statuses of several daemons."""

from __future__ import annotations

from riskd.journal.gateway_identity import DESK
from riskd.model.account import AccountState
from riskd.model.desk_status import LINK_LOST
from riskd.testing import make_event
from tests.support.accounts import AllAccountsTestCase, account, running
from tests.support.console import at
from trader.model.account_row import Standing

LOST = f"{LINK_LOST} since Nov 30 12:00:00 UTC: anna (account 1); no heartbeat comes"
LOCK = make_event("lockout_set", {"locked_until": at(600)})


class DeskTests(AllAccountsTestCase):
    """Account 1 is anna's, and account 2 is ben's."""

    def setUp(self) -> None:
        super().setUp()
        self.copy.origin = (DESK, "relay")
        self.publish(account(1, running("anna: In step")), account(2, running("ben: In step")))
        self.connect()

    def publish(self, *accounts: AccountState) -> None:
        self.copy.publish(*accounts, gateway_name=DESK, instance="relay")

    def say(self, message: str, status: str = "ERROR") -> None:
        """Let the relay publish, and then broadcast a status."""
        self.wait(1)
        self.receive("daemon_status", None, status=status, message=message, timestamp=at(0))

    def take_turns(self, seconds: int) -> None:
        """Look at the copy each second."""
        for _ in range(seconds):
            self.wait(1)
            self.accounts.take_turn()

    def lose_link(self, *events: object) -> None:
        wrong = running(LOST, "ERROR")
        self.publish(account(1, *events, wrong), account(2, running("ben: In step")))  # type: ignore[arg-type]
        self.say(LOST)

    def standings(self) -> dict[int, Standing]:
        return {row.account_id: row.standing for row in self.listed().rows}

    def test_a_lost_link_is_that_of_its_accounts_alone(self) -> None:
        self.receive("GatewayUserTrade", 1, executionTime=at(0), timestamp=at(0))
        self.lose_link()
        self.assertEqual(self.standings(), {1: Standing.LINK_LOST, 2: Standing.FREE})
        row = self.row(1)
        self.assertEqual((row.why, row.is_current, row.is_guarded), (LOST, False, True))
        self.assertTrue(self.row(2).is_current)

    def test_a_lock_counts_on(self) -> None:
        self.lose_link(LOCK)
        row = self.row(1)
        self.assertEqual((row.standing, row.is_current), (Standing.LOCKED, False))

    def test_above_the_rows_stands_the_error(self) -> None:
        self.lose_link()
        link = self.listed().link
        assert link.daemon is not None
        assert self.accounts.daemon is not None
        self.assertEqual((link.daemon.message, self.accounts.daemon.message), (LOST, LOST))

    def test_it_ends_with_the_copy(self) -> None:
        self.lose_link()
        self.publish(account(1, running("anna: In step")), account(2, running("ben: In step")))
        self.say("anna: In step", "RUNNING")
        self.assertEqual(self.standings(), {1: Standing.FREE, 2: Standing.FREE})
        self.assertTrue(self.row(1).is_current)

    def test_a_copy_that_comes_late_is_read_all_the_same(self) -> None:
        # On a busy machine the relay publishes much later than it broadcasts.
        self.say(LOST)
        self.take_turns(20)
        self.publish(account(1, running(LOST, "ERROR")), account(2, running("ben: In step")))
        self.take_turns(20)
        self.assertEqual(self.standings(), {1: Standing.LINK_LOST, 2: Standing.FREE})
        self.publish(account(1, running("anna: In step")), account(2, running("ben: In step")))
        self.take_turns(20)
        self.assertEqual(self.standings(), {1: Standing.FREE, 2: Standing.FREE})

    def test_an_error_of_a_daemon_is_that_of_its_accounts_alone(self) -> None:
        wrong = running("ben: No prices", "ERROR")
        self.publish(account(1, running("anna: In step")), account(2, wrong))
        self.say("ben: No prices")
        self.assertEqual(self.standings(), {1: Standing.FREE, 2: Standing.NOT_GUARDED})
        self.assertEqual(self.row(2).why, "ben: No prices")

    def test_each_status_is_in_the_feed_of_all(self) -> None:
        self.lose_link()
        for session in self.accounts.sessions.values():
            self.assertEqual(session.view().feed[-1].text, f"Daemon ERROR: {LOST}")

    def test_a_trader_who_joins_has_a_row(self) -> None:
        self.publish(
            account(1, running("anna: In step")),
            account(2, running("ben: In step")),
            account(3, running("carl: In step")),
        )
        self.say("carl: In step", "RUNNING")
        self.assertEqual(self.standings()[3], Standing.FREE)
