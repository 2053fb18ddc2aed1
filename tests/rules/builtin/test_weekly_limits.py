"""RULE-016: what a week may lose, what it has to make, and how often it may trade."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.toml import ConfigError
from riskd.model.account import AccountState, with_risk
from riskd.model.balance import Leg, Result
from riskd.model.day_figures import DayFigures
from riskd.model.events import LockoutSet
from riskd.rules.builtin.weekly_limits import RULE, Settings, check, gauges
from riskd.rules.interface import NOTHING, Gauge, Lock, RuleResult
from tests.support.configuration import parse
from tests.support.rules import (
    MNQ,
    NOON,
    RESET,
    at,
    day,
    flatten_of,
    position,
    review,
    settings_of,
    state_after,
    with_memory,
    without_headroom,
)

SUNDAY = datetime(2025, 7, 20, 22, 0, tzinfo=UTC)
"""The end of the week of NOON, which is a Thursday."""

BEGAN = RESET - timedelta(days=1)

LOSS = {"loss_limit": "2000"}
TARGET = {"profit_target": "2000"}


def week(state: AccountState, *nets: str, counts: tuple[int, ...] = ()) -> AccountState:
    """Return the account on the Thursday of a week whose days from Monday on have made ``nets``."""
    days = {date(2025, 7, 11): DayFigures(net=Decimal(-9000), entries_and_exits=90)}
    for number, net in enumerate(nets):
        count = counts[number] if counts else 0
        days[date(2025, 7, 14 + number)] = DayFigures(net=Decimal(net), entries_and_exits=count)
    return msgspec.structs.replace(state, day_began=BEGAN, days=days)


def checked(state: AccountState, seconds: float = 0, **settings: object) -> RuleResult:
    return without_headroom(check(state, settings_of(Settings, **settings), review(seconds)))


def is_breach(state: AccountState, **settings: object) -> bool:
    return bool(checked(state, **settings).commands)


class PnlTests(SynchronousTestCase):
    """The net P&L of the week, to the cent, locks the account until the week ends."""

    def test_a_loss_of_the_limit_is_a_breach(self) -> None:
        """-$1,500 until Wednesday; today -$300 realized, -$195.50 open and $4.50 of fees."""
        today = day("-300", charges="4.50", opened=1, last="20902.25")
        state = week(today, "-2000", "100", "400")
        flatten = flatten_of(checked(state, **LOSS))
        self.assertEqual(
            (flatten.reason, flatten.lock),
            ("Weekly net loss limit hit: -$2,000.00 (limit $2,000.00)", Lock(until=SUNDAY)),
        )
        self.assertFalse(is_breach(state, loss_limit="2000.01"))
        self.assertFalse(is_breach(week(today, "-2000", "100", "400.01"), **LOSS))
        # The week before does not count, nor does a limit that is not set.
        self.assertFalse(is_breach(week(day("-1999.99")), **LOSS))
        self.assertFalse(is_breach(state, **TARGET))

    def test_a_profit_of_the_target_is_a_breach(self) -> None:
        flatten = flatten_of(checked(week(day("500"), "1500"), **TARGET))
        self.assertEqual(
            (flatten.reason, flatten.lock),
            ("Weekly profit target hit: $2,000.00 (target $2,000.00)", Lock(until=SUNDAY)),
        )
        self.assertFalse(is_breach(week(day("499.99"), "1500"), **TARGET))

    @given(st.lists(st.integers(-90_000, 90_000), min_size=1, max_size=4), st.integers(1, 90_000))
    def test_both_are_exact(self, cents: list[int], limit: int) -> None:
        *before, today = [str(Decimal(each).scaleb(-2)) for each in cents]
        state, amount = week(day(today), *before), Decimal(limit).scaleb(-2)
        self.assertEqual(is_breach(state, loss_limit=amount), sum(cents) <= -limit)
        self.assertEqual(is_breach(state, profit_target=amount), sum(cents) >= limit)

    def test_a_profit_that_is_uncertain_is_not_taken(self) -> None:
        unknown = week(state_after(position(MNQ, 1)), "2500")
        result = checked(unknown, **TARGET)
        self.assertEqual(result.commands, ())
        self.assertEqual(result.warnings, ("MNQU5: no quote yet, its P&L is unknown",))
        self.assertTrue(is_breach(week(state_after(position(MNQ, 1)), "-2500"), **LOSS))

    def test_while_an_answer_is_applied_the_rule_waits(self) -> None:
        state = with_risk(week(day("-5000")), is_listing=True)
        self.assertEqual(checked(state, **LOSS), RuleResult(reduce_only=None))

    def test_while_its_own_lock_is_in_force_it_does_nothing(self) -> None:
        lock = LockoutSet(reason="", locked_until=SUNDAY, rule_id=RULE.rule_id, locked_at=NOON)
        state = msgspec.structs.replace(week(day("-5000")), lockouts={RULE.rule_id: lock})
        self.assertEqual(checked(state, **LOSS), NOTHING)


class CountTests(SynchronousTestCase):
    """At a limit on entries and exits the account may only close what it holds."""

    KEYS = {"max_entries_and_exits": {"week": 10, "day": 4}}  # noqa: RUF012  # nobody changes it

    def state(self, before: int, today: int, last: Leg = Leg.SELL_TO_CLOSE) -> AccountState:
        state = week(day(), "0", "0", counts=(before, 0))
        balance = msgspec.structs.replace(state.balance, entries_and_exits=today)
        results = {
            1: Result(at(-9), Decimal(0), 1, Leg.BUY_TO_OPEN),
            2: Result(at(-1), Decimal(0), 2, last),
        }
        return with_risk(msgspec.structs.replace(state, balance=balance), results=results)

    def test_at_the_limit_and_not_before(self) -> None:
        for before, today, reason in (
            (6, 3, ""),
            (5, 4, "the day's limit of 4 entries and exits is reached"),
            (7, 3, "the week's limit of 10 entries and exits is reached"),
            (9, 4, "the week's limit of 10 entries and exits is reached"),
        ):
            result = checked(self.state(before, today), **self.KEYS)
            self.assertEqual((result.reduce_only, result.commands), (reason, ()), (before, today))
            self.assertEqual(result.wake_at, RESET if reason else None)

    def test_each_limit_may_be_left_out(self) -> None:
        state = self.state(50, 50)
        for key, word in (("week", "week"), ("day", "day")):
            result = checked(state, max_entries_and_exits={key: 50})
            self.assertIn(f"the {word}'s limit of 50", str(result.reduce_only))

    def test_what_the_last_entry_fills_may_stay(self) -> None:
        state = self.state(0, 4, Leg.BUY_TO_OPEN)
        first = checked(state, **self.KEYS)
        self.assertEqual((first.reduce_only, first.wake_at), ("", at(2)))
        state = with_memory(state, RULE.rule_id, first)
        self.assertEqual(checked(state, 1.9, **self.KEYS).reduce_only, "")
        self.assertIn("day's limit", str(checked(state, 2, **self.KEYS).reduce_only))
        # Another day begins anew.
        after = msgspec.structs.replace(
            state, balance=msgspec.structs.replace(state.balance, entries_and_exits=0)
        )
        ended = checked(after, 3, **self.KEYS)
        self.assertEqual((ended.reduce_only, ended.memory), ("", '{"begins":null}'))

    def test_counts_need_no_quotes(self) -> None:
        self.assertFalse(settings_of(Settings, **self.KEYS).needs_quotes)
        for keys in (LOSS, TARGET):
            self.assertTrue(settings_of(Settings, **self.KEYS, **keys).needs_quotes)


class SettingsTests(SynchronousTestCase):
    """A loss limit is the default; mistakes name the key, the value and what was expected."""

    def test_there_is_a_loss_limit_unless_there_is_another_limit(self) -> None:
        self.assertEqual(Settings().loss_limit, 2000)
        self.assertIsNone(settings_of(Settings, **TARGET).loss_limit)

    def test_mistakes(self) -> None:
        for keys, sentence in (
            (
                "loss_limit = -5",
                "loss_limit: expected an amount above 0, such as 500 or 0.50, without quotes, got -5",
            ),
            (
                "max_entries_and_exits = {}",
                "max_entries_and_exits: expected week or day, got neither",
            ),
            (
                "max_entries_and_exits = { week = 0 }",
                "max_entries_and_exits.week: expected a whole number above 0 up to 1000000, got 0",
            ),
            (
                "max_entries_and_exits = { month = 4 }",
                "max_entries_and_exits.month: unknown key; known are week, day",
            ),
        ):
            text = f"[rules.weekly_limits]\n{keys}\n[[accounts]]\nid = 1\n"
            problems = self.assertRaises(ConfigError, parse, text).problems
            self.assertEqual(
                problems[:1], (f"riskd.toml, line 2: rules.weekly_limits.{sentence}",)
            )


class GaugeTests(SynchronousTestCase):
    """How near each limit is."""

    def test_each_limit_that_is_set(self) -> None:
        state = week(day("-200"), "-500", counts=(7,))
        balance = msgspec.structs.replace(state.balance, entries_and_exits=2)
        state = msgspec.structs.replace(state, balance=balance)
        settings = settings_of(
            Settings, **LOSS, **TARGET, max_entries_and_exits={"week": 20, "day": 5}
        )
        self.assertEqual(
            gauges(state, settings, NOON),
            tuple(
                Gauge(name=name, limit=Decimal(limit), current=Decimal(current), unit=unit)
                for name, limit, current, unit in (
                    ("net weekly loss", 2000, 700, "$"),
                    ("net weekly profit", 2000, -700, "$"),
                    ("entries and exits, week", 20, 9, "orders"),
                    ("entries and exits, day", 5, 2, "orders"),
                )
            ),
        )
        self.assertEqual(len(gauges(state, Settings(), NOON)), 1)
