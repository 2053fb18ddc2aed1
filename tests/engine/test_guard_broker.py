"""Rules at work on a broker that hangs, fails, refuses or trails behind itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.monkey import MonkeyPatcher

from riskd.config.faults import Faults
from riskd.engine.enforcement.enforcer import RETRY_SECONDS
from riskd.engine.tracked_account import SETTLED_SECONDS
from riskd.gateway.interface import GatewayRefusedError
from riskd.model.account import Flattening
from riskd.model.events import Action, DaemonStatus, Status
from tests.engine.test_guard import DAILY_LOSS, MAX_CONTRACTS, GuardTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, M2K, MNQ, SELL

OTHER_ACCOUNT = 456
NO_M2K = """
[rules.symbol_blocks]
blocked_symbols = ["M2K"]
"""

Answer = Callable[..., Deferred[Any]]


def never(*_arguments: object, **_more: object) -> Deferred[Any]:
    return Deferred()


def refused(request: str, code: int) -> Answer:
    def answer(*_arguments: object, **_more: object) -> Deferred[Any]:
        return fail(GatewayRefusedError(request, code, "not today"))

    return answer


def only_for(wanted: object, answer: Answer, real: Answer) -> Answer:
    """Return what gives ``answer`` when an argument is ``wanted``, and asks the broker otherwise."""

    def choose(*arguments: object, **more: object) -> Deferred[Any]:
        return (answer if wanted in arguments else real)(*arguments, **more)

    return choose


class BrokerTestCase(GuardTestCase):
    def answer(self, method: str, answer: Answer, wanted: object = None) -> MonkeyPatcher:
        """Let the broker answer so, perhaps only what is asked about ``wanted``; return the way back."""
        gateway = self.daemon.gateway
        if wanted is not None:
            answer = only_for(wanted, answer, getattr(gateway, method))
        patch: MonkeyPatcher = self.patch(gateway, method, answer)
        return patch

    def statuses(self) -> list[Status]:
        return [told.status for told in self.daemon.news(DaemonStatus)]

    def message(self) -> str:
        """What the daemon said of itself last."""
        told: DaemonStatus = self.daemon.news(DaemonStatus)[-1]
        return told.message

    def flatten(self) -> None:
        self.daemon.engine.accounts[ACCOUNT].flatten("enough", "trader")

    def lock_and_kill(self) -> None:
        self.lose(125, 2)
        self.daemon.kill()
        self.daemon.told.clear()

    def trade_again(self) -> None:
        self.daemon.move(MNQ, "21000")
        self.daemon.trade(BUY, 1)


class StartTests(BrokerTestCase):
    config = DAILY_LOSS

    def test_reads_that_fail_are_asked_again(self) -> None:
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

    def test_reads_that_never_end_are_asked_again(self) -> None:
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

    def test_a_broker_that_recovers_after_long_is_followed(self) -> None:
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

    def test_an_account_that_cannot_be_looked_at_keeps_no_other_waiting(self) -> None:
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


class LookTests(BrokerTestCase):
    config = DAILY_LOSS

    def test_a_look_that_never_ends_is_not_the_last(self) -> None:
        self.lose(125, 2)
        hanging = self.answer("search_account", never)
        self.daemon.advance(6)
        hanging.restore()
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(15)
        self.assertEqual(self.daemon.held, {})

    def test_looks_that_fail_are_told_until_one_succeeds(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(2)
        self.daemon.told.clear()
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.advance(60)
        self.assertEqual(self.statuses(), [Status.ERROR])
        self.daemon.gateway.faults = Faults()
        self.daemon.advance(6)
        self.assertEqual(self.statuses(), [Status.ERROR, Status.RUNNING])


class UnreadableTests(BrokerTestCase):
    """What the broker says of an account, and nobody can read."""

    config = MAX_CONTRACTS

    def test_it_is_told_for_as_long_as_it_lasts(self) -> None:
        row = {"id": 1, "accountId": ACCOUNT, "contractId": MNQ, "type": 1, "size": "three"}
        way_back = self.answer("search_open_positions", lambda *_, **__: succeed([row]))
        self.daemon.advance(130)
        self.assertEqual(self.statuses(), [Status.RUNNING, Status.ERROR])
        self.assertIn(f"of account {ACCOUNT} can be read", self.message())
        way_back.restore()
        self.daemon.advance(70)
        self.assertEqual(self.statuses()[-1], Status.RUNNING)


class UnreadableEndTests(BrokerTestCase):
    """A stop is canceled, no event tells of it, and nobody can read what the broker says of its end."""

    config = "[rules.no_stop_loss_grace]\ngrace_period_seconds = 30\n"

    def setUp(self) -> None:
        super().setUp()
        self.daemon.trade(BUY, 1)
        self.stop = self.daemon.trade(SELL, 1, stopPrice="20900")
        self.daemon.advance(2)
        self.real = self.daemon.gateway.search_order
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.gateway.cancel_order(ACCOUNT, self.stop)

    def of_unknown_status(self, *wanted: Any, **more: Any) -> Deferred[Any]:
        return self.real(*wanted, **more).addCallback(lambda found: {**found, "status": 9})

    def test_it_is_told_and_the_stop_protects_no_more(self) -> None:
        self.answer("search_order", self.of_unknown_status)
        self.daemon.advance(60)
        self.assertEqual(self.daemon.state.working_orders, ())
        self.assertEqual(self.statuses()[-1], Status.ERROR)
        self.assertIn(f"of account {ACCOUNT} can be read", self.message())
        self.daemon.advance(70)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual([action.rule_id for action in self.daemon.actions], ["RULE-008"])
        self.assertEqual(self.statuses()[-1], Status.RUNNING)

    def test_what_was_heard_of_it_meanwhile_stands(self) -> None:
        row = {**self.daemon.gateway.exchange.order(ACCOUNT, self.stop), "status": 1}

        def answer(*wanted: Any, **more: Any) -> Deferred[Any]:
            moved = {**row, "stopPrice": 20950, "updateTimestamp": self.daemon.now().isoformat()}
            self.daemon.engine.user_event("GatewayUserOrder", moved)
            return self.of_unknown_status(*wanted, **more)

        self.answer("search_order", answer)
        self.daemon.advance(60)
        (working,) = self.daemon.state.working_orders
        self.assertEqual(working.stop_price, 20950)


class UnlistedAccountTests(BrokerTestCase):
    """An account that the broker does not list any more, and that holds something all the same."""

    config = MAX_CONTRACTS

    def test_it_is_looked_at_and_guarded_and_told_as_trouble(self) -> None:
        self.answer("search_account", refused("Account/search", 1))
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.trade(BUY, 3)
        self.daemon.advance(70)
        self.assertEqual(self.daemon.held, {})
        self.assertIn(f"whether account {ACCOUNT} may trade", self.message())

    def test_so_it_is_while_the_feed_is_lost(self) -> None:
        self.answer("search_account", refused("Account/search", 1))
        self.daemon.engine.feed_lost("no events")
        self.daemon.trade(BUY, 3)
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {})


class TrailingTests(BrokerTestCase):
    """Searches may trail what the broker did by a tenth of a second; its events do not."""

    config = MAX_CONTRACTS + DAILY_LOSS

    def trail(self) -> None:
        """Let searches know nothing of what happens from now on, for as long as they trail."""
        began = self.daemon.clock.seconds()
        real = self.daemon.gateway.search_open_positions

        def search(account_id: int, *, urgent: bool = False) -> Deferred[Any]:
            trails = self.daemon.clock.seconds() - began < SETTLED_SECONDS / 10
            return succeed([]) if trails else real(account_id)

        self.answer("search_open_positions", search)

    def test_a_breach_that_searches_do_not_know_yet_is_closed(self) -> None:
        self.daemon.advance(1)
        self.trail()
        self.daemon.trade(BUY, 30)
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {})

    def test_so_is_what_a_locked_account_opens(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(1)
        self.trail()
        self.daemon.trade(BUY, 30)
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {})


class RefusedForGoodTests(BrokerTestCase):
    """What the broker refuses for good needs a person, so it is told at once, and again when it is over."""

    config = DAILY_LOSS

    def test_an_order_whose_canceling_is_refused_and_then_accepted(self) -> None:
        self.lose(125, 2)
        refusing = self.answer("cancel_order", refused("Order/cancel", 6))
        self.daemon.trade(BUY, 1, limitPrice="20000")
        self.assertEqual(self.statuses()[-1], Status.ERROR)
        self.assertIn("not today", self.message())
        refusing.restore()
        self.daemon.advance(6)
        self.assertEqual((self.daemon.working, self.statuses()[-1]), ([], Status.RUNNING))

    def test_a_position_whose_closing_is_refused_and_then_accepted(self) -> None:
        refusing = self.answer("close_contract", refused("Position/closeContract", 8))
        self.daemon.trade(BUY, 1)
        self.flatten()
        self.assertEqual(self.statuses()[-1], Status.ERROR)
        self.assertIn("not today", self.message())
        self.daemon.advance(20)
        self.assertEqual(self.statuses()[-1], Status.ERROR)
        refusing.restore()
        self.daemon.advance(6)
        self.assertEqual((self.daemon.held, self.statuses()[-1]), ({}, Status.RUNNING))

    def test_a_stop_that_a_flatten_may_not_cancel_at_first(self) -> None:
        refusing = self.answer("cancel_order", refused("Order/cancel", 6))
        self.daemon.trade(BUY, 1)
        self.daemon.trade(SELL, 1, stopPrice="20900")
        self.flatten()
        self.assertEqual((self.daemon.held, self.statuses()[-1]), ({}, Status.ERROR))
        refusing.restore()
        self.daemon.advance(6)
        self.assertEqual((self.daemon.working, self.statuses()[-1]), ([], Status.RUNNING))

    def test_an_order_that_the_trader_cancels_meanwhile(self) -> None:
        self.lose(125, 2)
        refusing = self.answer("cancel_order", refused("Order/cancel", 6))
        order = self.daemon.trade(BUY, 1, limitPrice="20000")
        refusing.restore()
        self.daemon.gateway.cancel_order(ACCOUNT, order)
        self.daemon.advance(6)
        self.assertEqual((self.daemon.working, self.statuses()[-1]), ([], Status.RUNNING))


class UnfinishedTestCase(BrokerTestCase):
    """A contract that cannot be closed hides nothing of the rest of the account."""

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
        """At the latest with the next try."""
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

    def test_no_stop_is_placed_for_what_is_being_closed(self) -> None:
        """The next try would cancel it, and the rule would place another, for as long as that takes."""
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

    def test_a_part_that_is_closed_late_is_not_closed_twice(self) -> None:
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


class MistakeTests(BrokerTestCase):
    """A mistake of riskd's own must not leave an account to itself."""

    config = MAX_CONTRACTS

    def fail_once(self, *_arguments: object, **_more: object) -> Deferred[None]:
        self.failing.restore()
        raise ZeroDivisionError

    def test_an_account_whose_flatten_failed_is_guarded_all_the_same(self) -> None:
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

    def test_a_flatten_that_failed_before_its_end_is_tried_again(self) -> None:
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

    def test_a_breach_during_a_flatten_is_seen_to_with_it(self) -> None:
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
