"""The limits of a locked account stay in force beside changed settings until the lock ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import AccountSettings, Settings
from riskd.engine.limits_in_force import LimitsInForce, held_limits, read_journaled
from riskd.gateway.interface import Found
from riskd.model.events import DaemonStatus, DailyReset, Status
from riskd.model.trading_day import ResetSchedule
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import NOTHING, Rule, RuleResult
from riskd.rules.settings import RuleSettings
from tests.support import practice_daemon
from tests.support.changed_settings import STRICT, SettingsTestCase
from tests.support.guarded_account import (
    COOLDOWN,
    DAILY_LOSS,
    LONG_PAUSE,
    MAX_CONTRACTS,
    OTHER_ACCOUNT,
    GuardTestCase,
)
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    CATALOGUE,
    MNQ,
    MONDAY_NOON,
    settings_of,
)

LIFTING = "[rules.auth_loss_guard]\n"

LOOSER = DAILY_LOSS.replace("500", "5000")

NO_LIFTING = "[rules.auth_loss_guard]\nauto_unlock_on_restore = false\n"

TIGHTER = DAILY_LOSS.replace("500", "100")


def nothing_of_others(real: Callable[..., Deferred[Any]]) -> Callable[..., Deferred[Any]]:
    def search(account_id: int, *more: object, **named: object) -> Deferred[Any]:
        return real(account_id, *more, **named) if account_id == ACCOUNT else succeed(Found(()))

    return search


def nothing(_state: object, _settings: object, _trigger: object) -> RuleResult:
    return NOTHING


class NumberSettings(RuleSettings, frozen=True, kw_only=True):
    number: int = 0


NUMBERED = Rule("A-1", "a_1", NumberSettings, frozenset(), nothing)


def limits(*numbers: int, is_held: bool = False, is_strict: bool = False) -> LimitsInForce:
    """Return limits with a rule for each number, all of them settings of the same rule."""
    rules = tuple(RuleInForce(NUMBERED, NumberSettings(number=each), is_held) for each in numbers)
    return LimitsInForce(rules, is_strict, ResetSchedule())


class HeldLimitsTests(SynchronousTestCase):
    def numbers(self, held: LimitsInForce) -> list[tuple[int, bool]]:
        return [(one.settings.number, one.is_held) for one in held.rules]

    def test_what_the_settings_change_is_held_beside_them(self) -> None:
        self.assertEqual(self.numbers(held_limits(limits(2), limits(1))), [(2, False), (1, True)])
        self.assertEqual(self.numbers(held_limits(limits(1), limits(1))), [(1, False)])
        self.assertEqual(self.numbers(held_limits(limits(), limits(1))), [(1, True)])

    def test_of_several_old_settings_the_first_held_stay(self) -> None:
        first = held_limits(limits(2), limits(1))
        self.assertEqual(self.numbers(held_limits(limits(3), first)), [(3, False), (1, True)])

    def test_the_stricter_mode_and_the_old_schedule_stay(self) -> None:
        late = ResetSchedule(reset_time=time(22))
        old = limits(is_strict=True)._replace(schedule=late)
        held = held_limits(limits(), old)
        self.assertEqual((held.is_strict, held.schedule), (True, late))

    def test_journaled_limits_are_read_again(self) -> None:
        known = limits(7, is_strict=True)._replace(schedule=ResetSchedule(reset_time=time(22)))
        catalogue = {NUMBERED.key: NUMBERED}
        read = read_journaled(known.journaled, catalogue, limits(), ACCOUNT)
        self.assertEqual(read, known)
        self.assertEqual(read_journaled(known.journaled, {}, limits(), ACCOUNT).rules, ())


class LooserTests(SettingsTestCase):
    config = DAILY_LOSS + MAX_CONTRACTS

    def test_the_old_limit_is_in_force_until_the_lock_ends(self) -> None:
        self.lose(125, 2)
        self.change(LOOSER + MAX_CONTRACTS)
        self.assertEqual(self.loss_limit(), "500")
        self.unlock()
        self.assertEqual(self.loss_limit(), "5000")
        self.lose(1)
        self.assertEqual(self.daemon.state.lockouts, {})

    def test_a_removed_rule_is_in_force_until_the_lock_ends(self) -> None:
        self.lose(125, 2)
        self.change(MAX_CONTRACTS)
        self.assertEqual(self.loss_limit(), "500")
        self.unlock()
        self.assertIsNone(self.loss_limit())

    def test_a_second_change_does_not_forget_the_first(self) -> None:
        self.lose(125, 2)
        self.change(LOOSER)
        self.change("")
        self.assertEqual(self.loss_limit(), "500")

    def test_looser_rules_apply_to_a_free_account_at_once(self) -> None:
        self.change(LOOSER)
        self.assertEqual((self.loss_limit(), "RULE-001" in self.limits()), ("5000", False))

    def test_the_new_settings_do_not_lift_a_lock_that_the_old_ones_would_keep(self) -> None:
        self.reload(NO_LIFTING)
        self.daemon.gateway.set_can_trade(ACCOUNT, False)
        self.daemon.advance(1)
        self.change(LIFTING)
        self.daemon.gateway.set_can_trade(ACCOUNT, True)
        self.daemon.advance(10)
        self.assertEqual(
            (set(self.daemon.state.lockouts), self.daemon.cleared), ({"RULE-010"}, [])
        )


class LooserOverRestartTests(LooserTests):
    def change(self, config: str) -> None:
        self.restart(config)


class StricterTests(SettingsTestCase):
    config = COOLDOWN + DAILY_LOSS

    def test_a_new_rule_is_in_force_at_once(self) -> None:
        self.daemon.trade(BUY, 3)
        self.change(DAILY_LOSS + MAX_CONTRACTS)
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {})

    def test_tighter_settings_are_in_force_beside_the_held_ones(self) -> None:
        self.lose(60, 1)
        self.assertEqual(set(self.daemon.state.lockouts), {"RULE-007"})
        self.change(COOLDOWN + TIGHTER)
        self.daemon.advance(61)
        self.assertEqual(set(self.daemon.state.lockouts), {"RULE-003", "RULE-007"})


class StricterOverRestartTests(StricterTests):
    def change(self, config: str) -> None:
        self.restart(config)


class StrictModeTests(SettingsTestCase):
    config = STRICT + LIFTING

    def forbid_and_allow(self) -> None:
        """Let the broker withdraw its permission, and give it again."""
        for can_trade in (False, True):
            self.daemon.gateway.set_can_trade(ACCOUNT, can_trade)
            self.daemon.advance(1)

    def test_a_strict_lock_outlasts_the_end_of_strict_mode(self) -> None:
        self.forbid_and_allow()
        self.change(LIFTING)
        self.daemon.advance(70)
        self.assertEqual(
            (set(self.daemon.state.lockouts), self.daemon.cleared), ({"RULE-010"}, [])
        )

    def test_strict_mode_ends_with_the_lock_when_it_is_switched_off(self) -> None:
        self.forbid_and_allow()
        self.change(LIFTING)
        self.assertIn("STRICT", self.limits())
        self.unlock()
        self.assertNotIn("STRICT", self.limits())
        self.forbid_and_allow()
        self.assertEqual(self.daemon.state.lockouts, {})

    def test_strict_mode_makes_every_breach_a_permanent_lock(self) -> None:
        self.change(STRICT + MAX_CONTRACTS)
        self.daemon.trade(BUY, 3)
        (lock,) = self.daemon.locks
        self.assertIsNone(lock.locked_until)


class StrictModeOverRestartTests(StrictModeTests):
    def change(self, config: str) -> None:
        self.restart(config)


class ResetTimeTests(SettingsTestCase):
    config = DAILY_LOSS + LONG_PAUSE

    def test_the_day_of_a_locked_account_is_not_ended_early(self) -> None:
        self.lose(100, 2)
        self.change(self.config + '[defaults]\nreset_time = "12:01"\n')
        self.daemon.advance(120)
        self.assertEqual(self.daemon.news(DailyReset), [])
        self.assertEqual(self.daemon.state.realized_pnl, Decimal("-402.00"))

    def test_the_new_reset_time_applies_once_the_lock_has_ended(self) -> None:
        self.lose(100, 2)
        self.change(self.config + '[defaults]\nreset_time = "14:00"\n')
        self.daemon.advance(2 * 3600 + 10, step=30)
        (reset,) = self.daemon.news(DailyReset)
        self.assertEqual(reset.reset_time, datetime(2026, 11, 23, 20, tzinfo=UTC))

    def test_the_new_reset_time_applies_to_a_free_account_at_once(self) -> None:
        self.change(self.config + '[defaults]\nreset_time = "12:01"\n')
        self.daemon.advance(61)
        (reset,) = self.daemon.news(DailyReset)
        self.assertEqual(reset.reset_time, MONDAY_NOON + timedelta(minutes=1))


class ResetTimeOverRestartTests(ResetTimeTests):
    def change(self, config: str) -> None:
        self.restart(config)


class TwoSettingsTests(SettingsTestCase):
    """A rule is evaluated with its old settings and with its new ones; each has its own memory."""

    config = COOLDOWN + DAILY_LOSS + 'action = "CLOSE_ALL_POSITIONS"\n'
    looser = COOLDOWN + LOOSER + 'action = "CLOSE_ALL_POSITIONS"\n'

    def setUp(self) -> None:
        super().setUp()
        self.lose(125, 3)

    def test_two_settings_of_a_rule_do_not_trigger_each_other(self) -> None:
        searches: list[int] = []
        real = self.daemon.gateway.search_open_positions

        def search(account_id: int, *, urgent: bool = False) -> Deferred[Any]:
            searches.append(account_id)
            asked = deferLater(self.daemon.clock, 0.05)
            return asked.addCallback(lambda _: real(account_id))

        self.patch(self.daemon.gateway, "search_open_positions", search)
        self.reload(self.looser)
        self.daemon.advance(30, step=0.05)
        self.assertLess(len(searches), 30)

    def test_an_account_with_two_settings_of_a_rule_can_be_locked(self) -> None:
        self.reload(self.looser)
        self.daemon.advance(5)
        self.daemon.told.clear()
        self.daemon.engine.accounts[ACCOUNT].lock("enough", "trader", None)
        self.daemon.advance(1)
        (lock,) = self.daemon.locks
        self.assertEqual(lock.rule_id, "OPERATOR")

    def test_each_of_two_settings_has_its_own_memory(self) -> None:
        self.reload(self.looser)
        self.assertIn("RULE-003 (held)", [one.slot for one in self.rules()])
        actions = len(self.daemon.actions)
        self.daemon.advance(50)
        self.assertEqual(len(self.daemon.actions), actions)

    def test_only_the_new_settings_are_left_when_the_lock_has_ended(self) -> None:
        self.reload(self.looser)
        self.unlock()
        self.assertEqual([one.slot for one in self.rules()], ["RULE-003", "RULE-007"])

    def rules(self) -> tuple[Any, ...]:
        return self.daemon.engine.accounts[ACCOUNT].rules


class RemovedAccountTests(SettingsTestCase):
    config = DAILY_LOSS

    def setUp(self) -> None:
        super().setUp()
        self.others = Settings(accounts=(AccountSettings(id=OTHER_ACCOUNT),))
        self.gateway_knows_others()

    def gateway_knows_others(self) -> None:
        """Let the broker answer for accounts that hold nothing and never trade."""
        gateway = self.daemon.gateway
        real = gateway.search_account

        def search_account(account_id: int) -> Deferred[Any]:
            return real(ACCOUNT)

        self.patch(gateway, "search_account", search_account)
        for method in ("search_open_positions", "search_open_orders", "search_trades"):
            self.patch(gateway, method, nothing_of_others(getattr(gateway, method)))

    def test_a_removed_account_is_followed_until_it_is_free(self) -> None:
        self.lose(125, 2)
        followed: list[int] = []
        self.patch(self.daemon.gateway, "follow_account", followed.append)
        self.restart_with(self.others)
        self.assertEqual(set(followed), {ACCOUNT, OTHER_ACCOUNT})
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {})
        self.daemon.advance(6 * 3600, step=60)
        self.assertEqual(len(self.daemon.cleared), 1)
        self.restart_with(self.others)
        self.assertEqual(set(self.daemon.engine.accounts), {OTHER_ACCOUNT})

    def test_a_removed_account_that_is_free_is_not_followed(self) -> None:
        self.restart_with(self.others)
        self.assertEqual(set(self.daemon.engine.accounts), {OTHER_ACCOUNT})

    def test_a_reload_keeps_all_accounts_and_says_that_a_restart_is_needed(self) -> None:
        told = self.daemon.engine.reload(self.others)
        self.assertIn(f"need a restart: {ACCOUNT}, {OTHER_ACCOUNT}", told)
        self.assertEqual(set(self.daemon.engine.accounts), {ACCOUNT})


class NewSettings(RuleSettings, frozen=True, kw_only=True):
    """The settings of a rule in a later version."""

    most_that_may_be_lost: int = 1


class UpgradeTests(SettingsTestCase):
    """The journal was written by a version in which the rule had other settings."""

    config = DAILY_LOSS + MAX_CONTRACTS + f"[[accounts]]\nid = {OTHER_ACCOUNT}\n"

    def setUp(self) -> None:
        super().setUp()
        self.lose(125, 2)
        self.daemon.engine.accounts[OTHER_ACCOUNT].lock("enough", "trader", None)
        self.daemon.kill()
        old = CATALOGUE["daily_realized_loss"]
        new = Rule(old.rule_id, old.key, NewSettings, old.listens, nothing)
        self.patch(practice_daemon, "CATALOGUE", {**CATALOGUE, old.key: new})
        self.daemon.settings = settings_of(f"[[accounts]]\nid = {OTHER_ACCOUNT}\n")
        self.daemon.told.clear()
        with capturedLogs() as logged:
            self.daemon.restart()
        self.logged = [formatEvent(event) for event in logged]

    def test_every_lock_stays_in_force(self) -> None:
        for account_id, rule_id in ((ACCOUNT, "RULE-003"), (OTHER_ACCOUNT, "OPERATOR")):
            state = self.daemon.engine.accounts[account_id].account.state
            self.assertEqual(set(state.lockouts), {rule_id})
        self.daemon.move(MNQ, "21000")
        self.daemon.trade(BUY, 1)
        self.daemon.advance(1)
        self.assertEqual(self.daemon.held, {})

    def test_the_other_limits_stay_in_force(self) -> None:
        self.assertIn("RULE-001", self.limits())
        self.assertNotIn("RULE-003", self.limits())

    def test_the_log_names_the_rule_whose_settings_cannot_be_read(self) -> None:
        said = [line for line in self.logged if "has other settings now" in line]
        self.assertEqual(len(said), 2)
        for line in said:
            self.assertTrue(line.startswith("RULE-003"), line)

    def test_the_daemon_runs(self) -> None:
        self.assertEqual(self.daemon.news(DaemonStatus)[-1].status, Status.RUNNING)


class ReloadTests(GuardTestCase):
    config = DAILY_LOSS

    def test_a_rule_is_loosened_only_after_the_lock_ends(self) -> None:
        self.lose(125, 2)
        looser = settings_of("[rules.daily_realized_loss]\nloss_limit = 5000\n")
        self.daemon.engine.reload(looser)
        self.assertIn("500", self.daemon.state.limits["RULE-003"].settings)
        self.assertNotIn("5000", self.daemon.state.limits["RULE-003"].settings)
        self.daemon.engine.accounts[ACCOUNT].unlock("enough", "trader")
        self.assertIn("5000", self.daemon.state.limits["RULE-003"].settings)

    def test_a_restart_with_looser_rules_keeps_the_old_ones_until_the_lock_ends(self) -> None:
        self.lose(125, 2)
        self.daemon.kill()
        self.daemon.settings = settings_of("[rules.daily_realized_loss]\nloss_limit = 5000\n")
        self.daemon.restart()
        self.assertNotIn("5000", self.daemon.state.limits["RULE-003"].settings)

    def test_a_tighter_rule_is_in_force_at_once(self) -> None:
        self.lose(50, 2)
        self.daemon.engine.reload(settings_of("[rules.daily_realized_loss]\nloss_limit = 100\n"))
        (lock,) = self.daemon.locks
        self.assertEqual(lock.rule_id, "RULE-003")
