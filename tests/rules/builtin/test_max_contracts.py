"""RULE-001: the largest number of contracts in all."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.toml import ConfigError
from riskd.model.account import AccountState
from riskd.model.balance import Balance
from riskd.model.day_figures import DayFigures
from riskd.model.events import Event, PositionType
from riskd.rules.builtin.max_contracts import CountType, Settings, check, gauges
from riskd.rules.interface import NOTHING, Flatten, Kind, RuleResult
from tests.support.configuration import parse
from tests.support.rules import (
    ES,
    ES_DEC,
    LONG,
    MNQ,
    MNQ_DEC,
    NOON,
    RESET,
    SHORT,
    UNKNOWN,
    contracts_kept,
    flatten_of,
    position,
    review,
    settings_of,
    state_after,
    trigger,
)


def checked(state: AccountState, **settings: object) -> RuleResult:
    return check(state, settings_of(Settings, **settings), trigger(Kind.POSITION))


def count(*positions: Event, count_type: CountType) -> Decimal | None:
    (gauge,) = gauges(state_after(*positions), Settings(count_type=count_type), NOON)
    return gauge.current


def after_close(balance: str | None, *held: Event) -> AccountState:
    """Return the account after a day that ended at ``balance``, in which it has made $700 since."""
    days = {date(2025, 7, 16): DayFigures(close=None if balance is None else Decimal(balance))}
    return msgspec.structs.replace(
        state_after(*held),
        days=days,
        realized_pnl=Decimal(700),
        balance=Balance(agreed=None if balance is None else Decimal(balance) + 700),
    )


class TierTests(SynchronousTestCase):
    """A scaling plan: 2, 3 and 5 contracts from balances of 0, 1,500 and 2,000 on."""

    TIERS: ClassVar[list[dict[str, Any]]] = [
        {"balance": 0, "limit": 2},
        {"balance": "1500", "limit": 3},
        {"balance": "2000", "limit": 5},
    ]

    def test_each_tier_begins_at_its_balance_and_not_within_the_day(self) -> None:
        for balance, limit in (
            ("-300", 2),
            ("0", 2),
            ("1499.99", 2),
            ("1500", 3),
            ("1999.99", 3),
            ("2000", 5),
            ("99999", 5),
        ):
            for size in (limit, limit + 1):
                state = after_close(balance, position(ES, size))
                breach = bool(checked(state, tiers=self.TIERS).commands)
                self.assertEqual(breach, size > limit, (balance, size))

    def test_a_breach_says_which_day_counts(self) -> None:
        result = checked(after_close("1500", position(ES, 4)), tiers=self.TIERS)
        self.assertEqual(
            flatten_of(result).reason,
            "Too many contracts: 4 net contracts held (limit 3 after a day that ended at $1,500.00)",
        )
        # The next day may have another tier, even if nothing happens.
        self.assertEqual(result.wake_at, RESET)
        reduced = checked(
            after_close("0", position(ES, 4)), tiers=self.TIERS, reduce_to_limit=True
        )
        self.assertEqual(contracts_kept(reduced), [(ES, 2)])

    def test_before_a_day_has_ended_the_day_began_with_what_it_has_not_made(self) -> None:
        state = msgspec.structs.replace(after_close("1400", position(ES, 3)), days={})
        self.assertTrue(checked(state, tiers=self.TIERS).commands)

    def test_an_unknown_balance_closes_no_sound_position(self) -> None:
        result = checked(after_close(None, position(ES, 5)), tiers=self.TIERS)
        self.assertEqual(
            (result.commands, result.warnings), ((), ("no balance yet, the tier is unknown",))
        )
        self.assertTrue(checked(after_close(None, position(ES, 6)), tiers=self.TIERS).commands)

    def test_weights_count_in_a_tier_too(self) -> None:
        for size, breach in ((20, False), (21, True)):
            state = after_close("0", position(MNQ, size))
            result = checked(state, tiers=self.TIERS, weights={})
            self.assertEqual(bool(result.commands), breach)

    def test_the_gauge_has_the_limit_of_the_day(self) -> None:
        settings = settings_of(Settings, tiers=self.TIERS)
        (gauge,) = gauges(after_close("1500", position(ES, 1)), settings, NOON)
        self.assertEqual(
            (gauge.limit, gauge.current, gauge.words),
            (Decimal(3), Decimal(1), "after a day that ended at $1,500.00"),
        )

    def test_mistakes_are_reported(self) -> None:
        for tiers, sentence in (
            ("[]", "expected a list of at least 1, got an empty list"),
            (
                "[{ balance = 0, limit = 6 }]",
                "expected no limit above 5, the key limit, got 6",
            ),
            (
                "[{ balance = 5, limit = 1 }, { balance = 5, limit = 2 }]",
                "expected balances that rise, got 5 after 5",
            ),
        ):
            text = f"[rules.max_contracts]\ntiers = {tiers}\n[[accounts]]\nid = 1\n"
            problems = self.assertRaises(ConfigError, parse, text).problems
            self.assertEqual(
                problems, (f"riskd.toml, line 2: rules.max_contracts.tiers: {sentence}",)
            )


class LimitTests(SynchronousTestCase):
    """What is a breach."""

    def test_one_contract_above_the_limit_closes_everything(self) -> None:
        held = [position(MNQ, 3), position(ES, 2)]
        self.assertEqual(checked(state_after(*held)), NOTHING)
        flatten = flatten_of(checked(state_after(*held, position(ES, 3))))
        self.assertEqual(
            flatten, Flatten(reason="Too many contracts: 6 net contracts held (limit 5)")
        )

    def test_one_contract_is_named_in_the_singular(self) -> None:
        state = state_after(position(ES, 2))
        self.assertIn("2 net contracts held (limit 1)", flatten_of(checked(state, limit=1)).reason)

    def test_a_review_finds_a_breach(self) -> None:
        state = state_after(position(ES, 6))
        self.assertEqual(check(state, Settings(), review()), checked(state))

    def test_an_empty_account_is_no_breach(self) -> None:
        self.assertEqual(checked(state_after(position(ES, 0)), limit=1), NOTHING)

    def test_a_fill_in_parts_breaches_with_the_part_that_exceeds_the_limit(self) -> None:
        sizes = [2, 4, 6, 8]
        results = [checked(state_after(position(ES, size))) for size in sizes]
        self.assertEqual([bool(result.commands) for result in results], [False, False, True, True])

    def test_positions_within_the_limit_may_be_opened_again(self) -> None:
        closed = state_after(position(ES, 6), position(ES, 0))
        self.assertEqual(checked(state_after(position(ES, 5), state=closed)), NOTHING)

    def test_the_rule_sets_no_lock(self) -> None:
        self.assertIsNone(flatten_of(checked(state_after(position(ES, 6)))).lock)


class CountTests(SynchronousTestCase):
    """How contracts are counted."""

    def test_net_and_gross_differ_only_in_calendar_spreads(self) -> None:
        cases: list[tuple[list[tuple[str, int, PositionType]], int, int]] = [
            ([], 0, 0),
            ([(ES, 3, LONG), (ES_DEC, 2, LONG)], 5, 5),
            ([(ES, 3, LONG), (ES_DEC, 2, SHORT)], 1, 5),
            ([(ES, 2, LONG), (ES_DEC, 3, SHORT)], 1, 5),
            ([(ES, 3, LONG), (ES_DEC, 3, SHORT)], 0, 6),
            # Another root is no hedge, and a micro is one contract.
            ([(MNQ, 3, LONG), (ES, 3, SHORT)], 6, 6),
            ([(UNKNOWN, 2, LONG), (ES, 1, SHORT)], 3, 3),
        ]
        for held, net, gross in cases:
            events = [position(name, size, side) for name, size, side in held]
            self.assertEqual(count(*events, count_type=CountType.NET), net, held)
            self.assertEqual(count(*events, count_type=CountType.GROSS), gross, held)

    def test_contracts_of_unknown_roots_do_not_offset_each_other(self) -> None:
        other = UNKNOWN.replace("U25", "Z25")
        events = [position(UNKNOWN, 2), position(other, 2, SHORT)]
        self.assertEqual(count(*events, count_type=CountType.NET), 4)


class ReductionTests(SynchronousTestCase):
    """Closing only the excess."""

    def reduce(self, state: AccountState, limit: int, count_type: str = "net") -> RuleResult:
        return checked(state, limit=limit, reduce_to_limit=True, count_type=count_type)

    def test_the_largest_position_is_reduced_first(self) -> None:
        state = state_after(position(MNQ, 2), position(ES, 4), position(UNKNOWN, 3))
        for limit, expected in (
            (9, []),
            (8, [(ES, 3)]),
            (5, [(ES, 0)]),
            (4, [(ES, 0), (UNKNOWN, 2)]),
            (1, [(ES, 0), (UNKNOWN, 0), (MNQ, 1)]),
        ):
            self.assertEqual(contracts_kept(self.reduce(state, limit)), expected, limit)

    def test_of_positions_of_equal_size_the_first_held_is_reduced(self) -> None:
        state = state_after(position(MNQ, 3), position(ES, 3))
        self.assertEqual(contracts_kept(self.reduce(state, 5)), [(MNQ, 2)])

    def test_of_a_calendar_spread_only_the_heavier_side_is_reduced(self) -> None:
        state = state_after(position(ES, 5), position(ES_DEC, 7, SHORT), position(MNQ, 3))
        # Net: two short in ES and three long in MNQ.
        self.assertEqual(contracts_kept(self.reduce(state, 4)), [(ES_DEC, 6)])
        self.assertEqual(contracts_kept(self.reduce(state, 2)), [(ES_DEC, 5), (MNQ, 2)])
        self.assertEqual(contracts_kept(self.reduce(state, 12, "gross")), [(ES_DEC, 4)])

    @given(
        st.dictionaries(
            st.sampled_from([ES, ES_DEC, MNQ, MNQ_DEC, UNKNOWN]),
            st.tuples(st.integers(1, 9), st.sampled_from(PositionType)),
        ),
        st.integers(1, 30),
        st.sampled_from(CountType),
    )
    def test_reducing_leaves_exactly_the_limit(
        self, held: dict[str, tuple[int, PositionType]], limit: int, count_type: CountType
    ) -> None:
        settings = Settings(limit=limit, count_type=count_type, reduce_to_limit=True)
        events = {name: position(name, size, side) for name, (size, side) in held.items()}
        state = state_after(*events.values())
        before = count(*events.values(), count_type=count_type)
        assert before is not None
        for name, size in contracts_kept(check(state, settings, review())):
            self.assertLess(size, held[name][0])
            state = state_after(position(name, size, held[name][1]), state=state)
        (gauge,) = gauges(state, settings, NOON)
        self.assertEqual(gauge.current, min(before, limit))


MES = "CON.F.US.MES.U25"


class WeightTests(SynchronousTestCase):
    """``weights``: a micro counts a tenth, or what the settings say."""

    def weighted(self, weights: dict[str, str], *events: Event) -> Decimal | None:
        settings = settings_of(Settings, weights=weights)
        (gauge,) = gauges(state_after(*events), settings, NOON)
        return gauge.current

    def test_micros_are_a_tenth_and_the_table_has_exceptions(self) -> None:
        held = [position(MNQ, 3), position(MES, 2, SHORT), position(ES, 4), position(UNKNOWN, 1)]
        for weights, expected in (
            ({}, "5.5"),
            ({"MNQ": "0.5"}, "6.7"),
            ({"mnq": "1", "ES": "2"}, "12.2"),
            ({"RTY": "7"}, "5.5"),
        ):
            self.assertEqual(self.weighted(weights, *held), Decimal(expected), weights)
        # Without weights, contracts are whole numbers.
        self.assertEqual(str(count(*held, count_type=CountType.NET)), "10")

    def test_a_tenth_above_the_limit_is_a_breach(self) -> None:
        held = [position(ES, 4), position(MES, 10)]
        self.assertEqual(checked(state_after(*held), weights={}), NOTHING)
        flatten = flatten_of(checked(state_after(*held, position(MES, 11)), weights={}))
        reason = "Too many contracts: 5.1 weighted net contracts held (limit 5)"
        self.assertEqual(flatten, Flatten(reason=reason))

    def test_no_more_is_closed_than_the_excess_if_micros_can_make_it_up(self) -> None:
        state = state_after(position(ES, 5), position(MES, 14))
        for limit, expected in (
            (6, [(MES, 10)]),
            (5, [(ES, 4), (MES, 10)]),
            (1, [(ES, 0), (MES, 10)]),
        ):
            result = checked(state, limit=limit, reduce_to_limit=True, weights={})
            self.assertEqual(contracts_kept(result), expected, limit)
        result = checked(state, limit=5, reduce_to_limit=True, weights={})
        self.assertIn(", 5 to be closed", flatten_of(result).reason)
        heavy = checked(state, limit=5, reduce_to_limit=True, weights={"MES": "0.3"})
        # Of an excess of 4.2, ES makes up 4; the rest takes a whole contract.
        self.assertEqual(contracts_kept(heavy), [(ES, 1), (MES, 13)])

    @given(
        st.dictionaries(st.sampled_from([ES, ES_DEC, MES, MNQ]), st.integers(1, 30)),
        st.integers(1, 20),
        st.dictionaries(
            st.sampled_from(["ES", "MES", "MNQ"]),
            st.sampled_from(["0.1", "0.25", "0.3", "1", "2.5"]),
        ),
    )
    def test_what_stays_is_within_the_limit_by_less_than_a_contract(
        self, held: dict[str, int], limit: int, weights: dict[str, str]
    ) -> None:
        settings = settings_of(Settings, limit=limit, reduce_to_limit=True, weights=weights)
        state = state_after(*(position(name, size) for name, size in held.items()))
        kept = contracts_kept(check(state, settings, review()))
        state = state_after(*(position(name, size) for name, size in kept), state=state)
        self.assertEqual(check(state, settings, review()), NOTHING)
        if kept:
            heaviest = max(settings.weight(root) for root in ("ES", "MES", "MNQ"))
            (gauge,) = gauges(state, settings, NOON)
            assert gauge.current is not None
            self.assertGreater(gauge.current, limit - heaviest)

    def test_invalid_weights_are_rejected(self) -> None:
        for weights in (
            {"MES": "0"},
            {"MES": "-0.1"},
            {"MES": "0.0001"},
            {"MES": "1000.5"},
            {"MESU5": "1"},
            {"MES": "1", "mes": "1"},
        ):
            error = self.assertRaises(
                msgspec.ValidationError, msgspec.convert, {"weights": weights}, Settings
            )
            self.assertIn("weights", str(error))


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.enabled, settings.limit, settings.count_type, settings.reduce_to_limit),
            (True, 5, CountType.NET, False),
        )

    def test_invalid_tables_are_rejected(self) -> None:
        for table in (
            {"limit": 0},
            {"limit": -1},
            {"limit": True},
            {"limit": 2.5},
            {"count_type": "NET"},
            {"reduce_to_limit": 1},
            {"limits": 5},
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(next(iter(table)), str(error))
