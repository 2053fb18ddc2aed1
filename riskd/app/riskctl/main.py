"""``riskctl``: looking at a running daemon's accounts, locking and freeing them, and reading its log."""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.task import react
from twisted.logger import globalLogBeginner
from twisted.protocols.amp import AMP, RemoteAmpError, UnhandledCommand
from twisted.python.failure import Failure

from riskd.app.riskctl.tables import (
    enforcement_summary,
    enforcement_table,
    journal_csv,
    journal_json_lines,
    journal_table,
    printable,
    rules_table,
    status_table,
    when,
)
from riskd.config.loader import load_settings
from riskd.config.settings import Settings
from riskd.control.peer import user_name
from riskd.control.protocol import (
    SOCKET_NAME,
    FlattenCommand,
    LockCommand,
    Outcome,
    Request,
    RulesCommand,
    StatusCommand,
    UnlockCommand,
    check_path,
)
from riskd.control.reports import encode_report
from riskd.gateway.projectx.credentials import CredentialsError, read_key_file
from riskd.host.errors import UserError
from riskd.journal.audit_log import read_log
from riskd.journal.paths import default_directory
from riskd.model.formatting import counted
from riskd.model.lockouts import OPERATOR
from riskd.recording.format import Recording
from riskd.recording.replay import replay
from riskd.recording.what_if import what_if
from riskd.rules.plugins import find_rules

ANSWER_SECONDS: Final = 5
"""How long riskd may take to answer."""

_DONE: Final = 0
_FAILED: Final = 1

_MAX_MINUTES: Final = 366 * 24 * 60
_AGO: Final = re.compile(r"(\d{1,5})([dhm])")
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}

_EPILOG: Final = "Exit status: 0 it is done; 1 it is not, and standard error says why; 2 the command line is wrong."


class RiskctlError(UserError):
    """What was asked cannot be done; the text says why, in a sentence."""


# The command line.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``riskctl``; return its exit status."""
    options = parse(arguments, datetime.now(UTC))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A reason may hold what this terminal's encoding cannot show.
        sys.stdout.reconfigure(errors="replace")
    try:
        return _run(options)
    except UserError as error:
        return _complain(str(error))
    except BrokenPipeError:
        # Whoever read this has seen enough.  Python must not try to write the rest at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED


def _run(options: argparse.Namespace) -> int:
    if options.ask is None:
        status: int = options.run(options)
    else:
        _say(_run_in_reactor(options))
        status = _DONE
    sys.stdout.flush()
    return status


def _run_in_reactor(options: argparse.Namespace) -> str:
    results: list[str | Failure] = []
    try:
        react(lambda reactor: run_with_daemon(reactor, options).addBoth(results.append), ())
    except SystemExit:
        # react ends the program itself, which is too early here.
        if not results:
            raise RiskctlError("interrupted") from None
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


