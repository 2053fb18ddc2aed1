"""Evaluate one account's rules; keep their limits, timers, warnings and failures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.committed_settings import CommittedSettings
from riskd.engine.limits_in_force import (
    LimitsInForce,
    held_limits,
    read_journaled,
)
from riskd.engine.locks_and_days import Day
from riskd.engine.reduce_only import ReduceOnlyStage
from riskd.engine.tracked_account import TrackedAccount
from riskd.engine.unlocking import (
    exceeded,
    is_excused,
    unlock_of,
    without_excuses,
    without_rules,
)
from riskd.model.account import AccountState, Limit
from riskd.model.commitment import Wait
from riskd.model.equity import to_next_high
from riskd.model.events import EventData, MarketQuote
from riskd.model.reduce_only import REDUCE_ONLY
from riskd.model.settings_changes import (
    KEPT_CHANGES,
    SettingsChange,
    changes_limit,
    latest_changes,
)
from riskd.model.unlocks import UNLOCKED, Unlock, last_unlock
from riskd.rules.evaluation import Decision, Evaluation, evaluate
from riskd.rules.headroom import SparedRules
from riskd.rules.interface import Flatten, Headroom, IRule, Kind, RuleResult, Trigger

_log = Logger()


class AccountRules:
    """The rules of one account.

    A rule that fails is reported as a problem, once, and the others go on.

    :param account: the account.
    :param configured: the limits of the settings.
    :param catalogue: all rules there are, by key: those that held a locked account before a restart
        hold it until the lock ends, whatever the settings say now.
    :param report_problem: takes a source and a sentence; an empty sentence ends the problem of that source.
    :param report_notice: takes a sentence about what the account's state has.
    :ivar limits: the limits in force.
    :ivar committed: what stays in force because of a commitment.
    :ivar reduce_only: the stage in which the account may only close what it holds.
    :ivar wakes: when each rule wants to be evaluated again, by slot.
    """

    def __init__(
        self,
        account: TrackedAccount,
        configured: LimitsInForce,
        catalogue: Mapping[str, IRule],
        report_problem: Callable[[str, str], None],
        report_notice: Callable[[str], None],
    ) -> None:
        self._account = account
        self._asked = self._configured = self.limits = configured
        self._catalogue = catalogue
        self.committed = CommittedSettings(catalogue)
        self._report_problem = report_problem
        self.reduce_only = ReduceOnlyStage(account.account_id, report_notice)
        self._day: Day | None = None
        self._unlock: Unlock | None = None
        self._changes: tuple[SettingsChange, ...] = ()
        self.wakes: dict[str, datetime] = {}
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._problems: dict[str, str] = {}
        self._failing: list[str] = []
        self._spared = SparedRules()

    # What the account is held to.

    def recover(self, journaled: Mapping[str, Limit]) -> None:
        """Hold a locked account to the limits in the journal, beside the settings."""
        self._configured = self.committed.in_force(self._asked)
        old = read_journaled(journaled, self._catalogue, self.limits, self._account.account_id)
        self.hold_to(held_limits(self._configured, old))

    def reload(self, configured: LimitsInForce, *, is_locked: bool) -> None:
        """Hold the account to new limits, and to the old ones too while it is locked."""
        self._asked = configured
        self.apply_commitment(is_locked=is_locked)

    def apply_commitment(self, *, is_locked: bool, is_noted: bool = False) -> None:
        """Hold the account to its settings, and to the earlier ones whose change waits."""
        self._configured = self.committed.in_force(self._asked)
        held = held_limits(self._configured, self.limits) if is_locked else self._configured
        self.hold_to(held, is_noted=is_noted)

    def end_waits(self, now: datetime, *, is_locked: bool) -> tuple[Wait, ...]:
        """Put in force what has waited long enough; return the waits that ended.

        :param now: the broker's time.
        """
        before = self.committed.commitment
        ended = self.committed.end(self._asked, now)
        if self.committed.commitment is not before:
            self.apply_commitment(is_locked=is_locked, is_noted=True)
        return ended

    def release(self) -> None:
        """Hold the account to its settings alone, because its locks have ended."""
        self.hold_to(self._configured, is_noted=True)

    def hold_to(self, limits: LimitsInForce, *, is_noted: bool = False) -> None:
        """Put these limits in force.

        Timers, warnings, problems and failures of rules that are not among them are forgotten.

        :param is_noted: whether a change is an entry of the audit log; a change of the settings has one already.
        """
        self.limits = limits
        self._spared.forget()
        self._publish_limits(is_noted=is_noted)
        slots = {one.slot for one in limits.rules}
        self._forget_waits(slots)
        self.wakes = {slot: at for slot, at in self.wakes.items() if slot in slots}
        self._warnings = {slot: known for slot, known in self._warnings.items() if slot in slots}
        for slot in [slot for slot in self._problems if slot not in slots]:
            self._note_problem(slot, "")
        for slot in [slot for slot in self._failing if slot not in slots]:
            self._note_success(slot)

    def _forget_waits(self, slots: Collection[str]) -> None:
        """Forget what earlier settings remember whose wait is over."""
        memory = self._account.state.risk.memory
        kept = {
            slot: text for slot, text in memory.items() if slot in slots or "(held " not in slot
        }
        if len(kept) < len(memory):
            self._account.change_risk(memory=kept)

    def _publish_limits(self, *, is_noted: bool = False) -> None:
        unlock = {} if self._unlock is None else {UNLOCKED: self._unlock.limit}
        more = {**unlock, **self.reduce_only.limits, **changes_limit(self._changes)}
        waits = self.committed.commitment.limits
        self._account.set_limits({**self.limits.journaled, **more, **waits}, is_noted=is_noted)

    def recover_changes(self, known: AccountState) -> None:
        """Take over the latest changes of settings in the journal."""
        earlier = latest_changes(known)
        self._changes = (*earlier, *(each for each in self._changes if each not in earlier))
        self._publish_limits()

    def note_changes(self, changes: Iterable[SettingsChange]) -> None:
        """Keep changes of settings for the published copy."""
        self._changes = (*self._changes, *changes)[-KEPT_CHANGES:]
        self._publish_limits()

    # What an operator has unlocked.

    def exceeded(self, now: datetime) -> tuple[str, ...]:
        """Return the rules that would lock the account if it had not been unlocked."""
        configured = self._configured
        trigger = Trigger(kind=Kind.REVIEW, now=now, next_reset=self.day_of(now).end)
        state = self._account.state_with_pending
        return exceeded(state, configured.rules, trigger, is_strict=configured.is_strict)

    def keep_unlock(self, beyond: tuple[str, ...], now: datetime) -> None:
        """Keep an unlock as the baseline of what follows, until the trading day ends."""
        self.release()
        self._change_unlock(unlock_of(self._account.state, self.limits.rules, beyond, now))

    def recover_unlock(self, known: AccountState) -> None:
        """Take over the unlock in the journal, unless there was a later one."""
        unlock = last_unlock(known)
        if unlock is not None and (self._unlock is None or self._unlock.at < unlock.at):
            self._change_unlock(unlock)

    def recover_reduce_only(self, known: AccountState) -> None:
        """Take over the reduce-only stage in the journal, unless there is one."""
        if self.reduce_only.recover(known):
            self._publish_limits()

    @property
    def is_unlocked(self) -> bool:
        """Whether an operator has unlocked the account in the trading day."""
        return self._unlock is not None

    def forget_unlock(self) -> None:
        """Forget the unlock: its trading day has ended."""
        self._change_unlock(None)

    def note_locked(self, rule_ids: Collection[str]) -> None:
        """Note that rules have locked the account again."""
        if self._unlock is not None:
            self._change_unlock(without_rules(self._unlock, rule_ids))

    def is_excused(self, decision: Decision) -> bool:
        """Return whether an operator has unlocked what a decision would lock for."""
        return self._unlock is not None and is_excused(
            self._unlock, decision, self._account.state, self.limits.rules
        )

    def _change_unlock(self, unlock: Unlock | None) -> None:
        if unlock != self._unlock:
            self._unlock = unlock
            self._publish_limits()

    def slots_of(self, rule_id: str) -> list[str]:
        """Return the slots of a rule: two while old settings are held beside new ones."""
        return [one.slot for one in self.limits.rules if one.rule.rule_id == rule_id]

    # Evaluating.

    def day_of(self, now: datetime) -> Day:
        """Return the trading day of ``now``, without asking the calendar at every quote."""
        day, schedule = self._day, self.limits.schedule
        if day is None or schedule != day.schedule or not day.since <= now < day.end:
            day = Day(schedule, schedule.day_key(now), now, schedule.next_reset(now))
            self._day = day
        return day

    def evaluate(
        self,
        state: AccountState,
        kind: Kind,
        now: datetime,
        is_under_way: Callable[[Decision], bool],
        *,
        subject: EventData | None = None,
        is_locked: bool = False,
        due: Sequence[str] = (),
    ) -> tuple[Decision, ...]:
        """Evaluate the rules; return their decisions, and keep all else that they return.

        See :func:`riskd.rules.evaluation.evaluate` for the parameters.
        """
        unlock = self._unlock
        if unlock is not None and unlock.excused and kind is not Kind.QUOTE:
            exceeded = self.exceeded(now)
            ended = [rule_id for rule_id in unlock.excused if rule_id not in exceeded]
            self._change_unlock(without_excuses(unlock, ended))
        trigger = Trigger(kind=kind, now=now, next_reset=self.day_of(now).end, subject=subject)
        quote = subject if isinstance(subject, MarketQuote) else None
        evaluation = evaluate(
            state,
            self.limits.rules,
            trigger,
            spared=() if quote is None else self._spared.slots(state, quote, now),
            is_locked=is_locked,
            is_strict=self.limits.is_strict,
            due=due,
            is_under_way=lambda decision: is_under_way(decision) or self.is_excused(decision),
        )
        is_pending = state is not self._account.state
        memory = evaluation.state.risk.memory
        if memory is not self._account.state.risk.memory:
            self._account.change_risk(memory=memory)
        self._note_headroom(state, trigger, evaluation, is_pending=is_pending)
        for slot, result in evaluation.results.items():
            self._note_result(slot, result)
        for slot, error in evaluation.faults:
            self._note_failure(slot, error)
        return evaluation.decisions + self._reducing(evaluation, trigger, is_locked, is_under_way)

    def are_spared(self, quote: MarketQuote, now: datetime) -> bool:
        """Return whether no rule need be asked about a quote.

        The account's state has it.  Neither can it raise the account's highs.
        """
        return self._spared.are_all(self._account.state, quote, now)

    def _note_headroom(
        self, checked: AccountState, trigger: Trigger, evaluation: Evaluation, *, is_pending: bool
    ) -> None:
        """Note how far prices may move before a rule is asked again.

        :param is_pending: whether clients do not have all of the state yet.
        """
        after = self._account.state
        room = None if is_pending or not self.reduce_only.is_idle else to_next_high(after)
        highs = None if room is None else Headroom(up=room)
        self._spared.note(checked, after, self.limits.rules, trigger, evaluation, highs)

    def _reducing(
        self,
        evaluation: Evaluation,
        trigger: Trigger,
        is_locked: bool,
        is_under_way: Callable[[Decision], bool],
    ) -> tuple[Decision, ...]:
        """Follow the reduce-only stage; return what is to be done about forbidden orders."""
        flattens = [
            each.command for each in evaluation.decisions if isinstance(each.command, Flatten)
        ]
        # Its positions and orders are dealt with.
        is_closing = is_locked or any(each.keep is None or each.lock for each in flattens)
        before = self.reduce_only.stage
        self.reduce_only.note(evaluation.reduce_only)
        decisions = self.reduce_only.update(
            evaluation.state,
            trigger,
            self._reducing_rules,
            may_begin=not is_closing,
        )
        self.wakes.pop(REDUCE_ONLY, None)
        if (wake_at := self.reduce_only.wake_at(trigger.now)) is not None:
            self.wakes[REDUCE_ONLY] = wake_at
        if self.reduce_only.stage is not before:
            self._publish_limits()
            self.reduce_only.report_change(before)
        if is_closing:
            return ()
        return tuple(each for each in decisions if not is_under_way(each))

    def _reducing_rules(self) -> dict[str, str]:
        """Return the rules that may ask for the reduce-only stage, by slot.

        An operator has unlocked the others beyond their limits.
        """
        beyond = () if self._unlock is None else self._unlock.beyond
        rule_ids = {one.slot: one.rule.rule_id for one in self.limits.rules}
        return {slot: rule_id for slot, rule_id in rule_ids.items() if rule_id not in beyond}

    def pop_due(self, now: datetime) -> list[str]:
        """Return and forget the slots of the rules that wanted to be evaluated by now."""
        due = [slot for slot, wake_at in self.wakes.items() if wake_at <= now]
        for slot in due:
            del self.wakes[slot]
        return due

    def _note_result(self, slot: str, result: RuleResult) -> None:
        """Keep what an evaluated rule says besides its commands and its memory."""
        if slot in self.wakes:
            del self.wakes[slot]
        if result.wake_at is not None:
            self.wakes[slot] = result.wake_at
        if result.warnings or slot in self._warnings:
            self._note_warnings(slot, result.warnings)
        if self._failing:
            self._note_success(slot)
        if result.problem != self._problems.get(slot, ""):
            self._note_problem(slot, result.problem)

    def _note_warnings(self, slot: str, warnings: tuple[str, ...]) -> None:
        known = self._warnings.pop(slot, ())
        if warnings:
            self._warnings[slot] = warnings
        for warning in warnings:
            if warning not in known:
                _log.warn(
                    "account {account}, {rule}: {doubt}",
                    account=self._account.account_id,
                    rule=slot,
                    # Twisted takes an argument called warning for one of Python's.
                    doubt=warning,
                )

    def _note_problem(self, slot: str, problem: str) -> None:
        self._problems.pop(slot, None)
        if problem:
            self._problems[slot] = problem
        account_id = self._account.account_id
        sentence = f"Account {account_id}, {slot}: {problem}" if problem else ""
        self._report_problem(f"{slot} {account_id} unguarded", sentence)

    def _note_success(self, slot: str) -> None:
        if slot in self._failing:
            self._failing.remove(slot)
            self._report_problem(f"{slot} {self._account.account_id}", "")

    def _note_failure(self, slot: str, error: Exception) -> None:
        if slot not in self._failing:
            self._failing.append(slot)
            _log.failure("{rule} failed", Failure(error), rule=slot)
            account_id = self._account.account_id
            self._report_problem(
                f"{slot} {account_id}",
                f"{slot} failed and does not guard account {account_id}; the log says why",
            )
