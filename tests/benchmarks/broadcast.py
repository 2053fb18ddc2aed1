"""riskd's broadcast beside other libraries that do the same work in the same run.

``docs/benchmarks.md`` says what the columns mean.  Servers take turns, each in its own process on one core; the
clients are in another process on the other core.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import product, repeat
from typing import Final, NamedTuple

from tests.benchmarks.goals import (
    COMPLETE,
    CPU,
    P50,
    P99,
    RATE,
    judge_completeness,
    judge_ratios,
    reactor_notes,
)
from tests.benchmarks.outcome import Options, Outcome, as_number, show_progress
from tests.benchmarks.peer import COMPARED, JOINED, RISKD, RIVALS
from tests.benchmarks.processes import Bench, Process, bench

MEMORY: Final = "KB a client"
ACCEPTED: Final = "accepted in, s"
SPREAD: Final = "first to last, ms"

_FIGURES: Final = (CPU, P50, P99, RATE, COMPLETE, MEMORY, ACCEPTED, SPREAD)
_LIBRARIES: Final = ("aiohttp", "picows", "uvloop", "websockets")
_SAMPLED: Final = 50
_FLOOD_TURNS: Final = 5
_FLOOD_SECONDS: Final = 0.6
_ENOUGH_TO_DIVIDE_BY: Final = 100
_MANY: Final = (5_000, 10_000)
_MANY_EVENTS_A_SECOND: Final = 2
_MAX_ACCEPT_SECONDS: Final = 5.0
_MAX_CLIENT_KB: Final = 12.0


class Load(NamedTuple):
    """Bursts a second (0 for a flood) and events in a burst."""

    rate: float
    burst: int


class Plan(NamedTuple):
    """The loads of a run.

    :ivar loads: by number of clients.
    :ivar seconds: how long each load lasts; a flood is shorter and more frequent.
    :ivar many: numbers of clients that only connect and receive two events a second.
    """

    loads: Mapping[int, tuple[Load, ...]]
    seconds: float
    many: tuple[int, ...]


WHOLE: Final = Plan(
    {
        1: (Load(60, 1),),
        10: (Load(60, 1),),
        100: (Load(60, 1), Load(60, 10), Load(0, 10)),
        1000: (Load(60, 1), Load(10, 10), Load(0, 10)),
    },
    3.0,
    _MANY,
)
QUICK: Final = Plan(
    {100: (Load(60, 1), Load(60, 10), Load(0, 10)), 1000: (Load(60, 1), Load(0, 10))}, 1.0, ()
)


def benchmark(options: Options) -> Outcome:
    """Measure the loads of the plan."""
    refuse_without_libraries()
    outcome = measure(QUICK if options.quick else WHOLE, options.rounds_or(5, 2))
    judge_ratios(outcome)
    judge_completeness(outcome)
    last = f"@{_MANY[-1]}"
    for figure, limit in ((ACCEPTED, _MAX_ACCEPT_SECONDS), (MEMORY, _MAX_CLIENT_KB)):
        if last in outcome.tables[figure][RISKD]:
            value = outcome.median(figure, RISKD, last)
            outcome.judge(f"{figure}, {last}", value, "<", limit)
    outcome.notes += reactor_notes(outcome)
    outcome.notes.append(f"The receiver takes {measure_receiver():,.0f} deliveries/s at most.")
    return outcome


def measure(plan: Plan, rounds: int) -> Outcome:
    """Return the figures of each load, peer and round; peers take turns."""
    # One row for each, in this order.
    outcome = Outcome(tables={figure: {peer: {} for peer in COMPARED} for figure in _FIGURES})
    turns = [RIVALS, *((peer,) for peer in COMPARED if peer not in RIVALS)]
    with bench() as stand:
        for number in range(1, rounds + 1):
            for peers in turns:
                show_progress(f"round {number} of {rounds}: {', '.join(peers)}")
                for load, peer, figures in _measure_peers(stand, peers, plan):
                    _add(outcome, load, peer, figures)
        for clients in plan.many:
            for peer in COMPARED:
                show_progress(f"{clients} clients: {peer}")
                _add(outcome, f"@{clients}", peer, _measure_many(stand, peer, clients))
    return outcome


def _add(outcome: Outcome, load: str, peer: str, figures: Mapping[str, float]) -> None:
    for figure, value in figures.items():
        outcome.add(figure, peer, load, value)


def _measure_peers(
    stand: Bench, peers: Sequence[str], plan: Plan
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Yield a load's name, a peer and its figures, peer after peer for each load."""
    with ExitStack() as running:
        servers = {peer: running.enter_context(stand.server(peer)) for peer in peers}
        for clients, loads in plan.loads.items():
            before = {}
            for peer, (server, port) in servers.items():
                before[peer] = server.ask("status")["memory"]
                connect(stand.receiver, server, port, clients)
            for load, (peer, (server, _port)) in product(_in_turns(loads), servers.items()):
                seconds = plan.seconds if load.rate else _FLOOD_SECONDS
                figures = _measure_load(stand.receiver, server, clients, load, seconds)
                # In a flood buffers grow; with few clients everything else does.
                if load.rate and clients >= _ENOUGH_TO_DIVIDE_BY:
                    grown = server.ask("status")["memory"] - before[peer]
                    figures[MEMORY] = grown / clients / 1024
                yield f"{load.rate:g}x{load.burst}@{clients}", peer, figures
            stand.receiver.ask("leave", clients=clients * len(peers))


