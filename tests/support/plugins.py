"""Plugins of a user, for as long as a test runs."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from twisted.plugin import pluginPackagePaths
from twisted.trial.unittest import SynchronousTestCase

import twisted.plugins
from tests.support.directories import temporary_directory

RULE = """
from twisted.plugin import IPlugin
from zope.interface import alsoProvides
from riskd.rules.interface import NOTHING, Kind, Rule
from riskd.rules.settings import RuleSettings

class Settings(RuleSettings, frozen=True, kw_only=True):
    limit: int = 1

def check(state, settings, trigger):
    return NOTHING

def rule(rule_id="RULE-900", key="mine", settings=Settings, listens=frozenset({Kind.TRADE})):
    made = Rule(rule_id, key, settings, listens, check)
    alsoProvides(made, IPlugin)
    return made
"""
"""The beginning of a plugin, whose function ``rule`` makes a valid rule."""


class PluginFolder:
    """A directory on Python's path with a folder ``twisted/plugins`` in it, as users make one."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.directory = temporary_directory(case)
        self._folder = self.directory / "twisted" / "plugins"
        self._folder.mkdir(parents=True)
        self._case = case
        case.patch(sys, "path", [*sys.path, str(self.directory)])
        # As twisted.plugins does when it is imported.
        paths = [*twisted.plugins.__path__, *pluginPackagePaths("twisted.plugins")]
        case.patch(twisted.plugins, "__path__", list(dict.fromkeys(paths)))

    def add(self, name: str, code: str) -> Path:
        """Write a plugin; ``name`` may be that of a module in a package, such as ``mine/rules``."""
        path = self._folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")
        importlib.invalidate_caches()
        top = name.partition("/")[0]
        self._case.addCleanup(vars(twisted.plugins).pop, top, None)
        self._case.addCleanup(self._forget, f"twisted.plugins.{top}")
        return path

    def _forget(self, module: str) -> None:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{module}.")]:
            del sys.modules[name]
