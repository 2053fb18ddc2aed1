"""The commands that ask a running daemon, over the operator's socket."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.protocol import ClientCreator
from twisted.protocols.amp import AMP, RemoteAmpError, UnhandledCommand
from twisted.python.failure import Failure

from riskd.app.riskctl.finding import daemon_directory, say
from riskd.app.riskctl.in_reactor import in_reactor
from riskd.app.riskctl.json_reports import status_json
from riskd.app.riskctl.later import Later
from riskd.app.riskctl.outcomes import (
    NotSoError,
    flatten_sentence,
    floor_sentence,
    lock_sentence,
    unlock_sentence,
    withdraw_sentence,
)
from riskd.app.riskctl.status_tables import rules_table, status_table
from riskd.control.protocol import (
    GUARD_NAME,
    SOCKET_NAME,
    FlattenCommand,
    FloorCommand,
    LockCommand,
    Request,
    RulesCommand,
    StatusCommand,
    UnlockCommand,
    UnreadableAnswerError,
    WithdrawCommand,
    check_path,
)
from riskd.control.reports import StatusReport
from riskd.host.errors import UserError
from riskd.host.users import group_name, user_name
from riskd.journal.daemon_file import read_daemon
from riskd.journal.gateway_identity import DESK
from riskd.model.formatting import dollars
from riskd.model.safe_text import json_text

ANSWER_SECONDS: Final = 5
"""riskd must answer within this time."""

_UNKNOWN: Final = "the command may have been carried out, check with riskctl status"

_FORBIDDEN: Final = (errno.EACCES, errno.EPERM)

_published_by_relay: Final = Later("riskd.app.riskctl.relay_status", "is_published_by_relay")
_only_shows: Final = Later("riskd.app.riskctl.relay_status", "only_shows")

Ask = Callable[..., Awaitable[Any]]
"""Sends a command, with its request if it has one; returns the daemon's answer."""


def run(options: argparse.Namespace) -> int:
    """Run the options' command and write its text to standard output."""
    # Before the reactor runs, so that this is a sentence and not a traceback.
    options.state = daemon_directory(options.state, getattr(options, "account", None), say)
    if _is_relay(options.state):
        show: Callable[[argparse.Namespace], int] = getattr(options, "ask_relay", _only_shows)
        return show(options)

    async def ask(reactor: Any) -> str:
        return await run_with_daemon(reactor, options)

    interrupted = NotSoError(f"interrupted; {_UNKNOWN}") if _is_change(options) else None
    sys.stdout.write(f"{in_reactor(ask, interrupted)}\n")
    return 0


def _is_relay(directory: Path) -> bool:
    """Return whether a state directory is that of a relay, which may have ended."""
    record = read_daemon(directory)
    if record is not None:
        return record.kind == DESK
    # What has ended is known by what it published; to read that takes more imports than all the rest.
    return any(directory.glob("*.db")) and bool(_published_by_relay(directory))


async def show_status(ask: Ask, options: argparse.Namespace) -> str:
    """Return the status of the daemon and all accounts."""
    report = await ask(StatusCommand)
    return (
        json_text(status_json(report, datetime.now(UTC)))
        if options.json
        else "\n".join(status_table(report, datetime.now(UTC) + _offset(report)))
    )


def _offset(report: StatusReport) -> timedelta:
    """Return how far the broker's clock is ahead; locks end by it."""
    return timedelta(seconds=report.clock_offset or 0.0)


async def show_rules(ask: Ask, options: argparse.Namespace) -> str:
    """Return the rules in force for an account."""
    report = await ask(RulesCommand, Request(account=options.account))
    return json_text(report) if options.json else "\n".join(rules_table(report))


async def unlock(ask: Ask, options: argparse.Namespace) -> str:
    """End all locks of an account."""
    return unlock_sentence(await ask(UnlockCommand, _request(options)))


async def withdraw(ask: Ask, options: argparse.Namespace) -> str:
    """Withdraw an unlock that waits."""
    return withdraw_sentence(await ask(WithdrawCommand, _request(options)))


async def lock(ask: Ask, options: argparse.Namespace) -> str:
    """Flatten and lock an account."""
    request = Request(
        account=options.account,
        reason=options.reason,
        until=options.until,
        seconds=options.seconds,
    )
    return lock_sentence(await ask(LockCommand, request))


async def floor(ask: Ask, options: argparse.Namespace) -> str:
    """Take the firm's figure for the floor of an account."""
    request = Request(
        account=options.account, amount=options.amount, is_confirmed=options.is_confirmed
    )
    return floor_sentence(await ask(FloorCommand, request), dollars(options.amount))


