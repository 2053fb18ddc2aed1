"""RULE-012: a position gets a stop, and the stop follows the profit."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.events import Event, OrderSide, OrderState
from riskd.rules.builtin.trade_management import Settings, check, gauges
from riskd.rules.interface import (
    OWN_STOP_TAG,
    ChangeStop,
    Command,
    Flatten,
    PlaceStop,
    RuleResult,
    Trigger,
    WithdrawStop,
)
from tests.support.rules import (
    BUY,
    ES,
    LONG,
    MNQ,
    NOON,
    RTY,
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
    with_detail,
    with_memory,
)

RULE = "RULE-012"
STOPS = settings_of(Settings, enabled=True)
TRAILING = settings_of(Settings, enabled=True, trailing_stop={"enabled": True})
BREAKEVEN = settings_of(
    Settings, enabled=True, auto_breakeven={"enabled": True, "offset_ticks": 2}
)


class Account:
    """An account that the rule manages; the test carries out its commands."""

    def __init__(self, settings: Settings = STOPS) -> None:
        self.settings = settings
        self.state: AccountState = state_after()
        self.last = RuleResult()

    def receive(self, event: Event, seconds: float = 0) -> tuple[Command, ...]:
        self.state = state_after(event, state=self.state)
        return self._ask(trigger_of(event, seconds))

    def wake(self, seconds: float) -> tuple[Command, ...]:
        return self._ask(timer(seconds))

    def review(self, seconds: float) -> tuple[Command, ...]:
        return self._ask(review(seconds))

    def price(self, last: str, seconds: float, contract_id: str = ES) -> tuple[Command, ...]:
        return self.receive(quote(contract_id, last, seconds), seconds)

    def receive_own(  # an order has that many sides
        self,
        price: str,
        seconds: float,
        size: int = 2,
        side: OrderSide = SELL,
        *,
        number: int = 7,
        filled: int = 0,
        is_open: bool = True,
    ) -> tuple[Command, ...]:
        """Receive the state of a stop that the rule has asked for."""
        event = order(
            number,
            ES,
            side,
            size,
            price=price,
            seconds=seconds,
            filled=filled,
            is_open=is_open,
            custom_tag=f"{OWN_STOP_TAG}-{number}",
        )
        return self.receive(event, seconds)

    def end_own(
        self, seconds: float, end: OrderState = OrderState.CANCELED
    ) -> tuple[Command, ...]:
        data = msgspec.structs.replace(self.state.orders[7], state=end, updated_at=at(seconds))
        return self.receive(Event(123, data), seconds)

    def _ask(self, asked_on: Trigger) -> tuple[Command, ...]:
        self.last = check(self.state, self.settings, asked_on)
        self.state = with_memory(self.state, RULE, self.last)
        return self.last.commands


def holding(
    settings: Settings = STOPS, side: OrderSide = SELL, size: int = 2, stop: str = "5797.50"
) -> Account:
    """Return an account that holds ES from 5800, with the rule's stop in the market."""
    account = Account(settings)
    kind = LONG if side is SELL else SHORT
    account.receive(position(ES, size, kind, "5800"))
    account.receive_own(stop, 0.1, size, side)
    return account


def moved(commands: tuple[Command, ...]) -> list[tuple[int, str]]:
    """Return the sizes and prices of changes; there must be no other command."""
    changes = [each for each in commands if isinstance(each, ChangeStop)]
    assert len(changes) == len(commands)
    return [(change.size, str(change.stop_price)) for change in changes]


