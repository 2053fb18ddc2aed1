"""Orders that a rule forbids, at a broker whose answers say too little."""

from __future__ import annotations

from riskd.config.settings import NO_FAULTS, Faults
from riskd.model.events import Action
from tests.support.guarded_account import NO_M2K, GuardTestCase
from tests.support.practice_daemon import ACCOUNT, M2K


class TrailingSearchTests(GuardTestCase):
    config = NO_M2K

    def test_a_lost_cancel_of_an_order_that_searches_do_not_know_yet_is_no_success(self) -> None:
        daemon = self.daemon
        daemon.gateway.faults = Faults(lost_requests=1.0, searches_trail_seconds=1.0)
        order = {"contractId": M2K, "type": 1, "side": 0, "size": 1, "limitPrice": 1900}
        daemon.gateway.exchange.place_order(ACCOUNT, order, daemon.broker_time())
        daemon.move(M2K, "2000")
        daemon.advance(0.1)
        self.assertEqual((len(daemon.working), daemon.actions), (1, []))
        daemon.gateway.faults = NO_FAULTS
        daemon.advance(2)
        (action,) = daemon.actions
        self.assertEqual((action.action, action.success), (Action.REJECT_ORDER, True))
        self.assertEqual((daemon.working, daemon.state.orders), ([], {}))
