"""Finding the rules: riskd's twelve and those of a user's own, all of them Twisted plugins.

A rule that somebody relies on must not be missing in silence.  Whatever may be a rule and cannot be used
is an error.  Plugins of other programs, which do not mention riskd, are passed over when they cannot be
loaded; the log tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.python.modules import PythonModule, getModule
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

import twisted.plugins
from riskd.host.errors import UserError
from riskd.rules.interface import IRule, Kind
from riskd.rules.registry import RULES
from riskd.rules.settings import RuleSettings

_log = Logger()

_ID: Final = re.compile(r"[A-Z]{1,20}-[0-9]{1,6}")
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")


class RuleDiscoveryError(UserError):
    """Rules that cannot be used; ``problems`` has a line for each mistake."""


def find_rules() -> dict[str, IRule]:
    """Return the rules that are installed, by key, in the order in which they are asked.

    :raises RuleDiscoveryError: a plugin that may hold a rule cannot be loaded, or a rule is not what a
        rule must be.
    """
    # getPlugins passes over what it cannot load, and only the log would tell.
    if problems := [*_load(getModule(twisted.plugins.__name__).iterModules())]:
        raise RuleDiscoveryError(*problems)
    rules = sorted(getPlugins(IRule), key=_place)
    if problems := [*_problems(rules), *_collisions(rules)]:
        raise RuleDiscoveryError(*problems)
    return {rule.key: rule for rule in rules}


def _load(modules: Iterable[PythonModule]) -> Iterator[str]:
    """Load ``modules``; yield a sentence for each that may hold a rule and cannot be loaded."""
    for module in modules:
        try:
            module.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may do anything
            reason = _one_line(f"{type(error).__name__}: {error}")
            problem = f"plugin {module.filePath.path} cannot be loaded"
            if _may_hold_rule(module):
                yield f"{problem}, and may hold a rule: {reason}"
            else:
                _log.warn("{problem}: {reason}", problem=problem, reason=reason)


def _may_hold_rule(module: PythonModule) -> bool:
    """Tell whether a module mentions riskd; one that cannot be read may."""
    try:
        return b"riskd" in module.filePath.getContent()
    except OSError:
        return True


def _place(rule: IRule) -> tuple[int, str]:
    """Return what sorts a rule: riskd's own by their table, then others by their ids."""
    number = next((i for i, own in enumerate(RULES) if own is rule), len(RULES))
    return number, str(getattr(rule, "rule_id", ""))


def _problems(rules: Iterable[IRule]) -> Iterator[str]:
    for rule in rules:
        for problem in _problems_of(rule):
            yield f"{_name(rule)}: {problem}"


def _problems_of(rule: IRule) -> Iterator[str]:
    """Yield what makes a rule unusable."""
    try:
        verifyObject(IRule, rule)
    except Invalid as error:
        yield _one_line(str(error))
        return
    if not _matches(_ID, rule.rule_id):
        yield f"expected an id such as RULE-013, got {rule.rule_id!r}"
    if not _matches(_KEY, rule.key):
        yield f"expected a key of small letters such as losing_streak, got {rule.key!r}"
    if not (
        isinstance(rule.listens, frozenset)
        and all(isinstance(kind, Kind) for kind in rule.listens)
    ):
        yield f"expected listens to be a frozenset of Kind, got {rule.listens!r}"
    if not isinstance(rule.runs_while_locked, bool):
        yield f"expected runs_while_locked to be True or False, got {rule.runs_while_locked!r}"
    yield from _problems_of_settings(rule.settings_type)


def _problems_of_settings(kind: Any) -> Iterator[str]:
    if not (isinstance(kind, type) and issubclass(kind, RuleSettings)):
        yield f"expected settings_type to be a subclass of RuleSettings, got {kind!r}"
        return
    try:
        # A schema can be made of exactly what can be read from a file and written to the journal.
        msgspec.json.schema(kind)
    except (TypeError, NameError) as error:
        yield f"{kind.__name__} has a field that cannot be configured: {_one_line(str(error))}"


def _collisions(rules: list[IRule]) -> Iterator[str]:
    """Yield what several rules claim for themselves."""
    for attribute in ("rule_id", "key"):
        owners: dict[object, IRule] = {}
        for rule in rules:
            claimed = getattr(rule, attribute, None)
            owner = owners.setdefault(claimed, rule)
            # One rule may be found under several names.
            if owner is not rule:
                yield f"{_name(rule)}: {_name(owner)} has the {attribute} {claimed!r} already"


def _name(rule: IRule) -> str:
    """Return how a sentence calls a rule, whatever it lacks."""
    key = getattr(rule, "key", type(rule).__name__)
    return f"rule {key} ({getattr(rule, 'rule_id', 'without an id')})"


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _one_line(text: str) -> str:
    return " ".join(text.split())
