"""RULE-019: what a single order may be."""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, with_risk
from riskd.model.balance import Execution, Leg, Result
from riskd.model.events import Event, OrderSide, OrderState, OrderType, PositionType
from riskd.model.money import ZERO
from riskd.rules.builtin.order_limits import RULE, Settings, check, gauges
from riskd.rules.interface import Command, Flatten, RejectOrder, RuleResult, Trigger
from tests import examples
from tests.support.rules import (
    BUY,
    ES,
    LONG,
    MES,
    MNQ,
    MNQ_DEC,
    NOON,
    SELL,
    SHORT,
    UNKNOWN,
    at,
    canceled,
    order,
    position,
    quote,
    review,
    settings_of,
    state_after,
    timer,
    trigger_of,
    with_memory,
)

MAX = settings_of(Settings, max_size=5)
BAND = settings_of(Settings, price_band_ticks=40)
LOSERS = settings_of(Settings, no_adding_to_losers=True)
OPPOSITE = settings_of(Settings, no_opposite_micros=True)

TOO_LARGE = "Order too large: order to buy 6 MNQU5 (limit 5 contracts)"


def limit(number: int, side: OrderSide, price: str, size: int = 1, **more: Any) -> Event:
    return order(number, side=side, size=size, kind=OrderType.LIMIT, price=price, **more)


def market(number: int, side: OrderSide, size: int, contract_id: str = MNQ, **more: Any) -> Event:
    return order(number, contract_id, side, size, kind=OrderType.MARKET, **more)


def filled(event: Event, seconds: float = 0) -> Event:
    """Return the event of the end of an order that is filled."""
    data = msgspec.structs.replace(
        event.data,
        state=OrderState.FILLED,
        filled=event.data.size,  # type: ignore[union-attr]
        updated_at=at(seconds),
    )
    return Event(event.account_id, data)


def executed(state: AccountState, order_id: int, price: str) -> AccountState:
    """Return the account after the broker has reported the price of an order's fill."""
    execution = Execution(contract_id=MNQ, size=1, side=BUY, price=Decimal(price))
    result = Result(at(1), ZERO, order_id, Leg.BUY_TO_OPEN, execution)
    return with_risk(state, results={1: result})


def side_of(size: int) -> PositionType:
    return LONG if size >= 0 else SHORT


class Course:
    """An account whose rule remembers.

    :ivar result: what the rule returned last.
    """

    def __init__(self, settings: Settings, *events: Event) -> None:
        self.settings = settings
        self.state: AccountState = state_after(*events)

    def then(self, event: Event, seconds: float = 0) -> tuple[Command, ...]:
        self.state = state_after(event, state=self.state)
        return self.check(trigger_of(event, seconds))

    def check(self, trigger: Trigger) -> tuple[Command, ...]:
        self.result: RuleResult = check(self.state, self.settings, trigger)
        self.state = with_memory(self.state, RULE.rule_id, self.result)
        return self.result.commands


def commands(settings: Settings, event: Event, *before: Event) -> tuple[Command, ...]:
    """Return what the rule does about the last event of an account."""
    return Course(settings, *before).then(event)