def parse(arguments: Sequence[str] | None, now: datetime) -> argparse.Namespace:
    """Return what the command line says; a mistake in it ends the program with status 2."""
    parser = argparse.ArgumentParser(
        prog="riskctl", description="Operate a riskd on this machine.", epilog=_EPILOG
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=default_directory(),
        metavar="DIR",
        help="riskd's state directory (default: riskd in the XDG state directory)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_reading_commands(commands, now)
    _add_acting_commands(commands, now)
    return parser.parse_args(arguments)


def _add_reading_commands(commands: Any, now: datetime) -> None:
    status = commands.add_parser("status", help="show the daemon and all accounts")
    status.add_argument("--json", action="store_true", help="as one JSON object")
    status.set_defaults(ask=ask_status)

    rules = commands.add_parser(
        "rules", help="show the rules in force and how far their limits are"
    )
    rules.add_argument("account", type=_account, metavar="ACCOUNT")
    rules.add_argument("--json", action="store_true", help="as one JSON object")
    rules.set_defaults(ask=ask_rules)

    check = commands.add_parser("check-config", help="look for mistakes in a configuration")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(ask=None, run=check_config)

    replay = commands.add_parser(
        "replay", help="play a recording again, or see what other limits would have done"
    )
    replay.add_argument("file", type=Path, metavar="FILE")
    replay.add_argument(
        "--config",
        type=Path,
        metavar="OTHER",
        help="the other limits; without it, what was broadcast is written to standard output",
    )
    replay.set_defaults(ask=None, run=replay_recording)

    journal = commands.add_parser(
        "journal", help="show what was enforced, locked, reset and ordered"
    )
    journal.add_argument("account", type=_account, metavar="ACCOUNT")
    journal.add_argument(
        "--since",
        type=partial(since, now=now),
        metavar="WHEN",
        help="2d, 3h or 30m ago, HH:MM, or an ISO 8601 date or time",
    )
    form = journal.add_mutually_exclusive_group()
    form.add_argument("--csv", dest="write", action="store_const", const=journal_csv)
    form.add_argument("--jsonl", dest="write", action="store_const", const=journal_json_lines)
    journal.set_defaults(ask=None, run=show_journal, write=journal_table)


def _add_acting_commands(commands: Any, now: datetime) -> None:
    unlock = commands.add_parser("unlock", help="end all locks of an account")
    unlock.add_argument("account", type=_account, metavar="ACCOUNT")
    unlock.add_argument("--reason", type=_reason, required=True, metavar="TEXT")
    unlock.set_defaults(ask=ask_to_unlock)

    lock = commands.add_parser(
        "lock", help="close all positions, cancel all orders, and lock the account"
    )
    lock.add_argument("account", type=_account, metavar="ACCOUNT")
    lock.add_argument("--reason", type=_reason, required=True, metavar="TEXT")
    end = lock.add_mutually_exclusive_group()
    end.add_argument(
        "--minutes",
        dest="until",
        type=partial(minutes_from, now=now),
        metavar="N",
        help="how long (default: until it is unlocked)",
    )
    end.add_argument(
        "--until",
        type=partial(until, now=now),
        metavar="WHEN",
        help="HH:MM, or an ISO 8601 date or time",
    )
    lock.set_defaults(ask=ask_to_lock)

    flatten = commands.add_parser("flatten", help="close all positions and cancel all orders")
    flatten.add_argument("account", type=_account, metavar="ACCOUNT")
    flatten.add_argument("--reason", type=_reason, default="Flattened by hand", metavar="TEXT")
    flatten.set_defaults(ask=ask_to_flatten)


def _account(text: str) -> int:
    # As large a number as the journal can hold.
    if not text.isdecimal() or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of an account")
    return int(text)


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a reason is missing")
    # What the terminal's encoding could not read cannot be sent either.
    return text.encode(errors="replace").decode()


def minutes_from(text: str, now: datetime) -> datetime:
    """Return the moment that is so many minutes after ``now``."""
    if not text.isdecimal() or not 0 < int(text) <= _MAX_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MAX_MINUTES}")
    return now + timedelta(minutes=int(text))


def until(text: str, now: datetime) -> datetime:
    """Return the moment that ``text`` says; of a wall-clock time, the next."""
    wall = _wall_time(text)
    moment = _moment(text) if wall is None else _on_day(wall, now, 0)
    if wall is not None and moment <= now:
        moment = _on_day(wall, now, 1)
    if moment <= now:
        raise argparse.ArgumentTypeError(f"{text} is over")
    return moment


