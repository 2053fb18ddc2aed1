"""What a daemon without a client costs: the practice market's 20 quotes a second, two accounts, and the rules."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from tests.benchmarks.outcome import Options, Outcome, show_progress
from tests.benchmarks.process_counts import cpu_seconds, thread_switches
from tests.support.twistd import Twistd

CPU: Final = "CPU, % of a core"
SWITCHES: Final = "thread switches a second"
MAX_CPU: Final = 0.4

_TABLE: Final = "without a client"
_SETTLE_SECONDS: Final = 3.0


def benchmark(options: Options) -> Outcome:
    """Measure a new daemon in each round."""
    outcome = Outcome()
    seconds = options.seconds_or(30.0, 10.0)
    for number in range(options.rounds_or(5, 1)):
        show_progress(f"round {number + 1}")
        for name, value in measure(seconds).items():
            outcome.add(_TABLE, name, "", value)
    outcome.judge(CPU, outcome.median(_TABLE, CPU, ""), "<", MAX_CPU)
    return outcome


def measure(seconds: float) -> dict[str, float]:
    """Return the figures of a daemon that has run for some seconds."""
    with tempfile.TemporaryDirectory() as place:
        daemon = Twistd(Path(place), "--port", "0", "--state", "state", "--practice-seed", "1")
        pid = daemon.process.pid
        try:
            time.sleep(_SETTLE_SECONDS)
            began, used, switched = time.monotonic(), cpu_seconds(pid), thread_switches(pid)
            time.sleep(seconds)
            passed = time.monotonic() - began
            return {
                CPU: 100 * (cpu_seconds(pid) - used) / passed,
                SWITCHES: (thread_switches(pid) - switched) / passed,
            }
        finally:
            daemon.process.terminate()
            daemon.wait()
