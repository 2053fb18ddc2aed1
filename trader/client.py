"""The client library: the daemon's events of one account, with reconnection.

:class:`DaemonClient` is the whole public interface; a script needs nothing else to receive events::

    def on_event(event_type, data):
        print(event_type, data)

    client = DaemonClient(account_id=123, event_callback=on_event)
    client.connect()
    reactor.run()
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit, urlunsplit

import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory
from autobahn.websocket.types import ConnectionResponse
from autobahn.websocket.util import parse_url
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.host.errors import UserError
from riskd.host.websocket import ClientProtocol
from riskd.journal.schema import PUBLISHED_NAME
from riskd.model.events import Event, EventError, UnknownEventTypeError
from riskd.model.wire import (
    Envelope,
    PlainQuote,
    exact_quote,
    from_fields,
    open_envelope,
    plain_quote,
)
from trader.frames import whole_texts

DEFAULT_URL: Final = "ws://localhost:8765"

CONNECTION_STATUS: Final = "connection_status"
"""The event type under which a client reports on its own connection."""

_ANSWER_SECONDS: Final = 1.0
"""A daemon on this machine answers a ping within milliseconds."""

CANNOT_CONNECT: Final = "cannot connect to daemon"
LOST_CONNECTION: Final = "lost connection to daemon"

FIRST_CONNECTION_DELAY: Final = 5.0
"""Seconds between attempts until the first connection is made."""

RECONNECTION_DELAYS: Final = (1.0, 2.0, 4.0, 8.0, 10.0)
"""Seconds before each attempt after a lost connection; the last one is repeated."""

KEEPALIVE_SECONDS: Final = 20.0
"""Seconds between pings, and those that a daemon may take to answer one."""

_GATEWAY_HEADER: Final = "riskd-gateway"
_STATE_HEADER: Final = "riskd-state"
_INSTANCE_HEADER: Final = "riskd-instance"
_DRY_RUN_HEADER: Final = "riskd-dry-run"
_QUOTE_INTERVAL: Final = "quote_interval_ms"
# Events are below 1 KiB; the rest is room for those of later versions.
_MAX_MESSAGE_BYTES: Final = 64 * 1024
# The daemon chooses field names and its gateway's name; bounds keep a hostile one from filling memory or screen.
_MAX_KINDS: Final = 100
_MAX_NAME: Final = 20
_USER_AGENT: Final = "trader-client"
_MAX_INSTANCE: Final = 64
_NORMAL_CLOSURE: Final = 1000

_PAUSE_SECONDS: Final = 0.003
"""How long events of a busy stream are left to gather: to wake up for each of them costs more than to read it."""

_BUSY_SECONDS: Final = _PAUSE_SECONDS / 2
"""A stream is busy while its events are no further apart on average: then several gather."""

_LASTING: Final = 0.9
"""How much of that average the next event leaves: an order, its position and its trade at once make no stream busy."""

_QUIET_SECONDS: Final = 1.0
"""No distance counts for more."""

_QUOTE: Final = b'{"type":"MarketQuote",'
"""How riskd begins a quote; one that begins in another way does not wait."""

_QUOTES_APART_MS: Final = 100
"""The interval between quotes that a client asks for which draws them: half of that between its draws."""

_QUOTES_OF_ALL_APART_MS: Final = 10
"""The same for all accounts: with 200 of them, the quotes of 100 ms would delay the event behind them."""

_MOST_WAITING: Final = 100
"""The most quotes that wait: an event comes behind all of them."""

EventCallback = Callable[[str, dict[str, Any]], object]
ReadEvent = Callable[[], Event | None]

_log = Logger()


class UnreadEvent:
    """A message that is decoded when it is wanted.

    :param drop: called if it is malformed.
    :ivar account_id: whose event it is; ``None`` for one of the daemon itself.
    """

    __slots__ = ("_drop", "_envelope", "_is_plain_quote", "account_id")

    def __init__(self, envelope: Envelope, drop: Callable[[EventError], object]) -> None:
        self.account_id = envelope.account_id
        self._envelope = envelope
        self._drop = drop
        self._is_plain_quote = False

    def __call__(self) -> Event | None:
        """Return the event; ``None`` for an unknown type or a malformed message."""
        try:
            if self._is_plain_quote:
                return exact_quote(self._envelope)
            return _check_and_decode(self._envelope, self._envelope.read_data())
        except EventError as error:
            self._drop(error)
            return None

    def plain_quote(self) -> PlainQuote | None:
        """Return contract and time of a well-formed quote, at a fraction of its decoding.

        Such a quote is then decoded in one step.
        """
        quote = plain_quote(self._envelope)
        self._is_plain_quote = quote is not None
        return quote

    def fields(self) -> dict[str, Any] | None:
        """Return the JSON object of an event of any type; ``None`` if it is malformed."""
        try:
            data = self._envelope.read_data()
            _check_and_decode(self._envelope, data)
        except EventError as error:
            self._drop(error)
            return None
        return data


LazyEventCallback = Callable[[str, UnreadEvent], object]


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """What a daemon says of itself in its response to the handshake.

    :ivar gateway_name: the kind of gateway, such as ``practice``; ``None`` if it names none.
    :ivar is_dry_run: whether the daemon enforces nothing.
    :ivar state_file: the published copy, an absolute path; ``None`` if it names none.
    :ivar instance: the id that this copy must have; empty if it names none.
    """

    gateway_name: str | None = None
    is_dry_run: bool = False
    state_file: Path | None = None
    instance: str = ""


def _read_handshake(headers: Mapping[str, str]) -> Handshake:
    path = Path(os.fsdecode(unquote_to_bytes(headers.get(_STATE_HEADER, ""))))
    return Handshake(
        gateway_name=headers.get(_GATEWAY_HEADER, "")[:_MAX_NAME] or None,
        is_dry_run=headers.get(_DRY_RUN_HEADER) == "yes",
        state_file=path if path.is_absolute() and path.name == PUBLISHED_NAME else None,
        instance=headers.get(_INSTANCE_HEADER, "")[:_MAX_INSTANCE],
    )


def check_url(url: str) -> None:
    """Check that a client can connect to ``url``.

    :raises ValueError: ``url`` is not a ``ws://`` URL.
    """
    if not url.startswith("ws://"):
        raise ValueError(f"url {url!r} does not start with ws://")
    try:
        parse_url(url)
    except ValueError as error:
        raise ValueError(f"url {url!r} is not a WebSocket URL: {error}") from None


class DaemonClient:
    """Receives the daemon's events for one account.

    Use it in the reactor's thread only.

    :param account_id: the account; daemon-wide events are passed on, too, those of other accounts are not.
        ``None`` for every account, which only ``take_event`` can tell apart, by the ``account_id`` of ``read``.
    :param event_callback: called as ``event_callback(event_type, data)``.  ``data`` is the event's
        JSON object; its whole numbers are ``int`` and its fractions ``Decimal``, so that money stays
        exact.  The client reports on its connection in the same way: ``("connection_status",
        {"connected": bool, "reason": str})``.  An exception from the callback is logged, and the stream
        goes on.
    :param url: the daemon's URL.
    :param reactor: the reactor; by default the global one.
    :param endpoint: connects to the daemon, in place of the host and port of ``url``.
    :param take_event: called as ``take_event(event_type, read)`` for each event, in
        place of ``event_callback``, which then receives only ``connection_status``.  ``read()`` decodes
        the message and returns the event; ``None`` for an unknown type or a malformed message.
    :param find_url: returns the daemon's URL before each attempt, in place of ``url``; a
        :class:`~riskd.host.errors.UserError` from it fails the attempt, with its text as the reason.
    :param admit: called with each handshake; a :class:`~riskd.host.errors.UserError` from it
        refuses the daemon, as a failed attempt.
    :param keepalive_seconds: how often the daemon is pinged, and how long it may take to answer.
    :param quotes_wait: called when quotes begin to wait for :meth:`pass_on_quotes`.  The next event of another kind
        passes them on before itself.  It also asks the daemon to send only the latest quote of each contract and
        account, once in 100 ms; of all accounts, once in 10 ms.  ``None``: no quote waits.
    :raises ValueError: ``url`` is not a ``ws://`` URL.
    :ivar connected: whether the connection is up, its WebSocket handshake completed.
    :ivar retry_at: the reactor's time of the next attempt, in seconds; ``None`` when none is scheduled.
    :ivar gateway_name: the kind of gateway that the daemon named, such as ``practice``; ``None`` before
        the first connection.
    :ivar is_dry_run: whether the daemon enforces nothing, by the last handshake.
    :ivar dropped: the number of malformed messages that were dropped, by the field that was wrong.
    """

    def __init__(
        self,
        account_id: int | None,
        event_callback: EventCallback,
        url: str = DEFAULT_URL,
        *,
        reactor: Any = None,
        endpoint: IStreamClientEndpoint | None = None,
        take_event: LazyEventCallback | None = None,
        find_url: Callable[[], str] | None = None,
        admit: Callable[[Handshake], object] = lambda _handshake: None,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        quotes_wait: Callable[[], object] | None = None,
    ) -> None:
        check_url(url)
        if reactor is None:
            from twisted.internet import reactor  # noqa: PLC0415  # the caller has chosen it by now
        self._account_id = account_id
        self._event_callback = event_callback
        self._url = url
        self._reactor = reactor
        self._endpoint = endpoint
        self._take_event = take_event
        self._find_url = find_url
        self._admit = admit
        self._keepalive_seconds = keepalive_seconds
        self._quotes_wait = quotes_wait
        self._waiting: deque[bytes] = deque()
        self._factory: _EventFactory | None = None
        self._service: ClientService | None = None
        self._delays: Iterator[float] = repeat(FIRST_CONNECTION_DELAY)
        self._reason = ""
        self._status_call: IDelayedCall | None = None
        self.connected = False
        self.retry_at: float | None = None
        self.gateway_name: str | None = None
        self.is_dry_run = False
        self.dropped: Counter[str] = Counter()

    @property
    def silent_seconds(self) -> float | None:
        """For how long the daemon has not answered a ping; ``None`` while it does."""
        protocol = None if self._factory is None else self._factory.open_protocol
        return None if protocol is None else protocol.silent_seconds()

    def connect(self) -> None:
        """Connect, and reconnect after each failure, until :meth:`disconnect`."""
        if self._service is not None:
            return
        # A new factory each time: the connection of the last one may still be closing.
        self._factory = factory = _EventFactory(
            self, self._url, self._reactor, self._keepalive_seconds
        )
        endpoint = self._endpoint or _DaemonEndpoint(factory, self._locate)
        self._delays = repeat(FIRST_CONNECTION_DELAY)
        self._service = ClientService(
            endpoint, factory, retryPolicy=self._next_delay, clock=self._reactor
        )
        self._service.startService()

    @property
    def quote_interval_ms(self) -> int | None:
        """The milliseconds between quotes to ask the daemon for; ``None`` for none."""
        if self._quotes_wait is None:
            return None
        return _QUOTES_OF_ALL_APART_MS if self._account_id is None else _QUOTES_APART_MS

    def take_all_accounts(self) -> None:
        """Pass on the events of every account from now on."""
        self._account_id = None

    @property
    def has_quotes(self) -> bool:
        """Whether quotes wait for :meth:`pass_on_quotes`."""
        return bool(self._waiting)

    def pass_on_quotes(self) -> None:
        """Pass on the quotes that wait, in the order of receipt.

        Who receives one of them may call this again, to have the others first.
        """
        while self._waiting:
            self._pass_on(self._waiting.popleft())

    def disconnect(self) -> Deferred[None]:
        """Close with code 1000 and stop reconnecting; fires once the connection is gone."""
        if self._service is None or self._factory is None:
            return succeed(None)
        service, self._service = self._service, None
        factory, self._factory = self._factory, None
        # Events may arrive until the connection is gone; they must not reach a disconnected client.
        factory.client = None
        self._waiting.clear()
        self.retry_at = None
        if self._status_call is not None and self._status_call.active():
            self._status_call.cancel()
        if self.connected:
            self.connected = False
            self._report_status("disconnected")
        if factory.open_protocol is not None:
            factory.open_protocol.sendClose(_NORMAL_CLOSURE)
        stopped: Deferred[None] = service.stopService()
        return stopped

    # The protocol calls these.

    def handshake_completed(self, handshake: Handshake) -> None:
        """Report the connection.

        :raises UserError: the daemon is refused.
        """
        self._admit(handshake)
        self.connected = True
        self.retry_at = None
        self.gateway_name = handshake.gateway_name
        self.is_dry_run = handshake.is_dry_run
        # Only this counts as success.  ClientService takes a TCP connection for one, and would hammer a
        # server that accepts TCP and drops the handshake.
        self._delays = chain(RECONNECTION_DELAYS, repeat(RECONNECTION_DELAYS[-1]))
        self._report_status("connected")

    def message_received(self, message: bytes) -> None:
        """Pass on a message if it is well-formed and of this account or of none."""
        if self._quotes_wait is None:
            self._pass_on(message)
            return
        if message.startswith(_QUOTE) and len(self._waiting) < _MOST_WAITING:
            self._waiting.append(message)
            if len(self._waiting) == 1:
                self._call_back("waiting quotes", self._quotes_wait)
            return
        factory = self._factory
        self.pass_on_quotes()
        # Who received one of them may have disconnected.
        if self._factory is factory:
            self._pass_on(message)

    def _pass_on(self, message: bytes) -> None:
        try:
            envelope = open_envelope(message)
            if self._account_id is not None and envelope.account_id not in (
                None,
                self._account_id,
            ):
                return
            if self._take_event is not None:
                read = UnreadEvent(envelope, self.drop_message)
                self._call_back(envelope.type, self._take_event, envelope.type, read)
                return
            data = envelope.read_data()
            # The callback gets the fields, with those that riskd does not know; decoding only checks them.
            _check_and_decode(envelope, data)
        except EventError as error:
            self.drop_message(error)
        else:
            self._call_back(envelope.type, self._event_callback, envelope.type, data)

    def drop_message(self, error: EventError) -> None:
        """Count a malformed message by its wrong field; log the first of each field."""
        kind = error.field
        if kind not in self.dropped and len(self.dropped) >= _MAX_KINDS:
            kind = "other"
        self.dropped[kind] += 1
        if self.dropped[kind] == 1:
            _log.warn(
                "dropped a malformed message, and will drop more like it: {error}", error=error
            )

    def connection_closed(self, reason: str) -> None:
        """Keep the reason of a loss or failure until the next attempt is scheduled."""
        self.pass_on_quotes()
        outcome = LOST_CONNECTION if self.connected else CANNOT_CONNECT
        self._reason = f"{outcome}: {reason}" if reason else outcome
        self.connected = False

    def _locate(self) -> str:
        """Return the daemon's URL.

        :raises UserError: it cannot be found.
        """
        if self._find_url is None:
            return self._url
        try:
            return self._find_url()
        except UserError as error:
            self.connection_closed(str(error))
            raise

    def _next_delay(self, _attempts: int) -> float:
        """Return the seconds until the next attempt; report the last one's failure."""
        delay = next(self._delays)
        self.retry_at = self._reactor.seconds() + delay
        reason, self._reason = self._reason or f"{CANNOT_CONNECT} (is it running?)", ""
        # Not at once: ClientService calls this in the midst of its own work, and the callback may disconnect.
        self._status_call = self._reactor.callLater(0, self._report_status, reason)
        return delay

    def _report_status(self, reason: str) -> None:
        status = {"connected": self.connected, "reason": reason}
        self._call_back(CONNECTION_STATUS, self._event_callback, CONNECTION_STATUS, status)

    def _call_back(self, on: str, callback: Callable[..., object], *arguments: object) -> None:
        try:
            callback(*arguments)
        except Exception:  # noqa: BLE001  # the caller's mistake must not end the stream
            _log.failure("the callback failed on {event_type}", event_type=on)


