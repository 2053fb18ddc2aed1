"""The one entry of all benchmarks: goals, files, comparisons, and the page."""

from __future__ import annotations

import math
import re
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.benchmarks import __main__ as entry
from tests.benchmarks.alone import outcome_of
from tests.benchmarks.catalogue import BENCHMARKS
from tests.benchmarks.document import begin_marker, documented, end_marker
from tests.benchmarks.outcome import Goal, Options, Outcome, percentile, spread
from tests.benchmarks.results import Run, read_run, write_run
from tests.benchmarks.tables import cell, comparison_lines, goal_lines, outcome_lines, written
from tests.support.directories import temporary_directory


def outcome(*values: float, limit: float = 10.0) -> Outcome:
    """Return an outcome of one table with one figure and its goal."""
    made = Outcome(notes=["In the shade."])
    made.add("cost", "riskd", "CPU, us", *values)
    made.judge("CPU", made.median("cost", "riskd", "CPU, us"), "<=", limit)
    return made


def run_of(**benchmarks: Outcome) -> Run:
    return Run("a machine", "2026-11-29 12:00", benchmarks)


class OutcomeTests(SynchronousTestCase):
    """Figures and goals."""

    def test_a_goal_is_reached_or_missed(self) -> None:
        for sign, met in (
            ("<", [True, False, False]),
            ("<=", [True, True, False]),
            (">=", [False, True, True]),
        ):
            self.assertEqual([Goal("", value, sign, 2).is_met for value in (1, 2, 3)], met, sign)

    def test_what_was_not_measured_reaches_no_goal(self) -> None:
        for value in (math.nan, None):
            self.assertFalse(any(Goal("", value, sign, 2).is_met for sign in ("<", "<=", ">=")))

    def test_one_round_without_a_figure_leaves_no_median(self) -> None:
        made = outcome(1.0, math.nan, 2.0)
        self.assertTrue(math.isnan(made.median("cost", "riskd", "CPU, us")))
        self.assertFalse(made.goals[0].is_met)

    def test_outcomes_share_nothing(self) -> None:
        outcome(1.0)
        self.assertEqual((Outcome().tables, Outcome().goals, Outcome().notes), ({}, [], []))

    def test_the_command_line_outdoes_a_benchmarks_own_numbers(self) -> None:
        self.assertEqual((Options().rounds_or(5, 2), Options().seconds_or(9, 3)), (5, 9))
        self.assertEqual(
            (Options(quick=True).rounds_or(5, 2), Options(quick=True).seconds_or(9, 3)), (2, 3)
        )
        given = Options(quick=True, rounds=7, seconds=1.5)
        self.assertEqual((given.rounds_or(5, 2), given.seconds_or(9, 3)), (7, 1.5))

    def test_a_spread_is_half_the_distance_of_the_quartiles(self) -> None:
        self.assertEqual(spread([90.0, 95, 100, 110, 300]), 0.075)
        for values in ([1.0, 2.0], [0.0, 0.0, 0.0], [1.0, math.nan, 2.0]):
            self.assertTrue(math.isnan(spread(values)), values)

    def test_a_percentile_is_one_of_the_values(self) -> None:
        self.assertEqual(percentile(range(100), 0.99), 99)
        self.assertTrue(math.isnan(percentile([], 0.5)))


class TableTests(SynchronousTestCase):
    """Outcomes as text."""

    def test_figures_have_three_digits(self) -> None:
        shown = {
            0: "0",
            3: "3",
            12345: "12,345",
            1234.5: "1,234",
            12.345: "12.3",
            0.012345: "0.0123",
        }
        self.assertEqual({value: written(value) for value in shown}, shown)
        self.assertEqual(written(math.nan), "-")

    def test_a_cell_is_the_median_with_its_spread(self) -> None:
        self.assertEqual((cell([2.0]), cell([90.0, 100, 110])), ("2", "100 ±5%"))

    def test_a_table_leaves_out_what_was_not_measured(self) -> None:
        made = Outcome(tables={"p50, ms": {"riskd": {}, "picows": {}}, "CPU": {}})
        made.add("p50, ms", "picows", "@1", 0.5)
        made.add("p50, ms", "bare", "@10", 1.25)
        self.assertEqual(
            outcome_lines(made), ["p50, ms     @1   @10", "picows   0.500", "bare            1.25"]
        )

    def test_all_goals_are_in_one_table_and_so_are_failures(self) -> None:
        lines = goal_lines(
            run_of(codec=outcome(1.0), soak=outcome(11.0), link=Outcome(failure="no"))
        )
        self.assertEqual(
            [line.split() for line in lines[1:]],
            [
                ["codec", "CPU", "1", "<=", "10", "PASS"],
                ["soak", "CPU", "11", "<=", "10", "MISS"],
                ["link", "comes", "to", "its", "end", "no", "MISS"],
            ],
        )

    def test_without_goals_there_is_no_table_of_them(self) -> None:
        self.assertEqual(goal_lines(run_of(codec=Outcome())), [])

    def test_a_run_is_met_if_all_goals_are_and_nothing_failed(self) -> None:
        self.assertTrue(run_of(codec=outcome(1.0)).is_met)
        self.assertFalse(run_of(codec=outcome(1.0), soak=outcome(11.0)).is_met)
        self.assertFalse(run_of(codec=outcome(1.0), soak=Outcome(failure="no")).is_met)


