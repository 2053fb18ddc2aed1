"""Accounts are reconciled at the start, in rounds and on request; some answers cannot be read."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from riskd.config.settings import NO_FAULTS, Faults
from riskd.engine.reconciliation import FULL_ROUND, ROUND_SECONDS
from riskd.engine.risk import CONFIRM_AGAIN_SECONDS
from riskd.gateway.interface import (
    Found,
    GatewayRefusedError,
    GatewayUnansweredError,
    GatewayUnreadableError,
)
from riskd.journal.store import Store
from riskd.model.account import AccountState
from riskd.model.broker import BrokerAccount, Unreadable
from riskd.model.events import LockoutSet, Status
from tests.support.guarded_account import (
    DAILY_LOSS,
    FEED_LOST,
    MAX_CONTRACTS,
    ONE_ROUND,
    OTHER_ACCOUNT,
    BrokerTestCase,
    FeedTestCase,
    never,
    refused,
)
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ, SELL
from tests.support.waiting import step_until

GONE = 999


class StartTests(BrokerTestCase):
    config = DAILY_LOSS

    def test_reads_that_fail_are_repeated(self) -> None:
        self.lock_and_kill()
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.restart()
        self.assertEqual(self.statuses(), [Status.ERROR])
        self.assertIn(str(ACCOUNT), self.message())
        self.daemon.gateway.faults = Faults()
        self.trade_again()
        self.daemon.advance(15)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(self.statuses(), [Status.ERROR, Status.RUNNING])

    def test_reads_without_an_answer_are_repeated(self) -> None:
        self.lock_and_kill()
        for method in ("search_account", "search_open_positions"):
            hanging = self.answer(method, never)
            self.daemon.restart()
            self.daemon.advance(3)
            hanging.restore()
            self.trade_again()
            self.daemon.advance(15)
            self.assertEqual(self.daemon.held, {}, method)
            self.assertEqual(self.statuses(), [Status.ERROR, Status.RUNNING])
            self.daemon.kill()
            self.daemon.told.clear()

    def test_a_broker_that_recovers_late_is_followed(self) -> None:
        self.lock_and_kill()
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.restart()
        self.daemon.advance(3600, step=5)
        self.daemon.gateway.faults = Faults()
        self.trade_again()
        self.daemon.advance(11)
        self.assertEqual(self.daemon.held, {})


class OtherAccountTests(BrokerTestCase):
    config = MAX_CONTRACTS + f"[[accounts]]\nid = {OTHER_ACCOUNT}\n"

    def test_an_account_that_cannot_be_reconciled_keeps_no_other_waiting(self) -> None:
        for answer in (never, refused("Account/search", 1)):
            self.daemon.kill()
            self.daemon.told.clear()
            self.answer("search_account", answer, OTHER_ACCOUNT)
            self.daemon.restart()
            self.daemon.advance(3)
            self.daemon.trade(BUY, 3)
            self.daemon.advance(1)
            self.assertEqual(self.daemon.held, {})
            self.assertEqual(set(self.statuses()), {Status.ERROR})
            self.assertIn(str(OTHER_ACCOUNT), self.message())


class RepeatedTests(BrokerTestCase):
    config = DAILY_LOSS

    def test_a_reconciliation_without_an_answer_is_repeated(self) -> None:
        self.lose(125, 2)
        hanging = self.answer("search_account", never)
        self.daemon.advance(6)
        hanging.restore()
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(15)
        self.assertEqual(self.daemon.held, {})

    def test_failed_reconciliations_are_a_problem_until_one_succeeds(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(2)
        self.daemon.told.clear()
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.advance(60)
        self.assertEqual(self.statuses(), [Status.ERROR])
        self.daemon.gateway.faults = Faults()
        self.daemon.advance(6)
        self.assertEqual(self.statuses(), [Status.ERROR, Status.RUNNING])


class UnknownAccountTests(FeedTestCase):
    """A locked account that neither the settings nor the broker know any more is no problem."""

    config = MAX_CONTRACTS

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Deferred[Any]] = []
        self.is_answered = True
        real = self.daemon.gateway.search_account

        def search(account_id: int) -> Deferred[Any]:
            if account_id != GONE:
                return real(account_id)
            self.asked.append(Deferred())
            if self.is_answered:
                self.answer(self.asked[-1])
            return self.asked[-1]

        self.patch(self.daemon.gateway, "search_account", search)
        self.lock_and_restart()

    def lock_and_restart(self) -> None:
        """Start on a journal with a lock of such an account."""
        daemon = self.daemon
        daemon.stop()
        lock = LockoutSet(
            rule_id="RULE-003", reason="enough", locked_at=daemon.now(), locked_until=None
        )
        store = Store(daemon.directory)
        known = store.open([ACCOUNT], daemon.now()).accounts
        known = {**known, GONE: AccountState(account_id=GONE, lockouts={"RULE-003": lock})}
        store.write([*known.values()], "practice", daemon.now())
        store.publish()
        store.close()
        daemon.restart()
        daemon.advance(1)
        self.assertIn(GONE, daemon.engine.accounts)

    def answer(self, waiting: Deferred[Any]) -> None:
        waiting.errback(GatewayRefusedError("Account/search", 1, "no such account"))

    def test_a_given_up_account_is_not_reconciled_while_events_are_lost(self) -> None:
        self.asked.clear()
        self.lose_feed()
        self.daemon.advance(3 * ONE_ROUND)
        self.assertEqual((self.asked, self.statuses()[-1]), ([], (Status.ERROR, FEED_LOST)))
        self.restore_feed()
        self.assertEqual((len(self.asked), self.statuses()[-1][0]), (1, Status.RUNNING))

    def test_the_problems_of_an_account_end_when_it_is_given_up(self) -> None:
        engine = self.daemon.engine
        self.lose_feed()
        for source in ("begin", "reconciliation", "permission", "reading"):
            engine.report_problem(f"{source} {GONE}", "The broker does not answer")
        self.restore_feed()
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_a_reconciliation_that_fails_after_the_account_was_given_up_is_no_problem(
        self,
    ) -> None:
        self.is_answered = False
        self.daemon.engine._reconciliation.request(self.daemon.engine.accounts[GONE])
        self.answer(self.asked[-1])
        self.assertEqual(self.statuses()[-1][0], Status.RUNNING)

    def test_an_account_that_the_broker_knows_again_is_guarded_and_reconciled(self) -> None:
        self.lose_feed()
        gateway = self.daemon.gateway
        self.patch(gateway, "search_account", lambda _number: succeed(BrokerAccount()))
        for method in ("search_open_positions", "search_open_orders", "search_trades"):
            self.patch(gateway, method, lambda *_wanted, **_more: succeed(Found(())))
        self.restore_feed()
        risk_engine = self.daemon.engine.accounts[GONE].risk_engine
        self.assertTrue(risk_engine.is_active)
        self.lose_feed()
        looked: list[int] = []
        self.patch(
            self.daemon.engine._reconciliation,
            "request",
            lambda account: looked.append(account.account.account_id),
        )
        self.daemon.advance(ONE_ROUND)
        self.assertIn(GONE, looked)


class RoomTests(FeedTestCase):
    """Requests that are kept for enforcement are not spent on reconciliation."""

    def looks_in(self, rounds: int) -> int:
        """Let rounds pass; return how often the open positions were requested."""
        asked: list[int] = []
        real = self.daemon.gateway.search_open_positions

        def search(account_id: int, *, urgent: bool = False) -> Deferred[Any]:
            asked.append(account_id)
            return real(account_id, urgent=urgent)

        patch = self.patch(self.daemon.gateway, "search_open_positions", search)
        self.daemon.advance(rounds * ROUND_SECONDS)
        patch.restore()
        return len(asked)

    def test_an_internal_error_does_not_end_the_rounds(self) -> None:
        def fail(_requests: int) -> bool:
            raise ZeroDivisionError

        self.daemon.advance(1)
        mistaken = self.patch(self.daemon.gateway, "has_room", fail)
        self.assertEqual(self.looks_in(FULL_ROUND), 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        mistaken.restore()
        self.assertEqual(self.looks_in(FULL_ROUND), 1)

    def test_no_account_is_reconciled_without_room_for_requests(self) -> None:
        self.daemon.advance(1)
        self.assertEqual(self.looks_in(FULL_ROUND), 1)
        self.patch(self.daemon.gateway, "has_room", lambda _requests: False)
        self.assertEqual(self.looks_in(FULL_ROUND), 0)

    def test_accounts_take_turns(self) -> None:
        looked: list[int] = []
        engine = self.daemon.engine
        for number in (1, 2):
            engine._follow(
                type(self.daemon.settings.accounts[0])(id=number)
            ).risk_engine.is_active = True
        loop = engine._reconciliation
        self.patch(loop, "request", lambda account: looked.append(account.account.account_id))
        self.patch(self.daemon.gateway, "has_room", lambda _requests: len(looked) % 2 == 0)
        loop.is_feed_lost = True
        for _ in range(3):
            loop._round()
            looked.append(0)
        self.assertEqual([number for number in looked if number], [ACCOUNT, 1, 2])


class UnreadableTests(BrokerTestCase):
    """The broker's answer about an account cannot be read."""

    config = MAX_CONTRACTS

    def test_an_unreadable_answer_is_a_problem_for_as_long_as_it_lasts(self) -> None:
        row = Unreadable(what="GatewayUserPosition", why="size", id=1, contract_id=MNQ)
        answer = Found((), (row,))
        way_back = self.answer("search_open_positions", lambda *_, **__: succeed(answer))
        self.daemon.advance(130)
        self.assertEqual(self.statuses(), [Status.RUNNING, Status.ERROR])
        self.assertIn(f"of account {ACCOUNT} can be read", self.message())
        way_back.restore()
        self.daemon.advance(70)
        self.assertEqual(self.statuses()[-1], Status.RUNNING)


