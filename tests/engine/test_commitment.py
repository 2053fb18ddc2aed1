"""What loosens waits, by the settings' commitment; meanwhile old and new settings hold."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import AccountSettings, Settings
from riskd.config.toml import ConfigError
from riskd.engine.committed_settings import earlier_settings, enforcing_settings
from riskd.engine.firm_floor import objection
from riskd.engine.loosening import is_looser
from riskd.journal.audit_log import read_log
from riskd.journal.reader import known_accounts
from riskd.journal.schema import JOURNAL_NAME
from riskd.model.account import AccountState, with_risk
from riskd.model.balance import Balance
from riskd.model.commitment import Wait, commitment_of, duration, is_sooner
from riskd.model.events import DaemonStatus, DailyReset
from riskd.model.lockouts import Lock
from riskd.rules.builtin.maximum_loss import RULE as MAXIMUM_LOSS
from riskd.rules.builtin.maximum_loss import Settings as MaximumLoss
from riskd.rules.evaluation import Decision, RuleInForce
from riskd.rules.interface import Flatten
from riskd.rules.news_calendar import News, NewsCalendar
from tests.support.changed_settings import STRICT, SettingsTestCase
from tests.support.guarded_account import COOLDOWN, DAILY_LOSS, MAX_CONTRACTS, OTHER_ACCOUNT
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    CATALOGUE,
    MNQ,
    MONDAY_NOON,
    settings_of,
)

EIGHT_HOURS = '[commitment]\nloosen_after = "8h"\n'
AN_HOUR = '[commitment]\nloosen_after = "1h"\n'
UNTIL_RESET = '[commitment]\nloosen_after = "daily_reset"\n'
LOOSER = DAILY_LOSS.replace("500", "5000")
TIGHTER = DAILY_LOSS.replace("500", "100")
HOUR = 3600


class CommitmentTestCase(SettingsTestCase):
    """``change`` applies new settings: by a reload here, by a restart in subclasses."""

    config = EIGHT_HOURS + DAILY_LOSS + MAX_CONTRACTS

    def setUp(self) -> None:
        super().setUp()
        self.daemon.advance(3)

    def change(self, config: str) -> None:
        self.daemon.settings = settings_of(config)
        self.daemon.engine.reload(self.daemon.settings)
        # The wait begins at the next tick.
        self.daemon.advance(1)

    def pass_time(self, hours: float) -> None:
        self.daemon.advance(hours * HOUR, step=900)

    @property
    def waits(self) -> tuple[Wait, ...]:
        return commitment_of(self.daemon.state).waits

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.waits]

    def told(self) -> list[str]:
        messages = [status.message for status in self.daemon.news(DaemonStatus)]
        return [each for each in messages if each.startswith(("Settings", "Unlock"))]

    def is_held_to_500(self) -> bool:
        """Whether a loss of $520 locks the account; it is tried."""
        before = len(self.daemon.locks)
        self.lose(130, 2)
        self.daemon.advance(3)
        return len(self.daemon.locks) > before


class LooserTests(CommitmentTestCase):
    def test_a_looser_limit_waits_and_both_are_evaluated(self) -> None:
        self.change(EIGHT_HOURS + LOOSER + MAX_CONTRACTS)
        self.daemon.advance(3)
        self.assertEqual(self.names, ["rules.daily_realized_loss"])
        self.assertTrue(self.is_held_to_500())

    def test_it_holds_after_its_time(self) -> None:
        self.change(EIGHT_HOURS + LOOSER + MAX_CONTRACTS)
        self.pass_time(7.9)
        self.assertEqual(self.loss_limit(), "500")
        self.pass_time(0.2)
        self.assertEqual((self.loss_limit(), self.names), ("5000", []))
        self.assertFalse(self.is_held_to_500())
        self.assertIn("after its wait, is in force", self.told()[-1])

    def test_a_tighter_limit_holds_at_once(self) -> None:
        self.change(EIGHT_HOURS + TIGHTER + MAX_CONTRACTS)
        self.daemon.advance(3)
        self.assertEqual((self.loss_limit(), self.names), ("100", []))

    def test_a_removed_rule_waits(self) -> None:
        self.change(EIGHT_HOURS + MAX_CONTRACTS)
        self.daemon.advance(3)
        self.assertTrue(self.is_held_to_500())

    def test_a_disabled_rule_waits(self) -> None:
        self.change(self.config.replace("loss_limit = 500", "loss_limit = 500\nenabled = false"))
        self.daemon.advance(3)
        self.assertTrue(self.is_held_to_500())

    def test_a_key_without_an_order_waits_and_both_hold(self) -> None:
        self.change(
            self.config.replace("loss_limit = 500", "loss_limit = 500\ninclude_fees = true")
        )
        self.daemon.advance(3)
        self.change(
            self.config.replace(
                "loss_limit = 500", 'loss_limit = 500\naction = "CLOSE_ALL_POSITIONS"'
            )
        )
        self.daemon.advance(3)
        self.assertTrue(self.is_held_to_500())

    def test_editing_back_withdraws(self) -> None:
        self.change(EIGHT_HOURS + LOOSER + MAX_CONTRACTS)
        self.pass_time(7)
        self.change(self.config)
        self.daemon.advance(3)
        self.assertEqual(self.names, [])
        self.assertIn("what waited is withdrawn", " ".join(self.told()))
        self.change(EIGHT_HOURS + LOOSER + MAX_CONTRACTS)
        self.pass_time(7)
        self.assertEqual(self.loss_limit(), "500")

    def test_each_step_waits_its_own_time(self) -> None:
        for number in ("1000", "2000", "3000"):
            self.change(EIGHT_HOURS + DAILY_LOSS.replace("500", number) + MAX_CONTRACTS)
            self.pass_time(1)
        self.assertEqual(len(self.waits), 3)
        self.pass_time(5.1)
        self.assertEqual(self.loss_limit(), "1000")
        self.pass_time(1)
        self.assertEqual(self.loss_limit(), "2000")
        self.pass_time(1)
        self.assertEqual((self.loss_limit(), self.waits), ("3000", ()))

    def test_strict_mode_stays(self) -> None:
        self.change(STRICT + self.config)
        self.change(self.config)
        self.daemon.advance(3)
        self.assertEqual(self.names, ["strict_mode"])
        self.daemon.trade(BUY, 3)
        (lock,) = self.daemon.locks
        self.assertIsNone(lock.locked_until)

    def test_a_lock_and_a_wait_hold_each_their_own(self) -> None:
        self.lose(130, 2)
        self.change(EIGHT_HOURS + LOOSER + MAX_CONTRACTS)
        self.pass_time(5.2)
        self.assertEqual(self.daemon.state.lockouts, {})
        self.assertEqual(self.loss_limit(), "500")
        self.pass_time(3)
        self.assertEqual(self.loss_limit(), "5000")


class LooserOverRestartTests(LooserTests):
    def change(self, config: str) -> None:
        self.restart(config)


class KilledTests(LooserTests):
    """A kill at any moment of a wait shortens and loses nothing."""

    def pass_time(self, hours: float) -> None:
        for _ in range(3):
            super().pass_time(hours / 3)
            self.daemon.kill()
            self.daemon.restart()
            self.daemon.move(MNQ, "21000")
            self.daemon.advance(3)


class CommitmentItselfTests(CommitmentTestCase):
    def test_removing_it_waits(self) -> None:
        self.change(DAILY_LOSS + MAX_CONTRACTS)
        self.daemon.advance(3)
        self.assertEqual(commitment_of(self.daemon.state).terms, ("8h",))
        self.change(LOOSER + MAX_CONTRACTS)
        self.daemon.advance(3)
        self.assertEqual(self.loss_limit(), "500")
        self.pass_time(8.1)
        self.assertEqual((self.loss_limit(), self.waits), ("5000", ()))
        self.assertEqual(commitment_of(self.daemon.state).terms, ())
        self.change(MAX_CONTRACTS)
        self.assertIsNone(self.loss_limit())

    def test_shortening_it_waits(self) -> None:
        self.change(AN_HOUR + DAILY_LOSS + MAX_CONTRACTS)
        self.change(AN_HOUR + LOOSER + MAX_CONTRACTS)
        self.pass_time(7.9)
        self.assertEqual(self.loss_limit(), "500")

    def test_lengthening_it_holds_at_once(self) -> None:
        self.change(EIGHT_HOURS.replace("8h", "12h") + DAILY_LOSS + MAX_CONTRACTS)
        self.change(EIGHT_HOURS.replace("8h", "12h") + LOOSER + MAX_CONTRACTS)
        self.pass_time(11.9)
        self.assertEqual(self.loss_limit(), "500")

    def test_between_a_time_and_the_reset_the_longer_counts(self) -> None:
        self.change(UNTIL_RESET + LOOSER + MAX_CONTRACTS)
        self.pass_time(7.9)
        self.assertEqual(self.loss_limit(), "500")
        self.pass_time(0.2)
        self.assertEqual(self.loss_limit(), "5000")

    def test_the_first_one_takes_the_settings_as_they_are(self) -> None:
        self.daemon.close()
        self.config = DAILY_LOSS + MAX_CONTRACTS
        self.setUp()
        self.change(EIGHT_HOURS + LOOSER + MAX_CONTRACTS)
        self.daemon.advance(3)
        self.assertEqual((self.loss_limit(), self.waits), ("5000", ()))
        self.change(EIGHT_HOURS + MAX_CONTRACTS)
        self.daemon.advance(3)
        self.assertEqual(self.loss_limit(), "5000")

    def test_without_one_nothing_waits(self) -> None:
        self.daemon.close()
        self.config = DAILY_LOSS
        self.setUp()
        self.change(LOOSER)
        self.daemon.advance(3)
        self.assertEqual((self.loss_limit(), self.waits), ("5000", ()))


class CommitmentItselfOverRestartTests(CommitmentItselfTests):
    def change(self, config: str) -> None:
        self.restart(config)


class ResetTests(CommitmentTestCase):
    """The trading day ends at 17:00, five hours after the start."""

    MOVED = '[defaults]\nreset_time = "{}"\n'

    def test_a_wait_until_the_reset_ends_with_the_day(self) -> None:
        self.change(UNTIL_RESET + DAILY_LOSS)
        self.pass_time(8.1)
        self.change(UNTIL_RESET + LOOSER)
        self.pass_time(20.8)
        self.assertEqual(self.loss_limit(), "500")
        self.pass_time(0.3)
        self.assertEqual(self.loss_limit(), "5000")

    def test_a_moved_reset_waits_for_the_end_of_a_day(self) -> None:
        self.lose(10, 2)
        before = self.daemon.state.realized_pnl
        self.change(self.config + self.MOVED.format("12:05"))
        self.daemon.advance(600, step=10)
        self.assertEqual(self.daemon.news(DailyReset), [])
        self.assertEqual(self.daemon.state.realized_pnl, before)
        self.assertIn("day: reset_time 17:00:00 became 12:05:00 (this loosens", self.told()[0])
        # Monday 17:00, and Tuesday 17:00, by which the wait is over; then Wednesday 12:05.
        self.pass_time(47.5)
        resets = [each.reset_time.hour for each in self.daemon.news(DailyReset)]
        self.assertEqual(resets, [23, 23])
        self.pass_time(0.7)
        self.assertEqual(self.daemon.news(DailyReset)[-1].reset_time.hour, 18)

    def test_moving_the_reset_shortens_no_other_wait(self) -> None:
        self.change(UNTIL_RESET + DAILY_LOSS)
        self.pass_time(8.1)
        self.change(UNTIL_RESET + DAILY_LOSS + self.MOVED.format("20:15"))
        self.change(UNTIL_RESET + LOOSER + self.MOVED.format("20:15"))
        self.pass_time(1)
        self.assertEqual(self.loss_limit(), "500")

    def test_a_reset_a_little_later_begins_no_day_again(self) -> None:
        self.change(self.config + self.MOVED.format("17:05"))
        self.pass_time(30)
        self.assertEqual(self.names, [])
        resets = [each.reset_time for each in self.daemon.news(DailyReset)]
        self.assertEqual(len(resets), 2)
        self.pass_time(24)
        later = self.daemon.news(DailyReset)[-1].reset_time
        self.assertEqual((later - resets[-1]), timedelta(hours=24, minutes=5))

    def test_moving_it_back_withdraws(self) -> None:
        self.change(self.config + self.MOVED.format("16:00"))
        self.change(self.config)
        self.daemon.advance(3)
        self.assertEqual(self.names, [])
        self.assertIn("what waited is withdrawn", self.told()[-1])

    def test_moving_it_again_begins_the_wait_again(self) -> None:
        self.change(self.config + self.MOVED.format("16:00"))
        self.pass_time(25)
        self.change(self.config + self.MOVED.format("13:00"))
        self.pass_time(10)
        self.assertEqual(self.names, ["day"])


class ResetOverRestartTests(ResetTests):
    def change(self, config: str) -> None:
        self.restart(config)


class UnlockTests(CommitmentTestCase):
    def test_an_unlock_waits(self) -> None:
        self.lock()
        self.assertTrue(self.unlock_by("jane"))
        self.daemon.advance(3)
        self.assertEqual(set(self.daemon.state.lockouts), {"OPERATOR"})
        self.assertIn("Unlock of account 123 waits", self.told()[-1])
        self.pass_time(7.9)
        self.assertEqual(set(self.daemon.state.lockouts), {"OPERATOR"})
        self.pass_time(0.2)
        self.assertEqual((self.daemon.state.lockouts, self.waits), ({}, ()))
        commands = [
            line.data["command"]
            for line in read_log(self.daemon.directory, ACCOUNT)
            if line.kind == "operator"
        ]
        self.assertEqual(commands, ["lock", "unlock asked", "unlock"])

    def test_asking_again_neither_shortens_nor_lengthens_it(self) -> None:
        self.lock()
        self.unlock_by("jane")
        self.pass_time(4)
        self.unlock_by("joe")
        self.pass_time(4.1)
        self.assertEqual(self.daemon.state.lockouts, {})

    def test_it_may_be_withdrawn(self) -> None:
        self.lock()
        self.unlock_by("jane")
        self.assertTrue(self.account.withdraw("better not", "jane"))
        self.assertFalse(self.account.withdraw("better not", "jane"))
        self.pass_time(9)
        self.assertEqual(set(self.daemon.state.lockouts), {"OPERATOR"})
        self.assertIn("Unlock of account 123 is withdrawn by jane", self.told())

    def test_it_does_not_end_a_later_lock(self) -> None:
        self.lock()
        self.unlock_by("jane")
        self.pass_time(1)
        lock = Flatten(reason="too much", lock=Lock(None))
        self.account.risk_engine.decide([Decision("RULE-004", lock)], self.daemon.now())
        self.pass_time(8)
        self.assertEqual(set(self.daemon.state.lockouts), {"OPERATOR", "RULE-004"})
        self.assertIn("Unlock of account 123 is dropped", self.told()[-1])

    def test_a_lock_by_hand_withdraws_it(self) -> None:
        self.lock()
        self.unlock_by("jane")
        self.lock()
        self.pass_time(9)
        self.assertEqual(set(self.daemon.state.lockouts), {"OPERATOR"})

    def test_it_ends_with_the_lock(self) -> None:
        self.account.lock("lunch", "jane", self.daemon.now() + timedelta(hours=1))
        self.daemon.advance(3)
        self.unlock_by("jane")
        self.pass_time(1.1)
        self.assertEqual((self.daemon.state.lockouts, self.waits), ({}, ()))
        self.lock()
        self.pass_time(9)
        self.assertEqual(set(self.daemon.state.lockouts), {"OPERATOR"})

    def test_a_free_account_is_not_locked(self) -> None:
        self.assertFalse(self.unlock_by("jane"))
        self.assertEqual(self.waits, ())

    def test_a_kill_keeps_it(self) -> None:
        self.lock()
        self.unlock_by("jane")
        self.pass_time(4)
        self.restart(self.config)
        self.assertEqual(self.names, ["unlock"])
        self.pass_time(4.1)
        self.assertEqual(self.daemon.state.lockouts, {})

    @property
    def account(self) -> Any:
        return self.daemon.engine.accounts[ACCOUNT]

    def lock(self) -> None:
        self.account.lock("enough", "jane", None)
        self.daemon.advance(3)

    def unlock_by(self, operator: str) -> bool:
        asked: bool = self.account.unlock("please", operator)
        self.daemon.advance(3)
        return asked


class ClockTests(CommitmentTestCase):
    """Waits end by the broker's time."""

    def test_a_clock_set_forward_shortens_none(self) -> None:
        self.change(EIGHT_HOURS + LOOSER + MAX_CONTRACTS)
        self.daemon.advance(3)
        self.daemon.set_wall_clock(days=2)
        self.daemon.advance(60)
        self.assertEqual(self.loss_limit(), "500")
        self.restart(EIGHT_HOURS + LOOSER + MAX_CONTRACTS)
        self.daemon.advance(60)
        self.assertEqual(self.loss_limit(), "500")

    def test_one_that_is_back_at_the_start_shortens_none(self) -> None:
        self.daemon.set_wall_clock(days=-2)
        self.restart(EIGHT_HOURS + LOOSER + MAX_CONTRACTS)
        self.daemon.set_wall_clock(days=2)
        self.pass_time(7.9)
        self.assertEqual(self.loss_limit(), "500")
        self.pass_time(0.2)
        self.assertEqual(self.loss_limit(), "5000")


