"""The bodies of requests; test_api.py checks the errors that clients receive."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.server import bodies
from riskd.practice.server.bodies import BodyError, read_body


class ReadingTests(SynchronousTestCase):
    def read(self, kind: type[Any], **fields: Any) -> Any:
        return read_body(json.dumps(fields).encode(), kind)

    def test_names_are_those_of_the_api(self) -> None:
        body = self.read(bodies.OrderBody, accountId=123, orderId=7)
        self.assertEqual((body.account_id, body.order_id), (123, 7))

    def test_a_time_may_end_in_z_in_an_offset_or_in_neither(self) -> None:
        noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        for text, time in (
            ("2026-03-02T12:00:00Z", noon),
            ("2026-03-02T12:00:00", noon),
            ("2026-03-02T12:00:00.000", noon),
            ("2026-03-02T12:00:00+01:00", noon.replace(tzinfo=timezone(timedelta(hours=1)))),
        ):
            body = self.read(bodies.SearchSince, accountId=123, startTimestamp=text)
            self.assertEqual(body.start_timestamp, time, text)
            self.assertIsNotNone(body.start_timestamp.tzinfo)

    def test_a_time_in_a_nested_object_is_utc_as_well(self) -> None:
        wanted = {"accountId": 123, "createdAfter": "2026-03-02T12:00:00"}
        body = self.read(bodies.QueryOrders, filter=wanted)
        self.assertEqual(body.filter.created_after, datetime(2026, 3, 2, 12, tzinfo=UTC))

    def test_prices_are_exact(self) -> None:
        body = read_body(b'{"contractId": "x", "price": 20000.10}', bodies.MoveMarket)
        self.assertEqual(str(body.price), "20000.10")

    def test_a_price_that_cannot_be_computed_with_names_its_field(self) -> None:
        for price in ("1e300", "1e15", "-1e99"):
            body = f'{{"accountId": 1, "orderId": 1, "limitPrice": {price}}}'.encode()
            error = self.assertRaises(BodyError, read_body, body, bodies.ModifyOrder)
            self.assertEqual(error.field, "limitPrice")
            self.assertIn("limitPrice: expected a number below 10^15", str(error))
        body = b'{"accountId": 1, "orderId": 1, "limitPrice": 1e14}'
        self.assertEqual(read_body(body, bodies.ModifyOrder).limit_price, Decimal("1e14"))

    def test_a_body_that_is_no_object_has_no_field(self) -> None:
        for text in (b"[]", b"5", b"{", b"\xff"):
            self.assertEqual(
                self.assertRaises(BodyError, read_body, text, bodies.Body).field, "$", text
            )

    def test_nulls_count_as_missing_at_any_depth(self) -> None:
        error = self.assertRaises(
            BodyError, self.read, bodies.QueryOrders, filter={"accountId": None}
        )
        self.assertEqual(error.field, "filter.accountId")

    def test_the_key_is_not_in_the_representation(self) -> None:
        self.assertNotIn("secret", repr(self.read(bodies.LoginKey, userName="x", apiKey="secret")))
