"""Merging the state of an earlier run with the state that this run has gathered since."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import (
    AccountState,
    Charge,
    Flattening,
    Limit,
    LogEntry,
    OrderDetail,
    RiskState,
    begin_day,
)
from riskd.model.events import Action, Event
from riskd.model.merge import merge
from tests.support.rules import NOON, state_after, trade
from tests.support.strategies import histories


class RiskStateTests(SynchronousTestCase):
    """The part of the state that only the daemon needs."""

    def merged(self, known: RiskState, since: RiskState) -> RiskState:
        before, after = (AccountState(account_id=123, risk=risk) for risk in (known, since))
        return merge(before, after).risk

    def flattening(self, rule_id: str) -> Flattening:
        action = Action.CLOSE_ALL_POSITIONS
        return Flattening(action=action, rule_id=rule_id, reason="Too many", begun=NOON)

    def test_known_values_are_kept(self) -> None:
        known = RiskState(
            can_trade=False,
            charges={1: Charge(NOON, Decimal("0.74"))},
            memory={"RULE-006": "[1]"},
            flattening=self.flattening("RULE-001"),
            day_key=date(2025, 1, 17),
        )
        self.assertEqual(self.merged(known, RiskState()), known)
        self.assertEqual(self.merged(RiskState(), known), known)

    def test_later_values_replace_known_ones(self) -> None:
        known = RiskState(
            can_trade=False,
            charges={1: Charge(NOON, Decimal(1)), 2: Charge(NOON, Decimal(2))},
            memory={"RULE-006": "[1]", "RULE-007": "[2]"},
            flattening=self.flattening("RULE-001"),
            day_key=date(2025, 1, 16),
        )
        since = RiskState(
            can_trade=True,
            charges={2: Charge(NOON, Decimal(3))},
            memory={"RULE-006": "[3]"},
            flattening=self.flattening("RULE-002"),
            day_key=date(2025, 1, 17),
        )
        both = RiskState(
            can_trade=True,
            charges={1: Charge(NOON, Decimal(1)), 2: Charge(NOON, Decimal(3))},
            memory={"RULE-006": "[3]", "RULE-007": "[2]"},
            flattening=self.flattening("RULE-002"),
            day_key=date(2025, 1, 17),
        )
        self.assertEqual(self.merged(known, since), both)

    def test_the_later_trading_day_counts(self) -> None:
        later, earlier = (RiskState(day_key=date(2025, 1, day)) for day in (17, 16))
        self.assertEqual(self.merged(later, earlier).day_key, date(2025, 1, 17))

    def test_order_details_and_the_log_are_those_of_this_run(self) -> None:
        known, since = (
            RiskState(
                order_details={number: OrderDetail()}, log=(LogEntry(NOON, "operator", "{}"),)
            )
            for number in (1, 2)
        )
        self.assertEqual(self.merged(known, since), since)

    def test_only_trades_since_the_later_beginning_of_the_day_count(self) -> None:
        trades = (trade(1, "-50.00", seconds=50), trade(2, "5.00", seconds=150))
        early = state_after(*trades)
        late = begin_day(state_after(), NOON + timedelta(seconds=100))
        for known, since in ((early, late), (late, early)):
            both = merge(known, since)
            self.assertEqual(both.day_began, late.day_began)
            self.assertEqual((both.realized_pnl, both.trade_count), (Decimal(5), 1))


def without_final(state: AccountState) -> AccountState:
    return msgspec.structs.replace(state, final_orders={})


class StateTests(SynchronousTestCase):
    """The part of the state that the console shares."""

    @given(histories(), histories())
    def test_nothing_that_either_state_knows_is_lost(
        self, before: list[Event], since: list[Event]
    ) -> None:
        known, fresh = state_after(*before), state_after(*since)
        both = merge(known, fresh)
        self.assertLessEqual(set(known.lockouts) | set(fresh.lockouts), set(both.lockouts))
        self.assertLessEqual(set(known.trades) | set(fresh.trades), set(both.trades))
        self.assertEqual(merge(known, AccountState(account_id=123)), without_final(known))
        self.assertEqual(merge(AccountState(account_id=123), fresh), fresh)

    def test_known_limits_stay_until_there_are_others(self) -> None:
        limits = [{rule: Limit("max_contracts", "{}")} for rule in ("RULE-001", "RULE-002")]
        before, since = (AccountState(account_id=123, limits=each) for each in limits)
        self.assertEqual(merge(before, AccountState(account_id=123)).limits, limits[0])
        self.assertEqual(merge(before, since).limits, limits[1])
