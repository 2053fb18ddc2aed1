"""RULE-005: a position is closed when it has made enough, or before a profit becomes a loss."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.events import Event
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
    flatten_of,
    kept,
    position,
    quote,
    quoted,
    review,
    settings_of,
    state_after,
    trigger,
    with_memory,
)

ONE_ES = position(ES, 1, SHORT, price="5800")
TWO_MNQ = position(MNQ, 2, price="21000")
STALE_MNQ = "MNQU5: the last quote is more than 10 s old"
BREAKEVEN = Settings(mode=Mode.BREAKEVEN)


def on_quote(state: AccountState, contract_id: str = ES, **settings: object) -> RuleResult:
    return check(state, settings_of(Settings, **settings), quoted(state, contract_id))


class TargetTests(SynchronousTestCase):
    """A target for each position."""

    def test_a_position_is_closed_at_the_target_to_the_tick(self) -> None:
        self.assertEqual(on_quote(state_after(ONE_ES, quote(ES, "5780.25"))), NOTHING)
        self.assertEqual(
            flatten_of(on_quote(state_after(ONE_ES, quote(ES, "5780")))),
            Flatten(reason="Profit target hit: ESU5 $1,000.00 (target $1,000.00)", keep={ES: 0}),
        )

    def test_to_the_cent(self) -> None:
        state = state_after(ONE_ES, quote(ES, "5799"))
        for target, breach in (("49.99", True), ("50.00", True), ("50.01", False)):
            self.assertEqual(bool(on_quote(state, profit_target=target).commands), breach)

    def test_a_loss_of_that_size_is_none(self) -> None:
        self.assertEqual(on_quote(state_after(ONE_ES, quote(ES, "5820"))), NOTHING)

    def test_a_quote_is_asked_about_its_own_contract_only(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5700"), quote(MNQ, "23000"))
        self.assertEqual(kept(on_quote(state, ES)), [(ES, 0)])
        self.assertEqual(kept(on_quote(state, MNQ)), [(MNQ, 0)])

    def test_a_position_or_a_review_is_asked_about_all(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5700"), quote(MNQ, "23000"))
        for kind in (Kind.POSITION, Kind.REVIEW):
            result = check(state, Settings(), trigger(kind))
            self.assertEqual([kept(result), len(result.commands)], [[(ES, 0), (MNQ, 0)], 2])

    def test_a_stale_quote_closes_nothing(self) -> None:
        state = state_after(ONE_ES, quote(ES, "5700"))
        for seconds, commands in ((10, 1), (10.001, 0)):
            result = check(state, Settings(), review(seconds))
            self.assertEqual(
                (len(result.commands), len(result.warnings)), (commands, 1 - commands)
            )

    def test_what_is_unknown_closes_nothing(self) -> None:
        state = state_after(ONE_ES, position(UNKNOWN, 1, price="1"), quote(UNKNOWN, "9999"))
        result = check(state, Settings(), review())
        self.assertEqual((result.commands, len(result.warnings)), ((), 2))

    def test_nothing_is_locked(self) -> None:
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

    def test_one_stale_quote_makes_all_wait(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5700", 20), quote(MNQ, "21000", 0))
        settings = Settings(scope=Scope.TOTAL)
        result = check(state, settings, quoted(state, ES, seconds=20))
        self.assertEqual((result.commands, result.warnings), ((), (STALE_MNQ,)))
        fresh = state_after(quote(MNQ, "21000", 10), state=state)
        self.assertEqual(len(check(fresh, settings, quoted(fresh, ES, 20)).commands), 1)

    def test_without_a_quote_a_position_counts_as_nothing(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5700"))
        result = on_quote(state, ES, scope="total")
        self.assertEqual((len(result.commands), len(result.warnings)), (1, 1))

    def test_an_empty_account_has_made_nothing(self) -> None:
        result = check(state_after(), settings_of(Settings, scope="total"), review())
        self.assertEqual(result, NOTHING)


class BreakevenTests(SynchronousTestCase):
    """A position that was in profit is closed when nothing of it is left."""

    def setUp(self) -> None:
        self.state = AccountState(account_id=123)

    def told(self, event: Event, *, seconds: float = 0) -> list[tuple[str, int]]:
        """Let the rule see an event; return what it closes."""
        self.state = state_after(event, state=self.state)
        kind = Kind.QUOTE if event.type == "MarketQuote" else Kind.POSITION
        result = check(self.state, BREAKEVEN, trigger(kind, seconds, event.data))
        self.state = with_memory(self.state, "RULE-005", result)
        return kept(result)

    def quoted(self, *prices: str, contract_id: str = MNQ) -> list[bool]:
        return [bool(self.told(quote(contract_id, last))) for last in prices]

    def test_a_new_position_does_not_die_at_birth(self) -> None:
        self.told(TWO_MNQ)
        self.assertEqual(self.quoted("21000", "20999", "20990"), [False, False, False])

    def test_a_tick_of_profit_arms_it(self) -> None:
        self.told(TWO_MNQ)
        self.assertEqual(
            self.quoted("21000.25", "21000.50", "21000.25", "21000", "20999"),
            [False, False, False, True, True],
        )

    def test_less_than_a_tick_does_not(self) -> None:
        self.told(position(MNQ, 2, price="21000.125"))
        self.assertEqual(self.quoted("21000.25", "21000"), [False, False])
        self.assertEqual(self.quoted("21000.50", "21000.25", "21000"), [False, False, True])

    def test_a_short_position_likewise(self) -> None:
        self.told(ONE_ES)
        self.assertEqual(self.quoted("5800.25", contract_id=ES), [False])
        self.assertEqual(self.quoted("5799.75", "5800", contract_id=ES), [False, True])

    def test_what_it_says(self) -> None:
        self.told(TWO_MNQ)
        self.quoted("21001", "20999")
        self.assertEqual(
            flatten_of(check(self.state, BREAKEVEN, quoted(self.state, MNQ))),
            Flatten(reason="Profit is gone: MNQU5 -$4.00", keep={MNQ: 0}),
        )

    def test_positions_are_armed_apart(self) -> None:
        for event in (TWO_MNQ, ONE_ES):
            self.told(event)
        self.quoted("21001")
        self.assertEqual(self.quoted("5801", contract_id=ES), [False])
        self.assertEqual(self.told(quote(MNQ, "21000")), [(MNQ, 0)])

    def test_a_scale_in_or_out_keeps_it_armed(self) -> None:
        for size, price in ((3, "21001"), (1, "21000")):
            self.setUp()
            self.told(TWO_MNQ)
            self.quoted("21010")
            self.told(position(MNQ, size, price=price))
            self.assertEqual(self.quoted(price), [True])

    def test_flat_disarms_it(self) -> None:
        self.told(TWO_MNQ)
        self.quoted("21001")
        self.told(position(MNQ, 0, price="21000"))
        self.quoted("20999")
        self.told(TWO_MNQ)
        self.assertEqual(self.quoted("21000"), [False])

    def test_a_flip_disarms_it(self) -> None:
        self.told(TWO_MNQ)
        self.quoted("21001")
        self.told(position(MNQ, 2, SHORT, price="21001"))
        self.assertEqual(self.quoted("21002"), [False])
        self.assertEqual(self.quoted("21000.75", "21001"), [False, True])

    def test_a_stale_quote_neither_arms_nor_fires(self) -> None:
        self.told(TWO_MNQ)
        self.told(quote(MNQ, "21001"), seconds=11)
        self.assertEqual(self.quoted("20999"), [False])
        self.quoted("21001")
        self.assertEqual(self.told(quote(MNQ, "20999"), seconds=11), [])
        self.assertEqual(self.told(quote(MNQ, "20998"), seconds=10), [(MNQ, 0)])

    def test_a_review_arms_and_fires_too(self) -> None:
        state = state_after(TWO_MNQ, quote(MNQ, "21001"))
        state = with_memory(state, "RULE-005", check(state, BREAKEVEN, review()))
        state = state_after(quote(MNQ, "21000"), state=state)
        self.assertEqual(kept(check(state, BREAKEVEN, review())), [(MNQ, 0)])

    def test_an_unknown_contract_is_never_armed(self) -> None:
        self.told(position(UNKNOWN, 1, price="1"))
        self.assertEqual(self.quoted("9", "1", contract_id=UNKNOWN), [False, False])

    def test_nothing_is_written_while_nothing_is_armed(self) -> None:
        state = state_after(TWO_MNQ, quote(MNQ, "20999"))
        self.assertEqual(check(state, BREAKEVEN, review()), NOTHING)

    @given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
    def test_it_fires_just_when_a_profit_is_gone(self, ticks: list[int]) -> None:
        self.setUp()
        self.told(position(MNQ, 3, LONG, "5000"))
        fired = self.quoted(*(str(5000 + tick * Decimal("0.25")) for tick in ticks))
        expected = [
            tick <= 0 and max(ticks[: number + 1]) > 0 for number, tick in enumerate(ticks)
        ]
        self.assertEqual(fired, expected)


class GaugeTests(SynchronousTestCase):
    """How far each position is from its target."""

    def test_each_position_has_one(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5790"))
        es = Gauge(name="open profit ESU5", limit=Decimal(1000), current=Decimal(500), unit="$")
        mnq = Gauge(name="open profit MNQU5", limit=Decimal(1000), unit="$", words="no quote yet")
        self.assertEqual(gauges(state, Settings(), NOON), (es, mnq))

    def test_or_all_have_one(self) -> None:
        state = state_after(ONE_ES, quote(ES, "5790"))
        expected = Gauge(name="open profit", limit=Decimal(1000), current=Decimal(500), unit="$")
        self.assertEqual(gauges(state, Settings(scope=Scope.TOTAL), NOON), (expected,))

    def test_breakeven_says_what_is_armed(self) -> None:
        state = state_after(ONE_ES, TWO_MNQ, quote(ES, "5790"))
        state = with_memory(state, "RULE-005", check(state, BREAKEVEN, review()))
        told = [(each.limit, each.words) for each in gauges(state, BREAKEVEN, NOON)]
        self.assertEqual(told, [(None, "armed"), (None, "not armed, no quote yet")])


class SettingsTests(SynchronousTestCase):
    """What the table may say."""

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

    def test_what_is_wrong_is_refused(self) -> None:
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
