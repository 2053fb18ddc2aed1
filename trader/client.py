"""The client library: the daemon's events, filtered for one account, with a connection that comes back.

:class:`DaemonClient` is the whole public face; a script that wants events needs nothing else::

    def on_event(event_type, data):
        print(event_type, data)

    client = DaemonClient(account_id=123, event_callback=on_event)
    client.connect()
    reactor.run()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from autobahn.twisted.websocket import WebSocketClientFactory
from autobahn.websocket.types import ConnectionResponse
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from riskd.host.websocket_client import ClientProtocol
from riskd.model.events import (
    Event,
    EventError,
    UnknownEventTypeError,
)
from riskd.model.wire import Envelope, from_fields, open_envelope
from trader.frames import whole_texts

DEFAULT_URL: Final = "ws://localhost:8765"

CONNECTION_STATUS: Final = "connection_status"
"""The event type under which a client reports on its own connection."""

CANNOT_CONNECT: Final = "cannot connect to daemon"
LOST_CONNECTION: Final = "lost connection to daemon"

FIRST_CONNECTION_DELAY: Final = 5.0
"""Seconds between tries as long as there has been no connection yet."""

RECONNECTION_DELAYS: Final = (1.0, 2.0, 4.0, 8.0, 10.0)
"""Seconds before each try after a loss; the last one is repeated."""

_GATEWAY_HEADER: Final = "riskd-gateway"
_DRY_RUN_HEADER: Final = "riskd-dry-run"
_KEEPALIVE_SECONDS: Final = 20
_MAX_MESSAGE_BYTES: Final = 64 * 1024
_MAX_KINDS: Final = 100
_MAX_NAME: Final = 20
_NORMAL_CLOSURE: Final = 1000

EventCallback = Callable[[str, dict[str, Any]], object]
ReadEvent = Callable[[], Event | None]

_log = Logger()


class DaemonClient:
    """Receives the daemon's events for one account.

    Use it in the reactor's thread.

    :param account_id: events of other accounts are not passed on; daemon-wide ones are.
    :param event_callback: called as ``event_callback(event_type, data)``.  ``data`` is the event's
        JSON object; its whole numbers are ``int`` and its fractions ``Decimal``, so that money stays
        exact.  The client reports on itself in the same way: ``("connection_status", {"connected":
        bool, "reason": str})``.  An exception it raises is logged, and the stream goes on.
    :param url: where the daemon is.
    :param reactor: the reactor; by default the global one.
    :param endpoint: how to reach the daemon, in place of the host and port of ``url``.
    :param take_event: called as ``take_event(event_type, read)`` in place of ``event_callback``; the
        client's own status goes to that one still.  The message is not read before ``read()`` is called,
        which returns the event, or ``None`` where it is none of the nine or was dropped as malformed.
    :raises ValueError: ``url`` is not a ``ws://`` URL.
    :ivar connected: whether a WebSocket handshake has been completed and the connection stands.
    :ivar retry_at: the reactor's seconds at which the next try is due; ``None`` when none is.
    :ivar gateway_name: the kind of gateway the daemon named, such as ``practice``; ``None`` before
        the first connection.
    :ivar is_dry_run: whether the daemon said that it enforces nothing.
    :ivar dropped: how many messages were dropped as malformed, by what was wrong with them.
    """

    def __init__(
        self,
        account_id: int,
        event_callback: EventCallback,
        url: str = DEFAULT_URL,
        *,
        reactor: Any = None,
        endpoint: IStreamClientEndpoint | None = None,
        take_event: Callable[[str, ReadEvent], object] | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415  # the caller has chosen it by now
        self._account_id = account_id
        self._event_callback = event_callback
        self._url = url
        self._reactor = reactor
        self._endpoint = endpoint
        self._take_event = take_event
        self._factory: _EventFactory | None = None
        self._service: ReconnectingClientService | None = None
        self._reason = ""
        self._status_due: IDelayedCall | None = None
        self.connected = False
        self.retry_at: float | None = None
        self.gateway_name: str | None = None
        self.is_dry_run = False
        self.dropped: Counter[str] = Counter()
        _make_factory(url, reactor)

    def connect(self) -> None:
        """Connect, and keep connecting, until :meth:`disconnect`."""
        if self._service is not None:
            return
        self._factory = _make_factory(self._url, self._reactor)
        self._factory.client = self
        endpoint = self._endpoint or HostnameEndpoint(
            self._reactor, self._factory.host, self._factory.port
        )
        self._service = ReconnectingClientService(
            endpoint, self._factory, self._reactor, self._will_retry
        )
        self._service.startService()

    def disconnect(self) -> Deferred[None]:
        """Close with code 1000 and stop trying; fire when the connection is gone."""
        if self._service is None or self._factory is None:
            return succeed(None)
        service, self._service = self._service, None
        factory, self._factory = self._factory, None
        factory.client = None
        self.retry_at = None
        if self._status_due is not None and self._status_due.active():
            self._status_due.cancel()
        if self.connected:
            self.connected = False
            self._deliver_status("disconnected")
        return service.stopService()

    # What the connection tells.

    def opened(self, gateway_name: str | None, *, is_dry_run: bool) -> None:
        """Take note that the handshake is complete."""
        self.connected = True
        self.retry_at = None
        self.gateway_name = gateway_name
        self.is_dry_run = is_dry_run
        if self._service is not None:
            self._service.handshake_completed()
        self._deliver_status("connected")

    def received(self, message: bytes) -> None:
        """Pass on a message if it is for this account and makes sense."""
        try:
            envelope = open_envelope(message)
        except EventError as error:
            self.drop(error.field, error)
            return
        if envelope.account_id not in (None, self._account_id):
            return
        if self._take_event is not None:
            self._call_back(self._take_event, envelope.type, partial(self._read_event, envelope))
        elif (found := self._read(envelope)) is not None:
            self._call_back(self._event_callback, envelope.type, found[0])

    def _read_event(self, envelope: Envelope) -> Event | None:
        found = self._read(envelope)
        return None if found is None else found[1]

    def _read(self, envelope: Envelope) -> tuple[dict[str, Any], Event | None] | None:
        """Return the data of a message, and its event if it is one of the nine; drop what is malformed."""
        try:
            data = envelope.read_data()
            return data, _event(envelope.type, envelope.account_id, data)
        except EventError as error:
            self.drop(error.field, error)
            return None

    def drop(self, kind: str, error: EventError) -> None:
        """Count a malformed message; log the first of its kind."""
        if kind not in self.dropped and len(self.dropped) >= _MAX_KINDS:
            kind = "other"
        self.dropped[kind] += 1
        if self.dropped[kind] == 1:
            _log.warn(
                "dropped a malformed message, and will drop more like it: {error}", error=error
            )

    def closed(self, reason: str) -> None:
        """Take note that the connection is gone, or was refused."""
        lost = LOST_CONNECTION if self.connected else CANNOT_CONNECT
        self._reason = f"{lost}: {reason}" if reason else lost
        self.connected = False

    def _will_retry(self, delay: float) -> None:
        self.retry_at = self._reactor.seconds() + delay
        reason, self._reason = self._reason, ""
        # Not at once: the service asks in the midst of its own work, and the callback may disconnect.
        self._status_due = self._reactor.callLater(
            0, self._deliver_status, reason or f"{CANNOT_CONNECT} (is it running?)"
        )

    def _deliver_status(self, reason: str) -> None:
        status = {"connected": self.connected, "reason": reason}
        self._call_back(self._event_callback, CONNECTION_STATUS, status)

    def _call_back(
        self, function: Callable[[str, Any], object], event_type: str, what: Any
    ) -> None:
        try:
            function(event_type, what)
        except Exception:  # noqa: BLE001  # whatever it is, it is the caller's, and the stream goes on
            _log.failure("the callback failed on {event_type}", event_type=event_type)


class ReconnectingClientService(ClientService):
    """A connection that is tried again after each failure and each loss.

    Only a completed WebSocket handshake counts as success: a server that accepts TCP and drops the
    handshake is not hammered.

    :param endpoint: how to reach the daemon.
    :param factory: makes the protocol of each connection.
    :param clock: schedules the tries.
    :param will_retry: told the seconds until the next try whenever one is scheduled.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        factory: _EventFactory,
        clock: IReactorTime,
        will_retry: Callable[[float], None],
    ) -> None:
        super().__init__(endpoint, factory, retryPolicy=self._delay, clock=clock)
        self._factory = factory
        self._will_retry = will_retry
        self._ever_connected = False
        self._failures = 0

    def handshake_completed(self) -> None:
        """Begin the delays anew."""
        self._ever_connected = True
        self._failures = 0

    def stopService(self) -> Deferred[None]:
        """Close with code 1000, and stop trying."""
        self._factory.close()
        stopped: Deferred[None] = super().stopService()
        return stopped

    def _delay(self, _attempt: int) -> float:
        # ClientService counts TCP connections as successes; its count is of no use here.
        delay = FIRST_CONNECTION_DELAY
        if self._ever_connected:
            delay = RECONNECTION_DELAYS[min(self._failures, len(RECONNECTION_DELAYS) - 1)]
            self._failures += 1
        if self.running:
            self._will_retry(delay)
        return delay


