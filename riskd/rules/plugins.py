"""Find the rules, riskd's and a user's own.

All of them are Twisted plugins.

A rule that a trader relies on must not be missing silently.  So everything that may be a rule and cannot
be used is an error.  A plugin of another program, whose source does not mention riskd, is skipped with a
warning in the log if it cannot be loaded.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
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
from riskd.rules.renamed import find_old_names
from riskd.rules.settings import RuleSettings

_log = Logger()

_ID: Final = re.compile(r"[A-Z]{1,20}-[0-9]{1,6}")
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,59}")

_LIBRARY: Final = re.compile(r"(autobahn|cred|twisted)_\w+")
"""The names of the plugins that come with Twisted and Autobahn; they load conch, cred and more."""


class RuleDiscoveryError(UserError):
    """Rules cannot be used; ``problems`` has a sentence for each reason."""


def find_rules() -> dict[str, IRule]:
    """Return the installed rules by key, in the order of evaluation.

    :raises RuleDiscoveryError: a plugin that may hold a rule cannot be loaded or uses an old name of
        riskd, or a rule is invalid.
    """
    # getPlugins skips what it cannot load and only logs it, so all modules are loaded before.
    if problems := [*_load(getModule(twisted.plugins.__name__).iterModules())]:
        raise RuleDiscoveryError(*problems)
    # Twisted's cache of plugins may be older than the table of riskd's own.
    rules = sorted((*RULES, *getPlugins(IRule)), key=_sort_key)
    # riskd's own are checked by its tests, which at each start would take as long as loading them.
    others = [rule for rule in rules if not any(rule is own for own in RULES)]
    problems = [f"{_name(rule)}: {each}" for rule in others for each in problems_of(rule)]
    problems += _collisions(rules)
    if problems:
        raise RuleDiscoveryError(*problems)
    return {rule.key: rule for rule in rules}


def _load(modules: Iterable[PythonModule]) -> Iterator[str]:
    """Load ``modules``.

    Yield a sentence for each problem of one that may hold a rule.
    """
    for module in modules:
        path = module.filePath.path
        # A plugin may be a package.
        if old_names := [*_old_names(part.filePath.path for part in module.walkModules())]:
            yield from old_names
            continue
        if _LIBRARY.fullmatch(module.name.rpartition(".")[2]) and b"riskd" not in _source(path):
            continue
        try:
            module.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may raise anything
            # An old name may also be in a module that the plugin imports.
            yield from _old_names([traceback.extract_tb(error.__traceback__)[-1].filename])
            reason = _one_line(f"{type(error).__name__}: {error}")
            problem = f"plugin {path} cannot be loaded"
            if b"riskd" in _source(path):
                yield f"{problem}, and may hold a rule: {reason}"
            else:
                _log.warn("{problem}: {reason}", problem=problem, reason=reason)


def _old_names(paths: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each old name of riskd that the modules at ``paths`` use."""
    for path in paths:
        for use in find_old_names(_source(path)):
            yield f"plugin {path}, line {use.line}: {use.old} is now {use.new}"


def _source(path: str) -> bytes:
    """Return a module's source.

    That of one that cannot be read counts as one that mentions riskd.
    """
    try:
        return Path(path).read_bytes()
    except OSError:
        return b"riskd"


def _sort_key(rule: IRule) -> tuple[int, str]:
    """Return a sort key: riskd's own rules by their table, then others by their ids."""
    number = next((i for i, own in enumerate(RULES) if own is rule), len(RULES))
    return number, str(getattr(rule, "rule_id", ""))


def problems_of(rule: IRule) -> Iterator[str]:
    """Yield the reasons why a rule is invalid."""
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
        # msgspec makes a schema of exactly the types that TOML can hold and the journal can store.
        msgspec.json.schema(kind)
    except (TypeError, NameError) as error:
        yield f"{kind.__name__} has a field that cannot be configured: {_one_line(str(error))}"


def _collisions(rules: list[IRule]) -> Iterator[str]:
    """Yield a sentence for each id and each key that several rules have."""
    for attribute in ("rule_id", "key"):
        owners: dict[object, IRule] = {}
        for rule in rules:
            value = getattr(rule, attribute, None)
            owner = owners.setdefault(value, rule)
            # A module may bind the same rule to several names, and then it is found several times.
            if owner is not rule:
                yield f"{_name(rule)}: {_name(owner)} has the {attribute} {value!r} already"


def _name(rule: IRule) -> str:
    """Return a rule's name for a sentence, even if the rule lacks key and id."""
    key = getattr(rule, "key", type(rule).__name__)
    return f"rule {key} ({getattr(rule, 'rule_id', 'without an id')})"


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _one_line(text: str) -> str:
    return " ".join(text.split())
