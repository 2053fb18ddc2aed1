"""RULE-013: the largest net loss of a trading day."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, Unmatched, with_risk
from riskd.model.equity import with_highs
from riskd.model.events import LockoutSet
from riskd.rules.builtin.daily_net_loss import RULE, Action, Settings, Trailing, check, gauges
from riskd.rules.interface import NOTHING, Gauge, Lock, RuleResult
from riskd.rules.settings import LockoutUntil
from tests.support.rules import (
    MNQ,
    NOON,
    RESET,
    day,
    flatten_of,
    in_stage,
    order,
    position,
    review,
    settings_of,
    state_after,
    without_headroom,
)


def checked(state: AccountState, **settings: object) -> RuleResult:
    return without_headroom(check(state, settings_of(Settings, **settings), review()))


def is_breach(state: AccountState, **settings: object) -> bool:
    return bool(checked(state, **{"loss_limit": "500", **settings}).commands)


class LimitTests(SynchronousTestCase):
    """What is a breach: realized and open P&L, less fees, to the cent."""

    def test_a_net_loss_of_the_limit_is_a_breach(self) -> None:
        """-$300 realized, -$195.50 open and $4.50 of fees are a net loss of $500."""
        at_limit = day("100", "-400", charges="4.50", opened=1, last="20902.25")
        flatten = flatten_of(checked(at_limit, loss_limit="500"))
        self.assertEqual(
            (flatten.reason, flatten.lock),
            ("Daily net loss limit hit: -$500.00 (limit $500.00)", Lock(until=RESET)),
        )
        self.assertFalse(is_breach(day("100", "-400", charges="4.49", opened=1, last="20902.25")))
        self.assertFalse(is_breach(day("100", "-400", charges="4.50", opened=1, last="20902.50")))

    def test_without_fees_the_same_day_is_none(self) -> None:
        state = day("100", "-400", charges="4.50", opened=1, last="20902.25")
        self.assertFalse(is_breach(state, include_fees=False))
        self.assertTrue(is_breach(state, include_fees=False, loss_limit="495.50"))

    @given(st.integers(-60_000, 60_000), st.integers(0, 60_000), st.integers(1, 60_000))
    def test_the_limit_is_exact(self, pnl: int, fees: int, limit: int) -> None:
        state = day(str(Decimal(pnl).scaleb(-2)), charges=str(Decimal(fees).scaleb(-2)))
        loss_limit = Decimal(limit).scaleb(-2)
        self.assertEqual(is_breach(state, loss_limit=loss_limit), pnl - fees <= -limit)

    def test_an_exit_counts_once_before_its_position_is_closed(self) -> None:
        state = day("-300", opened=1, last="20850")
        self.assertTrue(is_breach(state))
        self.assertFalse(is_breach(with_risk(state, unmatched={MNQ: Unmatched(1)})))

    def test_while_an_answer_is_applied_the_rule_waits(self) -> None:
        state = with_risk(day("-600"), is_listing=True)
        self.assertEqual(checked(state, loss_limit="500"), RuleResult(reduce_only=None))

    def test_an_unknown_open_pnl_is_no_loss_but_a_warning(self) -> None:
        state = state_after(position(MNQ, 1))
        self.assertEqual(
            checked(state),
            RuleResult(warnings=("MNQU5: no quote yet, its P&L is unknown",)),
        )


class ReduceOnlyTests(SynchronousTestCase):
    """``reduce_only_at``: a share of the limit from which on the account may only close what it holds."""

    KEYS: ClassVar[dict[str, Any]] = {"loss_limit": "500", "reduce_only_at": 80}
    REASON = "the day's net loss has reached 80 % of its limit of $500.00"

    def test_the_share_is_exact_to_the_cent(self) -> None:
        """-$300 realized, -$95.50 open and $4.50 of fees are 80 % of $500."""
        for charges, asks in (("4.49", False), ("4.50", True)):
            state = day("-300", charges=charges, opened=1, last="20952.25")
            result = checked(state, **self.KEYS)
            self.assertEqual(result.reduce_only, self.REASON if asks else "", charges)
            self.assertEqual((result.commands, result.wake_at), ((), RESET))

    @given(st.integers(0, 60_000), st.integers(1, 99))
    def test_any_share_is_exact(self, loss: int, share: int) -> None:
        state = day(str(Decimal(-loss).scaleb(-2)))
        asks = checked(state, loss_limit="500.01", reduce_only_at=share).reduce_only
        self.assertEqual(bool(asks), loss * 100 >= 50_001 * share)

    def test_it_lasts_until_the_loss_is_clearly_smaller(self) -> None:
        for pnl, lasts in (("-399.99", True), ("-360", True), ("-359.99", False)):
            state = in_stage(day(pnl), RULE.rule_id, self.REASON)
            result = checked(state, **self.KEYS)
            self.assertEqual(result.reduce_only, self.REASON if lasts else "", pnl)
            # Neither that of another rule is its own, nor that of another share.
            result = checked(in_stage(day(pnl), "RULE-003", self.REASON), **self.KEYS)
            self.assertEqual(result.reduce_only, "")
            self.assertEqual(checked(state, **{**self.KEYS, "reduce_only_at": 81}).reduce_only, "")

    def test_what_it_cannot_tell_it_leaves(self) -> None:
        for pnl, expected in (("-300", None), ("-400", self.REASON)):
            unknown = state_after(position(MNQ, 1), state=day(pnl))
            result = checked(in_stage(unknown, RULE.rule_id, self.REASON), **self.KEYS)
            self.assertEqual(result.reduce_only, expected, pnl)

    def test_beyond_the_limit_both_are_asked_for(self) -> None:
        result = checked(day("-500"), **self.KEYS)
        self.assertTrue(flatten_of(result).lock)
        self.assertEqual(result.reduce_only, self.REASON)

    def test_it_counts_from_where_the_limit_does(self) -> None:
        self.assertEqual(checked(day("1200", "-400"), **self.KEYS).reduce_only, "")
        trailing = checked(day("1200", "-400"), trailing="realized", **self.KEYS)
        self.assertEqual(trailing.reduce_only, self.REASON)

    def test_without_the_key_nothing_is_asked_for(self) -> None:
        self.assertEqual(checked(day("-999.99")), NOTHING)


class TrailingTests(SynchronousTestCase):
    """The trailing daily loss: from 50,000 the floor is 49,500, and after a high of 51,200 it is 50,700."""

    def test_it_follows_the_highest_realized_net_pnl(self) -> None:
        for last, breach in (("-499.99", False), ("-500", True)):
            self.assertEqual(is_breach(day("1200", last), trailing="realized"), breach)
            self.assertEqual(is_breach(day(last), trailing="realized"), breach)
        # An open profit raises no realized high.
        rose = with_highs(day("-100", opened=1, last="21600"))
        fell = msgspec.structs.replace(day("-100", opened=1, last="20900"), balance=rose.balance)
        self.assertFalse(is_breach(fell, trailing="realized"))
        self.assertTrue(is_breach(fell, trailing="equity"))

    def test_it_follows_the_highest_equity(self) -> None:
        rose = with_highs(day(opened=1, last="21600"))
        self.assertEqual(rose.balance.high_net, Decimal(1200))
        for last, breach in (("21350.25", False), ("21350", True)):
            fell = msgspec.structs.replace(day(opened=1, last=last), balance=rose.balance)
            self.assertEqual(is_breach(fell, trailing="equity"), breach, last)
        reason = flatten_of(checked(fell, loss_limit="500", trailing="equity")).reason
        self.assertEqual(
            reason,
            "Daily net loss limit hit: $500.00 below the day's highest equity (limit $500.00)",
        )

    def test_it_needs_fees(self) -> None:
        with self.assertRaisesRegex(
            ValueError, "include_fees: expected true with trailing equity"
        ):
            Settings(trailing=Trailing.EQUITY, include_fees=False)


class ActionTests(SynchronousTestCase):
    """What happens after a breach."""

    def test_the_lock_may_be_permanent(self) -> None:
        result = checked(day("-1000"), lockout_until=LockoutUntil.PERMANENT)
        self.assertEqual(flatten_of(result).lock, Lock(until=None))

    def test_without_a_lock_only_what_is_held_or_works_is_closed(self) -> None:
        settings = {"action": Action.CLOSE_ALL_POSITIONS}
        self.assertEqual(checked(day("-1000"), **settings), NOTHING)
        self.assertIsNone(flatten_of(checked(day("-1000", opened=1), **settings)).lock)
        working = state_after(order(1), state=day("-1000"))
        self.assertTrue(checked(working, **settings).commands)

    def test_while_its_own_lock_is_in_force_it_does_nothing(self) -> None:
        lock = LockoutSet(reason="", locked_until=RESET, rule_id=RULE.rule_id, locked_at=NOON)
        state = msgspec.structs.replace(day("-1000"), lockouts={RULE.rule_id: lock})
        self.assertEqual(checked(state), NOTHING)

    def test_it_is_evaluated_while_the_account_is_locked(self) -> None:
        self.assertTrue(RULE.runs_while_locked)


class GaugeTests(SynchronousTestCase):
    """How far the limit is."""

    def test_the_gauge_counts_from_where_the_limit_does(self) -> None:
        state = day("1200", "-300", charges="4.50")
        for settings, name, current in (
            ({}, "net daily loss", "-895.50"),
            ({"include_fees": False}, "net daily loss before fees", "-900.00"),
            ({"trailing": "realized"}, "net loss from the day's high", "300.00"),
        ):
            self.assertEqual(
                gauges(state, settings_of(Settings, **settings), NOON),
                (Gauge(name=name, limit=Decimal(1000), current=Decimal(current), unit="$"),),
            )
