"""Evaluate an account's rules: which, in which order, and what they decide.

A rule that fails counts as one without a breach, and its result is checked before anything acts on it or
writes it down: a mistake in one rule must neither silence the others nor stop the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, get_args

import msgspec

from riskd.model.account import AccountState, Limit, with_risk
from riskd.rules.interface import (
    NOTHING,
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
    """A rule with its settings for an account.

    :ivar is_held: whether these are earlier settings, which stay in force until a lock ends, or a wait.
    :ivar number: tells several earlier settings apart; 1 are those of a lock.
    """

    rule: IRule
    settings: Any
    is_held: bool = False
    number: int = 1

    @property
    def waits(self) -> bool:
        """Whether these are earlier settings whose change waits."""
        return self.is_held and self.number > 1

    @property
    def limit(self) -> Limit:
        """The rule and its settings as the journal keeps them."""
        # In a fixed order: the same settings must give the same text, or each start would write them.
        settings = msgspec.json.encode(self.settings, order="deterministic").decode()
        return Limit(self.rule.key, settings)

    @property
    def slot(self) -> str:
        """The key of its memory, timer and problems.

        Earlier settings have a key of their own.
        """
        rule_id: str = self.rule.rule_id
        if not self.is_held:
            return rule_id
        return f"{rule_id} (held {self.number})" if self.waits else f"{rule_id} (held)"


class Decision(NamedTuple):
    """A command, and the rule that gives it."""

    rule_id: str
    command: Command


class Fault(NamedTuple):
    """A rule that raised an exception or returned an invalid result."""

    slot: str
    error: Exception


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules return for a trigger.

    :ivar state: the account's state with the rules' new memories.
    :ivar decisions: what to do, in this order.
    :ivar results: what each evaluated rule has returned, by slot.
    :ivar faults: the rules that failed.
    """

    state: AccountState
    decisions: tuple[Decision, ...] = ()
    results: dict[str, RuleResult] = {}
    faults: tuple[Fault, ...] = ()

    @property
    def reduce_only(self) -> dict[str, str]:
        """Why each evaluated rule lets the account only close what it holds, by slot.

        Without the rules that cannot tell.
        """
        return {
            slot: result.reduce_only
            for slot, result in self.results.items()
            if result.reduce_only is not None
        }


def evaluate(
    state: AccountState,
    rules: Sequence[RuleInForce],
    trigger: Trigger,
    *,
    is_locked: bool = False,
    is_strict: bool = False,
    due: Collection[str] = (),
    spared: Collection[str] = (),
    is_under_way: Callable[[Decision], bool] | None = None,
) -> Evaluation:
    """Evaluate the rules that listen to the trigger.

    A trade event comes once, so every rule checks it.  All else can be checked again, so evaluation stops
    at the first rule that acts.  A rule that only lifts its own lock ends no breach of another.

    :param rules: in the order of evaluation.
    :param is_locked: whether the account is locked; then only rules with ``runs_while_locked`` count.
    :param is_strict: whether every breach locks the account for good.
    :param due: the slots of the rules to evaluate on ``TIMER``.
    :param spared: the slots of rules that would return what they have returned last.
    :param is_under_way: returns whether riskd is carrying out a decision already; it is then left out.
    """
    decisions: list[Decision] = []
    results: dict[str, RuleResult] = {}
    faults: list[Fault] = []
    begun_with = state.risk.memory
    for slot, each in _rules_to_evaluate(rules, trigger.kind, is_locked, due):
        if slot in spared:
            continue
        known = state if not each.is_held else _with_own_memory(state, each, begun_with)
        try:
            result = each.rule.check(known, each.settings, trigger)
            if result is not NOTHING:
                _check(result)
        except Exception as error:  # noqa: BLE001  # a rule may raise anything
            faults.append(Fault(slot, error))
            continue
        results[slot] = result
        if result.memory is not None and result.memory != state.risk.memory.get(slot):
            state = with_risk(state, memory={**state.risk.memory, slot: result.memory})
        if not result.commands:
            continue
        commands = _strict(result.commands) if is_strict else result.commands
        wanted = [Decision(each.rule.rule_id, command) for command in commands]
        news = [new for new in wanted if is_under_way is None or not is_under_way(new)]
        decisions += news
        # What this rule does may end the breaches of others; they are evaluated again when it is done.
        acts = any(not isinstance(new.command, LiftLock) for new in news)
        if acts and trigger.kind is not Kind.TRADE:
            break
    return Evaluation(
        state=state,
        decisions=tuple(decisions),
        results=results,
        faults=tuple(faults),
    )