class _EventProtocol(ClientProtocol):
    factory: _EventFactory
    _gateway_name: str | None = None
    _is_dry_run = False

    def dataReceived(self, data: bytes) -> None:
        """Handle whole text messages here, which is what nearly all data is; leave the rest to Autobahn."""
        if self.state == self.STATE_OPEN and self._is_between_messages():
            messages, data = whole_texts(data)
            for message in messages:
                self.onMessage(message, isBinary=False)
        if data:
            super().dataReceived(data)

    def _is_between_messages(self) -> bool:
        # While a pong is awaited Autobahn must hear of whatever comes in its place.
        is_waiting = self.data or self.current_frame or self.autoPingTimeoutCall
        return not (is_waiting or self.inside_message)

    def onConnect(self, response: ConnectionResponse) -> None:
        self._gateway_name = response.headers.get(_GATEWAY_HEADER, "")[:_MAX_NAME] or None
        self._is_dry_run = response.headers.get(_DRY_RUN_HEADER) == "yes"

    def onOpen(self) -> None:
        self.factory.current = self
        if self.factory.client is not None:
            self.factory.client.opened(self._gateway_name, is_dry_run=self._is_dry_run)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        client = self.factory.client
        if client is None:
            return
        if isBinary:
            client.drop("message", EventError("message", payload, "text"))
        else:
            client.received(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: ARG002
        was_open, self.factory.current = self.factory.current is self, None
        if self.factory.client is not None:
            # A daemon that is suddenly gone gives no reason; one that never let us in may have one.
            told = reason if wasClean else None if was_open else self.wasNotCleanReason
            self.factory.client.closed(told or "")


class _EventFactory(WebSocketClientFactory):
    protocol = _EventProtocol  # type: ignore[assignment]
    client: DaemonClient | None = None
    """Whom to tell; nobody once it has disconnected."""
    current: _EventProtocol | None = None
    """The connection that stands."""

    def close(self) -> None:
        if self.current is not None:
            self.current.sendClose(_NORMAL_CLOSURE)


def _make_factory(url: str, reactor: Any) -> _EventFactory:
    if not url.startswith("ws://"):
        raise ValueError(f"url {url!r} does not start with ws://")
    try:
        factory = _EventFactory(url, reactor=reactor, useragent="trader-client")
    except ValueError as error:
        raise ValueError(f"url {url!r} is not a WebSocket URL: {error}") from None
    factory.setProtocolOptions(
        maxFramePayloadSize=_MAX_MESSAGE_BYTES,
        maxMessagePayloadSize=_MAX_MESSAGE_BYTES,
        autoPingInterval=_KEEPALIVE_SECONDS,
        autoPingTimeout=_KEEPALIVE_SECONDS,
    )
    return factory


def _event(event_type: str, account_id: int | None, data: dict[str, Any]) -> Event | None:
    """Return the event of ``data``; ``None`` where it is none of the nine.

    :raises EventError: it is one of the nine and something is wrong with it, or it claims to be the
        client's own.
    """
    if event_type == CONNECTION_STATUS:
        raise EventError("type", event_type, "a type that is the daemon's to send")
    try:
        return from_fields(event_type, account_id, data)
    except UnknownEventTypeError:
        # A later daemon may know more; that is for the callback to judge.
        return None