class PlacingTests(SynchronousTestCase):
    """A position without a stop."""

    def test_the_worked_example(self) -> None:
        account = Account()
        self.assertEqual(
            account.receive(position(ES, 2, LONG, "5800")),
            (
                PlaceStop(
                    reason=(
                        "Stop for 2 contracts of ESU5 at 5797.50, 10 ticks from the entry: "
                        "$250.00 at risk"
                    ),
                    contract_id=ES,
                    side=SELL,
                    size=2,
                    stop_price=Decimal("5797.50"),
                ),
            ),
        )

    def test_prices_lie_on_ticks_away_from_the_market(self) -> None:
        for contract_id, side, average, ticks, price in (
            (ES, LONG, "5800", 10, "5797.50"),
            (ES, SHORT, "5800", 10, "5802.50"),
            (ES, LONG, "5800.10", 10, "5797.50"),
            (ES, LONG, "5800.24", 10, "5797.50"),
            (ES, LONG, "5800.25", 10, "5797.75"),
            (ES, SHORT, "5800.10", 10, "5802.75"),
            (ES, SHORT, "5799.99", 10, "5802.50"),
            (ES, SHORT, "5800.01", 1, "5800.50"),
            (RTY, LONG, "2000.05", 1, "1999.90"),
        ):
            account = Account(settings_of(Settings, stop_loss_ticks=ticks))
            (command,) = account.receive(position(contract_id, 1, side, average))
            assert isinstance(command, PlaceStop)
            self.assertEqual(str(command.stop_price), price, (side, average))
            self.assertEqual(command.side, SELL if side is LONG else BUY)

    def test_no_second_stop_is_placed_before_the_first_appears(self) -> None:
        account = Account()
        held = position(ES, 2, LONG, "5800")
        self.assertEqual(len(account.receive(held)), 1)
        self.assertEqual(account.last.wake_at, at(5))
        for seconds in (0, 0.5, 1, 4.999):
            self.assertEqual(account.price("5800", seconds), (), seconds)
            self.assertEqual(account.last.wake_at, at(5))
        self.assertEqual(len(account.wake(5)), 1)

    def test_a_stop_that_has_appeared_is_not_placed_again(self) -> None:
        account = holding()
        for seconds in (0.2, 5, 60):
            self.assertEqual(account.price("5800", seconds), ())
        self.assertIsNone(account.last.wake_at)

    def test_a_stop_that_is_not_open_yet_is_not_placed_again(self) -> None:
        account = Account()
        account.receive(position(ES, 2, LONG, "5800"))
        self.assertEqual(account.receive_own("5797.50", 0.1, 1, is_open=False), ())
        self.assertEqual(account.wake(60), ())
        self.assertEqual(moved(account.receive_own("5797.50", 61, 1)), [(2, "5797.50")])

    def test_a_traders_stop_counts_at_any_price(self) -> None:
        for price in ("5000", "5799", "5900"):
            account = Account()
            account.receive(order(9, ES, SELL, 2, price=price))
            self.assertEqual(account.receive(position(ES, 2, LONG, "5800")), ())

    def test_the_rule_covers_what_the_traders_stops_do_not(self) -> None:
        account = Account()
        account.receive(order(9, ES, SELL, 1, price="5790"))
        (command,) = account.receive(position(ES, 3, LONG, "5800"))
        assert isinstance(command, PlaceStop)
        self.assertEqual(command.size, 2)

    def test_an_order_that_is_not_open_covers_nothing(self) -> None:
        for detail in ({"is_open": False}, {"filled": 2}):
            account = Account()
            account.state = with_detail(
                state_after(order(9, ES, SELL, 2, price="5790")), 9, **detail
            )
            self.assertEqual(len(account.receive(position(ES, 2, LONG, "5800"))), 1, detail)

    def test_a_stop_that_would_be_through_already_closes_the_position(self) -> None:
        for side, last, closes in (
            (LONG, "5797.75", False),
            (LONG, "5797.50", True),
            (LONG, "5790", True),
            (SHORT, "5802.25", False),
            (SHORT, "5802.50", True),
        ):
            account = Account()
            account.state = state_after(position(ES, 2, side, "5800"), quote(ES, last, 1))
            (command,) = account.review(1)
            self.assertEqual(isinstance(command, Flatten), closes, (side, last))
            if isinstance(command, Flatten):
                self.assertEqual((command.keep, command.lock), ({ES: 0}, None))
                self.assertIn("the market is there already", command.reason)

    def test_a_stale_price_closes_nothing(self) -> None:
        held = position(ES, 2, LONG, "5800", opened=0)
        for seconds, closes in ((10, True), (10.001, False)):
            account = Account()
            account.state = state_after(held, quote(ES, "5700", 0))
            (command,) = account.review(seconds)
            self.assertEqual(isinstance(command, Flatten), closes, seconds)

    def test_a_price_received_before_the_position_closes_nothing(self) -> None:
        for opened in (-60, 0, 60):
            account = Account()
            account.state = state_after(quote(ES, "5700", 0))
            (command,) = account.receive(position(ES, 2, LONG, "5800", opened=opened), 0)
            self.assertIsInstance(command, PlaceStop)

    def test_placing_may_be_switched_off(self) -> None:
        account = Account(settings_of(Settings, auto_stop_loss=False))
        self.assertEqual(account.receive(position(ES, 2, LONG, "5800")), ())
        self.assertIsNone(account.last.wake_at)

    def test_an_unknown_product_gets_a_warning_and_no_stop(self) -> None:
        account = Account()
        self.assertEqual(account.receive(position(UNKNOWN, 1)), ())
        self.assertEqual(
            account.last.warnings, (f"{UNKNOWN}: tick size unknown, it gets no stop",)
        )

    def test_each_contract_has_a_stop_of_its_own(self) -> None:
        account = Account()
        account.receive(position(ES, 2, LONG, "5800"))
        (command,) = account.receive(position(MNQ, 1))
        assert isinstance(command, PlaceStop)
        self.assertEqual(command.contract_id, MNQ)