class _EventProtocol(ClientProtocol):
    factory: _EventFactory
    _handshake = Handshake()
    _refusal: str | None = None
    _hang = ""
    _heard_at = _pinged_at = 0.0
    _apart = _QUIET_SECONDS
    _pause: IDelayedCall | None = None

    def silent_seconds(self) -> float | None:
        """Return for how long nothing came; ``None`` while no answer is overdue."""
        now = self.factory.reactor.seconds()
        is_overdue = self._heard_at <= self._pinged_at <= now - _ANSWER_SECONDS
        return now - self._heard_at if is_overdue else None

    def sendPing(self, payload: bytes | None = None) -> None:  # noqa: N802  # Autobahn's name
        self._pinged_at = self.factory.reactor.seconds()
        super().sendPing(payload)

    def dataReceived(self, data: bytes) -> None:
        """Handle whole text messages here, and leave all else to Autobahn."""
        before, self._heard_at = self._heard_at, self.factory.reactor.seconds()
        # While a pong is awaited, Autobahn must see all data: anything received in its place counts as one.
        if self.state == self.STATE_OPEN and not (
            self.data or self.current_frame or self.autoPingTimeoutCall or self.inside_message
        ):
            messages, data = whole_texts(data)
            if messages and self._is_busy(len(messages), self._heard_at - before):
                self._pause_reading()
            for message in messages:
                self.onMessage(message, isBinary=False)
        if data:
            super().dataReceived(data)

    def _is_busy(self, count: int, seconds: float) -> bool:
        """Note so many events in so many seconds; return whether the next should gather."""
        lasting = _LASTING if count == 1 else _LASTING**count
        apart = min(seconds / count, _QUIET_SECONDS)
        self._apart = lasting * self._apart + (1 - lasting) * apart
        return self._apart < _BUSY_SECONDS

    def _pause_reading(self) -> None:
        """Leave what comes next to gather for a moment."""
        if self._pause is None:
            transport: Any = self.transport
            transport.pauseProducing()
            self._pause = self.factory.reactor.callLater(_PAUSE_SECONDS, self._read_again)

    def _read_again(self) -> None:
        """Read what has gathered; then leave more to gather, or read it as it comes."""
        self._pause = None
        transport: Any = self.transport
        is_readable: bool = IReadDescriptor.providedBy(transport)
        if is_readable:
            # Here and not in a turn of its own.  An end of the connection the reactor finds again.
            try:
                transport.doRead()
            except BaseException:  # noqa: BLE001  # as the reactor does: more would come after a gap
                _log.failure("reading the daemon's events failed: internal error")
                transport.abortConnection()
                return
        if self._pause is None:
            transport.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._pause is not None:
            self._pause.cancel()
        super().connectionLost(reason)

    def onConnect(self, response: ConnectionResponse) -> None:
        self._handshake = _read_handshake(response.headers)

    def onOpen(self) -> None:
        self.factory.open_protocol = self
        if self.factory.client is None:
            return
        try:
            self.factory.client.handshake_completed(self._handshake)
        except UserError as error:
            self._refusal = str(error)
            self.sendClose(_NORMAL_CLOSURE)

    def onAutoPingTimeout(self) -> None:
        self._hang = f"it has not answered for {self.factory.keepalive_seconds:.0f} s"
        super().onAutoPingTimeout()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        client = self.factory.client
        if client is None or self._refusal is not None:
            return
        if isBinary:
            client.drop_message(EventError("message", payload, "text"))
        else:
            client.message_received(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: ARG002
        was_open, self.factory.open_protocol = self.factory.open_protocol is self, None
        if not wasClean:
            # A daemon that is suddenly gone gives no reason; a failed handshake may have one.
            reason = None if was_open else self.wasNotCleanReason
            if self.wasOpenHandshakeTimeout:
                reason = "it does not answer"
        if self.factory.client is not None:
            self.factory.client.connection_closed(self._refusal or self._hang or reason or "")


class _EventFactory(WebSocketClientFactory):
    """Makes the protocols of one :meth:`DaemonClient.connect`.

    :ivar client: receives their events; ``None`` once it has disconnected.
    :ivar open_protocol: the protocol whose handshake is completed; ``None`` without a connection.
    """

    protocol = _EventProtocol  # type: ignore[assignment]
    # Twisted would log each attempt to connect.
    noisy = False

    def __init__(
        self,
        client: DaemonClient,
        url: str,
        reactor: Any,
        keepalive_seconds: float,
    ) -> None:
        self.client: DaemonClient | None = client
        super().__init__(self._asking(url), reactor=reactor, useragent=_USER_AGENT)
        self.open_protocol: _EventProtocol | None = None
        self.keepalive_seconds = keepalive_seconds
        self.setProtocolOptions(
            maxFramePayloadSize=_MAX_MESSAGE_BYTES,
            maxMessagePayloadSize=_MAX_MESSAGE_BYTES,
            autoPingInterval=keepalive_seconds,
            autoPingTimeout=keepalive_seconds,
        )

    def set_url(self, url: str) -> None:
        """Send the next handshake to ``url``."""
        self.setSessionParameters(self._asking(url), useragent=_USER_AGENT)

    def _asking(self, url: str) -> str:
        """Return ``url`` with what the client asks for in its query."""
        interval = None if self.client is None else self.client.quote_interval_ms
        parts = urlsplit(url)
        # The trader may have asked in the URL.
        if interval is None or _QUOTE_INTERVAL in parse_qs(parts.query, keep_blank_values=True):
            return url
        query = "&".join(filter(None, (parts.query, f"{_QUOTE_INTERVAL}={interval}")))
        return urlunsplit(parts._replace(path=parts.path or "/", query=query))


@implementer(IStreamClientEndpoint)
class _DaemonEndpoint:
    """Connects to where the daemon is found at each attempt."""

    def __init__(self, factory: _EventFactory, locate: Callable[[], str]) -> None:
        self._factory = factory
        self._locate = locate

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803  # Twisted's name
        """Connect; fires with the protocol."""
        try:
            self._factory.set_url(self._locate())
        except UserError:
            return fail()
        reactor, host, port = self._factory.reactor, self._factory.host, self._factory.port
        connected: Deferred[Any] = HostnameEndpoint(reactor, host, port).connect(protocolFactory)
        return connected


def _check_and_decode(envelope: Envelope, data: dict[str, Any]) -> Event | None:
    """Return the event of ``data``; ``None`` if its type is unknown here.

    :raises EventError: the event is malformed, or claims to be the client's own.
    """
    if envelope.type == CONNECTION_STATUS:
        raise EventError("type", CONNECTION_STATUS, "a type that the daemon sends")
    try:
        return from_fields(envelope.type, envelope.account_id, data)
    except UnknownEventTypeError:
        # A later daemon may send more types; the callback decides what they mean.
        return None
