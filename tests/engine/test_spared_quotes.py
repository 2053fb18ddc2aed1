"""How many rules a quote asks in a daemon, and what it must not miss."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from riskd.engine import account_rules
from riskd.model.events import MarketQuote
from riskd.rules.builtin import (
    daily_net_loss,
    daily_unrealized_loss,
    max_unrealized_profit,
    trade_management,
)
from riskd.rules.evaluation import Evaluation
from riskd.rules.interface import Kind, RuleResult, Trigger
from tests.support.practice_daemon import BUY, ES, MNQ, PracticeDaemon
from tests.support.rules import without_headroom

RULES: Final = """
[rules.daily_unrealized_loss]
loss_limit = 300
[rules.max_unrealized_profit]
profit_target = 1000
[rules.daily_net_loss]
loss_limit = 500
[rules.trade_management]
enabled = true
stop_loss_ticks = 400
trailing_stop = { enabled = true }
"""


class SparedQuoteTests(SynchronousTestCase):
    def hold(self, config: str = RULES) -> PracticeDaemon:
        """Return a daemon whose account is long 1 MNQ and 1 ES, and count what it asks at quotes."""
        self.asked: list[int] = []
        evaluate = account_rules.evaluate

        def counted(state: Any, rules: Any, trigger: Trigger, **more: Any) -> Evaluation:
            evaluation = evaluate(state, rules, trigger, **more)
            if trigger.kind is Kind.QUOTE:
                self.asked.append(len(evaluation.results))
            return evaluation

        self.patch(account_rules, "evaluate", counted)
        daemon = PracticeDaemon(config)
        self.addCleanup(daemon.close)
        for contract_id, price in ((MNQ, "21000"), (ES, "5800")):
            daemon.move(contract_id, price)
        daemon.advance(3)
        for contract_id in (MNQ, ES):
            daemon.trade(BUY, 1, contract_id)
        daemon.advance(3)
        # From here on all prices are lower, so that no high is new and no stop follows.
        daemon.move(MNQ, "21001")
        daemon.move(ES, "5800.50")
        self.move(daemon, MNQ, "20999")
        self.move(daemon, ES, "5799.50")
        return daemon

    def move(self, daemon: PracticeDaemon, contract_id: str, price: str) -> list[int]:
        """Return how many rules each evaluation asks while a market moves, which is broadcast."""
        del self.asked[:], daemon.told[:]
        daemon.advance(0.1)
        daemon.move(contract_id, price)
        self.assertTrue(daemon.news(MarketQuote), price)
        return [*self.asked]

    def test_a_quote_that_changes_nothing_asks_no_rule(self) -> None:
        daemon = self.hold()
        asked = [self.move(daemon, MNQ, f"{20998 + number % 2}") for number in range(1, 40)]
        self.assertEqual(asked, [[]] * 39)

    def test_a_limit_is_seen_at_the_tick_at_which_it_is_reached(self) -> None:
        daemon = self.hold()
        entry = daemon.state.positions[ES].average_price
        acted = []
        for dollars in ("287.50", "300"):
            self.move(daemon, ES, str(entry - Decimal(dollars) / 50))
            acted.append(bool(daemon.actions))
        self.assertEqual(acted, [False, True])

    def test_a_high_is_noted_at_the_tick_at_which_it_is_reached(self) -> None:
        daemon, highs = self.hold(), []
        self.move(daemon, ES, "5806")
        for price in ("21002", "21000", "21002", "21002.25", "21004"):
            self.move(daemon, MNQ, price)
            highs.append(daemon.state.balance.high_net)
        first = highs[0]
        self.assertEqual([high - first for high in highs], [0, 0, 0, Decimal("0.5"), 4])

    def test_without_a_headroom_each_quote_asks_each_rule(self) -> None:
        """So it is with rules of a user's own that name none."""
        for rule in (
            daily_net_loss,
            daily_unrealized_loss,
            max_unrealized_profit,
            trade_management,
        ):
            check = rule.RULE.check

            def checked(*about: Any, check: Any = check) -> RuleResult:
                return without_headroom(check(*about))

            self.patch(rule.RULE, "check", checked)
        daemon = self.hold()
        self.assertEqual(
            [self.move(daemon, MNQ, price) for price in ("20998", "20999")], [[4]] * 2
        )

    def test_a_dry_run_that_waits_for_the_end_of_a_breach_asks_at_each_quote(self) -> None:
        contracts = '[rules.symbol_blocks]\nblocked_symbols = ["ES"]\n'
        daemon = self.hold("enforce = false\n" + RULES + contracts)
        self.assertTrue(self.move(daemon, MNQ, "20998.50"))
