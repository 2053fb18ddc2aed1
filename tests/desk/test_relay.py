"""What a desk broadcasts, and what its accounts show."""

from __future__ import annotations

from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.instance import NOTE_SECONDS
from riskd.desk.links import LOST_SECONDS, UNREACHABLE_SECONDS, Now
from riskd.desk.messages import Heartbeat
from riskd.desk.ordering import HOLD_SECONDS
from riskd.desk.relay import Relay
from riskd.desk.relay_service import CATCH_UP_SECONDS
from riskd.model.account import AccountState
from riskd.model.desk_status import LINK_LOST
from riskd.model.event_number import Number
from riskd.model.events import DaemonStatus, Event, Status
from riskd.model.settings_changes import CHANGE_BEGINS
from riskd.testing import make_event
from tests.support.desk_clock import moment

ANNA, BEN = "anna", "ben"
STARTED = "Daemon started successfully on the ProjectX gateway"


def status(message: str = STARTED, value: str = "RUNNING") -> Event:
    """Return a status of a daemon."""
    return make_event(
        "daemon_status",
        {"status": value, "message": message, "timestamp": "2026-11-30T11:00:00Z"},
    )


def lock(account_id: int = 101) -> Event:
    """Return a lockout."""
    return make_event(
        "lockout_set",
        {"accountId": account_id, "locked_at": "2026-11-30T11:00:00Z", "locked_until": None},
    )


class DeskTestCase(SynchronousTestCase):
    """A desk with two traders: anna's accounts 101 and 102, and ben's 201."""

    def setUp(self) -> None:
        self.relay = Relay()
        self.seconds = 0.0
        self.place = 0
        self.sent: list[Event] = []
        self.numbers = {ANNA: 0, BEN: 0}
        self.state(ANNA, 101)
        self.state(ANNA, 102)
        self.state(BEN, 201)
        for name in (ANNA, BEN):
            self.beat(name)
            self.event(name, status())
        self.sent.clear()

    @property
    def now(self) -> Now:
        return moment(self.seconds)

    def state(self, name: str, account_id: int, seq: int | None = None) -> None:
        account = AccountState(account_id=account_id)
        number = Number(1, self.numbers[name] if seq is None else seq)
        self.sent += self.relay.receive_state(name, account, number, self.now)

    def beat(self, name: str, age: float = 0.0, **fields: object) -> None:
        """Receive a heartbeat that was sent some seconds ago."""
        sent = self.heartbeat(name, age, **fields)
        self.sent += self.relay.receive_beat(name, sent, self.now, timedelta(seconds=age))

    def heartbeat(self, name: str, age: float = 0.0, **fields: object) -> Heartbeat:
        return Heartbeat(
            **{
                "epoch": 1,
                "seq": self.numbers[name],
                "at": self.now.at - timedelta(seconds=age),
                "status": Status.RUNNING,
                "message": STARTED,
                **fields,
            }  # type: ignore[arg-type]
        )

    def event(
        self, name: str, event: Event | None, seq: int | None = None, epoch: int = 1
    ) -> None:
        self.place += 1
        if seq is None:
            seq = self.numbers[name] = self.numbers[name] + 1
        number = Number(epoch, seq)
        self.sent += self.relay.receive_event(name, number, event, self.place, self.now)

    def wait(self, seconds: float, *alive: str) -> None:
        """Let time pass; those who are alive send heartbeats."""
        for _ in range(round(seconds * 2)):
            self.seconds += 0.5
            if self.seconds % 5 == 0:
                for name in alive:
                    self.beat(name)
            self.sent += self.relay.tick(self.now)

    def statuses(self) -> list[tuple[Status, str]]:
        """Return the statuses that were broadcast since the last call."""
        found = [each.data for each in self.sent if isinstance(each.data, DaemonStatus)]
        self.sent.clear()
        return [(each.status, each.message) for each in found]

    def shown(self) -> dict[int, Status | None]:
        """Return the status that each account shows."""
        return {
            each.account_id: each.daemon and each.daemon.status for each in self.relay.states()
        }

    def message(self, account_id: int) -> str:
        """Return the message that an account shows."""
        (found,) = [each.daemon for each in self.relay.states() if each.account_id == account_id]
        return "" if found is None else found.message


ALL_RUN = {101: Status.RUNNING, 102: Status.RUNNING, 201: Status.RUNNING}
ANNA_WRONG = {101: Status.ERROR, 102: Status.ERROR, 201: Status.RUNNING}