def since(text: str, now: datetime) -> datetime:
    """Return the moment that ``text`` says; of a wall-clock time, the last."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    wall = _wall_time(text)
    if wall is None:
        return _moment(text)
    moment = _on_day(wall, now, 0)
    return moment if moment <= now else _on_day(wall, now, -1)


def _wall_time(text: str) -> time | None:
    if re.fullmatch(r"\d\d?:\d\d", text) is None:
        return None
    try:
        return time.fromisoformat(text.zfill(5))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no time of day") from None


def _on_day(wall: time, now: datetime, days: int) -> datetime:
    day: date = now.astimezone().date() + timedelta(days=days)
    return datetime.combine(day, wall).astimezone(UTC)


def _moment(text: str) -> datetime:
    try:
        # Without an offset it is meant as the clock on the wall shows it.
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither HH:MM nor a date or time such as 2026-11-23T14:30"
        ) from None


# What needs no daemon.


def check_config(options: argparse.Namespace) -> int:
    """Say what is wrong with a configuration, a line each, or how much is in it."""
    try:
        settings = load_settings(options.file, find_rules())
    except UserError as error:
        for problem in error.problems:
            _say(printable(problem))
        return _FAILED
    if settings.gateway.key_file is not None:
        try:
            read_key_file(Path(settings.gateway.key_file))
        except CredentialsError as error:
            _say(printable(f"{options.file}: gateway.key_file: {error}"))
            return _FAILED
    for account in settings.accounts:
        if not account.rules:
            _say(f"{options.file}: warning: account {account.id} is guarded by no rule")
    _say(f"{options.file} is correct: {_content(settings)}")
    return _DONE


def _content(settings: Settings) -> str:
    rules = {one.rule.rule_id for account in settings.accounts for one in account.rules}
    content = f"{counted(len(settings.accounts), 'account')}, {counted(len(rules), 'rule')}"
    return content if settings.enforce else f"{content}; a dry run, nothing is enforced"


def show_journal(options: argparse.Namespace) -> int:
    """Show what the journal has logged of an account."""
    for text in options.write(read_log(options.state, options.account, options.since)):
        _say(text)
    return _DONE


def replay_recording(options: argparse.Namespace) -> int:
    """Play a recording again; see what it says, and how much of it there is."""
    # What the daemon logged on that day is in its log.
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    play = _replay_exactly if options.config is None else _replay_otherwise
    try:
        with options.file.open("rb") as file:
            recording = Recording(file, str(options.file))
            for summary in play(recording, options):
                sys.stderr.write(f"{printable(summary)}\n")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RiskctlError(f"{options.file} cannot be read: {error.strerror}") from None
    return _DONE


def _replay_exactly(recording: Recording, _options: argparse.Namespace) -> Iterator[str]:
    """Write what is broadcast; yield what there is to say of it."""
    messages = timers = broadcasts = 0
    for turn in replay(recording, find_rules()):
        timers += turn.is_timer
        messages += not turn.is_timer
        broadcasts += len(turn.told)
        for told in turn.told:
            # Byte for byte, whatever the terminal's encoding.
            sys.stdout.buffer.write(told + b"\n")
    yield (
        f"{messages:,} messages and {timers:,} timers replayed: "
        f"{broadcasts:,} broadcasts, all as recorded"
    )
    yield from _end_of(recording)


def _replay_otherwise(recording: Recording, options: argparse.Namespace) -> Iterator[str]:
    """Write what would have been enforced; yield how that compares to the day."""
    catalogue = find_rules()
    enforced = list(what_if(recording, load_settings(options.config, catalogue), catalogue))
    would_be = [(one.account_id, one.action) for one in enforced if not one.is_real]
    for text in enforcement_table(would_be):
        _say(text)
    was = [one.action for one in enforced if one.is_real]
    yield f"with {options.config}: {enforcement_summary(action for _, action in would_be)}"
    day = (
        "the day itself, a dry run"
        if any(one.details.dry_run for one in was)
        else "the day itself"
    )
    yield f"on {day}: {enforcement_summary(was)}"
    yield from _end_of(recording)


def _end_of(recording: Recording) -> Iterator[str]:
    if recording.broke_off:
        yield (
            f"{recording.name} breaks off after line {recording.broke_off:,}: "
            "riskd was killed, or still records"
        )


# What the daemon is asked.

Ask = Callable[..., Awaitable[Any]]


async def ask_status(ask: Ask, options: argparse.Namespace) -> str:
    """Return the daemon and all accounts."""
    report = await ask(StatusCommand)
    if options.json:
        return encode_report(report).decode()
    return "\n".join(status_table(report, datetime.now(UTC)))


async def ask_rules(ask: Ask, options: argparse.Namespace) -> str:
    """Return the rules in force for an account."""
    report = await ask(RulesCommand, Request(account=options.account))
    return encode_report(report).decode() if options.json else "\n".join(rules_table(report))


async def ask_to_unlock(ask: Ask, options: argparse.Namespace) -> str:
    """End all locks of an account.

    :raises RiskctlError: there is none.
    """
    outcome = await ask(UnlockCommand, _request(options))
    if not outcome.was_locked:
        raise RiskctlError(f"account {options.account} is not locked")
    return f"account {options.account} is unlocked"


async def ask_to_lock(ask: Ask, options: argparse.Namespace) -> str:
    """Flatten and lock an account.

    :raises RiskctlError: the lock is over.
    """
    outcome = await ask(LockCommand, _request(options, options.until))
    if not outcome.account.locks:
        # It was a short one, or somebody else was quick.
        raise RiskctlError(f"account {options.account} is locked no more")
    return f"account {options.account} {_flattened(outcome)} and is locked {_end_of_lock(outcome)}"


async def ask_to_flatten(ask: Ask, options: argparse.Namespace) -> str:
    """Close all positions of an account and cancel its orders."""
    outcome = await ask(FlattenCommand, _request(options))
    return f"account {options.account} {_flattened(outcome)}"


def _request(options: argparse.Namespace, end: datetime | None = None) -> Request:
    return Request(account=options.account, reason=options.reason, until=end)


def _end_of_lock(outcome: Outcome) -> str:
    """Return when the account's last lock ends, which need not be the one that was asked for."""
    last = outcome.account.locks[0]
    end = "it is unlocked"
    if last.locked_until is not None:
        end = when(last.locked_until, datetime.now(UTC))
    return f"until {end}" if last.rule_id == OPERATOR else f"until {end} by {last.rule_id}"


