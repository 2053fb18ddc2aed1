"""Whatever dies at a desk, what enters an outbox arrives once and in order.

``python -m tests.desk_rounds`` plays with the real programs, once with one nats-server and once with three: 20 riskd
that trade 50 accounts on paper, an uplink of each, a relay, and clients of the relay, two of them consoles.  First it
measures them while nothing is wrong.  Then it kills each program and the leader of three servers, takes the servers
away for a minute, cuts and delays links, and kills everything at once.

At the end it compares the outboxes with the stream that the servers have stored, and with what the clients of the relay
were told.  A client that is not connected is told nothing: what it misses must be in the copy that it reads after the
next handshake.  So of each event it is counted whether it came live or by the copy, by the number that the relay has
journaled for the account.  The statuses of a daemon are in the outbox and the stream alone, since the relay tells its own.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from riskd.journal.reader import read_published
from tests.benchmarks.process_counts import cpu_seconds, resident
from tests.support.desk_delivery import (
    Connection,
    Delivery,
    console_connections,
    delivery,
    event_told,
    known_numbers,
)
from tests.support.desk_machines import DeskMachine
from tests.support.desk_world import DeskWorld
from tests.support.waiting import wait_until

MEASURED_SECONDS: Final = 30.0

FAULTS: Final[tuple[Callable[[DeskWorld], None], ...]] = (
    DeskWorld.kill_riskd,
    DeskWorld.kill_uplink,
    DeskWorld.kill_relay,
    DeskWorld.kill_server,
    DeskWorld.cut_links,
    DeskWorld.delay_links,
)


def say(*words: object) -> None:
    """Print."""
    print(*words, flush=True)  # noqa: T201


def measure(world: DeskWorld) -> None:
    """Print what it costs while nothing is wrong."""
    assert world.watch is not None
    uplinks = [machine.uplink.pid for machine in world.machines if machine.uplink]
    pids, begun = [world.relay.pid, *uplinks], time.monotonic()
    before = [cpu_seconds(pid) for pid in pids]
    time.sleep(MEASURED_SECONDS)
    ended = time.monotonic()
    shares = [
        100 * (cpu_seconds(pid) - cpu) / (ended - begun)
        for pid, cpu in zip(pids, before, strict=True)
    ]
    sizes = [resident(pid) for pid in pids]
    say(f"relay: {sizes[0]:.0f} MiB, {shares[0]:.1f} % of a core")
    of_all = f"{sum(shares[1:]) / len(uplinks):.1f} %, {max(shares[1:]):.1f} % at most"
    say(f"an uplink: {max(sizes[1:]):.0f} MiB at most, {of_all}")
    time.sleep(2)
    shown = {event: at for at, event in world.watch.events}
    own = {event: at for watch in world.watches for at, event in watch.events}
    waits = sorted(
        shown[event] - at for event, at in own.items() if begun <= at <= ended and event in shown
    )
    if waits:
        p50, p99 = (1000 * waits[int(len(waits) * share)] for share in (0.5, 0.99))
        say(
            f"from a daemon's port to the relay's: p50 {p50:.0f} ms, p99 {p99:.0f} ms, "
            f"longest {1000 * waits[-1]:.0f} ms, of {len(waits)} events"
        )


def snapshot(world: DeskWorld) -> None:
    """Print how soon a relay without a past has all accounts."""
    world.relay.stop()
    (world.directory / "new").mkdir()
    new = DeskMachine(world.directory / "new/desk", world.config)
    try:
        new.start()
        begun = time.monotonic()
        count = sum(map(len, world.accounts))
        wait_until(lambda: len(known_numbers(new.state)) == count)
        seconds = time.monotonic() - begun
        begun = time.monotonic()
        wait_until(lambda: len(read_published(new.state).accounts) == count)
        say(
            f"a new relay has the states of {count} accounts {seconds:.1f} s after it listens, "
            f"and they are read from its copy in {1000 * (time.monotonic() - begun):.0f} ms"
        )
    finally:
        new.stop()


def judge(world: DeskWorld) -> bool:
    """Compare everything; print it; return whether all is well."""
    stored = [
        subject.split(".")[2] + f" {number}" for number, subject, _ in world.streams.events()
    ]
    entered = [
        f"trader-{place} {event.number}"
        for place, outbox in enumerate(world.outboxes, 1)
        for event in outbox
    ]
    missing, doubled = set(entered) - set(stored), len(stored) - len(set(stored))
    strange = set(stored) - set(entered)
    say(f"events in outboxes: {len(entered)}")
    say(
        f"stored by the servers: {len(stored)}, lost {len(missing)}, doubled {doubled}, strange {len(strange)}"
    )
    is_well = not (missing or doubled or strange)
    for name, connections in clients_of(world):
        total = told_to(world, connections)
        say(
            f"{name}: {total.live + total.copied} of {sum(total) - total.doubled} events of accounts delivered "
            f"({total.live} live, {total.copied} in the copy at one of {len(connections)} connections), "
            f"lost {total.lost}, doubled {total.doubled}"
        )
        is_well &= not (total.lost or total.doubled)
    unequal = world.unequal()
    say(f"accounts of which the relay's state is not the daemon's: {len(unequal)} {unequal or ''}")
    for line in sorted(world.wrong):
        say(line)
    errors = b"".join(path.read_bytes() for path in world.directory.glob("console.*.log"))
    if errors:
        say(f"a console wrote: {errors[-1000:].decode(errors='replace')}")
    return is_well and not (unequal or world.wrong)


def clients_of(world: DeskWorld) -> Iterator[tuple[str, list[Connection]]]:
    """Yield each client that was told JSON, and its connections."""
    assert world.watch is not None
    yield "a client of the relay", world.watch.connections
    with (world.directory / "console.json").open() as lines:
        yield "trader-console --json", console_connections(lines)


def told_to(world: DeskWorld, connections: list[Connection]) -> Delivery:
    """Return what a client was told of all accounts."""
    found = []
    for accounts, outbox in zip(world.accounts, world.outboxes, strict=True):
        for account in accounts:
            wanted = [
                (each.number, event_told(each)) for each in outbox if each.account_id == account
            ]
            came = [(each.known, each.of(account)) for each in connections]
            found.append(delivery(wanted, came, account))
    return Delivery(*map(sum, zip(*found, strict=True)))


def play(world: DeskWorld, rounds: int) -> bool:
    """Play rounds; return whether all is well."""
    begun = time.monotonic()

    def note(words: str) -> None:
        say(f"{time.monotonic() - begun:6.1f} s  {words}")

    world.start()
    world.connect_clients()
    note("all is started")
    measure(world)
    for _ in range(rounds):
        faults = world.chance.sample(FAULTS, len(FAULTS))
        for fault in (*faults, DeskWorld.lose_servers, DeskWorld.restart_everything):
            world.look()
            note(fault.__name__.replace("_", " "))
            fault(world)
            time.sleep(world.chance.uniform(1, 4))
    note("the end")
    world.settle()
    is_well = judge(world)
    snapshot(world)
    return is_well


def main(arguments: list[str]) -> int:
    """Play what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.desk_rounds", description=__doc__)
    parser.add_argument("--daemons", type=int, default=20)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=1, help="with each number of servers")
    parser.add_argument("--servers", type=int, nargs="+", choices=(1, 3), default=[1, 3])
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args(arguments)
    is_well = True
    for servers in options.servers:
        say(
            f"{options.daemons} riskd with {options.accounts} accounts, {servers} server(s), seed {options.seed}"
        )
        with tempfile.TemporaryDirectory(prefix="riskd-") as directory:
            chance = random.Random(options.seed)
            world = DeskWorld(Path(directory), options.daemons, options.accounts, servers, chance)
            try:
                is_well &= play(world, options.rounds)
            finally:
                world.close()
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
