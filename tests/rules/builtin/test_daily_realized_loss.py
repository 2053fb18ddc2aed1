"""RULE-003: the largest loss of a trading day."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import (
    AccountState,
    Charge,
    begin_day,
    with_day_figures,
    with_risk,
    with_trades,
    without_trade,
)
from riskd.model.events import GatewayUserTrade, LockoutSet
from riskd.rules.builtin.daily_realized_loss import Action, Settings, check, gauges
from riskd.rules.interface import NOTHING, Flatten, Gauge, LiftLock, Lock, RuleResult, Trigger
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


class ReduceOnlyTests(SynchronousTestCase):
    """``reduce_only_at``: a share of the limit from which on the account may only close what it holds."""

    REASON = "the day's loss has reached 80 % of its limit of $500.00"

    def test_the_share_is_exact_to_the_cent(self) -> None:
        for amount, asks in (("-399.99", False), ("-400.00", True), ("-499.99", True)):
            result = checked(after_trades(amount), reduce_only_at=80)
            self.assertEqual(result.reduce_only, self.REASON if asks else "", amount)
            self.assertEqual(result.wake_at, RESET if asks else None)
            self.assertEqual(result.commands, ())
        third = {"loss_limit": "100.01", "reduce_only_at": 33}
        # 33.0033
        self.assertFalse(checked(after_trades("-33.00"), **third).reduce_only)
        self.assertTrue(checked(after_trades("-33.01"), **third).reduce_only)

    def test_it_lasts_as_long_as_the_loss(self) -> None:
        self.assertEqual(checked(after_trades("-450", "60"), reduce_only_at=80).reduce_only, "")
        self.assertTrue(checked(after_trades("-450", "50"), reduce_only_at=80).reduce_only)

    def test_beyond_the_limit_both_are_asked_for(self) -> None:
        result = checked(after_trades("-500"), reduce_only_at=80)
        self.assertTrue(flatten_of(result).lock)
        self.assertTrue(result.reduce_only)

    def test_fees_count_if_they_count_for_the_limit(self) -> None:
        state = with_charges(after_trades("-399"), (0, "1"))
        self.assertFalse(checked(state, reduce_only_at=80).reduce_only)
        self.assertTrue(checked(state, reduce_only_at=80, include_fees=True).reduce_only)

    def test_without_the_key_nothing_is_asked_for(self) -> None:
        self.assertEqual(checked(after_trades("-499.99")), NOTHING)

    def test_invalid_shares_are_rejected(self) -> None:
        for share in (0, 100, -1, 80.5, True):
            table = {"reduce_only_at": share}
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn("reduce_only_at", str(error))


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
        state = with_day_figures(with_charges(after_trades("100"), (0, "3.70")))
        for include_fees, name, current in (
            (False, "realized loss", "-100.00"),
            (True, "realized loss after fees", "-96.30"),
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


class Account:
    """An account that is locked as the rule says, and whose rule remembers."""

    def __init__(self, **settings: object) -> None:
        self.settings = settings_of(Settings, **settings)
        self.state = AccountState(account_id=123, day_began=NOON)
        self._last = 0

    def trade(self, pnl: str, fee: str = "0", number: int | None = None) -> RuleResult:
        """Receive a trade, or another P&L of a known one, and check the rule."""
        self._last += 1
        event = trade(self._last if number is None else number, pnl, self._last)
        assert isinstance(event.data, GatewayUserTrade)
        data = event.data
        charges = {**self.state.risk.charges, data.id: Charge(data.execution_time, Decimal(fee))}
        self.state = with_risk(self.state, charges=charges)
        self.state = with_trades(self.state, {**self.state.trades, data.id: data})
        return self.check(trade_trigger(event))

    def void(self, number: int) -> RuleResult:
        self.state = without_trade(self.state, number)
        return self.check(review())

    def check(self, asked: Trigger) -> RuleResult:
        result = check(self.state, self.settings, asked)
        self.state = with_memory(self.state, "RULE-003", result)
        locks = dict(self.state.lockouts)
        for command in result.commands:
            if isinstance(command, LiftLock):
                del locks["RULE-003"]
            elif isinstance(command, Flatten) and command.lock is not None:
                locks["RULE-003"] = LockoutSet(
                    reason="loss",
                    locked_until=command.lock.until,
                    rule_id="RULE-003",
                    locked_at=NOON,
                )
        self.state = msgspec.structs.replace(self.state, lockouts=locks)
        return result

    def unlock(self) -> None:
        self.state = msgspec.structs.replace(self.state, lockouts={})

    @property
    def is_locked(self) -> bool:
        return bool(self.state.lockouts)


class LastWordTests(SynchronousTestCase):
    """The broker voids or amends trades."""

    def test_the_void_of_what_led_to_the_lock_ends_it(self) -> None:
        for number in (1, 2):
            account = Account()
            account.trade("-300")
            account.trade("-200")
            self.assertTrue(account.is_locked)
            (command,) = account.void(number).commands
            self.assertIsInstance(command, LiftLock)
            self.assertEqual(account.void(number).commands, ())

    def test_the_void_of_another_trade_does_not(self) -> None:
        account = Account()
        account.trade("-10")
        account.trade("-500")
        self.assertEqual(account.void(1).commands, ())
        # Neither does that of a trade that came later.
        account.trade("-20")
        account.void(3)
        self.assertTrue(account.is_locked)

    def test_gains_do_not_end_the_lock_nor_does_a_void_after_them(self) -> None:
        account = Account()
        account.trade("-500")
        for pnl in ("400", "-5", "300"):
            account.trade(pnl)
            self.assertTrue(account.is_locked)
        account.void(3)
        self.assertTrue(account.is_locked)
        account.void(1)
        self.assertFalse(account.is_locked)

    def test_the_lock_stands_if_later_trades_had_led_to_it_too(self) -> None:
        account = Account()
        account.trade("-500")
        account.trade("-600")
        account.trade("1000")
        account.void(1)
        self.assertTrue(account.is_locked)
        account.void(2)
        self.assertFalse(account.is_locked)

    def test_an_amended_loss_ends_or_begins_the_lock(self) -> None:
        account = Account()
        account.trade("-600")
        self.assertTrue(account.is_locked)
        account.trade("-499.99", number=1)
        self.assertFalse(account.is_locked)
        account.trade("-600", number=1)
        self.assertTrue(account.is_locked)

    def test_the_charges_of_a_voided_trade_go_with_it(self) -> None:
        account = Account(include_fees=True)
        account.trade("-100", "60")
        account.void(1)
        account.trade("-445", "1")
        self.assertFalse(account.is_locked)
        account.trade("-53", "1")
        self.assertTrue(account.is_locked)
        account.void(2)
        self.assertFalse(account.is_locked)

    def test_a_trade_that_is_only_missing_ends_no_lock(self) -> None:
        account = Account()
        account.trade("-500")
        account.state = with_trades(account.state, {})
        account.check(review())
        self.assertTrue(account.is_locked)

    def test_a_looser_limit_ends_no_lock(self) -> None:
        account = Account()
        account.trade("-500")
        account.settings = settings_of(Settings, loss_limit="800")
        account.check(review())
        self.assertTrue(account.is_locked)
        account.void(77)
        self.assertTrue(account.is_locked)

    @given(
        st.lists(st.integers(-400, 300), min_size=1, max_size=8).flatmap(
            lambda amounts: st.tuples(
                st.just(amounts), st.integers(0, len(amounts) - 1), st.permutations(amounts)
            )
        )
    )
    def test_a_void_ends_the_lock_exactly_when_the_limit_was_not_reached_without_the_trade(
        self, drawn: tuple[list[int], int, list[int]]
    ) -> None:
        _, voided, amounts = drawn
        account = Account()
        first, total = None, 0
        for number, amount in enumerate(amounts):
            account.trade(str(amount))
            total += amount
            if first is None and total <= -500:
                first = number
        account.void(voided + 1)
        without = [0 if number == voided else each for number, each in enumerate(amounts)]
        sums = [sum(without[: number + 1]) for number in range(len(without))]
        stands = first is not None and (
            any(each <= -500 for each in sums[first:]) or sums[-1] <= -500
        )
        self.assertEqual(account.is_locked, stands or (first is None and sums[-1] <= -500))


class UnlockTests(SynchronousTestCase):
    """What follows when an operator unlocks the account."""

    def unlocked(self) -> Account:
        account = Account()
        account.trade("-500")
        account.unlock()
        return account

    def test_a_review_does_not_lock_again(self) -> None:
        account = self.unlocked()
        for _ in range(3):
            self.assertEqual(account.check(review()).commands, ())

    def test_the_next_trade_locks_again_if_the_day_is_beyond_its_limit_then(self) -> None:
        for pnl, locks in (("-0.01", True), ("0", True), ("0.01", False), ("100", False)):
            account = self.unlocked()
            account.trade(pnl)
            self.assertEqual(account.is_locked, locks, pnl)

    def test_what_the_broker_takes_back_does_not_lock_again(self) -> None:
        account = Account()
        account.trade("-20")
        account.trade("-580")
        account.unlock()
        account.void(1)
        self.assertFalse(account.is_locked)

    def test_a_loss_that_the_broker_amends_locks_again(self) -> None:
        account = self.unlocked()
        account.trade("-501", number=1)
        self.assertTrue(account.is_locked)

    def test_a_tighter_limit_locks_again_and_a_looser_one_does_not(self) -> None:
        for limit, locks in (("499", True), ("500", False), ("500.00", False), ("550", False)):
            account = self.unlocked()
            account.settings = settings_of(Settings, loss_limit=limit)
            account.check(review())
            self.assertEqual(account.is_locked, locks, limit)

    def test_the_memory_of_an_earlier_version_is_a_baseline_too(self) -> None:
        account = self.unlocked()
        text = '{"fired":{"day_began":"2025-07-17T12:00:00Z","result":"-500","trades":1}}'
        account.state = with_risk(account.state, memory={"RULE-003": text})
        account.check(review())
        self.assertFalse(account.is_locked)
        account.trade("0")
        self.assertTrue(account.is_locked)


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
