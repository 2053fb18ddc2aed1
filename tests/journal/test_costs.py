"""What a write and a publication cost, in calls of SQLite and of the file system."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from riskd.model.account import AccountState, apply
from riskd.model.equity import EquityMark
from riskd.testing import make_event
from tests.support.journal import NOON, StoreTestCase, full_state


def mark_of(account_id: int) -> EquityMark:
    return EquityMark(account_id, Decimal(50000), Decimal(50010), Decimal(10), Decimal(12))


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

    def test_the_figures_of_a_minute_are_written_once(self) -> None:
        other = AccountState(account_id=456)
        marks = [mark_of(123), mark_of(456)]
        for seconds, accounts, written in (
            (1, [0], 1),
            (2, [0], 0),
            (3, [0, 1], 1),
            (4, [0, 1], 0),
            (61, [0, 1], 2),
            (62, [0, 1], 0),
            # The clock was set back: SQLite keeps the row that is there.
            (5, [0], 1),
        ):
            self.state = apply(
                self.state, make_event("GatewayUserPosition", {"id": 1, "size": 9 + seconds})
            )
            statements = self.statements(
                lambda at=NOON + timedelta(seconds=seconds), chosen=accounts: self.store.write(
                    [self.state, other],
                    "practice",
                    at,
                    clock_offset="0.0",
                    marks=[marks[each] for each in chosen],
                )
            )
            self.assertEqual(statements.count("INSERT OR IGNORE INTO main.equity"), written)


class PublicationTests(CostTestCase):
    """A copy of an account."""

    def test_its_file_is_opened_written_and_renamed_once(self) -> None:
        names = ("open", "write", "fsync", "close", "fstat", "stat", "lstat", "fchmod", "replace")
        self.assertEqual(
            self.calls(self.store.publish, *names),
            [
                *("open", "write", "fchmod", "fsync", "fstat", "close", "replace"),
                # The directory.
                *("open", "fsync", "close"),
            ],
        )
        self.assertEqual(self.calls(self.store.publish, *names), ["stat"])
