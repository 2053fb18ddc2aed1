"""Flattening at a broker that hangs, fails, refuses, or whose searches trail its events."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from riskd.config.settings import Faults
from riskd.engine.enforcement.enforcer import RETRY_SECONDS
from riskd.engine.order_of_truth import SETTLED_SECONDS
from riskd.gateway.interface import Found
from riskd.model.account import Flattening
from riskd.model.events import Action, DaemonStatus, Status
from tests.support.guarded_account import (
    DAILY_LOSS,
    MAX_CONTRACTS,
    NO_M2K,
    Answer,
    BrokerTestCase,
    GuardTestCase,
    refused,
)
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    M2K,
    MNQ,
    SELL,
)


class StubbornBrokerTests(GuardTestCase):
    config = MAX_CONTRACTS

    def breach_by_hand(self) -> None:
        """Buy one more directly at the exchange, where requests meet no faults."""
        self.daemon.gateway.exchange.place_order(
            ACCOUNT,
            {"contractId": MNQ, "type": 2, "side": 0, "size": 1},
            self.daemon.now(),
        )
        self.daemon.move(MNQ, "21000")

    def statuses(self) -> list[Status]:
        return [status.status for status in self.daemon.news(DaemonStatus)]

    def test_nothing_goes_on_after_the_daemon_has_stopped(self) -> None:
        # A gateway reports what stop() cancels as not answered; that is no reason for another try.
        for at in (0.5, 0.9, 1.3):
            with self.subTest(at=at):
                self.daemon.close()
                self.setUp()
                self.daemon.trade(BUY, 2)
                self.daemon.gateway.faults = Faults(latency_seconds=0.3)
                self.breach_by_hand()
                self.daemon.advance(at, step=0.05)
                self.daemon.stop()
                self.assertEqual(self.daemon.actions, [])
                told = len(self.daemon.told)
                self.daemon.advance(20)
                self.assertEqual(len(self.daemon.told), told)

    def test_refusals_are_repeated_until_the_broker_gives_way(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.breach_by_hand()
        self.daemon.advance(3)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({MNQ: 3}, []))
        self.daemon.advance(4)
        (action,) = self.daemon.actions
        self.assertFalse(action.success)
        self.assertEqual(self.statuses()[-1], Status.ERROR)
        message = self.daemon.news(DaemonStatus)[-1].message
        self.assertIn("Account 123 is not flat yet (1 position open), riskd keeps", message)
        self.daemon.gateway.faults = Faults()
        self.daemon.advance(6)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({}, 1))
        self.assertEqual(self.statuses()[-1], Status.RUNNING)

    def test_a_broker_that_does_not_answer_is_named_as_the_reason(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.breach_by_hand()
        self.daemon.advance(10)
        told = "".join([status.message for status in self.daemon.news(DaemonStatus)])
        self.assertIn("not flat yet (the broker does not say what is open), riskd", told)

    def test_a_close_without_an_answer_is_announced_once(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(unanswered=1.0)
        self.breach_by_hand()
        self.daemon.advance(10)
        (action,) = self.daemon.actions
        self.assertEqual((action.success, action.details.positions_closed), (True, 1))
        self.assertEqual(self.daemon.held, {})

    def test_a_closed_position_is_known_to_be_closed_without_an_event(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.breach_by_hand()
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.advance(0.5)
        self.assertEqual((self.daemon.held, self.daemon.state.open_positions), ({}, ()))

    def test_an_interrupted_flatten_is_finished_by_the_next_start(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.breach_by_hand()
        self.daemon.advance(1)
        self.daemon.kill()
        self.daemon.gateway.faults = Faults()
        self.daemon.restart()
        self.daemon.advance(1)
        (action,) = self.daemon.actions
        self.assertEqual((action.rule_id, action.success), ("RULE-001", True))
        self.assertEqual(self.daemon.held, {})

    def close_and_kill(self, seconds: float) -> None:
        """Let riskd close a breach, and kill it before the broker has said that the account is flat."""
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.breach_by_hand()
        self.daemon.advance(seconds)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({}, []))
        self.daemon.kill()
        self.daemon.gateway.faults = Faults()
        self.daemon.restart()
        self.daemon.advance(1)

    def assert_reported(self) -> None:
        (action,) = self.daemon.actions
        self.assertEqual(
            (action.rule_id, action.success, action.details.positions_closed),
            ("RULE-001", True, 1),
        )

    def test_what_a_killed_daemon_has_closed_is_reported_by_the_next_one(self) -> None:
        self.close_and_kill(seconds=0.25)
        self.assert_reported()

    def test_it_is_reported_where_the_killed_daemon_has_journaled_the_end(self) -> None:
        self.close_and_kill(seconds=3)
        self.assert_reported()

    def test_what_was_closed_before_is_not_counted_again_after_a_kill(self) -> None:
        self.daemon.trade(BUY, 1, M2K)
        self.daemon.trade(SELL, 1, M2K)
        self.daemon.advance(3)
        self.close_and_kill(seconds=0.25)
        self.assert_reported()


class SlowDiskTests(GuardTestCase):
    config = DAILY_LOSS

    def test_closing_does_not_wait_for_a_slow_disk_but_announcing_does(self) -> None:
        self.daemon.trade(BUY, 3)
        self.daemon.move(MNQ, "20850")
        self.daemon.disk.is_slow = True
        self.daemon.trade(SELL, 2)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.daemon.clock.advance(0.006)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({}, []))


class TrailingTests(BrokerTestCase):
    """Searches may trail what the broker did by a tenth of a second; its events do not."""

    config = MAX_CONTRACTS + DAILY_LOSS

    def trail(self) -> None:
        """Let searches show nothing new, for as long as they trail."""
        began = self.daemon.clock.seconds()
        real = self.daemon.gateway.search_open_positions

        def search(account_id: int, *, urgent: bool = False) -> Deferred[Any]:
            trails = self.daemon.clock.seconds() - began < SETTLED_SECONDS / 10
            return succeed(Found(())) if trails else real(account_id)

        self.answer("search_open_positions", search)

    def test_a_breach_that_searches_do_not_show_yet_is_closed(self) -> None:
        self.daemon.advance(1)
        self.trail()
        self.daemon.trade(BUY, 30)
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {})

    def test_a_position_of_a_locked_account_that_searches_do_not_show_yet_is_closed(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(1)
        self.trail()
        self.daemon.trade(BUY, 30)
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {})


class UnfinishedTestCase(BrokerTestCase):
    """A contract that cannot be closed hides no breach in the rest of the account."""

    def setUp(self) -> None:
        super().setUp()
        self.daemon.move(M2K, "2000")
        self.answer("close_contract", refused("Position/closeContract", 5), M2K)
        self.daemon.trade(BUY, 1, M2K)
        self.daemon.advance(7)
        self.daemon.told.clear()


class UnfinishedFlattenTests(UnfinishedTestCase):
    config = MAX_CONTRACTS + NO_M2K + "[rules.no_stop_loss_grace]\ngrace_period_seconds = 30\n"

    def test_the_whole_account_is_still_limited(self) -> None:
        """Another breach is enforced with the next try at the latest."""
        self.daemon.trade(BUY, 2)
        self.daemon.advance(RETRY_SECONDS[-1] + 0.25)
        self.assertEqual(self.daemon.held, {M2K: 1})
        self.assertEqual([action.rule_id for action in self.daemon.actions], ["RULE-001"])

    def test_another_contract_without_a_stop_is_closed_in_time(self) -> None:
        self.daemon.trade(BUY, 1)
        self.daemon.advance(29)
        self.assertEqual(self.daemon.held, {M2K: 1, MNQ: 1})
        self.daemon.advance(1 + RETRY_SECONDS[-1])
        self.assertEqual(self.daemon.held, {M2K: 1})


class UnfinishedFlattenAndStopsTests(UnfinishedTestCase):
    config = NO_M2K + "[rules.trade_management]\nenabled = true\n"

    def test_no_stop_is_placed_for_a_position_that_is_being_closed(self) -> None:
        """Each try would cancel the stop, and the rule would place another, until the position is closed."""
        self.daemon.advance(60)
        self.assertEqual((self.daemon.actions, self.daemon.working), ([], []))

    def test_another_contract_gets_its_stop(self) -> None:
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)
        (action,) = self.daemon.actions
        self.assertEqual((action.action, action.details.contract_id), (Action.AUTO_STOP_LOSS, MNQ))
        self.assertEqual(len(self.daemon.working), 1)


class LatePartialCloseTests(BrokerTestCase):
    config = """
    [rules.max_contracts_per_instrument]
    limits = { MNQ = 2 }
    """

    def test_a_part_that_the_broker_closes_late_is_not_closed_twice(self) -> None:
        sizes: list[int] = []
        real = self.daemon.gateway.partial_close_contract

        def close(account_id: int, contract_id: str, size: int) -> Deferred[None]:
            sizes.append(size)
            self.daemon.clock.callLater(0.6, real, account_id, contract_id, size)
            return succeed(None)

        self.answer("partial_close_contract", close)
        self.daemon.trade(BUY, 5)
        self.daemon.advance(10)
        self.assertEqual((sizes, self.daemon.held), ([3], {MNQ: 2}))
        (action,) = self.daemon.actions
        self.assertEqual((action.success, action.details.positions_closed), (True, 1))

    def test_a_part_that_was_accepted_and_never_closed_is_closed_again(self) -> None:
        real = self.daemon.gateway.partial_close_contract
        answers: list[Answer] = [lambda *_wanted: succeed(None), real]

        def close(*wanted: object) -> Deferred[Any]:
            return answers.pop(0)(*wanted)

        self.answer("partial_close_contract", close)
        self.daemon.trade(BUY, 5)
        self.daemon.advance(10)
        self.assertEqual((answers, self.daemon.held), ([], {MNQ: 2}))


class InternalErrorTests(BrokerTestCase):
    """An internal error must not leave an account unguarded."""

    config = MAX_CONTRACTS

    def fail_once(self, *_arguments: object, **_more: object) -> Deferred[None]:
        self.failing.restore()
        raise ZeroDivisionError

    def test_an_account_whose_flatten_failed_is_still_guarded(self) -> None:
        account = self.daemon.engine.accounts[ACCOUNT].account
        self.failing = self.patch(account, "announce", self.fail_once)
        self.daemon.trade(BUY, 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.statuses()[-1], Status.ERROR)
        self.daemon.advance(6)
        self.daemon.trade(BUY, 3)
        self.daemon.advance(6)
        self.assertEqual((self.daemon.held, self.statuses()[-1]), ({}, Status.RUNNING))
        self.assertEqual(self.daemon.actions[-1].rule_id, "RULE-001")

    def test_a_flatten_that_failed_is_tried_again(self) -> None:
        enforcer = self.daemon.engine.accounts[ACCOUNT].risk_engine._enforcer
        self.failing = self.patch(enforcer, "_conclude", self.fail_once)
        self.daemon.trade(BUY, 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.daemon.advance(6)
        self.assertEqual(self.statuses()[-1], Status.RUNNING)
        self.assertIsNone(self.daemon.state.risk.flattening)


class MergingTests(BrokerTestCase):
    config = DAILY_LOSS + NO_M2K

    def plan(self) -> Flattening | None:
        return self.daemon.state.risk.flattening

    def test_a_breach_during_a_flatten_merges_into_it(self) -> None:
        daemon = self.daemon
        daemon.move(M2K, "2000")
        daemon.trade(BUY, 3)
        closing = self.answer("close_contract", refused("Position/closeContract", 5))
        daemon.trade(BUY, 1, M2K)
        plan = self.plan()
        assert plan is not None
        self.assertEqual((plan.rule_id, plan.keep), ("RULE-011", {M2K: 0}))
        daemon.move(MNQ, "20800")
        daemon.trade(SELL, 2)
        plan = self.plan()
        assert plan is not None
        self.assertEqual((plan.rule_id, plan.keep), ("RULE-003", None))
        closing.restore()
        daemon.advance(3)
        self.assertEqual((daemon.held, set(daemon.state.lockouts)), ({}, {"RULE-003"}))
