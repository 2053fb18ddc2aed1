"""An account with the risk engine that guards it, as an operator acts on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from riskd.engine.balances import Balances
from riskd.engine.committed_settings import AT_A_START
from riskd.engine.interface import ConfirmedFlatten, IOperatedAccount
from riskd.engine.risk import RiskEngine
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.broker_clock import BrokerClock
from riskd.journal.audit_log import OPERATOR_COMMAND
from riskd.model.account import AccountState
from riskd.model.commitment import ACCOUNT, UNLOCK, Wait
from riskd.model.events import (
    OPERATOR,
    to_milliseconds,
)
from riskd.model.formatting import dollars
from riskd.model.lockouts import Lock, is_locked, locks_in_force
from riskd.model.safe_text import printable
from riskd.model.settings_changes import SettingsChange
from riskd.model.unlocks import TICK
from riskd.rules.builtin.maximum_loss import RULE as MAXIMUM_LOSS
from riskd.rules.builtin.maximum_loss import nearest_floor
from riskd.rules.evaluation import Decision, RuleInForce
from riskd.rules.interface import Flatten

_log = Logger()


@implementer(IOperatedAccount)
class GuardedAccount:
    """One account and its risk engine.

    :ivar account: the account.
    :ivar risk_engine: guards it.
    :ivar balances: follows its balance.
    :ivar is_reported: whether the broker has said in this run what the account holds and has traded.
    :param broker_clock: gives the broker's time.
    :param report_changes: announces changes of settings, and what waits.
    """

    def __init__(
        self,
        account: TrackedAccount,
        risk_engine: RiskEngine,
        balances: Balances,
        broker_clock: BrokerClock,
        report_changes: Callable[[Iterable[SettingsChange]], None],
    ) -> None:
        self.account = account
        self._report_changes = report_changes
        risk_engine.wait_ended = self._wait_ended
        self.risk_engine = risk_engine
        self.balances = balances
        self.is_reported = False
        self._broker_clock = broker_clock
        self._now = broker_clock.now

    @property
    def account_state(self) -> AccountState:
        """The account's state, pending announcements included."""
        return self.account.state_with_pending

    @property
    def rules(self) -> tuple[RuleInForce, ...]:
        """The rules in force, in the order in which they are evaluated."""
        return self.risk_engine.rules.limits.rules

    def unlock(self, reason: str, operator: str) -> bool:
        """End all locks, or let that wait; return whether there were any."""
        now, rules = self._present, self.risk_engine.rules
        if not is_locked(self.account.state_with_pending, self._broker_clock.passed()):
            return self._unlock(now, reason, operator)
        was_waiting = rules.committed.commitment.waiting(UNLOCK)
        if not rules.committed.ask(UNLOCK, reason, f"unlock: {reason}", now, operator):
            return self._unlock(now, reason, operator)
        if not was_waiting:
            self._log_command("unlock asked", reason, operator)
            self._tell(f"waits, by the commitment: {reason} (by {operator})", now)
            if self._broker_clock.is_known:
                # So that its end is known at once.
                for wait in rules.end_waits(now, is_locked=True):
                    self._wait_ended(wait)
        return True

    def withdraw(self, reason: str, operator: str) -> bool:
        """Withdraw an unlock that waits; return whether there was one."""
        if not self.risk_engine.rules.committed.withdraw(UNLOCK):
            return False
        self._log_command("unlock withdrawn", reason, operator)
        self._tell(f"is withdrawn by {operator}", self._present)
        return True

    def removed(self, operator: str) -> None:
        """Note that the settings do not name the account any more: that may have to wait."""
        number, now = self.account.account_id, self._present
        committed = self.risk_engine.rules.committed
        if committed.commitment.waiting(ACCOUNT):
            return
        if committed.ask(ACCOUNT, "", f"account {number} was removed", now, operator):
            self.tell_change(f"the removal of account {number} by {operator} waits", now)

    def tell_change(self, words: str, now: datetime) -> None:
        """Announce what a commitment does to a change of settings."""
        self._announce(f"Settings of account {self.account.account_id}: {words}", now)

    def _tell(self, words: str, now: datetime) -> None:
        self._announce(f"Unlock of account {self.account.account_id} {words}", now)

    def _announce(self, sentence: str, now: datetime) -> None:
        change = SettingsChange(to_milliseconds(now), printable(sentence))
        self.risk_engine.rules.note_changes([change])
        self._report_changes([change])

    def _wait_ended(self, wait: Wait) -> None:
        """Do what has waited long enough."""
        now = self._present
        if wait.name != UNLOCK:
            note = "takes effect at the next start" if wait.name in AT_A_START else "is in force"
            self.tell_change(f"after its wait, {note}: {wait.sentence}", now)
            return
        locks = locks_in_force(self.account.state_with_pending, self._broker_clock.passed())
        if any(lock.locked_at > wait.asked_at for lock in locks):
            self._tell("is dropped: the account was locked again after it was asked for", now)
        elif locks:
            self._unlock(now, wait.old, wait.operator)

    def _unlock(self, now: datetime, reason: str, operator: str) -> bool:
        beyond = self.risk_engine.rules.exceeded(now)
        # Before the locks end: the audit log must have the cause before the effect.
        if is_locked(self.account.state_with_pending, self._broker_clock.passed()):
            self._log_command("unlock", reason, operator, **({"beyond": beyond} if beyond else {}))
        return self.risk_engine.unlock(now, beyond)

    def lock(
        self, reason: str, operator: str, until: datetime | None
    ) -> Deferred[ConfirmedFlatten]:
        """Flatten and lock the account; ``None`` locks it until it is unlocked."""
        self._log_command("lock", reason, operator)
        # The lock that is asked for now must not end with an earlier one.
        self.withdraw(reason, operator)
        # A lock that is in force already decides nothing, and yet the account is to be flat.
        return self._decide(Flatten(reason=reason, lock=Lock(until)), Flatten(reason=reason))

    def flatten(self, reason: str, operator: str) -> Deferred[ConfirmedFlatten]:
        """Close all positions and cancel all orders."""
        self._log_command("flatten", reason, operator)
        return self._decide(Flatten(reason=reason))

    def set_floor(self, amount: Decimal, operator: str) -> Deferred[ConfirmedFlatten]:
        """Take the firm's figure for the floor of the account, in dollars."""
        state, rules = self.account.state, self.risk_engine.rules
        before = nearest_floor(state, self.rules)
        was = (
            "" if before is None else f"; it was {dollars(before.amount)} by {before.source.words}"
        )
        sentence = f"The floor of account {state.account_id} is {dollars(amount)} by the firm's figure{was}"
        self._log_command("floor", sentence, operator)
        self.balances.take_floor(amount, self._present, sentence)
        if before is not None and amount > before.amount:
            # An unlock does not excuse a breach of a higher floor.
            rules.note_locked([MAXIMUM_LOSS.rule_id])
        confirmed = self.risk_engine.confirmation()
        self.risk_engine.review()
        return confirmed

    def _decide(self, *commands: Flatten) -> Deferred[ConfirmedFlatten]:
        confirmed = self.risk_engine.confirmation()
        decisions = [Decision(OPERATOR, command) for command in commands]
        self.risk_engine.decide(decisions, self._present)
        return confirmed

    @property
    def _present(self) -> datetime:
        """The broker's time; until it is known, the latest that the account has heard of.

        Locks and unlocks are compared with the times of trades, and this machine's clock may be wrong by days.
        """
        if self._broker_clock.is_known:
            return self._now()
        state = self.account.state_with_pending
        moments = [lock.locked_at for lock in locks_in_force(state, self._broker_clock.passed())]
        moments += [trade.timestamp for trade in state.trades.values()]
        return max(moments) + TICK if moments else self._now()

    def _log_command(self, command: str, reason: str, operator: str, **more: object) -> None:
        _log.warn(
            "operator {operator}: {command} account {account}: {reason}",
            operator=operator,
            command=command,
            account=self.account.account_id,
            reason=reason,
        )
        self.account.note(
            OPERATOR_COMMAND, command=command, reason=reason, operator=operator, **more
        )
