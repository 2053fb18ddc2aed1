"""The goals of riskd's broadcast beside other libraries."""

from __future__ import annotations

import statistics
from typing import Final, NamedTuple

from tests.benchmarks.outcome import Outcome, Sign, as_number, median
from tests.benchmarks.peer import PICOWS, RISKD, UVLOOP, WEBSOCKETS

CPU: Final = "CPU, us"
P50: Final = "p50, ms"
P99: Final = "p99, ms"
RATE: Final = "deliveries/s"
COMPLETE: Final = "complete"
"""The share of events that clients received."""


class Ratio(NamedTuple):
    """riskd's figure divided by a peer's: a cost at most ``limit``, a rate at least.

    :ivar load: such as ``60x10@100``: bursts a second, events a burst, clients; 0 is a flood.
    """

    load: str
    figure: str
    peer: str
    limit: float

    @property
    def sign(self) -> Sign:
        """How the ratio compares with the limit."""
        return ">=" if self.figure == RATE else "<="


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


def paired_ratio(outcome: Outcome, figure: str, load: str, one: str, other: str) -> float:
    """Return the median of each round's ratio, so that the machine's drift cancels out.

    It is NaN, which reaches no goal, if either peer measured nothing in any round.
    """
    pairs = zip(
        outcome.figures(figure, one, load), outcome.figures(figure, other, load), strict=True
    )
    return median(first / second for first, second in pairs)


def judge_ratios(outcome: Outcome) -> None:
    """Hold riskd against its peers, in each load that was measured."""
    for goal in RATIOS:
        if goal.load in outcome.tables[goal.figure][RISKD]:
            ratio = paired_ratio(outcome, goal.figure, goal.load, RISKD, goal.peer)
            name = f"divided by {goal.peer}, {goal.figure}, {goal.load}"
            outcome.judge(name, ratio, goal.sign, goal.limit)


def judge_completeness(outcome: Outcome) -> None:
    """Hold what riskd delivered in its worst round against all that it should."""
    for load, shares in outcome.tables[COMPLETE][RISKD].items():
        # A share is never NaN.
        outcome.judge(f"delivered, {load}", min(map(as_number, shares)), ">=", 1.0)


def reactor_notes(outcome: Outcome) -> list[str]:
    """Return which reactor costs less CPU, in a sentence or two."""
    ratios = {
        load: paired_ratio(outcome, CPU, load, UVLOOP, RISKD)
        for load in outcome.tables[CPU][UVLOOP]
    }
    each = ", ".join(f"{load} {ratio:.2f}" for load, ratio in ratios.items())
    winner = "epoll" if statistics.median(ratios.values()) >= 1 else "uvloop"
    return [f"CPU on asyncio with uvloop divided by epoll: {each}; the winner: {winner}."]
