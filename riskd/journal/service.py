"""When the journal is written and published, and which events wait for that.

One thread does all disk work, so the reactor never waits for the disk.  Facts that only riskd knows, such
as a lockout, are on disk before they are broadcast (:meth:`JournalService.make_durable`); everything else is
written within a second.  A client's handshake waits for the published copy
(:meth:`JournalService.published`).  That is all of the synchronization between the file and the stream: a
client that reads the copy after its handshake, and then receives events, misses none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import IntEnum
from functools import partial
from math import inf
from typing import Any, Final

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.host.disk_thread import DiskThread
from riskd.host.errors import UserError
from riskd.host.timing import lasting_loop, until_next
from riskd.journal.interface import IJournal
from riskd.journal.outbox import PRUNED_EVERY, NotedEvent, noted
from riskd.journal.reader import StateFileError, read_published
from riskd.journal.store import Recovery, Store
from riskd.model.account import AccountState
from riskd.model.equity import EquityMark, equity_mark, with_lasting_closes
from riskd.model.events import Event

WRITE_BEHIND_SECONDS: Final = 0.5
"""How long a change may wait for further changes before it is written and published."""

OUTBOX_SECONDS: Final = 0.1
"""The same with an outbox, whose events wait for the write before they travel."""

MOST_UNWRITTEN: Final = 5_000
"""How many events wait for a disk that cannot be written; later ones do not come to the outbox."""

QUOTES_WRITTEN_EVERY: Final = 1.0
QUOTES_PUBLISHED_EVERY: Final = 5.0
"""Quotes alone are written and published no more often than this, in seconds.

They are written together with the checks of a :class:`riskd.host.timing.SharedLoop`, so that both wake riskd once.
"""

HANDSHAKE_SECONDS: Final = 1.0
"""The longest that a handshake waits for the published copy."""

WRITE_SECONDS: Final = 1.0
"""A write that takes longer is reported as a problem."""

RETRY_SECONDS: Final = 1.0

WATCHED_EVERY: Final = 2.0
"""How long after a write, or a look before, the journal's files are looked at, in seconds at most."""

_SLOW_WRITE: Final = "The state file takes over a second to write; lockouts and enforcement actions are announced late"
_SLOW_COPY: Final = (
    "The state file takes over a second to publish; consoles may start with old data"
)

_STOPPED: Final = "riskd is stopping"
"""Why states are not on the disk that were changed after the last write."""

_log = Logger()


class _Unpublished(IntEnum):
    """What has changed since the last copy was begun.

    A higher value includes the lower ones.
    """

    NOTHING = 0
    QUOTES = 1
    """Only quotes, which may wait for some seconds."""
    STATES = 2


class _Write(msgspec.Struct, frozen=True, kw_only=True):
    """A write of the states, and perhaps the publication of a copy after it.

    :ivar writers: the Deferreds that wait until the states are on disk; see :meth:`JournalService.make_durable`.
    :ivar clients: the Deferreds of handshakes that wait for the copy.
    :ivar publishes: whether a copy is published after the write.
    :ivar takes_quotes: whether it takes the latest quotes.
    """

    writers: list[Deferred[str]]
    clients: list[Deferred[None]]
    publishes: bool
    takes_quotes: bool


