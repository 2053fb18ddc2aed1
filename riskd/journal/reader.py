"""Read a journal or its published copy as account states.

Reading uses no reactor and writes nothing.  Whatever is wrong with a file is a sentence for a person.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import date, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from riskd.host.errors import UserError
from riskd.host.files import UnsafeFileError
from riskd.journal.database import open_copy, open_journal
from riskd.journal.schema import (
    BEFORE_ALL,
    JOURNAL_NAME,
    MIGRATIONS,
    PRIVATE_TABLES,
    PUBLISHED_NAME,
    PUBLISHED_TABLES,
    STATUS_OF_ACCOUNT,
    DamagedError,
    NewerSchemaError,
    as_moment,
    as_text,
    check_version,
    upgrade,
)
from riskd.journal.values import (
    read_amount,
    read_balance,
    read_count,
    read_execution,
    read_figures,
    read_flattening,
    read_limit,
    read_name,
    read_offset,
    read_positive,
    recent,
)
from riskd.model.account import KEPT_RESULTS, AccountState, Charge, RiskState
from riskd.model.balance import Balance, Leg, Result
from riskd.model.broker import BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.contracts import Contract
from riskd.model.events import DaemonStatus
from riskd.model.safe_text import printable
from riskd.model.wire import decode_data, decode_reported

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_Reported = TypeVar("_Reported", BrokerPosition, BrokerOrder, BrokerTrade)

_MILLISECOND: Final = timedelta(milliseconds=1)
_STATUS: Final = "daemon_status"

_MAX_WORDS: Final = 300
_CACHED_TRADES: Final = 4096
DAMAGES: Final = (
    DamagedError,
    UnsafeFileError,
    sqlite3.Error,
    ValueError,
    ArithmeticError,
    TypeError,
    RecursionError,
)
"""The exceptions that reading a damaged file may raise."""

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
"""SQLite's codes for problems of the disk or of permissions, not of the file."""


class StateFileError(UserError):
    """The journal or its published copy cannot be read; the text says why."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a journal or of its published copy.

    :ivar accounts: the state of each account, by account id.
    :ivar as_of: the time of the last write, aware.
    :ivar gateway_name: the kind of gateway that the daemon followed.
    :ivar commits: the number of writes so far.
    :ivar instance: the random id of the journal; empty if an earlier riskd wrote it.
    :ivar clock_offset: how far the broker's clock was ahead of the wall clock; ``None`` if unknown.
    """

    accounts: dict[int, AccountState]
    as_of: datetime | None = None
    gateway_name: str | None = None
    commits: int = 0
    instance: str = ""
    clock_offset: timedelta | None = None


def published_mark(directory: Path) -> tuple[int, int, int] | None:
    """Return a value that each publication changes; ``None`` while there is no copy."""
    try:
        return mark_of((directory / PUBLISHED_NAME).lstat())
    except OSError:
        return None


def mark_of(copy: os.stat_result) -> tuple[int, int, int]:
    """Return what :func:`published_mark` returns for a copy with this status."""
    return (copy.st_ino, copy.st_mtime_ns, copy.st_size)


def read_published(directory: Path, only: Collection[int] | None = None) -> Snapshot:
    """Return the content of the published copy in ``directory``.

    It takes no lock and needs no write permission, because the copy is replaced whole and never changed.

    :param only: the accounts to read; ``None`` for all.  Each costs half a millisecond.
    :raises StateFileError: there is no copy, or it cannot be read, is damaged, or is of a newer riskd.
    """
    path = directory / PUBLISHED_NAME
    with open_to_read(path, "last known state", open_copy) as (copy, version):
        return _read_any(copy, version, only)


def read_fact(directory: Path, name: str) -> str | None:
    """Return a fact of the published copy; ``None`` if it does not have it.

    :raises StateFileError: see :func:`read_published`.
    """
    with open_to_read(directory / PUBLISHED_NAME, "last known state", open_copy) as (copy, _):
        found = copy.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])


def read_journal(directory: Path, only: Collection[int] | None = None) -> Snapshot:
    """Return the content of the journal in ``directory``.

    Only the daemon's user may read it.

    :param only: the accounts to read; ``None``: all.
    :raises StateFileError: there is no journal, or it cannot be read, is damaged, or is of a newer riskd.
    """
    with open_to_read(directory / JOURNAL_NAME, "journal") as (journal, version):
        if not version:
            raise DamagedError("it is empty")
        return _read_any(journal, version, only)


def _read_any(
    connection: sqlite3.Connection, version: int, only: Collection[int] | None
) -> Snapshot:
    """Return the content of an open journal or copy of any version."""
    if not 0 < version < len(MIGRATIONS):
        return read_snapshot(connection, only)
    # An older riskd wrote it: migrate it in memory.
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as newer:
        connection.backup(newer)
        upgrade(newer, version)
        return read_snapshot(newer, only)


