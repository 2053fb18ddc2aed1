"""RULE-003: the largest loss of a trading day."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, begin_day, without_trade
from riskd.rules.builtin.daily_realized_loss import Action, Settings, check, gauges
from riskd.rules.interface import NOTHING, Flatten, Gauge, Lock, RuleResult
from riskd.rules.settings import LockoutUntil
from tests.support.rules import (
    NOON,
    RESET,
    at,
    flatten_of,
    review,
    settings_of,
    state_after,
    trade,
    trade_trigger,
    with_charges,
    with_memory,
)

TO_RESET = Lock(until=RESET)


def after_trades(*amounts: str) -> AccountState:
    return state_after(*(trade(number, amount) for number, amount in enumerate(amounts)))


def checked(state: AccountState, **settings: object) -> RuleResult:
    return check(state, settings_of(Settings, **settings), review())


def is_breach(state: AccountState, **settings: object) -> bool:
    return bool(checked(state, **settings).commands)


class LimitTests(SynchronousTestCase):
    """What is a breach."""

    def test_a_loss_of_the_limit_is_a_breach(self) -> None:
        state = after_trades("100", "-200")
        self.assertEqual(checked(state), NOTHING)
        last = trade(9, "-450")
        result = check(state_after(last, state=state), Settings(), trade_trigger(last))
        self.assertEqual(
            flatten_of(result),
            Flatten(reason="Daily loss limit hit: -$550.00 (limit $500.00)", lock=TO_RESET),
        )

    def test_the_limit_is_exact_to_the_cent(self) -> None:
        for amount, breach in (("-499.99", False), ("-500.00", True), ("-500.01", True)):
            self.assertEqual(is_breach(after_trades(amount)), breach, amount)

    def test_a_profit_of_that_size_is_no_breach(self) -> None:
        self.assertFalse(is_breach(after_trades("500")))

    def test_a_repeated_trade_counts_once(self) -> None:
        self.assertFalse(is_breach(state_after(trade(1, "-250"), trade(1, "-250"))))

    def test_a_trade_of_yesterday_does_not_count(self) -> None:
        state = begin_day(AccountState(account_id=123), NOON)
        self.assertFalse(is_breach(state_after(trade(1, "-500", -1), state=state)))
        self.assertTrue(is_breach(state_after(trade(1, "-500", 0), state=state)))

    def test_a_breach_closes_everything_and_locks(self) -> None:
        state = after_trades("-500")
        for table, lock in (
            ({}, TO_RESET),
            ({"lockout_until": "permanent"}, Lock(until=None)),
            ({"action": "CLOSE_ALL_POSITIONS"}, None),
            ({"action": "CLOSE_ALL_POSITIONS", "lockout_until": "permanent"}, None),
        ):
            flatten = flatten_of(checked(state, **table))
            self.assertEqual((flatten.lock, flatten.keep), (lock, None), table)

    @given(st.lists(st.decimals(-400, 400, places=2), max_size=8))
    def test_the_rule_acts_exactly_when_the_sum_reaches_the_limit(
        self, amounts: list[Decimal]
    ) -> None:
        state = after_trades(*map(str, amounts))
        self.assertEqual(is_breach(state), sum(amounts) <= -500)
        (gauge,) = gauges(state, Settings(), NOON)
        assert gauge.limit is not None
        assert gauge.current is not None
        self.assertEqual(gauge.limit - gauge.current <= 0, is_breach(state))


class FeeTests(SynchronousTestCase):
    """The broker's charges."""

    def test_fees_count_where_the_settings_say_so(self) -> None:
        state = with_charges(after_trades("-490"), (0, "3.70"), (1, "6.29"))
        self.assertFalse(is_breach(state))
        self.assertFalse(is_breach(state, include_fees=True))
        state = with_charges(after_trades("-490"), (0, "3.70"), (1, "6.30"))
        self.assertFalse(is_breach(state))
        self.assertIn("-$500.00", flatten_of(checked(state, include_fees=True)).reason)

    def test_fees_of_yesterday_do_not_count(self) -> None:
        for seconds, breach in ((-1, False), (0, True)):
            state = begin_day(after_trades("-490"), NOON)
            state = with_charges(state, (seconds, "10"))
            self.assertEqual(is_breach(state, include_fees=True), breach)

    def test_the_gauge_names_what_it_counts(self) -> None:
        state = with_charges(after_trades("100"), (0, "3.70"))
        for include_fees, name, current in (
            (False, "daily loss", "-100.00"),
            (True, "daily loss after fees", "-96.30"),
        ):
            expected = Gauge(name=name, limit=Decimal(500), current=Decimal(current), unit="$")
            found = gauges(state, Settings(include_fees=include_fees), NOON)
            self.assertEqual(found, (expected,))


