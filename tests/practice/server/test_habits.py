"""The live broker's habits at the server: clock, distance, and what it leaves out."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import jwt

from riskd.config.settings import NO_FAULTS, Faults
from riskd.practice.server.tokens import LIFETIME
from tests.support.practice_server import (
    HOST,
    KEY,
    MNQ,
    SINCE,
    USER,
    HubClient,
    PracticeServerTestCase,
    Wire,
    read_reply,
)
from tests.support.waiting import step_until
from tests.support.websocket_frames import handshake

DAY = 86_400.0


class HabitsTestCase(PracticeServerTestCase):
    """A server whose habits a test sets."""

    def inject(self, **faults: Any) -> None:
        self.gateway.faults = Faults(**faults)

    def heal(self) -> None:
        self.gateway.faults = NO_FAULTS

    def listen(self) -> HubClient:
        client = self.hub("user")
        for subject in ("Orders", "Positions", "Trades"):
            self.subscribe(client, f"Subscribe{subject}", 123)
        return client

    def send(self, path: str, *, method: str = "POST", **fields: Any) -> Wire:
        """Send a request without waiting for its response."""
        wire = Wire(self.site)
        body = json.dumps(fields).encode()
        wire.send(
            f"{method} /api/{path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n".encode()
            + body
        )
        return wire


def data(events: list[Any], target: str) -> list[Any]:
    """Return the payloads of account events."""
    return [event["arguments"][0]["data"] for event in events if event["target"] == target]


class ClockTests(HabitsTestCase):
    """The exchange's clock."""

    def test_every_answer_is_dated_by_the_exchanges_clock(self) -> None:
        for offset in (0.0, 60.0, -60.0, DAY, -DAY):
            self.inject(clock_offset_seconds=offset)
            self.token = self.ask("Auth/loginKey", userName=USER, apiKey=KEY)["token"]
            wanted = self.now() + timedelta(seconds=offset)
            for reply in (
                self.request("/api/Account/search"),
                self.request("/api/Status/ping", method="GET"),
                self.request("/api/nothing"),
                self.request("/api/Account/search", headers=("Authorization: Bearer x",)),
                self.request("/api/Account/search", host="evil.example"),
                self.request("/hubs/user/negotiate"),
                self.request("/hubs/user", method="GET"),
            ):
                self.assertEqual(parsedate_to_datetime(reply.headers["Date"]), wanted)

    def test_a_date_is_cut_to_its_second(self) -> None:
        self.inject(clock_offset_seconds=0.75)
        date = parsedate_to_datetime(self.request("/api/Account/search").headers["Date"])
        self.assertEqual(date, self.now())
        self.inject(clock_offset_seconds=-0.25)
        date = parsedate_to_datetime(self.request("/api/Account/search").headers["Date"])
        self.assertEqual(date, self.now() - timedelta(seconds=1))

    def test_the_upgrade_of_a_hub_is_dated_once(self) -> None:
        self.inject(clock_offset_seconds=30.0)
        wire = Wire(self.site)
        wire.send(handshake(HOST, f"/hubs/user?access_token={self.token}"))
        head = wire.take().split(b"\r\n\r\n")[0].decode()
        (date,) = [line for line in head.split("\r\n") if line.startswith("Date: ")]
        wanted = self.now() + timedelta(seconds=30)
        self.assertEqual(parsedate_to_datetime(date.removeprefix("Date: ")), wanted)

    def test_all_stamps_are_of_the_exchanges_clock(self) -> None:
        self.inject(clock_offset_seconds=-17.5)
        client, market = self.listen(), self.hub("market")
        self.subscribe(market, "SubscribeContractQuotes", MNQ)
        market.events()
        self.move("20000")
        self.place()
        self.clock.advance(0.2)
        wanted = self.now() - timedelta(seconds=17.7)
        events = client.events()
        stamps = [
            data(events, "GatewayUserOrder")[-1]["updateTimestamp"],
            data(events, "GatewayUserTrade")[-1]["creationTimestamp"],
            data(events, "GatewayUserPosition")[-1]["creationTimestamp"],
            market.events()[-1]["arguments"][1]["timestamp"],
            self.ask("Position/searchOpen", accountId=123)["positions"][0]["creationTimestamp"],
        ]
        self.assertEqual([datetime.fromisoformat(stamp) for stamp in stamps], [wanted] * 5)

    def test_a_token_expires_by_the_exchanges_clock(self) -> None:
        self.inject(clock_offset_seconds=3600.0)
        token = self.ask("Auth/loginKey", userName=USER, apiKey=KEY)["token"]
        claims = jwt.decode(token, options={"verify_signature": False})
        expires = (self.now() + timedelta(hours=1) + LIFETIME).timestamp()
        self.assertEqual(claims["exp"], expires)
        # Another clock makes another age of the same token.
        self.token = token
        self.inject(clock_offset_seconds=DAY)
        self.ask("Account/search")
        self.clock.advance(3600)
        self.assertEqual(self.reply("Account/search").status, 401)


