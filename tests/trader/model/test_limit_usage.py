"""The usage of the limits in force, by published data alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, Limit, apply
from riskd.model.balance import Balance, after_firm_floor
from riskd.model.day_figures import DayFigures
from riskd.rules.registry import RULES
from riskd.testing import make_event
from trader.model.limit_usage import (
    Level,
    LimitUsage,
    is_strict,
    limit_usages,
    nearest_first,
    nearest_limit,
    nearest_loss_level,
    next_reset,
    rule_name,
)
from trader.model.view import Source, View

NOW = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.U25"
NET: dict[str, dict[str, Any]] = {
    "daily_net_loss": {},
    "maximum_loss": {},
    "daily_profit_target": {"target": 1000},
    "weekly_limits": {"loss_limit": 2000},
}
"""Limits that count fees and open P&L."""
RULE_IDS = {rule.key: rule.rule_id for rule in RULES}


def limited(**rules: dict[str, Any]) -> AccountState:
    """Return an account with these rules and settings in force."""
    return AccountState(
        account_id=123,
        limits={
            RULE_IDS[key]: Limit(key, msgspec.json.encode(settings).decode())
            for key, settings in rules.items()
        },
    )


def with_balance(state: AccountState, balance: str = "50000", **known: str) -> AccountState:
    """Return an account with a balance that began at 50,000."""
    figures = {"agreed": balance, "first": "50000", **known}
    amounts = {name: Decimal(value) for name, value in figures.items()}
    return msgspec.structs.replace(state, balance=Balance(**amounts))


def after(state: AccountState, event_type: str, **data: Any) -> AccountState:
    """Return the account after an event."""
    return apply(state, make_event(event_type, data))


def view_of(state: AccountState, source: Source = Source.LIVE) -> View:
    """Return a view of the account, in which an empty account is known to be flat."""
    return View(account=state, source=source, events_only_since=NOW)


class LimitUsageTestCase(SynchronousTestCase):
    """A base with a shortcut for accounts with one limit."""

    def usage(
        self, state: AccountState, *, seconds: float = 0, is_live: bool = True
    ) -> LimitUsage:
        """Return the only limit's usage ``seconds`` after :data:`NOW`."""
        view = view_of(state, Source.LIVE if is_live else Source.LAST_KNOWN)
        (found,) = limit_usages(view, NOW + timedelta(seconds=seconds))
        return found


class KnownUsageTests(LimitUsageTestCase):
    """Usage by the rules' own gauges."""

    def test_a_daily_loss_is_measured_against_its_limit(self) -> None:
        state = limited(daily_realized_loss={"loss_limit": 500})
        found = self.usage(after(state, "GatewayUserTrade", profitAndLoss=-350))
        self.assertEqual(
            (found.rule_id, found.name, found.unit), ("RULE-003", "realized loss", "$")
        )
        self.assertEqual((found.limit, found.current), (500, 350))
        self.assertEqual((found.share, found.headroom), (Decimal("0.7"), 150))
        self.assertIs(found.level, Level.NEAR)

    def test_the_level_follows_the_used_share(self) -> None:
        for lost, level in (
            (0, Level.FINE),
            (249, Level.FINE),
            (250, Level.HALF),
            (350, Level.NEAR),
            (450, Level.VERY_NEAR),
            (499, Level.VERY_NEAR),
            (500, Level.REACHED),
            (900, Level.REACHED),
        ):
            state = limited(daily_realized_loss={"loss_limit": 500})
            found = self.usage(after(state, "GatewayUserTrade", profitAndLoss=-lost))
            self.assertIs(found.level, level, lost)

    def test_a_day_in_profit_uses_nothing(self) -> None:
        state = limited(daily_realized_loss={"loss_limit": 500})
        found = self.usage(after(state, "GatewayUserTrade", profitAndLoss=100))
        self.assertEqual((found.share, found.headroom), (0, 600))

    def test_rules_are_in_the_order_of_their_ids(self) -> None:
        state = limited(trade_frequency_limit={}, max_contracts={}, daily_realized_loss={})
        found = limit_usages(view_of(state), NOW)
        self.assertEqual([one.rule_id for one in found], ["RULE-001", "RULE-003", "RULE-006"])

    def test_a_rule_without_numbers_has_words(self) -> None:
        found = self.usage(limited(symbol_blocks={"blocked_symbols": ["MCL"]}))
        self.assertEqual((found.words, found.share), ("MCL", None))
        self.assertIs(found.level, Level.STATED)

    def test_every_rule_can_be_measured(self) -> None:
        state = after(
            limited(**{rule.key: {} for rule in RULES if rule.key != "auto"}), "MarketQuote"
        )
        state = after(state, "GatewayUserPosition", size=2)
        found = limit_usages(view_of(state), NOW)
        self.assertEqual({one.rule_id for one in found} | {"RULE-009"}, set(RULE_IDS.values()))


