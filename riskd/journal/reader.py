"""Reading a journal or its published copy back: one consistent snapshot as an account's state.

There is no Twisted here, nothing is ever written, and whatever is wrong with the file is a sentence.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from riskd.account import AccountState
from riskd.contracts import Contract
from riskd.events import DaemonStatus, EnforcementAction, decode_data
from riskd.journal.files import PUBLISHED_NAME
from riskd.journal.schema import TABLES, DamagedError, NewerSchemaError, check_version

DAMAGES: Final = (DamagedError, sqlite3.Error, ValueError, ArithmeticError, TypeError)
"""What reading a damaged file may raise."""


class StateFileError(Exception):
    """The published copy cannot be read; the text says why, for a trader."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal says.

    :ivar accounts: the state of each account, by account id.
    :ivar as_of: when that was written, aware.
    :ivar gateway_name: the kind of gateway that the daemon followed.
    :ivar commits: how often the journal had been written.
    """

    accounts: dict[int, AccountState]
    as_of: datetime | None = None
    gateway_name: str | None = None
    commits: int = 0


FileMark = tuple[int, int, int]


def published_mark(directory: Path) -> FileMark | None:
    """Return what changes whenever a new copy is published; ``None`` while there is none."""
    try:
        status = (directory / PUBLISHED_NAME).stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def read_published(directory: Path) -> Snapshot:
    """Return what the published copy in ``directory`` says.

    It takes no lock and needs no permission to write: the copy is replaced whole and never changed.

    :raises StateFileError: there is none, or it cannot be read, is damaged, or is of a newer riskd.
    """
    path = directory / PUBLISHED_NAME
    try:
        path.stat()
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise StateFileError(f"no last known state: {path} is not there") from None
    except OSError as error:
        raise StateFileError(
            f"cannot read the last known state: {path}: {error.strerror}"
        ) from None
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)
        try:
            check_version(connection, path)
            return read_snapshot(connection)
        finally:
            connection.close()
    except NewerSchemaError as error:
        raise StateFileError(f"cannot read the last known state: {error}") from None
    except DAMAGES as error:
        raise StateFileError(
            f"cannot read the last known state: {path} is damaged ({error})"
        ) from None


def read_snapshot(connection: sqlite3.Connection) -> Snapshot:
    """Return what an open journal says.

    :raises DamagedError: a table is missing.
    :raises sqlite3.Error: the file is damaged in another way.
    :raises ValueError: it holds what cannot be read.
    """
    _check_tables(connection)
    facts: dict[str, str] = dict(connection.execute("SELECT name, value FROM facts"))
    status: DaemonStatus | None = None
    if "daemon_status" in facts:
        status = _data("daemon_status", None, facts["daemon_status"])
    contracts = {
        contract_id: Contract(
            id=contract_id, name=name, tick_size=_amount(size), tick_value=_amount(value)
        )
        for contract_id, name, size, value in connection.execute(
            "SELECT contract_id, name, tick_size, tick_value FROM contracts"
        )
    }
    rows = connection.execute(
        "SELECT account_id, realized_pnl, trade_count, last_reset FROM accounts"
    )
    accounts = {
        account_id: _read_account(
            connection,
            AccountState(
                account_id=account_id,
                contracts=contracts,
                realized_pnl=_amount(realized_pnl),
                trade_count=int(trade_count),
                last_reset=_data("daily_reset", account_id, reset) if reset else None,
                daemon=status,
            ),
        )
        for account_id, realized_pnl, trade_count, reset in rows.fetchall()
    }
    as_of = datetime.fromisoformat(facts["as_of"]) if "as_of" in facts else None
    if as_of is not None and as_of.tzinfo is None:
        raise ValueError("as_of has no time zone")
    return Snapshot(
        accounts=accounts,
        as_of=as_of,
        gateway_name=facts.get("gateway"),
        commits=int(facts.get("commits", 0)),
    )


def _check_tables(connection: sqlite3.Connection) -> None:
    """See that no table is missing, which SQLite would call a wrong query and not damage."""
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    missing = set(TABLES) - found
    if missing:
        raise DamagedError(f"it has no {', '.join(sorted(missing))}")


def _read_account(connection: sqlite3.Connection, state: AccountState) -> AccountState:
    account_id = state.account_id

    def keyed(event_type: str, table: str, key: str) -> dict[Any, Any]:
        rows = connection.execute(
            f"SELECT {key}, data FROM {table} WHERE account_id = ?",  # noqa: S608  # names of ours
            (account_id,),
        )
        return {found: _data(event_type, account_id, data) for found, data in rows}

    return msgspec.structs.replace(
        state,
        positions=keyed("GatewayUserPosition", "positions", "contract_id"),
        orders=keyed("GatewayUserOrder", "orders", "order_id"),
        trades=keyed("GatewayUserTrade", "trades", "trade_id"),
        quotes=keyed("MarketQuote", "quotes", "contract_id"),
        lockouts=keyed("lockout_set", "lockouts", "rule_id"),
        enforcement=_enforcement(connection, state),
    )


def _enforcement(
    connection: sqlite3.Connection, state: AccountState
) -> tuple[EnforcementAction, ...]:
    rows = connection.execute(
        "SELECT data FROM enforcement WHERE account_id = ? ORDER BY number", (state.account_id,)
    )
    actions = [_data("enforcement_action", state.account_id, data) for (data,) in rows]
    began = state.last_reset.reset_time if state.last_reset else None
    return tuple(action for action in actions if began is None or action.timestamp >= began)


def _amount(text: object) -> Decimal:
    """Return a number that was written as text.

    :raises ValueError: it is not that.
    """
    try:
        amount = Decimal(text) if isinstance(text, str) else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise ValueError(f"{text!r} is not an amount")
    return amount


def _data(event_type: str, account_id: int | None, text: object) -> Any:
    if not isinstance(text, str):
        raise ValueError(f"{event_type} is not text")  # noqa: TRY004  # the file's mistake, not ours
    return decode_data(event_type, account_id, text).data
