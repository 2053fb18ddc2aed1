"""One connection with a hub, from its handshake to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.hub_connection import HubConnection, HubError, HubRefusedError
from riskd.gateway.signalr import (
    MAX_RECORD_BYTES,
    Close,
    Completion,
    Invocation,
    Ping,
    encode,
    encode_handshake_response,
)
from tests.support.broker import HubEnd

EVENT = Invocation("GatewayUserOrder", ({"id": 7},))


class HubConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.received: list[Invocation] = []
        self.hub = HubEnd(self.clock, self.received.append)
        self.connection = self.hub.connection
        self.ended: list[str] = []
        self.connection.ended.addCallback(self.ended.append)
        self.handshaken = self.connection.handshaken

    def shake_hands(self) -> None:
        self.hub.shake_hands()
        self.successResultOf(self.handshaken)

    def assert_ended(self, words: str) -> None:
        (why,) = self.ended
        self.assertIn(words, why)
        self.assertTrue(self.hub.is_dropped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        if not self.handshaken.called or self.handshaken.result is not None:
            self.failureResultOf(self.handshaken, HubError)

    def test_the_handshake_is_sent_first(self) -> None:
        self.assertEqual(self.hub.handshake, b'{"protocol":"json","version":1}')
        self.assertNoResult(self.handshaken)
        self.shake_hands()
        self.assertEqual(self.hub.messages, [])

    def test_a_refused_handshake_ends_the_conversation(self) -> None:
        self.hub.send(encode_handshake_response("not you"))
        self.assert_ended("not you")

    def test_a_message_before_the_handshake_ends_the_conversation(self) -> None:
        self.hub.send(encode(Ping()))
        self.assert_ended("before the handshake's answer")

    def test_events_may_share_the_frame_of_the_handshake(self) -> None:
        self.hub.send(encode_handshake_response(), encode(EVENT), encode(EVENT))
        self.successResultOf(self.handshaken)
        self.assertEqual(self.received, [EVENT, EVENT])

    def test_records_arrive_in_any_pieces(self) -> None:
        data = encode_handshake_response() + encode(EVENT)
        for place in range(len(data)):
            self.hub.send(data[place : place + 1])
        self.assertEqual(self.received, [EVENT])

    def test_an_invocation_is_answered_by_its_completion(self) -> None:
        self.shake_hands()
        first = self.connection.invoke("SubscribeOrders", 123)
        second = self.connection.invoke("SubscribeTrades", 123)
        self.assertEqual(
            self.hub.asked,
            [
                Invocation("SubscribeOrders", (123,), "1"),
                Invocation("SubscribeTrades", (123,), "2"),
            ],
        )
        self.hub.send(encode(Completion("2", 0)))
        self.assertEqual(self.successResultOf(second), 0)
        self.assertNoResult(first)
        self.hub.send(encode(Completion("1", error="no such account")))
        self.assertIn("no such account", str(self.failureResultOf(first, HubRefusedError).value))

    def test_text_of_the_broker_is_made_printable(self) -> None:
        self.shake_hands()
        asked = self.connection.invoke("SubscribeOrders", 123)
        self.hub.send(encode(Completion("1", error="no\n\x1b[2J" + "o" * 1000)))
        refusal = str(self.failureResultOf(asked, HubRefusedError).value)
        self.hub.send(encode(Close("bye\n\x1b[2J" + "e" * 1000)))
        for text in (refusal, *self.ended):
            self.assertTrue(text.isprintable())
            self.assertLess(len(text), 300)

    def test_a_completion_without_an_invocation_is_ignored(self) -> None:
        self.shake_hands()
        asked = self.connection.invoke("SubscribeOrders", 123)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.hub.send(encode(Completion("1", 0)), encode(Completion("99", error="x")))
        self.assertEqual(self.ended, [])

    def test_the_end_fails_unanswered_invocations(self) -> None:
        self.shake_hands()
        asked = [self.connection.invoke("A"), self.connection.invoke("B")]
        self.connection.end("it is over")
        for answer in asked:
            self.assertEqual(str(self.failureResultOf(answer, HubError).value), "it is over")
        self.failureResultOf(self.connection.invoke("C"), HubError)
        self.assertEqual(len(self.hub.asked), 2)
        self.assert_ended("it is over")

    def test_the_conversation_ends_once(self) -> None:
        self.shake_hands()
        self.connection.end("first")
        self.connection.end("second")
        self.assertEqual(self.ended, ["first"])

    def test_the_client_pings_after_15_seconds_without_sending(self) -> None:
        self.shake_hands()
        self.talk(14)
        self.assertEqual(self.hub.messages, [])
        self.talk(1)
        self.assertEqual(self.hub.messages, [Ping()])
        self.talk(15)
        self.assertEqual(self.hub.messages, [Ping(), Ping()])

    def test_every_message_sent_postpones_the_ping(self) -> None:
        self.shake_hands()
        self.talk(10)
        self.connection.invoke("A")
        self.talk(14)
        self.assertNotIn(Ping(), self.hub.messages)
        self.talk(1)
        self.assertIn(Ping(), self.hub.messages)

    def talk(self, seconds: int) -> None:
        """Let time pass in which the hub is not silent."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.hub.send(encode(Ping()))

    def test_nothing_is_sent_before_the_handshake_is_answered(self) -> None:
        self.clock.pump([1] * 29)
        self.assertEqual(self.hub.messages, [])

    def test_30_seconds_without_data_end_the_conversation(self) -> None:
        self.shake_hands()
        self.clock.pump([1] * 10)
        self.hub.send(encode(Ping()))
        self.clock.pump([1] * 29)
        self.assertEqual(self.ended, [])
        self.clock.advance(1)
        self.assert_ended("nothing received for 30 s")

    def test_any_data_of_the_hub_counts_as_alive(self) -> None:
        self.shake_hands()
        for data in (encode(EVENT), encode(Completion("9")), b'{"type":', b"99}\x1e"):
            self.clock.pump([1] * 29)
            self.hub.send(data)
        self.assertEqual(self.ended, [])

    def test_after_a_sleep_of_the_machine_the_conversation_ends(self) -> None:
        self.shake_hands()
        self.clock.advance(3600)
        self.assert_ended("nothing received")

    def test_a_close_message_ends_the_conversation_with_its_reason(self) -> None:
        self.shake_hands()
        self.hub.send(encode(Close("Server timeout", allow_reconnect=True)), encode(EVENT))
        self.assert_ended("the broker closed the connection: Server timeout")
        self.assertEqual(self.received, [])

    def test_a_close_message_without_a_reason_ends_the_conversation(self) -> None:
        self.shake_hands()
        self.hub.send(encode(Close()))
        self.assert_ended("the broker closed the connection")

    def test_garbage_ends_the_conversation(self) -> None:
        for data in (
            b"garbage\x1e",
            b'{"type":1}\x1e',
            b'{"type":1,"target":5,"arguments":[]}\x1e',
            b"\xff\xfe\x1e",
            b"x" * (1024 * 1024 + 1),
        ):
            self.setUp()
            self.shake_hands()
            self.hub.send(encode(EVENT), data, encode(EVENT))
            self.assert_ended("what cannot be read")

    def test_unknown_kinds_of_messages_are_ignored(self) -> None:
        self.shake_hands()
        self.hub.send(b'{"type":8,"sequenceId":1}\x1e', b'{"type":99}\x1e', encode(EVENT))
        self.assertEqual(self.received, [EVENT])

    def test_the_receiver_may_end_the_conversation(self) -> None:
        self.shake_hands()
        connection = self.connection
        connection._receive = lambda _: connection.end("enough")
        self.hub.send(encode(EVENT), encode(EVENT))
        self.assert_ended("enough")

    @given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
    def test_any_bytes_are_handled_or_end_the_conversation(
        self, chunks: list[bytes], shakes: bool
    ) -> None:
        self.setUp()
        self.handshaken.addErrback(lambda failure: failure.trap(HubError))
        if shakes:
            self.hub.shake_hands()
        for chunk in chunks:
            self.hub.send(chunk)
        self.assertTrue(len(self.ended) <= 1)
        self.connection.end("the test is over")


