"""Orders that a rule forbids, at a broker whose answers say too little."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail

from riskd.config.settings import NO_FAULTS, Faults
from riskd.engine.enforcement.orders import UNKNOWN_ORDER
from riskd.gateway.interface import GatewayUnansweredError
from riskd.model.events import Action
from riskd.rules.interface import RejectOrder
from tests.support.guarded_account import NO_M2K, BrokerTestCase, refused
from tests.support.practice_daemon import ACCOUNT, M2K, PracticeDaemon


def lost(*_wanted: object) -> Deferred[Any]:
    return fail(GatewayUnansweredError("Order/cancel", "lost"))


def place(daemon: PracticeDaemon) -> int:
    """Place an order directly at the exchange."""
    order = {"contractId": M2K, "type": 1, "side": 0, "size": 1, "limitPrice": 1900}
    placed: int = daemon.gateway.exchange.place_order(ACCOUNT, order, daemon.broker_time())
    daemon.gateway._publish()
    return placed


class TrailingSearchTests(BrokerTestCase):
    config = NO_M2K

    def test_a_lost_cancel_of_an_order_that_searches_do_not_know_yet_is_no_success(self) -> None:
        daemon = self.daemon
        daemon.gateway.faults = Faults(lost_requests=1.0, searches_trail_seconds=1.0)
        place(daemon)
        daemon.move(M2K, "2000")
        daemon.advance(0.1)
        self.assertEqual((len(daemon.working), daemon.actions), (1, []))
        daemon.gateway.faults = NO_FAULTS
        daemon.advance(2)
        (action,) = daemon.actions
        self.assertEqual((action.action, action.success), (Action.REJECT_ORDER, True))
        self.assertEqual((daemon.working, daemon.state.orders), ([], {}))


class LateEndTests(BrokerTestCase):
    """A broker of which neither an answer nor an event says that it has canceled an order."""

    def test_an_order_is_announced_as_canceled_once_though_its_end_is_known_late(self) -> None:
        daemon = self.daemon
        enforcer = daemon.engine.accounts[ACCOUNT].risk_engine._enforcer
        truth = daemon.engine.accounts[ACCOUNT].account.truth
        self.patch(truth, "covers", lambda *_wanted: False)
        order_id = place(daemon)
        self.answer("search_order", refused("Order/searchById", UNKNOWN_ORDER))
        for _ in range(2):
            answers = iter((lost, refused("Order/cancel", 2)))
            self.answer("cancel_order", lambda *wanted, answers=answers: next(answers)(*wanted))
            rejection = enforcer._rejections.reject(
                "RULE-011", RejectOrder(reason="not today", order_id=order_id)
            )
            done = Deferred.fromCoroutine(rejection)
            daemon.advance(2)
            self.successResultOf(done)
            self.assertIn(order_id, daemon.state.orders)
        self.assertEqual([action.details.order_id for action in daemon.actions], [order_id])