class UnreadableEndTests(BrokerTestCase):
    """A stop is canceled without an event, and the broker's answer about it cannot be read."""

    config = "[rules.no_stop_loss_grace]\ngrace_period_seconds = 30\n"

    def setUp(self) -> None:
        super().setUp()
        self.daemon.trade(BUY, 1)
        self.stop = self.daemon.trade(SELL, 1, stopPrice="20900")
        self.daemon.advance(2)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.gateway.cancel_order(ACCOUNT, self.stop)

    def of_unknown_status(self, *wanted: Any, **more: Any) -> Deferred[Any]:
        return fail(GatewayUnreadableError("Order/searchById", "status"))

    def test_a_stop_whose_end_cannot_be_read_protects_nothing(self) -> None:
        self.answer("search_order", self.of_unknown_status)
        self.daemon.advance(60)
        self.assertEqual(self.daemon.state.working_orders, ())
        self.assertEqual(self.statuses()[-1], Status.ERROR)
        self.assertIn(f"of account {ACCOUNT} can be read", self.message())
        self.daemon.advance(70)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual([action.rule_id for action in self.daemon.actions], ["RULE-008"])
        self.assertEqual(self.statuses()[-1], Status.RUNNING)

    def test_an_event_that_came_meanwhile_is_kept(self) -> None:
        row = {**self.daemon.gateway.exchange.store.order(ACCOUNT, self.stop), "status": 1}

        def answer(*wanted: Any, **more: Any) -> Deferred[Any]:
            moved = {**row, "stopPrice": 20950, "updateTimestamp": self.daemon.now().isoformat()}
            self.daemon.payloads.user_event("GatewayUserOrder", moved)
            return self.of_unknown_status(*wanted, **more)

        self.answer("search_order", answer)
        self.daemon.advance(60)
        (working,) = self.daemon.state.working_orders
        self.assertEqual(working.stop_price, 20950)


