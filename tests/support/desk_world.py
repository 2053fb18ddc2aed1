"""A desk with many traders, all of whose programs can be killed."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from riskd.journal.outbox import OutboxEvent, read_acknowledged, read_outbox
from riskd.model.event_number import Number
from tests.support.desk_delivery import Watch, known_numbers
from tests.support.desk_machines import PRACTICE, DeskMachine, TraderMachine, published
from tests.support.desk_screen import DeskScreen
from tests.support.desk_streams import DeskStreams
from tests.support.link_proxy import LinkProxy, put_proxies_into
from tests.support.nats_server import Cluster, NatsServer, new_desk
from tests.support.waiting import wait_until

_FIRST_ACCOUNT: Final = 1001
_AT_ONCE: Final = 4
"""So many programs are started at once."""

_MORE_ROWS: Final = 20
"""Rows of the screen for more than the accounts."""

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
    # Without a name, an account's row on the screen has its number.
    text = re.sub(r'name = "Practice .*"\n', "", text)
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
        # Files are named relative to it.
        of_relay = self.config.with_name("desk-by-proxy.toml")
        of_relay.write_text(self.config.read_text())
        self.relay_proxies = put_proxies_into(of_relay, self.streams.servers)
        self.relay = DeskMachine(directory / "desk", of_relay)
        self.proxies: list[list[LinkProxy]] = []
        self.machines: list[TraderMachine] = []
        self.accounts: list[range] = []
        for number, name in enumerate(names):
            config = path / "traders" / name / "desk.toml"
            # The links of one in four can be cut, and that of the relay.
            self.proxies.append(
                [] if number % 4 else put_proxies_into(config, self.streams.servers)
            )
            own = range(accounts * number // daemons, accounts * (number + 1) // daemons)
            self.accounts.append(range(_FIRST_ACCOUNT + own.start, _FIRST_ACCOUNT + own.stop))
            text = settings(self.accounts[-1])
            self.machines.append(TraderMachine(directory / name, config, text, seed=None))
        self.outboxes: list[list[OutboxEvent]] = [[] for _ in names]
        self.wrong: set[str] = set()
        self.watch: Watch | None = None
        self.watches: list[Watch] = []
        self.screen: DeskScreen | None = None
        self.lines: list[tuple[float, str]] = []
        self._console: subprocess.Popen[bytes] | None = None

    @property
    def all_proxies(self) -> list[LinkProxy]:
        """Those of the traders and of the relay."""
        return [each for proxies in (*self.proxies, self.relay_proxies) for each in proxies]

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
        with (self.directory / "console.log").open("wb") as log:
            self._console = subprocess.Popen(
                [program, "--json", *where], stdout=subprocess.PIPE, stderr=log, text=True
            )
        threading.Thread(target=self._read_lines, args=(self._console,), daemon=True).start()
        count = sum(map(len, self.accounts))
        self.screen = DeskScreen(self.relay.port, self.relay.state, rows=count + _MORE_ROWS)
        wait_until(lambda: self.watch and self.watch.connections)
        wait_until(lambda: self.screen and len(self.screen.standings) == count)

    def _read_lines(self, console: subprocess.Popen[str]) -> None:
        assert console.stdout is not None
        for line in console.stdout:
            self.lines.append((time.monotonic(), line))

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
        if self.screen:
            self.screen.close()
        if self._console:
            self._console.kill()
            self._console.wait()
        for machine in self.machines:
            for process in (machine.riskd and machine.riskd.process, machine.uplink):
                if process:
                    process.kill()
                    process.wait()
        self.relay.stop()
        for server in self.servers:
            server.kill()
        for proxy in self.all_proxies:
            proxy.close()

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