class Busy(Clock):
    """A clock that goes on while riskd works: each reading takes a millisecond.

    :ivar turns: how many calls were asked for.
    """

    turns = 0

    def callLater(self, delay: float, call: Callable[..., Any], *more: Any) -> IDelayedCall:
        self.turns += 1
        return super().callLater(delay, call, *more)

    def seconds(self) -> float:
        self.rightNow += 0.001
        return super().seconds()


class TurnTests(SynchronousTestCase):
    """More records than one turn of the reactor has time for."""

    def setUp(self) -> None:
        self.clock = Busy()
        self.received: list[object] = []
        self.held: list[bool] = []
        self.sent: list[bytes] = []
        self.connection = HubConnection(
            self.clock, self.sent.append, lambda: None, self.receive, self.held.append
        )
        self.connection.begin()
        self.connection.received(encode_handshake_response())

    def receive(self, invocation: Invocation) -> Iterator[None]:
        for argument in invocation.arguments:
            self.received.append(argument)
            yield

    def work_off(self) -> int:
        """Let all be handled; return how many turns that took."""
        before = self.clock.turns
        while self.held and self.held[-1]:
            self.clock.advance(0)
        return self.clock.turns - before

    def test_records_are_handled_in_order_over_many_turns(self) -> None:
        for number in (0, 100):
            events = (encode(Invocation("A", (number + each,))) for each in range(100))
            self.connection.received(b"".join(events))
        self.assertLess(len(self.received), 10)
        self.assertEqual(self.held, [True])
        self.assertGreater(self.work_off(), 20)
        self.assertEqual(self.received, list(range(200)))
        self.assertEqual(self.held, [True, False])

    def test_one_record_of_many_events_takes_many_turns(self) -> None:
        self.connection.received(encode(Invocation("A", tuple(range(100)))))
        self.assertLess(len(self.received), 10)
        self.assertGreater(self.work_off(), 20)
        self.assertEqual(self.received, list(range(100)))

    def test_the_end_drops_what_is_left(self) -> None:
        self.connection.received(encode(Invocation("A", tuple(range(100)))) * 100)
        handled = len(self.received)
        self.connection.end("enough")
        self.connection.received(encode(Invocation("A", (1,))))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.received), handled)

    def test_an_error_in_a_later_turn_ends_the_conversation(self) -> None:
        for garbage in (b"[" * 100_000 + b"\x1e", b"x" * (MAX_RECORD_BYTES + 1)):
            self.setUp()
            ended: list[str] = []
            self.connection.ended.addCallback(ended.append)
            self.connection.received(encode(Invocation("A", tuple(range(9)))) + garbage)
            self.assertEqual(ended, [])
            for _ in range(9):
                self.clock.advance(0)
            self.assertEqual(len(self.received), 9)
            self.assertIn("cannot be read", ended[0])
