"""The commands that ask a running daemon, over the operator's socket."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.task import react
from twisted.protocols.amp import AMP, RemoteAmpError, UnhandledCommand
from twisted.python.failure import Failure

from riskd.app.riskctl.finding import daemon_directory, say
from riskd.app.riskctl.tables import beyond_limits, rules_table, status_table, when
from riskd.control.peer import user_name
from riskd.control.protocol import (
    SOCKET_NAME,
    FlattenCommand,
    FloorCommand,
    LockCommand,
    Outcome,
    Request,
    RulesCommand,
    StatusCommand,
    UnlockCommand,
    check_path,
)
from riskd.control.reports import StatusReport
from riskd.host.errors import UserError
from riskd.model.formatting import dollars
from riskd.model.lockouts import OPERATOR
from riskd.model.safe_text import json_text

ANSWER_SECONDS: Final = 5
"""riskd must answer within this time."""

Ask = Callable[..., Awaitable[Any]]
"""Sends a command, with its request if it has one; returns the daemon's answer."""


def run(options: argparse.Namespace) -> int:
    """Run the options' command and write its text to standard output."""
    results: list[str | Failure] = []
    # Before the reactor runs, so that this is a sentence and not a traceback.
    options.state = daemon_directory(options.state, getattr(options, "account", None), say)
    try:
        react(lambda reactor: run_with_daemon(reactor, options).addBoth(results.append), ())
    except SystemExit:
        # react always exits; riskctl has yet to write the result.
        if not results:
            raise UserError("interrupted") from None
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    sys.stdout.write(f"{result}\n")
    return 0


async def show_status(ask: Ask, options: argparse.Namespace) -> str:
    """Return the status of the daemon and all accounts."""
    report = await ask(StatusCommand)
    return (
        json_text(report)
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
    """End all locks of an account.

    :raises UserError: the account is not locked.
    """
    outcome = await ask(UnlockCommand, _request(options))
    if not outcome.was_locked:
        raise UserError(f"account {options.account} is not locked")
    beyond = outcome.account.unlocked_beyond
    return f"account {options.account} is unlocked{f' {beyond_limits(beyond)}' if beyond else ''}"


async def lock(ask: Ask, options: argparse.Namespace) -> str:
    """Flatten and lock an account.

    :raises UserError: the lock has ended already.
    """
    request = Request(
        account=options.account,
        reason=options.reason,
        until=options.until,
        seconds=options.seconds,
    )
    outcome = await ask(LockCommand, request)
    if not outcome.account.locks:
        # It was a short one, or another operator has unlocked the account meanwhile.
        raise UserError(f"account {options.account} is not locked any more")
    # The account's last lock need not be the one that was asked for.
    last = outcome.account.locks[0]
    end = "it is unlocked"
    if last.locked_until is not None:
        end = when(last.locked_until, datetime.now(UTC))
    by = "" if last.rule_id == OPERATOR else f" by {last.rule_id}"
    return f"{_flattened(options, outcome)} and is locked until {end}{by}"


async def floor(ask: Ask, options: argparse.Namespace) -> str:
    """Take the firm's figure for the floor of an account."""
    request = Request(
        account=options.account, amount=options.amount, is_confirmed=options.is_confirmed
    )
    outcome = await ask(FloorCommand, request)
    before, account = outcome.floor_before, outcome.account
    was = "" if before is None else f" (it was {dollars(before)})"
    acts = not outcome.was_locked and (account.locks or account.flattening is not None)
    then = "; riskd closes everything and locks the account" if acts else ""
    figure = f"the floor is {dollars(options.amount)} by the firm's figure"
    return f"account {options.account}: {figure}{was}{then}"


async def flatten(ask: Ask, options: argparse.Namespace) -> str:
    """Close all positions of an account and cancel its orders."""
    return _flattened(options, await ask(FlattenCommand, _request(options)))


def _request(options: argparse.Namespace) -> Request:
    return Request(account=options.account, reason=options.reason)


def _flattened(options: argparse.Namespace, outcome: Outcome) -> str:
    state = "was flattened" if outcome.account.flattening is None else "is being flattened"
    return f"account {options.account} {state}"


def run_with_daemon(reactor: Any, options: argparse.Namespace) -> Deferred[str]:
    """Run a command that asks the daemon; fires with the text for standard output.

    It fails with :class:`UserError` if riskd does not answer, or refuses.

    :param options: their ``state`` names the daemon's state directory.
    """
    path = options.state.absolute() / SOCKET_NAME
    asked: Deferred[str] = Deferred.fromCoroutine(
        options.ask(partial(_ask, reactor, path), options)
    )

    def failed(failure: Failure) -> NoReturn:
        raise UserError(_explain(failure, path)) from None

    return asked.addTimeout(ANSWER_SECONDS, reactor).addErrback(failed)


async def _ask(reactor: Any, path: Path, command: Any, request: Request | None = None) -> Any:
    # Names the option that helps, unlike the operating system's error.
    check_path(path)
    daemon = await connectProtocol(UNIXClientEndpoint(reactor, os.fspath(path)), AMP())
    try:
        arguments = {} if request is None else {"request": request}
        return (await daemon.callRemote(command, **arguments))["answer"]
    finally:
        # The answer has arrived; nothing is left to be delivered.
        daemon.transport.abortConnection()


def _explain(failure: Failure, path: Path) -> str:
    """Return a failure between riskctl and riskd as a sentence.

    :param path: the operator's socket.
    :raises BaseException: the failure is a bug in riskctl.
    """
    error = failure.value
    if isinstance(error, ConnectError):
        return _explain_connect_error(error.osError, path)
    if isinstance(error, ConnectionClosed):
        return "riskd closed the connection: it is stopping, or too many operators are connected"
    if isinstance(error, (DeferredTimeoutError, ConnectingCancelledError)):
        return (
            f"riskd did not answer within {ANSWER_SECONDS} seconds; "
            "the command may have been carried out, check with riskctl status"
        )
    if isinstance(error, UnhandledCommand):
        return "this riskd is of another version and does not know the command"
    if isinstance(error, RemoteAmpError):
        return f"riskd could not answer, its log may say why: {error.description}"
    failure.trap(UserError)
    return str(error)


def _explain_connect_error(number: int | None, path: Path) -> str:
    if number in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
        return f"riskd is not running (no answer at {path})"
    if number in (errno.EACCES, errno.EPERM):
        try:
            owner = user_name(path.stat().st_uid)
        except OSError:
            owner = "the user who runs riskd"
        users = owner if owner == "root" else f"{owner} and root"
        return f"permission denied: only {users} may use {path}"
    reason = "no answer" if number is None else os.strerror(number)
    return f"cannot reach riskd at {path}: {reason}"