def _in_turns(loads: Iterable[Load]) -> Iterator[Load]:
    """Yield each load once for each turn of the peers.

    A machine's speed in a flood drifts within seconds by more than the peers differ.
    """
    for load in loads:
        yield from repeat(load, 1 if load.rate else _FLOOD_TURNS)


def connect(receiver: Process, server: Process, port: int, clients: int) -> float:
    """Connect clients; return the seconds until all handshakes were complete."""
    seconds: float = receiver.ask("connect", port=port, clients=clients, sampled=_SAMPLED)[
        "seconds"
    ]
    while server.ask("status")["clients"] < clients:
        pass
    return seconds


def _measure_load(
    receiver: Process, server: Process, clients: int, load: Load, seconds: float
) -> dict[str, float]:
    # In a flood the age of events is the length of the queue, for every server.
    is_paced = load.rate > 0
    receiver.ask("begin", noting=is_paced)
    made = server.ask("load", rate=load.rate, burst=load.burst, seconds=seconds)
    got = receiver.ask("end")
    figures = {
        CPU: 1e6 * made["cpu"] / max(1, got["frames"]),
        RATE: got["frames"] / made["seconds"],
        COMPLETE: got["frames"] / (made["events"] * clients),
    }
    return (
        {**figures, P50: as_number(got["p50"]), P99: as_number(got["p99"])}
        if is_paced
        else figures
    )


def measure_receiver() -> float:
    """Return how many events a second the receiver reads in chunks of a hundred."""
    with bench() as stand, stand.server(JOINED) as (server, port):
        connect(stand.receiver, server, port, 100)
        return _measure_load(stand.receiver, server, 100, Load(0, 100), 2.0)[RATE]


def _measure_many(stand: Bench, peer: str, clients: int) -> dict[str, float]:
    with stand.server(peer) as (server, port):
        before = server.ask("status")["memory"]
        answer = stand.receiver.ask("connect", port=port, clients=clients, sampled=clients)
        while server.ask("status")["clients"] < clients:
            pass
        stand.receiver.ask("begin")
        made = server.ask("load", rate=_MANY_EVENTS_A_SECOND, seconds=3)
        got = stand.receiver.ask("end")
        grown = server.ask("status")["memory"] - before
    return {
        ACCEPTED: answer["seconds"],
        MEMORY: grown / clients / 1024,
        SPREAD: as_number(got["spread"]),
        COMPLETE: got["frames"] / (made["events"] * clients),
    }


def refuse_without_libraries() -> None:
    """Exit with a sentence if the other libraries are not installed."""
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"broadcast: {', '.join(missing)} to compare with: not installed; "
            "pip install -e '.[bench]' has all of them"
        )