class LatencyTests(HabitsTestCase):
    """The way to the broker and back."""

    def test_every_answer_takes_the_way_there_and_back(self) -> None:
        self.inject(latency_seconds=0.5)
        self.move("20000")
        for path, method, fields in (
            ("Auth/loginKey", "POST", {"userName": USER, "apiKey": KEY}),
            ("Auth/validate", "POST", {}),
            ("Status/ping", "GET", {}),
            ("Account/search", "POST", {}),
            ("Order/cancel", "POST", {"accountId": 123, "orderId": 1}),
            ("nothing", "POST", {}),
        ):
            wire = self.send(path, method=method, **fields)
            self.clock.pump([0.25] * 3)
            self.assertEqual(wire.take(), b"", path)
            self.clock.advance(0.25)
            self.assertIn(read_reply(wire.take()).status, (200, 404), path)

    def test_a_request_is_carried_out_on_arrival_and_its_answer_dated_then(self) -> None:
        self.move("20000")
        self.inject(latency_seconds=2.0, clock_offset_seconds=60.0)
        wire = self.send("Order/place", accountId=123, contractId=MNQ, type=2, side=0, size=1)
        sent_at = self.now()
        self.clock.advance(1.9)
        store = self.gateway.exchange.store
        self.assertEqual(store.open_positions(123), [])
        self.clock.advance(0.1)
        self.assertEqual(len(store.open_positions(123)), 1)
        self.clock.advance(2)
        reply = read_reply(wire.take())
        self.assertTrue(reply.fields["success"])
        carried_out = sent_at + timedelta(seconds=62)
        self.assertEqual(parsedate_to_datetime(reply.headers["Date"]), carried_out)

    def test_events_take_the_way_here(self) -> None:
        client = self.listen()
        self.move("20000")
        self.inject(latency_seconds=0.25)
        self.send("Order/place", accountId=123, contractId=MNQ, type=2, side=0, size=1)
        self.clock.advance(0.25)
        self.assertEqual(client.events(), [])
        self.clock.advance(0.25)
        targets = [event["target"] for event in client.events()]
        self.assertEqual(targets, ["GatewayUserOrder", "GatewayUserOrder", "GatewayUserTrade"])
        self.clock.advance(0.1)
        self.assertEqual([event["target"] for event in client.events()], ["GatewayUserPosition"])

    def test_requests_that_only_practice_has_are_carried_out_at_once(self) -> None:
        self.inject(latency_seconds=5.0)
        self.move("20000")

    def test_a_position_is_delayed_by_the_gateway_or_by_the_hub_but_not_by_both(self) -> None:
        client = self.listen()
        self.move("20000")
        for delay, expected in ((0.0, 0.1), (0.05, 0.1), (0.1, 0.1), (0.4, 0.4)):
            self.inject(position_delay_seconds=delay)
            self.place()
            began = self.clock.seconds()
            step_until(
                lambda: data(client.events(), "GatewayUserPosition"),
                lambda: self.clock.advance(0.01),
            )
            waited = self.clock.seconds() - began
            self.assertTrue(abs(waited - expected) < 0.011, (delay, waited))
            self.clock.advance(1)
            client.events()


class StampTests(HabitsTestCase):
    """Stamps that are null or missing."""

    def working(self) -> int:
        return self.place(type=1, limitPrice=15000)

    def test_searches_give_null_stamps_and_all_fields(self) -> None:
        order = self.working()
        self.inject(searches_without_stamp=1.0)
        found = [
            *self.ask("Order/searchOpen", accountId=123)["orders"],
            *self.ask("Order/search", accountId=123, startTimestamp=SINCE)["orders"],
            self.ask("Order/searchById", accountId=123, orderId=order)["order"],
            *self.ask("Order/v2/query", filter={"accountId": 123})["orders"],
        ]
        self.assertEqual([each["updateTimestamp"] for each in found], [None] * 4)
        self.heal()
        (found_now,) = self.ask("Order/searchOpen", accountId=123)["orders"]
        self.assertEqual(set(found[0]), set(found_now))
        self.assertIsNotNone(found_now["updateTimestamp"])

    def test_events_leave_the_stamp_out(self) -> None:
        client = self.listen()
        self.inject(events_without_stamp=1.0)
        self.working()
        (order,) = data(client.events(), "GatewayUserOrder")
        self.assertNotIn("updateTimestamp", order)
        self.assertIn("creationTimestamp", order)

    def test_a_position_without_a_date_is_sent_with_the_empty_date(self) -> None:
        self.inject(positions_without_date=1.0)
        client = self.listen()
        self.move("20000")
        self.place()
        self.clock.advance(1)
        (held,) = data(client.events(), "GatewayUserPosition")
        (found,) = self.ask("Position/searchOpen", accountId=123)["positions"]
        for each in (held, found):
            self.assertEqual(datetime.fromisoformat(each["creationTimestamp"]).year, 1)


