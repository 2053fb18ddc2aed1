"""When the service writes and publishes, what it makes wait, and slow, full and damaged disks."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import msgspec
from twisted.logger import capturedLogs

from riskd.journal import service
from riskd.journal.audit_log import read_log
from riskd.journal.reader import StateFileError, read_published
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME
from riskd.journal.service import WATCHED_EVERY
from riskd.journal.store import Recovery
from riskd.model.account import AccountState, LogEntry, RiskState
from riskd.model.equity import EquityMark, equity_mark
from tests.support.directories import temporary_directory
from tests.support.disk import failing_disk
from tests.support.journal import NOON
from tests.support.journal_service import CountingStore, ServiceTestCase


class MarkTests(ServiceTestCase):
    """The figures of an account are computed once for each of its states."""

    def test_what_has_not_changed_is_not_computed_again(self) -> None:
        computed: list[AccountState] = []

        def count(state: AccountState) -> EquityMark | None:
            computed.append(state)
            return equity_mark(state)

        self.patch(service, "equity_mark", count)
        for _ in range(3):
            self.apply("GatewayUserTrade")
            for _ in range(3):
                self.successResultOf(self.service.make_durable())
        self.assertEqual(len(computed), 3)


class RhythmTests(ServiceTestCase):
    """How often changes are written and published."""

    def test_a_change_is_written_and_published_within_a_second(self) -> None:
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        self.clock.advance(1)
        self.assertEqual(set(self.snapshot().accounts[123].trades), {1})

    def test_many_changes_are_written_together(self) -> None:
        before = self.store.writes
        for number in range(50):
            self.apply("GatewayUserTrade", id=number)
            self.service.changed()
        self.clock.advance(1)
        self.assertEqual(self.store.writes - before, 1)
        self.assertEqual(len(self.snapshot().accounts[123].trades), 50)

    def test_without_a_change_nothing_is_written(self) -> None:
        self.clock.pump([0.1] * 100)
        writes, runs = self.store.writes, self.disk.runs
        for _ in range(100):
            self.successResultOf(self.service.published())
        self.assertEqual(self.disk.runs, runs)
        self.clock.pump([1] * 100)
        self.assertEqual(self.store.writes, writes)

    def test_quotes_alone_are_written_each_second_and_published_each_five(self) -> None:
        self.clock.advance(1)
        writes, publications = self.store.writes, self.store.publications
        for number in range(1, 301):
            self.apply("MarketQuote", last=number)
            self.service.changed(only_quotes=True)
            self.clock.advance(0.1)
        self.assertLessEqual(self.store.writes - writes, 31)
        self.assertIn(self.store.publications - publications, (5, 6))

    def test_a_quote_that_a_durable_write_left_out_is_written_later(self) -> None:
        self.clock.advance(1)
        for number in (1, 2):
            self.apply("MarketQuote", last=number)
            self.service.changed(only_quotes=True)
            self.apply("lockout_set", rule_id=f"R{number}")
            self.successResultOf(self.service.make_durable())
            self.successResultOf(self.service.published())
        self.clock.pump([0.5] * 14)
        (quote,) = self.snapshot().accounts[123].quotes.values()
        self.assertEqual(quote.last, 2)

    def test_quotes_are_written_with_the_checks_of_each_whole_second(self) -> None:
        self.clock.advance(1.3)
        written = []
        for number in range(1, 31):
            self.apply("MarketQuote", last=number)
            self.service.changed(only_quotes=True)
            writes = self.store.writes
            self.clock.advance(0.1)
            if self.store.writes > writes:
                written.append(round(self.clock.seconds(), 6))
        self.assertEqual(written, [2, 3, 4])

    def test_quotes_follow_at_once_if_another_write_was_in_progress_when_they_were_due(
        self,
    ) -> None:
        self.clock.advance(1)
        self.apply("MarketQuote", last=1)
        self.service.changed(only_quotes=True)
        self.clock.advance(1)
        self.apply("GatewayUserTrade", id=1)
        self.clock.advance(0.4)
        self.service.changed()
        self.disk.is_slow = True
        self.clock.advance(0.5)
        self.assertEqual(len(self.disk.waiting), 1)
        self.apply("MarketQuote", last=2)
        self.service.changed(only_quotes=True)
        self.clock.advance(0.2)
        self.disk.hurry()
        writes = self.store.writes
        self.clock.advance(0)
        self.assertEqual(self.store.writes - writes, 1)
        self.assertTrue(self.store.has_all_quotes)

    def test_between_whole_seconds_a_change_is_written_without_quotes(self) -> None:
        self.clock.advance(1)
        self.apply("MarketQuote", last=1)
        self.service.changed(only_quotes=True)
        self.clock.advance(1)
        self.apply("MarketQuote", last=2)
        self.service.changed(only_quotes=True)
        self.clock.advance(0.1)
        self.apply("GatewayUserTrade", id=1)
        self.successResultOf(self.service.make_durable())
        self.assertFalse(self.store.has_all_quotes)
        self.clock.advance(0.9)
        self.assertTrue(self.store.has_all_quotes)

    def test_the_last_quote_is_published_when_it_is_due(self) -> None:
        self.clock.advance(1)
        for number in (1, 2):
            self.apply("MarketQuote", last=number)
            self.service.changed(only_quotes=True)
            self.clock.advance(0.1)
        self.clock.pump([0.5] * 20)
        (quote,) = self.snapshot().accounts[123].quotes.values()
        self.assertEqual(quote.last, 2)


class KeptResultTests(ServiceTestCase):
    """A write of quotes that is over, and whose result is kept."""

    def setUp(self) -> None:
        super().setUp()
        self.clock.pump([0.5] * 12)
        self.disk.is_quiet = True
        self.quote(1)
        self.clock.advance(1)
        self.assertTrue(self.service._in_progress)

    def test_the_next_quotes_are_written_in_their_rhythm(self) -> None:
        writes = self.store.writes
        for number in range(2, 7):
            self.quote(number)
            self.clock.advance(1)
        self.assertEqual(self.store.writes - writes, 5)
        self.assertEqual(self.published_quote(), 6)

    def test_the_last_quote_is_published_without_another(self) -> None:
        self.quote(2)
        self.clock.pump([0.5] * 16)
        self.assertEqual(self.published_quote(), 2)

    def test_a_durable_write_begins_at_once(self) -> None:
        self.apply("lockout_set")
        self.assertEqual(self.successResultOf(self.service.make_durable()), "")

    def test_a_handshake_gets_its_copy_at_once(self) -> None:
        self.quote(2)
        self.successResultOf(self.service.published())
        self.assertEqual(self.published_quote(), 2)

    def test_a_handshake_during_the_write_waits_no_longer_than_for_it(self) -> None:
        self.quote(2)
        self.clock.advance(4)
        self.disk.is_slow = True
        self.quote(3)
        self.clock.advance(1)
        write = self.service._in_progress
        assert write is not None
        self.assertTrue(write.publishes)
        joined = self.service.published()
        self.assertEqual(len(write.clients), 1)
        self.disk.catch_up()
        self.successResultOf(joined)

    def test_a_change_is_written_within_a_second(self) -> None:
        self.apply("GatewayUserTrade", id=7)
        self.service.changed()
        self.clock.advance(1)
        self.assertEqual(set(self.snapshot().accounts[123].trades), {7})

    def test_an_error_is_reported_at_once(self) -> None:
        self.quote(2)
        self.store.fault = sqlite3.OperationalError("no")
        self.clock.advance(1)
        self.assertEqual(self.problems[-1:], ["The state file cannot be written: no"])
        self.store.fault = None
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.problems[-1], "")

    def test_the_final_states_are_written(self) -> None:
        self.quote(2)
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.published_quote(), 2)


class LookTests(ServiceTestCase):
    """When the journal's files are looked at."""

    def setUp(self) -> None:
        super().setUp()
        # What the start leaves to be written.
        self.clock.pump([0.5] * 4)

    def test_they_are_looked_at_while_there_is_nothing_to_write(self) -> None:
        runs, writes = self.disk.runs, self.store.writes
        self.clock.pump([0.5] * 20)
        self.assertEqual((self.disk.runs - runs, self.store.writes - writes), (5, 0))

    def test_a_write_is_a_look(self) -> None:
        runs, writes = self.disk.runs, self.store.writes
        for number in range(20):
            self.apply("GatewayUserTrade", id=number)
            self.service.changed()
            self.clock.pump([0.5, 0.5])
        self.assertEqual((self.disk.runs - runs, self.store.writes - writes), (20, 20))

    def test_a_change_is_noticed_as_soon_after_a_write_as_after_a_look(self) -> None:
        for pause in (0, 0.5, 1.5):
            self.clock.advance(pause)
            self.apply("GatewayUserTrade", id=int(pause * 10))
            self.service.changed()
            self.clock.advance(0.5)
            (self.directory / JOURNAL_NAME).unlink()
            problems = len(self.problems)
            self.clock.pump([WATCHED_EVERY / 4] * 4)
            self.assertIn("was deleted", self.problems[problems])
            self.clock.pump([0.5] * 4)


