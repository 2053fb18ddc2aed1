"""SignalR's JSON hub protocol: any bytes in any pieces."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.signalr import (
    HANDSHAKE_REQUEST,
    MAX_RECORD_BYTES,
    Close,
    Completion,
    Invocation,
    Message,
    Ping,
    RecordReader,
    SignalRError,
    decode,
    decode_handshake_request,
    decode_handshake_response,
    encode,
    encode_handshake_response,
)

texts = st.text(st.characters(codec="utf-8"), max_size=20)
arguments = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.decimals(-(10**9), 10**9, places=7, allow_nan=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Invocation, texts, st.lists(arguments, max_size=3).map(tuple), st.none() | texts),
    st.builds(Completion, texts, arguments),
    st.builds(Completion, texts, st.none(), texts),
    st.just(Ping()),
    st.builds(Close, st.none() | texts, st.booleans()),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return ``data`` cut at these places."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def read(*chunks: bytes) -> list[Message | None]:
    """Return the messages in these bytes."""
    reader = RecordReader()
    return [decode(record) for chunk in chunks for record in reader.feed(chunk)]


class RecordTests(SynchronousTestCase):
    """Bytes to records."""

    @given(st.lists(messages, max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
    def test_records_are_assembled_from_any_pieces(
        self, sent: list[Message], cuts: list[int]
    ) -> None:
        data = b"".join(map(encode, sent))
        self.assertEqual(read(*pieces(data, cuts)), sent)

    def test_a_separator_in_a_text_is_escaped(self) -> None:
        message = Invocation("A", ("\x1e",))
        self.assertEqual(encode(message).count(b"\x1e"), 1)
        self.assertEqual(read(encode(message)), [message])

    def test_bytes_without_a_separator_are_no_record_yet(self) -> None:
        reader = RecordReader()
        self.assertEqual([*reader.feed(b'{"type":')], [])
        self.assertEqual([*reader.feed(b"6}")], [])
        self.assertEqual([*reader.feed(b"\x1e")], [b'{"type":6}'])

    def test_a_record_has_a_longest_length(self) -> None:
        reader = RecordReader()
        self.assertEqual([*reader.feed(b"x" * MAX_RECORD_BYTES)], [])
        self.assertEqual([*map(len, reader.feed(b"\x1e"))], [MAX_RECORD_BYTES])
        self.assertEqual([*reader.feed(b"x" * MAX_RECORD_BYTES)], [])
        for more in (b"x", b"x\x1e"):
            self.assertRaises(SignalRError, list, reader.feed(more))

    def test_records_are_taken_one_after_the_other(self) -> None:
        # Their list, or a copy of their bytes, would take several times the limit.
        many = 200_000
        records = RecordReader().feed(b"\x1e" * many)
        tracemalloc.start()
        self.assertEqual(sum(1 for _ in records), many)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(peak, 50_000)

    @given(st.lists(st.binary(max_size=60), max_size=8))
    def test_any_bytes_are_decoded_or_raise_signalr_error(self, chunks: list[bytes]) -> None:
        try:
            read(*chunks)
        except SignalRError as error:
            self.assertTrue(str(error).isprintable())

    @given(messages, st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
    def test_any_damaged_message_is_decoded_or_raises_signalr_error(
        self, message: Message, place: int, damage: bytes
    ) -> None:
        record = encode(message)
        place %= len(record)
        try:
            read(record[:place] + damage + record[place + len(damage) :])
        except SignalRError as error:
            self.assertTrue(str(error).isprintable())


class MessageTests(SynchronousTestCase):
    """The bytes of messages, as the specification and the live hubs have them."""

    def test_fields_that_are_not_set_are_left_out(self) -> None:
        for message, record in (
            (Ping(), b'{"type":6}'),
            (Close(), b'{"type":7}'),
            (
                Close("bye", allow_reconnect=True),
                b'{"type":7,"error":"bye","allowReconnect":true}',
            ),
            (
                Invocation("SubscribeAccounts", ()),
                b'{"type":1,"target":"SubscribeAccounts","arguments":[]}',
            ),
            (
                Invocation("SubscribeOrders", (123,), "7"),
                b'{"type":1,"target":"SubscribeOrders","arguments":[123],"invocationId":"7"}',
            ),
            (Completion("7", 0), b'{"type":3,"invocationId":"7","result":0}'),
            (Completion("7", error="no"), b'{"type":3,"invocationId":"7","error":"no"}'),
        ):
            self.assertEqual(encode(message), record + b"\x1e")
            self.assertEqual(decode(record), message)

    def test_prices_are_exact(self) -> None:
        (message,) = read(
            b'{"type":1,"target":"GatewayQuote","arguments":["M",{"lastPrice":0.1}]}\x1e'
        )
        assert isinstance(message, Invocation)
        self.assertEqual(message.arguments[1]["lastPrice"], Decimal("0.1"))

    def test_headers_and_unknown_keys_are_ignored(self) -> None:
        record = b'{"type":1,"headers":{"a":"b"},"target":"T","arguments":[],"streamIds":["1"]}'
        self.assertEqual(decode(record), Invocation("T", ()))
        self.assertEqual(
            decode(b'{"type":1,"invocationId":null,"target":"T","arguments":[]}'),
            Invocation("T", ()),
        )

    def test_a_completion_may_have_no_result(self) -> None:
        self.assertEqual(decode(b'{"type":3,"invocationId":"1"}'), Completion("1"))

    def test_an_error_shows_a_record_as_text(self) -> None:
        error = self.assertRaises(SignalRError, decode, b"x\xff")
        self.assertIn("is not JSON", str(error))
        self.assertTrue(str(error).endswith(r": 'x\ufffd'"), str(error))

    def test_kinds_of_messages_that_no_hub_uses_here_are_ignored(self) -> None:
        for kind in (2, 4, 5, 8, 9, 99):
            self.assertIsNone(decode(b'{"type":%d}' % kind))

    def test_an_error_shows_a_record_that_is_no_message(self) -> None:
        for record in (
            b"",
            b"[]",
            b"{}",
            b'{"type":"1"}',
            b'{"type":true}',
            b'{"type":1,"arguments":[]}',
            b'{"type":1,"target":"T"}',
            b'{"type":1,"target":"T","arguments":{}}',
            b'{"type":1,"target":"T","arguments":[],"invocationId":7}',
            b'{"type":3}',
            b'{"type":3,"invocationId":"1","error":5}',
            b'{"type":7,"error":[]}',
            b'{"type":7,"allowReconnect":1}',
            b'{"type":99,',
            b'{"type":99}}',
        ):
            self.assertRaises(SignalRError, decode, record)


class HandshakeTests(SynchronousTestCase):
    """The first record of each side."""

    def test_a_client_requests_json(self) -> None:
        self.assertEqual(HANDSHAKE_REQUEST, b'{"protocol":"json","version":1}\x1e')
        decode_handshake_request(b'{"protocol":"json","version":1}')

    def test_any_version_is_accepted(self) -> None:
        decode_handshake_request(b'{"protocol":"json","version":0}')

    def test_another_encoding_is_refused(self) -> None:
        for record in (b'{"protocol":"messagepack","version":1}', b"{}", b"nonsense"):
            self.assertRaises(SignalRError, decode_handshake_request, record)

    def test_a_server_accepts_or_gives_a_reason(self) -> None:
        self.assertEqual(encode_handshake_response(), b"{}\x1e")
        decode_handshake_response(b"{}")
        refusal = encode_handshake_response("not you")
        error = self.assertRaises(SignalRError, decode_handshake_response, refusal[:-1])
        self.assertIn("not you", str(error))

    def test_a_message_before_the_handshake_is_an_error(self) -> None:
        self.assertRaises(SignalRError, decode_handshake_response, b'{"type":6}')

    def test_events_may_share_the_frame_of_the_handshake(self) -> None:
        first, *rest = RecordReader().feed(encode_handshake_response() + encode(Ping()))
        decode_handshake_response(first)
        self.assertEqual([decode(record) for record in rest], [Ping()])
