"""The journal in SQLite, and the published copy that is made of it.

The store has no reactor; its methods block and are called from one thread.  A write takes the states of
all accounts and commits their differences to the write before, in one transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from riskd.host.errors import UserError
from riskd.host.files import create_private, open_regular, put_away, sync
from riskd.journal.audit_log import JOURNAL
from riskd.journal.database import check_files, check_opened, check_whole, restrict
from riskd.journal.differences import Statement, differences, mark_statement
from riskd.journal.outdated import OutdatedError, check_current
from riskd.journal.ownership import PRIVATE_FACTS, OtherGatewayError, Owner, Record
from riskd.journal.reader import (
    DAMAGES,
    Snapshot,
    StateFileError,
    may_pass,
    published_mark,
    read_published,
    read_snapshot,
    words_of,
)
from riskd.journal.replacement import clear, copy_whole, set_aside
from riskd.journal.salvage import salvage
from riskd.journal.schema import (
    JOURNAL_NAME,
    PUBLISHED_NAME,
    PUBLISHED_TABLES,
    DamagedError,
    as_stamp,
    empty_database,
    migrate,
)
from riskd.journal.watch import JournalWatch
from riskd.model.account import AccountState, with_risk
from riskd.model.equity import EquityMark
from riskd.model.wire import encode_data

_QUOTES_EVERY: Final = timedelta(seconds=1)
_TEMPORARY_NAME: Final = f".{PUBLISHED_NAME}.new"

_COPY: Final = "copy"
"""What the copy is called while it is made: another database of the journal's connection."""

_NEW_NAME: Final = f"{JOURNAL_NAME}.new"

_PUT_FACT: Final = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"

_ADD_LOG_ENTRY: Final = "INSERT INTO log (account_id, at, kind, data) VALUES (?, ?, ?, ?)"

KEPT_HISTORY: Final = timedelta(days=2 * 366)
"""How long executions and the equity of each minute are kept."""

_PRUNE: Final = ("DELETE FROM results WHERE at < ?", "DELETE FROM equity WHERE at < ?")

_PUBLISHED_ROWS: Final = {
    # Every user of the machine may read the copy.
    "facts": f"SELECT name, value FROM main.facts WHERE name NOT IN {PRIVATE_FACTS}",  # noqa: S608  # names of ours
    # Two columns of an account's row are private, and so are the executions that a settled balance includes.
    "accounts": (
        "SELECT account_id, realized_pnl, trade_count, last_reset, day_began, NULL, NULL,"
        " json_set(balance, '$.is_settled', json('false')) FROM main.accounts"
    ),
    # The actions of the trading day.  -1e18 is BEFORE_ALL: of a day whose beginning is unknown, all are
    # published.  An OR in its place would keep SQLite from using the index, and the table only grows.
    "enforcement": (
        "SELECT action.* FROM main.accounts AS account JOIN main.enforcement AS action"
        " ON action.account_id = account.account_id"
        " AND action.at >= ifnull(account.day_began, -1e18)"
    ),
    # Those of the last write are published, and no earlier ones.
    "equity": "SELECT * FROM main.equity WHERE false",
}
"""Queries for the tables that are not published whole."""


class Recovery(msgspec.Struct, frozen=True):
    """The content of the journal when it was opened.

    :ivar accounts: the state of each account, by account id.
    :ivar problem: what was wrong with the journal, in a sentence for a trader; empty if nothing was.
    """

    accounts: dict[int, AccountState]
    problem: str = ""


