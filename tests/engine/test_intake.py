"""Messages of the gateway are mapped, applied and broadcast; contracts are looked up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from riskd.gateway.interface import IGateway, IGatewayListener
from riskd.model.events import MarketQuote
from tests.support.scripted_gateway import (
    ES,
    MCL,
    MNQ,
    NOON,
    EngineTestCase,
    order,
    position,
    quote,
    trade,
)


class NewsTests(EngineTestCase):
    """Only news is broadcast."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def test_the_engine_is_a_gateway_listener(self) -> None:
        self.assertTrue(verifyObject(IGatewayListener, self.engine))
        self.assertTrue(verifyObject(IGateway, self.gateway))

    def test_a_position_and_its_end_are_broadcast_once_each(self) -> None:
        for size in (2, 2, 0, 0, 0):
            self.user("GatewayUserPosition", position(size))
        self.assertEqual([data.size for data in self.take()], [2, 0])

    def test_a_trade_is_broadcast_once_and_half_of_a_round_turn_never(self) -> None:
        for identifier, pnl in ((1, None), (2, "-45.50"), (2, "-45.50"), (3, "0.00")):
            self.user("GatewayUserTrade", trade(identifier, pnl))
        self.assertEqual([data.id for data in self.take()], [2, 3])

    def test_a_voided_trade_is_not_broadcast(self) -> None:
        self.user("GatewayUserTrade", trade(1, "5.00", voided=True))
        self.assertEqual(self.take(), [])

    def test_a_repeat_outdates_what_is_older_than_it(self) -> None:
        for stop, seconds in ((20990, 1), (20990, 5), (20000, 3)):
            updated = (NOON + timedelta(seconds=seconds)).isoformat()
            self.user(
                "GatewayUserOrder", order(1, stopPrice=Decimal(stop), updateTimestamp=updated)
            )
        self.assertEqual([data.stop_price for data in self.take()], [20990])

    def test_an_order_is_broadcast_when_it_changes(self) -> None:
        for status in (6, 1, 1, 8, 2, 2, 1):
            self.user("GatewayUserOrder", order(status))
        self.assertEqual([data.state for data in self.take()], [1, 2])

    def test_a_closed_position_keeps_its_side(self) -> None:
        self.user("GatewayUserPosition", position(2, type=2))
        self.user("GatewayUserPosition", position(0))
        self.assertEqual([data.type for data in self.take()], [2, 2])

    def test_events_of_other_accounts_are_ignored(self) -> None:
        self.user("GatewayUserPosition", position(2, account_id=999))
        self.user("GatewayUserAccount", {"id": 123, "balance": Decimal(50000)})
        self.assertEqual(self.take(), [])

    def test_the_gateway_expects_a_command_for_each_position_and_working_order(self) -> None:
        self.user("GatewayUserPosition", position(2))
        self.user("GatewayUserPosition", position(1, account_id=456))
        self.user("GatewayUserPosition", position(3))
        self.user("GatewayUserOrder", order(1))
        self.user("GatewayUserOrder", order(2))
        self.user("GatewayUserPosition", position(0))
        self.assertEqual(self.gateway.commands_expected, [1, 2, 3, 2, 1])

    def test_events_carry_their_account(self) -> None:
        self.user("GatewayUserPosition", position(1, account_id=456))
        self.user("GatewayUserPosition", position(1, account_id=123))
        self.assertEqual([event.account_id for event in self.told], [456, 123])

    def test_an_unreadable_event_is_logged_and_the_next_is_applied(self) -> None:
        with capturedLogs() as captured:
            self.user("GatewayUserPosition", position(2, averagePrice="high"))
            self.payloads.market_event("GatewayQuote", MNQ, {"bestBid": "x"})
            self.user("GatewayUserPosition", position(2))
        errors = [
            each.get("why") or each.get("error") for each in captured if "contract" not in each
        ]
        self.assertEqual(
            [str(each).split(":")[0] for each in errors if each],
            ["GatewayUserPosition.averagePrice", "GatewayQuote.bestBid"],
        )
        self.assertEqual([data.size for data in self.take()], [2])

    def test_an_internal_error_is_logged_and_the_next_event_is_applied(self) -> None:
        account = self.engine.accounts[123].account
        broken = self.patch(account, "update", lambda _news: 1 / 0)
        self.user("GatewayUserPosition", position(2))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        broken.restore()
        self.user("GatewayUserPosition", position(2))
        self.assertEqual([data.size for data in self.take()], [2])