class QuoteTests(HabitsTestCase):
    """Quotes that stop, or that say nothing."""

    def quotes(self) -> HubClient:
        client = self.hub("market")
        self.subscribe(client, "SubscribeContractQuotes", MNQ)
        client.events()
        return client

    def test_a_frozen_feed_sends_no_quote_while_bars_and_orders_go_on(self) -> None:
        client = self.quotes()
        self.move("20000")
        client.events()
        self.inject(quote_freezes=1.0, freeze_seconds=600)
        self.move("20001")
        self.assertEqual(len(client.events()), 1)
        order = self.place(type=4, side=1, stopPrice=19990)
        self.move("19980")
        for _ in range(60):
            self.clock.advance(1)
        self.assertEqual(client.events(), [])
        found = self.ask("Order/searchById", accountId=123, orderId=order)["order"]
        self.assertEqual(found["status"], 2)
        (bar,) = self.ask(
            "History/retrieveBars",
            contractId=MNQ,
            live=False,
            startTime=SINCE,
            endTime="2027-01-01T00:00:00Z",
            unit=2,
            unitNumber=1,
            limit=1,
            includePartialBar=True,
        )["bars"]
        self.assertEqual(bar["c"], 19980.0)
        self.heal()
        self.move("19981")
        self.assertTrue(client.events())

    def test_a_last_price_of_zero_is_sent_as_zero(self) -> None:
        client = self.quotes()
        self.move("20000")
        client.events()
        self.inject(zero_last_prices=1.0)
        self.move("20001")
        (event,) = client.events()
        self.assertEqual(event["arguments"][1]["lastPrice"], 0)


class CorrectionTests(HabitsTestCase):
    """Trades that the broker corrects."""

    def trade(self) -> Any:
        (trade,) = self.ask("Trade/search", accountId=123, startTimestamp=SINCE)["trades"]
        return trade

    def test_a_trade_is_amended_with_an_event(self) -> None:
        client = self.listen()
        self.place()
        trade = self.trade()
        client.events()
        self.ask(
            "Practice/amendTrade",
            accountId=123,
            tradeId=trade["id"],
            profitAndLoss=-12.5,
            commissions=1.25,
        )
        (told,) = [each for each in client.events() if each["target"] == "GatewayUserTrade"]
        self.assertEqual(told["arguments"][0]["action"], 1)
        amended = self.trade()
        for each in (told["arguments"][0]["data"], amended):
            self.assertEqual(
                (each["profitAndLoss"], each["commissions"], each["fees"]),
                (-12.5, 1.25, trade["fees"]),
            )

    def test_a_correction_that_no_event_reports_is_in_searches(self) -> None:
        client = self.listen()
        self.place()
        trade = self.trade()["id"]
        client.events()
        for path, fields in (("amendTrade", {"fees": 9}), ("voidTrade", {})):
            self.ask(f"Practice/{path}", accountId=123, tradeId=trade, isReported=False, **fields)
        self.clock.advance(1)
        self.assertEqual(data(client.events(), "GatewayUserTrade"), [])
        found = self.trade()
        self.assertEqual((found["fees"], found["voided"]), (9, True))
        refused = self.refused("Practice/amendTrade", accountId=123, tradeId=trade, fees=1)
        self.assertEqual(refused["errorCode"], 2)
        refused = self.refused("Practice/amendTrade", accountId=123, tradeId=1, fees=1)
        self.assertEqual(refused["errorCode"], 1)


class PricesBelowZeroTests(HabitsTestCase):
    """Prices below zero, as crude oil had in April 2020."""

    def test_they_go_through_rest_and_hubs(self) -> None:
        crude = "CON.F.US.MCLE.K26"
        client, market = self.listen(), self.hub("market")
        self.subscribe(market, "SubscribeContractQuotes", crude)
        market.events()
        self.move("-37.63", crude)
        self.place(contractId=crude, size=2)
        stop = self.place(contractId=crude, side=1, type=4, stopPrice=-40)
        self.clock.advance(1)
        (quote,) = market.events()
        self.assertEqual(quote["arguments"][1]["lastPrice"], -37.63)
        events = client.events()
        self.assertEqual(data(events, "GatewayUserPosition")[-1]["averagePrice"], -37.62)
        self.assertEqual(data(events, "GatewayUserOrder")[-1]["stopPrice"], -40)
        found = self.ask("Order/searchById", accountId=123, orderId=stop)["order"]
        self.assertEqual(found["stopPrice"], -40)
        self.ask("Order/modify", accountId=123, orderId=stop, stopPrice=-38.5)
        self.move("-38.50", crude)
        trades = self.ask("Trade/search", accountId=123, startTimestamp=SINCE)["trades"]
        # Sold at -38.51 what was bought at -37.62; a point is worth $100.
        self.assertEqual(trades[-1]["profitAndLoss"], -89.0)