class Store:
    """The journal of one state directory.

    :param directory: an existing directory.
    :param owner: the gateway that the directory belongs to, which the journal records; without it, each
        write records the kind alone.
    :ivar has_all_quotes: whether the last write took all quotes; if not, a later write must follow.
    """

    def __init__(self, directory: Path, owner: Owner | None = None) -> None:
        self.directory = directory
        self._owner = owner
        self._path = directory / JOURNAL_NAME
        self._connection: sqlite3.Connection | None = None
        self._watch = JournalWatch(self._path)
        self._problem = ""
        self._written: dict[int, AccountState] = {}
        self._facts: dict[str, str] = {}
        self._quotes_written_at: datetime | None = None
        self._is_published = False
        self._published_mark: object = None
        self._has_clock_offset = False
        # The figures of the last write, for the copy.
        self._marks: tuple[Statement, ...] = ()
        self._pruned_on: date | None = None
        self._commits = 0
        self.has_all_quotes = True

    @property
    def is_open(self) -> bool:
        """Whether the journal is open."""
        return self._connection is not None

    def open(self, account_ids: Collection[int], now: datetime) -> Recovery:
        """Open the journal and return its content; replace a damaged one.

        :param account_ids: the accounts that the daemon will follow.
        :raises sqlite3.OperationalError: it cannot be opened now, for want of space or permission.
        :raises OSError: likewise.
        :raises NewerSchemaError: a newer riskd wrote it.
        :raises OtherGatewayError: it is of another gateway.
        """
        try:
            if self._was_emptied():
                raise DamagedError("it is empty, though there was one before")
            snapshot = self._open_whole(self._path)
            record = self._checked_record()
            check_current(snapshot, record.directory, self.directory)
            self._record_owner()
        except (UserError, *DAMAGES, OSError) as error:
            self.close()
            if isinstance(error, UserError) or may_pass(error):
                raise
            is_outdated = isinstance(error, OutdatedError)
            return self._begin_anew(account_ids, now, words_of(error), is_outdated=is_outdated)
        self._written, self._facts = dict(snapshot.accounts), {}
        self._commits = snapshot.commits
        self._has_clock_offset = snapshot.clock_offset is not None
        self._watch.note(self._journal)
        return Recovery(snapshot.accounts)

    def write(
        self,
        states: Iterable[AccountState],
        gateway_name: str,
        now: datetime,
        *,
        all_quotes: bool = False,
        clock_offset: str | None = None,
        marks: Iterable[EquityMark] = (),
    ) -> bool:
        """Write ``states`` to the journal; when this returns they are on disk.

        Quotes are written once a second at most, unless ``all_quotes`` asks for them.

        :param clock_offset: the fact of that name; see :data:`riskd.journal.schema.MIGRATIONS`.
        :param marks: the accounts' figures now; kept once a minute, while the broker's time is known.
        :returns: whether there was anything to write.
        :raises sqlite3.Error: the write failed as a whole; the journal is as before.
        """
        states, marks = list(states), tuple(marks)
        at = None if clock_offset is None else now + timedelta(seconds=float(clock_offset))
        change = self.change()
        if change:
            self._renew(states, gateway_name, now, at or now, change)
        has_written = self._write(states, gateway_name, now, at, marks, all_quotes, clock_offset)
        if has_written:
            self._watch.note(self._journal)
        return has_written

    def _write(
        self,
        states: list[AccountState],
        gateway_name: str,
        now: datetime,
        at: datetime | None = None,
        marks: tuple[EquityMark, ...] = (),
        all_quotes: bool = True,
        clock_offset: str | None = None,
    ) -> bool:
        """Write ``states``; the parameters are those of :meth:`write`.

        :param at: the broker's time; ``None`` while it is unknown.
        """
        takes_quotes = all_quotes or not self._has_fresh_quotes(now)
        self.has_all_quotes = takes_quotes or all(
            state.quotes == self._known(state).quotes for state in states
        )
        if not takes_quotes:
            states = [_with_quotes_of(self._known(state), state) for state in states]
        statements = [
            statement
            for state in states
            for statement in differences(self._written.get(state.account_id), state)
        ]
        facts = {"gateway": gateway_name}
        status = next((state.daemon for state in states if state.daemon), None)
        if status is not None:
            facts["daemon_status"] = encode_data(status)
        if clock_offset is not None:
            facts["clock_offset"] = clock_offset
        elif self._has_clock_offset:
            # That of an earlier run says nothing of this machine's clock now.
            statements.append(("DELETE FROM facts WHERE name = 'clock_offset'", ()))
        # as_of and commits come later: alone they are no reason for a write.
        if not statements and facts.items() <= self._facts.items():
            return False
        if at is not None:
            minute = at.replace(second=0, microsecond=0)
            statements += [mark_statement(mark, minute) for mark in marks]
            if minute.date() != self._pruned_on:
                statements += [(sql, (as_stamp(minute - KEPT_HISTORY),)) for sql in _PRUNE]
        facts |= {"as_of": now.isoformat(), "commits": str(self._commits + 1)}
        statements += [(_PUT_FACT, fact) for fact in facts.items() - self._facts.items()]
        journal = self._journal
        # The connection as a context commits at the end, and rolls back after an error.
        with journal:
            journal.execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                journal.execute(sql, values)
        self._commits += 1
        self._marks = (
            () if at is None else tuple(mark_statement(each, at, _COPY) for each in marks)
        )
        self._pruned_on = self._pruned_on if at is None else at.date()
        self._facts = facts
        self._has_clock_offset = clock_offset is not None
        self._written |= {state.account_id: state for state in states}
        self._is_published = False
        if takes_quotes:
            self._quotes_written_at = now
        return True

    def publish(self) -> bool:
        """Publish a copy of the journal's content, unless it is published already.

        :returns: whether there was anything to publish.
        :raises sqlite3.Error: the copy could not be made; the copy before stays.
        :raises OSError: likewise.
        """
        if self._is_published and published_mark(self.directory) == self._published_mark:
            return False
        temporary = self.directory / _TEMPORARY_NAME
        with os.fdopen(create_private(temporary), "wb") as file:
            file.write(self._copied())
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            # After a power cut the new name must not stand for a file whose bytes were lost.
            os.fsync(file.fileno())
        published = self.directory / PUBLISHED_NAME
        if published.is_dir() and not published.is_symlink():
            put_away(published)
        # A reader that has the copy before open keeps it.
        temporary.replace(published)
        sync(self.directory)
        self._is_published, self._published_mark = True, published_mark(self.directory)
        return True

    def close(self) -> None:
        """Close the journal; it can be opened again."""
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

    def _copied(self) -> bytes:
        """Return a database file of the public rows.

        Private rows are never written to it, not even to be deleted again: SQLite leaves deleted rows in
        the file.
        """
        journal = self._journal
        # In memory, and by the connection of the journal: opening files and creating tables would be most of
        # the work.
        journal.deserialize(empty_database(), name=_COPY)
        with journal:
            journal.execute("BEGIN")
            for table in PUBLISHED_TABLES:
                rows = _PUBLISHED_ROWS.get(table, f"SELECT * FROM main.{table}")  # noqa: S608  # names of ours
                journal.execute(f"INSERT INTO {_COPY}.{table} {rows}")
            for sql, values in self._marks:
                journal.execute(sql, values)
        return journal.serialize(name=_COPY)

    def _has_fresh_quotes(self, now: datetime) -> bool:
        # If the clock was set back, quotes must not wait until it has caught up.
        at = self._quotes_written_at
        return at is not None and timedelta() <= now - at < _QUOTES_EVERY

    def _open_whole(self, path: Path) -> Snapshot:
        """Open a journal and read all of it, so that any damage is found now."""
        # Created with its mode before SQLite writes to it: other users must never read it.
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
        found = check_files(path)
        # isolation_level None: transactions begin and end where this module says so.  One thread uses the
        # connection at a time, but not always the same one.
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        journal = self._connection
        check_opened(path, found)
        restrict(journal)
        check_whole(journal, path)
        # WAL: someone who reads the journal never delays a write.  FULL: a commit survives a power cut.
        journal.execute("PRAGMA journal_mode = WAL")
        journal.execute("PRAGMA synchronous = FULL")
        migrate(journal, path)
        journal.execute(f"ATTACH ':memory:' AS {_COPY}")
        return read_snapshot(journal)

    def _was_emptied(self) -> bool:
        """Return whether the journal is missing or empty although it has left traces."""
        if os.path.lexists(self._path) and self._path.lstat().st_size:
            return False
        is_published = os.path.lexists(self.directory / PUBLISHED_NAME)
        return is_published or any(self.directory.glob(f"{JOURNAL_NAME}.damaged-*"))

    def _published_commits(self) -> int:
        """Return the number of commits that the copy knows of; 0 if it cannot be read."""
        try:
            return read_published(self.directory).commits
        except StateFileError:
            return 0

    def _checked_record(self) -> Record:
        """Return what the open journal says of its owner.

        :raises OtherGatewayError: the journal is of another gateway.
        """
        facts = dict(self._journal.execute("SELECT name, value FROM facts"))
        record = msgspec.convert(facts, Record)
        # Checked at the start already, but a file may have been exchanged since.
        if self._owner is not None and not record.fits(self._owner.gateway):
            raise OtherGatewayError(
                f"the journal {self._path} belongs to {record.words}, and not to {self._owner.gateway}"
            )
        return record

    def _record_owner(self) -> None:
        """Write the owner into the open journal."""
        if self._owner is None:
            return
        facts = dict(self._journal.execute("SELECT name, value FROM facts"))
        if not self._owner.facts.items() <= facts.items():
            with self._journal as journal:
                journal.execute("BEGIN IMMEDIATE")
                journal.executemany(_PUT_FACT, self._owner.facts.items())
            self._is_published = False

    def _begin_anew(
        self, account_ids: Collection[int], now: datetime, why: str, *, is_outdated: bool
    ) -> Recovery:
        """Set the damaged journal aside; begin a new one with the locks that were saved.

        The damaged one stays in place until the new one holds them on disk, so that a crash at any point
        loses no lock.

        :param is_outdated: whether the published copy is newer.
        """
        accounts, outcome = salvage(self.directory, account_ids, now, is_outdated=is_outdated)
        new = self.directory / _NEW_NAME
        clear(new)
        self._written, self._facts, self._commits = {}, {}, self._published_commits()
        try:
            self._open_whole(new)
            self._record_owner()
            kind = self._owner.gateway.kind if self._owner else ""
            self._write(list(accounts.values()), kind, now)
        finally:
            # Closing checkpoints the log, so that all of it is in the one file.
            self.close()
        self._put_in_place(new, now, "damaged")
        return Recovery(
            accounts, f"The journal {self._path} is damaged ({why}) and was set aside; {outcome}"
        )

    def change(self) -> str:
        """Return what others have done to the journal's files, as a clause."""
        return "" if self._connection is None else self._watch.change(self._connection)

    def take_problem(self) -> str:
        """Return what others have done to the journal since the last call, as a sentence."""
        problem, self._problem = self._problem, ""
        return problem

    def _renew(
        self,
        states: Iterable[AccountState],
        gateway_name: str,
        now: datetime,
        at: datetime,
        change: str,
    ) -> None:
        """Write the journal again, from memory and from what SQLite still reads of it.

        Until the new one is in its place the old one stays open, so that a failure can be repeated.

        :param at: the broker's time.
        :param change: what others have done to it.
        """
        accounts = {**self._written, **{state.account_id: state for state in states}}
        old, known, facts, commits = self._journal, self._written, self._facts, self._commits
        new = self.directory / _NEW_NAME
        try:
            found = self._begin_copy(old, new)
            # The memory has only the latest entries of the log, and the journal is not read for it.
            logs = {key: state.risk.log for key, state in known.items()}
            self._written = {
                key: with_risk(state, log=logs.get(key, ()))
                for key, state in found.accounts.items()
            }
            self._facts, self._commits = {}, max(commits, found.commits)
            problem = f"The journal {self._path} {change}"
            with self._journal as journal:
                journal.execute("BEGIN IMMEDIATE")
                journal.executemany(_ADD_LOG_ENTRY, _log_entries(accounts, at, problem))
            self._write(list(accounts.values()), gateway_name, now)
            self.close()
            self._put_in_place(new, now, "replaced")
        except BaseException:
            self.close()
            self._connection = old
            self._written, self._facts, self._commits = known, facts, commits
            raise
        # Only now: SQLite removes no file of a journal that has moved.
        old.close()
        self._is_published = False
        self._problem = f"{problem}; riskd has written it again, and no lock is lost"

    def _begin_copy(self, old: sqlite3.Connection, new: Path) -> Snapshot:
        """Open a new journal with what ``old`` still reads, or else without content."""
        clear(new)
        if copy_whole(old, new):
            try:
                return self._open_owned(new)
            except (UserError, *DAMAGES):
                self.close()
                clear(new)
        return self._open_owned(new)

    def _open_owned(self, path: Path) -> Snapshot:
        self._connection = None
        snapshot = self._open_whole(path)
        self._record_owner()
        return snapshot

    def _put_in_place(self, new: Path, now: datetime, why: str) -> None:
        """Give a new journal the journal's name, and open it."""
        set_aside(self._path, now, why)
        new.replace(self._path)
        sync(self.directory)
        try:
            self._open_whole(self._path)
        except BaseException:
            self.close()
            raise
        self._watch.note(self._journal)


def _with_quotes_of(known: AccountState, state: AccountState) -> AccountState:
    """Return ``state`` with the journal's quotes.

    What a position has outdated since is not among them.
    """
    quotes = known.quotes
    if state.outdated_quotes is not known.outdated_quotes:
        outdated = {
            key
            for key, quote in state.outdated_quotes.items()
            if known.outdated_quotes.get(key) != quote
        }
        newer = {key: quote for key, quote in state.quotes.items() if key in outdated}
        quotes = {key: quote for key, quote in quotes.items() if key not in outdated} | newer
    return msgspec.structs.replace(state, quotes=quotes)


def _log_entries(
    accounts: Iterable[int], at: datetime, reason: str
) -> list[tuple[int, int, str, str]]:
    data = msgspec.json.encode({"reason": reason}).decode()
    return [(account_id, as_stamp(at), JOURNAL, data) for account_id in accounts]
