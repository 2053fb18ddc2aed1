"""The events that hubs send, and when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from riskd.config.settings import Faults
from riskd.practice.server.event_feed import EventFeed
from tests.support.practice_server import ES, MNQ, START, HubClient, PracticeServerTestCase

USER_TARGETS = {
    "GatewayUserAccount",
    "GatewayUserOrder",
    "GatewayUserPosition",
    "GatewayUserTrade",
}


def data_of(events: list[Any], target: str) -> list[Any]:
    """Return the arguments of account events."""
    return [event["arguments"][0]["data"] for event in events if event["target"] == target]


class UserTests(PracticeServerTestCase):
    """Accounts, orders, positions and trades."""

    def listen(self, account: int = 123) -> HubClient:
        client = self.hub("user")
        self.subscribe(client, "SubscribeAccounts")
        for subject in ("Orders", "Positions", "Trades"):
            self.subscribe(client, f"Subscribe{subject}", account)
        return client

    def test_events_have_type_target_and_arguments_and_nothing_else(self) -> None:
        client = self.listen()
        self.place()
        self.clock.advance(1)
        events = client.events()
        self.assertEqual({event["target"] for event in events}, USER_TARGETS)
        for event in events:
            self.assertEqual(list(event), ["type", "target", "arguments"])
            self.assertEqual(
                [set(argument) for argument in event["arguments"]], [{"action", "data"}]
            )

    def test_a_fill_is_sent_as_the_live_feed_does(self) -> None:
        """Order and trade, then the position, then the account several times."""
        client = self.listen()
        self.place()
        now = [event["target"] for event in client.events()]
        self.assertEqual(now, ["GatewayUserOrder", "GatewayUserOrder", "GatewayUserTrade"])
        self.clock.advance(0.1)
        self.assertEqual([event["target"] for event in client.events()], ["GatewayUserPosition"])
        self.clock.advance(0.1)
        accounts = [event["target"] for event in client.events()]
        self.assertEqual(set(accounts), {"GatewayUserAccount"})
        self.assertIn(len(accounts), (2, 3, 4))

    def test_events_have_the_fields_that_clients_need(self) -> None:
        client = self.listen()
        self.place()
        self.clock.advance(1)
        events = client.events()
        for order in data_of(events, "GatewayUserOrder"):
            datetime.fromisoformat(order["updateTimestamp"])
            self.assertIs(type(order["fillVolume"]), int)
            self.assertNotIn("customTag", order)
        for position in data_of(events, "GatewayUserPosition"):
            self.assertTrue({"type", "size", "averagePrice"} <= set(position))
        (trade,) = data_of(events, "GatewayUserTrade")
        self.assertNotIn("profitAndLoss", trade)

    def test_a_closed_position_has_size_0_and_type_0_and_keeps_its_average(self) -> None:
        self.move("20000")
        self.place()
        client = self.listen()
        self.clock.advance(1)
        client.events()
        self.ask("Position/closeContract", accountId=123, contractId=MNQ)
        self.clock.advance(1)
        events = client.events()
        (closed,) = data_of(events, "GatewayUserPosition")
        self.assertEqual(
            (closed["size"], closed["type"], closed["averagePrice"]), (0, 0, 20000.25)
        )
        (event,) = (each for each in events if each["target"] == "GatewayUserPosition")
        self.assertEqual(event["arguments"][0]["action"], 2)

    def test_an_exit_may_be_sent_as_two_trades(self) -> None:
        self.gateway.faults = Faults(opening_half_again=True)
        self.move("20000")
        self.place()
        client = self.listen()
        self.move("20010")
        self.place(side=1)
        trades = data_of(client.events(), "GatewayUserTrade")
        self.assertEqual(
            [("profitAndLoss" in each, each["price"]) for each in trades],
            [(False, 20000.25), (True, 20009.75)],
        )

    def test_only_subscribed_events_are_sent_until_unsubscribed(self) -> None:
        client = self.hub("user")
        self.subscribe(client, "SubscribeOrders", 123)
        self.place()
        self.ask("Order/place", accountId=456, contractId=MNQ, type=2, side=0, size=1)
        self.clock.advance(1)
        orders = client.events()
        self.assertEqual({event["target"] for event in orders}, {"GatewayUserOrder"})
        self.assertEqual(
            {order["accountId"] for order in data_of(orders, "GatewayUserOrder")}, {123}
        )
        self.subscribe(client, "UnsubscribeOrders", 123)
        self.place()
        self.clock.advance(1)
        self.assertEqual(client.events(), [])

    def test_subscribing_twice_sends_once(self) -> None:
        client = self.hub("user")
        for _ in range(2):
            self.subscribe(client, "SubscribeTrades", 123)
        self.place()
        self.assertEqual(len(client.events()), 1)

    def test_the_account_subscription_covers_all_accounts(self) -> None:
        client = self.hub("user")
        self.subscribe(client, "SubscribeAccounts")
        for account in (123, 456):
            self.ask("Practice/setCanTrade", accountId=account, canTrade=False)
        self.clock.advance(1)
        accounts = data_of(client.events(), "GatewayUserAccount")
        self.assertEqual(
            {(each["id"], each["canTrade"]) for each in accounts}, {(123, False), (456, False)}
        )

    def test_accounts_that_do_not_exist_cannot_be_subscribed(self) -> None:
        client = self.hub("user")
        client.invoke("SubscribeOrders", 9)
        self.assertIn("there is no 9", client.records()[0]["error"])

    def test_no_late_event_is_sent_after_the_stop(self) -> None:
        client = self.listen()
        self.place()
        client.events()
        self.site.doStop()
        self.clock.advance(1)
        self.assertEqual(client.events(), [])
        self.site.doStart()


class MarketTests(PracticeServerTestCase):
    """Quotes, trades and depth."""

    def quotes(self, client: HubClient) -> list[Any]:
        events = [event for event in client.events() if event["target"] == "GatewayQuote"]
        for event in events:
            self.assertEqual(list(event), ["type", "target", "arguments"])
            self.assertEqual((len(event["arguments"]), event["arguments"][0]), (2, MNQ))
        return [event["arguments"][1] for event in events]

    def test_a_full_quote_is_followed_by_changes(self) -> None:
        client = self.hub("market")
        self.move("20000")
        self.subscribe(client, "SubscribeContractQuotes", MNQ)
        (whole,) = self.quotes(client)
        self.assertEqual(
            (whole["symbol"], whole["bestBid"], whole["bestAsk"], whole["lastPrice"]),
            ("F.US.MNQ", 19999.75, 20000.25, 20000),
        )
        self.clock.advance(1)
        self.move("20000")
        (changes,) = self.quotes(client)
        self.assertEqual(set(changes), {"symbol", "volume", "lastUpdated", "timestamp"})

    def test_a_shut_market_sends_its_opening_quote(self) -> None:
        """A shut market publishes no opening quotes."""
        client = self.hub("market")
        self.subscribe(client, "SubscribeContractQuotes", MNQ)
        (whole,) = self.quotes(client)
        self.assertTrue(whole["bestBid"] < whole["bestAsk"])

    def test_a_silent_quote_is_repeated_every_ten_seconds(self) -> None:
        client = self.hub("market")
        self.subscribe(client, "SubscribeContractQuotes", MNQ)
        self.quotes(client)
        for _ in range(3):
            self.clock.pump([1] * 9)
            self.assertEqual(self.quotes(client), [])
            self.clock.advance(1)
            (again,) = self.quotes(client)
            self.assertEqual(set(again), {"symbol", "lastUpdated", "timestamp"})
        self.assertTrue(datetime.fromisoformat(again["timestamp"]) > START)

    def test_only_quotes_are_repeated(self) -> None:
        self.move("20000")
        client = self.hub("market")
        self.subscribe(client, "SubscribeContractTrades", MNQ)
        self.clock.pump([1] * 25)
        self.assertEqual(client.events(), [])

    def test_trades_and_depth_are_sent_to_subscribers(self) -> None:
        client = self.hub("market")
        self.subscribe(client, "SubscribeContractTrades", MNQ)
        self.subscribe(client, "SubscribeContractMarketDepth", MNQ)
        self.move("20000")
        self.move("5800", ES)
        trade, depth = client.events()
        self.assertEqual((trade["target"], depth["target"]), ("GatewayTrade", "GatewayDepth"))
        for event in (trade, depth):
            self.assertEqual(event["arguments"][0], MNQ)
        self.assertEqual(trade["arguments"][1][0]["price"], 20000)
        self.assertEqual([row["price"] for row in depth["arguments"][1]], [19999.75, 20000.25])

    def test_an_open_market_sends_quotes_by_itself(self) -> None:
        self.make(is_open=True)
        client = self.hub("market")
        self.subscribe(client, "SubscribeContractQuotes", MNQ)
        self.clock.pump([0.25] * 8)
        self.assertTrue(len(self.quotes(client)) >= 3)

    def test_contracts_that_do_not_exist_cannot_be_subscribed(self) -> None:
        client = self.hub("market")
        client.invoke("SubscribeContractQuotes", "CON.F.US.X.M26")
        self.assertIn("CON.F.US.X.M26", client.records()[0]["error"])


class FeedTests(PracticeServerTestCase):
    def test_a_lost_client_leaves_no_subscription(self) -> None:
        client = self.hub("market")
        self.subscribe(client, "SubscribeContractQuotes", MNQ)
        feed: EventFeed = self.site._feed
        self.assertEqual((len(feed._subscribers), len(feed._sent_at)), (1, 1))
        client.transport.loseConnection()
        self.assertEqual((feed._subscribers, feed._sent_at), ({}, {}))
