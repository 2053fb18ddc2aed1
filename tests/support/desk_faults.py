"""What goes wrong at a desk; each function returns when it is over, and everything runs again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Final

from tests.support.desk_world import DeskWorld
from tests.support.link_proxy import LinkProxy
from tests.support.nats_server import NatsServer
from tests.support.waiting import wait_until

_META_LEADER: Final = re.compile(
    r"(\d\d:\d\d:\d\d\.\d+) .*new metadata leader: \S*?(\d)\b|"
    r"(\d\d:\d\d:\d\d\.\d+) .*Self is new JetStream cluster metadata leader"
)

LOST_MINUTE: Final = 60.0


def kill_riskd(world: DeskWorld) -> None:
    """Kill a riskd."""
    machine = world.chance.choice(world.machines)
    machine.kill_riskd()
    machine.start_riskd()


def kill_uplink(world: DeskWorld) -> None:
    """Kill an uplink."""
    machine = world.chance.choice(world.machines)
    machine.kill_uplink()
    time.sleep(world.chance.uniform(0, 3))
    machine.start_uplink()


def kill_relay(world: DeskWorld) -> None:
    """Kill the relay."""
    world.relay.kill()
    time.sleep(world.chance.uniform(0, 3))
    world.relay.start()


def kill_server(world: DeskWorld) -> None:
    """Kill the server; of three, the one that leads the stream of events."""
    leader = world.streams.leader() if world.cluster else ""
    _kill_one(world, world.servers[int(leader[-1]) - 1 if leader else 0])


def kill_meta_leader(world: DeskWorld) -> None:
    """Kill the one of three servers that leads them all."""
    _kill_one(world, meta_leader(world.servers))


def kill_two_servers(world: DeskWorld) -> None:
    """Kill two of three servers, so that nothing can be stored."""
    two = world.chance.sample(world.servers, 2)
    for server in two:
        server.kill()
    time.sleep(world.chance.uniform(5, 15))
    for server in two:
        server.start(is_waiting=False)
    wait_until(lambda: all("Server is ready" in each.log for each in two))


def _kill_one(world: DeskWorld, server: NatsServer) -> None:
    server.kill()
    time.sleep(world.chance.uniform(0, 5))
    server.start()


def cut_links(world: DeskWorld) -> None:
    """Cut links for some seconds."""
    _break(world, LinkProxy.cut, world.chance.uniform(2, 12))


def pull_links(world: DeskWorld) -> None:
    """Let all packets of links vanish for some seconds."""
    _break(world, LinkProxy.pull, world.chance.uniform(2, 20))


def delay_links(world: DeskWorld) -> None:
    """Delay what passes links, up to more than any program waits for."""
    for delay in (0.2, world.chance.uniform(3, 8)):
        _break(world, lambda proxy, delay=delay: setattr(proxy, "delay", delay), 10)


def _break(world: DeskWorld, how: Callable[[LinkProxy], object], seconds: float) -> None:
    for proxy in world.all_proxies:
        how(proxy)
    time.sleep(seconds)
    mend(world.all_proxies)


def mend(proxies: Iterable[LinkProxy]) -> None:
    """Let everything pass again."""
    for proxy in proxies:
        proxy.mend()


def lose_servers(world: DeskWorld) -> None:
    """Have no server for a minute, in which a riskd and an uplink are killed as well."""
    until = time.monotonic() + LOST_MINUTE
    for server in world.servers:
        server.kill()
    kill_riskd(world)
    kill_uplink(world)
    time.sleep(max(0.0, until - time.monotonic()))
    world.start_servers()


def restart_everything(world: DeskWorld) -> None:
    """Kill everything but the clients, and start it again."""
    for machine in world.machines:
        machine.kill_riskd()
        machine.kill_uplink()
    world.relay.kill()
    for server in world.servers:
        server.kill()
    world.look()
    world.start()


FAULTS: Final = (
    kill_riskd,
    kill_uplink,
    kill_relay,
    kill_server,
    cut_links,
    pull_links,
    delay_links,
)
"""In any order."""

OF_THREE: Final = (kill_meta_leader, kill_two_servers)
"""Likewise, with three servers."""

LAST: Final = (lose_servers, restart_everything)
"""After those."""


def meta_leader(servers: list[NatsServer]) -> NatsServer:
    """Return the server that leads the cluster, as the servers' logs say."""
    found = []
    for number, server in enumerate(servers, 1):
        for match in _META_LEADER.finditer(server.log):
            other_at, other, own_at = match.groups()
            found.append((own_at or other_at, int(other or number)))
    return servers[max(found)[1] - 1]
