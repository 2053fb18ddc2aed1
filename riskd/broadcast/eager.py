"""TCP transports that send at once, and the listening port that makes them.

Twisted's own transport never sends in ``write``: it asks the reactor for a call when the socket is writable,
and cancels that afterwards.  That is three system calls per write instead of one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

from twisted.internet.interfaces import (
    IDelayedCall,
    IProducer,
    IProtocol,
    IProtocolFactory,
    IReactorFDSet,
    ITransport,
)
from twisted.internet.tcp import Port, Server
from twisted.python.failure import Failure

_ACCEPTS_A_TURN: Final = 8
_REST_SECONDS: Final = 0.1


class EagerServer(Server):
    """A transport whose ``write`` tries the socket first while its buffer is empty.

    Bytes that the socket does not take, and all errors, go through Twisted's own transport, so that nothing
    is called back from within a broadcast.  A push producer is paused whenever the buffer has bytes, and
    at no other time.  TLS is not supported.
    """

    # A slot: each transport's memory is cold when its turn comes, and a write should touch one place in it.
    __slots__ = ("_send",)

    def __init__(
        self,
        sock: socket.socket,
        protocol: IProtocol,
        client: tuple[object, ...],
        server: Port,
        sessionno: int,
        reactor: IReactorFDSet,
    ) -> None:
        super().__init__(sock, protocol, client, server, sessionno, reactor)
        self._send: Callable[[bytes], int] | None = sock.send

    def write(self, data: bytes) -> None:
        """Send ``data``; buffer the bytes that the socket does not take."""
        send = self._send
        sent = 0
        if send is not None and data:
            try:
                sent = send(data)
            except OSError:
                # If the connection is lost, Twisted's own path notices too and reports it in its order.
                sent = 0
        if sent < len(data):
            super().write(data[sent:])
            self._pause_producer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send ``iovec`` in one write, with the same pause of the producer."""
        self.write(b"".join(iovec))

    def startWriting(self) -> None:
        """Ask for a call when the socket is writable; until then all bytes are buffered."""
        self._send = None
        super().startWriting()

    def stopWriting(self) -> None:
        """Cancel that call: the buffer is empty, and the next write may send at once."""
        super().stopWriting()
        may_send_at_once = (
            self.connected
            and not self._aborting
            and not self._writeDisconnecting
            and (self.producer is None or self.streamingProducer)
        )
        self._send = self.socket.send if may_send_at_once else None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register ``producer``.

        A pull producer needs Twisted's own path, which asks it for more bytes.
        """
        if not streaming:
            self._send = None
        super().registerProducer(producer, streaming)
        if self._send is None:
            self._pause_producer()

    def _pause_producer(self) -> None:
        producer: Any = self.producer
        if producer is not None and self.streamingProducer and not self.producerPaused:
            self.producerPaused = True
            producer.pauseProducing()


def send_function(transport: ITransport) -> Callable[[bytes], int]:
    """Return a function that sends bytes and returns how many ``transport`` took.

    For an eager transport it is the socket's own ``send``, whose only cost is the system call.  The caller
    must call it only while the transport's buffer is empty, handle :class:`OSError`, and write the bytes
    that it did not take.
    """
    if isinstance(transport, EagerServer):
        send: Callable[[bytes], int] = transport.socket.send
        return send

    def write(data: bytes) -> int:
        transport.write(data)
        return len(data)

    return write


class EagerPort(Port):
    """A listening port of eager transports.

    Neither a flood nor a full descriptor table keeps it busy.
    """

    transport = EagerServer
    _rest: IDelayedCall | None = None

    @classmethod
    def adopt(cls, reactor: Any, listening: socket.socket, factory: IProtocolFactory) -> Self:
        """Return a port on a duplicate of ``listening``, like ``adoptStreamPort``."""
        port: Self = cls._fromListeningDescriptor(
            reactor, listening.fileno(), listening.family, factory
        )
        port.startListening()
        return port

    def doRead(self) -> None:
        """Accept a few connections per turn, so that a flood delays nothing for long."""
        self.numberAccepts = min(self.numberAccepts, _ACCEPTS_A_TURN)
        accepted_before = self.sessionno
        super().doRead()
        if self.sessionno == accepted_before and not self.disconnecting:
            # No descriptor is free for the connection that waits: without a rest, every turn would try again.
            self.stopReading()
            clock: Any = self.reactor
            self._rest = clock.callLater(_REST_SECONDS, self._end_rest)

    def _end_rest(self) -> None:
        self._rest = None
        if not self.disconnecting:
            self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        """Stop listening."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        super().connectionLost(reason)
