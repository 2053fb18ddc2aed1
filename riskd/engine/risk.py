"""One account's rules at work: who is asked when, what follows, and how locks and days end.

The warden is shown what has been applied and told, asks the rules, and hands what they decide to the
enforcement.  It begins when the account is in step with the gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.config.settings import AccountSettings
from riskd.engine.enforcement.dry_run import DryRun
from riskd.engine.enforcement.enforcer import Enforcer
from riskd.engine.enforcement.flattening import concerns, flattening_of
from riskd.engine.interface import IOperatedAccount
from riskd.engine.tracked_account import TrackedAccount
from riskd.model.account import AccountState, Flattening, Limit, apply, with_risk
from riskd.model.events import (
    Action,
    ClearedBy,
    DailyReset,
    Event,
    EventData,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    LockoutCleared,
    LockoutSet,
    MarketQuote,
)
from riskd.model.lockouts import (
    OPERATOR,
    Lock,
    ended_lock,
    is_locked,
    lock_announcements,
    locked_until,
    locks_in_force,
    new_lock,
)
from riskd.model.money import ZERO
from riskd.model.trading_day import ResetSchedule
from riskd.rules.evaluation import Decision, Evaluation, RuleInForce, evaluate
from riskd.rules.interface import (
    Flatten,
    IRule,
    Kind,
    LiftLock,
    Trigger,
)

_log = Logger()

TICK_SECONDS: Final = 1.0
"""How often the clock is looked at, whatever the timers say: a machine may sleep, a clock may be set."""

_DAY: Final = "DAY"
_STRICT: Final = "STRICT"
"""What the day's end and strict mode are called among the limits in force."""

_KINDS: Final[dict[type, Kind]] = {
    GatewayUserTrade: Kind.TRADE,
    GatewayUserPosition: Kind.POSITION,
    GatewayUserOrder: Kind.ORDER,
    MarketQuote: Kind.QUOTE,
}


class _Day(NamedTuple):
    """A trading day.

    :ivar key: the date that it is named after.
    :ivar ends: when it ends.
    """

    key: date
    ends: datetime


