"""Configurations for tests: the shortest account, and the built-in rules by key."""

from __future__ import annotations

from typing import Any, Final

from riskd.config.loader import parse_settings
from riskd.config.settings import AccountSettings, Settings
from riskd.rules.registry import RULES

CATALOGUE: Final = {rule.key: rule for rule in RULES}
ACCOUNT: Final = "[[accounts]]\nid = 123\n"
"""An account is all that a configuration needs."""


def parse(text: str) -> Settings:
    """Return the settings that ``text`` describes as ``riskd.toml``."""
    return parse_settings(text, "riskd.toml", CATALOGUE)


def only_account(text: str) -> AccountSettings:
    """Return the one account that ``text`` describes."""
    (account,) = parse(text).accounts
    return account


def rules_of(account: AccountSettings) -> dict[str, Any]:
    """Return the settings of an account's rules in force, by the rule's key."""
    return {one.rule.key: one.settings for one in account.rules}
