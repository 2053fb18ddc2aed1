"""What every benchmark takes and returns.

A benchmark is a module with a function ``benchmark(options: Options) -> Outcome`` and a line in
:mod:`tests.benchmarks.catalogue`.  It prints nothing but its progress: tables, goals, files and comparisons are
made from the outcome.
"""

from __future__ import annotations

import math
import operator
import statistics
import sys
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

Sign = Literal["<", "<=", ">="]
Value = float | None
"""A figure of one round; JSON has null for NaN."""

Table = dict[str, dict[str, list[Value]]]
"""By row and column, the figures of all rounds."""

_COMPARISONS: Final = {"<": operator.lt, "<=": operator.le, ">=": operator.ge}


class Options(msgspec.Struct, frozen=True):
    """What the command line asks of every benchmark.

    :ivar quick: smaller loads and fewer rounds.
    :ivar rounds: how many interleaved rounds; ``None`` for the benchmark's own number.
    :ivar seconds: how long a benchmark lasts that could last any time; ``None`` for its own time.
    """

    quick: bool = False
    rounds: int | None = None
    seconds: float | None = None

    def rounds_or(self, whole: int, quick: int) -> int:
        """Return the number of rounds, by default ``whole``, or ``quick`` if quick."""
        return self.rounds or (quick if self.quick else whole)

    def seconds_or(self, whole: float, quick: float) -> float:
        """Return the seconds, by default ``whole``, or ``quick`` if quick."""
        return self.seconds or (quick if self.quick else whole)


class Goal(msgspec.Struct, frozen=True):
    """A figure beside its limit."""

    name: str
    value: Value
    sign: Sign
    limit: float

    @property
    def is_met(self) -> bool:
        """Whether the figure reaches the goal; what was not measured does not."""
        met: bool = _COMPARISONS[self.sign](as_number(self.value), self.limit)
        return met


class Outcome(msgspec.Struct):
    """What a benchmark has measured.

    :ivar tables: by title.
    :ivar notes: sentences for below the tables.
    :ivar failure: why there is no more than this; empty if the benchmark has come to its end.
    """

    tables: dict[str, Table] = {}
    goals: list[Goal] = []
    notes: list[str] = []
    failure: str = ""

    def add(self, table: str, row: str, column: str, *values: float) -> None:
        """Add the figures of one round or more."""
        rows = self.tables.setdefault(table, {})
        rows.setdefault(row, {}).setdefault(column, []).extend(values)

    def figures(self, table: str, row: str, column: str) -> list[float]:
        """Return a figure of each round."""
        return [as_number(value) for value in self.tables[table][row][column]]

    def median(self, table: str, row: str, column: str) -> float:
        """Return the median of all rounds; NaN if any of them has measured nothing."""
        return median(self.figures(table, row, column))

    def judge(self, name: str, value: float, sign: Sign, limit: float) -> None:
        """Add a goal."""
        self.goals.append(Goal(name, value, sign, limit))


def as_number(value: Value) -> float:
    """Return a figure as a number; NaN if it was not measured."""
    return math.nan if value is None else value


def median(values: Iterable[Value]) -> float:
    """Return the median; NaN if any value is."""
    numbers = list(map(as_number, values))
    return math.nan if any(map(math.isnan, numbers)) else statistics.median(numbers)


def spread(values: Iterable[Value]) -> float:
    """Return half the distance between the quartiles, as a share of the median.

    It is NaN for fewer than three values, and where the median is 0.
    """
    numbers = list(map(as_number, values))
    middle = median(numbers)
    if len(numbers) < 3 or math.isnan(middle) or not middle:
        return math.nan
    first, _, third = statistics.quantiles(numbers, n=4, method="inclusive")
    return (third - first) / 2 / abs(middle)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which ``share`` of all values are; NaN for none."""
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)] if ordered else math.nan


def show_progress(line: str) -> None:
    """Say on standard error what is measured now."""
    print(f"  {line}", file=sys.stderr, flush=True)  # noqa: T201