class SizeTests(SynchronousTestCase):
    """The stop goes with the position."""

    def test_the_stop_grows_with_the_position(self) -> None:
        account = holding()
        commands = account.receive(position(ES, 3, LONG, "5800", seconds=10), 10)
        self.assertEqual(moved(commands), [(3, "5797.50")])

    def test_the_stop_grows_a_second_after_it_has_appeared(self) -> None:
        account = holding()
        self.assertEqual(account.receive(position(ES, 3, LONG, "5800", seconds=0.5), 0.5), ())
        self.assertEqual(account.last.wake_at, at(1))
        self.assertEqual(moved(account.wake(1)), [(3, "5797.50")])

    def test_the_stop_shrinks_with_the_position(self) -> None:
        account = holding()
        commands = account.receive(position(ES, 1, LONG, "5800", seconds=10), 10)
        self.assertEqual(moved(commands), [(1, "5797.50")])

    def test_filled_contracts_of_the_stop_count(self) -> None:
        account = holding(size=4)
        # The stop is filled in part; the position comes later.
        self.assertEqual(account.receive_own("5797.50", 10, 4, filled=3), ())
        self.assertEqual(account.last.wake_at, at(11))
        self.assertEqual(account.receive(position(ES, 1, LONG, "5800", seconds=10), 10.1), ())
        # Three are filled, two are to remain.
        grown = position(ES, 2, LONG, "5800", seconds=20)
        self.assertEqual(moved(account.receive(grown, 20)), [(5, "5797.50")])

    def test_a_fill_without_a_position_event_counts_after_a_second(self) -> None:
        account = holding()
        account.receive_own("5797.50", 10, 2, filled=1)
        self.assertEqual(account.wake(10.999), ())
        self.assertEqual(moved(account.wake(11)), [(3, "5797.50")])

    def test_a_worse_average_does_not_loosen_the_stop_and_a_better_one_tightens_it(self) -> None:
        for average, price in (("5790", "5797.50"), ("5802", "5799.50")):
            account = holding()
            grown = position(ES, 3, LONG, average, seconds=10)
            self.assertEqual(moved(account.receive(grown, 10)), [(3, price)])

    def test_the_stop_is_withdrawn_when_the_position_is_closed(self) -> None:
        account = holding()
        flat = position(ES, 0, seconds=10)
        reason = "Stop for 2 contracts of ESU5 not needed any more"
        self.assertEqual(account.receive(flat, 10), (WithdrawStop(reason=reason, order_id=7),))
        self.assertEqual(account.last.wake_at, at(11))
        # Once, unless it stays.
        self.assertEqual(account.wake(10.5), ())
        self.assertEqual(len(account.wake(11)), 1)
        self.assertEqual(account.end_own(11.1), ())
        self.assertEqual(account.wake(12), ())
        self.assertIsNone(account.last.wake_at)

    def test_the_stop_is_replaced_when_the_position_is_reversed(self) -> None:
        account = holding()
        turned = position(ES, 1, SHORT, "5800", seconds=10)
        withdrawn, placed = account.receive(turned, 10)
        assert isinstance(withdrawn, WithdrawStop)
        assert isinstance(placed, PlaceStop)
        self.assertEqual(withdrawn.order_id, 7)
        self.assertEqual((placed.side, placed.size), (BUY, 1))
        self.assertEqual(placed.stop_price, Decimal("5802.50"))

    def test_a_stop_that_fills_is_not_placed_again(self) -> None:
        account = holding()
        account.price("5797.50", 10)
        self.assertEqual(account.end_own(10, OrderState.FILLED), ())
        self.assertEqual(account.last.wake_at, at(11))
        self.assertEqual(account.receive(position(ES, 0, seconds=10), 10.1), ())
        self.assertEqual(account.wake(11), ())

    def test_a_stop_that_the_market_has_reached_is_left_to_fill(self) -> None:
        account = holding()
        for seconds, last in ((10, "5797.50"), (20, "5797")):
            self.assertEqual(account.price(last, seconds), ())

    def test_a_stop_that_is_canceled_is_placed_again(self) -> None:
        account = holding()
        self.assertEqual(account.end_own(10), ())
        self.assertEqual(account.wake(10.999), ())
        (command,) = account.wake(11)
        self.assertIsInstance(command, PlaceStop)

    def test_the_rule_places_a_stop_when_the_traders_disappears(self) -> None:
        account = Account()
        own = order(9, ES, SELL, 2, price="5790")
        account.receive(own)
        account.receive(position(ES, 2, LONG, "5800"))
        self.assertEqual(account.receive(canceled(own, 10), 10), ())
        (command,) = account.wake(11)
        self.assertIsInstance(command, PlaceStop)

    def test_the_stop_is_withdrawn_when_the_trader_places_one(self) -> None:
        account = holding()
        (command,) = account.receive(order(9, ES, SELL, 1, price="5790", seconds=10), 10)
        self.assertEqual(moved((command,)), [(1, "5797.50")])
        account.receive_own("5797.50", 10.1, 1)
        (command,) = account.receive(order(10, ES, SELL, 1, price="5790", seconds=20), 20)
        assert isinstance(command, WithdrawStop)
        self.assertEqual(command.order_id, 7)

    def test_of_two_the_nearer_one_stays(self) -> None:
        account = holding()
        (command,) = account.receive_own("5798", 20, number=8)
        assert isinstance(command, WithdrawStop)
        self.assertEqual(command.order_id, 7)

    def test_the_stop_nearest_to_the_market_is_kept_around_zero(self) -> None:
        for kind, side, entry, near, far in (
            (LONG, SELL, "0.50", "0.25", "0"),
            (LONG, SELL, "0.50", "0", "-1.00"),
            (SHORT, BUY, "-0.50", "-0.25", "0"),
            (LONG, SELL, "-9.00", "-9.50", "-10.00"),
        ):
            account = Account()
            account.receive(position(ES, 2, kind, entry))
            account.receive_own(near, 0.1, side=side, number=7)
            (withdrawal,) = account.receive_own(far, 10, side=side, number=8)
            self.assertEqual(withdrawal.order_id, 8, entry)


