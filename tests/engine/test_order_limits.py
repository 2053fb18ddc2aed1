"""RULE-019 on the practice exchange, which fills orders before they can be canceled."""

from __future__ import annotations

from riskd.config.settings import Faults
from riskd.model.events import Action
from tests.support.guarded_account import GuardTestCase
from tests.support.practice_daemon import BUY, ES, MNQ, SELL

MES = "CON.F.US.MES.Z26"


class OrderLimitsTests(GuardTestCase):
    config = """
    [rules.order_limits]
    max_size = 3
    price_band_ticks = 40
    no_adding_to_losers = true
    no_opposite_micros = true
    """

    def setUp(self) -> None:
        super().setUp()
        self.daemon.move(ES, "5800")
        self.daemon.move(MES, "5800")

    def settle(self) -> list[tuple[Action, dict[str, int]]]:
        """Return the actions, each with what is held in the end."""
        self.daemon.advance(3)
        return [(each.action, self.daemon.held) for each in self.daemon.actions]

    def test_orders_within_the_limits_are_let_be(self) -> None:
        self.daemon.trade(BUY, 3)
        self.daemon.move(MNQ, "21005")
        order = self.daemon.trade(BUY, 1, limitPrice="21000.25")
        leave = self.daemon.trade(SELL, 3, limitPrice="21500")
        self.assertEqual(self.settle(), [])
        self.assertEqual((self.daemon.held, self.daemon.working), ({MNQ: 3}, [order, leave]))

    def test_an_order_that_is_too_large_is_canceled(self) -> None:
        self.daemon.trade(BUY, 4, limitPrice="20995")
        self.assertEqual(self.settle(), [(Action.REJECT_ORDER, {})])
        self.assertEqual(self.daemon.working, [])

    def test_what_one_that_is_too_large_has_filled_is_closed(self) -> None:
        self.daemon.trade(BUY, 2)
        self.daemon.trade(BUY, 4)
        self.assertEqual(self.settle(), [(Action.CLOSE_ALL_POSITIONS, {MNQ: 2})])
        # The next one is measured against the size that is held now.
        self.daemon.trade(BUY, 3)
        self.settle()
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({MNQ: 5}, 1))

    def test_what_is_reported_seconds_later_is_closed(self) -> None:
        self.daemon.gateway.faults = Faults(position_delay_seconds=2.5)
        self.daemon.trade(BUY, 2)
        self.daemon.advance(3)
        self.daemon.trade(BUY, 4)
        self.daemon.advance(6)
        self.assertEqual(self.daemon.held, {MNQ: 2})

    def test_what_is_filled_over_a_kill_is_closed(self) -> None:
        self.daemon.trade(BUY, 1)
        self.settle()
        self.daemon.gateway.faults = self.daemon.gateway.faults.__class__(lost_requests=1.0)
        self.daemon.gateway.exchange.place_order(
            123, {"contractId": MNQ, "type": 2, "side": 0, "size": 4}, self.daemon.now()
        )
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(1)
        self.daemon.kill()
        self.daemon.gateway.faults = self.daemon.gateway.faults.__class__()
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_a_price_far_from_the_market_is_canceled(self) -> None:
        self.daemon.trade(BUY, 1, limitPrice="20900")
        self.assertEqual(self.settle(), [(Action.REJECT_ORDER, {})])

    def test_what_adds_to_a_loser_is_closed(self) -> None:
        self.daemon.trade(BUY, 1)
        self.daemon.move(MNQ, "20999")
        self.daemon.trade(BUY, 1)
        self.assertEqual(self.settle(), [(Action.CLOSE_ALL_POSITIONS, {MNQ: 1})])

    def test_a_micro_on_the_other_side_is_closed(self) -> None:
        self.daemon.trade(BUY, 1, ES)
        self.daemon.advance(1)
        self.daemon.trade(SELL, 2, MES)
        self.assertEqual(self.settle(), [(Action.CLOSE_ALL_POSITIONS, {ES: 1})])
        self.daemon.trade(SELL, 1, MES, limitPrice="5801")
        self.settle()
        self.assertEqual(self.daemon.actions[-1].action, Action.REJECT_ORDER)
