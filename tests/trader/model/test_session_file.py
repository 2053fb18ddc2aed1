"""A trader's session and the state file, with and without a connection."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.reader import Snapshot
from riskd.model.account import AccountState, Limit, RiskState, apply
from riskd.model.contracts import Contract
from riskd.model.events import DRY_RUN_NOTE, EVENT_TYPES, DaemonStatus, Event, Status
from riskd.model.settings_changes import SettingsChange, changes_limit
from riskd.model.wire import decode, encode
from riskd.testing import make_event
from tests.support.console import (
    BEGIN,
    DAY,
    FILE_PROBLEMS,
    MNQ,
    NOT_THERE,
    SessionTestCase,
    StateFile,
    at,
)
from tests.support.rules import state_after
from tests.support.strategies import histories
from trader.model.formatting import clock
from trader.model.limit_usage import limit_usages
from trader.model.session import LIMITS_SECONDS, Session
from trader.model.view import Source

ENFORCED = "ENFORCED: close positions (RULE-001): 6 > 5; 2 positions closed, 1 order canceled"


class OriginTests(SessionTestCase):
    """Account 123 of another riskd is another account."""

    def setUp(self) -> None:
        super().setUp()
        self.origin = ("practice", "one")
        self.file.publish(*DAY, instance="one")
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.assertIn("Trade -$1.00  MNQU5 x2", self.feed)

    def test_the_same_riskd_keeps_the_feed(self) -> None:
        self.lose()
        self.file.publish(*DAY, instance="one", seconds=9)
        self.wait(10)
        self.connect()
        self.assertIn("Trade -$1.00  MNQU5 x2", self.feed)

    def test_another_riskd_leaves_nothing_on_the_screen(self) -> None:
        self.lose()
        for origin in (("practice", "two"), ("projectx", "three")):
            self.origin = origin
            self.file.publish(seconds=-60, gateway_name=origin[0], instance=origin[1])
            self.connect()
            self.assertEqual(self.feed, ["Connected to daemon"])
            self.assertEqual(self.view.account, AccountState(account_id=123))
            self.assertEqual(self.view.gateway_name, origin[0])
            self.assertIsNone(self.view.flash)

    def test_another_riskd_whose_file_cannot_be_read_leaves_nothing_either(self) -> None:
        self.lose()
        self.origin = ("projectx", "three")
        self.file.fail()
        self.connect()
        self.assertEqual(self.feed, ["Connected to daemon"])
        self.assertIsNone(self.view.gateway_name)

    def test_a_lock_of_another_riskd_raises_no_alarm(self) -> None:
        """Its trader reads it on the screen, as at the start of a console."""
        alarms: list[Event] = []
        self.session._alarm = alarms.append
        self.origin = ("projectx", "three")
        self.file.publish(*DAY, gateway_name="projectx", instance="three")
        self.lose()
        self.connect()
        self.assertEqual(alarms, [])
        self.assertIsNotNone(self.view.account.lockout)

    def test_a_riskd_that_names_no_instance_is_the_same(self) -> None:
        self.lose()
        self.origin = (None, "")
        self.file.publish(*DAY)
        self.connect()
        self.assertIn("Trade -$1.00  MNQU5 x2", self.feed)


class FileTests(SessionTestCase):
    """A connection starts from the file."""

    def test_the_account_is_that_of_the_file(self) -> None:
        contract = Contract(id="X", name="XYZU5", tick_size=Decimal("0.01"), tick_value=Decimal(1))
        state = self.file.publish(*DAY, contracts={"X": contract})
        self.connect()
        account = self.view.account
        self.assertEqual(account, state)
        self.assertEqual((account.realized_pnl, account.trade_count), (Decimal("-45.50"), 1))
        self.assertEqual([held.size for held in account.open_positions], [3])
        self.assertEqual([order.id for order in account.working_orders], [2])
        self.assertEqual(account.quotes[MNQ].last, Decimal(21001))
        assert account.lockout is not None
        self.assertEqual(account.lockout.reason, "Daily loss")
        self.assertEqual(len(account.enforcement), 1)
        self.assertEqual(account.contract("X"), contract)
        assert self.view.daemon is not None
        self.assertEqual(self.view.daemon.message, "In step")

    def test_it_is_read_within_the_call_that_reports_the_connection(self) -> None:
        self.file.publish(*DAY)
        self.assertEqual(self.file.reads, 0)
        self.connect()
        self.assertEqual(self.file.reads, 1)
        self.assertEqual(self.view.account.trade_count, 1)

    def test_with_the_file_the_figures_cover_the_day(self) -> None:
        self.file.publish(*DAY, seconds=-2)
        self.connect()
        self.assertIs(self.view.source, Source.LIVE)
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.file_problem, "")
        self.assertEqual(self.view.known_at, BEGIN - timedelta(seconds=2))

    def test_later_events_are_applied_on_top_of_the_file(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        self.wait(1)
        self.receive("GatewayUserTrade", profitAndLoss=100, executionTime=at(1))
        self.receive("GatewayUserPosition", size=0, updatedAt=at(1))
        account = self.view.account
        self.assertEqual((account.realized_pnl, account.trade_count), (Decimal("54.50"), 2))
        self.assertEqual(account.open_positions, ())
        self.assertEqual(self.feed[-2:], ["Trade +$100.00  MNQU5 x2", "Position closed: MNQU5"])
        self.assertEqual(self.view.known_at, self.now)

    def test_events_that_the_file_holds_change_nothing_and_are_not_in_the_feed(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        before = self.view
        self.changes.clear()
        for event in DAY:
            self.receive_event(event)
        counts = {
            "has_broker_data": True,
            "events": len(DAY),
            "last_event": self.view.last_event,
            "last_event_at": self.now,
        }
        self.assertEqual(self.view, msgspec.structs.replace(before, known_at=self.now, **counts))
        self.assertIs(self.view.account, before.account)
        self.assertIsNone(self.view.flash)
        self.assertNotIn(True, self.changes)

    def test_a_repeated_event_is_in_the_feed_once(self) -> None:
        self.connect()
        for event_type in EVENT_TYPES:
            event = make_event(event_type, {})
            self.receive_event(event)
            feed, account = self.feed, self.view.account
            if event_type != "lockout_cleared":
                self.receive_event(event)
            self.assertEqual(self.feed, feed)
            self.assertIs(self.view.account, account)

    def test_a_position_or_order_that_differs_in_time_only_is_not_in_the_feed(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        feed = self.feed
        for event in DAY[1:3]:
            later = msgspec.structs.replace(event.data, updated_at=BEGIN)
            self.receive_event(Event(123, later))
        self.assertEqual(self.feed, feed)
        self.assertEqual(self.view.account.positions[MNQ].updated_at, BEGIN)

    def test_a_trade_of_the_file_is_counted_once(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        trade = make_event(
            "GatewayUserTrade", {"id": 4, "profitAndLoss": 10, "executionTime": at(-1)}
        )
        for event in (*DAY, trade, trade):
            self.receive_event(event)
        account = self.view.account
        self.assertEqual((account.realized_pnl, account.trade_count), (Decimal("-35.50"), 2))
        self.assertEqual(
            [text for text in self.feed if "Trade" in text],
            ["Trade -$45.50  MNQU5 x2", "Trade +$10.00  MNQU5 x2"],
        )

    def test_the_end_of_a_lockout_that_the_file_lacks_is_not_in_the_feed(self) -> None:
        self.file.publish()
        self.connect()
        self.receive("lockout_cleared")
        self.assertEqual(self.feed, ["Connected to daemon"])
        self.receive("lockout_set")
        self.receive("lockout_cleared")
        self.assertEqual(self.feed[-1], "Trading resumed: the lock has ended")

    def test_without_the_file_the_end_of_a_lockout_is_news(self) -> None:
        self.connect()
        self.changes.clear()
        self.receive("lockout_cleared")
        self.assertEqual(self.feed[-1], "Trading resumed: the lock has ended")
        self.assertEqual(self.changes, [True])

    def test_each_connection_starts_from_the_current_file(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        self.receive("GatewayUserTrade", id=9)
        self.lose()
        state = self.file.publish(*DAY[:4], seconds=3)
        self.connect()
        self.assertEqual(self.view.account, state)

    def test_an_unreadable_file_leaves_the_events_and_a_reason(self) -> None:
        for problem in FILE_PROBLEMS:
            self.setUp()
            self.file.fail(problem)
            self.wait(60)
            self.connect()
            self.receive("GatewayUserTrade", profitAndLoss=-1)
            self.assertIs(self.view.source, Source.LIVE)
            self.assertEqual(self.view.events_only_since, BEGIN + timedelta(seconds=60))
            self.assertEqual(self.view.file_problem, "N" + problem[1:])
            self.assertEqual(self.view.account.realized_pnl, Decimal(-1))

    def test_without_the_file_nothing_is_carried_over_from_an_earlier_file(self) -> None:
        self.file.publish(*DAY)
        self.session.poll_file()
        self.assertEqual(self.view.account.trade_count, 1)
        self.file.fail()
        self.connect()
        self.assertEqual(self.view.account, AccountState(account_id=123))
        self.assertEqual(self.view.events_only_since, BEGIN)

    def test_an_account_missing_from_the_file_is_named_with_those_in_it(self) -> None:
        self.file.publish_accounts(456, 124)
        self.connect()
        self.assertEqual(
            self.view.file_problem,
            "Account 123 is not in the last known state; it knows 124, 456",
        )
        self.assertEqual(self.view.events_only_since, BEGIN)
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.assertEqual(self.view.account.realized_pnl, Decimal(-1))

    def test_a_file_without_accounts_is_a_problem(self) -> None:
        self.file.publish_accounts()
        self.session.poll_file()
        self.assertEqual(
            self.view.file_problem, "Account 123 is not in the last known state; it knows none"
        )
        self.assertIs(self.view.source, Source.NOTHING)

    def test_a_file_that_appears_during_a_connection_is_read_on_the_next(self) -> None:
        self.connect()
        self.receive("GatewayUserPosition", size=1)
        before = self.view
        self.file.publish(*DAY, seconds=100)
        self.wait(1)
        self.session.poll_file()
        self.assertEqual(self.view, before)
        self.lose()
        self.connect()
        self.assertEqual(self.view.file_problem, "")
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.50"))

    def test_during_a_connection_the_file_is_not_read(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        self.file.publish()
        self.changes.clear()
        self.session.poll_file()
        self.assertEqual((self.file.reads, self.changes), (1, []))

    def test_during_a_connection_only_the_limits_of_the_file_count(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        limit = Limit("max_contracts", '{"limit": 2}')
        self.file.publish(limits={"RULE-001": limit}, seconds=9)
        self.wait(LIMITS_SECONDS)
        self.session.poll_file()
        self.assertEqual(self.view.account.limits, {"RULE-001": limit})
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.50"))
        self.assertEqual(self.view.file_as_of, BEGIN + timedelta(seconds=9))
        self.assertEqual((self.file.reads, self.changes[-1]), (2, False))

    def test_the_limits_are_read_every_ten_seconds_even_if_the_clock_is_set_back(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        for seconds, reads in ((9, 1), (1, 2), (9, 2), (-60, 3)):
            self.file.publish(*DAY)
            self.wait(seconds)
            self.session.poll_file()
            self.assertEqual(self.file.reads, reads)

    def test_only_news_in_the_file_after_a_trade_is_drawn_at_once(self) -> None:
        self.file.publish()
        self.connect()
        for more, is_important in (((), False), ((DAY[5],), True)):
            trade = {"id": 9 + is_important, "executionTime": at(0)}
            self.receive("GatewayUserTrade", **trade)
            self.changes.clear()
            self.file.publish(make_event("GatewayUserTrade", trade), *more, seconds=1)
            self.session.poll_file()
            self.assertEqual(self.changes, [is_important])

    def test_a_file_lost_during_a_connection_leaves_the_limits(self) -> None:
        self.file.publish(*DAY, limits={"RULE-001": Limit("max_contracts", "{}")})
        self.connect()
        self.file.fail()
        self.wait(LIMITS_SECONDS)
        self.session.poll_file()
        self.assertEqual(list(self.view.account.limits), ["RULE-001"])
        self.assertEqual(self.view.file_problem, "")

    def test_the_gateway_of_the_handshake_overrides_that_of_the_file(self) -> None:
        self.file.publish(gateway_name="practice")
        self.session.poll_file()
        self.assertEqual(self.session.view().gateway_name, "practice")
        self.assertEqual(self.session.view(None, "projectx").gateway_name, "projectx")


class LastKnownTests(SessionTestCase):
    """The file without a connection."""

    def test_before_any_connection_the_view_is_the_file(self) -> None:
        state = self.file.publish(*DAY, seconds=-120)
        self.session.poll_file()
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.account, state)
        self.assertEqual(self.view.known_at, BEGIN - timedelta(seconds=120))
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.file_problem, "")
        self.assertEqual(self.changes, [True])

    def test_each_problem_with_the_file_is_shown(self) -> None:
        for problem in FILE_PROBLEMS:
            self.setUp()
            self.file.fail(problem)
            self.session.poll_file()
            self.assertIs(self.view.source, Source.NOTHING)
            self.assertEqual(self.view.file_problem, "N" + problem[1:])

    def test_a_missing_file_is_read_once(self) -> None:
        self.assertIsNone(self.file.version())
        for _ in range(3):
            self.session.poll_file()
        self.assertEqual(self.view.file_problem, "N" + NOT_THERE[1:])
        self.assertEqual((self.file.reads, self.changes), (1, [True]))

    def test_it_is_read_again_only_when_it_has_changed(self) -> None:
        for prepare in (lambda: self.file.publish(*DAY), self.file.fail, self.file.publish):
            prepare()
            self.file.reads = 0
            self.changes.clear()
            for _ in range(5):
                self.session.poll_file()
            self.assertEqual((self.file.reads, self.changes), (1, [True]))

    def test_a_connection_reads_the_file_even_if_it_has_not_changed(self) -> None:
        self.file.publish(*DAY)
        self.session.poll_file()
        self.connect()
        self.assertEqual(self.file.reads, 2)

    def test_a_file_replaced_during_the_read_is_read_again(self) -> None:
        self.file.publish(seconds=-2)
        read = self.file.read

        def read_while_it_is_replaced() -> Snapshot:
            snapshot = read()
            if self.file.reads == 1:
                self.file.publish(*DAY, seconds=-1)
            return snapshot

        self.session = Session(
            123,
            lambda: self.now,
            self.changes.append,
            read_while_it_is_replaced,
            self.file.version,
        )
        self.session.poll_file()
        self.assertEqual(self.view.account.trade_count, 0)
        self.session.poll_file()
        self.assertEqual(self.view.account.trade_count, 1)

    def test_a_file_that_appears_later_is_shown(self) -> None:
        self.session.poll_file()
        state = self.file.publish(*DAY)
        self.session.poll_file()
        self.assertEqual(self.view.account, state)
        self.assertEqual(self.view.file_problem, "")

    def test_a_file_that_is_lost_leaves_its_state(self) -> None:
        state = self.file.publish(*DAY, seconds=-60)
        self.session.poll_file()
        self.file.fail(FILE_PROBLEMS[2])
        self.session.poll_file()
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.account, state)
        self.assertEqual(self.view.known_at, BEGIN - timedelta(seconds=60))
        self.assertEqual(self.view.file_problem, "N" + FILE_PROBLEMS[2][1:])

    def test_a_file_without_a_date_is_shown_if_nothing_is_known(self) -> None:
        state = self.file.publish(*DAY, seconds=None)
        self.session.poll_file()
        self.assertEqual(self.view.account, state)
        self.assertIsNone(self.view.known_at)

    def test_a_file_without_a_date_does_not_replace_one_with_a_date(self) -> None:
        self.file.publish(*DAY)
        self.session.poll_file()
        self.file.publish(seconds=None)
        self.session.poll_file()
        self.assertEqual(self.view.account.trade_count, 1)

    def test_failed_attempts_give_their_reason_beside_the_state_of_the_file(self) -> None:
        self.file.publish(*DAY)
        self.session.poll_file()
        self.lose("cannot connect to daemon (is it running?)")
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.connection_problem, "Cannot connect to daemon (is it running?)")
        self.lose("cannot connect to daemon: 503")
        self.assertEqual(self.view.connection_problem, "Cannot connect to daemon: 503")
        self.assertEqual(self.feed[0], ENFORCED)
        self.assertEqual([text.split()[0] for text in self.feed[1:]], ["Trade", "LOCKED"])


class LossTests(SessionTestCase):
    """After a loss, the newer of stream and file is shown."""

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(*DAY)
        self.connect()
        self.wait(60)
        self.receive("GatewayUserTrade", profitAndLoss=-4.50, executionTime=at(60))
        self.wait(1)
        self.lose()

    def check_that_the_stream_is_shown(self) -> None:
        """Check for the state at the loss of the connection."""
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.account.realized_pnl, Decimal(-50))
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=60))

    def test_the_last_state_stays(self) -> None:
        self.check_that_the_stream_is_shown()
        self.session.poll_file()
        self.check_that_the_stream_is_shown()
        self.assertEqual(self.file.reads, 1)

    def test_without_an_event_the_view_dates_from_the_file(self) -> None:
        self.file.publish(*DAY, seconds=70)
        self.wait(30)
        self.connect()
        self.wait(30)
        self.lose()
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=70))

    def test_an_older_file_does_not_replace_it(self) -> None:
        self.file.publish(*DAY, seconds=59.9)
        self.session.poll_file()
        self.assertEqual(self.file.reads, 2)
        self.check_that_the_stream_is_shown()
        self.assertEqual(self.view.file_problem, "")

    def test_a_newer_file_replaces_it(self) -> None:
        state = self.file.publish(*DAY[:3], seconds=60)
        self.session.poll_file()
        self.assertIs(self.view.source, Source.LAST_KNOWN)
        self.assertEqual(self.view.account, state)
        newer = self.file.publish(*DAY[:2], seconds=75)
        self.session.poll_file()
        self.assertEqual(self.view.account, newer)
        self.assertEqual(self.view.known_at, BEGIN + timedelta(seconds=75))
        self.assertEqual(self.view.connection_problem, "Lost connection to daemon")

    def test_an_unreadable_file_leaves_it(self) -> None:
        self.file.fail(FILE_PROBLEMS[1])
        self.session.poll_file()
        self.check_that_the_stream_is_shown()
        self.assertEqual(self.view.file_problem, "N" + FILE_PROBLEMS[1][1:])
        self.file.publish(*DAY, seconds=3)
        self.session.poll_file()
        self.check_that_the_stream_is_shown()
        self.assertEqual(self.view.file_problem, "")

    def test_a_state_from_events_only_stays_until_a_newer_file(self) -> None:
        self.file.fail()
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-1)
        self.lose()
        self.file.publish(*DAY, seconds=3)
        self.session.poll_file()
        self.assertEqual(self.view.account.realized_pnl, Decimal(-1))
        self.assertEqual(self.view.events_only_since, BEGIN + timedelta(seconds=61))
        self.assertEqual(self.view.file_problem, "N" + NOT_THERE[1:])
        self.file.publish(*DAY, seconds=61)
        self.session.poll_file()
        self.assertEqual(self.view.account.realized_pnl, Decimal("-45.50"))
        self.assertIsNone(self.view.events_only_since)
        self.assertEqual(self.view.file_problem, "")

    def test_a_newer_file_leaves_the_reason_of_the_loss(self) -> None:
        self.file.publish(*DAY, seconds=75)
        self.session.poll_file()
        self.lose("cannot connect to daemon (is it running?)")
        self.assertEqual(self.view.connection_problem, "Lost connection to daemon")

    def test_after_the_clock_was_set_back_an_earlier_file_replaces_it(self) -> None:
        self.now = BEGIN - timedelta(hours=1)
        state = self.file.publish(*DAY, seconds=-3600)
        self.session.poll_file()
        self.assertEqual(self.view.account, state)
        self.assertEqual(self.view.known_at, self.now)

    def test_after_the_clock_was_set_back_later_events_date_the_view(self) -> None:
        self.connect()
        self.now = BEGIN - timedelta(hours=1)
        self.receive("MarketQuote", last=21007)
        self.lose()
        self.assertEqual(self.view.known_at, self.now)
        self.file.publish(*DAY, seconds=-3601)
        self.session.poll_file()
        self.assertEqual(self.view.account.quotes[MNQ].last, Decimal(21007))


class EnforcementTests(SessionTestCase):
    """Actions of the file in the feed."""

    def action(self, reason: str, seconds: float) -> Event:
        """Return an enforcement action."""
        return make_event("enforcement_action", {"reason": reason, "timestamp": at(seconds)})

    def dated_feed(self) -> list[tuple[float, str]]:
        """Return the feed as seconds after :data:`BEGIN` and reason or text."""
        return [
            (
                (line.at - BEGIN).total_seconds(),
                line.text.partition("): ")[2].partition(";")[0] or line.text,
            )
            for line in self.view.feed
        ]

    def test_it_has_its_own_time_and_does_not_flash(self) -> None:
        self.file.publish(self.action("one", -20), self.action("two", -10))
        self.connect()
        self.assertEqual(
            self.dated_feed(), [(-20, "one"), (-10, "two"), (0, "Connected to daemon")]
        )
        self.assertEqual({line.style for line in self.view.feed[:2]}, {"alert"})
        self.assertIsNone(self.view.flash)

    def test_reading_the_file_again_does_not_repeat_it(self) -> None:
        self.file.publish(self.action("one", -20))
        for seconds in (1, 2, 3):
            self.session.poll_file()
            self.file.publish(self.action("one", -20), seconds=seconds)
        self.connect()
        self.lose("")
        self.connect()
        self.assertEqual([text for _, text in self.dated_feed()].count("one"), 1)

    def test_an_action_of_the_stream_is_not_repeated_by_the_file(self) -> None:
        self.file.publish()
        self.connect()
        self.wait(10)
        self.receive_event(self.action("live", 9))
        self.lose()
        self.file.publish(self.action("live", 9), seconds=11)
        self.session.poll_file()
        self.connect()
        self.assertEqual(
            [line.text for line in self.view.feed if "live" in line.text],
            ["ENFORCED: close positions (RULE-001): live; 2 positions closed, 1 order canceled"],
        )

    def test_an_action_of_the_file_is_not_repeated_by_the_stream(self) -> None:
        self.file.publish(self.action("one", -20))
        self.connect()
        self.receive_event(self.action("one", -20))
        self.assertEqual(self.dated_feed(), [(-20, "one"), (0, "Connected to daemon")])

    def test_trades_and_locks_without_a_connection_are_in_the_feed_once(self) -> None:
        def trade(number: int, seconds: float) -> Event:
            when = {"executionTime": at(seconds), "timestamp": at(seconds)}
            return make_event("GatewayUserTrade", {"id": number, "profitAndLoss": number, **when})

        lock = make_event("lockout_set", {"rule_id": "RULE-003", "locked_at": at(15)})
        self.file.publish(trade(1, -5))
        self.connect()
        self.wait(5)
        self.receive_event(trade(2, 5))
        self.wait(5)
        self.lose("gone")
        self.wait(10)
        self.file.publish(trade(1, -5), trade(2, 5), trade(3, 12), lock, seconds=20)
        self.session.poll_file()
        self.connect()
        self.wait(2)
        self.session.poll_file()
        texts = [(int((line.at - BEGIN).total_seconds()), line.text) for line in self.view.feed]
        lost = clock(BEGIN + timedelta(seconds=10))
        self.assertEqual(
            [(seconds, text[:15]) for seconds, text in texts],
            [
                (-5, "Trade +$1.00  M"),
                (0, "Connected to da"),
                (5, "Trade +$2.00  M"),
                (10, "Gone"),
                (12, "Trade +$3.00  M"),
                (15, "LOCKED OUT unti"),
                (20, "Connected to da"),
            ],
        )
        self.assertEqual(
            texts[-1][1],
            f"Connected to daemon; trades and locks since {lost} are from its state file",
        )
        self.assertEqual(texts[1][1], "Connected to daemon")

    def test_of_many_trades_the_latest_are_in_the_feed(self) -> None:
        trades = [
            make_event("GatewayUserTrade", {"id": number, "profitAndLoss": number})
            for number in range(200)
        ]
        self.file.publish(*trades)
        self.connect()
        self.assertEqual(len(self.feed), 51)
        self.assertTrue(self.feed[-2].startswith("Trade +$199.00"))

    def test_actions_without_a_connection_are_sorted_into_the_feed(self) -> None:
        self.file.publish()
        self.connect()
        self.wait(10)
        self.lose("gone")
        self.wait(10)
        self.file.publish(self.action("late", 5), self.action("between", 15), seconds=20)
        self.connect()
        self.assertEqual(
            self.dated_feed(),
            [
                (0, "Connected to daemon"),
                (5, "late"),
                (10, "Gone"),
                (15, "between"),
                (20, self.feed[-1]),
            ],
        )


class PropertyTests(SynchronousTestCase):
    """File and stream give one state, at whatever moment a console connects."""

    def setUp(self) -> None:
        self.now = BEGIN

    def session_on(self, file: StateFile) -> Session:
        """Return a session that reads ``file``."""
        return Session(123, lambda: self.now, lambda _: None, file.read, file.version)

    def join(self, session: Session) -> None:
        """Report a completed handshake."""
        session.receive_status("connection_status", {"connected": True, "reason": "connected"})

    def receive(self, session: Session, events: list[Event]) -> None:
        """Report ``events``, decoded from their wire form."""
        for event in events:
            message = encode(event)
            session.receive(event.type, partial(decode, message))

    def check(self, session: Session, history: list[Event]) -> None:
        """Check that the session has the state after ``history``."""
        self.assertEqual(
            as_published(session.view().account),
            as_published(state_after(*history)),
        )

    @given(histories(), st.data())
    def test_connecting_at_any_moment_with_any_overlap_gives_the_same_state(
        self, history: list[Event], data: st.DataObject
    ) -> None:
        sent = effective(history)
        joined = data.draw(st.integers(0, len(sent)), "joined")
        replayed_from = data.draw(st.integers(0, joined), "replayed from")
        file = StateFile()
        file.publish(*sent[:joined])
        session = self.session_on(file)
        self.join(session)
        self.receive(session, sent[replayed_from:])
        self.check(session, sent)

    @given(histories(), st.data())
    def test_losing_the_connection_and_reconnecting_gives_the_same_state(
        self, history: list[Event], data: st.DataObject
    ) -> None:
        sent = effective(history)
        moments = st.integers(0, len(sent))
        joined, lost, published, joined_again = sorted(
            data.draw(st.tuples(moments, moments, moments, moments), "moments")
        )
        file = StateFile()
        file.publish(*sent[:joined])
        session = self.session_on(file)
        self.join(session)
        self.receive(session, sent[joined:lost])
        session.receive_status("connection_status", {"connected": False, "reason": "lost"})
        file.publish(*sent[:published], seconds=1)
        session.poll_file()
        self.check(session, sent[:published])
        file.publish(*sent[:joined_again], seconds=2)
        self.join(session)
        self.receive(session, sent[data.draw(st.integers(0, joined_again), "replayed from") :])
        self.check(session, sent)

    @given(histories(), st.data())
    def test_each_trade_is_in_the_feed_once_whether_file_or_stream_has_it(
        self, history: list[Event], data: st.DataObject
    ) -> None:
        sent = effective([event for event in history if event.type == "GatewayUserTrade"])
        joined = data.draw(st.integers(0, len(sent)), "joined")
        file = StateFile()
        file.publish(*sent[:joined])
        session = self.session_on(file)
        self.join(session)
        self.receive(session, sent)
        lines = [line for line in session.view().feed if line.text.startswith("Trade ")]
        self.assertEqual(len(lines), len({event.data.id for event in sent}))


def effective(history: list[Event]) -> list[Event]:
    """Return the events that change the state; a daemon broadcasts no others."""
    state = AccountState(account_id=123)
    sent = []
    for event in history:
        after = apply(state, event)
        if after is not state:
            sent.append(event)
        state = after
    return sent


def as_published(state: AccountState) -> AccountState:
    """Return the published part of ``state``, without final orders or private data."""
    return msgspec.structs.replace(state, final_orders={}, risk=RiskState())


class SettingsChangeTests(SessionTestCase):
    """A change of settings has one line, whether the file or the stream brings it first."""

    SENTENCE = "Settings changed by jane: enforce: true became false"

    def publish(self, *seconds: float) -> None:
        changes = tuple(
            SettingsChange(BEGIN + timedelta(seconds=each), self.SENTENCE) for each in seconds
        )
        self.file.publish(*DAY, limits=changes_limit(changes), seconds=9)

    def tell(self, seconds: float) -> None:
        note = f"{self.SENTENCE} {DRY_RUN_NOTE}"
        self.receive_event(
            Event(
                None,
                DaemonStatus(
                    status=Status.RUNNING,
                    message=note,
                    timestamp=BEGIN + timedelta(seconds=seconds),
                ),
            )
        )

    def lines(self) -> list[str]:
        return [line for line in self.feed if self.SENTENCE in line]

    def test_the_file_has_those_that_were_told_before_the_connection(self) -> None:
        self.publish(1, 5)
        self.connect()
        self.assertEqual(self.lines(), [self.SENTENCE] * 2)
        self.lose()
        self.connect()
        self.assertEqual(len(self.lines()), 2)

    def test_the_stream_repeats_none_of_the_file(self) -> None:
        self.publish(1)
        self.connect()
        self.tell(1)
        self.assertEqual(len(self.lines()), 1)
        self.tell(2)
        self.assertEqual(len(self.lines()), 2)

    def test_the_file_repeats_none_of_the_stream(self) -> None:
        self.publish()
        self.connect()
        self.tell(1)
        self.publish(1)
        self.lose()
        self.connect()
        self.assertEqual(len(self.lines()), 1)

    def test_it_is_no_limit(self) -> None:
        self.publish(1)
        self.connect()
        self.assertEqual(limit_usages(self.view, BEGIN), ())
