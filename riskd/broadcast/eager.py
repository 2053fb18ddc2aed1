"""Connections that send at once, and the port that makes them.

Twisted's own transport never sends in ``write``: it asks the reactor to be called when the socket takes
bytes, and asks it to stop afterwards, which is three system calls a write where one will do.
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
    """A server's connection whose ``write`` tries the socket first, where nothing else waits for it.

    Whatever the socket does not take at once, errors among it, goes the way of Twisted's own transport.
    While anything waits there a producer that pushes is paused, and at no other time.  It is not made for
    TLS.
    """

    # A slot, because each connection's memory is cold when its turn comes: a write looks at one place in it.
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
        """Send ``data``, or keep for later what cannot be sent now."""
        send = self._send
        sent = 0
        if send is not None and data:
            try:
                sent = send(data)
            except OSError:
                # If it means the end, the stock path is about to find out, and reports it in its order.
                sent = 0
        if sent < len(data):
            super().write(data[sent:])
            self._pause_producer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send ``iovec`` as one."""
        self.write(b"".join(iovec))

    def startWriting(self) -> None:
        """Ask to be called when the socket takes bytes: until then, all has to wait."""
        self._send = None
        super().startWriting()

    def stopWriting(self) -> None:
        """Ask no more: nothing waits."""
        super().stopWriting()
        if (
            self.connected
            and not self._aborting
            and not self._writeDisconnecting
            and (self.producer is None or self.streamingProducer)
        ):
            self._send = self.socket.send
        else:
            self._send = None

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Be fed by ``producer``; one that pulls is asked for more when the reactor has written."""
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


def sender(transport: ITransport) -> Callable[[bytes], int]:
    """Return what sends bytes to ``transport`` and tells how many it took.

    Of an eager connection it is the socket's own ``send``: to call it costs nothing but the system call,
    but it is to be called only while nothing waits, may raise :class:`OSError`, and what it does not take
    is still to be written.
    """
    if isinstance(transport, EagerServer):
        send: Callable[[bytes], int] = transport.socket.send
        return send

    def write(data: bytes) -> int:
        transport.write(data)
        return len(data)

    return write


class EagerPort(Port):
    """A listening port of eager connections, which floods and a full descriptor table cannot spin."""

    transport = EagerServer
    _rest: IDelayedCall | None = None

    @classmethod
    def adopt(cls, reactor: Any, listening: socket.socket, factory: IProtocolFactory) -> Self:
        """Listen on a duplicate of ``listening``, as a reactor's ``adoptStreamPort`` does."""
        port: Self = cls._fromListeningDescriptor(
            reactor, listening.fileno(), listening.family, factory
        )
        port.startListening()
        return port

    def doRead(self) -> None:
        """Accept a few clients; the rest has to wait until the others were served."""
        self.numberAccepts = min(self.numberAccepts, _ACCEPTS_A_TURN)
        accepted_before = self.sessionno
        super().doRead()
        if self.sessionno == accepted_before and not self.disconnecting:
            # Readable, but nobody is to be had: without descriptors this would come at every turn.
            self.stopReading()
            clock: Any = self.reactor
            self._rest = clock.callLater(_REST_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        if not self.disconnecting:
            self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        """Listen no more."""
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        super().connectionLost(reason)
