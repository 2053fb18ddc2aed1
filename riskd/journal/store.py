"""The journal in SQLite: it is opened, written, and written again after damage.

The store has no reactor; its methods block and are called from one thread.  A write takes the states of
all accounts and commits their differences to the write before, in one transaction.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from riskd.host.errors import UserError
from riskd.host.files import open_regular, sync
from riskd.journal.audit_log import JOURNAL
from riskd.journal.content import Content, Plan, Present, plan_write
from riskd.journal.database import check_files, check_opened, check_whole, restrict
from riskd.journal.outbox import (
    OUTBOX_FACT,
    NotedEvent,
    Pruning,
    first_number,
    forget,
    number_in,
    read_acknowledged,
)
from riskd.journal.outdated import OutdatedError, check_current
from riskd.journal.ownership import OtherGatewayError, Owner, Record
from riskd.journal.publication import Publication
from riskd.journal.reader import (
    DAMAGES,
    Snapshot,
    StateFileError,
    may_pass,
    read_fact,
    read_published,
    read_snapshot,
    words_of,
)
from riskd.journal.replacement import clear, copy_whole, set_aside
from riskd.journal.salvage import salvage
from riskd.journal.schema import (
    JOURNAL_NAME,
    PUBLISHED_NAME,
    DamagedError,
    as_stamp,
    migrate,
)
from riskd.journal.watch import JournalWatch
from riskd.model.account import AccountState, with_risk
from riskd.model.equity import EquityMark
from riskd.model.event_number import Number

_NEW_NAME: Final = f"{JOURNAL_NAME}.new"

_PUT_FACT: Final = "INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)"

_ADD_LOG_ENTRY: Final = "INSERT INTO log (account_id, at, kind, data) VALUES (?, ?, ?, ?)"


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
    :param has_outbox: whether it keeps events for a desk; see :mod:`riskd.journal.outbox`.
    :ivar has_all_quotes: whether the last write took all quotes; if not, a later write must follow.
    """

    def __init__(
        self, directory: Path, owner: Owner | None = None, *, has_outbox: bool = False
    ) -> None:
        self.directory = directory
        self.has_outbox = has_outbox
        self._pruning = Pruning(directory)
        self._owner = owner
        self._path = directory / JOURNAL_NAME
        self._connection: sqlite3.Connection | None = None
        self._watch = JournalWatch(self._path)
        self._problem = ""
        self._content = Content(accounts={}, facts={}, commits=0)
        self._publication = Publication(directory)
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
        self._content = Content(
            accounts=dict(snapshot.accounts),
            facts={},
            commits=snapshot.commits,
            has_clock_offset=snapshot.clock_offset is not None,
            number=self._begin_outbox(now),
        )
        self._watch.note(self._journal)
        return Recovery(snapshot.accounts)

    def write(
        self,
        states: Iterable[AccountState],
        gateway_name: str,
        now: datetime,
        *,
        takes_quotes: bool = True,
        clock_offset: str | None = None,
        marks: Iterable[EquityMark] = (),
        events: Iterable[NotedEvent] = (),
        lost: int = 0,
    ) -> bool:
        """Write ``states`` to the journal; when this returns they are on disk.

        The parameters are the attributes of :class:`Present`.

        :returns: whether there was anything to write.
        :raises sqlite3.Error: the write failed as a whole; the journal is as before.
        """
        present = Present(
            states=tuple(states),
            gateway_name=gateway_name,
            now=now,
            takes_quotes=takes_quotes,
            clock_offset=clock_offset,
            marks=tuple(marks),
            events=tuple(events),
            lost=lost,
        )
        plan = plan_write(self._content, present)
        change = self._begin() if plan.statements else self.change()
        if change:
            self._renew(present, change)
            has_written = self._write(present)
        else:
            has_written = self._commit(plan)
        if has_written:
            self._watch.note_write()
            self._pruning.added(len(present.events))
        return has_written

    def _begin(self) -> str:
        """Begin a transaction, unless others have changed the journal's files.

        :returns: what they have done, as a clause; empty once the transaction has begun.
        """
        journal = self._journal
        change = self._watch.change_of_files()
        if change:
            return change
        try:
            journal.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            change = self.change()
            if not change:
                raise
            return change
        # Within the transaction, where it takes no locks of its own, and no other program can write after it.
        change = self._watch.change_by_sqlite(journal)
        if change:
            journal.rollback()
        return change

    def _write(self, present: Present) -> bool:
        """Write to a journal that was opened just now; the rest is as for :meth:`write`."""
        plan = plan_write(self._content, present)
        if plan.statements:
            self._journal.execute("BEGIN IMMEDIATE")
        return self._commit(plan)

    def _commit(self, plan: Plan) -> bool:
        """Carry out a plan in the transaction that has begun for it, and end that."""
        self.has_all_quotes = plan.has_all_quotes
        if not plan.statements:
            return False
        # The connection as a context commits at the end, and rolls back after an error.
        with self._journal as journal:
            for sql, rows in plan.statements:
                journal.executemany(sql, rows)
        self._content = plan.content
        self._publication.is_current = False
        return True

    def prune_outbox(self, now: datetime, seconds: float) -> bool:
        """Prune a part of the outbox; return whether there may be more to prune.

        :param seconds: by a steady clock.
        :raises sqlite3.Error: it failed; the next call tries again.
        """
        if not (self.has_outbox and self._connection):
            return False
        dropped = self._pruning.dropped
        has_more = self._pruning.prune(self._journal, now, seconds)
        self._watch.note_write()
        if self._pruning.dropped > dropped:
            self._publication.is_current = False
        return has_more

    def take_dropped(self) -> int:
        """Return how many unacknowledged events were dropped since the last call."""
        dropped, self._pruning.dropped = self._pruning.dropped, 0
        return dropped

    def publish(self) -> bool:
        """Publish a copy of the journal's content, unless it is published already.

        :returns: whether there was anything to publish.
        :raises sqlite3.Error: the copy could not be made; the copy before stays.
        :raises OSError: likewise.
        """
        content = self._content
        return self._publication.publish(self._journal, content.marks, content.marks_at)

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
        self._publication.prepare(journal)
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
        record = msgspec.convert(self._stored_facts(), Record)
        # Checked at the start already, but a file may have been exchanged since.
        if self._owner is not None and not record.fits(self._owner.gateway):
            raise OtherGatewayError(
                f"the journal {self._path} belongs to {record.words}, and not to {self._owner.gateway}"
            )
        return record

    def _stored_facts(self) -> dict[str, str]:
        return dict(self._journal.execute("SELECT name, value FROM facts"))

    def _record_owner(self) -> None:
        """Write the owner into the open journal."""
        if self._owner is None:
            return
        if not self._owner.facts.items() <= self._stored_facts().items():
            with self._journal as journal:
                journal.execute("BEGIN IMMEDIATE")
                journal.executemany(_PUT_FACT, self._owner.facts.items())
            self._publication.is_current = False

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
        self._content = Content(accounts={}, facts={}, commits=self._published_commits())
        try:
            self._open_whole(new)
            self._record_owner()
            self._content = msgspec.structs.replace(self._content, number=self._begin_outbox(now))
            kind = self._owner.gateway.kind if self._owner else ""
            self._write(Present(states=tuple(accounts.values()), gateway_name=kind, now=now))
        finally:
            # Closing checkpoints the log, so that all of it is in the one file.
            self.close()
        self._put_in_place(new, now, "damaged")
        if self.has_outbox:
            outcome += "; events that no desk has got yet may be lost"
        return Recovery(
            accounts, f"The journal {self._path} is damaged ({why}) and was set aside; {outcome}"
        )

    def _begin_outbox(self, now: datetime) -> Number | None:
        """Return the number before this run's first event; ``None`` without an outbox."""
        fact = self._stored_facts().get(OUTBOX_FACT)
        if not self.has_outbox:
            if fact is not None:
                forget(self._journal)
            return None
        self._pruning.begin(self._journal)
        known = (number_in(fact), self._published_number(), read_acknowledged(self.directory))
        return first_number(now, *known)

    def _published_number(self) -> Number | None:
        """Return the number that the copy knows of; ``None`` if it cannot be read."""
        try:
            return number_in(read_fact(self.directory, OUTBOX_FACT))
        except StateFileError:
            return None

    def change(self) -> str:
        """Return what others have done to the journal's files, as a clause."""
        return "" if self._connection is None else self._watch.change(self._connection)

    @property
    def has_problem(self) -> bool:
        """Whether :meth:`take_problem` has something to return."""
        return bool(self._problem)

    def take_problem(self) -> str:
        """Return what others have done to the journal since the last call, as a sentence."""
        problem, self._problem = self._problem, ""
        return problem

    def _renew(self, present: Present, change: str) -> None:
        """Write the journal again, from memory and from what SQLite still reads of it.

        Until the new one is in its place the old one stays open, so that a failure can be repeated.

        :param change: what others have done to it.
        """
        old, content, now = self._journal, self._content, present.now
        accounts = content.accounts | {state.account_id: state for state in present.states}
        new = self.directory / _NEW_NAME
        try:
            found = self._begin_copy(old, new)
            # The memory has only the latest entries of the log, and the journal is not read for it.
            logs = {key: state.risk.log for key, state in content.accounts.items()}
            known = {
                key: with_risk(state, log=logs.get(key, ()))
                for key, state in found.accounts.items()
            }
            self._content = msgspec.structs.replace(
                content,
                accounts=known,
                facts={},
                marked={},
                commits=max(content.commits, found.commits),
            )
            problem = f"The journal {self._path} {change}"
            with self._journal as journal:
                journal.execute("BEGIN IMMEDIATE")
                journal.executemany(
                    _ADD_LOG_ENTRY, _log_entries(accounts, present.at or now, problem)
                )
            self._write(
                Present(
                    states=tuple(accounts.values()), gateway_name=present.gateway_name, now=now
                )
            )
            self.close()
            self._put_in_place(new, now, "replaced")
        except BaseException:
            self.close()
            self._connection, self._content = old, content
            raise
        # Only now: SQLite removes no file of a journal that has moved.
        old.close()
        if self.has_outbox:
            self._pruning.begin(self._journal)
        self._publication.is_current = False
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


def _log_entries(
    accounts: Iterable[int], at: datetime, reason: str
) -> list[tuple[int, int, str, str]]:
    data = msgspec.json.encode({"reason": reason}).decode()
    return [(account_id, as_stamp(at), JOURNAL, data) for account_id in accounts]
