"""The settings of an account as the journal keeps them, to find what has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from riskd.config.settings import AccountSettings, CommonSettings, Settings
from riskd.model.settings_changes import RULE_PREFIX

OWN_NAME: Final = "account"
"""The name of what an account's own table has beside its limits."""

DAY_NAME: Final = "day"
"""The name of the daily reset."""

ACCOUNTS_NAME: Final = "accounts"
"""The name of the ids of all accounts.

The journal keeps them with one account alone: with each of a thousand there would be a million ids.
"""

COMMON_NAMES: Final = (ACCOUNTS_NAME, *CommonSettings.__struct_fields__)
"""The names of the settings that are not about single accounts."""


def known_settings(settings: Settings) -> dict[int, dict[str, str]]:
    """Return the settings of each account, those of no single account included.

    No secret is among them: no setting is one.

    :return: values as JSON, by account id and name.
    """
    common = known_common(settings)
    return {each.id: {**common, **_own_settings(each)} for each in settings.accounts}


def kept_ids(kept: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the ids of all accounts as one of them has them; empty if none does.

    :param kept: what the journal has kept with each account; earlier versions kept the ids with each.
    """
    found = next((each[ACCOUNTS_NAME] for each in kept if ACCOUNTS_NAME in each), None)
    return {} if found is None else {ACCOUNTS_NAME: found}


def _own_settings(account: AccountSettings) -> dict[str, str]:
    own = {"name": account.name, "watch": account.watch, "preset": account.preset}
    rules = {f"{RULE_PREFIX}{each.rule.key}": each.limit.settings for each in account.rules}
    return {OWN_NAME: _json(own), DAY_NAME: _json(account.schedule), **rules}


def known_common(settings: Settings) -> dict[str, str]:
    """Return the settings that are not about single accounts, as JSON by name."""
    common = {name: getattr(settings, name) for name in CommonSettings.__struct_fields__}
    common["enforce"] = settings.enforce and not settings.is_kept_enforcing
    common = {ACCOUNTS_NAME: [account.id for account in settings.accounts], **common}
    return {name: _json(value) for name, value in common.items()}


def _json(value: Any) -> str:
    # In a fixed order: the same settings must give the same text.
    return msgspec.json.encode(value, order="deterministic").decode()
