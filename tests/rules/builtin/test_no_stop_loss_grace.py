"""RULE-008: a position that has no stop for all its contracts in time is closed."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.events import Event, OrderType
from riskd.rules.builtin.no_stop_loss_grace import Settings, check, gauges
from riskd.rules.interface import Flatten, RuleResult, Trigger
from tests.support.rules import (
    BUY,
    ES,
    LONG,
    MNQ,
    SELL,
    SHORT,
    at,
    canceled,
    flatten_of,
    order,
    position,
    review,
    settings_of,
    state_after,
    timer,
    trigger_of,
    with_detail,
    with_memory,
)

RULE = "RULE-008"
SETTINGS = Settings()


class Account:
    """An account that the rule checks after each event."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.state: AccountState = state_after()

    def receive(self, event: Event, seconds: float, **detail: object) -> RuleResult:
        self.state = state_after(event, state=self.state)
        if detail:
            self.state = with_detail(self.state, 7, **detail)
        return self.check(trigger_of(event, seconds))

    def check(self, trigger: Trigger) -> RuleResult:
        result = check(self.state, self.settings, trigger)
        self.state = with_memory(self.state, RULE, result)
        return result


def closing(result: RuleResult) -> list[str]:
    """Return the contracts that a result closes."""
    return [
        contract_id
        for command in result.commands
        if isinstance(command, Flatten) and command.keep is not None
        for contract_id in command.keep
    ]


class DeadlineTests(SynchronousTestCase):
    """The grace of a new position."""

    def test_a_stop_in_time_is_enough(self) -> None:
        account = Account()
        self.assertEqual(account.receive(position(MNQ, 1), 0).wake_at, at(30))
        result = account.receive(order(7), 10)
        self.assertEqual((result.commands, result.wake_at), ((), None))
        self.assertEqual(account.check(timer(30)).commands, ())

    def test_a_position_without_a_stop_is_closed_at_the_deadline(self) -> None:
        account = Account()
        account.receive(position(MNQ, 2), 0)
        early = account.check(timer(29.999))
        self.assertEqual((early.commands, early.wake_at), ((), at(30)))
        result = account.check(timer(30))
        self.assertEqual(
            flatten_of(result),
            Flatten(
                reason="No stop for 2 of 2 MNQU5 in time (limit 30 s)",
                keep={MNQ: 0},
                asks_broker_first=True,
            ),
        )
        self.assertIsNone(result.wake_at)

    def test_the_grace_is_that_of_the_settings(self) -> None:
        account = Account(settings_of(Settings, grace_period_seconds=5))
        self.assertEqual(account.receive(position(MNQ, 1), 0).wake_at, at(5))
        self.assertEqual(closing(account.check(timer(5))), [MNQ])

    def test_the_grace_begins_with_the_opening_not_with_its_event(self) -> None:
        account = Account()
        self.assertEqual(account.receive(position(MNQ, 1), 12).wake_at, at(30))

    def test_an_overdue_position_is_closed_at_the_start(self) -> None:
        account = Account()
        account.state = state_after(position(MNQ, 1))
        self.assertEqual(closing(account.check(review(31))), [MNQ])

    def test_a_stop_counts_after_a_restart_without_memory(self) -> None:
        account = Account()
        account.state = state_after(position(MNQ, 1), order(7))
        self.assertEqual(account.check(review(1000)).commands, ())

    def test_each_contract_has_a_deadline_of_its_own(self) -> None:
        account = Account()
        account.receive(position(MNQ, 1), 0)
        result = account.receive(position(ES, 1, opened=10, seconds=10), 10)
        self.assertEqual(result.wake_at, at(30))
        result = account.check(timer(30))
        self.assertEqual((closing(result), result.wake_at), ([MNQ], at(40)))
        self.assertEqual(closing(account.check(timer(40))), [MNQ, ES])


