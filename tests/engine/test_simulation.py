"""The simulator of trading days: some days of it, and that it would notice a fault.

The other days are played by hand; see docs/simulation.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import SystemRandom

from twisted.trial.unittest import SynchronousTestCase

import tests.simulation
from riskd.rules.builtin import max_contracts
from tests.simulation.day import plan_of, play
from tests.simulation.runs import failure_text, known_seeds, play_day, play_days
from tests.support.directories import temporary_directory

FIXED = (101, 103, 112)
"""Days that have each table of rules, quiet and bad brokers, and both gateways."""

FAILED = Path(tests.simulation.__file__).with_name("failed_seeds.txt")
CORES = min(os.cpu_count() or 1, 4)


def test_days_pass_without_a_violation() -> None:
    """A function: it takes a minute on all cores, which one test runner is enough for."""
    fresh = SystemRandom().randrange(10**9, 10**10)
    print(f"a fresh day: python -m tests.simulation --seed {fresh}")  # noqa: T201
    digests: dict[int, str] = {}
    failures: list[str] = []
    for report in play_days([*FIXED, *known_seeds(FAILED), fresh], CORES, seconds=20):
        result = report.result
        digests[result.seed] = result.digest
        if result.violation is not None:
            failures.append(failure_text(report))
        elif result.fills < 200 or result.quotes < 3000:
            failures.append(f"seed {result.seed}: {result.fills} fills, {result.quotes} quotes")
    assert not failures, "\n".join(failures)
    # A seed is the same day in another process.
    (again,) = play_days(FIXED[:1], 1, seconds=0)
    assert again.result.digest == digests[FIXED[0]]


class DaysTests(SynchronousTestCase):
    def test_the_fixed_days_have_all_tables_of_rules_and_both_gateways(self) -> None:
        plans = [plan_of(seed) for seed in FIXED]
        self.assertEqual(len({table for plan in plans for table in plan.rules}), 5)
        self.assertEqual({plan.is_networked for plan in plans}, {False, True})
        self.assertIn({}, [plan.habits for plan in plans])

    def test_days_in_a_file_of_progress_are_not_played_again(self) -> None:
        progress = temporary_directory(self) / "progress"

        def run(days: int) -> str:
            command = [sys.executable, "-m", "tests.simulation", "--seed", str(FIXED[1])]
            more = ["--days", str(days), "--jobs", "1", "--progress", str(progress)]
            return subprocess.run(
                [*command, *more], capture_output=True, text=True, check=True
            ).stdout

        self.assertIn("1 days, 0 with a violation", run(1))
        played = progress.read_bytes()
        self.assertIn("1 days, 0 with a violation", run(1))
        self.assertEqual(progress.read_bytes(), played)


class BrokenTests(SynchronousTestCase):
    """A rule that sees no breach."""

    def setUp(self) -> None:
        self.patch(max_contracts, "_count", lambda _state, _settings: 0)

    def test_the_fault_is_found_and_its_trace_is_short(self) -> None:
        seed = FIXED[1]
        report = play_day(seed, seconds=10)
        violation = report.result.violation
        assert violation is not None
        self.assertEqual(violation.kind, "held RULE-001")
        self.assertLess(len(report.trace), violation.at_act)
        self.assertLessEqual(len(report.trace), 10)
        again = play(plan_of(seed), report.trace).violation
        assert again is not None
        self.assertEqual(again.kind, violation.kind)
        text = failure_text(report)
        self.assertIn(f"seed {seed}: held RULE-001", text)
        self.assertIn("    trade_at_the_market(", text)
