"""RULE-006: the largest number of trades in a time window."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, begin_day, without_trade
from riskd.rules.builtin.trade_frequency_limit import Settings, check, gauges
from riskd.rules.interface import NOTHING, Flatten, Gauge, Kind, Lock, RuleResult
from tests.support.rules import (
    at,
    flatten_of,
    review,
    settings_of,
    state_after,
    trade,
    trade_trigger,
    trigger,
)

THREE_A_MINUTE = {"max_trades": 3, "time_window_minutes": 1}


def state_of(times: Sequence[float], state: AccountState | None = None) -> AccountState:
    return state_after(
        *(trade(number, "1", seconds) for number, seconds in enumerate(times)), state=state
    )


def results_of(times: Sequence[float], **settings: object) -> list[RuleResult]:
    """Check the rule after each of the trades; return its results."""
    state = AccountState(account_id=123)
    results = []
    for number, seconds in enumerate(times):
        event = trade(number, "1", seconds)
        state = state_after(event, state=state)
        results.append(check(state, settings_of(Settings, **settings), trade_trigger(event)))
    return results


def breaches(times: Sequence[float], **settings: object) -> list[bool]:
    return [bool(result.commands) for result in results_of(times, **settings)]


def seconds_of(result: RuleResult) -> int | None:
    lock = flatten_of(result).lock
    return lock.cooldown_seconds if lock else None


class WindowTests(SynchronousTestCase):
    """What is a breach."""

    def test_the_fourth_trade_in_a_minute_starts_a_cooldown(self) -> None:
        *before, last = results_of([0, 10, 20, 30], **THREE_A_MINUTE)
        self.assertEqual(before, [NOTHING] * 3)
        self.assertEqual(
            flatten_of(last),
            Flatten(
                reason="Too many trades: 4 in 1 minute (limit 3)",
                lock=Lock(until=at(30 + 1800), cooldown_seconds=1800),
            ),
        )

    def test_the_window_slides(self) -> None:
        self.assertEqual(breaches([0, 10, 20, 70], **THREE_A_MINUTE), [False] * 4)

    def test_the_window_spans_the_end_of_a_day(self) -> None:
        before = begin_day(state_of([0, 10, 20]), at(25))
        self.assertEqual(dict(before.trades), {})
        event = trade(9, "1", 30)
        result = check(
            state_after(event, state=before),
            settings_of(Settings, **THREE_A_MINUTE),
            trade_trigger(event),
        )
        self.assertIn("4 in 1 minute", flatten_of(result).reason)

    def test_the_window_excludes_its_beginning_and_includes_its_end(self) -> None:
        for seconds, breach in ((59.999, True), (60, False), (60.001, False)):
            self.assertEqual(breaches([0, 10, 20, seconds], **THREE_A_MINUTE)[-1], breach, seconds)

    def test_the_default_is_thirty_trades_in_an_hour(self) -> None:
        times = [100.0 * number for number in range(31)]
        self.assertEqual(breaches(times), [False] * 30 + [True])
        self.assertEqual(breaches([*times[:30], 3600])[-1], False)

    def test_an_exit_that_is_filled_in_three_parts_counts_three_times(self) -> None:
        self.assertEqual(breaches([0, 5, 5, 5], **THREE_A_MINUTE), [False, False, False, True])

    def test_a_repeated_trade_counts_once(self) -> None:
        state = state_of([0, 10, 20])
        again = trade(2, "1", 20)
        state = state_after(again, state=state)
        self.assertEqual(
            check(state, settings_of(Settings, **THREE_A_MINUTE), trade_trigger(again)), NOTHING
        )

    def test_a_voided_trade_does_not_count(self) -> None:
        state = without_trade(state_of([0, 10, 20]), 1)
        last = trade(9, "1", 30)
        state = state_after(last, state=state)
        self.assertEqual(
            check(state, settings_of(Settings, **THREE_A_MINUTE), trade_trigger(last)), NOTHING
        )

    def test_the_window_ends_with_the_trade_not_with_its_arrival(self) -> None:
        state, last = state_of([0, 10, 20, 30]), trade(3, "1", 30)
        result = check(state, settings_of(Settings, **THREE_A_MINUTE), trade_trigger(last, 95))
        self.assertEqual(flatten_of(result).lock, Lock(until=at(95 + 1800), cooldown_seconds=1800))

    def test_later_trades_do_not_count(self) -> None:
        state, late = state_of([0, 10, 15, 20]), trade(2, "1", 15)
        self.assertEqual(
            check(state, settings_of(Settings, **THREE_A_MINUTE), trade_trigger(late)), NOTHING
        )

    @given(
        st.lists(st.integers(0, 40), max_size=20),
        st.integers(1, 4),
        st.integers(1, 10),
    )
    def test_the_rule_acts_exactly_when_a_window_exceeds_its_limit(
        self, minutes: list[int], limit: int, window: int
    ) -> None:
        minutes.sort()
        expected = [
            sum(end - window < earlier <= end for earlier in minutes[: number + 1]) > limit
            for number, end in enumerate(minutes)
        ]
        times = [60 * each for each in minutes]
        fired = breaches(times, max_trades=limit, time_window_minutes=window)
        self.assertEqual(fired, expected)


class SeveralLimitsTests(SynchronousTestCase):
    """Limits for a minute, an hour and a session."""

    def test_each_limit_has_its_own_cooldown(self) -> None:
        for limits, times, cooldown, reason in (
            ({"per_minute": 2}, [0, 1, 2], 60, "3 in a minute (limit 2)"),
            ({"per_hour": 2}, [0, 100, 3599], 1800, "3 in an hour (limit 2)"),
            ({"per_session": 2}, [0, 9000, 18000], 3600, "3 in the session (limit 2)"),
        ):
            *before, last = results_of(times, limits=limits)
            self.assertEqual(before, [NOTHING, NOTHING])
            self.assertEqual(seconds_of(last), cooldown)
            self.assertEqual(flatten_of(last).reason, f"Too many trades: {reason}")

    def test_the_longest_cooldown_counts(self) -> None:
        limits = {"per_minute": 2, "per_hour": 3, "per_session": 4}
        results = results_of([0, 1, 2, 3, 4], limits=limits)
        self.assertEqual([seconds_of(each) for each in results[2:]], [60, 1800, 3600])
        table = {"per_minute_breach": 9000, "per_hour_breach": 10}
        results = results_of([0, 1, 2, 3, 4], limits=limits, cooldown_on_breach=table)
        self.assertEqual([seconds_of(each) for each in results[2:]], [9000, 9000, 9000])

    def test_the_session_is_longer_than_an_hour(self) -> None:
        times = [4000.0 * number for number in range(4)]
        self.assertEqual(
            breaches(times, limits={"per_hour": 1, "per_session": 3}), [False] * 3 + [True]
        )

    def test_later_trades_do_not_count_in_the_session(self) -> None:
        state, late = state_of([0, 10, 15, 20]), trade(2, "1", 15)
        settings = settings_of(Settings, limits={"per_session": 3})
        self.assertEqual(check(state, settings, trade_trigger(late)), NOTHING)

    def test_the_session_begins_with_the_day(self) -> None:
        state = begin_day(AccountState(account_id=123), at(0))
        settings = settings_of(Settings, limits={"per_session": 2})
        last = trade(9, "1", 30)
        for first, breach in ((-1, False), (0, True)):
            full = state_after(last, state=state_of([first, 10], state))
            self.assertEqual(bool(check(full, settings, trade_trigger(last)).commands), breach)

    def test_breaches_of_two_limits_are_both_found(self) -> None:
        limits = {"per_minute": 1, "per_hour": 2}
        self.assertEqual(
            [seconds_of(each) for each in results_of([0, 1, 120], limits=limits)[1:]], [60, 1800]
        )


class TriggerTests(SynchronousTestCase):
    """Only a recent trade starts a cooldown."""

    def test_a_review_starts_no_cooldown(self) -> None:
        state, settings = state_of([0, 1, 2, 3]), settings_of(Settings, **THREE_A_MINUTE)
        for asked in (review(), trigger(Kind.TIMER), trigger(Kind.TRADE)):
            self.assertEqual(check(state, settings, asked), NOTHING)

    def test_a_trade_long_ago_starts_no_cooldown(self) -> None:
        state, last = state_of([0, 1, 2, 3]), trade(3, "1", 3)
        settings = settings_of(Settings, **THREE_A_MINUTE, cooldown_seconds=60)
        for seconds, breach in ((62.999, True), (63, False)):
            result = check(state, settings, trade_trigger(last, seconds))
            self.assertEqual(bool(result.commands), breach, seconds)

    def test_a_trade_may_be_too_old_for_one_limit_and_not_for_another(self) -> None:
        state, last = state_of([0, 1, 2, 3]), trade(3, "1", 3)
        settings = settings_of(Settings, limits={"per_minute": 1, "per_hour": 3})
        self.assertEqual(seconds_of(check(state, settings, trade_trigger(last, 100))), 1800)
        settings = settings_of(Settings, limits={"per_minute": 1, "per_hour": 4})
        self.assertEqual(check(state, settings, trade_trigger(last, 100)), NOTHING)

    def test_a_trade_of_yesterday_starts_no_cooldown(self) -> None:
        settings = settings_of(Settings, **THREE_A_MINUTE)
        for began, breach in ((3, True), (3.001, False)):
            state = state_of(
                [0, 1, 2, 3],
                msgspec.structs.replace(AccountState(account_id=123), day_began=at(began)),
            )
            result = check(state, settings, trade_trigger(trade(3, "1", 3)))
            self.assertEqual(bool(result.commands), breach)


class GaugeTests(SynchronousTestCase):
    """How many trades each window has."""

    def test_each_limit_has_a_gauge(self) -> None:
        state = state_of([0, 10, 70])
        settings = settings_of(
            Settings, limits={"per_minute": 3, "per_hour": 9, "per_session": 20}
        )

        def gauge(name: str, limit: int, current: int) -> Gauge:
            return Gauge(name=name, limit=Decimal(limit), current=Decimal(current), unit="trades")

        self.assertEqual(
            gauges(state, settings, at(71)),
            (
                gauge("trades in a minute", 3, 1),
                gauge("trades in an hour", 9, 3),
                gauge("trades in the session", 20, 3),
            ),
        )
        self.assertEqual(
            gauges(state, settings_of(Settings), at(70)),
            (gauge("trades in 60 minutes", 30, 3),),
        )


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_the_form_with_one_limit(self) -> None:
        (window,) = settings_of(Settings).windows
        self.assertEqual(
            (window.limit, window.length, window.cooldown_seconds),
            (30, at(3600) - at(0), 1800),
        )
        (window,) = settings_of(
            Settings, max_trades=5, time_window_minutes=10, cooldown_seconds=7
        ).windows
        self.assertEqual(
            (window.limit, window.length, window.cooldown_seconds), (5, at(600) - at(0), 7)
        )

    def test_the_form_with_several_limits(self) -> None:
        settings = settings_of(
            Settings,
            limits={"per_session": 9, "per_minute": 3},
            cooldown_on_breach={"per_minute_breach": 5},
        )
        found = [(each.limit, each.cooldown_seconds) for each in settings.windows]
        self.assertEqual(found, [(3, 5), (9, 3600)])

    def test_settings_can_be_written_and_read(self) -> None:
        for settings in (
            settings_of(Settings, max_trades=5),
            settings_of(Settings, limits={"per_hour": 3}),
        ):
            text = msgspec.json.encode(settings)
            self.assertEqual(msgspec.json.decode(text, type=Settings), settings)

    def test_invalid_tables_are_rejected(self) -> None:
        limits = {"per_hour": 3}
        tables: tuple[tuple[dict[str, object], str], ...] = (
            ({"max_trades": 0}, "max_trades"),
            ({"max_trades": True}, "max_trades"),
            ({"time_window_minutes": 0}, "time_window_minutes"),
            ({"cooldown_seconds": -1}, "cooldown_seconds"),
            ({"limits": {}}, "expected per_minute, per_hour or per_session, got none of them"),
            ({"limits": {"per_hour": 0}}, "limits.per_hour"),
            ({"limits": {"per_day": 1}}, "per_day"),
            (
                {"limits": limits, "max_trades": 5},
                "max_trades: expected only without limits, got 5",
            ),
            ({"limits": limits, "time_window_minutes": 5}, "time_window_minutes: expected only"),
            ({"limits": limits, "cooldown_seconds": 5}, "cooldown_seconds: expected only"),
            ({"cooldown_on_breach": {}}, "cooldown_on_breach: expected only with limits"),
            ({"limits": limits, "cooldown_on_breach": {"x": 1}}, "cooldown_on_breach"),
            (
                {"limits": limits, "cooldown_on_breach": {"per_hour_breach": 0}},
                "per_hour_breach",
            ),
        )
        for table, part in tables:
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(part, str(error))
