"""``python -m tests.simulation --days N [--seed S]`` plays trading days; see docs/simulation.md."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from time import monotonic, time

import msgspec

from tests.simulation.runs import failure_text, known_results, play_days, summary


def main() -> int:
    """Play the days; return the exit status, 1 after a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--days", type=int, default=1, help="how many days to play")
    parser.add_argument("--seed", type=int, help="the first day's; new ones by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cores to use")
    parser.add_argument(
        "--progress", type=Path, help="a file of results; days in it are not played again"
    )
    parser.add_argument(
        "--shorten", type=float, default=60.0, help="seconds to look for a shorter trace"
    )
    parser.add_argument("--first", action="store_true", help="end with the first violation")
    options = parser.parse_args()
    first = int(time()) * 1000 if options.seed is None else options.seed
    known = known_results(options.progress)
    wanted = range(first, first + options.days)
    results = [known[seed] for seed in wanted if seed in known]
    begun, played = monotonic(), 0
    for report in play_days(
        (seed for seed in wanted if seed not in known), options.jobs, options.shorten
    ):
        results.append(report.result)
        played += 1
        if report.result.violation is not None:
            print(failure_text(report), flush=True)  # noqa: T201
        if options.progress is not None:
            with options.progress.open("ab") as file:
                file.write(msgspec.json.encode(report.result) + b"\n")
        if options.first and report.result.violation is not None:
            break
    print(summary(results, (monotonic() - begun) / max(1, played) * len(results)))  # noqa: T201
    return 1 if any(each.violation is not None for each in results) else 0


if __name__ == "__main__":
    sys.exit(main())
