"""One client of the broadcast: let in, sent to, kept up with, and seen out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from txaio.tx import make_logger
from zope.interface import implementer

from riskd.broadcast.backlog import Backlog
from riskd.broadcast.frames import MAX_BATCH_BYTES, Frame
from riskd.broadcast.handshake import (
    BAD_REQUEST,
    FORBIDDEN,
    STOPPING,
    UNAVAILABLE,
    UPGRADE_REQUIRED,
    may_become_handshake,
)
from riskd.broadcast.heartbeat import KEEPALIVE_SECONDS
from riskd.broadcast.statistics import Cut

if TYPE_CHECKING:
    from riskd.broadcast.server import BroadcastServerFactory

CLOSING_SECONDS: Final = 2
"""What clients are given to answer a closing handshake."""

MAX_HELD_BYTES: Final = 1024 * 1024
"""Bytes of events that are held for one client, in its backlog and in its connection's own buffer."""

# Twisted's own connection pauses its producer above 64 KiB, and takes one batch more before it says so.
_MAX_BACKLOG_BYTES: Final = MAX_HELD_BYTES - 64 * 1024 - MAX_BATCH_BYTES
_MAX_BEHIND_SECONDS: Final = 30
_MAX_FRAMES_A_BEAT: Final = 30
"""A client owes a pong, and may ping; each frame costs about 12 us, and all clients may send at once."""

_FRAMES_TO_CLOSE: Final = 3
"""What a client may have to say yet that is being closed: a pong, a ping, the answer."""

_MAX_REASON: Final = 120

_GOING_AWAY: Final = 1001
_NO_CODE: Final = 1005
_POLICY_VIOLATION: Final = 1008
_TRY_AGAIN_LATER: Final = 1013

_WORDS: Final = {
    Cut.TOO_MUCH_UNREAD: f"more than {MAX_HELD_BYTES // 1024} KiB were not read",
    Cut.TOO_LONG_BEHIND: f"behind for {_MAX_BEHIND_SECONDS} s",
    Cut.NO_PONG: f"no pong within {KEEPALIVE_SECONDS} s",
    Cut.SENT_A_MESSAGE: "this stream is one-way",
    Cut.SENT_TOO_MUCH: f"more than {_MAX_FRAMES_A_BEAT} frames within {KEEPALIVE_SECONDS} s",
    Cut.CROWD_AT_THE_DOOR: "too many connections without a handshake",
}


