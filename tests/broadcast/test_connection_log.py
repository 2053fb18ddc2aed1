"""The log of clients' connections: what it says, and what cannot flood it."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent

from riskd.broadcast.connection_log import LINES, SECONDS
from riskd.testing import make_event
from tests.support.broadcast import BroadcastTestCase
from tests.support.websocket_frames import CLOSE, TEXT, client_frame, handshake


class ConnectionLogTests(BroadcastTestCase):
    """The connection log."""

    def log_of(self, act: object) -> list[tuple[LogLevel, str]]:
        with capturedLogs() as captured:
            act()
        return [
            (event["log_level"], formatEvent(event))
            for event in captured
            if event["log_namespace"].startswith("riskd")
        ]

    def test_a_connection_is_logged_from_beginning_to_end(self) -> None:
        def connect_and_leave() -> None:
            peer = self.join()
            self.broadcast(make_event("daemon_status", {}))
            self.clock.advance(12.5)
            peer.send(client_frame(CLOSE, b"\x03\xe8"))

        (_, first), (_, last) = self.log_of(connect_and_leave)
        self.assertEqual(first, "client tcp4:192.168.1.1:54321 connected, 1 in all")
        self.assertEqual(
            last,
            "client tcp4:192.168.1.1:54321 disconnected: "
            "code 1000, 12.5 s connected, 1 messages sent",
        )

    def test_a_refusal_is_logged_with_its_reason(self) -> None:
        ((level, text),) = self.log_of(lambda: self.connect(handshake("evil.example:8765")))
        self.assertEqual(level, LogLevel.warn)
        self.assertEqual(text, "refused tcp4:192.168.1.1:54321: foreign Host")

    def test_a_flood_of_refusals_is_cut_short(self) -> None:
        def flood(connections: int = 3 * LINES) -> None:
            for _ in range(connections):
                self.connect(handshake("evil.example:8765"))

        self.clock.advance(SECONDS)
        texts = [text for _, text in self.log_of(flood)]
        self.assertEqual(len(texts), LINES + 1)
        self.assertEqual(
            texts[-1],
            "more than 200 lines about clients within 60 s, the rest is left out",
        )
        self.clock.advance(SECONDS)
        texts = [text for _, text in self.log_of(lambda: flood(1))]
        self.assertEqual(
            texts,
            [
                "400 lines about clients were left out",
                "refused tcp4:192.168.1.1:54321: foreign Host",
            ],
        )

    def test_a_request_cannot_write_control_characters_or_long_text_into_the_log(self) -> None:
        for request in (
            b"GET /\x1b[2J HTTP/9.9\r\nHost: localhost:8765\r\nUpgrade: websocket\r\n\r\n",
            handshake(headers=("Sec-WebSocket-Key: \x1b]0;owned\x07",)),
            handshake(headers=("Sec-WebSocket-Protocol: a, " + "b" * 10_000 + ",a",)),
        ):
            ((_, text),) = self.log_of(lambda request=request: self.connect(request))
            self.assertTrue(text.isprintable(), text)
            self.assertLess(len(text), 200)

    def test_a_close_without_a_code_is_1005(self) -> None:
        texts = [text for _, text in self.log_of(lambda: self.join().send(client_frame(CLOSE)))]
        self.assertIn("code 1005", texts[-1])

    def test_a_message_of_a_client_is_not_logged(self) -> None:
        def talk() -> None:
            peer = self.join()
            peer.send(client_frame(TEXT, b"secret"))
            peer.send(client_frame(CLOSE, b"\x03\xf0"))

        texts = [text for _, text in self.log_of(talk)]
        self.assertIn("one-way", texts[1])
        self.assertIn("code 1008", texts[2])
        self.assertNotIn("secret", "".join(texts))
