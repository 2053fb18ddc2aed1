"""The gateway's events are lost for a time; the rules wait and the accounts are reconciled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from riskd.config.settings import NO_FAULTS, Faults
from riskd.model.events import DaemonStatus, MarketQuote, Status
from tests.support.guarded_account import (
    FEED_LOST,
    MAX_CONTRACTS,
    ONE_ROUND,
    FeedTestCase,
)
from tests.support.practice_daemon import ACCOUNT, BUY, ES, MNQ, SELL


class LostFeedTests(FeedTestCase):
    config = MAX_CONTRACTS

    def test_a_lost_feed_is_an_error_until_it_is_restored(self) -> None:
        self.lose_feed()
        self.assertEqual(self.statuses()[-1], (Status.ERROR, FEED_LOST))
        self.daemon.advance(60)
        self.assertEqual(self.statuses()[-1], (Status.ERROR, FEED_LOST))
        self.restore_feed()
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_a_breach_that_no_event_reports_is_found_and_enforced(self) -> None:
        self.lose_feed()
        self.daemon.trade(BUY, 3)
        self.assertEqual(self.daemon.held, {MNQ: 3})
        self.daemon.advance(ONE_ROUND)
        self.assertEqual(self.daemon.held, {})
        (action,) = self.daemon.actions
        self.assertEqual((action.rule_id, action.success), ("RULE-001", True))
        self.assertEqual(self.daemon.state.open_positions, ())

    def test_a_beginning_that_is_cut_off_does_not_go_on(self) -> None:
        # The practice gateway took a canceled request for an unanswered one, and the beginning tried again.
        self.daemon.gateway.faults = Faults(latency_seconds=0.3)
        self.daemon.engine.feed_lost(FEED_LOST)
        self.daemon.engine.feed_restored()
        self.daemon.advance(0.5)
        self.daemon.engine.feed_lost(FEED_LOST)
        guarded = self.daemon.engine.accounts[ACCOUNT]
        for _second in range(60):
            self.daemon.advance(1)
            self.assertFalse(guarded.risk_engine.is_active)

    def test_a_daemon_that_has_stopped_in_its_beginning_announces_nothing(self) -> None:
        self.daemon.gateway.faults = Faults(latency_seconds=0.3)
        self.daemon.engine.feed_lost(FEED_LOST)
        self.daemon.engine.feed_restored()
        self.daemon.advance(0.5)
        self.daemon.stop()
        self.assertEqual(self.statuses()[-1][0], Status.STOPPING)
        told = len(self.daemon.told)
        self.daemon.advance(60)
        self.assertEqual(len(self.daemon.told), told)

    def test_what_happened_meanwhile_is_applied_before_running_is_announced(self) -> None:
        self.lose_feed()
        self.daemon.trade(BUY, 1)
        self.daemon.trade(BUY, 1, limitPrice="20900")
        self.daemon.told.clear()
        self.restore_feed()
        (held,) = self.daemon.state.open_positions
        self.assertEqual((held.size, len(self.daemon.state.working_orders)), (1, 1))
        self.assertEqual([told[0] for told in self.statuses()], [Status.RUNNING])
        self.assertIsInstance(self.daemon.news()[-1], DaemonStatus)

    def test_positions_and_orders_that_ended_meanwhile_are_gone(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.advance(2)
        self.lose_feed()
        self.daemon.trade(SELL, 2)
        self.restore_feed()
        self.assertEqual(self.daemon.state.open_positions, ())
        self.assertEqual(self.daemon.state.trade_count, 1)

    def test_rules_are_evaluated_only_after_reconciliation(self) -> None:
        self.lose_feed()
        self.daemon.trade(BUY, 3)
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.engine.feed_restored()
        self.daemon.move(MNQ, "21001")
        self.daemon.advance(5)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({MNQ: 3}, []))
        self.assertEqual(self.statuses()[-1][0], Status.ERROR)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(15)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({}, 1))
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_rules_wait_on_when_the_feed_is_lost_again_at_once(self) -> None:
        self.lose_feed()
        answer = self.hold_back("search_account")
        self.daemon.engine.feed_restored()
        self.daemon.engine.feed_lost(FEED_LOST)
        answer()
        self.daemon.advance(1)
        self.assertEqual(self.statuses()[-1], (Status.ERROR, FEED_LOST))
        self.restore_feed()
        self.daemon.advance(1)
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)
        self.daemon.trade(BUY, 3)
        self.assertEqual(self.daemon.held, {})

    def test_running_is_announced_once_when_the_feed_is_restored_twice(self) -> None:
        self.lose_feed()
        answer = self.hold_back("search_account")
        self.daemon.engine.feed_restored()
        self.restore_feed()
        self.assertEqual(self.statuses()[-1], (Status.ERROR, FEED_LOST))
        answer()
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def restart_without_feed(self) -> Deferred[None]:
        """Restart on a broker that answers, and sends no events before the Deferred fires."""
        self.daemon.stop()
        started: Deferred[None] = Deferred()
        real = self.daemon.gateway.start

        def start(listener: Any) -> Deferred[None]:
            real(listener)
            listener.feed_lost(FEED_LOST)
            return started

        self.patch(self.daemon.gateway, "start", start)
        self.daemon.told.clear()
        self.daemon.restart()
        return started

    def test_an_account_is_guarded_before_the_first_feed(self) -> None:
        started = self.restart_without_feed()
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 3)
        self.daemon.advance(ONE_ROUND)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({}, 1))
        self.restore_feed()
        started.callback(None)
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)
        self.daemon.trade(BUY, 3)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({}, 2))

    def test_a_feed_that_is_lost_before_the_first_one_does_not_block_the_start(self) -> None:
        started = self.restart_without_feed()
        self.assertEqual(self.statuses(), [(Status.ERROR, FEED_LOST)])
        self.daemon.engine.feed_restored()
        started.callback(None)
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)
        self.daemon.trade(BUY, 3)
        self.assertEqual(self.daemon.held, {})

    def test_a_feed_lost_before_the_first_answer_is_not_announced_as_running(self) -> None:
        self.daemon.stop()
        answer = self.hold_back("search_account")
        self.daemon.told.clear()
        self.daemon.restart()
        self.daemon.engine.feed_lost(FEED_LOST)
        self.assertEqual(self.statuses(), [(Status.ERROR, FEED_LOST)])
        answer()
        self.restore_feed()
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_a_stop_before_the_first_answer_announces_no_running(self) -> None:
        self.daemon.stop()
        self.hold_back("search_account")
        self.daemon.restart()
        self.daemon.stop()
        self.assertNoResult(self.daemon.engine.started)

    def test_an_internal_error_while_visiting_leaves_the_rules_waiting(self) -> None:
        self.lose_feed()
        risk_engine = self.daemon.engine.accounts[ACCOUNT].risk_engine
        mistake = self.patch(risk_engine, "_check_again", lambda: 1 / 0)
        self.daemon.advance(ONE_ROUND)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        mistake.restore()
        self.assertFalse(risk_engine.is_active)

    def hold_back(self, method: str) -> Callable[[], None]:
        """Hold a request back; return a function that lets it be answered."""
        real = getattr(self.daemon.gateway, method)
        held: list[tuple[Deferred[Any], tuple[Any, ...]]] = []

        def wait(*arguments: Any) -> Deferred[Any]:
            held.append((Deferred(), arguments))
            return held[-1][0]

        patch = self.patch(self.daemon.gateway, method, wait)

        def answer() -> None:
            patch.restore()
            for waiting, arguments in held:
                real(*arguments).chainDeferred(waiting)

        return answer


class QuotesTests(FeedTestCase):
    def test_quotes_of_held_contracts_and_of_working_orders_are_subscribed(self) -> None:
        followed: list[str] = []
        self.patch(self.daemon.gateway, "follow_quotes", followed.append)
        self.daemon.move(ES, "5800")
        self.daemon.trade(BUY, 1, ES, limitPrice="5700")
        self.daemon.advance(1)
        self.assertEqual(followed, [ES])

    def test_a_problem_with_quotes_is_announced_and_stops_no_rule(self) -> None:
        self.daemon.engine.gateway_problem("quotes", "No quotes since 18:00:00")
        self.assertEqual(self.statuses()[-1], (Status.ERROR, "No quotes since 18:00:00"))
        self.daemon.trade(BUY, 1)
        self.assertIn(MNQ, self.daemon.state.positions)
        self.daemon.engine.gateway_problem("quotes", "")
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)
        self.assertTrue(self.daemon.news(MarketQuote))
