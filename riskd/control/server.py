"""The operator's door: a Unix socket in the state directory, and what may be asked through it.

Whoever may open the socket is the operator: the user who runs the daemon, and root.  What is done is
logged under the name that the operating system gives, never under one that a client claims.

Requests and answers are AMP boxes with one value, which is JSON; :class:`Json` says how it is put there.
"""

from __future__ import annotations

import errno
import functools
import os
import pwd
import socket
import stat
import struct
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, ITransport
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.amp import (
    ASK,
    COMMAND,
    MAX_VALUE_LENGTH,
    AmpBox,
    Argument,
    BinaryBoxProtocol,
    BoxDispatcher,
    Command,
    CommandLocator,
    RemoteAmpError,
)
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from riskd import __version__
from riskd.control.reports import (
    AccountReport,
    RulesReport,
    StatusReport,
    encode_report,
    report_account,
    report_rule,
)
from riskd.engine.interface import IOperated, IOperatedAccount
from riskd.host.errors import UserError
from riskd.model.lockouts import locks_in_force

_log = Logger()

SOCKET_NAME: Final = "riskd.sock"
"""The operator's socket; nobody but its owner may open it."""

MAX_PATH_BYTES: Final = 107 if sys.platform == "linux" else 103
"""How long the path of a Unix socket may be.

Source: unix(7), ``sun_path``; one byte of it ends the path.
"""

MAX_CONNECTIONS: Final = 16
MAX_REQUESTS: Final = 16
"""Requests that a connection may make; ``riskctl`` makes one."""

IDLE_SECONDS: Final = 10
"""How long a connection may stay without a request."""

MAX_REASON: Final = 200
"""Characters of a reason; what is longer is cut."""

UNKNOWN_OPERATOR: Final = "unknown"

_MAX_REQUEST_BYTES: Final = 128 * 1024
_OWNER_ONLY: Final = 0o600
_REFUSED: Final = b"REFUSED"


class RefusedError(Exception):
    """A request that cannot be granted; the text says why, in a sentence for the operator."""


class ControlError(UserError):
    """The socket cannot be had; the text says why, in a sentence."""


# What is operated.


# What is said.


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator wants of an account.

    :ivar reason: why, for the log and the consoles.
    :ivar until: when a lock is to end; ``None`` leaves that to an operator.
    """

    account: int
    reason: str = ""
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request.

    :ivar was_locked: whether the account was locked before.
    :ivar account: how the account is now.
    """

    was_locked: bool
    account: AccountReport


class Json(Argument):
    """A value as JSON, over as many entries of a box as it needs: ``name``, ``name-1``, ``name-2`` ...

    An entry of a box is limited to 65,535 bytes; the status of many accounts is not.

    :param kind: the type of the value.
    """

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        super().__init__()
        self._decoder = msgspec.json.Decoder(kind)

    def toBox(  # noqa: N802  # AMP's name
        self, name: bytes, strings: AmpBox, objects: dict[str, Any], proto: object
    ) -> None:
        """Put the value into a box."""
        text = encode_report(self.retrieve(objects, name.decode(), proto))
        for number, start in enumerate(range(0, len(text), MAX_VALUE_LENGTH)):
            strings[_entry(name, number)] = text[start : start + MAX_VALUE_LENGTH]

    def fromBox(  # noqa: N802  # AMP's name
        self,
        name: bytes,
        strings: AmpBox,
        objects: dict[str, Any],
        proto: object,  # noqa: ARG002
    ) -> None:
        """Take the value out of a box.

        :raises RemoteAmpError: it is not there, or not what it should be.
        """
        text = b""
        number = 0
        while (part := strings.pop(_entry(name, number), None)) is not None:
            text += part
            number += 1
        try:
            objects[name.decode()] = self._decoder.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RemoteAmpError(
                _REFUSED, f"the {name.decode()} cannot be read: {error}"
            ) from None


def _entry(name: bytes, number: int) -> bytes:
    return b"%s-%d" % (name, number) if number else name


class StatusCommand(Command):
    """Say how the daemon and all accounts are."""

    response: ClassVar = [(b"answer", Json(StatusReport))]
    errors: ClassVar = {RefusedError: _REFUSED}


