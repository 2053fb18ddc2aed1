"""Every endpoint of the REST API."""

from __future__ import annotations

from typing import Any

from tests.support.practice_server import (
    ES,
    MNQ,
    SINCE,
    PracticeServerTestCase,
    bars,
    market_order,
)

ORDER_FIELDS = {
    *("id", "accountId", "contractId", "symbolId", "creationTimestamp", "updateTimestamp"),
    *("status", "type", "side", "size", "limitPrice", "stopPrice", "fillVolume", "filledPrice"),
    *("customTag", "trailPrice", "trailDistance", "parentOrderId", "linkedOrderId"),
}


TRADE_FIELDS = {
    *("id", "accountId", "contractId", "creationTimestamp", "price", "profitAndLoss", "fees"),
    *("commissions", "side", "size", "voided", "orderId"),
}


POSITION_FIELDS = {
    *("id", "accountId", "contractId", "contractDisplayName", "creationTimestamp", "type"),
    *("size", "averagePrice"),
}


class AccountAndContractTests(PracticeServerTestCase):
    """Accounts, contracts and bars."""

    def test_all_accounts_are_found(self) -> None:
        first, second = self.ask("Account/search", onlyActiveAccounts=True)["accounts"]
        self.assertEqual(
            first,
            {
                "id": 123,
                "name": "PRACTICE-123",
                "balance": 50000.0,
                "canTrade": True,
                "isVisible": True,
                "simulated": True,
            },
        )
        self.assertEqual(second["id"], 456)

    def test_a_restricted_account_is_not_active(self) -> None:
        self.ask("Practice/setCanTrade", accountId=123, canTrade=False)
        self.assertEqual(self.found(True), [456])
        self.assertEqual(self.found(False), [123, 456])
        refused = self.refused("Order/place", **market_order())
        self.assertEqual(refused["errorCode"], 4)
        self.ask("Practice/setCanTrade", accountId=123, canTrade=True)
        self.assertEqual(self.found(True), [123, 456])

    def test_a_payout_and_a_deposit_move_the_balance(self) -> None:
        for amount, balance in ((-1500.25, 48499.75), (0.25, 48500.0)):
            self.ask("Practice/transfer", accountId=123, amount=amount)
            accounts = self.ask("Account/search", onlyActiveAccounts=True)["accounts"]
            self.assertEqual([each["balance"] for each in accounts], [balance, 50000.0])
        for amount in (0, 0.001):
            refused = self.refused("Practice/transfer", accountId=123, amount=amount)
            self.assertEqual(refused["errorCode"], 2)
            self.assertIn("dollars and cents", refused["errorMessage"])
        self.assertEqual(self.refused("Practice/transfer", accountId=9, amount=1)["errorCode"], 1)

    def found(self, only_active: bool) -> list[int]:
        accounts = self.ask("Account/search", onlyActiveAccounts=only_active)["accounts"]
        return [account["id"] for account in accounts]

    def test_a_contract_is_found_by_id_in_both_fields_that_clients_read(self) -> None:
        reply = self.ask("Contract/searchById", contractId=ES)
        self.assertEqual(
            reply["contract"],
            {
                "id": ES,
                "name": "ESM6",
                "description": "E-mini S&P 500",
                "tickSize": 0.25,
                "tickValue": 12.5,
                "activeContract": True,
                "symbolId": "F.US.EP",
            },
        )
        self.assertEqual(reply["contracts"], [reply["contract"]])

    def test_the_same_contracts_are_listed_live_or_not(self) -> None:
        for live in (True, False):
            self.assertEqual(len(self.ask("Contract/available", live=live)["contracts"]), 7)
            found = self.ask("Contract/search", searchText="EP", live=live)["contracts"]
            self.assertEqual(found[0]["id"], ES)

    def test_bars_are_newest_first_without_the_incomplete_one(self) -> None:
        self.clock.advance(60)
        for price in ("20000", "20010", "19990", "20005"):
            self.move(price)
        self.clock.advance(60)
        self.move("20001")
        whole = self.ask("History/retrieveBars", **bars(MNQ))["bars"]
        self.assertEqual(
            whole[:1],
            [
                {
                    "t": "2026-03-02T15:01:00+00:00",
                    "o": 20000.0,
                    "h": 20010.0,
                    "l": 19990.0,
                    "c": 20005.0,
                    "v": 4,
                }
            ],
        )
        every = self.ask("History/retrieveBars", **bars(MNQ, includePartialBar=True))["bars"]
        self.assertEqual([bar["c"] for bar in every[:2]], [20001.0, 20005.0])
        last = self.ask("History/retrieveBars", **bars(MNQ, includePartialBar=True, limit=1))
        self.assertEqual(last["bars"], every[:1])
        early = bars(MNQ, startTime="2026-03-02T15:03:00", endTime="2026-03-02T16:00:00")
        self.assertEqual(self.ask("History/retrieveBars", **early)["bars"], [])

    def test_bars_of_the_days_before_the_start_are_there(self) -> None:
        self.move("20000")
        body = bars(MNQ, startTime="2026-02-27T15:00:00", endTime="2026-02-28T15:00:00")
        self.assertEqual(len(self.ask("History/retrieveBars", **body)["bars"]), 24 * 60)
        body = bars(MNQ, startTime="2026-02-02T00:00:00", unit=4)
        self.assertEqual(len(self.ask("History/retrieveBars", **body)["bars"]), 28)

    def test_impossible_bars_are_refused(self) -> None:
        for changes, code in (
            ({"contractId": "x"}, 1),
            ({"unit": 9}, 2),
            ({"unitNumber": 0}, 3),
            ({"limit": 0}, 4),
            ({"limit": 20001}, 4),
        ):
            refused = self.refused("History/retrieveBars", **{**bars(MNQ), **changes})
            self.assertEqual((refused["errorCode"], refused["bars"]), (code, []))