@implementer(IPushProducer)
class ConsoleProtocol(WebSocketServerProtocol):
    """One client, from the first byte of its handshake to its last.

    It is behind while it has a backlog: from the moment it may come in until its handshake is
    complete, and from the moment its connection is full until all that was kept is on its way.
    """

    # Autobahn's own account of refusals and cuts would double ours.
    log = make_logger(level="error")
    # For these it formats a page for a log that nobody reads, which costs more than all else it does.
    CONFIG_ATTRS: list[str] = []  # noqa: RUF012  # declared so by Autobahn

    factory: BroadcastServerFactory
    transport: Any
    _messages_sent = 0
    _ready_since: int | None = None
    _opened_at: float | None = None
    _reaper: IDelayedCall | None = None
    _backlog: Backlog | None = None
    _is_full = False
    _is_leaving = False
    _patience: IDelayedCall | None = None
    _awaited_pong: bytes | None = None
    _owed_pong: bytes | None = None
    _frames_heard = 0

    # The door.

    def connectionMade(self) -> None:
        """Wait for a handshake, among the others that do."""
        for option in WebSocketServerProtocol.CONFIG_ATTRS:
            setattr(self, option, getattr(self.factory, option))
        super().connectionMade()
        self.factory.meet(self)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; before the handshake, only such as can become one."""
        if self.state == self.STATE_CONNECTING and not may_become_handshake(self.data + data):
            self.failHandshake("this is not a WebSocket handshake", BAD_REQUEST)
        else:
            super().dataReceived(data)

    def onConnect(self, request: ConnectionRequest) -> Deferred[None]:  # type: ignore[override]
        """Let a client in once the state file is up to date, or refuse it with an HTTP status.

        :raises ConnectionDeny: it is refused.
        """
        # Autobahn's path is what is left of //evil/ and of http://evil/ too.
        self.factory.door.check(self.http_request_uri, request.headers)
        return self.factory.join(self).addCallback(self._still_here)

    def _still_here(self, _result: object) -> None:
        # Autobahn would complete the handshake of a client that has left meanwhile.
        if self.state != self.STATE_CONNECTING:
            raise ConnectionDeny(UNAVAILABLE, "the client left")

    def failHandshake(
        self, reason: str, code: int = BAD_REQUEST, responseHeaders: Any = None
    ) -> None:
        """Refuse a handshake; whatever else is wrong with a stranger's page, it is a stranger's."""
        if self.state != self.STATE_CONNECTING:
            return
        headers = getattr(self, "http_headers", {})
        answer = [*(responseHeaders or ()), ("Connection", "close"), ("Content-Length", "0")]
        if not self.factory.door.is_own_origin(headers.get("origin")):
            code, reason = FORBIDDEN, "foreign Origin"
        elif headers and not self.factory.door.is_own_host(headers.get("host", "")):
            code, reason = FORBIDDEN, "foreign Host"
        elif headers and "upgrade" not in headers:
            code, reason = UPGRADE_REQUIRED, "this is a WebSocket and no page"
            answer.append(("Upgrade", "websocket"))
        # Autobahn quotes what was sent; nobody may write into the log or the answer that way.
        super().failHandshake(ascii(reason)[1:-1][:_MAX_REASON], code, answer)

    def onOpen(self) -> None:
        """Count the client in, and send what was kept for it."""
        self._opened_at = self.factory.clock.seconds()
        self.registerProducer(self, True)
        self.factory.add(self)
        self._catch_up()
        self.factory.connection_log.info(
            "client {peer} connected, {count} in all", peer=self.peer, count=self.factory.count
        )

    # The stream.

    def fall_behind(self) -> None:
        """Keep from now on what is to be sent."""
        if self._backlog is None:
            self._backlog = Backlog()
            self._count_messages()
            self.factory.fall_behind(self)

    def keep(self, frames: Iterable[Frame]) -> None:
        """Keep ``frames`` until the client can take them."""
        backlog = self._backlog
        if backlog is None:
            return
        statistics = self.factory.statistics
        size = backlog.size
        for frame in frames:
            statistics.conflated_quotes += backlog.keep(frame)
        statistics.queue_bytes += backlog.size - size
        if backlog.size > _MAX_BACKLOG_BYTES:
            self._give_up(Cut.TOO_MUCH_UNREAD)

    def _catch_up(self) -> None:
        """Send what was kept, until the connection is full or nothing is left."""
        while self._backlog is not None and not self._is_full and self.state == self.STATE_OPEN:
            if not self._send_kept(self._backlog):
                self._forget()
                self._ready_since = self.factory.messages_sent
                self.factory.keep_up(self, self.transport)
                if self._owed_pong is not None:
                    self.sendPong(self._owed_pong)
                    self._owed_pong = None
        if self._is_leaving and self._backlog is None and self.state == self.STATE_OPEN:
            self.sendCloseFrame(_GOING_AWAY, STOPPING.encode())

    def _send_kept(self, backlog: Backlog) -> bool:
        frames = backlog.take(MAX_BATCH_BYTES)
        data = b"".join(frames)
        self.factory.statistics.queue_bytes -= len(data)
        self.factory.statistics.bytes_sent += len(data)
        self._messages_sent += len(frames)
        self.transport.write(data)
        return bool(frames)

    def _count_messages(self) -> None:
        """Count what was written to the connection without coming by here."""
        if self._ready_since is not None:
            self._messages_sent += self.factory.messages_sent - self._ready_since
            self._ready_since = None

    def _forget(self) -> None:
        if self._backlog is not None:
            self.factory.statistics.queue_bytes -= self._backlog.size
            self._backlog = None
        if self._patience is not None:
            if self._patience.active():
                self._patience.cancel()
            self._patience = None

    def _give_up(self, cut: Cut) -> None:
        """Close on a client that stays behind; what was kept for it is gone."""
        if self.state == self.STATE_CONNECTING:
            self.factory.statistics.cut[cut] += 1
            self.failHandshake(_WORDS[cut], UNAVAILABLE)
        else:
            self._close(_TRY_AGAIN_LATER, cut)

    def _close(self, code: int, cut: Cut) -> None:
        self.factory.statistics.cut[cut] += 1
        self.factory.connection_log.warn(
            "client {peer} is closed: {reason}", peer=self.peer, reason=_WORDS[cut]
        )
        self._frames_heard = max(self._frames_heard, _MAX_FRAMES_A_BEAT - _FRAMES_TO_CLOSE)
        self.sendCloseFrame(code, _WORDS[cut].encode())

    def abort(self, cut: Cut) -> None:
        """End the connection here and now."""
        self.factory.statistics.cut[cut] += 1
        self.wasNotCleanReason = _WORDS[cut]
        self.dropConnection(abort=True)

    # The connection reports.

    def pauseProducing(self) -> None:
        """Keep what is to be sent: the connection is full."""
        # It says so again with every write until it is not.
        if not self._is_full:
            self._is_full = True
            self.fall_behind()
            if self._patience is None:
                self._patience = self.factory.clock.callLater(
                    _MAX_BEHIND_SECONDS, self._give_up, Cut.TOO_LONG_BEHIND
                )

    def resumeProducing(self) -> None:
        """Send what was kept: the connection is empty."""
        self._is_full = False
        self._catch_up()

    def stopProducing(self) -> None:
        """Do nothing: the loss of the connection is reported, too."""

    # What the client says.

    def beat(self, payload: bytes, frame: bytes) -> None:
        """Ping the client, or cut it if it has not answered the ping before."""
        self._frames_heard = 0
        if self.state != self.STATE_OPEN:
            return
        if self._awaited_pong is not None:
            self.abort(Cut.NO_PONG)
        else:
            self._awaited_pong = payload
            self.transport.write(frame)

    def onPong(self, payload: bytes) -> None:
        """Take the answer to a ping for the proof that the client reads; nothing else is one."""
        if payload == self._awaited_pong:
            self._awaited_pong = None

    def onPing(self, payload: bytes) -> None:
        """Answer, but of pings whose answers are not read only the latest (RFC 6455, 5.5.3)."""
        if self._backlog is None:
            self.sendPong(payload)
        else:
            self._owed_pong = payload

    def onFrameBegin(self) -> None:
        """Read a frame, of which a client has few to send; pings without end would delay the others."""
        self._frames_heard += 1
        if self._frames_heard > _MAX_FRAMES_A_BEAT:
            self.abort(Cut.SENT_TOO_MUCH)
        else:
            super().onFrameBegin()

    def onMessageFrameBegin(self, length: int) -> None:
        """Close on a client that talks; what it says is not read."""
        super().onMessageFrameBegin(length)
        if self.state == self.STATE_OPEN:
            self._close(_POLICY_VIOLATION, Cut.SENT_A_MESSAGE)

    # The end.

    def say_goodbye(self) -> None:
        """Close because the daemon stops, as soon as what was kept is on its way."""
        self._is_leaving = True
        self._catch_up()

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Begin to close, or answer that; no event follows."""
        super().sendCloseFrame(code, reasonUtf8, isReply)
        # Not before: the close frame may be what the connection is full with.
        self._leave_stream()

    def _leave_stream(self) -> None:
        self._count_messages()
        self._forget()
        self.factory.mute(self)

    def dropConnection(self, abort: bool = False) -> None:
        """Let go of the client, and of its connection even if it reads nothing any more."""
        super().dropConnection(abort)
        self._leave_stream()
        self.factory.remove(self)
        if not abort and self._reaper is None:
            self._reaper = self.factory.clock.callLater(
                CLOSING_SECONDS, self._closeConnection, True
            )

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Count the client out and write down how it went."""
        self._leave_stream()
        self.factory.remove(self)
        if self._reaper is not None and self._reaper.active():
            self._reaper.cancel()
        if self._opened_at is None:
            self.factory.connection_log.warn(
                "refused {peer}: {reason}", peer=self.peer, reason=self.wasNotCleanReason or reason
            )
            return
        self.factory.connection_log.info(
            "client {peer} disconnected: code {code}{why}, {seconds:.1f} s connected, {sent} messages sent",
            peer=self.peer,
            code=(self.localCloseCode if self.closedByMe else code) or _NO_CODE,
            why="" if wasClean else f" ({self.wasNotCleanReason})",
            seconds=self.factory.clock.seconds() - self._opened_at,
            sent=self._messages_sent,
        )