class EventTests(DeskTestCase):
    """Each event is broadcast once, in the order of its daemon."""

    def test_events_are_broadcast_once_in_order(self) -> None:
        first, second = lock(), lock(102)
        self.event(ANNA, second, seq=3)
        self.assertEqual(self.sent, [])
        self.event(ANNA, first, seq=2)
        self.event(ANNA, first, seq=2)
        self.event(BEN, lock(201))
        self.event(ANNA, second, seq=3)
        self.assertEqual(self.sent, [first, second, lock(201)])
        self.assertFalse(self.relay.is_new(ANNA, Number(1, 3)))
        self.assertTrue(self.relay.is_new(ANNA, Number(1, 4)))
        self.assertTrue(self.relay.is_new("carl", Number(1, 1)))

    def test_what_waits_is_read_again_after_a_restart(self) -> None:
        self.assertEqual(self.relay.position(self.place), self.place)
        self.event(ANNA, lock(), seq=9)
        held = self.place
        self.event(BEN, lock(201))
        self.assertEqual(self.relay.position(self.place), held - 1)

    def test_an_event_that_cannot_be_read_holds_up_nothing(self) -> None:
        self.event(ANNA, None)
        self.event(ANNA, lock())
        self.assertEqual(self.sent, [lock()])

    def test_lost_events_are_reported_for_a_while(self) -> None:
        self.event(ANNA, lock(), seq=5)
        self.numbers[ANNA] = 5
        self.wait(HOLD_SECONDS, ANNA, BEN)
        self.assertIn(lock(), self.sent)
        self.assertIn("LAGGING", self.statuses()[0][1])
        self.wait(1, ANNA, BEN)
        self.assertIn(
            "3 events between the numbers 1.1 and 1.5 of anna did not arrive", self.message(101)
        )
        self.assertEqual(self.shown(), ANNA_WRONG)
        self.wait(NOTE_SECONDS, ANNA, BEN)
        self.assertEqual(self.shown(), ALL_RUN)
        self.assertEqual(self.statuses()[-1], (Status.RUNNING, f"anna: {STARTED}"))

    def test_a_quote_is_broadcast_if_it_is_news(self) -> None:
        quote = make_event("MarketQuote", {"accountId": 101, "timestamp": "2026-11-30T11:00:00Z"})
        self.assertEqual(self.relay.receive_quote(ANNA, quote), [quote])
        self.assertEqual(self.relay.receive_quote(ANNA, quote), [])
        for name, event in (
            (BEN, make_event("MarketQuote", {"accountId": 101, "bid": 1})),
            (ANNA, make_event("MarketQuote", {"accountId": 999})),
            (ANNA, lock()),
        ):
            self.assertEqual(self.relay.receive_quote(name, event), [])

    def test_a_corrected_trade_has_clients_read_the_copy_again(self) -> None:
        at = "2026-11-30T11:00:00Z"
        trade = make_event(
            "GatewayUserTrade",
            {"id": 1, "accountId": 101, "executionTime": at, "timestamp": at},
        )
        self.event(ANNA, trade)
        self.assertEqual(self.sent, [trade])
        # A state from before the trade corrects nothing; one from after it voids the trade.
        self.state(ANNA, 101, seq=1)
        self.assertEqual(self.statuses(), [])
        self.state(ANNA, 101)
        self.assertEqual(self.statuses(), [(Status.RUNNING, f"anna: {STARTED}")])
        self.state(ANNA, 101)
        self.assertEqual(self.statuses(), [])

    def test_a_new_account_has_clients_read_the_copy_again(self) -> None:
        self.state(ANNA, 103)
        self.assertEqual(self.statuses(), [(Status.RUNNING, f"anna: {STARTED}")])


