"""RULE-007: a trade that loses much starts a cooldown."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, begin_day, with_risk, with_trades, without_trade
from riskd.model.events import Event, GatewayUserTrade, LockoutSet
from riskd.model.unlocks import UNLOCKED, Unlock
from riskd.rules.builtin.cooldown_after_loss import Settings, Tier, check, gauges
from riskd.rules.interface import NOTHING, Flatten, LiftLock, Lock, RuleResult
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

RULE = "RULE-007"

TIERS = settings_of(
    Settings,
    loss_thresholds=[
        {"loss_amount": "300", "cooldown_duration": 1800},
        {"loss_amount": "100", "cooldown_duration": 300},
        {"loss_amount": "200", "cooldown_duration": 900},
    ],
)


def result_of(event: Event, settings: Settings = TIERS, seconds: float = 0) -> RuleResult:
    return check(state_after(event), settings, trade_trigger(event, seconds))


def locked(state: AccountState, until: float) -> AccountState:
    """Return the account with the lock that the rule asked for."""
    lock = LockoutSet(reason="loss", locked_until=at(until), rule_id=RULE, locked_at=at(0))
    return msgspec.structs.replace(state, lockouts={RULE: lock})


def after_loss(event: Event, until: float) -> AccountState:
    """Return an account in a cooldown after a trade at noon."""
    state = state_after(event)
    result = check(state, TIERS, trade_trigger(event, 0))
    return locked(with_memory(state, RULE, result), until)


class LiveTests(SynchronousTestCase):
    """A trade that arrives as it happens."""

    def test_the_deepest_tier_that_is_reached_counts(self) -> None:
        for pnl, seconds in (
            ("-99.99", None),
            ("-100.00", 300),
            ("-199.99", 300),
            ("-200.00", 900),
            ("-250.00", 900),
            ("-299.99", 900),
            ("-300.00", 1800),
            ("-9000.00", 1800),
            ("0.00", None),
            ("250.00", None),
        ):
            result = result_of(trade(1, pnl))
            if seconds is None:
                self.assertEqual(result, NOTHING, pnl)
            else:
                self.assertEqual(flatten_of(result).lock, Lock(at(seconds), seconds), pnl)

    def test_a_cooldown_closes_everything(self) -> None:
        flatten = flatten_of(result_of(trade(1, "-250.00")))
        self.assertIsNone(flatten.keep)
        self.assertEqual(
            flatten.reason, "Loss of a trade: -$250.00 (limit $200.00), pause of 900 s"
        )

    def test_the_single_threshold(self) -> None:
        for table, pnl, seconds in (
            ({}, "-100.00", 300),
            ({}, "-99.99", None),
            ({"loss_threshold": "50.50"}, "-50.50", 300),
            ({"cooldown_seconds": 60}, "-100.00", 60),
            ({"loss_threshold": 10, "cooldown_seconds": 7}, "-10.00", 7),
            ({"loss_threshold": 10, "cooldown_seconds": 7}, "-9.99", None),
        ):
            result = result_of(trade(1, pnl), settings_of(Settings, **table))
            locks = [each.lock for each in result.commands if isinstance(each, Flatten)]
            self.assertEqual(locks, [Lock(at(seconds), seconds)] if seconds else [], table)

    def test_the_cooldown_begins_when_the_trade_arrives(self) -> None:
        flatten = flatten_of(result_of(trade(1, "-100.00", seconds=0), seconds=2))
        self.assertEqual(flatten.lock, Lock(at(302), 300))

    def test_each_part_of_a_split_fill_counts_by_itself(self) -> None:
        for number in (1, 2):
            self.assertEqual(result_of(trade(number, "-60.00")), NOTHING)

    def test_of_two_losses_the_later_end_counts(self) -> None:
        first, second = trade(1, "-300.00"), trade(2, "-100.00", seconds=10)
        state = with_memory(state_after(first), RULE, result_of(first))
        state = state_after(second, state=state)
        result = check(state, TIERS, trade_trigger(second))
        # The engine lengthens the lock; the rule remembers both cooldowns.
        self.assertEqual(flatten_of(result).lock, Lock(at(310), 300))
        state = with_memory(state, RULE, result)
        self.assertEqual(check(state, TIERS, review(400)).commands, ())


class FoundTests(SynchronousTestCase):
    """A trade that a review finds."""

    def test_the_cooldown_begins_at_the_time_of_the_trade(self) -> None:
        state = state_after(trade(1, "-250.00", seconds=100))
        self.assertEqual(flatten_of(check(state, TIERS, review(400))).lock, Lock(at(1000), 600))

    def test_a_cooldown_that_would_be_over_does_not_start(self) -> None:
        state = state_after(trade(1, "-250.00"))
        for seconds, left in ((899, 1), (899.999, 1), (900, None), (901, None)):
            result = check(state, TIERS, review(seconds))
            locks = [each.lock for each in result.commands if isinstance(each, Flatten)]
            self.assertEqual(locks, [Lock(at(900), left)] if left else [], seconds)

    def test_the_cooldown_that_ends_last_counts(self) -> None:
        state = state_after(
            trade(1, "-300.00", seconds=0),
            trade(2, "-100.00", seconds=700),
            trade(3, "-99.99", seconds=799),
        )
        lock = flatten_of(check(state, TIERS, review(800))).lock
        self.assertEqual(lock, Lock(at(1800), 1000))

    def test_a_loss_starts_one_cooldown(self) -> None:
        event = trade(1, "-250.00")
        for first in (trade_trigger(event, 0), review(0)):
            state = state_after(event)
            state = with_memory(state, RULE, check(state, TIERS, first))
            for seconds in (0, 1, 899):
                self.assertEqual(check(state, TIERS, review(seconds)).commands, ())

    def test_a_loss_starts_one_cooldown_although_the_clock_is_behind(self) -> None:
        event = trade(1, "-250.00", seconds=5)
        state = state_after(event)
        state = with_memory(state, RULE, check(state, TIERS, trade_trigger(event, 0)))
        self.assertEqual(check(state, TIERS, review(1)).commands, ())

    def test_a_cooldown_that_an_operator_ended_does_not_start_again(self) -> None:
        state = msgspec.structs.replace(after_loss(trade(1, "-300.00"), 1800), lockouts={})
        second = trade(2, "-100.00", seconds=60)
        state = state_after(second, state=state)
        state = with_memory(state, RULE, check(state, TIERS, trade_trigger(second)))
        self.assertEqual(check(state, TIERS, review(360)).commands, ())

    def test_a_larger_loss_during_a_cooldown_is_found_at_its_end(self) -> None:
        state = after_loss(trade(1, "-100.00"), 300)
        state = state_after(trade(2, "-200.00", seconds=30), state=state)
        lock = flatten_of(check(state, TIERS, review(300))).lock
        self.assertEqual(lock, Lock(at(930), 630))

    def test_an_account_without_losses_gets_no_cooldown(self) -> None:
        result = check(state_after(trade(1, "500.00")), TIERS, review())
        self.assertEqual((result.commands, result.wake_at), ((), None))

    @given(
        st.lists(
            st.tuples(
                st.integers(-40_000, 10_000).map(lambda cents: Decimal(cents) / 100),
                st.integers(0, 2000),
            ),
            max_size=5,
        ),
        st.integers(0, 4000),
    )
    def test_a_review_starts_the_longest_cooldown_once(
        self, losses: list[tuple[Decimal, int]], now: int
    ) -> None:
        events = [trade(number, str(pnl), seconds) for number, (pnl, seconds) in enumerate(losses)]
        ends = [
            seconds + tier.cooldown_duration
            for pnl, seconds in losses
            for tier in TIERS.tiers
            if pnl <= -tier.loss_amount
        ]
        # Deeper tiers are longer here, so that the longest end is the right one.
        last = max(ends, default=0)
        state = state_after(*events)
        result = check(state, TIERS, review(now))
        locks = [each.lock for each in result.commands if isinstance(each, Flatten)]
        self.assertEqual(locks, [Lock(at(last), last - now)] if last > now else [])
        state = with_memory(state, RULE, result)
        self.assertEqual(check(state, TIERS, review(now)).commands, ())


class LateTests(SynchronousTestCase):
    """A loss that becomes known while the account is locked."""

    def locked(self, *events: Event) -> AccountState:
        """Return an account that an operator has locked at ten seconds past noon."""
        lock = LockoutSet(
            reason="a walk", locked_until=at(70), rule_id="OPERATOR", locked_at=at(10)
        )
        return msgspec.structs.replace(state_after(*events), lockouts={"OPERATOR": lock})

    def test_one_from_before_the_lock_starts_a_cooldown(self) -> None:
        loss = trade(1, "-100.00", seconds=4)
        for trigger, until in (
            (trade_trigger(loss, 11), 311),
            (trade_trigger(loss, 20), 304),
            (review(20), 304),
        ):
            lock = flatten_of(check(self.locked(loss), TIERS, trigger)).lock
            assert lock is not None
            self.assertEqual(lock.until, at(until))

    def test_one_of_the_lock_starts_none_as_far_as_clocks_agree(self) -> None:
        for executed in (9.1, 10, 15):
            loss = trade(1, "-100.00", seconds=executed)
            state = self.locked(loss)
            for trigger in (trade_trigger(loss, 16), review(16)):
                self.assertEqual(check(state, TIERS, trigger).commands, (), executed)
            # Not even later.
            state = with_memory(state, RULE, check(state, TIERS, trade_trigger(loss, 16)))
            state = msgspec.structs.replace(state, lockouts={})
            self.assertEqual(check(state, TIERS, review(71)).commands, ())

    def test_an_exit_that_was_partly_filled_before_the_lock_counts(self) -> None:
        parts = [trade(number, "-60.00", seconds=8 * number) for number in (1, 2)]
        parts = [
            Event(each.account_id, msgspec.structs.replace(each.data, order_id=5))
            for each in parts
        ]
        state = self.locked(*parts)
        self.assertEqual(
            flatten_of(check(state, TIERS, trade_trigger(parts[0], 20))).lock, Lock(at(316), 296)
        )

    def test_one_in_the_lock_does_not_hide_one_from_before_it(self) -> None:
        before, within = trade(1, "-100.00", seconds=4), trade(2, "-300.00", seconds=15)
        state = self.locked(before, within)
        self.assertEqual(flatten_of(check(state, TIERS, review(20))).lock, Lock(at(304), 284))

    def test_one_from_before_the_lock_of_another_loss_counts_from_its_execution(self) -> None:
        deep = trade(2, "-200.00", seconds=-5)
        state = state_after(deep, state=after_loss(trade(1, "-100.00"), 300))
        lock = flatten_of(check(state, TIERS, trade_trigger(deep, 2))).lock
        self.assertEqual(lock, Lock(at(895), 893))


class VoidTests(SynchronousTestCase):
    """A losing trade that is voided."""

    def state(self) -> AccountState:
        return begin_day(after_loss(trade(1, "-250.00"), 900), at(-100))

    def test_the_cooldown_ends(self) -> None:
        result = check(without_trade(self.state(), 1), TIERS, review(10))
        self.assertEqual(result.commands, (LiftLock(reason="The trade that lost was voided"),))

    def test_the_cooldown_ends_once(self) -> None:
        state = without_trade(self.state(), 1)
        state = with_memory(state, RULE, check(state, TIERS, review(10)))
        self.assertEqual(check(state, TIERS, review(11)).commands, ())

    def test_another_voided_trade_changes_nothing(self) -> None:
        state = state_after(trade(2, "-10.00"), state=self.state())
        self.assertEqual(check(without_trade(state, 2), TIERS, review(10)).commands, ())

    def test_a_cooldown_that_is_over_is_not_lifted(self) -> None:
        self.assertEqual(check(without_trade(self.state(), 1), TIERS, review(900)).commands, ())

    def test_locks_of_other_rules_are_not_lifted(self) -> None:
        state = msgspec.structs.replace(without_trade(self.state(), 1), lockouts={})
        self.assertEqual(check(state, TIERS, review(10)).commands, ())

    def test_a_trade_that_left_with_its_day_is_not_voided(self) -> None:
        state = begin_day(after_loss(trade(1, "-250.00"), 900), at(5))
        self.assertEqual(state.trades, {})
        self.assertEqual(check(state, TIERS, review(10)).commands, ())

    def test_a_trade_at_the_beginning_of_the_day_can_be_voided(self) -> None:
        state = begin_day(after_loss(trade(1, "-250.00"), 900), at(0))
        result = check(without_trade(state, 1), TIERS, review(10))
        self.assertEqual(len(result.commands), 1)

    def test_a_void_counts_before_the_trading_day_is_known(self) -> None:
        state = without_trade(after_loss(trade(1, "-250.00"), 900), 1)
        self.assertEqual(len(check(state, TIERS, review(10)).commands), 1)

    def test_a_trade_that_is_only_missing_is_not_voided(self) -> None:
        state = with_trades(self.state(), {})
        self.assertEqual(check(state, TIERS, review(10)).commands, ())

    def test_another_loss_starts_its_own_cooldown(self) -> None:
        state = state_after(trade(2, "-100.00", seconds=5), state=self.state())
        lift, pause = check(without_trade(state, 1), TIERS, review(10)).commands
        assert isinstance(pause, Flatten)
        self.assertIsInstance(lift, LiftLock)
        self.assertEqual(pause.lock, Lock(at(305), 295))

    def test_the_cooldown_of_another_loss_stands(self) -> None:
        # The second loss outlasts the first; the void of either leaves the lock of the other.
        second = trade(2, "-300.00", seconds=5)
        state = msgspec.structs.replace(self.state(), lockouts={})
        state = state_after(second, state=state)
        state = with_memory(state, RULE, check(state, TIERS, trade_trigger(second)))
        state = locked(state, 1805)
        self.assertEqual(check(without_trade(state, 1), TIERS, review(10)).commands, ())
        lift, pause = check(without_trade(state, 2), TIERS, review(10)).commands
        assert isinstance(pause, Flatten)
        self.assertIsInstance(lift, LiftLock)
        self.assertEqual(pause.lock, Lock(at(900), 890))

    def test_a_loss_that_started_no_cooldown_may_be_voided(self) -> None:
        second = trade(2, "-100.00", seconds=5)
        state = state_after(second, state=self.state())
        result = check(state, TIERS, trade_trigger(second))
        self.assertEqual(result.commands, ())
        state = with_memory(state, RULE, result)
        self.assertEqual(check(without_trade(state, 2), TIERS, review(10)).commands, ())


class AmendmentTests(SynchronousTestCase):
    """The broker reports another P&L of a trade."""

    def state(self, pnl: str) -> AccountState:
        state = begin_day(after_loss(trade(1, "-250.00"), 900), at(-100))
        amended = trade(1, pnl).data
        assert isinstance(amended, GatewayUserTrade)
        return with_trades(state, {1: amended})

    def test_the_cooldown_ends_when_the_loss_was_smaller(self) -> None:
        for pnl in ("-99.99", "0.00", "500.00"):
            result = check(self.state(pnl), TIERS, review(10))
            self.assertEqual([type(each) for each in result.commands], [LiftLock], pnl)

    def test_a_smaller_loss_has_its_own_cooldown(self) -> None:
        lift, pause = check(self.state("-199.99"), TIERS, review(10)).commands
        assert isinstance(pause, Flatten)
        self.assertIsInstance(lift, LiftLock)
        self.assertEqual(pause.lock, Lock(at(300), 290))

    def test_a_loss_that_still_reaches_its_threshold_changes_nothing(self) -> None:
        self.assertEqual(check(self.state("-200.00"), TIERS, review(10)).commands, ())
        self.assertEqual(check(self.state("-299.99"), TIERS, review(10)).commands, ())

    def test_a_larger_loss_lengthens_the_cooldown(self) -> None:
        state = self.state("-300.00")
        (subject,) = state.trades.values()
        for asked in (review(10), trade_trigger(Event(123, subject), 10)):
            pause = flatten_of(check(state, TIERS, asked))
            self.assertEqual(pause.lock, Lock(at(1800), 1790))


class UnlockTests(SynchronousTestCase):
    """What follows when an operator unlocks the account."""

    def unlocked(self, *more: Event) -> AccountState:
        state = state_after(*more, state=after_loss(trade(1, "-250.00"), 900))
        settings = msgspec.json.encode(TIERS).decode()
        unlock = Unlock(at=at(10), beyond=(RULE,), settings={RULE: settings})
        return msgspec.structs.replace(state, lockouts={}, limits={UNLOCKED: unlock.limit})

    def test_a_review_does_not_lock_again(self) -> None:
        self.assertEqual(check(self.unlocked(), TIERS, review(20)).commands, ())
        # Not even for a loss that had started no cooldown, for the account was locked.
        state = self.unlocked(trade(2, "-300.00", seconds=5))
        self.assertEqual(check(state, TIERS, review(20)).commands, ())
        forgetful = with_risk(state, memory={})
        self.assertEqual(check(forgetful, TIERS, review(20)).commands, ())

    def test_the_next_loss_locks_again(self) -> None:
        event = trade(2, "-100.00", seconds=30)
        state = self.unlocked(event)
        self.assertEqual(
            flatten_of(check(state, TIERS, trade_trigger(event))).lock, Lock(at(330), 300)
        )

    def test_a_cooldown_after_it_counts_though_the_clock_was_before_it(self) -> None:
        event = trade(2, "-100.00", seconds=30)
        state = self.unlocked(event)
        for trigger in (trade_trigger(event, 9.5), review(9.5)):
            result = check(state, TIERS, trigger)
            self.assertEqual(len(result.commands), 1)
            after = locked(with_memory(state, RULE, result), 309.5)
            (lifted,) = check(without_trade(after, 2), TIERS, review(40)).commands
            self.assertIsInstance(lifted, LiftLock)
            self.assertEqual(check(after, TIERS, review(40)).commands, ())
            # Voided, the first trade leaves the lock to the later one.
            self.assertEqual(check(without_trade(after, 1), TIERS, review(40)).commands, ())

    def test_a_loss_that_is_found_later_locks_again(self) -> None:
        late = trade(2, "-100.00", seconds=5)
        data = msgspec.structs.replace(late.data, timestamp=at(40))
        state = self.unlocked(Event(late.account_id, data))
        self.assertEqual(
            flatten_of(check(state, TIERS, review(40))).lock,
            Lock(at(305), 265),
        )

    def test_the_void_of_a_later_loss_does_not_bring_back_the_one_before(self) -> None:
        event = trade(2, "-100.00", seconds=30)
        state = self.unlocked(event)
        state = locked(with_memory(state, RULE, check(state, TIERS, trade_trigger(event))), 330)
        result = check(without_trade(state, 2), TIERS, review(40))
        self.assertEqual([type(each) for each in result.commands], [LiftLock])

    def test_a_tighter_limit_locks_again(self) -> None:
        looser = settings_of(
            Settings, loss_thresholds=[{"loss_amount": "250.01", "cooldown_duration": 900}]
        )
        unlock = Unlock(at=at(10), settings={RULE: msgspec.json.encode(looser).decode()})
        state = msgspec.structs.replace(
            state_after(trade(1, "-250.00")), limits={UNLOCKED: unlock.limit}
        )
        self.assertEqual(check(state, looser, review(20)).commands, ())
        self.assertEqual(flatten_of(check(state, TIERS, review(20))).lock, Lock(at(900), 880))


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertTrue(settings.enabled)
        self.assertEqual(
            (settings.loss_threshold, settings.cooldown_seconds), (Decimal("100.00"), 300)
        )

    def test_tiers_are_sorted_by_loss(self) -> None:
        amounts = [tier.loss_amount for tier in TIERS.tiers]
        self.assertEqual(amounts, [Decimal(100), Decimal(200), Decimal(300)])
        self.assertEqual(
            settings_of(Settings).tiers,
            (Tier(loss_amount=Decimal(100), cooldown_duration=300),),
        )

    def test_encoded_settings_can_be_decoded(self) -> None:
        for settings in (Settings(), Settings(cooldown_seconds=5), TIERS):
            again = msgspec.json.decode(msgspec.json.encode(settings), type=Settings)
            self.assertEqual(again, settings)

    def test_invalid_tables_are_rejected(self) -> None:
        tier = {"loss_amount": "100", "cooldown_duration": 300}
        for table, field in (
            ({"loss_threshold": 0}, "loss_threshold"),
            ({"loss_threshold": -100}, "loss_threshold"),
            ({"loss_threshold": True}, "loss_threshold"),
            ({"cooldown_seconds": 0}, "cooldown_seconds"),
            ({"cooldown_seconds": True}, "cooldown_seconds"),
            ({"loss_thresholds": []}, "loss_thresholds"),
            ({"loss_thresholds": [{**tier, "loss_amount": "0"}]}, "loss_amount"),
            ({"loss_thresholds": [{**tier, "cooldown_duration": 0}]}, "cooldown_duration"),
            ({"loss_thresholds": [{**tier, "loss": 1}]}, "loss"),
            ({"loss_thresholds": [{"loss_amount": "1"}]}, "cooldown_duration"),
            ({"loss_thresholds": [tier, tier]}, "each loss_amount once, got 100 twice"),
            ({"loss_thresholds": [tier], "loss_threshold": 100}, "loss_threshold: expected"),
            ({"loss_thresholds": [tier], "cooldown_seconds": 300}, "cooldown_seconds: expected"),
            ({"losses": 1}, "losses"),
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(field, str(error), table)


class GaugeTests(SynchronousTestCase):
    """How far the account is from a cooldown."""

    def test_the_last_loss_is_compared_with_the_smallest_threshold(self) -> None:
        for events, current in (
            ([], "0.00"),
            ([trade(1, "-80.00")], "80.00"),
            ([trade(1, "80.00")], "0.00"),
            ([trade(1, "-80.00", 5), trade(2, "-20.00", 3)], "80.00"),
        ):
            (gauge,) = gauges(state_after(*events), TIERS, NOON)
            self.assertEqual((gauge.limit, gauge.unit), (Decimal(100), "$"))
            self.assertEqual(gauge.current, Decimal(current))
