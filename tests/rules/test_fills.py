"""What an account holds by the fills of its orders, in whatever order events come."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, Unmatched, with_risk
from riskd.model.events import Event, OrderState, OrderType
from riskd.rules.fills import Fills, with_order, with_positions
from riskd.rules.interface import Kind, Trigger
from riskd.rules.registry import RULES
from tests.support.rules import (
    BUY,
    LONG,
    MNQ,
    NOON,
    RESET,
    SELL,
    SHORT,
    at,
    order,
    position,
    review,
    state_after,
    trigger_of,
)


class Account:
    def __init__(self, *events: Event) -> None:
        self.state: AccountState = state_after(*events)
        self.fills = with_positions(Fills(), self.state, review())

    def then(self, event: Event, seconds: float = 0) -> int:
        """Apply an event; return what is held after it by the fills of orders."""
        self.state = state_after(event, state=self.state)
        trigger = trigger_of(event, seconds)
        self.fills = with_positions(self.fills, self.state, trigger)
        self.fills = with_order(self.fills, self.state, trigger)
        return self.held

    @property
    def held(self) -> int:
        return self.fills.held(MNQ)

    @property
    def by_orders(self) -> int:
        return self.fills.held_by_orders(MNQ)


def filled(number: int, size: int, of: int | None = None, seconds: float = 0) -> Event:
    """Return the event of an order that has filled so many contracts; a negative size sells."""
    return order(
        number,
        side=BUY if size > 0 else SELL,
        size=abs(of or size),
        kind=OrderType.MARKET,
        state=OrderState.ACTIVE if of else OrderState.FILLED,
        filled=abs(size),
        seconds=seconds,
    )


def held(size: int, seconds: float = 0) -> Event:
    return position(MNQ, abs(size), LONG if size >= 0 else SHORT, seconds=seconds)


class FillsTests(SynchronousTestCase):
    def test_either_may_be_first(self) -> None:
        account = Account(held(2))
        self.assertEqual(account.then(filled(1, 3)), 5)
        self.assertEqual(account.then(held(5, 1), 1), 5)
        self.assertEqual(account.by_orders, 5)
        self.assertEqual(account.then(held(1, 2), 2), 1)
        self.assertEqual(account.by_orders, 5)
        self.assertEqual(account.then(filled(2, -4), 2), 1)
        self.assertEqual(account.by_orders, 1)

    def test_parts_count_once(self) -> None:
        account = Account(held(0))
        self.assertEqual(account.then(filled(1, 2, 5)), 2)
        self.assertEqual(account.then(held(2)), 2)
        self.assertEqual(account.then(filled(1, 5, seconds=1), 1), 5)

    def test_what_was_opened_and_closed_may_be_shown_in_steps(self) -> None:
        account = Account(held(0))
        for each, size in ((filled(1, 1), 1), (filled(2, -1), 0), (held(1), 0), (held(0), 0)):
            self.assertEqual(account.then(each), size)
        for each, size in ((held(1), 1), (held(0), 0), (filled(3, 1), 0), (filled(4, -1), 0)):
            self.assertEqual(account.then(each), size)

    def test_after_two_seconds_the_position_is_right(self) -> None:
        account = Account(held(2))
        account.then(held(0, 1), 1)
        account.then(held(0, 2), 2.999)
        self.assertEqual(account.by_orders, 2)
        account.then(held(0, 3), 3)
        self.assertEqual(account.by_orders, 0)
        account.then(filled(1, 1), 4)
        self.assertEqual(account.then(held(0, 6), 6), 0)

    def test_what_is_held_at_first_is_known(self) -> None:
        self.assertEqual(Account(held(-3)).fills.held(MNQ), -3)
        # The first position of a contract is a change.
        account = Account()
        self.assertEqual((account.then(held(3)), account.by_orders), (3, 0))

    def test_the_memory_of_an_earlier_version_can_be_read(self) -> None:
        kept = (
            '{"ledgers":{"MNQ":{"size":2,"ordered":1,"unordered":0,"at":"2026-11-23T18:00:00Z"}}}'
        )
        self.assertEqual(msgspec.json.decode(kept, type=Fills).held("MNQ"), 2)

    @given(st.lists(st.integers(-5, 5).filter(bool), max_size=6), st.randoms())
    def test_in_the_end_both_agree(self, sizes: list[int], random: object) -> None:
        account, size = Account(held(0)), 0
        orders = [filled(number, each) for number, each in enumerate(sizes, 1)]
        positions = []
        for each in sizes:
            size += each
            positions.append(held(size))
        # Each stream is in order; how they are woven together is not known.
        while orders or positions:
            stream = random.choice([each for each in (orders, positions) if each])  # type: ignore[attr-defined]
            account.then(stream.pop(0))
            # All news of either is enough.
            if not orders or not positions:
                self.assertEqual(account.held, size)
        self.assertEqual((account.held, account.by_orders), (size, size))


class MissingTradeTests(SynchronousTestCase):
    """An exit that its position has shown, and its trade not yet."""

    def test_rules_that_count_trades_without_listening_to_them_check_again(self) -> None:
        state = state_after(held(0))
        counting = {
            *("maximum_loss", "weekly_limits", "daily_net_loss", "daily_profit_target"),
            "consistency",
        }
        for contracts, checked in ((-1, counting), (1, set()), (0, set())):
            missing = with_risk(state, unmatched={MNQ: Unmatched(contracts)} if contracts else {})
            woken = {
                rule.key
                for rule in RULES
                if rule.check(missing, rule.settings_type(), review()).wake_at == at(0.25)
            }
            self.assertEqual(woken, checked, contracts)

    def test_an_earlier_check_stays(self) -> None:
        rule = next(rule for rule in RULES if rule.key == "daily_net_loss")
        missing = with_risk(state_after(held(0)), unmatched={MNQ: Unmatched(-1)})
        for reset, wake_at in ((at(0.1), at(0.1)), (RESET, at(0.25))):
            trigger = Trigger(kind=Kind.REVIEW, now=NOON, next_reset=reset)
            settings = rule.settings_type(reduce_only_at=80)
            self.assertEqual(rule.check(missing, settings, trigger).wake_at, wake_at)
