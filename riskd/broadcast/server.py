"""The broadcast's sockets, its clients, and the one way to send them an event.

A broadcast does not touch the client objects.  After a pause of a few milliseconds each attribute of each
client is a cache miss, so the factory holds the send functions of all clients that are sent to directly,
and a client that becomes congested or closes takes itself out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from autobahn.twisted.websocket import WebSocketServerFactory
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReactorTime
from twisted.internet.posixbase import PosixReactorBase

from riskd import __version__
from riskd.broadcast.connection import CLOSING_SECONDS, STOPPING, ConsoleProtocol, IClients
from riskd.broadcast.connection_log import ConnectionLog
from riskd.broadcast.cuts import Cut
from riskd.broadcast.eager import EagerPort, send_function
from riskd.broadcast.frames import Frame, in_batches
from riskd.broadcast.heartbeat import Heartbeat
from riskd.broadcast.statistics import Statistics
from riskd.host.loopback import LoopbackServer
from riskd.host.same_host import SameHostCheck
from riskd.host.timing import done_within
from riskd.host.websocket import server_options
from riskd.model.events import Event, MarketQuote
from riskd.model.wire import encode

GATEWAY_HEADER: Final = "Riskd-Gateway"
"""The response header with the kind of gateway, such as ``practice``."""

DRY_RUN_HEADER: Final = "Riskd-Dry-Run"
"""The response header with the value ``yes`` in a dry run; otherwise it is missing."""

STATE_HEADER: Final = "Riskd-State"
"""The response header with the published copy's absolute path, percent-encoded UTF-8."""

INSTANCE_HEADER: Final = "Riskd-Instance"
"""The response header with the id of the journal, which the published copy has too."""

_MAX_KERNEL_BYTES: Final = 16 * 1024


