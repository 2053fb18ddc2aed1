"""The settings of an account as the journal keeps them, to find what has changed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from riskd.config.settings import AccountSettings, CommonSettings, Settings

RULE_PREFIX: Final = "rules."
"""Begins the names of rules; the rule's key follows."""

DAY_NAME: Final = "day"
"""The name of the daily reset."""


def known_settings(settings: Settings, account: AccountSettings) -> dict[str, str]:
    """Return the settings of one account, those of no single account included.

    No secret is among them: no setting is one.

    :return: values as JSON, by name.
    """
    values: dict[str, Any] = common_settings(settings)
    values["account"] = {"name": account.name, "watch": account.watch, "preset": account.preset}
    values[DAY_NAME] = account.schedule
    texts = {name: _json(value) for name, value in values.items()}
    rules = {f"{RULE_PREFIX}{each.rule.key}": each.limit.settings for each in account.rules}
    return texts | rules


def common_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that are not about single accounts, by name."""
    common = {name: getattr(settings, name) for name in CommonSettings.__struct_fields__}
    return {"accounts": [account.id for account in settings.accounts], **common}


def _json(value: Any) -> str:
    # In a fixed order: the same settings must give the same text.
    return msgspec.json.encode(value, order="deterministic").decode()
