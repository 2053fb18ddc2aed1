"""An account as a row: its figures, and what it may do in words."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from riskd.model.account import Limit
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly
from riskd.testing import make_event
from tests.support.accounts import FLOOR, LIMITS, MNQ, AllAccountsTestCase, account, running
from tests.support.console import BEGIN, at
from trader.model.account_row import Standing
from trader.model.formatting import clock
from trader.model.session import Session
from trader.model.standing_words import standing_words
from trader.model.view import View

HELD = (
    running(),
    make_event(
        "GatewayUserPosition",
        {"contractId": MNQ, "size": 3, "averagePrice": 21000, "updatedAt": at(-8)},
    ),
    make_event(
        "MarketQuote",
        {"contractId": MNQ, "bid": 21010, "ask": 21010, "last": 21010, "timestamp": at(-1)},
    ),
)
STAGE = Limit(
    "reduce_only", '{"since": "2025-01-17T14:44:50Z", "reasons": {"RULE-014": "near the floor"}}'
)


def traded(pnl: int) -> tuple[object, ...]:
    trade = {"id": 1, "profitAndLoss": pnl, "executionTime": at(-9)}
    return (running(), make_event("GatewayUserTrade", trade))


class RowTestCase(AllAccountsTestCase):
    """The row of account 1."""

    is_dry_run = False

    def view_of(self, session: Session) -> View:
        return session.view(self.retry_in, is_dry_run=self.is_dry_run)

    def publish(self, *events: object, connected: bool = True, **fields: object) -> None:
        """Publish the account after ``events``, and connect."""
        self.copy.publish(account(1, *events, **fields))  # type: ignore[arg-type]
        if connected:
            self.connect()
        else:
            self.accounts.take_turn()

    @property
    def words(self) -> str:
        """What the account may do."""
        return standing_words(self.row(1), self.now)

    def check_words(self, expected: str, why: str = "") -> None:
        """Check what the account may do, and why."""
        self.assertEqual((self.words, self.row(1).why), (expected, why))


class FigureTests(RowTestCase):
    """What is known is shown, and what is not is no zero."""

    def test_the_figures_of_an_account_that_holds(self) -> None:
        self.publish(*HELD, limits=FLOOR)
        row = self.row(1)
        self.assertEqual((row.contracts, row.open_pnl, row.net_pnl), (3, 60, 60))
        assert row.floor is not None
        self.assertEqual(row.floor.headroom, 2060)

    def test_a_flat_account_has_zeros(self) -> None:
        self.publish(running())
        row = self.row(1)
        self.assertEqual((row.contracts, row.open_pnl, row.net_pnl), (0, 0, 0))

    def test_without_broker_data_nothing_is_known(self) -> None:
        self.publish()
        row = self.row(1)
        self.assertEqual((row.contracts, row.open_pnl, row.net_pnl), (None, None, None))
        self.assertEqual(row.why, "no broker data yet")

    def test_without_a_balance_the_fees_and_so_the_net_pnl_are_unknown(self) -> None:
        self.publish(*traded(-100), balance=None)
        row = self.row(1)
        self.assertEqual((row.contracts, row.open_pnl, row.net_pnl), (0, 0, None))

    def test_an_old_quote_leaves_the_pnl_unknown(self) -> None:
        self.publish(*HELD)
        self.wait(40)
        for _ in range(5):
            self.accounts.take_turn()
        row = self.row(1)
        self.assertEqual((row.contracts, row.open_pnl, row.net_pnl), (3, None, None))

    def test_without_the_file_the_day_is_unknown(self) -> None:
        self.publish(*HELD)
        self.lose()
        self.copy.fail()
        self.connect()
        self.receive("GatewayUserTrade", 1, profitAndLoss=-45.50)
        row = self.row(1)
        self.assertEqual((row.contracts, row.open_pnl, row.net_pnl), (None, None, None))
        self.check_words("-", row.why)
        self.assertIn("No last known state", row.why)

    def test_the_nearest_limit_and_its_share(self) -> None:
        self.publish(*traded(-400))
        row = self.row(1)
        assert row.nearest is not None
        self.assertEqual((row.nearest.name, row.share), ("realized loss", Decimal("0.8")))


class StandingTests(RowTestCase):
    """What the account may do."""

    def test_free(self) -> None:
        self.publish(*traded(-100))
        self.check_words("free")

    def test_near(self) -> None:
        self.publish(*traded(-400))
        self.check_words("NEAR", "realized loss $400.00 of $500.00")

    def test_reduce_only(self) -> None:
        self.publish(*traded(-400), limits={**LIMITS, REDUCE_ONLY: STAGE})
        self.check_words("REDUCE ONLY", "near the floor")

    def test_reduce_only_until_a_time(self) -> None:
        stage = ReduceOnly(since=BEGIN, reasons={"RULE-003": "a large loss"})
        day = Limit("daily_reset", '{"reset_time": "17:00:00", "time_zone": "UTC"}')
        self.publish(*traded(-400), limits={**LIMITS, "DAY": day, REDUCE_ONLY: stage.limit})
        end = clock(datetime(2025, 1, 17, 17, tzinfo=UTC))
        self.check_words(f"REDUCE ONLY until {end[:5]}", f"a large loss; until {end}")
        row = self.row(1)
        self.assertEqual(standing_words(row, self.now, 18), f"REDUCE ONLY {end[:5]}")
        self.assertEqual(standing_words(row, self.now, 11), "REDUCE ONLY")
        self.lose()
        self.assertEqual(self.words, "was REDUCE ONLY")

    def test_reduce_only_up_to_an_equity(self) -> None:
        settings = '{"drawdown": 2000, "starting_balance": 50000, "reduce_only_at": 80}'
        floor = {"RULE-014": Limit("maximum_loss", settings)}
        limits = {**floor, REDUCE_ONLY: STAGE}
        self.publish(*traded(-1700), limits=limits, balance="48300")
        self.check_words(
            "REDUCE ONLY below $48,560.00", "near the floor; until equity above $48,560.00"
        )
        self.assertEqual(standing_words(self.row(1), self.now, 18), "REDUCE ONLY")

    def test_a_cooldown_counts_down(self) -> None:
        self.publish(running())
        lock = {"rule_id": "RULE-007", "reason": "a loss of $120", "locked_until": at(252)}
        self.receive("lockout_set", 1, **lock)
        self.check_words("COOLDOWN 4:12", "a loss of $120")
        self.wait(60)
        self.check_words("COOLDOWN 3:12", "a loss of $120")

    def test_a_lock_until_a_time(self) -> None:
        self.publish(running())
        until = "2025-01-17T17:00:00Z"
        self.receive("lockout_set", 1, reason="Daily loss", locked_until=until)
        local = msgspec.convert(until, type(self.now)).astimezone().strftime("%H:%M")
        self.check_words(f"LOCKED until {local}", "Daily loss")

    def test_where_room_is_short_the_time_goes_before_until(self) -> None:
        """An end without the word looks like the beginning."""
        self.publish(running())
        self.receive("lockout_set", 1, locked_until="2025-01-17T17:00:15Z")
        row = self.row(1)
        local = msgspec.convert("2025-01-17T17:01:00Z", type(self.now)).astimezone()
        words = standing_words(row, self.now, 18)
        self.assertEqual(words, f"LOCKED until {local:%H:%M}")

    def test_a_free_account_with_an_unknown_limit_says_so(self) -> None:
        self.publish(*HELD, limits={"RULE-004": Limit("daily_unrealized_loss", "{}")})
        self.wait(60)
        for _ in range(5):
            self.accounts.take_turn()
        self.assertEqual(self.words, "free, part unknown")
        self.assertIn("no quote for", self.row(1).why)

    def test_a_lock_until_another_day_names_it(self) -> None:
        self.publish(running())
        self.receive("lockout_set", 1, locked_until="2025-01-20T12:00:00Z")
        self.assertIn("LOCKED until Mon 20 Jan ", self.words)

    def test_a_lock_that_only_an_operator_ends(self) -> None:
        self.publish(running())
        self.receive("lockout_set", 1, locked_until=None)
        self.assertEqual(self.words, "LOCKED until unlocked")

    def test_a_lock_whose_time_is_up(self) -> None:
        self.publish(running())
        self.receive("lockout_set", 1, locked_until=at(5))
        self.wait(6)
        self.assertEqual(self.words, "LOCKED, time is up")

    def test_a_daemon_with_an_error_guards_nothing(self) -> None:
        self.publish(
            running(status="ERROR", message="the broker refuses the login"), *traded(0)[1:]
        )
        self.check_words("NOT GUARDED", "the broker refuses the login")
        self.receive("lockout_set", 1, reason="Daily loss", locked_until=None)
        self.check_words("NOT GUARDED, LOCKED until unlocked", "Daily loss")

    def test_nor_does_one_that_is_stopping(self) -> None:
        self.publish(running())
        self.receive("daemon_status", None, status="STOPPING", message="Going down")
        self.check_words("NOT GUARDED", "the daemon is stopping")

    def test_nor_a_dry_run(self) -> None:
        self.is_dry_run = True
        self.publish(*traded(-400))
        self.check_words("NOT GUARDED", "dry run, riskd enforces nothing")

    def test_nor_a_riskd_without_rules(self) -> None:
        self.publish(running(), limits={})
        self.check_words("NOT GUARDED", "no rule is in force")

    def test_without_a_connection_it_is_what_it_was(self) -> None:
        self.publish(*traded(-100), connected=False)
        self.check_words("was free")
        self.copy.publish(account(1, *traded(-400)), seconds=1)  # type: ignore[arg-type]
        self.accounts.take_turn()
        self.check_words("was NEAR", "realized loss $400.00 of $500.00")

    def test_a_lock_outlasts_the_connection(self) -> None:
        self.publish(running(), make_event("lockout_set", {"locked_until": None}), connected=False)
        self.assertEqual(self.words, "LOCKED until unlocked")
        self.assertIs(self.row(1).standing, Standing.LOCKED)