class SizeTests(SynchronousTestCase):
    """``max_size``."""

    def test_an_order_of_the_limit_may_work_and_a_larger_one_may_not(self) -> None:
        self.assertEqual(commands(MAX, market(7, BUY, 5)), ())
        rejection = RejectOrder(reason=TOO_LARGE, order_id=7)
        self.assertEqual(commands(MAX, market(7, BUY, 6)), (rejection,))
        self.assertEqual(commands(settings_of(Settings), market(7, BUY, 6)), ())

    def test_a_review_checks_all_orders(self) -> None:
        state = state_after(market(7, BUY, 6), market(8, BUY, 5), market(9, SELL, 7))
        rejected = [each.order_id for each in check(state, MAX, review()).commands]  # type: ignore[union-attr]
        self.assertEqual(rejected, [7, 9])

    def test_the_suspended_exits_of_an_entry_are_no_entries(self) -> None:
        held = position(ES, 1)
        exit_ = order(8, MES, SELL, 1, is_open=False)
        self.assertEqual(commands(OPPOSITE, exit_, held), ())
        opened = order(8, MES, SELL, 1, seconds=1)
        entered = filled(market(7, BUY, 1, MES))
        course = Course(OPPOSITE, held, exit_)
        course.then(entered)
        # The position that it closes is reported last.
        self.assertEqual(course.then(opened, 1), ())
        self.assertEqual(len(commands(OPPOSITE, opened, held)), 1)

    def test_an_order_that_only_closes_may_have_any_size(self) -> None:
        self.assertEqual(commands(MAX, market(7, SELL, 8), position(MNQ, 8)), ())
        self.assertEqual(commands(MAX, market(7, BUY, 8), position(MNQ, 8, SHORT)), ())
        self.assertEqual(len(commands(MAX, market(7, SELL, 8), position(MNQ, 7))), 1)
        self.assertEqual(len(commands(MAX, market(7, BUY, 6), position(MNQ, 8))), 1)
        self.assertEqual(len(commands(MAX, market(7, SELL, 6, MNQ_DEC), position(MNQ, 8))), 1)

    def test_what_was_filled_is_closed_back_to_the_size_before(self) -> None:
        for held, side, after, kept in (
            (0, BUY, 6, 0),
            (2, BUY, 8, 2),
            (2, SELL, -6, 0),
            (-1, SELL, -9, 1),
        ):
            with self.subTest(held=held):
                before = position(MNQ, abs(held), LONG if held >= 0 else SHORT)
                course = Course(MAX, *([before] if held else []))
                self.assertEqual(course.then(filled(market(7, side, abs(after - held)))), ())
                grown = position(MNQ, abs(after), LONG if after > 0 else SHORT, seconds=1)
                (command,) = course.then(grown, 1)
                assert isinstance(command, Flatten)
                self.assertEqual(command.keep, {MNQ: kept})
                self.assertIn("Order too large", command.reason)
                self.assertEqual(course.check(review(2)), (command,))
                closed = position(MNQ, kept, grown.data.type, seconds=3)  # type: ignore[union-attr]
                self.assertEqual(course.then(closed, 3), ())
                # What the trader opens afterwards is another matter.
                self.assertEqual(course.then(position(MNQ, 5, seconds=4), 4), ())

    def test_a_position_that_is_reported_before_its_order_is_closed(self) -> None:
        course = Course(MAX, position(MNQ, 2))
        course.check(review())
        course.then(position(MNQ, 8, seconds=1), 1)
        (command,) = course.then(filled(market(7, BUY, 6), 1), 2)
        self.assertEqual(command, Flatten(reason=TOO_LARGE, keep={MNQ: 2}))

    def test_orders_may_be_reported_long_before_their_positions(self) -> None:
        course = Course(MAX)
        self.assertEqual(course.then(filled(market(7, BUY, 2))), ())
        self.assertEqual(course.then(filled(market(8, BUY, 6))), ())
        (command,) = course.then(position(MNQ, 8, seconds=1), 1)
        self.assertEqual(command, Flatten(reason=TOO_LARGE, keep={MNQ: 2}))

    def test_an_exit_that_is_reported_after_its_position_opens_nothing(self) -> None:
        course = Course(MAX, position(MNQ, 8))
        course.check(review())
        course.then(position(MNQ, 0, seconds=1), 1)
        course.then(filled(market(7, SELL, 8), 1), 1.5)
        self.assertEqual(course.then(position(MNQ, 2, SHORT, seconds=2), 2), ())

    def test_the_parts_of_an_order_are_closed_while_it_is_canceled(self) -> None:
        course = Course(MAX, position(MNQ, 1))
        buy = limit(7, BUY, "20900", 6)
        rejection = RejectOrder(reason=TOO_LARGE, order_id=7)
        self.assertEqual(course.then(buy), (rejection,))
        part = limit(7, BUY, "20900", 6, filled=2, seconds=1)
        self.assertEqual(course.then(part, 1), (rejection,))
        back = Flatten(reason=TOO_LARGE, keep={MNQ: 1})
        self.assertEqual(course.then(position(MNQ, 3, seconds=2), 2), (rejection, back))
        self.assertEqual(course.then(canceled(part, 3), 3), (back,))
        self.assertEqual(course.then(position(MNQ, 1, seconds=4), 4), ())

    def test_what_the_trader_has_closed_already_is_not_closed_again(self) -> None:
        course = Course(MAX, position(MNQ, 1))
        course.then(filled(market(7, BUY, 6)))
        back = Flatten(reason=TOO_LARGE, keep={MNQ: 1})
        self.assertEqual(course.then(position(MNQ, 7, seconds=1), 1), (back,))
        part = limit(8, SELL, "20900", 6, filled=5, seconds=1)
        self.assertEqual(course.then(part, 1.1), (back,))
        # His own exit is filled, and the position follows a moment later.
        self.assertEqual(course.then(filled(part, 1.1), 1.2), ())
        self.assertEqual(course.then(market(9, BUY, 1, seconds=1.3), 1.3), ())
        self.assertEqual(course.then(filled(market(9, BUY, 1), 1.3), 1.4), ())
        self.assertEqual(course.then(position(MNQ, 1, seconds=1.5), 1.5), ())
        self.assertEqual(course.then(position(MNQ, 2, seconds=1.5), 1.5), ())

    def test_a_forbidden_order_that_reverses_what_another_one_has_filled_is_closed(self) -> None:
        course = Course(MAX)
        course.then(filled(market(7, BUY, 6)))
        self.assertEqual(course.then(filled(market(8, SELL, 12)), 0.1), ())
        self.assertEqual(course.then(position(MNQ, 6, seconds=0.2), 0.2), ())
        (command,) = course.then(position(MNQ, 6, SHORT, seconds=0.3), 0.3)
        assert isinstance(command, Flatten)
        self.assertEqual(command.keep, {MNQ: 0})
        self.assertIn("order to sell 12", command.reason)

    def test_an_exit_may_work_although_the_news_of_an_entry_was_lost(self) -> None:
        course = Course(MAX, position(MNQ, 3))
        course.check(review())
        course.then(position(MNQ, 7, seconds=1), 1)
        self.assertEqual(course.then(order(8, MNQ, SELL, 7, seconds=2), 2), ())
        self.assertEqual(course.check(review(4)), ())

    @settings(max_examples=examples(500), deadline=None)
    @given(
        st.integers(-5, 5),
        st.sampled_from([1, -1]),
        st.integers(6, 9),
        st.lists(st.integers(-5, 5).filter(bool), max_size=5),
        st.sampled_from([0.01, 0.5, 4.5]),
        st.randoms(),
    )
    def test_what_is_closed_is_only_what_a_forbidden_order_has_filled(
        self,
        held: int,
        side: int,
        size: int,
        later: list[int],
        seconds: float,
        random: Any,
    ) -> None:
        """The news of orders and those of positions each come in order, and all of them in time."""
        sizes = [side * size, *later]
        positions = [held + each for each in accumulate(sizes)]
        most = max(0, side * held)
        # An order of this size that only closes is allowed.
        has_opened = abs(positions[0]) > abs(held) or positions[0] * held < 0
        closed = [number for number, each in enumerate(positions, 1) if side * each <= most]
        news: dict[str, list[Event]] = {
            "orders": [
                filled(market(number, BUY if each > 0 else SELL, abs(each)))
                for number, each in enumerate(sizes, 7)
            ],
            "positions": [position(MNQ, abs(each), side_of(each)) for each in positions],
        }
        course = Course(MAX, *([position(MNQ, abs(held), side_of(held))] if held else []))
        course.check(review())
        reported, commands, number = dict.fromkeys(news, 0), (), 0
        while any(news.values()):
            stream = random.choice([name for name, left in news.items() if left])
            reported[stream] += 1
            number += 1
            commands = course.then(news[stream].pop(0), seconds * number / 12)
            if not has_opened or (closed and max(reported.values()) >= closed[0]):
                self.assertEqual(commands, ())
        exits = -side * sum(each for each in later if each * side < 0)
        if has_opened and exits < side * positions[0] - most:
            self.assertEqual([each.keep for each in commands], [{MNQ: most}])  # type: ignore[union-attr]

    def test_what_was_never_reported_is_forgotten(self) -> None:
        course = Course(MAX)
        course.then(filled(market(7, BUY, 6)))
        self.assertEqual(course.then(position(MNQ, 5, seconds=5), 5), ())

    @given(st.integers(-9, 9), st.sampled_from([BUY, SELL]), st.integers(1, 12))
    def test_an_order_is_forbidden_if_it_is_too_large_and_opens_anything(
        self, held: int, side: OrderSide, size: int
    ) -> None:
        before = [position(MNQ, abs(held), LONG if held > 0 else SHORT)] if held else []
        after = held + (size if side is BUY else -size)
        opens = abs(after) > abs(held) or after * held < 0
        self.assertEqual(bool(commands(MAX, market(7, side, size), *before)), opens and size > 5)


