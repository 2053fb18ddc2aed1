"""Reports of accounts and rules, as an operator reads them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.control.reporting import report_account, report_rule
from riskd.control.reports import AccountReport, FloorReport, RuleReport
from riskd.model.account import Flattening, RiskState
from riskd.model.balance import Balance
from riskd.model.events import Action, MarketQuote
from riskd.model.floor import FloorSource
from riskd.rules.builtin.maximum_loss import RULE, Settings
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import Gauge
from tests.support.broker_values import MNQ
from tests.support.control import NOW, FakeAccount, a_rule, order, position


class AccountTests(SynchronousTestCase):
    """An account with its positions, orders and locks."""

    def setUp(self) -> None:
        self.account = FakeAccount(123)

    def report(self, *rules: RuleInForce) -> AccountReport:
        return report_account(self.account.account_state, NOW, rules)

    def test_positions_are_reported_with_their_open_pnl(self) -> None:
        self.account.apply(position())
        self.account.apply(
            MarketQuote(
                contract_id=MNQ,
                bid=Decimal("21001.00"),
                ask=Decimal("21001.50"),
                last=Decimal("21001.25"),
                timestamp=NOW,
            )
        )
        account = self.report()
        (position_report,) = account.positions
        self.assertEqual(
            (position_report.contract, position_report.side, position_report.size),
            ("MNQZ6", "long", 2),
        )
        self.assertEqual((position_report.open_pnl, account.open_pnl), (Decimal(5), Decimal(5)))

    def test_net_pnl_and_equity_count_what_an_exit_would_bring(self) -> None:
        self.account.apply(position())
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state,
            balance=Balance(agreed=Decimal(50000), other=Decimal(49000), charges=Decimal("0.74")),
        )
        account = self.report()
        self.assertEqual((account.net_pnl, account.equity), (None, None))
        self.account.apply(
            MarketQuote(
                contract_id=MNQ,
                bid=Decimal("21001.00"),
                ask=Decimal("21001.50"),
                last=Decimal("21001.25"),
                timestamp=NOW,
            )
        )
        account = self.report()
        self.assertEqual((account.open_pnl, account.net_pnl), (Decimal(5), Decimal("3.26")))
        self.assertEqual((account.balance, account.equity), (Decimal(49000), Decimal(49004)))
        self.assertEqual(account.brokers_balance, Decimal(49000))

    def test_the_floor_is_reported_with_its_headroom(self) -> None:
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state,
            balance=Balance(agreed=Decimal(50300), first=Decimal(50000)),
            realized_pnl=Decimal(300),
        )
        rule = RuleInForce(RULE, Settings())
        self.assertEqual(
            self.report(rule).floor,
            FloorReport(
                amount=Decimal(48000),
                source=FloorSource.ESTIMATE,
                headroom=Decimal(2300),
                after_close=Decimal(48300),
            ),
        )
        self.account.apply(position())
        floor = self.report(rule).floor
        assert floor is not None
        self.assertEqual((floor.amount, floor.headroom), (Decimal(48000), None))

    def test_open_pnl_without_a_mark_is_none_and_not_zero(self) -> None:
        self.account.apply(position())
        account = self.report()
        self.assertEqual((account.positions[0].open_pnl, account.open_pnl), (None, None))

    def test_orders_are_reported(self) -> None:
        self.account.apply(order(7))
        (reported,) = self.report().orders
        self.assertEqual((reported.id, reported.contract, reported.type), (7, "MNQZ6", "stop"))
        self.assertEqual((reported.side, reported.limit_price), ("sell", None))
        self.assertEqual(reported.stop_price, Decimal("20990.00"))

    def test_locks_and_a_flatten_under_way_are_reported(self) -> None:
        self.account.lock("lunch", "jane", None)
        plan = Flattening(
            action=Action.CLOSE_ALL_POSITIONS, rule_id="RULE-001", reason="Too many", begun=NOW
        )
        self.account.account_state = msgspec.structs.replace(
            self.account.account_state, risk=RiskState(flattening=plan)
        )
        account = self.report()
        self.assertEqual([lock.reason for lock in account.locks], ["lunch"])
        self.assertEqual((account.flattening.reason, account.flattening.begun), ("Too many", NOW))


class RuleTests(SynchronousTestCase):
    """A rule with its gauges."""

    def rules(self, *gauges: Callable[..., Any]) -> list[RuleReport]:
        state = FakeAccount(123).account_state
        return [
            report_rule(a_rule(f"RULE-{number}", gauge), state, NOW)
            for number, gauge in enumerate(gauges)
        ]

    def test_headroom_is_limit_minus_current(self) -> None:
        gauge = Gauge(name="daily loss", limit=Decimal(500), current=Decimal("120.50"), unit="$")
        (rule,) = self.rules(lambda *_: (gauge,))
        (reported,) = rule.gauges
        self.assertEqual(
            (rule.rule_id, reported.name, reported.unit), ("RULE-0", "daily loss", "$")
        )
        self.assertEqual(reported.headroom, Decimal("379.50"))

    def test_a_gauge_without_numbers_has_no_headroom(self) -> None:
        (rule,) = self.rules(lambda *_: (Gauge(name="broker", words="granted"),))
        self.assertEqual((rule.gauges[0].headroom, rule.gauges[0].words), (None, "granted"))

    def test_a_rule_that_raises_does_not_hide_the_others(self) -> None:
        broken, sound = self.rules(lambda *_: 1 / 0, lambda *_: ())
        self.assertEqual(broken.trouble, "ZeroDivisionError: division by zero")
        self.assertEqual((sound.rule_id, sound.trouble), ("RULE-1", ""))

    def test_a_rule_with_a_gauge_that_is_not_a_number_does_not_hide_the_others(self) -> None:
        broken, *_ = self.rules(lambda *_: (Gauge(name="x", limit=Decimal("NaN")),), lambda *_: ())
        self.assertIn("NaN", broken.trouble)
