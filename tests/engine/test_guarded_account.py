"""An operator's commands on an account: lock, unlock, flatten."""

from __future__ import annotations

from datetime import timedelta

from twisted.internet.defer import CancelledError
from zope.interface.verify import verifyObject

from riskd.config.settings import Faults
from riskd.engine.interface import ConfirmedFlatten, IOperatedAccount
from riskd.model.events import Action, ClearedBy
from tests.support.guarded_account import DAILY_LOSS, GuardTestCase
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ


class OperatorTests(GuardTestCase):
    config = DAILY_LOSS

    def test_an_operator_sees_the_state_and_the_rules(self) -> None:
        account = self.daemon.engine.operated_accounts[ACCOUNT]
        verifyObject(IOperatedAccount, account)
        self.assertEqual(account.account_state, self.daemon.state)
        self.assertEqual([one.rule.rule_id for one in account.rules], ["RULE-003"])

    def test_the_broker_has_reported_an_account_once_it_has_answered_in_this_run(self) -> None:
        self.assertTrue(self.daemon.engine.operated_accounts[ACCOUNT].is_reported)
        self.daemon.kill()
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        self.daemon.restart()
        self.daemon.advance(30)
        self.assertFalse(self.daemon.engine.operated_accounts[ACCOUNT].is_reported)
        self.daemon.gateway.faults = Faults()
        self.daemon.advance(30)
        self.assertTrue(self.daemon.engine.operated_accounts[ACCOUNT].is_reported)

    def test_flatten_closes_everything_and_locks_nothing(self) -> None:
        self.daemon.trade(BUY, 1)
        self.daemon.engine.accounts[ACCOUNT].flatten("lunch", "trader")
        self.daemon.advance(1)
        self.assertEqual((self.daemon.held, self.daemon.locks), ({}, []))
        (entry,) = self.daemon.state.risk.log
        self.assertEqual(entry.kind, "operator")
        self.assertEqual(entry.data, '{"command":"flatten","reason":"lunch","operator":"trader"}')

    def test_a_flatten_is_confirmed_when_the_broker_lists_nothing_any_more(self) -> None:
        account = self.daemon.engine.accounts[ACCOUNT]
        for command in (account.flatten, lambda *given: account.lock(*given, None)):
            self.daemon.trade(BUY, 1)
            self.daemon.gateway.faults = Faults(lost_requests=1.0)
            confirmed = command("lunch", "trader")
            self.daemon.advance(10)
            self.assertNoResult(confirmed)
            self.daemon.gateway.faults = Faults()
            self.daemon.advance(10)
            self.assertEqual(self.daemon.held, {})
            self.assertEqual(self.successResultOf(confirmed), ConfirmedFlatten(1, 0))

    def test_a_lock_that_is_in_force_already_is_confirmed_by_the_broker_as_well(self) -> None:
        account = self.daemon.engine.accounts[ACCOUNT]
        account.lock("lunch", "trader", None)
        self.daemon.advance(1)
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        confirmed = account.lock("lunch", "trader", self.daemon.now() + timedelta(minutes=5))
        self.daemon.advance(5)
        self.assertNoResult(confirmed)
        self.daemon.gateway.faults = Faults()
        self.daemon.advance(10)
        self.assertEqual(self.successResultOf(confirmed), ConfirmedFlatten(0, 0))
        self.assertEqual([lock.locked_until for lock in self.daemon.locks], [None])

    def test_who_gives_up_waiting_for_a_confirmation_is_forgotten(self) -> None:
        account = self.daemon.engine.accounts[ACCOUNT]
        self.daemon.gateway.faults = Faults(failed_reads=1.0)
        given_up, other = (account.flatten("lunch", "trader") for _ in range(2))
        given_up.cancel()
        self.failureResultOf(given_up, CancelledError)
        self.daemon.gateway.faults = Faults()
        self.daemon.advance(10)
        self.assertEqual(self.successResultOf(other), ConfirmedFlatten(0, 0))

    def breach(self) -> None:
        self.lose(125, 2)

    def test_an_interrupted_lock_is_finished_by_the_next_start(self) -> None:
        """No rule would set the operator's lock again."""
        self.daemon.trade(BUY, 1)
        self.daemon.gateway.faults = Faults(lost_requests=1.0)
        self.daemon.engine.accounts[ACCOUNT].lock("lunch", "trader", None)
        self.daemon.advance(1)
        self.assertEqual((self.daemon.held, self.daemon.locks), ({MNQ: 1}, []))
        self.daemon.kill()
        self.daemon.gateway.faults = Faults()
        self.daemon.restart()
        self.daemon.advance(1)
        (action,), (lock,) = self.daemon.actions, self.daemon.locks
        self.assertEqual(
            (action.rule_id, action.action), ("OPERATOR", Action.CLOSE_ALL_AND_LOCKOUT)
        )
        self.assertEqual((self.daemon.held, lock.locked_until), ({}, None))

    def test_unlock_frees_the_account(self) -> None:
        self.breach()
        account = self.daemon.engine.accounts[ACCOUNT]
        self.assertTrue(account.unlock("a mistake", "trader"))
        (cleared,) = self.daemon.cleared
        self.assertEqual(cleared.cleared_by, ClearedBy.ADMIN_OVERRIDE)
        self.daemon.trade(BUY, 1)
        self.daemon.advance(10)
        self.assertEqual(self.daemon.held, {MNQ: 1})
        self.assertFalse(account.unlock("again", "trader"))

    def test_a_loss_after_unlock_locks_again(self) -> None:
        self.breach()
        self.daemon.engine.accounts[ACCOUNT].unlock("a mistake", "trader")
        self.lose(1)
        self.assertEqual(len(self.daemon.locks), 2)
        self.assertEqual(len(self.daemon.state.lockouts), 1)
