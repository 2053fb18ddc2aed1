"""Which changes of settings loosen an account, by their journaled values.

A rule's keys declare which way is the tighter one (:mod:`riskd.rules.tightness`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from riskd.config.known_settings import DAY_NAME
from riskd.model.commitment import COMMITMENT_KEY, is_sooner
from riskd.model.settings_changes import RULE_PREFIX
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import IRule
from riskd.rules.tightness import loosened

_IDENTITY = ("kind", "rest_url", "user_name")
"""The keys that make another gateway; see :mod:`riskd.journal.ownership`."""


def loosened_settings(
    before: Mapping[str, str], after: Mapping[str, str], catalogue: Mapping[str, IRule]
) -> Iterator[str]:
    """Yield the names of the settings that are looser than before.

    :param before: values as JSON, by name.
    :param catalogue: all rules there are, by key.
    """
    for name, old in before.items():
        if is_looser(name, old, after.get(name), catalogue):
            yield name


def is_looser(name: str, old: str, new: str | None, catalogue: Mapping[str, IRule]) -> bool:
    """Return whether a value is looser than an earlier one.

    :param new: ``None`` if the name is not there any more.
    """
    if new == old:
        return False
    if name.startswith(RULE_PREFIX):
        return _is_looser_rule(catalogue.get(name.removeprefix(RULE_PREFIX)), old, new)
    was, now = _value(old), None if new is None else _value(new)
    if name in ("enforce", "strict_mode"):
        return was is True and now is not True
    if name == "gateway":
        return _identity(was) != _identity(now)
    if name == COMMITMENT_KEY:
        return is_sooner(term_of(new or "null"), term_of(old))
    # A day that ends at another time is neither tighter nor looser.
    return name == DAY_NAME


def _is_looser_rule(rule: IRule | None, old: str, new: str | None) -> bool:
    if rule is None:
        # It is not there to be evaluated.
        return False
    try:
        was = msgspec.json.decode(old, type=rule.settings_type)
    except (msgspec.MsgspecError, ValueError):
        return False
    try:
        now = None if new is None else msgspec.json.decode(new, type=rule.settings_type)
    except (msgspec.MsgspecError, ValueError):
        return True
    return now is None or any(loosened(now, was, with_files=True))


def rule_in_force(
    name: str, settings: str, number: int, catalogue: Mapping[str, IRule]
) -> RuleInForce | None:
    """Return a rule with earlier settings; ``None`` if it cannot have them now."""
    rule = catalogue.get(name.removeprefix(RULE_PREFIX))
    try:
        if rule is not None:
            known = msgspec.json.decode(settings, type=rule.settings_type)
            return RuleInForce(rule, known, is_held=True, number=number)
    except (msgspec.MsgspecError, ValueError):
        pass
    return None


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError):
        return None


def _identity(gateway: Any) -> tuple[object, ...]:
    return tuple(gateway.get(key) for key in _IDENTITY) if isinstance(gateway, dict) else ()


def term_of(commitment: str) -> str:
    """Return ``loosen_after`` of the JSON of a commitment; empty if there is none."""
    value = _value(commitment)
    return str(value.get("loosen_after", "")) if isinstance(value, dict) else ""