@implementer(IOperatedAccount)
class RiskEngine:
    """Watches one account.

    :param account: the account.
    :param enforcer: carries out what is decided, or announces it in a dry run.
    :param settings: its rules, and when its day ends.
    :param is_strict: whether every breach locks it for good.
    :param catalogue: all rules there are, by key: those that held a locked account before a restart
        hold it until the lock ends, whatever the settings say now.
    :param clock: times what is due.
    :param now: gives the time of day, aware.
    :param report_problem: takes a source and a sentence; an empty sentence ends the problem of that source.
    :param reconcile: takes over what the broker says the account holds; fires when that is done, or cannot be.
    """

    def __init__(
        self,
        account: TrackedAccount,
        enforcer: Enforcer | DryRun,
        settings: AccountSettings,
        *,
        is_strict: bool,
        catalogue: Mapping[str, IRule],
        clock: IReactorTime,
        now: Callable[[], datetime],
        report_problem: Callable[[str, str], None],
        reconcile: Callable[[], Deferred[None]],
    ) -> None:
        self._account = account
        self._settings = settings
        self._is_strict = is_strict
        self._wants_strict = is_strict
        self._schedule = settings.schedule
        self._day_known = (settings.schedule, now(), _day(settings.schedule, now()))
        self._catalogue = catalogue
        self._reconcile = reconcile
        self._confirming: set[str] = set()
        self._clock = clock
        self._now = now
        self._report_problem = report_problem
        self._enforcer = enforcer
        self._dry_run = enforcer if isinstance(enforcer, DryRun) else None
        if isinstance(enforcer, Enforcer):
            enforcer.on_settled = self._settled
        self._memory_before: Mapping[str, str] = {}
        self._rules: tuple[RuleInForce, ...] = settings.rules
        self._is_active = False
        self._is_waiting = False
        self._missed: list[GatewayUserTrade] = []
        self._is_newly_flat = False
        self._wakes: dict[str, datetime] = {}
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._faulty: dict[str, str] = {}
        self._timer: IDelayedCall | None = None

    # From start to stop.

    def recover(self, known: AccountState) -> None:
        """Hold a locked account to the rules that it was held to before the daemon stopped."""
        self._memory_before = known.risk.memory
        if is_locked(self._account.state_with_pending, self._now()):
            self._is_strict |= _STRICT in known.limits
            self._hold_on_to_day(known.limits)
            self._hold_on_to(self._rules_of(known.limits))
            self._note_limits()

    def prepare(self) -> None:
        """Know what day it is, before the gateway is asked what happened in it."""
        if not self._rules:
            _log.warn("account {account} is guarded by no rule", account=self._account.account_id)
        if self._account.state.risk.day_key is None:
            now = self._now()
            schedule = self._schedule
            self._account.count_since(schedule.day_start(now))
            self._account.change_risk(day_key=schedule.day_key(now))
        self._note_limits()

    def begin(self) -> None:
        """Ask the rules from now on; the account is in step with the gateway."""
        self._is_active = True
        self._is_waiting = False
        self.resume()
        if self._dry_run is not None and is_locked(self._account.state_with_pending, self._now()):
            _log.warn(
                "account {account} is locked from before this dry run: the lock is told until it "
                "ends, and the account is not held to it",
                account=self._account.account_id,
            )
        self._catch_up()

    def wait(self) -> None:
        """Ask no rules until :meth:`begin` or :meth:`visit`, and then of what happens meanwhile, too."""
        self._is_waiting |= self._is_active
        self.pause()

    def visit(self) -> None:
        """Ask the rules this once: the broker has just said what is so, though events are still lost."""
        self._is_active = True
        try:
            self.resume()
            self._catch_up()
            # Whoever wants the broker asked first is content with that.
            self._ask(Kind.REVIEW, is_confirmed=True)
        finally:
            self.pause()

    def _catch_up(self) -> None:
        """Ask the rules about what was learned while they waited, and how the account is now."""
        missed, self._missed = self._missed, []
        for trade in missed:
            self._ask(Kind.TRADE, trade)
        self._look_again()

    def resume(self) -> None:
        """Go on with a flatten that an earlier daemon began."""
        if self._is_active:
            self._enforcer.resume()

    def pause(self) -> None:
        """Ask no rules until :meth:`begin`: what is known of the account may be wrong."""
        self._is_active = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def stop(self) -> None:
        """Leave off."""
        self.pause()
        self._enforcer.stop()

    def reload(self, settings: AccountSettings, *, is_strict: bool) -> None:
        """Take new settings; while the account is locked, the old rules stay in force beside the new."""
        old, was_strict, schedule = self._rules, self._is_strict, self._schedule
        self._settings, self._wants_strict = settings, is_strict
        self._let_go()
        if is_locked(self._account.state_with_pending, self._now()):
            self._is_strict |= was_strict
            self._schedule = schedule
            self._hold_on_to(old)
            _log.warn(
                "account {account} is locked: what held it holds on beside the new settings "
                "until the lock ends",
                account=self._account.account_id,
            )
        self._forget_others({one.slot for one in self._rules})
        self._note_limits()
        self.review()

    def _hold_on_to_day(self, limits: Mapping[str, Limit]) -> None:
        if _DAY in limits:
            try:
                self._schedule = msgspec.json.decode(limits[_DAY].settings, type=ResetSchedule)
            except (msgspec.MsgspecError, ValueError) as error:
                _log.error("the day's end of before is not known: {error}", error=error)

    def _rules_of(self, limits: Mapping[str, Limit]) -> Iterator[RuleInForce]:
        """Yield the rules that were in force, as far as they can still be asked."""
        for rule_id, limit in limits.items():
            rule = self._catalogue.get(limit.key)
            if rule is None:
                continue
            try:
                settings = msgspec.json.decode(limit.settings, type=rule.settings_type)
                yield RuleInForce(rule, settings)
            except (msgspec.MsgspecError, ValueError) as error:
                _log.error(
                    "{rule} has other settings now; what it held account {account} to is not known: {error}",
                    rule=rule_id,
                    account=self._account.account_id,
                    error=error,
                )

    def _hold_on_to(self, old: Iterable[RuleInForce]) -> None:
        """Keep rules in force that the settings have changed, until the lock ends."""
        new = [(one.rule, one.settings) for one in self._settings.rules]
        kept = [
            RuleInForce(one.rule, one.settings, is_held=True)
            for one in sorted(old, key=lambda one: not one.is_held)
            if (one.rule, one.settings) not in new
        ]
        # Of several that held already, those of the longest ago hold on.
        held = {one.rule.rule_id: one for one in reversed(kept)}
        self._rules = tuple(
            sorted((*self._settings.rules, *held.values()), key=lambda one: one.rule.rule_id)
        )

    def _forget_others(self, rule_ids: Collection[str]) -> None:
        """Drop what is known of rules that are not asked any more."""
        for known in (self._wakes, self._warnings, self._faulty):
            for rule_id in [key for key in known if key not in rule_ids]:
                if known is self._faulty:
                    self._note_fault(rule_id, "")
                known.pop(rule_id)

    def _let_go(self) -> None:
        """Hold the account to its settings and nothing else."""
        self._rules = self._settings.rules
        self._is_strict = self._wants_strict
        self._schedule = self._settings.schedule
        self._forget_others({one.slot for one in self._rules})
        self._note_limits()

    def _note_limits(self) -> None:
        """Write down what the account is held to; of two settings of one rule, those that hold on."""
        limits = {_DAY: Limit("daily_reset", msgspec.json.encode(self._schedule).decode())}
        if self._is_strict:
            limits[_STRICT] = Limit("strict_mode", "true")
        for one in sorted(self._rules, key=lambda one: one.is_held):
            limits[one.rule.rule_id] = one.limit
        self._account.set_limits(limits)

    # What happens.

    def receive(self, data: EventData) -> None:
        """Look at the account: this happened, and has been applied and told."""
        if not self._is_active:
            if self._is_waiting and isinstance(data, GatewayUserTrade):
                # Whatever else is so can be seen again; a trade is judged when it is told.
                self._missed.append(data)
            return
        if isinstance(data, MarketQuote):
            held = self._account.state.positions.get(data.contract_id)
            if held is None or not held.size:
                return
        self._ask(_KINDS[type(data)], data)

    def receive_best_bid_ask(self) -> None:
        """Look at the account: a contract was bid or offered, of which no trade is known yet."""
        if self._is_active:
            self._ask(Kind.QUOTE)

    def receive_account(self, *, may_trade: bool | None) -> None:
        """Look at the account: the broker said whether it may trade."""
        if may_trade is not None and may_trade != self._account.state.risk.can_trade:
            self._account.change_risk(can_trade=may_trade)
        if self._is_active:
            self._ask(Kind.ACCOUNT)

    def review(self) -> None:
        """See whether the account is as it should be, whatever has happened."""
        if self._is_active:
            self._ask(Kind.REVIEW)

    @property
    def is_active(self) -> bool:
        """Whether the rules are asked."""
        return self._is_active

    def needs_reconciliation(self) -> bool:
        """Tell whether the broker is to be asked what the account holds, lest an event was lost."""
        is_new = self._is_newly_flat
        self._is_newly_flat = False
        return is_new or is_locked(self._account.state_with_pending, self._now())

    def _settled(self, did_something: bool) -> None:
        self._is_newly_flat = True
        # A rule that wants the same again, though there was nothing to do, must not run in circles.
        self._clock.callLater(0 if did_something else TICK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        if self._is_active:
            self._tick()
            self.review()

    # Asking.

    def _ask(
        self,
        kind: Kind,
        subject: EventData | None = None,
        due: Sequence[str] = (),
        *,
        is_confirmed: bool = False,
    ) -> None:
        now = self._now()
        if self._is_another_day(now):
            # What was lost in a day that is over must not lock the next one.
            self._see_what_is_due(now)
        state = self._account.state_with_pending
        if self._dry_run is not None:
            review = Trigger(kind=Kind.REVIEW, now=now, next_reset=self._next_reset(now))
            self._dry_run.forget_ended(state, self._rules, review, is_strict=self._is_strict)
        locked = is_locked(state, now)
        plan = state.risk.flattening
        if locked and (plan is None or plan.keep is not None):
            self._enforcer.enforce_lock(locks_in_force(state, now)[0], state)
            # A broker may have told of the closing before it returned, and rules may have remembered that.
            state = self._account.state_with_pending
        if self._is_our_own_doing(subject):
            return
        evaluation = self._evaluate(state, kind, now, subject, is_locked=locked, due=due)
        self._take(evaluation)
        self._decide(evaluation.decisions, now, is_confirmed=is_confirmed)
        self._arm(now)

    def _is_to_be_confirmed(self, decision: Decision) -> bool:
        """Tell whether the broker is to be asked first; then it is, and the rule once more."""
        rule_id, command = decision
        if not (isinstance(command, Flatten) and command.asks_broker_first):
            return False
        if rule_id not in self._confirming:
            self._confirming.add(rule_id)
            self._reconcile().addCallback(lambda _: self._confirm(rule_id))
        return True

    def _confirm(self, rule_id: str) -> None:
        self._confirming.discard(rule_id)
        if self._is_active:
            slots = [one.slot for one in self._rules if one.rule.rule_id == rule_id]
            self._ask(Kind.TIMER, due=slots, is_confirmed=True)

    def _is_our_own_doing(self, subject: EventData | None) -> bool:
        """Tell whether this is what closing does to positions and orders, which breaches nothing."""
        plan = self._account.state.risk.flattening
        return (
            self._enforcer.is_flattening
            and plan is not None
            # What cannot be closed must not hide what becomes of it.
            and not plan.is_announced
            and isinstance(subject, (GatewayUserPosition, GatewayUserOrder, MarketQuote))
            and concerns(plan, subject.contract_id)
        )

    def _evaluate(
        self,
        state: AccountState,
        kind: Kind,
        now: datetime,
        subject: EventData | None = None,
        *,
        is_locked: bool = False,
        due: Sequence[str] = (),
    ) -> Evaluation:
        trigger = Trigger(kind=kind, now=now, next_reset=self._next_reset(now), subject=subject)
        return evaluate(
            state,
            self._rules,
            trigger,
            is_locked=is_locked,
            is_strict=self._is_strict,
            due=due,
            is_under_way=self._enforcer.is_handling,
        )

    def _next_reset(self, now: datetime) -> datetime:
        """Return when the day of ``now`` ends."""
        return self._day_of(now).ends

    def _is_another_day(self, now: datetime) -> bool:
        """Tell whether the day that is counted is not the one of ``now``."""
        counted = self._account.state.risk.day_key
        return counted is not None and counted != self._day_of(now).key

    def _day_of(self, now: datetime) -> _Day:
        """Return the day of ``now``, without asking the calendar at every quote."""
        schedule, asked, day = self._day_known
        if schedule != self._schedule or not asked <= now < day.ends:
            day = _day(self._schedule, now)
            self._day_known = (self._schedule, now, day)
        return day

    def _take(self, evaluation: Evaluation) -> None:
        """Keep what the rules want to remember, when they want to be asked, and what ails them."""
        memory = evaluation.state.risk.memory
        if memory is not self._account.state.risk.memory:
            self._account.change_risk(memory=memory)
        for rule_id, wake_at in evaluation.wakes.items():
            if wake_at is None:
                self._wakes.pop(rule_id, None)
            else:
                self._wakes[rule_id] = wake_at
        for rule_id, warnings in evaluation.warnings.items():
            self._warn(rule_id, warnings)
            self._note_fault(rule_id, "")
        for rule_id, error in evaluation.faults:
            if not self._faulty.get(rule_id):
                _log.failure("{rule} failed", Failure(error), rule=rule_id)
            self._note_fault(
                rule_id,
                f"{rule_id} failed and does not guard account {self._account.account_id}; "
                "the log says why",
            )

    def _warn(self, rule_id: str, warnings: tuple[str, ...]) -> None:
        known = self._warnings.get(rule_id, ())
        if warnings != known:
            self._warnings[rule_id] = warnings
        for warning in warnings:
            if warning not in known:
                _log.warn(
                    "account {account}, {rule}: {doubt}",
                    account=self._account.account_id,
                    rule=rule_id,
                    # Twisted takes what is called a warning for one of Python's.
                    doubt=warning,
                )

    def _note_fault(self, rule_id: str, trouble: str) -> None:
        if self._faulty.get(rule_id, "") != trouble:
            self._faulty[rule_id] = trouble
            self._report_problem(f"{rule_id} {self._account.account_id}", trouble)

    # Deciding.

    def _decide(
        self, decisions: Iterable[Decision], now: datetime, *, is_confirmed: bool = False
    ) -> None:
        """Hand on what is to be done; several flattens as one, so that all their locks are written at once."""
        plans: list[Flattening] = []
        for decision in decisions:
            rule_id, command = decision
            if not is_confirmed and self._is_to_be_confirmed(decision):
                continue
            if isinstance(command, Flatten):
                plans += self._plan(rule_id, command, now)
            elif isinstance(command, LiftLock):
                self._lift(rule_id, command.reason, now)
            else:
                self._enforcer.carry_out(rule_id, command)
        if plans:
            self._enforcer.flatten(*plans)

    def _flatten(self, rule_id: str, command: Flatten, now: datetime) -> None:
        self._decide([Decision(rule_id, command)], now)

    def _plan(self, rule_id: str, command: Flatten, now: datetime) -> Iterator[Flattening]:
        """Yield what is to be done about a breach; nothing if it is known and its lock holds already."""
        locks: tuple[LockoutSet, ...] = ()
        if command.lock is not None:
            state = self._account.state_with_pending
            lock = new_lock(rule_id, command.reason, command.lock, state, now)
            if lock in locks_in_force(state, now):
                # The account is held to it already.
                return
            locks = (lock,)
        yield flattening_of(rule_id, command, now, locks)

    def _lift(self, rule_id: str, reason: str, now: datetime) -> None:
        """End one rule's lock; the account is free when it was the only one."""
        if sum(one.rule.rule_id == rule_id for one in self._rules) > 1:
            # Under the settings that hold on it might stay; an operator may end it.
            return
        state = self._account.state_with_pending
        self._drop_pending(rule_id)
        locks = locks_in_force(state, now)
        mine = next((lock for lock in locks if lock.rule_id == rule_id), None)
        if mine is None:
            return
        if len(locks) == 1:
            self._clear(ClearedBy.ADMIN_OVERRIDE, now)
        elif rule_id in state.lockouts:
            ended = ended_lock(mine, reason, now)
            after = apply(state, Event(state.account_id, ended))
            self._account.announce(*lock_announcements((ended,), after, now))

    def _drop_pending(self, rule_id: str | None = None) -> None:
        """Take locks back that have not been told yet; ``None`` takes all back."""
        plan = self._account.state.risk.flattening
        if plan is not None and (plan.locks or rule_id is None):
            locks = tuple(
                lock for lock in plan.locks if rule_id is not None and lock.rule_id != rule_id
            )
            plan = msgspec.structs.replace(plan, locks=locks)
            if not locks:
                # What goes on is the closing of what is held now, and no longer the lock's.
                held = {held.contract_id: 0 for held in self._account.state.open_positions}
                plan = msgspec.structs.replace(plan, action=Action.CLOSE_ALL_POSITIONS, keep=held)
            self._account.change_risk(flattening=plan)

    def _clear(self, cleared_by: ClearedBy, now: datetime) -> Deferred[None]:
        self._let_go()
        return self._account.announce(LockoutCleared(cleared_at=now, cleared_by=cleared_by))

    # Time.

    def _tick(self) -> None:
        """See what is due, and look again in a second whatever comes of it."""
        try:
            self._see_what_is_due(self._now())
        except Exception:  # noqa: BLE001  # a mistake of ours must not stop the clock
            _log.failure("a mistake in riskd, account {id}", id=self._account.account_id)
        if self._is_active:
            self._arm(self._now())

    def _see_what_is_due(self, now: datetime) -> None:
        # A lock that ended before the day did was ended by its timer, one that ended with it by the reset.
        if not self._ends_with_the_day(now):
            self._end_locks(now)
        self._end_day(now)
        self._end_locks(now)
        due = [rule_id for rule_id, wake_at in self._wakes.items() if wake_at <= now]
        for rule_id in due:
            del self._wakes[rule_id]
        if due:
            self._ask(Kind.TIMER, due=due)

    def _arm(self, now: datetime) -> None:
        """Look at the clock again when something is due, and once a second in any case."""
        moments = list(self._wakes.values())
        if self._account.state.lockouts:
            end = locked_until(self._account.state_with_pending, now)
            moments += [end] if end is not None else []
        soonest = min((moment - now for moment in moments), default=timedelta(seconds=1))
        delay = min(max(soonest.total_seconds(), 0.001), TICK_SECONDS)
        if self._timer is None or not self._timer.active():
            self._timer = self._clock.callLater(delay, self._tick)
        elif self._timer.getTime() > self._clock.seconds() + delay:
            self._timer.reset(delay)

    def _end_day(self, now: datetime) -> None:
        """Begin a new trading day if it is time; also after a stop over the end of the day."""
        schedule = self._schedule
        key = schedule.day_key(now)
        state = self._account.state_with_pending
        if state.risk.day_key is not None and key > state.risk.day_key:
            reset = _reset(state, schedule.day_start(now), schedule.next_reset)
            self._account.change_risk(day_key=key)
            self._account.announce(reset)
            if reset.lockouts_cleared:
                self._free(ClearedBy.DAILY_RESET, now)
        elif state.risk.day_key is not None and key < state.risk.day_key:
            self._go_back_to(schedule.day_start(now), key)

    def _go_back_to(self, began: datetime, key: date) -> None:
        """Count an earlier day again: the clock was ahead, or the day ends at another time now."""
        _log.error(
            "account {account}: the clock was set back, the day of {key} goes on",
            account=self._account.account_id,
            key=key,
        )
        self._account.count_since(began)
        self._account.change_risk(day_key=key)
        # Trades that went with the day that was none are with the broker.
        self._is_newly_flat = True

    def _ends_with_the_day(self, now: datetime) -> bool:
        """Tell whether the account's last lock ends when the day of ``now`` began, or later."""
        began = self._schedule.day_start(now)
        ends = [lock.locked_until for lock in self._account.state_with_pending.lockouts.values()]
        return any(end is None or end >= began for end in ends)

    def _end_locks(self, now: datetime) -> None:
        state = self._account.state_with_pending
        # What is left of a flatten waits for a daemon that enforces; a lock does not wait for that.
        is_flattening = state.risk.flattening is not None and self._dry_run is None
        if state.lockouts and not is_flattening and not locks_in_force(state, now):
            self._free(ClearedBy.TIMER_EXPIRY, now)

    def _free(self, cleared_by: ClearedBy, now: datetime) -> None:
        """Say that the account may trade again, unless a look at it says that it may not."""
        self._let_go()
        evaluation = self._evaluate(self._account.state_with_pending, Kind.REVIEW, now)
        self._take(evaluation)
        is_locked_again = self._dry_run is None and any(
            isinstance(decision.command, Flatten) and decision.command.lock is not None
            for decision in evaluation.decisions
        )
        if not is_locked_again:
            self._clear(cleared_by, now)
        self._decide(evaluation.decisions, now)

    # The operator.

    @property
    def account_state(self) -> AccountState:
        """What is so of the account."""
        return self._account.state_with_pending

    @property
    def lasting_state(self) -> AccountState:
        """What the journal is to say.

        What rules remember of a dry run is none of it: a daemon that enforces would take for done what
        was only told.
        """
        state = self._account.state_with_pending
        if self._dry_run is None:
            return state
        return with_risk(state, memory=self._memory_before)

    @property
    def rules(self) -> tuple[RuleInForce, ...]:
        """The rules in force, in the order in which they are asked."""
        return self._rules

    def unlock(self, reason: str, operator: str) -> bool:
        """End all locks; return whether there were any."""
        now = self._now()
        if self._dry_run is not None:
            self._dry_run.forget_locks()
        if not locks_in_force(self._account.state_with_pending, now):
            return False
        self._log_operator(now, "unlock", reason, operator)
        self._drop_pending()
        self._clear(ClearedBy.ADMIN_OVERRIDE, now)
        return True

    def lock(self, reason: str, operator: str, until: datetime | None) -> None:
        """Flatten and lock the account; ``None`` locks it until it is unlocked."""
        now = self._now()
        self._log_operator(now, "lock", reason, operator)
        self._flatten(OPERATOR, Flatten(reason=reason, lock=Lock(until)), now)

    def flatten(self, reason: str, operator: str) -> None:
        """Close all positions and cancel all orders."""
        now = self._now()
        self._log_operator(now, "flatten", reason, operator)
        self._flatten(OPERATOR, Flatten(reason=reason), now)

    def _log_operator(self, now: datetime, command: str, reason: str, operator: str) -> None:
        _log.warn(
            "operator {operator}: {command} account {account}: {reason}",
            operator=operator,
            command=command,
            account=self._account.account_id,
            reason=reason,
        )
        data = msgspec.json.encode({"command": command, "reason": reason, "operator": operator})
        self._account.log(now, "operator", data.decode())


def _day(schedule: ResetSchedule, now: datetime) -> _Day:
    return _Day(schedule.day_key(now), schedule.next_reset(now))


def _reset(
    state: AccountState,
    began: datetime,
    next_reset: Callable[[datetime], datetime],
) -> DailyReset:
    """Return the reset that begins a day, with the figures of the day that was counted before it."""
    ended = next_reset(state.day_began) if state.day_began else began
    counted = [
        trade.profit_and_loss
        for trade in state.trades.values()
        if (state.day_began is None or trade.execution_time >= state.day_began)
        and trade.execution_time < ended
    ]
    return DailyReset(
        reset_time=began,
        previous_pnl=sum(counted, ZERO),
        previous_trade_count=len(counted),
        lockouts_cleared=bool(state.lockouts) and not locks_in_force(state, began),
    )
