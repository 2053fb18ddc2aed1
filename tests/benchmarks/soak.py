"""Leaks of memory and descriptors while clients come and go."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from tests.benchmarks.outcome import Options, Outcome
from tests.benchmarks.peer import MIXTURE
from tests.benchmarks.processes import Process, bench

EVENTS_A_SECOND: Final = 1_000
_BURSTS_A_SECOND: Final = 100
_COME_AND_GO: Final = 50
_ROUND_SECONDS: Final = 1.0
GROWTH: Final = 1.0
"""Mebibytes by which memory may differ and is flat all the same: allocators breathe."""

MEBIBYTE: Final = 1024 * 1024
ALL_CLIENTS: Final = 100
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
            server.send_order("load", **paced(EVENTS_A_SECOND, _BURSTS_A_SECOND, _ROUND_SECONDS))
            receiver.ask("leave", clients=_COME_AND_GO)
            receiver.ask("connect", port=port, clients=_COME_AND_GO, sampled=0)
            events += server.answer()["events"]
            lost += receiver.ask("end")["lost"]
            status = status_with(server, clients)
            memory.append(status["memory"] / MEBIBYTE)
            descriptors.append(status["descriptors"])
    return Soaked(memory, descriptors, events, lost)


def status_with(server: Process, clients: int) -> dict[str, Any]:
    """Return the server's status once it has noticed the clients that left."""
    end = time.monotonic() + _CLOSING_SECONDS
    while True:
        status = server.ask("status")
        if status["clients"] == clients or time.monotonic() > end:
            return status


def paced(events: float, bursts: float, seconds: float) -> dict[str, float]:
    """Return a load for a server: so many events a second in so many bursts."""
    return {"rate": bursts, "burst": round(events / bursts), "seconds": seconds}


def benchmark(options: Options) -> Outcome:
    """Measure while clients come and go."""
    seconds = options.seconds_or(60.0, 15.0)
    soaked = soak(seconds)
    outcome = Outcome()
    for name, values in (("memory, MiB", soaked.memory), ("descriptors", soaked.descriptors)):
        for tenth, value in _course(values):
            outcome.add(f"in {seconds:g} s", name, f"{tenth / 10:.0%}", value)
    outcome.judge("growth, MiB", soaked.growth, "<=", GROWTH)
    outcome.judge("descriptors more", soaked.descriptor_growth, "<=", 0)
    outcome.judge("clients lost", soaked.lost, "<=", 0)
    outcome.notes.append(
        f"{soaked.events:,} events, {ALL_CLIENTS} clients, {_COME_AND_GO} of them new each second"
    )
    return outcome


def _course(values: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Yield eleven samples from the beginning to the end, each with its number."""
    for tenth in range(11):
        yield tenth, values[(len(values) - 1) * tenth // 10]
