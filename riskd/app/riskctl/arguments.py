"""The command line of ``riskctl``.

It is here alone, with nothing but the standard library, because three programs read it: ``riskctl``, whose
commands are imported only when they run, and at build time the makers of the man page and of the shells'
completions.
"""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

from riskd import __version__
from riskd.app.riskctl.desk.arguments import add_desk
from riskd.app.riskctl.later import Later
from riskd.app.riskctl.times import day, seconds_of_minutes, since, until

_AMOUNT: Final = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,2})?", re.ASCII)


_online = partial(Later, "riskd.app.riskctl.online")
_offline = partial(Later, "riskd.app.riskctl.offline")
_tables = partial(Later, "riskd.app.riskctl.journal_tables")
_audit_log = partial(Later, "riskd.journal.audit_log")
_history = partial(Later, "riskd.journal.history")


def make_parser(now: datetime | None = None) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Its options hold the command as ``run``, a function that takes the options and returns the exit status.
    That of :mod:`riskd.app.riskctl.online` runs their ``ask``, one of the coroutines there; ``is_change`` says that it
    changes an account.

    :param now: the time of day, to which times on the command line are relative; by default the present.
    """
    now = now or datetime.now(UTC)
    parser = argparse.ArgumentParser(
        prog="riskctl",
        description="Operate a riskd on this machine.",
        epilog="Exit status: 0 the command succeeded; 1 it failed, and standard error has the reason; "
        "2 the command line is wrong; 3 riskd received the command, and its effect is incomplete or not known.",
    )
    parser.add_argument("--version", action="version", version=f"riskctl {__version__}")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="riskd's state directory (default: that of the riskd that runs)",
    )
    account = argparse.ArgumentParser(add_help=False)
    account.add_argument(
        "account", type=_account, metavar="ACCOUNT", help="the broker's number of the account"
    )
    json = argparse.ArgumentParser(add_help=False)
    json.add_argument("--json", action="store_true", help="as one JSON object")
    reason = argparse.ArgumentParser(add_help=False)
    reason.add_argument(
        "--reason",
        type=_reason,
        required=True,
        metavar="TEXT",
        help="why, for the journal; consoles show that of a lock",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser(
        "status", help="show the daemon and all accounts", parents=[json]
    ).set_defaults(
        run=_online("run"),
        ask=_online("show_status"),
        ask_relay=Later("riskd.app.riskctl.relay_status", "show"),
    )

    commands.add_parser(
        "rules", help="show the rules in force and their headroom", parents=[account, json]
    ).set_defaults(run=_online("run"), ask=_online("show_rules"))

    _add_first_steps(commands, json)

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
    replay.set_defaults(run=_offline("replay_recording"))

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
    form.add_argument(
        "--csv", dest="format", action="store_const", const=_tables("journal_csv"), help="as CSV"
    )
    form.add_argument(
        "--jsonl",
        dest="format",
        action="store_const",
        const=_tables("journal_json_lines"),
        help="as one JSON object per line",
    )
    journal.set_defaults(
        run=_offline("show_journaled"),
        read=_audit_log("read_log"),
        table=_tables("journal_table"),
    )

    for name, what, read in (
        ("days", "the trading days that have ended", _audit_log("read_days")),
        ("trades", "the executions of two years", _history("read_trades")),
        ("equity", "balance and equity of each minute", _history("read_equity")),
    ):
        history = commands.add_parser(name, help=f"show {what}", parents=[begin])
        history.add_argument(
            "--csv",
            dest="format",
            action="store_const",
            const=_tables(f"{name}_csv"),
            help="as CSV, with plain numbers",
        )
        history.set_defaults(
            run=_offline("show_journaled"), read=read, table=_tables(f"{name}_table")
        )

    _add_report(commands, account, now)
    add_desk(commands)

    commands.add_parser(
        "unlock", help="end all locks of an account", parents=[account, reason]
    ).set_defaults(run=_online("run"), ask=_online("unlock"), is_change=True)

    withdraw = commands.add_parser(
        "withdraw", help="withdraw an unlock that waits by a commitment", parents=[account]
    )
    withdraw.add_argument(
        "--reason",
        type=_reason,
        default="Withdrawn by hand",
        metavar="TEXT",
        help="why, for the journal (default: Withdrawn by hand)",
    )
    withdraw.set_defaults(run=_online("run"), ask=_online("withdraw"), is_change=True)

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
    lock.set_defaults(run=_online("run"), ask=_online("lock"), is_change=True)

    flatten = commands.add_parser(
        "flatten", help="close all positions and cancel all orders", parents=[account]
    )
    flatten.add_argument(
        "--reason",
        type=_reason,
        default="Flattened by hand",
        metavar="TEXT",
        help="why, for the journal and the consoles (default: Flattened by hand)",
    )
    flatten.set_defaults(run=_online("run"), ask=_online("flatten"), is_change=True)

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
    floor.set_defaults(run=_online("run"), ask=_online("floor"), is_change=True)
    return parser


def _add_report(commands: Any, account: argparse.ArgumentParser, now: datetime) -> None:
    report = commands.add_parser(
        "report",
        help="write a page about a trading day: equity, limits, trades, a calendar",
        description="Write a report of trading days as one HTML page, which needs no network and runs no script: the "
        "equity with the floor and the limits, what riskd did, the limits used at most, P&L by instrument and hour, the "
        "trades, and a calendar.  It needs pip install 'riskd[report]', and no daemon.",
        parents=[account],
    )
    which = report.add_mutually_exclusive_group()
    which.add_argument(
        "--day",
        type=day,
        metavar="DATE",
        help="the date on which the trading day ended, such as 2026-11-24 (default: the last day)",
    )
    which.add_argument(
        "--since",
        type=partial(since, now=now),
        metavar="WHEN",
        help="all trading days that ended after 7d, 3h or 30m ago, HH:MM, or an ISO 8601 date or time",
    )
    report.add_argument(
        "-o",
        dest="output",
        type=Path,
        metavar="FILE",
        help="the file to write, which must not exist (default: standard output)",
    )
    report.add_argument(
        "--csv",
        action="store_true",
        help="write the executions beside it, to a file of the same name that ends in .csv",
    )
    report.set_defaults(run=Later("riskd.app.riskctl.report", "run"))


def _add_first_steps(commands: Any, json: argparse.ArgumentParser) -> None:
    """Add the commands that need neither a daemon nor a journal."""
    init = commands.add_parser(
        "init",
        help="log in at the broker and write a first configuration",
        description="Log in at the broker and write a configuration that enforces nothing yet.  On a terminal "
        "riskctl asks for what is not given.  It never overwrites a file.",
    )
    init.add_argument(
        "--preset", metavar="NAME", help="limits of the firm (see riskctl presets), or none"
    )
    init.add_argument("--user-name", metavar="NAME", help="user name of the login")
    init.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file with the API key, of mode 0600; without it, the key is that of systemd or RISKD_API_KEY, or typed",
    )
    init.add_argument(
        "--rest-url", metavar="URL", help="the broker's API (default: https://api.topstepx.com)"
    )
    init.add_argument(
        "--account",
        type=_account,
        action="append",
        metavar="ID",
        help="number of an account to guard; may be repeated",
    )
    init.add_argument(
        "-o",
        dest="output",
        type=Path,
        default=Path("riskd.toml"),
        metavar="FILE",
        help="the file to write (default: riskd.toml)",
    )
    init.add_argument(
        "--yes", action="store_true", help="ask nothing: take the usual answer to each question"
    )
    init.set_defaults(run=Later("riskd.app.riskctl.init", "run"))

    doctor = commands.add_parser(
        "doctor",
        help="check this machine, the configuration and the broker, and say what mends what is wrong",
        description="Check this machine, the configuration and the broker.  Each line is ok, or says what is wrong, "
        "with the command that mends it.  The checks change nothing, and disturb no riskd that runs.",
        epilog="Exit status: 0 all is well; 1 there are warnings; 2 something is wrong.",
    )
    doctor.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration (default: riskd.toml here, or in ~/.config/riskd)",
    )
    doctor.set_defaults(run=Later("riskd.app.riskctl.doctor.examination", "run"))

    check = commands.add_parser("check-config", help="check a configuration for mistakes")
    check.add_argument(
        "file", type=Path, metavar="FILE", help="a configuration, such as riskd.toml"
    )
    check.set_defaults(run=Later("riskd.app.riskctl.check_config", "check_config"))

    presets = commands.add_parser(
        "presets", help="show the limits of firms that an account may name", parents=[json]
    )
    presets.add_argument("name", nargs="?", metavar="NAME", help="show all of one preset")
    presets.set_defaults(run=_offline("show_presets"))


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