class RemovedAccountTests(CommitmentTestCase):
    def others(self) -> Settings:
        settings = settings_of(EIGHT_HOURS)
        return msgspec.structs.replace(settings, accounts=(AccountSettings(id=OTHER_ACCOUNT),))

    def restart_without(self) -> None:
        self.daemon.kill()
        self.daemon.settings = self.others()
        self.daemon.restart()
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(3)

    def test_it_is_guarded_until_its_wait_is_over_and_riskd_is_restarted(self) -> None:
        self.restart_without()
        self.assertIn(ACCOUNT, self.daemon.engine.accounts)
        self.assertEqual(self.names, ["account"])
        self.restart_without()
        self.assertTrue(self.is_held_to_500())
        self.pass_time(8.1)
        self.assertTrue(self.waits[0].is_over)
        self.restart_without()
        self.assertEqual(set(self.daemon.engine.accounts), {OTHER_ACCOUNT})

    def test_a_day_that_cannot_be_read_hides_nothing_else(self) -> None:
        known = self.daemon.state
        damaged = {**known.risk.settings, "day": "nonsense"}
        found = earlier_settings(with_risk(known, settings=damaged), CATALOGUE)
        self.assertEqual(found.schedule, AccountSettings(id=ACCOUNT).schedule)
        self.assertEqual(len(found.rules), 2)

    def test_a_reload_begins_its_wait_and_one_with_it_withdraws(self) -> None:
        self.daemon.engine.reload(self.others())
        self.daemon.advance(3)
        self.assertEqual(self.names, ["account"])
        self.reload(self.config)
        self.daemon.advance(3)
        self.assertEqual(self.names, [])