class BroadcastServerFactory(WebSocketServerFactory, IClients):
    """The clients of the broadcast.

    :param reactor: the clock of timers and of the connection log.
    :param gateway_name: the kind of gateway, for the handshake's response.
    :param addresses: IP address and port of each listening socket.
    :param prepare: called for each client that joins; its handshake is completed when the Deferred fires.
    :param state_file: the absolute path of the published copy, for the handshake's response.
    :param instance: the id of the journal, for the handshake's response.
    :param is_dry_run: whether riskd enforces nothing, for the handshake's response.
    :param max_clients: further clients are refused with 503; as many connections may be pending.
    :param allowed_origins: web origins that may connect besides the daemon's own.
    """

    protocol = ConsoleProtocol  # type: ignore[assignment]

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        gateway_name: str,
        addresses: Iterable[tuple[str, int]],
        prepare: Callable[[], Deferred[None]],
        state_file: Path | None = None,
        instance: str = "",
        is_dry_run: bool = False,
        max_clients: int = 1000,
        allowed_origins: Iterable[str] = (),
    ) -> None:
        headers = {GATEWAY_HEADER: gateway_name}
        if state_file is not None:
            headers[STATE_HEADER] = quote(os.fsencode(state_file))
        if instance:
            headers[INSTANCE_HEADER] = instance
        if is_dry_run:
            headers[DRY_RUN_HEADER] = "yes"
        super().__init__(reactor=reactor, server=f"riskd/{__version__}", headers=headers)
        self.clock = reactor
        self.noisy = False
        self.same_host = SameHostCheck(addresses, allowed_origins)
        self.statistics = Statistics()
        self.connection_log = ConnectionLog(reactor)
        self.messages_sent = 0
        self._max_clients = max_clients
        self._prepare = prepare
        # Dicts serve as ordered sets: the oldest pending connection comes first.
        self._pending: dict[ConsoleProtocol, None] = {}
        self._joining: set[ConsoleProtocol] = set()
        self._clients: set[ConsoleProtocol] = set()
        # A client that is closing is in none of these three.
        self._direct: dict[ConsoleProtocol, Callable[[bytes], int]] = {}
        self._gathering: dict[ConsoleProtocol, None] = {}
        self._queueing: dict[ConsoleProtocol, None] = {}
        self._heartbeat = Heartbeat(reactor)
        self._is_closing = False
        self._unsent: list[Frame] = []
        self._flush_call: IDelayedCall | None = None
        self.setProtocolOptions(
            **server_options(
                max_message_bytes=4 * 1024,
                handshake_seconds=5,
                closing_seconds=CLOSING_SECONDS,
            )
        )

    def add_pending(self, client: ConsoleProtocol) -> None:
        """Add a connection without a handshake.

        Of too many, abort the one that waits longest.

        An honest client sends its handshake at once, so a flood of silent connections only drives out
        its own.
        """
        self._pending[client] = None
        if len(self._pending) > self._max_clients:
            next(iter(self._pending)).abort(Cut.TOO_MANY_PENDING)

    def join(self, client: ConsoleProtocol) -> Deferred[None]:
        """Reserve a place for ``client``; fires once the snapshot is published.

        The client misses no event: the snapshot has all events from before, and its backlog all from now
        on.

        :raises ConnectionDeny: there are too many clients, or the daemon stops.
        """
        if self._is_closing:
            raise ConnectionDeny(ConnectionDeny.SERVICE_UNAVAILABLE, STOPPING)
        if len(self._clients) + len(self._joining) >= self._max_clients:
            raise ConnectionDeny(ConnectionDeny.SERVICE_UNAVAILABLE, "too many clients")
        # Events of this turn that are not sent yet are in the snapshot.
        self.flush()
        self._pending.pop(client, None)
        self._joining.add(client)
        client.start_queueing()
        return self._prepare()

    def add(self, client: ConsoleProtocol) -> None:
        """Add a client whose handshake is complete."""
        self._joining.discard(client)
        self._clients.add(client)
        self._heartbeat.add(client)
        self.statistics.clients = len(self._clients)

    def send_directly(self, client: ConsoleProtocol) -> None:
        """Write events to the transport of ``client`` from now on; its buffer is empty."""
        self._queueing.pop(client, None)
        self._direct[client] = send_function(client.transport)

    def gather_for(self, client: ConsoleProtocol) -> None:
        """Pass events to ``client``, which sends them, from now on; its buffer is empty."""
        self._queueing.pop(client, None)
        self._gathering[client] = None

    def queue_for(self, client: ConsoleProtocol) -> None:
        """Pass events for ``client`` to its backlog from now on."""
        self._direct.pop(client, None)
        self._gathering.pop(client, None)
        self._queueing[client] = None

    def unsubscribe(self, client: ConsoleProtocol) -> None:
        """Send ``client`` no more events."""
        self._direct.pop(client, None)
        self._gathering.pop(client, None)
        self._queueing.pop(client, None)

    def remove(self, client: ConsoleProtocol) -> None:
        """Forget ``client``, which may be pending, joining or connected."""
        self._pending.pop(client, None)
        self._joining.discard(client)
        self._clients.discard(client)
        self._heartbeat.remove(client)
        self.statistics.clients = len(self._clients)

    def broadcast(self, event: Event) -> None:
        """Send ``event`` to every client; encode and frame it once.

        The events of one turn of the reactor are one write to each client, at the end of the turn, so
        that a burst of quotes to many clients does not delay the closing of a position.
        """
        self.statistics.events[event.type] += 1
        if not self._clients and not self._joining:
            # Nobody receives it: who joins later gets it with the snapshot.
            self.messages_sent += 1
            return
        data = event.data
        quote_key = (event.account_id, data.contract_id) if isinstance(data, MarketQuote) else None
        # Only the frame is used: sendPreparedMessage costs 1.5 us per client, and checks no state.
        framed: bytes = self.prepareMessage(encode(event), doNotCompress=True).payloadHybi
        if self._flush_call is None:
            self._flush_call = self.clock.callLater(0, self.flush)
        self._unsent.append(Frame(framed, quote_key))

    def flush(self) -> None:
        """Send the events of this turn now."""
        if self._flush_call is None:
            return
        if self._flush_call.active():
            self._flush_call.cancel()
        self._flush_call = None
        unsent, self._unsent = self._unsent, []
        for frames in in_batches(unsent):
            self._send(frames)

    def _send(self, frames: list[Frame]) -> None:
        data = b"".join([frame.data for frame in frames])
        size = len(data)
        # Copies: a client whose transport becomes full moves to the others, and one may be closed.
        direct, queueing = tuple(self._direct.values()), tuple(self._queueing)
        gathering = tuple(self._gathering)
        # Counted for all at once: a counter per client would touch each client's memory.
        self.messages_sent += len(frames)
        self.statistics.bytes_sent += len(direct) * size
        partly_sent: dict[Callable[[bytes], int], int] = {}
        for send in direct:
            try:
                sent = send(data)
            except OSError:
                # If the connection is lost, the write below notices, and Twisted reports it later.
                sent = 0
            if sent != size:
                partly_sent[send] = sent
        # Rare, so that the loop above need not know which client a send function belongs to.
        if partly_sent:
            for client, send in tuple(self._direct.items()):
                if send in partly_sent:
                    client.transport.write(data[partly_sent[send] :])
        for client in gathering:
            client.gather(frames)
        for client in queueing:
            client.enqueue(frames)

    def close_all(self) -> Deferred[Any]:
        """Close every client with 1001.

        Fires when all are gone, at the latest after two seconds.

        Joining clients are refused with 503, and so are all that come later.
        """
        self._is_closing = True
        self.flush()
        joining, clients = tuple(self._joining), tuple(self._clients)
        # A pending connection is refused when its handshake arrives.
        leaving = joining + clients
        gone = DeferredList([client.is_closed for client in leaving])
        for client in joining:
            client.failHandshake(STOPPING, ConnectionDeny.SERVICE_UNAVAILABLE)
        for client in clients:
            client.go_away()
        return Deferred.fromCoroutine(self._abort_late(leaving, gone))

    async def _abort_late(self, leaving: Iterable[ConsoleProtocol], gone: Deferred[Any]) -> None:
        if not await done_within(CLOSING_SECONDS, gone, self.clock):
            for client in leaving:
                client.dropConnection(abort=True)


class BroadcastService(LoopbackServer):
    """The broadcast on its sockets.

    :param sockets: listening; the service takes them over.
    """

    def __init__(
        self, reactor: Any, factory: BroadcastServerFactory, sockets: list[socket.socket]
    ) -> None:
        super().__init__(reactor, factory, sockets, "listening on ws://{place}")

    def stopService(self) -> Deferred[Any]:
        """Stop accepting clients, then close all connections."""
        return super().stopService().addCallback(lambda _: self._factory.close_all())

    def adopt(self, listening: socket.socket) -> IListeningPort:
        """Return a port with eager connections, if the reactor uses Twisted's transports."""
        # A client that stops reading is noticed when the kernel takes no more bytes for it, which by
        # default is after 4 MB.  Accepted sockets inherit the option (on Linux they are copies of the
        # listener).
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MAX_KERNEL_BYTES)
        if isinstance(self._reactor, PosixReactorBase):
            return EagerPort.adopt(self._reactor, listening, self._factory)
        return super().adopt(listening)
