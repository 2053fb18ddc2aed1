"""RULE-006: the largest number of trades in a time window."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, begin_day, without_trade
from riskd.model.events import LockoutSet
from riskd.model.lockouts import lock_of
from riskd.model.unlocks import UNLOCKED, Unlock
from riskd.rules.builtin.trade_frequency_limit import Settings, check, gauges
from riskd.rules.interface import NOTHING, Flatten, Gauge, LiftLock, Lock, RuleResult, Trigger
from tests.support.rules import (
    NOON,
    at,
    flatten_of,
    review,
    settings_of,
    state_after,
    trade,
    trade_trigger,
    with_memory,
)

RULE = "RULE-006"

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


class Account:
    """An account that is locked as the rule says, and whose rule remembers."""

    def __init__(self, **settings: object) -> None:
        self.settings = settings_of(Settings, **settings)
        self.state = begin_day(AccountState(account_id=123), at(-1000))

    def learn(self, number: int, executed: float, now: float | None = None) -> RuleResult:
        """Receive a trade, and check the rule."""
        event = trade(number, "1", executed)
        self.state = state_after(event, state=self.state)
        return self.check(trade_trigger(event, now))

    def check(self, asked: Trigger) -> RuleResult:
        known = self.state.lockouts
        result = check(self.state, self.settings, asked)
        self.state = with_memory(self.state, RULE, result)
        for command in result.commands:
            if isinstance(command, LiftLock):
                known = {key: lock for key, lock in known.items() if key != RULE}
            assert isinstance(command, (Flatten, LiftLock))
            if isinstance(command, Flatten):
                assert command.lock is not None
                lock = LockoutSet(
                    reason="many",
                    locked_until=command.lock.until,
                    rule_id=RULE,
                    locked_at=asked.now,
                )
                known = {**known, RULE: lock}
        self.state = msgspec.structs.replace(self.state, lockouts=known)
        return result

    def void(self, number: int, seconds: float) -> RuleResult:
        self.state = without_trade(self.state, number)
        return self.check(review(seconds))

    def locked_until(self, seconds: float) -> float | None:
        lock = lock_of(self.state, RULE, at(seconds))
        if lock is None or lock.locked_until is None:
            return None
        return (lock.locked_until - NOON).total_seconds()


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
        self.assertEqual(flatten_of(result).lock, Lock(until=at(30 + 1800), cooldown_seconds=1735))

    def test_a_trade_that_comes_late_counts_in_the_windows_of_later_trades(self) -> None:
        state, late = state_of([0, 10, 15, 20]), trade(2, "1", 15)
        settings = settings_of(Settings, **THREE_A_MINUTE)
        lock = flatten_of(check(state, settings, trade_trigger(late, 25))).lock
        self.assertEqual(lock, Lock(until=at(25 + 1800), cooldown_seconds=1800))

    def test_later_trades_do_not_count_in_the_windows_of_earlier_ones(self) -> None:
        state, late = state_of([0, 10, 15, 61]), trade(2, "1", 15)
        settings = settings_of(Settings, **THREE_A_MINUTE)
        self.assertEqual(check(state, settings, trade_trigger(late, 61)), NOTHING)

    @given(
        st.lists(st.integers(0, 40), max_size=20),
        st.integers(1, 4),
        st.integers(1, 10),
    )
    def test_the_rule_acts_exactly_when_a_window_exceeds_its_limit(
        self, minutes: list[int], limit: int, window: int
    ) -> None:
        minutes.sort()
        expected, over = [], -1
        for number, end in enumerate(minutes):
            count = sum(end - window < earlier <= end for earlier in minutes[: number + 1])
            # A trade during a cooldown begins no other one.
            is_breach = count > limit and end >= over
            over = end + 7 if is_breach else over
            expected.append(is_breach)
        account = Account(max_trades=limit, time_window_minutes=window, cooldown_seconds=7 * 60)
        fired = [
            bool(account.learn(number, 60 * end).commands) for number, end in enumerate(minutes)
        ]
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

    def test_a_late_trade_counts_in_the_session(self) -> None:
        state, late = state_of([0, 10, 15, 20]), trade(2, "1", 15)
        settings = settings_of(Settings, limits={"per_session": 3})
        self.assertEqual(seconds_of(check(state, settings, trade_trigger(late, 30))), 3590)

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

    def test_a_review_finds_trades_whose_events_were_lost(self) -> None:
        state, settings = state_of([0, 1, 2, 3]), settings_of(Settings, **THREE_A_MINUTE)
        for seconds, until in ((3, 1803), (12.9, 1812.9), (13, 1803), (1802.9, 1803)):
            lock = flatten_of(check(state, settings, review(seconds))).lock
            assert lock is not None
            self.assertEqual(lock.until, at(until), seconds)
        self.assertEqual(check(state, settings, review(1803)), NOTHING)

    def test_a_trade_long_ago_starts_no_cooldown(self) -> None:
        state, last = state_of([0, 1, 2, 3]), trade(3, "1", 3)
        settings = settings_of(Settings, **THREE_A_MINUTE, cooldown_seconds=60)
        for seconds, breach in ((62.999, True), (63, False)):
            result = check(state, settings, trade_trigger(last, seconds))
            self.assertEqual(bool(result.commands), breach, seconds)

    def test_a_trade_may_be_too_old_for_one_limit_and_not_for_another(self) -> None:
        state, last = state_of([0, 1, 2, 3]), trade(3, "1", 3)
        settings = settings_of(Settings, limits={"per_minute": 1, "per_hour": 3})
        self.assertEqual(seconds_of(check(state, settings, trade_trigger(last, 100))), 1703)
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


class OrderOfLearningTests(SynchronousTestCase):
    """The decision does not depend on the order in which trades become known."""

    @given(
        st.lists(st.integers(0, 240), min_size=1, max_size=8).flatmap(
            lambda times: st.tuples(st.just(times), st.permutations(range(len(times))))
        ),
        st.integers(1, 3),
        st.integers(1, 3),
        st.booleans(),
    )
    def test_in_any_order_the_account_is_locked_for_the_same_trades(
        self, drawn: tuple[list[int], list[int]], limit: int, minutes: int, has_reviews: bool
    ) -> None:
        times, order = drawn
        # Within the cooldown of the first breach that there can be.
        now = 300
        account = Account(max_trades=limit, time_window_minutes=minutes, cooldown_seconds=300)
        for number in order:
            account.learn(number, times[number], now)
            if has_reviews:
                account.check(review(now))
        ends = [
            end
            for end in times
            if end + 300 > now
            and sum(end - 60 * minutes < other <= end for other in times) > limit
        ]
        until = account.locked_until(now)
        if ends:
            assert until is not None
            self.assertLessEqual(min(ends) + 300, until)
            self.assertLessEqual(until, max(ends) + 300)
        else:
            self.assertIsNone(until)

    def test_a_cooldown_is_not_begun_again_by_a_review(self) -> None:
        account = Account(**THREE_A_MINUTE)
        for number in range(4):
            account.learn(number, number)
        for seconds in (3, 12, 13, 60, 1802, 1803, 1804, 2000, 3700):
            self.assertEqual(account.check(review(seconds)).commands, (), seconds)

    def test_an_earlier_trade_that_is_known_later_begins_no_other_cooldown(self) -> None:
        account = Account(**THREE_A_MINUTE)
        for number in (0, 1, 2, 5):
            result = account.learn(number, number)
        self.assertEqual(len(result.commands), 1)
        self.assertEqual(account.learn(3, 3, 6).commands, ())
        self.assertEqual(account.check(review(7)).commands, ())

    def test_what_the_flatten_closes_begins_no_other_cooldown(self) -> None:
        account = Account(**THREE_A_MINUTE, cooldown_seconds=30)
        for number in range(4):
            account.learn(number, number)
        for number in range(5, 8):
            self.assertEqual(account.learn(number, number - 1).commands, ())
        self.assertEqual(account.check(review(33)).commands, ())
        # It counts for a trade that the trader makes later.
        self.assertEqual(len(account.learn(9, 40).commands), 1)

    def test_what_is_closed_in_a_lock_of_another_rule_begins_no_cooldown(self) -> None:
        account = Account(**THREE_A_MINUTE)
        for number in range(3):
            account.learn(number, number)
        other = LockoutSet(reason="loss", locked_until=at(60), rule_id="RULE-007", locked_at=at(3))
        account.state = msgspec.structs.replace(account.state, lockouts={"RULE-007": other})
        # The lock's time is riskd's estimate of the broker's time, which may be ahead of it.
        self.assertEqual(account.learn(4, 2.5, 4).commands, ())
        account.state = msgspec.structs.replace(account.state, lockouts={})
        self.assertEqual(account.check(review(60)).commands, ())
        self.assertEqual(account.learn(5, 59).commands[0].reason[:15], "Too many trades")

    def test_a_late_trade_from_before_a_lock_of_another_rule_begins_a_cooldown(self) -> None:
        account = Account(**THREE_A_MINUTE)
        for number in range(3):
            account.learn(number, number)
        other = LockoutSet(reason="loss", locked_until=at(60), rule_id="RULE-007", locked_at=at(3))
        account.state = msgspec.structs.replace(account.state, lockouts={"RULE-007": other})
        self.assertEqual(len(account.learn(4, 1.5, 20).commands), 1)


class VoidTests(SynchronousTestCase):
    """Trades that the broker voids."""

    def account(self, trades: int = 4) -> Account:
        account = Account(**THREE_A_MINUTE)
        for number in range(trades):
            account.learn(number, number)
        assert account.locked_until(trades) is not None
        return account

    def test_the_cooldown_ends_when_its_trades_are_no_more_too_many(self) -> None:
        for number in range(4):
            result = self.account().void(number, 10)
            self.assertEqual([type(each) for each in result.commands], [LiftLock], number)

    def test_it_ends_once(self) -> None:
        account = self.account()
        account.void(1, 10)
        self.assertEqual(account.check(review(11)).commands, ())
        self.assertEqual(account.void(2, 12).commands, ())

    def test_it_stands_while_the_remaining_trades_are_too_many(self) -> None:
        account = self.account(5)
        self.assertEqual(
            [each for each in account.void(0, 10).commands if isinstance(each, LiftLock)], []
        )
        self.assertIsNotNone(account.locked_until(20))
        account.void(1, 11)
        self.assertIsNone(account.locked_until(20))

    def test_a_void_of_another_trade_changes_nothing(self) -> None:
        account = Account(**THREE_A_MINUTE)
        account.learn(99, -500)
        for number in range(4):
            account.learn(number, number)
        self.assertEqual(account.void(99, 10).commands, ())
        self.assertEqual(account.void(77, 11).commands, ())

    def test_a_lock_of_an_operator_is_not_lifted(self) -> None:
        account = self.account()
        operators = LockoutSet(reason="no", locked_until=None, rule_id="OPERATOR", locked_at=at(4))
        account.state = msgspec.structs.replace(account.state, lockouts={"OPERATOR": operators})
        self.assertEqual(account.void(0, 10).commands, ())

    def test_trades_that_left_with_their_day_are_not_voided(self) -> None:
        account = self.account()
        account.state = begin_day(account.state, at(5))
        self.assertEqual(account.check(review(10)).commands, ())
        account.state = begin_day(account.state, at(25 * 3600))
        self.assertEqual(account.check(review(11)).commands, ())

    def test_a_void_counts_across_the_end_of_the_day(self) -> None:
        account = self.account()
        account.state = begin_day(account.state, at(5))
        self.assertEqual([type(each) for each in account.void(2, 10).commands], [LiftLock])

    def test_a_void_that_came_before_its_trade(self) -> None:
        account = Account(**THREE_A_MINUTE)
        account.void(2, 0)
        for number in range(4):
            self.assertEqual(account.learn(number, number).commands, ())


class UnlockTests(SynchronousTestCase):
    """What follows when an operator unlocks the account."""

    def unlocked(self, **later: object) -> Account:
        account = Account(**THREE_A_MINUTE)
        for number in range(4):
            account.learn(number, number)
        settings = msgspec.json.encode(account.settings).decode()
        unlock = Unlock(at=at(10), beyond=(RULE,), settings={RULE: settings})
        account.state = msgspec.structs.replace(
            account.state, lockouts={}, limits={UNLOCKED: unlock.limit}
        )
        account.settings = settings_of(Settings, **{**THREE_A_MINUTE, **later})
        return account

    def test_a_review_does_not_lock_again(self) -> None:
        account = self.unlocked()
        for seconds in (10, 11, 60, 1803, 2000):
            self.assertEqual(account.check(review(seconds)).commands, ())

    def test_the_next_trade_that_is_too_many_locks_again(self) -> None:
        account = self.unlocked()
        self.assertEqual(len(account.learn(5, 30).commands), 1)
        self.assertEqual(account.locked_until(31), 1830)
        self.assertEqual(account.check(review(1830)).commands, ())
        account = self.unlocked()
        self.assertEqual(account.learn(5, 100).commands, ())

    def test_a_cooldown_after_it_counts_though_the_clock_was_before_it(self) -> None:
        account = self.unlocked()
        self.assertEqual(len(account.learn(5, 30, 9.5).commands), 1)
        self.assertEqual(account.check(review(31)).commands, ())

    def test_a_tighter_limit_locks_again(self) -> None:
        account = self.unlocked(max_trades=2)
        self.assertEqual(len(account.check(review(20)).commands), 1)
        self.assertEqual(account.check(review(30)).commands, ())
        self.assertEqual(account.check(review(1804)).commands, ())

    def test_a_looser_limit_does_not(self) -> None:
        account = self.unlocked(max_trades=5, cooldown_seconds=3600)
        self.assertEqual(account.check(review(20)).commands, ())


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
