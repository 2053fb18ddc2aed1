"""The program ``riskctl``: its command line, and its failures as sentences."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

from riskd.app.riskctl import offline, online
from riskd.app.riskctl.tables import (
    days_table,
    equity_table,
    journal_csv,
    journal_json_lines,
    journal_table,
    plain_csv,
    trades_table,
)
from riskd.host.errors import UserError
from riskd.journal.audit_log import read_days, read_log
from riskd.journal.history import EquityLine, TradeReport, read_equity, read_trades
from riskd.model.day_report import DayReport
from riskd.model.safe_text import printable

_MAX_MINUTES: Final = 366 * 24 * 60
_AGO: Final = re.compile(r"(\d{1,5})([dhm])")
_AMOUNT: Final = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,2})?", re.ASCII)
_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``riskctl``; return its exit status."""
    options = parse(arguments, datetime.now(UTC))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A reason may have characters that this terminal's encoding cannot show.
        sys.stdout.reconfigure(errors="replace")
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except UserError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"riskctl: {printable(line)}\n")
        return 1
    except BrokenPipeError:
        # The reader of a pipe, such as head, has ended.  At exit Python flushes standard output again,
        # which must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def parse(arguments: Sequence[str] | None, now: datetime) -> argparse.Namespace:
    """Return the options of a command line.

    A wrong one ends the program with status 2.

    The options hold the command as ``run``, a function that takes the options and returns the exit status.
    That of :mod:`riskd.app.riskctl.online` runs their ``ask``, one of the coroutines there.
    """
    parser = argparse.ArgumentParser(
        prog="riskctl",
        description="Operate a riskd on this machine.",
        epilog="Exit status: 0 the command succeeded; 1 it failed, and standard error has the reason; "
        "2 the command line is wrong.",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="riskd's state directory (default: that of the riskd that runs)",
    )
    account = argparse.ArgumentParser(add_help=False)
    account.add_argument("account", type=_account, metavar="ACCOUNT")
    json = argparse.ArgumentParser(add_help=False)
    json.add_argument("--json", action="store_true", help="as one JSON object")
    reason = argparse.ArgumentParser(add_help=False)
    reason.add_argument("--reason", type=_reason, required=True, metavar="TEXT")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser(
        "status", help="show the daemon and all accounts", parents=[json]
    ).set_defaults(run=online.run, ask=online.show_status)

    commands.add_parser(
        "rules", help="show the rules in force and their headroom", parents=[account, json]
    ).set_defaults(run=online.run, ask=online.show_rules)

    check = commands.add_parser("check-config", help="check a configuration for mistakes")
    check.add_argument("file", type=Path, metavar="FILE")
    check.set_defaults(run=offline.check_config)

    presets = commands.add_parser(
        "presets", help="show the limits of firms that an account may name", parents=[json]
    )
    presets.add_argument("name", nargs="?", metavar="NAME", help="show all of one preset")
    presets.set_defaults(run=offline.show_presets)

    replay = commands.add_parser(
        "replay", help="replay recordings, exactly or under other limits", parents=[json]
    )
    replay.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a recording, or a directory of them, whose names end in .jsonl",
    )
    replay.add_argument(
        "--config",
        type=Path,
        action="append",
        metavar="OTHER",
        help="the other limits; without it, the broadcasts are written to standard output.  With several, "
        "or a directory, the result is what each would have enforced first on each day",
    )
    replay.set_defaults(run=offline.replay_recording)

    begin = argparse.ArgumentParser(add_help=False, parents=[account])
    begin.add_argument(
        "--since",
        type=partial(since, now=now),
        metavar="WHEN",
        help="2d, 3h or 30m ago, HH:MM, or an ISO 8601 date or time",
    )
    journal = commands.add_parser(
        "journal",
        help="show enforcement, locks, resets and operators' commands",
        parents=[begin],
    )
    form = journal.add_mutually_exclusive_group()
    form.add_argument("--csv", dest="format", action="store_const", const=journal_csv)
    form.add_argument("--jsonl", dest="format", action="store_const", const=journal_json_lines)
    journal.set_defaults(run=offline.show_journaled, read=read_log, format=journal_table)

    for name, what, read, kind, table in (
        ("days", "the trading days that have ended", read_days, DayReport, days_table),
        ("trades", "the executions of two years", read_trades, TradeReport, trades_table),
        ("equity", "balance and equity of each minute", read_equity, EquityLine, equity_table),
    ):
        history = commands.add_parser(name, help=f"show {what}", parents=[begin])
        history.add_argument("--csv", dest="format", action="store_const", const=plain_csv(kind))
        history.set_defaults(run=offline.show_journaled, read=read, format=table)

    commands.add_parser(
        "unlock", help="end all locks of an account", parents=[account, reason]
    ).set_defaults(run=online.run, ask=online.unlock)

    lock = commands.add_parser(
        "lock",
        help="close all positions, cancel all orders, and lock the account",
        parents=[account, reason],
    )
    end = lock.add_mutually_exclusive_group()
    end.add_argument(
        "--minutes",
        dest="seconds",
        type=seconds_of_minutes,
        metavar="N",
        help="how long (default: until it is unlocked)",
    )
    end.add_argument(
        "--until",
        type=partial(until, now=now),
        metavar="WHEN",
        help="HH:MM, or an ISO 8601 date or time",
    )
    lock.set_defaults(run=online.run, ask=online.lock)

    flatten = commands.add_parser(
        "flatten", help="close all positions and cancel all orders", parents=[account]
    )
    flatten.add_argument("--reason", type=_reason, default="Flattened by hand", metavar="TEXT")
    flatten.set_defaults(run=online.run, ask=online.flatten)

    floor = commands.add_parser(
        "floor",
        help="take the firm's own figure for the floor of maximum_loss, and go on from there",
        parents=[account],
    )
    floor.add_argument("amount", type=_amount, metavar="AMOUNT", help="in dollars, such as 48500")
    floor.add_argument(
        "--yes",
        dest="is_confirmed",
        action="store_true",
        help="even if riskd then closes everything and locks the account at once",
    )
    floor.set_defaults(run=online.run, ask=online.floor)
    return parser.parse_args(arguments)


