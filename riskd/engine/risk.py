"""Evaluate one account's rules, enforce their decisions, expire its locks.

The risk engine receives what has been applied and broadcast, evaluates the rules that listen to it, and
hands what they decide to the enforcer.  It begins when the account is reconciled with the broker.

Evaluation is re-entrant.  A gateway may send events before a command to it returns, as the practice
exchange does, and each of them is evaluated within the evaluation whose command caused it.  Three habits
make that safe:

- What the inner evaluation must know is in the account's state before a command leaves: what the rules
  remember, and the flatten that is under way.  So nothing is decided twice.
- After each call that may send a command, the state is read again.
- The decisions of one evaluation are enforced last, their flattens as one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from riskd.engine.account_rules import AccountRules
from riskd.engine.enforcement.dry_run import DryRun
from riskd.engine.enforcement.enforcer import Enforcer
from riskd.engine.enforcement.flattening import flattening_of
from riskd.engine.interface import ConfirmedFlatten
from riskd.engine.limits_in_force import LimitsInForce
from riskd.engine.locks_and_days import (
    count_first_day,
    drop_pending_locks,
    end_day,
    end_locks,
    ended_before_day,
    leave_next_trades,
    lift_lock,
)
from riskd.engine.tracked_account import TrackedAccount
from riskd.gateway.broker_clock import BrokerClock
from riskd.host.timing import until_next
from riskd.model.account import AccountState, Flattening, with_risk
from riskd.model.broker import BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.commitment import UNLOCK, Wait
from riskd.model.events import (
    ClearedBy,
    EventData,
    GatewayUserOrder,
    GatewayUserPosition,
    LockoutCleared,
    LockoutSet,
    MarketQuote,
)
from riskd.model.lockouts import is_locked, locked_until, locks_in_force, new_lock
from riskd.rules.evaluation import Decision
from riskd.rules.interface import Flatten, Kind, LiftLock, Trigger

_log = Logger()

TICK_SECONDS: Final = 1.0
"""How often the clock is read, whatever the timers say: a machine may sleep, an estimate may change."""

CONFIRM_AGAIN_SECONDS: Final = 1.0
"""How long after a failed read the broker is asked again, for a rule that acts because something is missing."""

_KINDS: Final[dict[type, Kind]] = {
    BrokerTrade: Kind.TRADE,
    BrokerPosition: Kind.POSITION,
    BrokerOrder: Kind.ORDER,
    MarketQuote: Kind.QUOTE,
}


class RiskEngine:
    """Guards one account.

    :param account: the account.
    :param rules: what the account is held to.
    :param enforcer: carries out the rules' commands, or announces them in a dry run.
    :param clock: times what is due.
    :param broker_clock: gives the broker's time.
    :param notice_sleep: called before a rule is evaluated; if the machine slept, it lets the engine wait.
    :param reconcile: reconciles the account; its Deferred fires with whether the broker answered.
    :ivar is_active: whether the rules are evaluated.
    :ivar rules: see the parameter.
    :ivar dry_run: the enforcer of a dry run; ``None`` in a daemon that enforces.
    :ivar wait_ended: called with what has waited long enough because of a commitment.
    """

    def __init__(
        self,
        account: TrackedAccount,
        rules: AccountRules,
        enforcer: Enforcer | DryRun,
        clock: IReactorTime,
        broker_clock: BrokerClock,
        notice_sleep: Callable[[], None],
        reconcile: Callable[[], Deferred[bool]],
    ) -> None:
        self._account = account
        self._enforcer = enforcer
        self.dry_run = enforcer if isinstance(enforcer, DryRun) else None
        if isinstance(enforcer, Enforcer):
            enforcer.on_settled = self._settled
        self.rules = rules
        rules.reduce_only.is_dry_run = self.dry_run is not None
        self._clock = clock
        self._broker_clock = broker_clock
        self._now = broker_clock.now
        self._notice_sleep = notice_sleep
        self._reconcile = reconcile
        self._confirming: set[str] = set()
        self._memory_before: Mapping[str, str] = {}
        self.is_active = self._is_waiting = False
        self._missed: list[BrokerTrade] = []
        self.wait_ended: Callable[[Wait], None] = lambda _wait: None
        self._timer: IDelayedCall | None = None

    # From start to stop.

    def recover(self, known: AccountState) -> None:
        """Put earlier limits in force again: those that wait, and those of a lock."""
        self._memory_before = known.risk.memory
        self.rules.apply_commitment(is_locked=False)
        self.rules.recover_unlock(known)
        self.rules.recover_reduce_only(known)
        self.rules.recover_changes(known)
        if self._is_locked():
            self.rules.recover(known.limits)

    def prepare(self) -> None:
        """Begin to count the trading day, before its trades are requested."""
        if not self.rules.limits.rules:
            _log.warn("account {account} is guarded by no rule", account=self._account.account_id)
        if self._broker_clock.is_known:
            count_first_day(self._account, self.rules.limits.schedule, self._now())
        self.rules.hold_to(self.rules.limits)

    def begin(self) -> None:
        """Evaluate the rules from now on: the account is reconciled."""
        count_first_day(self._account, self.rules.limits.schedule, self._now())
        self.is_active = True
        self._is_waiting = False
        self.resume()
        if self.dry_run is not None and self._is_locked():
            _log.warn(
                "account {account} is locked from before this dry run: the lock is announced until it "
                "ends, and the account is not held to it",
                account=self._account.account_id,
            )
        self._catch_up()

    def wait(self) -> None:
        """Pause until :meth:`begin` or :meth:`visit`; keep the trades of the meantime."""
        self._is_waiting |= self.is_active
        self.pause()

    def visit(self) -> None:
        """Evaluate the rules once: the account is reconciled, but events are being lost."""
        self.is_active = True
        try:
            self.resume()
            self._catch_up()
            # The broker has just answered, so a rule that wants it asked first need not ask again.
            self._evaluate(Kind.REVIEW, is_confirmed=True)
        finally:
            self.pause()

    def _catch_up(self) -> None:
        """Evaluate the trades that came while the engine waited, then the account."""
        missed, self._missed = self._missed, []
        for trade in missed:
            self._evaluate(Kind.TRADE, trade)
        self._check_again()

    def resume(self) -> None:
        """Go on with a flatten that an earlier daemon began."""
        if self.is_active:
            leave_next_trades(self._account, self._broker_clock.passed())
            self._enforcer.resume()

    def pause(self) -> None:
        """Evaluate no rules until :meth:`begin`: the account's state may be wrong."""
        self.is_active = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def stop(self) -> None:
        """Evaluate and enforce nothing more."""
        self.pause()
        self._enforcer.stop()

    def reload(self, configured: LimitsInForce) -> None:
        """Apply new limits; a lock holds the old ones beside them until it ends."""
        if is_locked := self._is_locked():
            _log.warn(
                "account {account} is locked: its limits stay in force beside the new settings "
                "until the lock ends",
                account=self._account.account_id,
            )
        self.rules.reload(configured, is_locked=is_locked)
        self.review()

    def _is_locked(self) -> bool:
        return is_locked(self._account.state_with_pending, self._broker_clock.passed())

    # What happens.

    def receive(self, data: EventData, *, is_evaluated: bool = True) -> None:
        """Evaluate the rules that listen to an event; it is applied and broadcast.

        :param is_evaluated: whether to evaluate them now; if not, the caller has them reviewed soon.
        """
        if isinstance(data, MarketQuote):
            held = self._account.state.positions.get(data.contract_id)
            if held is None or not held.size:
                return
        self._notice_sleep()
        if isinstance(data, MarketQuote) and self._changes_nothing(data):
            return
        if self._is_waiting and not self.is_active and isinstance(data, BrokerTrade):
            # A review sees all else in the state; a trade is evaluated as an event, once.
            self._missed.append(data)
        if isinstance(data, (GatewayUserPosition, GatewayUserOrder)):
            self._enforcer.receive(data)
        if is_evaluated:
            self._evaluate(_KINDS[type(data)], data)

    def _changes_nothing(self, quote: MarketQuote) -> bool:
        """Return whether a quote, which is applied, cannot change any decision."""
        account = self._account
        return (
            self.is_active
            and self._broker_clock.is_known
            # Whoever waits for the end of a reported breach looks at each event.
            and (self.dry_run is None or not self.dry_run.has_reported_breaches)
            and account.state_with_pending is account.state
            and self.rules.are_spared(quote, self._now())
        )

    def receive_best_bid_ask(self) -> None:
        """Evaluate the rules: a contract without a last price has another bid or ask."""
        self._evaluate(Kind.QUOTE)

    def receive_account(self, *, may_trade: bool | None) -> None:
        """Keep whether the broker lets the account trade, and evaluate the rules."""
        if may_trade is not None and may_trade != self._account.state.risk.can_trade:
            self._account.change_risk(can_trade=may_trade)
        self._evaluate(Kind.ACCOUNT)

    def review(self) -> None:
        """Evaluate all rules on the account as it is now."""
        self._evaluate(Kind.REVIEW)

    def needs_reconciliation(self) -> bool:
        """Return whether to reconcile in this round: a lost event would be urgent."""
        return self._is_locked()

    def confirmation(self) -> Deferred[ConfirmedFlatten]:
        """Return a Deferred that fires when the broker next confirms a flatten as done."""
        return self._enforcer.confirmation()

    def _settled(self, did_something: bool) -> None:
        # If there was nothing to do, wait: a rule that decides the same again would run in circles.
        self._clock.callLater(0 if did_something else TICK_SECONDS, self._check_again)

    def _check_again(self) -> None:
        if self.is_active:
            self._tick()
            self.review()

    # Evaluating.

    def _evaluate(
        self,
        kind: Kind,
        subject: EventData | None = None,
        due: Sequence[str] = (),
        *,
        is_confirmed: bool = False,
    ) -> None:
        """Evaluate the rules that listen to ``kind``, and enforce what they decide.

        :param subject: what happened.
        :param due: the slots of the rules that are evaluated on ``TIMER``.
        :param is_confirmed: whether the broker has just said what the account holds.
        """
        if not self.is_active:
            return
        now = self._now()
        is_known = self._broker_clock.is_known
        passed = now if is_known else self._broker_clock.passed()
        counted = self._account.state.risk.day_key
        if is_known and counted is not None and counted != self.rules.day_of(now).key:
            # A loss of the day that is over must not lock the account in the next one.
            self._end_due(now)
        self._account.raise_highs()
        state = self._account.state_with_pending
        if self.dry_run is not None:
            limits = self.rules.limits
            review = Trigger(kind=Kind.REVIEW, now=now, next_reset=self.rules.day_of(now).end)
            self.dry_run.forget_ended(state, limits.rules, review, is_strict=limits.is_strict)
        locked = is_locked(state, passed)
        plan = state.risk.flattening
        # A flatten of everything closes what a lock forbids; in a dry run an earlier daemon's only waits.
        is_closing = plan is not None and plan.keep is None and self.dry_run is None
        if locked and not is_closing:
            self._enforcer.enforce_lock(locks_in_force(state, passed)[0], state)
            # An inner evaluation may have changed what the rules remember.
            state = self._account.state_with_pending
        if self._enforcer.is_effect(subject):
            return
        decisions = self.rules.evaluate(
            state,
            kind,
            now,
            self._enforcer.is_handling,
            subject=subject,
            is_locked=locked,
            due=due,
        )
        if decisions:
            self.decide(decisions, now, is_confirmed=is_confirmed)
        self._set_timer(now)

    def decide(
        self, decisions: Iterable[Decision], now: datetime, *, is_confirmed: bool = False
    ) -> None:
        """Enforce decisions.

        Several flattens become one, so that all their locks are written at once.
        """
        plans: list[Flattening] = []
        decisions = tuple(decisions)
        lifts = Counter(each.rule_id for each in decisions if isinstance(each.command, LiftLock))
        for decision in decisions:
            rule_id, command = decision
            if isinstance(command, Flatten):
                if command.asks_broker_first and not is_confirmed:
                    self._confirm(rule_id)
                    continue
                plan = _plan(rule_id, command, self._account.state_with_pending, now)
                plans += [] if plan is None else [plan]
            elif isinstance(command, LiftLock):
                # Of two settings of a rule the other might keep the lock.
                if lifts[rule_id] < len(self.rules.slots_of(rule_id)):
                    continue
                if lift_lock(self._account, rule_id, command.reason, now):
                    self._clear(ClearedBy.ADMIN_OVERRIDE, now)
                # Rules that were not evaluated in the lock may have something to do now.
                self._clock.callLater(0, self._check_again)
            else:
                self._enforcer.carry_out(rule_id, command)
        if plans:
            self.rules.note_locked([lock.rule_id for plan in plans for lock in plan.locks])
            self._enforcer.flatten(*plans)

    def _confirm(self, rule_id: str) -> None:
        """Reconcile the account, until the broker answers; then evaluate the rule again."""
        if rule_id in self._confirming:
            return

        def reconciled(is_answered: bool) -> None:
            self._confirming.discard(rule_id)
            slots = self.rules.slots_of(rule_id)
            if is_answered:
                self._evaluate(Kind.TIMER, due=slots, is_confirmed=True)
                return
            # That a read has failed does not show that anything is missing.
            again = self._now() + timedelta(seconds=CONFIRM_AGAIN_SECONDS)
            self.rules.wakes.update(dict.fromkeys(slots, again))
            if self.is_active:
                self._set_timer(self._now())

        self._confirming.add(rule_id)
        self._reconcile().addCallback(reconciled)

    # Locks and days.

    def _tick(self) -> None:
        """End what is due, and set the timer again even after an error."""
        self._notice_sleep()
        try:
            self._end_due(self._now())
        except Exception:  # noqa: BLE001  # an internal error must not stop the clock
            _log.failure("internal error, account {id}", id=self._account.account_id)
        if self.is_active:
            self._set_timer(self._now())

    def _end_due(self, now: datetime) -> None:
        """End the day and the locks that are over; evaluate the rules that are due."""
        leave_next_trades(self._account, self._broker_clock.passed())
        account, is_dry_run = self._account, self.dry_run is not None
        counted = account.state.risk.day_key
        if self._broker_clock.is_known:
            schedule = self.rules.limits.schedule
            are_early = ended_before_day(account, schedule, now, is_dry_run=is_dry_run)
            if are_early:
                # Other settings may be in force then, and another schedule.
                self.rules.release()
                schedule = self.rules.limits.schedule
            # The day first: the rules are evaluated when locks end, and must not count its losses with the next one's.
            if self.rules.day_of(now).key != counted:
                self._free(end_day(account, schedule, now, ends_locks=not are_early), now)
            self._free(end_locks(account, now, is_dry_run=is_dry_run), now)
            # After the day: it ends by the reset that was in force.
            for wait in self.rules.end_waits(now, is_locked=self._is_locked()):
                self.wait_ended(wait)
        key = account.state.risk.day_key
        if key != counted and self.rules.is_unlocked:
            # What rules remember from before the unlock must not outlast it.
            self._evaluate(Kind.REVIEW)
            self.rules.forget_unlock()
            # What was excused until the end of the day is excused no more.
            self._clock.callLater(0, self._check_again)
        if key is not None and counted is not None and key < counted:
            # The clock had been ahead: the broker still has trades that ended with the wrong day.
            account.truth.doubt(self._clock.seconds())
        due = self.rules.pop_due(now)
        if due:
            self._evaluate(Kind.TIMER, due=due)

    def _free(self, cleared_by: ClearedBy | None, now: datetime) -> None:
        """Announce what ended the locks, unless the rules lock the account again."""
        if cleared_by is None:
            return
        self.rules.release()
        state = self._account.state_with_pending
        decisions = self.rules.evaluate(state, Kind.REVIEW, now, self._enforcer.is_handling)
        is_locked_again = self.dry_run is None and any(
            isinstance(decision.command, Flatten) and decision.command.lock is not None
            for decision in decisions
        )
        if not is_locked_again:
            self._clear(cleared_by, now)
        self.decide(decisions, now)

    def unlock(self, now: datetime, beyond: tuple[str, ...] = ()) -> bool:
        """End all locks; return whether there were any.

        :param now: the broker's time, as far as it is known.
        :param beyond: the rules whose limits are exceeded; what has led to that does not lock again.
        """
        if self.dry_run is not None:
            self.dry_run.forget_locks()
        if not self._is_locked():
            return False
        drop_pending_locks(self._account)
        self.rules.keep_unlock(beyond, now)
        self._clear(ClearedBy.ADMIN_OVERRIDE, now)
        return True

    def _clear(self, cleared_by: ClearedBy, now: datetime) -> None:
        # An unlock that waits must not end the next lock.
        self.rules.committed.withdraw(UNLOCK)
        self.rules.release()
        leave_next_trades(self._account, now, are_over=True)
        self._account.announce(LockoutCleared(cleared_at=now, cleared_by=cleared_by))

    def _set_timer(self, now: datetime) -> None:
        """Check again when something is due, and once a second in any case."""
        tick = until_next(TICK_SECONDS, self._clock)
        delay = min(tick, _delay(self.rules.wakes.values(), self._account, now))
        if self._timer is None or not self._timer.active():
            self._timer = self._clock.callLater(delay, self._tick)
        elif self._timer.getTime() > self._clock.seconds() + delay:
            self._timer.reset(delay)

    @property
    def lasting_state(self) -> AccountState:
        """The state that the journal keeps.

        It lacks what the rules remember of a dry run: a daemon that enforces would take for done what
        the dry run only announced.
        """
        state = self._account.state_with_pending
        return state if self.dry_run is None else with_risk(state, memory=self._memory_before)


def _delay(wakes: Iterable[datetime], account: TrackedAccount, now: datetime) -> float:
    """Return the seconds until something is due, and until the next tick at most."""
    moments = list(wakes)
    if account.state.lockouts:
        end = locked_until(account.state_with_pending, now)
        moments += [] if end is None else [end]
    soonest = min((moment - now for moment in moments), default=timedelta(seconds=1))
    return min(max(soonest.total_seconds(), 0.001), TICK_SECONDS)


def _plan(rule_id: str, command: Flatten, state: AccountState, now: datetime) -> Flattening | None:
    """Return the flatten that answers a breach; ``None`` if its lock is in force."""
    locks: tuple[LockoutSet, ...] = ()
    if command.lock is not None:
        lock = new_lock(rule_id, command.reason, command.lock, state, now)
        if lock in locks_in_force(state, now):
            return None
        locks = (lock,)
    return flattening_of(rule_id, command, now, locks)
