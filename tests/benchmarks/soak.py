"""Leaks of memory and descriptors while clients come and go, and while some read nothing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tests.benchmarks.goals import print_goal, show
from tests.benchmarks.peer import MIXTURE, POSITIONS
from tests.benchmarks.processes import Process, bench

EVENTS_A_SECOND: Final = 1_000
_BURSTS_A_SECOND: Final = 100
_COME_AND_GO: Final = 50
_ROUND_SECONDS: Final = 1.0
GROWTH: Final = 1.0
"""Mebibytes by which memory may differ and is flat all the same: allocators breathe."""

_MEBIBYTE: Final = 1024 * 1024

SLOW_CLIENTS: Final = 20
ALL_CLIENTS: Final = 100
_SLOW_EVENTS_A_SECOND: Final = 10_000
_SLOW_BURSTS_A_SECOND: Final = 200
_SLOW_GROWTH: Final = 25.0
_TRY_AGAIN_LATER: Final = "1013"
_CLOSING_SECONDS: Final = 5.0


class Soaked(NamedTuple):
    """The figures of a soak; memory in MiB.

    :ivar memory: in each round.
    :ivar descriptors: in each round.
    :ivar events: number of events broadcast.
    :ivar lost: clients whose connection ended without their leaving.
    """

    memory: list[float]
    descriptors: list[int]
    events: int
    lost: int

    @property
    def growth(self) -> float:
        """Growth of memory, in MiB."""
        return _grown(self.memory)

    @property
    def descriptor_growth(self) -> float:
        """Growth of the number of descriptors."""
        return _grown(self.descriptors)

    @property
    def is_flat(self) -> bool:
        """Whether nothing leaked and no client was lost."""
        return self.growth <= GROWTH and self.descriptor_growth <= 0 and not self.lost


def _grown(values: Sequence[float]) -> float:
    """Return the growth from the median of the second quarter to that of the last.

    The first quarter is the warm-up; a median ignores a file that is open for a moment.
    """
    quarter = max(1, len(values) // 4)
    second = values[quarter : 2 * quarter] or values[-1:]
    return statistics.median(values[-quarter:]) - statistics.median(second)


def soak(seconds: float, clients: int = ALL_CLIENTS, *, is_pinned: bool = True) -> Soaked:
    """Broadcast 1,000 events a second, while fifty clients leave and fifty join each second."""
    memory, descriptors, events, lost = [], [], 0, 0
    with bench(is_pinned=is_pinned) as stand, stand.server(MIXTURE) as (server, port):
        receiver = stand.receiver
        receiver.ask("connect", port=port, clients=clients, sampled=0)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            receiver.ask("begin", hot=False)
            server.send_order("load", **_paced(EVENTS_A_SECOND, _BURSTS_A_SECOND, _ROUND_SECONDS))
            receiver.ask("leave", clients=_COME_AND_GO)
            receiver.ask("connect", port=port, clients=_COME_AND_GO, sampled=0)
            events += server.answer()["events"]
            lost += receiver.ask("end")["lost"]
            status = _status_with(server, clients)
            memory.append(status["memory"] / _MEBIBYTE)
            descriptors.append(status["descriptors"])
    return Soaked(memory, descriptors, events, lost)


def _status_with(server: Process, clients: int) -> dict[str, Any]:
    """Return the server's status once it has noticed the clients that left."""
    end = time.monotonic() + _CLOSING_SECONDS
    while True:
        status = server.ask("status")
        if status["clients"] == clients or time.monotonic() > end:
            return status


def _paced(events: float, bursts: float, seconds: float) -> dict[str, float]:
    return {"rate": bursts, "burst": round(events / bursts), "seconds": seconds}


def report_soak(seconds: float) -> dict[str, Any]:
    """Run a soak and print its figures."""
    soaked = soak(seconds)
    show(
        f"{soaked.events:,} events in {seconds:g} s, {ALL_CLIENTS} clients, {_COME_AND_GO} of them new each second"
    )
    show(f"memory, MiB: {_course(soaked.memory)}")
    show(f"descriptors: {_course(soaked.descriptors)}")
    print_goal("growth, MiB", soaked.growth, "<=", GROWTH, soaked.growth <= GROWTH)
    more = soaked.descriptor_growth
    print_goal("descriptors more", more, "<=", 0, more <= 0)
    print_goal("clients lost", soaked.lost, "<=", 0, soaked.lost == 0)
    return soaked._asdict()


def _course(values: list[Any]) -> str:
    """Return ten samples, spread over all rounds."""
    step = max(1, len(values) // 10)
    return " ".join(f"{value:.1f}".removesuffix(".0") for value in values[::step])


def slow(seconds: float, *, is_pinned: bool = True) -> dict[str, Any]:
    """Broadcast 10,000 events a second to 100 clients, of which 20 read nothing; return figures.

    The events are of a type that may not be dropped, and of equal length.
    """
    with bench(is_pinned=is_pinned) as stand, stand.server(POSITIONS) as (server, port):
        receiver = stand.receiver
        receiver.ask("connect", port=port, clients=ALL_CLIENTS, sampled=0, silent=SLOW_CLIENTS)
        # Measure the growth of a warm daemon.
        server.ask("load", **_paced(60, 60, 1.0))
        before = server.ask("status")["memory"]
        receiver.ask("begin")
        events = most = 0
        for _ in range(max(1, round(seconds))):
            load = _paced(_SLOW_EVENTS_A_SECOND, _SLOW_BURSTS_A_SECOND, 1.0)
            events += server.ask("load", **load)["events"]
            most = max(most, server.ask("status")["memory"])
        honest = ALL_CLIENTS - SLOW_CLIENTS
        status = _status_with(server, honest)
        got = receiver.ask("end")
    return {
        "growth": (most - before) / _MEBIBYTE,
        "events": events,
        "missed": events * honest - got["frames"],
        "lost": got["lost"],
        "closed with 1013": status["codes"].get(_TRY_AGAIN_LATER, 0),
    }


def report_slow(seconds: float) -> dict[str, Any]:
    """Measure clients that read nothing, and print the figures."""
    figures = slow(seconds)
    show(
        f"{figures['events']:,} events in {seconds:g} s to {ALL_CLIENTS} clients, "
        f"{SLOW_CLIENTS} of which read nothing"
    )
    growth, missed = figures["growth"], figures["missed"]
    closed = figures["closed with 1013"]
    print_goal("growth, MiB", growth, "<", _SLOW_GROWTH, growth < _SLOW_GROWTH)
    print_goal("missed by the others", missed, "<=", 0, missed == 0 and not figures["lost"])
    print_goal("closed with 1013", closed, ">=", SLOW_CLIENTS, closed == SLOW_CLIENTS)
    return figures
