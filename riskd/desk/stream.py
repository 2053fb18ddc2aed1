"""What an uplink takes from riskd's broadcast: quotes, and that riskd is there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from autobahn.twisted.websocket import WebSocketClientFactory
from autobahn.websocket.types import ConnectionResponse
from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.endpoints import HostnameEndpoint
from twisted.logger import Logger

from riskd.broadcast.server import INSTANCE_HEADER, STATE_HEADER
from riskd.host.websocket import ClientProtocol
from riskd.journal.schema import PUBLISHED_NAME
from riskd.model.events import EventError, MarketQuote
from riskd.model.wire import decode, open_envelope

_KEEPALIVE_SECONDS: Final = 5
_MAX_MESSAGE_BYTES: Final = 64 * 1024
_MAX_QUOTES: Final = 10_000
"""So many contracts of accounts have a quote that waits; others wait for the next."""

_log = Logger()


class Stream:
    """riskd's broadcast, as an uplink sees it.

    :param seconds: returns the seconds of a steady clock.
    :ivar directory: the state directory that riskd has named; ``None`` before the first handshake.
    :ivar journal: the id of the journal that riskd has named; empty before.
    :ivar is_open: whether riskd is there.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.directory: Path | None = None
        self.journal = ""
        self.is_open = False
        self._seconds = seconds
        self._received_at: float | None = None
        self._quotes: dict[tuple[int, str], bytes] = {}

    @property
    def age(self) -> float | None:
        """The seconds since an event was received; ``None`` before the first."""
        return None if self._received_at is None else self._seconds() - self._received_at

    def take_quotes(self) -> dict[tuple[int, str], bytes]:
        """Return the latest quote of each account and contract since the last call."""
        quotes, self._quotes = self._quotes, {}
        return quotes

    def opened(self, headers: dict[str, str]) -> None:
        """Note a handshake."""
        path = Path(os.fsdecode(unquote_to_bytes(headers.get(STATE_HEADER.lower(), ""))))
        if path.is_absolute() and path.name == PUBLISHED_NAME:
            self.directory = path.parent
            self.journal = headers.get(INSTANCE_HEADER.lower(), "")
        self.is_open = True
        _log.info("riskd is there")

    def closed(self) -> None:
        """Note the end of the connection."""
        if self.is_open:
            self.is_open = False
            _log.warn("riskd is gone")

    def received(self, message: bytes) -> None:
        """Keep a message if it is a quote.  What is no quote comes with the outbox."""
        self._received_at = self._seconds()
        try:
            if open_envelope(message).type == "MarketQuote":
                event = decode(message)
                if isinstance(event.data, MarketQuote) and event.account_id is not None:
                    key = (event.account_id, event.data.contract_id)
                    if key in self._quotes or len(self._quotes) < _MAX_QUOTES:
                        self._quotes[key] = message
        except EventError as error:
            _log.warn("riskd sent what is no event: {error}", error=error)


class _Protocol(ClientProtocol):
    factory: _Factory

    def onConnect(self, response: ConnectionResponse) -> None:
        self._headers = response.headers

    def onOpen(self) -> None:
        self.factory.stream.opened(self._headers)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if not isBinary:
            self.factory.stream.received(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: ARG002
        self.factory.stream.closed()


class _Factory(WebSocketClientFactory):
    protocol = _Protocol  # type: ignore[assignment]
    noisy = False

    def __init__(self, stream: Stream, url: str, reactor: Any) -> None:
        super().__init__(url=url, useragent="riskd-uplink", reactor=reactor)
        self.stream = stream
        self.setProtocolOptions(
            autoPingInterval=_KEEPALIVE_SECONDS,
            autoPingTimeout=_KEEPALIVE_SECONDS,
            maxFramePayloadSize=_MAX_MESSAGE_BYTES,
            maxMessagePayloadSize=_MAX_MESSAGE_BYTES,
        )


def stream_service(stream: Stream, url: str, reactor: Any) -> ClientService:
    """Return a service that keeps a stream connected to riskd."""
    factory = _Factory(stream, url, reactor)
    return ClientService(
        HostnameEndpoint(reactor, factory.host, factory.port),
        factory,
        retryPolicy=backoffPolicy(initialDelay=1.0, maxDelay=10.0, factor=2.0),
        clock=reactor,
    )