class LinkTests(DeskTestCase):
    """A link is an account's; the stream says what is wrong, and RUNNING only when nothing is."""

    def test_a_lost_link_is_told_within_11_seconds_and_ends_with_what_the_daemon_said(
        self,
    ) -> None:
        self.wait(LOST_SECONDS - 0.5, BEN)
        self.assertEqual(self.shown(), ALL_RUN)
        self.wait(1, BEN)
        self.assertEqual(self.shown(), ANNA_WRONG)
        ((value, message),) = self.statuses()
        self.assertIs(value, Status.ERROR)
        self.assertTrue(
            message.startswith(f"{LINK_LOST} since Nov 30 12:00:00 UTC: anna (accounts 101, 102)")
        )
        self.wait(60, BEN)
        # It is said once.
        self.assertEqual(self.statuses(), [])
        self.beat(ANNA)
        self.assertEqual(self.statuses(), [(Status.RUNNING, f"anna: {STARTED}")])
        self.assertEqual(self.shown(), ALL_RUN)

    def test_running_is_not_said_while_another_link_is_lost(self) -> None:
        self.wait(LOST_SECONDS + 0.5, BEN)
        self.statuses()
        self.event(BEN, status("Running again"))
        ((value, message),) = self.statuses()
        self.assertEqual((value, message[: len(LINK_LOST)]), (Status.ERROR, LINK_LOST))
        self.assertEqual(self.message(201), "ben: Running again")
        self.assertEqual(self.shown(), ANNA_WRONG)

    def test_a_daemons_error_is_passed_on_with_its_name(self) -> None:
        self.event(ANNA, status("No prices", "ERROR"))
        self.assertEqual(self.statuses(), [(Status.ERROR, "anna: No prices")])
        self.assertEqual(self.shown(), ANNA_WRONG)
        self.event(ANNA, status("Running again"))
        self.assertEqual(self.statuses(), [(Status.RUNNING, "anna: Running again")])

    def test_each_status_of_a_daemon_is_one_status(self) -> None:
        change = f"{CHANGE_BEGINS[0]}of account 101 changed: max_contracts: limit 2 became 3"
        for message, expected in ((change, change), (change, change), ("x", "anna: x")):
            self.event(ANNA, status(message))
            self.assertEqual(self.statuses(), [(Status.RUNNING, expected)])

    def test_a_daemon_that_is_gone_is_told_apart(self) -> None:
        self.wait(4, BEN)
        self.beat(ANNA, status=None, message="")
        self.assertIn("DAEMON GONE since Nov 30 12:00:04 UTC", self.statuses()[0][1])
        self.assertEqual(self.shown(), ANNA_WRONG)

    def test_a_lagging_link_is_told_apart_and_waits_for_the_status(self) -> None:
        self.beat(ANNA, seq=2, status=Status.ERROR, message="No prices")
        self.wait(4, BEN)
        self.assertIn("LAGGING since Nov 30 12:00:03 UTC", self.statuses()[0][1])
        self.event(ANNA, status("No prices", "ERROR"))
        self.assertEqual(self.statuses()[-1], (Status.ERROR, "anna: No prices"))

    def test_a_status_that_only_heartbeats_have_is_taken_from_the_second(self) -> None:
        self.beat(ANNA, status=Status.ERROR, message="No prices")
        self.assertEqual(self.statuses(), [])
        self.seconds += 5
        self.beat(ANNA, status=Status.ERROR, message="No prices")
        self.assertEqual(self.statuses(), [(Status.ERROR, "anna: No prices")])

    def test_a_heartbeat_from_an_older_copy_ends_no_error(self) -> None:
        self.event(ANNA, status("No prices", "ERROR"))
        self.statuses()
        self.beat(ANNA)
        self.beat(ANNA, status=Status.ERROR, message="No prices")
        self.assertEqual(self.statuses(), [])
        self.assertEqual(self.shown(), ANNA_WRONG)

    def test_nothing_is_said_of_an_instance_before_it_is_known(self) -> None:
        relay = Relay()
        self.assertEqual(relay.tick(moment(0)), [])
        account = AccountState(account_id=1)
        self.assertEqual(relay.receive_state(ANNA, account, Number(1, 1), moment(0)), [])
        # The copy claims nothing either.
        (daemon,) = [each.daemon for each in relay.states()]
        assert daemon is not None
        self.assertEqual(daemon.status, Status.ERROR)
        self.assertIn("Waiting for the first heartbeat of anna (account 1)", daemon.message)

    def test_a_heartbeat_that_was_stored_ends_a_lost_link_at_once(self) -> None:
        self.wait(12, BEN)
        self.assertEqual(self.shown(), ANNA_WRONG)
        self.beat(ANNA, age=4)
        self.assertEqual(self.shown(), ALL_RUN)
        # It counts from when it was sent.
        self.wait(5.5, BEN)
        self.assertEqual(self.shown(), ALL_RUN)
        self.wait(0.5, BEN)
        self.assertEqual(self.shown(), ANNA_WRONG)

    def test_a_heartbeat_that_was_stored_takes_nothing_back(self) -> None:
        self.wait(20, ANNA, BEN)
        self.statuses()
        # One that has come before, and the one before that.
        for age, status_ in ((0, Status.RUNNING), (5, Status.ERROR), (5, Status.ERROR)):
            self.beat(ANNA, age=age, status=status_, message="Another")
        self.beat(ANNA, age=5)
        self.assertEqual(self.statuses(), [])
        self.wait(9.5, BEN)
        self.assertEqual(self.shown(), ALL_RUN)

    def test_a_server_that_is_away_is_the_reason(self) -> None:
        self.sent += self.relay.note_server("the server is away", self.now)
        self.assertEqual(self.statuses(), [])
        self.wait(LOST_SECONDS + 0.5)
        for _value, message in self.statuses():
            self.assertIn("the server is away", message)
        self.assertEqual(set(self.shown().values()), {Status.ERROR})

    def test_the_relays_own_problem_hides_no_running_of_its_own(self) -> None:
        self.sent += self.relay.note_own("The state file cannot be written", self.now)
        self.assertEqual(self.statuses(), [(Status.ERROR, "The state file cannot be written")])
        self.event(ANNA, status("Running again"))
        self.assertEqual(self.statuses(), [(Status.ERROR, "The state file cannot be written")])
        self.sent += self.relay.note_own("", self.now)
        self.assertEqual(self.statuses(), [(Status.RUNNING, "anna: Running again")])

    def test_dropped_events_are_told(self) -> None:
        self.beat(ANNA, dropped=5)
        self.assertIn(
            "anna has dropped 5 events because its outbox was full", self.statuses()[0][1]
        )
        self.beat(ANNA, dropped=5)
        self.assertEqual(self.statuses(), [])

    def test_numbers_that_begin_anew_are_followed(self) -> None:
        self.event(ANNA, status(), seq=1, epoch=5)
        self.statuses()
        for _ in range(2):
            self.seconds += 5
            self.beat(ANNA, epoch=4, seq=1)
        self.assertIn("numbers its events anew", self.statuses()[-1][1])
        self.event(ANNA, lock(), seq=1, epoch=4)
        self.assertEqual(self.sent, [lock()])

    def test_the_brokers_clock_is_known_by_the_heartbeats(self) -> None:
        self.assertIsNone(self.relay.clock_offset)
        # This machine's clock is 7 s behind the broker's; anna's is right, and ben's is an hour behind.
        broker = self.now.at + timedelta(seconds=7)
        self.beat(ANNA, at=broker, clock_offset=0.0)
        self.beat(BEN, at=broker - timedelta(hours=1), clock_offset=3600.0)
        self.assertEqual(self.relay.clock_offset, timedelta(seconds=7))
        self.wait(LOST_SECONDS + 1)
        self.assertIsNone(self.relay.clock_offset)