async def flatten(ask: Ask, options: argparse.Namespace) -> str:
    """Close all positions of an account and cancel its orders."""
    return flatten_sentence(await ask(FlattenCommand, _request(options)))


def _request(options: argparse.Namespace) -> Request:
    return Request(account=options.account, reason=options.reason)


def run_with_daemon(reactor: Any, options: argparse.Namespace) -> Deferred[str]:
    """Run a command that asks the daemon; fires with the text for standard output.

    It fails with :class:`UserError` if riskd does not answer, or refuses; with :class:`NotSoError` if it is not known
    what has become of the command.

    :param options: their ``state`` names the daemon's state directory.
    """
    directory = options.state.absolute()
    asked: Deferred[str] = Deferred.fromCoroutine(
        options.ask(partial(_ask, reactor, directory), options)
    )

    def failed(failure: Failure) -> NoReturn:
        sentence = _explain(failure, directory)
        if _is_change(options) and _may_be_done(failure):
            raise NotSoError(f"{sentence}; {_UNKNOWN}") from None
        if failure.check(NotSoError):
            failure.raiseException()
        raise UserError(sentence) from None

    return asked.addTimeout(ANSWER_SECONDS, reactor).addErrback(failed)


async def _ask(reactor: Any, directory: Path, command: Any, request: Request | None = None) -> Any:
    try:
        daemon = await _connect(reactor, directory / SOCKET_NAME)
    except ConnectError as error:
        # A trader whose riskd runs under a user of its own has the guard's socket.
        if error.osError not in _FORBIDDEN or _status(directory / GUARD_NAME) is None:
            raise
        daemon = await _connect(reactor, directory / GUARD_NAME)
    try:
        arguments = {} if request is None else {"request": request}
        return (await daemon.callRemote(command, **arguments))["answer"]
    finally:
        # The answer has arrived; nothing is left to be delivered.  A closed connection has no transport.
        if daemon.transport is not None:
            daemon.transport.abortConnection()


async def _connect(reactor: Any, path: Path) -> Any:
    # Names the option that helps, unlike the operating system's error.
    check_path(path)
    # An endpoint would do the same, and its module imports those of all kinds of endpoints.
    return await ClientCreator(reactor, AMP).connectUNIX(os.fspath(path))


def _is_change(options: argparse.Namespace) -> bool:
    """Return whether the options' command changes an account."""
    return getattr(options, "is_change", False)


def _may_be_done(failure: Failure) -> bool:
    """Return whether riskd may have carried out a command that failed: it was sent."""
    sent = (ConnectionClosed, DeferredTimeoutError, RemoteAmpError, UnreadableAnswerError)
    return failure.check(*sent) is not None and failure.check(ConnectError) is None


def _explain(failure: Failure, directory: Path) -> str:
    """Return a failure between riskctl and riskd as a sentence.

    :param directory: the state directory.
    :raises BaseException: the failure is a bug in riskctl.
    """
    error = failure.value
    if isinstance(error, ConnectError):
        return _explain_connect_error(error.osError, directory)
    if isinstance(error, ConnectionClosed):
        return "riskd closed the connection: it is stopping, or too many operators are connected"
    if isinstance(error, (DeferredTimeoutError, ConnectingCancelledError)):
        return f"riskd did not answer within {ANSWER_SECONDS} seconds"
    if isinstance(error, UnhandledCommand):
        return "this riskd is of another version and does not know the command"
    if isinstance(error, RemoteAmpError):
        return f"riskd could not answer, its log may say why: {error.description}"
    failure.trap(UserError)
    return str(error)


def _explain_connect_error(number: int | None, directory: Path) -> str:
    path = directory / SOCKET_NAME
    if number in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
        return f"riskd is not running (no answer at {path})"
    if number in _FORBIDDEN:
        return f"permission denied: {_permitted(path)}"
    reason = "no answer" if number is None else os.strerror(number)
    return f"cannot reach riskd at {path}: {reason}"


def _permitted(path: Path) -> str:
    """Return who may use the operator's socket, and who the guard's, if there is one.

    :param path: the operator's socket.
    """
    found, guard = _status(path), _status(path.with_name(GUARD_NAME))
    owner = "the user who runs riskd" if found is None else user_name(found.st_uid)
    sentence = f"only {owner if owner == 'root' else f'{owner} and root'} may use {path}"
    if guard is not None:
        group = group_name(guard.st_gid)
        sentence += f", and only members of the group {group} {GUARD_NAME} beside it"
    elif found is None and (directory := _status(path.parent)) is not None:
        group = group_name(directory.st_gid)
        sentence += f"; {path.parent} is open to members of the group {group} at most"
    return sentence


def _status(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return path.stat()
    return None
