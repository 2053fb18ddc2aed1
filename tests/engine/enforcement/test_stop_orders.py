"""Protective stops are placed once, found again by their tags, and replaced by a close if rejected."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from riskd.config.settings import NO_FAULTS, Faults
from riskd.gateway.interface import Found, GatewayRefusedError, GatewayUnansweredError
from riskd.model.events import Action
from riskd.rules.interface import OWN_STOP_TAG
from tests.support.guarded_account import (
    GuardTestCase,
)
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ, SELL


class StopTagTests(GuardTestCase):
    """A stop whose placing was not answered never becomes two."""

    config = "[rules.trade_management]\nenabled = true\n"

    def buy(self, faults: Faults) -> None:
        """Let the trader buy one directly at the exchange, on a broker that fails riskd."""
        self.daemon.gateway.faults = faults
        order = {"contractId": MNQ, "type": 2, "side": 0, "size": 1}
        self.daemon.gateway.exchange.place_order(ACCOUNT, order, self.daemon.now())
        self.daemon.move(MNQ, "21000")

    def orders(self) -> list[dict[str, Any]]:
        return [
            order
            for order in self.daemon.gateway.exchange.store.orders(ACCOUNT, self.daemon._origin)
            if str(order.get("customTag", "")).startswith(OWN_STOP_TAG)
        ]

    def test_a_stop_that_got_through_is_found_by_its_tag(self) -> None:
        self.buy(Faults(unanswered=1.0))
        self.daemon.advance(10)
        self.assertEqual(len(self.orders()), 1)
        (action,) = self.daemon.actions
        self.assertEqual((action.action, action.success), (Action.AUTO_STOP_LOSS, True))
        self.assertEqual(action.details.order_id, self.orders()[0]["id"])

    def test_a_stop_that_searches_show_late_is_not_placed_twice(self) -> None:
        searches = self.patch(
            self.daemon.gateway, "search_orders", lambda *_wanted, **_more: succeed(Found(()))
        )
        open_orders = self.patch(
            self.daemon.gateway, "search_open_orders", lambda *_wanted, **_more: succeed(Found(()))
        )
        # No event reports it either.
        self.buy(Faults(unanswered=1.0, lost_events=1.0))
        self.daemon.engine._reconciliation.request(self.daemon.engine.accounts[ACCOUNT])
        self.daemon.advance(4)
        self.assertEqual(len(self.orders()), 1)
        self.assertFalse(self.daemon.actions[0].success)
        searches.restore()
        open_orders.restore()
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(70)
        self.assertEqual(len(self.orders()), 1)
        self.assertTrue(self.daemon.actions[-1].success)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_a_stop_that_was_lost_is_placed_after_all(self) -> None:
        self.buy(Faults(lost_requests=1.0))
        self.daemon.advance(3)
        self.daemon.gateway.faults = NO_FAULTS
        self.daemon.advance(70)
        self.assertEqual(len(self.orders()), 1)

    def test_a_position_is_closed_when_the_broker_rejects_its_stop_at_the_second_try(self) -> None:
        self.buy(Faults(lost_requests=1.0))
        self.daemon.advance(3)
        self.daemon.gateway.faults = NO_FAULTS
        self.patch(
            self.daemon.gateway,
            "place_order",
            lambda *_wanted: fail(GatewayRefusedError("Order/place", 2, "through the market")),
        )
        self.daemon.advance(70)
        self.assertEqual(self.daemon.held, {})
        self.assertIn("through the market", self.daemon.actions[-1].reason)

    def test_the_tag_of_a_known_stop_is_not_used_again(self) -> None:
        tags = []
        real = self.daemon.gateway.place_order

        def place(account_id: int, order: dict[str, Any]) -> Deferred[Any]:
            if "customTag" in order:
                tags.append(order["customTag"])
                if len(tags) == 1:
                    return fail(GatewayUnansweredError("Order/place", "lost"))
            return real(account_id, order)

        self.patch(self.daemon.gateway, "place_order", place)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(70)
        self.daemon.trade(SELL, 1)
        self.daemon.advance(2)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        self.assertEqual(len(tags), 3)
        self.assertEqual((tags[0] == tags[1], tags[1] == tags[2]), (True, False))


class TrailingSearchTests(GuardTestCase):
    """Stops at a broker whose searches do not know a new order yet."""

    config = "[rules.trade_management]\nenabled = true\nstop_loss_ticks = 40\n"

    def test_a_stop_that_searches_do_not_know_yet_is_not_believed_gone(self) -> None:
        """Its event comes while riskd asks for it, and the answer says that there is no such order."""
        daemon = self.daemon
        for _ in range(8):
            daemon.gateway.faults = Faults(
                latency_seconds=0.1,
                late_events=1.0,
                late_seconds=0.5,
                searches_trail_seconds=1.0,
            )
            order = {"contractId": MNQ, "type": 2, "side": 0, "size": 1}
            daemon.gateway.exchange.place_order(ACCOUNT, order, daemon.now())
            daemon.move(MNQ, "21000")
            daemon.advance(10)
            daemon.gateway.faults = NO_FAULTS
            daemon.advance(60)
            self.assertEqual([order.id for order in daemon.state.working_orders], daemon.working)
            self.assertEqual(len(daemon.working), 1)
            daemon.gateway.cancel_order(ACCOUNT, daemon.working[0])
            daemon.gateway.close_contract(ACCOUNT, MNQ)
            daemon.advance(10)


class UnknownPriceTests(GuardTestCase):
    """A stop never moves away from the market, even if the news of its last change were lost."""

    config = (
        "[rules.trade_management]\nenabled = true\nstop_loss_ticks = 40\n"
        "trailing_stop = { enabled = true, activation_ticks = 20, trail_distance_ticks = 20 }\n"
    )

    def setUp(self) -> None:
        super().setUp()
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        self.prices: list[Decimal] = []
        real = self.daemon.gateway.exchange.modify_order

        def modify(account_id: int, order_id: int, changes: dict[str, Any], now: datetime) -> None:
            self.prices.append(changes["stopPrice"])
            real(account_id, order_id, changes, now)

        self.patch(self.daemon.gateway.exchange, "modify_order", modify)
        # The stop follows the market, and nobody says so.
        self.daemon.gateway.faults = Faults(lost_events=1.0, failed_reads=1.0)
        self.daemon.move(MNQ, "21050")
        self.daemon.advance(2)
        self.assertEqual({*self.prices}, {Decimal(21045)})
        self.prices.clear()

    def test_the_size_changes_and_the_price_stays(self) -> None:
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.move(MNQ, "21046")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        self.assertEqual(self.daemon.held, {MNQ: 2})
        self.assertEqual({*self.prices}, {Decimal(21045)})