class UnknownUsageTests(LimitUsageTestCase):
    """A figure that needs private data has a reason in its place."""

    def test_the_permission_of_the_broker_is_unknown(self) -> None:
        found = self.usage(limited(auth_loss_guard={}))
        self.assertEqual((found.words, found.unknown), ("", "known to the daemon alone"))
        self.assertIs(found.level, Level.UNKNOWN)

    def test_a_loss_with_fees_is_unknown_before_the_first_balance(self) -> None:
        state = limited(daily_realized_loss={"loss_limit": 500, "include_fees": True})
        state = after(state, "GatewayUserTrade", profitAndLoss=-100)
        found = self.usage(state)
        self.assertEqual((found.current, found.unknown), (None, "no balance yet"))
        self.assertEqual(
            self.usage(with_balance(state, charges="1.48")).current, Decimal("101.48")
        )

    def test_net_limits_are_unknown_before_the_first_balance(self) -> None:
        for key, settings in NET.items():
            found = self.usage(limited(**{key: settings}))
            self.assertEqual((found.current, found.unknown), (None, "no balance yet"))

    def test_net_limits_are_unknown_while_an_open_pnl_is(self) -> None:
        for key, settings in NET.items():
            state = with_balance(limited(**{key: settings}))
            state = after(state, "GatewayUserPosition", contractId=MNQ)
            found = self.usage(state)
            self.assertEqual((found.current, found.unknown), (None, "MNQU5: no quote yet"))

    def test_an_open_loss_without_a_quote_is_unknown(self) -> None:
        for scope in ("total", "per_position"):
            state = limited(daily_unrealized_loss={"loss_limit": 300, "scope": scope})
            found = self.usage(after(state, "GatewayUserPosition", contractId=MNQ))
            self.assertEqual((found.limit, found.current), (300, None))
            self.assertEqual(found.unknown, "MNQU5: no quote yet")

    def test_an_open_loss_by_an_expired_quote_is_unknown_while_live(self) -> None:
        state = limited(daily_unrealized_loss={"loss_limit": 300, "scope": "total"})
        state = after(state, "GatewayUserPosition", contractId=MNQ, size=1, averagePrice=21000)
        state = after(state, "MarketQuote", contractId=MNQ, last=20900, timestamp=NOW.isoformat())
        self.assertEqual(self.usage(state, seconds=30).current, 200)
        silent = self.usage(state, seconds=31)
        self.assertEqual((silent.current, silent.unknown), (None, "MNQU5: no quote for 31 s"))
        self.assertEqual(self.usage(state, seconds=31, is_live=False).current, 200)

    def test_only_the_position_without_a_quote_is_unknown(self) -> None:
        state = limited(daily_unrealized_loss={"loss_limit": 300})
        state = after(state, "GatewayUserPosition", contractId=MNQ, size=1, averagePrice=21000)
        state = after(state, "GatewayUserPosition", contractId="CON.F.US.MES.U25")
        state = after(state, "MarketQuote", contractId=MNQ, last=20900, timestamp=NOW.isoformat())
        known, unknown = limit_usages(view_of(state), NOW)
        self.assertEqual((known.current, known.unknown), (200, ""))
        self.assertEqual((unknown.current, unknown.unknown), (None, "MESU5: no quote yet"))

    def test_the_time_without_a_stop_is_unknown_after_the_first_grace(self) -> None:
        state = limited(no_stop_loss_grace={"grace_period_seconds": 30})
        state = after(state, "GatewayUserPosition", createdAt=NOW.isoformat())
        self.assertEqual(self.usage(state, seconds=29).current, 29)
        late = self.usage(state, seconds=31)
        self.assertEqual((late.current, late.unknown[:10]), (None, "no stop, t"))

    def test_the_positions_armed_for_breakeven_are_unknown(self) -> None:
        state = limited(max_unrealized_profit={"mode": "breakeven"})
        state = after(state, "GatewayUserPosition", contractId=MNQ)
        found = self.usage(state)
        self.assertIn("armed", found.unknown)
        self.assertEqual(found.words, "")

    def test_a_rule_of_a_plugin_is_unknown(self) -> None:
        state = AccountState(account_id=123, limits={"MINE-001": Limit("losing_streak", "{}")})
        found = self.usage(state)
        self.assertEqual((found.name, found.unknown), ("losing streak", "riskctl rules shows it"))

    def test_settings_of_another_version_are_unknown(self) -> None:
        state = limited(max_contracts={"limit_of_old": 3})
        self.assertEqual(self.usage(state).unknown, "set by another version of riskd")

    def test_a_gauge_that_fails_leaves_the_others(self) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError("no contracts")

        self.patch(RULES[0], "gauges", fail)
        state = limited(max_contracts={}, daily_realized_loss={})
        failed, other = limit_usages(view_of(state), NOW)
        self.assertEqual(failed.unknown, "cannot be measured: no contracts")
        self.assertEqual(other.name, "realized loss")


