"""The practice gateway on a clock: what its listener receives and what it answers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from riskd.config.faults import Faults
from riskd.gateway import mapping
from riskd.gateway.interface import (
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
    IGatewayListener,
    Payload,
)
from riskd.gateway.quote_book import QuoteBook
from riskd.model.events import PositionType
from riskd.practice.gateway import LEDGER_NAME, PracticeGateway
from riskd.practice.ledger_format import Note, read_lines
from tests.support.practice_gateway import (
    ACCOUNT_EVENT,
    ACCOUNTS,
    ES,
    LISTED,
    MNQ,
    NOBODY_TRADES,
    ORDER,
    POSITION,
    START,
    TRADE,
    Desk,
    GatewayTestCase,
    Recorder,
    temporary_directory,
)


class InterfaceTests(GatewayTestCase):
    """A gateway like any other."""

    def test_it_is_a_gateway_and_the_recorder_a_listener(self) -> None:
        verifyObject(IGateway, Desk().gateway)
        verifyObject(IGatewayListener, Recorder())

    def test_it_says_that_it_is_practice(self) -> None:
        self.assertEqual(Desk().gateway.name, "practice")


class MarketTests(GatewayTestCase):
    """The clock drives the market."""

    def test_at_the_start_every_contract_is_quoted_once(self) -> None:
        desk = Desk()
        self.assertIsNone(self.successResultOf(desk.gateway.start(desk.listener)))
        quoted = [contract_id.split(".")[3] for contract_id, _quote in desk.listener.quotes()]
        self.assertEqual((len(quoted), set(quoted)), (len(LISTED), LISTED))

    def test_quotes_carry_all_that_a_console_needs_and_the_time_of_day(self) -> None:
        desk = Desk().start()
        for contract_id, payload in desk.listener.quotes():
            quote = QuoteBook().merge(contract_id, payload, desk.now)
            assert quote is not None
            self.assertTrue(quote.bid < quote.ask)
            self.assertEqual(quote.timestamp, START)
            self.assertEqual(payload["symbol"], "F.US." + contract_id.split(".")[3])

    def test_time_brings_quotes_of_every_contract(self) -> None:
        desk = Desk().start()
        desk.listener.told.clear()
        desk.run(10)
        quotes = desk.listener.quotes()
        self.assertEqual({contract_id.split(".")[3] for contract_id, _quote in quotes}, LISTED)
        self.assertEqual(quotes[-1][1]["timestamp"], "2026-03-02T15:00:10+00:00")

    def test_nothing_moves_before_the_start(self) -> None:
        desk = Desk(ACCOUNTS)
        desk.run(10)
        self.assertEqual((desk.listener.told, desk.clock.getDelayedCalls()), ([], []))

    def test_nothing_moves_after_the_stop(self) -> None:
        desk = Desk(ACCOUNTS).start()
        desk.run(10)
        self.assertIsNone(self.successResultOf(desk.gateway.stop()))
        desk.listener.told.clear()
        desk.run(10)
        self.assertEqual((desk.listener.told, desk.clock.getDelayedCalls()), ([], []))

    def test_it_may_be_stopped_before_it_is_started_and_twice(self) -> None:
        desk = Desk()
        self.successResultOf(desk.gateway.stop())
        desk.start()
        for _ in range(2):
            self.successResultOf(desk.gateway.stop())

    def test_it_may_be_started_again_for_another_listener(self) -> None:
        desk = Desk().start()
        self.successResultOf(desk.gateway.place_order(123, desk.order(0)))
        self.successResultOf(desk.gateway.stop())
        desk.listener = Recorder()
        desk.start().run(10)
        self.assertEqual(
            {contract_id.split(".")[3] for contract_id, _quote in desk.listener.quotes()}, LISTED
        )
        (held,) = self.successResultOf(desk.gateway.search_open_positions(123))
        self.assertEqual(held["size"], 1)

    def test_a_listener_may_stop_it_in_the_middle_of_the_news(self) -> None:
        """It is told nothing more, not even what happened in the same step."""
        desk = Desk(ACCOUNTS, act=lambda _target, _payload: desk.gateway.stop()).start()
        desk.run(10)
        self.assertEqual(len(desk.listener.user_events()), 1)
        self.assertEqual(desk.clock.getDelayedCalls(), [])


class RepetitionTests(GatewayTestCase):
    """Seeds and ids."""

    def told(self, seed: int, seconds: int = 60) -> list[tuple[str, str | None, Payload]]:
        desk = Desk(ACCOUNTS, seed).start()
        desk.run(seconds)
        return desk.listener.told

    def test_the_same_seed_tells_the_same(self) -> None:
        """Prices, trades, ids and times."""
        self.assertEqual(self.told(7), self.told(7))

    def test_another_seed_tells_something_else(self) -> None:
        self.assertNotEqual(self.told(7, 10), self.told(8, 10))

    def test_what_one_account_trades_disturbs_neither_prices_nor_the_other(self) -> None:
        def part(accounts: dict[int, tuple[str, ...]]) -> tuple[list[Any], list[Any]]:
            desk = Desk(accounts).start()
            desk.run(60)
            trades = [
                (trade["contractId"], trade["side"], trade["size"], trade["price"])
                for trade in desk.listener.user_events(TRADE)
                if trade["accountId"] == 123
            ]
            return desk.listener.quotes(), trades

        alone, both = part({123: ACCOUNTS[123]}), part(ACCOUNTS)
        self.assertTrue(alone[1])
        self.assertEqual(alone, both)

    def test_accounts_that_watch_the_same_do_not_trade_alike(self) -> None:
        desk = Desk({123: ("MNQ",), 456: ("MNQ",)}).start()
        desk.run(60)
        first, second = (
            [
                (trade["creationTimestamp"], trade["side"], trade["size"])
                for trade in desk.listener.user_events(TRADE)
                if trade["accountId"] == account_id
            ]
            for account_id in (123, 456)
        )
        self.assertNotEqual(first, second)

    def test_without_a_seed_no_two_runs_are_alike(self) -> None:
        first, second = (Desk(seed=None).start().listener.quotes() for _ in range(2))
        self.assertNotEqual(first, second)

    def test_without_a_seed_ids_go_on_after_those_of_an_earlier_run(self) -> None:
        earlier, later = Desk(seed=None), Desk(seed=None)
        later.clock.advance(1)
        later.gateway = PracticeGateway(later.clock, later.now, NOBODY_TRADES)
        for desk in (earlier, later):
            desk.start()
        ids = [
            self.successResultOf(desk.gateway.place_order(123, desk.order(0)))
            for desk in (earlier, later)
        ]
        last_of_earlier = max(payload["id"] for payload in earlier.listener.user_events(TRADE))
        self.assertTrue(last_of_earlier < ids[1], ids)
        self.assertTrue(ids[1] < 2**53, "a number that a JSON reader can hold")


class RequestTests(GatewayTestCase):
    """What may be asked, through Deferreds."""

    def setUp(self) -> None:
        self.desk = Desk().start()
        self.gateway = self.desk.gateway
        self.listener = self.desk.listener

    def test_a_placed_order_is_answered_with_its_id_and_told(self) -> None:
        order_id = self.successResultOf(self.gateway.place_order(123, self.desk.order(0, 2)))
        self.assertEqual(
            [target for target, contract_id, _payload in self.listener.told if not contract_id],
            [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT],
        )
        self.assertEqual({order["id"] for order in self.listener.user_events(ORDER)}, {order_id})

    def test_a_request_is_stamped_with_the_time_of_day(self) -> None:
        self.desk.clock.advance(0.125)
        self.successResultOf(self.gateway.place_order(123, self.desk.order(0)))
        (trade,) = self.listener.user_events(TRADE)
        self.assertEqual(trade["creationTimestamp"], "2026-03-02T15:00:00.125000+00:00")

    def test_open_positions_are_found(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.desk.order(1, 2)))
        (held,) = self.successResultOf(self.gateway.search_open_positions(123))
        self.assertEqual(held, self.listener.user_events(POSITION)[-1])
        read = mapping.position(held, None, self.desk.now())
        self.assertEqual((read.type, read.size), (PositionType.SHORT, 2))
        self.assertEqual(self.successResultOf(self.gateway.search_open_positions(456)), [])

    def test_working_orders_are_found_until_they_are_cancelled(self) -> None:
        far = dict(self.listener.quotes())[MNQ]["bestBid"] - 5000
        order = self.desk.order(0, type=1, limitPrice=far)
        order_id = self.successResultOf(self.gateway.place_order(123, order))
        (working,) = self.successResultOf(self.gateway.search_open_orders(123))
        self.assertEqual((working["id"], working["status"]), (order_id, 1))
        self.assertIsNone(self.successResultOf(self.gateway.cancel_order(123, order_id)))
        self.assertEqual(self.successResultOf(self.gateway.search_open_orders(123)), [])
        self.assertEqual(self.listener.user_events(ORDER)[-1]["status"], 3)

    def test_a_position_is_closed(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.desk.order(0, 3)))
        self.assertIsNone(self.successResultOf(self.gateway.close_contract(123, MNQ)))
        self.assertEqual(self.successResultOf(self.gateway.search_open_positions(123)), [])
        closed = self.listener.user_events(POSITION)[-1]
        self.assertEqual((closed["size"], closed["type"]), (0, 0))

    def test_a_part_of_a_position_is_closed(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.desk.order(0, 3)))
        closing = self.gateway.partial_close_contract(123, MNQ, 2)
        self.assertIsNone(self.successResultOf(closing))
        (held,) = self.successResultOf(self.gateway.search_open_positions(123))
        self.assertEqual(held["size"], 1)
        self.assertEqual(held, self.listener.user_events(POSITION)[-1])

    def test_an_order_is_changed(self) -> None:
        far = dict(self.listener.quotes())[MNQ]["bestBid"] - 5000
        order = self.desk.order(0, type=1, limitPrice=far)
        order_id = self.successResultOf(self.gateway.place_order(123, order))
        changes = {"size": 4, "limitPrice": far - 1}
        changing = self.gateway.modify_order(123, order_id, changes)
        self.assertIsNone(self.successResultOf(changing))
        (working,) = self.successResultOf(self.gateway.search_open_orders(123))
        self.assertEqual((working["size"], working["limitPrice"]), (4, far - 1))
        self.assertEqual(working, self.listener.user_events(ORDER)[-1])

    def test_an_account_is_found(self) -> None:
        account = self.successResultOf(self.gateway.search_account(123))
        self.assertEqual((account["id"], account["canTrade"]), (123, True))
        self.successResultOf(self.gateway.place_order(123, self.desk.order(0)))
        account = self.successResultOf(self.gateway.search_account(123))
        self.assertEqual(account, self.listener.user_events(ACCOUNT_EVENT)[-1])

    def test_an_account_that_is_restricted_is_told(self) -> None:
        for can_trade in (False, True):
            self.gateway.set_can_trade(123, can_trade)
            account = self.listener.user_events(ACCOUNT_EVENT)[-1]
            self.assertEqual((account["id"], account["canTrade"]), (123, can_trade))
        self.gateway.set_can_trade(123, False)
        self.assertEqual(
            self.refusal(self.gateway.place_order(123, self.desk.order(0))), ("Order/place", 4)
        )

    def test_a_trade_that_is_voided_is_told_again(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.desk.order(0)))
        (trade,) = self.listener.user_events(TRADE)
        self.gateway.void_trade(123, trade["id"])
        voided = {**trade, "voided": True}
        self.assertEqual(self.listener.user_events(TRADE), [trade, voided])
        found = self.gateway.search_trades(123, START)
        self.assertEqual(self.successResultOf(found), [voided])

    def test_an_order_is_found_whatever_became_of_it(self) -> None:
        order_id = self.successResultOf(self.gateway.place_order(123, self.desk.order(0)))
        order = self.successResultOf(self.gateway.search_order(123, order_id))
        self.assertEqual(order, self.listener.user_events(ORDER)[-1])
        self.assertEqual(order["status"], 2)

    def test_trades_are_found_from_a_moment_on(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.desk.order(0)))
        self.desk.clock.advance(1)
        self.successResultOf(self.gateway.close_contract(123, MNQ))
        opening, closing = self.listener.user_events(TRADE)
        for since, found in (
            (START, [opening, closing]),
            (self.desk.now(), [closing]),
            (self.desk.now() + timedelta(seconds=1), []),
        ):
            self.assertEqual(
                self.successResultOf(self.gateway.search_trades(123, since)), found, since
            )

    def test_a_contract_is_found(self) -> None:
        contract = mapping.contract(self.successResultOf(self.gateway.search_contract(ES)))
        self.assertEqual((contract.id, contract.root), (ES, "ES"))
        self.assertEqual((str(contract.tick_size), str(contract.tick_value)), ("0.25", "12.50"))

    def test_refusals_fail_the_deferred(self) -> None:
        """No request raises, whatever is wrong with it."""
        gateway, order = self.gateway, self.desk.order
        for asked, request, code in (
            (gateway.place_order(9, order(0)), "Order/place", 1),
            (gateway.place_order(123, order(0, contract_id="CON.F.US.XX.M26")), "Order/place", 8),
            (gateway.place_order(123, order(0, 0)), "Order/place", 2),
            (gateway.place_order(123, order(0, type=77)), "Order/place", 2),
            (gateway.place_order(123, {"contractId": MNQ}), "Order/place", 2),
            (gateway.cancel_order(123, 999), "Order/cancel", 2),
            (gateway.cancel_order(9, 999), "Order/cancel", 1),
            (gateway.close_contract(123, MNQ), "Position/closeContract", 2),
            (gateway.close_contract(123, "CON.F.US.XX.M26"), "Position/closeContract", 3),
            (gateway.close_contract(9, MNQ), "Position/closeContract", 1),
            (gateway.modify_order(123, 999, {"size": 2}), "Order/modify", 2),
            (gateway.partial_close_contract(123, MNQ, 1), "Position/partialCloseContract", 2),
            (gateway.search_account(9), "Account/search", 1),
            (gateway.search_open_positions(9), "Position/searchOpen", 1),
            (gateway.search_open_orders(9), "Order/searchOpen", 1),
            (gateway.search_order(9, 1), "Order/searchById", 1),
            (gateway.search_order(123, 999), "Order/searchById", 1),
            (gateway.search_trades(9, START), "Trade/search", 1),
            (gateway.search_contract("CON.F.US.XX.M26"), "Contract/searchById", 1),
        ):
            self.assertEqual(self.refusal(asked), (request, code))

    def test_a_rejected_order_is_told(self) -> None:
        self.refusal(self.gateway.place_order(123, self.desk.order(0, 0)))
        (order,) = self.listener.user_events()
        self.assertEqual((order["status"], order["size"]), (5, 0))

    def test_before_the_start_there_is_no_market_to_trade_in(self) -> None:
        desk = Desk()
        self.assertEqual(
            self.refusal(desk.gateway.place_order(123, desk.order(0))), ("Order/place", 9)
        )
        self.assertEqual(self.successResultOf(desk.gateway.search_open_orders(123)), [])

    def test_after_the_stop_requests_are_answered_and_nobody_is_told(self) -> None:
        self.successResultOf(self.gateway.stop())
        self.listener.told.clear()
        self.successResultOf(self.gateway.place_order(123, self.desk.order(0)))
        self.assertEqual(len(self.successResultOf(self.gateway.search_open_positions(123))), 1)
        self.assertEqual(self.listener.told, [])


class ShutMarketTests(GatewayTestCase):
    """A gateway whose market is not open."""

    def setUp(self) -> None:
        self.desk = Desk(ACCOUNTS, is_open=False).start()

    def test_nothing_moves_and_nobody_trades(self) -> None:
        self.desk.run(60)
        self.assertEqual(self.desk.listener.told, [])
        self.assertEqual(self.desk.clock.getDelayedCalls(), [])

    def test_requests_are_answered_and_told(self) -> None:
        gateway = self.desk.gateway
        self.successResultOf(gateway.place_order(123, self.desk.order(0, 2)))
        self.assertEqual(len(self.successResultOf(gateway.search_open_positions(123))), 1)
        self.successResultOf(gateway.close_contract(123, MNQ))
        self.assertEqual(self.successResultOf(gateway.search_open_positions(123)), [])
        self.assertEqual(
            [position["size"] for position in self.desk.listener.user_events(POSITION)], [2, 0]
        )
        self.assertEqual(self.refusal(gateway.cancel_order(123, 1)), ("Order/cancel", 2))
        self.assertEqual(self.successResultOf(gateway.search_contract(MNQ))["name"], "MNQM6")

    def test_it_stops(self) -> None:
        self.assertIsNone(self.successResultOf(self.desk.gateway.stop()))


class MovedMarketTests(GatewayTestCase):
    """A market that is moved by hand."""

    def setUp(self) -> None:
        self.desk = Desk(is_open=False).start()
        self.gateway = self.desk.gateway

    def test_the_quote_is_told_although_the_market_is_shut(self) -> None:
        self.gateway.move_market(MNQ, Decimal("20000.00"))
        ((contract_id, quote),) = self.desk.listener.quotes()
        self.assertEqual(contract_id, MNQ)
        self.assertEqual(
            [str(quote[name]) for name in ("bestBid", "lastPrice", "bestAsk")],
            ["19999.75", "20000.00", "20000.25"],
        )

    def test_what_it_reaches_is_filled_and_told(self) -> None:
        self.gateway.move_market(MNQ, Decimal("20000.00"))
        for order in (
            self.desk.order(0, 2),
            self.desk.order(1, 2, type=4, stopPrice=Decimal("19990.00")),
        ):
            self.successResultOf(self.gateway.place_order(123, order))
        self.gateway.move_market(MNQ, Decimal("19989.00"))
        trades = self.desk.listener.user_events(TRADE)
        self.assertEqual([str(trade["price"]) for trade in trades], ["20000.25", "19988.75"])
        self.assertEqual(self.gateway.exchange.open_positions(123), [])

    def test_an_open_market_goes_on_from_there(self) -> None:
        desk = Desk().start()
        desk.gateway.move_market(MNQ, Decimal("30000.00"))
        desk.listener.told.clear()
        desk.run(2)
        quotes = [quote for contract_id, quote in desk.listener.quotes() if contract_id == MNQ]
        self.assertTrue(quotes)
        for quote in quotes:
            self.assertTrue(abs(quote["lastPrice"] - 30000) < 100, quote)

    def test_a_price_off_tick_and_a_contract_that_is_not_listed_are_errors(self) -> None:
        self.assertRaises(ValueError, self.gateway.move_market, MNQ, Decimal("20000.10"))
        self.assertRaises(
            GatewayRefusedError, self.gateway.move_market, "CON.F.US.XX.M26", Decimal(1)
        )
        self.assertEqual(self.desk.listener.told, [])


class AskTests(GatewayTestCase):
    """What the interface has no request for."""

    def test_what_is_seen_is_answered(self) -> None:
        desk = Desk().start()
        accounts = self.successResultOf(
            desk.gateway.ask("Account/search", lambda exchange: exchange.accounts())
        )
        self.assertEqual([account["id"] for account in accounts], [123, 456])

    def test_it_meets_the_faults_of_all_that_reads(self) -> None:
        desk = Desk(faults=Faults(failed_reads=1)).start()
        asked = desk.gateway.ask("Account/search", lambda exchange: exchange.accounts())
        error = self.failureResultOf(asked, GatewayUnansweredError).value
        self.assertEqual(error.request, "Account/search")


class QuietTests(GatewayTestCase):
    def test_the_market_moves_and_nobody_trades(self) -> None:
        desk = Desk(ACCOUNTS, is_quiet=True).start()
        desk.listener.told.clear()
        desk.run(60)
        self.assertEqual(desk.listener.user_events(), [])
        self.assertTrue(desk.listener.quotes())


class RestartTests(GatewayTestCase):
    """A gateway with a ledger, and the one after it."""

    def setUp(self) -> None:
        self.path = temporary_directory(self) / "state" / LEDGER_NAME

    def desk(self, accounts: dict[int, tuple[str, ...]] = NOBODY_TRADES, **options: Any) -> Desk:
        """Return a desk, started, on the ledger of all others of this test."""
        return Desk(accounts, None, ledger=self.path.parent, **options).start()

    def knowledge(self, desk: Desk, account_id: int = 123) -> tuple[list[Payload], ...]:
        gateway = desk.gateway
        return (
            self.successResultOf(gateway.search_open_positions(account_id)),
            self.successResultOf(gateway.search_open_orders(account_id)),
            self.successResultOf(gateway.search_trades(account_id, START)),
        )

    def withdraw_entries(self, desk: Desk) -> None:
        """Cancel the entries that rest near the market, which the opening of the next may reach."""
        for account_id in ACCOUNTS:
            exchange = desk.gateway.exchange
            if not exchange.open_positions(account_id):
                for order in exchange.open_orders(account_id):
                    self.successResultOf(desk.gateway.cancel_order(account_id, order["id"]))

    def test_a_gateway_goes_on_where_another_was_killed(self) -> None:
        """At whatever moment: with the positions, orders, trades and ended orders of both accounts."""
        for seconds in (1, 20, 41, 63, 90):
            self.setUp()
            killed = self.desk(ACCOUNTS)
            killed.run(seconds)
            self.withdraw_entries(killed)
            after = self.desk(hours=1, is_open=False)
            for account_id in ACCOUNTS:
                self.assertEqual(
                    self.knowledge(after, account_id), self.knowledge(killed, account_id)
                )
                for order in killed.listener.user_events(ORDER):
                    if order["accountId"] == account_id:
                        found = [
                            self.successResultOf(
                                desk.gateway.search_order(account_id, order["id"])
                            )
                            for desk in (killed, after)
                        ]
                        self.assertEqual(found[0], found[1])
            killed.gateway.stop()

    def test_a_gateway_goes_on_where_another_was_stopped(self) -> None:
        stopped = self.desk(ACCOUNTS)
        stopped.run(50)
        self.withdraw_entries(stopped)
        stopped.gateway.stop()
        after = self.desk(hours=1, is_open=False)
        self.assertEqual(self.knowledge(after), self.knowledge(stopped))

    def test_what_is_told_is_written_already(self) -> None:
        def check(target: str, payload: Payload) -> None:
            notes: list[Note] = []
            messages = read_lines(self.path.read_bytes(), "ledger", notes.append)
            self.assertEqual(notes, [])
            self.assertIn((target, None, payload), messages)

        desk = Desk(ACCOUNTS, ledger=self.path.parent, act=check).start()
        desk.run(60)
        self.assertTrue(desk.listener.user_events(TRADE))

    def test_an_order_is_written_before_its_id_is_returned(self) -> None:
        """Even to a listener that places it in the middle of other news."""
        placed = []

        def act(target: str, payload: Payload) -> None:
            if target == ORDER and not placed:
                placed.append(0)
                placed[0] = self.successResultOf(
                    desk.gateway.place_order(456, desk.order(1, customTag="in between"))
                )
                messages = read_lines(self.path.read_bytes(), "ledger", [].append)
                self.assertIn(placed[0], [m.payload["id"] for m in messages if m.target == ORDER])

        desk = Desk(seed=7, ledger=self.path.parent, act=act).start()
        desk.gateway.place_order(123, desk.order(0))
        self.assertTrue(placed[0])

    def test_traders_go_on_with_what_they_held(self) -> None:
        """They take their positions up, close them, and open others."""
        killed = self.desk(ACCOUNTS)
        while not all(all(self.knowledge(killed, account_id)[:2]) for account_id in ACCOUNTS):
            killed.run(1)
        held = {payload["id"] for key in ACCOUNTS for payload in self.knowledge(killed, key)[0]}
        after = self.desk(ACCOUNTS, hours=1)
        after.run(120)
        told = after.listener.user_events(POSITION)
        self.assertEqual(
            {payload["id"] for payload in told if not payload["size"]} & held, held, "not closed"
        )
        self.assertEqual(
            {payload["accountId"] for payload in told if payload["id"] not in held}, set(ACCOUNTS)
        )
        ended = {
            order["id"] for order in after.listener.user_events(ORDER) if order["status"] != 1
        }
        for account_id in ACCOUNTS:
            for order in self.knowledge(killed, account_id)[1]:
                self.assertIn(order["id"], ended)

    def test_the_market_goes_on_where_it_was_traded_last(self) -> None:
        killed = self.desk()
        self.successResultOf(killed.gateway.place_order(123, killed.order(1)))
        (trade,) = killed.listener.user_events(TRADE)
        after = self.desk(hours=60)
        self.assertEqual(dict(after.listener.quotes())[MNQ]["bestBid"], trade["price"])

    def test_ids_go_on_above_the_highest_although_the_clock_went_back(self) -> None:
        first = self.desk(hours=5)
        highest = self.successResultOf(first.gateway.place_order(123, first.order(0)))
        for hours in (0, 72, 1):
            after = self.desk(hours=hours)
            order_id = self.successResultOf(after.gateway.place_order(123, after.order(0)))
            self.assertTrue(order_id > highest, (order_id, highest))
            highest = order_id

    def test_what_is_in_a_contract_not_listed_any_more_is_dropped_with_a_warning(self) -> None:
        killed = self.desk()
        self.successResultOf(killed.gateway.place_order(123, killed.order(0, 2)))
        with capturedLogs() as logs:
            after = self.desk(hours=24 * 100)
        self.assertEqual(self.knowledge(after)[0], [])
        (warning,) = logs
        self.assertIs(warning["log_level"], LogLevel.warn)
        self.assertIn(MNQ, warning["sentence"])
        with capturedLogs() as logs:
            self.desk(hours=24 * 100)
        self.assertEqual(logs, [], "it is gone for good")

    def test_orders_that_a_shut_market_fills_at_the_start_are_told_and_written(self) -> None:
        killed = self.desk()
        last = dict(killed.listener.quotes())[MNQ]["lastPrice"]
        order = killed.order(0, type=1, limitPrice=last - 20)
        order_id = self.successResultOf(killed.gateway.place_order(123, order))
        # Where no trade says where the market was, it opens anywhere: here, surely below.
        text = self.path.read_bytes().replace(str(last - 20).encode(), b"29000.00")
        self.path.write_bytes(text)
        after = self.desk(hours=1, is_open=False)
        self.assertEqual(
            [(told["id"], told["status"]) for told in after.listener.user_events(ORDER)],
            [(order_id, 2)],
        )
        self.assertEqual(after.listener.quotes(), [])
        self.assertEqual(self.knowledge(self.desk(is_open=False)), self.knowledge(after))

    def test_restrictions_voided_trades_and_parts_of_orders_outlive_it(self) -> None:
        killed = self.desk(is_open=False, faults=Faults(partial_fills=1.0))
        order = killed.order(0, 5, customTag="in parts")
        self.successResultOf(killed.gateway.place_order(123, order))
        (trade,) = killed.listener.user_events(TRADE)
        killed.gateway.void_trade(123, trade["id"])
        killed.gateway.set_can_trade(456, False)
        # The opening quote of the next one fills the rest.
        after = self.desk(hours=1, is_open=False)
        exchange = after.gateway.exchange
        self.assertFalse(exchange.account(456)["canTrade"])
        self.assertTrue(exchange.trades(123, START)[0]["voided"])
        (filled,) = after.listener.user_events(ORDER)
        self.assertEqual((filled["status"], filled["fillVolume"]), (2, 5))
        self.assertEqual([held["size"] for held in exchange.open_positions(123)], [5])
        self.assertEqual(self.refusal(after.gateway.place_order(123, order)), ("Order/place", 2))

    def test_a_new_listener_hears_nothing_that_went_before(self) -> None:
        """Not even what another did not live to hear."""

        def act(target: str, payload: Payload) -> None:
            raise ArithmeticError

        desk = self.desk(act=act)
        self.failureResultOf(desk.gateway.place_order(123, desk.order(0)), ArithmeticError)
        desk.gateway.stop()
        desk.listener = Recorder()
        desk.start()
        self.assertEqual(desk.listener.user_events(), [])
        self.assertEqual(len(self.knowledge(desk)[0]), 1)

    def test_it_may_be_started_again_and_restores_once(self) -> None:
        desk = self.desk()
        self.successResultOf(desk.gateway.place_order(123, desk.order(0)))
        self.successResultOf(desk.gateway.stop())
        desk.start()
        self.successResultOf(desk.gateway.close_contract(123, MNQ))
        self.assertEqual(self.knowledge(desk)[0], [])
        self.assertEqual(self.knowledge(self.desk(is_open=False)), self.knowledge(desk))

    def test_a_ledger_that_cannot_be_written_is_one_error_and_trading_goes_on(self) -> None:
        self.path.parent.write_text("not a directory")
        with capturedLogs() as logs:
            desk = self.desk(ACCOUNTS)
            desk.run(60)
        self.assertTrue(desk.listener.user_events(TRADE))
        (error,) = logs
        self.assertIs(error["log_level"], LogLevel.error)
        self.assertIn(f"{self.path} cannot be read: Not a directory", error["text"])
        self.path.parent.unlink()
        with capturedLogs() as logs:
            self.successResultOf(desk.gateway.place_order(123, desk.order(0)))
        self.assertEqual([log["log_level"] for log in logs], [LogLevel.warn])
        self.assertEqual(self.knowledge(self.desk(is_open=False)), self.knowledge(desk))

    def test_without_a_ledger_nothing_is_written(self) -> None:
        desk = Desk(ACCOUNTS).start()
        desk.run(30)
        self.assertFalse(self.path.parent.exists())
