"""The figures in docs/benchmarks.md, from the file of a run.

Each benchmark's figures stand between two markers, which are comments; a benchmark without any gets a section at
the end of the page.  The text around them is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.benchmarks.results import Run
from tests.benchmarks.tables import aligned, goal_cells, outcome_lines

PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"

_HEADS: Final = ("goal", "figure", "limit", "")


def begin_marker(name: str) -> str:
    """Return the line before a benchmark's figures."""
    return f"<!-- figures of {name}: python -m tests.benchmarks --document FILE -->"


def end_marker(name: str) -> str:
    """Return the line after a benchmark's figures."""
    return f"<!-- end of {name} -->"


def documented(page: str, run: Run) -> str:
    """Return ``page`` with the figures of a run in place of older ones.

    :raises SystemExit: a benchmark's first marker has no second one.
    """
    for name in run.benchmarks:
        begin, end = begin_marker(name), end_marker(name)
        made = "\n".join([begin, "", *_block(run, name), "", end])
        before, found, rest = page.partition(begin)
        if not found:
            page = f"{page.rstrip()}\n\n## {name}\n\n{made}\n"
            continue
        _, is_closed, after = rest.partition(end)
        if not is_closed:
            raise SystemExit(f"the page has no line {end!r} after {begin!r}")
        page = before + made + after
    return page


def _block(run: Run, name: str) -> Iterable[str]:
    outcome = run.benchmarks[name]
    yield f"{run.began}, {run.machine}:"
    yield ""
    lines = outcome_lines(outcome)
    if outcome.goals:
        lines += ["", *aligned([_HEADS, *map(goal_cells, outcome.goals)])]
    for line in lines:
        yield f"    {line}" if line else ""
