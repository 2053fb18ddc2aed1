"""Eager transports: the same bytes in the same order as Twisted's own, in fewer system calls."""

from __future__ import annotations

import errno
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import tcp
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPullProducer, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Server
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from riskd.broadcast.eager import EagerPort, EagerServer
from tests.support.sockets import ScriptedSocket, TurnReactor

PEER = ("127.0.0.1", 50000)


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Recorder(Protocol):
    """Records how its connection ended."""

    def __init__(self) -> None:
        self.ends: list[type[BaseException] | None] = []

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ends.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfCloseRecorder(Recorder):
    """Records which half of its connection was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        self.halves.append("read")

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


@implementer(IPushProducer)
class Push:
    """Records the calls of its consumer."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


@implementer(IPullProducer)
class Pull:
    """Writes one of three pieces on each request."""

    def __init__(self, transport: Server) -> None:
        self.pieces = [b"one ", b"two ", b"three"]
        self.transport = transport

    def resumeProducing(self) -> None:
        if self.pieces:
            self.transport.write(self.pieces.pop(0))
        else:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.pieces = []


class Connection:
    """A connection in memory, on either kind of transport."""

    def __init__(self, kind: type[Server], protocol: Recorder | None = None) -> None:
        self.reactor = TurnReactor()
        self.socket = ScriptedSocket()
        self.protocol = protocol or Recorder()
        unused: Any = None
        end: Any = self.socket
        reactor: Any = self.reactor
        self.transport = kind(end, self.protocol, PEER, unused, 0, reactor)
        self.protocol.makeConnection(self.transport)

    def outcome(self) -> tuple[bytes, bool, bool]:
        """Return the bytes received, whether the protocol has ended, and whether the socket is closed."""
        return bytes(self.socket.received), bool(self.protocol.ends), self.socket.is_closed


