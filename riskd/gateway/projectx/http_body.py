"""The body of an HTTP response."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss


class Body(Protocol):
    """Assembles a response's body; canceling :attr:`whole` ends the connection.

    Twisted's own ``readBody`` cannot end it: the transport that it is given has no ``abortConnection``.

    :ivar whole: fires with the body.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.whole: Deferred[bytes] = Deferred(self._cancel)

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece."""
        self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fire :attr:`whole`."""
        if self.whole.called:
            return
        # Where the end of the connection ends the body, parsing the JSON shows whether it is whole.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.whole.callback(b"".join(self._pieces))
        else:
            self.whole.errback(reason)

    def _cancel(self, whole: Deferred[bytes]) -> None:
        whole.errback(CancelledError())
        if self.transport is not None:
            self.transport.loseConnection()
