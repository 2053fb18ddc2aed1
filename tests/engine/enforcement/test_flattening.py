"""What a flatten closes and cancels, and how several breaches merge into one flatten."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.engine.enforcement.flattening import (
    Closing,
    Resizing,
    merged,
    still_open,
    to_cancel,
    to_close,
    to_resize,
)
from riskd.gateway.interface import Found
from riskd.model.account import Flattening
from riskd.model.broker import BrokerOrder, BrokerPosition, Unreadable
from riskd.model.events import (
    Action,
    LockoutSet,
    OrderSide,
    OrderType,
    PositionType,
)
from tests.support.broker_values import NOON as NOW
from tests.support.broker_values import broker_order, broker_position

LONG, SHORT = PositionType.LONG, PositionType.SHORT
BUY, SELL = OrderSide.BUY, OrderSide.SELL


def lock(rule_id: str, seconds: int | None) -> LockoutSet:
    until = None if seconds is None else NOW + timedelta(seconds=seconds)
    return LockoutSet(reason="why", locked_until=until, rule_id=rule_id, locked_at=NOW)


def flatten(
    keep: dict[str, int] | None = None,
    action: Action = Action.CLOSE_ALL_POSITIONS,
    rule_id: str = "RULE-001",
    locks: tuple[LockoutSet, ...] = (),
    *,
    is_announced: bool = False,
) -> Flattening:
    return Flattening(
        action=action,
        rule_id=rule_id,
        reason=rule_id,
        begun=NOW,
        keep=keep,
        locks=locks,
        is_announced=is_announced,
    )


def position(contract_id: str, size: int, kind: PositionType = LONG) -> BrokerPosition:
    return broker_position(
        contract_id=contract_id, size=size, type=kind, average_price=Decimal(100)
    )


def order(
    identifier: int,
    contract_id: str,
    size: int = 1,
    side: OrderSide = SELL,
    kind: OrderType = OrderType.MARKET,
    price: int | None = None,
    *,
    filled: int = 0,
) -> BrokerOrder:
    value = None if price is None else Decimal(price)
    return broker_order(
        id=identifier,
        contract_id=contract_id,
        type=kind,
        side=side,
        size=size,
        limit_price=value if kind is OrderType.LIMIT else None,
        stop_price=value if kind is OrderType.STOP else None,
        filled=filled,
    )


def stop(identifier: int, size: int, price: int, *, filled: int = 0) -> BrokerOrder:
    return order(identifier, "A", size, kind=OrderType.STOP, price=price, filled=filled)


def unreadable(identifier: int | None, contract_id: str | None) -> Unreadable:
    return Unreadable(what="it", why="unreadable", id=identifier, contract_id=contract_id)


def found(*items: Any) -> Found[Any]:
    return Found(items)


COOLDOWN = flatten(action=Action.COOLDOWN, rule_id="RULE-007", locks=(lock("RULE-007", 300),))
DAY = flatten(
    action=Action.CLOSE_ALL_AND_LOCKOUT, rule_id="RULE-003", locks=(lock("RULE-003", 9000),)
)


class MergeTests(SynchronousTestCase):
    def test_the_same_breach_again_changes_nothing(self) -> None:
        for known in (flatten(), flatten({"A": 1}), COOLDOWN, DAY):
            self.assertIs(merged(known, known), known)
        self.assertIs(merged(DAY, flatten()), DAY)

    def test_the_graver_breach_names_the_flatten_and_both_lock(self) -> None:
        for both in (merged(COOLDOWN, DAY), merged(DAY, COOLDOWN)):
            self.assertEqual((both.action, both.rule_id), (DAY.action, "RULE-003"))
            self.assertEqual({one.rule_id for one in both.locks}, {"RULE-003", "RULE-007"})

    def test_a_lock_is_lengthened_and_never_shortened(self) -> None:
        longer = flatten(action=Action.COOLDOWN, locks=(lock("RULE-007", 900),))
        self.assertEqual(merged(COOLDOWN, longer).locks, (lock("RULE-007", 900),))
        self.assertIs(merged(longer, COOLDOWN), longer)

    def test_contracts_add_up_and_all_takes_all(self) -> None:
        both = merged(flatten({"A": 2}), flatten({"A": 1, "B": 0}))
        self.assertEqual(both.keep, {"A": 1, "B": 0})
        self.assertIsNone(merged(flatten({"A": 2}), flatten()).keep)
        known = flatten()
        self.assertIs(merged(known, flatten({"A": 2})), known)

    def test_an_announced_flatten_is_announced_again_when_it_does_more(self) -> None:
        told = flatten(is_announced=True)
        self.assertIs(merged(told, flatten()), told)
        more = merged(told, COOLDOWN)
        self.assertEqual((more.is_announced, more.rule_id), (False, "RULE-007"))

    @given(
        *(
            st.builds(
                flatten,
                st.none() | st.dictionaries(st.sampled_from("ABC"), st.integers(0, 5), min_size=1),
                st.sampled_from(
                    [Action.CLOSE_ALL_POSITIONS, Action.COOLDOWN, Action.CLOSE_ALL_AND_LOCKOUT]
                ),
            )
            for _ in range(2)
        ),
        st.dictionaries(st.sampled_from("ABCD"), st.integers(1, 9)),
    )
    def test_a_merged_flatten_closes_at_least_what_each_would(
        self, first: Flattening, second: Flattening, sizes: dict[str, int]
    ) -> None:
        held = [position(contract, size) for contract, size in sizes.items()]
        both = closed(merged(first, second), held, sizes)
        for one in (first, second):
            for contract, size in closed(one, held, sizes).items():
                self.assertGreaterEqual(both[contract], size)

    def test_what_another_rule_closes_is_not_due_to_a_lock_that_was_taken_back(self) -> None:
        taken_back = flatten(keep={}, rule_id="RULE-010")
        self.assertEqual(merged(taken_back, flatten()).rule_id, "RULE-001")
        closing = flatten(keep={"MNQ": 0}, rule_id="RULE-010")
        self.assertEqual(merged(closing, flatten()).rule_id, "RULE-010")


def closed(plan: Flattening, held: list[BrokerPosition], sizes: dict[str, int]) -> dict[str, int]:
    return {
        closing.contract_id: closing.size or sizes[closing.contract_id]
        for closing in to_close(plan, Found(tuple(held)))
    }


class PlanTests(SynchronousTestCase):
    def test_all_is_closed_and_all_is_canceled(self) -> None:
        held = found(position("A", 3), position("B", 1, SHORT))
        self.assertEqual(to_close(flatten(), held), [Closing("A", None), Closing("B", None)])
        self.assertEqual(to_cancel(flatten(), found(order(1, "A"), order(2, "C"))), [1, 2])

    def test_one_contract_is_closed_with_its_orders(self) -> None:
        plan = flatten({"A": 0})
        self.assertEqual(
            to_close(plan, found(position("A", 3), position("B", 1))), [Closing("A", None)]
        )
        self.assertEqual(to_cancel(plan, found(order(1, "A"), order(2, "B"))), [1])

    def test_a_position_that_is_listed_twice_is_closed_once(self) -> None:
        held = found(position("A", 5), position("A", 5))
        self.assertEqual(to_close(flatten({"A": 3}), held), [Closing("A", 2)])

    def test_what_cannot_be_read_is_closed_in_full_and_blocks_no_other(self) -> None:
        held = Found((position("B", 3),), (unreadable(1, "A"),))
        for plan in (flatten(), flatten({"A": 2, "B": 0})):
            with self.subTest(plan=plan):
                self.assertEqual(to_close(plan, held), [Closing("B", None), Closing("A", None)])
        self.assertEqual(to_close(flatten({"B": 3}), held), [])

    def test_an_order_that_cannot_be_read_is_canceled(self) -> None:
        working: Found[BrokerOrder] = Found((), (unreadable(1, "B"), unreadable(2, None)))
        self.assertEqual(to_cancel(flatten(), working), [1, 2])
        self.assertEqual(to_cancel(flatten({"B": 0}), working), [1])
        self.assertEqual(
            to_resize(flatten({"B": 2}), working, found(position("B", 3))), [Resizing(1, 0)]
        )

    def test_a_position_of_an_unknown_contract_is_not_flat(self) -> None:
        held: Found[BrokerPosition] = Found((), (unreadable(1, None),))
        self.assertEqual(still_open(flatten(), held, found()), "1 position")
        self.assertEqual(still_open(flatten({"A": 0}), held, found()), "")

    def test_a_position_is_reduced_and_its_exits_with_it(self) -> None:
        plan, held = flatten({"A": 2}), found(position("A", 3))
        self.assertEqual(to_close(plan, held), [Closing("A", 1)])
        self.assertEqual(to_close(plan, found(position("A", 2))), [])
        working = found(stop(1, 3, 20), order(3, "A", 3, BUY), order(4, "B", 3))
        self.assertEqual(to_cancel(plan, working), [])
        self.assertEqual(to_resize(plan, working, held), [Resizing(1, 2)])
        self.assertEqual(to_resize(plan, found(stop(1, 2, 20)), held), [])

    def test_several_exits_together_close_no_more_than_is_kept(self) -> None:
        plan = flatten({"A": 2})
        stops = [stop(1, 1, 10), stop(2, 1, 20), stop(3, 1, 15)]
        limits = [
            order(4, "A", 2, SELL, OrderType.LIMIT, 30),
            order(5, "A", 1, SELL, OrderType.LIMIT, 29),
        ]
        for held, cut in (
            # A long position's stops are filled from the highest down, its limits from the lowest up.
            (position("A", 2), [Resizing(1, 0), Resizing(4, 1)]),
            (position("A", 2, SHORT), [Resizing(2, 0), Resizing(5, 0)]),
        ):
            side = SELL if held.type is LONG else BUY
            working = [msgspec.structs.replace(each, side=side) for each in (*stops, *limits)]
            self.assertEqual(sorted(to_resize(plan, found(*working), found(held))), cut)

    def test_the_filled_part_of_an_exit_counts(self) -> None:
        plan, held = flatten({"A": 2}), found(position("A", 2))
        self.assertEqual(to_resize(plan, found(stop(1, 3, 20, filled=1)), held), [])
        self.assertEqual(to_resize(plan, found(stop(1, 4, 20, filled=1)), held), [Resizing(1, 3)])


class StillOpenTests(SynchronousTestCase):
    """The text on what a flatten has left to do."""

    def test_positions_and_orders_are_counted(self) -> None:
        held = [position("A", 2), position("B", 1)]
        working = [order(1, "A"), order(2, "C")]
        for plan, some_held, some_working, told in (
            (flatten(), held, working, "2 positions and 2 orders"),
            (flatten(), held[:1], [], "1 position"),
            (flatten(), [], working[:1], "1 order"),
            (flatten({"A": 2}), held, working[1:], ""),
            (flatten({"A": 1}), held, [], "1 position"),
            (flatten({"A": 2}), held, [stop(1, 3, 90)], "1 order"),
            (flatten(), [], [], ""),
        ):
            self.assertEqual(still_open(plan, found(*some_held), found(*some_working)), told)
