"""The open P&L of positions: by which price, when it is unknown, and when it may be outdated."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, BestBidAsk
from riskd.model.contracts import Contract
from riskd.model.open_pnl import (
    OpenPnl,
    fresh_mark,
    has_stale_quote,
    pnl_warnings,
    position_pnl,
    total_pnl,
)
from tests.support.rules import (
    ES,
    MNQ,
    SHORT,
    UNKNOWN,
    at,
    position,
    quote,
    state_after,
    with_risk,
)


def pnl_of(state: AccountState) -> OpenPnl:
    (held,) = state.open_positions
    return position_pnl(state, held)


class PositionPnlTests(SynchronousTestCase):
    def test_long_and_short(self) -> None:
        held = position(MNQ, 2, price="21000")
        for last, dollars in (("20925", "-300.00"), ("20925.25", "-299.00"), ("21010", "40.00")):
            self.assertEqual(str(pnl_of(state_after(held, quote(MNQ, last))).amount), dollars)
        state = state_after(position(ES, 1, SHORT, "5800"), quote(ES, "5780"))
        self.assertEqual(str(pnl_of(state).amount), "1000.00")

    def test_without_a_quote_it_is_unknown_and_not_zero(self) -> None:
        pnl = pnl_of(state_after(position(MNQ, 1)))
        self.assertEqual(pnl, OpenPnl(None, "no quote yet"))

    def test_without_a_tick_size_it_is_unknown(self) -> None:
        pnl = pnl_of(state_after(position(UNKNOWN, 1), quote(UNKNOWN, "1")))
        self.assertEqual(pnl, OpenPnl(None, "tick size unknown"))

    def test_before_the_first_trade_a_long_is_marked_at_the_bid_and_a_short_at_the_ask(
        self,
    ) -> None:
        best = {MNQ: BestBidAsk(Decimal(21001), Decimal(21002))}
        for side, dollars in (({}, "2.00"), ({"side": SHORT}, "-4.00")):
            state = with_risk(state_after(position(MNQ, 1, **side)), best_bid_asks=best)
            self.assertEqual(str(pnl_of(state).amount), dollars)

    def test_the_gateways_data_on_a_contract_go_before_the_table(self) -> None:
        special = Contract(id=MNQ, name="MNQU5", tick_size=Decimal("0.25"), tick_value=Decimal(1))
        state = state_after(position(MNQ, 2), quote(MNQ, "21000.25"))
        state = msgspec.structs.replace(state, contracts={MNQ: special})
        self.assertEqual(str(pnl_of(state).amount), "2.00")

    def test_an_unknown_pnl_adds_nothing_to_the_total(self) -> None:
        state = state_after(position(MNQ, 2), quote(MNQ, "21001"), position(ES, 1))
        self.assertEqual(total_pnl(state), Decimal(4))


class StaleQuoteTests(SynchronousTestCase):
    def test_a_quote_is_stale_after_ten_seconds(self) -> None:
        state = state_after(position(MNQ, 1), quote(MNQ, "21000"))
        (held,) = state.open_positions
        for seconds, expected in ((10, False), (10.001, True)):
            self.assertIs(fresh_mark(state, held, at(seconds)) is None, expected)
            self.assertIs(has_stale_quote(state, held, at(seconds)), expected)

    def test_a_quote_that_is_missing_is_not_stale(self) -> None:
        state = state_after(position(MNQ, 1))
        self.assertFalse(has_stale_quote(state, state.open_positions[0], at(60)))

    def test_each_position_with_an_unknown_or_old_pnl_has_a_warning(self) -> None:
        held = (position(MNQ, 1), position(ES, 1), position(UNKNOWN, 1))
        state = state_after(*held, quote(MNQ, "21000"))
        unknown = (
            "ESU5: no quote yet, its P&L is unknown",
            f"{UNKNOWN}: tick size unknown, its P&L is unknown",
        )
        self.assertEqual(pnl_warnings(state, at(10)), unknown)
        old = "MNQU5: the last quote is more than 10 s old"
        self.assertEqual(pnl_warnings(state, at(11)), (old, *unknown))
