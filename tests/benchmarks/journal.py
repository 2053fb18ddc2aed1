"""The cost of the journal: a daemon with it and one without, in turn, on the same events.

Each round runs a daemon with the journal and one without, for some seconds at 60 events a second and then as fast
as it can.  One process is measured while another receives.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import time

import websocket

from tests.benchmarks.journal_daemon import FLOOD_EVENTS
from tests.benchmarks.outcome import Options, Outcome, percentile, show_progress


def listen_to(with_journal: bool, seconds: float) -> dict[str, float]:
    """Start a daemon, receive its events, and return the measurements."""
    arguments = [sys.executable, "-m", "tests.benchmarks.journal_daemon", str(int(with_journal))]
    with subprocess.Popen([*arguments, str(seconds)], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        stream = websocket.create_connection(
            f"ws://127.0.0.1:{daemon.stdout.readline().strip()}", timeout=30
        )
        ages: list[float] = []
        arrivals: list[float] = []
        try:
            while True:
                opcode, frame = stream.recv_data()
                now = time.monotonic()
                if opcode != websocket.ABNF.OPCODE_TEXT:
                    break
                arrivals.append(now)
                ages.append(now - stamp_of(frame))
        except (websocket.WebSocketException, OSError, struct.error):
            pass
        stream.shutdown()
        steady_cpu, steady_count = daemon.stdout.readline().split()
        flood_cpu = float(daemon.stdout.readline())
    steady = [1000 * age for age in ages[: int(steady_count)]]
    flood = arrivals[int(steady_count) : int(steady_count) + FLOOD_EVENTS]
    return {
        "CPU at 60/s, %": 100 * float(steady_cpu) / seconds,
        "p50 at 60/s, ms": percentile(steady, 0.5),
        "p99 at 60/s, ms": percentile(steady, 0.99),
        "flood, events/s": len(flood) / (flood[-1] - flood[0]),
        "flood, CPU us/event": 1e6 * flood_cpu / FLOOD_EVENTS,
    }


def stamp_of(frame: bytes) -> float:
    """Return the time at which the daemon made an event."""
    for name in (b'"bid":', b'"averagePrice":'):
        _, found, rest = frame.partition(name)
        if found:
            return float(rest.partition(b",")[0])
    return time.monotonic()


def benchmark(options: Options) -> Outcome:
    """Measure with the journal and without, in turn."""
    outcome = Outcome()
    seconds = options.seconds_or(10.0, 3.0)
    for number in range(options.rounds_or(5, 1)):
        show_progress(f"round {number + 1}")
        for with_journal in (True, False):
            column = f"journal {'on' if with_journal else 'off'}"
            for name, value in listen_to(with_journal, seconds).items():
                outcome.add("to one client", name, column, value)
    return outcome
