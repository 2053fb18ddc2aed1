"""RULE-010: an account that the broker does not permit to trade is closed and locked."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, Flattening
from riskd.model.events import Action, LockoutSet
from riskd.rules.builtin.auth_loss_guard import Settings, check, gauges
from riskd.rules.interface import NOTHING, Flatten, Kind, LiftLock, Lock
from tests.support.rules import NOON, at, review, settings_of, state_after, trigger, with_risk

LOCKING = Flatten(reason="The broker does not permit the account to trade", lock=Lock(until=None))
LIFTING = LiftLock(reason="The broker permits the account to trade again")


def lock_of(rule_id: str, until: float | None = None) -> LockoutSet:
    return LockoutSet(
        reason="so",
        locked_until=None if until is None else at(until),
        rule_id=rule_id,
        locked_at=at(0),
    )


def account(may_trade: bool | None, *locks: LockoutSet) -> AccountState:
    state = with_risk(state_after(), can_trade=may_trade)
    return msgspec.structs.replace(state, lockouts={lock.rule_id: lock for lock in locks})


class PermissionTests(SynchronousTestCase):
    """The broker's permission, and what the rule does about it."""

    def test_the_lock_follows_the_permission(self) -> None:
        own, other = lock_of("RULE-010"), lock_of("RULE-003", 60)
        for may_trade, locks, commands in (
            (None, (), ()),
            (None, (own,), ()),
            (False, (), (LOCKING,)),
            (False, (other,), (LOCKING,)),
            (False, (own,), ()),
            (False, (own, other), ()),
            (True, (), ()),
            (True, (other,), ()),
            (True, (own,), (LIFTING,)),
            (True, (own, other), (LIFTING,)),
        ):
            state = account(may_trade, *locks)
            for kind in (Kind.ACCOUNT, Kind.REVIEW):
                result = check(state, Settings(), trigger(kind))
                self.assertEqual(result.commands, commands, (may_trade, locks, kind))

    def test_repeated_events_change_nothing_once_the_lock_is_decided(self) -> None:
        under_way = Flattening(
            action=Action.CLOSE_ALL_AND_LOCKOUT,
            rule_id="RULE-010",
            reason=LOCKING.reason,
            begun=NOON,
            locks=(lock_of("RULE-010"),),
        )
        state = with_risk(account(False), flattening=under_way)
        self.assertEqual(check(state, Settings(), trigger(Kind.ACCOUNT)), NOTHING)

    def test_an_ended_lock_does_not_count(self) -> None:
        state = account(False, lock_of("RULE-010", 60))
        self.assertEqual(check(state, Settings(), review(59)).commands, ())
        self.assertEqual(check(state, Settings(), review(60)).commands, (LOCKING,))

    def test_the_settings_may_leave_the_unlock_to_an_operator(self) -> None:
        settings = settings_of(Settings, auto_unlock_on_restore=False)
        state = account(True, lock_of("RULE-010"))
        self.assertEqual(check(state, settings, trigger(Kind.ACCOUNT)), NOTHING)
        self.assertEqual(check(account(False), settings, review()).commands, (LOCKING,))


class SettingsTests(SynchronousTestCase):
    """The rule's table in the configuration."""

    def test_defaults(self) -> None:
        settings = settings_of(Settings)
        self.assertEqual(
            (settings.enabled, settings.action, settings.auto_unlock_on_restore),
            (True, "CLOSE_ALL_AND_LOCKOUT", True),
        )

    def test_invalid_tables_are_rejected(self) -> None:
        for table in (
            {"action": "CLOSE_ALL_POSITIONS"},
            {"auto_unlock_on_restore": "yes"},
            {"auto_unlock_on_restore": 1},
            {"bypass": True},
        ):
            error = self.assertRaises(msgspec.ValidationError, msgspec.convert, table, Settings)
            self.assertIn(next(iter(table)), str(error))


class GaugeTests(SynchronousTestCase):
    """Whether the account may trade."""

    def test_the_gauge_has_the_permission_in_words(self) -> None:
        for may_trade, words in ((None, "not known yet"), (True, "granted"), (False, "withdrawn")):
            (gauge,) = gauges(account(may_trade), Settings(), NOON)
            self.assertEqual((gauge.limit, gauge.current, gauge.words), (None, None, words))
