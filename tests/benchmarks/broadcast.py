"""riskd's broadcast beside other libraries that do the same work in the same run.

Run as ``python -m tests.benchmarks.broadcast``; ``--help`` has its options, ``docs/benchmarks.md`` what
the columns mean.  Servers take turns, each in its own process on one core; the clients are in
another process on the other core.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product, repeat
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tests.benchmarks import console, enforcement, soak
from tests.benchmarks.goals import (
    COMPLETE,
    CPU,
    P50,
    P99,
    RATE,
    median,
    print_completeness,
    print_goal,
    print_ratios,
    print_reactors,
    print_table,
    show,
)
from tests.benchmarks.peer import COMPARED, JOINED, RISKD, RIVALS
from tests.benchmarks.processes import Bench, Process, bench

MEMORY: Final = "KB a client"
ACCEPTED: Final = "accepted in, s"
SPREAD: Final = "first to last, ms"

_LIBRARIES: Final = ("aiohttp", "picows", "uvloop", "websockets")
_SAMPLED: Final = 50
_FLOOD_TURNS: Final = 5
_FLOOD_SECONDS: Final = 0.6
_ENOUGH_TO_DIVIDE_BY: Final = 100
_MANY: Final = (5_000, 10_000)
_MANY_EVENTS_A_SECOND: Final = 2

_WRITTEN: Final = {
    CPU: "{:.2f}".format,
    P50: "{:.2f}".format,
    P99: "{:.2f}".format,
    RATE: "{:,.0f}".format,
    COMPLETE: "{:.1%}".format,
    MEMORY: "{:.1f}".format,
    ACCEPTED: "{:.2f}".format,
    SPREAD: "{:.0f}".format,
}

Figures = dict[str, dict[str, list[dict[str, float]]]]


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


def measure(plan: Plan, repeats: int) -> Figures:
    """Return the figures of each load, peer and repeat; peers take turns."""
    results: Figures = {}
    turns = [RIVALS, *((peer,) for peer in COMPARED if peer not in RIVALS)]
    with bench() as stand:
        for number in range(1, repeats + 1):
            for peers in turns:
                shown = ", ".join(peers)
                print(f"\rrepeat {number} of {repeats}: {shown:24}", end="", file=sys.stderr)  # noqa: T201
                for name, peer, figures in _measure_peers(stand, peers, plan):
                    results.setdefault(name, {each: [] for each in COMPARED})[peer].append(figures)
        for clients in plan.many:
            for peer in COMPARED:
                figures = _measure_many(stand, peer, clients)
                results.setdefault(f"@{clients}", {})[peer] = [figures]
    print(file=sys.stderr)  # noqa: T201
    return results


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
    return {**figures, P50: _figure(got["p50"]), P99: _figure(got["p99"])} if is_paced else figures


def _figure(value: float | None) -> float:
    """Return a figure from a process's JSON, where null stands for NaN."""
    return math.nan if value is None else value


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
        SPREAD: _figure(got["spread"]),
        COMPLETE: got["frames"] / (made["events"] * clients),
    }


def report(results: Figures, repeats: int) -> None:
    """Print the tables and the goals."""
    show(f"medians of {repeats} interleaved repeats; {machine()}")
    print_table(results, _WRITTEN)
    print_ratios(results)
    print_completeness(results)
    last = f"@{_MANY[-1]}"
    if last in results:
        for figure, limit in ((ACCEPTED, 5.0), (MEMORY, 12.0)):
            value = median(results, last, RISKD, figure)
            print_goal(f"{figure}, {last}", value, "<", limit, value < limit)
    print_reactors(results)


def machine() -> str:
    """Return one line that describes the machine."""
    libraries = ("twisted", "autobahn", "msgspec", *_LIBRARIES)
    installed = [name for name in libraries if find_spec(name) is not None]
    versions = ", ".join(f"{name} {version(name)}" for name in installed)
    return f"Python {platform.python_version()}, Linux {platform.release()}, {versions}"


def refuse_without_libraries() -> None:
    """Exit with a sentence if the other libraries are not installed."""
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"broadcast: {', '.join(missing)} to compare with: not installed; "
            "pip install -e '.[bench]' has all of them"
        )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.broadcast")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--repeats", type=int, help="rounds [default: 5; 2 if quick]")
    parser.add_argument(
        "--quick", action="store_true", help="the loads of the goals, in three minutes"
    )
    parser.add_argument(
        "--soak", type=float, metavar="SECONDS", help="clients come and go that long"
    )
    parser.add_argument(
        "--slow",
        type=float,
        nargs="?",
        const=60.0,
        metavar="SECONDS",
        help="20 of 100 clients read nothing",
    )
    options = parser.parse_args()
    results: dict[str, Any] = {}
    if options.soak is not None:
        results["soak"] = soak.report_soak(options.soak)
    if options.slow is not None:
        results["slow"] = soak.report_slow(options.slow)
    if not results:
        refuse_without_libraries()
        repeats = options.repeats or (2 if options.quick else 5)
        figures = measure(QUICK if options.quick else WHOLE, repeats)
        write(options.json, {"broadcast": figures})
        report(figures, repeats)
        most = measure_receiver()
        show(f"\nThe receiver takes {most:,.0f} deliveries/s at most.\n")
        results = {
            "broadcast": figures,
            "receiver": most,
            "enforcement": enforcement.main(100 if options.quick else 300, 1),
            "console": console.main(5.0 if options.quick else 30.0),
        }
    write(options.json, results)


def write(path: Path | None, results: Mapping[str, Any]) -> None:
    """Write all figures to a file, if the command line names one."""
    if path is not None:
        path.write_bytes(msgspec.json.encode({"machine": machine(), **results}))


if __name__ == "__main__":
    main()
