"""The connection to a desk's servers, over NATS with TLS.

nats-py is made for asyncio, so the programs that import this run on Twisted's asyncio reactor.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.desk.messages import inbox_prefix
from riskd.desk.pauses import Pauses
from riskd.desk.settings import DeskSettings
from riskd.host.errors import UserError
from riskd.host.private_file import read_private_file
from riskd.model.safe_text import printable

CONNECT_SECONDS: Final = 5
PING_SECONDS: Final = 2
"""How often the server is pinged; with the second unanswered ping the connection is lost."""

_CLOSE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.25
_MAX_KEY_BYTES: Final = 64 * 1024
_MAX_WORDS: Final = 300

ERRORS: Final = (OSError, nats.errors.Error, TimeoutError, asyncio.TimeoutError)
"""What a lost or refused connection raises."""

_log = Logger()


def client_context(settings: DeskSettings) -> ssl.SSLContext:
    """Return the TLS of a client: version 1.3, a certificate on both sides.

    :raises UserError: a file cannot be used.
    """
    read_private_file(settings.key, "a key", _MAX_KEY_BYTES)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(settings.ca)
    except (OSError, ssl.SSLError) as error:
        raise UserError(f"{settings.ca}: expected a certificate: {_words(error)}") from None
    try:
        # Without a password of its own, an encrypted key would be asked for on the terminal.
        context.load_cert_chain(settings.certificate, settings.key, password="")
    except (OSError, ssl.SSLError) as error:
        raise UserError(
            f"{settings.certificate} and {settings.key}: expected a certificate and its key: {_words(error)}"
        ) from None
    return context


def id_secret(settings: DeskSettings) -> bytes:
    """Return what makes the ids of this machine's messages: a digest of its key.

    :raises UserError: the key cannot be used.
    """
    return sha256(read_private_file(settings.key, "a key", _MAX_KEY_BYTES)).digest()


class DeskConnection(Service):
    """Connects to the desk, and again after each loss, with random pauses.

    :param name: the user that the certificate names.
    :param use: called with each connection; it returns or raises once that is of no use any more, and is canceled
        when the connection is lost.
    :ivar is_connected: whether there is a connection now.
    """

    def __init__(
        self,
        settings: DeskSettings,
        name: str,
        context: ssl.SSLContext,
        use: Callable[[Client], Awaitable[None]],
    ) -> None:
        self.is_connected = False
        self._settings = settings
        self._name = name
        self._context = context
        self._use = use
        self._problem = ""
        self._refusal = ""
        self._task: asyncio.Task[None] | None = None

    def startService(self) -> None:
        """Begin to connect."""
        super().startService()
        # asyncio warns of each end of a connection with TLS, which is none of the reader's business.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        self._task = asyncio.get_event_loop().create_task(self._run())

    def stopService(self) -> Deferred[None]:
        """Close the connection; fires once it is closed."""
        super().stopService()
        task, self._task = self._task, None
        if task is None:
            return succeed(None)
        task.cancel()
        return Deferred.fromFuture(asyncio.ensure_future(_ended(task)))

    async def _run(self) -> None:
        pauses, seconds = Pauses(), asyncio.get_running_loop().time
        while True:
            client = Client()
            begun = seconds()
            try:
                await self._connect(client)
            except Exception as error:  # noqa: BLE001  # the next attempt may succeed
                self._report(self._refusal or _words(error))
                if not isinstance(error, ERRORS):
                    _log.failure("internal error in connecting to the desk")
                problem = None
            else:
                self.is_connected, self._problem = True, ""
                _log.info("connected to the desk")
                problem = await self._used(client)
                self._report(problem or "the connection was lost")
                self.is_connected = False
            finally:
                await _close(client)
            lasted = seconds() - begun
            if problem is None:
                pause = pauses.after_attempt(lasted)
            else:
                pause = pauses.after_connection(lasted, is_lost=not problem)
            await asyncio.sleep(pause)

    async def _connect(self, client: Client) -> None:
        self._refusal = ""

        async def note_error(error: Exception) -> None:
            before, self._refusal = self._refusal, _words(error)
            if self.is_connected and self._refusal != before:
                _log.warn("the desk's server: {error}", error=self._refusal)

        await client.connect(
            servers=list(self._settings.servers),
            name=self._name,
            tls=self._context,
            # Otherwise whoever is on the way could ask in the clear for no TLS at all.
            tls_handshake_first=True,
            # Pauses are made here, and each connection is a new one.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_SECONDS,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=1,
            inbox_prefix=inbox_prefix(self._name),
            error_cb=note_error,
        )

    async def _used(self, client: Client) -> str:
        """Use a connection as long as it lasts; return what was wrong.

        Empty if it was lost, or is of no use any more.
        """
        using = asyncio.ensure_future(self._use(client))
        try:
            # nats-py reports a loss only once the dead connection is closed, half a minute later.
            while client.is_connected and not using.done():
                await asyncio.wait((using,), timeout=_LOOK_SECONDS)
        finally:
            is_lost = not client.is_connected
            await canceled(using)
        # What fails because the connection is lost is no problem of its own.
        error = None if is_lost or using.cancelled() else using.exception()
        if error is None:
            return ""
        if not isinstance(error, ERRORS):
            _log.failure("internal error in the connection to the desk", Failure(error))
        return _words(error)

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            _log.warn("no connection to the desk, trying again: {problem}", problem=problem)


async def canceled(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks, and wait for their end.

    nats-py ignores a cancellation while it flushes, so it may take several.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CLOSE_SECONDS)


async def _close(client: Client) -> None:
    """Close a connection, dead or alive, within a second."""
    with suppress(*ERRORS):
        await asyncio.wait_for(client.close(), _CLOSE_SECONDS)
    # A dead peer never answers the end of TLS.
    writer = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if writer is not None:
        writer.transport.abort()


async def _ended(task: asyncio.Future[None]) -> None:
    await asyncio.wait((task,))


def _words(error: BaseException) -> str:
    return printable(str(error) or type(error).__name__)[:_MAX_WORDS]
