"""Which figures of a firm for the floor of an account riskd takes.

A floor below riskd's estimate loosens the account's maximum loss.  riskd takes it, since its own floor is only an
estimate, but not while the account is locked: then whatever loosens waits for the end of the lock, as looser settings
do.  A floor that the settings exclude is a slip of the finger, or the settings are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from riskd.model.account import AccountState
from riskd.model.formatting import dollars
from riskd.rules.builtin.maximum_loss import RULE, buffer_of, nearest_floor
from riskd.rules.evaluation import RuleInForce


def objection(
    state: AccountState,
    rules: Sequence[RuleInForce],
    amount: Decimal,
    *,
    is_locked: bool,
    is_committed: bool = False,
    is_confirmed: bool,
) -> str:
    """Return why the firm's figure is not taken, in a sentence; empty if it is.

    :param rules: the rules in force.
    :param amount: the figure, in dollars.
    :param is_committed: whether the account has a commitment, by which nothing loosens at once.
    :param is_confirmed: whether riskd may close everything and lock the account at once.
    """
    account = f"account {state.account_id}"
    settings = [each.settings for each in rules if each.rule is RULE]
    if not settings:
        return f"{account} has no floor: no [rules.{RULE.key}] guards it"
    floor = nearest_floor(state, rules)
    if floor is None:
        return f"riskd does not know the balance of {account} yet; try again in a moment"
    lowest = [
        each.starting_balance - each.drawdown
        for each in settings
        if each.starting_balance is not None
    ]
    if lowest and amount < max(lowest):
        return (
            f"expected at least {dollars(max(lowest))}, which is starting_balance less drawdown, got "
            f"{dollars(amount)}; if the firm's floor is lower, correct these keys first"
        )
    if amount < floor.amount and (is_locked or is_committed):
        why, remedy = "is locked", "unlock the account first"
        if is_committed:
            why, remedy = "has a [commitment]", "remove that first, and wait until it ends"
        return f"{account} {why}, and a floor below {dollars(floor.amount)} would loosen its maximum loss: {remedy}"
    buffer = max(buffer_of(state, each) for each in settings)
    if floor.equity <= amount + buffer and not is_confirmed:
        above = f" and a buffer of {dollars(buffer)}" if buffer else ""
        return (
            f"the equity of {account} is {dollars(floor.equity)}, so with a floor of {dollars(amount)}{above} riskd closes "
            "everything and locks the account at once; add --yes if that is the firm's figure"
        )
    return ""
