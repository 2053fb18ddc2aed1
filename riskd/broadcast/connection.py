"""One client's connection, from its handshake until it is closed or cut off."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Protocol

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from txaio.tx import make_logger
from zope.interface import implementer

from riskd import __version__
from riskd.broadcast.connection_log import ConnectionLog
from riskd.broadcast.cuts import (
    MAX_CONGESTED_SECONDS,
    MAX_FRAMES_PER_HEARTBEAT,
    MAX_HELD_BYTES,
    REASONS,
    Cut,
)
from riskd.broadcast.frames import MAX_BATCH_BYTES, Backlog, Frame, in_batches
from riskd.broadcast.gathering import Gathering, quote_interval
from riskd.broadcast.statistics import Statistics
from riskd.host.same_host import SameHostCheck

CLOSING_SECONDS: Final = 2
"""The time for a client to answer a closing handshake."""

# Twisted pauses a producer above 64 KiB, and may be given one batch more by the write that exceeds them.
_MAX_BACKLOG_BYTES: Final = MAX_HELD_BYTES - 64 * 1024 - MAX_BATCH_BYTES
_FRAMES_TO_CLOSE: Final = 3
"""The frames that a client may still send while it is closed: a pong, a ping, the answer."""

STOPPING: Final = "the daemon is stopping"
"""The reason for connected clients when the daemon stops, and for clients that connect later."""

_MAX_HANDSHAKE_BYTES: Final = 16 * 1024
_MAX_HANDSHAKE_LINES: Final = 200
_REQUEST_START: Final = re.compile(rb"[A-Z]{1,16}( .*)?", re.DOTALL)

_MAX_REASON: Final = 120
_UPGRADE_REQUIRED: Final = 426


def may_become_handshake(received: bytes) -> bool:
    """Return whether ``received`` may be the beginning of a handshake.

    Autobahn limits neither the size nor the lines of a handshake.
    """
    return (
        len(received) <= _MAX_HANDSHAKE_BYTES
        and received.count(b"\n") <= _MAX_HANDSHAKE_LINES
        and (not received or _REQUEST_START.fullmatch(received) is not None)
    )


class IClients(Protocol):
    """The server, as its clients see it.

    :ivar messages_sent: events broadcast so far.  A client that is sent to directly reads its own count from
        the growth of this one.
    """

    clock: IReactorTime
    same_host: SameHostCheck
    statistics: Statistics
    connection_log: ConnectionLog
    messages_sent: int

    def add_pending(self, client: ConsoleProtocol) -> None:
        """Add a connection that has not sent its handshake yet."""

    def join(self, client: ConsoleProtocol) -> Deferred[None]:
        """Reserve a place for ``client``; fires once the snapshot is published."""

    def add(self, client: ConsoleProtocol) -> None:
        """Add a client whose handshake is complete."""

    def send_directly(self, client: ConsoleProtocol) -> None:
        """Write events to the transport of ``client`` from now on."""

    def gather_for(self, client: ConsoleProtocol) -> None:
        """Pass events to ``client``, which sends them, from now on."""

    def queue_for(self, client: ConsoleProtocol) -> None:
        """Pass events for ``client`` to its backlog from now on."""

    def unsubscribe(self, client: ConsoleProtocol) -> None:
        """Send ``client`` no more events."""

    def remove(self, client: ConsoleProtocol) -> None:
        """Forget ``client``."""


@implementer(IPushProducer)
class ConsoleProtocol(WebSocketServerProtocol):
    """One client, from the first byte of its handshake to its last.

    Events go directly to its transport, but into its backlog while its handshake waits for the snapshot and
    while it is congested: from the moment its transport is full until the backlog is empty again.  Those of
    a client that has asked for fewer quotes go through its gathering instead of directly.
    """

    # Autobahn would log refusals and cuts a second time.
    log = make_logger(level="error")
    # Autobahn would format a page of these for its debug log, at more cost than the rest of a handshake.
    CONFIG_ATTRS: list[str] = []  # noqa: RUF012  # declared so by Autobahn

    factory: IClients
    transport: Any
    _messages_sent = 0
    _direct_since: int | None = None
    _opened_at: float | None = None
    _abort_timer: IDelayedCall | None = None
    _backlog: Backlog | None = None
    _gathering: Gathering | None = None
    _is_full = False
    _is_going_away = False
    _congestion_timer: IDelayedCall | None = None
    _expected_pong: bytes | None = None
    _owed_pong: bytes | None = None
    _frames_received = 0

    # Handshake.

    def connectionMade(self) -> None:
        """Wait for a handshake."""
        # Autobahn copies the factory's options by CONFIG_ATTRS, which is empty here.
        for option in WebSocketServerProtocol.CONFIG_ATTRS:
            setattr(self, option, getattr(self.factory, option))
        super().connectionMade()
        self.factory.add_pending(self)

    def dataReceived(self, data: bytes) -> None:
        """Receive bytes; refuse early what cannot become a handshake."""
        if self.state == self.STATE_CONNECTING and not may_become_handshake(self.data + data):
            self.failHandshake("this is not a WebSocket handshake", ConnectionDeny.BAD_REQUEST)
        else:
            super().dataReceived(data)

    def onConnect(self, request: ConnectionRequest) -> Deferred[None]:  # type: ignore[override]  # noqa: ARG002
        """Complete the handshake once the snapshot is published.

        :raises ConnectionDeny: the handshake is refused with an HTTP status.
        """
        if self._foreign_header() is not None:
            raise ConnectionDeny(ConnectionDeny.FORBIDDEN)
        # Not Autobahn's path, which is / for //evil/ and http://evil/ too.
        path, _, query = self.http_request_uri.partition("?")
        if path != "/":
            raise ConnectionDeny(ConnectionDeny.NOT_FOUND, "there is nothing but /")
        try:
            seconds = quote_interval(query)
        except ValueError as error:
            raise ConnectionDeny(ConnectionDeny.BAD_REQUEST, str(error)) from None
        if seconds is not None:
            self._gathering = Gathering(self.factory.clock, seconds, self._send_gathered)
        return self.factory.join(self).addCallback(self._check_connected)

    def _foreign_header(self) -> str | None:
        return self.factory.same_host.foreign_header(
            self.http_headers.get("host"), self.http_headers.get("origin")
        )

    def _check_connected(self, _result: object) -> None:
        # Autobahn would complete the handshake of a client that has left meanwhile.
        if self.state != self.STATE_CONNECTING:
            raise ConnectionDeny(ConnectionDeny.SERVICE_UNAVAILABLE, "the client left")

    def failHandshake(
        self, reason: str, code: int = ConnectionDeny.BAD_REQUEST, responseHeaders: Any = None
    ) -> None:
        """Refuse a handshake.

        A foreign page learns only that it is foreign, whatever else is wrong.
        """
        if self.state != self.STATE_CONNECTING:
            return
        # Without a length, an HTTP client may wait for a body.
        headers = [*(responseHeaders or ()), ("Connection", "close"), ("Content-Length", "0")]
        # Without headers the request was not read that far.
        if getattr(self, "http_headers", None):
            foreign = self._foreign_header()
            if foreign is not None:
                code, reason = ConnectionDeny.FORBIDDEN, f"foreign {foreign}"
            elif "upgrade" not in self.http_headers:
                code, reason = _UPGRADE_REQUIRED, "this is a WebSocket and no page"
                # By its name, riskctl doctor knows a riskd on a port from another program.
                headers += [("Upgrade", "websocket"), ("Server", f"riskd/{__version__}")]
        # Autobahn quotes the request; a client must not write into the log or into the response that way.
        super().failHandshake(ascii(reason)[1:-1][:_MAX_REASON], code, headers)

    def onOpen(self) -> None:
        """Add the client, and send the events that were broadcast during its handshake."""
        self._opened_at = self.factory.clock.seconds()
        # Before the first write: from now on the transport reports when its buffer is full and empty again.
        self.registerProducer(self, True)
        self.factory.add(self)
        self._drain_backlog()
        self.factory.connection_log.info(
            "client {peer} connected, {count} in all",
            peer=self.peer,
            count=self.factory.statistics.clients,
        )

    # Stream and backlog.

    def start_queueing(self) -> None:
        """Put events into the backlog from now on."""
        if self._backlog is None:
            self._backlog = Backlog()
            self._count_direct_messages()
            self.factory.queue_for(self)
            if self._gathering is not None:
                self.enqueue(self._gathering.take())

    def enqueue(self, frames: Iterable[Frame]) -> None:
        """Add ``frames`` to the backlog; close the client if it becomes too large."""
        backlog = self._backlog
        # None if an earlier write of this broadcast has ended the client.
        if backlog is None:
            return
        statistics = self.factory.statistics
        size = backlog.size
        for frame in frames:
            statistics.conflated_quotes += backlog.add(frame)
        statistics.queue_bytes += backlog.size - size
        if backlog.size > _MAX_BACKLOG_BYTES:
            self._close(self.CLOSE_STATUS_CODE_TRY_AGAIN_LATER, Cut.TOO_MUCH_UNREAD)

    def gather(self, frames: Iterable[Frame]) -> None:
        """Send ``frames``, or let them wait if they are quotes."""
        if self._gathering is not None:
            self._gathering.add(frames)

    def _send_gathered(self, frames: list[Frame]) -> None:
        for batch in in_batches(frames):
            # The batches before may have filled the transport, and then closed a client that has too much unread.
            if self.state != self.STATE_OPEN:
                return
            if self._backlog is not None:
                self.enqueue(batch)
            else:
                self._write([frame.data for frame in batch])

    def _write(self, frames: list[bytes]) -> None:
        data = b"".join(frames)
        self.factory.statistics.bytes_sent += len(data)
        self._messages_sent += len(frames)
        self.transport.write(data)

    def _drain_backlog(self) -> None:
        """Send the backlog until the transport is full.

        Then, if all is sent, send events as they come.
        """
        while self._backlog is not None and not self._is_full and self.state == self.STATE_OPEN:
            frames = self._backlog.take(MAX_BATCH_BYTES)
            if frames:
                self.factory.statistics.queue_bytes -= sum(map(len, frames))
                self._write(frames)
                continue
            self._drop_backlog()
            if self._gathering is None:
                self._direct_since = self.factory.messages_sent
                self.factory.send_directly(self)
            else:
                self.factory.gather_for(self)
            if self._owed_pong is not None:
                self.sendPong(self._owed_pong)
                self._owed_pong = None
        if self._is_going_away and self._backlog is None and self.state == self.STATE_OPEN:
            self.sendCloseFrame(self.CLOSE_STATUS_CODE_GOING_AWAY, STOPPING.encode())

    def _count_direct_messages(self) -> None:
        # A broadcast writes to the transports and does not call the clients, so they count afterwards.
        if self._direct_since is not None:
            self._messages_sent += self.factory.messages_sent - self._direct_since
            self._direct_since = None

    def _drop_backlog(self) -> None:
        if self._backlog is not None:
            self.factory.statistics.queue_bytes -= self._backlog.size
            self._backlog = None
        if self._congestion_timer is not None:
            if self._congestion_timer.active():
                self._congestion_timer.cancel()
            self._congestion_timer = None

    def _close(self, code: int, cut: Cut) -> None:
        self.factory.statistics.cut[cut] += 1
        if self.state == self.STATE_CONNECTING:
            self.failHandshake(REASONS[cut], ConnectionDeny.SERVICE_UNAVAILABLE)
            return
        self.factory.connection_log.warn(
            "client {peer} is closed: {reason}", peer=self.peer, reason=REASONS[cut]
        )
        # From now on the client may send only what closing needs, not a whole heartbeat's frames.
        self._frames_received = max(
            self._frames_received, MAX_FRAMES_PER_HEARTBEAT - _FRAMES_TO_CLOSE
        )
        self.sendCloseFrame(code, REASONS[cut].encode())

    def abort(self, cut: Cut) -> None:
        """End the connection at once, without a closing handshake."""
        self.factory.statistics.cut[cut] += 1
        # For the log line of onClose; no close frame will carry the reason.
        self.wasNotCleanReason = REASONS[cut]
        self.dropConnection(abort=True)

    # The transport's reports.

    def pauseProducing(self) -> None:
        """Start queueing: the transport is full."""
        # Twisted repeats this call with each write until the transport is empty.
        if not self._is_full:
            self._is_full = True
            self.start_queueing()
            if self._congestion_timer is None:
                self._congestion_timer = self.factory.clock.callLater(
                    MAX_CONGESTED_SECONDS,
                    self._close,
                    self.CLOSE_STATUS_CODE_TRY_AGAIN_LATER,
                    Cut.TOO_LONG_CONGESTED,
                )

    def resumeProducing(self) -> None:
        """Send the backlog: the transport is empty."""
        self._is_full = False
        self._drain_backlog()

    def stopProducing(self) -> None:
        """Do nothing: :meth:`onClose` follows."""

    # Frames of the client.

    def heartbeat(self, payload: bytes, frame: bytes) -> None:
        """Ping the client, or abort it if it has not answered the ping before."""
        self._frames_received = 0
        # A closing handshake has a timeout of its own.
        if self.state != self.STATE_OPEN:
            return
        if self._expected_pong is not None:
            self.abort(Cut.NO_PONG)
        else:
            self._expected_pong = payload
            self.transport.write(frame)

    def onPong(self, payload: bytes) -> None:
        """Accept the pong to the latest ping; nothing else proves that the client reads."""
        if payload == self._expected_pong:
            self._expected_pong = None

    def onPing(self, payload: bytes) -> None:
        """Answer a ping.

        While congested, only the latest one will be answered (RFC 6455, 5.5.3).
        """
        if self._backlog is None:
            self.sendPong(payload)
        else:
            self._owed_pong = payload

    def onFrameBegin(self) -> None:
        """Receive a frame; abort a client whose many frames would delay the others."""
        self._frames_received += 1
        if self._frames_received > MAX_FRAMES_PER_HEARTBEAT:
            self.abort(Cut.SENT_TOO_MUCH)
        else:
            super().onFrameBegin()

    def onMessageFrameBegin(self, length: int) -> None:
        """Close a client that sends a message; the message is not read."""
        # First, because Autobahn closes with 1009 if the message is too large.
        super().onMessageFrameBegin(length)
        if self.state == self.STATE_OPEN:
            self._close(self.CLOSE_STATUS_CODE_POLICY_VIOLATION, Cut.SENT_A_MESSAGE)

    # Close.

    def go_away(self) -> None:
        """Close because the daemon stops, once the backlog is sent."""
        self._is_going_away = True
        if self._gathering is not None:
            self._gathering.flush()
        self._drain_backlog()

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Begin or answer a closing handshake; no event follows."""
        super().sendCloseFrame(code, reasonUtf8, isReply)
        # Only now: the close frame itself may fill the transport, which starts queueing.
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        self._count_direct_messages()
        self._drop_backlog()
        if self._gathering is not None:
            self._gathering.take()
        self.factory.unsubscribe(self)

    def dropConnection(self, abort: bool = False) -> None:
        """Close the connection; abort it later if the client does not read the rest."""
        super().dropConnection(abort)
        # Not left to onClose, which comes only when the client has read its buffer.
        self._unsubscribe()
        self.factory.remove(self)
        if not abort and self._abort_timer is None:
            self._abort_timer = self.factory.clock.callLater(
                CLOSING_SECONDS, self._closeConnection, True
            )

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Remove the client and log its end."""
        self._unsubscribe()
        self.factory.remove(self)
        if self._abort_timer is not None and self._abort_timer.active():
            self._abort_timer.cancel()
        if self._opened_at is None:
            self.factory.connection_log.warn(
                "refused {peer}: {reason}", peer=self.peer, reason=self.wasNotCleanReason or reason
            )
            return
        self.factory.connection_log.info(
            "client {peer} disconnected: code {code}{why}, {seconds:.1f} s connected, {sent} messages sent",
            peer=self.peer,
            # RFC 6455, 7.1.5: null stands for a close frame without a code.
            code=(self.localCloseCode if self.closedByMe else code) or self.CLOSE_STATUS_CODE_NULL,
            why="" if wasClean else f" ({self.wasNotCleanReason})",
            seconds=self.factory.clock.seconds() - self._opened_at,
            sent=self._messages_sent,
        )
