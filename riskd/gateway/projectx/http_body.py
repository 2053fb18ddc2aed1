"""The body of an HTTP response, of a bounded size."""

from __future__ import annotations

import zlib
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

MAX_BYTES: Final = 8 * 1024 * 1024
"""The largest body, as it is sent and as it is decoded.

A day with 10,000 trades is 3 MB.
"""

_GZIP: Final = 16 + zlib.MAX_WBITS
_IDENTITY: Final = ("", "identity")


class BodyError(Exception):
    """A body cannot be read; the text says why."""


class TooLargeError(BodyError):
    """A body is larger than :data:`MAX_BYTES`, and may have no end."""

    def __init__(self) -> None:
        super().__init__(f"the answer is larger than {MAX_BYTES // 1024**2} MB")


class Body(Protocol):
    """Assembles and decodes the body of a response.

    Canceling :attr:`whole` ends the connection.  Twisted's own ``readBody`` cannot do that, and
    its gzip decoder sets no bound: 64 kB become 64 MB at once.

    :ivar whole: fires with the body; fails with :class:`BodyError` if it is too large or not sound gzip, and
        the connection ends.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._received = self._size = 0
        self._connection: Any = None
        self._gzip: Any = None
        self.whole: Deferred[bytes] = Deferred(self._cancel)

    def read(self, response: IResponse) -> Deferred[bytes]:
        """Read the body of ``response``; return :attr:`whole`."""
        encoding = ", ".join(response.headers.getRawHeaders("Content-Encoding", [])).lower()
        if encoding == "gzip":
            self._gzip = zlib.decompressobj(_GZIP)
        response.deliverBody(self)
        if encoding not in (*_IDENTITY, "gzip"):
            self._refuse(BodyError("the answer has an encoding that riskd did not ask for"))
        elif isinstance(response.length, int) and response.length > MAX_BYTES:
            self._refuse(TooLargeError())
        return self.whole

    def connectionMade(self) -> None:
        """Keep the connection: Twisted takes it away when the body has ended."""
        self._connection = getattr(self.transport, "_producer", None)

    def drop(self) -> None:
        """End the connection at once, also when the body has ended."""
        # Not loseConnection(): with TLS the peer could go on sending.
        if self._connection is not None:
            self._connection.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece."""
        if self.whole.called:
            return
        self._received += len(data)
        try:
            if self._gzip is not None:
                # zlib would copy all that has come behind the end with each piece.
                is_over = self._gzip.eof
                data = b"" if is_over else self._gzip.decompress(data, MAX_BYTES - self._size + 1)
        except zlib.error:
            self._refuse(BodyError("the answer is not sound gzip"))
            return
        self._size += len(data)
        self._pieces.append(data)
        if max(self._size, self._received) > MAX_BYTES:
            self._refuse(TooLargeError())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fire :attr:`whole`."""
        if self.whole.called:
            return
        # Where the end of the connection ends the body, parsing the JSON shows whether it is whole.
        if not reason.check(ResponseDone, PotentialDataLoss):
            self.whole.errback(reason)
        elif self._gzip is not None and not self._gzip.eof:
            self._refuse(BodyError("the answer is not sound gzip"))
        else:
            self.whole.callback(b"".join(self._pieces))
        self._pieces.clear()

    def _refuse(self, error: BodyError) -> None:
        self._pieces.clear()
        if not self.whole.called:
            self.whole.errback(error)
        self.drop()

    def _cancel(self, whole: Deferred[bytes]) -> None:
        whole.errback(CancelledError())
        self._pieces.clear()
        self.drop()