def _account(text: str) -> int:
    # The journal keeps account ids in SQLite, whose integers have 63 bits and a sign.
    if not text.isdecimal() or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of an account")
    return int(text)


def _amount(text: str) -> Decimal:
    # No comma and no dollar sign: a shell would make 8,500 of $48,500.
    if not _AMOUNT.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an amount in dollars such as 48500 or 48500.25"
        )
    return Decimal(text)


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a reason is missing")
    # Bytes that are not of the terminal's encoding arrive as surrogates, which JSON cannot carry.
    return text.encode(errors="replace").decode()


def seconds_of_minutes(text: str) -> int:
    """Return the seconds of ``text`` minutes."""
    if not text.isdecimal() or not 0 < int(text) <= _MAX_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MAX_MINUTES}")
    return int(text) * 60


def until(text: str, now: datetime) -> datetime:
    """Return the moment that ``text`` names; ``HH:MM`` is the next one."""
    for moment in _moments(text, now):
        if moment > now:
            return moment
    raise argparse.ArgumentTypeError(f"{text} is in the past")


def since(text: str, now: datetime) -> datetime:
    """Return the moment that ``text`` names; ``HH:MM`` is the last one."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    moments = _moments(text, now)
    return ([moment for moment in moments if moment <= now] or moments)[-1]


def _moments(text: str, now: datetime) -> list[datetime]:
    """Return the moments that ``text`` may name.

    ``HH:MM`` is one of yesterday, today or tomorrow.
    """
    try:
        if re.fullmatch(r"\d\d?:\d\d", text):
            wall, today = time.fromisoformat(text.zfill(5)), now.astimezone().date()
            days = [today + timedelta(days=offset) for offset in (-1, 0, 1)]
            return [datetime.combine(day, wall).astimezone(UTC) for day in days]
        # A time without an offset is a local one.
        return [datetime.fromisoformat(text).astimezone(UTC)]
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither HH:MM nor a date or time such as 2026-11-23T14:30"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