def known_accounts(directory: Path) -> list[AccountState]:
    """Return the accounts in the journal and those in the published copy.

    What cannot be read is left out, and so is a journal of an older riskd.  The journal may be an earlier one, put
    in the place of that which was published.
    """
    known: list[AccountState] = []
    with (
        suppress(StateFileError, *DAMAGES),
        open_to_read(directory / JOURNAL_NAME, "journal") as (journal, version),
    ):
        if version == len(MIGRATIONS):
            known += read_snapshot(journal).accounts.values()
    with suppress(StateFileError):
        known += read_published(directory).accounts.values()
    return known


def journaled_accounts(directory: Path) -> set[int]:
    """Return the ids of the accounts that the journal in ``directory`` knows.

    :raises StateFileError: there is no journal, or it cannot be read.
    """
    with open_to_read(directory / JOURNAL_NAME, "accounts") as (journal, _version):
        return {account_id for (account_id,) in journal.execute("SELECT account_id FROM accounts")}


@contextmanager
def open_to_read(
    path: Path,
    what: str,
    opened: Callable[[Path], AbstractContextManager[sqlite3.Connection]] = open_journal,
) -> Iterator[tuple[sqlite3.Connection, int]]:
    """Open a journal or a copy; yield the connection and the version of its schema.

    :param what: what the caller reads, for messages.
    :param opened: :func:`open_journal` or :func:`open_copy`.
    :raises StateFileError: the file does not exist, or it or its content cannot be read.
    """
    try:
        with opened(path) as connection:
            yield connection, check_version(connection, path)
    except NewerSchemaError as error:
        raise StateFileError(f"cannot read the {what}: {error}") from None
    except FileNotFoundError:
        raise StateFileError(f"no {what}: {path} is not there") from None
    except (OSError, *DAMAGES) as error:
        reason = words_of(error)
        sound = isinstance(error, OSError) or may_pass(error)
        reason = f"{path}: {reason}" if sound else f"{path} is damaged ({reason})"
        raise StateFileError(f"cannot read the {what}: {reason}") from None


def words_of(error: BaseException) -> str:
    """Return what is wrong with a file, without its name, in one line."""
    words = error.strerror if isinstance(error, OSError) else None
    return printable(words or str(error))[:_MAX_WORDS]


