"""The day's trades, their totals, and the trades behind a lockout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, apply, begin_day
from riskd.testing import make_event
from tests.support.console import account_after
from trader.model.day_trades import trades_behind, trades_of_the_day

NOW = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)


def at(seconds: float) -> str:
    """Return the wire timestamp of a moment ``seconds`` after :data:`NOW`."""
    return (NOW + timedelta(seconds=seconds)).isoformat()


def trade(number: int, seconds: float, pnl: float) -> tuple[str, dict[str, Any]]:
    """Return type and data of a trade."""
    return "GatewayUserTrade", {"id": number, "executionTime": at(seconds), "profitAndLoss": pnl}


def lock(rule_id: str, seconds: float) -> tuple[str, dict[str, Any]]:
    """Return type and data of a lockout."""
    return "lockout_set", {"rule_id": rule_id, "locked_at": at(seconds), "locked_until": None}


class TradesTests(SynchronousTestCase):
    """The trades with their running total."""

    def test_they_are_in_the_order_of_execution_with_the_running_total(self) -> None:
        state = account_after(trade(2, 20, -10.25), trade(1, 10, 5), trade(3, 30, 1))
        self.assertEqual(
            [(one.trade.id, float(one.total)) for one in trades_of_the_day(state)],
            [(1, 5), (2, -5.25), (3, -4.25)],
        )

    def test_trades_of_an_earlier_day_do_not_count(self) -> None:
        state = account_after(trade(1, 10, 5), trade(2, 20, 7))
        state = begin_day(state, NOW + timedelta(seconds=15))
        late = make_event(*trade(3, 12, 100))
        state = apply(state, late)
        self.assertEqual([one.trade.id for one in trades_of_the_day(state)], [2])

    @given(
        st.lists(st.tuples(st.integers(-50, 50), st.integers(-100_000, 100_000)), max_size=20),
        st.integers(-60, 60),
    )
    def test_the_last_total_is_the_realized_pnl(
        self, made: list[tuple[int, int]], began: int
    ) -> None:
        state = msgspec.structs.replace(
            AccountState(account_id=123), day_began=NOW + timedelta(seconds=began)
        )
        for number, (seconds, cents) in enumerate(made):
            state = apply(state, make_event(*trade(number, seconds, cents / 100)))
        found = trades_of_the_day(state)
        self.assertEqual(len(found), state.trade_count)
        self.assertEqual(found[-1].total if found else 0, state.realized_pnl)


class TradesBehindTests(SynchronousTestCase):
    """The trades behind a lockout."""

    def behind(self, state: AccountState) -> list[int]:
        """Return the ids of the trades behind the account's only lockout."""
        (lockout,) = state.lockouts.values()
        return [one.trade.id for one in trades_behind(lockout, state)]

    def test_a_daily_loss_has_the_trades_up_to_the_lockout(self) -> None:
        state = account_after(
            trade(1, 10, -5), trade(2, 20, -7), lock("RULE-003", 20), trade(3, 30, -1)
        )
        self.assertEqual(self.behind(state), [1, 2])

    def test_a_cooldown_has_the_losing_trade(self) -> None:
        state = account_after(trade(1, 10, -5), trade(2, 20, -7), lock("RULE-007", 21))
        self.assertEqual(self.behind(state), [2])

    def test_a_rule_that_does_not_go_by_trades_has_none(self) -> None:
        state = account_after(trade(1, 10, -5), lock("RULE-010", 21))
        self.assertEqual(self.behind(state), [])
