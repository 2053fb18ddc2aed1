"""RULE-011: products that may not be traded at all."""

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
    told,
)

RTY_DEC = "CON.F.US.RTY.Z25"
BLOCKS = settings_of(Settings, blocked_symbols=["RTY"])

CLOSED = Flatten(reason="RTY is blocked: 2 held", keep={RTY: 0})


def rejection(number: int, side: str, size: int = 1) -> RejectOrder:
    return RejectOrder(reason=f"RTY is blocked: order to {side} {size}", order_id=number)


def entry(number: int, contract_id: str, side: OrderSide, size: int = 1) -> Event:
    return order(number, contract_id, side, size, kind=OrderType.LIMIT, price="2000")


class OrderTests(SynchronousTestCase):
    """Orders in blocked products."""

    def test_an_order_is_canceled(self) -> None:
        buy = entry(7, RTY_DEC, BUY)
        result = check(state_after(buy), BLOCKS, told(buy))
        self.assertEqual(result.commands, (rejection(7, "buy"),))

    def test_which_orders(self) -> None:
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
            result = check(state_after(buy), settings, told(buy))
            self.assertEqual(bool(result.commands), expected, (blocked, contract_id))

    def test_only_the_order_that_came_is_judged_but_a_review_judges_all(self) -> None:
        first, second = entry(7, RTY, BUY), entry(8, RTY_DEC, SELL)
        state = state_after(first, second)
        self.assertEqual(check(state, BLOCKS, told(second)).commands, (rejection(8, "sell"),))
        self.assertEqual(
            check(state, BLOCKS, review()).commands, (rejection(7, "buy"), rejection(8, "sell"))
        )

    def test_an_order_that_has_ended_is_left(self) -> None:
        buy = entry(7, RTY, BUY)
        end = canceled(buy, 1)
        self.assertEqual(check(state_after(buy, end), BLOCKS, told(end)).commands, ())

    def test_exits_stay_until_the_position_is_flat(self) -> None:
        settings = settings_of(Settings, blocked_symbols=["RTY"], close_existing=False)
        for side, exit_side, entry_side in ((LONG, SELL, BUY), (SHORT, BUY, SELL)):
            leave, add = entry(7, RTY, exit_side), entry(8, RTY, entry_side)
            state = state_after(position(RTY, 2, side), leave, add)
            self.assertEqual(check(state, settings, told(leave)).commands, ())
            rejected = rejection(8, entry_side.name.lower())
            self.assertEqual(check(state, settings, told(add)).commands, (rejected,))
            flat = position(RTY, 0, side, seconds=1)
            state = state_after(flat, state=state_after(position(RTY, 2, side), leave))
            left = rejection(7, exit_side.name.lower())
            self.assertEqual(check(state, settings, told(flat)).commands, (left,))

    def test_an_exit_of_another_expiry_is_none(self) -> None:
        sell = entry(7, RTY_DEC, SELL)
        state = state_after(position(RTY, 2), sell)
        self.assertEqual(check(state, BLOCKS, told(sell)).commands, (rejection(7, "sell"),))

    def test_a_product_that_is_unknown_is_said_to_be(self) -> None:
        buy = entry(7, UNKNOWN, BUY)
        result = check(state_after(position(UNKNOWN, 1), buy), BLOCKS, told(buy))
        self.assertEqual(result.commands, ())
        self.assertEqual(
            result.warnings,
            (f"Symbol of {UNKNOWN} unknown: cannot tell whether it is blocked",),
        )
        self.assertEqual(check(state_after(buy), Settings(), told(buy)).warnings, ())


class PositionTests(SynchronousTestCase):
    """Positions in blocked products."""

    def test_a_position_is_closed_and_with_it_its_orders(self) -> None:
        held = position(RTY, 2)
        state = state_after(held, entry(7, RTY, BUY), entry(8, RTY, SELL))
        self.assertEqual(check(state, BLOCKS, told(held)).commands, (CLOSED,))

    def test_a_review_closes_what_was_there_before(self) -> None:
        state = state_after(position(ES, 1), position(RTY, 2), entry(7, RTY_DEC, BUY))
        self.assertEqual(check(state, BLOCKS, review()).commands, (CLOSED, rejection(7, "buy")))

    def test_only_the_position_that_came_is_judged(self) -> None:
        other = position(ES, 1)
        state = state_after(position(RTY, 2), other)
        self.assertEqual(check(state, BLOCKS, told(other)).commands, ())

    def test_positions_may_be_left(self) -> None:
        held = position(RTY, 2)
        settings = settings_of(Settings, blocked_symbols=["RTY"], close_existing=False)
        for trigger in (told(held), review()):
            self.assertEqual(check(state_after(held), settings, trigger).commands, ())

    def test_a_flat_account_is_in_order(self) -> None:
        flat = position(RTY, 0)
        for trigger in (told(flat), review()):
            self.assertEqual(check(state_after(flat), BLOCKS, trigger).commands, ())

    @given(st.sampled_from(sorted(PRODUCTS)), st.sampled_from(sorted(PRODUCTS)))
    def test_a_root_blocks_itself_and_no_other(self, held_code: str, blocked_code: str) -> None:
        held = position(f"CON.F.US.{held_code}.Z25", 1)
        ticker = PRODUCTS[blocked_code].ticker
        settings = settings_of(Settings, blocked_symbols=[ticker.lower()])
        result = check(state_after(held), settings, told(held))
        self.assertEqual(bool(result.commands), held_code == blocked_code)


class SettingsTests(SynchronousTestCase):
    """What the table may say."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.enabled, settings.blocked_symbols, settings.close_existing),
            (True, (), True),
        )

    def test_what_is_wrong_is_refused(self) -> None:
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
    """What is blocked."""

    def test_in_words(self) -> None:
        for symbols, words in (([], "none"), (["rty", "CL", "RTY"], "CL, RTY")):
            settings = settings_of(Settings, blocked_symbols=symbols)
            (gauge,) = gauges(state_after(), settings, NOON)
            self.assertEqual(gauge.words, words)
