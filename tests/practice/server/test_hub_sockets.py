"""The hubs' WebSockets as bytes."""

from __future__ import annotations

import json
import re

from twisted.logger import capturedLogs

from riskd.practice.server import hub_sockets as sockets
from riskd.practice.server.site import MAX_BODY_BYTES
from tests.support.practice_server import (
    HubClient,
    PracticeServerTestCase,
)
from tests.support.websocket_frames import CLOSE, TEXT, client_frame, close_code

LITTLE = 64 * 1024
"""Stands in for a megabyte, to be filled in less time."""


class HubTests(PracticeServerTestCase):
    """The connection of one client to a hub."""

    def test_version_0_of_the_handshake_is_accepted(self) -> None:
        client = self.hub(hello=b'{"protocol":"json","version":0}')
        self.assertEqual(client.records(), [{}])

    def test_another_encoding_is_refused_and_the_connection_closed(self) -> None:
        client = self.hub(hello=b'{"protocol":"messagepack","version":1}')
        (answer,) = client.records()
        self.assertIn("only json", answer["error"])
        self.assertEqual(client.frames[-1][0], CLOSE)

    def test_a_client_without_a_handshake_is_cut_after_5_seconds(self) -> None:
        client = self.hub(hello=b"")
        self.clock.advance(4.9)
        self.assertFalse(client.is_gone)
        self.clock.advance(0.2)
        self.assertTrue(client.is_gone)

    def test_garbage_ends_the_connection_with_a_reason(self) -> None:
        client = self.hub()
        client.say(b"garbage")
        (farewell,) = client.records()
        self.assertEqual((farewell["type"], "allowReconnect" in farewell), (7, False))
        self.assertIn("not JSON", farewell["error"])
        self.assertEqual(close_code(client.frames[-1][1]), 1000)

    def test_a_too_large_message_ends_the_connection(self) -> None:
        client = self.hub()
        client.say(b" " * MAX_BODY_BYTES)
        client.raw_records()
        self.assertEqual(close_code(client.frames[-1][1]), 1009)

    def test_a_ping_follows_ten_seconds_without_a_record(self) -> None:
        """It is a ping of SignalR: some clients never answer WebSocket pings."""
        client = self.hub()
        self.clock.advance(9)
        self.subscribe(client, "SubscribeAccounts")
        self.clock.advance(9.9)
        self.assertEqual(client.take(), b"")
        for _ in range(3):
            self.clock.advance(10)
            self.assertEqual(client.raw_records(), [b'{"type":6}'])
        self.assertEqual({opcode for opcode, _payload in client.frames}, {TEXT})

    def test_a_websocket_ping_is_answered(self) -> None:
        client = self.hub()
        client.ping()
        self.assertTrue(client.has_pong)

    def test_a_client_that_never_pings_may_be_silent_for_ever(self) -> None:
        client = self.hub()
        self.clock.pump([10] * 60)
        self.assertFalse(client.is_gone)

    def test_a_client_that_has_pinged_is_cut_after_30_silent_seconds(self) -> None:
        client = self.hub()
        client.say(b'{"type":6}')
        self.clock.advance(29)
        client.say(b'{"type":6}')
        self.clock.advance(29)
        self.assertFalse(client.is_gone)
        self.clock.advance(2)
        self.assertTrue(client.is_gone)

    def test_a_close_record_is_answered(self) -> None:
        client = self.hub()
        client.say(b'{"type":7}')
        client.raw_records()
        self.assertEqual(close_code(client.frames[-1][1]), 1000)

    def test_only_the_slow_client_is_cut(self) -> None:
        self.patch(sockets, "MAX_UNSENT_BYTES", LITTLE)
        slow, quick = self.hub(), self.hub()
        for client in (slow, quick):
            self.subscribe(client, "SubscribeOrders", 123)
        sent = 0
        while not slow.is_gone and sent < 10 * LITTLE:
            # A congested transport pauses again at every write.
            slow.transport.producer.pauseProducing()
            self.ask("Order/cancel", accountId=123, orderId=self.rest())
            sent += len(quick.take())
            slow.take()
            self.clock.advance(1)
        self.assertTrue(slow.is_gone)
        self.assertTrue(0.9 * LITTLE < sent < 1.2 * LITTLE, sent)
        self.assertFalse(quick.is_gone)

    def test_a_client_that_catches_up_is_not_cut(self) -> None:
        self.patch(sockets, "MAX_UNSENT_BYTES", LITTLE)
        client = self.hub()
        self.subscribe(client, "SubscribeOrders", 123)
        for _ in range(3):
            client.transport.producer.pauseProducing()
            for _ in range(LITTLE // 600 // 2):
                self.rest()
                self.clock.advance(1)
            client.transport.producer.resumeProducing()
        client.take()
        for _ in range(LITTLE // 600 * 3):
            self.rest()
            self.clock.advance(1)
        self.assertFalse(client.is_gone)
        self.assertTrue(len(client.take()) > LITTLE)

    def test_a_client_cut_for_its_completion_is_not_subscribed(self) -> None:
        self.patch(sockets, "MAX_UNSENT_BYTES", 10)
        client = self.hub()
        client.transport.producer.pauseProducing()
        client.invoke("SubscribeOrders", 123)
        self.assertTrue(client.is_gone)
        self.assertEqual(self.site._feed._subscribers, {})

    def test_answers_to_pings_count_as_unread_bytes(self) -> None:
        self.patch(sockets, "MAX_UNSENT_BYTES", LITTLE)
        client = self.hub()
        client.transport.producer.pauseProducing()
        for _ in range(LITTLE // 8 - 1):
            client.ping()
        self.assertFalse(client.is_gone)
        client.ping()
        client.ping()
        self.assertTrue(client.is_gone)

    def rest(self) -> int:
        """Place an order that rests in the book; return its id."""
        return self.place(type=1, limitPrice=15000, customTag=f"{self.clock.seconds()}")

    def test_a_stop_closes_all_clients_and_lets_them_reconnect(self) -> None:
        answering, silent = self.hub("user"), self.hub("market")
        gone = self.site.close_hubs()
        (farewell,) = answering.records()
        self.assertEqual(farewell, {"type": 7, "allowReconnect": True})
        opcode, payload = answering.frames[-1]
        self.assertEqual((opcode, close_code(payload)), (CLOSE, 1001))
        answering.send(client_frame(CLOSE, payload))
        self.assertNoResult(gone)
        self.clock.advance(2)
        self.successResultOf(gone)
        self.assertTrue(silent.is_gone)

    def test_headers_in_an_invocation_are_ignored_and_not_logged(self) -> None:
        client = self.hub()
        invocation = {
            "type": 1,
            "headers": {"Authorization": f"Bearer {self.token}"},
            "target": "SubscribeOrders",
            "arguments": [123],
            "invocationId": "9",
        }
        with capturedLogs() as logged:
            client.say(json.dumps(invocation).encode())
            client.invoke("Nonsense", {"headers": self.token})
        self.assertEqual(client.records()[0], {"type": 3, "invocationId": "9", "result": 0})
        self.assertNotIn(self.token, repr(logged))

    def test_a_connection_that_is_lost_is_forgotten(self) -> None:
        client = self.hub()
        self.subscribe(client, "SubscribeOrders", 123)
        client.transport.loseConnection()
        self.place()
        # The client left no timer, and the market of a shut gateway has none.
        own = [str(call) for call in self.clock.getDelayedCalls()]
        self.assertEqual([call for call in own if re.search("HubProtocol", call)], [])


class LogoutTests(PracticeServerTestCase):
    """The practice request that ends all hub sessions."""

    def test_a_logout_ends_every_hub_session_and_revokes_its_token(self) -> None:
        user, market = self.hub("user"), self.hub("market")
        self.subscribe(user, "SubscribeOrders", 123)
        old = self.token
        self.token = self.ask("Auth/loginKey", userName="practice", apiKey="a key")["token"]
        self.ask("Practice/logout")
        for client in (user, market):
            self.assertEqual(
                client.records(), [{"type": 1, "target": "GatewayLogout", "arguments": []}]
            )
        self.assertEqual(HubClient(self.site, f"/hubs/user?access_token={old}").answer, 401)
        # The requesting client has no hub connection, so its token stays good.
        self.place()
        self.assertEqual(user.records(), [])
        user.invoke("SubscribeTrades", 123)
        self.assertIn("session has ended", user.records()[0]["error"])
        self.assertFalse(user.is_gone)

    def test_a_logout_closes_a_client_in_its_handshake(self) -> None:
        client = self.hub(hello=b"")
        self.ask("Practice/logout")
        client.raw_records()
        self.assertEqual(client.frames[-1][0], CLOSE)
