"""The cost of the journal: a daemon with it and one without, in turn, on the same events.

Run as ``python -m tests.benchmarks.journal [REPEATS [SECONDS]]``.  Each repeat runs a daemon with the
journal and one without, for some seconds at 60 events a second and then as fast as it can; the table
shows medians.  One process is measured while another receives.
"""

from __future__ import annotations

import statistics
import struct
import subprocess
import sys
import time
from typing import Any

import websocket

from tests.benchmarks.journal_daemon import FLOOD_EVENTS


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
    steady = sorted(ages[: int(steady_count)])
    flood = arrivals[int(steady_count) : int(steady_count) + FLOOD_EVENTS]
    return {
        "CPU at 60/s, %": 100 * float(steady_cpu) / seconds,
        "p50 at 60/s, ms": 1000 * steady[len(steady) // 2],
        "p99 at 60/s, ms": 1000 * steady[int(len(steady) * 0.99)],
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


def main(repeats: int, seconds: float) -> None:
    """Print the table."""
    results: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for _ in range(repeats):
        for with_journal in (True, False):
            results[with_journal].append(listen_to(with_journal, seconds))
    print(f"medians of {repeats} interleaved repeats, one client")  # noqa: T201
    print(f"{'':24}{'journal on':>14}{'journal off':>14}{'difference':>14}")  # noqa: T201
    for name in results[True][0]:
        on, off = (
            statistics.median(result[name] for result in results[which]) for which in (True, False)
        )
        print(f"{name:24}{on:14.3f}{off:14.3f}{on - off:14.3f}")  # noqa: T201


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else 5,
        float(sys.argv[2]) if len(sys.argv) > 2 else 10,
    )
