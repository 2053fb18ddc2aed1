"""RULE-002: the largest number of contracts of one root."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.contracts import Contract
from riskd.rules.builtin.max_contracts_per_instrument import Enforcement, Settings, check, gauges
from riskd.rules.interface import NOTHING, Flatten, Gauge, Kind, RuleResult
from tests.support.rules import (
    ES,
    ES_DEC,
    LONG,
    MES,
    MNQ,
    MNQ_DEC,
    NOON,
    RTY,
    SHORT,
    UNKNOWN,
    at,
    contracts_kept,
    flatten_of,
    position,
    review,
    settings_of,
    state_after,
    trigger,
)


def checked(state: AccountState, seconds: float = 0, **settings: object) -> RuleResult:
    return check(state, settings_of(Settings, **settings), trigger(Kind.POSITION, seconds))


class LimitTests(SynchronousTestCase):
    """Breaches of listed roots."""

    def test_the_excess_of_a_root_is_closed(self) -> None:
        self.assertEqual(checked(state_after(position(MNQ, 2)), limits={"MNQ": 2}), NOTHING)
        result = checked(state_after(position(MNQ, 3)), limits={"MNQ": 2})
        self.assertEqual(
            flatten_of(result),
            Flatten(
                reason="Too many contracts: 3 contracts of MNQ held (limit 2), 1 to be closed",
                keep={MNQ: 2},
            ),
        )

    def test_a_review_finds_a_breach(self) -> None:
        settings = Settings(limits={"MNQ": 2})
        result = check(state_after(position(MNQ, 3)), settings, review())
        self.assertEqual(contracts_kept(result), [(MNQ, 2)])

    def test_close_all_closes_all_of_the_root(self) -> None:
        state = state_after(position(MNQ, 1), position(MNQ_DEC, 2), position(ES, 2))
        result = checked(state, limits={"MNQ": 2, "ES": 2}, enforcement="close_all")
        self.assertEqual(contracts_kept(result), [(MNQ_DEC, 0), (MNQ, 0)])

    def test_expiries_of_a_root_count_together_and_the_largest_is_reduced_first(self) -> None:
        state = state_after(position(MNQ, 3), position(MNQ_DEC, 4))
        for limit, expected in (
            (7, []),
            (6, [(MNQ_DEC, 3)]),
            (3, [(MNQ_DEC, 0)]),
            (2, [(MNQ_DEC, 0), (MNQ, 2)]),
        ):
            self.assertEqual(
                contracts_kept(checked(state, limits={"MNQ": limit})), expected, limit
            )

    def test_of_positions_of_equal_size_the_first_held_is_reduced(self) -> None:
        state = state_after(position(MNQ_DEC, 2), position(MNQ, 2))
        self.assertEqual(contracts_kept(checked(state, limits={"MNQ": 3})), [(MNQ_DEC, 1)])

    def test_long_and_short_of_a_root_do_not_cancel_out(self) -> None:
        state = state_after(position(MNQ, 2), position(MNQ_DEC, 1, SHORT))
        self.assertEqual(contracts_kept(checked(state, limits={"MNQ": 2})), [(MNQ, 1)])

    def test_each_root_has_its_own_flatten(self) -> None:
        state = state_after(position(MNQ, 3), position(ES, 2), position(RTY, 1))
        result = checked(state, limits={"MNQ": 2, "ES": 1, "RTY": 1})
        self.assertEqual(len(result.commands), 2)
        self.assertEqual(contracts_kept(result), [(MNQ, 2), (ES, 1)])

    def test_whole_roots_match_in_upper_and_lower_case(self) -> None:
        limits = {"es": 1, "mes": 9}
        self.assertEqual(checked(state_after(position(MES, 5)), limits=limits), NOTHING)
        self.assertEqual(
            contracts_kept(checked(state_after(position(ES, 5)), limits=limits)), [(ES, 1)]
        )

    def test_the_rule_sets_no_lock(self) -> None:
        result = checked(state_after(position(MNQ, 3)), limits={"MNQ": 2})
        self.assertIsNone(flatten_of(result).lock)

    @given(
        st.dictionaries(
            st.sampled_from([ES, ES_DEC, MNQ, MNQ_DEC, RTY]), st.integers(1, 9), min_size=1
        ),
        st.dictionaries(st.sampled_from(["ES", "MNQ", "RTY"]), st.integers(1, 12)),
        st.sampled_from(Enforcement),
    )
    def test_the_account_keeps_all_limits_afterwards(
        self, held: dict[str, int], limits: dict[str, int], enforcement: Enforcement
    ) -> None:
        settings = Settings(limits=limits, enforcement=enforcement)
        state = state_after(*(position(name, size) for name, size in held.items()))
        for name, size in contracts_kept(check(state, settings, review())):
            self.assertLess(size, held[name])
            state = state_after(position(name, size), state=state)
        self.assertEqual(check(state, settings, review()).commands, ())


class UnlistedTests(SynchronousTestCase):
    """Roots that the settings do not name."""

    def test_contracts_of_an_unlisted_root_are_closed(self) -> None:
        result = checked(state_after(position(RTY, 1)), limits={"MNQ": 2})
        self.assertEqual(
            flatten_of(result),
            Flatten(reason="RTY may not be held: 1 contract of RTY held", keep={RTY: 0}),
        )

    def test_unlisted_roots_may_have_a_limit(self) -> None:
        for size, expected in ((2, []), (3, [(RTY, 2)])):
            result = checked(
                state_after(position(RTY, size)), unknown_symbol_action="allow_with_limit:2"
            )
            self.assertEqual(contracts_kept(result), expected)

    def test_unlisted_roots_may_be_unlimited(self) -> None:
        state = state_after(position(RTY, 99), position(MNQ, 3))
        result = checked(state, limits={"MNQ": 2}, unknown_symbol_action="allow_unlimited")
        self.assertEqual(contracts_kept(result), [(MNQ, 2)])

    def test_an_unknown_contract_is_closed_only_after_five_seconds(self) -> None:
        state = state_after(position(UNKNOWN, 2, opened=10))
        early = checked(state, seconds=14.999)
        self.assertEqual((early.commands, early.wake_at), ((), at(15)))
        self.assertEqual(early.warnings, (f"{UNKNOWN}: not known yet, no limit is applied",))
        late = checked(state, seconds=15)
        self.assertEqual(
            (contracts_kept(late), late.wake_at, late.warnings), ([(UNKNOWN, 0)], None, ())
        )

    def test_a_contract_that_becomes_known_has_the_limit_of_its_root(self) -> None:
        known = Contract(
            id=UNKNOWN, name="znU5", tick_size=Decimal("0.015625"), tick_value=Decimal("15.625")
        )
        state = msgspec.structs.replace(
            state_after(position(UNKNOWN, 2)), contracts={UNKNOWN: known}
        )
        self.assertEqual(checked(state, limits={"ZN": 2}), NOTHING)
        self.assertEqual(contracts_kept(checked(state, limits={"ZN": 1})), [(UNKNOWN, 1)])

    def test_an_unknown_contract_does_not_protect_the_others(self) -> None:
        other = UNKNOWN.replace("U25", "Z25")
        state = state_after(
            position(UNKNOWN, 2, opened=3), position(other, 1, opened=2), position(MNQ, 3)
        )
        result = checked(state, seconds=4, limits={"MNQ": 2})
        self.assertEqual((contracts_kept(result), result.wake_at), ([(MNQ, 2)], at(7)))


class GaugeTests(SynchronousTestCase):
    """How far each root is from its limit."""

    def gauges(self, **settings: object) -> tuple[Gauge, ...]:
        state = state_after(position(RTY, 1, LONG), position(MNQ, 1), position(MNQ_DEC, 2))
        return gauges(state, settings_of(Settings, **settings), NOON)

    def test_each_root_that_is_listed_or_held_has_a_gauge(self) -> None:
        mnq = Gauge(name="MNQ contracts", limit=Decimal(4), current=Decimal(3), unit="contracts")
        es = Gauge(name="ES contracts", limit=Decimal(1), current=Decimal(0), unit="contracts")
        for action, limit, words in (
            ("block", None, "may not be held"),
            ("allow_unlimited", None, "no limit"),
            ("allow_with_limit:3", Decimal(3), ""),
        ):
            rty = Gauge(
                name="RTY contracts",
                limit=limit,
                current=Decimal(1),
                unit="contracts",
                words=words,
            )
            found = self.gauges(limits={"MNQ": 4, "ES": 1}, unknown_symbol_action=action)
            self.assertEqual(found, (mnq, es, rty))


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.limits, settings.enforcement, settings.unknown_symbol_action),
            ({}, Enforcement.REDUCE_TO_LIMIT, "block"),
        )

    def test_invalid_tables_are_rejected(self) -> None:
        for table, part in (
            ({"limits": {"MNQ": 0}}, "limits"),
            ({"limits": {"MNQ": True}}, "limits"),
            ({"limits": {"MNQ U5": 1}}, "limits"),
            ({"limits": {"ES": 1, "es": 2}}, "each root once, got ES, es"),
            ({"enforcement": "none"}, "enforcement"),
            ({"unknown_symbol_action": "allow"}, "got 'allow'"),
            ({"unknown_symbol_action": "allow_with_limit"}, "unknown_symbol_action"),
            ({"unknown_symbol_action": "allow_with_limit:0"}, "N from 1"),
            ({"unknown_symbol_action": "allow_with_limit:10000"}, "to 9999"),
            ({"unknown_symbol_action": "allow_with_limit:2x"}, "unknown_symbol_action"),
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(part, str(error))
