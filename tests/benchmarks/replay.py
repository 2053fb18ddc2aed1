"""The speed of the pure core: a year of one account without a reactor and a disk.

Run as ``python -m tests.benchmarks.replay [DAYS]``.  It times applying events and evaluating rules, not
making up the recording, in CPU time.  It replays the year twice, and both runs must decide the same.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import NamedTuple

from tests.support.simulated_days import Decided, RulesUnderTest, settings, trading_days

DAYS = 250


class Run(NamedTuple):
    """The figures of one replay."""

    events: int
    seconds: float
    decided: list[Decided]


def run(days: int) -> Run:
    """Replay a number of days."""
    replay = RulesUnderTest(settings())
    events, seconds = 0, 0.0
    for moments in trading_days(days):
        begun = time.process_time()
        replay.handle(moments)
        seconds += time.process_time() - begun
        events += len(moments)
    return Run(events, seconds, replay.decided)


def main(days: int) -> None:
    """Print the speed and the decisions."""
    first, second = run(days), run(days)
    for result in (first, second):
        rate = result.events / result.seconds
        print(  # noqa: T201
            f"{days} days, {result.events} events in {result.seconds:.2f} s: {rate:,.0f} events/s"
        )
    for rule_id, count in sorted(Counter(one.rule_id for one in first.decided).items()):
        print(f"  {rule_id}: {count} decisions")  # noqa: T201
    if first.decided != second.decided:
        raise SystemExit("The two replays decided differently")
    print("Both replays decided the same")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else DAYS)
