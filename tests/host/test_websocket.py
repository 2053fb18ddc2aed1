"""The WebSocket client protocol that the console and the gateway share."""

from __future__ import annotations

from itertools import pairwise

import txaio
from autobahn.twisted.websocket import WebSocketClientFactory
from hypothesis import given
from hypothesis.strategies import binary, integers, lists, text
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.websocket import MAX_HANDSHAKE_BYTES, ClientProtocol, TextCheck
from tests.support.memory_transport import MemoryEndpoint, MemoryTransport
from tests.support.websocket_frames import handshake_answer


class ClientProtocolTests(SynchronousTestCase):
    """The request, and how much of an answer is read."""

    def setUp(self) -> None:
        self.clock = Clock()
        # Autobahn's timers run on the loop of txaio.
        self.patch(txaio.config, "loop", self.clock)

    def connect(self, url: str) -> MemoryTransport:
        """Return the client's end of a connection on which the request has been sent."""
        factory = WebSocketClientFactory(url, reactor=self.clock)
        factory.protocol = ClientProtocol
        endpoint = MemoryEndpoint(self.clock)
        endpoint.connect(factory)
        return endpoint.accept()

    def test_the_host_header_names_the_host_of_the_url(self) -> None:
        for url, host in (
            ("ws://localhost:8765", b"localhost:8765"),
            ("ws://127.0.0.1:9", b"127.0.0.1:9"),
            ("ws://[::1]:8765", b"[::1]:8765"),
        ):
            self.assertIn(b"\r\nHost: " + host + b"\r\n", self.connect(url).value())

    def test_the_request_keeps_path_and_query(self) -> None:
        request = self.connect("ws://localhost:1/hubs/user?access_token=x").value()
        self.assertTrue(request.startswith(b"GET /hubs/user?access_token=x HTTP/1.1\r\n"))

    def test_a_handshake_is_completed(self) -> None:
        transport = self.connect("ws://localhost:1")
        transport.protocol.dataReceived(handshake_answer(transport.value()))
        self.assertEqual(transport.protocol.state, ClientProtocol.STATE_OPEN)

    def test_an_answer_that_exceeds_the_bound_ends_the_connection(self) -> None:
        transport = self.connect("ws://localhost:1")
        protocol = transport.protocol
        protocol.dataReceived(b"HTTP/1.1 101 " + b"x" * (MAX_HANDSHAKE_BYTES - 100))
        self.assertTrue(transport.connected)
        protocol.dataReceived(b"x" * 100)
        self.assertFalse(transport.connected)
        self.assertIn("too long", protocol.wasNotCleanReason)


class TextCheckTests(SynchronousTestCase):
    """Whether a message is UTF-8, in whatever parts it comes."""

    def setUp(self) -> None:
        self.check = TextCheck()

    def is_text(self, parts: list[bytes]) -> bool:
        """Return Autobahn's conclusion: each part is valid, and the last ends with a whole character."""
        self.check.reset()
        answers = [self.check.validate(part) for part in parts]
        return all(valid for valid, *_ in answers) and all(whole for _, whole, *_ in answers[-1:])

    @given(text() | binary(), lists(integers(0, 40)))
    def test_it_is_what_python_can_decode(self, message: str | bytes, cuts: list[int]) -> None:
        data = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
        ends = [0, *sorted(min(place, len(data)) for place in cuts), len(data)]
        try:
            data.decode()
        except UnicodeDecodeError:
            can_decode = False
        else:
            can_decode = True
        parts = [data[begin:end] for begin, end in pairwise(ends)]
        self.assertIs(self.is_text(parts), can_decode)

    def test_what_no_more_bytes_can_mend_is_reported_at_once(self) -> None:
        for data in (b"\xff", b"a\xc0", b"\xf5"):
            self.check.reset()
            self.assertFalse(self.check.validate(data)[0], data)

    def test_a_message_does_not_end_within_a_character(self) -> None:
        self.check.reset()
        self.assertEqual(self.check.validate(b"\xe2\x82"), (True, False, 2, 2))
        self.assertEqual(self.check.validate(b"\xac"), (True, True, 1, 3))
