"""The journal in a running daemon: what is written when, and who waits for it.

All work on the disk is done in one thread; the reactor's never waits.  What riskd alone knows is on
the disk before it is announced (:meth:`JournalService.make_durable`); the rest is written within a
second.  A client's handshake waits for the published copy (:meth:`JournalService.published`), which is
the whole synchronization between the file and the stream.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.host.disk_thread import DiskThread
from riskd.journal.interface import IJournal
from riskd.journal.reader import StateFileError, read_published
from riskd.journal.store import Recovery, Store
from riskd.model.account import AccountState

WRITE_BEHIND_SECONDS: Final = 0.5
"""How long a change may wait for others before it is written and published."""

QUOTES_WRITTEN_EVERY: Final = 1.0
QUOTES_PUBLISHED_EVERY: Final = 5.0
"""Quotes alone are written and published no more often than this, in seconds."""

HANDSHAKE_SECONDS: Final = 1.0
"""The longest that a handshake waits for the published copy."""

WRITE_SECONDS: Final = 1.0
"""A write that takes longer is trouble."""

_TOO_SLOW: Final = (
    "The state file takes over a second to write; what must be written first waits for it"
)

RETRY_SECONDS: Final = 1.0

_log = Logger()


@implementer(IJournal)
class JournalService(Service):
    """Writes and publishes what ``states`` gives, when it is told that something has changed.

    :param clock: the reactor.
    :param store: the journal.
    :param thread: where the disk is waited for.
    :param now: gives the time of day, aware.
    :param gateway_name: the kind of gateway, for the consoles.
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
        self._states: Callable[[], Iterable[AccountState]] = tuple
        self._account_ids: tuple[int, ...] = ()
        self._report: Callable[[str], None] = lambda _trouble: None
        self._found: Callable[[Recovery], None] = lambda _recovery: None
        self._trouble = ""
        self._is_ready = False
        self._is_stopped = False
        self._is_recovered = False
        self._is_busy = False
        self._is_unpublished = True
        self._has_new_quotes = False
        self._published_at: float | None = None
        self._write_waiters: list[Deferred[None]] = []
        self._publish_waiters: list[Deferred[None]] = []
        self._publishing_for: list[Deferred[None]] | None = None
        # Whether the copy that is being made may lack quotes that were told before.
        self._leaves_quotes = False
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        """Be ready to work."""
        super().startService()
        self._thread.start()

    def recover(
        self,
        account_ids: Iterable[int],
        states: Callable[[], Iterable[AccountState]],
        found: Callable[[Recovery], None],
        report: Callable[[str], None],
    ) -> Deferred[None]:
        """Open the journal; fire when it is in use, or when it cannot be opened now.

        What is told of :meth:`changed` before is written after.

        :param account_ids: the accounts that are followed.
        :param states: gives the states that are to be written, whenever the journal writes.
        :param found: told what the journal knows, once it can be opened; that may be later.
        :param report: told of trouble in a sentence, and with an empty one that it is over.
        """
        self._account_ids = tuple(account_ids)
        self._states = states
        self._found = found
        self._report = report
        self._is_ready = True
        tried: Deferred[None] = Deferred()
        self._write_waiters.append(tried)
        self._begin()
        return tried

    def read_copy(self) -> Deferred[dict[int, AccountState]]:
        """Fire with what the published copy says of each account; with nothing if it cannot be read."""

        def read() -> dict[int, AccountState]:
            try:
                return read_published(self._store.directory).accounts
            except StateFileError as error:
                _log.warn("{error}", error=error)
                return {}

        return self._thread.run(read)

    def changed(self, *, only_quotes: bool = False) -> None:
        """Take note that the states have changed; they will be written and published in time."""
        if not only_quotes:
            self._is_unpublished = True
            self._work_within(WRITE_BEHIND_SECONDS)
        elif not self._has_new_quotes:
            self._has_new_quotes = True
            self._work_within(QUOTES_WRITTEN_EVERY)

    def make_durable(self) -> Deferred[None]:
        """Write the states now; fire when they are on the disk, or when they cannot be written now.

        What could not be written is trouble, is reported as such, and is tried again; so is a disk that
        does not answer.  After the stop there is nothing to wait for.
        """
        if self._is_stopped:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._write_waiters.append(waiter)
        late = self._clock.callLater(WRITE_SECONDS, self._tell, _TOO_SLOW)

        def in_time(_result: object) -> None:
            if late.active():
                late.cancel()

        waiter.addBoth(in_time)
        self._is_unpublished = True
        self._begin()
        return waiter

    def published(self) -> Deferred[None]:
        """Fire when the published copy holds all that was broadcast before this call.

        Quotes that are not due by themselves are published for it.  Whatever happens, it fires within a
        second.
        """
        is_due = self._has_new_quotes or self._leaves_quotes or self._is_due_to_publish()
        if not self.running or (not is_due and self._publishing_for is None):
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        if is_due or self._publishing_for is None:
            self._publish_waiters.append(waiter)
        else:
            # The copy that is being made right now is of states that are still the latest.
            self._publishing_for.append(waiter)
        late = self._clock.callLater(HANDSHAKE_SECONDS, self._too_late, waiter)

        def in_time(_result: object) -> None:
            if late.active():
                late.cancel()

        waiter.addBoth(in_time)
        self._begin()
        return waiter

    def stopService(self) -> Deferred[None]:
        """Write and publish the last word, and let go of the journal."""
        super().stopService()
        self._is_stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        # What is under way was asked of the thread before, so this comes after it.
        done = self._work(publish=True, all_quotes=True)
        done.addCallback(lambda _: self._let_go_of_waiters())
        done.addCallback(lambda _: self._thread.run(self._store.close))
        return done.addCallback(lambda _: self._thread.stop())

    def _let_go_of_waiters(self) -> None:
        """Fire all that still wait: what they wait for was in the last word, and there is no other."""
        waiters = self._write_waiters + self._publish_waiters
        self._write_waiters, self._publish_waiters = [], []
        _fire(waiters)

    def _is_due_to_publish(self) -> bool:
        if self._is_unpublished or self._published_at is None:
            return True
        age = self._clock.seconds() - self._published_at
        return self._has_new_quotes and age >= QUOTES_PUBLISHED_EVERY

    def _work_within(self, seconds: float) -> None:
        due = self._clock.seconds() + seconds
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() > due:
                self._timer.reset(seconds)
        elif self.running:
            self._timer = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        """Work now, or after the work that is under way."""
        if self._is_busy or not (self._is_ready and self.running):
            return
        self._is_busy = True
        writers, self._write_waiters = self._write_waiters, []
        publishers: list[Deferred[None]] = []
        # Who only waits for the disk need not wait for a copy that nobody waits for; who waits for a
        # copy gets one, even if the one just made has put off when the next is due.
        is_waited_for = bool(self._publish_waiters)
        publish = is_waited_for or (not writers and self._is_due_to_publish())
        if publish:
            publishers, self._publish_waiters = self._publish_waiters, []
            self._publishing_for = publishers
            self._leaves_quotes = not is_waited_for
            self._is_unpublished = self._has_new_quotes = False

        def finish(is_written: bool) -> None:
            self._is_busy = self._leaves_quotes = False
            self._publishing_for = None
            if is_written or not self.running:
                _fire(writers + publishers)
            else:
                self._write_waiters[:0] = writers
                self._publish_waiters[:0] = publishers
            if self._write_waiters or self._publish_waiters:
                self._begin()
            elif self._is_unpublished:
                self._work_within(WRITE_BEHIND_SECONDS)
            elif self._has_new_quotes:
                self._work_within(QUOTES_WRITTEN_EVERY)

        self._work(publish=publish, all_quotes=is_waited_for).addCallback(finish)

    def _work(self, *, publish: bool, all_quotes: bool) -> Deferred[bool]:
        """Write, and publish if asked; a journal that is not open is opened instead.

        Of quotes that were written less than a second ago, new ones are written only with ``all_quotes``.

        Trouble is reported, not raised.  Fires with whether there is no more to wait for: after the
        journal was opened there is still all to be written.
        """
        now = self._now()
        begun = self._clock.seconds()
        # States of before the recovery would wipe out what the journal knows.
        may_write = self._is_recovered

        def work(states: tuple[AccountState, ...]) -> Recovery | bool:
            if not self._store.is_open:
                return self._store.open(self._account_ids, now)
            if may_write:
                self._store.write(states, self._gateway_name, now, all_quotes=all_quotes)
                return publish and self._store.publish()
            return False

        def succeeded(outcome: Recovery | bool) -> bool:
            if isinstance(outcome, Recovery):
                try:
                    self._found(outcome)
                except Exception:
                    # It is opened again later; until then nothing may be written over it.
                    self._thread.run(self._store.close)
                    raise
                # Not before: what was not taken over would be wiped out by the first write.
                self._is_recovered = True
                self._is_unpublished = True
                self._work_within(0)
            elif not self._store.has_all_quotes:
                self._has_new_quotes = True
            if publish and may_write:
                self._published_at = self._clock.seconds()
                # Trouble is over when a copy was made, and made in time for a handshake.
                if outcome is True and self._published_at - begun < HANDSHAKE_SECONDS:
                    self._tell("")
            return may_write

        states = maybeDeferred(lambda: tuple(self._states()))
        done = states.addCallback(lambda found: self._thread.run(lambda: work(found)))
        return done.addCallback(succeeded).addErrback(self._failed)

    def _failed(self, failure: Failure) -> bool:
        if failure.check(sqlite3.Error, OSError) is None:
            _log.failure("a mistake in the journal", failure=failure)
        self._is_unpublished = True
        self._work_within(RETRY_SECONDS)
        self._tell(f"The state file cannot be written: {failure.getErrorMessage()}")
        return True

    def _too_late(self, waiter: Deferred[None]) -> None:
        if not waiter.called:
            self._tell("The state file takes over a second to publish; consoles may be behind it")
            waiter.callback(None)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble:
                _log.error("{trouble}", trouble=trouble)
            if self._is_stopped:
                return
            try:
                self._report(trouble)
            except Exception:  # noqa: BLE001  # whoever is told must not keep the journal from going on
                _log.failure("telling of the journal's trouble: {trouble!r}", trouble=trouble)


def _fire(waiters: Iterable[Deferred[None]]) -> None:
    for waiter in waiters:
        if not waiter.called:
            waiter.callback(None)
