"""A journal service on a clock, for tests of what it writes and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.reader import Snapshot, read_published
from riskd.journal.service import JournalService
from riskd.journal.store import Recovery, Store
from riskd.model.account import AccountState, apply
from riskd.model.events import Event
from riskd.testing import make_event
from tests.support.directories import temporary_directory
from tests.support.disk import SlowDisk
from tests.support.journal import NOON


class CountingStore(Store):
    """Counts writes and publications; each raises the exception that a test sets."""

    writes = 0
    publications = 0
    fault: Exception | None = None
    publish_fault: Exception | None = None

    def write(self, *arguments: Any, **choices: Any) -> bool:
        self.writes += 1
        if self.fault:
            raise self.fault
        return super().write(*arguments, **choices)

    def publish(self) -> bool:
        self.publications += 1
        if self.publish_fault:
            raise self.publish_fault
        return super().publish()


class ServiceTestCase(SynchronousTestCase):
    """A journal service on a clock, over a real store."""

    def setUp(self) -> None:
        self.directory = temporary_directory(self)
        self.clock = Clock()
        self.disk = SlowDisk()
        self.state = AccountState(account_id=123)
        self.recoveries: list[Recovery] = []
        self.problems: list[str] = []
        self.begin()

    def begin(self, *, slow: bool = False) -> Deferred[None]:
        self.store = CountingStore(self.directory)
        self.addCleanup(self.store.close)
        self.disk.is_slow = slow
        self.service = JournalService(
            self.clock,
            self.store,
            self.disk,
            lambda: NOON + timedelta(seconds=self.clock.seconds()),
            "practice",
        )
        self.service.startService()
        recovered = self.service.recover(
            [123], lambda: [self.state], self.found, self.problems.append
        )
        self.clock.advance(0)
        return recovered

    def found(self, recovery: Recovery) -> None:
        """Take over the journal's content, as the engine does."""
        self.recoveries.append(recovery)
        if self.state == AccountState(account_id=123):
            self.state = recovery.accounts.get(123, self.state)

    def apply(self, event_type: str, **data: Any) -> Event:
        event = make_event(event_type, data)
        self.state = apply(self.state, event)
        return event

    def snapshot(self) -> Snapshot:
        return read_published(self.directory)

    def quote(self, last: int) -> None:
        self.apply("MarketQuote", last=last)
        self.service.changed(only_quotes=True)

    def published_quote(self) -> Any:
        (quote,) = self.snapshot().accounts[123].quotes.values()
        return quote.last
