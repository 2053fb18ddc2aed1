"""HTTP responses: payloads, refusals and unknown outcomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import GatewayError, GatewayRefusedError, GatewayUnansweredError
from riskd.gateway.projectx.rate_limit import MAX_RETRY_AFTER
from riskd.gateway.projectx.responses import (
    TokenRefusedError,
    TooManyRequestsError,
    check_account,
    item,
    items,
    read_answer,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
http_dates = st.datetimes(timezones=st.just(UTC)).map(
    lambda when: format_datetime(when, usegmt=True)
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "success": st.booleans() | json_values,
        "errorCode": st.integers(-1, 12) | json_values,
        "errorMessage": json_values,
        "orders": json_values,
    },
)


def read(fields: Any, status: int = 200, retry_after: str | None = None) -> Any:
    return read_answer("Order/place", status, retry_after, json.dumps(fields).encode())


class EnvelopeTests(SynchronousTestCase):
    """The fields of HTTP 200."""

    def test_a_success_has_success_and_code_0(self) -> None:
        fields = {"success": True, "errorCode": 0, "errorMessage": None, "orderId": 7}
        self.assertEqual(read(fields), fields)

    def test_a_success_may_lack_the_keys_that_are_null(self) -> None:
        self.assertEqual(read({"success": True}), {"success": True})

    def test_numbers_are_exact(self) -> None:
        answer = read_answer("A", 200, None, b'{"success":true,"errorCode":0,"a":0.1,"b":2}')
        self.assertEqual((answer["a"], answer["b"]), (Decimal("0.1"), 2))

    def test_a_refusal_has_the_code_and_the_reason_of_the_broker(self) -> None:
        refusal = self.assertRaises(
            GatewayRefusedError,
            read,
            {"success": False, "errorCode": 2, "errorMessage": "Insufficient\n\x1b[31mmargin"},
        )
        self.assertEqual((refusal.request, refusal.code), ("Order/place", 2))
        self.assertEqual(refusal.why, "Insufficient \\x1b[31mmargin")

    def test_a_refusal_without_a_reason_is_a_refusal(self) -> None:
        for message in (None, ""):
            fields = {"success": False, "errorCode": 2, "errorMessage": message}
            refusal = self.assertRaises(GatewayRefusedError, read, fields)
            self.assertEqual(refusal.why, "no reason given")

    def test_a_long_reason_is_cut(self) -> None:
        fields = {"success": False, "errorCode": 2, "errorMessage": "x" * 10_000}
        refusal = self.assertRaises(GatewayRefusedError, read, fields)
        self.assertEqual(refusal.why, "x" * 200)

    def test_success_with_a_code_is_a_refusal(self) -> None:
        refusal = self.assertRaises(GatewayRefusedError, read, {"success": True, "errorCode": 6})
        self.assertEqual(refusal.code, 6)

    def test_a_body_that_is_no_envelope_leaves_the_outcome_open(self) -> None:
        for body in (
            b"",
            b"pong",
            b"<html>maintenance</html>",
            b"[]",
            b"null",
            b"{}",
            b'{"success":false}',
            b'{"success":false,"errorCode":null}',
            b'{"success":false,"errorCode":"2"}',
            b'{"success":false,"errorCode":true}',
            b'{"success":1,"errorCode":null}',
            b'{"errorCode":0}',
            b'{"success":null,"errorCode":0}',
            b'{"success":true,"errorCode":0',
            b'{"errorMessage":"\xff"}',
            b"[" * 100_000,
        ):
            self.assertRaises(GatewayUnansweredError, read_answer, "Order/place", 200, None, body)

    @given(envelopes)
    def test_only_a_success_returns_fields(self, envelope: dict[str, Any]) -> None:
        try:
            answer = read(envelope)
        except GatewayError as error:
            self.assertTrue(str(error).isprintable())
        else:
            self.assertIs(answer["success"], True)
            self.assertIn(answer.get("errorCode"), (0, None))


class StatusTests(SynchronousTestCase):
    """Other statuses than 200."""

    def test_401_means_a_refused_token(self) -> None:
        error = self.assertRaises(TokenRefusedError, read, {}, 401)
        self.assertEqual(error.request, "Order/place")

    def test_429_gives_the_seconds_to_wait(self) -> None:
        for header, seconds in (
            ("0", 0),
            ("7", 7),
            (" 30 ", 30),
            ("3600", MAX_RETRY_AFTER),
            ("9" * 400, MAX_RETRY_AFTER),
            (None, 10),
            ("", 10),
            ("-5", 10),
            ("1.5", 10),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 10),
        ):
            error = self.assertRaises(TooManyRequestsError, read, {}, 429, header)
            self.assertEqual(error.seconds, seconds)

    def test_a_date_to_try_again_is_by_the_clock_of_the_answer(self) -> None:
        answered_at = "Fri, 13 Sep 2024 12:00:00 GMT"
        for header, seconds in (
            ("Fri, 13 Sep 2024 12:00:40 GMT", 40),
            ("Friday, 13-Sep-24 12:00:40 GMT", 40),
            ("Fri Sep 13 12:00:40 2024", 40),
            ("Fri, 13 Sep 2024 12:00:00 GMT", 0),
            ("Fri, 13 Sep 2024 11:00:00 GMT", 0),
            ("Sat, 14 Sep 2024 12:00:00 GMT", MAX_RETRY_AFTER),
            ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
            ("Fri, 13 Sep 2024 12:00:40 +0001", 0),
            ("soon", 10),
            ("Fri, 99 Sep 2024 12:00:40 GMT", 10),
            ("7", 7),
        ):
            for status in (429, 503):
                error = self.assertRaises(
                    TooManyRequestsError, read_answer, "A", status, header, b"", answered_at
                )
                self.assertEqual(error.seconds, seconds, header)

    def test_a_date_to_try_again_is_by_our_clock_where_the_answer_has_none(self) -> None:
        for date in (None, "", "yesterday"):
            for ahead, least, most in ((40, 35, 41), (86_400, 60, 60), (-5, 10, 10)):
                when = datetime.now(UTC) + timedelta(seconds=ahead)
                header = format_datetime(when, usegmt=True)
                error = self.assertRaises(
                    TooManyRequestsError, read_answer, "A", 429, header, b"", date
                )
                self.assertTrue(least <= error.seconds <= most, error.seconds)

    def test_503_gives_the_seconds_to_wait_where_it_states_them(self) -> None:
        error = self.assertRaises(TooManyRequestsError, read, {}, 503, "45")
        self.assertEqual(
            (error.seconds, error.why), (45, "HTTP 503, service unavailable, 45 s to wait")
        )
        unanswered = self.assertRaises(GatewayUnansweredError, read, {}, 503)
        self.assertNotIsInstance(unanswered, TooManyRequestsError)

    def test_400_is_a_refusal_with_the_reason_in_the_body(self) -> None:
        body = b"the field\r\naccountId is required"
        refusal = self.assertRaises(
            GatewayRefusedError, read_answer, "Order/place", 400, None, body
        )
        self.assertEqual(refusal.code, -400)
        self.assertIn("HTTP 400: the field  accountId is required", str(refusal))

    def test_other_statuses_leave_the_outcome_open(self) -> None:
        for status in (201, 202, 204, 302, 403, 404, 408, 500, 502, 503, 504, 520, 599):
            error = self.assertRaises(GatewayUnansweredError, read, {}, status)
            self.assertIn(f"HTTP {status}", str(error))

    def test_the_body_of_an_error_never_counts_as_a_success(self) -> None:
        fields = {"success": True, "errorCode": 0}
        for status in (400, 401, 429, 500):
            self.assertRaises(GatewayError, read, fields, status)

    def test_a_refused_token_and_429_count_as_unanswered(self) -> None:
        for kind in (TokenRefusedError, TooManyRequestsError):
            self.assertTrue(issubclass(kind, GatewayUnansweredError))

    @given(
        st.integers(-1, 1000) | st.sampled_from([200, 400, 401, 403, 429, 500, 503]),
        st.none() | st.text() | http_dates,
        st.binary() | envelopes.map(lambda fields: json.dumps(fields).encode()),
        st.none() | st.text() | http_dates,
    )
    def test_any_response_is_read_or_raises_a_gateway_error(
        self, status: int, retry_after: str | None, body: bytes, date: str | None
    ) -> None:
        try:
            answer = read_answer("Order/place", status, retry_after, body, date)
        except GatewayError as error:
            self.assertTrue(str(error).isprintable())
            self.assertTrue(0 <= getattr(error, "seconds", 0) <= MAX_RETRY_AFTER)
        else:
            self.assertEqual((status, type(answer)), (200, dict))


class PartTests(SynchronousTestCase):
    """Lists and payloads in a response."""

    def test_an_empty_list_is_a_list(self) -> None:
        self.assertEqual(items("A", {"orders": []}, "orders"), [])
        self.assertEqual(items("A", {"orders": [{"id": 1}]}, "orders"), [{"id": 1}])

    def test_a_missing_list_is_an_error(self) -> None:
        for fields in (
            {},
            {"orders": None},
            {"orders": {}},
            {"orders": [1]},
            {"orders": [{}, []]},
        ):
            error = self.assertRaises(
                GatewayUnansweredError, items, "Order/search", fields, "orders"
            )
            self.assertIn("no list of orders", str(error))

    def test_a_missing_payload_is_an_error(self) -> None:
        self.assertEqual(item("A", {"order": {"id": 1}}, "order"), {"id": 1})
        for fields in ({}, {"order": None}, {"order": []}):
            self.assertRaises(GatewayUnansweredError, item, "Order/searchById", fields, "order")


class AccountTests(SynchronousTestCase):
    """Payloads of one account."""

    def test_a_payload_of_another_account_is_an_error(self) -> None:
        for found in (
            {},
            {"accountId": None},
            {"accountId": 123},
            {"accountId": Decimal("123.0")},
        ):
            with self.subTest(found=found):
                check_account("A", {"id": 5, **found}, 123)
        for wrong in (124, "123", True, [], Decimal("123.5")):
            with self.subTest(wrong=wrong):
                payload = {"id": 5, "accountId": wrong}
                self.assertRaises(GatewayUnansweredError, check_account, "A", payload, 123)
