"""Asking the rules: which of them, in which order, and what their verdicts come to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args

import msgspec

from riskd.model.account import AccountState
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

_INTENTS = get_args(Intent)


class RuleInForce(NamedTuple):
    """A rule, and the settings that it has for an account.

    :ivar is_held: whether these are settings of before, which hold on until a lock ends.
    """

    rule: IRule
    settings: Any
    is_held: bool = False

    @property
    def slot(self) -> str:
        """What its memory, its wishes and its troubles are kept under: apart from other settings' ones."""
        rule_id: str = self.rule.rule_id
        return f"{rule_id} (held)" if self.is_held else rule_id


class Decision(NamedTuple):
    """What a rule wants done."""

    rule_id: str
    intent: Intent


class Fault(NamedTuple):
    """A rule that raised, or said what makes no sense."""

    slot: str
    error: Exception


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules say on an occasion.

    :ivar state: the account's state, with what the rules want to remember.
    :ivar decisions: what is to be done, in this order.
    :ivar wakes: when each rule that was asked wants to be asked again, by slot.
    :ivar warnings: what each rule that was asked cannot see clearly, by slot.
    :ivar faults: the rules that failed; they count as having said nothing.
    """

    state: AccountState
    decisions: tuple[Decision, ...] = ()
    wakes: dict[str, datetime | None] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    faults: tuple[Fault, ...] = ()


def _nothing_is_known(_decision: Decision) -> bool:
    return False


def judge(
    state: AccountState,
    rules: Sequence[RuleInForce],
    occasion: Occasion,
    *,
    is_locked: bool = False,
    is_strict: bool = False,
    due: Collection[str] = (),
    is_under_way: Callable[[Decision], bool] = _nothing_is_known,
) -> Judgement:
    """Ask the rules that listen to the occasion.

    A trade comes once, so every rule is asked about it.  What is so can be seen again, so on any other
    occasion the first rule that wants something done is the last that is asked.

    :param rules: in the order in which they are asked.
    :param is_locked: whether the account is locked; then few rules are asked.
    :param is_strict: whether every breach locks the account for good.
    :param due: the rules that are asked on ``TIMER``, by slot.
    :param is_under_way: tells what is being done already; nothing more comes of that.
    """
    decisions: list[Decision] = []
    wakes: dict[str, datetime | None] = {}
    warnings: dict[str, tuple[str, ...]] = {}
    faults: list[Fault] = []
    for each in _asked(rules, occasion.kind, is_locked, due):
        slot = each.slot
        try:
            verdict = each.rule.check(_as_remembered(state, each), each.settings, occasion)
            _check(verdict)
        except Exception as error:  # noqa: BLE001  # a rule's mistake must not silence the others
            faults.append(Fault(slot, error))
            continue
        if verdict.memory is not None:
            state = _remember(state, slot, verdict.memory)
        wakes[slot] = verdict.wake_at
        warnings[slot] = verdict.warnings
        if not verdict.intents:
            continue
        intents = _strict(verdict.intents) if is_strict else verdict.intents
        wanted = [Decision(each.rule.rule_id, intent) for intent in intents]
        news = [decision for decision in wanted if not is_under_way(decision)]
        decisions += news
        if news and occasion.kind is not Kind.TRADE:
            break
    return Judgement(
        state=state,
        decisions=tuple(decisions),
        wakes=wakes,
        warnings=warnings,
        faults=tuple(faults),
    )


def _asked(
    rules: Sequence[RuleInForce], kind: Kind, is_locked: bool, due: Collection[str]
) -> Sequence[RuleInForce]:
    if is_locked:
        rules = [each for each in rules if each.rule.runs_while_locked]
    if kind is Kind.REVIEW:
        return rules
    if kind is Kind.TIMER:
        return [each for each in rules if each.slot in due]
    return [each for each in rules if kind in each.rule.listens]


def _as_remembered(state: AccountState, rule: RuleInForce) -> AccountState:
    """Return the state with the memory that belongs to these very settings."""
    memory = state.risk.memory
    if not rule.is_held or rule.slot not in memory:
        return state
    return _with_memory(state, {**memory, rule.rule.rule_id: memory[rule.slot]})


def _remember(state: AccountState, slot: str, text: str) -> AccountState:
    memory = state.risk.memory
    return state if memory.get(slot) == text else _with_memory(state, {**memory, slot: text})


def _with_memory(state: AccountState, memory: dict[str, str]) -> AccountState:
    return msgspec.structs.replace(state, risk=msgspec.structs.replace(state.risk, memory=memory))


def _check(verdict: Verdict) -> None:
    """See that a verdict is one: it is what others will act on and write down.

    :raises TypeError: it is not.
    """
    if not isinstance(verdict, Verdict):
        raise TypeError(f"expected a Verdict, got {verdict!r}")
    if verdict.memory is not None and not isinstance(verdict.memory, str):
        raise TypeError(f"memory: expected a text or None, got {verdict.memory!r}")
    if verdict.memory is not None and not verdict.memory.isascii():
        # What cannot be written would stop the journal.
        verdict.memory.encode()
    _check_moment("wake_at", verdict.wake_at)
    for warning in verdict.warnings:
        if not isinstance(warning, str):
            raise TypeError(f"warnings: expected texts, got {warning!r}")
    for intent in verdict.intents:
        _check_intent(intent)


def _check_intent(intent: Intent) -> None:
    if not isinstance(intent, _INTENTS) or not isinstance(intent.reason, str):
        raise TypeError(f"expected an intent with a reason, got {intent!r}")
    if isinstance(intent, Flatten):
        for kept in (intent.keep or {}).values():
            if type(kept) is not int or kept < 0:
                raise TypeError(f"keep: expected whole numbers, not negative, got {kept!r}")
        if intent.lock is not None:
            _check_moment("lock", intent.lock.until)


def _check_moment(name: str, moment: datetime | None) -> None:
    if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
        raise TypeError(f"{name}: expected an aware datetime or None, got {moment!r}")


def _strict(intents: Iterable[Intent]) -> tuple[Intent, ...]:
    """Make a breach what it is in strict mode: all is closed, and locked until an operator looks."""
    return tuple(
        Flatten(
            reason=intent.reason,
            lock=Lock(until=None),
            asks_broker_first=isinstance(intent, Flatten) and intent.asks_broker_first,
        )
        if isinstance(intent, (Flatten, RejectOrder))
        else intent
        for intent in intents
        if not isinstance(intent, LiftLock)
    )