class ManyTests(CommitmentTestCase):
    def test_at_most_eight_earlier_settings_of_a_rule_are_held(self) -> None:
        for number in range(20):
            self.reload(EIGHT_HOURS + DAILY_LOSS.replace("500", str(600 + number)))
        self.daemon.advance(3)
        waits = [each for each in self.waits if each.name == "rules.daily_realized_loss"]
        self.assertEqual(len(waits), 8)
        self.assertEqual(self.loss_limit(), "500")

    def test_none_of_many_holds_before_its_time(self) -> None:
        for number in range(8):
            self.change(EIGHT_HOURS + DAILY_LOSS.replace("500", str(501 + number)))
        self.pass_time(7.8)
        self.change(EIGHT_HOURS + DAILY_LOSS.replace("500", "1000000"))
        self.pass_time(7.9)
        self.assertEqual(self.loss_limit(), "507")
        self.pass_time(0.3)
        self.assertEqual(self.loss_limit(), "1000000")

    def test_of_many_terms_none_ends_before_its_time(self) -> None:
        for number in range(8):
            self.change(f'[commitment]\nloosen_after = "{470 - number}m"\n' + DAILY_LOSS)
        self.pass_time(7.5)
        self.change('[commitment]\nloosen_after = "1s"\n' + DAILY_LOSS)
        self.pass_time(1)
        self.change('[commitment]\nloosen_after = "1s"\n' + LOOSER)
        self.pass_time(6)
        self.assertEqual(self.loss_limit(), "500")

    def test_two_of_a_rule_have_memories_of_their_own(self) -> None:
        self.reload(EIGHT_HOURS + COOLDOWN)
        self.reload(EIGHT_HOURS + COOLDOWN.replace("100", "200"))
        self.reload(EIGHT_HOURS + COOLDOWN.replace("100", "300"))
        self.daemon.advance(1)
        slots = [one.slot for one in self.daemon.engine.accounts[ACCOUNT].rules]
        self.assertEqual(len(slots), len(set(slots)))


