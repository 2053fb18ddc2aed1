"""The wire: every event there and back, and each error names the wrong field."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from twisted.trial.unittest import SynchronousTestCase

from riskd.model import wire
from riskd.model.events import (
    EVENT_TYPES,
    Action,
    DaemonStatus,
    EnforcementAction,
    Event,
    EventError,
    GatewayUserOrder,
    GatewayUserTrade,
    MarketQuote,
    OrderSide,
    OrderState,
    OrderType,
    Status,
    UnknownEventTypeError,
)
from riskd.model.wire import (
    MAX_MESSAGE_BYTES,
    decode,
    encode,
    encode_data,
    exact_quote,
    open_envelope,
    plain_quote,
)
from riskd.testing import make_event
from tests.support.strategies import events

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
EXAMPLES = re.findall(r"```json\n(.*?)```", PROTOCOL.read_text(encoding="utf-8"), re.DOTALL)

MOMENT = datetime(2025, 1, 17, 14, 45, 15, 123456, UTC)


def quote(**changes: object) -> dict[str, object]:
    data: dict[str, object] = {
        "contractId": "CON.F.US.MNQ.U25",
        "bid": 21000.25,
        "ask": 21000.50,
        "last": 21000.50,
        "timestamp": "2025-01-17T14:45:15.456Z",
    }
    data.update(changes)
    return {"type": "MarketQuote", "account_id": 123, "data": data}


class GoldenTests(SynchronousTestCase):
    """The examples of ``docs/protocol.md``."""

    def test_there_is_an_example_of_each_event(self) -> None:
        self.assertEqual([json.loads(example)["type"] for example in EXAMPLES], list(EVENT_TYPES))

    def test_each_example_decodes_and_encodes_back_to_the_same_json(self) -> None:
        for example in EXAMPLES:
            wire = encode(decode(example))
            self.assertEqual(json.loads(wire), json.loads(example))

    def test_keys_keep_the_documented_order(self) -> None:
        for example in EXAMPLES:
            wire = json.loads(encode(decode(example)))
            documented = json.loads(example)
            self.assertEqual(list(wire), ["type", "account_id", "data"])
            self.assertEqual(list(wire["data"]), list(documented["data"]))

    def test_an_encoded_event_is_compact(self) -> None:
        status = DaemonStatus(status=Status.RUNNING, message="on", timestamp=MOMENT)
        self.assertEqual(
            encode(Event(None, status)),
            b'{"type":"daemon_status","account_id":null,"data":{"status":"RUNNING",'
            b'"message":"on","timestamp":"2025-01-17T14:45:15.123Z"}}',
        )

    def test_a_decoded_order_is_typed(self) -> None:
        example = next(text for text in EXAMPLES if "GatewayUserOrder" in text)
        order = decode(example).data
        self.assertEqual(
            order,
            GatewayUserOrder(
                id=789,
                contract_id="CON.F.US.MNQ.U25",
                type=OrderType.MARKET,
                side=OrderSide.BUY,
                size=2,
                limit_price=Decimal(21000),
                stop_price=None,
                state=OrderState.FILLED,
                created_at=datetime(2025, 1, 17, 14, 45, 0, tzinfo=UTC),
                updated_at=datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC),
            ),
        )

    def test_enforcement_details_keep_the_fields_they_have_and_no_unknown_ones(self) -> None:
        text = next(text for text in EXAMPLES if "enforcement_action" in text)
        message = json.loads(text)
        message["data"]["details"] |= {"locked_until": None, "stopPrice": 5797.5, "later": 1}
        back = json.loads(encode(decode(json.dumps(message))))
        del message["data"]["details"]["later"]
        self.assertEqual(back, message)


class SameQuoteTests(SynchronousTestCase):
    """A quote is encoded once for all accounts, and no other one is taken for it."""

    def test_accounts_and_quotes_by_turns(self) -> None:
        first = make_event("MarketQuote", {"last": Decimal("21000.5")}).data
        # Equal, but not the same digits.
        second = make_event("MarketQuote", {"last": Decimal("21000.50")}).data
        for data in (first, first, second, first, second, second):
            for account_id in (1, 2):
                message = encode(Event(account_id, data))
                text = encode_data(data)
                self.assertEqual(
                    message.decode(),
                    f'{{"type":"MarketQuote","account_id":{account_id},"data":{text}}}',
                )
                self.assertIn(f'"last":{data.last},', text)

    def test_the_data_of_one_quote_are_encoded_once_for_all_accounts(self) -> None:
        made: list[object] = []
        quote_data = wire._quote_data

        def counted(quote: MarketQuote) -> bytes:
            made.append(quote)
            return quote_data(quote)

        self.patch(wire, "_quote_data", counted)
        data = make_event("MarketQuote", {}).data
        for account_id in range(1, 100):
            encode(Event(account_id, data))
        self.assertEqual(made, [data])


class PropertyTests(SynchronousTestCase):
    """Properties of every event."""

    @given(events)
    def test_decoding_what_was_encoded_gives_the_same_event(self, event: Event) -> None:
        self.assertEqual(decode(encode(event)), event)

    @given(events)
    def test_data_is_written_the_same_with_its_envelope_and_without(self, event: Event) -> None:
        account = b"null" if event.account_id is None else b"%d" % event.account_id
        begin = b'{"type":"%b","account_id":%b,"data":' % (event.type.encode(), account)
        self.assertEqual(encode(event), begin + encode_data(event.data).encode() + b"}")

    @given(events)
    def test_every_message_is_short_and_one_line_of_utf8(self, event: Event) -> None:
        wire = encode(event)
        self.assertLess(len(wire), MAX_MESSAGE_BYTES)
        self.assertNotIn("\n", wire.decode("utf-8"))

    @given(events)
    def test_numbers_are_written_without_exponent(self, event: Event) -> None:
        numbers: list[str] = []
        json.loads(encode(event), parse_float=numbers.append)
        self.assertEqual([text for text in numbers if "e" in text.lower()], [])

    @given(st.binary(max_size=200) | st.text(max_size=200))
    def test_anything_that_is_no_event_raises_an_event_error(self, message: bytes | str) -> None:
        self.assertRaises(EventError, decode, message)


class ValueTests(SynchronousTestCase):
    """How decoding treats numbers, times and unknown keys."""

    def test_money_stays_exact(self) -> None:
        trade = decode(
            json.dumps(
                {
                    "type": "GatewayUserTrade",
                    "account_id": 1,
                    "data": {
                        "id": 1,
                        "contractId": "C",
                        "profitAndLoss": 0.1,
                        "quantity": 1,
                        "executionTime": "2025-01-17T14:45:15Z",
                        "timestamp": "2025-01-17T14:45:15Z",
                    },
                }
            )
        ).data
        assert isinstance(trade, GatewayUserTrade)
        self.assertEqual(trade.profit_and_loss * 3, Decimal("0.3"))

    def test_any_offset_and_any_precision_become_utc_milliseconds(self) -> None:
        for text in (
            "2025-01-17T14:45:15.123Z",
            "2025-01-17T08:45:15.1239-06:00",
            "2025-01-17T14:45:15.123999+00:00",
        ):
            data = decode(json.dumps(quote(timestamp=text))).data
            assert isinstance(data, MarketQuote)
            self.assertEqual(data.timestamp, MOMENT.replace(microsecond=123000))

    def test_a_timestamp_without_fraction_is_written_without(self) -> None:
        data = DaemonStatus(
            status=Status.ERROR, message="", timestamp=MOMENT.replace(microsecond=999)
        )
        self.assertIn(b'"2025-01-17T14:45:15Z"', encode(Event(None, data)))

    def test_unknown_keys_are_ignored(self) -> None:
        message = quote(later=[1, {}]) | {"version": 2}
        self.assertEqual(decode(json.dumps(message)), decode(json.dumps(quote())))

    def test_enforcement_actions_are_named(self) -> None:
        example = next(text for text in EXAMPLES if "enforcement_action" in text)
        action = decode(example).data
        assert isinstance(action, EnforcementAction)
        self.assertIs(action.action, Action.CLOSE_ALL_POSITIONS)


class LimitTests(SynchronousTestCase):
    """The largest number and the ends of the calendar."""

    def test_the_largest_number_stays_below_its_limit(self) -> None:
        data = MarketQuote(
            contract_id="C",
            bid=Decimal("999999999999999.9999999999999999"),
            ask=Decimal(1),
            last=Decimal(1),
            timestamp=MOMENT,
        )
        self.assertEqual(decode(encode(Event(1, data))).data, data)

    def test_a_moment_outside_the_calendar_is_rejected(self) -> None:
        for text in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-01:00"):
            self.assertRaises(EventError, decode, json.dumps(quote(timestamp=text)))


class PlainQuoteTests(SynchronousTestCase):
    """A quote that is checked without being decoded."""

    def test_an_ordinary_quote_is_plain(self) -> None:
        quote = plain_quote(open_envelope(_quote_message("20000.25", "2025-01-17T14:45:15.123Z")))
        assert quote is not None
        self.assertEqual(quote.contract_id, "CON.F.US.MNQ.U25")
        self.assertEqual(quote.timestamp, datetime(2025, 1, 17, 14, 45, 15, 123_000, UTC))

    @given(
        number=st.decimals(0, 10**12, allow_nan=False).map(str)
        | st.sampled_from(
            [
                *("1.50", "1.000", "2E3", "0.000001", "20000", "20000.250000000"),
                *("0", "-0.0", "-1", "1e-7", "1e-400", "1e12", "999999999999.9999999999999"),
                *("1e13", "1e15", "1e400", "1e99999999999999999999", "1e-99999999999999999999"),
                *(
                    "0." + "0" * 20_000 + "1e20001",
                    "1" + "0" * 20_000 + "e-20000",
                    "1." + "3" * 99,
                ),
                *('"1"', "null", "true", "[1]", "01", "1.", "NaN", "Infinity", "7"),
            ]
        ),
        moment=st.sampled_from(
            [
                *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2025-01-17T14:45:15"),
                *("2025-01-17T14:45:15Z", "2025-01-17T14:45:15.123Z"),
                *("2025-01-17T14:45:15+01:00", "2025-01-17T14:45:15.123456789Z", "", "2025"),
            ]
        ),
        account=st.sampled_from(["123", "null", "-1"]),
    )
    def test_what_is_plain_is_decoded_exactly(
        self, number: str, moment: str, account: str
    ) -> None:
        message = _quote_message(number, moment, account)
        try:
            envelope = open_envelope(message)
        except EventError:
            return
        if plain_quote(envelope) is not None:
            # Their texts have the zeros at the end, which equal numbers need not have in common.
            self.assertEqual(repr(exact_quote(envelope)), repr(decode(message)))

    def test_unknown_keys_are_not_plain(self) -> None:
        message = _quote_message("1", "2025-01-17T14:45:15Z").replace('"bid"', '"more":1,"bid"')
        self.assertIsNone(plain_quote(open_envelope(message)))


def _quote_message(price: str, moment: str, account: str = "123") -> str:
    data = f'{{"contractId":"CON.F.US.MNQ.U25","bid":1,"ask":1,"last":{price},"timestamp":"{moment}"}}'
    return f'{{"type":"MarketQuote","account_id":{account},"data":{data}}}'


class ErrorTests(SynchronousTestCase):
    """Each error names the field, its value and the expectation."""

    def assert_error(self, message: object, field: str, expected: str) -> EventError:
        text = message if isinstance(message, str | bytes) else json.dumps(message)
        error = self.assertRaises(EventError, decode, text)
        self.assertEqual(error.field, field)
        self.assertIn(expected, error.expected)
        self.assertIn(field, str(error))
        return error

    def test_wrong_envelopes(self) -> None:
        for message, field, expected in (
            ("", "message", "JSON"),
            ("{", "message", "JSON"),
            (b"\xff\xfe", "message", "JSON"),
            ("[]", "message", "an object"),
            ("null", "message", "an object"),
            ("[" * 100_000, "message", "JSON"),
            ({"account_id": 1, "data": {}}, "type", "a string"),
            ({"type": 7, "account_id": 1, "data": {}}, "type", "a string"),
            ({"type": "MarketQuote", "data": {}}, "account_id", "a whole number"),
            (
                {"type": "MarketQuote", "account_id": "1", "data": {}},
                "account_id",
                "a whole number",
            ),
            (
                {"type": "MarketQuote", "account_id": True, "data": {}},
                "account_id",
                "a whole number",
            ),
            ({"type": "MarketQuote", "account_id": 1}, "data", "an object"),
            (
                {"type": "MarketQuote", "account_id": 1, "data": []},
                "MarketQuote.data",
                "an object",
            ),
            ({"type": "MarketQuote", "account_id": 1, "data": 5}, "MarketQuote.data", "an object"),
            (quote() | {"account_id": None}, "account_id", "a whole number in MarketQuote"),
        ):
            self.assert_error(message, field, expected)

    def test_a_status_of_one_account_is_rejected(self) -> None:
        message = json.loads(EXAMPLES[-1]) | {"account_id": 123}
        self.assert_error(message, "account_id", "null in daemon_status")

    def test_wrong_fields(self) -> None:
        for changes, expected in (
            ({"bid": "21000.25"}, "a number"),
            ({"bid": None}, "a number"),
            ({"bid": True}, "a number"),
            ({"bid": 10**15}, "a number below 10^15"),
            ({"contractId": ""}, "printable"),
            ({"contractId": "CON F"}, "printable"),
            ({"contractId": 3}, "printable"),
            ({"timestamp": "yesterday"}, "RFC 3339"),
            ({"timestamp": "2025-01-17T14:45:15"}, "with an offset"),
            ({"timestamp": 1737125115}, "RFC 3339"),
        ):
            field = next(iter(changes))
            error = self.assert_error(quote(**changes), f"MarketQuote.{field}", expected)
            self.assertEqual(error.value, changes[field])

    def test_each_missing_field_is_named(self) -> None:
        for example in EXAMPLES:
            message = json.loads(example)
            for field in message["data"]:
                data = {key: value for key, value in message["data"].items() if key != field}
                error = self.assert_error(
                    message | {"data": data}, f"{message['type']}.{field}", ""
                )
                self.assertIs(error.value, UNSET)
                self.assertTrue(str(error).endswith(", got nothing"))

    def test_each_field_rejects_an_array(self) -> None:
        for example in EXAMPLES:
            message = json.loads(example)
            for field in message["data"]:
                data = message["data"] | {field: []}
                self.assert_error(message | {"data": data}, f"{message['type']}.{field}", "")

    def test_enums_are_listed_by_name(self) -> None:
        order = json.loads(next(text for text in EXAMPLES if "GatewayUserOrder" in text))
        order["data"]["side"] = 0
        self.assert_error(order, "GatewayUserOrder.side", "1 (BUY), 2 (SELL)")

    def test_a_wrong_detail_of_an_enforcement_is_named(self) -> None:
        action = json.loads(next(text for text in EXAMPLES if "enforcement_action" in text))
        action["data"]["details"]["stopPrice"] = "5797.50"
        self.assert_error(action, "enforcement_action.details.stopPrice", "a number")
        action["data"]["details"] = {"orders_canceled": 1}
        self.assert_error(action, "enforcement_action.details.positions_closed", "a whole number")

    def test_a_number_too_large_for_arithmetic_is_rejected(self) -> None:
        text = json.dumps(quote()).replace("21000.25", "1e999999")
        self.assert_error(text, "MarketQuote.bid", "a number")

    def test_an_unknown_type_raises_an_error_of_its_own(self) -> None:
        error = self.assertRaises(
            UnknownEventTypeError, decode, '{"type":"news","account_id":1,"data":{}}'
        )
        self.assertEqual(error.value, "news")

    def test_the_envelope_of_an_unknown_type_can_be_read(self) -> None:
        envelope = open_envelope('{"type":"news","account_id":1,"data":{"x":0.1,"y":[2]}}')
        self.assertEqual(envelope.read_data(), {"x": Decimal("0.1"), "y": [2]})

    def test_an_error_shortens_a_huge_value(self) -> None:
        error = self.assertRaises(EventError, decode, json.dumps("x" * 100_000))
        self.assertLess(len(str(error)), 200)