class LateAnswerTests(BrokerTestCase):
    """A reconciliation is under way when the feed is lost, and its answers come after those of the next one."""

    def test_what_has_ended_meanwhile_is_not_open_again(self) -> None:
        gateway = self.daemon.gateway
        gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 1)
        stop = self.daemon.trade(SELL, 1, stopPrice="20900")
        late: list[Deferred[Any]] = []
        former = gateway.search_trades

        def answer(*_wanted: object, **_more: object) -> Deferred[Any]:
            late.append(Deferred())
            return late[-1]

        self.answer("search_trades", answer)
        step_until(lambda: late, lambda: self.daemon.advance(0.25))
        self.answer("search_trades", former)
        gateway.cancel_order(ACCOUNT, stop)
        self.daemon.trade(SELL, 1)
        self.daemon.advance(0.5)
        gateway.faults = NO_FAULTS
        self.daemon.engine.feed_lost(FEED_LOST)
        self.daemon.engine.feed_restored()
        self.daemon.advance(0.5)
        late[0].callback(Found(()))
        self.daemon.advance(0.5)
        self.assertEqual((self.daemon.held, self.daemon.working), ({}, []))
        self.assertEqual((self.daemon.state.open_positions, self.daemon.state.orders), ((), {}))


class UnansweredLookTests(BrokerTestCase):
    """A position has no stop in time, as far as is known, and the broker cannot be asked about it."""

    config = "[rules.no_stop_loss_grace]\ngrace_period_seconds = 10\n"

    def setUp(self) -> None:
        super().setUp()
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)

    def test_a_stop_whose_event_was_lost_protects(self) -> None:
        self.daemon.gateway.faults = Faults(lost_events=1.0, failed_reads=1.0)
        self.daemon.trade(SELL, 1, stopPrice="20900")
        self.daemon.advance(20)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(CONFIRM_AGAIN_SECONDS)
        self.assertEqual(len(self.daemon.state.working_orders), 1)
        self.daemon.advance(70)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({MNQ: 1}, []))

    def test_without_a_stop_it_is_closed_as_soon_as_the_broker_answers(self) -> None:
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.advance(20)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(CONFIRM_AGAIN_SECONDS)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual([action.rule_id for action in self.daemon.actions], ["RULE-008"])


