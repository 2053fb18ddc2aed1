"""RULE-004: the largest open loss of a position, or of all positions together."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.rules.builtin.daily_unrealized_loss import Action, Settings, check, gauges
from riskd.rules.interface import NOTHING, Flatten, Gauge, Kind, Lock, RuleResult
from riskd.rules.settings import LockoutUntil, Scope
from tests.support.rules import (
    ES,
    MNQ,
    NOON,
    RESET,
    SHORT,
    UNKNOWN,
    contracts_kept,
    flatten_of,
    position,
    quote,
    quote_trigger,
    review,
    settings_of,
    state_after,
    trade,
    trigger,
    without_headroom,
)

TWO_MNQ = position(MNQ, 2, price="21000")
ONE_ES = position(ES, 1, SHORT, price="5800")


def on_quote(state: AccountState, contract_id: str = MNQ, **settings: object) -> RuleResult:
    return without_headroom(
        check(state, settings_of(Settings, **settings), quote_trigger(state, contract_id))
    )


def on_review(state: AccountState, seconds: float = 0, **settings: object) -> RuleResult:
    return without_headroom(check(state, settings_of(Settings, **settings), review(seconds)))


class PositionTests(SynchronousTestCase):
    """A limit for each position."""

    def test_a_position_is_closed_at_the_limit_to_the_tick(self) -> None:
        self.assertEqual(on_quote(state_after(TWO_MNQ, quote(MNQ, "20925.25"))), NOTHING)
        result = on_quote(state_after(TWO_MNQ, quote(MNQ, "20925")))
        self.assertEqual(
            flatten_of(result),
            Flatten(reason="Open loss limit hit: MNQU5 -$300.00 (limit $300.00)", keep={MNQ: 0}),
        )

    def test_the_limit_is_exact_to_the_cent(self) -> None:
        # An average between two ticks.
        for price, breach in (("21000.005", False), ("21000.01", True), ("21000.015", True)):
            state = state_after(position(MNQ, 1, price=price), quote(MNQ, "20850"))
            self.assertEqual(bool(on_quote(state, loss_limit="300.02").commands), breach, price)

    def test_a_short_position_loses_upwards(self) -> None:
        for last, breach in (("5805.75", False), ("5806", True), ("5794", False)):
            state = state_after(ONE_ES, quote(ES, last))
            self.assertEqual(bool(on_quote(state, ES).commands), breach, last)

    def test_each_position_has_the_limit_for_itself(self) -> None:
        state = state_after(TWO_MNQ, ONE_ES, quote(MNQ, "20950"), quote(ES, "5805"))
        self.assertEqual(on_review(state), NOTHING)
        state = state_after(quote(MNQ, "20900"), quote(ES, "5700"), state=state)
        self.assertEqual(contracts_kept(on_review(state)), [(MNQ, 0)])

    def test_a_quote_checks_only_its_own_contract(self) -> None:
        state = state_after(TWO_MNQ, ONE_ES, quote(MNQ, "20000"), quote(ES, "5900"))
        self.assertEqual(contracts_kept(on_quote(state, MNQ)), [(MNQ, 0)])
        self.assertEqual(contracts_kept(on_quote(state, ES)), [(ES, 0)])

    def test_a_position_event_or_a_review_checks_all_positions(self) -> None:
        state = state_after(TWO_MNQ, ONE_ES, quote(MNQ, "20000"), quote(ES, "5900"))
        for kind in (Kind.POSITION, Kind.REVIEW):
            result = check(state, Settings(), trigger(kind))
            self.assertEqual(
                [contracts_kept(result), len(result.commands)], [[(MNQ, 0), (ES, 0)], 2]
            )

    def test_a_closed_position_loses_nothing(self) -> None:
        state = state_after(position(MNQ, 0), quote(MNQ, "1"))
        self.assertEqual(on_quote(state), NOTHING)
        self.assertEqual(on_review(state), NOTHING)

    def test_realized_losses_do_not_count(self) -> None:
        state = state_after(trade(1, "-1000"), TWO_MNQ, quote(MNQ, "20925.25"))
        for scope in Scope:
            self.assertEqual(on_quote(state, scope=scope), NOTHING)

    def test_the_rule_sets_no_lock(self) -> None:
        self.assertIsNone(flatten_of(on_quote(state_after(TWO_MNQ, quote(MNQ, "1")))).lock)


class TotalTests(SynchronousTestCase):
    """A limit for all positions together."""

    def test_profits_and_losses_add_up(self) -> None:
        state = state_after(TWO_MNQ, ONE_ES, quote(MNQ, "20900"), quote(ES, "5797.75"))
        self.assertEqual(on_quote(state, ES, scope="total"), NOTHING)
        state = state_after(quote(ES, "5798"), state=state)
        for contract_id in (MNQ, ES):
            self.assertEqual(
                flatten_of(on_quote(state, contract_id, scope="total")),
                Flatten(reason="Open loss limit hit: -$300.00 in all (limit $300.00)", keep=None),
            )

    def test_the_rule_locks_where_the_settings_say_so(self) -> None:
        state = state_after(TWO_MNQ, quote(MNQ, "20925"))
        for table, lock in (
            ({}, None),
            ({"lockout_until": "permanent"}, None),
            ({"lockout": True}, Lock(until=RESET)),
            ({"action": "CLOSE_ALL_AND_LOCKOUT"}, Lock(until=RESET)),
            ({"lockout": True, "lockout_until": "permanent"}, Lock(until=None)),
        ):
            self.assertEqual(flatten_of(on_quote(state, scope="total", **table)).lock, lock)

    @given(
        st.lists(
            st.tuples(
                st.integers(1, 5), st.integers(-400, 400), st.sampled_from([MNQ, ES, UNKNOWN])
            ),
            max_size=6,
        ),
        st.integers(1, 2000),
    )
    def test_the_rule_acts_exactly_when_the_sum_reaches_the_limit(
        self, held: list[tuple[int, int, str]], limit: int
    ) -> None:
        state = AccountState(account_id=123)
        dollars = {}
        for second, (size, ticks, name) in enumerate(held):
            tick_value = {MNQ: Decimal("0.50"), ES: Decimal("12.50"), UNKNOWN: Decimal(0)}[name]
            dollars[name] = ticks * size * tick_value
            last = str(5000 + ticks * Decimal("0.25"))
            state = state_after(
                position(name, size, price="5000"), quote(name, last, second), state=state
            )
        is_breach = sum(dollars.values()) <= -limit
        result = on_review(state, scope="total", loss_limit=limit)
        self.assertEqual(bool(result.commands), is_breach)
        (gauge,) = gauges(state, Settings(scope=Scope.TOTAL), NOON)
        self.assertEqual(gauge.current, -sum(dollars.values()))


class WarningTests(SynchronousTestCase):
    """Positions whose P&L is unknown or may be outdated."""

    def test_an_old_quote_is_used_with_a_warning(self) -> None:
        state = state_after(TWO_MNQ, quote(MNQ, "20925"))
        old = "MNQU5: the last quote is more than 10 s old"
        for seconds, warnings in ((10, ()), (10.001, (old,))):
            result = on_review(state, seconds)
            self.assertEqual((len(result.commands), result.warnings), (1, warnings))

    def test_a_position_without_a_quote_adds_nothing(self) -> None:
        state = state_after(TWO_MNQ, ONE_ES, quote(MNQ, "20925"))
        for scope in Scope:
            result = on_quote(state, scope=scope)
            self.assertEqual(len(result.commands), 1)
            self.assertEqual(result.warnings, ("ESU5: no quote yet, its P&L is unknown",))
        self.assertEqual(on_review(state_after(ONE_ES)).commands, ())

    def test_a_position_without_a_tick_size_adds_nothing(self) -> None:
        state = state_after(position(UNKNOWN, 2), quote(UNKNOWN, "1"))
        for scope in Scope:
            result = on_quote(state, UNKNOWN, scope=scope)
            self.assertEqual(result.commands, ())
            self.assertEqual(
                result.warnings, (f"{UNKNOWN}: tick size unknown, its P&L is unknown",)
            )

    def test_a_closed_position_has_no_warning(self) -> None:
        self.assertEqual(on_review(state_after(position(MNQ, 0))).warnings, ())


class GaugeTests(SynchronousTestCase):
    """How far the account is from the limit."""

    def test_each_position_has_a_gauge(self) -> None:
        state = state_after(TWO_MNQ, ONE_ES, quote(MNQ, "20950"))
        self.assertEqual(
            gauges(state, Settings(), NOON),
            (
                Gauge(
                    name="open loss MNQU5",
                    limit=Decimal(300),
                    current=Decimal(200),
                    unit="$",
                ),
                Gauge(name="open loss ESU5", limit=Decimal(300), unit="$", words="no quote yet"),
            ),
        )

    def test_all_positions_together_have_one_gauge(self) -> None:
        state = state_after(TWO_MNQ, ONE_ES, quote(MNQ, "21050"))
        (gauge,) = gauges(state, Settings(scope=Scope.TOTAL), NOON)
        self.assertEqual((gauge.name, gauge.current), ("open loss", Decimal(-200)))


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.loss_limit, settings.scope, settings.action, settings.lockout),
            (Decimal("300.00"), Scope.PER_POSITION, Action.CLOSE_POSITION, False),
        )
        self.assertEqual(settings.lockout_until, LockoutUntil.DAILY_RESET)

    def test_invalid_tables_are_rejected(self) -> None:
        tables: tuple[tuple[dict[str, object], str], ...] = (
            ({"loss_limit": 0}, "loss_limit: expected an amount above zero, got 0"),
            ({"loss_limit": True}, "loss_limit"),
            ({"scope": "all"}, "scope"),
            ({"action": "CLOSE_ALL_POSITIONS"}, "action"),
            (
                {"lockout": True},
                "lockout: expected false with scope per_position, got true",
            ),
            (
                {"action": "CLOSE_ALL_AND_LOCKOUT"},
                "action: expected CLOSE_POSITION with scope per_position, got CLOSE_ALL",
            ),
        )
        for table, part in tables:
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(part, str(error))
