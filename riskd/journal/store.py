"""The journal itself: SQLite, written by one thread, and the published copy made of it.

Nothing here knows a reactor.  What is written is always whole: the states of all accounts, as a
difference to what was written before, in one transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from riskd.journal.differences import Statement, differences
from riskd.journal.paths import JOURNAL_NAME, PUBLISHED_NAME
from riskd.journal.reader import (
    DAMAGES,
    Snapshot,
    StateFileError,
    may_pass,
    read_flattenings,
    read_lockouts,
    read_published,
    read_snapshot,
    uri_to_read,
)
from riskd.journal.schema import (
    PUBLISHED_TABLES,
    DamagedError,
    NewerSchemaError,
    check_version,
    migrate,
)
from riskd.model.account import AccountState, Flattening, RiskState
from riskd.model.events import LockoutSet
from riskd.model.wire import encode_data

DAMAGE_RULE: Final = "JOURNAL"
"""The rule id of a lock that stands in for locks which a damaged journal may have held."""

_QUOTES_EVERY: Final = timedelta(seconds=1)
_TEMPORARY_NAME: Final = f".{PUBLISHED_NAME}.new"

_NEW_NAME: Final = f"{JOURNAL_NAME}.new"
_SUFFIXES: Final = ("", "-wal", "-shm")

_PUBLISHED_ROWS: Final = {
    # Of an account's own row, the last two columns are private.
    "accounts": (
        "SELECT account_id, realized_pnl, trade_count, last_reset, day_began, NULL, NULL"
        " FROM journal.accounts"
    ),
    # No stamp is less than the one that stands in for a day whose beginning is unknown.
    "enforcement": (
        "SELECT action.* FROM journal.accounts AS account JOIN journal.enforcement AS action"
        " ON action.account_id = account.account_id"
        " AND action.at >= ifnull(account.day_began, -1e18)"
    ),
}
"""What is published of the tables that are not published whole."""


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
    :ivar has_all_quotes: whether the last write took all quotes, or left some for a later one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / JOURNAL_NAME
        self._connection: sqlite3.Connection | None = None
        self._written: dict[int, AccountState] = {}
        self._facts: dict[str, str] = {}
        self._quotes_written_at: datetime | None = None
        self._is_published = False
        self._commits = 0
        self.has_all_quotes = True

    @property
    def is_open(self) -> bool:
        """Whether the journal is open."""
        return self._connection is not None

    def open(self, account_ids: Iterable[int], now: datetime) -> Recovery:
        """Open the journal and return what it knows; a damaged one is set aside and a new one begun.

        :param account_ids: the accounts that are to be followed.
        :raises sqlite3.OperationalError: it cannot be opened now, for want of space or permission.
        :raises OSError: likewise.
        :raises NewerSchemaError: a newer riskd wrote it.
        """
        try:
            snapshot = self._open_whole(self._path)
            self._check_against_copy(snapshot)
        except NewerSchemaError:
            self.close()
            raise
        except (*DAMAGES, OSError) as error:
            self.close()
            if may_pass(error):
                raise
            return self._begin_anew(tuple(account_ids), now, str(error))
        self._written = dict(snapshot.accounts)
        self._commits = snapshot.commits
        return Recovery(snapshot.accounts)

    def read_copy(self) -> Snapshot:
        """Return what the published copy says.

        :raises StateFileError: there is none, or it cannot be read.
        """
        return read_published(self._directory)

    def write(
        self,
        states: Iterable[AccountState],
        gateway_name: str,
        now: datetime,
        *,
        all_quotes: bool = False,
    ) -> bool:
        """Make the journal say ``states``; when this returns it is on the disk.

        Quotes are written once a second at the most, if not ``all_quotes`` are asked for.

        :returns: whether anything was different.
        :raises sqlite3.Error: it could not be written; then nothing of it was.
        """
        states = list(states)
        takes_quotes = all_quotes or not self._has_fresh_quotes(now)
        self.has_all_quotes = takes_quotes or all(
            state.quotes == self._known(state).quotes for state in states
        )
        if not takes_quotes:
            states = [
                msgspec.structs.replace(state, quotes=self._known(state).quotes)
                for state in states
            ]
        statements = [
            statement
            for state in states
            for statement in differences(self._written.get(state.account_id), state)
        ]
        facts = {"gateway": gateway_name}
        status = next((state.daemon for state in states if state.daemon), None)
        if status is not None:
            facts["daemon_status"] = encode_data(status)
        if not statements and facts.items() <= self._facts.items():
            return False
        facts |= {"as_of": now.isoformat(), "commits": str(self._commits + 1)}
        statements += [
            ("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", fact)
            for fact in facts.items()
        ]
        self._execute(statements)
        self._commits += 1
        self._facts |= facts
        self._written |= {state.account_id: state for state in states}
        self._is_published = False
        if takes_quotes:
            self._quotes_written_at = now
        return True

    def publish(self) -> bool:
        """Replace the published copy by what the journal says; free if it says so already.

        :returns: whether there was anything to do.
        :raises sqlite3.Error: the copy could not be made; the one before stays.
        :raises OSError: likewise.
        """
        if self._is_published:
            return False
        temporary = self._directory / _TEMPORARY_NAME
        temporary.unlink(missing_ok=True)
        self._copy_to(temporary)
        temporary.chmod(0o644)
        # SQLite left the copy in the system's memory; a name that survives a power cut must not
        # stand for bytes that did not.
        _sync(temporary)
        temporary.replace(self._directory / PUBLISHED_NAME)
        _sync(self._directory)
        self._is_published = True
        return True

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

    def _copy_to(self, path: Path) -> None:
        """Make a new journal at ``path`` of what consoles may see, and of nothing else.

        Nothing private is written there even for a moment: SQLite leaves in a file what it deletes.
        """
        with closing(sqlite3.connect(path, isolation_level=None, uri=True)) as copy:
            copy.execute("PRAGMA journal_mode = OFF")
            copy.execute("PRAGMA synchronous = OFF")
            migrate(copy, path)
            copy.execute("ATTACH ? AS journal", (uri_to_read(self._path),))
            copy.execute("BEGIN")
            for table in PUBLISHED_TABLES:
                rows = _PUBLISHED_ROWS.get(table, f"SELECT * FROM journal.{table}")  # noqa: S608  # names of ours
                copy.execute(f"INSERT INTO main.{table} {rows}")
            copy.execute("COMMIT")

    def _has_fresh_quotes(self, now: datetime) -> bool:
        # A clock that was set back must not stop the writing of quotes until it has caught up.
        at = self._quotes_written_at
        return at is not None and timedelta() <= now - at < _QUOTES_EVERY

    def _is_empty(self) -> bool:
        return not self._path.exists() or self._path.stat().st_size == 0

    def _open_whole(self, path: Path) -> Snapshot:
        """Open the file and see that all of it can be read."""
        if path == self._path and self._is_empty() and self._had_a_journal():
            raise DamagedError("it is empty, though there was one before")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        journal = self._connection
        check_version(journal, path)
        journal.execute("PRAGMA journal_mode = WAL")
        journal.execute("PRAGMA synchronous = FULL")
        (result,) = journal.execute("PRAGMA quick_check(1)").fetchone()
        if result != "ok":
            raise DamagedError(result)
        migrate(journal, path)
        return read_snapshot(journal)

    def _had_a_journal(self) -> bool:
        is_published = (self._directory / PUBLISHED_NAME).exists()
        return is_published or any(self._directory.glob(f"{JOURNAL_NAME}.damaged-*"))

    def _check_against_copy(self, snapshot: Snapshot) -> None:
        """See that the journal still has all that was published.

        SQLite goes back in silence to before a commit whose end it cannot read.
        """
        if self._published_commits() > snapshot.commits:
            raise DamagedError("it has lost what was published")

    def _published_commits(self) -> int:
        """Return how often the journal was written, as far as the copy knows."""
        try:
            return read_published(self._directory).commits
        except StateFileError:
            return 0

    def _begin_anew(self, account_ids: tuple[int, ...], now: datetime, why: str) -> Recovery:
        """Set the damaged journal aside, begin a new one, and keep what locks can be saved.

        Until the new journal holds them and is on the disk, the damaged one stays where it is.
        """
        lockouts = self._salvage_lockouts()
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
        flattenings = read_flattenings(self._path)
        accounts = {
            account_id: _state_of_salvage(
                account_id, lockouts.get(account_id, {}), flattenings.get(account_id)
            )
            for account_id in {*account_ids, *lockouts, *flattenings}
        }
        new = self._directory / _NEW_NAME
        for suffix in _SUFFIXES:
            new.with_name(new.name + suffix).unlink(missing_ok=True)
        self._written, self._facts, self._commits = {}, {}, self._published_commits()
        try:
            self._open_whole(new)
            self.write(accounts.values(), "", now)
        finally:
            # Closing moves all of it into the one file.
            self.close()
        self._set_aside(now)
        new.replace(self._path)
        _sync(self._directory)
        try:
            self._open_whole(self._path)
        except BaseException:
            self.close()
            raise
        return Recovery(
            accounts, f"The journal {self._path} is damaged ({why}) and was set aside; {held}"
        )

    def _set_aside(self, now: datetime) -> None:
        """Give the damaged journal another name too; its log must not be taken for the new one's."""
        aside = f"{JOURNAL_NAME}.damaged-{now:%Y%m%dT%H%M%S%fZ}"
        for suffix in _SUFFIXES[1:]:
            part = self._path.with_name(JOURNAL_NAME + suffix)
            if part.exists():
                part.rename(self._directory / (aside + suffix))
        if self._path.exists():
            (self._directory / aside).unlink(missing_ok=True)
            os.link(self._path, self._directory / aside)

    def _salvage_lockouts(self) -> dict[int, dict[str, LockoutSet]] | None:
        """Return the locks that the damaged journal or its copy hold; ``None`` if neither can tell.

        Each may lack what the other has; a lock too many is for an operator, one too few is a breach.
        """
        saved: dict[int, dict[str, LockoutSet]] | None = None
        for path in (self._path, self._directory / PUBLISHED_NAME):
            try:
                found = read_lockouts(path) if path.stat().st_size else None
            except (*DAMAGES, OSError):
                continue
            if found is not None:
                saved = saved or {}
                for account_id, locks in found.items():
                    saved[account_id] = {**locks, **saved.get(account_id, {})}
        return saved

    def _execute(self, statements: list[Statement]) -> None:
        journal = self._journal
        journal.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in statements:
                journal.execute(sql, values)
            journal.execute("COMMIT")
        except BaseException:
            if journal.in_transaction:
                journal.execute("ROLLBACK")
            raise


def _state_of_salvage(
    account_id: int, lockouts: Mapping[str, LockoutSet], flattening: Flattening | None
) -> AccountState:
    """Return what is left of an account; a lock that was about to be set holds like any other."""
    locks = dict(lockouts)
    for lock in flattening.locks if flattening else ():
        known = locks.get(lock.rule_id)
        locks[lock.rule_id] = lock if known is None else _longer(known, lock)
    risk = RiskState(flattening=flattening)
    return AccountState(account_id=account_id, lockouts=locks, risk=risk)


def _longer(first: LockoutSet, second: LockoutSet) -> LockoutSet:
    """Return the lock that ends later; one without an end does so."""
    if first.locked_until is None or second.locked_until is None:
        return first if first.locked_until is None else second
    return first if first.locked_until >= second.locked_until else second


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
