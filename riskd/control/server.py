"""The Unix sockets in the state directory: the operator's and a group's.

Only the user who runs the daemon and root may open the operator's (:mod:`riskd.control.guard` is about the
other).  Actions are logged under the user name that the operating system gives, never under a name that a client
claims.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IReactorTime,
    IReactorUNIX,
    ITransport,
)
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.amp import ASK, COMMAND, AmpBox, BinaryBoxProtocol, BoxDispatcher
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from riskd.control.commands import Commands
from riskd.control.peer import operator_of
from riskd.control.protocol import ControlSocketError, check_path
from riskd.engine.interface import IOperated
from riskd.host.users import user_name

MAX_CONNECTIONS: Final = 16
"""Each connection takes a file descriptor, which the clients of the stream need."""

MAX_REQUESTS: Final = 16
"""Requests on one connection; ``riskctl`` makes one."""

IDLE_SECONDS: Final = 10
"""A connection without a request is dropped after this time."""

_MAX_REQUEST_BYTES: Final = 128 * 1024
_OWNER_ONLY: Final = 0o600
_OWNER_AND_GROUP: Final = 0o660

_log = Logger()


class ControlProtocol(BinaryBoxProtocol, BoxDispatcher, TimeoutMixin):
    """One operator's connection: a few small requests in a short time, each answered.

    Twisted's own ``AMP`` is not used, because it would switch to TLS on request and logs every
    connection.

    :param factory: holds the other connections and the clock, and returns what carries out the requests.
    """

    transport: Any
    _commands: Commands

    def __init__(self, factory: ControlFactory) -> None:
        # The commands depend on the client, who is known once the connection is made.
        BoxDispatcher.__init__(self, None)
        BinaryBoxProtocol.__init__(self, self)
        self._factory = factory
        self._unanswered_bytes = 0
        self._requests = 0

    def connectionMade(self) -> None:
        """Identify the operator and start the timeout."""
        self._factory.connections.add(self)
        # The operating system reports who opened the connection, so asking once is enough.
        self._commands = self.locator = self._factory.commands_for(self.transport)
        self.setTimeout(IDLE_SECONDS)

    def callLater(self, period: float, func: Callable[[], None]) -> IDelayedCall:  # Twisted's name
        """Time the connection by the daemon's clock."""
        return self._factory.clock.callLater(period, func)

    def dataReceived(self, data: bytes) -> None:
        """Receive bytes; drop a client whose request is too long."""
        # AMP limits an entry of a box, but not the number of entries.
        self._unanswered_bytes += len(data)
        if self._unanswered_bytes > _MAX_REQUEST_BYTES:
            self._drop("a request is too long")
        else:
            super().dataReceived(data)

    def ampBoxReceived(self, box: AmpBox) -> None:  # noqa: N802  # AMP's name
        """Dispatch a request.

        Drop a client that sends anything else, or too many requests.
        """
        self._unanswered_bytes = 0
        self._requests += 1
        if COMMAND not in box or ASK not in box:
            self._drop("a message is not a request")
        elif self._requests > MAX_REQUESTS:
            self._drop("too many requests")
        else:
            self.resetTimeout()
            super().ampBoxReceived(box)

    def timeoutConnection(self) -> None:  # Twisted's name
        """Drop a client that sends no request or does not read the answer."""
        self._drop("it was idle")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Make room for another connection."""
        self._factory.connections.discard(self)
        self.setTimeout(None)
        super().connectionLost(reason)

    def _drop(self, why: str) -> None:
        # Boxes that arrived together are still dispatched after the first drop, and the connection is lost
        # only in the reactor's next turn.
        if self in self._factory.connections:
            self._factory.connections.discard(self)
            _log.warn(
                "dropped operator {operator}: {why}", operator=self._commands.operator, why=why
            )
            # A plain close would wait for a client that does not read its answer.
            self.transport.abortConnection()


class ControlFactory(ServerFactory):
    """The operators' connections.

    :param clock: times the connections.
    :param operated: the accounts.
    :param operator_of: returns the user name behind a connection.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        operated: IOperated,
        operator_of: Callable[[ITransport], str] = operator_of,
    ) -> None:
        self.clock = clock
        self.operator_of = operator_of
        self.connections: set[ControlProtocol] = set()
        self._operated = operated

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol | None:  # noqa: ARG002
        """Accept a connection unless there are too many."""
        if len(self.connections) >= MAX_CONNECTIONS:
            _log.warn("refused an operator: {count} are connected", count=len(self.connections))
            return None
        return ControlProtocol(self)

    def commands_for(self, transport: ITransport) -> Commands:
        """Return what carries out the requests of a client."""
        commands = Commands(self._operated, self.clock)
        commands.operator = self.operator_of(transport)
        return commands


