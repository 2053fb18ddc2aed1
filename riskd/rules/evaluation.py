"""Asking the rules: which of them, in which order, and what their verdicts come to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args

import msgspec

from riskd.model.account import AccountState, Limit
from riskd.rules.interface import (
    Command,
    Flatten,
    IRule,
    Kind,
    LiftLock,
    Lock,
    RejectOrder,
    RuleResult,
    Trigger,
)

_COMMANDS = get_args(Command)


class RuleInForce(NamedTuple):
    """A rule, and the settings that it has for an account.

    :ivar is_held: whether these are settings of before, which hold on until a lock ends.
    """

    rule: IRule
    settings: Any
    is_held: bool = False

    @property
    def limit(self) -> Limit:
        """The rule and its settings as the journal keeps them."""
        # In a fixed order: the same settings must give the same text, or each start would write them.
        settings = msgspec.json.encode(self.settings, order="deterministic").decode()
        return Limit(self.rule.key, settings)

    @property
    def slot(self) -> str:
        """What its memory, its wishes and its troubles are kept under: apart from other settings' ones."""
        rule_id: str = self.rule.rule_id
        return f"{rule_id} (held)" if self.is_held else rule_id


class Decision(NamedTuple):
    """What a rule wants done."""

    rule_id: str
    command: Command


class Fault(NamedTuple):
    """A rule that raised, or said what makes no sense."""

    slot: str
    error: Exception


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
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


def evaluate(
    state: AccountState,
    rules: Sequence[RuleInForce],
    trigger: Trigger,
    *,
    is_locked: bool = False,
    is_strict: bool = False,
    due: Collection[str] = (),
    is_under_way: Callable[[Decision], bool] = _nothing_is_known,
) -> Evaluation:
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
    for each in _asked(rules, trigger.kind, is_locked, due):
        slot = each.slot
        try:
            result = each.rule.check(_as_remembered(state, each), each.settings, trigger)
            _check(result)
        except Exception as error:  # noqa: BLE001  # a rule's mistake must not silence the others
            faults.append(Fault(slot, error))
            continue
        if result.memory is not None:
            state = _remember(state, slot, result.memory)
        wakes[slot] = result.wake_at
        warnings[slot] = result.warnings
        if not result.commands:
            continue
        commands = _strict(result.commands) if is_strict else result.commands
        wanted = [Decision(each.rule.rule_id, command) for command in commands]
        news = [decision for decision in wanted if not is_under_way(decision)]
        decisions += news
        if news and trigger.kind is not Kind.TRADE:
            break
    return Evaluation(
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


def _check(result: RuleResult) -> None:
    """See that a verdict is one: it is what others will act on and write down.

    :raises TypeError: it is not.
    """
    if not isinstance(result, RuleResult):
        raise TypeError(f"expected a RuleResult, got {result!r}")
    if result.memory is not None and not isinstance(result.memory, str):
        raise TypeError(f"memory: expected a text or None, got {result.memory!r}")
    if result.memory is not None and not result.memory.isascii():
        # What cannot be written would stop the journal.
        result.memory.encode()
    _check_moment("wake_at", result.wake_at)
    for warning in result.warnings:
        if not isinstance(warning, str):
            raise TypeError(f"warnings: expected texts, got {warning!r}")
    for command in result.commands:
        _check_command(command)


def _check_command(command: Command) -> None:
    if not isinstance(command, _COMMANDS) or not isinstance(command.reason, str):
        raise TypeError(f"expected a command with a reason, got {command!r}")
    if isinstance(command, Flatten):
        for kept in (command.keep or {}).values():
            if type(kept) is not int or kept < 0:
                raise TypeError(f"keep: expected whole numbers, not negative, got {kept!r}")
        if command.lock is not None:
            _check_moment("lock", command.lock.until)


def _check_moment(name: str, moment: datetime | None) -> None:
    if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
        raise TypeError(f"{name}: expected an aware datetime or None, got {moment!r}")


def _strict(commands: Iterable[Command]) -> tuple[Command, ...]:
    """Make a breach what it is in strict mode: all is closed, and locked until an operator looks."""
    return tuple(
        Flatten(
            reason=command.reason,
            lock=Lock(until=None),
            asks_broker_first=isinstance(command, Flatten) and command.asks_broker_first,
        )
        if isinstance(command, (Flatten, RejectOrder))
        else command
        for command in commands
        if not isinstance(command, LiftLock)
    )
