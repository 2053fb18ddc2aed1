"""A desk with many traders, all of whose programs can be killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from riskd.journal.outbox import OutboxEvent, read_acknowledged, read_outbox
from riskd.model.event_number import Number
from tests.support.desk_delivery import Watch, known_numbers
from tests.support.desk_machines import PRACTICE, DeskMachine, TraderMachine, published
from tests.support.desk_streams import DeskStreams
from tests.support.link_proxy import LinkProxy
from tests.support.nats_server import Cluster, NatsServer, new_desk
from tests.support.waiting import wait_until

_FIRST_ACCOUNT: Final = 1001
_AT_ONCE: Final = 4
"""So many programs are started at once."""

_WRONG: Final = ("Traceback", "internal error", "Unhandled")


def settings(accounts: range) -> str:
    """Return a ``riskd.toml``: the practice accounts with other numbers, and pauses that are over soon."""
    common, micros, minis = PRACTICE.read_text().split("[[accounts]]\n")
    # A contract less is less to wait for: quotes take most of the time, and are not what is compared.
    micros = micros.replace('["MNQ", "MES", "MCL"]', '["MNQ", "MCL"]')
    minis = minis.replace('["NQ", "ES", "M2K", "MGC"]', '["NQ", "ES"]')
    blocks = [
        "[[accounts]]\n"
        + block.replace("id = 123\n", f"id = {account}\n").replace(
            "id = 456\n", f"id = {account}\n"
        )
        for account, block in zip(accounts, [micros, minis] * len(accounts), strict=False)
    ]
    text = common.replace("max_trades = 170", "max_trades = 5000") + "".join(blocks)
    for pause in (60, 90):
        text = text.replace(f"cooldown_duration = {pause}", "cooldown_duration = 5")
    return text.replace("cooldown_seconds = 60", "cooldown_seconds = 5")


class DeskWorld:
    """All the programs, in a directory of their own.

    :param servers: one or three.
    """

    def __init__(
        self, directory: Path, daemons: int, accounts: int, servers: int, chance: random.Random
    ) -> None:
        self.chance = chance
        self.directory = directory
        names = [f"trader-{number}" for number in range(1, daemons + 1)]
        path = new_desk(directory / "alpha", *names, servers=servers)
        self.config = path / "relay/desk.toml"
        self.streams = DeskStreams(self.config)
        self.cluster = Cluster(path) if servers > 1 else None
        self.servers = self.cluster.servers if self.cluster else [NatsServer(path / "server")]
        self.relay = DeskMachine(directory / "desk", self.config)
        self.proxies: list[LinkProxy] = []
        self.machines: list[TraderMachine] = []
        self.accounts: list[range] = []
        for number, name in enumerate(names):
            config = path / "traders" / name / "desk.toml"
            # The links of one in four can be cut.
            if number % 4 == 0:
                self._put_proxies_into(config)
            own = range(accounts * number // daemons, accounts * (number + 1) // daemons)
            self.accounts.append(range(_FIRST_ACCOUNT + own.start, _FIRST_ACCOUNT + own.stop))
            text = settings(self.accounts[-1])
            self.machines.append(TraderMachine(directory / name, config, text, seed=None))
        self.outboxes: list[list[OutboxEvent]] = [[] for _ in names]
        self.wrong: set[str] = set()
        self.watch: Watch | None = None
        self.watches: list[Watch] = []
        self.consoles: dict[str, subprocess.Popen[bytes]] = {}

    def _put_proxies_into(self, config: Path) -> None:
        text = config.read_text()
        for server in self.streams.servers:
            port = server.rpartition(":")[2]
            self.proxies.append(LinkProxy(int(port)))
            text = text.replace(f":{port}", f":{self.proxies[-1].port}")
        config.write_text(text)

    def start(self) -> None:
        """Start everything; wait until the relay knows all accounts."""
        self.start_servers()
        self.relay.start()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(TraderMachine.start, self.machines))
        wait_until(self.has_all)

    def start_servers(self) -> None:
        """Start the servers."""
        if self.cluster:
            self.cluster.start()
        else:
            self.servers[0].start()

    def has_all(self) -> bool:
        """Return whether the relay has a state of each account."""
        return len(known_numbers(self.relay.state)) == sum(map(len, self.accounts))

    def connect_clients(self) -> None:
        """Start the clients of the relay, and one of each daemon."""
        self.watch = Watch(self.relay.port, lambda: known_numbers(self.relay.state))
        self.watches = [Watch(machine.port) for machine in self.machines]
        where = ("--url", f"ws://localhost:{self.relay.port}", "--state", str(self.relay.state))
        program = Path(sys.executable).with_name("trader-console")
        for output in ("json", "plain"):
            with (
                (self.directory / f"console.{output}").open("wb") as lines,
                (self.directory / f"console.{output}.log").open("wb") as log,
            ):
                self.consoles[output] = subprocess.Popen(
                    [program, f"--{output}", *where], stdout=lines, stderr=log
                )
        wait_until(lambda: self.watch and self.watch.connections)

    def look(self) -> None:
        """Take from the outboxes what is new, before it is pruned; note what is wrong in the logs."""
        for machine, outbox in zip(self.machines, self.outboxes, strict=True):
            last = outbox[-1].number if outbox else Number(0, 0)
            outbox.extend(read_outbox(machine.state, last, 1_000_000))
        for log in [*self.directory.glob("*/log"), *self.directory.glob("*/uplink.log")]:
            for line in log.read_text(errors="replace").splitlines():
                if any(words in line for words in _WRONG):
                    self.wrong.add(f"{log.parent.name}: {line}")

    def close(self) -> None:
        """End everything."""
        for watch in (*self.watches, *filter(None, [self.watch])):
            watch.close()
        for program in self.consoles.values():
            program.kill()
            program.wait()
        for machine in self.machines:
            for process in (machine.riskd and machine.riskd.process, machine.uplink):
                if process:
                    process.kill()
                    process.wait()
        self.relay.stop()
        for server in self.servers:
            server.kill()
        for proxy in self.proxies:
            proxy.close()

    # What goes wrong.

    def kill_riskd(self) -> None:
        """Kill a riskd."""
        machine = self.chance.choice(self.machines)
        machine.kill_riskd()
        machine.start_riskd()

    def kill_uplink(self) -> None:
        """Kill an uplink."""
        machine = self.chance.choice(self.machines)
        machine.kill_uplink()
        time.sleep(self.chance.uniform(0, 3))
        machine.start_uplink()

    def kill_relay(self) -> None:
        """Kill the relay."""
        self.relay.kill()
        time.sleep(self.chance.uniform(0, 3))
        self.relay.start()

    def kill_server(self) -> None:
        """Kill the server, or the leader of three."""
        leader = self.streams.leader() if self.cluster else ""
        server = self.servers[int(leader[-1]) - 1 if leader else 0]
        server.kill()
        time.sleep(self.chance.uniform(0, 5))
        server.start()

    def cut_links(self) -> None:
        """Cut links for some seconds."""
        for proxy in self.proxies:
            proxy.cut()
        time.sleep(self.chance.uniform(2, 12))
        self._mend_links()

    def delay_links(self) -> None:
        """Delay what passes links, up to more than any program waits for."""
        for delay in (0.2, self.chance.uniform(3, 8)):
            for proxy in self.proxies:
                proxy.delay = delay
            time.sleep(10)
        self._mend_links()

    def _mend_links(self) -> None:
        for proxy in self.proxies:
            proxy.mend()

    def lose_servers(self) -> None:
        """Have no server for a minute, in which a riskd and an uplink are killed as well."""
        until = time.monotonic() + 60
        for server in self.servers:
            server.kill()
        self.kill_riskd()
        self.kill_uplink()
        time.sleep(max(0.0, until - time.monotonic()))
        self.start_servers()

    def restart_everything(self) -> None:
        """Kill everything but the clients, and start it again."""
        for machine in self.machines:
            machine.kill_riskd()
            machine.kill_uplink()
        self.relay.kill()
        for server in self.servers:
            server.kill()
        self.look()
        self.start()

    # The end.

    def settle(self) -> None:
        """Stop the daemons in order; wait until all that they have written has come."""
        # An uplink that meets no riskd sends nothing until there is one again.
        wait_until(lambda: all(machine.is_followed for machine in self.machines))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(TraderMachine.stop_riskd, self.machines))
        self.look()
        wait_until(self.are_acknowledged)
        with suppress(AssertionError):
            wait_until(lambda: not self.unequal())
        self.look()

    def are_acknowledged(self) -> bool:
        """Return whether the servers have all of the outboxes."""
        return all(
            (read_acknowledged(machine.state) or Number(0, 0)) >= outbox[-1].number
            for machine, outbox in zip(self.machines, self.outboxes, strict=True)
        )

    def unequal(self) -> list[int]:
        """Return the accounts of which the relay has another state than its riskd."""
        known = published(self.relay.state)
        own = {key: each for m in self.machines for key, each in published(m.state).items()}
        return [key for key in own.keys() | known.keys() if own.get(key) != known.get(key)]
