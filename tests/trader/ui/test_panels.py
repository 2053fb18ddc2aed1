"""The panels of the overview."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from riskd.model.account import Limit
from riskd.model.balance import Balance
from tests.support.console import BEGIN, DAY, MNQ, NOT_THERE, at
from tests.support.screen import MES, UNKNOWN_CONTRACT, ScreenTestCase
from trader.model.formatting import clock


class PnlTests(ScreenTestCase):
    """Realized, unrealized and total P&L, and the number of trades."""

    def figures(self) -> str:
        """Return the row of figures."""
        return self.row("Realized")

    def test_no_number_is_shown_before_a_connection(self) -> None:
        self.assertIn("-  not connected yet", self.shown())
        self.assertNotIn("0.00", self.shown())
        self.assertNotIn("Trades 0", self.shown())

    def test_no_table_is_said_to_be_empty_before_a_connection(self) -> None:
        self.assertNotIn("(none", self.shown())
        for title in ("Positions", "Working orders", "Quotes"):
            self.assertIn(f"{title} (not connected yet)", self.shown())

    def test_data_that_the_broker_has_not_sent_is_neither_zero_nor_none(self) -> None:
        self.file.publish(limits={"RULE-001": Limit("max_contracts", '{"limit": 4}')})
        self.connect()
        for status, reason in (
            (None, "no broker data yet"),
            ("ERROR", "the daemon has an error"),
        ):
            if status:
                self.receive("daemon_status", status=status, message="The login is refused")
            for number in range(3):
                self.change(page=number)
                for columns in (60, 80, 120):
                    shown = self.shown(columns)
                    self.assertIn(reason, shown)
                    for known in ("0.00", "(none", "0 of 4", " ok", "Trades 0", "No trade"):
                        self.assertNotIn(known, shown)
            self.change(page=0)
            for title in ("Positions", "Working orders", "Quotes"):
                self.assertIn(f"{title} ({reason})", self.shown())
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Positions (none)", self.shown())
        self.assertIn("Realized $0.00", self.shown())

    def test_without_the_file_an_unseen_pnl_is_not_zero(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.assertIn("-  no trade or position seen yet", self.shown())
        self.assertNotIn("0.00", self.shown())
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.assertIn("Realized -$45.50", self.shown())

    def test_received_numbers_stay_while_the_daemon_reports_an_error(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.receive("GatewayUserPosition", size=0)
        self.receive("daemon_status", status="ERROR", message="Gateway lost")
        self.assertIn("Realized -$45.50", self.shown())
        self.assertIn("Positions (none known)", self.shown())
        self.receive("daemon_status", status="RUNNING")
        self.assertIn("Positions (none)", self.shown())

    def test_the_figures_are_realized_unrealized_total_and_trades(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.receive("GatewayUserTrade", profitAndLoss=1245.25)
        self.receive("GatewayUserPosition", contractId=MNQ, type=1, size=2, averagePrice=21000.50)
        self.receive("MarketQuote", contractId=MNQ, last=20990.25, timestamp=at(0))
        self.assertEqual(
            self.figures(), "Realized +$1,199.75 Unrealized -$41.00 Total +$1,158.75 Trades 2"
        )

    def test_with_a_balance_the_net_pnl_stands_beside_the_total(self) -> None:
        """Limits and floors count fees; without it the two would contradict each other."""
        self.file.publish(*DAY, balance=Balance(agreed=Decimal(50000), first=Decimal(50000)))
        self.connect()
        for columns in (60, 80, 120):
            shown = " ".join(self.shown(columns).split())
            self.assertRegex(shown, r"Total -?\S+ Net -?\S+ Trades")

    def test_gains_and_losses_differ_in_style_and_sign(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.assertEqual(self.style_of("-$45.50"), "loss")
        self.receive("GatewayUserTrade", profitAndLoss=145.50)
        self.assertEqual(self.style_of("+$100.00"), "gain")

    def test_an_unknown_unrealized_pnl_makes_the_total_unknown_with_a_reason(self) -> None:
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-45.50)
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.assertEqual(
            self.figures(), "Realized -$45.50 Unrealized - Total - Trades 1 (no quote yet)"
        )

    def test_one_position_of_unknown_pnl_makes_the_sum_unknown(self) -> None:
        self.connect()
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.receive("MarketQuote", contractId=MNQ, last=21001, timestamp=at(0))
        self.receive("GatewayUserPosition", contractId=UNKNOWN_CONTRACT)
        self.receive("MarketQuote", contractId=UNKNOWN_CONTRACT, timestamp=at(0))
        self.assertEqual(
            self.figures(), "Realized $0.00 Unrealized - Total - Trades 0 (tick size unknown)"
        )

    def test_with_the_file_the_figures_are_of_the_day(self) -> None:
        self.connect()
        self.assertTrue(self.row("P&L").startswith("P&L of the day ─"))
        self.lose()
        self.assertTrue(self.row("P&L").startswith("P&L of the day ─"))

    def test_without_the_file_the_title_says_since_when_the_figures_are(self) -> None:
        self.file.fail()
        self.wait(60)
        self.connect()
        self.assertIn(f"P&L seen since {clock(self.now)}", self.shown())

    def test_a_daily_reset_is_shown_and_sets_the_day_to_zero(self) -> None:
        self.connect()
        self.receive("daemon_status", status="RUNNING")
        self.receive("GatewayUserTrade", profitAndLoss=-150.50, executionTime=at(-60))
        self.receive("lockout_set", locked_until=None)
        self.receive("daily_reset", reset_time=at(0), previous_pnl=-150.50)
        self.assertEqual(self.figures(), "Realized $0.00 Unrealized $0.00 Total $0.00 Trades 0")
        self.assertEqual(
            self.rows()[1].strip(), "Daily reset executed: -$150.50 in 12 trades the day before"
        )
        self.assertEqual(self.style_of("Daily reset executed"), "good")
        self.assertNotIn("LOCKED OUT", self.rows()[2])


class PositionTests(ScreenTestCase):
    """Open positions and their P&L."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def test_a_long_gains_when_the_market_rises(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000.50)
        self.receive("MarketQuote", contractId=MNQ, last=21010.75, timestamp=at(0))
        self.assertEqual(
            self.row("MNQU5", "avg"), "MNQU5 Long 3 avg 21000.50 last 21010.75 +$61.50 NO STOP"
        )
        self.assertEqual(self.style_of("+$61.50"), "gain")

    def test_a_short_loses_when_the_market_rises(self) -> None:
        self.receive(
            "GatewayUserPosition", contractId="CON.F.US.EP.Z26", type=2, size=2, averagePrice=5800
        )
        quote = {"bid": 5802, "ask": 5802.5, "last": 5802.25, "timestamp": at(0)}
        self.receive("MarketQuote", contractId="CON.F.US.EP.Z26", **quote)
        self.assertEqual(
            self.row("ESZ6", "avg"), "ESZ6 Short 2 avg 5800.00 last 5802.25 -$225.00 NO STOP"
        )
        self.assertEqual(self.style_of("-$225.00"), "loss")

    def test_an_average_between_ticks_has_an_exact_pnl(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000.333333333)
        self.receive("MarketQuote", contractId=MNQ, last=21001, timestamp=at(0))
        self.assertEqual(
            self.row("MNQU5", "avg"), "MNQU5 Long 3 avg 21000.3333 last 21001.00 +$4.00 NO STOP"
        )

    def test_each_quote_changes_the_pnl(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, size=1, averagePrice=21000)
        for seconds, last, made in (
            (0, 21000.25, "+$0.50"),
            (1, 20999.75, "-$0.50"),
            (2, 21000, "$0.00"),
        ):
            self.receive("MarketQuote", contractId=MNQ, last=last, timestamp=at(seconds))
            self.assertIn(f" {made} ", self.row("MNQU5", "avg"))

    def test_without_a_quote_the_pnl_is_unknown_with_a_reason(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.assertEqual(
            self.row("MNQU5", "avg"), "MNQU5 Long 3 avg 21000.50 last - - no quote yet NO STOP"
        )

    def test_without_a_tick_size_the_pnl_is_unknown_with_a_reason(self) -> None:
        self.receive("MarketQuote", contractId=UNKNOWN_CONTRACT, last=12.5, timestamp=at(0))
        self.receive("GatewayUserPosition", contractId=UNKNOWN_CONTRACT, size=1, averagePrice=12)
        self.assertEqual(
            self.row("avg"), "CON.F.U… Long 1 avg 12 last 12.5 - tick size unknown NO STOP"
        )

    def test_a_closed_position_leaves_the_table(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ)
        self.assertIn("Positions (1, 3 contracts)", self.shown())
        self.receive("GatewayUserPosition", contractId=MNQ, size=0)
        self.assertIn("Positions (none)", self.shown())
        self.assertNotIn("avg", self.shown())


class ProtectionTests(ScreenTestCase):
    """Whether working stops would close the whole position."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()
        self.receive("GatewayUserPosition", size=3, type=1)

    def stop(self, number: int, **data: Any) -> None:
        self.receive(
            "GatewayUserOrder",
            **{"id": number, "type": 3, "side": 2, "size": 3, "stopPrice": 20990, **data},
        )

    def protection(self) -> str:
        return self.row("avg").split("- no quote yet ")[1]

    def test_on_a_narrow_screen_the_title_names_the_columns(self) -> None:
        self.receive("GatewayUserPosition", size=1, type=1)
        for columns, names in ((79, "last ─+ open P&L ─"), (60, "last ─")):
            title = next(row for row in self.rows(columns) if row.startswith("Positions"))
            self.assertRegex(title, names)
            figures = next(row for row in self.rows(columns) if " Long " in row)
            last = title.index("last") + len("last")
            self.assertTrue(figures[:last].rstrip().endswith(figures[:last].split()[-1]))
            self.assertEqual(figures[last : last + 1], " ")
            self.assertNotEqual(figures[last - 1], " ")

    def test_a_position_without_a_stop_is_marked(self) -> None:
        self.assertEqual(self.protection(), "NO STOP")
        self.assertEqual(self.style_of("NO STOP"), "loss")

    def test_without_the_file_a_missing_stop_is_unknown(self) -> None:
        self.file.fail(NOT_THERE)
        self.connect()
        self.receive("GatewayUserPosition", size=3, type=1)
        self.assertEqual(self.protection(), "stop -")
        self.assertEqual(self.style_of("stop -"), "dim")
        self.stop(1, size=2)
        self.assertEqual(self.protection(), "STOP 2/3")

    def test_a_stop_of_the_full_size_protects_a_position(self) -> None:
        self.stop(1)
        self.assertEqual(self.protection(), "stop")

    def test_the_positions_without_a_stop_are_the_last_to_be_cut(self) -> None:
        self.stop(1)
        for number in range(6):
            contract = f"CON.F.US.MES.{number}25"
            self.receive("GatewayUserPosition", id=number, contractId=contract, size=1, type=1)
        for columns, rows in ((60, 14), (80, 24), (120, 40)):
            shown = [row for row in self.rows(columns, rows) if " Long " in row]
            self.assertTrue(all("NO STOP" in row for row in shown[:3]), shown)
            self.assertGreaterEqual(len(shown), 2)

    def test_stops_add_up_and_a_partial_stop_is_counted(self) -> None:
        self.stop(1, size=2)
        self.assertEqual(self.protection(), "STOP 2/3")
        self.stop(2, size=1, type=4, limitPrice=20980)
        self.assertEqual(self.protection(), "stop")

    def test_no_other_order_protects_a_position(self) -> None:
        self.stop(1, side=1)
        self.stop(2, type=2, stopPrice=None, limitPrice=21100)
        self.stop(3, contractId="CON.F.US.MES.U25")
        self.stop(4, state=3)
        self.assertEqual(self.protection(), "NO STOP")


class SilentMarketTests(ScreenTestCase):
    """A position without recent quotes."""

    def test_figures_of_a_silent_market_are_dimmed_and_then_unknown(self) -> None:
        self.connect()
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000)
        self.receive("MarketQuote", contractId=MNQ, last=21001, timestamp=at(0))
        self.assertIn("+$6.00", self.row("avg"))
        self.assertEqual(self.style_of("+$6.00"), "gain")
        self.wait(6)
        self.assertEqual(self.style_of("+$6.00"), "dim")
        self.wait(30)
        self.assertIn("- no quote for 36 s", self.row("avg"))
        self.assertIn("Unrealized - Total -", " ".join(self.row("Realized").split()))


class OrderTests(ScreenTestCase):
    """Working orders."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()

    def panel(self) -> list[str]:
        """Return the rows between the title of the orders and the next title."""
        rows = self.rows(120, 40)
        first = next(index for index, row in enumerate(rows) if row.startswith("Working orders"))
        last = next(index for index, row in enumerate(rows) if row.startswith("Quotes"))
        return [" ".join(row.split()) for row in rows[first + 1 : last]]

    def test_each_working_order_shows_side_size_and_terms(self) -> None:
        self.receive("GatewayUserOrder", id=1, type=2, side=1, size=2, limitPrice=21000)
        self.receive(
            "GatewayUserOrder", id=2, type=3, side=2, size=10, limitPrice=None, stopPrice=20990.25
        )
        self.receive("GatewayUserOrder", id=3, type=1, side=2, size=1, limitPrice=None)
        self.assertEqual(
            self.panel(),
            [
                "MNQU5 Buy 2 limit 21000.00 entry",
                "MNQU5 Sell 10 stop 20990.25 entry",
                "MNQU5 Sell 1 market entry",
            ],
        )

    def test_an_order_that_only_closes_contracts_is_an_exit(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, type=1, size=3)
        stop = {"type": 3, "limitPrice": None, "stopPrice": 20990}
        self.receive("GatewayUserOrder", id=1, side=2, size=3, **stop)
        self.receive("GatewayUserOrder", id=2, side=2, size=4, **stop)
        self.receive("GatewayUserOrder", id=3, side=1, size=1, **stop)
        self.receive("GatewayUserOrder", id=4, side=2, size=1, contractId=MES, **stop)
        self.assertEqual(
            [row.rpartition(" ")[2] for row in self.panel()], ["exit", "entry", "entry", "entry"]
        )

    def test_a_stop_that_is_left_of_a_closed_position_is_an_entry(self) -> None:
        self.receive("GatewayUserPosition", contractId=MNQ, type=1, size=1)
        stop = {"type": 3, "limitPrice": None, "stopPrice": 20990}
        self.receive("GatewayUserOrder", side=2, size=1, **stop)
        self.assertEqual(self.panel(), ["MNQU5 Sell 1 stop 20990.00 exit"])
        self.receive("GatewayUserPosition", contractId=MNQ, type=1, size=0)
        self.assertEqual(self.panel(), ["MNQU5 Sell 1 stop 20990.00 entry"])

    def test_without_the_positions_of_before_the_connection_it_is_neither(self) -> None:
        self.lose()
        self.file.fail("no last known state")
        self.connect()
        self.receive("GatewayUserOrder", side=2, size=1, limitPrice=21000)
        self.assertEqual(self.panel(), ["MNQU5 Sell 1 limit 21000.00"])

    def test_an_order_that_ended_leaves_the_table(self) -> None:
        for number, state in ((1, 2), (2, 3), (3, 4)):
            self.receive("GatewayUserOrder", id=number, state=1)
            self.assertEqual(len(self.panel()), 1)
            self.receive("GatewayUserOrder", id=number, state=state)
            self.assertEqual(self.panel(), [])


class QuoteTests(ScreenTestCase):
    """Quotes and their age."""

    def setUp(self) -> None:
        super().setUp()
        self.connect()
        self.receive(
            "MarketQuote",
            contractId=MNQ,
            bid=21000.25,
            ask=21000.5,
            last=21000.5,
            timestamp=at(0),
        )

    def quote(self) -> str:
        """Return the row of the quote."""
        return self.row("MNQU5", "bid")

    def test_a_fresh_quote_shows_bid_ask_last_and_age(self) -> None:
        self.wait(2)
        self.assertEqual(self.quote(), "MNQU5 bid 21000.25 ask 21000.50 last 21000.50 2 s")
        self.assertEqual(self.style_of("21000.25"), "text")

    def test_after_five_seconds_a_quote_is_stale(self) -> None:
        self.wait(5)
        self.assertNotIn("stale", self.quote())
        self.wait(1)
        self.assertEqual(self.quote(), "MNQU5 bid 21000.25 ask 21000.50 last 21000.50 stale 6 s")
        self.assertEqual(self.style_of("21000.25"), "dim")
        self.assertEqual(self.style_of("stale"), "warning")

    def test_after_half_a_minute_there_is_no_quote(self) -> None:
        self.wait(30)
        self.assertIn("stale 30 s", self.quote())
        self.wait(1)
        self.assertEqual(self.quote(), "MNQU5 bid - ask - last - no quote for 31 s")
        # A contract that is neither held nor worked is expected to have no quotes.
        self.assertEqual(self.style_of("no quote"), "dim")
        self.receive("GatewayUserOrder", contractId=MNQ, limitPrice=21000)
        self.assertEqual(self.style_of("no quote"), "warning")

    def test_the_age_of_a_missing_quote_is_never_cut(self) -> None:
        for seconds, age in ((59, "59 s"), (3599, "59 min"), (86_399, "23 h")):
            self.now = BEGIN + timedelta(seconds=seconds)
            self.assertTrue(self.quote().endswith(f"no quote for {age}"), self.quote())

    def test_a_new_quote_makes_it_fresh_again(self) -> None:
        self.wait(60)
        self.receive("MarketQuote", contractId=MNQ, last=21002, timestamp=at(60))
        self.assertTrue(self.quote().endswith("last 21002.00 0 s"), self.quote())

    def test_quotes_are_sorted_by_contract(self) -> None:
        self.receive("MarketQuote", contractId=MES, timestamp=at(0))
        names = [row.split()[0] for row in self.rows() if " bid " in row]
        self.assertEqual(names, ["MESU5", "MNQU5"])


class ActivityTests(ScreenTestCase):
    """The newest lines of the feed."""

    def test_the_newest_line_is_on_top(self) -> None:
        self.connect()
        self.wait(1)
        self.receive("GatewayUserTrade", profitAndLoss=-1, quantity=1)
        self.wait(1)
        self.receive("GatewayUserTrade", profitAndLoss=2, quantity=1)
        rows = self.rows()
        begin = next(index for index, row in enumerate(rows) if row.startswith("Activity"))
        self.assertEqual(
            rows[begin + 1 : begin + 4],
            [
                f"{clock(self.now)} Trade +$2.00  MNQU5 x1",
                f"{clock(BEGIN + timedelta(seconds=1))} Trade -$1.00  MNQU5 x1",
                f"{clock(BEGIN)} Connected to daemon",
            ],
        )

    def test_there_is_always_room_for_the_feed(self) -> None:
        self.fill()
        for number in range(20):
            self.receive("GatewayUserOrder", id=number)
        self.session.note("something went wrong")
        self.assertIn("Something went wrong", self.shown())

    def test_an_event_of_an_unknown_type_changes_nothing(self) -> None:
        self.fill()
        before = self.shown()
        self.session.receive("margin_call", lambda: None)
        self.assertEqual(self.shown(), before)
