"""The reduce-only stage: what it forbids, and what may still be held."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.events import Event, OrderSide, OrderType
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly, reduce_only_stage
from riskd.rules.interface import Flatten, RejectOrder
from riskd.rules.reduce_only import next_stage, stage_decisions
from tests.support.rules import (
    BUY,
    ES,
    LONG,
    MNQ,
    NOON,
    SELL,
    SHORT,
    at,
    order,
    position,
    state_after,
)

REASONS = {"RULE-003": "the day's loss has reached 80 % of its limit of $500.00"}
HELD_ONE = ReduceOnly(since=NOON, reasons=REASONS, held={MNQ: 1})


def market(number: int, side: OrderSide, size: int, contract_id: str = MNQ) -> Event:
    return order(number, contract_id, side, size, kind=OrderType.MARKET)


def commands(state: AccountState, stage: ReduceOnly = HELD_ONE) -> list[Flatten | RejectOrder]:
    decisions = list(stage_decisions(state, stage))
    assert all(decision.rule_id == "RULE-003" for decision in decisions)
    return [decision.command for decision in decisions]  # type: ignore[misc]


class OrderTests(SynchronousTestCase):
    def test_an_order_may_close_all_and_no_more(self) -> None:
        for side, leave, add in ((LONG, SELL, BUY), (SHORT, BUY, SELL)):
            stage = ReduceOnly(since=NOON, reasons=REASONS, held={MNQ: 2 * side.sign})
            for event, is_forbidden in (
                (market(7, leave, 1), False),
                (market(7, leave, 2), False),
                (market(7, leave, 3), True),
                (market(7, add, 1), True),
                (market(7, leave, 1, ES), True),
            ):
                found = commands(state_after(position(MNQ, 2, side), event), stage)
                self.assertEqual(bool(found), is_forbidden, event)

    def test_sell_5_against_long_1_is_forbidden(self) -> None:
        (command,) = commands(state_after(position(MNQ, 1), market(7, SELL, 5)))
        reason = (
            "Only exits are allowed: order to sell 5 MNQU5; the day's loss has reached 80 % of its "
            "limit of $500.00"
        )
        self.assertEqual(command, RejectOrder(reason=reason, order_id=7))

    def test_the_two_exits_of_a_position_may_work(self) -> None:
        stop, target = order(7), order(8, kind=OrderType.LIMIT, price="21100")
        self.assertEqual(commands(state_after(position(MNQ, 1), stop, target)), [])

    def test_what_an_order_has_left_to_fill_counts(self) -> None:
        part = order(7, side=SELL, size=5, filled=4)
        self.assertEqual(commands(state_after(position(MNQ, 1), part)), [])

    @given(st.integers(-5, 5), st.integers(1, 8), st.sampled_from([BUY, SELL]))
    def test_exactly_those_are_forbidden_that_would_increase_or_reverse(
        self, held: int, size: int, side: OrderSide
    ) -> None:
        events = [position(MNQ, abs(held), LONG if held > 0 else SHORT)] if held else []
        stage = ReduceOnly(since=NOON, reasons=REASONS, held={MNQ: held})
        found = commands(state_after(*events, market(7, side, size)), stage)
        after = held + (size if side is BUY else -size)
        self.assertEqual(bool(found), after * held < 0 or abs(after) > abs(held))


class PositionTests(SynchronousTestCase):
    def test_what_is_beyond_the_size_held_is_closed(self) -> None:
        for size, side, kept in ((1, LONG, None), (3, LONG, 1), (4, SHORT, 0)):
            found = commands(state_after(position(MNQ, size, side)))
            if kept is None:
                self.assertEqual(found, [])
                continue
            (command,) = found
            assert isinstance(command, Flatten)
            self.assertEqual((command.keep, command.lock), ({MNQ: kept}, None))
            self.assertIn(f"{size} MNQU5 held, {kept} may stay; the day's loss", command.reason)

    def test_a_contract_that_was_not_held_is_closed_with_its_orders(self) -> None:
        state = state_after(position(MNQ, 1), position(ES, 1), market(7, BUY, 1, ES))
        (command,) = commands(state)
        assert isinstance(command, Flatten)
        self.assertEqual(command.keep, {ES: 0})


class StageTests(SynchronousTestCase):
    def test_it_begins_with_what_is_held(self) -> None:
        stage = next_stage(None, REASONS, {MNQ: 2, ES: 0}, NOON)
        self.assertEqual(stage, ReduceOnly(since=NOON, reasons=REASONS, held={MNQ: 2}))
        self.assertIsNone(next_stage(None, {}, {MNQ: 2}, NOON))
        self.assertIsNone(next_stage(stage, {}, {MNQ: 2}, NOON))

    def test_what_was_closed_may_not_be_opened_again(self) -> None:
        stage = ReduceOnly(since=NOON, reasons=REASONS, held={MNQ: 3, ES: -2})
        for held, left in (
            ({MNQ: 3, ES: -2}, {MNQ: 3, ES: -2}),
            ({MNQ: 5, ES: -1}, {MNQ: 3, ES: -1}),
            ({MNQ: -1, ES: 0}, {}),
            ({}, {}),
        ):
            after = next_stage(stage, REASONS, held, at(1))
            assert after is not None
            self.assertEqual((after.held, after.since), (left, NOON), held)
        self.assertIs(next_stage(stage, REASONS, stage.held, at(1)), stage)

    def test_it_is_kept_among_the_limits(self) -> None:
        state = AccountState(account_id=1, limits={REDUCE_ONLY: HELD_ONE.limit})
        self.assertEqual(reduce_only_stage(state), HELD_ONE)
        self.assertIsNone(reduce_only_stage(AccountState(account_id=1)))
        self.assertEqual((HELD_ONE.rule_id, HELD_ONE.reason), next(iter(REASONS.items())))
