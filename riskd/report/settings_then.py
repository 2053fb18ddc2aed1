"""Which settings an account had at an earlier moment.

The journal has the present settings and each change of them, so the changes since a moment are taken back, the latest
one first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from riskd.config.known_settings import DAY_NAME
from riskd.journal.audit_log import SETTINGS, LogLine
from riskd.model.account import AccountState
from riskd.model.exact_json import JsonError, decode_json
from riskd.model.settings_changes import RULE_PREFIX
from riskd.model.trading_day import DAY_LIMIT


def settings_at(account: AccountState, log: Sequence[LogLine], moment: datetime) -> dict[str, Any]:
    """Return the settings that were configured at a moment, decoded, by name.

    Rules are named ``rules.`` and their key.  What a lock or a commitment held in force beside them is not among them.

    :param log: of the account, oldest first.
    """
    settings = _present(account)
    for line in reversed(log):
        if line.at <= moment:
            break
        # Without an operator the line is not about the settings: what was held beside them has ended.
        if line.kind == SETTINGS and "operator" in line.data:
            _take_back(settings, line.data)
    return settings


def _present(account: AccountState) -> dict[str, Any]:
    known = account.risk.settings
    if not known:
        # An earlier riskd wrote the journal.  The ids of rules have a hyphen.
        known = {
            f"{RULE_PREFIX}{each.key}": each.settings
            for name, each in account.limits.items()
            if "-" in name
        }
        if DAY_LIMIT in account.limits:
            known[DAY_NAME] = account.limits[DAY_LIMIT].settings
    return {name: _decoded(text) for name, text in known.items()}


def _decoded(text: str) -> Any:
    try:
        return decode_json(text)
    except JsonError:
        return None


def _take_back(settings: dict[str, Any], change: dict[str, Any]) -> None:
    """Give one table or key of the settings the value that it had before a change."""
    key, before, after = (change.get(name) for name in ("key", "before", "after"))
    name = f"{RULE_PREFIX}{key}" if change.get("rule_id") else str(key)
    if before is None:
        settings.pop(name, None)
    elif isinstance(before, dict) and isinstance(after, dict):
        settings[name] = {**(settings.get(name) or {}), **before}
    else:
        settings[name] = before