def may_pass(error: BaseException) -> bool:
    """Return whether the file may be sound although it could not be opened now."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)
        # A short read is an I/O error of a file that is too short, and that does not pass.
        return (
            code is not None
            and code & 0xFF in _PASSING
            and code != sqlite3.SQLITE_IOERR_SHORT_READ
        )
    return isinstance(error, OSError) and not isinstance(error, UnsafeFileError)


def read_snapshot(connection: sqlite3.Connection, only: Collection[int] | None = None) -> Snapshot:
    """Return the content of an open journal, or of a copy of one.

    :param only: the accounts to read; ``None`` for all.
    :raises DamagedError: a table is missing.
    :raises sqlite3.Error: the file is damaged in another way.
    :raises ValueError: it has a value that makes no sense.
    """
    _check_tables(connection)
    facts = {
        as_text(name): as_text(value)
        for name, value in connection.execute("SELECT name, value FROM facts")
    }
    # Many accounts of a desk share a status.
    statuses = {
        text: _data("daemon_status", None, text)
        for text in {facts[name] for name in facts if name.startswith(_STATUS)}
    }
    contracts = {
        as_text(contract_id): Contract(
            id=contract_id,
            name=read_name(name),
            tick_size=read_positive(size),
            tick_value=read_positive(value),
        )
        for contract_id, name, size, value in connection.execute(
            "SELECT contract_id, name, tick_size, tick_value FROM contracts"
        )
    }
    rows = connection.execute(
        "SELECT account_id, realized_pnl, trade_count, last_reset, day_began, day_key, can_trade,"
        " balance FROM accounts"
    )
    accounts = {
        row[0]: _read_account(connection, row, contracts, statuses.get(_status(facts, row[0])))
        for row in rows.fetchall()
        if only is None or row[0] in only
    }
    as_of = datetime.fromisoformat(facts["as_of"]) if "as_of" in facts else None
    # Consoles subtract it from an aware time.
    if as_of is not None and as_of.tzinfo is None:
        raise ValueError("as_of has no time zone")
    gateway = facts.get("gateway")
    return Snapshot(
        accounts=accounts,
        as_of=None if as_of is None else recent(as_of),
        gateway_name=None if gateway is None else read_name(gateway),
        commits=read_count(int(facts.get("commits", 0))),
        instance=read_name(facts.get("instance", "")),
        clock_offset=read_offset(facts.get("clock_offset")),
    )


def _status(facts: dict[str, str], account_id: object) -> str:
    """Return the fact on the daemon of an account; empty if there is none."""
    return facts.get(f"{STATUS_OF_ACCOUNT}{account_id}", facts.get(_STATUS, ""))


def _check_tables(connection: sqlite3.Connection) -> None:
    """Raise :exc:`DamagedError` if a table is missing.

    SQLite would blame the query instead.
    """
    found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    missing = {*PUBLISHED_TABLES, *PRIVATE_TABLES} - found
    if missing:
        raise DamagedError(f"it has no {', '.join(sorted(missing))}")


def _read_account(
    connection: sqlite3.Connection,
    row: tuple[Any, ...],
    contracts: dict[str, Contract],
    status: DaemonStatus | None,
) -> AccountState:
    """Return the account of a ``row`` of ``accounts``, with its rows of all tables."""
    account_id, realized_pnl, trade_count, reset, began, day_key, can_trade, balance = row

    def rows(table: str, *columns: str) -> sqlite3.Cursor:
        return connection.execute(
            f"SELECT {', '.join(columns)} FROM {table} WHERE account_id = ?",  # noqa: S608  # names of ours
            (account_id,),
        )

    def check_key(key: object) -> object:
        return key if isinstance(key, int) else as_text(key)

    def keyed(event_type: str, table: str, key: str) -> dict[Any, Any]:
        return {
            check_key(found): _data(event_type, account_id, data)
            for found, data in rows(table, key, "data")
        }

    def reported(read: Callable[[str], _Reported], table: str, key: str) -> dict[Any, _Reported]:
        return {check_key(found): read(as_text(data)) for found, data in rows(table, key, "data")}

    # The table goes back further than the trading day.
    actions = connection.execute(
        "SELECT data FROM enforcement WHERE account_id = ? AND at >= ? ORDER BY number",
        (account_id, BEFORE_ALL if began is None else began),
    )
    # So does this one, by years.
    results = connection.execute(
        "SELECT trade_id, at, amount, order_id, leg, data FROM results WHERE account_id = ? AND at >= ?"
        " ORDER BY at, trade_id",
        (account_id, BEFORE_ALL if began is None else began - KEPT_RESULTS // _MILLISECOND),
    )
    flattenings = [read_flattening(data) for (data,) in rows("flattenings", "data")]
    return AccountState(
        account_id=account_id,
        contracts=contracts,
        positions=reported(partial(decode_reported, BrokerPosition), "positions", "contract_id"),
        orders=reported(partial(decode_reported, BrokerOrder), "orders", "order_id"),
        trades=reported(_read_trade, "trades", "trade_id"),
        realized_pnl=read_amount(realized_pnl),
        trade_count=read_count(trade_count),
        balance=Balance() if balance is None else read_balance(balance),
        days={
            date.fromisoformat(day): read_figures(data)
            for day, data in rows("days", "day", "data")
        },
        quotes=keyed("MarketQuote", "quotes", "contract_id"),
        lockouts=keyed("lockout_set", "lockouts", "rule_id"),
        enforcement=tuple(_data("enforcement_action", account_id, data) for (data,) in actions),
        last_reset=_data("daily_reset", account_id, reset) if reset else None,
        day_began=None if began is None else recent(as_moment(began)),
        limits={
            as_text(rule): read_limit(key, settings)
            for rule, key, settings in rows("limits", "rule_id", "key", "settings")
        },
        daemon=status,
        risk=RiskState(
            can_trade=None if can_trade is None else bool(can_trade),
            charges={
                trade_id: Charge(as_moment(at), read_amount(amount))
                for trade_id, at, amount in rows("charges", "trade_id", "at", "amount")
            },
            results={
                trade_id: Result(
                    at=as_moment(at),
                    amount=read_amount(amount),
                    order_id=order_id,
                    leg=None if leg is None else Leg(leg),
                    execution=read_execution(data),
                )
                for trade_id, at, amount, order_id, leg, data in results
            },
            memory={rule: as_text(data) for rule, data in rows("rule_memory", "rule_id", "data")},
            settings={
                as_text(name): as_text(data) for name, data in rows("settings", "name", "data")
            },
            flattening=flattenings[0] if flattenings else None,
            day_key=None if day_key is None else date.fromisoformat(day_key),
        ),
    )


# A console reads the copy each second, and hardly a trade of the day ever changes.
@lru_cache(maxsize=_CACHED_TRADES)
def _read_trade(data: str) -> BrokerTrade:
    return decode_reported(BrokerTrade, data)


def _data(event_type: str, account_id: int | None, text: object) -> Any:
    return decode_data(event_type, account_id, as_text(text)).data
