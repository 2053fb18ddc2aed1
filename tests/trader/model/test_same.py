"""Keys of caches that are equal only to themselves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import apply
from riskd.testing import make_event
from tests.support.accounts import account
from trader.model.day_trades import trades_of_the_day
from trader.model.same import Same


class SameTests(SynchronousTestCase):
    """A value is its own key, whatever it contains."""

    def test_only_the_very_same_value_is_equal(self) -> None:
        value, other = {1: [2]}, {1: [2]}
        self.assertEqual(Same(value), Same(value))
        self.assertEqual(hash(Same(value)), hash(Same(value)))
        self.assertNotEqual(Same(value), Same(other))
        self.assertNotEqual(Same(value), value)

    def test_the_trades_of_a_day_are_put_in_order_once_for_each_change(self) -> None:
        before = account(1, make_event("GatewayUserTrade", {"id": 1, "accountId": 1}))
        quoted = apply(before, make_event("MarketQuote", {"accountId": 1}))
        self.assertIs(trades_of_the_day(before), trades_of_the_day(quoted))
        after = apply(quoted, make_event("GatewayUserTrade", {"id": 2, "accountId": 1}))
        self.assertEqual([one.trade.id for one in trades_of_the_day(after)], [1, 2])
        self.assertEqual([one.trade.id for one in trades_of_the_day(before)], [1])