class ControlService(Service):
    """The operator's socket or that of a group, for as long as the daemon runs.

    A daemon that cannot open the socket reports the problem and guards its accounts without it.

    :param reactor: listens on the socket.
    :param path: the socket's path; its directory is held by this daemon.
    :param factory: builds the connections.
    :param report_problem: receives a problem's source and its sentence.
    :param gid: the id of the group whose members may open the socket; ``None`` if only the owner may.
    :param likely_uids: the user ids of clients to expect.
    """

    def __init__(
        self,
        reactor: IReactorUNIX,
        path: Path,
        factory: ControlFactory,
        report_problem: Callable[[str, str], None],
        gid: int | None = None,
        likely_uids: Iterable[int] = (),
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._factory = factory
        self._report_problem = report_problem
        self._gid = gid
        self._likely_uids = likely_uids
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """Open the socket."""
        super().startService()
        # Fill the cache of user names now: a user directory that hangs must not delay the rules later.
        for uid in (os.geteuid(), 0, *self._likely_uids):
            user_name(uid)
        try:
            self._listen()
        except ControlSocketError as error:
            _log.error("{error}", error=error)
            self._report_problem("control" if self._gid is None else "guard", str(error))

    def stopService(self) -> Deferred[None]:
        """Remove the socket and drop all connections."""
        super().stopService()
        for connection in tuple(self._factory.connections):
            connection.transport.abortConnection()
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        # Somebody else may have removed the socket already.
        return (
            maybeDeferred(port.stopListening)
            .addErrback(lambda failure: failure.trap(FileNotFoundError))
            .addCallback(lambda _: None)
        )

    def _listen(self) -> None:
        """Listen on the socket.

        :raises ControlSocketError: the socket cannot be opened.
        """
        check_path(self._path)
        # A chmod after bind would leave a moment in which anybody may connect, so the mode comes from
        # the umask.  The umask is the process's: other threads set the modes of their files themselves.
        before = os.umask(0o777 & ~_OWNER_ONLY)
        try:
            # The state directory is held by this daemon, so the daemon of a socket in it has ended.
            if self._path.is_symlink() or (self._path.exists() and not self._path.is_socket()):
                raise FileExistsError(errno.EEXIST, "a file that is not a socket is in the way")
            self._path.unlink(missing_ok=True)
            self._port = self._reactor.listenUNIX(
                os.fspath(self._path), self._factory, mode=_OWNER_ONLY
            )
            if self._gid is not None:
                # In this order, no other group may ever open it.  A service may be forbidden to call chown.
                if self._path.lstat().st_gid != self._gid:
                    os.chown(self._path, -1, self._gid, follow_symlinks=False)
                self._path.chmod(_OWNER_AND_GROUP)
        except (CannotListenError, OSError) as error:
            cause = error.socketError if isinstance(error, CannotListenError) else error
            raise ControlSocketError(
                f"riskctl cannot reach this riskd: {self._path}: {cause.strerror or cause}"
            ) from None
        finally:
            os.umask(before)
