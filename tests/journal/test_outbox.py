"""Events that wait in the journal until a desk has them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from riskd.journal import outbox, service
from riskd.journal.outbox import (
    DROPPED_FACT,
    OUTBOX_FACT,
    OutboxEvent,
    first_number,
    noted,
    number_before,
    number_in,
    read_acknowledged,
    read_outbox,
    write_acknowledged,
)
from riskd.journal.reader import read_published
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME
from riskd.journal.store import Store
from riskd.model.event_number import Number
from riskd.model.events import Event
from riskd.model.wire import decode_data
from riskd.testing import make_event
from tests.support.journal import NOON, StoreTestCase, full_state
from tests.support.journal_service import ServiceTestCase

BEGIN = Number(0, 0)
EPOCH = int(NOON.timestamp())


def events(*numbers: int) -> list[Event]:
    return [make_event("GatewayUserTrade", {"id": number}) for number in numbers]


class OutboxTestCase(StoreTestCase):
    """A journal that keeps events for a desk."""

    def open(self, now: datetime = NOON) -> Store:
        self.store = Store(self.directory, has_outbox=True)
        self.addCleanup(self.store.close)
        self.recovery = self.store.open([123], now)
        return self.store

    def add(self, *added: Event, at: datetime = NOON) -> None:
        self.store.write([full_state()], "practice", at, events=map(noted, added))
        self.prune(at)

    def prune(self, at: datetime, steady: datetime | None = None) -> bool:
        """Prune, on a machine whose clocks have agreed since an hour before noon."""
        return self.store.prune_outbox(at, ((steady or at) - NOON).total_seconds())

    def acknowledge(self, seq: int) -> None:
        write_acknowledged(self.directory, "alpha anna", Number(EPOCH, seq))

    def kept(self) -> list[OutboxEvent]:
        return read_outbox(self.directory, BEGIN, 1_000_000)

    def kept_numbers(self) -> list[Number]:
        return [event.number for event in self.kept()]

    def fact(self, name: str) -> str | None:
        path = self.directory / PUBLISHED_NAME
        with closing(sqlite3.connect(path)) as copy:
            found = copy.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])


class NumberTests(OutboxTestCase):
    """Each event has a number, which rises for ever."""

    def test_events_are_numbered_from_one_in_their_order(self) -> None:
        self.add(*events(5, 6))
        self.add(make_event("daemon_status", {}))
        self.assertEqual(self.kept_numbers(), [Number(EPOCH, seq) for seq in (1, 2, 3)])
        self.assertEqual([event.account_id for event in self.kept()], [123, 123, None])

    def test_an_event_is_kept_as_it_is_on_the_wire(self) -> None:
        (event,) = events(5)
        self.add(event)
        (kept,) = self.kept()
        self.assertEqual(decode_data(kept.type, kept.account_id, kept.data), event)

    def test_the_copy_has_the_number_of_its_last_event(self) -> None:
        self.add(*events(1, 2, 3))
        self.store.publish()
        self.assertEqual(self.fact(OUTBOX_FACT), f"{EPOCH}.3")
        self.assertEqual(set(read_published(self.directory).accounts), {123})

    def test_the_copy_has_no_event(self) -> None:
        self.add(*events(1))
        self.store.publish()
        with closing(sqlite3.connect(self.directory / PUBLISHED_NAME)) as copy:
            self.assertEqual(copy.execute("SELECT count(*) FROM outbox").fetchone(), (0,))

    def test_each_start_begins_a_later_epoch(self) -> None:
        self.add(*events(1))
        self.crash()
        # The same second, then a clock that was set back by a day.
        for late in (timedelta(), timedelta(days=-1)):
            self.open(NOON + late)
            self.add(*events(2))
            self.store.close()
        numbers = self.kept_numbers()
        self.assertEqual(numbers, [Number(EPOCH, 1), Number(EPOCH + 1, 1), Number(EPOCH + 2, 1)])
        self.assertEqual(numbers, sorted(numbers))

    def test_a_lost_journal_does_not_begin_from_the_first_epoch(self) -> None:
        self.assertGreater(first_number(NOON + timedelta(seconds=5), None), Number(EPOCH, 7))

    def test_a_damaged_journal_goes_on_by_the_copy_and_the_acknowledgment(self) -> None:
        """The clock alone may have been set back meanwhile."""

        def acknowledge() -> None:
            write_acknowledged(self.directory, "alpha anna", max(self.kept_numbers()))

        for seq, leave in ((1, self.store.publish), (2, acknowledge)):
            self.add(*events(seq))
            before = max(self.kept_numbers())
            leave()
            self.store.close()
            self.journal.write_bytes(b"damaged")
            self.open(NOON - timedelta(days=1))
            self.add(*events(9))
            self.assertGreater(min(self.kept_numbers()), before)
        self.assertIn("events that no desk has got yet may be lost", self.recovery.problem)

    def test_an_absurd_number_is_none(self) -> None:
        for text in ("9223372036854775807.1", "99999999999999999999.1", "1.", "1.²", "", "x"):
            self.assertIsNone(number_in(text), text)
        self.add(*events(1))
        self.store.close()
        with closing(sqlite3.connect(self.journal)) as journal, journal:
            sql = "UPDATE facts SET value = '9223372036854775807.1' WHERE name = 'outbox'"
            journal.execute(sql)
        (self.directory / "outbox-acknowledged").write_text("alpha anna 99999999999999999999.1")
        self.open(NOON + timedelta(seconds=5))
        self.add(*events(2), at=NOON + timedelta(seconds=5))
        self.assertEqual(self.kept_numbers()[-1], Number(EPOCH + 5, 1))

    def test_a_write_that_fails_uses_no_number(self) -> None:
        self.add(*events(1))
        with closing(
            sqlite3.connect(self.directory / JOURNAL_NAME, isolation_level=None)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            self.store._journal.execute("PRAGMA busy_timeout = 0")
            self.assertRaises(sqlite3.OperationalError, self.add, *events(2))
            other.execute("ROLLBACK")
        self.add(*events(2))
        self.assertEqual([number.seq for number in self.kept_numbers()], [1, 2])

    def test_a_replaced_journal_goes_on(self) -> None:
        self.add(*events(1))
        (self.directory / JOURNAL_NAME).rename(self.directory / "elsewhere")
        self.add(*events(2))
        self.assertEqual([number.seq for number in self.kept_numbers()], [1, 2])

    def test_without_an_outbox_there_is_none(self) -> None:
        self.store.close()
        self.store = Store(self.directory)
        self.store.open([123], NOON)
        self.add(*events(1))
        self.store.publish()
        self.assertEqual((self.kept(), self.fact(OUTBOX_FACT)), ([], None))

    def test_one_that_is_switched_off_is_forgotten(self) -> None:
        self.add(*events(1, 2))
        self.test_without_an_outbox_there_is_none()

    def test_lost_events_leave_a_gap(self) -> None:
        self.store.write([full_state()], "practice", NOON, events=map(noted, events(1)), lost=3)
        self.assertEqual(self.kept_numbers(), [Number(EPOCH, 4)])


class PruningTests(OutboxTestCase):
    """What a desk has acknowledged goes after some minutes, all else after a week."""

    LATER = NOON + outbox.SENT_AGAIN + timedelta(minutes=1)

    def test_what_is_acknowledged_stays_to_be_sent_again(self) -> None:
        self.add(*events(1, 2))
        self.acknowledge(2)
        self.add(*events(3), at=NOON + timedelta(minutes=5))
        self.assertEqual(len(self.kept()), 3)
        self.add(at=self.LATER)
        self.assertEqual(self.kept_numbers(), [Number(EPOCH, 3)])
        self.assertEqual(self.store.take_dropped(), 0)

    def test_what_is_not_acknowledged_stays(self) -> None:
        self.add(*events(1, 2, 3))
        self.acknowledge(1)
        self.add(at=NOON + timedelta(days=6))
        self.assertEqual([number.seq for number in self.kept_numbers()], [2, 3])

    def test_a_clock_that_is_set_ahead_drops_nothing(self) -> None:
        self.add(*events(1, 2))
        for minutes in range(60):
            now = NOON + timedelta(minutes=minutes)
            self.prune(now + timedelta(days=30), now)
        self.assertEqual(len(self.kept()), 2)

    def test_few_are_removed_at_once(self) -> None:
        self.patch(outbox, "PRUNED_AT_ONCE", 2)
        self.add(*events(*range(5)))
        self.acknowledge(5)
        found = [(self.prune(self.LATER), len(self.kept())) for _ in range(4)]
        self.assertEqual(found, [(True, 3), (True, 1), (False, 0), (False, 0)])

    def test_after_a_week_it_is_dropped_and_counted(self) -> None:
        self.add(*events(1, 2))
        self.add(*events(3), at=NOON + timedelta(days=4))
        self.add(at=NOON + timedelta(days=8))
        self.assertEqual([number.seq for number in self.kept_numbers()], [3])
        self.assertEqual((self.store.take_dropped(), self.store.take_dropped()), (2, 0))
        self.store.publish()
        self.assertEqual(self.fact(DROPPED_FACT), "2")
        self.add(at=NOON + timedelta(days=12))
        self.store.publish()
        self.assertEqual(self.fact(DROPPED_FACT), "3")

    def test_of_too_many_the_oldest_are_dropped(self) -> None:
        self.patch(outbox, "MOST_EVENTS", 3)
        self.add(*events(*range(5)))
        self.add(at=NOON + timedelta(minutes=2))
        self.assertEqual([number.seq for number in self.kept_numbers()], [3, 4, 5])
        self.assertEqual(self.store.take_dropped(), 2)

    def test_an_unreadable_acknowledgment_keeps_everything(self) -> None:
        self.add(*events(1))
        for text in ("", "x", "1", "a 1", "alpha anna 1.2.3", "9" * 300):
            (self.directory / "outbox-acknowledged").write_text(text)
            self.assertIsNone(read_acknowledged(self.directory), text)
        self.add(at=self.LATER)
        self.assertEqual(len(self.kept()), 1)

    def test_what_was_acknowledged_is_read_again(self) -> None:
        self.assertIsNone(read_acknowledged(self.directory))
        for number in (Number(1, 2), Number(1, 3)):
            write_acknowledged(self.directory, "alpha anna", number)
            self.assertEqual(read_acknowledged(self.directory), number)
            self.assertEqual(read_acknowledged(self.directory, "alpha anna"), number)
            # What another desk has acknowledged says nothing of this one.
            self.assertIsNone(read_acknowledged(self.directory, "beta anna"))

    def test_the_last_minutes_are_found(self) -> None:
        self.add(*events(1, 2))
        self.add(*events(3), at=NOON + timedelta(minutes=5))
        since = NOON + timedelta(minutes=1)
        self.assertEqual(number_before(self.directory, since), Number(EPOCH, 2))
        self.assertIsNone(number_before(self.directory, NOON + timedelta(hours=1)))


class ServiceTests(ServiceTestCase):
    """The journal's service adds events with the write of what they have changed."""

    def begin(self, *, slow: bool = False) -> Deferred[None]:
        recovered = super().begin(slow=slow)
        self.store.has_outbox = True
        self.store._content = msgspec.structs.replace(self.store._content, number=Number(1, 0))
        return recovered

    def ids(self) -> list[int]:
        return [
            msgspec.json.decode(event.data)["id"]
            for event in read_outbox(self.directory, BEGIN, 1000)
        ]

    def note(self, *numbers: int) -> None:
        for number in numbers:
            self.service.note_event(self.apply("GatewayUserTrade", id=number))
            self.service.changed()

    def test_an_event_is_in_the_commit_of_its_effect(self) -> None:
        self.note(1, 2)
        self.assertEqual(self.ids(), [])
        self.clock.advance(1)
        self.assertEqual(self.ids(), [1, 2])
        self.assertEqual(set(self.snapshot().accounts[123].trades), {1, 2})

    def test_an_announcement_is_in_the_commit_before_it(self) -> None:
        self.note(1)
        self.successResultOf(self.service.make_durable())
        self.assertEqual(self.ids(), [1])

    def test_events_of_a_failed_write_come_with_the_next(self) -> None:
        self.store.fault = sqlite3.OperationalError("disk full")
        self.note(1)
        self.clock.advance(1)
        self.note(2)
        self.store.fault = None
        self.clock.pump([1] * 3)
        self.assertEqual(self.ids(), [1, 2])

    def test_events_of_a_failed_publication_come_once(self) -> None:
        self.clock.advance(1)
        self.store.publish_fault = OSError("no room")
        self.note(1)
        self.clock.advance(1)
        self.store.publish_fault = None
        self.clock.pump([1] * 5)
        self.assertEqual(self.ids(), [1])

    def test_what_comes_up_during_a_write_comes_with_the_next(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.note(1)
        self.clock.advance(1)
        self.note(2)
        self.disk.hurry()
        self.clock.pump([1] * 3)
        self.assertEqual(self.ids(), [1, 2])

    def test_the_last_events_are_written_at_the_end(self) -> None:
        self.note(1)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.ids(), [1])

    def test_a_stop_during_a_write_adds_nothing_twice(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.note(1, 2)
        self.clock.advance(1)
        self.note(3)
        stopped = self.service.stopService()
        self.disk.hurry()
        self.successResultOf(stopped)
        self.assertEqual(self.ids(), [1, 2, 3])

    def test_a_drop_is_logged(self) -> None:
        self.note(1)
        self.clock.advance(1)
        self.store._pruning.dropped = 7
        self.clock.advance(61)
        self.note(2)
        with capturedLogs() as logs:
            self.clock.advance(1)
        (line,) = [each for each in logs if "were dropped" in each["log_format"]]
        self.assertEqual(line["events"], 7)

    def test_of_too_many_for_a_dead_disk_the_last_are_lost_and_leave_a_gap(self) -> None:
        self.patch(service, "MOST_UNWRITTEN", 3)
        self.store.fault = sqlite3.OperationalError("disk full")
        self.note(*range(5))
        self.clock.advance(1)
        self.store.fault = None
        with capturedLogs() as logs:
            self.clock.pump([1] * 3)
        self.note(9)
        self.clock.pump([1] * 3)
        found = read_outbox(self.directory, BEGIN, 100)
        self.assertEqual([event.number.seq for event in found], [3, 4, 5, 6])
        self.assertEqual([each["events"] for each in logs if "events" in each], [2])

    def test_a_lock_never_waits_for_a_pruning_or_a_copy(self) -> None:
        """A copy is made no more often than without an outbox."""
        self.clock.advance(1)
        copies = self.store.publications
        for number in range(20):
            self.note(number)
            self.clock.advance(0.1)
        self.assertEqual(self.ids(), [*range(20)])
        self.assertLessEqual(self.store.publications - copies, 5)
        self.clock.pump([0.1] * 10)
        self.assertEqual(set(self.snapshot().accounts[123].trades), {*range(20)})
