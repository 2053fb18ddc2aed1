"""An operator's unlock: what locks the account again, and what does not."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from riskd.config.settings import Faults
from riskd.journal.reader import read_published
from riskd.model.unlocks import last_unlock
from tests.support.guarded_account import DAILY_LOSS, GuardTestCase
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    ES,
    MNQ,
    MONDAY_NOON,
    PracticeDaemon,
    settings_of,
)

FREQUENCY = """
[rules.trade_frequency_limit]
max_trades = 2
time_window_minutes = 5
cooldown_seconds = 600
"""

COOLDOWN = """
[rules.cooldown_after_loss]
loss_threshold = 100
cooldown_seconds = 600
"""

PERMISSION = """
[rules.auth_loss_guard]
"""

OPEN_LOSS = """
[rules.daily_unrealized_loss]
loss_limit = 300
scope = "total"
action = "CLOSE_ALL_AND_LOCKOUT"
"""

HOURS = """
[rules.session_block_outside]
allowed_hours = { start = "08:30", end = "11:00" }
"""


class UnlockTestCase(GuardTestCase):
    @property
    def is_locked(self) -> bool:
        return bool(self.daemon.state.lockouts)

    def unlock(self) -> None:
        assert self.is_locked
        self.assertTrue(self.daemon.engine.accounts[ACCOUNT].unlock("back", "jane"))
        self.daemon.advance(0.25)

    def settle(self) -> None:
        """Let time pass, and reconcile, over a restart after a crash."""
        self.daemon.advance(130)
        self.daemon.kill()
        self.daemon.restart()
        self.daemon.advance(130)

    def beyond(self) -> tuple[str, ...]:
        unlock = last_unlock(self.daemon.state)
        return unlock.beyond if unlock else ()

    def set_permission(self, may_trade: bool) -> None:
        self.daemon.gateway.set_can_trade(ACCOUNT, may_trade)
        self.daemon.advance(1)


class DailyLossTests(UnlockTestCase):
    config = DAILY_LOSS

    def unlocked(self) -> None:
        self.lose(125, 2)
        self.unlock()

    def test_neither_a_reconciliation_nor_a_restart_locks_again(self) -> None:
        self.unlocked()
        self.settle()
        self.assertFalse(self.is_locked)

    def test_the_next_trade_locks_again(self) -> None:
        self.unlocked()
        self.settle()
        self.lose(1)
        self.assertTrue(self.is_locked)
        self.assertEqual(self.beyond(), ())

    def test_a_loss_while_the_daemon_was_down_locks_again(self) -> None:
        self.unlocked()
        self.daemon.advance(2)
        self.daemon.kill()
        self.lose(1)
        self.daemon.restart()
        self.daemon.advance(1)
        self.assertTrue(self.is_locked)

    def test_a_tighter_limit_locks_again(self) -> None:
        self.unlocked()
        self.daemon.engine.reload(settings_of(DAILY_LOSS.replace("500", "501")))
        self.daemon.advance(1)
        self.assertFalse(self.is_locked)
        self.daemon.engine.reload(settings_of(DAILY_LOSS.replace("500", "400")))
        self.daemon.advance(1)
        self.assertTrue(self.is_locked)

    def test_all_say_that_it_is_unlocked_beyond_its_limit_until_the_day_ends(self) -> None:
        self.unlocked()
        self.settle()
        self.assertEqual(self.beyond(), ("RULE-003",))
        published = read_published(self.daemon.directory).accounts[ACCOUNT]
        unlock = last_unlock(published)
        assert unlock is not None
        self.assertEqual(unlock.beyond, ("RULE-003",))
        self.daemon.clock.advance(timedelta(hours=5).total_seconds())
        self.daemon.advance(5)
        self.assertEqual(self.beyond(), ())
        self.assertIsNone(last_unlock(self.daemon.state))

    def test_the_audit_log_says_it(self) -> None:
        self.unlocked()
        data = [
            msgspec.json.decode(entry.data)
            for entry in self.daemon.state.risk.log
            if entry.kind == "operator"
        ]
        self.assertEqual([each["beyond"] for each in data], [["RULE-003"]])

    def test_an_unlock_within_the_limits_says_nothing(self) -> None:
        self.daemon.engine.accounts[ACCOUNT].lock("lunch", "jane", None)
        self.daemon.advance(1)
        self.unlock()
        self.assertEqual(self.beyond(), ())
        self.assertNotIn("beyond", self.daemon.state.risk.log[-2].data)


class FeesTests(UnlockTestCase):
    """A daily loss that includes fees."""

    config = DAILY_LOSS + "include_fees = true\n"

    def report(self, number: int, pnl: int | None, fees: int) -> None:
        self.daemon.payloads.user_event(
            "GatewayUserTrade",
            {
                "id": number,
                "accountId": ACCOUNT,
                "contractId": MNQ,
                "creationTimestamp": self.daemon.broker_time().isoformat(),
                "price": 21000,
                "profitAndLoss": pnl,
                "fees": fees,
                "size": 1,
                "side": 1,
                "voided": False,
                "orderId": number,
            },
        )
        self.daemon.advance(1)

    def test_the_fees_of_an_entry_do_not_lock_again(self) -> None:
        self.report(1, -600, 2)
        # Also those that came during the lock.
        self.report(2, None, 2)
        self.unlock()
        self.report(3, None, 2)
        self.settle()
        self.assertFalse(self.is_locked)
        self.report(4, 50, 2)
        self.assertTrue(self.is_locked)

    def test_higher_fees_of_a_trade_from_before_lock_again(self) -> None:
        self.report(1, -600, 2)
        self.unlock()
        self.report(1, -600, 3)
        self.assertTrue(self.is_locked)


class CountingTests(UnlockTestCase):
    """Rules that count trades."""

    def test_too_many_trades(self) -> None:
        self.daemon.close()
        self.daemon = PracticeDaemon(FREQUENCY)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")
        for _ in range(3):
            self.lose(1)
        self.unlock()
        self.assertEqual(self.beyond(), ("RULE-006",))
        self.settle()
        self.assertFalse(self.is_locked)
        self.daemon.advance(60)
        # The trades from before the unlock are in no window with this one.
        self.lose(1)
        self.assertFalse(self.is_locked)
        for _ in range(2):
            self.lose(1)
        self.assertTrue(self.is_locked)

    def test_an_unlock_before_the_brokers_time_is_known(self) -> None:
        for days in (-1, 1):
            self.daemon.close()
            self.daemon = PracticeDaemon(FREQUENCY, wall_ahead=days * 86_400)
            self.addCleanup(self.daemon.close)
            self.daemon.move(MNQ, "21000")
            for _ in range(3):
                self.lose(1)
            self.daemon.engine.clocks.broker.is_known = False
            self.assertTrue(self.daemon.engine.accounts[ACCOUNT].unlock("back", "jane"))
            self.daemon.engine.clocks.broker.is_known = True
            self.settle()
            self.assertFalse(self.is_locked, days)
            # In the time of the cooldown that was ended, and in a window with its trades.
            self.lose(1)
            self.assertTrue(self.is_locked, days)

    def test_the_end_of_the_day_does_not_bring_back_the_cooldown_that_was_ended(self) -> None:
        self.daemon.close()
        self.daemon = PracticeDaemon(FREQUENCY, now=MONDAY_NOON + timedelta(hours=4, seconds=3599))
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")
        for _ in range(3):
            self.lose(1)
        self.unlock()
        self.daemon.advance(3)
        self.assertIsNone(last_unlock(self.daemon.state))
        self.assertFalse(self.is_locked)
        self.lose(1)
        self.assertTrue(self.is_locked)

    def test_a_large_loss(self) -> None:
        self.daemon.close()
        self.daemon = PracticeDaemon(COOLDOWN)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")
        self.lose(60)
        self.unlock()
        self.assertEqual(self.beyond(), ("RULE-007",))
        self.settle()
        self.assertFalse(self.is_locked)
        self.lose(10)
        self.assertFalse(self.is_locked)
        self.lose(60)
        self.assertTrue(self.is_locked)


class PermissionTests(UnlockTestCase):
    config = PERMISSION

    def unlocked(self) -> None:
        self.set_permission(False)
        self.unlock()
        self.assertEqual(self.beyond(), ("RULE-010",))

    def test_neither_a_reconciliation_nor_a_restart_locks_again(self) -> None:
        self.unlocked()
        self.settle()
        self.assertFalse(self.is_locked)

    def test_a_permission_that_is_withdrawn_again_locks_again(self) -> None:
        self.unlocked()
        self.set_permission(True)
        self.assertFalse(self.is_locked)
        self.set_permission(False)
        self.assertTrue(self.is_locked)

    def test_the_end_of_the_day_ends_the_excuse(self) -> None:
        self.unlocked()
        self.settle()
        hours = timedelta(hours=5).total_seconds()
        self.daemon.advance(hours - self.daemon.clock.seconds() - 1, step=30)
        self.assertFalse(self.is_locked)
        self.daemon.advance(3)
        self.assertTrue(self.is_locked)

    def test_other_rules_go_on(self) -> None:
        self.daemon.close()
        self.daemon = PracticeDaemon(PERMISSION + OPEN_LOSS)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")
        self.unlocked()
        state = self.daemon.engine.accounts[ACCOUNT].account.state
        self.assertEqual(state.open_positions, ())
        self.set_permission(True)
        self.daemon.trade(BUY, 2)
        self.daemon.move(MNQ, "20900")
        self.daemon.advance(1)
        self.assertIn("RULE-004", self.daemon.state.lockouts)


class HeldTests(UnlockTestCase):
    """Rules that look at what the account holds."""

    def hold_off_closing(self) -> None:
        self.daemon.gateway.faults = Faults(refuse=1.0)

    def start(self, config: str) -> None:
        self.daemon.close()
        self.daemon = PracticeDaemon(config)
        self.addCleanup(self.daemon.close)
        self.daemon.move(MNQ, "21000")
        self.daemon.move(ES, "5800")

    def test_a_position_that_is_still_being_closed_does_not_lock_again(self) -> None:
        self.start(OPEN_LOSS)
        self.daemon.trade(BUY, 2)
        self.hold_off_closing()
        self.daemon.move(MNQ, "20900")
        self.daemon.advance(7)
        self.unlock()
        self.assertEqual(self.beyond(), ("RULE-004",))
        self.daemon.move(MNQ, "20890")
        self.daemon.advance(20)
        self.assertEqual((self.is_locked, self.daemon.held), (False, {MNQ: 2}))
        self.daemon.gateway.faults = Faults()
        self.daemon.advance(20)
        self.assertEqual((self.is_locked, self.daemon.held), (False, {}))

    def test_the_next_position_locks_again(self) -> None:
        for config in (OPEN_LOSS, HOURS):
            self.start(config)
            self.daemon.trade(BUY, 2)
            self.daemon.move(MNQ, "20900")
            self.daemon.advance(2)
            self.unlock()
            self.settle()
            self.assertFalse(self.is_locked)
            self.daemon.trade(BUY, 2)
            self.daemon.move(MNQ, "20800")
            self.daemon.advance(2)
            self.assertTrue(self.is_locked, config)

    def test_more_than_was_held_locks_again(self) -> None:
        for contract_id, size in ((ES, 1), (MNQ, 1)):
            self.start(HOURS.replace("11:00", "12:01"))
            self.daemon.trade(BUY, 2)
            self.hold_off_closing()
            self.daemon.advance(67)
            self.unlock()
            self.daemon.advance(5)
            self.assertEqual((self.is_locked, self.daemon.held), (False, {MNQ: 2}))
            self.assertEqual(self.beyond(), ("RULE-009",))
            self.daemon.gateway.faults = Faults()
            self.daemon.trade(BUY, size, contract_id)
            self.daemon.advance(7)
            self.assertEqual((self.is_locked, self.daemon.held), (True, {}), contract_id)

    def test_strict_mode(self) -> None:
        self.start('strict_mode = true\n[rules.symbol_blocks]\nblocked_symbols = ["MNQ"]\n')
        self.daemon.trade(BUY, 1)
        self.daemon.advance(2)
        self.unlock()
        self.settle()
        self.assertFalse(self.is_locked)
        self.daemon.trade(BUY, 1, limitPrice="20000")
        self.daemon.advance(2)
        self.assertTrue(self.is_locked)