class OtherLimitTests(LimitUsageTestCase):
    """The end of the day, strict mode, and the nearest limit."""

    def test_the_end_of_the_trading_day_is_no_usage(self) -> None:
        day = Limit("daily_reset", '{"reset_time": "17:00:00", "time_zone": "America/Chicago"}')
        state = AccountState(account_id=123, limits={"DAY": day})
        self.assertEqual(next_reset(state, NOW), datetime(2025, 1, 17, 23, tzinfo=UTC))
        self.assertEqual(limit_usages(view_of(state), NOW), ())

    def test_an_invalid_end_of_the_day_is_unknown(self) -> None:
        for text in ("{", '{"time_zone": "Nowhere/Land"}'):
            state = AccountState(account_id=123, limits={"DAY": Limit("daily_reset", text)})
            self.assertIsNone(next_reset(state, NOW))
        self.assertIsNone(next_reset(AccountState(account_id=123), NOW))

    def test_strict_mode_is_no_usage(self) -> None:
        state = AccountState(account_id=123, limits={"STRICT": Limit("strict_mode", "true")})
        self.assertTrue(is_strict(state))
        self.assertFalse(is_strict(limited(max_contracts={})))
        self.assertEqual(limit_usages(view_of(state), NOW), ())

    def test_while_no_limit_is_used_the_floor_is_nearest(self) -> None:
        state = with_balance(limited(max_contracts={}, maximum_loss={}))
        usages = limit_usages(view_of(state), NOW)
        found = nearest_limit(usages)
        self.assertEqual(found and found.rule_id, "RULE-014")
        self.assertEqual(nearest_first(usages)[0], found)

    def test_the_nearest_limit_has_the_largest_used_share(self) -> None:
        state = limited(
            max_contracts={"limit": 4},
            daily_realized_loss={"loss_limit": 500},
            cooldown_after_loss={"loss_threshold": 1, "cooldown_seconds": 60},
            symbol_blocks={},
        )
        state = after(state, "GatewayUserTrade", profitAndLoss=-100)
        state = after(state, "GatewayUserPosition", size=3)
        found = nearest_limit(limit_usages(view_of(state), NOW))
        self.assertEqual(found and found.rule_id, "RULE-001")
        in_order = nearest_first(limit_usages(view_of(state), NOW))
        self.assertEqual(
            [usage.rule_id for usage in in_order],
            ["RULE-001", "RULE-003", "RULE-007", "RULE-011"],
        )
        self.assertIsNone(nearest_limit(limit_usages(view_of(limited(symbol_blocks={})), NOW)))

    def test_a_limit_on_money_that_is_near_comes_before_all_that_count(self) -> None:
        for loss, nearest in ((-349, "RULE-001"), (-350, "RULE-003")):
            state = limited(max_contracts={"limit": 4}, daily_realized_loss={"loss_limit": 500})
            state = after(state, "GatewayUserTrade", profitAndLoss=loss)
            state = after(state, "GatewayUserPosition", size=4)
            usages = limit_usages(view_of(state), NOW)
            self.assertEqual(nearest_first(usages)[0].rule_id, nearest)
            found = nearest_limit(usages)
            self.assertEqual(found and found.rule_id, nearest)

    def test_a_limit_at_which_riskd_does_not_act_is_never_nearest_and_no_warning(self) -> None:
        days = {date(2025, 1, 16): DayFigures(net=Decimal(300))}
        for stops in (False, True):
            state = limited(
                consistency={"share": 50, "stop_for_today": stops},
                daily_net_loss={"loss_limit": 500},
            )
            state = msgspec.structs.replace(with_balance(state), days=days)
            state = after(state, "GatewayUserTrade", profitAndLoss=290)
            net_loss, share, today = limit_usages(view_of(state), NOW)
            self.assertEqual(share.name, "best day of the total profit")
            self.assertGreater(share.share or 0, 1)
            self.assertIs(share.level, Level.STATED)
            self.assertIs(today.level, Level.VERY_NEAR if stops else Level.STATED)
            nearest = nearest_limit((net_loss, share, today))
            self.assertEqual(nearest, today if stops else net_loss)

    def test_a_built_in_rule_has_a_name(self) -> None:
        self.assertEqual(rule_name("RULE-007"), "cooldown after loss")
        self.assertEqual(rule_name("MINE-001"), "MINE-001")


