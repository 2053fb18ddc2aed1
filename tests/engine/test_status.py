"""The gravest of several problems is the message of ``daemon_status``."""

from __future__ import annotations

from twisted.internet.defer import fail
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import Faults
from riskd.engine.status import Problems, running_message
from riskd.model.events import Status
from tests.support.broker import logged, observed
from tests.support.guarded_account import (
    FEED_LOST,
    MAX_CONTRACTS,
    ONE_ROUND,
    FeedTestCase,
)
from tests.support.practice_daemon import ACCOUNT


class ProblemsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.problems = Problems()

    def test_each_problem_is_announced_once_and_its_end_too(self) -> None:
        self.assertEqual(self.problems.report("disk", "The disk is full"), "The disk is full")
        self.assertIsNone(self.problems.report("disk", "The disk is full"))
        self.assertTrue(self.problems)
        self.assertEqual(self.problems.report("disk", ""), "")
        self.assertFalse(self.problems)
        self.assertIsNone(self.problems.report("disk", ""))

    def test_the_latest_of_equally_grave_ones_is_announced(self) -> None:
        for sentence in ("one", "two"):
            self.assertEqual(self.problems.report(sentence, sentence), sentence)
        self.assertIsNone(self.problems.report("one", ""))

    def test_what_follows_from_another_problem_does_not_hide_it(self) -> None:
        self.assertEqual(self.problems.report("reconciliation 123", "no answer"), "no answer")
        self.assertIsNone(self.problems.report("feed", "the feed is lost"))
        self.assertEqual(self.problems.report("gateway login", "refused"), "refused")
        self.assertIsNone(self.problems.report("gateway quotes", "no quotes"))
        self.assertEqual(self.problems.report("gateway login", ""), "no answer")

    def test_running_names_the_gateway_and_the_dry_run(self) -> None:
        self.assertEqual(
            running_message("practice", is_first=True, enforces=True),
            "Daemon started successfully on the PRACTICE gateway",
        )
        message = running_message("other", is_first=False, enforces=False)
        self.assertTrue(message.startswith("Running again on the other gateway "), message)


class AnnouncedProblemsTests(FeedTestCase):
    """Of several problems, the one that the others follow from is announced."""

    config = MAX_CONTRACTS

    def test_why_the_login_ends_is_not_hidden_by_what_follows_from_it(self) -> None:
        why = "The broker keeps logging riskd out"
        self.daemon.engine.gateway_problem("login", why)
        self.lose_feed()
        self.daemon.engine.gateway_problem("quotes", "No quotes")
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.advance(ONE_ROUND)
        self.assertEqual(self.statuses()[-1], (Status.ERROR, why))

    def test_lost_events_are_not_hidden_by_lost_quotes(self) -> None:
        self.lose_feed()
        self.daemon.engine.gateway_problem("quotes", "No quotes")
        self.assertEqual(self.statuses()[-1], (Status.ERROR, FEED_LOST))
        self.restore_feed()
        self.assertEqual(self.statuses()[-1], (Status.ERROR, "No quotes"))

    def test_without_events_and_answers_nothing_guards_an_account(self) -> None:
        events = observed(self)
        self.lose_feed()
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.advance(10 * ONE_ROUND)
        sentence = f"Nothing guards account {ACCOUNT}, the broker does not say what it holds"
        self.assertEqual(self.statuses()[-1], (Status.ERROR, sentence))
        warnings = [one for one in events if one["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1, logged(events))

    def test_an_internal_error_at_each_answer_is_an_error_as_well(self) -> None:
        search = self.daemon.gateway.search_open_positions
        self.patch(
            self.daemon.gateway, "search_open_positions", lambda *_: fail(RecursionError("deep"))
        )
        self.daemon.advance(20 * ONE_ROUND)
        self.assertIs(self.statuses()[-1][0], Status.ERROR)
        self.assertIn("does not say what it holds", self.statuses()[-1][1])
        self.assertTrue(self.flushLoggedErrors(RecursionError))
        self.patch(self.daemon.gateway, "search_open_positions", search)
        self.daemon.advance(20 * ONE_ROUND)
        self.assertIs(self.statuses()[-1][0], Status.RUNNING)

    def test_a_problem_is_not_announced_again_when_another_is_over(self) -> None:
        self.lose_feed()
        self.daemon.engine.gateway_problem("quotes", "No quotes")
        self.daemon.told.clear()
        self.daemon.engine.gateway_problem("quotes", "")
        self.assertEqual(self.statuses(), [])
