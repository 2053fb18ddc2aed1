"""Reading a journal or its published copy back: one consistent snapshot as an account's state.

There is no Twisted here, nothing is ever written, and whatever is wrong with the file is a sentence.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from riskd.host.errors import UserError
from riskd.journal.paths import PUBLISHED_NAME
from riskd.journal.schema import (
    MIGRATIONS,
    TABLES,
    DamagedError,
    NewerSchemaError,
    as_moment,
    as_stamp,
    check_version,
    upgrade,
)
from riskd.model.account import AccountState, Charge, Flattening, Limit, RiskState
from riskd.model.contracts import Contract
from riskd.model.events import DaemonStatus, EnforcementAction, LockoutSet
from riskd.model.wire import decode_data

DAMAGES: Final = (DamagedError, sqlite3.Error, ValueError, ArithmeticError, TypeError)
"""What reading a damaged file may raise."""

_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
    }
)
"""What is wrong with the disk or with rights, and not with the file."""

_NOT_PASSING: Final = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ})


class StateFileError(UserError):
    """The journal or its published copy cannot be read; the text says why, for a person."""


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
    with open_to_read(path, "last known state", "mode=ro&immutable=1") as (copy, version):
        if not 0 < version < len(MIGRATIONS):
            return read_snapshot(copy)
        # An older riskd published it; in memory it can be brought up to date.
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as newer:
            copy.backup(newer)
            upgrade(newer, version)
            return read_snapshot(newer)


@contextmanager
def open_to_read(
    path: Path, what: str, options: str = "mode=ro"
) -> Iterator[tuple[sqlite3.Connection, int]]:
    """Open a journal or a copy of one; give the connection, and the version of its schema.

    :param what: what is to be read there, for a person.
    :param options: those of SQLite's URI.
    :raises StateFileError: the file is not there, or it or its content cannot be read.
    """
    try:
        path.stat()
    except FileNotFoundError:
        raise StateFileError(f"no {what}: {path} is not there") from None
    except OSError as error:
        raise StateFileError(f"cannot read the {what}: {path}: {error.strerror}") from None
    # It is not opened to find out: closing it again would undo this process's locks on it.
    if not os.access(path, os.R_OK):
        raise StateFileError(f"cannot read the {what}: {path}: {os.strerror(errno.EACCES)}")
    try:
        with closing(sqlite3.connect(uri_to_read(path, options), uri=True)) as connection:
            yield connection, check_version(connection, path)
    except NewerSchemaError as error:
        raise StateFileError(f"cannot read the {what}: {error}") from None
    except DAMAGES as error:
        wrong = f"{path}: {error}" if may_pass(error) else f"{path} is damaged ({error})"
        raise StateFileError(f"cannot read the {what}: {wrong}") from None


def uri_to_read(path: Path, options: str = "mode=ro") -> str:
    """Return what SQLite opens ``path`` by to read it; whatever characters are in it."""
    return f"file:{quote(str(path))}?{options}"


def may_pass(error: BaseException) -> bool:
    """Tell whether a file that could not be opened may be sound, and be opened later."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _PASSING and code not in _NOT_PASSING
    return isinstance(error, OSError)


def read_lockouts(path: Path) -> dict[int, dict[str, LockoutSet]]:
    """Return the locks in a file of which the rest may be damaged.

    :raises sqlite3.Error: they cannot be read.
    :raises ValueError: they make no sense.
    """
    lockouts: dict[int, dict[str, LockoutSet]] = {}
    with closing(sqlite3.connect(uri_to_read(path), uri=True)) as connection:
        for account_id, data in connection.execute("SELECT account_id, data FROM lockouts"):
            lockout: LockoutSet = _data("lockout_set", account_id, data)
            lockouts.setdefault(account_id, {})[lockout.rule_id] = lockout
    return lockouts


def read_flattenings(path: Path) -> dict[int, Flattening]:
    """Return those flattens in a file, of which the rest may be damaged, that can be read."""
    found: dict[int, Flattening] = {}
    with suppress(*DAMAGES), closing(sqlite3.connect(uri_to_read(path), uri=True)) as connection:
        for account_id, data in connection.execute("SELECT account_id, data FROM flattenings"):
            with suppress(ValueError):
                found[account_id] = _flattening(data)
    return found


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
        "SELECT account_id, realized_pnl, trade_count, last_reset, day_began, day_key, can_trade"
        " FROM accounts"
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
                day_began=None if began is None else as_moment(began),
                daemon=status,
                risk=RiskState(
                    can_trade=None if can_trade is None else bool(can_trade),
                    day_key=None if day_key is None else date.fromisoformat(day_key),
                ),
            ),
        )
        for account_id, realized_pnl, trade_count, reset, began, day_key, can_trade in (
            rows.fetchall()
        )
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
    """Return ``state`` with what the other tables hold of the account."""
    account_id = state.account_id

    def rows(table: str, *columns: str) -> sqlite3.Cursor:
        return connection.execute(
            f"SELECT {', '.join(columns)} FROM {table} WHERE account_id = ?",  # noqa: S608  # names of ours
            (account_id,),
        )

    def keyed(event_type: str, table: str, key: str) -> dict[Any, Any]:
        return {
            found: _data(event_type, account_id, data) for found, data in rows(table, key, "data")
        }

    risk = msgspec.structs.replace(
        state.risk,
        memory={rule: _text(data) for rule, data in rows("rule_memory", "rule_id", "data")},
        charges={
            trade_id: Charge(as_moment(at), _amount(amount))
            for trade_id, at, amount in rows("charges", "trade_id", "at", "amount")
        },
        flattening=next((_flattening(data) for (data,) in rows("flattenings", "data")), None),
    )
    return msgspec.structs.replace(
        state,
        positions=keyed("GatewayUserPosition", "positions", "contract_id"),
        orders=keyed("GatewayUserOrder", "orders", "order_id"),
        trades=keyed("GatewayUserTrade", "trades", "trade_id"),
        quotes=keyed("MarketQuote", "quotes", "contract_id"),
        lockouts=keyed("lockout_set", "lockouts", "rule_id"),
        limits={
            rule: Limit(_text(key), _text(settings))
            for rule, key, settings in rows("limits", "rule_id", "key", "settings")
        },
        enforcement=_enforcement(connection, state),
        risk=risk,
    )


def _enforcement(
    connection: sqlite3.Connection, state: AccountState
) -> tuple[EnforcementAction, ...]:
    """Return what was enforced in the trading day; the log goes back further."""
    query = "SELECT data FROM enforcement WHERE account_id = ?"
    values = [state.account_id]
    if state.day_began is not None:
        query += " AND at >= ?"
        values.append(as_stamp(state.day_began))
    rows = connection.execute(f"{query} ORDER BY number", values)
    return tuple(_data("enforcement_action", state.account_id, data) for (data,) in rows)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")  # noqa: TRY004  # the file's mistake, not ours
    return value


def _flattening(text: object) -> Flattening:
    try:
        return msgspec.json.decode(_text(text), type=Flattening)
    except msgspec.MsgspecError as error:
        raise ValueError(f"flattening: {error}") from None


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
    return decode_data(event_type, account_id, _text(text)).data
