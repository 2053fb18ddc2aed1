"""RULE-011: products that the account may not trade at all."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.contracts import PRODUCTS
from riskd.model.events import Event, OrderSide, OrderType
from riskd.rules.builtin.symbol_blocks import Settings, check, gauges
from riskd.rules.interface import Flatten, RejectOrder
from tests.support.rules import (
    BUY,
    ES,
    LONG,
    MES,
    NOON,
    RTY,
    SELL,
    SHORT,
    UNKNOWN,
    canceled,
    order,
    position,
    review,
    settings_of,
    state_after,
    trigger_of,
)

RTY_DEC = "CON.F.US.RTY.Z25"
BLOCKS = settings_of(Settings, blocked_symbols=["RTY"])

CLOSED = Flatten(reason="RTY is blocked: 2 held", keep={RTY: 0})


def rejection(number: int, side: str) -> RejectOrder:
    return RejectOrder(reason=f"RTY is blocked: order to {side} 1", order_id=number)


def entry(number: int, contract_id: str, side: OrderSide, size: int = 1) -> Event:
    return order(number, contract_id, side, size, kind=OrderType.LIMIT, price="2000")


class OrderTests(SynchronousTestCase):
    """Orders in blocked products."""

    def test_an_order_is_canceled(self) -> None:
        buy = entry(7, RTY_DEC, BUY)
        result = check(state_after(buy), BLOCKS, trigger_of(buy))
        self.assertEqual(result.commands, (rejection(7, "buy"),))

    def test_orders_in_all_expiries_of_a_blocked_root_are_canceled(self) -> None:
        for blocked, contract_id, expected in (
            (["rty"], RTY, True),
            (["RTY"], RTY_DEC, True),
            (["ES"], MES, False),
            (["MES"], ES, False),
            (["EP"], ES, False),
            (["es"], ES, True),
            ([], RTY, False),
            (["CL", "ES"], ES, True),
        ):
            buy = entry(7, contract_id, BUY)
            settings = settings_of(Settings, blocked_symbols=blocked)
            result = check(state_after(buy), settings, trigger_of(buy))
            self.assertEqual(bool(result.commands), expected, (blocked, contract_id))

    def test_an_order_event_checks_that_order_and_a_review_checks_all(self) -> None:
        first, second = entry(7, RTY, BUY), entry(8, RTY_DEC, SELL)
        state = state_after(first, second)
        self.assertEqual(
            check(state, BLOCKS, trigger_of(second)).commands, (rejection(8, "sell"),)
        )
        self.assertEqual(
            check(state, BLOCKS, review()).commands, (rejection(7, "buy"), rejection(8, "sell"))
        )

    def test_an_ended_order_is_not_canceled(self) -> None:
        buy = entry(7, RTY, BUY)
        end = canceled(buy, 1)
        self.assertEqual(check(state_after(buy, end), BLOCKS, trigger_of(end)).commands, ())

    def test_exits_may_work_until_the_position_is_closed(self) -> None:
        settings = settings_of(Settings, blocked_symbols=["RTY"], close_existing=False)
        for side, exit_side, entry_side in ((LONG, SELL, BUY), (SHORT, BUY, SELL)):
            leave, add = entry(7, RTY, exit_side), entry(8, RTY, entry_side)
            state = state_after(position(RTY, 2, side), leave, add)
            self.assertEqual(check(state, settings, trigger_of(leave)).commands, ())
            rejected = rejection(8, entry_side.name.lower())
            self.assertEqual(check(state, settings, trigger_of(add)).commands, (rejected,))
            flat = position(RTY, 0, side, seconds=1)
            state = state_after(flat, state=state_after(position(RTY, 2, side), leave))
            left = rejection(7, exit_side.name.lower())
            self.assertEqual(check(state, settings, trigger_of(flat)).commands, (left,))

    def test_an_order_in_another_expiry_is_no_exit(self) -> None:
        sell = entry(7, RTY_DEC, SELL)
        state = state_after(position(RTY, 2), sell)
        self.assertEqual(check(state, BLOCKS, trigger_of(sell)).commands, (rejection(7, "sell"),))

    def test_an_unknown_product_has_a_warning(self) -> None:
        buy = entry(7, UNKNOWN, BUY)
        result = check(state_after(position(UNKNOWN, 1), buy), BLOCKS, trigger_of(buy))
        self.assertEqual(result.commands, ())
        self.assertEqual(
            result.warnings,
            (f"Symbol of {UNKNOWN} unknown: cannot tell whether it is blocked",),
        )
        self.assertEqual(check(state_after(buy), Settings(), trigger_of(buy)).warnings, ())


class PositionTests(SynchronousTestCase):
    """Positions in blocked products."""

    def test_a_position_is_closed_together_with_its_orders(self) -> None:
        held = position(RTY, 2)
        state = state_after(held, entry(7, RTY, BUY), entry(8, RTY, SELL))
        self.assertEqual(check(state, BLOCKS, trigger_of(held)).commands, (CLOSED,))

    def test_a_review_closes_earlier_positions(self) -> None:
        state = state_after(position(ES, 1), position(RTY, 2), entry(7, RTY_DEC, BUY))
        self.assertEqual(check(state, BLOCKS, review()).commands, (CLOSED, rejection(7, "buy")))

    def test_a_position_event_checks_only_that_position(self) -> None:
        other = position(ES, 1)
        state = state_after(position(RTY, 2), other)
        self.assertEqual(check(state, BLOCKS, trigger_of(other)).commands, ())

    def test_the_settings_may_leave_positions_open(self) -> None:
        held = position(RTY, 2)
        settings = settings_of(Settings, blocked_symbols=["RTY"], close_existing=False)
        for trigger in (trigger_of(held), review()):
            self.assertEqual(check(state_after(held), settings, trigger).commands, ())

    def test_an_account_without_positions_is_no_breach(self) -> None:
        flat = position(RTY, 0)
        for trigger in (trigger_of(flat), review()):
            self.assertEqual(check(state_after(flat), BLOCKS, trigger).commands, ())

    @given(st.sampled_from(sorted(PRODUCTS)), st.sampled_from(sorted(PRODUCTS)))
    def test_a_root_blocks_itself_and_no_other(self, held_code: str, blocked_code: str) -> None:
        held = position(f"CON.F.US.{held_code}.Z25", 1)
        ticker = PRODUCTS[blocked_code].ticker
        settings = settings_of(Settings, blocked_symbols=[ticker.lower()])
        result = check(state_after(held), settings, trigger_of(held))
        self.assertEqual(bool(result.commands), held_code == blocked_code)


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.enabled, settings.blocked_symbols, settings.close_existing),
            (True, (), True),
        )

    def test_invalid_tables_are_rejected(self) -> None:
        for table in (
            {"blocked_symbols": "RTY"},
            {"blocked_symbols": ["R TY"]},
            {"blocked_symbols": [1]},
            {"action": "CLOSE_POSITION"},
            {"close_existing": 0},
            {"symbols": []},
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(next(iter(table)), str(error))


class GaugeTests(SynchronousTestCase):
    """Which products are blocked."""

    def test_the_gauge_lists_the_blocked_products(self) -> None:
        for symbols, words in (([], "none"), (["rty", "CL", "RTY"], "CL, RTY")):
            settings = settings_of(Settings, blocked_symbols=symbols)
            (gauge,) = gauges(state_after(), settings, NOON)
            self.assertEqual(gauge.words, words)