class ComparisonTests(SynchronousTestCase):
    """Two runs side by side."""

    def compared(self, old: Outcome, new: Outcome) -> list[str]:
        return comparison_lines(run_of(codec=old), run_of(codec=new))[1:]

    def test_a_change_beyond_both_spreads_is_marked(self) -> None:
        (line,) = self.compared(outcome(90.0, 100, 110), outcome(180.0, 200, 220))
        self.assertEqual(line.split(": ")[:3], ["codec", "cost", "riskd"])
        self.assertEqual(line.split()[-7:], ["100", "±5%", "200", "±5%", "2", "±10%", "changed"])

    def test_a_change_within_them_is_not(self) -> None:
        (line,) = self.compared(outcome(90.0, 100, 110), outcome(98.0, 108, 118))
        self.assertEqual(line.split()[-2:], ["1.08", "±10%"])

    def test_figures_of_one_run_alone_are_shown(self) -> None:
        old, new = outcome(1.0), Outcome()
        new.add("cost", "picows", "CPU, us", 2.0)
        self.assertEqual([line.split()[-1] for line in self.compared(old, new)], ["new", "gone"])

    def test_a_ratio_to_nothing_is_none(self) -> None:
        (line,) = self.compared(outcome(0.0), outcome(1.0))
        self.assertEqual(line.split()[-3:], ["0", "1", "-"])


class PageTests(SynchronousTestCase):
    """The figures in the page."""

    def test_figures_replace_those_between_the_markers(self) -> None:
        page = (
            f"# Title\n\nBefore.\n\n{begin_marker('soak')}\nold\n{end_marker('soak')}\n\nAfter.\n"
        )
        made = documented(page, run_of(soak=outcome(1.0)))
        self.assertTrue(made.startswith("# Title\n\nBefore.\n\n<!-- figures of soak"), made)
        self.assertTrue(made.endswith("<!-- end of soak -->\n\nAfter.\n"), made)
        self.assertNotIn("old", made)
        for line in (
            "2026-11-29 12:00, a machine:",
            "    riskd        1",
            "    In the shade.",
            "    CPU        1  <= 10  PASS",
        ):
            self.assertIn(f"\n{line}\n", made)
        self.assertEqual(documented(made, run_of(soak=outcome(1.0))), made)

    def test_a_benchmark_without_markers_gets_a_section(self) -> None:
        made = documented("# Title\n", run_of(soak=outcome(1.0)))
        self.assertTrue(made.startswith(f"# Title\n\n## soak\n\n{begin_marker('soak')}\n"), made)

    def test_other_benchmarks_stay(self) -> None:
        page = documented("# Title\n", run_of(soak=outcome(1.0), codec=outcome(2.0)))
        made = documented(page, run_of(codec=outcome(3.0)))
        self.assertIn("    riskd        1\n", made)
        self.assertNotIn("    riskd        2\n", made)

    def test_a_marker_without_its_end_is_refused(self) -> None:
        page = f"{begin_marker('soak')}\n"
        with self.assertRaisesRegex(SystemExit, "no line '<!-- end of soak -->' after"):
            documented(page, run_of(soak=outcome(1.0)))


