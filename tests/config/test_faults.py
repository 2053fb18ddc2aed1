"""The settings of what goes wrong at the practice gateway."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.faults import NO_FAULTS, Faults

CHANCES = (
    "refuse",
    "pending",
    "unanswered",
    "lost_requests",
    "failed_reads",
    "partial_fills",
    "fill_while_cancelled",
    "lost_events",
    "doubled_events",
)


def from_table(table: dict[str, Any]) -> Faults:
    """Return the faults that a table of a settings file sets."""
    return msgspec.convert(table, Faults)


class SettingsTests(SynchronousTestCase):
    """The table of faults in a settings file."""

    def test_by_default_there_are_no_faults(self) -> None:
        self.assertEqual(from_table({}), NO_FAULTS)
        self.assertEqual(set(msgspec.to_builtins(NO_FAULTS).values()), {0})

    def test_every_field_is_read(self) -> None:
        table = {
            **dict.fromkeys(CHANCES, 0.25),
            "slow_seconds": 2.5,
            "requests_per_minute": 200,
            "opening_half_again": True,
        }
        self.assertEqual(msgspec.to_builtins(from_table(table)), table)

    def test_a_chance_is_from_0_to_1(self) -> None:
        for name in CHANCES:
            for value in (0, 1, 0.5):
                from_table({name: value})
            for value in (-0.1, 1.1, "often", True):
                error = self.assertRaises(msgspec.ValidationError, from_table, {name: value})
                self.assertIn(name, str(error))

    def test_other_values_and_names_are_checked(self) -> None:
        for table in (
            {"slow_seconds": -1},
            {"slow_seconds": 601},
            {"requests_per_minute": -1},
            {"requests_per_minute": 0.5},
            {"opening_half_again": 1},
            {"refused": 0.5},
        ):
            self.assertRaises(msgspec.ValidationError, from_table, table)
