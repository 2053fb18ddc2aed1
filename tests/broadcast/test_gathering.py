"""Clients that have asked for fewer quotes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.broadcast.frames import MAX_BATCH_BYTES, Frame
from riskd.broadcast.gathering import Gathering, quote_interval
from riskd.model.events import Event
from riskd.model.wire import decode, encode
from tests.support.broadcast import (
    ASKING,
    BroadcastTestCase,
    CongestionTestCase,
    Peer,
    lockout,
    quote,
)
from tests.support.websocket_frames import CLOSE, TEXT, client_frame, handshake, server_frame

SECONDS = 0.1
STEP = 0.005

steps = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.0, 0.01, 0.04, 0.1, 0.3)),
        # The contracts of the quotes of a turn; None is an event of another kind.
        st.lists(st.sampled_from(("A", "B", "C", "A", "B", None)), min_size=1, max_size=4),
    ),
    max_size=40,
)


class GatheringTests(SynchronousTestCase):
    """What is sent when, whatever comes when."""

    @given(steps)
    def test_the_order_holds_and_nothing_but_older_quotes_is_left_out(
        self, steps: list[tuple[float, list[str | None]]]
    ) -> None:
        clock = Clock()
        sends: list[tuple[float, list[int], bool]] = []
        keys: list[str | None] = []
        began: dict[int, float] = {}

        def send(frames: list[Frame]) -> None:
            numbers = [int(frame.data) for frame in frames]
            has_event = any(keys[number] is None for number in numbers)
            sends.append((clock.seconds(), numbers, has_event))

        gathering = Gathering(clock, SECONDS, send)
        for seconds, turn in steps:
            clock.pump([STEP] * round(seconds / STEP))
            first = len(keys)
            keys += turn
            numbers = range(first, len(keys))
            began |= dict.fromkeys(numbers, clock.seconds())
            frames = [
                Frame(b"%d" % number, None if keys[number] is None else (123, str(keys[number])))
                for number in numbers
            ]
            gathering.add(frames)
            if None in turn:
                self.assertEqual(sends[-1][::2], (clock.seconds(), True))
        clock.pump([STEP] * round(SECONDS / STEP + 1))
        self.assertEqual(clock.getDelayedCalls(), [])
        sent = [number for _at, numbers, _has_event in sends for number in numbers]
        self.assertEqual(sent, sorted(set(sent)))
        latest = {key: number for number, key in enumerate(keys)}
        wanted = {number for number, key in enumerate(keys) if key is None} | {*latest.values()}
        self.assertLessEqual(wanted, {*sent})
        for (before, _, _), (at, _, has_event) in pairwise(sends):
            self.assertTrue(has_event or at - before >= SECONDS - 1e-9)
        for at, numbers, _has_event in sends:
            for number in numbers:
                self.assertLess(at - began[number], SECONDS + 1.5 * STEP)


class IntervalTests(SynchronousTestCase):
    """What a client may ask for."""

    def test_it_is_a_whole_number_of_milliseconds(self) -> None:
        for query in ("", "a=1", "quote_interval_m=5"):
            self.assertIsNone(quote_interval(query))
        for text, seconds in (("1", 0.001), ("1000", 1), ("0100", 0.1), ("%31", 0.001)):
            self.assertEqual(quote_interval(f"b&quote_interval_ms={text}&a"), seconds)

    def test_anything_else_is_refused(self) -> None:
        key = "quote_interval_ms"
        for text in ("", "0", "1001", "-1", "1.5", "%d9%a3", "9" * 5000, "1&quote_interval_ms=1"):
            error = self.assertRaises(ValueError, quote_interval, f"{key}={text}")
            self.assertIn(f"{key}: expected one whole number from 1 to 1000, got", str(error))
        self.assertRaises(ValueError, quote_interval, key)


class GatheringClientTests(BroadcastTestCase):
    """A client of the broadcast that has asked for them."""

    def setUp(self) -> None:
        super().setUp()
        self.peer = self.connect(ASKING)
        self.assertIn(b"101 Switching", self.peer.take())

    def received(self, peer: Peer | None = None) -> list[Event]:
        return [decode(data) for opcode, data in (peer or self.peer).frames() if opcode == TEXT]

    def test_the_first_quote_comes_at_once_and_then_the_latest_after_the_interval(self) -> None:
        for number in range(6):
            self.broadcast(quote(number % 2, number))
        self.assertEqual(self.received(), [quote(0, 0)])
        self.clock.advance(0.099)
        self.assertEqual(self.received(), [])
        self.clock.advance(0.002)
        self.assertEqual(self.received(), [quote(0, 4), quote(1, 5)])
        self.clock.advance(1)
        self.assertEqual(self.received(), [])

    def test_another_event_comes_at_once_behind_what_waits(self) -> None:
        self.broadcast(quote(0, 0))
        self.broadcast(quote(0, 1))
        self.broadcast(quote(1, 2))
        self.broadcast(lockout(3))
        self.assertEqual(self.received(), [quote(0, 0), quote(0, 1), quote(1, 2), lockout(3)])
        self.clock.advance(1)
        self.assertEqual(self.received(), [])

    def test_the_other_clients_get_each_quote(self) -> None:
        other = self.join()
        for number in range(3):
            self.broadcast(quote(0, number))
        self.assertEqual(self.received(other), [quote(0, number) for number in range(3)])

    def test_what_came_during_the_handshake_comes_first(self) -> None:
        self.prepared = Deferred()
        peer = self.connect(ASKING)
        self.broadcast(lockout(1))
        for number in range(3):
            self.broadcast(quote(0, number))
        self.prepared.callback(None)
        self.assertEqual(
            peer.take().partition(b"\r\n\r\n")[2],
            b"".join(server_frame(TEXT, encode(each)) for each in (lockout(1), quote(0, 2))),
        )

    def test_at_the_stop_what_waits_comes_before_the_close_frame(self) -> None:
        self.broadcast(quote(0, 0))
        self.broadcast(quote(0, 1))
        self.factory.close_all()
        frames = self.peer.frames()
        self.assertEqual([opcode for opcode, _ in frames], [TEXT, TEXT, CLOSE])
        self.assertEqual(frames[1][1], encode(quote(0, 1)))

    def test_of_a_client_that_has_gone_nothing_is_left(self) -> None:
        for number in range(2):
            self.broadcast(quote(0, number))
        self.peer.transport.loseConnection()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.factory._gathering, {})

    def test_nothing_follows_the_close_frame(self) -> None:
        for number in range(2):
            self.broadcast(quote(0, number))
        self.peer.send(client_frame(TEXT, b"hello"))
        for event in (quote(0, 5), lockout(6)):
            self.broadcast(event)
        self.clock.advance(1)
        self.assertEqual([opcode for opcode, _ in self.peer.frames()], [TEXT, CLOSE])

    def test_messages_are_counted(self) -> None:
        for number in range(5):
            self.broadcast(quote(0, number))
        self.clock.advance(0.1)
        self.broadcast(lockout(5))
        self.assertEqual(self.peer.protocol._messages_sent, 3)
        size = sum(len(encode(each)) + 4 for each in (quote(0, 0), quote(0, 4), lockout(5)))
        self.assertEqual(self.factory.statistics.bytes_sent, size)

    def test_what_cannot_be_asked_for_is_refused_with_a_sentence(self) -> None:
        peer = self.connect(handshake(path="/?quote_interval_ms=soon"))
        answer = peer.take().decode()
        self.assertTrue(
            answer.startswith("HTTP/1.1 400 quote_interval_ms: expected one whole"), answer
        )
        self.assertTrue(peer.is_gone)
        self.assertEqual(self.status_of(handshake(path="/?anything=else")), 101)


class CongestedGatheringTests(CongestionTestCase):
    """A client that has asked for them and reads nothing for a while."""

    def test_it_gets_all_events_in_order_the_latest_quotes_last_and_fewer_quotes_after_that(
        self,
    ) -> None:
        peer = self.connect(ASKING)
        count = self.congest(peer)
        for number in range(4):
            self.factory.broadcast(quote(0, number))
            self.reactor.turn()
        self.factory.broadcast(lockout(count))
        self.reactor.turn()
        self.read_all(peer)
        self.assertEqual(peer.events(), [*map(lockout, range(count + 1)), quote(0, 3)])
        self.assertEqual(self.factory.statistics.queue_bytes, 0)
        peer.socket.received.clear()
        self.pass_time(0.2)
        for number in range(4):
            self.factory.broadcast(quote(0, number))
            self.reactor.turn()
        self.assertEqual(peer.events(), [quote(0, 0)])
        self.pass_time(0.2)
        self.assertEqual(peer.events(), [quote(0, 0), quote(0, 3)])

    def test_what_waits_when_it_becomes_congested_is_in_its_backlog(self) -> None:
        peer = self.connect(ASKING)
        for number in range(2):
            self.factory.broadcast(quote(0, number))
            self.reactor.turn()
        peer.socket.room = 0
        peer.protocol.sendPing(b"x" * 100)
        self.reactor.turn()
        self.factory.broadcast(quote(0, 2))
        self.reactor.turn()
        self.assertGreater(self.factory.statistics.queue_bytes, 0)
        self.read_all(peer)
        self.pass_time(0.4)
        # An older quote would come after a newer one.
        self.assertEqual(peer.events(), [quote(0, 0), quote(0, 2)])

    def test_more_than_a_batch_at_once_is_sent_in_order(self) -> None:
        peer = self.connect(ASKING)
        expected = [quote(0, 0)]
        self.factory.broadcast(expected[0])
        self.reactor.turn()
        write, sizes = peer.transport.write, list[int]()
        self.patch(peer.transport, "write", lambda data: (sizes.append(len(data)), write(data)))
        for number in range(1, 900):
            expected.append(quote(number, number, 100_000 + number))
            self.factory.broadcast(expected[-1])
        self.reactor.turn()
        self.pass_time(0.2)
        self.assertEqual(peer.events(), expected)
        self.assertGreater(len(sizes), 1)
        self.assertLessEqual(max(sizes), MAX_BATCH_BYTES)

    def test_of_more_than_a_batch_the_transport_holds_one(self) -> None:
        peer = self.connect(ASKING)
        quotes = [quote(number, number, 100_000 + number) for number in range(900)]
        self.factory.broadcast(quotes[0])
        self.reactor.turn()
        for each in quotes[1:]:
            self.factory.broadcast(each)
        self.reactor.turn()
        peer.socket.room = 0
        self.pass_time(0.2)
        self.assertGreater(self.factory.statistics.queue_bytes, 0)
        self.assertLess(peer.held - self.factory.statistics.queue_bytes, 2 * MAX_BATCH_BYTES)
        self.read_all(peer)
        self.assertEqual(peer.events(), quotes)

    def test_nothing_follows_the_close_frame_of_a_client_that_cannot_take_what_waits(self) -> None:
        peer = self.connect(ASKING)
        for number in range(12_000):
            self.factory.broadcast(quote(number, number, 100_000 + number))
            if not number:
                self.reactor.turn()
        self.reactor.turn()
        peer.socket.room = 0
        self.pass_time(0.2)
        peer.socket.room = 10**9
        self.reactor.settle()
        self.assertEqual(peer.frames()[-1][0], CLOSE)
        self.assertLessEqual(self.factory.statistics.bytes_sent, 2 * MAX_BATCH_BYTES)
