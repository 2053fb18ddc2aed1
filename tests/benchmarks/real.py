"""The load of a real machine: 60 events a second, the journal on, and 1, 2 or 10 clients that sleep between them.

The daemon that users run gets the quotes of one contract from a broker's market hub.  What does not drift is counted
and has goals: system calls, turns of the reactor, timers that wake it, and how often its threads give up their core,
each divided by the events.  The same counts of a second without events are printed as "idle".

Its CPU and the ages of events are printed beside websockets and picows, which have no broker: they make their events by
a timer of their own, and so does "riskd, own timer", which is riskd otherwise.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread

from riskd.host.timing import use_steady_clock
from tests.benchmarks.broadcast import refuse_without_libraries
from tests.benchmarks.goals import CPU, P50, P99, paired_ratio
from tests.benchmarks.outcome import Options, Outcome, as_number, show_progress
from tests.benchmarks.peer import PICOWS, RISKD, WEBSOCKETS
from tests.benchmarks.process_counts import CALLS, SWITCHES, TIMERS, TURNS, cpu_seconds, has_strace
from tests.benchmarks.processes import SERVER_CORE, Bench, Process, bench
from tests.benchmarks.reactor_run import run_reactor
from tests.benchmarks.real_daemon import RealDaemon, count
from tests.benchmarks.tables import written

EVENTS_A_SECOND: Final = 60
CLIENTS: Final = (1, 2, 10)
HUB: Final = f"{RISKD}, from the hub"
TIMER: Final = f"{RISKD}, own timer"
COUNTED: Final = (CALLS, TURNS, TIMERS, SWITCHES)

_AN_EVENT: Final = "an event"
_IDLE: Final = "a second without events"
_FIRST_BEYOND: Final = {CALLS: 0.75, TURNS: 0.1, TIMERS: 0.08, SWITCHES: 0.2}
"""What riskd did for each event beyond the least, when it was first measured: the journal and the timers."""

_SETTLE_SECONDS: Final = 1.5


def measure_peer(stand: Bench, peer: str, clients: int, seconds: float) -> dict[str, float]:
    """Return the figures of a server that makes its events by its own timer."""
    with stand.server(peer) as (server, port):
        stand.receiver.ask("connect", port=port, clients=clients, sampled=clients)
        stand.receiver.ask("begin", hot=False)
        made = server.ask("load", rate=EVENTS_A_SECOND, seconds=seconds)
        return {CPU: 1e6 * made["cpu"] / made["events"], **_ages(stand.receiver.ask("end"))}


def _ages(got: dict[str, Any]) -> dict[str, float]:
    return {P50: as_number(got["p50"]), P99: as_number(got["p99"])}


async def measure_daemon(
    daemon: RealDaemon, receiver: Process, seconds: float
) -> dict[str, float]:
    """Return the figures of the daemon that users run; clients are connected."""
    receiver.ask("begin", hot=False)
    used, began = cpu_seconds(daemon.pid), daemon.sent
    await deferLater(reactor, seconds)
    events, cpu = daemon.sent - began, cpu_seconds(daemon.pid) - used
    return {CPU: 1e6 * cpu / events, **_ages(receiver.ask("end"))}


async def measure_round(
    outcome: Outcome, stand: Bench, clients: int, seconds: float, directory: Path
) -> None:
    """Add the figures of one number of clients."""
    load = f"{clients} client{'s' * (clients > 1)}"
    daemon = RealDaemon(directory, SERVER_CORE)
    await daemon.start()
    stand.receiver.ask("connect", port=daemon.port, clients=clients, sampled=clients)
    await deferLater(reactor, _SETTLE_SECONDS)
    idle = await count(daemon, seconds, directory)
    sending = LoopingCall(daemon.send_quote)
    sent = sending.start(1 / EVENTS_A_SECOND)
    await deferLater(reactor, _SETTLE_SECONDS)
    for figure, value in (await measure_daemon(daemon, stand.receiver, seconds)).items():
        outcome.add(figure, HUB, load, value)
    busy = await count(daemon, seconds, directory)
    sending.stop()
    await sent
    stand.receiver.ask("leave", clients=clients)
    await daemon.stop()
    for name in COUNTED:
        if name in busy:
            outcome.add(_AN_EVENT, name, load, busy[name])
            outcome.add(_IDLE, name, load, idle[name])
    for peer, row in ((RISKD, TIMER), (WEBSOCKETS, WEBSOCKETS), (PICOWS, PICOWS)):
        figures = await deferToThread(measure_peer, stand, peer, clients, seconds)
        for figure, value in figures.items():
            outcome.add(figure, row, load, value)


async def run(rounds: int, seconds: float) -> Outcome:
    """Measure each number of clients in each round."""
    outcome = Outcome()
    with bench() as stand:
        for number in range(rounds):
            for clients in CLIENTS:
                show_progress(f"round {number + 1}, clients: {clients}")
                with tempfile.TemporaryDirectory() as directory:
                    await measure_round(outcome, stand, clients, seconds, Path(directory))
    return outcome


def benchmark(options: Options) -> Outcome:
    """Run the reactor until everything is measured."""
    refuse_without_libraries()
    use_steady_clock(reactor)
    outcome = run_reactor(lambda: run(options.rounds_or(5, 1), options.seconds_or(5.0, 3.0)))
    for clients in CLIENTS:
        load = f"{clients} client{'s' * (clients > 1)}"
        for name, limit in limits(clients).items():
            if name in outcome.tables[_AN_EVENT]:
                value = outcome.median(_AN_EVENT, name, load)
                outcome.judge(f"{name} an event, {load}", value, "<=", limit)
        for peer in (WEBSOCKETS, PICOWS):
            ratio = paired_ratio(outcome, CPU, load, TIMER, peer)
            outcome.notes.append(f"CPU of {TIMER}, divided by {peer}, {load}: {written(ratio)}.")
    if not has_strace():
        outcome.notes.append("Without strace no system calls were counted.")
    return outcome


def limits(clients: int) -> dict[str, float]:
    """Return the most that an event may cost.

    Whatever a daemon does, an event is a wait for it, a read, and a send to each client; one turn of the reactor; and
    one time that its thread gives up the core.  The goal is a third less beyond that than what was measured first.
    """
    least = {CALLS: 2.0 + clients, TURNS: 1.0, TIMERS: 0.0, SWITCHES: 1.0}
    return {name: count + 2 / 3 * _FIRST_BEYOND[name] for name, count in least.items()}