class TrailingTests(SynchronousTestCase):
    """The stop follows the best price."""

    def test_the_worked_example(self) -> None:
        account = holding(TRAILING)
        self.assertEqual(account.price("5804.75", 10), ())
        (command,) = account.price("5805", 20)
        self.assertEqual(
            command,
            ChangeStop(
                reason="Stop for 2 contracts of ESU5 at 5802.50, 10 ticks behind 5805",
                order_id=7,
                size=2,
                stop_price=Decimal("5802.50"),
            ),
        )
        account.receive_own("5802.50", 20.1)
        self.assertEqual(moved(account.price("5810", 30)), [(2, "5807.50")])
        account.receive_own("5807.50", 30.1)
        self.assertEqual(account.price("5808", 40), ())

    def test_a_short_position(self) -> None:
        account = holding(TRAILING, BUY, stop="5802.50")
        self.assertEqual(account.price("5795.25", 10), ())
        self.assertEqual(moved(account.price("5795", 20)), [(2, "5797.50")])
        account.receive_own("5797.50", 20.1, side=BUY)
        self.assertEqual(account.price("5796", 30), ())
        self.assertEqual(moved(account.price("5790", 40)), [(2, "5792.50")])

    def test_the_stop_changes_once_a_second_and_then_to_the_last_price(self) -> None:
        account = holding(TRAILING)
        account.price("5805", 10)
        account.receive_own("5802.50", 10.1)
        for seconds, last in ((10.2, "5806"), (10.9, "5807"), (10.999, "5806.50")):
            self.assertEqual(account.price(last, seconds), (), seconds)
            self.assertEqual(account.last.wake_at, at(11))
        self.assertEqual(moved(account.wake(11)), [(2, "5804.50")])

    def test_a_failed_change_is_tried_again(self) -> None:
        account = holding(TRAILING)
        self.assertEqual(len(account.price("5805", 10)), 1)
        self.assertEqual(account.last.wake_at, at(11))
        self.assertEqual(moved(account.wake(11)), [(2, "5802.50")])

    def test_the_stop_does_not_follow_a_stale_quote(self) -> None:
        account = holding(TRAILING)
        account.state = state_after(quote(ES, "5805", 10), state=account.state)
        self.assertEqual(account.review(20.001), ())
        self.assertEqual(
            account.last.warnings, ("ESU5: no fresh quote, its stop does not follow",)
        )
        self.assertEqual(moved(account.review(20)), [(2, "5802.50")])
        self.assertEqual(account.last.warnings, ())

    def test_a_delayed_change_waits_for_a_fresh_quote(self) -> None:
        account = holding(TRAILING)
        account.price("5805", 10)
        self.assertEqual(account.wake(20.001), ())
        self.assertEqual(moved(account.price("5804", 21)), [(2, "5802.50")])

    def test_a_price_from_before_the_position_does_not_count(self) -> None:
        account = Account(TRAILING)
        account.state = state_after(quote(ES, "5900", -1))
        account.receive(position(ES, 2, LONG, "5800"))
        account.receive_own("5797.50", 0.1)
        self.assertEqual(account.price("5801", 10), ())

    def test_each_position_has_a_best_price_of_its_own(self) -> None:
        for again in (
            position(ES, 2, LONG, "5800", seconds=20, opened=20),
            position(ES, 2, SHORT, "5830", seconds=20),
        ):
            account = holding(TRAILING)
            account.price("5830", 10)
            account.receive_own("5827.50", 10.1)
            account.end_own(15)
            account.receive(position(ES, 0, seconds=15), 15)
            (command,) = account.receive(again, 20)
            assert isinstance(command, PlaceStop)
            self.assertIn("10 ticks from the entry", command.reason)

    def test_a_position_that_was_opened_again_unseen_is_another_one(self) -> None:
        account = holding(TRAILING)
        account.price("5805", 10)
        again = position(ES, 2, LONG, "5800", seconds=20, opened=20)
        account.receive(again, 20)
        self.assertEqual(account.price("5801", 25), ())

    def test_a_traders_stop_is_never_touched(self) -> None:
        account = Account(TRAILING)
        account.receive(order(9, ES, SELL, 2, price="5790"))
        account.receive(position(ES, 2, LONG, "5800"))
        for seconds, last in ((10, "5805"), (20, "5900"), (30, "5795")):
            self.assertEqual(account.price(last, seconds), ())

    def test_a_stop_that_the_trader_has_tightened_stays(self) -> None:
        account = holding(TRAILING)
        account.receive_own("5804", 5)
        self.assertEqual(account.price("5805", 10), ())
        self.assertEqual(moved(account.price("5807", 20)), [(2, "5804.50")])

    def test_a_market_beyond_the_stop_closes_the_position(self) -> None:
        account = holding(TRAILING)
        account.price("5805", 10)
        account.receive_own("5802.50", 10.1)
        account.price("5810", 10.5)
        (command,) = account.price("5807.50", 11)
        assert isinstance(command, Flatten)
        self.assertEqual(command.keep, {ES: 0})

    def test_the_best_price_survives_a_restart(self) -> None:
        account = holding(TRAILING)
        account.price("5805", 10)
        account.receive_own("5802.50", 10.1)
        account.price("5810", 10.5)
        # The change was not asked for before the end.
        after = Account(TRAILING)
        after.state = account.state
        self.assertEqual(moved(after.price("5809", 60)), [(2, "5807.50")])

    def test_without_a_stop_one_is_placed(self) -> None:
        settings = settings_of(Settings, auto_stop_loss=False, trailing_stop={"enabled": True})
        account = Account(settings)
        self.assertEqual(account.receive(position(ES, 2, LONG, "5800")), ())
        (command,) = account.price("5805", 10)
        assert isinstance(command, PlaceStop)
        self.assertEqual(command.stop_price, Decimal("5802.50"))
        self.assertEqual(
            command.reason, "Stop for 2 contracts of ESU5 at 5802.50, 10 ticks behind 5805"
        )

    @given(st.sampled_from([SELL, BUY]), st.lists(st.integers(-60, 60), max_size=20))
    def test_the_stop_only_moves_towards_the_market(
        self, side: OrderSide, moves: list[int]
    ) -> None:
        direction = 1 if side is SELL else -1
        stop = Decimal(5800) - direction * Decimal("2.50")
        account = holding(TRAILING, side, stop=str(stop))
        for number, ticks in enumerate(moves, start=1):
            last = Decimal(5800) + ticks * Decimal("0.25")
            for command in account.price(str(last), number * 5):
                if isinstance(command, Flatten):
                    return
                assert isinstance(command, ChangeStop)
                self.assertGreater((command.stop_price - stop) * direction, 0)
                self.assertGreater((last - command.stop_price) * direction, 0)
                stop = command.stop_price
                account.receive_own(str(stop), number * 5 + 1, side=side)