class OrderTests(PracticeServerTestCase):
    """Orders, positions and trades."""

    def test_an_order_has_every_field_including_nulls(self) -> None:
        self.clock.advance(0.5)
        placed = self.place(type=1, limitPrice=15000)
        (order,) = self.ask("Order/searchOpen", accountId=123)["orders"]
        self.assertEqual(set(order), ORDER_FIELDS)
        self.assertEqual((order["id"], order["limitPrice"], order["status"]), (placed, 15000, 1))
        self.assertEqual(
            (order["stopPrice"], order["customTag"], order["fillVolume"]), (None, None, 0)
        )
        self.assertEqual(order["updateTimestamp"], "2026-03-02T15:00:00.500000+00:00")
        by_id = self.ask("Order/searchById", accountId=123, orderId=placed)["order"]
        self.assertEqual(by_id, order)

    def test_times_have_one_form_in_replies(self) -> None:
        """Even where there is no fraction of a second."""
        self.place()
        self.clock.advance(1.25)
        self.place()
        trades = self.ask("Trade/search", accountId=123, startTimestamp=SINCE)["trades"]
        self.assertEqual(
            [trade["creationTimestamp"] for trade in trades],
            ["2026-03-02T15:00:00.000000+00:00", "2026-03-02T15:00:01.250000+00:00"],
        )

    def test_times_are_accepted_in_any_form(self) -> None:
        self.clock.advance(10)
        self.place()
        self.clock.advance(10)
        self.place()
        for begin, end, count in (
            ("2026-03-02T15:00:10Z", None, 2),
            ("2026-03-02T15:00:10.0000000Z", "2026-03-02T15:00:20Z", 1),
            ("2026-03-02T15:00:10+00:00", "2026-03-02T15:00:20.0000001Z", 1),
            ("2026-03-02T16:00:11+01:00", None, 1),
            ("2026-03-02T15:00:11", "2026-03-02T15:00:21", 1),
            ("2026-03-02T15:00:21", None, 0),
        ):
            asked = {"accountId": 123, "startTimestamp": begin, "endTimestamp": end}
            self.assertEqual(len(self.ask("Trade/search", **asked)["trades"]), count, begin)
            self.assertEqual(len(self.ask("Order/search", **asked)["orders"]), count, begin)

    def test_a_trade_has_every_field_and_an_entry_has_no_pnl(self) -> None:
        self.move("20000")
        self.place(size=2)
        self.move("20010")
        self.place(side=1, size=2)
        opening, closing = self.ask("Trade/search", accountId=123, startTimestamp=SINCE)["trades"]
        for trade in (opening, closing):
            self.assertEqual(set(trade), TRADE_FIELDS)
        self.assertEqual((opening["profitAndLoss"], opening["price"]), (None, 20000.25))
        self.assertEqual((closing["profitAndLoss"], closing["commissions"]), (38.0, 0))

    def test_a_position_has_every_field(self) -> None:
        self.place(side=1, size=2)
        (position,) = self.ask("Position/searchOpen", accountId=123)["positions"]
        self.assertEqual(set(position), POSITION_FIELDS)
        self.assertEqual(
            (position["type"], position["size"], position["contractDisplayName"]), (2, 2, "MNQM6")
        )

    def test_a_position_is_closed_in_part_and_whole(self) -> None:
        self.place(size=3)
        asked = {"accountId": 123, "contractId": MNQ}
        self.assertEqual(
            self.refused("Position/partialCloseContract", **asked, size=4)["errorCode"], 5
        )
        self.ask("Position/partialCloseContract", **asked, size=2)
        (position,) = self.ask("Position/searchOpen", accountId=123)["positions"]
        self.assertEqual(position["size"], 1)
        self.ask("Position/closeContract", **asked)
        self.assertEqual(self.ask("Position/searchOpen", accountId=123)["positions"], [])

    def test_an_order_is_changed_and_canceled(self) -> None:
        placed = self.place(type=4, side=1, stopPrice=15000)
        asked = {"accountId": 123, "orderId": placed}
        self.ask("Order/modify", **asked, size=2, stopPrice=15000.25, limitPrice=None)
        order = self.ask("Order/searchById", **asked)["order"]
        self.assertEqual(
            (order["size"], order["stopPrice"], order["limitPrice"]), (2, 15000.25, None)
        )
        self.assertEqual(self.refused("Order/modify", **asked, stopPrice=1.1)["errorCode"], 3)
        self.assertEqual(self.refused("Order/modify", **asked, trailPrice=5)["errorCode"], 3)
        self.ask("Order/cancel", **asked)
        self.assertEqual(self.ask("Order/searchById", **asked)["order"]["status"], 3)
        self.assertEqual(self.ask("Order/searchOpen", accountId=123)["orders"], [])

    def test_a_rejected_order_exists_and_its_id_is_returned(self) -> None:
        for changes in (
            {"type": 1, "limitPrice": 15000.1},
            {"size": 0},
            {"type": 5, "trailPrice": 5},
            {"type": 6},
            {"stopLossBracket": {"ticks": -10, "type": 4}},
            {"takeProfitBracket": {"ticks": 10, "type": 1}},
        ):
            refused = self.refused("Order/place", **{**market_order(), **changes})
            self.assertEqual(refused["errorCode"], 2)
            asked = {"accountId": 123, "orderId": refused["orderId"]}
            self.assertEqual(self.ask("Order/searchById", **asked)["order"]["status"], 5)

    def test_a_refusal_without_an_order_has_no_id(self) -> None:
        self.place(customTag="once")
        for changes, code in (
            ({"contractId": "x"}, 8),
            ({"type": 99}, 2),
            ({"customTag": "once"}, 2),
        ):
            refused = self.refused("Order/place", **{**market_order(), **changes})
            self.assertEqual((refused["errorCode"], refused["orderId"]), (code, None))

    def test_an_impossible_price_is_refused(self) -> None:
        for price in (0.1, -0.1, 0.000000001):
            refused = self.refused("Order/place", **market_order() | {"type": 1}, limitPrice=price)
            self.assertEqual(refused["errorCode"], 2)
        reply = self.reply("Order/place", **market_order(), limitPrice=1e16)
        self.assertEqual((reply.status, list(reply.fields["errors"])), (400, ["limitPrice"]))

    def test_orders_are_queried_by_status_contract_time_and_page(self) -> None:
        working = self.place(type=1, limitPrice=15000)
        self.clock.advance(10)
        filled = self.place()
        self.clock.advance(10)
        other = self.place(contractId=ES)

        def found(**more: Any) -> list[int]:
            page = {name: more.pop(name) for name in ("pageSize", "pageOffset") if name in more}
            reply = self.ask("Order/v2/query", filter={"accountId": 123, **more}, **page)
            self.assertIsNone(reply["totalCount"])
            return [order["id"] for order in reply["orders"]]

        self.assertEqual(found(), [working, filled, other])
        self.assertEqual(found(statuses=[1, 8]), [working])
        self.assertEqual(found(contractId=ES), [other])
        self.assertEqual(found(createdAfter="2026-03-02T15:00:10"), [filled, other])
        self.assertEqual(found(createdBefore="2026-03-02T15:00:10Z"), [working])
        self.assertEqual(found(pageSize=1, pageOffset=1), [filled])
        counted = self.ask(
            "Order/v2/query", filter={"accountId": 123}, pageSize=1, includeTotalCount=True
        )
        self.assertEqual((len(counted["orders"]), counted["totalCount"]), (1, 3))

    def test_a_trade_is_voided(self) -> None:
        self.place()
        (trade,) = self.ask("Trade/search", accountId=123, startTimestamp=SINCE)["trades"]
        self.ask("Practice/voidTrade", accountId=123, tradeId=trade["id"])
        (voided,) = self.ask("Trade/search", accountId=123, startTimestamp=SINCE)["trades"]
        self.assertTrue(voided["voided"])
        refused = self.refused("Practice/voidTrade", accountId=123, tradeId=trade["id"])
        self.assertEqual(refused["errorCode"], 2)

    def test_moving_the_market_fills_what_it_reaches(self) -> None:
        self.move("20000")
        placed = self.place(type=4, side=1, stopPrice=19990)
        self.move("19990")
        order = self.ask("Order/searchById", accountId=123, orderId=placed)["order"]
        self.assertEqual(
            (order["status"], order["fillVolume"], order["filledPrice"]), (2, 1, 19989.75)
        )

    def test_the_market_may_be_moved_to_zero(self) -> None:
        hub = self.hub("market")
        self.subscribe(hub, "SubscribeContractTrades", MNQ)
        for price in ("0", "20000"):
            self.move(price)
        self.assertEqual(
            [event["arguments"][1][0]["price"] for event in hub.events()], [0.0, 20000.0]
        )
