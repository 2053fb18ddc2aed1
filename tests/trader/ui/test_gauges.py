"""The gauge of a limit as a line, at each width."""

from __future__ import annotations

import json
from decimal import Decimal

from riskd.model.account import Limit
from riskd.model.balance import Balance
from riskd.rules.registry import RULES
from tests.support.console import at
from tests.support.screen import PageTestCase
from trader.model.limit_usage import limit_usages

_SETTINGS = {
    "max_contracts_per_instrument": {"limits": {"MNQ": 3}},
    "daily_realized_loss": {"loss_limit": 500, "include_fees": True},
    "daily_unrealized_loss": {"loss_limit": 300, "scope": "per_position"},
    "maximum_loss": {"drawdown": 2000, "starting_balance": 50000},
    "weekly_limits": {
        "loss_limit": 1000,
        "profit_target": 900,
        "max_entries_and_exits": {"week": 100, "day": 1},
    },
    "daily_profit_target": {"target": 500},
    "consistency": {"share": 40, "stop_for_today": True},
}
"""Of rules whose longest names need other settings than the defaults."""


class GaugeLineTests(PageTestCase):
    """A bar, figures and words."""

    def test_a_limit_that_is_reached_is_red_and_says_so(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-500)
        self.assertIn("██████████ 100 % $500.00 of $500.00 REACHED", self.row("realized loss"))
        self.assertEqual(self.style_of("REACHED"), "loss")

    def test_a_profit_is_not_called_a_loss(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=82)
        self.turn("Limits")
        for columns in (60, 80, 120):
            shown = self.shown(columns, 40)
            self.assertIn("in profit $82.00", shown)
            self.assertIn("limit $500.00", shown)
            self.assertNotIn("-$82", shown)

    def test_beyond_a_limit_there_is_no_headroom_below_zero(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-518)
        self.turn("Limits")
        self.assertIn("$18.00 over", self.shown(120, 40))

    def test_a_bar_of_no_per_cent_is_empty(self) -> None:
        for loss, percent, begin in ((4, "0 %", "░"), (5, "1 %", "█"), (30, "6 %", "█")):
            self.setUp()
            self.receive("GatewayUserTrade", profitAndLoss=-loss)
            row = self.row("realized loss")
            self.assertIn(f" {percent} ", row)
            self.assertTrue(row.partition("realized loss ")[2].lstrip().startswith(begin), row)

    def test_only_a_limit_that_is_reached_has_a_hundred_per_cent(self) -> None:
        for loss, percent in (("499.99", "99 %"), ("500", "100 %"), ("349.99", "69 %")):
            self.setUp()
            self.receive("GatewayUserTrade", profitAndLoss=-Decimal(loss))
            self.assertIn(f" {percent} ", self.row("realized loss"))

    def test_a_last_known_limit_is_dimmed(self) -> None:
        self.receive("GatewayUserTrade", profitAndLoss=-350)
        self.lose()
        self.assertEqual(self.style_of("$350.00 of"), "dim")

    def test_sixty_columns_cut_neither_figures_nor_words(self) -> None:
        self.file.publish(
            limits={"RULE-003": Limit("daily_realized_loss", '{"loss_limit": 20000}')}
        )
        self.connect()
        self.receive("GatewayUserTrade", profitAndLoss=-19000, executionTime=at(0))
        self.assertIn(
            "realized loss $19,000.00 of $20,000.00, VERY NEAR", self.row("of $20", columns=60)
        )
        self.turn("Limits")
        self.assertIn(
            "realized loss $19,000.00 of $20,000.00, VERY NEAR", self.row("of $20", columns=60)
        )

    def test_a_limit_without_numbers_is_shown_in_words(self) -> None:
        self.file.publish(
            limits={"RULE-008": Limit("no_stop_loss_grace", '{"grace_period_seconds": 30}')}
        )
        self.connect()
        self.receive("GatewayUserPosition", size=1, type=1)
        self.receive("GatewayUserOrder", type=3, side=2, size=1, stopPrice=20990)
        for columns in (60, 80, 120):
            self.assertIn("has a stop", self.shown(columns, 40))

    def test_beside_the_tables_neither_name_nor_level_is_cut(self) -> None:
        rules = {
            "RULE-006": Limit(
                "trade_frequency_limit", '{"max_trades": 1, "time_window_minutes": 1440}'
            )
        }
        self.file.publish(limits=rules)
        self.connect()
        self.receive("GatewayUserTrade", executionTime=at(0))
        row = next(row for row in self.rows(120, 40) if "trades in" in row)
        self.assertRegex(row, "  100 % trades in 1440 minutes REACHED$")

    def test_long_words_hide_neither_the_name_nor_a_warning(self) -> None:
        for size, columns, shown in (
            (1, 120, "█░░░░   25 % net contracts$"),
            (4, 120, "█████  100 % net contracts REACHED$"),
            (1, 80, "1 of 4, after a day that ended at "),
            (4, 80, "██████ 4 of 4, REACHED"),
            (4, 60, "██████ 4 of 4, REACHED"),
        ):
            tiers = '{"limit": 4, "tiers": [{"balance": 0, "limit": 4}]}'
            balance = Balance(agreed=Decimal(50000), first=Decimal(50000))
            self.file.publish(limits={"RULE-001": Limit("max_contracts", tiers)}, balance=balance)
            self.connect()
            self.turn("Limits" if columns < 116 else "Overview")
            self.receive("GatewayUserPosition", size=size, type=1)
            rows = [row for row in self.rows(columns, 40) if "net contracts" in row]
            self.assertRegex(rows[0], shown)
            self.lose()

    def test_the_end_of_a_name_is_shown_where_there_is_room(self) -> None:
        most = '{"max_entries_and_exits": {"week": 100, "day": 60}}'
        self.file.publish(limits={"RULE-016": Limit("weekly_limits", most)})
        self.connect()
        self.turn("Limits")
        for columns in (60, 80, 120):
            shown = self.shown(columns, 24)
            self.assertIn("entries and exits, week", shown)
            self.assertIn("entries and exits, day", shown)

    def test_no_name_or_text_of_a_limit_is_cut_at_120_columns(self) -> None:
        limits = {
            rule.rule_id: Limit(rule.key, json.dumps(_SETTINGS.get(rule.key, {})))
            for rule in RULES
        }
        balance = Balance(
            agreed=Decimal(50000), first=Decimal(50000), earlier_close=Decimal(49000)
        )
        self.file.publish(limits=limits, balance=balance)
        self.connect()
        self.receive("GatewayUserPosition", size=4, type=1)
        # Their numbers are unknown before the first quote, and known after it.
        for has_quote in (False, True):
            if has_quote:
                self.receive("MarketQuote", last=20960, timestamp=at(0))
            usages = limit_usages(self.session.view(), self.now)
            self.assertGreater(len(usages), len(RULES))
            self.turn("Limits")
            listed = self.shown(120, 60)
            self.turn("Overview")
            beside = " ".join(row[82:].strip() for row in self.rows(120, 90))
            for shown in (listed, beside):
                self.assertNotIn("…", shown)
                for usage in usages:
                    self.assertIn(usage.name, shown)
                    self.assertIn(usage.unknown, shown)