class LossLevelTests(SynchronousTestCase):
    """Where on the curve of the day's P&L the nearest limit is."""

    def level(self, state: AccountState) -> tuple[str, str, Decimal] | None:
        found = nearest_loss_level(state)
        return None if found is None else (found.word, found.name, found.pnl)

    def test_the_daily_limit_is_a_loss_of_the_trades(self) -> None:
        state = limited(daily_realized_loss={"loss_limit": 500})
        state = after(state, "GatewayUserTrade", profitAndLoss=-100)
        self.assertEqual(self.level(state), ("limit", "realized loss", -500))

    def test_fees_bring_a_net_limit_nearer(self) -> None:
        state = with_balance(
            limited(daily_net_loss={"loss_limit": 500}), "49870.50", charges="4.50"
        )
        state = after(state, "GatewayUserTrade", profitAndLoss=-100)
        self.assertEqual(self.level(state), ("limit", "net daily loss", Decimal("-495.50")))

    def test_the_floor_is_as_far_below_the_day_as_the_equity_is_above_it(self) -> None:
        """A day that began at 50,100 is 2,100 above a floor of 48,000."""
        state = limited(maximum_loss={"trailing": "static"})
        state = after(state, "GatewayUserTrade", profitAndLoss=-100)
        state = with_balance(state, "50000")
        self.assertEqual(self.level(state), ("floor", "maximum loss", -2100))

    def test_an_open_position_does_not_move_it(self) -> None:
        state = with_balance(limited(maximum_loss={}, daily_net_loss={"loss_limit": 3000}))
        held = after(state, "GatewayUserPosition", contractId=MNQ, size=1, averagePrice=21000)
        for last in (20900, 21000, 21200):
            quoted = after(held, "MarketQuote", contractId=MNQ, bid=last, ask=last, last=last)
            self.assertEqual(self.level(quoted), ("floor", "maximum loss", -2000))

    def test_the_firms_figure_moves_the_floor(self) -> None:
        state = with_balance(limited(maximum_loss={}))
        balance = after_firm_floor(state.balance, Decimal(48500), NOW)
        self.assertEqual(
            self.level(msgspec.structs.replace(state, balance=balance)),
            ("floor", "maximum loss", -1500),
        )

    def test_the_loss_of_the_week_goes_on_from_the_days_before(self) -> None:
        """Monday has lost $150 of the $500; the week's profit is no limit on losses."""
        state = with_balance(limited(weekly_limits={"loss_limit": 500, "profit_target": 100}))
        monday = DayFigures(net=Decimal(-150), entries_and_exits=2, close=Decimal(49850))
        state = msgspec.structs.replace(
            state, days={NOW.date() - timedelta(days=1): monday}, day_began=NOW
        )
        self.assertEqual(self.level(state), ("limit", "net weekly loss", -350))

    def test_a_profit_that_is_protected_is_a_level(self) -> None:
        protect = {"protect": {"arm_at": 1000, "floor": 800}}
        for rule, level in (
            (protect, ("limit", "profit given back", Decimal("804.50"))),
            # Whether it is armed again after a flatten is not published.
            ({**protect, "action": "CLOSE_ALL_POSITIONS"}, None),
        ):
            state = after(
                limited(daily_profit_target=rule), "GatewayUserTrade", profitAndLoss=1100
            )
            state = with_balance(state, "51095.50", charges="4.50", high_net="1095.50")
            self.assertEqual(self.level(state), level)

    def test_the_nearest_of_several_counts(self) -> None:
        rules: dict[str, dict[str, Any]] = {
            "daily_realized_loss": {"loss_limit": 1500},
            "daily_net_loss": {"loss_limit": 1000},
            "maximum_loss": {"drawdown": 2000},
        }
        found = self.level(with_balance(limited(**rules)))
        self.assertEqual(found, ("limit", "net daily loss", -1000))
        found = self.level(with_balance(limited(**rules), "48700", earlier_close="50000"))
        self.assertEqual(found, ("floor", "maximum loss", -700))

    def test_without_a_limit_that_is_known_there_is_none(self) -> None:
        for state in (
            limited(max_contracts={}),
            limited(daily_realized_loss={"other": 500, "loss_limit": "x"}),
            limited(maximum_loss={}),
        ):
            self.assertIsNone(self.level(state))
