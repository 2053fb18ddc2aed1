"""What a replay has enforced, and what other limits would have, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

from riskd.app.riskctl.tables import local, table
from riskd.model.compared_days import ComparedDay, FirstEnforced
from riskd.model.events import EnforcementAction
from riskd.model.formatting import counted, dollars

_ENFORCEMENT_HEADER: Final = ("AT", "ACCOUNT", "RULE", "ACTION", "REASON")


def enforcement_table(actions: Iterable[tuple[int, EnforcementAction]]) -> list[str]:
    """Return actions with their accounts as lines for a terminal."""
    rows = [
        (
            local(action.timestamp),
            str(account),
            action.rule_id,
            action.action.value,
            action.reason,
        )
        for account, action in actions
    ]
    return table(_ENFORCEMENT_HEADER, rows, right=(1,), empty="nothing is enforced")


def compared_days_table(days: Iterable[ComparedDay], names: Sequence[str]) -> list[str]:
    """Return what would have been enforced first as lines for a terminal.

    :param names: of the configurations.
    """
    rows = [
        (
            str(each.day),
            str(each.account),
            dollars(each.net_pnl),
            *(
                _first_enforced(each.day, each.first[number]) if number in each.first else ""
                for number in range(len(names))
            ),
        )
        for each in days
    ]
    header = ("DAY", "ACCOUNT", "NET", *names)
    return table(header, rows, right=(1, 2), empty="no trading day is recorded")


def _first_enforced(day: date, first: FirstEnforced | None) -> str:
    if first is None:
        return "nothing"
    local = first.at.astimezone()
    # A trading day begins on the evening before.
    form = "%H:%M:%S" if local.date() == day else "%Y-%m-%d %H:%M:%S"
    return f"{first.rule_id} {local.strftime(form)} {dollars(first.net_pnl)}"


def compared_days_report(days: Iterable[ComparedDay], names: Sequence[str]) -> dict[str, Any]:
    """Return what would have been enforced first as a value for JSON.

    The list of a day lacks the configurations that do not guard the account.  An ``action`` that is false: nothing
    is enforced.
    """
    return {
        "days": [
            {
                "day": each.day,
                "account": each.account,
                "net_pnl": each.net_pnl,
                "enforced_first": [
                    {"config": names[number], "action": first or False}
                    for number, first in each.first.items()
                ],
            }
            for each in days
        ]
    }


def enforcement_summary(actions: Iterable[EnforcementAction]) -> str:
    """Return the number of actions of each rule in words."""
    of_rules = Counter(action.rule_id for action in actions)
    total = counted(of_rules.total(), "action")
    if not of_rules:
        return total
    rules = ", ".join(f"{number} by {rule}" for rule, number in sorted(of_rules.items()))
    return f"{total}: {rules}"