@implementer(IJournal)
class JournalService(Service):
    """Writes and publishes the daemon's states after each change.

    :param clock: the reactor.
    :param store: the journal.
    :param thread: runs all calls of ``store``.
    :param now: returns the time of day, aware.
    :param gateway_name: the kind of gateway, which consoles show.
    :ivar clock_offset: returns the fact ``clock_offset``; ``None`` while it is unknown.
    """

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        thread: DiskThread,
        now: Callable[[], datetime],
        gateway_name: str,
    ) -> None:
        self._clock = clock
        self._store = store
        self._thread = thread
        self._now = now
        self._gateway_name = gateway_name
        self.clock_offset: Callable[[], str | None] = lambda: None
        # recover() sets these five.
        self._is_ready = False
        self._account_ids: tuple[int, ...] = ()
        self._states: Callable[[], Iterable[AccountState]] = tuple
        self._report: Callable[[str], None] = lambda _problem: None
        self._found: Callable[[Recovery], None] = lambda _recovery: None
        self._problem = ""
        self._behind = OUTBOX_SECONDS if store.has_outbox else WRITE_BEHIND_SECONDS
        # The events that are not in the outbox yet.
        self._events: list[NotedEvent] = []
        self._events_lost = 0
        self._pruned_at = -inf
        self._is_pruning = False
        self._is_recovered = False
        self._unpublished = _Unpublished.STATES
        self._published_at = -inf
        # The moment at which quotes were last written, or were the same.
        self._quotes_tick = -1
        # The next write is for these, and its copy for these.
        self._writers: list[Deferred[str]] = []
        self._clients: list[Deferred[None]] = []
        self._in_progress: _Write | None = None
        self._timer: IDelayedCall | None = None
        self._marks: dict[int, tuple[AccountState, EquityMark | None]] = {}
        self._watch = lasting_loop(clock, self._look_at_files, _log)
        self._is_looking = self._has_looked = False

    def startService(self) -> None:
        """Start the disk thread."""
        super().startService()
        self._thread.start()
        # A look in every second one: what a write has just looked at is left out once.
        self._watch.start(WATCHED_EVERY / 2, now=False)

    def recover(
        self,
        account_ids: Iterable[int],
        states: Callable[[], Iterable[AccountState]],
        found: Callable[[Recovery], None],
        report: Callable[[str], None],
    ) -> Deferred[None]:
        """Open the journal; earlier changes are written after that.

        See :class:`IJournal`.
        """
        self._account_ids = tuple(account_ids)
        self._states = states
        self._found = found
        self._report = report
        self._is_ready = True
        tried: Deferred[str] = Deferred()
        opened = tried.addCallback(lambda _: None)
        self._writers.append(tried)
        self._write_now()
        return opened

    def read_copy(self) -> Deferred[dict[int, AccountState]]:
        """Fires with the accounts in the published copy; with none if it cannot be read."""

        def read() -> dict[int, AccountState]:
            try:
                accounts = read_published(self._store.directory).accounts
                # Its balances are not settled.
                return {key: with_lasting_closes(each) for key, each in accounts.items()}
            except StateFileError as error:
                _log.warn("{error}", error=error)
                return {}

        return self._thread.run(read)

    def changed(self, *, only_quotes: bool = False) -> None:
        """Schedule a write and a publication, because states have changed."""
        self._take_kept_result()
        if not only_quotes:
            self._unpublished = _Unpublished.STATES
            self._write_within(self._behind)
        elif self._unpublished is _Unpublished.NOTHING:
            # Otherwise a write is scheduled or in progress already.
            self._unpublished = _Unpublished.QUOTES
            self._write_within(until_next(QUOTES_WRITTEN_EVERY, self._clock))

    def note_event(self, event: Event) -> None:
        """Add an event to the outbox, if there is one, with the next write."""
        if not self._store.has_outbox:
            return
        if len(self._events) < MOST_UNWRITTEN:
            # Here and not at each attempt to write it.
            self._events.append(noted(event))
        else:
            self._events_lost += 1

    def make_durable(self) -> Deferred[str]:
        """Write the states now.

        Fires once they are on disk, with an empty text, or once the write has failed, with the reason.

        A failed write is reported and repeated, and a slow one is reported.  After the service has
        stopped it fires at once.
        """
        if not self.running:
            return succeed(_STOPPED)
        waiter: Deferred[str] = Deferred()
        timer = self._clock.callLater(WRITE_SECONDS, self._report_problem, _SLOW_WRITE)

        def stop_timer(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        waiter.addBoth(stop_timer)
        self._writers.append(waiter)
        self._unpublished = _Unpublished.STATES
        self._write_now()
        return waiter

    def published(self) -> Deferred[None]:
        """Fires once the published copy holds all that was broadcast before this call.

        It makes a copy of quotes too, even if they are not due yet.  It fires after a second at the
        latest, whatever the disk does.
        """
        if not self.running:
            return succeed(None)
        self._take_kept_result()
        write = self._in_progress
        copy = write if write and write.publishes else None
        if self._unpublished or (copy and not copy.takes_quotes):
            clients = self._clients
        elif copy:
            # Nothing has changed since this copy was begun.
            clients = copy.clients
        else:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        # A late copy is a problem, but no reason to fail the handshake.
        waiter.addTimeout(
            HANDSHAKE_SECONDS, self._clock, lambda *_timeout: self._report_problem(_SLOW_COPY)
        )
        clients.append(waiter)
        self._write_now()
        return waiter

    def stopService(self) -> Deferred[None]:
        """Write and publish the final states, and close the journal."""
        super().stopService()
        if self._watch.running:
            self._watch.stop()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return Deferred.fromCoroutine(self._finish())

    async def _finish(self) -> None:
        # The thread runs calls in order: what a write in progress has written must not be written again.
        await self._thread.run(lambda: None)
        self._thread.deliver()
        last = _Write(
            writers=self._writers, clients=self._clients, publishes=True, takes_quotes=True
        )
        why_not = await self._perform(last)
        if why_not is None:
            why_not = _STOPPED
        if why_not:
            # A problem that was reported before is not logged again, and locks may be lost now.
            _log.error("the last changes are lost, they are not on the disk: {why}", why=why_not)
        # Even if it has failed: no other write will follow.
        _fire(last, why_not)
        await self._thread.run(self._store.close)
        self._thread.stop()

    def _look_at_files(self) -> None:
        """Write now if others have changed the journal's files meanwhile."""
        self._take_kept_result()
        if not self._is_recovered or self._in_progress or self._is_looking:
            return
        self._has_looked = not self._has_looked
        if not self._has_looked:
            return

        def looked(change: str) -> None:
            self._is_looking = False
            if change:
                self._unpublished = _Unpublished.STATES
                self._write_now()

        def failed(failure: Failure) -> None:
            self._is_looking = False
            _log.failure("internal error in looking at the journal's files", failure)

        self._is_looking = True
        self._thread.run(self._store.change).addCallbacks(looked, failed)

    def _is_publication_due(self) -> bool:
        age = self._clock.seconds() - self._published_at
        if self._unpublished is _Unpublished.STATES:
            # Writes for an outbox come more often; a copy each time would delay the next one.
            return not self._store.has_outbox or age >= WRITE_BEHIND_SECONDS
        # They are written at whole seconds, and the copy before was ready some milliseconds after one.
        due = QUOTES_PUBLISHED_EVERY - QUOTES_WRITTEN_EVERY / 2
        return self._unpublished is _Unpublished.QUOTES and age >= due

    def _write_within(self, seconds: float) -> None:
        """Schedule a write in so many seconds, unless an earlier one is scheduled."""
        due = self._clock.seconds() + seconds
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() > due:
                self._timer.reset(seconds)
        elif self.running:
            self._timer = self._clock.callLater(seconds, self._write_now)

    def _write_now(self) -> None:
        """Write and publish what is due now, or after the write in progress."""
        self._take_kept_result()
        if not self._in_progress and self._is_ready and self.running:
            Deferred.fromCoroutine(self._write_once())

    def _take_kept_result(self) -> None:
        """Go on after a write that is over, if nothing has waited for it."""
        if self._in_progress:
            self._thread.deliver()

    def _is_awaited(self, write: _Write) -> bool:
        """Return whether more waits for the end of ``write`` than the next one.

        The disk thread asks, and clients may have joined those of the write.
        """
        waiting = write.clients or self._writers or self._clients
        return bool(waiting or self._problem or self._store.has_problem)

    async def _write_once(self) -> None:
        # A durable write does not wait for a copy that no client waits for.  A waiting client gets a
        # copy with all quotes, even if quotes are not due to be written or published.
        has_clients = bool(self._clients)
        write = self._in_progress = _Write(
            writers=self._writers,
            clients=self._clients,
            publishes=has_clients or (not self._writers and self._is_publication_due()),
            takes_quotes=has_clients or self._tick() > self._quotes_tick,
        )
        self._writers, self._clients = [], []
        if write.publishes:
            # The write takes the present states; any change from now on needs another copy.
            self._unpublished = _Unpublished.NOTHING
        why_not = await self._perform(write)
        self._in_progress = None
        if write.takes_quotes and why_not == "":
            self._quotes_tick = self._tick()
        if why_not is None and not self.running:
            why_not = _STOPPED
        elif why_not == "":
            # The write has looked at the files.
            self._has_looked = True
        if why_not is not None:
            _fire(write, why_not)
        else:
            self._writers[:0] = write.writers
            self._clients[:0] = write.clients
        # What has come up during the write.
        if self._writers or self._clients:
            self._write_now()
            return
        self._prune()
        if self._events:
            self._write_within(self._behind)
        elif self._unpublished is _Unpublished.STATES:
            self._write_within(WRITE_BEHIND_SECONDS)
        elif self._unpublished is _Unpublished.QUOTES:
            is_late = self._tick() > self._quotes_tick
            self._write_within(0 if is_late else until_next(QUOTES_WRITTEN_EVERY, self._clock))

    def _tick(self) -> int:
        """Return the number of the moment that was last for quotes to be written.

        A timer that is early by a rounding error comes at its moment.
        """
        return int(self._clock.seconds() / QUOTES_WRITTEN_EVERY + 0.001)

    def _mark(self, state: AccountState) -> EquityMark | None:
        """Return the figures of an account, which are computed once for each state."""
        known = self._marks.get(state.account_id)
        # By identity: most of many accounts have not changed since the last write.
        if known is None or known[0] is not state:
            known = self._marks[state.account_id] = (state, equity_mark(state))
        return known[1]

    async def _perform(self, write: _Write) -> str | None:
        """Carry out ``write``; open the journal instead if it is closed.

        An error is reported, not raised.

        :returns: why the states are not on the disk, an empty text if they are; ``None`` after the journal was
            opened, because the states are still to be written then.
        """
        now, begun, clock_offset = self._now(), self._clock.seconds(), self.clock_offset()
        # Before the recovery the states are empty, and would wipe out the locks in the journal.
        may_write, is_written, added = self._is_recovered, False, 0
        events, lost = tuple(self._events), self._events_lost

        def work(
            states: tuple[AccountState, ...], marks: tuple[EquityMark, ...]
        ) -> Recovery | bool:
            nonlocal is_written, added
            if not self._store.is_open:
                return self._store.open(self._account_ids, now)
            if may_write:
                self._store.write(
                    states,
                    self._gateway_name,
                    now,
                    takes_quotes=write.takes_quotes,
                    clock_offset=clock_offset,
                    marks=marks,
                    events=events,
                    lost=lost,
                )
                # What follows may fail for itself.
                is_written, added = True, len(events)
                return write.publishes and self._store.publish()
            return False

        try:
            states = tuple(self._states())
            # Here and not in the thread: the open P&L is kept from one call to the next.
            marks = tuple(mark for mark in map(self._mark, states) if mark is not None)
            outcome = await self._in_thread(write, partial(work, states, marks))
            if isinstance(outcome, Recovery):
                self._take_over(outcome)
            elif not self._store.has_all_quotes:
                self._unpublished = max(self._unpublished, _Unpublished.QUOTES)
            replaced = self._report_replacement()
        except Exception as error:  # noqa: BLE001  # the journal must go on; it tries again
            if not isinstance(error, sqlite3.Error | OSError | UserError):
                _log.failure("internal error in the journal")
            self._unpublished = _Unpublished.STATES
            self._write_within(RETRY_SECONDS)
            self._report_problem(f"The state file cannot be written: {error}")
            return "" if is_written else str(error) or type(error).__name__
        finally:
            self._note_added(added, lost)
        if write.publishes and may_write:
            self._published_at = self._clock.seconds()
            # A problem is over once a copy was made in time for a handshake.
            is_over = outcome is True and self._published_at - begun < HANDSHAKE_SECONDS
            if is_over and not replaced:
                self._report_problem("")
        return "" if may_write else None

    def _in_thread(
        self, write: _Write, work: Callable[[], Recovery | bool]
    ) -> Deferred[Recovery | bool]:
        """Do the work of a write in the thread; an end that nothing waits for is kept."""
        is_ordinary = self._is_recovered and self.running and not self._store.has_outbox
        if is_ordinary and not write.writers and not write.clients:
            return self._thread.run_quietly(work, partial(self._is_awaited, write))
        return self._thread.run(work)

    def _note_added(self, events: int, lost: int) -> None:
        """Note how many events have come to the outbox, and how many were lost."""
        if events:
            del self._events[:events]
            self._events_lost -= lost
            self._report_dropped(lost)

    def _report_dropped(self, events: int) -> None:
        if events:
            _log.error("{events} events were dropped that no desk has got", events=events)

    def _prune(self) -> None:
        """Prune the outbox once a minute, while no write waits."""
        is_due = self._clock.seconds() >= self._pruned_at + PRUNED_EVERY
        if not (is_due and self._store.has_outbox and self._is_recovered) or self._is_pruning:
            return
        now, seconds = self._now(), self._clock.seconds()

        def pruned(has_more: bool) -> None:
            self._is_pruning, self._pruned_at = False, -inf if has_more else seconds
            self._report_dropped(self._store.take_dropped())

        def failed(failure: Failure) -> None:
            self._is_pruning, self._pruned_at = False, seconds
            _log.failure("the outbox cannot be pruned, which is tried again", failure)

        self._is_pruning = True
        self._thread.run(lambda: self._store.prune_outbox(now, seconds)).addCallbacks(
            pruned, failed
        )

    def _report_replacement(self) -> bool:
        """Report what others have done to the journal; return whether they have."""
        problem = self._store.take_problem()
        if problem:
            # It ends with the next publication.
            self._unpublished = _Unpublished.STATES
            self._report_problem(problem)
        return bool(problem)

    def _take_over(self, recovery: Recovery) -> None:
        """Hand the journal's content to the engine.

        Until the engine has taken it over, nothing may be written.
        """
        try:
            self._found(recovery)
        except Exception:
            # The next attempt opens it again.
            self._thread.run(self._store.close)
            raise
        self._is_recovered = True
        self._unpublished = _Unpublished.STATES
        self._write_within(0)

    def _report_problem(self, problem: str) -> None:
        """Log a new problem and report it; an empty one reports that it is over."""
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            _log.error("{problem}", problem=problem)
        if not self.running:
            return
        try:
            self._report(problem)
        except Exception:  # noqa: BLE001  # the journal must go on, whatever the engine does
            _log.failure(
                "internal error in reporting a problem of the journal: {problem!r}",
                problem=problem,
            )


def _fire(write: _Write, why_not: str) -> None:
    """Fire the Deferreds that wait for a write.

    :param why_not: why the states are not on the disk; an empty text if they are.
    """
    # Whoever waits may have given up before.
    for writer in write.writers:
        if not writer.called:
            writer.callback(why_not)
    for client in write.clients:
        if not client.called:
            client.callback(None)
