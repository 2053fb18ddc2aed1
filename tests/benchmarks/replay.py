"""The speed of the pure core: a year of one account without a reactor and a disk.

It times applying events and evaluating rules, not making up the recording, in CPU time.  It replays the year
several times, and all runs must decide the same.  Beside it stands the same year without a rule in force: no rules
can be faster than that.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

import msgspec

from riskd.config.settings import AccountSettings
from tests.benchmarks.outcome import Options, Outcome, show_progress
from tests.support.simulated_days import Decided, RulesUnderTest, settings, trading_days

DAYS = 250
RATE = 200_000


class Run(NamedTuple):
    """The figures of one replay."""

    events: int
    seconds: float
    decided: list[Decided]


def run(days: int, account: AccountSettings) -> Run:
    """Replay a number of days."""
    replay = RulesUnderTest(account)
    events, seconds = 0, 0.0
    for moments in trading_days(days):
        begun = time.process_time()
        replay.handle(moments)
        seconds += time.process_time() - begun
        events += len(moments)
    return Run(events, seconds, replay.decided)


def benchmark(options: Options) -> Outcome:
    """Replay a year, or a month, in each round."""
    outcome, days = Outcome(), 20 if options.quick else DAYS
    account = settings()
    runs = []
    for number in range(options.rounds_or(5, 2)):
        show_progress(f"round {number + 1}")
        runs.append(run(days, account))
        outcome.add(f"{days} days", "events", "", runs[-1].events)
        outcome.add(f"{days} days", "events/s", "", runs[-1].events / runs[-1].seconds)
        bare = run(days, msgspec.structs.replace(account, rules=()))
        outcome.add(f"{days} days", "events/s without rules", "", bare.events / bare.seconds)
    for rule_id, count in sorted(Counter(one.rule_id for one in runs[0].decided).items()):
        outcome.add(f"{days} days", f"decisions of {rule_id}", "", count)
    outcome.judge("events/s", outcome.median(f"{days} days", "events/s", ""), ">=", RATE)
    others = sum(one.decided != runs[0].decided for one in runs)
    outcome.judge("rounds that decided otherwise", others, "<=", 0)
    return outcome
