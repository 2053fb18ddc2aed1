"""The practice gateway on a clock: its events and its answers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from riskd.config.settings import Faults
from riskd.gateway import mapping
from riskd.gateway.fields import Payload
from riskd.gateway.interface import (
    GatewayRefusedError,
    GatewayUnansweredError,
    IGateway,
)
from riskd.gateway.quote_book import QuoteBook
from riskd.model.events import PositionType
from riskd.practice.account_store import AccountStore
from riskd.practice.broker import LEDGER_NAME
from riskd.practice.gateway import PracticeGateway
from riskd.practice.ledger_format import Note, read_lines
from tests.support.directories import temporary_directory
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
    GatewayDriver,
    GatewayTestCase,
    Recorder,
    payloads_of,
)
from tests.support.waiting import step_until


class InterfaceTests(GatewayTestCase):
    """The interfaces."""

    def test_it_is_a_gateway(self) -> None:
        verifyObject(IGateway, GatewayDriver().gateway)

    def test_its_name_is_practice(self) -> None:
        self.assertEqual(GatewayDriver().gateway.name, "practice")


class MarketTests(GatewayTestCase):
    """The clock drives the market."""

    def test_at_the_start_every_contract_is_quoted_once(self) -> None:
        driver = GatewayDriver().start()
        quoted = [contract_id.split(".")[3] for contract_id, _quote in driver.listener.quotes()]
        self.assertEqual((len(quoted), set(quoted)), (len(LISTED), LISTED))

    def test_quotes_carry_all_that_a_console_needs_and_the_time_of_day(self) -> None:
        driver = GatewayDriver().start()
        for contract_id, payload in driver.listener.quotes():
            quote = QuoteBook().merge(mapping.quote(contract_id, payload), driver.now)
            assert quote is not None
            self.assertTrue(quote.bid < quote.ask)
            self.assertEqual(quote.timestamp, START)
            self.assertEqual(payload["symbol"], "F.US." + contract_id.split(".")[3])

    def test_every_contract_is_quoted_as_time_passes(self) -> None:
        driver = GatewayDriver().start()
        driver.listener.received.clear()
        driver.run(10)
        quotes = driver.listener.quotes()
        self.assertEqual({contract_id.split(".")[3] for contract_id, _quote in quotes}, LISTED)
        self.assertEqual(quotes[-1][1]["timestamp"], "2026-03-02T15:00:10+00:00")

    def test_nothing_moves_before_the_start(self) -> None:
        driver = GatewayDriver(ACCOUNTS)
        driver.run(10)
        self.assertEqual((driver.listener.received, driver.clock.getDelayedCalls()), ([], []))

    def test_nothing_moves_after_the_stop(self) -> None:
        driver = GatewayDriver(ACCOUNTS).start()
        driver.run(10)
        self.assertIsNone(self.successResultOf(driver.gateway.stop()))
        driver.listener.received.clear()
        driver.run(10)
        self.assertEqual((driver.listener.received, driver.clock.getDelayedCalls()), ([], []))

    def test_stopping_before_the_start_or_twice_is_harmless(self) -> None:
        driver = GatewayDriver()
        self.successResultOf(driver.gateway.stop())
        driver.start()
        for _ in range(2):
            self.successResultOf(driver.gateway.stop())

    def test_it_can_be_restarted_with_another_listener(self) -> None:
        driver = GatewayDriver().start()
        self.successResultOf(driver.gateway.place_order(123, driver.order(0)))
        self.successResultOf(driver.gateway.stop())
        driver.listener = Recorder()
        driver.start().run(10)
        self.assertEqual(
            {contract_id.split(".")[3] for contract_id, _quote in driver.listener.quotes()}, LISTED
        )
        (held,) = self.successResultOf(payloads_of(driver.gateway, "Position/searchOpen", 123))
        self.assertEqual(held["size"], 1)

    def test_a_listener_may_stop_it_during_a_delivery(self) -> None:
        """It receives nothing more, not even events of the same step."""
        driver = GatewayDriver(
            ACCOUNTS, act=lambda _target, _payload: driver.gateway.stop()
        ).start()
        driver.run(10)
        self.assertEqual(len(driver.listener.user_events()), 1)
        self.assertEqual(driver.clock.getDelayedCalls(), [])


class RepetitionTests(GatewayTestCase):
    """Seeds and ids."""

    def received(self, seed: int, seconds: int = 60) -> list[tuple[str, str | None, Payload]]:
        driver = GatewayDriver(ACCOUNTS, seed).start()
        driver.run(seconds)
        return driver.listener.received

    def test_the_same_seed_gives_the_same_events(self) -> None:
        """Prices, trades, ids and times."""
        self.assertEqual(self.received(7), self.received(7))

    def test_another_seed_gives_other_events(self) -> None:
        self.assertNotEqual(self.received(7, 10), self.received(8, 10))

    def test_one_account_changes_neither_prices_nor_the_other_account(self) -> None:
        def part(accounts: dict[int, tuple[str, ...]]) -> tuple[list[Any], list[Any]]:
            driver = GatewayDriver(accounts).start()
            driver.run(60)
            trades = [
                (trade["contractId"], trade["side"], trade["size"], trade["price"])
                for trade in driver.listener.user_events(TRADE)
                if trade["accountId"] == 123
            ]
            return driver.listener.quotes(), trades

        alone, both = part({123: ACCOUNTS[123]}), part(ACCOUNTS)
        self.assertTrue(alone[1])
        self.assertEqual(alone, both)

    def test_accounts_with_the_same_contracts_trade_differently(self) -> None:
        driver = GatewayDriver({123: ("MNQ",), 456: ("MNQ",)}).start()
        driver.run(60)
        first, second = (
            [
                (trade["creationTimestamp"], trade["side"], trade["size"])
                for trade in driver.listener.user_events(TRADE)
                if trade["accountId"] == account_id
            ]
            for account_id in (123, 456)
        )
        self.assertNotEqual(first, second)

    def test_without_a_seed_no_two_runs_are_alike(self) -> None:
        first, second = (GatewayDriver(seed=None).start().listener.quotes() for _ in range(2))
        self.assertNotEqual(first, second)

    def test_ids_go_on_after_those_of_an_earlier_run(self) -> None:
        earlier, later = GatewayDriver(seed=None), GatewayDriver(seed=None)
        later.clock.advance(1)
        later.gateway = PracticeGateway(later.clock, later.now, NOBODY_TRADES)
        for driver in (earlier, later):
            driver.start()
        ids = [
            self.successResultOf(driver.gateway.place_order(123, driver.order(0)))
            for driver in (earlier, later)
        ]
        last_of_earlier = max(payload["id"] for payload in earlier.listener.user_events(TRADE))
        self.assertTrue(last_of_earlier < ids[1], ids)
        self.assertTrue(ids[1] < 2**53, "a number that a JSON reader can hold")


class RequestTests(GatewayTestCase):
    """Requests and their answers."""

    def setUp(self) -> None:
        self.driver = GatewayDriver().start()
        self.gateway = self.driver.gateway
        self.listener = self.driver.listener

    def test_placing_returns_the_id_and_delivers_events(self) -> None:
        order_id = self.successResultOf(self.gateway.place_order(123, self.driver.order(0, 2)))
        self.assertEqual(
            self.listener.targets(),
            [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT],
        )
        self.assertEqual({order["id"] for order in self.listener.user_events(ORDER)}, {order_id})

    def test_a_trade_has_the_time_of_day(self) -> None:
        self.driver.clock.advance(0.125)
        self.successResultOf(self.gateway.place_order(123, self.driver.order(0)))
        (trade,) = self.listener.user_events(TRADE)
        self.assertEqual(trade["creationTimestamp"], "2026-03-02T15:00:00.125000+00:00")

    def test_open_positions_are_found(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.driver.order(1, 2)))
        (held,) = self.successResultOf(payloads_of(self.gateway, "Position/searchOpen", 123))
        self.assertEqual(held, self.listener.user_events(POSITION)[-1])
        read = mapping.position(held)
        self.assertEqual((read.type, read.size), (PositionType.SHORT, 2))
        self.assertEqual(
            self.successResultOf(payloads_of(self.gateway, "Position/searchOpen", 456)), []
        )

    def test_working_orders_are_found_until_they_are_canceled(self) -> None:
        far = dict(self.listener.quotes())[MNQ]["bestBid"] - 5000
        order = self.driver.order(0, type=1, limitPrice=far)
        order_id = self.successResultOf(self.gateway.place_order(123, order))
        (working,) = self.successResultOf(payloads_of(self.gateway, "Order/searchOpen", 123))
        self.assertEqual((working["id"], working["status"]), (order_id, 1))
        self.assertIsNone(self.successResultOf(self.gateway.cancel_order(123, order_id)))
        self.assertEqual(
            self.successResultOf(payloads_of(self.gateway, "Order/searchOpen", 123)), []
        )
        self.assertEqual(self.listener.user_events(ORDER)[-1]["status"], 3)

    def test_a_position_is_closed(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.driver.order(0, 3)))
        self.assertIsNone(self.successResultOf(self.gateway.close_contract(123, MNQ)))
        self.assertEqual(
            self.successResultOf(payloads_of(self.gateway, "Position/searchOpen", 123)), []
        )
        closed = self.listener.user_events(POSITION)[-1]
        self.assertEqual((closed["size"], closed["type"]), (0, 0))

    def test_a_part_of_a_position_is_closed(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.driver.order(0, 3)))
        closing = self.gateway.partial_close_contract(123, MNQ, 2)
        self.assertIsNone(self.successResultOf(closing))
        (held,) = self.successResultOf(payloads_of(self.gateway, "Position/searchOpen", 123))
        self.assertEqual(held["size"], 1)
        self.assertEqual(held, self.listener.user_events(POSITION)[-1])

    def test_an_order_is_changed(self) -> None:
        far = dict(self.listener.quotes())[MNQ]["bestBid"] - 5000
        order = self.driver.order(0, type=1, limitPrice=far)
        order_id = self.successResultOf(self.gateway.place_order(123, order))
        changes = {"size": 4, "limitPrice": far - 1}
        changing = self.gateway.modify_order(123, order_id, changes)
        self.assertIsNone(self.successResultOf(changing))
        (working,) = self.successResultOf(payloads_of(self.gateway, "Order/searchOpen", 123))
        self.assertEqual((working["size"], working["limitPrice"]), (4, far - 1))
        self.assertEqual(working, self.listener.user_events(ORDER)[-1])

    def test_an_account_is_found(self) -> None:
        account = self.successResultOf(payloads_of(self.gateway, "Account/search", 123))
        self.assertEqual((account["id"], account["canTrade"]), (123, True))
        self.successResultOf(self.gateway.place_order(123, self.driver.order(0)))
        account = self.successResultOf(payloads_of(self.gateway, "Account/search", 123))
        self.assertEqual(account, self.listener.user_events(ACCOUNT_EVENT)[-1])

    def test_a_restriction_is_delivered(self) -> None:
        for can_trade in (False, True):
            self.gateway.set_can_trade(123, can_trade)
            account = self.listener.user_events(ACCOUNT_EVENT)[-1]
            self.assertEqual((account["id"], account["canTrade"]), (123, can_trade))
        self.gateway.set_can_trade(123, False)
        self.assertEqual(
            self.refusal(self.gateway.place_order(123, self.driver.order(0))), ("Order/place", 4)
        )

    def test_a_payout_is_delivered(self) -> None:
        self.gateway.transfer(123, Decimal("-500.25"))
        account = self.listener.user_events(ACCOUNT_EVENT)[-1]
        self.assertEqual((account["id"], account["balance"]), (123, Decimal("49499.75")))
        for amount in ("0", "0.001", "NaN"):
            self.assertRaises(ValueError, self.gateway.transfer, 123, Decimal(amount))

    def test_a_voided_trade_is_delivered_again(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.driver.order(0)))
        (trade,) = self.listener.user_events(TRADE)
        self.gateway.void_trade(123, trade["id"])
        voided = {**trade, "voided": True}
        self.assertEqual(self.listener.user_events(TRADE), [trade, voided])
        found = payloads_of(self.gateway, "Trade/search", 123, START)
        self.assertEqual(self.successResultOf(found), [voided])

    def test_an_ended_order_is_found(self) -> None:
        order_id = self.successResultOf(self.gateway.place_order(123, self.driver.order(0)))
        order = self.successResultOf(payloads_of(self.gateway, "Order/searchById", 123, order_id))
        self.assertEqual(order, self.listener.user_events(ORDER)[-1])
        self.assertEqual(order["status"], 2)

    def test_trades_are_found_since_a_moment(self) -> None:
        self.successResultOf(self.gateway.place_order(123, self.driver.order(0)))
        self.driver.clock.advance(1)
        self.successResultOf(self.gateway.close_contract(123, MNQ))
        opening, closing = self.listener.user_events(TRADE)
        for since, found in (
            (START, [opening, closing]),
            (self.driver.now(), [closing]),
            (self.driver.now() + timedelta(seconds=1), []),
        ):
            self.assertEqual(
                self.successResultOf(payloads_of(self.gateway, "Trade/search", 123, since)),
                found,
                since,
            )

    def test_a_contract_is_found(self) -> None:
        contract = mapping.contract(
            self.successResultOf(payloads_of(self.gateway, "Contract/searchById", ES))
        )
        self.assertEqual((contract.id, contract.root), (ES, "ES"))
        self.assertEqual((str(contract.tick_size), str(contract.tick_value)), ("0.25", "12.50"))

    def test_every_refusal_fails_the_deferred(self) -> None:
        """No request raises."""
        gateway, order = self.gateway, self.driver.order
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
            (payloads_of(gateway, "Account/search", 9), "Account/search", 1),
            (payloads_of(gateway, "Position/searchOpen", 9), "Position/searchOpen", 1),
            (payloads_of(gateway, "Order/searchOpen", 9), "Order/searchOpen", 1),
            (payloads_of(gateway, "Order/searchById", 9, 1), "Order/searchById", 1),
            (payloads_of(gateway, "Order/searchById", 123, 999), "Order/searchById", 1),
            (payloads_of(gateway, "Trade/search", 9, START), "Trade/search", 1),
            (
                payloads_of(gateway, "Contract/searchById", "CON.F.US.XX.M26"),
                "Contract/searchById",
                1,
            ),
        ):
            self.assertEqual(self.refusal(asked), (request, code))

    def test_a_rejected_order_is_delivered(self) -> None:
        self.refusal(self.gateway.place_order(123, self.driver.order(0, 0)))
        (order,) = self.listener.user_events()
        self.assertEqual((order["status"], order["size"]), (5, 0))

    def test_before_the_start_there_is_no_market_to_trade_in(self) -> None:
        driver = GatewayDriver()
        self.assertEqual(
            self.refusal(driver.gateway.place_order(123, driver.order(0))), ("Order/place", 9)
        )
        self.assertEqual(
            self.successResultOf(payloads_of(driver.gateway, "Order/searchOpen", 123)), []
        )

    def test_after_the_stop_requests_are_answered_without_events(self) -> None:
        self.successResultOf(self.gateway.stop())
        self.listener.received.clear()
        self.successResultOf(self.gateway.place_order(123, self.driver.order(0)))
        self.assertEqual(
            len(self.successResultOf(payloads_of(self.gateway, "Position/searchOpen", 123))), 1
        )
        self.assertEqual(self.listener.received, [])


class ShutMarketTests(GatewayTestCase):
    """A gateway whose market is not open."""

    def setUp(self) -> None:
        self.driver = GatewayDriver(ACCOUNTS, is_open=False).start()

    def test_a_shut_market_does_not_move_and_has_no_traders(self) -> None:
        self.driver.run(60)
        self.assertEqual(self.driver.listener.received, [])
        self.assertEqual(self.driver.clock.getDelayedCalls(), [])

    def test_a_shut_market_carries_out_requests(self) -> None:
        gateway = self.driver.gateway
        self.successResultOf(gateway.place_order(123, self.driver.order(0, 2)))
        self.assertEqual(
            len(self.successResultOf(payloads_of(gateway, "Position/searchOpen", 123))), 1
        )
        self.successResultOf(gateway.close_contract(123, MNQ))
        self.assertEqual(
            self.successResultOf(payloads_of(gateway, "Position/searchOpen", 123)), []
        )
        self.assertEqual(
            [position["size"] for position in self.driver.listener.user_events(POSITION)], [2, 0]
        )
        self.assertEqual(self.refusal(gateway.cancel_order(123, 1)), ("Order/cancel", 2))
        self.assertEqual(
            self.successResultOf(payloads_of(gateway, "Contract/searchById", MNQ))["name"], "MNQM6"
        )

    def test_a_shut_market_can_be_stopped(self) -> None:
        self.assertIsNone(self.successResultOf(self.driver.gateway.stop()))


class MovedMarketTests(GatewayTestCase):
    """A market that a test moves."""

    def setUp(self) -> None:
        self.driver = GatewayDriver(is_open=False).start()
        self.gateway = self.driver.gateway

    def test_a_shut_market_delivers_the_quote(self) -> None:
        self.gateway.move_market(MNQ, Decimal("20000.00"))
        ((contract_id, quote),) = self.driver.listener.quotes()
        self.assertEqual(contract_id, MNQ)
        self.assertEqual(
            [str(quote[name]) for name in ("bestBid", "lastPrice", "bestAsk")],
            ["19999.75", "20000.00", "20000.25"],
        )

    def test_moving_the_market_fills_orders(self) -> None:
        self.gateway.move_market(MNQ, Decimal("20000.00"))
        for order in (
            self.driver.order(0, 2),
            self.driver.order(1, 2, type=4, stopPrice=Decimal("19990.00")),
        ):
            self.successResultOf(self.gateway.place_order(123, order))
        self.gateway.move_market(MNQ, Decimal("19989.00"))
        trades = self.driver.listener.user_events(TRADE)
        self.assertEqual([str(trade["price"]) for trade in trades], ["20000.25", "19988.75"])
        self.assertEqual(self.gateway.exchange.store.open_positions(123), [])

    def test_an_open_market_goes_on_from_the_new_price(self) -> None:
        driver = GatewayDriver().start()
        driver.gateway.move_market(MNQ, Decimal("30000.00"))
        driver.listener.received.clear()
        driver.run(2)
        quotes = [quote for contract_id, quote in driver.listener.quotes() if contract_id == MNQ]
        self.assertTrue(quotes)
        for quote in quotes:
            self.assertTrue(abs(quote["lastPrice"] - 30000) < 100, quote)

    def test_an_open_market_goes_on_below_zero(self) -> None:
        driver = GatewayDriver().start()
        crude = "CON.F.US.MCLE.K26"
        driver.gateway.move_market(crude, Decimal("-37.63"))
        driver.listener.received.clear()
        driver.run(4)
        quotes = [quote for contract_id, quote in driver.listener.quotes() if contract_id == crude]
        self.assertTrue(quotes)
        for quote in quotes:
            self.assertTrue(abs(quote["lastPrice"] + Decimal("37.63")) < 1, quote)

    def test_a_price_off_tick_and_an_unlisted_contract_are_errors(self) -> None:
        self.assertRaises(ValueError, self.gateway.move_market, MNQ, Decimal("20000.10"))
        self.assertRaises(
            GatewayRefusedError, self.gateway.move_market, "CON.F.US.XX.M26", Decimal(1)
        )
        self.assertEqual(self.driver.listener.received, [])


class AskTests(GatewayTestCase):
    """Queries of the exchange that the interface lacks."""

    def test_a_query_of_the_exchange_is_answered(self) -> None:
        driver = GatewayDriver().start()
        accounts = self.successResultOf(
            driver.gateway.ask("Account/search", AccountStore.accounts)
        )
        self.assertEqual([account["id"] for account in accounts], [123, 456])

    def test_a_query_meets_the_faults_of_reads(self) -> None:
        driver = GatewayDriver(faults=Faults(failed_reads=1)).start()
        asked = driver.gateway.ask("Account/search", AccountStore.accounts)
        error = self.failureResultOf(asked, GatewayUnansweredError).value
        self.assertEqual(error.request, "Account/search")


class QuietTests(GatewayTestCase):
    def test_a_quiet_market_moves_without_traders(self) -> None:
        driver = GatewayDriver(ACCOUNTS, is_quiet=True).start()
        driver.listener.received.clear()
        driver.run(60)
        self.assertEqual(driver.listener.user_events(), [])
        self.assertTrue(driver.listener.quotes())


class RestartTests(GatewayTestCase):
    """A gateway with a ledger, and the next one."""

    def setUp(self) -> None:
        self.path = temporary_directory(self) / "state" / LEDGER_NAME

    def driver(
        self, accounts: dict[int, tuple[str, ...]] = NOBODY_TRADES, **options: Any
    ) -> GatewayDriver:
        """Return a started gateway on the ledger of this test."""
        return GatewayDriver(accounts, None, ledger=self.path.parent, **options).start()

    def knowledge(self, driver: GatewayDriver, account_id: int = 123) -> tuple[list[Payload], ...]:
        gateway = driver.gateway
        return (
            self.successResultOf(payloads_of(gateway, "Position/searchOpen", account_id)),
            self.successResultOf(payloads_of(gateway, "Order/searchOpen", account_id)),
            self.successResultOf(payloads_of(gateway, "Trade/search", account_id, START)),
        )

    def withdraw_entries(self, driver: GatewayDriver) -> None:
        """Cancel entries near the market, which the opening quote of the next gateway may reach."""
        for account_id in ACCOUNTS:
            exchange = driver.gateway.exchange
            if not exchange.store.open_positions(account_id):
                for order in exchange.store.open_orders(account_id):
                    self.successResultOf(driver.gateway.cancel_order(account_id, order["id"]))

    def test_a_gateway_goes_on_after_a_kill(self) -> None:
        """After any number of seconds, with all positions, orders and trades of both accounts."""
        for seconds in (1, 20, 41, 63, 90):
            self.setUp()
            killed = self.driver(ACCOUNTS)
            killed.run(seconds)
            self.withdraw_entries(killed)
            after = self.driver(hours=1, is_open=False)
            for account_id in ACCOUNTS:
                self.assertEqual(
                    self.knowledge(after, account_id), self.knowledge(killed, account_id)
                )
                for order in killed.listener.user_events(ORDER):
                    if order["accountId"] == account_id:
                        found = [
                            self.successResultOf(
                                payloads_of(
                                    driver.gateway, "Order/searchById", account_id, order["id"]
                                )
                            )
                            for driver in (killed, after)
                        ]
                        self.assertEqual(found[0], found[1])
            killed.gateway.stop()

    def test_a_gateway_goes_on_after_a_stop(self) -> None:
        stopped = self.driver(ACCOUNTS)
        stopped.run(50)
        self.withdraw_entries(stopped)
        stopped.gateway.stop()
        after = self.driver(hours=1, is_open=False)
        self.assertEqual(self.knowledge(after), self.knowledge(stopped))

    def test_events_are_written_before_they_are_delivered(self) -> None:
        def check(target: str, payload: Payload) -> None:
            notes: list[Note] = []
            messages = read_lines(self.path.read_bytes(), "ledger", notes.append)
            self.assertEqual(notes, [])
            self.assertIn((target, None, payload), messages)

        driver = GatewayDriver(ACCOUNTS, ledger=self.path.parent, act=check).start()
        driver.run(60)
        self.assertTrue(driver.listener.user_events(TRADE))

    def test_an_order_is_written_before_its_id_is_returned(self) -> None:
        """Even if a listener places it during a delivery."""
        placed = []

        def act(target: str, payload: Payload) -> None:
            if target == ORDER and not placed:
                placed.append(0)
                placed[0] = self.successResultOf(
                    driver.gateway.place_order(456, driver.order(1, customTag="in between"))
                )
                messages = read_lines(self.path.read_bytes(), "ledger", [].append)
                self.assertIn(placed[0], [m.payload["id"] for m in messages if m.target == ORDER])

        driver = GatewayDriver(seed=7, ledger=self.path.parent, act=act).start()
        driver.gateway.place_order(123, driver.order(0))
        self.assertTrue(placed[0])

    def test_traders_take_up_their_restored_positions(self) -> None:
        """They close them and open others."""
        killed = self.driver(ACCOUNTS)
        step_until(
            lambda: all(all(self.knowledge(killed, account_id)[:2]) for account_id in ACCOUNTS),
            lambda: killed.run(1),
        )
        held = {payload["id"] for key in ACCOUNTS for payload in self.knowledge(killed, key)[0]}
        after = self.driver(ACCOUNTS, hours=1)
        after.run(120)
        received = after.listener.user_events(POSITION)
        self.assertEqual(
            {payload["id"] for payload in received if not payload["size"]} & held,
            held,
            "not closed",
        )
        self.assertEqual(
            {payload["accountId"] for payload in received if payload["id"] not in held},
            set(ACCOUNTS),
        )
        ended = {
            order["id"] for order in after.listener.user_events(ORDER) if order["status"] != 1
        }
        for account_id in ACCOUNTS:
            for order in self.knowledge(killed, account_id)[1]:
                self.assertIn(order["id"], ended)

    def test_the_market_opens_at_the_last_traded_price(self) -> None:
        killed = self.driver()
        self.successResultOf(killed.gateway.place_order(123, killed.order(1)))
        (trade,) = killed.listener.user_events(TRADE)
        after = self.driver(hours=60)
        self.assertEqual(dict(after.listener.quotes())[MNQ]["bestBid"], trade["price"])

    def test_ids_go_on_above_the_highest_after_the_clock_went_back(self) -> None:
        first = self.driver(hours=5)
        highest = self.successResultOf(first.gateway.place_order(123, first.order(0)))
        for hours in (0, 72, 1):
            after = self.driver(hours=hours)
            order_id = self.successResultOf(after.gateway.place_order(123, after.order(0)))
            self.assertTrue(order_id > highest, (order_id, highest))
            highest = order_id

    def test_positions_in_unlisted_contracts_are_dropped_with_a_warning(self) -> None:
        killed = self.driver()
        self.successResultOf(killed.gateway.place_order(123, killed.order(0, 2)))
        with capturedLogs() as logs:
            after = self.driver(hours=24 * 100)
        self.assertEqual(self.knowledge(after)[0], [])
        (warning,) = logs
        self.assertIs(warning["log_level"], LogLevel.warn)
        self.assertIn(MNQ, warning["sentence"])
        with capturedLogs() as logs:
            self.driver(hours=24 * 100)
        self.assertEqual(logs, [], "it is gone for good")

    def test_fills_at_the_start_of_a_shut_market_are_delivered_and_written(self) -> None:
        killed = self.driver()
        last = dict(killed.listener.quotes())[MNQ]["lastPrice"]
        order = killed.order(0, type=1, limitPrice=last - 20)
        order_id = self.successResultOf(killed.gateway.place_order(123, order))
        # Without a trade to go on from, the market opens anywhere: here, surely below the limit.
        text = self.path.read_bytes().replace(str(last - 20).encode(), b"29000.00")
        self.path.write_bytes(text)
        after = self.driver(hours=1, is_open=False)
        self.assertEqual(
            [
                (received["id"], received["status"])
                for received in after.listener.user_events(ORDER)
            ],
            [(order_id, 2)],
        )
        self.assertEqual(after.listener.quotes(), [])
        self.assertEqual(self.knowledge(self.driver(is_open=False)), self.knowledge(after))

    def test_restrictions_voided_trades_and_partial_fills_survive_a_restart(self) -> None:
        killed = self.driver(is_open=False, faults=Faults(partial_fills=1.0))
        order = killed.order(0, 5, customTag="in parts")
        self.successResultOf(killed.gateway.place_order(123, order))
        (trade,) = killed.listener.user_events(TRADE)
        killed.gateway.void_trade(123, trade["id"])
        killed.gateway.set_can_trade(456, False)
        # The opening quote of the next gateway fills the rest.
        after = self.driver(hours=1, is_open=False)
        exchange = after.gateway.exchange
        self.assertFalse(exchange.store.account(456)["canTrade"])
        self.assertTrue(exchange.store.trades(123, START)[0]["voided"])
        (filled,) = after.listener.user_events(ORDER)
        self.assertEqual((filled["status"], filled["fillVolume"]), (2, 5))
        self.assertEqual([held["size"] for held in exchange.store.open_positions(123)], [5])
        self.assertEqual(self.refusal(after.gateway.place_order(123, order)), ("Order/place", 2))

    def test_a_new_listener_receives_no_earlier_events(self) -> None:
        """Not even those that a failing listener missed."""

        def act(target: str, payload: Payload) -> None:
            raise ArithmeticError

        driver = self.driver(act=act)
        self.failureResultOf(driver.gateway.place_order(123, driver.order(0)), ArithmeticError)
        driver.gateway.stop()
        driver.listener = Recorder()
        driver.start()
        self.assertEqual(driver.listener.user_events(), [])
        self.assertEqual(len(self.knowledge(driver)[0]), 1)

    def test_a_second_start_does_not_restore_again(self) -> None:
        driver = self.driver()
        self.successResultOf(driver.gateway.place_order(123, driver.order(0)))
        self.successResultOf(driver.gateway.stop())
        driver.start()
        self.successResultOf(driver.gateway.close_contract(123, MNQ))
        self.assertEqual(self.knowledge(driver)[0], [])
        self.assertEqual(self.knowledge(self.driver(is_open=False)), self.knowledge(driver))

    def test_an_unwritable_ledger_is_one_error_and_trading_goes_on(self) -> None:
        self.path.parent.write_text("not a directory")
        with capturedLogs() as logs:
            driver = self.driver()
            self.successResultOf(driver.gateway.place_order(123, driver.order(0)))
        self.assertTrue(driver.listener.user_events(TRADE))
        (error,) = logs
        self.assertIs(error["log_level"], LogLevel.error)
        self.assertIn(f"{self.path} cannot be read: Not a directory", error["text"])
        self.path.parent.unlink()
        with capturedLogs() as logs:
            self.successResultOf(driver.gateway.place_order(123, driver.order(0)))
        self.assertEqual([log["log_level"] for log in logs], [LogLevel.warn])
        self.assertEqual(self.knowledge(self.driver(is_open=False)), self.knowledge(driver))

    def test_without_a_ledger_nothing_is_written(self) -> None:
        driver = GatewayDriver(ACCOUNTS).start()
        driver.run(30)
        self.assertFalse(self.path.parent.exists())