class UnlistedAccountTests(BrokerTestCase):
    """An account that the broker does not list any more, and that still holds a position."""

    config = MAX_CONTRACTS

    def test_an_unlisted_account_is_reconciled_guarded_and_reported(self) -> None:
        self.answer("search_account", refused("Account/search", 1))
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 3)
        self.daemon.advance(70)
        self.assertEqual(self.daemon.held, {})
        self.assertIn(f"whether account {ACCOUNT} may trade", self.message())

    def test_a_request_for_the_account_that_was_lost_is_sent_again_in_the_next_round(self) -> None:
        self.daemon.advance(1)
        lost = GatewayUnansweredError("Account/search", "no connection")
        way_back = self.answer("search_account", lambda *_, **__: fail(lost))
        self.daemon.advance(FULL_ROUND * ROUND_SECONDS)
        self.assertIn(f"whether account {ACCOUNT} may trade", self.message())
        way_back.restore()
        self.daemon.advance(ROUND_SECONDS)
        self.assertNotIn(f"whether account {ACCOUNT} may trade", self.message())

    def test_an_unlisted_account_is_guarded_while_the_feed_is_lost(self) -> None:
        self.answer("search_account", refused("Account/search", 1))
        self.daemon.engine.feed_lost("no events")
        self.daemon.trade(BUY, 3)
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {})
