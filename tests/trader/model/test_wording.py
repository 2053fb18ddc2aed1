"""Events, orders, positions and prices in words."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, apply
from riskd.model.contracts import Contract
from riskd.model.events import (
    EVENT_TYPES,
    Action,
    ClearedBy,
    GatewayUserOrder,
    OrderSide,
    OrderState,
    OrderType,
    Status,
)
from riskd.model.formatting import ACTIONS, contract_name
from riskd.testing import make_event
from tests.support.console import account_after
from trader.model.formatting import clock
from trader.model.wording import (
    FeedLine,
    contract_price,
    describe_order,
    line_for,
    order_type_name,
    side_name,
)

NOW = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.U25"
UNKNOWN_CONTRACT = "CON.F.US.XYZ.U25"
ACCOUNT = AccountState(account_id=123)


def line(event_type: str, data: dict[str, Any], state: AccountState | None = None) -> FeedLine:
    """Return the line of an event."""
    found = line_for(make_event(event_type, data), state or account_after(), NOW)
    assert found is not None
    return found


class OrderTests(SynchronousTestCase):
    """Orders in words."""

    def test_every_type_of_order_names_its_prices(self) -> None:
        for order_type, side, limit, stop, words in (
            (OrderType.MARKET, OrderSide.BUY, None, None, "Buy market 2 MNQU5 working"),
            (
                OrderType.LIMIT,
                OrderSide.SELL,
                "21010",
                None,
                "Sell limit 2 MNQU5 at 21010.00 working",
            ),
            (
                OrderType.STOP,
                OrderSide.SELL,
                None,
                "20990.25",
                "Sell stop 2 MNQU5 at 20990.25 working",
            ),
            (
                OrderType.STOP_LIMIT,
                OrderSide.BUY,
                "21001",
                "21000",
                "Buy stop-limit 2 MNQU5 at 21000.00 limit 21001.00 working",
            ),
        ):
            order = GatewayUserOrder(
                id=789,
                contract_id=MNQ,
                type=order_type,
                side=side,
                size=2,
                limit_price=Decimal(limit) if limit else None,
                stop_price=Decimal(stop) if stop else None,
                state=OrderState.ACTIVE,
                created_at=NOW,
                updated_at=NOW,
            )
            self.assertEqual(describe_order(order, ACCOUNT), words)

    def test_every_side_and_type_has_a_name(self) -> None:
        self.assertEqual([side_name(side) for side in OrderSide], ["Buy", "Sell"])
        self.assertEqual(
            [order_type_name(kind) for kind in OrderType],
            ["market", "limit", "stop", "stop-limit"],
        )


class ContractTests(SynchronousTestCase):
    """Names of contracts, and decimals of their prices."""

    def test_a_known_contract_has_its_ticker(self) -> None:
        self.assertEqual(contract_name(ACCOUNT, MNQ), "MNQU5")
        self.assertEqual(contract_name(ACCOUNT, "CON.F.US.EP.Z26"), "ESZ6")

    def test_an_unknown_contract_has_its_id_and_all_decimals(self) -> None:
        self.assertEqual(contract_name(ACCOUNT, UNKNOWN_CONTRACT), UNKNOWN_CONTRACT)
        self.assertEqual(contract_price(ACCOUNT, UNKNOWN_CONTRACT, Decimal("12.5")), "12.5")

    def test_prices_have_the_decimals_of_the_tick_size(self) -> None:
        for contract_id, value, text in (
            (MNQ, "21000.5", "21000.50"),
            ("CON.F.US.MYM.U25", "44000", "44000"),
            ("CON.F.US.JY6.U25", "0.006675", "0.0066750"),
        ):
            self.assertEqual(contract_price(ACCOUNT, contract_id, Decimal(value)), text)

    def test_a_contract_of_the_gateway_overrides_the_built_in_table(self) -> None:
        contract = Contract(
            id=UNKNOWN_CONTRACT,
            name="XYZU5",
            tick_size=Decimal("0.001"),
            tick_value=Decimal(1),
        )
        state = msgspec.structs.replace(ACCOUNT, contracts={UNKNOWN_CONTRACT: contract})
        self.assertEqual(contract_name(state, UNKNOWN_CONTRACT), "XYZU5")
        self.assertEqual(contract_price(state, UNKNOWN_CONTRACT, Decimal("12.5")), "12.500")


class LineTests(SynchronousTestCase):
    """One line for each event."""

    def test_every_event_but_a_quote_has_a_line(self) -> None:
        silent = {
            event_type
            for event_type in EVENT_TYPES
            if line_for(make_event(event_type, {}), account_after(), NOW) is None
        }
        self.assertEqual(silent, {"MarketQuote"})

    def test_a_line_has_the_time_of_receipt(self) -> None:
        self.assertEqual(line("GatewayUserTrade", {}).at, NOW)

    def test_a_losing_trade_flashes_as_a_loss(self) -> None:
        found = line("GatewayUserTrade", {"profitAndLoss": -45.50, "quantity": 2})
        self.assertEqual(
            found, FeedLine(NOW, "Trade -$45.50  MNQU5 x2", "loss", True, "GatewayUserTrade")
        )

    def test_a_winning_trade_flashes_as_a_gain(self) -> None:
        found = line("GatewayUserTrade", {"profitAndLoss": 1234.50, "quantity": 1})
        self.assertEqual(
            found, FeedLine(NOW, "Trade +$1,234.50  MNQU5 x1", "gain", True, "GatewayUserTrade")
        )

    def test_a_new_position_is_opened(self) -> None:
        found = line("GatewayUserPosition", {"type": 2, "size": 3, "averagePrice": 21000.5})
        self.assertEqual(found.text, "Position opened: Short 3 MNQU5 at 21000.50")
        self.assertFalse(found.flashes)

    def test_a_known_position_is_changed(self) -> None:
        held = account_after(("GatewayUserPosition", {"size": 3}))
        found = line("GatewayUserPosition", {"size": 5, "averagePrice": 21001}, held)
        self.assertEqual(found.text, "Position changed: Long 5 MNQU5 at 21001.00")

    def test_a_position_of_size_zero_is_closed(self) -> None:
        held = account_after(("GatewayUserPosition", {"size": 3}))
        found = line("GatewayUserPosition", {"size": 0}, held)
        self.assertEqual(found.text, "Position closed: MNQU5")

    def test_a_position_after_a_closed_one_is_opened(self) -> None:
        flat = account_after(
            ("GatewayUserPosition", {"size": 3}), ("GatewayUserPosition", {"size": 0})
        )
        found = line("GatewayUserPosition", {"size": 1}, flat)
        self.assertEqual(found.text, "Position opened: Long 1 MNQU5 at 21000.50")

    def test_the_line_of_an_order_names_its_state(self) -> None:
        for state, word in ((1, "working"), (2, "filled"), (3, "canceled")):
            found = line("GatewayUserOrder", {"state": state})
            self.assertEqual(found.text, f"Buy limit 2 MNQU5 at 21000.00 {word}")
            self.assertFalse(found.flashes)

    def test_a_rejected_order_flashes(self) -> None:
        found = line("GatewayUserOrder", {"state": 4})
        self.assertEqual(found.text, "Buy limit 2 MNQU5 at 21000.00 REJECTED")
        self.assertEqual((found.style, found.flashes), ("loss", True))

    def test_a_lockout_flashes_red_with_reason_rule_and_end(self) -> None:
        found = line(
            "lockout_set",
            {
                "reason": "Daily loss limit hit: -$550",
                "rule_id": "RULE-003",
                "locked_until": "2025-01-17T17:00:00Z",
                "locked_at": "2025-01-17T14:45:15Z",
            },
        )
        end = clock(datetime(2025, 1, 17, 17, tzinfo=UTC))
        self.assertEqual(
            found.text, f"LOCKED OUT until {end}: Daily loss limit hit: -$550 (RULE-003)"
        )
        self.assertEqual((found.style, found.flashes), ("alert", True))

    def test_a_permanent_lockout_is_ended_by_an_operator(self) -> None:
        found = line("lockout_set", {"reason": "Account rule", "locked_until": None})
        self.assertEqual(
            found.text, "LOCKED OUT until an operator unlocks it: Account rule (RULE-003)"
        )

    def test_the_end_of_a_lockout_flashes_green_with_its_reason(self) -> None:
        for cleared_by, words in (
            (ClearedBy.TIMER_EXPIRY, "the lock has ended"),
            (ClearedBy.ADMIN_OVERRIDE, "an operator or the broker lifted the lock"),
            (ClearedBy.DAILY_RESET, "a new trading day began"),
        ):
            found = line("lockout_cleared", {"cleared_by": str(cleared_by)})
            self.assertEqual(
                found, FeedLine(NOW, f"Trading resumed: {words}", "good", True, "lockout_cleared")
            )

    def test_enforcement_flashes_with_action_reason_and_counts(self) -> None:
        found = line(
            "enforcement_action",
            {
                "action": "CLOSE_ALL_POSITIONS",
                "reason": "MaxContracts breach: 6 > 5",
                "rule_id": "RULE-001",
                "details": {"positions_closed": 2, "orders_canceled": 1},
            },
        )
        self.assertEqual(
            found.text,
            "ENFORCED: close positions (RULE-001): MaxContracts breach: 6 > 5; "
            "2 positions closed, 1 order canceled",
        )
        self.assertEqual((found.style, found.flashes), ("alert", True))

    def test_failed_enforcement_is_named_so(self) -> None:
        found = line("enforcement_action", {"success": False})
        self.assertIn("ENFORCEMENT FAILED: close positions", found.text)

    def test_an_action_of_a_dry_run_is_not_named_as_done(self) -> None:
        details = {"positions_closed": 2, "orders_canceled": 1, "dry_run": True}
        event = {
            "action": "CLOSE_ALL_POSITIONS",
            "reason": "MaxContracts breach: 6 > 5",
            "rule_id": "RULE-001",
            "success": False,
            "details": details,
        }
        found = line("enforcement_action", event)
        self.assertEqual(
            found.text,
            "NOT ENFORCED (dry run): close positions (RULE-001): MaxContracts breach: 6 > 5; "
            "would be: 2 positions closed, 1 order canceled",
        )
        self.assertEqual((found.style, found.flashes), ("alert", True))
        details |= {"positions_closed": 0, "orders_canceled": 0}
        self.assertNotIn("would be", line("enforcement_action", event).text)

    def test_every_action_has_a_name(self) -> None:
        for action, words in (
            (Action.CLOSE_ALL_POSITIONS, "close positions"),
            (Action.CLOSE_ALL_AND_LOCKOUT, "close all and lock"),
            (Action.COOLDOWN, "close all and pause"),
            (Action.REJECT_ORDER, "cancel an order"),
            (Action.AUTO_STOP_LOSS, "place a stop"),
        ):
            found = line("enforcement_action", {"action": str(action)}).text
            self.assertTrue(found.startswith(f"ENFORCED: {words} (RULE-001): "), found)
        self.assertEqual(set(ACTIONS), set(Action))

    def test_a_daily_reset_flashes_with_the_pnl_of_the_day_before(self) -> None:
        found = line("daily_reset", {"previous_pnl": -150.50, "previous_trade_count": 12})
        self.assertEqual(
            found,
            FeedLine(
                NOW,
                "Daily reset executed: -$150.50 in 12 trades the day before",
                "good",
                True,
                "daily_reset",
            ),
        )

    def test_a_running_daemon_does_not_flash(self) -> None:
        found = line("daemon_status", {"status": "RUNNING", "message": "Started"})
        self.assertEqual(
            found, FeedLine(NOW, "Daemon RUNNING: Started", "good", kind="daemon_status")
        )

    def test_what_a_daemon_says_while_all_is_well_is_no_good_news(self) -> None:
        status = {"status": "RUNNING", "message": "Account 123 may only reduce its positions"}
        running = apply(account_after(), make_event("daemon_status", {"status": "RUNNING"}))
        self.assertEqual(line("daemon_status", status, running).style, "text")
        wrong = apply(running, make_event("daemon_status", {"status": "ERROR"}))
        self.assertEqual(line("daemon_status", status, wrong).style, "good")

    def test_what_it_says_of_another_account_has_no_line_here(self) -> None:
        for message, status, is_shown in (
            ("Account 456 may only reduce its positions", "RUNNING", False),
            ("A payout of $5.00: account 456 has $9.00", "RUNNING", False),
            ("Account 123 may open positions again", "RUNNING", True),
            ("Account 456 is not flat yet", "ERROR", True),
        ):
            event = make_event("daemon_status", {"status": status, "message": message})
            self.assertEqual(line_for(event, account_after(), NOW) is not None, is_shown, message)

    def test_an_error_or_the_stop_of_the_daemon_is_an_alert_without_a_flash(self) -> None:
        for status in (Status.ERROR, Status.STOPPING):
            found = line("daemon_status", {"status": str(status), "message": "Gateway lost"})
            self.assertEqual(
                found,
                FeedLine(NOW, f"Daemon {status}: Gateway lost", "alert", False, "daemon_status"),
            )
