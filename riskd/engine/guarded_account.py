"""An account with the risk engine that guards it, as an operator acts on them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from riskd.engine.balances import Balances
from riskd.engine.interface import ConfirmedFlatten, IOperatedAccount
from riskd.engine.risk import RiskEngine
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.broker_clock import BrokerClock
from riskd.journal.audit_log import OPERATOR_COMMAND
from riskd.model.account import AccountState
from riskd.model.formatting import dollars
from riskd.model.lockouts import OPERATOR, Lock, is_locked, locks_in_force
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
    """

    def __init__(
        self,
        account: TrackedAccount,
        risk_engine: RiskEngine,
        balances: Balances,
        broker_clock: BrokerClock,
    ) -> None:
        self.account = account
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
        """End all locks; return whether there were any."""
        now = self._present
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
