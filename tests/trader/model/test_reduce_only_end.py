"""What ends the reduce-only stage: the rules themselves end it there, and not a cent earlier."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, Limit
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly
from riskd.model.trading_day import ResetSchedule
from riskd.rules.builtin import daily_net_loss, daily_realized_loss, maximum_loss, weekly_limits
from riskd.rules.interface import Rule
from tests.support.rules import NOON, day, review
from trader.model.formatting import until
from trader.model.reduce_only_end import StageEnd, stage_end

SCHEDULE = ResetSchedule()
RESET = SCHEDULE.next_reset(NOON)
DAY = {"DAY": Limit("daily_reset", msgspec.json.encode(SCHEDULE).decode())}
AMOUNT = re.compile(r"\$([0-9,]+\.[0-9]{2})")


def of(rule: Rule, reason: str = "", **keys: Any) -> tuple[dict[str, Limit], dict[str, str]]:
    """Return a rule in force, and that it asks for the stage."""
    return {rule.rule_id: Limit(rule.key, msgspec.json.encode(keys).decode())}, {
        rule.rule_id: reason
    }


def in_stage(
    state: AccountState, *asking: tuple[dict[str, Limit], dict[str, str]]
) -> AccountState:
    """Return an account in the stage that these rules ask for."""
    limits, reasons = dict(DAY), dict[str, str]()
    for known, asked in asking:
        limits |= known
        reasons |= asked
    limits[REDUCE_ONLY] = ReduceOnly(since=NOON, reasons=reasons).limit
    return msgspec.structs.replace(state, limits=limits)


def funded(balance: str) -> AccountState:
    """Return an account whose drawdown begins at 50,000."""
    state = day()
    agreed = msgspec.structs.replace(state.balance, agreed=Decimal(balance), first=Decimal(50000))
    return msgspec.structs.replace(state, balance=agreed)


class StageEndTests(SynchronousTestCase):
    """The end by each rule that asks for the stage."""

    def end(self, state: AccountState) -> StageEnd:
        end = stage_end(state, NOON)
        assert end is not None
        return end

    def asks(self, rule: Rule, state: AccountState) -> bool:
        """Return whether a rule goes on asking for the stage."""
        limit = state.limits[rule.rule_id]
        settings = msgspec.json.decode(limit.settings, type=rule.settings_type)
        return bool(rule.check(state, settings, review()).reduce_only)

    def test_a_loss_of_the_day_ends_it_with_the_day_or_once_it_is_smaller(self) -> None:
        net = "the day's net loss has reached 80 % of its limit of $500.00"
        for rule, name, reason in (
            (daily_realized_loss.RULE, "realized loss", ""),
            (daily_net_loss.RULE, "net daily loss", net),
        ):
            asking = of(rule, reason, loss_limit="500", reduce_only_at=80)
            end = self.end(in_stage(day("-410"), asking))
            self.assertEqual((end.at, end.equity), (RESET, None))
            self.assertRegex(end.words(NOON), f"^until {until(RESET, NOON)} or {name} below \\$")
            found = AMOUNT.search(end.words(NOON))
            assert found is not None
            loss = Decimal(found[1])
            for pnl, asks in ((-loss, True), (-loss + Decimal("0.01"), False)):
                state = in_stage(day(str(pnl)), asking)
                self.assertEqual(self.asks(rule, state), asks, (name, pnl))

    def test_a_drawdown_ends_it_only_with_a_higher_equity(self) -> None:
        reason = "the loss has reached 80 % of the drawdown of $2,000.00"
        keys = {"drawdown": 2000, "starting_balance": 50000, "reduce_only_at": 80}
        asking = of(maximum_loss.RULE, reason, **keys)
        end = self.end(in_stage(funded("48390"), asking))
        self.assertEqual((end.at, end.equity), (None, Decimal(48560)))
        self.assertEqual(end.words(NOON), "until equity above $48,560.00")
        for equity, asks in (("48560", True), ("48560.01", False)):
            state = in_stage(funded(equity), asking)
            self.assertEqual(self.asks(maximum_loss.RULE, state), asks)

    def test_trades_end_it_with_the_day_or_the_week_that_counts_them(self) -> None:
        asking = of(weekly_limits.RULE, max_entries_and_exits={"week": 6, "day": 4})
        for today, at in ((4, RESET), (6, SCHEDULE.week_end(NOON))):
            state = in_stage(day(), asking)
            balance = msgspec.structs.replace(state.balance, entries_and_exits=today)
            end = self.end(msgspec.structs.replace(state, balance=balance))
            self.assertEqual((end.at, end.conditions), (at, ()))
            self.assertEqual(end.words(NOON), f"until {until(at, NOON)}")

    def test_of_several_rules_the_last_ends_it(self) -> None:
        loss = of(daily_net_loss.RULE, loss_limit="500", reduce_only_at=80)
        keys = {"drawdown": 2000, "starting_balance": 50000, "reduce_only_at": 80}
        drawdown = of(maximum_loss.RULE, **keys)
        trades = of(weekly_limits.RULE, max_entries_and_exits={"day": 1})
        end = self.end(in_stage(funded("48000"), loss, drawdown))
        self.assertEqual(end.at, None)
        words = "until net daily loss below $360.00 and equity above $48,560.00"
        self.assertEqual(end.words(NOON), words)
        # A smaller loss alone would leave the trades.
        end = self.end(in_stage(day("-410"), loss, trades))
        self.assertEqual((end.at, end.conditions), (RESET, ()))

    def test_what_is_not_known_is_not_said(self) -> None:
        plugin = ({"RULE-100": Limit("mine", "{}")}, {"RULE-100": "why"})
        other = of(maximum_loss.RULE, drawdown="some other version's")
        for asking in (plugin, other):
            end = self.end(in_stage(day("-410"), asking))
            self.assertEqual((end, end.words(NOON)), (StageEnd(), ""))
        self.assertIsNone(stage_end(day(), NOON))

    def test_a_time_of_another_day_has_its_date(self) -> None:
        end = StageEnd(at=datetime(2099, 3, 1, 12, tzinfo=UTC))
        self.assertIn("Mar", end.words(NOON))