class RulesCommand(Command):
    """Say how far an account is from its limits."""

    arguments: ClassVar = [(b"request", Json(Request))]
    response: ClassVar = [(b"answer", Json(RulesReport))]
    errors: ClassVar = {RefusedError: _REFUSED}


class UnlockCommand(Command):
    """End all locks of an account."""

    arguments: ClassVar = [(b"request", Json(Request))]
    response: ClassVar = [(b"answer", Json(Outcome))]
    errors: ClassVar = {RefusedError: _REFUSED}


class LockCommand(Command):
    """Flatten an account and lock it."""

    arguments: ClassVar = [(b"request", Json(Request))]
    response: ClassVar = [(b"answer", Json(Outcome))]
    errors: ClassVar = {RefusedError: _REFUSED}


class FlattenCommand(Command):
    """Close all positions of an account and cancel its orders."""

    arguments: ClassVar = [(b"request", Json(Request))]
    response: ClassVar = [(b"answer", Json(Outcome))]
    errors: ClassVar = {RefusedError: _REFUSED}


# What is answered.


class Commands(CommandLocator):
    """What one operator asks, done and answered.

    :param operated: the accounts.
    :param now: gives the time of day, aware.
    :ivar operator: in whose name it is done.
    """

    def __init__(self, operated: IOperated, now: Callable[[], datetime]) -> None:
        self._operated = operated
        self._now = now
        self.operator = UNKNOWN_OPERATOR

    @StatusCommand.responder
    def status(self) -> dict[str, StatusReport]:
        """Say how the daemon and all accounts are."""
        return {"answer": _report_status(self._operated, self._now())}

    @RulesCommand.responder
    def rules(self, request: Request) -> dict[str, RulesReport]:
        """Say how far an account is from its limits."""
        account = self._account(request)
        state, now = account.account_state, self._now()
        reports = tuple(report_rule(rule, state, now) for rule in account.rules)
        return {"answer": RulesReport(account=request.account, rules=reports)}

    @UnlockCommand.responder
    def unlock(self, request: Request) -> Deferred[dict[str, Outcome]]:
        """End all locks of an account."""
        reason, account = self._reason(request), self._account(request)
        if not self._operated.is_recovered:
            raise RefusedError("riskd could not read its journal yet; try again in a moment")
        return self._done(account, was_locked=account.unlock(reason, self.operator))

    @LockCommand.responder
    def lock(self, request: Request) -> Deferred[dict[str, Outcome]]:
        """Flatten an account and lock it."""
        reason, account = self._reason(request), self._account(request)
        self._check_enforcing()
        if request.until is not None and request.until <= self._now():
            raise RefusedError("the lock would end before it begins")
        was_locked = self._is_locked(account)
        account.lock(reason, self.operator, request.until)
        return self._done(account, was_locked=was_locked)

    @FlattenCommand.responder
    def flatten(self, request: Request) -> Deferred[dict[str, Outcome]]:
        """Close all positions of an account and cancel its orders."""
        reason, account = self._reason(request), self._account(request)
        self._check_enforcing()
        was_locked = self._is_locked(account)
        account.flatten(reason, self.operator)
        return self._done(account, was_locked=was_locked)

    def _done(
        self, account: IOperatedAccount, *, was_locked: bool
    ) -> Deferred[dict[str, Outcome]]:
        """Answer when what was done is on the disk: what an operator was told, no crash takes back."""

        def answer(_result: None) -> dict[str, Outcome]:
            report = report_account(account.account_state, self._now())
            return {"answer": Outcome(was_locked=was_locked, account=report)}

        return self._operated.make_durable().addCallback(answer)

    def _check_enforcing(self) -> None:
        if not self._operated.enforces:
            raise RefusedError(
                "this is a dry run (enforce = false): riskd closes, cancels and locks nothing"
            )

    def _account(self, request: Request) -> IOperatedAccount:
        accounts: Mapping[int, IOperatedAccount] = self._operated.operated_accounts
        if request.account not in accounts:
            known = ", ".join(map(str, accounts))
            raise RefusedError(f"riskd does not follow account {request.account}, but {known}")
        return accounts[request.account]

    def _reason(self, request: Request) -> str:
        """Return the reason in one line; nobody may write into the log with it."""
        words = " ".join(request.reason.split())
        reason = "".join(letter if letter.isprintable() else "?" for letter in words)
        if not reason:
            raise RefusedError("a reason is missing")
        return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"

    def _is_locked(self, account: IOperatedAccount) -> bool:
        return bool(locks_in_force(account.account_state, self._now()))