class RefusalTests(DeskTestCase):
    """What is left out is said."""

    def test_a_number_of_another_is_left_out(self) -> None:
        self.state(BEN, 101, seq=9)
        ((value, message),) = self.statuses()
        self.assertEqual(value, Status.ERROR)
        self.assertIn(
            "account 101 of ben is left out: anna has an account of this number", message
        )
        self.event(BEN, lock(101))
        self.assertEqual([each for each in self.sent if each.account_id == 101], [])
        self.assertEqual(self.shown()[101], Status.RUNNING)
        self.assertEqual(self.shown()[201], Status.ERROR)

    def test_a_refused_state_is_shown_until_one_is_used(self) -> None:
        self.sent += self.relay.refuse(ANNA, 101, "too old: upgrade riskd", self.now)
        self.assertEqual(self.statuses(), [(Status.ERROR, "too old: upgrade riskd")])
        self.wait(NOTE_SECONDS, ANNA, BEN)
        self.assertEqual(self.shown(), ANNA_WRONG)
        self.state(ANNA, 101)
        self.assertEqual(self.shown(), ALL_RUN)

    def test_a_note_ends_by_itself(self) -> None:
        self.sent += self.relay.note(ANNA, "an event is left out", self.now)
        self.assertEqual(self.statuses(), [(Status.ERROR, "an event is left out")])
        self.wait(NOTE_SECONDS + 1, ANNA, BEN)
        self.assertEqual(self.shown(), ALL_RUN)


