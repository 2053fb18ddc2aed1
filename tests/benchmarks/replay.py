"""How fast the pure core is: a year of one account, replayed without a reactor and without a disk.

Run as ``python -m tests.benchmarks.replay [DAYS]``.  Applying and judging are timed, making up the
recording is not; CPU time counts, as others may use the machine, too.  The year is replayed twice, and
both times the same must be decided.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import NamedTuple

from tests.support.simulated_days import Decided, RulesUnderTest, settings, trading_days

DAYS = 250


class Run(NamedTuple):
    """What a replay came to."""

    events: int
    seconds: float
    decided: list[Decided]


def run(days: int) -> Run:
    """Replay so many days."""
    replay = RulesUnderTest(settings())
    events, seconds = 0, 0.0
    for moments in trading_days(days):
        begun = time.process_time()
        replay.handle(moments)
        seconds += time.process_time() - begun
        events += len(moments)
    return Run(events, seconds, replay.decided)


def main(days: int) -> None:
    """Print how fast it was, and what was decided."""
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
