"""Locks side by side: which are in force, how they are announced, and that none shortens another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, Flattening, apply
from riskd.model.events import (
    Action,
    Event,
    GatewayUserOrder,
    GatewayUserPosition,
    LockoutSet,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
)
from riskd.model.lockouts import (
    Lock,
    action_of,
    ended_lock,
    forbidden_orders,
    is_locked,
    lock_announcements,
    locks_in_force,
    new_lock,
)

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.Z26"


def lock(rule_id: str, minutes: float | None) -> LockoutSet:
    until = None if minutes is None else NOW + timedelta(minutes=minutes)
    return LockoutSet(reason="why", locked_until=until, rule_id=rule_id, locked_at=NOW)


def locked(*locks: LockoutSet, pending: tuple[LockoutSet, ...] = ()) -> AccountState:
    state = AccountState(account_id=123)
    for one in locks:
        state = apply(state, Event(123, one))
    if pending:
        flattening = Flattening(
            action=Action.COOLDOWN, rule_id="x", reason="why", begun=NOW, locks=pending
        )
        risk = msgspec.structs.replace(state.risk, flattening=flattening)
        state = msgspec.structs.replace(state, risk=risk)
    return state


class LockTests(SynchronousTestCase):
    def test_the_lock_that_ends_last_comes_first(self) -> None:
        state = locked(lock("a", 5), lock("b", None), lock("c", 60))
        self.assertEqual([one.rule_id for one in locks_in_force(state, NOW)], ["b", "c", "a"])

    def test_a_lock_ends_at_its_end_and_not_before(self) -> None:
        state = locked(lock("a", 5))
        end = NOW + timedelta(minutes=5)
        self.assertTrue(is_locked(state, end - timedelta(milliseconds=1)))
        self.assertFalse(is_locked(state, end))

    def test_a_lock_of_a_flatten_in_progress_is_in_force(self) -> None:
        self.assertTrue(is_locked(locked(pending=(lock("a", 5),)), NOW))

    def test_a_second_lock_of_a_rule_never_ends_earlier(self) -> None:
        state = locked(lock("a", 60))
        self.assertEqual(new_lock("a", "again", Lock(NOW), state, NOW), lock("a", 60))
        later = new_lock("a", "again", Lock(None), state, NOW)
        self.assertEqual((later.locked_until, later.reason), (None, "again"))

    def test_locks_of_other_rules_do_not_lengthen_a_lock(self) -> None:
        state = locked(lock("b", None))
        asked = new_lock("a", "why", Lock(NOW + timedelta(minutes=1)), state, NOW)
        self.assertEqual(asked.locked_until, NOW + timedelta(minutes=1))

    def test_the_lock_that_ends_last_is_announced_last(self) -> None:
        state = locked(lock("day", 300))
        announced = lock_announcements([lock("cooldown", 5)], state, NOW)
        self.assertEqual([one.rule_id for one in announced], ["cooldown", "day"])
        self.assertEqual(
            lock_announcements([lock("later", 900)], state, NOW), [lock("later", 900)]
        )
        self.assertEqual(lock_announcements([], state, NOW), [])

    def test_an_ended_lock_leaves_the_others_in_force(self) -> None:
        state = locked(lock("a", None), lock("b", 5))
        after = apply(state, Event(123, ended_lock(lock("a", None), "restored", NOW)))
        self.assertEqual([one.rule_id for one in locks_in_force(after, NOW)], ["b"])

    def test_the_action_depends_on_the_lock(self) -> None:
        self.assertEqual(action_of(None), Action.CLOSE_ALL_POSITIONS)
        self.assertEqual(action_of(Lock(None)), Action.CLOSE_ALL_AND_LOCKOUT)
        self.assertEqual(action_of(Lock(NOW, 60)), Action.COOLDOWN)

    @given(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.none() | st.integers(-10, 1000)), max_size=12
        )
    )
    def test_no_sequence_of_locks_shortens_one(self, asked: list[tuple[str, int | None]]) -> None:
        state = locked()
        ends: dict[str, LockoutSet] = {}
        for rule_id, minutes in asked:
            wanted = Lock(lock("x", minutes).locked_until)
            new = new_lock(rule_id, "why", wanted, state, NOW)
            known = ends.get(rule_id)
            if known is not None and (known.locked_until is None or known.locked_until > NOW):
                self.assertTrue(
                    new.locked_until is None
                    or (known.locked_until is not None and new.locked_until >= known.locked_until)
                )
            ends[rule_id] = new
            announced = lock_announcements([new], state, NOW)
            for one in announced:
                state = apply(state, Event(123, one))
            if is_locked(state, NOW):
                self.assertEqual(
                    announced[-1].locked_until, locks_in_force(state, NOW)[0].locked_until
                )


class ForbiddenOrdersTests(SynchronousTestCase):
    def test_only_exits_may_work(self) -> None:
        state = apply(
            locked(),
            Event(
                123,
                GatewayUserPosition(
                    id=1,
                    contract_id=MNQ,
                    type=PositionType.LONG,
                    size=1,
                    average_price=Decimal(1),
                    created_at=NOW,
                    updated_at=NOW,
                ),
            ),
        )
        for number, (side, contract) in enumerate(
            [(OrderSide.SELL, MNQ), (OrderSide.BUY, MNQ), (OrderSide.SELL, "CON.F.US.EP.Z26")]
        ):
            placed = GatewayUserOrder(
                id=number,
                contract_id=contract,
                type=OrderType.MARKET,
                side=side,
                size=1,
                limit_price=None,
                stop_price=None,
                state=OrderState.ACTIVE,
                created_at=NOW,
                updated_at=NOW,
            )
            state = apply(state, Event(123, placed))
        self.assertEqual([order.id for order in forbidden_orders(state)], [1, 2])