def _flattened(outcome: Outcome) -> str:
    is_done = outcome.account.flattening is None
    return "was flattened" if is_done else "is being flattened"


def run_with_daemon(reactor: Any, options: argparse.Namespace) -> Deferred[str]:
    """Ask the daemon what the command line says; fire with its answer in words.

    It fails with :class:`RiskctlError` if there is no answer, or a refusal.
    """
    path: Path = options.state.absolute() / SOCKET_NAME
    asked: Deferred[str] = Deferred.fromCoroutine(
        options.ask(partial(_ask, reactor, path), options)
    )

    def failed(failure: Failure) -> NoReturn:
        raise RiskctlError(_explain(failure, path)) from None

    return asked.addTimeout(ANSWER_SECONDS, reactor).addErrback(failed)


async def _ask(reactor: Any, path: Path, command: Any, request: Request | None = None) -> Any:
    """Return the daemon's answer to ``command``."""
    check_path(path)
    daemon = await connectProtocol(UNIXClientEndpoint(reactor, os.fspath(path)), AMP())
    try:
        arguments = {} if request is None else {"request": request}
        return (await daemon.callRemote(command, **arguments))["answer"]
    finally:
        daemon.transport.abortConnection()


def _explain(failure: Failure, path: Path) -> str:
    """Return what went wrong between riskctl and riskd, in a sentence.

    :raises BaseException: it is a mistake of riskctl itself.
    """
    error = failure.value
    if isinstance(error, ConnectError):
        return _cannot_connect(error.osError, path)
    if isinstance(error, ConnectionClosed):
        return "riskd closed the connection: it is stopping, or too many operators are connected"
    if isinstance(error, (DeferredTimeoutError, ConnectingCancelledError)):
        return (
            f"riskd did not answer within {ANSWER_SECONDS} seconds; "
            "what was asked may be done or not, riskctl status tells"
        )
    if isinstance(error, UnhandledCommand):
        return "this riskd is of another version and does not know the command"
    if isinstance(error, RemoteAmpError):
        return f"riskd could not answer, its log may say why: {error.description}"
    failure.trap(UserError)
    return str(error)


def _cannot_connect(number: int | None, path: Path) -> str:
    if number in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
        return f"riskd is not running (no answer at {path})"
    if number in (errno.EACCES, errno.EPERM):
        who = _owner(path)
        may = who if who == "root" else f"{who} and root"
        return f"permission denied: only {may} may use {path}"
    reason = "no answer" if number is None else os.strerror(number)
    return f"cannot reach riskd at {path}: {reason}"


def _owner(path: Path) -> str:
    try:
        return user_name(path.stat().st_uid)
    except OSError:
        return "the user who runs riskd"


# Saying it.


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str) -> int:
    for line in text.splitlines():
        sys.stderr.write(f"riskctl: {printable(line)}\n")
    return _FAILED


if __name__ == "__main__":
    sys.exit(main())
