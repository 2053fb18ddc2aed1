"""Congested clients: what they still get, what they cost, and when they are closed."""

from __future__ import annotations

import errno
import os
import struct
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.tcp import Server
from twisted.logger import capturedLogs, formatEvent

from riskd.broadcast.cuts import MAX_HELD_BYTES, Cut
from riskd.model.events import Event, LockoutSet, MarketQuote
from riskd.model.wire import encode
from tests import examples
from tests.support.broadcast import ASKING, CongestionTestCase, SocketPeer, lockout, quote
from tests.support.websocket_frames import CLOSE, PING, PONG, TEXT, client_frame, close_code

CONTROL_BYTES = 300
"""Bytes of pings, pongs and a close frame, which do not count as events."""


class CongestionTests(CongestionTestCase):
    """From the first pause to the last byte."""

    def test_a_congested_client_gets_all_events_in_order_but_only_the_latest_quotes(self) -> None:
        peer = self.connect()
        count = self.congest(peer)
        for number in range(5):
            self.factory.broadcast(quote(number % 2, number))
            self.factory.broadcast(lockout(count + number))
            self.reactor.turn()
        self.read_all(peer)
        self.assertEqual(
            peer.events(),
            [*map(lockout, range(count + 5)), quote(1, 3), quote(0, 4)],
        )
        self.assertEqual(self.factory.statistics.conflated_quotes, 3)
        self.assertEqual(self.factory.statistics.queue_bytes, 0)

    def test_quotes_of_one_contract_are_kept_for_each_account(self) -> None:
        peer = self.connect()
        self.congest(peer)
        quotes = [quote(0, 1, 123), quote(0, 2, 456)]
        for event in quotes:
            self.factory.broadcast(event)
        self.reactor.turn()
        self.read_all(peer)
        self.assertEqual(peer.events()[-2:], quotes)

    def test_the_other_clients_get_everything_at_once(self) -> None:
        slow, quick = self.connect(), self.connect()
        count = self.congest(slow)
        self.factory.broadcast(quote(0, 1))
        self.factory.broadcast(quote(0, 2))
        self.reactor.turn()
        self.assertEqual(quick.events(), [*map(lockout, range(count)), quote(0, 1), quote(0, 2)])

    def test_the_rest_of_a_partial_send_follows(self) -> None:
        partial, refusing, quick = (self.connect() for _ in range(3))
        partial.socket.takes.extend([3, 2])
        partial.socket.room = 0
        refusing.socket.takes.append(OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)))
        refusing.socket.room = 0
        sent = [*map(lockout, range(3))]
        for event in sent:
            self.factory.broadcast(event)
            self.reactor.turn()
        self.assertEqual((len(partial.socket.received), refusing.events()), (5, []))
        self.assertEqual(quick.events(), sent)
        self.read_all(partial)
        self.read_all(refusing)
        self.assertEqual((partial.events(), refusing.events()), (sent, sent))

    def test_after_the_backlog_is_sent_events_are_sent_at_once_again(self) -> None:
        peer = self.connect()
        self.congest(peer)
        self.read_all(peer)
        for number in range(3):
            self.factory.broadcast(quote(0, number))
            self.reactor.turn()
        self.assertEqual(peer.events()[-3:], [quote(0, 0), quote(0, 1), quote(0, 2)])

    def test_messages_are_counted_before_during_and_after_congestion(self) -> None:
        peer = self.connect()
        for _ in range(2):
            self.factory.broadcast(quote(0, 1))
            self.reactor.turn()
            self.congest(peer)
            self.read_all(peer)
        self.factory.broadcast(quote(0, 2))
        self.reactor.turn()
        with capturedLogs() as captured:
            peer.protocol.go_away()
            self.pass_time(2.4)
        (text,) = [formatEvent(each) for each in captured if "disconnected" in formatEvent(each)]
        self.assertIn(f", {len(peer.events())} messages sent", text)

    def test_at_the_stop_the_backlog_is_sent_before_the_close_frame(self) -> None:
        peer = self.connect()
        self.congest(peer)
        sent = [lockout(number) for number in range(50)]
        for event in sent:
            self.factory.broadcast(event)
        self.reactor.turn()
        held = peer.held
        peer.protocol.go_away()
        self.assertEqual(peer.held, held)
        self.read_all(peer)
        self.assertEqual(peer.events()[-50:], sent)
        opcode, payload = peer.frames()[-1]
        self.assertEqual((opcode, payload[:2]), (CLOSE, (1001).to_bytes(2, "big")))
        self.assertEqual([opcode for opcode, _ in peer.frames()].count(CLOSE), 1)

    def test_nothing_follows_a_close_frame_that_fills_the_transport(self) -> None:
        peer = self.connect()
        peer.socket.room = 0
        self.factory.broadcast(lockout(0))
        self.reactor.turn()
        peer.transport.bufferSize = peer.held
        peer.protocol.sendCloseFrame(1000)
        self.assertTrue(peer.transport.producerPaused)
        self.factory.broadcast(lockout(1))
        self.reactor.turn()
        self.assertEqual(self.factory.statistics.queue_bytes, 0)
        self.read_all(peer)
        self.assertEqual([opcode for opcode, _ in peer.frames()], [TEXT, CLOSE])

    def test_a_congested_client_that_closes_is_closed_when_it_has_read(self) -> None:
        peer = self.connect()
        self.congest(peer)
        peer.protocol.dataReceived(client_frame(CLOSE, struct.pack("!H", 1000)))
        self.assertFalse(peer.socket.is_closed)
        self.read_all(peer)
        self.assertEqual(peer.frames()[-1][0], CLOSE)
        self.assertTrue(peer.socket.is_closed)

    def test_more_than_a_mebibyte_unread_closes_with_1013(self) -> None:
        peer = self.connect()
        self.congest(peer)
        with capturedLogs() as captured:
            number = 0
            while peer.is_open:
                self.factory.broadcast(lockout(number))
                self.reactor.turn()
                number += 1
                self.assertLessEqual(peer.held, MAX_HELD_BYTES)
        self.assertGreater(number * len(encode(lockout(number))), MAX_HELD_BYTES * 0.8)
        self.assertEqual(self.factory.statistics.queue_bytes, 0)
        self.assertEqual(self.factory.statistics.cut, {Cut.TOO_MUCH_UNREAD: 1})
        (text,) = [formatEvent(each) for each in captured if "is closed" in formatEvent(each)]
        self.assertIn("more than 1024 KiB were not read", text)
        self.read_all(peer)
        opcode, payload = peer.frames()[-1]
        self.assertEqual((opcode, close_code(payload)), (CLOSE, 1013))
        self.assertEqual(payload[2:], b"more than 1024 KiB were not read")

    def test_a_client_that_reads_nothing_after_the_close_is_aborted_2_seconds_later(self) -> None:
        peer = self.connect()
        self.congest(peer)
        for _ in range(30):
            for number in range(100):
                self.factory.broadcast(lockout(number))
            self.reactor.turn()
        self.assertFalse(peer.is_open)
        self.pass_time(1.6)
        self.assertFalse(peer.socket.is_closed)
        self.pass_time(0.8)
        self.assertTrue(peer.socket.is_closed)
        self.assertEqual(self.factory.statistics.clients, 0)

    def test_quotes_alone_close_no_client_before_30_seconds(self) -> None:
        peer = self.connect()
        self.congest(peer)
        for number in range(100):
            for _ in range(100):
                self.factory.broadcast(quote(number % 5, number))
            self.reactor.turn()
        self.assertTrue(peer.is_open)
        # The ping that it cannot read either would end it a little earlier.
        self.factory._heartbeat.remove(peer.protocol)
        self.pass_time(29.8)
        self.assertTrue(peer.is_open)
        self.pass_time(0.4)
        self.assertFalse(peer.is_open)
        self.assertEqual(self.factory.statistics.cut, {Cut.TOO_LONG_CONGESTED: 1})
        self.read_all(peer)
        self.assertEqual(close_code(peer.frames()[-1][1]), 1013)

    def test_a_client_that_reads_too_slowly_is_closed_after_30_seconds(self) -> None:
        peer = self.connect()
        self.congest(peer)
        for _ in range(1000):
            self.factory.broadcast(lockout(0))
        self.reactor.turn()
        self.factory._heartbeat.remove(peer.protocol)
        for _ in range(30):
            self.assertTrue(peer.is_open)
            peer.socket.room = 4000
            self.pass_time(1)
        self.pass_time(0.4)
        self.assertFalse(peer.is_open)

    def test_a_client_that_catches_up_in_time_may_be_congested_again(self) -> None:
        peer = self.connect()
        for _ in range(3):
            self.congest(peer)
            self.factory._heartbeat.remove(peer.protocol)
            self.pass_time(20)
            self.read_all(peer)
        self.assertTrue(peer.is_open)

    def test_only_the_latest_ping_of_a_congested_client_is_answered(self) -> None:
        peer = self.connect()
        self.congest(peer)
        held = peer.held
        for number in range(20):
            peer.protocol.dataReceived(client_frame(PING, b"%d" % number))
        self.assertEqual(peer.held, held)
        self.read_all(peer)
        pongs = [payload for opcode, payload in peer.frames() if opcode == PONG]
        self.assertEqual(pongs, [b"19"])

    def test_a_congested_client_is_pinged_too(self) -> None:
        peer = self.connect()
        self.congest(peer)
        self.pass_time(20.2)
        self.read_all(peer)
        self.assertIn(PING, [opcode for opcode, _ in peer.frames()])

    def test_a_congested_client_that_sends_a_message_gets_only_the_close(self) -> None:
        peer = self.connect()
        count = self.congest(peer)
        self.factory.broadcast(lockout(count))
        self.reactor.turn()
        peer.protocol.dataReceived(client_frame(TEXT, b"hello"))
        self.factory.broadcast(lockout(count + 1))
        self.reactor.turn()
        self.assertEqual(self.factory.statistics.queue_bytes, 0)
        self.read_all(peer)
        self.assertEqual(close_code(peer.frames()[-1][1]), 1008)
        self.assertEqual(peer.events(), [*map(lockout, range(count))])

    def test_a_congested_client_gets_all_events_before_the_daemon_stops(self) -> None:
        peer = self.connect()
        count = self.congest(peer)
        for number in range(1000):
            self.factory.broadcast(lockout(count + number))
        self.factory.close_all()
        self.assertLessEqual(peer.held, MAX_HELD_BYTES + CONTROL_BYTES)
        self.read_all(peer)
        self.assertEqual(peer.events(), [*map(lockout, range(count + 1000))])
        self.assertEqual(close_code(peer.frames()[-1][1]), 1001)

    def test_a_congested_client_that_leaves_leaves_no_bytes_and_no_timer(self) -> None:
        peer = self.connect()
        self.congest(peer)
        self.factory.broadcast(lockout(0))
        self.reactor.turn()
        self.assertGreater(self.factory.statistics.queue_bytes, 0)
        peer.socket.incoming.append(b"")
        self.reactor.turn()
        self.assertEqual(
            (self.factory.statistics.clients, self.factory.statistics.queue_bytes), (0, 0)
        )
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class StockCongestionTests(CongestionTests):
    """The same on Twisted's own transport."""

    kind = Server


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), st.integers(0, 3)),
        st.tuples(st.just("burst"), st.sampled_from([1, 1, 10, 300, 1500])),
        st.tuples(st.just("read"), st.integers(0, 2), st.integers(0, 300_000)),
        st.tuples(st.just("ping"), st.integers(0, 2)),
        st.tuples(st.just("turn")),
        st.tuples(st.just("wait")),
    ),
    max_size=40,
)


