"""RULE-015: a day's profit that is enough, or that must not be given back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.toml import ConfigError
from riskd.model.account import AccountState, with_risk
from riskd.model.equity import with_highs
from riskd.model.events import LockoutSet
from riskd.rules.builtin.daily_profit_target import RULE, Action, Settings, check, gauges
from riskd.rules.interface import NOTHING, Gauge, Lock, RuleResult
from tests.support.configuration import parse
from tests.support.rules import (
    MNQ,
    NOON,
    RESET,
    at,
    day,
    flatten_of,
    order,
    position,
    review,
    settings_of,
    state_after,
    with_memory,
)

PROTECT: dict[str, Any] = {"protect": {"arm_at": "1000", "floor": "800"}}
FLATTEN: dict[str, Any] = {"action": Action.CLOSE_ALL_POSITIONS}


def checked(state: AccountState, seconds: float = 0, **settings: object) -> RuleResult:
    return check(state, settings_of(Settings, **settings), review(seconds))


def is_breach(state: AccountState, **settings: object) -> bool:
    return bool(checked(state, **settings).commands)


def after_high(state: AccountState, high: str = "1000") -> AccountState:
    """Return the account as it is on a day that has made ``high`` before."""
    balance = msgspec.structs.replace(state.balance, high_net=Decimal(high))
    return msgspec.structs.replace(state, balance=balance)


class TargetTests(SynchronousTestCase):
    """What the target counts: realized and open P&L, less fees, to the cent."""

    def test_a_net_profit_of_the_target_is_a_breach(self) -> None:
        """$700 realized, $304.50 open and $4.50 of fees are a net profit of $1,000."""
        state = day("1000", "-300", charges="4.50", opened=1, last="21152.25")
        flatten = flatten_of(checked(state, target="1000"))
        self.assertEqual(
            (flatten.reason, flatten.lock, flatten.keep),
            (
                "Daily profit target hit: $1,000.00 (target $1,000.00)",
                Lock(until=RESET),
                None,
            ),
        )
        self.assertFalse(is_breach(state, target="1000.01"))
        less = day("1000", "-300", charges="4.51", opened=1, last="21152.25")
        self.assertFalse(is_breach(less, target="1000"))

    @given(st.integers(-60_000, 60_000), st.integers(0, 60_000), st.integers(1, 60_000))
    def test_the_target_is_exact(self, pnl: int, fees: int, target: int) -> None:
        state = day(str(Decimal(pnl).scaleb(-2)), charges=str(Decimal(fees).scaleb(-2)))
        amount = Decimal(target).scaleb(-2)
        self.assertEqual(is_breach(state, target=amount), pnl - fees >= target)

    def test_it_waits_while_the_profit_is_uncertain(self) -> None:
        state = day("2000", opened=1)
        self.assertTrue(is_breach(state, target="1000", **PROTECT | {"protect": None}))
        self.assertEqual(
            checked(with_risk(state, is_listing=True), target="1000"), RuleResult(reduce_only=None)
        )
        old = checked(state, 12, target="1000")
        self.assertEqual((old.commands, old.reduce_only), ((), None))
        self.assertEqual(old.warnings, ("MNQU5: the last quote is more than 10 s old",))
        unknown = state_after(position(MNQ, 2, seconds=2), state=day("2000"))
        self.assertFalse(is_breach(unknown, target="1000"))

    def test_while_its_own_lock_is_in_force_it_does_nothing(self) -> None:
        lock = LockoutSet(reason="", locked_until=RESET, rule_id=RULE.rule_id, locked_at=NOON)
        state = msgspec.structs.replace(day("1000"), lockouts={RULE.rule_id: lock})
        self.assertEqual(checked(state, target="1000"), NOTHING)


class ProtectTests(SynchronousTestCase):
    """A profit that must not be given back: armed at $1,000, the floor is $800."""

    def test_it_is_armed_at_exactly_its_profit(self) -> None:
        for high, armed in (("999.99", False), ("1000", True)):
            self.assertEqual(is_breach(after_high(day("700"), high), **PROTECT), armed, high)

    def test_a_fall_to_the_floor_is_a_breach(self) -> None:
        for pnl, breach in (("800.01", False), ("800", True), ("-5", True)):
            self.assertEqual(is_breach(after_high(day(pnl)), **PROTECT), breach, pnl)
        flatten = flatten_of(checked(after_high(day("800")), **PROTECT))
        self.assertEqual(
            (flatten.reason, flatten.lock),
            (
                (
                    "Daily profit given back: $800.00 left (floor $800.00, protected from "
                    "$1,000.00 on)"
                ),
                Lock(until=RESET),
            ),
        )

    def test_an_open_profit_arms_it_and_a_realized_one_beside_an_open_loss_does_not(self) -> None:
        rose = with_highs(day(opened=1, last="21500"))
        self.assertEqual(rose.balance.high_net, 1000)
        fell = msgspec.structs.replace(day(opened=1, last="21400"), balance=rose.balance)
        self.assertTrue(is_breach(fell, **PROTECT))
        # +1,000 realized and -500 open: the day has never made 1,000.
        self.assertFalse(is_breach(with_highs(day("1000", opened=1, last="20750")), **PROTECT))

    def test_a_profit_that_is_unknown_is_not_given_back(self) -> None:
        unknown = after_high(state_after(position(MNQ, 1)))
        self.assertFalse(is_breach(unknown, **PROTECT))

    def test_the_floor_may_be_zero(self) -> None:
        breakeven = {"protect": {"arm_at": "500", "floor": 0}}
        for pnl, breach in (("0.01", False), ("0", True)):
            self.assertEqual(is_breach(after_high(day(pnl), "500"), **breakeven), breach)


class FlattenTests(SynchronousTestCase):
    """Without a lock the trader may go on."""

    KEYS: ClassVar[dict[str, Any]] = {"target": "2000", **PROTECT, **FLATTEN}

    def acts(self, *nets: str, held: bool = True) -> list[str]:
        """Let the net P&L go through ``nets``; return those at which the rule acts."""
        state, acted = day(opened=1 if held else 0), []
        for net in nets:
            other = msgspec.structs.replace(
                state,
                realized_pnl=Decimal(net),
                balance=msgspec.structs.replace(
                    state.balance, high_net=max(state.balance.high_net, Decimal(net))
                ),
            )
            result = checked(other, **self.KEYS)
            state = with_memory(other, RULE.rule_id, result)
            if result.commands:
                self.assertIsNone(flatten_of(result).lock)
                acted.append(net)
        return acted

    def test_the_target_acts_once_until_the_profit_was_below_it(self) -> None:
        self.assertEqual(self.acts("1999.99", "2000", "2100", "2000", "1999.99"), ["2000"])
        self.assertEqual(self.acts("2000", "1999.99", "2000.01"), ["2000", "2000.01"])

    def test_the_floor_acts_once_until_the_profit_was_there_again(self) -> None:
        self.assertEqual(self.acts("1000", "800", "700", "999.99", "800"), ["800"])
        self.assertEqual(self.acts("1000", "800", "1000", "799"), ["800", "799"])

    def test_a_target_that_was_reached_flat_is_reached(self) -> None:
        self.assertEqual(self.acts("2000", held=False), [])
        done = with_memory(day("2000"), RULE.rule_id, checked(day("2000"), **self.KEYS))
        opened = msgspec.structs.replace(day("2000", opened=1), risk=done.risk)
        self.assertFalse(is_breach(opened, **self.KEYS))
        # Working orders are canceled at the target.
        self.assertTrue(is_breach(state_after(order(1), state=day("2000")), **self.KEYS))

    def test_another_day_begins_anew(self) -> None:
        state = day("2000", opened=1)
        done = with_memory(state, RULE.rule_id, checked(state, **self.KEYS))
        self.assertFalse(is_breach(done, **self.KEYS))
        next_day = msgspec.structs.replace(done, day_began=at(-3600))
        self.assertTrue(is_breach(next_day, **self.KEYS))


class SettingsTests(SynchronousTestCase):
    """The target has a default; mistakes in the configuration name the key, the value and what was expected."""

    def test_there_is_a_target_unless_there_is_something_to_protect(self) -> None:
        self.assertEqual(Settings().target, 1000)
        self.assertIsNone(settings_of(Settings, **PROTECT).target)

    def test_mistakes(self) -> None:
        for keys, sentence in (
            (
                "target = 0",
                (
                    "line 2: rules.daily_profit_target.target: expected an amount above 0, such as 500 "
                    "or 0.50, without quotes, got 0"
                ),
            ),
            (
                "protect = { arm_at = 500, floor = 500 }",
                (
                    "line 2: rules.daily_profit_target.protect.floor: expected less than arm_at, which "
                    "is 500, got 500"
                ),
            ),
            (
                "protect = { arm_at = 500, floor = -1 }",
                (
                    "line 2: rules.daily_profit_target.protect.floor: expected an amount from 0, such as "
                    "500 or 0.50, without quotes, got -1"
                ),
            ),
            (
                "protect = { arm_at = 500 }",
                (
                    "line 2: rules.daily_profit_target.protect.floor: missing; expected an amount from "
                    "0, such as 500 or 0.50, without quotes"
                ),
            ),
            (
                "target = 500\nprotect = { arm_at = 500, floor = 1 }",
                (
                    "line 3: rules.daily_profit_target.protect: expected arm_at to be less than target, "
                    "which is 500, got 500"
                ),
            ),
            (
                'target = 500\naction = "CLOSE"',
                (
                    "line 3: rules.daily_profit_target.action: expected one of "
                    '"CLOSE_ALL_AND_LOCKOUT", "CLOSE_ALL_POSITIONS", got "CLOSE"'
                ),
            ),
        ):
            text = f"[rules.daily_profit_target]\n{keys}\n[[accounts]]\nid = 1\n"
            problems = self.assertRaises(ConfigError, parse, text).problems
            self.assertEqual(problems, (f"riskd.toml, {sentence}",))


class GaugeTests(SynchronousTestCase):
    """How near the target and the floor are."""

    def test_the_target(self) -> None:
        state = day("700", charges="4.50")
        self.assertEqual(
            gauges(state, settings_of(Settings, target="1000"), NOON),
            (
                Gauge(
                    name="net daily profit",
                    limit=Decimal(1000),
                    current=Decimal("695.50"),
                    unit="$",
                ),
            ),
        )

    def test_the_profit_that_is_given_back(self) -> None:
        settings = settings_of(Settings, **PROTECT)
        (unarmed,) = gauges(day("900"), settings, NOON)
        self.assertEqual(
            (unarmed.limit, unarmed.words), (None, "$800.00 protected from $1,000.00 on")
        )
        (armed,) = gauges(after_high(day("900"), "1200"), settings, NOON)
        self.assertEqual(
            (armed.limit, armed.current, armed.words),
            (Decimal(400), Decimal(300), "floor $800.00"),
        )