class EnforceTests(CommitmentTestCase):
    """A dry run is asked for by the file, and begins at a start."""

    def restart(self, config: str) -> None:
        known = known_accounts(self.daemon.directory)
        self.restart_with(enforcing_settings(settings_of(config), known))
        self.daemon.advance(3)

    def is_enforcing(self) -> bool:
        return self.daemon.engine.enforces

    def test_it_waits_and_begins_at_the_start_after_that(self) -> None:
        dry = "enforce = false\n" + self.config
        self.daemon.advance(3)
        self.restart(dry)
        self.assertTrue(self.is_enforcing())
        self.assertEqual(self.names, ["enforce"])
        self.assertIn("enforce: true became false (this loosens, and waits)", self.told()[0])
        self.restart(dry)
        self.pass_time(7.9)
        self.restart(dry)
        self.assertTrue(self.is_enforcing())
        self.pass_time(0.3)
        self.assertIn("takes effect at the next start", self.told()[-1])
        self.daemon.advance(3)
        self.restart(dry)
        self.assertFalse(self.is_enforcing())
        self.assertEqual(self.names, [])
        self.restart(dry)
        self.assertFalse(self.is_enforcing())

    def test_a_clock_that_is_ahead_at_the_start_does_not_end_it(self) -> None:
        self.restart("enforce = false\n" + self.config)
        self.daemon.set_wall_clock(days=2)
        self.restart("enforce = false\n" + self.config)
        self.assertTrue(self.is_enforcing())

    def test_without_the_journal_the_copy_keeps_it(self) -> None:
        self.daemon.advance(3)
        self.daemon.kill()
        (self.daemon.directory / JOURNAL_NAME).unlink()
        settings = settings_of("enforce = false\n" + self.config)
        known = known_accounts(self.daemon.directory)
        self.assertTrue(enforcing_settings(settings, known).enforce)

    def lose_the_journal(self) -> None:
        self.daemon.advance(3)
        self.daemon.kill()
        for path in self.daemon.directory.glob(f"{JOURNAL_NAME}*"):
            path.unlink()

    def test_without_the_journal_it_waits_at_each_later_start(self) -> None:
        self.lose_the_journal()
        self.restart("enforce = false\n" + self.config)
        self.assertEqual(self.names, ["enforce"])
        self.assertIn(
            "enforce: true became false (this loosens, and waits)", " ".join(self.told())
        )
        for _ in range(2):
            self.restart("enforce = false\n" + self.config)
            self.assertTrue(self.is_enforcing())
        self.pass_time(8.2)
        self.restart("enforce = false\n" + self.config)
        self.assertFalse(self.is_enforcing())

    def test_an_earlier_journal_does_not_end_it(self) -> None:
        self.daemon.close()
        self.config = DAILY_LOSS
        self.setUp()
        self.daemon.kill()
        earlier = (self.daemon.directory / JOURNAL_NAME).read_bytes()
        self.daemon.restart()
        self.restart(EIGHT_HOURS + DAILY_LOSS)
        self.lose_the_journal()
        (self.daemon.directory / JOURNAL_NAME).write_bytes(earlier)
        for _ in range(2):
            self.restart("enforce = false\n" + EIGHT_HOURS + DAILY_LOSS)
            self.assertTrue(self.is_enforcing())
            self.assertEqual(set(self.daemon.state.lockouts), {"JOURNAL"})

    def test_a_dry_run_stays_one_without_the_journal(self) -> None:
        dry = "enforce = false\n" + DAILY_LOSS
        self.daemon.close()
        self.config = dry
        self.setUp()
        self.restart(dry + EIGHT_HOURS)
        self.lose_the_journal()
        for _ in range(2):
            self.restart(dry + EIGHT_HOURS)
            self.assertFalse(self.is_enforcing())

    def test_an_account_that_is_removed_from_a_dry_run_does_not_end_it(self) -> None:
        dry = "enforce = false\n" + DAILY_LOSS
        self.daemon.close()
        self.config = dry
        self.setUp()
        self.restart(dry + EIGHT_HOURS)
        others = (AccountSettings(id=OTHER_ACCOUNT),)
        for _ in range(3):
            known = known_accounts(self.daemon.directory)
            settings = msgspec.structs.replace(settings_of(dry + EIGHT_HOURS), accounts=others)
            self.restart_with(enforcing_settings(settings, known))
            self.daemon.advance(3)
            self.assertIn(ACCOUNT, self.daemon.engine.accounts)
            self.assertFalse(self.is_enforcing())

    def test_a_dry_run_from_before_the_commitment_goes_on(self) -> None:
        dry = "enforce = false\n" + DAILY_LOSS
        self.daemon.close()
        self.config = dry
        self.setUp()
        self.restart(dry + EIGHT_HOURS)
        self.restart(dry + EIGHT_HOURS)
        self.assertFalse(self.is_enforcing())


