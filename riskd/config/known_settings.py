"""The settings of an account as the journal keeps them, to find what has changed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from riskd.config.settings import AccountSettings, CommonSettings, Settings
from riskd.model.settings_changes import RULE_PREFIX

OWN_NAME: Final = "account"
"""The name of what an account's own table has beside its limits."""

DAY_NAME: Final = "day"
"""The name of the daily reset."""


def known_settings(settings: Settings, account: AccountSettings) -> dict[str, str]:
    """Return the settings of one account, those of no single account included.

    No secret is among them: no setting is one.

    :return: values as JSON, by name.
    """
    own = {"name": account.name, "watch": account.watch, "preset": account.preset}
    rules = {f"{RULE_PREFIX}{each.rule.key}": each.limit.settings for each in account.rules}
    day = _json(account.schedule)
    return {**known_common(settings), OWN_NAME: _json(own), DAY_NAME: day, **rules}


def known_common(settings: Settings) -> dict[str, str]:
    """Return the settings that are not about single accounts, as JSON by name."""
    return {name: _json(value) for name, value in common_settings(settings).items()}


def common_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that are not about single accounts, by name."""
    common = {name: getattr(settings, name) for name in CommonSettings.__struct_fields__}
    common["enforce"] = settings.enforce and not settings.is_kept_enforcing
    return {"accounts": [account.id for account in settings.accounts], **common}


def _json(value: Any) -> str:
    # In a fixed order: the same settings must give the same text.
    return msgspec.json.encode(value, order="deterministic").decode()