def _report_status(operated: IOperated, now: datetime) -> StatusReport:
    states = [account.account_state for account in operated.operated_accounts.values()]
    return StatusReport(
        version=__version__,
        gateway=operated.gateway_name,
        dry_run=not operated.enforces,
        # Each account has heard it.
        daemon=next((state.daemon for state in states if state.daemon is not None), None),
        accounts=tuple(report_account(state, now) for state in states),
    )


# Who asks.


def peer_uid(connection: socket.socket) -> int | None:
    """Return the user id of the process that opened ``connection``; ``None`` if nobody can say."""
    ask = _PEER_UID_BY_PLATFORM.get(sys.platform)
    try:
        return None if ask is None else ask(connection)
    except OSError as error:
        _log.warn("cannot tell who asks: {error}", error=error)
        return None


def _linux_peer_uid(connection: socket.socket) -> int:
    """Return the peer's user id.

    Source: unix(7), ``SO_PEERCRED``: process id, user id and group id, a 32-bit number each.
    """
    credentials = struct.Struct("iII")
    answer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    _process, uid, _group = credentials.unpack(answer)
    return int(uid)


def _darwin_peer_uid(connection: socket.socket) -> int | None:
    """Return the peer's user id; ``None`` if the answer is of an unknown version.

    Source: sys/un.h and sys/ucred.h, ``LOCAL_PEERCRED`` at level ``SOL_LOCAL``: a ``struct xucred``
    begins with its version, which is 0, and the user id.
    """
    sol_local, local_peercred, size = 0, 1, 76
    version, uid = struct.unpack_from("II", connection.getsockopt(sol_local, local_peercred, size))
    return None if version else int(uid)


_PEER_UID_BY_PLATFORM: Final[Mapping[str, Callable[[socket.socket], int | None]]] = {
    "linux": _linux_peer_uid,
    "darwin": _darwin_peer_uid,
}


