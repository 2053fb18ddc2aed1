"""What clients that read nothing cost riskd, and what the others miss because of them."""

from __future__ import annotations

from typing import Final

from tests.benchmarks.outcome import Options, Outcome
from tests.benchmarks.peer import POSITIONS
from tests.benchmarks.processes import bench
from tests.benchmarks.soak import ALL_CLIENTS, MEBIBYTE, paced, status_with

SLOW_CLIENTS: Final = 20
EVENTS_A_SECOND: Final = 10_000
_BURSTS_A_SECOND: Final = 200
_MAX_GROWTH: Final = 25.0
"""Mebibytes; each slow client may have one queued."""

_TRY_AGAIN_LATER: Final = "1013"
_GROWTH: Final = "growth, MiB"
_MISSED: Final = "missed by the others"
_LOST: Final = "others lost"
_CLOSED: Final = "closed with 1013"


def benchmark(options: Options) -> Outcome:
    """Measure clients that read nothing."""
    seconds = options.seconds_or(60.0, 10.0)
    figures = slow(seconds)
    outcome = Outcome()
    for name, value in figures.items():
        outcome.add(f"{SLOW_CLIENTS} of {ALL_CLIENTS} clients, {seconds:g} s", name, "", value)
    outcome.judge(_GROWTH, figures[_GROWTH], "<", _MAX_GROWTH)
    outcome.judge(_MISSED, figures[_MISSED], "<=", 0)
    outcome.judge(_LOST, figures[_LOST], "<=", 0)
    # No more either: an honest one is lost then.
    outcome.judge(_CLOSED, figures[_CLOSED], ">=", SLOW_CLIENTS)
    return outcome


def slow(seconds: float, *, is_pinned: bool = True) -> dict[str, float]:
    """Broadcast 10,000 events a second to 100 clients, of which 20 read nothing; return figures.

    The events are of a type that may not be dropped, and of equal length.
    """
    with bench(is_pinned=is_pinned) as stand, stand.server(POSITIONS) as (server, port):
        receiver = stand.receiver
        receiver.ask("connect", port=port, clients=ALL_CLIENTS, sampled=0, silent=SLOW_CLIENTS)
        # Measure the growth of a warm daemon.
        server.ask("load", **paced(60, 60, 1.0))
        before = server.ask("status")["memory"]
        receiver.ask("begin")
        events = most = 0
        for _ in range(max(1, round(seconds))):
            load = paced(EVENTS_A_SECOND, _BURSTS_A_SECOND, 1.0)
            events += server.ask("load", **load)["events"]
            most = max(most, server.ask("status")["memory"])
        honest = ALL_CLIENTS - SLOW_CLIENTS
        status = status_with(server, honest)
        got = receiver.ask("end")
    return {
        "events": events,
        _GROWTH: (most - before) / MEBIBYTE,
        _MISSED: events * honest - got["frames"],
        _LOST: got["lost"],
        _CLOSED: status["codes"].get(_TRY_AGAIN_LATER, 0),
    }
