"""What a write and a publication cost, in calls of SQLite and of the file system."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from riskd.model.account import apply
from riskd.testing import make_event
from tests.support.journal import NOON, StoreTestCase, full_state


class CostTestCase(StoreTestCase):
    """A journal that has a state, and a list of what is called."""

    def setUp(self) -> None:
        super().setUp()
        self.state = full_state()
        self.number = 0
        self.write_position()
        self.store.publish()
        self.write_position()

    def write_position(self) -> None:
        """Write a state in which one position has another size."""
        self.number += 1
        self.state = apply(
            self.state, make_event("GatewayUserPosition", {"id": 1, "size": 2 + self.number})
        )
        at = NOON + timedelta(seconds=self.number)
        self.assertTrue(self.store.write([self.state], "practice", at, clock_offset="0.5"))

    def statements(self, act: Callable[[], object]) -> list[str]:
        """Return the beginnings of the statements that ``act`` lets SQLite execute."""
        found: list[str] = []
        self.store._journal.set_trace_callback(found.append)
        act()
        self.store._journal.set_trace_callback(None)
        return [" ".join(each.split(" (")[0].split()[:5]) for each in found]

    def calls(self, act: Callable[[], object], *names: str) -> list[str]:
        """Return the names of the functions of :mod:`os` that ``act`` calls, of ``names``."""
        called: list[str] = []

        def counted(name: str) -> Callable[..., Any]:
            real = getattr(os, name)

            def call(*arguments: Any, **choices: Any) -> Any:
                called.append(name)
                return real(*arguments, **choices)

            return call

        patches = [self.patch(os, name, counted(name)) for name in names]
        act()
        for patch in patches:
            patch.restore()
        return called


class WriteTests(CostTestCase):
    """One position of an account has changed."""

    def test_the_files_are_looked_at_once_before_and_what_it_wrote_once_after(self) -> None:
        calls = self.calls(self.write_position, "stat", "lstat")
        self.assertEqual(calls, ["lstat"] * 5)

    def test_its_statements_are_in_one_transaction(self) -> None:
        self.assertEqual(
            self.statements(self.write_position),
            [
                "BEGIN IMMEDIATE",
                "PRAGMA data_version",
                "INSERT OR REPLACE INTO positions",
                *["INSERT OR REPLACE INTO facts"] * 2,
                "COMMIT",
            ],
        )
