"""What an operator's unlock means for the rules.

An unlock is a baseline: what led to the lock does not lock the account again by itself, neither after a
reconciliation nor after a restart.  Rules that count trades keep that baseline themselves: they know which
trade is new.  Any other rule whose limit is still exceeded is excused until the limit has been kept once, the
account holds or works more than at the unlock, or the rule has other settings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec

from riskd.model.account import AccountState, with_risk
from riskd.model.lockouts import is_exit
from riskd.model.unlocks import UNLOCKED, Unlock
from riskd.rules.evaluation import Decision, RuleInForce, evaluate
from riskd.rules.interface import Flatten, Kind, Trigger
from riskd.rules.positions import signed_size


def exceeded(
    state: AccountState, rules: Iterable[RuleInForce], review: Trigger, *, is_strict: bool
) -> tuple[str, ...]:
    """Return the ids of the rules that would lock the account now.

    Neither what the rules remember nor an earlier unlock counts.

    :param review: the trigger of a review, which evaluates every rule.
    """
    limits = {name: limit for name, limit in state.limits.items() if name != UNLOCKED}
    bare = with_risk(
        msgspec.structs.replace(state, lockouts={}, limits=limits), memory={}, flattening=None
    )
    return tuple(
        dict.fromkeys(
            decision.rule_id
            for rule in rules
            for decision in evaluate(bare, (rule,), review, is_strict=is_strict).decisions
            if _locks(decision)
        )
    )


def unlock_of(
    state: AccountState, rules: Iterable[RuleInForce], beyond: tuple[str, ...], now: datetime
) -> Unlock:
    """Return the baseline that an unlock sets.

    :param rules: the rules in force after it.
    :param beyond: the ids of those whose limits are exceeded.
    """
    rules = tuple(rules)
    counting = {one.rule.rule_id for one in rules if Kind.TRADE in one.rule.listens}
    return Unlock(
        at=now,
        beyond=beyond,
        excused=tuple(rule_id for rule_id in beyond if rule_id not in counting),
        settings={one.rule.rule_id: one.limit.settings for one in rules},
        held={each.contract_id: signed_size(each) for each in state.open_positions},
        working=tuple(state.orders),
    )


def without_rules(unlock: Unlock, rule_ids: Collection[str]) -> Unlock:
    """Return the baseline after rules have locked the account again."""
    return msgspec.structs.replace(
        unlock,
        beyond=tuple(each for each in unlock.beyond if each not in rule_ids),
        excused=tuple(each for each in unlock.excused if each not in rule_ids),
    )


def without_excuses(unlock: Unlock, rule_ids: Collection[str]) -> Unlock:
    """Return the baseline after the limits of these rules have been kept."""
    excused = tuple(each for each in unlock.excused if each not in rule_ids)
    return msgspec.structs.replace(unlock, excused=excused)


def is_excused(
    unlock: Unlock, decision: Decision, state: AccountState, rules: Iterable[RuleInForce]
) -> bool:
    """Return whether what a decision would lock for has been unlocked.

    :param rules: the rules in force.
    """
    rule_id = decision.rule_id
    return (
        rule_id in unlock.excused
        and _locks(decision)
        and not _has_grown(unlock, state)
        and any(
            one.limit.settings == unlock.settings.get(rule_id)
            for one in rules
            if one.rule.rule_id == rule_id
        )
    )


def _locks(decision: Decision) -> bool:
    return isinstance(decision.command, Flatten) and decision.command.lock is not None


def _has_grown(unlock: Unlock, state: AccountState) -> bool:
    """Return whether the account holds or works more than when it was unlocked."""
    for position in state.open_positions:
        size, known = signed_size(position), unlock.held.get(position.contract_id, 0)
        if size * known <= 0 or abs(size) > abs(known):
            return True
    return any(
        order.id not in unlock.working and not is_exit(state, order)
        for order in state.working_orders
    )