class PriceBandTests(SynchronousTestCase):
    """``price_band_ticks``."""

    def test_a_price_at_the_end_of_the_band_may_work_and_the_next_one_may_not(self) -> None:
        for price, is_forbidden in (
            ("21010", False),
            ("21010.25", True),
            ("20990", False),
            ("20989.75", True),
        ):
            for side in (BUY, SELL):
                found = commands(BAND, limit(7, side, price), quote(MNQ, "21000"))
                self.assertEqual(bool(found), is_forbidden, price)
        (command,) = commands(BAND, limit(7, BUY, "21010.25"), quote(MNQ, "21000"))
        reason = (
            "Limit price 21010.25 too far from the last price 21000: order to buy 1 MNQU5 "
            "(limit 40 ticks)"
        )
        self.assertEqual(command, RejectOrder(reason=reason, order_id=7))

    def test_the_price_counts_when_the_order_is_placed_or_moved(self) -> None:
        course = Course(BAND, quote(MNQ, "21000"))
        self.assertEqual(course.then(limit(7, BUY, "20995")), ())
        course.then(position(MNQ, 1, seconds=1), 1)
        course.state = state_after(quote(MNQ, "21100", 2), state=course.state)
        self.assertEqual(course.check(review(2)), ())
        self.assertEqual(len(course.then(limit(7, BUY, "20996", seconds=3), 3)), 1)

    def test_stops_market_orders_and_exits_have_no_band(self) -> None:
        at_21000 = quote(MNQ, "21000")
        self.assertEqual(commands(BAND, order(7, side=BUY, price="21500"), at_21000), ())
        self.assertEqual(commands(BAND, market(7, BUY, 1), at_21000), ())
        leave = limit(7, SELL, "21500")
        self.assertEqual(commands(BAND, leave, at_21000, position(MNQ, 1)), ())

    def test_without_a_price_it_warns_and_checks_again_within_a_second(self) -> None:
        for before in ((), (quote(MNQ, "0"),)):
            state = state_after(*before, limit(7, BUY, "20900"))
            result = check(state, BAND, review())
            self.assertEqual((result.commands, result.wake_at), ((), at(1)))
            self.assertEqual(
                result.warnings,
                ("Order 7 in MNQU5 cannot be checked yet: no price is known",),
            )
            later = state_after(quote(MNQ, "21000", 1), state=state)
            self.assertEqual(len(check(later, BAND, timer(1)).commands), 1)
        unknown = state_after(
            order(7, UNKNOWN, BUY, kind=OrderType.LIMIT), quote(UNKNOWN, "20900")
        )
        self.assertEqual(len(check(unknown, BAND, review()).warnings), 1)

    def test_an_order_that_is_filled_before_a_price_is_known_is_checked_later(self) -> None:
        for last, is_forbidden in (("21000", False), ("20900", True)):
            course = Course(BAND)
            self.assertEqual(course.then(filled(limit(7, BUY, "21010"))), ())
            self.assertEqual(course.then(position(MNQ, 1, seconds=1), 1), ())
            course.state = state_after(quote(MNQ, last, 2), state=course.state)
            found = course.check(timer(2))
            self.assertEqual([each.keep for each in found], [{MNQ: 0}] * is_forbidden)  # type: ignore[union-attr]
        late = Course(BAND)
        late.then(filled(limit(7, BUY, "21010")))
        late.then(position(MNQ, 1, seconds=1), 1)
        late.state = state_after(quote(MNQ, "20900", 5), state=late.state)
        self.assertEqual(late.check(timer(5)), ())


