"""The relay as a service: what is on the disk before it is broadcast, and which client waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.messages import (
    Heartbeat,
    beat_subject,
    encode_beat,
    event_subject,
    message_id,
    quote_subject,
)
from riskd.desk.relay import without_repeated
from riskd.desk.relay_service import CATCH_UP_SECONDS, RelayService
from riskd.desk.revoked import REVOKED_NAME, Revoked
from riskd.journal.gateway_identity import DESK
from riskd.journal.reader import read_journal, read_published
from riskd.journal.service import JournalService
from riskd.journal.store import Store
from riskd.model.event_number import Number
from riskd.model.events import DaemonStatus, Event, MarketQuote, Status
from riskd.model.wire import encode
from riskd.testing import make_event
from tests.support.directories import temporary_directory
from tests.support.disk import SlowDisk, failing_disk

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
LOCK = make_event("lockout_set", {"accountId": 101, "locked_until": None})
CLEARED = make_event("lockout_cleared", {"accountId": 101})


class RelayServiceTestCase(SynchronousTestCase):
    """A relay on a clock, over a real journal; its servers are the test."""

    def setUp(self) -> None:
        self.directory = temporary_directory(self)
        self.clock = Clock()
        self.disk = SlowDisk()
        self.begin()

    def begin(self) -> None:
        self.sent: list[Event] = []
        self.accounts: list[tuple[int, ...]] = []
        store = Store(self.directory)
        self.addCleanup(store.close)
        self.journal = JournalService(self.clock, store, self.disk, self.now, DESK)
        self.relay = RelayService(
            self.clock,
            "alpha",
            self.directory,
            Revoked(self.directory),
            self.journal,
            self.sent.append,
            self.now,
            self.accounts.append,
        )
        self.journal.startService()
        self.relay.startService()
        self.clock.advance(0)
        self.relay.note_connection(is_connected=True)
        self.sent.clear()

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.clock.seconds())

    def receive(
        self, seq: int, event: Event, name: str = "anna", payload: bytes | None = None
    ) -> None:
        subject = event_subject("alpha", name, event.type, event.account_id)
        id_ = message_id(name, event.account_id, Number(1, seq), b"secret")
        self.relay.receive_event(subject, id_, payload or encode(event), seq)

    def beat(self, seq: int) -> None:
        beat = Heartbeat(
            epoch=1,
            seq=seq,
            at=self.now(),
            status=Status.RUNNING,
            message="In step",
            clock_offset=0.0,
        )
        self.relay.receive_beat(beat_subject("alpha", "anna"), encode_beat(beat))

    def statuses(self) -> list[str]:
        """Return the messages that were broadcast."""
        found = [each.data for each in self.sent if isinstance(each.data, DaemonStatus)]
        return [each.message for each in found]

    def others(self) -> list[Event]:
        """Return the other events that were broadcast."""
        return [each for each in self.sent if not isinstance(each.data, DaemonStatus)]


class BroadcastTests(RelayServiceTestCase):
    """An event is on the disk first."""

    def test_an_event_is_broadcast_once_it_is_on_the_disk(self) -> None:
        self.disk.is_slow = True
        self.receive(1, LOCK)
        self.receive(2, CLEARED)
        self.assertEqual(self.others(), [])
        self.disk.hurry()
        self.assertEqual(self.others(), [LOCK, CLEARED])

    def test_what_was_broadcast_is_not_broadcast_again_after_a_kill(self) -> None:
        self.receive(1, LOCK)
        self.assertEqual(self.others(), [LOCK])
        self.assertEqual(set(read_journal(self.directory).accounts[101].lockouts), {"RULE-003"})
        # Nothing of the first one is stopped.
        self.begin()
        self.receive(1, LOCK)
        self.receive(2, CLEARED)
        self.assertEqual(self.others(), [CLEARED])

    def test_a_status_comes_after_the_copy_that_explains_it(self) -> None:
        self.beat(0)
        self.receive(1, LOCK)
        self.clock.advance(1)
        self.sent.clear()
        self.disk.is_slow = True
        self.receive(2, make_event("daemon_status", {"status": "ERROR", "message": "No prices"}))
        self.assertEqual(self.sent, [])
        self.disk.hurry()
        self.assertEqual(self.statuses(), ["anna: No prices"])
        copy = read_published(self.directory)
        daemon = copy.accounts[101].daemon
        assert daemon is not None
        self.assertEqual((daemon.message, copy.gateway_name), ("anna: No prices", DESK))
        self.assertEqual(copy.clock_offset, timedelta())

    def test_a_quote_does_not_wait(self) -> None:
        self.receive(1, LOCK)
        self.disk.is_slow = True
        quote = make_event("MarketQuote", {"accountId": 101})
        assert isinstance(quote.data, MarketQuote)
        self.relay.receive_quote(quote_subject("alpha", "anna", 101, "MNQ"), encode(quote))
        self.assertEqual(self.others()[-1], quote)
        self.disk.hurry()

    def test_a_message_that_is_none_holds_up_nothing_and_is_told(self) -> None:
        self.receive(1, LOCK, payload=b"{}")
        self.receive(2, CLEARED)
        self.relay.receive_event("risk.alpha.anna.x", "", b"", 3)
        self.relay.receive_beat("risk.alpha.anna.beat", b"{}")
        self.relay.receive_quote("risk.alpha.anna.101.q.MNQ", b"{}")
        self.relay.receive_event("risk.other.ben.beat", "x", b"", 4)
        self.clock.advance(1)
        self.assertEqual(self.others(), [CLEARED])
        self.assertIn("an event of anna is left out", self.statuses()[0])

    def test_without_a_disk_events_are_broadcast_and_the_problem_is_told(self) -> None:
        self.receive(1, LOCK)
        self.journal._store.close()  # the next write opens it again
        disk = failing_disk(self)
        self.receive(2, CLEARED)
        self.clock.advance(1)
        self.assertEqual(self.others(), [LOCK, CLEARED])
        self.assertTrue(
            any("cannot be written" in each for each in self.statuses()), self.statuses()
        )
        disk.restore()

    def test_stopping_is_said_last(self) -> None:
        self.receive(1, LOCK)
        self.relay.stopService()
        data = self.sent[-1].data
        assert isinstance(data, DaemonStatus)
        self.assertEqual(data.status, Status.STOPPING)

    def test_without_a_server_and_accounts_the_relay_says_so_itself(self) -> None:
        self.relay.note_connection(is_connected=False)
        self.assertEqual(self.statuses(), ["The relay has no connection to the desk's server"])
        self.sent.clear()
        self.relay.note_connection(is_connected=True)
        self.receive(1, LOCK)
        # With accounts, their links say so.
        self.relay.note_connection(is_connected=False)
        self.assertFalse([each for each in self.statuses() if each.startswith("The relay")])
        self.clock.pump([1] * 15)
        self.assertIn("the relay has no connection to the desk's server", self.statuses()[-1])

    def test_who_has_left_is_shown_no_more(self) -> None:
        self.beat(0)
        self.receive(1, LOCK)
        self.receive(1, make_event("lockout_set", {"accountId": 201}), name="ben")
        self.clock.advance(1)
        self.sent.clear()
        (self.directory / REVOKED_NAME).write_text('["anna"]')
        self.clock.advance(1)
        self.receive(2, CLEARED)
        self.beat(2)
        self.clock.advance(1)
        # Clients read the copy again at a status, of which ben has none yet.
        self.assertEqual((self.others(), len(self.statuses())), ([], 1))
        self.assertEqual(self.accounts[-1], (201,))
        self.assertEqual(set(read_published(self.directory).accounts), {201})
        # Nor after a restart.
        self.begin()
        self.receive(1, LOCK)
        self.assertEqual((self.others(), set(read_journal(self.directory).accounts)), ([], {201}))

    def test_who_comes_again_is_shown_again(self) -> None:
        file = self.directory / REVOKED_NAME
        file.write_text('["anna"]')
        self.clock.advance(1)
        self.receive(1, LOCK)
        file.write_text("[]")
        self.clock.advance(1)
        self.receive(2, LOCK)
        self.clock.pump([1] * 3)
        self.assertEqual(self.others(), [LOCK])

    def test_a_list_that_is_none_is_told_and_changes_nothing(self) -> None:
        self.receive(1, LOCK)
        (self.directory / REVOKED_NAME).write_text('{"anna": 1}')
        self.clock.advance(1)
        self.assertIn("The relay: ", self.statuses()[-1])
        self.assertIn(REVOKED_NAME, self.statuses()[-1])
        self.receive(2, CLEARED)
        self.assertEqual(self.others(), [LOCK, CLEARED])

    def test_new_accounts_are_announced(self) -> None:
        self.receive(1, LOCK)
        self.clock.advance(0.5)
        self.clock.advance(0.5)
        self.assertEqual(self.accounts, [(101,)])


class AdmissionTests(RelayServiceTestCase):
    """A client that joins waits for what was stored meanwhile, and then for the copy."""

    def admit(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.relay.admit())

    def test_a_client_finds_all_events_before_it_in_the_copy(self) -> None:
        admitted = self.admit()
        self.receive(1, LOCK)
        self.assertNoResult(admitted)
        self.relay.caught_up()
        self.successResultOf(admitted)
        self.assertEqual(set(read_published(self.directory).accounts[101].lockouts), {"RULE-003"})

    def test_a_server_that_is_away_keeps_no_client_out(self) -> None:
        admitted = self.admit()
        self.clock.advance(CATCH_UP_SECONDS - 0.1)
        self.assertNoResult(admitted)
        self.clock.advance(0.2)
        self.successResultOf(admitted)
        self.successResultOf(self.admit())


class RepetitionTests(SynchronousTestCase):
    """A status that is said again while the one before waits."""

    def test_the_last_of_each_stays_in_its_place(self) -> None:
        here, there, lock = (
            make_event("daemon_status", {"message": "here"}),
            make_event("daemon_status", {"message": "there"}),
            make_event("lockout_set", {"accountId": 101, "locked_until": None}),
        )
        self.assertEqual(
            without_repeated([here, lock, here, there, here, lock, there]),
            [lock, here, lock, there],
        )
        self.assertEqual(without_repeated([]), [])
