"""Dry-run breaches that have been reported and are still in force.

In a dry run no breach is ended, so each evaluation finds it again.  It is reported once, and again if it
was over in between.  It is over when its rule, in a review, decides nothing about it any more: neither
with its memory nor without, since some rules decide a thing only once.  A breach with a lock is not
reported again while that lock would be in force.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from riskd.model.account import AccountState, with_locks, with_risk
from riskd.model.events import LockoutSet
from riskd.model.lockouts import is_in_force
from riskd.model.reduce_only import reduce_only_stage
from riskd.rules.evaluation import Decision, RuleInForce, evaluate
from riskd.rules.interface import Command, Flatten, LiftLock, PlaceStop, Trigger
from riskd.rules.reduce_only import stage_decisions


class _Breach(NamedTuple):
    """What a rule decided, without its wording.

    :ivar kind: the type of the command.
    :ivar subject: what a flatten keeps, by contract; the order; or the contract and the side of a stop.
    """

    rule_id: str
    kind: type[Command]
    subject: Hashable


class ReportedBreaches:
    """The reported breaches of one account."""

    def __init__(self) -> None:
        self._breaches: set[_Breach] = set()
        self._locks: dict[str, LockoutSet] = {}

    @property
    def has_any(self) -> bool:
        """Whether there is a breach that is not known to be over."""
        return bool(self._breaches or self._locks)

    def has(self, decision: Decision, now: datetime) -> bool:
        """Return whether this breach was reported and is not known to be over."""
        rule_id, command = decision
        if isinstance(command, Flatten) and command.lock is not None:
            return rule_id in self._locks and is_in_force(self._locks[rule_id], now)
        return _breach(decision) in self._breaches

    def add(self, decision: Decision, locks: Collection[LockoutSet] = ()) -> None:
        """Remember a reported breach, with the locks that riskd would have set."""
        if locks:
            self._locks = with_locks(self._locks, locks)
        else:
            self._breaches.add(_breach(decision))

    def discard(self, decision: Decision) -> None:
        """Forget a breach: it was not reported after all."""
        self._breaches.discard(_breach(decision))

    def forget_locks(self) -> None:
        """Forget all locks: an operator has ended them."""
        self._locks = {}

    def forget_ended(
        self,
        state: AccountState,
        rules: Iterable[RuleInForce],
        review: Trigger,
        *,
        is_strict: bool,
    ) -> None:
        """Forget what is over, so that it is reported when it comes back.

        :param rules: the rules in force.
        :param review: the trigger of a review, which evaluates every rule.
        """
        self._locks = {
            key: lock for key, lock in self._locks.items() if is_in_force(lock, review.now)
        }
        if not self._breaches and not self._locks:
            return
        lasting: set[_Breach] = set()
        for rule in rules:
            rule_id = rule.rule.rule_id
            of_rule = {breach for breach in self._breaches if breach.rule_id == rule_id}
            if of_rule:
                lasting |= _lasting(of_rule, state, rule, review)
            if rule_id in self._locks and _is_lifted(state, self._locks, rule, review, is_strict):
                del self._locks[rule_id]
        self._breaches = lasting


def _breach(decision: Decision) -> _Breach:
    rule_id, command = decision
    return _Breach(rule_id, type(command), _subject(command))


def _subject(command: Command) -> Hashable:
    if isinstance(command, Flatten):
        return None if command.keep is None else frozenset(command.keep.items())
    if isinstance(command, PlaceStop):
        return (command.contract_id, command.side)
    return None if isinstance(command, LiftLock) else command.order_id


def _lasting(
    reported: set[_Breach], state: AccountState, rule: RuleInForce, review: Trigger
) -> set[_Breach]:
    """Return the breaches of a rule about which it would still decide something."""
    wanted: set[_Breach] = set()
    stage = reduce_only_stage(state)
    for known in (state, _unremembered(state, rule)):
        # Strict mode changes what is done about a breach, not whether it is one.
        evaluation = evaluate(known, (rule,), review)
        result = evaluation.results.get(rule.slot)
        if result is None or result.reduce_only is None or result.warnings:
            # A rule that fails, warns or waits cannot see that a breach is over.
            return reported
        wanted |= set(map(_breach, evaluation.decisions))
        if stage is not None and result.reduce_only:
            wanted |= set(map(_breach, stage_decisions(known, stage)))
    return reported & wanted


def _unremembered(state: AccountState, rule: RuleInForce) -> AccountState:
    own = (rule.slot, rule.rule.rule_id)
    memory = {slot: text for slot, text in state.risk.memory.items() if slot not in own}
    return with_risk(state, memory=memory)


def _is_lifted(
    state: AccountState,
    locks: Mapping[str, LockoutSet],
    rule: RuleInForce,
    review: Trigger,
    is_strict: bool,
) -> bool:
    """Return whether a rule would end its lock if the account were locked."""
    as_if = msgspec.structs.replace(state, lockouts=with_locks(state.lockouts, locks.values()))
    decisions = evaluate(as_if, (rule,), review, is_strict=is_strict).decisions
    return any(isinstance(decision.command, LiftLock) for decision in decisions)