class LoserTests(SynchronousTestCase):
    """``no_adding_to_losers``."""

    def test_an_order_may_add_at_the_entry_and_not_a_tick_worse(self) -> None:
        for side, add, worse in ((LONG, BUY, "20999.75"), (SHORT, SELL, "21000.25")):
            held = position(MNQ, 1, side)
            for price, is_forbidden in (("21000", False), (worse, True)):
                found = commands(LOSERS, market(7, add, 1), held, quote(MNQ, price))
                self.assertEqual(bool(found), is_forbidden, (side, price))
        (command,) = commands(LOSERS, market(7, BUY, 1), position(MNQ, 1), quote(MNQ, "20999.75"))
        reason = "Adding to a losing position: order to buy 1 MNQU5 at 20999.75 (entry 21000)"
        self.assertEqual(command, RejectOrder(reason=reason, order_id=7))

    def test_the_price_of_the_fill_counts(self) -> None:
        held, up, down = position(MNQ, 1), quote(MNQ, "21010"), quote(MNQ, "20990")
        for event, before, is_forbidden in (
            # A limit below the entry is filled at a loss, whatever the profit is now.
            (limit(7, BUY, "20999"), up, True),
            (limit(7, BUY, "21000"), up, False),
            # One above the market is filled at the market.
            (limit(7, BUY, "21005"), down, True),
            # A stop above the entry is filled in a profit, whatever the loss is now.
            (order(7, side=BUY, price="21005"), down, False),
            (order(7, side=BUY, price="20995"), down, True),
            (order(7, side=BUY, price="20995"), up, False),
        ):
            found = commands(LOSERS, event, held, before)
            self.assertEqual(bool(found), is_forbidden, event)

    def test_entries_and_exits_add_nothing(self) -> None:
        loses = quote(MNQ, "20900")
        self.assertEqual(commands(LOSERS, market(7, BUY, 1), loses), ())
        self.assertEqual(commands(LOSERS, market(7, SELL, 3), position(MNQ, 1), loses), ())
        self.assertEqual(commands(LOSERS, market(7, BUY, 1, ES), position(MNQ, 1), loses), ())

    def test_what_was_added_is_closed(self) -> None:
        course = Course(LOSERS, position(MNQ, 2), quote(MNQ, "20990"))
        self.assertEqual(course.then(filled(market(7, BUY, 1))), ())
        (command,) = course.then(position(MNQ, 3, seconds=1), 1)
        assert isinstance(command, Flatten)
        self.assertEqual(command.keep, {MNQ: 2})

    def test_what_was_added_is_closed_if_its_position_is_reported_first(self) -> None:
        for placed in (False, True):
            course = Course(LOSERS, position(MNQ, 2), quote(MNQ, "20990"))
            course.check(review())
            if placed:
                self.assertEqual(len(course.then(market(7, BUY, 1))), 1)
            # No quote from before the entry values the position.
            grown = position(MNQ, 3, price="20996.50", seconds=1)
            self.assertEqual(course.then(grown, 1), ())
            self.assertEqual(course.then(filled(market(7, BUY, 1), 1), 1), ())
            course.state = executed(course.state, 7, "20990")
            (command,) = course.check(timer(2))
            assert isinstance(command, Flatten)
            self.assertEqual(command.keep, {MNQ: 2})

    def test_what_was_added_in_a_profit_stays_if_its_position_is_reported_first(self) -> None:
        course = Course(LOSERS, position(MNQ, 2), quote(MNQ, "21010"))
        course.check(review())
        course.then(position(MNQ, 3, price="21003.25", seconds=1), 1)
        self.assertEqual(course.then(filled(market(7, BUY, 1), 1), 1), ())
        # The market's next price is not that of the fill.
        course.state = state_after(quote(MNQ, "20900", 2), state=course.state)
        course.state = executed(course.state, 7, "21010")
        self.assertEqual(course.check(timer(2)), ())

    def test_without_a_price_a_market_order_has_a_warning(self) -> None:
        result = check(state_after(position(MNQ, 1), market(7, BUY, 1)), LOSERS, review())
        self.assertEqual((result.commands, len(result.warnings)), ((), 1))


