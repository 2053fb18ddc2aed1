"""In a dry run every breach is announced once while it lasts, and nothing reaches the exchange."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import Faults
from riskd.gateway.enums import GatewayOrderSide
from riskd.model.events import (
    Action,
    ClearedBy,
    DaemonStatus,
    DailyReset,
    EnforcementAction,
    Event,
    GatewayUserTrade,
    LockoutSet,
)
from riskd.model.wire import encode
from riskd.practice.gateway import PracticeGateway
from tests import examples
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    ES,
    M2K,
    MNQ,
    MONDAY_NOON,
    SELL,
    PracticeDaemon,
    settings_of,
)

DRY = "enforce = false\n"
CHANGES = (
    "place_order",
    "cancel_order",
    "modify_order",
    "close_contract",
    "partial_close_contract",
)
RESET = datetime(2026, 11, 23, 23, tzinfo=UTC)

MAX_CONTRACTS = "[rules.max_contracts]\nlimit = 2\n"
DAILY_LOSS = "[rules.daily_realized_loss]\nloss_limit = 500\n"
COOLDOWN = "[rules.cooldown_after_loss]\nloss_threshold = 100\ncooldown_seconds = 60\n"
HOURS = """
[rules.session_block_outside]
allowed_hours = { start = "13:00", end = "15:00" }
"""
OPEN_LOSS = "[rules.daily_unrealized_loss]\nloss_limit = 300\n"


def note_changes(gateway: PracticeGateway) -> list[str]:
    """Return a list that records each request that changes something at the broker."""
    asked: list[str] = []

    def noting(name: str, request: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            asked.append(name)
            return request(*arguments)

        return ask

    for name in CHANGES:
        setattr(gateway, name, noting(name, getattr(gateway, name)))
    return asked


class DryRunTestCase(SynchronousTestCase):
    """``by_hand`` counts the trader's changes; at the end of each test there must be no others."""

    config = ""

    def setUp(self) -> None:
        self.by_hand = 0
        self.daemon = PracticeDaemon(DRY + self.config)
        self.addCleanup(self.daemon.close)
        self.changes = note_changes(self.daemon.gateway)
        self.last: dict[str, str] = {}
        for contract_id, last in ((MNQ, "21000"), (ES, "5800"), (M2K, "2250")):
            self.move(contract_id, last)

    def tearDown(self) -> None:
        self.assertEqual(len(self.changes), self.by_hand, self.changes)
        self.assertEqual((self.daemon.locks, self.daemon.state.lockouts), ([], {}))

    # What the trader does.

    def move(self, contract_id: str, last: str) -> None:
        self.last[contract_id] = last
        self.daemon.move(contract_id, last)
        self.daemon.advance(0.5)

    def trade(self, side: GatewayOrderSide, size: int, contract_id: str = MNQ, **more: Any) -> int:
        self.by_hand += 1
        order = self.daemon.trade(side, size, contract_id, **more)
        self.daemon.advance(1)
        return order

    def cancel(self, order_id: int) -> None:
        self.by_hand += 1
        self.daemon.gateway.cancel_order(ACCOUNT, order_id)
        self.daemon.advance(1)

    def lose(self, points: int, size: int = 1) -> None:
        """Buy MNQ, let it fall, and sell: two dollars a point, and one for the spread."""
        self.trade(BUY, size)
        self.move(MNQ, str(21000 - points))
        self.trade(SELL, size)
        self.move(MNQ, "21000")

    def be_elsewhere(self) -> None:
        """Hold one ES and work an order in M2K."""
        self.trade(BUY, 1, ES)
        self.trade(BUY, 1, M2K, limitPrice="2000")

    def wait(self, seconds: int = 130) -> None:
        """Let time pass in which the rules are evaluated again and again."""
        for _ in range(seconds // 5):
            for contract_id, last in self.last.items():
                self.daemon.move(contract_id, last)
            self.daemon.advance(5, step=1)

    # What was announced.

    @property
    def actions(self) -> list[EnforcementAction]:
        return self.daemon.actions

    def check(self, action: EnforcementAction, kind: Action, rule_id: str, **details: Any) -> None:
        """Assert that this action was announced, with these details as the wire names them."""
        self.assertEqual((action.action, action.rule_id, action.success), (kind, rule_id, False))
        wire = json.loads(encode(Event(ACCOUNT, action)))["data"]["details"]
        self.assertEqual(wire, {**details, "dry_run": True})
        self.assertEqual(list(wire)[-1], "dry_run")

    def check_only(self, kind: Action, rule_id: str, **details: Any) -> None:
        """Assert that this action was announced, and that no other is announced while the breach lasts."""
        self.wait()
        (action,) = self.actions
        self.check(action, kind, rule_id, **details)


class MaxContractsTests(DryRunTestCase):
    """``max_contracts`` (RULE-001)."""

    config = MAX_CONTRACTS

    def test_all_that_is_held_and_works_would_be_closed_and_canceled(self) -> None:
        self.be_elsewhere()
        self.trade(SELL, 3, stopPrice="20900")
        self.trade(BUY, 3)
        self.check_only(
            Action.CLOSE_ALL_POSITIONS, "RULE-001", positions_closed=2, orders_canceled=2
        )
        self.assertEqual(self.daemon.held, {ES: 1, MNQ: 3})
        self.assertEqual(len(self.daemon.working), 2)

    def test_a_breach_that_grows_is_not_reported_again(self) -> None:
        self.trade(BUY, 3)
        self.trade(BUY, 1)
        self.trade(BUY, 1, ES)
        self.wait()
        self.assertEqual(len(self.actions), 1)

    def test_a_breach_is_reported_again_after_it_was_over(self) -> None:
        for _ in range(3):
            self.trade(BUY, 3)
            self.trade(SELL, 1)
            self.wait(10)
            self.trade(SELL, 2)
        self.assertEqual(len(self.actions), 3)

    def test_a_daemon_that_stops_reports_nothing_more(self) -> None:
        self.by_hand += 1
        self.daemon.trade(BUY, 3)
        self.daemon.stop()
        self.daemon.clock.advance(10)
        self.assertEqual(self.actions, [])

    def test_what_is_closed_and_canceled_right_after_the_decision_counts(self) -> None:
        """riskd would have been quicker."""
        order = self.trade(BUY, 1, limitPrice="20000")
        self.by_hand += 3
        self.daemon.trade(BUY, 6)
        decided = self.daemon.now()
        self.daemon.advance(0.1)
        self.daemon.gateway.close_contract(ACCOUNT, MNQ)
        self.daemon.gateway.cancel_order(ACCOUNT, order)
        self.daemon.advance(1)
        (action,) = self.actions
        self.check(
            action, Action.CLOSE_ALL_POSITIONS, "RULE-001", positions_closed=1, orders_canceled=1
        )
        self.assertEqual(action.timestamp, decided)

    def test_what_was_over_before_the_decision_does_not_count(self) -> None:
        """The news of it was still on its way."""
        self.daemon.gateway.faults = Faults(latency_seconds=0.1)
        for side in (BUY, SELL):
            self.daemon.trade_unseen(side, 6)
            self.daemon.move(MNQ, "21000")
            self.daemon.advance(0.05, step=0.05)
        self.daemon.advance(2, step=0.05)
        self.assertEqual([each.quantity for each in self.daemon.news(GatewayUserTrade)], [6])
        self.assertEqual(self.actions, [])

    def test_a_position_within_the_limit_is_not_reported(self) -> None:
        self.trade(BUY, 2)
        self.wait()
        self.assertEqual(self.actions, [])


class ReductionTests(DryRunTestCase):
    """``max_contracts_per_instrument`` (RULE-002)."""

    config = """
    [rules.max_contracts_per_instrument]
    limits = { MNQ = 2 }
    unknown_symbol_action = "allow_unlimited"
    """

    def test_the_excess_would_be_closed(self) -> None:
        self.be_elsewhere()
        self.trade(SELL, 2, stopPrice="20900")
        self.trade(SELL, 3, stopPrice="20800")
        self.trade(BUY, 3)
        # The farther one of the two stops would be too much for the two contracts that are kept.
        self.check_only(
            Action.CLOSE_ALL_POSITIONS,
            "RULE-002",
            positions_closed=1,
            orders_canceled=1,
            contractId=MNQ,
        )


class DailyLossTests(DryRunTestCase):
    """``daily_realized_loss`` (RULE-003)."""

    config = DAILY_LOSS

    def test_the_lock_is_reported_and_not_set(self) -> None:
        self.be_elsewhere()
        self.lose(125, 2)
        self.check_only(
            Action.CLOSE_ALL_AND_LOCKOUT,
            "RULE-003",
            positions_closed=1,
            orders_canceled=1,
            locked_until="2026-11-23T23:00:00Z",
        )

    def test_a_breach_is_reported_once_until_its_lock_would_have_ended(self) -> None:
        for _ in range(3):
            self.lose(125, 2)
        self.assertEqual(len(self.actions), 1)
        self.daemon.advance((RESET - self.daemon.now()).total_seconds() + 60, step=60)
        self.assertEqual(len(self.daemon.news(DailyReset)), 1)
        self.assertEqual(len(self.actions), 1)
        self.lose(125, 2)
        self.assertEqual(len(self.actions), 2)

    def test_an_operator_would_have_ended_the_lock(self) -> None:
        self.lose(125, 2)
        account = self.daemon.engine.accounts[ACCOUNT]
        self.assertFalse(account.unlock("seen", "trader"))
        self.lose(1)
        self.assertEqual(len(self.actions), 2)


class DailyLossWithoutLockTests(DryRunTestCase):
    """RULE-003 without a lock: it decides once a day, and remembers that it did."""

    config = DAILY_LOSS + 'action = "CLOSE_ALL_POSITIONS"\n'

    def test_a_loss_that_grows_is_not_reported_again(self) -> None:
        self.be_elsewhere()
        for _ in range(3):
            self.lose(125, 2)
        self.check_only(
            Action.CLOSE_ALL_POSITIONS, "RULE-003", positions_closed=1, orders_canceled=1
        )

    def test_a_breach_is_reported_once_there_is_something_to_close(self) -> None:
        self.lose(125, 2)
        self.wait()
        self.assertEqual(self.actions, [])
        self.be_elsewhere()
        self.lose(1)
        self.check_only(
            Action.CLOSE_ALL_POSITIONS, "RULE-003", positions_closed=1, orders_canceled=1
        )


class OpenLossTests(DryRunTestCase):
    """``daily_unrealized_loss`` (RULE-004) of each position."""

    config = OPEN_LOSS

    def test_a_position_is_reported_once_until_it_has_recovered(self) -> None:
        self.be_elsewhere()
        self.trade(BUY, 2)
        for times in (1, 2):
            self.move(MNQ, "20925")
            self.move(MNQ, "20800")
            self.wait()
            self.assertEqual(len(self.actions), times)
            self.check(
                self.actions[-1],
                Action.CLOSE_ALL_POSITIONS,
                "RULE-004",
                positions_closed=1,
                orders_canceled=0,
                contractId=MNQ,
            )
            self.move(MNQ, "20926")

    def test_stale_quotes_end_no_breach(self) -> None:
        self.trade(BUY, 2)
        self.move(MNQ, "20900")
        self.daemon.advance(200, step=1)
        self.move(MNQ, "20900")
        self.assertEqual(len(self.actions), 1)

    def test_another_position_is_reported(self) -> None:
        self.trade(BUY, 2)
        self.move(MNQ, "20900")
        self.trade(BUY, 1, ES)
        self.move(ES, "5790")
        self.wait()
        self.assertEqual([each.details.contract_id for each in self.actions], [MNQ, ES])


class OpenLossInAllTests(DryRunTestCase):
    """``daily_unrealized_loss`` (RULE-004) of all positions, with a lock that only an operator ends."""

    config = (
        OPEN_LOSS
        + """
    scope = "total"
    lockout = true
    lockout_until = "permanent"
    """
    )

    def test_the_lock_would_outlast_the_loss(self) -> None:
        self.trade(BUY, 2)
        for last in ("20900", "21000", "20900"):
            self.move(MNQ, last)
            self.wait(10)
        self.check_only(
            Action.CLOSE_ALL_AND_LOCKOUT,
            "RULE-004",
            positions_closed=1,
            orders_canceled=0,
            locked_until=None,
        )


class ProfitTests(DryRunTestCase):
    """``max_unrealized_profit`` (RULE-005)."""

    config = "[rules.max_unrealized_profit]\nprofit_target = 100\n"

    def test_a_target_is_reported_once(self) -> None:
        self.trade(SELL, 2)
        self.trade(BUY, 2, limitPrice="20900")
        self.move(MNQ, "20970")
        self.check_only(
            Action.CLOSE_ALL_POSITIONS,
            "RULE-005",
            positions_closed=1,
            orders_canceled=1,
            contractId=MNQ,
        )

    def test_a_breach_in_a_quiet_market_is_reported_once(self) -> None:
        """The rule waits for a fresh quote; that it decides nothing until then does not end the breach."""
        self.trade(SELL, 2)
        for _ in range(3):
            self.move(MNQ, "20970")
            self.daemon.advance(70, step=1)
        self.assertEqual(len(self.actions), 1)


class BreakevenTests(DryRunTestCase):
    """``max_unrealized_profit`` (RULE-005) in the mode that remembers which position was in profit."""

    config = '[rules.max_unrealized_profit]\nmode = "breakeven"\n'

    def test_a_lost_profit_is_reported_once_until_it_is_back(self) -> None:
        self.trade(BUY, 1)
        for times in (1, 2):
            self.move(MNQ, "21010")
            self.move(MNQ, "21000")
            self.wait()
            self.assertEqual(len(self.actions), times)


class CooldownTests(DryRunTestCase):
    """``trade_frequency_limit`` (RULE-006) and ``cooldown_after_loss`` (RULE-007)."""

    config = (
        COOLDOWN
        + """
    [rules.trade_frequency_limit]
    max_trades = 2
    time_window_minutes = 60
    cooldown_seconds = 600
    """
    )

    def test_each_is_reported_once_until_its_cooldown_would_have_ended(self) -> None:
        self.be_elsewhere()
        self.lose(60)
        pause = {"positions_closed": 1, "orders_canceled": 1}
        self.check_only(Action.COOLDOWN, "RULE-007", **pause, cooldown_seconds=60)
        self.lose(1)
        self.lose(1)
        self.lose(1)
        self.wait()
        self.assertEqual(len(self.actions), 2)
        self.check(self.actions[1], Action.COOLDOWN, "RULE-006", **pause, cooldown_seconds=600)
        self.lose(60)
        self.lose(60)
        self.assertEqual([each.rule_id for each in self.actions][2:], ["RULE-007"])
        self.wait(600)
        self.lose(1)
        self.assertEqual([each.rule_id for each in self.actions][3:], ["RULE-006"])

    def test_a_voided_loss_ends_its_cooldown(self) -> None:
        self.lose(60)
        (trade,) = self.daemon.state.trades
        self.daemon.gateway.void_trade(ACCOUNT, trade)
        self.lose(60)
        self.assertEqual([each.rule_id for each in self.actions], ["RULE-007", "RULE-007"])


class MergedTests(DryRunTestCase):
    """The breaches of one trade are one action, the gravest, as when they are enforced."""

    config = COOLDOWN + DAILY_LOSS

    def test_the_other_breaches_are_reported_too(self) -> None:
        self.be_elsewhere()
        self.lose(125, 2)
        self.check_only(
            Action.CLOSE_ALL_AND_LOCKOUT,
            "RULE-003",
            positions_closed=1,
            orders_canceled=1,
            locked_until="2026-11-23T23:00:00Z",
        )
        self.lose(125, 2)
        self.assertEqual([each.rule_id for each in self.actions], ["RULE-003", "RULE-007"])


class GraceTests(DryRunTestCase):
    """``no_stop_loss_grace`` (RULE-008)."""

    config = "[rules.no_stop_loss_grace]\ngrace_period_seconds = 30\n"

    def test_a_position_without_a_stop_is_reported_once_until_it_has_one(self) -> None:
        self.trade(BUY, 2)
        self.daemon.advance(28)
        self.assertEqual(self.actions, [])
        self.check_only(
            Action.CLOSE_ALL_POSITIONS,
            "RULE-008",
            positions_closed=1,
            orders_canceled=0,
            contractId=MNQ,
        )
        stop = self.trade(SELL, 2, stopPrice="20900")
        self.cancel(stop)
        self.daemon.advance(20)
        self.assertEqual(len(self.actions), 1)
        self.wait()
        self.assertEqual(len(self.actions), 2)

    def test_the_broker_is_asked_first(self) -> None:
        """The event of the stop was lost."""
        self.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.trade(SELL, 2, stopPrice="20900")
        self.daemon.gateway.faults = Faults()
        self.wait(60)
        self.assertEqual(self.actions, [])


class HoursTests(DryRunTestCase):
    """``session_block_outside`` (RULE-009); it is noon."""

    config = HOURS

    def test_orders_and_positions_outside_the_hours_are_reported(self) -> None:
        order = self.trade(BUY, 1, limitPrice="20000")
        self.check_only(
            Action.REJECT_ORDER,
            "RULE-009",
            positions_closed=0,
            orders_canceled=1,
            order_id=order,
        )
        self.trade(BUY, 1)
        self.wait()
        self.check(
            self.actions[1],
            Action.CLOSE_ALL_AND_LOCKOUT,
            "RULE-009",
            positions_closed=1,
            orders_canceled=1,
            locked_until="2026-11-23T19:00:00Z",
        )
        self.daemon.advance(3600, step=30)
        self.assertEqual(len(self.actions), 2)
        # The hours are 13:00 to 15:00, and the position and the order outlast them.
        self.daemon.advance(2 * 3600, step=30)
        self.assertEqual([each.rule_id for each in self.actions[2:]], ["RULE-009"])
        self.assertEqual(self.daemon.held, {MNQ: 1})


class PermissionTests(DryRunTestCase):
    """``auth_loss_guard`` (RULE-010)."""

    config = "[rules.auth_loss_guard]\n"

    def test_a_lost_permission_is_reported_again_after_it_was_back(self) -> None:
        self.be_elsewhere()
        for times in (1, 2):
            for _ in range(2):
                self.daemon.gateway.set_can_trade(ACCOUNT, False)
                self.wait()
            self.assertEqual(len(self.actions), times)
            self.check(
                self.actions[-1],
                Action.CLOSE_ALL_AND_LOCKOUT,
                "RULE-010",
                positions_closed=1,
                orders_canceled=1,
                locked_until=None,
            )
            self.daemon.gateway.set_can_trade(ACCOUNT, True)
        self.assertEqual(self.daemon.held, {ES: 1})


class StubbornPermissionTests(DryRunTestCase):
    config = "[rules.auth_loss_guard]\nauto_unlock_on_restore = false\n"

    def test_a_permanent_lock_is_reported_once(self) -> None:
        for may_trade in (False, True, False):
            self.daemon.gateway.set_can_trade(ACCOUNT, may_trade)
            self.wait(10)
        self.assertEqual(len(self.actions), 1)


class BlockedSymbolTests(DryRunTestCase):
    """``symbol_blocks`` (RULE-011)."""

    config = '[rules.symbol_blocks]\nblocked_symbols = ["M2K"]\n'

    def test_an_order_is_reported_once(self) -> None:
        order = self.trade(BUY, 1, M2K, limitPrice="2200")
        self.by_hand += 1
        self.daemon.gateway.modify_order(ACCOUNT, order, {"size": 2})
        self.check_only(
            Action.REJECT_ORDER,
            "RULE-011",
            positions_closed=0,
            orders_canceled=1,
            order_id=order,
        )
        self.cancel(order)
        self.trade(BUY, 1, M2K, limitPrice="2200")
        self.assertEqual(len(self.actions), 2)

    def test_an_order_at_the_market_would_be_filled_before_it_is_canceled(self) -> None:
        self.trade(BUY, 1, M2K)
        self.check_only(
            Action.CLOSE_ALL_POSITIONS,
            "RULE-011",
            positions_closed=1,
            orders_canceled=0,
            contractId=M2K,
        )


class StopTests(DryRunTestCase):
    """``trade_management`` (RULE-012)."""

    config = "[rules.trade_management]\nenabled = true\nstop_loss_ticks = 10\n"

    def test_a_stop_is_reported_once_and_not_placed(self) -> None:
        self.trade(BUY, 2)
        self.check_only(
            Action.AUTO_STOP_LOSS,
            "RULE-012",
            positions_closed=0,
            orders_canceled=0,
            contractId=MNQ,
            stopPrice=20997.75,
            size=2,
        )
        self.assertEqual(self.daemon.working, [])

    def test_a_position_of_the_other_side_is_reported(self) -> None:
        self.trade(BUY, 1)
        self.trade(SELL, 2)
        self.wait()
        self.assertEqual(
            [(each.action, each.details.stop_price) for each in self.actions],
            [
                (Action.AUTO_STOP_LOSS, Decimal("20997.75")),
                (Action.AUTO_STOP_LOSS, Decimal("21002.25")),
            ],
        )

    def test_an_earlier_stop_is_neither_moved_nor_withdrawn(self) -> None:
        """It has the tag of riskd's own stops; each command is logged once."""
        self.trade(BUY, 1)
        order = {"contractId": MNQ, "type": 4, "side": 1, "size": 2, "customTag": "riskd-stop-1"}
        self.by_hand += 1
        with capturedLogs() as logged:
            self.daemon.gateway.place_order(ACCOUNT, {**order, "stopPrice": Decimal(20990)})
            self.wait()
            self.trade(SELL, 1)
            self.wait()
        told = [
            formatEvent(event)
            for event in logged
            if event["log_namespace"] == "riskd.engine.enforcement.dry_run"
        ]
        self.assertEqual(
            [line.partition("dry run: ")[2] for line in told],
            [
                "Stop for 1 contract of MNQZ6 at 20997.75, 10 ticks from the entry",
                "Stop for 2 contracts of MNQZ6 not needed any more",
            ],
        )
        self.assertEqual(len(self.daemon.working), 1)


class StrictTests(DryRunTestCase):
    """Every breach would be a permanent lock."""

    config = "strict_mode = true\n" + MAX_CONTRACTS

    def test_a_permanent_lock_is_reported_once_in_strict_mode(self) -> None:
        for _ in range(2):
            self.trade(BUY, 3)
            self.trade(SELL, 3)
        self.check_only(
            Action.CLOSE_ALL_AND_LOCKOUT,
            "RULE-001",
            positions_closed=1,
            orders_canceled=0,
            locked_until=None,
        )


class SeveralRulesTests(DryRunTestCase):
    config = MAX_CONTRACTS + OPEN_LOSS

    def test_a_breach_that_lasts_hides_no_other(self) -> None:
        self.trade(BUY, 3)
        self.move(MNQ, "20900")
        self.wait()
        self.assertEqual([each.rule_id for each in self.actions], ["RULE-001", "RULE-004"])

    def test_new_settings_are_applied(self) -> None:
        self.trade(BUY, 3)
        self.daemon.engine.reload(settings_of(DRY + MAX_CONTRACTS.replace("2", "5")))
        self.wait(10)
        self.daemon.engine.reload(settings_of(DRY + MAX_CONTRACTS))
        self.wait(10)
        self.assertEqual([each.rule_id for each in self.actions], ["RULE-001", "RULE-001"])

    def test_a_reload_does_not_begin_to_enforce(self) -> None:
        self.daemon.engine.reload(settings_of(MAX_CONTRACTS))
        self.trade(BUY, 3)
        self.assertEqual([each.success for each in self.actions], [False])


class StatusTests(DryRunTestCase):
    def test_the_dry_run_is_named_whenever_running_is_announced(self) -> None:
        self.daemon.engine.report_problem("test", "Something is wrong")
        self.daemon.engine.report_problem("test", "")
        self.assertEqual(
            [status.message for status in self.daemon.news(DaemonStatus)],
            [
                "Daemon started successfully on the PRACTICE gateway (dry run: nothing is enforced)",
                "Something is wrong",
                "Running again on the PRACTICE gateway (dry run: nothing is enforced)",
            ],
        )


class ChangeOverTestCase(SynchronousTestCase):
    """From an enforcing daemon to a dry run, or back."""

    def begin(self, config: str) -> None:
        self.daemon = PracticeDaemon(config)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")

    def go_on_with(self, config: str) -> None:
        self.daemon.kill()
        self.daemon.settings = settings_of(config)
        self.daemon.told.clear()
        self.daemon.restart()
        self.daemon.advance(1)
        self.daemon.move(MNQ, "21000")

    def lose(self, points: int, size: int = 1) -> None:
        self.daemon.trade(BUY, size)
        self.daemon.move(MNQ, str(21000 - points))
        self.daemon.trade(SELL, size)
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(1)


class FromDryToEnforcingTests(ChangeOverTestCase):
    """What was only reported is not taken for done."""

    def test_a_loss_that_was_only_reported_is_enforced(self) -> None:
        self.begin(DRY + DAILY_LOSS)
        self.lose(125, 2)
        self.assertEqual(len(self.daemon.actions), 1)
        self.daemon.trade(BUY, 1)
        self.go_on_with(DAILY_LOSS)
        (action,), (lock,) = self.daemon.actions, self.daemon.locks
        self.assertEqual((action.success, self.daemon.held), (True, {}))
        self.assertEqual(lock.locked_at, MONDAY_NOON + timedelta(seconds=1))

    def test_no_lock_of_the_dry_run_is_left(self) -> None:
        self.begin(DRY + COOLDOWN + "[rules.auth_loss_guard]\n")
        self.lose(60)
        self.daemon.gateway.set_can_trade(ACCOUNT, False)
        self.daemon.advance(1)
        self.daemon.gateway.set_can_trade(ACCOUNT, True)
        self.daemon.advance(60)
        self.assertEqual(len(self.daemon.actions), 2)
        self.go_on_with(COOLDOWN + "[rules.auth_loss_guard]\n")
        self.assertEqual((self.daemon.locks, self.daemon.state.lockouts), ([], {}))
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_the_reported_breaches_are_on_record(self) -> None:
        self.begin(DRY + MAX_CONTRACTS)
        self.daemon.trade(BUY, 3)
        self.daemon.advance(1)
        told = self.daemon.actions
        self.go_on_with("")
        self.assertEqual(list(self.daemon.state.enforcement), told)
        self.assertIs(told[0].details.dry_run, True)


class FromEnforcingToDryTests(ChangeOverTestCase):
    """The locks of an enforcing daemon stay announced, and are not enforced."""

    def lock(self, config: str = COOLDOWN) -> None:
        self.begin(config)
        self.lose(60)
        self.assertEqual(len(self.daemon.locks), 1)
        self.changes = note_changes(self.daemon.gateway)
        self.go_on_with(DRY + config)

    def test_a_lock_stays_announced_until_it_ends(self) -> None:
        with capturedLogs() as logged:
            self.lock()
        self.assertIn("the account is not held to it", "".join(map(str, map(formatEvent, logged))))
        self.assertEqual(set(self.daemon.state.lockouts), {"RULE-007"})
        self.assertEqual([lock.rule_id for lock in self.daemon.locks], ["RULE-007"])
        self.daemon.advance(60)
        (cleared,) = self.daemon.cleared
        self.assertEqual(cleared.cleared_by, ClearedBy.TIMER_EXPIRY)
        self.assertEqual((self.changes, self.daemon.state.lockouts), ([], {}))

    def test_what_the_lock_forbids_is_reported_once_each(self) -> None:
        self.lock()
        self.daemon.trade(BUY, 1, limitPrice="20000")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.daemon.trade(BUY, 1)
        self.daemon.trade(BUY, 1, ES, limitPrice="5000")
        self.daemon.advance(10)
        self.assertEqual(len(self.changes), 4)
        self.assertEqual(
            [
                (each.action, each.rule_id, each.success, each.details.dry_run)
                for each in self.daemon.actions
            ],
            [
                (action, "RULE-007", False, True)
                for action in (
                    Action.REJECT_ORDER,
                    Action.CLOSE_ALL_POSITIONS,
                    Action.REJECT_ORDER,
                )
            ],
        )
        closing = self.daemon.actions[1].details
        self.assertEqual((closing.positions_closed, closing.orders_canceled), (1, 1))

    def test_another_position_is_reported_too(self) -> None:
        self.lock()
        self.daemon.move(ES, "5800")
        for contract_id in (MNQ, ES):
            self.daemon.trade(BUY, 1, contract_id)
            self.daemon.advance(5)
        self.daemon.trade(SELL, 1)
        self.daemon.advance(5)
        self.assertEqual([each.details.positions_closed for each in self.daemon.actions], [1, 2])
        self.daemon.trade(BUY, 1)
        self.daemon.advance(5)
        self.assertEqual(len(self.daemon.actions), 3)

    def test_a_rule_that_would_lock_on_does_not_keep_the_lock(self) -> None:
        """If enforced, one lock would begin where the other ends, with no lockout_cleared in between."""
        self.begin(COOLDOWN)
        self.lose(60)
        (lock,) = self.daemon.locks
        self.go_on_with(f"{DRY}{COOLDOWN}{HOURS}")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(70)
        (cleared,) = self.daemon.cleared
        self.assertLess(cleared.cleared_at - lock.locked_until, timedelta(seconds=0.5))
        self.assertEqual([each.rule_id for each in self.daemon.actions], ["RULE-007", "RULE-009"])
        self.assertEqual(self.daemon.state.lockouts, {})

    def test_an_operator_ends_the_lock(self) -> None:
        self.lock()
        account = self.daemon.engine.accounts[ACCOUNT]
        self.assertTrue(account.unlock("enough", "trader"))
        (cleared,) = self.daemon.cleared
        self.assertEqual(cleared.cleared_by, ClearedBy.ADMIN_OVERRIDE)

    def test_the_lock_is_enforced_again_when_riskd_enforces_again(self) -> None:
        self.lock(DAILY_LOSS.replace("500", "100"))
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.go_on_with(DAILY_LOSS.replace("500", "100"))
        self.assertEqual((self.daemon.held, set(self.daemon.state.lockouts)), ({}, {"RULE-003"}))

    def test_an_unfinished_flatten_waits_for_a_daemon_that_enforces(self) -> None:
        self.begin(MAX_CONTRACTS)
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.daemon.gateway.exchange.place_order(
            ACCOUNT, {"contractId": MNQ, "type": 2, "side": 0, "size": 1}, self.daemon.now()
        )
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(1)
        self.daemon.gateway.faults = Faults()
        self.assertIsNotNone(self.daemon.state.risk.flattening)
        changes = note_changes(self.daemon.gateway)
        with capturedLogs() as logged:
            self.go_on_with(DRY + MAX_CONTRACTS)
            self.daemon.advance(60)
        self.assertIn(
            "waits until riskd enforces again", "".join(map(str, map(formatEvent, logged)))
        )
        self.assertEqual((self.daemon.held, changes), ({MNQ: 3}, []))
        self.go_on_with("")
        self.assertEqual(self.daemon.held, {})

    def leave_unfinished(self) -> None:
        """Let a daemon stop while it flattens a locked account."""
        self.lock()
        self.go_on_with(COOLDOWN)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.daemon.gateway.exchange.place_order(
            ACCOUNT, {"contractId": MNQ, "type": 2, "side": 0, "size": 1}, self.daemon.now()
        )
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(1)
        self.daemon.gateway.faults = Faults()
        self.assertIsNotNone(self.daemon.state.risk.flattening)
        self.go_on_with(DRY + COOLDOWN)

    def test_a_lock_ends_though_a_flatten_is_unfinished(self) -> None:
        self.leave_unfinished()
        self.daemon.advance(60)
        self.assertEqual((len(self.daemon.cleared), self.daemon.state.lockouts), (1, {}))

    def test_what_the_lock_forbids_is_reported_though_a_flatten_is_unfinished(self) -> None:
        self.leave_unfinished()
        self.daemon.move(ES, "5800")
        self.daemon.trade(BUY, 1, ES)
        self.daemon.advance(5)
        self.assertEqual(
            [
                (each.action, each.rule_id, each.details.positions_closed)
                for each in self.daemon.actions
            ],
            [
                (Action.CLOSE_ALL_POSITIONS, "RULE-007", 1),
                (Action.CLOSE_ALL_POSITIONS, "RULE-007", 2),
            ],
        )


ALL_RULES = """
[rules.max_contracts]
limit = 3
[rules.max_contracts_per_instrument]
limits = { MNQ = 2 }
unknown_symbol_action = "allow_unlimited"
[rules.daily_realized_loss]
loss_limit = 200
[rules.daily_unrealized_loss]
loss_limit = 100
[rules.max_unrealized_profit]
profit_target = 100
[rules.trade_frequency_limit]
max_trades = 2
[rules.cooldown_after_loss]
loss_threshold = 50
[rules.no_stop_loss_grace]
grace_period_seconds = 2
[rules.auth_loss_guard]
[rules.symbol_blocks]
blocked_symbols = ["ES"]
[rules.trade_management]
enabled = true
trailing_stop = { enabled = true }
"""
SIDES = st.sampled_from([BUY, SELL])
CONTRACTS = st.sampled_from([MNQ, MNQ, ES])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("trade"), SIDES, st.integers(1, 4), CONTRACTS),
        st.tuples(st.just("order"), SIDES, st.integers(1, 4), CONTRACTS, st.integers(-20, 20)),
        st.tuples(st.just("move"), CONTRACTS, st.integers(-40, 40)),
        st.tuples(st.just("permit"), st.booleans()),
        st.tuples(st.just("wait"), st.integers(1, 400)),
    ),
    max_size=25,
)
PRICES = {MNQ: 21000, ES: 5800}


