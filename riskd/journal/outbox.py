"""Events that wait in the journal until a desk has stored them.

``riskd.desk`` sends them.  The daemon adds each event that is no quote in the commit that writes its effect.  Another program reads them, and writes
down in a file of its own how far the desk has acknowledged them: nobody but the daemon writes to the journal.  What is
acknowledged stays for some minutes, because a server that loses its power may lose what it has acknowledged.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from riskd.host.files import create_private, read_regular, write_whole
from riskd.journal.reader import open_to_read
from riskd.journal.schema import FIRST_WITH_OUTBOX, JOURNAL_NAME, as_number, as_stamp, as_text
from riskd.model.event_number import Number, read_number
from riskd.model.events import Event
from riskd.model.wire import encode_data

OUTBOX_FACT: Final = "outbox"
"""The fact with the number of the last event that was added."""

DROPPED_FACT: Final = "outbox_dropped"
"""The fact with the number of events that were dropped unacknowledged."""

KEPT: Final = timedelta(days=7)
MOST_EVENTS: Final = 200_000
"""How long, and how many, unacknowledged events are kept; older ones are dropped."""

SENT_AGAIN: Final = timedelta(minutes=10)
"""For so long an acknowledged event stays, to be sent again after a loss of the connection."""

PRUNED_EVERY: Final = 60.0
"""Seconds between two prunings, if the first has left nothing to remove."""

PRUNED_AT_ONCE: Final = 1000
"""The most events that are removed at once, so that no lock waits for it."""

_TRUSTED_SECONDS: Final = 3600.0
_DRIFT_SECONDS: Final = 60.0

_ACKNOWLEDGED_NAME: Final = "outbox-acknowledged"
_MAX_BYTES: Final = 256

ADD_EVENT: Final = (
    "INSERT INTO outbox (epoch, seq, at, account_id, type, data) VALUES (?, ?, ?, ?, ?, ?)"
)
_OLDEST: Final = "SELECT epoch, seq, at FROM outbox ORDER BY epoch, seq LIMIT ?"
_DELETE_UNTIL: Final = "DELETE FROM outbox WHERE (epoch, seq) <= (?, ?)"
_COUNT_DROPPED: Final = (
    "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name)"
    " DO UPDATE SET value = CAST(CAST(value AS INTEGER) + excluded.value AS TEXT)"
)
_READ: Final = (
    "SELECT epoch, seq, account_id, type, data FROM outbox WHERE (epoch, seq) > (?, ?)"
    " ORDER BY epoch, seq LIMIT ?"
)
_FIRST_SINCE: Final = "SELECT epoch, seq FROM outbox WHERE at >= ? ORDER BY epoch, seq LIMIT 1"


class NotedEvent(NamedTuple):
    """An event on its way to the outbox.

    :ivar account_id: ``None`` for a status of the daemon.
    :ivar data: the JSON of its data, as on the wire.
    """

    account_id: int | None
    type: str
    data: str


class OutboxEvent(NamedTuple):
    """An event in the outbox; the rest is as of :class:`NotedEvent`."""

    number: Number
    account_id: int | None
    type: str
    data: str


def noted(event: Event) -> NotedEvent:
    """Return an event as the outbox keeps it."""
    return NotedEvent(event.account_id, event.type, encode_data(event.data))


def first_number(now: datetime, *known: Number | None) -> Number:
    """Return the number before the first event of a run.

    An epoch is a time, so that it rises even if the journal is lost.

    :param now: by the wall clock.
    :param known: numbers of earlier runs.
    """
    epochs = [number.epoch + 1 for number in known if number is not None]
    return Number(max([int(now.timestamp()), *epochs]), 0)


def rows_after(
    number: Number, events: Sequence[NotedEvent], now: datetime
) -> list[tuple[int, int, int, int | None, str, str]]:
    """Return the rows of events that come after ``number``."""
    at = as_stamp(now)
    return [(number.epoch, seq, at, *event) for seq, event in enumerate(events, number.seq + 1)]


class Pruning:
    """Removes from the outbox what needs not be kept, a part at a time.

    :param directory: the state directory.
    :ivar dropped: how many events were dropped that no desk has acknowledged.
    """

    def __init__(self, directory: Path) -> None:
        self.dropped = 0
        self._directory = directory
        self._count = 0
        # The wall clock and a steady one, when both began to agree.
        self._begun: tuple[datetime, float] | None = None

    def begin(self, journal: sqlite3.Connection) -> None:
        """Count the events of a journal that was opened just now."""
        (self._count,) = journal.execute("SELECT count(*) FROM outbox").fetchone()

    def added(self, events: int) -> None:
        """Note that events were added."""
        self._count += events

    def prune(self, journal: sqlite3.Connection, now: datetime, seconds: float) -> bool:
        """Remove some of the oldest; return whether there may be more to remove.

        :param now: by the wall clock.
        :param seconds: by a steady clock.
        :raises sqlite3.Error: it failed; the next call tries again.
        """
        acknowledged = read_acknowledged(self._directory)
        oldest = journal.execute(_OLDEST, (PRUNED_AT_ONCE,)).fetchall()
        old, too_old = as_stamp(now - SENT_AGAIN), as_stamp(now - KEPT)
        is_dated = self._is_clock_trusted(now, seconds)
        removed = dropped = 0
        for epoch, seq, at in oldest:
            if acknowledged is not None and (epoch, seq) <= acknowledged:
                if at >= old:
                    break
            elif (is_dated and at < too_old) or self._count - removed > MOST_EVENTS:
                dropped += 1
            else:
                break
            removed += 1
        if removed:
            with journal:
                journal.execute("BEGIN IMMEDIATE")
                journal.execute(_DELETE_UNTIL, oldest[removed - 1][:2])
                if dropped:
                    journal.execute(_COUNT_DROPPED, (DROPPED_FACT, str(dropped)))
        self._count -= removed
        self.dropped += dropped
        return removed == PRUNED_AT_ONCE

    def _is_clock_trusted(self, now: datetime, seconds: float) -> bool:
        """Return whether the wall clock has gone with a steady one for an hour.

        A clock that is set ahead for a moment must not make a week's events old.
        """
        if self._begun is not None:
            begun, since = self._begun
            passed = seconds - since
            if abs((now - begun).total_seconds() - passed) < _DRIFT_SECONDS:
                return passed >= _TRUSTED_SECONDS
        self._begun = (now, seconds)
        return False


def forget(journal: sqlite3.Connection) -> None:
    """Remove an outbox that is not kept any more.

    :raises sqlite3.Error: it failed.
    """
    with journal:
        journal.execute("BEGIN IMMEDIATE")
        journal.execute("DELETE FROM outbox")
        journal.execute("DELETE FROM facts WHERE name IN (?, ?)", (OUTBOX_FACT, DROPPED_FACT))


def number_in(text: str | None) -> Number | None:
    """Return the number in a fact; ``None`` if it has none."""
    try:
        return None if text is None else read_number(text)
    except ValueError:
        return None


def read_acknowledged(directory: Path, whose: str | None = None) -> Number | None:
    """Return the last event that a desk has acknowledged; ``None`` if none is known.

    :param whose: only what was written down for this desk; ``None`` for any.
    """
    try:
        text = read_regular(directory / _ACKNOWLEDGED_NAME, _MAX_BYTES).decode()
    except (OSError, ValueError):
        # Then everything is kept for longer, and at last dropped, which is reported.
        return None
    name, _, number = text.strip().rpartition(" ")
    return number_in(number) if whose in (None, name) else None


def write_acknowledged(directory: Path, whose: str, number: Number) -> None:
    """Write down the last event that a desk has acknowledged.

    After a power cut it may be an earlier one; those after it are sent again.

    :param whose: the desk, and its name for this riskd.
    :raises OSError: it cannot be written.
    """
    new = directory / f".{_ACKNOWLEDGED_NAME}.new"
    descriptor = create_private(new)
    try:
        write_whole(descriptor, f"{whose} {number}\n".encode())
    finally:
        os.close(descriptor)
    new.replace(directory / _ACKNOWLEDGED_NAME)


def read_outbox(directory: Path, after: Number, limit: int) -> list[OutboxEvent]:
    """Return the first events after a number, oldest first.

    :raises StateFileError: the journal cannot be read.
    """
    with open_to_read(directory / JOURNAL_NAME, "outbox") as (journal, version):
        if version < FIRST_WITH_OUTBOX:
            return []
        return [
            OutboxEvent(
                Number(as_number(epoch), as_number(seq)),
                None if account_id is None else as_number(account_id),
                as_text(event_type),
                as_text(data),
            )
            for epoch, seq, account_id, event_type, data in journal.execute(_READ, (*after, limit))
        ]


def number_before(directory: Path, since: datetime) -> Number | None:
    """Return a number before the first event that was added at ``since`` or later.

    ``None`` if there is none; the journal's wall clock may have been set meanwhile.

    :raises StateFileError: the journal cannot be read.
    """
    with open_to_read(directory / JOURNAL_NAME, "outbox") as (journal, version):
        if version < FIRST_WITH_OUTBOX:
            return None
        found = journal.execute(_FIRST_SINCE, (as_stamp(since),)).fetchone()
        return None if found is None else Number(as_number(found[0]), as_number(found[1]) - 1)