class EntryTests(SynchronousTestCase):
    """``python -m tests.benchmarks``."""

    def setUp(self) -> None:
        self.said: list[str] = []
        self.measured: list[tuple[str, Options]] = []
        self.values = dict.fromkeys(BENCHMARKS, 1.0)
        self.patch(entry, "show", self.said.extend)

        def measure(name: str, options: Options) -> Outcome:
            self.measured.append((name, options))
            return outcome(self.values[name])

        self.patch(entry, "measure_alone", measure)

    def test_without_a_name_all_are_measured(self) -> None:
        self.assertEqual(entry.main([]), 0)
        self.assertEqual(self.measured, [(name, Options()) for name in BENCHMARKS])
        verdicts = [line.split()[0] for line in self.said if line.endswith("PASS")]
        self.assertEqual(verdicts, list(BENCHMARKS))

    def test_options_reach_those_that_are_named(self) -> None:
        entry.main(["soak", "codec", "--quick", "--rounds", "3", "--seconds", "9"])
        options = Options(quick=True, rounds=3, seconds=9.0)
        self.assertEqual(self.measured, [("soak", options), ("codec", options)])

    def test_a_missed_goal_is_the_exit_status(self) -> None:
        self.values["soak"] = 11.0
        self.assertEqual(entry.main(["codec", "soak"]), 1)
        self.assertTrue(self.said[-1].endswith("MISS"), self.said)

    def test_a_name_that_is_none_is_refused(self) -> None:
        with redirect_stderr(StringIO()) as said, self.assertRaises(SystemExit):
            entry.main(["sock"])
        self.assertIn("no benchmark sock, only broadcast, ", said.getvalue())

    def test_every_figure_of_every_round_is_in_the_file(self) -> None:
        path, made = temporary_directory(self) / "run.json", outcome(1.0, math.nan, 3.0)
        write_run(path, run_of(soak=made))
        read = read_run(path)
        self.assertEqual(read.benchmarks["soak"].tables["cost"]["riskd"]["CPU, us"], [1, None, 3])
        self.assertEqual((read.machine, read.is_met), ("a machine", False))

    def test_two_files_are_compared(self) -> None:
        paths = [temporary_directory(self) / name for name in ("old", "new")]
        for path, value in zip(paths, (1.0, 3.0), strict=True):
            self.values["soak"] = value
            entry.main(["soak", "--json", str(path)])
        self.said.clear()
        self.assertEqual(entry.main(["--compare", *map(str, paths)]), 0)
        self.assertEqual(self.said[1].split()[-3:], ["1", "3", "3"])

    def test_a_file_is_put_into_the_page(self) -> None:
        page, path = (temporary_directory(self) / name for name in ("page", "run.json"))
        page.write_text("# Title\n")
        self.patch(entry, "PAGE", page)
        entry.main(["soak", "--json", str(path)])
        self.assertEqual(entry.main(["--document", str(path)]), 0)
        self.assertIn(begin_marker("soak"), page.read_text())

    def test_a_file_that_is_none_is_refused(self) -> None:
        path = temporary_directory(self) / "run.json"
        for content in (None, "", "{}", '{"benchmarks": 1}'):
            if content is not None:
                path.write_text(content)
            with self.assertRaisesRegex(SystemExit, f"{re.escape(str(path))}.*--json"):
                read_run(path)


class ProcessTests(SynchronousTestCase):
    """What a benchmark's process has printed."""

    def test_an_outcome_follows_whatever_else_was_printed(self) -> None:
        printed = b"listening\n\0" + msgspec.json.encode(outcome(1.0, math.nan))
        made = outcome_of(printed, 0)
        self.assertEqual(made.tables["cost"]["riskd"]["CPU, us"], [1.0, None])
        self.assertEqual((made.goals[0].is_met, made.failure), (False, ""))

    def test_a_process_that_fails_is_a_failure(self) -> None:
        self.assertIn("exit status 1", outcome_of(b"", 1).failure)
        self.assertIn(
            "exit status 0, standard error has the reason: oh", outcome_of(b"oh\n", 0).failure
        )
        # The outcome of one that failed afterwards may be half of it.
        self.assertIn("exit status -9", outcome_of(b"\0{", -9).failure)


class CatalogueTests(SynchronousTestCase):
    """What the catalogue names."""

    def test_each_module_measures(self) -> None:
        directory = Path(__file__).parent
        for name, one in BENCHMARKS.items():
            source = (directory / f"{one.module}.py").read_text()
            self.assertIn("\ndef benchmark(options: Options) -> Outcome:", source, name)
