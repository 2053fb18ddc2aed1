"""One reconciliation: what cannot be read, is not listed any more, or is not visible yet."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed

from riskd.config.faults import Faults
from riskd.model.events import Status
from tests.support.guarded_account import (
    MAX_CONTRACTS,
    BrokerTestCase,
    refused,
)
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ, SELL


class UnreadableTests(BrokerTestCase):
    """The broker's answer about an account cannot be read."""

    config = MAX_CONTRACTS

    def test_an_unreadable_answer_is_a_problem_for_as_long_as_it_lasts(self) -> None:
        row = {"id": 1, "accountId": ACCOUNT, "contractId": MNQ, "type": 1, "size": "three"}
        way_back = self.answer("search_open_positions", lambda *_, **__: succeed([row]))
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
        self.real = self.daemon.gateway.search_order
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.daemon.gateway.cancel_order(ACCOUNT, self.stop)

    def of_unknown_status(self, *wanted: Any, **more: Any) -> Deferred[Any]:
        return self.real(*wanted, **more).addCallback(lambda found: {**found, "status": 9})

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
            self.daemon.engine.user_event("GatewayUserOrder", moved)
            return self.of_unknown_status(*wanted, **more)

        self.answer("search_order", answer)
        self.daemon.advance(60)
        (working,) = self.daemon.state.working_orders
        self.assertEqual(working.stop_price, 20950)


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

    def test_an_unlisted_account_is_guarded_while_the_feed_is_lost(self) -> None:
        self.answer("search_account", refused("Account/search", 1))
        self.daemon.engine.feed_lost("no events")
        self.daemon.trade(BUY, 3)
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {})
