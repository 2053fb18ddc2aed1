"""Equity, the net P&L of the day, highs and closes, to the cent."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import (
    AccountState,
    Charge,
    Unmatched,
    apply,
    begin_day,
    with_day_figures,
    with_risk,
)
from riskd.model.balance import (
    Balance,
    Result,
    after_agreement,
    after_firm_floor,
    after_flow,
    after_result,
)
from riskd.model.broker import BrokerPosition, BrokerTrade
from riskd.model.equity import (
    after_exit_trade,
    after_increase,
    after_position,
    day_start_balance,
    equity,
    exit_pnl,
    highest_close,
    net_pnl,
    open_pnl,
    with_closed_days,
    with_highs,
)
from riskd.model.events import Event, MarketQuote, PositionType
from tests.support.broker_values import MNQ, NOON, broker_position, broker_trade

ACCOUNT = 123


def quote(bid: str, ask: str, last: str, seconds: int = 1) -> MarketQuote:
    return MarketQuote(
        contract_id=MNQ,
        bid=Decimal(bid),
        ask=Decimal(ask),
        last=Decimal(last),
        timestamp=NOON + timedelta(seconds=seconds),
    )


def after(state: AccountState, *news: Any) -> AccountState:
    """Return the state after news, as the account of the engine applies them."""
    for data in news:
        unmatched, carried = state.risk.unmatched, state.risk.carried
        if isinstance(data, BrokerTrade) and data.id not in state.trades:
            unmatched = after_exit_trade(state, data)
        elif isinstance(data, BrokerPosition):
            unmatched = after_position(state, data)
            carried = after_increase(state, data)
        state = apply(state, Event(ACCOUNT, data))
        state = with_risk(state, unmatched=unmatched, carried=carried)
    return state


def holding(size: int, side: PositionType = PositionType.LONG) -> AccountState:
    return after(AccountState(account_id=ACCOUNT), broker_position(size=size, type=side))


def balance_of(**fields: Any) -> Balance:
    amounts = {
        name: Decimal(value) if isinstance(value, str) else value for name, value in fields.items()
    }
    return Balance(**{"is_settled": True, **amounts})


class MarkTests(SynchronousTestCase):
    """Equity counts what an exit would bring."""

    def test_a_long_position_counts_at_the_bid_and_a_short_one_at_the_ask(self) -> None:
        for side, pnl in ((PositionType.LONG, "19.00"), (PositionType.SHORT, "-21.00")):
            state = after(holding(1, side), quote("21009.50", "21010.50", "21010"))
            self.assertEqual(open_pnl(state), Decimal(pnl))

    def test_without_a_believable_market_the_last_price_counts(self) -> None:
        for bid, ask in (("0", "0"), ("15000", "27000")):
            state = after(holding(1), quote(bid, ask, "21010"))
            self.assertEqual(open_pnl(state), Decimal("20.00"))

    def test_a_quote_from_before_the_entry_does_not_count(self) -> None:
        before = after(AccountState(account_id=ACCOUNT), quote("20000", "20000.25", "20000", -1))
        state = after(before, broker_position())
        self.assertIsNone(exit_pnl(state, state.positions[MNQ]))
        self.assertEqual(open_pnl(state), 0)

    def test_what_a_position_had_made_counts_until_a_quote_values_the_larger_one(self) -> None:
        def resized(size: int, seconds: int, **more: Any) -> BrokerPosition:
            at = NOON + timedelta(seconds=seconds)
            return broker_position(size=size, updated_at=at, **more)

        state = after(holding(2), quote("21300", "21300.25", "21300"))
        for step, size in enumerate((3, 5)):
            state = after(state, resized(size, 2 + step, average_price=Decimal(21100)))
            self.assertIsNone(exit_pnl(state, state.positions[MNQ]))
            self.assertEqual(open_pnl(state), Decimal(1200))
        # An exit before the next quote takes its share along, whichever of its events comes first.
        sold = broker_trade(quantity=1, profit_and_loss=Decimal(240))
        for news in ((sold, resized(4, 4)), (resized(4, 4), sold)):
            partly = state
            for each in news:
                partly = after(partly, each)
                self.assertEqual(net_pnl(partly), 1200)
            self.assertEqual(open_pnl(partly), 960)
        valued = after(state, quote("21301", "21301.25", "21301", 4))
        self.assertEqual(open_pnl(valued), Decimal(2010))
        # It is that of this position alone.
        reopened = after(state, resized(0, 5), broker_position(at=NOON + timedelta(seconds=6)))
        self.assertEqual(reopened.risk.carried, {})
        turned = after(state, resized(1, 5, type=PositionType.SHORT))
        self.assertEqual(turned.risk.carried, {})


class ExitTests(SynchronousTestCase):
    """A trade and its position come in either order; no P&L counts twice, or not at all."""

    @given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.data())
    def test_at_one_price_the_net_pnl_is_the_same_in_every_order(
        self, exits: list[int], data: st.DataObject
    ) -> None:
        size = sum(exits)
        state = after(holding(size), quote("20990", "20990", "20990"))
        total = net_pnl(state)
        self.assertEqual(total, Decimal(-20 * size))
        trades: list[Any] = []
        positions: list[Any] = []
        for number, closed in enumerate(exits):
            size -= closed
            at = NOON + timedelta(seconds=number + 2)
            pnl = Decimal(-20 * closed)
            trades.append(broker_trade(id=number, at=at, quantity=closed, profit_and_loss=pnl))
            positions.append(broker_position(size=size, updated_at=at))
        while trades or positions:
            queue = data.draw(st.sampled_from([each for each in (trades, positions) if each]))
            state = after(state, queue.pop(0))
            self.assertEqual(net_pnl(state), total)
        self.assertEqual(state.risk.unmatched, {})
        self.assertEqual(state.realized_pnl, total)

    def test_a_trade_before_its_position_is_no_second_loss(self) -> None:
        state = after(holding(1), quote("20850", "20850.25", "20850"))
        self.assertEqual(net_pnl(state), Decimal("-300.00"))
        state = after(state, broker_trade(profit_and_loss=Decimal("-300.00")))
        self.assertEqual((state.realized_pnl, net_pnl(state)), (Decimal(-300), Decimal(-300)))

    def test_a_position_that_turned_is_an_exit_of_all_of_it(self) -> None:
        state = after(holding(2), quote("20990", "20990", "20990"))
        turned = broker_position(
            size=3,
            type=PositionType.SHORT,
            average_price=Decimal(20990),
            at=NOON + timedelta(seconds=2),
        )
        state = after(state, turned)
        self.assertEqual(state.risk.unmatched[MNQ], Unmatched(-2, Decimal("-40.00")))
        exit_ = broker_trade(quantity=2, profit_and_loss=Decimal("-40.50"))
        self.assertEqual(after(state, exit_).risk.unmatched, {})

    def test_a_trade_from_before_a_position_was_known_closes_nothing(self) -> None:
        state = after(AccountState(account_id=ACCOUNT), broker_trade(quantity=3))
        self.assertEqual(state.risk.unmatched, {})


class BalanceTests(SynchronousTestCase):
    """The expected balance, and the lower one of two."""

    def test_a_result_moves_the_expected_balance_and_the_brokers_other_one(self) -> None:
        known = balance_of(agreed="50000", other="49000")
        after_loss = after_result(known, Decimal("-50.37"))
        self.assertEqual(
            (after_loss.expected, after_loss.other, after_loss.counted),
            (Decimal("49949.63"), Decimal("48949.63"), Decimal("48949.63")),
        )
        self.assertEqual(balance_of(agreed="50000", other="51000").counted, Decimal(50000))

    def test_before_it_is_settled_a_gain_does_not_count(self) -> None:
        known = Balance(agreed=Decimal(50000))
        self.assertEqual(after_result(known, Decimal(10)).expected, Decimal(50000))
        self.assertEqual(after_result(known, Decimal(-10)).expected, Decimal(49990))
        self.assertIsNone(after_result(Balance(), Decimal(-10)).expected)

    def test_a_payout_is_kept_and_a_deposit_is_not_its_opposite(self) -> None:
        paid = after_flow(balance_of(agreed="50000", results="100"), Decimal("49600"))
        self.assertEqual((paid.flows, paid.payouts), (Decimal(-500), Decimal(500)))
        back = after_flow(paid, Decimal("49700"))
        self.assertEqual((back.flows, back.payouts), (Decimal(-400), Decimal(500)))
        self.assertEqual(back.counted, Decimal(49700))

    def test_the_first_balance_is_remembered(self) -> None:
        first = after_agreement(Balance(), Decimal(50000), is_settled=False)
        self.assertEqual(
            after_agreement(first, Decimal(49000), is_settled=True).first, Decimal(50000)
        )


class EquityTests(SynchronousTestCase):
    """Equity is the counted balance and what an exit would bring."""

    def state(self, **balance: Any) -> AccountState:
        state = after(holding(1), quote("20990", "20990.25", "20990"))
        return msgspec.structs.replace(state, balance=balance_of(**balance))

    def test_equity_is_unknown_without_a_balance(self) -> None:
        self.assertIsNone(equity(holding(1)))

    def test_equity(self) -> None:
        self.assertEqual(equity(self.state(agreed="50000", results="-10.50")), Decimal("49969.50"))
        self.assertEqual(equity(self.state(agreed="50000", other="49000")), Decimal("48980.00"))

    def test_highs_rise_and_never_fall(self) -> None:
        state = self.state(agreed="50000")
        high = with_highs(after(state, quote("21010", "21010.25", "21010", 2)))
        self.assertEqual((high.balance.peak, high.balance.high_net), (Decimal(50020), Decimal(20)))
        low = after(high, quote("20990", "20990.25", "20990", 3))
        self.assertIs(with_highs(low), low)

    def test_the_highs_since_the_firms_figure_begin_with_it(self) -> None:
        high = with_highs(
            after(self.state(agreed="50000"), quote("21010", "21010.25", "21010", 2))
        )
        told = msgspec.structs.replace(
            high, balance=after_firm_floor(high.balance, Decimal(48500), NOON)
        )
        low = with_highs(after(told, quote("20990", "20990.25", "20990", 3)))
        balance = low.balance
        assert balance.firm_floor is not None
        self.assertEqual((balance.peak, balance.firm_floor.peak), (50020, 49980))
        self.assertIs(with_highs(low), low)

    def test_no_high_comes_from_an_equity_that_is_in_question(self) -> None:
        state = self.state(agreed="50000")
        gain = after(state, quote("21010", "21010.25", "21010", 2))
        for uncertain in (
            with_risk(gain, unmatched={MNQ: Unmatched(1)}),
            with_risk(gain, is_listing=True),
            # What it counts for was a loss, perhaps.
            msgspec.structs.replace(gain, quotes={}, realized_pnl=Decimal(100)),
        ):
            self.assertIs(with_highs(uncertain), uncertain)
        # The net P&L does not depend on the balance.
        for balance, is_open in (
            (gain.balance, True),
            (msgspec.structs.replace(gain.balance, is_settled=False), False),
        ):
            uncertain = msgspec.structs.replace(gain, balance=balance)
            high = with_highs(uncertain, is_balance_open=is_open).balance
            self.assertEqual((high.peak, high.high_net), (None, Decimal(20)))

    def test_of_two_balances_the_lower_one_makes_a_high(self) -> None:
        gain = after(self.state(agreed="50000"), quote("21010", "21010.25", "21010", 2))
        for other, peak in ((49000, 49020), (51000, 50020)):
            balance = msgspec.structs.replace(gain.balance, other=Decimal(other))
            high = with_highs(msgspec.structs.replace(gain, balance=balance))
            self.assertEqual(high.balance.peak, peak)

    def test_the_first_balance_of_a_flat_account_is_a_high(self) -> None:
        flat = msgspec.structs.replace(self.state(agreed="50000"), positions={})
        first = msgspec.structs.replace(flat.balance, is_settled=False)
        for balance, peak in (
            (first, Decimal(50000)),
            (msgspec.structs.replace(first, results=Decimal(-10)), None),
        ):
            high = with_highs(msgspec.structs.replace(flat, balance=balance))
            self.assertEqual(high.balance.peak, peak)


class DayTests(SynchronousTestCase):
    """Days begin and end; what the broker changes later of earlier days is theirs."""

    def state(self, *results: tuple[int, str], **balance: Any) -> AccountState:
        """Return an account in the day that began at noon, with results by hours after noon."""
        state = AccountState(account_id=ACCOUNT, day_began=NOON)
        trades = {}
        for number, (hours, amount) in enumerate(results):
            at = NOON + timedelta(hours=hours)
            trades[number] = Result(at, Decimal(amount))
            trade = broker_trade(id=number, at=at, profit_and_loss=Decimal(amount))
            if at >= NOON:
                state = apply(state, Event(ACCOUNT, trade))
        state = with_risk(state, results=trades)
        state = msgspec.structs.replace(state, balance=balance_of(**balance))
        return with_day_figures(state)

    def test_the_high_is_that_of_the_executions_in_their_order(self) -> None:
        for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
            results = [((1, "300"), (2, "-500"), (3, "150"))[each] for each in order]
            self.assertEqual(self.state(*results).balance.high_realized, Decimal(300))

    def test_charges_of_half_turns_count(self) -> None:
        state = with_risk(self.state((1, "10")), charges={7: Charge(NOON, Decimal("0.37"))})
        state = with_day_figures(state)
        self.assertEqual(net_pnl(state), Decimal("9.63"))
        self.assertEqual(state.balance.high_realized, Decimal("9.63"))

    def test_the_days_start_follows_from_the_balance(self) -> None:
        """An account first seen in mid-day with losses before starts from the balance at that moment."""
        state = self.state((1, "-400"), agreed="49600")
        self.assertEqual(day_start_balance(state), Decimal(50000))
        self.assertEqual(highest_close(state), Decimal(50000))

    def test_a_payout_does_not_lower_the_start_of_the_day(self) -> None:
        state = self.state((1, "-400"), agreed="48600", flows="-1000")
        self.assertEqual(day_start_balance(state), Decimal(50000))

    def test_a_void_of_an_earlier_day_lowers_the_balance_and_not_todays_net(self) -> None:
        state = self.state((1, "50"), agreed="50000", results="50")
        voided = msgspec.structs.replace(state, balance=after_result(state.balance, Decimal(-200)))
        self.assertEqual(net_pnl(voided), Decimal(50))
        self.assertEqual(equity(voided), Decimal(49850))
        self.assertEqual(day_start_balance(voided), Decimal(49800))

    def test_the_close_is_the_balance_at_the_reset_whatever_comes_after(self) -> None:
        state = self.state((1, "700"), (25, "-300"), agreed="50400")
        ends = NOON + timedelta(hours=24)
        state = begin_day(with_closed_days(state, ()), ends)
        self.assertEqual(day_start_balance(state), Decimal(50700))
        self.assertEqual((state.balance.high_net, state.balance.high_realized), (0, 0))
        self.assertEqual(highest_close(state), Decimal(50700))

    def test_each_day_without_a_daemon_has_its_close(self) -> None:
        """Three days: up 900, up 200 and down 700."""
        state = self.state((1, "900"), (25, "200"), (49, "-700"), agreed="50400")
        ends = [NOON + timedelta(hours=hours) for hours in (24, 48)]
        state = begin_day(with_closed_days(state, ends), NOON + timedelta(hours=72))
        self.assertEqual(day_start_balance(state), Decimal(50400))
        self.assertEqual(highest_close(state), Decimal(51100))

    def test_results_are_kept_for_some_days(self) -> None:
        state = begin_day(self.state((-200, "5"), (1, "6")), NOON)
        self.assertEqual([each.amount for each in state.risk.results.values()], [Decimal(6)])
