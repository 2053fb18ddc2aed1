"""riskd's goals beside other libraries, and whether a run reaches them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tests.benchmarks.peer import PICOWS, RISKD, UVLOOP, WEBSOCKETS

Results = Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]
"""Figures by load, by peer, one of each repeat."""

CPU: Final = "CPU, us"
P50: Final = "p50, ms"
P99: Final = "p99, ms"
RATE: Final = "deliveries/s"
COMPLETE: Final = "complete"


class Ratio(NamedTuple):
    """riskd's figure divided by a peer's: a cost at most ``limit``, a rate at least.

    :ivar load: such as ``60x10@100``: bursts a second, events a burst, clients; 0 is a flood.
    """

    load: str
    figure: str
    peer: str
    limit: float

    def is_met(self, ratio: float) -> bool:
        """Return whether ``ratio`` reaches the goal."""
        return ratio >= self.limit if self.figure == RATE else ratio <= self.limit


RATIOS: Final = (
    Ratio("60x1@100", CPU, WEBSOCKETS, 0.90),
    Ratio("60x1@100", CPU, PICOWS, 1.25),
    Ratio("60x1@1000", CPU, WEBSOCKETS, 0.90),
    Ratio("60x1@1000", CPU, PICOWS, 1.15),
    Ratio("60x10@100", CPU, WEBSOCKETS, 0.25),
    Ratio("60x10@100", CPU, PICOWS, 0.30),
    Ratio("60x1@100", P99, WEBSOCKETS, 1.0),
    Ratio("60x1@100", P99, PICOWS, 1.35),
    Ratio("60x1@1000", P99, WEBSOCKETS, 1.0),
    Ratio("60x1@1000", P99, PICOWS, 1.35),
    Ratio("60x10@100", P99, WEBSOCKETS, 0.25),
    Ratio("60x10@100", P99, PICOWS, 0.30),
    Ratio("0x10@100", RATE, WEBSOCKETS, 10.0),
    Ratio("0x10@1000", RATE, WEBSOCKETS, 10.0),
)


def median(results: Results, load: str, peer: str, figure: str) -> float:
    """Return the median of all repeats."""
    return _median(each[figure] for each in results[load][peer])


def paired_ratio(results: Results, load: str, figure: str, one: str, other: str) -> float:
    """Return the median of each repeat's ratio, so that the machine's drift cancels out.

    It is NaN, which reaches no goal, if either peer measured nothing in any repeat.
    """
    pairs = zip(results[load][one], results[load][other], strict=True)
    return _median(first[figure] / second[figure] for first, second in pairs)


def _median(values: Iterable[float]) -> float:
    values = list(values)
    return math.nan if any(map(math.isnan, values)) else statistics.median(values)


def print_ratios(results: Results) -> None:
    """Print each measured goal beside its figure."""
    show(f"\n{'riskd divided by':32}{'load':14}{'ratio':>8}{'goal':>9}")
    for goal in RATIOS:
        if goal.load in results:
            ratio = paired_ratio(results, goal.load, goal.figure, RISKD, goal.peer)
            sign = ">=" if goal.figure == RATE else "<="
            name = f"{goal.peer}, {goal.figure}"
            print_goal(f"{name:32}{goal.load:14}", ratio, sign, goal.limit, goal.is_met(ratio))


def print_completeness(results: Results) -> None:
    """Print the share of events that riskd delivered in its worst repeat; the goal is all."""
    for load, peers in results.items():
        repeats = peers.get(RISKD, ())
        if repeats and COMPLETE in repeats[0]:
            least = min(each[COMPLETE] for each in repeats)
            print_goal(f"{'delivered':32}{load:14}", least, ">=", 1.0, least >= 1)


def print_goal(name: str, value: float, sign: str, limit: float, is_met: bool) -> None:
    """Print a figure beside its goal."""
    show(f"{name:46}{value:8.2f}{f'{sign} {limit:g}':>9}  {'PASS' if is_met else 'MISS'}")


def print_reactors(results: Results) -> None:
    """Print which reactor costs less CPU."""
    loads = [load for load in results if CPU in _any(results[load])]
    ratios = {load: paired_ratio(results, load, CPU, UVLOOP, RISKD) for load in loads}
    show("\nCPU on asyncio with uvloop divided by epoll:")
    show("  " + ", ".join(f"{load} {ratio:.2f}" for load, ratio in ratios.items()))
    show(f"  the winner: {'epoll' if statistics.median(ratios.values()) >= 1 else 'uvloop'}")


def print_table(results: Results, figures: Mapping[str, Callable[[float], str]]) -> None:
    """Print the medians, one table for each figure.

    :param figures: the format of each figure.
    """
    for figure, written in figures.items():
        loads = [load for load in results if figure in _any(results[load])]
        if loads:
            show(f"\n{figure:24}" + "".join(f"{load:>12}" for load in loads))
            for peer in results[loads[0]]:
                cells = (written(median(results, load, peer, figure)) for load in loads)
                show(f"{peer:24}" + "".join(f"{cell:>12}" for cell in cells))


def _any(peers: Mapping[str, Sequence[Mapping[str, Any]]]) -> Mapping[str, Any]:
    return next(iter(peers.values()))[0]


def show(line: str) -> None:
    """Print a line, now."""
    print(line, flush=True)  # noqa: T201