class ConnectionTests:
    """Behavior that Twisted's own transports and eager ones share."""

    kind: type[Server]
    buffer_size: int

    def connect(self, protocol: Recorder | None = None) -> Connection:
        return Connection(self.kind, protocol)

    def check(self: Any, connection: Connection, received: bytes) -> None:
        connection.reactor.settle()
        self.assertEqual(bytes(connection.socket.received), received)

    def test_writes_arrive_in_order(self) -> None:
        connection = self.connect()
        for piece in (b"one ", b"two ", b"three"):
            connection.transport.write(piece)
        self.check(connection, b"one two three")

    def test_a_partial_send_loses_and_repeats_nothing(self) -> None:
        connection = self.connect()
        connection.socket.takes.extend([2, 3, 0, 1])
        connection.transport.write(b"0123456789")
        connection.transport.write(b"abc")
        self.check(connection, b"0123456789abc")

    def test_bytes_that_the_socket_does_not_take_are_buffered(self: Any) -> None:
        for number in (errno.EAGAIN, errno.ENOBUFS):
            connection = self.connect()
            connection.socket.takes.extend([error(number), error(number), 1, error(number)])
            connection.transport.write(b"one ")
            connection.transport.write(b"two")
            self.check(connection, b"one two")
            self.assertEqual(connection.protocol.ends, [])

    def test_an_interrupted_send_is_repeated(self) -> None:
        connection = self.connect()
        connection.socket.takes.extend([error(errno.EINTR), error(errno.EINTR), 3])
        connection.transport.write(b"one two")
        self.check(connection, b"one two")

    def test_a_reset_during_a_write_ends_the_connection_later(self: Any) -> None:
        for number in (errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT):
            connection = self.connect()
            connection.socket.takes.extend([3, error(number), error(errno.EPIPE)])
            connection.transport.write(b"one two")
            connection.transport.write(b" three")
            # A loop of writes over many connections must not be called back by one of them.
            self.assertEqual(connection.protocol.ends, [])
            connection.reactor.settle()
            connection.transport.write(b" four")
            self.check(connection, b"one")
            self.assertEqual(len(connection.protocol.ends), 1)
            self.assertTrue(connection.socket.is_closed)

    def test_closing_waits_for_the_buffer(self: Any) -> None:
        connection = self.connect()
        connection.socket.takes.extend([3, error(errno.EAGAIN), 2])
        connection.transport.write(b"one two")
        connection.transport.loseConnection()
        self.assertEqual(connection.protocol.ends, [])
        self.check(connection, b"one two")
        self.assertEqual(connection.protocol.ends, [ConnectionDone])
        self.assertEqual(connection.reactor.readers, set())

    def test_nothing_is_sent_after_the_end(self: Any) -> None:
        connection = self.connect()
        connection.transport.loseConnection()
        connection.reactor.settle()
        connection.transport.write(b"late")
        self.check(connection, b"")

    def test_a_connection_with_an_empty_buffer_closes(self: Any) -> None:
        connection = self.connect()
        connection.transport.write(b"all")
        connection.reactor.settle()
        connection.transport.loseConnection()
        self.check(connection, b"all")
        self.assertEqual(connection.protocol.ends, [ConnectionDone])

    def test_an_abort_drops_the_buffer_and_sends_nothing_more(self: Any) -> None:
        connection = self.connect()
        connection.socket.takes.extend([3, error(errno.EAGAIN)])
        connection.transport.write(b"one two")
        connection.reactor.turn()
        sent = bytes(connection.socket.received)
        connection.transport.abortConnection()
        connection.transport.write(b"late")
        self.check(connection, sent)
        self.assertEqual(connection.protocol.ends, [ConnectionAborted])

    def test_an_idle_connection_sends_nothing_after_an_abort(self: Any) -> None:
        connection = self.connect()
        connection.transport.abortConnection()
        connection.transport.write(b"late")
        self.check(connection, b"")
        self.assertEqual(connection.protocol.ends, [ConnectionAborted])

    def test_a_peer_that_sends_no_more_still_receives(self: Any) -> None:
        protocol = HalfCloseRecorder()
        connection = self.connect(protocol)
        connection.socket.incoming.append(b"")
        connection.reactor.turn()
        self.assertEqual(protocol.halves, ["read"])
        connection.socket.takes.extend([2, error(errno.EAGAIN)])
        connection.transport.write(b"still here")
        self.check(connection, b"still here")
        self.assertEqual(protocol.ends, [])

    def test_half_closing_waits_for_the_buffer_and_ends_the_writing(self: Any) -> None:
        protocol = HalfCloseRecorder()
        connection = self.connect(protocol)
        connection.socket.takes.extend([2, error(errno.EAGAIN)])
        connection.transport.write(b"the last word")
        connection.transport.loseWriteConnection()
        connection.reactor.settle()
        connection.transport.write(b"late")
        self.check(connection, b"the last word")
        self.assertEqual((connection.socket.shutdowns, protocol.halves), ([1], ["write"]))

    def test_a_push_producer_is_paused_at_a_full_buffer_and_resumed_at_an_empty_one(
        self: Any,
    ) -> None:
        connection = self.connect()
        producer = Push()
        connection.transport.registerProducer(producer, True)
        connection.socket.room = 0
        connection.transport.write(bytes(self.buffer_size))
        self.assertEqual(producer.calls, [])
        connection.transport.write(b"x")
        self.assertEqual(producer.calls, ["pause"])
        connection.socket.room = self.buffer_size
        connection.reactor.turn()
        self.assertEqual(producer.calls, ["pause"])
        connection.socket.room = None
        connection.reactor.settle()
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_a_pull_producer_is_asked_until_it_has_no_more_bytes(self) -> None:
        connection = self.connect()
        connection.transport.registerProducer(Pull(connection.transport), False)
        self.check(connection, b"one two three")

    def test_text_is_refused(self: Any) -> None:
        connection = self.connect()
        text: Any = "text"
        self.assertRaises(TypeError, connection.transport.write, text)

    def test_an_empty_write_sends_nothing(self: Any) -> None:
        connection = self.connect()
        connection.transport.write(b"")
        self.assertEqual((connection.socket.sends, connection.reactor.writers), (0, set()))


class StockTests(ConnectionTests, SynchronousTestCase):
    """Twisted's own transport."""

    kind = Server
    buffer_size = 64 * 1024


