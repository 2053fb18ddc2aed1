"""The REST API: its envelope, errors, sessions and limits."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from riskd.config.settings import Faults
from riskd.practice.server.endpoints import ENDPOINTS
from tests import examples
from tests.support.practice_server import (
    KEY,
    MNQ,
    SINCE,
    USER,
    PracticeServerTestCase,
    bars,
    market_order,
)


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
    @settings(max_examples=examples(150))
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