class PropertyTests(CongestionTestCase):
    """Any sequence of broadcasts, reads and pings; one of three clients has asked for fewer quotes."""

    def begin(self) -> None:
        super().begin()
        self.sent: list[Event] = []
        self.peers = [*map(self.connect, (None, None, ASKING))]
        for peer in self.peers:
            peer.socket.room = 0

    @settings(max_examples=examples(30), deadline=None)
    @given(ACTS)
    def test_a_client_that_stays_misses_no_event_and_ends_with_the_newest_quotes(
        self, acts: list[tuple[Any, ...]]
    ) -> None:
        self.begin()
        for act, *details in acts:
            getattr(self, f"do_{act}")(*details)
            for peer in self.peers:
                self.assertLessEqual(peer.held, MAX_HELD_BYTES + CONTROL_BYTES)
        self.do_wait()
        for peer in self.peers:
            self.read_all(peer)
            self.check(peer, self.sent)
        self.assertEqual(self.factory.statistics.queue_bytes, 0)

    def broadcast(self, event: Event) -> None:
        self.sent.append(event)
        self.factory.broadcast(event)

    def do_quote(self, contract: int) -> None:
        self.broadcast(quote(contract, len(self.sent)))

    def do_burst(self, count: int) -> None:
        for _ in range(count):
            self.broadcast(lockout(len(self.sent)))

    def do_read(self, index: int, size: int) -> None:
        self.peers[index].socket.room = (self.peers[index].socket.room or 0) + size
        self.reactor.turn()

    def do_ping(self, index: int) -> None:
        if self.peers[index].is_open:
            self.peers[index].protocol.dataReceived(client_frame(PING, b"?"))

    def do_turn(self) -> None:
        self.reactor.turn()

    def do_wait(self) -> None:
        self.reactor.turn()
        self.pass_time(0.2)

    def check(self, peer: SocketPeer, sent: list[Event]) -> None:
        received = peer.events()
        lasting = [event for event in received if isinstance(event.data, LockoutSet)]
        expected = [event for event in sent if isinstance(event.data, LockoutSet)]
        if not peer.is_open:
            self.assertEqual(lasting, expected[: len(lasting)])
            opcode, payload = peer.frames()[-1]
            self.assertEqual((opcode, close_code(payload)), (CLOSE, 1013))
            return
        self.assertEqual(lasting, expected)
        self.assertEqual(newest(received), newest(sent))
        for contract in newest(sent):
            prices = [price for name, price in quotes(received) if name == contract]
            self.assertEqual(prices, sorted(set(prices)))


def quotes(events: list[Event]) -> list[tuple[str, Decimal]]:
    return [
        (event.data.contract_id, event.data.bid)
        for event in events
        if isinstance(event.data, MarketQuote)
    ]


def newest(events: list[Event]) -> dict[str, Decimal]:
    return dict(quotes(events))