class EagerTests(ConnectionTests, SynchronousTestCase):
    """The eager transport."""

    kind = EagerServer
    buffer_size = 0

    def test_a_push_producer_registered_with_bytes_in_the_buffer_is_paused(self) -> None:
        connection = self.connect()
        connection.socket.room = 0
        connection.transport.write(b"x")
        producer = Push()
        connection.transport.registerProducer(producer, True)
        self.assertEqual(producer.calls, ["pause"])
        connection.socket.room = None
        connection.reactor.settle()
        self.assertEqual(producer.calls, ["pause", "resume"])

    def test_a_write_is_one_send_and_no_call_of_the_reactor(self) -> None:
        connection = self.connect()
        for _ in range(10):
            connection.transport.write(b"event")
            connection.reactor.turn()
        self.assertEqual((connection.socket.sends, connection.reactor.changes), (10, 0))


ERRORS = (errno.EAGAIN, errno.EINTR, errno.ENOBUFS)
SENDS = st.lists(st.one_of(st.integers(0, 8), st.sampled_from(ERRORS)), max_size=20)
ACTS = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from(["turn", "lose", "half", "abort"]),
        st.just("turn"),
    ),
    max_size=20,
)


class AgreementTests(SynchronousTestCase):
    """Any sequence of writes, sends and closes gives the same bytes on both kinds of transport."""

    @given(SENDS, ACTS)
    def test_both_kinds_send_the_same_bytes(self, sends: list[int], acts: list[Any]) -> None:
        stock, eager = (self.play(Connection(kind), sends, acts) for kind in (Server, EagerServer))
        if "abort" in acts:
            # An eager transport has sent more when an abort comes; neither invents or reorders bytes.
            shorter, longer = sorted((stock[0], eager[0]), key=len)
            self.assertTrue(longer.startswith(shorter))
            self.assertEqual(stock[1:], eager[1:])
        else:
            self.assertEqual(stock, eager)

    def play(
        self, connection: Connection, sends: list[int], acts: list[Any]
    ) -> tuple[bytes, bool, bool]:
        connection.socket.takes.extend(
            error(each) if each in ERRORS and each > 8 else each for each in sends
        )
        for act in acts:
            if isinstance(act, bytes):
                connection.transport.write(act)
            elif act == "turn":
                connection.reactor.turn()
            elif act == "lose":
                connection.transport.loseConnection()
                # A write between this and the next turn may or may not be sent.
                connection.reactor.settle()
            elif act == "half" and connection.transport.connected:
                connection.transport.loseWriteConnection()
                connection.reactor.settle()
            elif act == "abort":
                connection.transport.abortConnection()
        connection.reactor.settle()
        return connection.outcome()


class FullTable(ScriptedSocket):
    """A listening socket whose accepts fail with a given error, or never end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.accepts = 0

    def accept(self) -> tuple[ScriptedSocket, tuple[str, int]]:
        self.accepts += 1
        if self.number:
            raise error(self.number)
        return ScriptedSocket(), PEER


class PortTests(SynchronousTestCase):
    """The listening port, when accepting fails or never ends."""

    def listen(self, number: int) -> tuple[EagerPort, FullTable, TurnReactor]:
        reactor, listening = TurnReactor(), FullTable(number)
        anything: Any = reactor
        port = EagerPort(0, Factory.forProtocol(Recorder), interface="127.0.0.1", reactor=anything)
        port._preexistingSocket = listening
        port.startListening()
        return port, listening, reactor

    def test_a_full_descriptor_table_is_tried_again_ten_times_a_second(self) -> None:
        # Twisted reserves a descriptor for this case, but another thread may have taken it.
        self.patch(tcp, "_reservedFD", tcp._NullFileDescriptorReservation())
        for number in (errno.ENFILE, errno.EMFILE, errno.ENOMEM):
            port, listening, reactor = self.listen(number)
            for _ in range(100):
                reactor.turn()
                reactor.advance(0.01)
            self.assertLessEqual(listening.accepts, 12)
            listening.number = 0
            reactor.advance(0.1)
            reactor.turn()
            self.assertGreater(port.sessionno, 0)

    def test_a_flood_of_connections_is_accepted_a_few_per_turn(self) -> None:
        port, listening, reactor = self.listen(0)
        for turn in range(1, 6):
            reactor.turn()
            self.assertEqual(listening.accepts, 8 * turn)
        self.assertEqual(port.sessionno, 40)

    def test_a_resting_port_can_be_stopped(self) -> None:
        port, _, reactor = self.listen(errno.ENFILE)
        reactor.turn()
        stopped = port.stopListening()
        reactor.advance(0)
        self.successResultOf(stopped)
        self.assertEqual((reactor.getDelayedCalls(), reactor.readers), ([], set()))