class CoverTests(SynchronousTestCase):
    """What counts as a stop."""

    def is_met(self, *orders: Event, side: int = LONG, **detail: object) -> bool:
        state = state_after(position(MNQ, 2, LONG if side == LONG else SHORT), *orders)
        if detail:
            state = with_detail(state, 7, **detail)
        return not check(state, SETTINGS, review(30)).commands

    def test_only_stop_orders_that_exit_count(self) -> None:
        for kind, side, size, expected in (
            (OrderType.STOP, SELL, 2, True),
            (OrderType.STOP_LIMIT, SELL, 2, True),
            (OrderType.STOP, SELL, 3, True),
            (OrderType.STOP, SELL, 1, False),
            (OrderType.STOP, BUY, 2, False),
            (OrderType.LIMIT, SELL, 2, False),
            (OrderType.MARKET, SELL, 2, False),
        ):
            event = order(7, MNQ, side, size, kind=kind)
            self.assertEqual(self.is_met(event), expected, (kind, side, size))

    def test_a_short_position_needs_a_buy_stop(self) -> None:
        self.assertTrue(self.is_met(order(7, MNQ, BUY, 2), side=SHORT))
        self.assertFalse(self.is_met(order(7, MNQ, SELL, 2), side=SHORT))

    def test_a_stop_at_any_price_counts(self) -> None:
        for price in ("1", "21000", "22000"):
            self.assertTrue(self.is_met(order(7, MNQ, SELL, 2, price=price)))

    def test_several_stops_add_up(self) -> None:
        self.assertTrue(self.is_met(order(7), order(8)))
        self.assertFalse(self.is_met(order(7), order(8, ES)))

    def test_only_open_unfilled_contracts_of_a_stop_count(self) -> None:
        for size, detail, expected in (
            (2, {"is_open": False}, False),
            (2, {"filled": 1}, False),
            (3, {"filled": 1}, True),
            (2, {"custom_tag": "x"}, True),
        ):
            met = self.is_met(order(7, MNQ, SELL, size), **detail)
            self.assertEqual(met, expected, detail)

    def test_a_suspended_stop_counts_once_it_is_open(self) -> None:
        account = Account()
        account.receive(position(MNQ, 1), 0)
        self.assertEqual(account.receive(order(7), 5, is_open=False).wake_at, at(30))
        self.assertEqual(account.receive(order(7, seconds=6), 6, is_open=True).wake_at, None)

    def test_the_reason_has_the_uncovered_contracts(self) -> None:
        state = state_after(position(MNQ, 2), order(7))
        self.assertIn("1 of 2 MNQU5", flatten_of(check(state, SETTINGS, review(30))).reason)


