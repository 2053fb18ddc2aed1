"""A market near zero and below it, as crude oil was in April 2020: stops, P&L and rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.enums import GatewayOrderSide
from tests.support.practice_daemon import BUY, SELL, PracticeDaemon

MCL = "CON.F.US.MCLE.F27"
STOPS = "[rules.trade_management]\nenabled = true\nstop_loss_ticks = 10\n"


@contextmanager
def trading(config: str, price: str) -> Iterator[PracticeDaemon]:
    """Yield a daemon whose account may trade crude oil at ``price``."""
    daemon = PracticeDaemon(config)
    try:
        daemon.move(MCL, price)
        yield daemon
    finally:
        daemon.close()


class StopsBelowZeroTests(SynchronousTestCase):
    """Stops of RULE-012."""

    def stops(self, daemon: PracticeDaemon) -> list[str]:
        return [str(order.stop_price) for order in daemon.state.working_orders]

    def test_a_stop_may_be_at_zero_and_below(self) -> None:
        for side, price, stop in (
            (BUY, "0.03", "-0.06"),
            (BUY, "0.09", "0.00"),
            (BUY, "-37.63", "-37.72"),
            (SELL, "-0.09", "0.00"),
            (SELL, "-0.03", "0.06"),
            (SELL, "-37.63", "-37.54"),
        ):
            with trading(STOPS, price) as daemon:
                daemon.trade(side, 1, MCL)
                daemon.advance(2)
                self.assertEqual(daemon.held, {MCL: 1 if side is BUY else -1}, price)
                self.assertEqual(self.stops(daemon), [stop])

    def test_a_stop_below_zero_closes_the_position(self) -> None:
        with trading(STOPS, "0.03") as daemon:
            daemon.trade(BUY, 1, MCL)
            daemon.advance(2)
            daemon.move(MCL, "-0.07")
            daemon.advance(2)
            self.assertEqual(daemon.held, {})
            self.assertEqual(daemon.state.realized_pnl, Decimal("-12.00"))


class LossesBelowZeroTests(SynchronousTestCase):
    """P&L of positions through zero."""

    def held_after(self, side: GatewayOrderSide, start: str, end: str) -> dict[str, int]:
        """Return what is held after a move, with a limit of $300."""
        with trading("[rules.daily_unrealized_loss]\nloss_limit = 300\n", start) as daemon:
            daemon.trade(side, 1, MCL)
            daemon.advance(2)
            daemon.move(MCL, end)
            daemon.advance(3)
            return daemon.held

    def test_a_loss_through_zero_is_a_breach(self) -> None:
        self.assertEqual(self.held_after(BUY, "1.50", "-1.60"), {})
        self.assertEqual(self.held_after(SELL, "-1.60", "1.50"), {})

    def test_a_profit_below_zero_is_none(self) -> None:
        self.assertEqual(self.held_after(BUY, "-40.00", "-36.00"), {MCL: 1})
        self.assertEqual(self.held_after(SELL, "1.50", "-1.60"), {MCL: -1})

    def test_a_loss_within_the_limit_is_none(self) -> None:
        self.assertEqual(self.held_after(BUY, "1.50", "-1.40"), {MCL: 1})