class RestartTests(DeskTestCase):
    """A relay that is started again goes on."""

    def restart(self) -> None:
        states = self.relay.states()
        self.relay = Relay()
        self.relay.recover(states, self.now)
        self.sent.clear()

    def test_no_event_is_broadcast_again_and_none_is_left_out(self) -> None:
        self.event(ANNA, lock())
        self.restart()
        self.event(ANNA, lock(), seq=2)
        self.assertEqual(self.sent, [])
        self.event(ANNA, lock(102))
        self.assertEqual(self.sent, [lock(102)])

    def test_it_waits_for_heartbeats_and_says_no_running_of_its_own(self) -> None:
        self.restart()
        self.wait(1)
        self.assertEqual(set(self.shown().values()), {Status.ERROR})
        # To wait is no news, which would be an alarm at each start.
        self.assertEqual(self.statuses(), [])
        self.beat(ANNA)
        self.beat(BEN)
        self.assertEqual(self.shown(), ALL_RUN)
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_stored_heartbeats_say_at_once_how_each_link_is(self) -> None:
        self.restart()
        self.beat(ANNA, age=4.0)
        self.beat(BEN, age=60.0)
        self.assertEqual(self.shown(), {**ALL_RUN, 201: Status.ERROR})
        self.assertIn("LINK LOST since Nov 30 11:59:00 UTC: ben (account 201)", self.message(201))
        # What a heartbeat has announced may take its time from now on.
        self.assertEqual([value for value, _ in self.statuses()], [Status.RUNNING, Status.ERROR])
        self.wait(1)
        self.assertEqual(self.statuses(), [])
        self.assertEqual(self.shown()[101], Status.RUNNING)

    def test_nobody_hears_of_who_is_waited_for_when_another_is_right(self) -> None:
        self.restart()
        self.wait(0.5)
        self.beat(ANNA)
        self.assertEqual(self.statuses(), [(Status.RUNNING, f"anna: {STARTED}")])

    def test_a_stored_heartbeat_of_nobody_known_is_nobody(self) -> None:
        self.numbers["carl"] = 0
        self.beat("carl", age=60.0)
        self.wait(1, ANNA, BEN)
        self.assertEqual(self.statuses(), [])

    def test_a_stored_heartbeat_that_comes_late_says_nothing(self) -> None:
        self.wait(5, ANNA, BEN)
        self.beat(ANNA, age=60.0, status=None)
        self.assertEqual(self.shown(), ALL_RUN)

    def test_since_when_a_link_has_trouble_outlasts_a_restart(self) -> None:
        self.wait(5, BEN)
        self.beat(BEN, status=None)
        self.wait(5.5)
        before = self.message(101), self.message(201)
        self.assertIn("LINK LOST since Nov 30 12:00:00 UTC", before[0])
        self.assertIn("DAEMON GONE since Nov 30 12:00:05 UTC", before[1])
        self.statuses()
        self.seconds += 60
        for age in (70.0, 69.0):
            self.restart()
            # By the server's clock it was a second later.
            self.beat(ANNA, age=age)
            self.beat(BEN, age=1.0, status=None)
            self.assertEqual((self.message(101), self.message(201)), before)
        # Without its heartbeat it is known, too; one that has been back is not.
        self.restart()
        self.wait(LOST_SECONDS, BEN)
        self.assertEqual(self.message(101), before[0])
        self.restart()
        self.beat(ANNA, age=30.0)
        self.assertIn("LINK LOST since Nov 30 12:00:50 UTC", self.message(101))

    def test_a_start_without_a_server_says_so_before_clients_are_let_in(self) -> None:
        self.restart()
        self.sent += self.relay.note_server("the server is away", self.now)
        self.assertEqual(self.statuses(), [])
        self.wait(UNREACHABLE_SECONDS)
        self.assertLess(UNREACHABLE_SECONDS, CATCH_UP_SECONDS)
        self.assertIn("the server is away", self.message(101))
        self.assertEqual(self.message(101)[: len(LINK_LOST)], LINK_LOST)

    def test_a_first_start_begins_after_the_states(self) -> None:
        relay = Relay()
        for account_id, seq in ((101, 5), (102, 9)):
            account = AccountState(account_id=account_id)
            relay.receive_state(ANNA, account, Number(1, seq), self.now)
        relay.begin_after_states()
        self.assertFalse(relay.is_new(ANNA, Number(1, 9)))
        self.assertEqual(relay.receive_event(ANNA, Number(1, 10), lock(), 1, self.now), [lock()])

    def test_the_accounts_are_known_in_their_order(self) -> None:
        self.assertEqual(self.relay.account_ids, (101, 102, 201))
        self.restart()
        self.assertEqual(self.relay.account_ids, (101, 102, 201))
