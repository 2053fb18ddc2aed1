"""The time from a breach to the call of the broker, whatever becomes of an uplink beside riskd.

Each round runs a daemon that keeps an outbox in each of the situations, in turn, so that the machine's drift
cancels out: without an uplink; with one that publishes to a server; with one whose server was killed; and with one
that is killed twice while it is measured.  The load and the times are those of :mod:`tests.benchmarks.enforcement`.
The server, which is another machine's in earnest, keeps its streams in memory where there is a directory for that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks import enforcement
from tests.benchmarks.outcome import Options, Outcome, percentile, show_progress

if TYPE_CHECKING:
    from tests.benchmarks.uplink_beside import UplinkBeside

NOBODY: Final = "no uplink"
UPLINK: Final = "an uplink"
DEAD: Final = "its server dead"
KILLED: Final = "killed meanwhile"
WITHOUT: Final = "no outbox"

SITUATIONS: Final = (WITHOUT, NOBODY, UPLINK, DEAD, KILLED)

BREACHES: Final = 50
"""In a run.  On a busy machine the daemon closes the silent clients of a longer one, which is refused then."""

TABLE: Final = "from a breach to the call of the broker"
_LIMITS: Final = {"p50, ms": 1.2, "p99, ms": 1.5}
"""Of a situation with an uplink, times that without one."""

_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # tempfile makes a directory of its own in it


@contextmanager
def beside(situation: str) -> Iterator[UplinkBeside | None]:
    """Yield what is to begin beside the daemon; ``None`` for nothing."""
    if situation in (WITHOUT, NOBODY):
        yield None
        return
    # Part of the extra "desk" alone.
    from tests.benchmarks.uplink_beside import UplinkBeside  # noqa: PLC0415

    place = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as directory:
        found = UplinkBeside(
            Path(directory), is_server_killed=situation == DEAD, is_killed=situation == KILLED
        )
        try:
            yield found
        finally:
            found.end()


def benchmark(options: Options) -> Outcome:
    """Measure the situations in turn."""
    outcome = Outcome()
    waits: dict[str, list[float]] = {each: [] for each in SITUATIONS}
    for number in range(options.rounds_or(7, 1)):
        show_progress(f"round {number + 1}")
        # Each begins a round in its turn.
        turn = number % len(SITUATIONS)
        for situation in SITUATIONS[turn:] + SITUATIONS[:turn]:
            with beside(situation) as uplink:
                result = enforcement.run(
                    True,
                    BREACHES,
                    has_outbox=situation != WITHOUT,
                    begin=uplink and uplink.begin,
                )
            for name, value in enforcement.figures(result).items():
                outcome.add(TABLE, name, situation, value)
            waits[situation] += [1000 * wait for wait in result["latencies"]]
    for situation, found in waits.items():
        for name, share in (("p50 of all, ms", 0.5), ("p99 of all, ms", 0.99)):
            outcome.add(TABLE, name, situation, percentile(found, share))
    judge(outcome)
    return outcome


def judge(outcome: Outcome) -> None:
    """Hold each situation with an uplink against that without one."""
    for name, limit in _LIMITS.items():
        row = name.replace(",", " of all,")
        for situation in (UPLINK, DEAD, KILLED):
            ratio = outcome.median(TABLE, row, situation) / outcome.median(TABLE, row, NOBODY)
            outcome.judge(
                f"{row.removesuffix(', ms')}, {situation}, times {NOBODY}", ratio, "<=", limit
            )
