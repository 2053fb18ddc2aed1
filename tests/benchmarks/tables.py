"""Outcomes as text: tables of medians, goals, and two runs side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tests.benchmarks.outcome import Goal, Outcome, Table, Value, median, spread
from tests.benchmarks.results import Run

_GOAL_HEADS: Final = ("benchmark", "goal", "figure", "limit", "")
_COMPARISON_HEADS: Final = ("figure", "old", "new", "new / old", "")


def written(value: float) -> str:
    """Return a figure with three digits or more; whole numbers as they are."""
    if math.isnan(value):
        return "-"
    if value == int(value):
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(digits, 0), 6)}f}"


def cell(values: Sequence[Value]) -> str:
    """Return the median, and the spread of three rounds or more."""
    share = spread(values)
    return written(median(values)) + (f" ±{share:.0%}" if share > 0 else "")


def aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield rows of cells as lines: the first column to the left, the others to the right."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *rest in table:
        cells = [first.ljust(widths[0])]
        cells += [one.rjust(width) for one, width in zip(rest, widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()


def table_lines(title: str, table: Table) -> list[str]:
    """Return a table of medians; rows and columns without a figure are left out."""
    columns = list(dict.fromkeys(column for cells in table.values() for column in cells))
    rows = [[title, *columns]]
    for row, cells in table.items():
        if cells:
            rows.append([row, *(cell(cells[each]) if each in cells else "" for each in columns)])
    return list(aligned(rows)) if columns else []


def outcome_lines(outcome: Outcome) -> list[str]:
    """Return an outcome's tables, notes and failure, without its goals."""
    lines: list[str] = []
    for title, table in outcome.tables.items():
        made = table_lines(title, table)
        lines += [*made, ""] if made else []
    lines += outcome.notes
    if outcome.failure:
        lines.append(f"failed: {outcome.failure}")
    while lines and not lines[-1]:
        lines.pop()
    return lines


def verdict(is_met: bool) -> str:
    """Return PASS or MISS."""
    return "PASS" if is_met else "MISS"


def goal_cells(goal: Goal) -> tuple[str, str, str, str]:
    """Return a goal, its figure, its limit, and whether it is reached."""
    value = median([goal.value])
    return goal.name, written(value), f"{goal.sign} {written(goal.limit)}", verdict(goal.is_met)


def goal_lines(run: Run) -> list[str]:
    """Return one table of all goals and of the benchmarks that failed, if there are any."""
    rows: list[Sequence[str]] = [_GOAL_HEADS]
    rows += [(name, *goal_cells(goal)) for name, goal in run.goals]
    for name, outcome in run.benchmarks.items():
        if outcome.failure:
            rows.append((name, "comes to its end", "no", "", verdict(False)))
    return list(left_aligned(rows, columns=2)) if len(rows) > 1 else []


def left_aligned(rows: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    """Yield rows of cells as lines with the first ``columns`` to the left."""
    widths = [max(len(row[number]) for row in rows) for number in range(columns)]
    joined = (
        (
            "  ".join(one.ljust(width) for one, width in zip(row, widths, strict=False)),
            *row[columns:],
        )
        for row in rows
    )
    return aligned(joined)


def comparison_lines(old: Run, new: Run) -> list[str]:
    """Return each figure of both runs with its ratio and spread.

    A change that is larger than both spreads together is marked; so is a figure that only one run has.
    """
    before, after = dict(_figures(old)), dict(_figures(new))
    rows: list[Sequence[str]] = [_COMPARISON_HEADS]
    for name, values in after.items():
        if name not in before:
            rows.append((name, "", cell(values), "", "new"))
            continue
        ratio, margin = compared(before[name], values)
        shown = written(ratio) + ("" if math.isnan(margin) else f" ±{margin:.0%}")
        is_change = abs(ratio - 1) > margin
        rows.append(
            (name, cell(before[name]), cell(values), shown, "changed" if is_change else "")
        )
    rows += [
        (name, cell(values), "", "", "gone")
        for name, values in before.items()
        if name not in after
    ]
    return list(aligned(rows))


def compared(old: Sequence[Value], new: Sequence[Value]) -> tuple[float, float]:
    """Return the ratio of the medians, and the sum of the spreads."""
    before = median(old)
    ratio = median(new) / before if before else math.nan
    return ratio, spread(old) + spread(new)


def _figures(run: Run) -> Iterator[tuple[str, list[Value]]]:
    for name, outcome in run.benchmarks.items():
        for title, table in outcome.tables.items():
            for row, cells in table.items():
                for column, values in cells.items():
                    yield ": ".join(filter(None, (name, title, row, column))), values
