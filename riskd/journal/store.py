"""The journal itself: SQLite, written by one thread, and the published copy made of it.

Nothing here knows a reactor.  What is written is always whole: the states of all accounts, as a
difference to what was written before, in one transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from riskd.account import AccountState
from riskd.events import EventData, LockoutSet, decode_data, encode_data
from riskd.journal.files import JOURNAL_NAME, PUBLISHED_NAME
from riskd.journal.reader import Snapshot, read_snapshot
from riskd.journal.schema import DamagedError, check_version, migrate

DAMAGE_RULE: Final = "JOURNAL"
"""The rule id of a lock that stands in for locks which a damaged journal may have held."""

_QUOTES_EVERY: Final = timedelta(seconds=1)
_TEMPORARY_NAME: Final = f".{PUBLISHED_NAME}.new"

_PUT_CONTRACT: Final = (
    "INSERT OR REPLACE INTO contracts (contract_id, name, tick_size, tick_value)"
    " VALUES (?, ?, ?, ?)"
)
_PUT_ACCOUNT: Final = (
    "INSERT OR REPLACE INTO accounts"
    " (account_id, realized_pnl, trade_count, last_reset, day_began) VALUES (?, ?, ?, ?, ?)"
)

_Statement = tuple[str, tuple[Any, ...]]


class Recovery(msgspec.Struct, frozen=True):
    """What was found at the start.

    :ivar accounts: what is known of each account, by account id.
    :ivar problem: what went wrong, in a sentence for a trader; empty when nothing did.
    """

    accounts: dict[int, AccountState]
    problem: str = ""


class Store:
    """The journal of one state directory.

    Its methods block for as long as the disk takes, and are called from one thread at a time.

    :param directory: it exists.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / JOURNAL_NAME
        self._connection: sqlite3.Connection | None = None
        self._written: dict[int, AccountState] = {}
        self._facts: dict[str, str] = {}
        self._quotes_written_at: datetime | None = None
        self._is_published = False

    @property
    def is_open(self) -> bool:
        """Whether the journal is open."""
        return self._connection is not None

    def open(self, account_ids: Iterable[int], now: datetime) -> Recovery:
        """Open the journal and return what it knows; a damaged one is set aside and a new one begun.

        :param account_ids: the accounts that are to be followed.
        :raises sqlite3.OperationalError: it cannot be opened now, for want of space or permission.
        :raises NewerSchemaError: a newer riskd wrote it.
        """
        try:
            snapshot = self._open_whole()
        except sqlite3.OperationalError:
            self.close()
            raise
        except (DamagedError, sqlite3.DatabaseError, ValueError) as error:
            self.close()
            return self._begin_anew(tuple(account_ids), now, str(error))
        self._written = dict(snapshot.accounts)
        return Recovery(snapshot.accounts)

    def write(self, states: Iterable[AccountState], gateway_name: str, now: datetime) -> bool:
        """Make the journal say ``states``; when this returns it is on the disk.

        Quotes are written once a second at the most.

        :returns: whether anything was different.
        :raises sqlite3.Error: it could not be written; then nothing of it was.
        """
        states = list(states)
        takes_quotes = not self._has_fresh_quotes(now)
        if not takes_quotes:
            states = [
                msgspec.structs.replace(state, quotes=self._known(state).quotes)
                for state in states
            ]
        statements = [
            statement for state in states for statement in _differences(self._known(state), state)
        ]
        facts = {"gateway": gateway_name}
        status = next((state.daemon for state in states if state.daemon), None)
        if status is not None:
            facts["daemon_status"] = encode_data(status)
        if not statements and facts.items() <= self._facts.items():
            return False
        facts["as_of"] = now.isoformat()
        statements += [
            ("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", fact)
            for fact in facts.items()
        ]
        self._execute(statements)
        self._facts |= facts
        self._written |= {state.account_id: state for state in states}
        self._is_published = False
        if takes_quotes:
            self._quotes_written_at = now
        return True

    def publish(self) -> None:
        """Replace the published copy by what the journal says; free if it says so already.

        :raises sqlite3.Error: the copy could not be made; the one before stays.
        :raises OSError: likewise.
        """
        if self._is_published:
            return
        temporary = self._directory / _TEMPORARY_NAME
        temporary.unlink(missing_ok=True)
        self._journal.execute("VACUUM INTO ?", (str(temporary),))
        copy = sqlite3.connect(temporary, isolation_level=None)
        try:
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            copy.execute(
                "DELETE FROM enforcement WHERE at < (SELECT day_began FROM accounts"
                " WHERE accounts.account_id = enforcement.account_id)"
            )
        finally:
            copy.close()
        temporary.chmod(0o644)
        # VACUUM INTO leaves the copy in the system's memory; a name that survives a power cut must
        # not stand for bytes that did not.
        _sync(temporary)
        temporary.replace(self._directory / PUBLISHED_NAME)
        _sync(self._directory)
        self._is_published = True

    def close(self) -> None:
        """Let go of the journal; it may be opened again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _journal(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.OperationalError("the journal is not open")
        return self._connection

    def _known(self, state: AccountState) -> AccountState:
        return self._written.get(state.account_id) or AccountState(account_id=state.account_id)

    def _has_fresh_quotes(self, now: datetime) -> bool:
        # A clock that was set back must not stop the writing of quotes until it has caught up.
        at = self._quotes_written_at
        return at is not None and timedelta() <= now - at < _QUOTES_EVERY

    def _is_empty(self) -> bool:
        return not self._path.exists() or self._path.stat().st_size == 0

    def _open_whole(self) -> Snapshot:
        """Open the file and see that all of it can be read."""
        if self._is_empty() and (self._directory / PUBLISHED_NAME).exists():
            raise DamagedError("it is empty, though a copy of it was published")
        self._connect()
        journal = self._journal
        check_version(journal, self._path)
        journal.execute("PRAGMA journal_mode = WAL")
        journal.execute("PRAGMA synchronous = FULL")
        (verdict,) = journal.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DamagedError(verdict)
        migrate(journal, self._path)
        return read_snapshot(journal)

    def _connect(self) -> None:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._path.chmod(0o600)
        self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )

    def _begin_anew(self, account_ids: tuple[int, ...], now: datetime, why: str) -> Recovery:
        """Set the damaged journal aside, begin a new one, and keep what locks can be saved."""
        lockouts = self._salvage_lockouts()
        aside = self._path.with_name(f"{JOURNAL_NAME}.damaged-{now:%Y%m%dT%H%M%S%fZ}")
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(JOURNAL_NAME + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        (self._directory / PUBLISHED_NAME).unlink(missing_ok=True)
        self._open_whole()
        self._written, self._facts, self._is_published = {}, {}, False
        if lockouts is None:
            held = (
                "its lockouts cannot be read, so every account is locked until an operator looks"
            )
            stand_in = LockoutSet(
                reason="The journal was damaged and its lockouts cannot be read",
                locked_until=None,
                rule_id=DAMAGE_RULE,
                locked_at=now,
            )
            lockouts = {account_id: {DAMAGE_RULE: stand_in} for account_id in account_ids}
        else:
            held = "its lockouts were saved"
        accounts = {
            account_id: AccountState(account_id=account_id, lockouts=lockouts.get(account_id, {}))
            for account_id in {*account_ids, *lockouts}
        }
        return Recovery(
            accounts, f"The journal {self._path} is damaged ({why}) and was set aside; {held}"
        )

    def _salvage_lockouts(self) -> dict[int, dict[str, LockoutSet]] | None:
        """Return the locks that the damaged journal or its copy hold; ``None`` if neither can tell."""
        for path in (self._path, self._directory / PUBLISHED_NAME):
            try:
                if path.stat().st_size:
                    return _read_lockouts(path)
            except (sqlite3.Error, ValueError, OSError):
                continue
        return None

    def _execute(self, statements: list[_Statement]) -> None:
        journal = self._journal
        journal.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in statements:
                journal.execute(sql, values)
            journal.execute("COMMIT")
        except sqlite3.Error:
            if journal.in_transaction:
                journal.execute("ROLLBACK")
            raise


def _read_lockouts(path: Path) -> dict[int, dict[str, LockoutSet]]:
    """Return the locks in a file of which the rest may be damaged.

    :raises sqlite3.Error: they cannot be read.
    :raises ValueError: they make no sense.
    """
    lockouts: dict[int, dict[str, LockoutSet]] = {}
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for account_id, data in connection.execute("SELECT account_id, data FROM lockouts"):
            lockout = decode_data("lockout_set", account_id, data).data
            if isinstance(lockout, LockoutSet):
                lockouts.setdefault(account_id, {})[lockout.rule_id] = lockout
    finally:
        connection.close()
    return lockouts


def _differences(old: AccountState, new: AccountState) -> list[_Statement]:
    """Return what makes a journal that says ``old`` say ``new``."""
    account_id = new.account_id
    statements: list[_Statement] = []
    for table, key, before, after in (
        ("positions", "contract_id", old.positions, new.positions),
        ("orders", "order_id", old.orders, new.orders),
        ("trades", "trade_id", old.trades, new.trades),
        ("quotes", "contract_id", old.quotes, new.quotes),
        ("lockouts", "rule_id", old.lockouts, new.lockouts),
    ):
        statements += _table_differences(table, key, account_id, before, after)
    statements += [
        (
            "INSERT INTO enforcement (account_id, at, data) VALUES (?, ?, ?)",
            (account_id, _milliseconds(action.timestamp), encode_data(action)),
        )
        for action in new.enforcement
        if action not in old.enforcement
    ]
    statements += [
        (
            _PUT_CONTRACT,
            (contract.id, contract.name, str(contract.tick_size), str(contract.tick_value)),
        )
        for contract in new.contracts.values()
        if old.contracts.get(contract.id) != contract
    ]
    summary = _summary(new)
    if summary != _summary(old) or old == AccountState(account_id=account_id):
        statements.append((_PUT_ACCOUNT, summary))
    return statements


def _summary(state: AccountState) -> tuple[int, str, int, str | None, int | None]:
    reset = state.last_reset
    return (
        state.account_id,
        str(state.realized_pnl),
        state.trade_count,
        encode_data(reset) if reset else None,
        _milliseconds(reset.reset_time) if reset else None,
    )


def _table_differences(
    table: str,
    key: str,
    account_id: int,
    before: Mapping[Any, EventData],
    after: Mapping[Any, EventData],
) -> list[_Statement]:
    if before is after:
        return []
    # The names of table and key are ours.
    put = f"INSERT OR REPLACE INTO {table} (account_id, {key}, data) VALUES (?, ?, ?)"  # noqa: S608
    drop = f"DELETE FROM {table} WHERE account_id = ? AND {key} = ?"  # noqa: S608
    return [
        (put, (account_id, name, encode_data(data)))
        for name, data in after.items()
        if before.get(name) != data
    ] + [(drop, (account_id, name)) for name in before if name not in after]


def _milliseconds(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
