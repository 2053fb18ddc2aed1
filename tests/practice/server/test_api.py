"""The REST API: every endpoint, its envelope and its errors."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from riskd.config.faults import Faults
from riskd.practice.server.endpoints import ENDPOINTS
from tests.support.practice_server import ES, KEY, MNQ, USER, PracticeServerTestCase

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
SINCE = "2026-01-01T00:00:00Z"


class EnvelopeTests(PracticeServerTestCase):
    """The envelope of every response, and HTTP errors."""

    def test_success_has_three_fields(self) -> None:
        reply = self.ask("Account/search")
        self.assertEqual(
            (reply["success"], reply["errorCode"], reply["errorMessage"]), (True, 0, None)
        )

    def test_a_refusal_of_the_exchange_is_http_200(self) -> None:
        for path, fields, code, nothing in (
            ("Order/cancel", {"accountId": 123, "orderId": 1}, 2, {}),
            ("Order/modify", {"accountId": 123, "orderId": 1, "size": 2}, 2, {}),
            ("Order/searchById", {"accountId": 123, "orderId": 1}, 1, {"order": None}),
            ("Order/searchOpen", {"accountId": 9}, 1, {"orders": []}),
            ("Order/search", {"accountId": 9, "startTimestamp": SINCE}, 1, {"orders": []}),
            ("Trade/search", {"accountId": 9, "startTimestamp": SINCE}, 1, {"trades": []}),
            ("Position/searchOpen", {"accountId": 9}, 1, {"positions": []}),
            ("Position/closeContract", {"accountId": 123, "contractId": MNQ}, 2, {}),
            ("Position/closeContract", {"accountId": 123, "contractId": "x"}, 3, {}),
            ("Contract/searchById", {"contractId": "x"}, 1, {"contract": None}),
            ("Practice/moveMarket", {"contractId": "x", "price": 5}, 1, {}),
            ("Practice/moveMarket", {"contractId": MNQ, "price": 20000.1}, 2, {}),
            ("Practice/setCanTrade", {"accountId": 9, "canTrade": True}, 1, {}),
            ("Practice/voidTrade", {"accountId": 123, "tradeId": 1}, 1, {}),
        ):
            refused = self.refused(path, **fields)
            self.assertEqual(refused["errorCode"], code, path)
            self.assertEqual({name: refused[name] for name in nothing}, nothing)

    def test_paths_are_case_sensitive(self) -> None:
        for path in ("/api/account/search", "/api/Account/Search", "/api/", "/", "/api/Auth"):
            reply = self.request(path)
            self.assertEqual((reply.status, reply.fields["status"]), (404, 404))

    def test_methods_are_as_documented(self) -> None:
        for method, path, allowed in (
            ("GET", "/api/Account/search", "POST"),
            ("PUT", "/api/Auth/loginKey", "POST"),
            ("POST", "/api/Status/ping", "GET"),
        ):
            reply = self.request(path, method=method)
            self.assertEqual((reply.status, reply.headers["Allow"]), (405, allowed))

    def test_a_missing_or_mistyped_field_is_named(self) -> None:
        for path, body, field in (
            ("Position/searchOpen", {}, "accountId"),
            ("Position/searchOpen", {"accountId": None}, "accountId"),
            ("Position/searchOpen", {"accountId": "123"}, "accountId"),
            ("Position/searchOpen", {"accountId": True}, "accountId"),
            ("Position/searchOpen", {"accountId": 2**31}, "accountId"),
            ("Order/v2/query", {"filter": {}}, "filter.accountId"),
            ("Order/v2/query", {"filter": {"accountId": 123}, "pageSize": 0}, "pageSize"),
            ("Trade/search", {"accountId": 123, "startTimestamp": "noon"}, "startTimestamp"),
            ("Contract/search", {"live": False}, "searchText"),
            ("Auth/loginKey", {"userName": "x"}, "apiKey"),
            ("Order/modify", {"accountId": 123, "orderId": 1.5}, "orderId"),
            ("Practice/moveMarket", {"contractId": MNQ, "price": 1e300}, "price"),
        ):
            reply = self.reply(path, **body)
            self.assertEqual(reply.status, 400, path)
            self.assertEqual(list(reply.fields["errors"]), [field])
            self.assertIn(field, reply.fields["title"])

    def test_a_body_that_is_not_an_object_is_refused(self) -> None:
        for body in (b"[]", b"5", b"{", b"\xff", b'{"accountId": 123', b"[" * 5000):
            self.assertEqual(self.request("/api/Position/searchOpen", body).status, 400, body)

    def test_unknown_fields_and_nulls_are_ignored(self) -> None:
        reply = self.reply(
            "Order/place",
            accountId=123,
            contractId=MNQ,
            type=2,
            side=0,
            size=1,
            limitPrice=None,
            stopPrice=None,
            trailPrice=None,
            customTag=None,
            linkedOrderId=None,
            stopLossBracket=None,
            takeProfitBracket=None,
            note={"deep": [None]},
        )
        self.assertTrue(reply.fields["success"], reply.body)

    def test_an_empty_body_stands_for_an_empty_object(self) -> None:
        for body in (b"", b"{}", b"  "):
            reply = self.request("/api/Account/search", body)
            self.assertEqual(len(reply.fields["accounts"]), 2)

    def test_all_but_login_and_ping_need_a_token(self) -> None:
        self.token = ""
        others = ("Auth/validate", "Auth/logout", "Practice/logout")
        for path in (*ENDPOINTS, *(f"/api/{other}" for other in others)):
            reply = self.request(path)
            self.assertEqual((reply.status, reply.headers["WWW-Authenticate"]), (401, "Bearer"))

    def test_an_order_refused_by_a_fault_does_not_exist(self) -> None:
        self.gateway.faults = Faults(refuse=1)
        refused = self.refused("Order/place", **market_order())
        self.assertEqual((refused["errorCode"], refused["orderId"]), (2, None))


class SessionTests(PracticeServerTestCase):
    """Logging in and out."""

    def test_a_wrong_name_and_a_wrong_key_get_the_same_refusal(self) -> None:
        said = {
            json.dumps(self.refused("Auth/loginKey", userName=name, apiKey=key))
            for name, key in (("x", KEY), (USER, "x"), ("x", "x"), ("", ""), ("é", "é"))
        }
        (words,) = said
        self.assertEqual((json.loads(words)["errorCode"], json.loads(words)["token"]), (3, None))

    def test_tokens_last_for_a_day(self) -> None:
        self.jumped = timedelta(hours=23, minutes=59)
        self.ask("Account/search")
        self.jumped = timedelta(hours=24)
        self.assertEqual(self.reply("Account/search").status, 401)

    def test_validating_issues_a_token_and_keeps_the_old_one_good(self) -> None:
        old = self.token
        new = self.ask("Auth/validate")["newToken"]
        self.assertNotEqual(new, old)
        for self.token in (old, new):
            self.ask("Account/search")

    def test_a_logout_revokes_only_its_own_token(self) -> None:
        other = self.ask("Auth/validate")["newToken"]
        self.ask("Auth/logout")
        self.assertEqual(self.reply("Account/search").status, 401)
        self.token = other
        self.ask("Account/search")

    def test_a_token_survives_a_restart(self) -> None:
        old = self.token
        self.make()
        self.token = old
        self.ask("Account/search")


class LimitTests(PracticeServerTestCase):
    """The limits of requests."""

    def first_refused(self, path: str, most: int, **fields: Any) -> int:
        """Return how many requests are answered before one is refused."""
        for count in range(most + 5):
            reply = self.reply(path, **fields)
            if reply.status == 429:
                self.assertTrue(0 < int(reply.headers["Retry-After"]) <= 60)
                return count
        return most + 5

    def test_all_requests_share_a_limit_of_200_a_minute(self) -> None:
        # The login was one of them.
        self.assertEqual(self.first_refused("Account/search", 200), 199)
        self.assertEqual(self.reply("Order/place", **market_order()).status, 429)
        reply = self.request("/api/Status/ping", method="GET")
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (429, "60"))
        self.clock.advance(59)
        self.assertEqual(self.reply("Account/search").headers["Retry-After"], "1")
        self.clock.advance(1)
        self.ask("Account/search")

    def test_bars_have_a_limit_of_their_own(self) -> None:
        self.assertEqual(self.first_refused("History/retrieveBars", 50, **bars(MNQ)), 50)
        self.ask("Account/search")
        self.clock.advance(30)
        self.ask("History/retrieveBars", **bars(MNQ))

    def test_practice_requests_do_not_count(self) -> None:
        self.assertEqual(self.first_refused("Account/search", 200), 199)
        self.move("20000")


class AccountAndContractTests(PracticeServerTestCase):
    """Accounts, contracts and bars."""

    def test_accounts(self) -> None:
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
        self.clock.advance(1)
        for price in ("20000", "20010", "19990", "20005"):
            self.move(price)
        self.clock.advance(60)
        self.move("20001")
        whole = self.ask("History/retrieveBars", **bars(MNQ))["bars"]
        self.assertEqual(
            whole,
            [
                {
                    "t": "2026-03-02T15:00:00+00:00",
                    "o": 20000.0,
                    "h": 20010.0,
                    "l": 19990.0,
                    "c": 20005.0,
                    "v": 4,
                }
            ],
        )
        every = self.ask("History/retrieveBars", **bars(MNQ, includePartialBar=True))["bars"]
        self.assertEqual([bar["c"] for bar in every], [20001.0, 20005.0])
        last = self.ask("History/retrieveBars", **bars(MNQ, includePartialBar=True, limit=1))
        self.assertEqual(last["bars"], every[:1])
        early = bars(MNQ, endTime="2026-03-02T15:00:00")
        self.assertEqual(self.ask("History/retrieveBars", **early)["bars"], [])

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
        for price in (0, -5, 0.000000001):
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


NAMES = (
    *("accountId", "contractId", "orderId", "tradeId", "searchText", "userName", "apiKey"),
    *("type", "side", "size", "limitPrice", "stopPrice", "trailPrice", "customTag", "price"),
    *("startTimestamp", "endTimestamp", "startTime", "endTime", "unit", "unitNumber", "limit"),
    *("includePartialBar", "canTrade", "stopLossBracket", "pageSize", "pageOffset", "filter"),
)
values: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((123, MNQ, 1, 2, 4, 20000, "2026-03-02T15:00:00Z", "0001-01-01T00:00:00", "")),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(), max_size=2),
)
bodies = st.dictionaries(st.sampled_from(NAMES), values)


class RobustnessTests(PracticeServerTestCase):
    """No body causes an internal error."""

    @given(
        st.sampled_from([*sorted(ENDPOINTS), "/api/Auth/loginKey"]),
        bodies | st.fixed_dictionaries({"filter": bodies}),
        st.sampled_from(("", "full")),
    )
    @settings(max_examples=400)
    def test_any_body_gets_a_response_and_logs_no_error(
        self, path: str, body: dict[str, Any], base: str
    ) -> None:
        usual = {"accountId": 123, "contractId": MNQ, "orderId": 1, "tradeId": 1, "type": 2}
        usual |= {"side": 0, "size": 1, "price": 20000, "canTrade": True, "searchText": "NQ"}
        usual |= bars(MNQ) | {"startTimestamp": SINCE, "userName": "x", "apiKey": "x"}
        reply = self.request(path, json.dumps(usual | body if base else body).encode())
        self.clock.advance(1)
        self.assertIn(reply.status, (200, 400), reply.body)
        self.assertEqual(self.flushLoggedErrors(), [])


def market_order() -> dict[str, Any]:
    return {"accountId": 123, "contractId": MNQ, "type": 2, "side": 0, "size": 1}


def bars(contract: str, **changes: Any) -> dict[str, Any]:
    return {
        "contractId": contract,
        "live": False,
        "startTime": SINCE,
        "endTime": "2027-01-01T00:00:00Z",
        "unit": 2,
        "unitNumber": 1,
        "limit": 20000,
        "includePartialBar": False,
        **changes,
    }