class MemoryTests(SynchronousTestCase):
    """The rule does not act again on figures that an operator has seen."""

    def fired(self, *amounts: str, **settings: object) -> AccountState:
        state = after_trades(*amounts)
        result = checked(state, **settings)
        self.assertEqual(len(result.commands), 1)
        return with_memory(state, "RULE-003", result)

    def test_the_same_figures_are_no_new_breach(self) -> None:
        self.assertEqual(checked(self.fired("-500")), NOTHING)

    def test_equal_figures_with_other_digits_are_no_new_breach(self) -> None:
        state = self.fired("-500.00")
        same = msgspec.structs.replace(state, realized_pnl=Decimal("-5E+2"))
        self.assertEqual(checked(same), NOTHING)

    def test_another_sum_or_another_trade_is_a_new_breach(self) -> None:
        state = self.fired("-500")
        for amount in ("-0.01", "0.00"):
            self.assertTrue(is_breach(state_after(trade(9, amount), state=state)))

    def test_another_fee_is_a_new_breach_if_fees_count(self) -> None:
        state = self.fired("-500", include_fees=True)
        self.assertFalse(is_breach(state, include_fees=True))
        self.assertTrue(is_breach(with_charges(state, (0, "0.10")), include_fees=True))

    def test_each_change_of_the_figures_is_a_new_breach(self) -> None:
        state = self.fired("-500")
        # What the flatten closes adds a loss while the account is locked.
        closed = state_after(trade(9, "-20"), state=state)
        result = checked(closed)
        self.assertEqual(flatten_of(result).lock, TO_RESET)
        self.assertEqual(checked(with_memory(closed, "RULE-003", result)), NOTHING)

    def test_the_same_figures_on_another_day_are_a_new_breach(self) -> None:
        state = self.fired("-500")
        tomorrow = begin_day(state, at(timedelta(days=1).total_seconds()))
        again = trade(9, "-500", timedelta(days=1, hours=1).total_seconds())
        self.assertTrue(is_breach(state_after(again, state=tomorrow)))

    def test_figures_that_return_after_gains_are_a_new_breach(self) -> None:
        state = self.fired("-100", "-400")
        good = without_trade(state, 1)
        result = checked(good)
        self.assertEqual(result.commands, ())
        good = with_memory(good, "RULE-003", result)
        self.assertTrue(is_breach(state_after(trade(9, "-400"), state=good)))

    def test_a_day_without_a_breach_leaves_no_memory(self) -> None:
        self.assertIsNone(checked(after_trades("-499")).memory)


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (
                settings.loss_limit,
                settings.action,
                settings.lockout_until,
                settings.include_fees,
            ),
            (
                Decimal("500.00"),
                Action.CLOSE_ALL_AND_LOCKOUT,
                LockoutUntil.DAILY_RESET,
                False,
            ),
        )

    def test_invalid_tables_are_rejected(self) -> None:
        tables: tuple[dict[str, object], ...] = (
            {"loss_limit": 0},
            {"loss_limit": "-500"},
            {"loss_limit": "NaN"},
            {"loss_limit": "Infinity"},
            {"loss_limit": True},
            {"action": "CLOSE_POSITION"},
            {"lockout_until": "tomorrow"},
            {"include_fees": "no"},
            {"limit": 5},
        )
        for table in tables:
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(next(iter(table)), str(error))
