"""One riskd of a desk: its events, its link, and the status of its accounts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec

from riskd.desk.links import KnownLink, Link, LinkState, Now, link_words
from riskd.desk.messages import Heartbeat
from riskd.desk.ordering import Ordering
from riskd.model.event_number import Number
from riskd.model.events import DaemonStatus, Event, Status
from riskd.model.formatting import counted
from riskd.model.settings_changes import CHANGE_BEGINS

NOTE_SECONDS: Final = 60.0
"""How long a problem is shown that is over at once, such as lost events."""

_MOST_NOTES: Final = 8

_MAX_OFFSET: Final = timedelta(days=1)
"""A clock that is wrong by more than a day says nothing of another."""

_OLDER_BEATS: Final = 2
"""After so many heartbeats with an older epoch, the daemon has begun its numbers anew."""


class Waiting(msgspec.Struct, frozen=True):
    """An event, and its place in the server's stream.

    :ivar event: ``None`` for one that cannot be read.
    """

    position: int
    event: Event | None


class Instance:
    """One riskd.

    :param name: the desk's name for it.
    :param last: the number of the last event that was passed on before the relay was started.
    :param now: when the relay first knew of it.
    :param known: the trouble of its link before the relay was started; ``None`` if there was none.
    :ivar ordering: of its events.
    :ivar daemon: the last status that came from it; ``None`` before the first.
    :ivar status: what its accounts show, as of the last call of :meth:`look`.
    :ivar clock_offset: how far the broker's clock is ahead of this machine's, by the last heartbeat.
    """

    def __init__(
        self, name: str, last: Number | None, now: Now, known: KnownLink | None = None
    ) -> None:
        self.name = name
        self.ordering: Ordering[Waiting] = Ordering(last)
        self.daemon: DaemonStatus | None = None
        self.status: DaemonStatus | None = None
        self.clock_offset: timedelta | None = None
        self._link = Link(now, known)
        self._older_beats = 0
        self._doubted: tuple[Status, str] | None = None
        self._refusals: dict[int | None, str] = {}
        # Until when each sentence is shown.
        self._notes: dict[str, float] = {}

    @property
    def is_live(self) -> bool:
        """Whether the link is live."""
        return self._link.state is LinkState.LIVE

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is known of the riskd yet, not even a problem."""
        is_known = self._refusals or self._notes
        return self._link.state is LinkState.WAITING and not is_known

    @property
    def trouble(self) -> KnownLink | None:
        """The trouble of the link, for the next start; ``None`` if it has none."""
        return self._link.trouble

    def receive_beat(self, beat: Heartbeat, now: Now, age: timedelta = timedelta(0)) -> bool:
        """Take a heartbeat; return whether the daemon has begun its numbers anew.

        :param age: how long ago it was sent.  One that was stored may have come before.
        """
        before = self._link.beat
        if not self._link.receive(beat, self.ordering.last, now, age):
            return False
        self.ordering.announce(beat.number)
        self.clock_offset = _clock_offset(beat, now.before(age))
        if before is not None and beat.dropped > before.dropped:
            dropped = counted(beat.dropped - before.dropped, "event")
            self.note(f"{self.name} has dropped {dropped} because its outbox was full", now)
        self._take_status(beat)
        last = self.ordering.last
        is_older = beat.status is not None and last is not None and beat.epoch < last.epoch
        self._older_beats = self._older_beats + 1 if is_older else 0
        return self._older_beats >= _OLDER_BEATS

    def receive_status(self, status: DaemonStatus) -> None:
        """Take a status that the daemon has broadcast."""
        self.daemon, self._doubted = status, None

    def _take_status(self, beat: Heartbeat) -> None:
        """Take the daemon's status of a heartbeat, unless an event has a later one."""
        last, known = self.ordering.last, self.daemon
        if beat.status is None or (known and last not in (None, beat.number)):
            return
        status = DaemonStatus(status=beat.status, message=beat.message, timestamp=beat.at)
        # It is from the published copy, which may be a moment older than an event: two of them must say the same.
        is_doubted, self._doubted = _words(status) != self._doubted, _words(status)
        if known is None or (_words(known) != _words(status) and not is_doubted):
            self.daemon = status

    def begin_anew(self, now: Now) -> None:
        """Expect numbers from the beginning: the daemon has another journal."""
        self.ordering = Ordering()
        self._older_beats = 0
        self.note(f"riskd of {self.name} has a new journal, and numbers its events anew", now)

    def refuse(self, account_id: int | None, sentence: str) -> None:
        """Show that an account is left out; an empty sentence ends that."""
        self._refusals.pop(account_id, None)
        if sentence:
            self._refusals[account_id] = sentence

    def note(self, sentence: str, now: Now) -> None:
        """Show a problem for a while."""
        if sentence in self._notes or len(self._notes) < _MOST_NOTES:
            self._notes[sentence] = now.seconds + NOTE_SECONDS

    def look(self, accounts: Sequence[int], now: Now, server_problem: str = "") -> bool:
        """Find the status that the accounts show now; return whether it has changed.

        :param accounts: the accounts of this riskd.
        :param server_problem: see :func:`riskd.desk.links.link_words`.
        """
        self._link.look(self.ordering.last, now, is_server_away=bool(server_problem))
        self._notes = {each: end for each, end in self._notes.items() if end > now.seconds}
        problems = [
            link_words(self._link, self.name, accounts, server_problem),
            *self._refusals.values(),
            *self._notes,
        ]
        message = "; ".join(filter(None, problems))
        before = self.status
        if not message:
            self.status = None if self.daemon is None else _named(self.daemon, self.name)
            return self.status != before
        status = DaemonStatus(status=Status.ERROR, message=message, timestamp=now.at)
        if before is not None and _words(status) == _words(before):
            return False
        self.status = status
        return True


def _clock_offset(beat: Heartbeat, sent: Now) -> timedelta | None:
    """Return how far the broker's clock is ahead of this machine's, if known."""
    if beat.clock_offset is None:
        return None
    offset = beat.at + timedelta(seconds=beat.clock_offset) - sent.at
    return offset if abs(offset) < _MAX_OFFSET else None


def _words(status: DaemonStatus) -> tuple[Status, str]:
    return status.status, status.message


def _named(status: DaemonStatus, name: str) -> DaemonStatus:
    """Return a status that names whose it is; a change of settings names its account."""
    if status.message.startswith(CHANGE_BEGINS):
        return status
    return msgspec.structs.replace(status, message=f"{name}: {status.message}")