class HandshakeTests(ServiceTestCase):
    """Waiting for the published copy."""

    def test_the_copy_holds_a_change_from_before_the_call(self) -> None:
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        self.successResultOf(self.service.published())
        self.assertEqual(set(self.snapshot().accounts[123].trades), {1})

    def test_a_hundred_clients_at_once_share_a_publication(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        publications = self.store.publications
        waiting = [self.service.published() for _ in range(100)]
        self.disk.catch_up(len(self.disk.waiting))
        for each in waiting:
            self.successResultOf(each)
        self.assertLessEqual(self.store.publications - publications, 2)

    def test_a_client_during_a_publication_waits_for_it(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        first = self.service.published()
        second = self.service.published()
        self.assertNoResult(second)
        self.disk.catch_up()
        self.successResultOf(first)
        self.successResultOf(second)

    def test_a_client_during_the_first_publication_waits_for_it(self) -> None:
        self.successResultOf(self.service.stopService())
        self.begin(slow=True)
        first = self.service.published()
        # The journal is opened; the first client's copy is begun.
        self.disk.catch_up()
        second = self.service.published()
        self.assertNoResult(first)
        self.disk.catch_up()
        self.successResultOf(first)
        self.successResultOf(second)

    def test_a_client_after_a_change_waits_for_the_next_publication(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        first = self.service.published()
        self.apply("GatewayUserTrade", id=2)
        self.service.changed()
        second = self.service.published()
        self.disk.catch_up()
        self.successResultOf(first)
        self.assertNoResult(second)
        self.disk.catch_up()
        self.successResultOf(second)
        self.assertEqual(set(self.snapshot().accounts[123].trades), {1, 2})

    def test_a_client_while_quotes_are_published_waits_for_the_next_copy(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.service._watch.stop()
        self.clock.advance(6)
        self.apply("MarketQuote", last=1)
        self.service.changed(only_quotes=True)
        self.clock.advance(1)
        self.apply("MarketQuote", last=2)
        self.service.changed(only_quotes=True)
        waiting = self.service.published()
        # After the first copy quotes are no longer due, but the handshake still gets its copy.
        self.disk.catch_up()
        self.disk.catch_up()
        self.successResultOf(waiting)
        self.assertEqual(self.disk.waiting, [])

    def test_the_copy_holds_a_quote_from_just_before_the_call(self) -> None:
        self.clock.advance(1)
        self.quote(1)
        self.clock.pump([0.5] * 12)
        for last in (2, 3):
            # Not due to be published, and the second time not due to be written.
            self.quote(last)
            self.clock.advance(0.1)
            self.successResultOf(self.service.published())
            self.assertEqual(self.published_quote(), last)
        publications = self.store.publications
        self.successResultOf(self.service.published())
        self.clock.pump([0.5] * 20)
        self.assertEqual(self.store.publications, publications)

    def test_a_copy_that_may_lack_quotes_does_not_end_the_wait(self) -> None:
        self.clock.advance(1)
        self.quote(1)
        self.successResultOf(self.service.published())
        self.clock.advance(0.1)
        self.quote(2)
        self.disk.is_slow = True
        # A copy without new quotes begins, less than a second after quotes were written.
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        self.clock.advance(0.5)
        self.assertEqual(len(self.disk.waiting), 1)
        waiting = self.service.published()
        self.disk.catch_up()
        self.assertNoResult(waiting)
        self.disk.catch_up()
        self.successResultOf(waiting)
        self.assertEqual(self.published_quote(), 2)

    def test_clients_between_quotes_share_a_publication(self) -> None:
        self.clock.advance(1)
        self.quote(0)
        self.successResultOf(self.service.published())
        self.disk.is_slow = True
        publications, waiting = self.store.publications, []
        for number in range(1, 101):
            self.quote(number)
            waiting.append(self.service.published())
        while self.disk.waiting:
            self.disk.catch_up()
        for each in waiting:
            self.successResultOf(each)
        # The first client began one; all others share the next.
        self.assertEqual(self.store.publications - publications, 2)
        self.assertEqual(self.published_quote(), 100)

    def test_a_slow_disk_delays_a_client_by_a_second_at_most(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        waiting = self.service.published()
        self.clock.advance(0.99)
        self.assertNoResult(waiting)
        self.clock.advance(0.01)
        self.successResultOf(waiting)
        self.assertIn("takes over a second", self.problems[-1])
        self.disk.catch_up()
        self.clock.advance(5)
        self.assertIn("takes over a second", self.problems[-1])
        self.disk.is_slow = False
        self.apply("GatewayUserTrade", id=2)
        self.service.changed()
        self.clock.advance(1)
        self.assertEqual(self.problems[-1], "")

    def test_a_failed_publication_delays_no_client(self) -> None:
        self.clock.advance(1)
        self.store.fault = sqlite3.OperationalError("database or disk is full")
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        self.successResultOf(self.service.published())
        self.assertEqual(
            self.problems[-1], "The state file cannot be written: database or disk is full"
        )

    def test_durable_writes_do_not_keep_a_handshake_waiting(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.apply("lockout_set", rule_id="R0")
        self.service.make_durable()
        waiting = self.service.published()
        for number in range(1, 4):
            self.apply("lockout_set", rule_id=f"R{number}")
            self.service.make_durable()
            self.disk.catch_up()
            if waiting.called:
                break
        self.successResultOf(waiting)


class DurableTests(ServiceTestCase):
    """Writing what only riskd knows."""

    def test_it_fires_once_the_states_are_on_disk(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.apply("lockout_set", rule_id="RULE-003")
        written = self.service.make_durable()
        self.assertNoResult(written)
        self.disk.catch_up()
        self.assertEqual(self.successResultOf(written), "")
        other = sqlite3.connect(self.directory / "riskd.db")
        self.assertEqual(other.execute("SELECT rule_id FROM lockouts").fetchall(), [("RULE-003",)])
        other.close()

    def test_it_does_not_wait_for_a_copy_that_no_client_waits_for(self) -> None:
        self.clock.advance(1)
        publications = self.store.publications
        self.apply("lockout_set")
        self.successResultOf(self.service.make_durable())
        self.assertEqual(self.store.publications, publications)

    def test_a_failed_write_is_reported_and_repeated(self) -> None:
        self.clock.advance(1)
        self.store.fault = OSError(28, "No space left on device")
        self.apply("lockout_set", rule_id="RULE-003")
        why_not = self.successResultOf(self.service.make_durable())
        self.assertEqual(why_not, "[Errno 28] No space left on device")
        self.assertIn("No space left on device", self.problems[-1])
        self.clock.pump([0.5] * 10)
        self.store.fault = None
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.problems[-1], "")
        self.assertEqual(set(self.snapshot().accounts[123].lockouts), {"RULE-003"})

    def test_a_failed_publication_does_not_deny_that_the_states_are_on_disk(self) -> None:
        self.clock.advance(1)
        self.store.publish_fault = OSError(28, "No space left on device")
        self.apply("lockout_set", rule_id="RULE-003")
        self.disk.is_slow = True
        self.service.changed()
        self.service.published()
        written = self.service.make_durable()
        while self.disk.waiting:
            self.disk.catch_up()
        self.assertEqual(self.successResultOf(written), "")
        self.assertIn("No space left on device", self.problems[-1])

    def test_log_entries_of_failed_writes_are_written_once(self) -> None:
        self.clock.advance(1)
        self.store.fault = OSError(28, "No space left on device")
        for number in range(3):
            logged = LogEntry(NOON + timedelta(seconds=number), "operator", "{}")
            risk = RiskState(log=(*self.state.risk.log, logged))
            self.state = msgspec.structs.replace(self.state, risk=risk)
            self.successResultOf(self.service.make_durable())
        self.store.fault = None
        self.clock.pump([0.5] * 10)
        lines = read_log(self.directory, 123)
        self.assertEqual([line.at.second for line in lines], [0, 1, 2])

    def test_a_failed_publication_is_a_problem_until_one_succeeds(self) -> None:
        self.clock.advance(1)
        reported = len(self.problems)
        self.store.publish_fault = OSError(28, "No space left on device")
        for number in range(5):
            self.apply("lockout_set", rule_id=f"R{number}")
            self.successResultOf(self.service.make_durable())
            self.successResultOf(self.service.published())
            self.clock.advance(1)
        self.assertEqual(len(self.problems) - reported, 1)
        self.store.publish_fault = None
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.problems[-1], "")

    def test_a_change_during_a_slow_write_is_written_afterwards(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        self.clock.advance(0.6)
        self.apply("GatewayUserTrade", id=2)
        self.service.changed()
        # When the timer of the second change fires, the first write is still in progress.
        self.clock.advance(3)
        self.disk.catch_up()
        self.disk.is_slow = False
        self.clock.advance(1)
        self.disk.catch_up(len(self.disk.waiting))
        self.assertEqual(set(self.snapshot().accounts[123].trades), {1, 2})

    def test_a_deleted_journal_is_an_error_and_written_again_at_once(self) -> None:
        self.apply("lockout_set", rule_id="RULE-003")
        self.successResultOf(self.service.make_durable())
        self.clock.pump([0.5] * 8)
        self.assertEqual(self.problems, [])
        # With nothing to write.
        for name in (JOURNAL_NAME, PUBLISHED_NAME):
            (self.directory / name).unlink()
        self.clock.pump([0.5] * 8)
        (problem,) = self.problems
        self.assertIn("was deleted; riskd has written it again, and no lock is lost", problem)
        self.assertEqual(set(self.snapshot().accounts[123].lockouts), {"RULE-003"})
        # It is over with the next publication; the daemon's own status is a change.
        self.apply("daemon_status", message=problem)
        self.service.changed()
        self.clock.advance(1)
        self.assertEqual(self.problems[1:], [""])

    def test_a_journal_that_cannot_be_written_again_is_a_problem_until_it_can(self) -> None:
        self.apply("lockout_set", rule_id="RULE-003")
        self.successResultOf(self.service.make_durable())
        (self.directory / JOURNAL_NAME).unlink()

        def fail(*_arguments: object) -> None:
            raise OSError(28, "No space left on device")

        failing = self.patch(CountingStore, "_put_in_place", fail)
        self.apply("lockout_set", rule_id="RULE-007")
        self.successResultOf(self.service.make_durable())
        self.assertIn("cannot be written: [Errno 28] No space left", self.problems[-1])
        failing.restore()
        self.clock.pump([0.5] * 6)
        self.assertIn("was deleted", self.problems[1])
        self.assertEqual(set(self.snapshot().accounts[123].lockouts), {"RULE-003", "RULE-007"})

    def test_a_lasting_problem_is_reported_once(self) -> None:
        self.clock.advance(1)
        reported = len(self.problems)
        self.store.fault = OSError(28, "No space left on device")
        self.service.changed()
        self.clock.pump([0.5] * 40)
        self.assertEqual(len(self.problems) - reported, 1)

    def test_an_exception_while_reporting_a_problem_stops_no_write(self) -> None:
        self.clock.advance(1)

        def report(_problem: str) -> None:
            raise ZeroDivisionError

        self.patch(self.service, "_report", report)
        self.store.fault = OSError(28, "No space left on device")
        self.apply("lockout_set", rule_id="R1")
        self.successResultOf(self.service.make_durable())
        self.store.fault = None
        self.apply("lockout_set", rule_id="R2")
        self.successResultOf(self.service.make_durable())
        self.clock.pump([0.5] * 4)
        self.assertEqual(set(self.snapshot().accounts[123].lockouts), {"R1", "R2"})
        # One report of the problem, and one of its end.
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_an_exception_while_reporting_a_problem_delays_no_client(self) -> None:
        self.clock.advance(1)

        def report(_problem: str) -> None:
            raise ZeroDivisionError

        self.patch(self.service, "_report", report)
        self.disk.is_slow = True
        self.service.changed()
        waiting = self.service.published()
        self.clock.advance(1)
        self.successResultOf(waiting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class BeginningAndEndTests(ServiceTestCase):
    """Opening and closing the journal."""

    def test_the_content_of_the_journal_is_handed_over(self) -> None:
        self.apply("lockout_set", rule_id="RULE-003")
        self.successResultOf(self.service.make_durable())
        self.successResultOf(self.service.stopService())
        self.recoveries.clear()
        self.successResultOf(self.begin())
        (recovery,) = self.recoveries
        self.assertEqual(set(recovery.accounts[123].lockouts), {"RULE-003"})

    def test_changes_before_the_recovery_overwrite_no_lock(self) -> None:
        self.apply("lockout_set", rule_id="RULE-003")
        self.successResultOf(self.service.make_durable())
        self.successResultOf(self.service.stopService())
        self.state = AccountState(account_id=123)
        recovered = self.begin(slow=True)
        handshake = self.service.published()
        self.service.changed()
        self.clock.advance(0.6)
        self.assertNoResult(recovered)
        while self.disk.waiting:
            self.disk.catch_up()
        self.successResultOf(recovered)
        self.successResultOf(handshake)
        self.assertEqual(set(self.snapshot().accounts[123].lockouts), {"RULE-003"})

    def test_a_stop_before_the_recovery_overwrites_no_lock(self) -> None:
        self.apply("lockout_set", rule_id="RULE-003")
        self.successResultOf(self.service.make_durable())
        self.successResultOf(self.service.stopService())
        self.state = AccountState(account_id=123)
        self.begin(slow=True)
        stopped = self.service.stopService()
        while self.disk.waiting:
            self.disk.catch_up()
        self.successResultOf(stopped)
        self.recoveries.clear()
        self.begin()
        self.assertEqual(set(self.recoveries[0].accounts[123].lockouts), {"RULE-003"})

    def test_content_that_the_engine_could_not_take_over_is_not_overwritten(self) -> None:
        self.apply("lockout_set", rule_id="RULE-003")
        self.successResultOf(self.service.make_durable())
        self.successResultOf(self.service.stopService())
        self.state = AccountState(account_id=123)
        failing = self.patch(self, "found", self.fail_to_take_over)
        self.begin()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.apply("GatewayUserTrade", id=1)
        self.service.changed()
        self.clock.pump([0.5] * 4)
        self.successResultOf(self.service.stopService())
        # The journal was opened again meanwhile, with the same exception.
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 0)
        failing.restore()
        self.recoveries.clear()
        self.begin()
        self.assertEqual(set(self.recoveries[0].accounts[123].lockouts), {"RULE-003"})

    def fail_to_take_over(self, _recovery: Recovery) -> None:
        raise ZeroDivisionError

    def test_the_final_states_are_published(self) -> None:
        self.apply("daemon_status", status="STOPPING")
        self.service.changed()
        self.successResultOf(self.service.stopService())
        status = self.snapshot().accounts[123].daemon
        assert status is not None
        self.assertEqual(status.status, "STOPPING")

    def test_after_the_stop_no_call_is_scheduled(self) -> None:
        self.service.changed()
        self.successResultOf(self.service.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.service.published())

    def test_the_stop_ends_every_wait(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        self.apply("lockout_set", rule_id="R1")
        waiting = [self.service.make_durable(), self.service.make_durable()]
        waiting += [self.service.published(), self.service.published()]
        stopped = self.service.stopService()
        self.disk.catch_up()
        self.assertNoResult(waiting[1])
        self.assertNoResult(waiting[2])
        while self.disk.waiting:
            self.disk.catch_up()
        self.successResultOf(stopped)
        for each in waiting:
            self.successResultOf(each)
        self.assertEqual(set(self.snapshot().accounts[123].lockouts), {"R1"})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_the_last_write_loses_is_logged(self) -> None:
        self.clock.advance(1)
        self.store.fault = OSError(28, "No space left on device")
        self.apply("lockout_set", rule_id="RULE-003")
        self.successResultOf(self.service.make_durable())
        with capturedLogs() as logged:
            self.successResultOf(self.service.stopService())
        (lost,) = [event for event in logged if "are lost" in str(event["log_format"])]
        self.assertIn("No space left on device", lost["why"])

    def test_after_the_stop_nothing_waits_and_no_problem_is_reported(self) -> None:
        self.clock.advance(1)
        self.disk.is_slow = True
        waiting = self.service.make_durable()
        reported = len(self.problems)
        self.service.stopService()
        self.store.fault = OSError(28, "No space left on device")
        self.clock.advance(2)
        while self.disk.waiting:
            self.disk.catch_up()
        self.assertEqual(self.successResultOf(waiting), "[Errno 28] No space left on device")
        self.assertEqual(self.successResultOf(self.service.make_durable()), "riskd is stopping")
        self.clock.advance(2)
        self.assertEqual(self.problems[reported:], [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_journal_that_cannot_be_opened_is_opened_by_a_later_attempt(self) -> None:
        self.apply("lockout_set", rule_id="RULE-003")
        self.successResultOf(self.service.make_durable())
        self.successResultOf(self.service.stopService())
        self.recoveries.clear()
        self.problems.clear()

        disk = failing_disk(self)
        self.successResultOf(self.begin())
        self.assertEqual(self.recoveries, [])
        self.assertIn("cannot be written", self.problems[-1])
        disk.restore()
        self.clock.pump([0.5] * 6)
        self.assertEqual(set(self.recoveries[0].accounts[123].lockouts), {"RULE-003"})
        self.assertEqual(self.problems[-1], "")

    def test_reading_before_the_first_publication_is_an_error(self) -> None:
        empty = temporary_directory(self)
        self.assertRaises(StateFileError, read_published, empty)