class OppositeTests(SynchronousTestCase):
    """``no_opposite_micros``."""

    def test_an_order_against_the_micro_or_the_mini_is_canceled(self) -> None:
        for held, side, contract_id, entry, is_forbidden in (
            (ES, LONG, MES, SELL, True),
            (ES, LONG, MES, BUY, False),
            (MES, SHORT, ES, BUY, True),
            (MES, SHORT, ES, SELL, False),
            (ES, LONG, MNQ, SELL, False),
            (ES, LONG, ES, SELL, False),
        ):
            event = market(7, entry, 1, contract_id)
            found = commands(OPPOSITE, event, position(held, 1, side))
            self.assertEqual(bool(found), is_forbidden, (held, side, contract_id, entry))
        (command,) = commands(OPPOSITE, market(7, SELL, 1, MES), position(ES, 2))
        reason = "Opposite sides of one market: order to sell 1 MESU5 against 2 ES long"
        self.assertEqual(command, RejectOrder(reason=reason, order_id=7))

    def test_a_position_checks_the_orders_of_its_micro(self) -> None:
        event = position(ES, 1)
        (command,) = commands(OPPOSITE, event, market(7, SELL, 1, MES))
        assert isinstance(command, RejectOrder)
        self.assertEqual(command.order_id, 7)

    def test_an_exit_may_work(self) -> None:
        held = (position(ES, 1), position(MES, 3, seconds=1))
        self.assertEqual(commands(OPPOSITE, market(7, SELL, 3, MES), *held), ())
        self.assertEqual(len(commands(OPPOSITE, market(7, SELL, 4, MES), *held)), 1)

    def test_the_position_that_changed_last_is_closed(self) -> None:
        early, late = position(ES, 1), position(MES, 3, SHORT, seconds=1)
        reason = "Opposite sides of one market: 1 ES long and 3 MES short"
        closed = Flatten(reason=reason, keep={MES: 0})
        self.assertEqual(commands(OPPOSITE, late, early), (closed,))
        self.assertEqual(check(state_after(early, late), OPPOSITE, review()).commands, (closed,))
        late = position(ES, 1, seconds=2)
        (command,) = commands(OPPOSITE, late, position(MES, 3, SHORT))
        assert isinstance(command, Flatten)
        self.assertEqual(command.keep, {ES: 0})

    def test_one_side_may_be_held_in_both(self) -> None:
        self.assertEqual(commands(OPPOSITE, position(MES, 3), position(ES, 1)), ())
        self.assertEqual(commands(MAX, position(MES, 3, SHORT), position(ES, 1)), ())


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_by_default_it_limits_nothing(self) -> None:
        result = check(state_after(market(7, BUY, 10_000)), settings_of(Settings), review())
        self.assertEqual((result.commands, result.memory), ((), None))

    def test_invalid_tables_are_rejected(self) -> None:
        for table in (
            {"max_size": 0},
            {"max_size": 1.5},
            {"price_band_ticks": -1},
            {"price_band_ticks": "40"},
            {"no_adding_to_losers": 1},
            {"no_opposite_micros": "yes"},
            {"size": 5},
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(next(iter(table)), str(error))


class GaugeTests(SynchronousTestCase):
    def test_the_largest_order_that_opens_contracts(self) -> None:
        state = state_after(position(MNQ, 9), market(7, SELL, 9), market(8, BUY, 4))
        (gauge,) = gauges(state, MAX, NOON)
        self.assertEqual((gauge.limit, gauge.current), (Decimal(5), Decimal(4)))
        many = settings_of(
            Settings,
            max_size=5,
            price_band_ticks=40,
            no_adding_to_losers=True,
            no_opposite_micros=True,
        )
        words = "40 ticks from the last price, no adding to losers, no opposite micros"
        self.assertEqual(gauges(state, many, NOON)[1].words, words)
        for chosen, limits in ((Settings(), "none"), (LOSERS, "no adding to losers")):
            (gauge,) = gauges(state, chosen, NOON)
            self.assertEqual((gauge.name, gauge.words), ("order limits", limits))
