"""RULE-001 with weights on the practice exchange."""

from __future__ import annotations

from tests.support.guarded_account import GuardTestCase
from tests.support.practice_daemon import BUY, MNQ

NQ = "CON.F.US.ENQ.Z26"


class ContractWeightTests(GuardTestCase):
    config = """
    [rules.max_contracts]
    limit = 2
    reduce_to_limit = true
    weights = {}
    """

    def test_micros_are_a_tenth_and_only_the_excess_is_closed(self) -> None:
        self.daemon.move(NQ, "21000")
        self.daemon.trade(BUY, 1, NQ)
        self.daemon.trade(BUY, 10)
        self.daemon.advance(2)
        self.assertEqual((self.daemon.held, self.daemon.actions), ({NQ: 1, MNQ: 10}, []))
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        (action,) = self.daemon.actions
        reason = "Too many contracts: 2.1 weighted net contracts held (limit 2), 1 to be closed"
        self.assertEqual(action.reason, reason)
        self.assertEqual(self.daemon.held, {NQ: 1, MNQ: 10})