_Slots = list[tuple[str, RuleInForce]]

_MOST_KNOWN: Final = 256
"""For how many tuples of rules it is remembered which of them listen to what."""

_known_listening: Final[
    dict[int, tuple[tuple[RuleInForce, ...], dict[tuple[Kind, bool], _Slots]]]
] = {}


def _rules_to_evaluate(
    rules: Sequence[RuleInForce], kind: Kind, is_locked: bool, due: Collection[str]
) -> _Slots:
    """Return the rules to evaluate, with their slots."""
    if kind is Kind.TIMER:
        every = listening(rules, Kind.REVIEW, is_locked=is_locked)
        return [(slot, each) for slot, each in every if slot in due]
    return listening(rules, kind, is_locked=is_locked)


def listening(rules: Sequence[RuleInForce], kind: Kind, *, is_locked: bool = False) -> _Slots:
    """Return the rules that listen to a kind, with their slots.

    Do not change the list.  All listen to ``REVIEW``.
    """
    if not isinstance(rules, tuple) or len(rules) == 1:
        return _listening(rules, kind, is_locked)
    # The rules of an account seldom change, and as a whole.  The tuple is kept, so that its id is no other's.
    known = _known_listening.get(id(rules))
    if known is None:
        if len(_known_listening) >= _MOST_KNOWN:
            _known_listening.clear()
        known = _known_listening[id(rules)] = (rules, {})
    found = known[1].get((kind, is_locked))
    if found is None:
        found = known[1][kind, is_locked] = _listening(rules, kind, is_locked)
    return found


def _listening(rules: Iterable[RuleInForce], kind: Kind, is_locked: bool) -> _Slots:
    return [
        (each.slot, each)
        for each in rules
        if (each.rule.runs_while_locked or not is_locked)
        and (kind is Kind.REVIEW or kind in each.rule.listens)
        # Most events are quotes, so a rule is spared those that its settings do not need.
        and (kind is not Kind.QUOTE or each.settings.needs_quotes)
    ]


def _with_own_memory(
    state: AccountState, rule: RuleInForce, begun_with: Mapping[str, str]
) -> AccountState:
    """Return the state with earlier settings' memory where the rule looks for it.

    They begin with the memory of the present ones.

    :param begun_with: the memories from before this evaluation: the present settings may have changed theirs.
    """
    memory, rule_id = state.risk.memory, rule.rule.rule_id
    own = memory.get(rule.slot, begun_with.get(rule_id))
    if own == memory.get(rule_id):
        return state
    others = {slot: text for slot, text in memory.items() if slot != rule_id}
    return with_risk(state, memory=others if own is None else {**others, rule_id: own})


def _check(result: RuleResult) -> None:
    """Check a result before anything acts on it or writes it down.

    :raises TypeError: a part of it is not what its type says.
    :raises ValueError: a text of it is not Unicode, which would stop the journal.
    """
    if not isinstance(result, RuleResult):
        raise TypeError(f"expected a RuleResult, got {result!r}")
    if result.memory is not None:
        if not isinstance(result.memory, str):
            raise TypeError(f"memory: expected a text or None, got {result.memory!r}")
        result.memory.encode()
    # Most results have neither, and there are several at each event.
    if result.wake_at is not None:
        _check_moment("wake_at", result.wake_at)
    if result.problem != "":
        _check_text("problem", result.problem)
    if result.reduce_only is not None and result.reduce_only != "":
        _check_text("reduce_only", result.reduce_only)
    for warning in result.warnings:
        _check_text("warnings", warning)
    for command in result.commands:
        _check_command(command)


def _check_command(command: Command) -> None:
    if not isinstance(command, _COMMANDS) or not isinstance(command.reason, str):
        raise TypeError(f"expected a command with a reason, got {command!r}")
    if isinstance(command, Flatten):
        _check_flatten(command)


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name}: expected a text, got {text!r}")
    # It goes to the journal or to clients.
    text.encode()


def _check_flatten(flatten: Flatten) -> None:
    for kept in (flatten.keep or {}).values():
        if type(kept) is not int or kept < 0:
            raise TypeError(f"keep: expected whole numbers, not negative, got {kept!r}")
    if flatten.lock is not None:
        _check_moment("lock", flatten.lock.until)


def _check_moment(name: str, moment: datetime | None) -> None:
    if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
        raise TypeError(f"{name}: expected an aware datetime or None, got {moment!r}")


def _strict(commands: Iterable[Command]) -> tuple[Command, ...]:
    """Return the commands of strict mode: each breach flattens and locks for good."""
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