class GatewayTests(CommitmentTestCase):
    OTHER = '[gateway]\nkind = "projectx"\nuser_name = "jane"\n'

    def test_another_gateway_waits_and_needs_a_restart_then(self) -> None:
        self.change(self.OTHER + self.config)
        self.assertEqual(self.names, ["gateway"])
        self.pass_time(8.2)
        self.assertTrue(self.waits[0].is_over)
        self.change(self.config)
        self.assertEqual(self.names, [])

    def test_another_key_file_or_hub_does_not(self) -> None:
        self.change(self.config + '[gateway]\nuser_hub_url = "https://example.com"\n')
        self.assertEqual(self.names, [])


class LostJournalTests(CommitmentTestCase):
    """Without the journal nobody knows what was loosened: the account starts locked."""

    def lose_the_journal(self, config: str) -> None:
        self.daemon.advance(3)
        self.daemon.kill()
        for path in self.daemon.directory.glob(f"{JOURNAL_NAME}*"):
            path.unlink()
        self.daemon.settings = settings_of(config)
        self.daemon.restart()
        self.daemon.move(MNQ, "21000")
        self.daemon.advance(3)

    def test_the_account_starts_locked_and_its_unlock_waits(self) -> None:
        self.lose_the_journal(self.config)
        self.assertEqual(set(self.daemon.state.lockouts), {"JOURNAL"})
        self.daemon.engine.accounts[ACCOUNT].unlock("please", "jane")
        self.daemon.advance(3)
        self.assertEqual(set(self.daemon.state.lockouts), {"JOURNAL"})
        self.pass_time(8.2)
        self.assertEqual(self.daemon.state.lockouts, {})

    def test_what_was_loosened_meanwhile_waits(self) -> None:
        self.lose_the_journal(MAX_CONTRACTS)
        self.assertEqual(set(self.daemon.state.lockouts), {"JOURNAL"})
        self.assertEqual(self.loss_limit(), "500")
        self.assertEqual(commitment_of(self.daemon.state).terms, ("8h",))
        self.pass_time(7.5)
        self.assertEqual(self.loss_limit(), "500")

    def test_a_damaged_one_counts_as_lost(self) -> None:
        self.daemon.advance(3)
        self.daemon.kill()
        (self.daemon.directory / JOURNAL_NAME).write_bytes(b"noise" * 1000)
        self.daemon.restart()
        self.daemon.advance(3)
        self.assertEqual(set(self.daemon.state.lockouts), {"JOURNAL"})

    def test_without_a_commitment_it_does_not(self) -> None:
        self.daemon.close()
        self.config = DAILY_LOSS
        self.setUp()
        self.lose_the_journal(self.config)
        self.assertEqual(self.daemon.state.lockouts, {})