class RandomDryRunTests(SynchronousTestCase):
    """Random trading under all rules at once."""

    @settings(max_examples=examples(15))
    @given(STEPS)
    def test_nothing_reaches_the_exchange_and_nothing_is_locked(self, steps: list[Any]) -> None:
        daemon = PracticeDaemon(DRY + ALL_RULES)
        try:
            changes = note_changes(daemon.gateway)
            for contract_id, price in PRICES.items():
                daemon.move(contract_id, str(price))
            by_hand = sum([self.do(daemon, *step) for step in steps])
            self.assertEqual(changes, ["place_order"] * by_hand)
            self.assertEqual((daemon.news(LockoutSet), daemon.state.lockouts), ([], {}))
            self.assertIsNone(daemon.state.risk.flattening)
            for action in daemon.actions:
                self.assertEqual((action.success, action.details.dry_run), (False, True))
        finally:
            daemon.close()

    def do(self, daemon: PracticeDaemon, kind: str, *what: Any) -> int:
        """Take one step; return how many orders were placed."""
        may_trade = daemon.gateway.exchange.store.account(ACCOUNT)["canTrade"]
        if kind == "move":
            contract_id, points = what
            daemon.move(contract_id, str(PRICES[contract_id] + points))
        elif kind == "permit":
            daemon.gateway.set_can_trade(ACCOUNT, *what)
        elif kind == "wait":
            daemon.advance(*what, step=1)
        elif may_trade:
            side, size, contract_id, *points = what
            prices = {"limitPrice": str(PRICES[contract_id] + points[0])} if points else {}
            daemon.trade(side, size, contract_id, **prices)
            return 1
        return 0
