"""Evaluate one account's rules; keep their limits, timers, warnings and failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.limits_in_force import (
    LimitsInForce,
    held_limits,
    read_journaled,
)
from riskd.engine.locks_and_days import Day
from riskd.engine.tracked_account import TrackedAccount
from riskd.model.account import AccountState, Limit
from riskd.model.events import EventData
from riskd.rules.evaluation import Decision, evaluate
from riskd.rules.interface import IRule, Kind, Trigger

_log = Logger()


class AccountRules:
    """The rules of one account.

    A rule that fails is reported as a problem, once, and the others go on.

    :param account: the account.
    :param configured: the limits of the settings.
    :param catalogue: all rules there are, by key: those that held a locked account before a restart
        hold it until the lock ends, whatever the settings say now.
    :param report_problem: takes a source and a sentence; an empty sentence ends the problem of that source.
    :ivar limits: the limits in force.
    :ivar wakes: when each rule wants to be evaluated again, by slot.
    """

    def __init__(
        self,
        account: TrackedAccount,
        configured: LimitsInForce,
        catalogue: Mapping[str, IRule],
        report_problem: Callable[[str, str], None],
    ) -> None:
        self._account = account
        self._configured = self.limits = configured
        self._catalogue = catalogue
        self._report_problem = report_problem
        self._day: Day | None = None
        self.wakes: dict[str, datetime] = {}
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._failing: list[str] = []

    # What the account is held to.

    def recover(self, journaled: Mapping[str, Limit]) -> None:
        """Hold a locked account to the limits in the journal, beside the settings."""
        old = read_journaled(journaled, self._catalogue, self.limits, self._account.account_id)
        self.hold_to(held_limits(self._configured, old))

    def reload(self, configured: LimitsInForce, *, is_locked: bool) -> None:
        """Hold the account to new limits, and to the old ones too while it is locked."""
        self._configured = configured
        self.hold_to(held_limits(configured, self.limits) if is_locked else configured)

    def release(self) -> None:
        """Hold the account to its settings alone, because its locks have ended."""
        self.hold_to(self._configured)

    def hold_to(self, limits: LimitsInForce) -> None:
        """Put these limits in force.

        Timers, warnings and failures of rules that are not among them are forgotten.
        """
        self.limits = limits
        self._account.set_limits(limits.journaled)
        slots = {one.slot for one in limits.rules}
        self.wakes = {slot: at for slot, at in self.wakes.items() if slot in slots}
        self._warnings = {slot: known for slot, known in self._warnings.items() if slot in slots}
        for slot in [slot for slot in self._failing if slot not in slots]:
            self._note_success(slot)

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
        evaluation = evaluate(
            state,
            self.limits.rules,
            Trigger(kind=kind, now=now, next_reset=self.day_of(now).end, subject=subject),
            is_locked=is_locked,
            is_strict=self.limits.is_strict,
            due=due,
            is_under_way=is_under_way,
        )
        memory = evaluation.state.risk.memory
        if memory is not self._account.state.risk.memory:
            self._account.change_risk(memory=memory)
        for slot, wake_at in evaluation.wakes.items():
            self.wakes.pop(slot, None)
            if wake_at is not None:
                self.wakes[slot] = wake_at
        for slot, warnings in evaluation.warnings.items():
            self._note_warnings(slot, warnings)
            self._note_success(slot)
        for slot, error in evaluation.faults:
            self._note_failure(slot, error)
        return evaluation.decisions

    def pop_due(self, now: datetime) -> list[str]:
        """Return and forget the slots of the rules that wanted to be evaluated by now."""
        due = [slot for slot, wake_at in self.wakes.items() if wake_at <= now]
        for slot in due:
            del self.wakes[slot]
        return due

    def _note_warnings(self, slot: str, warnings: tuple[str, ...]) -> None:
        known = self._warnings.get(slot, ())
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
