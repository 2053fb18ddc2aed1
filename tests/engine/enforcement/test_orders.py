"""Requests that the broker refuses for good."""

from __future__ import annotations

from riskd.model.events import Status
from tests.support.guarded_account import (
    DAILY_LOSS,
    BrokerTestCase,
    refused,
)
from tests.support.practice_daemon import ACCOUNT, BUY, SELL


class RefusedForGoodTests(BrokerTestCase):
    """Only a person can solve such a refusal, so it is announced at once, and so is its end."""

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
