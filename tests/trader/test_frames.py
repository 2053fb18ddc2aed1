"""Frames that are whole text messages are read without Autobahn."""

from __future__ import annotations

from unittest.mock import patch

import txaio
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.stream_server import StreamServerEndpoint
from tests.support.websocket_frames import BINARY, CLOSE, PING, PONG, TEXT, server_frame
from trader.client import DaemonClient
from trader.frames import whole_texts

PAYLOADS = (
    st.binary(max_size=6)
    | st.sampled_from([b'{"type":"news","account_id":123,"data":{"n":%d}}' % n for n in range(9)])
    | st.integers(80, 140).map(
        lambda size: b'{"type":"news","account_id":123,"data":{"n":"%s"}}' % (b"x" * size)
    )
)
FRAMES = st.tuples(st.sampled_from([TEXT] * 5 + [BINARY, CLOSE, PING, PONG, 0, 3]), PAYLOADS)


def outcome(pieces: list[bytes]) -> tuple[object, ...]:
    """Return the callbacks, counts and state of a client that receives ``pieces``."""
    clock, calls = Clock(), []
    with patch.object(txaio.config, "loop", clock):
        endpoint = StreamServerEndpoint(clock)
        client = DaemonClient(
            123, lambda *call: calls.append(call), reactor=clock, endpoint=endpoint
        )
        client.connect()
        server = endpoint.accept()
        server.accept_handshake()
        server.transport.clear()
        for piece in pieces:
            if server.transport.connected:
                server.send(piece)
        clock.advance(0)
        return calls, client.dropped, client.connected, server.protocol.state


class WholeTextTests(SynchronousTestCase):
    """Which frames are read, alone and inside a client."""

    def test_whole_messages_are_read_and_the_rest_is_left(self) -> None:
        first, second = server_frame(TEXT, b"one"), server_frame(TEXT, "zwölf".encode() * 30)
        for rest in (b"", b"\x81", second[:-1], server_frame(PING, b"abc")):
            self.assertEqual(
                whole_texts(first + second + rest), ([b"one", "zwölf".encode() * 30], rest)
            )

    def test_a_frame_that_is_not_a_whole_text_is_left(self) -> None:
        for other in (
            server_frame(BINARY, b"one"),
            server_frame(CLOSE, b"\x03\xe8bye"),
            server_frame(TEXT, b"\xff\xff"),
            b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + b"x" * 65536,
            b"\x01\x03one",
            b"\xc1\x03one",
            b"\x81\x83maskone",
            b"\x81\x7e\x00\x03one",
        ):
            self.assertEqual(whole_texts(other), ([], other))

    def test_bytes_that_look_like_a_frame_inside_another_frame_are_not_read_as_one(self) -> None:
        looks_like_one = b"\x81\x02{}"
        in_its_length = b"\x81\x7e\x00", looks_like_one + b"x" * 126
        in_its_text = b"\x81\x05\xc3", looks_like_one
        in_a_message = server_frame(TEXT, b"", final=False), looks_like_one
        in_a_ping = b"\x89\x05a", looks_like_one
        for pieces in (in_its_length, in_its_text, in_a_message, in_a_ping):
            with patch("trader.client.whole_texts", lambda stream: ([], stream)):
                expected = outcome([*pieces])
            self.assertEqual(outcome([*pieces]), expected)

    @given(st.lists(FRAMES, max_size=6), st.data())
    def test_a_client_receives_what_it_would_receive_through_autobahn(
        self, frames: list[tuple[int, bytes]], data: st.DataObject
    ) -> None:
        stream = b"".join(
            server_frame(opcode, payload, final=data.draw(st.integers(0, 4)) > 0)
            for opcode, payload in frames
        )
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
        pieces = [
            stream[begin:end]
            for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
            if begin < end
        ]
        with patch("trader.client.whole_texts", lambda stream: ([], stream)):
            expected = outcome(pieces)
        self.assertEqual(outcome(pieces), expected)