class FloorTests(CommitmentTestCase):
    def test_a_lower_floor_is_refused(self) -> None:
        rules = [RuleInForce(MAXIMUM_LOSS, MaximumLoss())]
        state = AccountState(
            account_id=ACCOUNT, balance=Balance(agreed=Decimal(50000), first=Decimal(50000))
        )
        refusal = objection(
            state,
            rules,
            Decimal(47000),
            is_locked=False,
            is_committed=True,
            is_confirmed=True,
        )
        self.assertIn("has a [commitment], and a floor below $48,000.00", refusal)


class NewsTests(SynchronousTestCase):
    """What a file of a rule contains is compared, too."""

    def settings(self, *hours: int) -> str:
        news = tuple(News(MONDAY_NOON + timedelta(hours=each)) for each in hours)
        calendar = NewsCalendar(news, MONDAY_NOON + timedelta(days=9))
        rule = CATALOGUE["news_blackout"]
        return RuleInForce(rule, rule.settings_type(calendar=calendar)).limit.settings

    def is_looser(self, new: str, old: str) -> bool:
        return is_looser("rules.news_blackout", old, new, CATALOGUE)

    def test_less_news_is_looser_and_more_is_not(self) -> None:
        self.assertTrue(self.is_looser(self.settings(1), self.settings(1, 2)))
        self.assertTrue(self.is_looser(self.settings(1, 3), self.settings(1, 2)))
        self.assertFalse(self.is_looser(self.settings(1, 2, 3), self.settings(1, 2)))


