"""The age of quotes, and the open P&L that they allow to be shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, apply
from riskd.testing import make_event
from tests.support.console import BEGIN, MNQ, at
from trader.model.staleness import is_fresh, open_pnl, unrealized_pnl
from trader.model.view import Source, View

MES = "CON.F.US.MES.U25"


def account(*events: tuple[str, dict[str, Any]]) -> AccountState:
    """Return the account after ``events``."""
    state = AccountState(account_id=123)
    for event_type, data in events:
        state = apply(state, make_event(event_type, data))
    return state


def live(state: AccountState) -> View:
    """Return a live view of the account."""
    return View(account=state, source=Source.LIVE)


POSITION = ("GatewayUserPosition", {"contractId": MNQ, "size": 1, "averagePrice": 21000})
QUOTE = ("MarketQuote", {"contractId": MNQ, "last": 21001, "timestamp": at(0)})


class StalenessTests(SynchronousTestCase):
    """A quote is fresh for 5 s, and counts for 30 s of a live market."""

    def test_a_quote_is_fresh_for_five_seconds(self) -> None:
        state = account(QUOTE)
        for seconds, expected in ((0, True), (5, True), (5.001, False)):
            self.assertEqual(is_fresh(state, MNQ, BEGIN + timedelta(seconds=seconds)), expected)
        self.assertFalse(is_fresh(state, MES, BEGIN))

    def test_open_pnl_is_unknown_after_thirty_seconds_without_a_quote(self) -> None:
        state = account(POSITION, QUOTE)
        (position,) = state.open_positions
        for seconds, amount, unknown in ((30, 2, ""), (31, None, "no quote for 31 s")):
            pnl = open_pnl(live(state), position, BEGIN + timedelta(seconds=seconds))
            self.assertEqual((pnl.amount, pnl.unknown), (amount, unknown))

    def test_without_a_connection_the_last_known_quote_counts(self) -> None:
        state = account(POSITION, QUOTE)
        (position,) = state.open_positions
        view = View(account=state, source=Source.LAST_KNOWN)
        pnl = open_pnl(view, position, BEGIN + timedelta(hours=1))
        self.assertEqual(pnl.amount, 2)

    def test_one_unknown_position_makes_the_sum_unknown(self) -> None:
        state = account(POSITION, QUOTE)
        self.assertEqual(unrealized_pnl(live(state), BEGIN).amount, 2)
        state = apply(state, make_event("GatewayUserPosition", {"contractId": MES}))
        pnl = unrealized_pnl(live(state), BEGIN)
        self.assertEqual((pnl.amount, pnl.unknown), (None, "no quote yet"))
