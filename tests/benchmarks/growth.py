"""How costs grow with accounts, positions, rows of the journal and days: none faster than its work, n log n.

Each size is a daemon in a process of its own (:mod:`tests.benchmarks.growth_daemon`).  Accounts have ten contracts each,
of which all are quoted four times a second; all accounts have the same ones, and each holds a position.  CPU is that of
a second; of a start, until the broker's state is known; of a publication, from a change until the copy has it; and
from the event of a position that is too large to the call that closes one.  Memory is what the daemon adds to its
process.

An exponent is that of the growth between a size and the one before: 1 is in proportion, 2 is quadratic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from tests.benchmarks.growth_daemon import BREACH, CPU, MEMORY, PUBLICATION, START
from tests.benchmarks.outcome import Options, Outcome, show_progress
from tests.benchmarks.processes import Process

SIZES: Final[Mapping[str, Sequence[int]]] = {
    "accounts": (1, 10, 100, 1_000),
    "positions": (1, 10, 100, 1_000, 10_000),
    "rows": (1, 100, 10_000, 1_000_000),
    "days": (1, 20, 400),
}
QUICK_SIZES: Final[Mapping[str, Sequence[int]]] = {
    "accounts": (1, 10, 100),
    "positions": (1, 10, 100),
    "rows": (1, 100, 10_000),
    "days": (1, 20, 400),
}
FIGURES: Final = (CPU, MEMORY, START, PUBLICATION, BREACH)

_START_SECONDS: Final = 900.0


def benchmark(options: Options) -> Outcome:
    """Measure each size in each round."""
    outcome = Outcome()
    sizes = QUICK_SIZES if options.quick else SIZES
    for number in range(options.rounds_or(5, 1)):
        for kind, each in sizes.items():
            for size in each:
                show_progress(f"round {number + 1}: {kind}, {size:,}")
                with Process("growth_daemon", kind, str(size), core=None) as daemon:
                    for figure, value in daemon.answer(_START_SECONDS).items():
                        outcome.add(kind, f"{size:,}", figure, value)
    for kind, each in sizes.items():
        judge(outcome, kind, each)
    return outcome


def judge(outcome: Outcome, kind: str, sizes: Sequence[int]) -> None:
    """Add the exponents of a kind, and hold its growth between all neighbours against n log n."""
    for figure in FIGURES:
        shares = []
        for smaller, larger in pairwise(sizes):
            least, most = (outcome.median(kind, f"{size:,}", figure) for size in (smaller, larger))
            power = exponent(most / least, larger / smaller)
            outcome.add(f"{kind}, exponent", f"{smaller:,} to {larger:,}", figure, power)
            shares.append(most / least / allowed(smaller, larger))
        outcome.judge(f"{kind}, {figure}: growth / n log n", max(shares), "<=", 1.0)


def exponent(times: float, sizes: float) -> float:
    """Return the power of the size's growth that a cost has grown by."""
    return math.log(times) / math.log(sizes)


def allowed(smaller: int, larger: int) -> float:
    """Return how many times as much a larger size may cost: n log n."""
    return larger * math.log(2 * larger) / (smaller * math.log(2 * smaller))
