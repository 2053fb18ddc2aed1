"""The scaling plan of RULE-001 on the practice exchange."""

from __future__ import annotations

from riskd.model.ended_days import end_of_day_balance
from tests.support.guarded_account import NetLimitTestCase
from tests.support.practice_daemon import BUY, MNQ, SELL


class TierTests(NetLimitTestCase):
    config = """
    [rules.max_contracts]
    limit = 3
    reduce_to_limit = true
    tiers = [{ balance = 50000, limit = 1 }, { balance = 50300, limit = 3 }]
    """

    def hold(self, wanted: int, held: int) -> None:
        """Buy ``wanted`` contracts, and sell what of them the rule has left."""
        self.daemon.trade(BUY, wanted)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {MNQ: held})
        self.daemon.trade(SELL, held)
        self.daemon.advance(3)

    def test_the_limit_rises_when_a_day_has_ended_and_no_earlier(self) -> None:
        self.hold(2, 1)
        self.lose(-160)
        self.assertGreater(self.brokers, 50300)
        self.hold(2, 1)
        self.pass_a_day()
        close = self.brokers
        self.assertEqual(end_of_day_balance(self.daemon.state), close)
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(2)
        self.hold(4, 3)
        # Nor does it fall within the day.
        self.lose(300)
        self.hold(4, 3)
        self.assertEqual(end_of_day_balance(self.daemon.state), close)
        self.pass_a_day()
        self.hold(2, 1)

    def test_the_limit_of_the_new_day_holds_for_what_is_held(self) -> None:
        self.lose(-160)
        self.pass_a_day()
        self.lose(300)
        self.daemon.trade(BUY, 3)
        self.daemon.advance(2)
        self.assertEqual(self.daemon.held, {MNQ: 3})
        self.pass_a_day()
        self.assertEqual(self.daemon.held, {MNQ: 1})