class TermTests(SynchronousTestCase):
    def test_times_and_what_is_none(self) -> None:
        self.assertEqual(duration("8h"), timedelta(hours=8))
        self.assertEqual(duration("90m"), timedelta(minutes=90))
        self.assertIsNone(duration("daily_reset"))
        for text in ("", "0h", "8", "h", "31d", "8 h", "-8h", "9999999d", "8H", "daily"):
            error = self.assertRaises(ValueError, duration, text)
            self.assertIn("expected", str(error))

    def test_a_wrong_one_is_named_in_the_file(self) -> None:
        error = self.assertRaises(
            ConfigError, settings_of, '[commitment]\nloosen_after = "soon"\n'
        )
        self.assertIn('commitment.loosen_after: expected "daily_reset", or a time', str(error))

    @given(
        st.sampled_from(("", "1h", "8h", "12h", "2d", "daily_reset")),
        st.sampled_from(("", "1h", "8h", "12h", "2d", "daily_reset")),
    )
    def test_of_two_terms_one_is_sooner_or_they_are_the_same(self, new: str, old: str) -> None:
        if new == old:
            self.assertFalse(is_sooner(new, old))
        elif "daily_reset" in (new, old) and old and new:
            self.assertTrue(is_sooner(new, old) and is_sooner(old, new))
        else:
            self.assertNotEqual(is_sooner(new, old), is_sooner(old, new))
