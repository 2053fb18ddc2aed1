"""Asking the rules: which of them, in which order, and what their verdicts come to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from riskd.account import AccountState
from riskd.rules.interface import (
    Flatten,
    Intent,
    IRule,
    Kind,
    LiftLock,
    Lock,
    Occasion,
    RejectOrder,
    Verdict,
)


class RuleInForce(NamedTuple):
    """A rule, and the settings that it has for an account."""

    rule: IRule
    settings: Any


class Decision(NamedTuple):
    """What a rule wants done."""

    rule_id: str
    intent: Intent


class Fault(NamedTuple):
    """A rule that raised instead of saying something."""

    rule_id: str
    error: Exception


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules say on an occasion.

    :ivar state: the account's state, with what the rules want to remember.
    :ivar decisions: what is to be done, in this order.
    :ivar wakes: when each rule that was asked wants to be asked again, by rule id.
    :ivar warnings: what each rule that was asked cannot see clearly, by rule id.
    :ivar faults: the rules that raised; they count as having said nothing.
    """

    state: AccountState
    decisions: tuple[Decision, ...] = ()
    wakes: dict[str, datetime | None] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    faults: tuple[Fault, ...] = ()


def judge(
    state: AccountState,
    rules: Sequence[RuleInForce],
    occasion: Occasion,
    *,
    is_locked: bool = False,
    is_strict: bool = False,
    due: Collection[str] = (),
) -> Judgement:
    """Ask the rules that listen to the occasion.

    A trade comes once, so every rule is asked about it.  What is so can be seen again, so on any other
    occasion the first rule that wants something done is the last that is asked.

    :param rules: in the order in which they are asked.
    :param is_locked: whether the account is locked; then few rules are asked.
    :param is_strict: whether every breach locks the account for good.
    :param due: the rules that are asked on ``TIMER``, by rule id.
    """
    decisions: list[Decision] = []
    wakes: dict[str, datetime | None] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    faults: list[Fault] = []
    for rule, settings in rules:
        if not _is_asked(rule, occasion.kind, is_locked, due):
            continue
        try:
            verdict = rule.check(state, settings, occasion)
            intents = _strict(verdict.intents) if is_strict else verdict.intents
        except Exception as error:  # noqa: BLE001  # a rule's mistake must not silence the others
            faults.append(Fault(rule.rule_id, error))
            continue
        state = _remember(state, rule.rule_id, verdict)
        wakes[rule.rule_id] = verdict.wake_at
        warnings[rule.rule_id] = verdict.warnings
        decisions += [Decision(rule.rule_id, intent) for intent in intents]
        if intents and occasion.kind is not Kind.TRADE:
            break
    return Judgement(
        state=state,
        decisions=tuple(decisions),
        wakes=wakes,
        warnings=warnings,
        faults=tuple(faults),
    )


def _is_asked(rule: IRule, kind: Kind, is_locked: bool, due: Collection[str]) -> bool:
    if is_locked and not rule.runs_while_locked:
        return False
    if kind is Kind.TIMER:
        return rule.rule_id in due
    return kind is Kind.REVIEW or kind in rule.listens


def _remember(state: AccountState, rule_id: str, verdict: Verdict) -> AccountState:
    if verdict.memory is None or state.risk.memory.get(rule_id) == verdict.memory:
        return state
    memory = {**state.risk.memory, rule_id: verdict.memory}
    return msgspec.structs.replace(state, risk=msgspec.structs.replace(state.risk, memory=memory))


def _strict(intents: Iterable[Intent]) -> tuple[Intent, ...]:
    """Make a breach what it is in strict mode: all is closed, and locked until an operator looks."""
    return tuple(
        Flatten(reason=intent.reason, lock=Lock(until=None))
        if isinstance(intent, (Flatten, RejectOrder))
        else intent
        for intent in intents
        if not isinstance(intent, LiftLock)
    )
