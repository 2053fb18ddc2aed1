"""Whatever dies at a desk, what enters an outbox arrives once and in order.

``python -m tests.desk_rounds`` plays with the real programs, once with one nats-server and once with three: 20 riskd
that trade 50 accounts on paper, an uplink of each, a relay, and clients of the relay, two of them consoles.  First it
measures them while nothing is wrong, and how soon a console shows a lost link and catches up.  Then it kills each
program, the leaders of three servers and two of the three, takes the servers away for a minute, cuts, pulls and delays
links, and kills everything at once.

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
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.desk_delivery import (
    Connection,
    Delivery,
    console_connections,
    delivery,
    event_told,
)
from tests.support.desk_faults import FAULTS, LAST, OF_THREE
from tests.support.desk_figures import SOONEST_BACK, SOONEST_LOST, figures, outage, snapshot
from tests.support.desk_world import DeskWorld
from tests.support.link_proxy import LinkProxy

MEASURED_SECONDS: Final = 60.0
OUTAGES: Final = 3
"""How often each link is lost in each way."""


def say(*words: object) -> None:
    """Print."""
    print(*words, flush=True)  # noqa: T201


def lose_links(world: DeskWorld) -> bool:
    """Print how soon lost links are shown, and caught up; return whether that is soon enough."""
    is_well = True
    for way, how in (("pulled", LinkProxy.pull), ("cut", LinkProxy.cut)):
        for whose, links in (
            ("an uplink", list(filter(None, world.proxies))),
            ("the relay", [world.relay_proxies]),
        ):
            found = [
                outage(world, how, world.chance.choice(links), world.chance.uniform(0, 6))
                for _ in range(OUTAGES)
            ]
            lost, _live, back = (max(seconds) for seconds in zip(*found, strict=True))
            each = "; ".join(" and ".join(f"{part:.1f}" for part in one) for one in found)
            say(
                f"{whose}'s link {way}: LINK LOST on the screen, gone from it, and caught up: {each} s"
            )
            is_well &= lost <= SOONEST_LOST and back <= SOONEST_BACK
    return is_well


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
    errors = (world.directory / "console.log").read_bytes()
    if errors:
        say(f"a console wrote: {errors[-1000:].decode(errors='replace')}")
    return is_well and not (unequal or world.wrong)


def clients_of(world: DeskWorld) -> Iterator[tuple[str, list[Connection]]]:
    """Yield each client that was told JSON, and its connections."""
    assert world.watch is not None
    yield "a client of the relay", world.watch.connections
    yield "trader-console --json", console_connections(line for _at, line in world.lines)


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
    for line in figures(world, MEASURED_SECONDS):
        say(line)
    is_soon = lose_links(world)
    faults = FAULTS + OF_THREE if world.cluster else FAULTS
    for _ in range(rounds):
        for fault in (*world.chance.sample(faults, len(faults)), *LAST):
            world.look()
            note(fault.__name__.replace("_", " "))
            fault(world)
            time.sleep(world.chance.uniform(1, 4))
    note("the end")
    world.settle()
    is_well = judge(world)
    for line in snapshot(world):
        say(line)
    return is_well and is_soon


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