class BreakevenTests(SynchronousTestCase):
    """The stop moves to the entry."""

    def test_the_stop_moves_at_the_trigger_and_not_before(self) -> None:
        account = holding(BREAKEVEN)
        self.assertEqual(account.price("5802.25", 10), ())
        (command,) = account.price("5802.50", 20)
        assert isinstance(command, ChangeStop)
        self.assertEqual(command.stop_price, Decimal("5800.50"))
        self.assertIn("2 ticks beyond the entry", command.reason)
        account.receive_own("5800.50", 20.1)
        self.assertEqual(account.price("5803", 30), ())

    def test_a_short_position(self) -> None:
        account = holding(BREAKEVEN, BUY, stop="5802.50")
        self.assertEqual(account.price("5797.75", 10), ())
        self.assertEqual(moved(account.price("5797.50", 20)), [(2, "5799.50")])

    def test_the_stop_moves_to_the_entry(self) -> None:
        account = holding(settings_of(Settings, auto_breakeven={"enabled": True}))
        (command,) = account.price("5802.50", 20)
        assert isinstance(command, ChangeStop)
        self.assertEqual(command.stop_price, Decimal(5800))
        self.assertIn("at the entry", command.reason)

    def test_of_breakeven_and_trailing_the_nearer_to_the_market_counts(self) -> None:
        both = settings_of(
            Settings, auto_breakeven={"enabled": True}, trailing_stop={"enabled": True}
        )
        account = holding(both)
        self.assertEqual(moved(account.price("5804", 10)), [(2, "5800.00")])
        account.receive_own("5800", 10.1)
        self.assertEqual(moved(account.price("5805", 20)), [(2, "5802.50")])


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.enabled, settings.auto_stop_loss, settings.stop_loss_ticks),
            (False, True, 10),
        )
        breakeven, trailing = settings.auto_breakeven, settings.trailing_stop
        self.assertEqual(
            (breakeven.enabled, breakeven.profit_trigger_ticks, breakeven.offset_ticks),
            (False, 10, 0),
        )
        self.assertEqual(
            (trailing.enabled, trailing.activation_ticks, trailing.trail_distance_ticks),
            (False, 20, 10),
        )

    def test_invalid_tables_are_rejected(self) -> None:
        for table, words in (
            ({"stop_loss_ticks": 0}, "stop_loss_ticks"),
            ({"stop_loss_ticks": True}, "stop_loss_ticks"),
            ({"stop_loss_ticks": 2.5}, "stop_loss_ticks"),
            ({"auto_stop_loss": 1}, "auto_stop_loss"),
            ({"auto_breakeven": {"profit_trigger_ticks": 0}}, "profit_trigger_ticks"),
            ({"auto_breakeven": {"offset_ticks": -1}}, "offset_ticks"),
            (
                {"auto_breakeven": {"offset_ticks": 10}},
                "offset_ticks: expected less than profit_trigger_ticks (10), got 10",
            ),
            ({"trailing_stop": {"activation_ticks": 0}}, "activation_ticks"),
            ({"trailing_stop": {"trail_distance_ticks": 0}}, "trail_distance_ticks"),
            ({"trailing_stop": {"distance": 1}}, "distance"),
            ({"trailing": {}}, "trailing"),
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(words, str(error), table)


class GaugeTests(SynchronousTestCase):
    """The stops of each position."""

    def test_the_gauge_lists_the_stops(self) -> None:
        account = holding()
        account.receive(order(9, ES, SELL, 1, price="5790"))
        account.receive(position(MNQ, 1))
        es, mnq = gauges(account.state, STOPS, NOON)
        self.assertEqual((es.name, es.words), ("stop of ESU5", "2 at 5797.50, 1 at 5790"))
        self.assertEqual((mnq.name, mnq.words), ("stop of MNQU5", "none"))
