"""The trades of the day."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from riskd.model.broker import BrokerTrade
from riskd.model.events import Event, OrderSide
from tests.support.console import BEGIN, MNQ, at
from tests.support.screen import PageTestCase
from trader.model.formatting import clock


def exit_(number: int, pnl: str, side: OrderSide, price: str, size: int) -> Event:
    """Return a trade as the published copy has it."""
    executed = datetime.fromisoformat(at(number))
    trade = BrokerTrade(
        id=number,
        contract_id=MNQ,
        profit_and_loss=Decimal(pnl),
        quantity=size,
        execution_time=executed,
        timestamp=executed,
        side=side,
        price=Decimal(price),
    )
    return Event(123, trade)


class TradesPageTests(PageTestCase):
    """Rows, summary and curve."""

    page = "Trades"

    def trade(self, number: int, pnl: float) -> None:
        """Report a trade, one second after the other."""
        executed = at(number)
        self.receive("GatewayUserTrade", id=number, profitAndLoss=pnl, executionTime=executed)

    def test_each_trade_has_its_running_total_newest_first(self) -> None:
        self.trade(1, -45.5)
        self.trade(2, 10.25)
        moments = [clock(BEGIN + timedelta(seconds=seconds)) for seconds in (2, 1)]
        self.assertEqual(
            [" ".join(row.split()) for row in self.below("Time ") if row],
            [
                f"> {moments[0]} MNQU5 - 2 - - +$10.25 -$35.25",
                f"{moments[1]} MNQU5 - 2 - - -$45.50 -$45.50",
            ],
        )

    def test_side_entry_and_exit_are_shown_where_they_are_known(self) -> None:
        sold = exit_(1, "-45.50", OrderSide.SELL, "20990.25", 1)
        bought = exit_(2, "20", OrderSide.BUY, "21000", 2)
        self.lose()
        self.file.publish(sold, bought)
        self.connect()
        self.trade(3, 10.25)
        shown = [" ".join(row.split()) for row in self.below("Time ") if row]
        moments = [clock(BEGIN + timedelta(seconds=seconds)) for seconds in (3, 2, 1)]
        self.assertEqual(
            shown,
            [
                f"> {moments[0]} MNQU5 - 2 - - +$10.25 -$15.25",
                f"{moments[1]} MNQU5 Short 2 21005.00 21000.00 +$20.00 -$25.50",
                f"{moments[2]} MNQU5 Long 1 21013.00 20990.25 -$45.50 -$45.50",
            ],
        )
        self.assertIn("Side", self.row("Time"))
        self.assertNotIn("Side", self.row("Time", columns=60))

    def test_an_opened_trade_has_every_column_on_a_narrow_screen(self) -> None:
        self.lose()
        self.file.publish(exit_(1, "-45.50", OrderSide.SELL, "20990.25", 1))
        self.connect()
        self.trade(2, 10.25)
        self.change(row=1, is_open=True)
        self.assertIn(
            "MNQU5 Long 1 21013.00 20990.25 -$45.50", " ".join(self.shown(60, 14).split())
        )

    def test_the_summary_counts_won_and_lost_trades(self) -> None:
        self.trade(1, -45.5)
        self.trade(2, 10.25)
        self.assertIn(
            "Realized -$35.25   1 won, 1 lost   P&L at the limit -$500.00 (realized loss)",
            self.shown(),
        )

    def test_the_curve_shows_the_loss_limit(self) -> None:
        self.trade(1, -300)
        self.assertIn("limit -$500 ---", self.shown())
        self.assertIn("-$300.00 ", self.shown())

    def test_a_curve_that_is_not_current_is_dimmed(self) -> None:
        self.trade(1, -300)
        self.assertEqual(self.style_of("  limit -$500 "), "loss")
        self.lose()
        self.assertEqual(self.style_of("  limit -$500 "), "dim")

    def test_a_day_without_trades_says_so(self) -> None:
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Trades of the day (none)", self.shown())
        self.assertIn("No trade yet", self.shown())
