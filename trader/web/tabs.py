"""The WebSockets of the tabs.

A page acknowledges each message once it has shown it.  The buffers of the kernel and the browser hold minutes of
frames, so without that a tab that the browser has put to sleep would show old figures when it wakes.  A tab with
:data:`MAX_UNSHOWN` messages to acknowledge gets no more; once it acknowledges one, it gets the present screen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from txaio.tx import make_logger
from zope.interface import implementer

from riskd.host.websocket import server_options

MAX_TABS: Final = 16
"""Each tab has a client of the daemon's, and all that a console keeps in memory."""

MAX_MESSAGE_BYTES: Final = 1024
"""urwid's limit is a quarter of it, in characters."""

MAX_UNSHOWN: Final = 20
"""So many messages are sent ahead; a console draws no more in a second."""

SHOWN: Final = b"shown"
"""What a page sends after each message."""

CONGESTED_SECONDS: Final = 60
"""A tab that reads nothing for so long is cut; it connects again once it is awake."""

_HANDSHAKE_SECONDS: Final = 5
_CLOSING_SECONDS: Final = 2

_log = Logger()


class ITab(Protocol):
    """What is behind a tab."""

    def feed(self, message: str) -> None:
        """Take a message of the page.

        :raises ValueError: no page of ours sends such a message.
        """

    def set_congested(self, is_congested: bool, /) -> None:
        """Draw nothing while the page does not read; then draw all of it."""

    def stop(self) -> Deferred[None]:
        """Forget the page; fires once all of it has ended."""


OpenTab = Callable[["Connection"], ITab]


class Connection:
    """What a tab sends through; urwid calls it a transport.

    :ivar page: the page's name for itself; empty for none.
    """

    def __init__(self, protocol: TabProtocol) -> None:
        self._protocol = protocol
        self.page = protocol.page

    def send(self, text: str) -> None:
        """Send a message, unless the connection is closing."""
        self._protocol.show(text)

    def close(self) -> None:
        """Close the connection: the console has failed; the page connects again."""
        self._protocol.end(self._protocol.CLOSE_STATUS_CODE_INTERNAL_ERROR)


@implementer(IPushProducer)
class TabProtocol(WebSocketServerProtocol):
    """The connection of one tab."""

    # Autobahn's own log would repeat ours.
    log = make_logger(level="error")

    factory: TabFactory
    page = ""
    _tab: ITab | None = None
    _unshown = 0
    _is_paused = False
    _is_congested = False
    _deadline: IDelayedCall | None = None

    def onConnect(self, request: ConnectionRequest) -> None:
        """Refuse one tab too many.

        :raises ConnectionDeny: there are enough.
        """
        if self.factory.is_full:
            raise ConnectionDeny(ConnectionDeny.SERVICE_UNAVAILABLE, "too many tabs")
        self.factory.tabs[self] = None
        self.page = next(iter(request.params.get("page", [])), "")

    def onOpen(self) -> None:
        """Watch whether the page reads."""
        transport: Any = self.transport
        # Until now the transport reported to HTTP's channel, which is done with it.
        transport.unregisterProducer()
        transport.registerProducer(self, True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Open the tab at the first message, which has the size of its window."""
        if self.state != self.STATE_OPEN:
            return
        if payload == SHOWN:
            self._unshown = max(0, self._unshown - 1)
            self._check_congestion()
            return
        if self._tab is None:
            self._tab = self.factory.open_tab(Connection(self))
        try:
            # No page of ours sends bytes.
            self._tab.feed("" if isBinary else payload.decode())
        except ValueError as error:
            _log.warn("a page is cut: {error}", error=str(error))
            self.end(self.CLOSE_STATUS_CODE_POLICY_VIOLATION)

    def show(self, text: str) -> None:
        """Send a message, unless the connection is closing."""
        if self.state != self.STATE_OPEN:
            return
        # sendMessage would refuse more than a page may send.
        message = self.factory.prepareMessage(text.encode(), doNotCompress=True)
        self.sendPreparedMessage(message)
        self._unshown += 1
        self._check_congestion()

    def onPing(self, payload: bytes) -> None:
        """Answer a ping, unless earlier answers are unread."""
        if not self._is_congested:
            super().onPing(payload)

    def end(self, code: int) -> None:
        """Close the connection, if it is open."""
        if self.state == self.STATE_OPEN:
            # sendClose refuses the codes of RFC 6455.
            self.sendCloseFrame(code)

    # Reports of the transport.

    def pauseProducing(self) -> None:
        """Send nothing more."""
        self._is_paused = True
        self._check_congestion()

    def resumeProducing(self) -> None:
        """Go on."""
        self._is_paused = False
        self._check_congestion()

    def stopProducing(self) -> None:
        """Do nothing: :meth:`onClose` follows."""

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: ARG002
        """Forget the tab."""
        self.factory.tabs.pop(self, None)
        self._stop_deadline()
        tab, self._tab = self._tab, None
        if tab is not None:
            tab.stop().addErrback(lambda failure: _log.failure("a tab did not end well", failure))

    def _check_congestion(self) -> None:
        is_congested = self._is_paused or self._unshown >= MAX_UNSHOWN
        if is_congested == self._is_congested:
            return
        self._is_congested = is_congested
        self._stop_deadline()
        if is_congested:
            self._deadline = self.factory.clock.callLater(CONGESTED_SECONDS, self._cut)
        if self._tab is not None:
            self._tab.set_congested(is_congested)

    def _cut(self) -> None:
        self._deadline = None
        _log.warn("a page that reads nothing is cut after {seconds} s", seconds=CONGESTED_SECONDS)
        self.dropConnection(abort=True)

    def _stop_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()


class TabFactory(WebSocketServerFactory):
    """The tabs.

    :param open_tab: makes what is behind a tab.
    :ivar tabs: those that are connected, or about to be.
    """

    protocol = TabProtocol  # type: ignore[assignment]

    def __init__(self, reactor: IReactorTime, open_tab: OpenTab) -> None:
        super().__init__(reactor=reactor, server="trader-console")
        self.clock = reactor
        self.open_tab = open_tab
        self.noisy = False
        self.tabs: dict[TabProtocol, None] = {}
        self.setProtocolOptions(
            **server_options(
                max_message_bytes=MAX_MESSAGE_BYTES,
                handshake_seconds=_HANDSHAKE_SECONDS,
                closing_seconds=_CLOSING_SECONDS,
            )
        )

    @property
    def is_full(self) -> bool:
        """Whether no further tab is let in."""
        return len(self.tabs) >= MAX_TABS

    def close_all(self) -> Deferred[Any]:
        """Close every tab; fires when all are gone.

        Autobahn cuts one that does not answer within :data:`_CLOSING_SECONDS`.
        """
        leaving = tuple(self.tabs)
        for tab in leaving:
            tab.end(tab.CLOSE_STATUS_CODE_GOING_AWAY)
        return DeferredList([tab.is_closed for tab in leaving])
