"""``riskctl status`` of a desk's relay, by what that publishes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NoReturn

from riskd.app.riskctl.tables import UNKNOWN, table, when
from riskd.host.errors import UserError
from riskd.journal.discovery import running_daemon
from riskd.journal.gateway_identity import DESK
from riskd.journal.reader import Snapshot, StateFileError, read_published
from riskd.model.account import AccountState
from riskd.model.desk_status import trader_in
from riskd.model.events import Status
from riskd.model.formatting import dollars
from riskd.model.safe_text import json_text, printable

_HEADER: Final = (
    *("ACCOUNT", "TRADER", "STATUS", "REALIZED", "TRADES", "POSITIONS", "ORDERS", "LOCKED"),
)


def is_published_by_relay(directory: Path) -> bool:
    """Return whether what is published in a directory is of a relay."""
    try:
        return read_published(directory, only=()).gateway_name == DESK
    except StateFileError:
        return False


def only_shows(options: argparse.Namespace) -> NoReturn:
    """Refuse a command that a relay cannot carry out.

    :raises UserError: always.
    """
    raise UserError(
        f"{options.state} is the state directory of a desk's relay, which only shows: no command goes through it. Use "
        "riskctl on the machine of the trader's riskd; riskctl status works here"
    )


def show(options: argparse.Namespace) -> int:
    """Write what the relay of ``options.state`` publishes.

    :raises UserError: it cannot be read.
    """
    directory = options.state.absolute()
    copy, running = read_published(directory), running_daemon(directory)
    where = (
        "" if running is None else f"process {running.record.pid} on port {running.record.port}"
    )
    now = datetime.now(UTC) + (copy.clock_offset or timedelta())
    if options.json:
        sys.stdout.write(f"{json_text(relay_report(copy, where))}\n")
        return 0
    for line in relay_table(copy, where, now):
        sys.stdout.write(f"{printable(line)}\n")
    return 0


def relay_table(copy: Snapshot, where: str, now: datetime) -> Iterator[str]:
    """Yield a relay's accounts as lines for a terminal.

    :param where: its process and port; empty if it does not run.
    :param now: by the broker's clock.
    """
    as_of = "unknown" if copy.as_of is None else when(copy.as_of, now)
    yield (
        f"relay of a desk, {where}: it shows what each riskd sends, and takes no commands"
        if where
        else f"the relay does not run; what is below was published at {as_of}, and nothing here is known since"
    )
    yield ""
    accounts = sorted(copy.accounts.values(), key=lambda each: each.account_id)
    rows = [_row(each, now) for each in accounts]
    yield from table(_HEADER, rows, right=(0, 3, 4, 5, 6), empty="no account is known")
    wrong = [
        each.daemon.message
        for each in accounts
        if each.daemon is not None and each.daemon.status is not Status.RUNNING
    ]
    if wrong:
        yield ""
        # Accounts share the status of their riskd.
        yield from dict.fromkeys(wrong)


def relay_report(copy: Snapshot, where: str) -> dict[str, Any]:
    """Return a relay's accounts as JSON."""
    return {
        "gateway": DESK,
        "is_running": bool(where),
        "as_of": copy.as_of,
        "accounts": [_account_report(copy.accounts[key]) for key in sorted(copy.accounts)],
    }


def _row(account: AccountState, now: datetime) -> tuple[str, ...]:
    daemon, lock = account.daemon, account.lockout
    end = None if lock is None else lock.locked_until
    until = "until it is unlocked" if end is None else f"until {when(end, now)}"
    return (
        str(account.account_id),
        (daemon and trader_in(daemon.message)) or UNKNOWN,
        UNKNOWN if daemon is None else daemon.status.value,
        dollars(account.realized_pnl),
        str(account.trade_count),
        str(len(account.open_positions)),
        str(len(account.working_orders)),
        "no" if lock is None else until,
    )


def _account_report(account: AccountState) -> dict[str, Any]:
    daemon, lock = account.daemon, account.lockout
    return {
        "account": account.account_id,
        "trader": (daemon and trader_in(daemon.message)) or None,
        "status": None if daemon is None else daemon.status.value,
        "message": None if daemon is None else daemon.message,
        "realized_pnl": account.realized_pnl,
        "trades": account.trade_count,
        "positions": len(account.open_positions),
        "orders": len(account.working_orders),
        "is_locked": lock is not None,
        "locked_until": None if lock is None else lock.locked_until,
    }
