"""RULE-005: a position is closed at its profit target, or before its profit becomes a loss."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.events import Event, MarketQuote
from riskd.rules.builtin.max_unrealized_profit import Mode, Settings, check, gauges
from riskd.rules.interface import NOTHING, Flatten, Gauge, Kind, RuleResult
from riskd.rules.settings import Scope
from tests.support.rules import (
    ES,
    LONG,
    MNQ,
    NOON,
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
    trigger,
    with_memory,
    without_headroom,
)

ONE_ES = position(ES, 1, SHORT, price="5800")
TWO_MNQ = position(MNQ, 2, price="21000")
STALE_MNQ = "MNQU5: the last quote is more than 10 s old"
BREAKEVEN = Settings(mode=Mode.BREAKEVEN)


def on_quote(state: AccountState, contract_id: str = ES, **settings: object) -> RuleResult:
    return without_headroom(
        check(state, settings_of(Settings, **settings), quote_trigger(state, contract_id))
    )


class TargetTests(SynchronousTestCase):
    """A target for each position."""

    def test_a_position_is_closed_at_the_target_to_the_tick(self) -> None:
        self.assertEqual(on_quote(state_after(ONE_ES, quote(ES, "5780.25"))), NOTHING)
        self.assertEqual(
            flatten_of(on_quote(state_after(ONE_ES, quote(ES, "5780")))),
            Flatten(reason="Profit target hit: ESU5 $1,000.00 (target $1,000.00)", keep={ES: 0}),
        )

    def test_the_limit_is_exact_to_the_cent(self) -> None:
        state = state_after(ONE_ES, quote(ES, "5799"))
        for target, breach in (("49.99", True), ("50.00", True), ("50.01", False)):
            self.assertEqual(bool(on_quote(state, profit_target=target).commands), breach)

    def test_a_loss_of_that_size_closes_nothing(self) -> None:
        self.assertEqual(on_quote(state_after(ONE_ES, quote(ES, "5820"))), NOTHING)

    def test_a_quote_checks_only_its_own_contract(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5700"), quote(MNQ, "23000"))
        self.assertEqual(contracts_kept(on_quote(state, ES)), [(ES, 0)])
        self.assertEqual(contracts_kept(on_quote(state, MNQ)), [(MNQ, 0)])

    def test_a_position_event_or_a_review_checks_all_positions(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5700"), quote(MNQ, "23000"))
        for kind in (Kind.POSITION, Kind.REVIEW):
            result = check(state, Settings(), trigger(kind))
            self.assertEqual(
                [contracts_kept(result), len(result.commands)], [[(ES, 0), (MNQ, 0)], 2]
            )

    def test_a_stale_quote_closes_nothing(self) -> None:
        state = state_after(ONE_ES, quote(ES, "5700"))
        for seconds, commands in ((10, 1), (10.001, 0)):
            result = check(state, Settings(), review(seconds))
            self.assertEqual(
                (len(result.commands), len(result.warnings)), (commands, 1 - commands)
            )

    def test_an_unknown_pnl_closes_nothing(self) -> None:
        state = state_after(ONE_ES, position(UNKNOWN, 1, price="1"), quote(UNKNOWN, "9999"))
        result = check(state, Settings(), review())
        self.assertEqual((result.commands, len(result.warnings)), ((), 2))

    def test_the_rule_sets_no_lock(self) -> None:
        self.assertIsNone(flatten_of(on_quote(state_after(ONE_ES, quote(ES, "5700")))).lock)


class TotalTests(SynchronousTestCase):
    """A target for all positions together."""

    def test_profits_and_losses_add_up(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5770"), quote(MNQ, "20875.25"))
        result = on_quote(state, MNQ, scope="total")
        self.assertEqual(
            flatten_of(result),
            Flatten(reason="Profit target hit: $1,001.00 in all (target $1,000.00)", keep=None),
        )
        for target, breach in (("1001.00", True), ("1001.01", False)):
            result = on_quote(state, ES, scope="total", profit_target=target)
            self.assertEqual(bool(result.commands), breach, target)

    def test_one_stale_quote_closes_nothing(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5700", 20), quote(MNQ, "21000", 0))
        settings = Settings(scope=Scope.TOTAL)
        result = check(state, settings, quote_trigger(state, ES, seconds=20))
        self.assertEqual((result.commands, result.warnings), ((), (STALE_MNQ,)))
        fresh = state_after(quote(MNQ, "21000", 10), state=state)
        self.assertEqual(len(check(fresh, settings, quote_trigger(fresh, ES, 20)).commands), 1)

    def test_a_position_without_a_quote_adds_nothing(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5700"))
        result = on_quote(state, ES, scope="total")
        self.assertEqual((len(result.commands), len(result.warnings)), (1, 1))

    def test_an_empty_account_reaches_no_target(self) -> None:
        result = check(state_after(), settings_of(Settings, scope="total"), review())
        self.assertEqual(without_headroom(result), NOTHING)


class BreakevenTests(SynchronousTestCase):
    """A position that was in profit is closed when no profit is left."""

    def setUp(self) -> None:
        self.state = AccountState(account_id=123)

    def receive(self, event: Event, *, seconds: float = 0) -> list[tuple[str, int]]:
        """Apply an event and check the rule; return the contracts that the rule keeps."""
        self.state = state_after(event, state=self.state)
        kind = Kind.QUOTE if isinstance(event.data, MarketQuote) else Kind.POSITION
        result = check(self.state, BREAKEVEN, trigger(kind, seconds, event.data))
        self.state = with_memory(self.state, "RULE-005", result)
        return contracts_kept(result)

    def closes_at(self, *prices: str, contract_id: str = MNQ) -> list[bool]:
        return [bool(self.receive(quote(contract_id, last))) for last in prices]

    def test_a_position_without_a_profit_is_never_closed(self) -> None:
        self.receive(TWO_MNQ)
        self.assertEqual(self.closes_at("21000", "20999", "20990"), [False, False, False])

    def test_a_tick_of_profit_arms_the_rule(self) -> None:
        self.receive(TWO_MNQ)
        self.assertEqual(
            self.closes_at("21000.25", "21000.50", "21000.25", "21000", "20999"),
            [False, False, False, True, True],
        )

    def test_less_than_a_tick_does_not_arm_the_rule(self) -> None:
        self.receive(position(MNQ, 2, price="21000.125"))
        self.assertEqual(self.closes_at("21000.25", "21000"), [False, False])
        self.assertEqual(self.closes_at("21000.50", "21000.25", "21000"), [False, False, True])

    def test_a_short_position_is_armed_by_a_lower_price(self) -> None:
        self.receive(ONE_ES)
        self.assertEqual(self.closes_at("5800.25", contract_id=ES), [False])
        self.assertEqual(self.closes_at("5799.75", "5800", contract_id=ES), [False, True])

    def test_the_reason_has_the_figures(self) -> None:
        self.receive(TWO_MNQ)
        self.closes_at("21001", "20999")
        self.assertEqual(
            flatten_of(check(self.state, BREAKEVEN, quote_trigger(self.state, MNQ))),
            Flatten(reason="Profit is gone: MNQU5 -$4.00", keep={MNQ: 0}),
        )

    def test_each_position_is_armed_by_itself(self) -> None:
        for event in (TWO_MNQ, ONE_ES):
            self.receive(event)
        self.closes_at("21001")
        self.assertEqual(self.closes_at("5801", contract_id=ES), [False])
        self.assertEqual(self.receive(quote(MNQ, "21000")), [(MNQ, 0)])

    def test_a_change_of_size_keeps_a_position_armed(self) -> None:
        for size, price in ((3, "21001"), (1, "21000")):
            self.setUp()
            self.receive(TWO_MNQ)
            self.closes_at("21010")
            self.receive(position(MNQ, size, price=price))
            self.assertEqual(self.closes_at(price), [True])

    def test_a_closed_position_is_disarmed(self) -> None:
        self.receive(TWO_MNQ)
        self.closes_at("21001")
        self.receive(position(MNQ, 0, price="21000"))
        self.closes_at("20999")
        self.receive(TWO_MNQ)
        self.assertEqual(self.closes_at("21000"), [False])

    def test_the_next_position_is_not_armed_even_if_the_end_of_the_first_was_not_reported(
        self,
    ) -> None:
        self.receive(TWO_MNQ)
        self.closes_at("21001")
        self.receive(position(MNQ, 2, price="21000", opened=5))
        self.assertEqual(self.closes_at("20999"), [False])

    def test_a_memory_of_an_earlier_version_stays_armed(self) -> None:
        self.receive(TWO_MNQ)
        armed = RuleResult(memory='{"armed":{"CON.F.US.MNQ.U25":1}}')
        self.state = with_memory(self.state, "RULE-005", armed)
        self.assertEqual(self.closes_at("21000"), [True])

    def test_a_reversed_position_is_disarmed(self) -> None:
        self.receive(TWO_MNQ)
        self.closes_at("21001")
        self.receive(position(MNQ, 2, SHORT, price="21001"))
        self.assertEqual(self.closes_at("21002"), [False])
        self.assertEqual(self.closes_at("21000.75", "21001"), [False, True])

    def test_a_stale_quote_neither_arms_nor_closes(self) -> None:
        self.receive(TWO_MNQ)
        self.receive(quote(MNQ, "21001"), seconds=11)
        self.assertEqual(self.closes_at("20999"), [False])
        self.closes_at("21001")
        self.assertEqual(self.receive(quote(MNQ, "20999"), seconds=11), [])
        self.assertEqual(self.receive(quote(MNQ, "20998"), seconds=10), [(MNQ, 0)])

    def test_a_review_arms_and_closes(self) -> None:
        state = state_after(TWO_MNQ, quote(MNQ, "21001"))
        state = with_memory(state, "RULE-005", check(state, BREAKEVEN, review()))
        state = state_after(quote(MNQ, "21000"), state=state)
        self.assertEqual(contracts_kept(check(state, BREAKEVEN, review())), [(MNQ, 0)])

    def test_an_unknown_contract_is_never_armed(self) -> None:
        self.receive(position(UNKNOWN, 1, price="1"))
        self.assertEqual(self.closes_at("9", "1", contract_id=UNKNOWN), [False, False])

    def test_no_memory_is_written_while_nothing_is_armed(self) -> None:
        state = state_after(TWO_MNQ, quote(MNQ, "20999"))
        self.assertEqual(without_headroom(check(state, BREAKEVEN, review())), NOTHING)

    @given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
    def test_the_rule_closes_exactly_when_a_profit_is_gone(self, ticks: list[int]) -> None:
        self.setUp()
        self.receive(position(MNQ, 3, LONG, "5000"))
        fired = self.closes_at(*(str(5000 + tick * Decimal("0.25")) for tick in ticks))
        expected = [
            tick <= 0 and max(ticks[: number + 1]) > 0 for number, tick in enumerate(ticks)
        ]
        self.assertEqual(fired, expected)


class GaugeTests(SynchronousTestCase):
    """How far each position is from its target."""

    def test_each_position_has_a_gauge(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5790"))
        es = Gauge(name="open profit ESU5", limit=Decimal(1000), current=Decimal(500), unit="$")
        mnq = Gauge(name="open profit MNQU5", limit=Decimal(1000), unit="$", words="no quote yet")
        self.assertEqual(gauges(state, Settings(), NOON), (es, mnq))

    def test_all_positions_together_have_one_gauge(self) -> None:
        state = state_after(ONE_ES, quote(ES, "5790"))
        expected = Gauge(name="open profit", limit=Decimal(1000), current=Decimal(500), unit="$")
        self.assertEqual(gauges(state, Settings(scope=Scope.TOTAL), NOON), (expected,))

    def test_breakeven_gauges_say_which_positions_are_armed(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5790"))
        state = with_memory(state, "RULE-005", check(state, BREAKEVEN, review()))
        found = [(each.limit, each.words) for each in gauges(state, BREAKEVEN, NOON)]
        self.assertEqual(found, [(None, "armed"), (None, "not armed, no quote yet")])


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.mode, settings.profit_target, settings.scope, settings.action),
            (
                Mode.PROFIT_TARGET,
                Decimal("1000.00"),
                Scope.PER_POSITION,
                "CLOSE_POSITION",
            ),
        )

    def test_invalid_tables_are_rejected(self) -> None:
        tables: tuple[tuple[dict[str, object], str], ...] = (
            ({"profit_target": 0}, "profit_target: expected an amount above zero, got 0"),
            ({"profit_target": -1}, "profit_target"),
            ({"mode": "target"}, "mode"),
            ({"action": "CLOSE_ALL_AND_LOCKOUT"}, "action"),
            ({"scope": "all"}, "scope"),
            (
                {"mode": "breakeven", "scope": "total"},
                "scope: expected per_position with mode breakeven, got total",
            ),
        )
        for table, part in tables:
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(part, str(error))