class ChangeTests(SynchronousTestCase):
    """Later changes of a position and its stop."""

    def covered(self) -> Account:
        account = Account()
        account.receive(position(MNQ, 1), 0)
        account.receive(order(7), 10)
        return account

    def test_a_larger_position_keeps_the_deadline(self) -> None:
        account = self.covered()
        self.assertEqual(account.receive(position(MNQ, 2, seconds=20), 20).wake_at, at(30))
        self.assertEqual(closing(account.check(timer(30))), [MNQ])

    def test_a_larger_position_after_the_deadline_gets_a_new_window(self) -> None:
        account = self.covered()
        self.assertEqual(account.receive(position(MNQ, 2, seconds=300), 300).wake_at, at(330))
        # Which growing further does not lengthen.
        self.assertEqual(account.receive(position(MNQ, 3, seconds=320), 320).wake_at, at(330))
        self.assertEqual(account.check(timer(329)).commands, ())
        self.assertEqual(closing(account.check(timer(330))), [MNQ])

    def test_at_the_deadline_a_new_window_begins(self) -> None:
        account = self.covered()
        self.assertEqual(account.receive(position(MNQ, 2, seconds=30), 30).wake_at, at(60))

    def test_a_stop_that_is_canceled_within_the_window_does_not_lengthen_it(self) -> None:
        account = self.covered()
        self.assertEqual(account.receive(canceled(order(7), 29), 29).wake_at, at(30))
        self.assertEqual(closing(account.check(timer(30))), [MNQ])

    def test_a_stop_that_is_canceled_later_gives_a_new_window(self) -> None:
        account = self.covered()
        self.assertEqual(account.receive(canceled(order(7), 600), 600).wake_at, at(630))
        self.assertEqual(account.receive(order(8, seconds=629), 629).wake_at, None)
        self.assertEqual(account.receive(canceled(order(8), 700), 700).wake_at, at(730))
        self.assertEqual(closing(account.check(timer(730))), [MNQ])

    def test_a_stop_that_disappeared_unseen_gives_a_new_window(self) -> None:
        account = self.covered()
        account.state = state_after(canceled(order(7), 100), state=account.state)
        result = account.check(review(500))
        self.assertEqual((result.commands, result.wake_at), ((), at(530)))

    def test_a_reversed_position_gets_a_new_window(self) -> None:
        account = self.covered()
        flipped = position(MNQ, 1, SHORT, seconds=100)
        self.assertEqual(account.receive(flipped, 101).wake_at, at(130))
        self.assertEqual(closing(account.check(timer(130))), [MNQ])

    def test_a_closed_position_has_no_window(self) -> None:
        account = Account()
        account.receive(position(MNQ, 1), 0)
        result = account.receive(position(MNQ, 0, seconds=20), 20)
        self.assertEqual((result.wake_at, result.memory), (None, "{}"))
        self.assertEqual(account.check(timer(30)).commands, ())

    def test_a_position_that_is_opened_again_gets_a_new_window(self) -> None:
        account = self.covered()
        account.receive(position(MNQ, 0, seconds=50), 50)
        account.receive(canceled(order(7), 51), 51)
        again = position(MNQ, 1, seconds=60, opened=60)
        self.assertEqual(account.receive(again, 60).wake_at, at(90))

    def test_a_position_that_was_opened_again_unseen_gets_a_new_window(self) -> None:
        account = self.covered()
        account.state = state_after(canceled(order(7), 51), state=account.state)
        again = position(MNQ, 1, seconds=60, opened=60)
        self.assertEqual(account.receive(again, 61).wake_at, at(90))

    def test_a_longer_grace_counts_from_the_beginning_of_the_window(self) -> None:
        account = Account()
        account.receive(position(MNQ, 1), 0)
        account.settings = Settings(grace_period_seconds=60)
        result = account.check(review(30))
        self.assertEqual((result.commands, result.wake_at), ((), at(60)))

    @given(
        st.lists(st.tuples(st.integers(1, 200), st.booleans()), max_size=8),
    )
    def test_no_position_is_longer_without_a_stop_than_the_grace(
        self, steps: list[tuple[int, bool]]
    ) -> None:
        account = Account()
        result = account.receive(position(MNQ, 1), 0)
        now, bare_since, number = 0, 0, 10
        is_bare = True
        for gap, wants_stop in steps:
            now += gap
            if result.wake_at is not None and result.wake_at <= at(now):
                self.assertLessEqual(result.wake_at, at(bare_since + 30))
                due = (result.wake_at - at(0)).total_seconds()
                self.assertEqual(closing(account.check(timer(due))), [MNQ])
                return
            if wants_stop and is_bare:
                number += 1
                result = account.receive(order(number, seconds=now), now)
                self.assertIsNone(result.wake_at)
                is_bare = False
            elif not wants_stop and not is_bare:
                result = account.receive(canceled(order(number), now), now)
                is_bare, bare_since = True, now
            if not is_bare:
                self.assertEqual(result.commands, ())


class UndatedTests(SynchronousTestCase):
    """Positions whose date was never set."""

    def test_the_time_for_a_stop_begins_when_the_position_is_seen(self) -> None:
        for year in (1, 1970, 9999):
            event = position(MNQ, 1)
            undated = datetime(year, 1, 1, tzinfo=UTC)
            data = msgspec.structs.replace(event.data, created_at=undated, updated_at=undated)
            state = state_after(Event(event.account_id, data))
            first = check(state, SETTINGS, review(5))
            self.assertEqual((first.commands, first.wake_at), ((), at(35)))
            state = with_memory(state, "RULE-008", first)
            self.assertEqual(check(state, SETTINGS, review(34.9)).commands, ())
            self.assertEqual(len(check(state, SETTINGS, review(35)).commands), 1)


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.enabled, settings.grace_period_seconds, settings.action),
            (True, 30, "CLOSE_POSITION"),
        )

    def test_invalid_tables_are_rejected(self) -> None:
        for table in (
            {"grace_period_seconds": 0},
            {"grace_period_seconds": True},
            {"grace_period_seconds": "30"},
            {"action": "CLOSE_ALL_POSITIONS"},
            {"grace": 1},
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(next(iter(table)), str(error))


class GaugeTests(SynchronousTestCase):
    """How long positions have been without a stop."""

    def test_each_position_has_a_gauge(self) -> None:
        state = state_after(position(MNQ, 1), position(ES, 1), order(7, ES))
        bare, covered = gauges(state, SETTINGS, at(12.5))
        self.assertEqual((bare.name, bare.limit, bare.current), ("MNQU5 without a stop", 30, 12))
        self.assertEqual((covered.current, covered.words), (0, "has a stop"))

    def test_an_opening_ahead_of_the_clock_counts_as_zero_seconds(self) -> None:
        (gauge,) = gauges(state_after(position(MNQ, 1, opened=5)), SETTINGS, at(0))
        self.assertEqual(gauge.current, 0)