class QuoteTests(EngineTestCase):
    """A quote is broadcast for each account that wants it, and for no other."""

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def accounts_told(self, contract_id: str, last: int) -> list[int | None]:
        self.time += timedelta(milliseconds=1)
        self.told.clear()
        self.payloads.market_event("GatewayQuote", contract_id, quote(last))
        return [event.account_id for event in self.told if isinstance(event.data, MarketQuote)]

    def test_watched_contracts_are_quoted(self) -> None:
        self.assertEqual(self.accounts_told(MNQ, 1), [123])
        self.assertEqual(self.accounts_told(ES, 1), [])

    def test_held_contracts_are_quoted_as_long_as_they_are_held(self) -> None:
        self.user("GatewayUserPosition", position(1, ES, account_id=456))
        self.assertEqual(self.accounts_told(ES, 1), [456])
        self.user("GatewayUserPosition", position(0, ES, account_id=456))
        self.assertEqual(self.accounts_told(ES, 2), [])

    def test_contracts_with_a_working_order_are_quoted(self) -> None:
        self.user("GatewayUserOrder", order(1, contract_id=MCL))
        self.assertEqual(self.accounts_told(MCL, 1), [123])
        self.user("GatewayUserOrder", order(3, contract_id=MCL))
        self.assertEqual(self.accounts_told(MCL, 2), [])

    def test_a_quote_is_broadcast_once_for_each_account(self) -> None:
        self.user("GatewayUserPosition", position(1, MNQ, account_id=456))
        self.assertEqual(self.accounts_told(MNQ, 1), [123, 456])

    def test_an_error_with_one_account_keeps_the_quote_from_no_other(self) -> None:
        self.user("GatewayUserPosition", position(1, MNQ, account_id=456))
        self.patch(self.engine.accounts[123].risk_engine, "receive", lambda _quote: 1 / 0)
        self.assertEqual(self.accounts_told(MNQ, 1), [123, 456])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_an_error_with_one_account_keeps_bid_and_ask_from_no_other(self) -> None:
        for account_id in (123, 456):
            self.user("GatewayUserPosition", position(1, MNQ, account_id=account_id))
        self.patch(self.engine.accounts[123].risk_engine, "receive_best_bid_ask", lambda: 1 / 0)
        self.payloads.market_event("GatewayQuote", MNQ, {"bestBid": 1, "bestAsk": 2})
        best_bid_asks = self.engine.accounts[456].account.state.risk.best_bid_asks
        best = best_bid_asks[MNQ]
        self.assertEqual((best.bid, best.ask), (Decimal(1), Decimal(2)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_other_market_events_are_ignored(self) -> None:
        self.payloads.market_event("GatewayDepth", MNQ, {})
        self.assertEqual(self.take(), [])


class ContractTests(EngineTestCase):
    """The gateway is asked once for each contract that matters."""

    def setUp(self) -> None:
        super().setUp()
        self.gateway.contracts["CON.F.US.XYZ.H25"] = {
            "id": "CON.F.US.XYZ.H25",
            "name": "MNQH5",
            "tickSize": Decimal("0.5"),
            "tickValue": Decimal(1),
        }
        self.start()

    def test_a_contract_is_asked_for_once(self) -> None:
        for size in (1, 2):
            self.user("GatewayUserPosition", position(size, "CON.F.US.XYZ.H25"))
        self.assertEqual(self.gateway.contracts_asked, ["CON.F.US.XYZ.H25"])

    def test_a_failed_lookup_is_repeated_later_and_not_with_each_quote(self) -> None:
        unknown = "CON.F.US.NONE.H25"
        self.user("GatewayUserPosition", position(1, unknown))
        for last in range(4 * 29):
            self.payloads.market_event("GatewayQuote", unknown, quote(last))
            self.clock.advance(0.25)
        self.assertEqual(self.gateway.contracts_asked, [unknown])
        self.gateway.contracts[unknown] = {
            **self.gateway.contracts["CON.F.US.XYZ.H25"],
            "id": unknown,
        }
        self.clock.advance(2)
        self.payloads.market_event("GatewayQuote", unknown, quote(1))
        self.assertIn(unknown, self.engine.accounts[123].account.state.contracts)

    def test_a_lookup_that_an_internal_error_ended_is_repeated(self) -> None:
        wanted = "CON.F.US.XYZ.H25"
        mistaken = self.patch(self.gateway, "search_contract", lambda _contract_id: 1 / 0)
        self.user("GatewayUserPosition", position(1, wanted))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        mistaken.restore()
        self.payloads.market_event("GatewayQuote", wanted, quote(1))
        self.assertEqual(self.gateway.contracts_asked, [])
        self.clock.advance(30)
        self.payloads.market_event("GatewayQuote", wanted, quote(2))
        self.assertEqual(self.gateway.contracts_asked, [wanted])
        self.assertIn(wanted, self.engine.accounts[123].account.state.contracts)

    def test_a_contract_that_was_looked_up_can_be_watched(self) -> None:
        self.user("GatewayUserPosition", position(1, "CON.F.US.XYZ.H25"))
        self.user("GatewayUserPosition", position(0, "CON.F.US.XYZ.H25"))
        self.told.clear()
        self.payloads.market_event("GatewayQuote", "CON.F.US.XYZ.H25", quote(5))
        self.assertEqual([event.type for event in self.told], ["MarketQuote"])

    def test_an_unknown_contract_is_logged_and_its_events_are_broadcast(self) -> None:
        with capturedLogs() as captured:
            self.user("GatewayUserPosition", position(1, "CON.F.US.NONE.H25"))
        self.assertIn(LogLevel.error, [each["log_level"] for each in captured])
        self.assertEqual(len(self.take()), 1)