@functools.cache
def user_name(uid: int) -> str:
    """Return what the user ``uid`` is called, ``uid 1234`` for one without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def operator_of(transport: Any) -> str:
    """Return the name of the user who opened a connection."""
    uid = peer_uid(transport.getHandle())
    return UNKNOWN_OPERATOR if uid is None else user_name(uid)


class ControlProtocol(BinaryBoxProtocol, BoxDispatcher, TimeoutMixin):
    """One connection: a few small requests, each answered, and not for long.

    It is less than Twisted's ``AMP``, which would also change to TLS on request, and logs each coming
    and going.

    :param commands: who answers.
    :param factory: the other connections, and the clock.
    """

    transport: Any

    def __init__(self, commands: Commands, factory: ControlFactory) -> None:
        BoxDispatcher.__init__(self, commands)
        BinaryBoxProtocol.__init__(self, self)
        self._commands = commands
        self._factory = factory
        self._unanswered_bytes = 0
        self._requests = 0

    def connectionMade(self) -> None:
        """Find out who asks."""
        self._factory.connections.add(self)
        self._commands.operator = self._factory.operator_of(self.transport)
        self.setTimeout(IDLE_SECONDS)

    def callLater(self, period: float, func: Callable[[], None]) -> IDelayedCall:  # noqa: N802  # Twisted's name
        """Time the connection by the daemon's clock."""
        timer: IDelayedCall = self._factory.clock.callLater(period, func)
        return timer

    def dataReceived(self, data: bytes) -> None:
        """Take bytes, as many as a request may have."""
        self._unanswered_bytes += len(data)
        if self._unanswered_bytes > _MAX_REQUEST_BYTES:
            self._drop("a request is too long")
        else:
            super().dataReceived(data)

    def ampBoxReceived(self, box: AmpBox) -> None:  # noqa: N802  # AMP's name
        """Answer a request."""
        self._unanswered_bytes = 0
        self._requests += 1
        if COMMAND not in box or ASK not in box:
            self._drop("this is no request")
        elif self._requests > MAX_REQUESTS:
            self._drop("too many requests")
        else:
            self.resetTimeout()
            super().ampBoxReceived(box)

    def timeoutConnection(self) -> None:  # noqa: N802  # Twisted's name
        """Let go of a client that asks nothing or does not read the answer."""
        self._drop("it was idle")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Make room for another one."""
        self._factory.connections.discard(self)
        self.setTimeout(None)
        super().connectionLost(reason)

    def _drop(self, why: str) -> None:
        if self in self._factory.connections:
            _log.warn(
                "dropped operator {operator}: {why}", operator=self._commands.operator, why=why
            )
            self.transport.abortConnection()


class ControlFactory(ServerFactory):
    """The connections of operators.

    :param clock: times them.
    :param operated: what they act on.
    :param now: gives the time of day, aware.
    :param operator_of: says who made a connection.
    """

    noisy = False

    def __init__(
        self,
        clock: Any,
        operated: IOperated,
        now: Callable[[], datetime],
        operator_of: Callable[[ITransport], str] = operator_of,
    ) -> None:
        self.clock = clock
        self.operator_of = operator_of
        self.connections: set[ControlProtocol] = set()
        self._operated = operated
        self._now = now

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol | None:  # noqa: ARG002
        """Let an operator in, if there are not too many."""
        if len(self.connections) >= MAX_CONNECTIONS:
            _log.warn("refused an operator: {count} are connected", count=len(self.connections))
            return None
        return ControlProtocol(Commands(self._operated, self._now), self)

    def close_all(self) -> None:
        """Let go of everybody."""
        for connection in tuple(self.connections):
            connection.transport.abortConnection()


class ControlService(Service):
    """The operator's socket, for as long as the daemon runs.

    A daemon without it does all of its work; it says what is wrong and goes on.

    :param reactor: listens.
    :param path: where the socket is to be; its directory is held by this daemon.
    :param factory: makes connections.
    :param report_problem: takes a source and a sentence, for example when the socket cannot be made.
    """

    def __init__(
        self,
        reactor: Any,
        path: Path,
        factory: ControlFactory,
        report_problem: Callable[[str, str], None],
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._factory = factory
        self._report_problem = report_problem
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """Open the socket."""
        super().startService()
        # Looked up now and kept: a directory of users that hangs must not hold up the rules later.
        for uid in (os.geteuid(), 0):
            user_name(uid)
        try:
            self._port = self._listen()
        except ControlError as error:
            _log.error("{error}", error=error)
            self._report_problem("control", str(error))

    def stopService(self) -> Deferred[None]:
        """Remove the socket and let go of everybody."""
        super().stopService()
        self._factory.close_all()
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        stopped = maybeDeferred(port.stopListening).addErrback(_was_removed)
        return stopped.addCallback(lambda _: None)

    def _listen(self) -> IListeningPort:
        check_path(self._path)
        # The umask is the process's.  What another thread makes meanwhile has its mode set explicitly.
        before = os.umask(0o777 & ~_OWNER_ONLY)
        try:
            _remove_stale(self._path)
            port: IListeningPort = self._reactor.listenUNIX(
                os.fspath(self._path), self._factory, mode=_OWNER_ONLY
            )
        except CannotListenError as error:
            raise ControlError(_cannot_listen(self._path, error.socketError)) from None
        except OSError as error:
            raise ControlError(_cannot_listen(self._path, error)) from None
        finally:
            os.umask(before)
        return port


def _was_removed(failure: Failure) -> None:
    """Take that somebody else has removed the socket: that is what was wanted."""
    failure.trap(FileNotFoundError)


def check_path(path: Path) -> None:
    """See whether a Unix socket may have this path.

    :raises ControlError: it is too long.
    """
    length = len(os.fsencode(path))
    if length > MAX_PATH_BYTES:
        raise ControlError(
            f"riskctl cannot reach this riskd: the path {path} is {length} bytes long, and that of a "
            f"socket may have {MAX_PATH_BYTES} (--state takes a shorter one)"
        )


def _remove_stale(path: Path) -> None:
    """Remove the socket of a daemon that is gone; the state directory is ours, so it must be gone."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "something else is there")
    path.unlink()


def _cannot_listen(path: Path, error: OSError) -> str:
    return f"riskctl cannot reach this riskd: {path}: {error.strerror or error}"
