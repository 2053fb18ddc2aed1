"""riskd, an uplink and a desk's server, as users run them, and what is stored over kills."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from riskd.journal.outbox import read_outbox
from riskd.journal.reader import read_published
from riskd.model.account import AccountState
from riskd.model.event_number import Number
from riskd.model.events import Status
from tests.desk.test_copy_rows import restored
from tests.integration.programs import riskctl
from tests.support.desk_streams import DeskStreams
from tests.support.nats_server import NatsServer, free_ports, new_desk
from tests.support.twistd import Twistd
from tests.support.waiting import DEADLINE_SECONDS, wait_until

CONFIG = """
[[accounts]]
id = 123

[[accounts]]
id = 456

[desk]
outbox = true
"""


class Machine:
    """A trader's machine: riskd with an outbox, and an uplink."""

    def __init__(self, directory: Path, config: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self._config = config
        (self._port,) = free_ports(1)
        (directory / "riskd.toml").write_text(CONFIG)
        with config.open("a") as file:
            file.write(f'\n[uplink]\nurl = "ws://localhost:{self._port}"\n')
        self.riskd: Twistd | None = None
        self.uplink: subprocess.Popen[bytes] | None = None

    def start_riskd(self) -> None:
        arguments = ("--config", "riskd.toml", "--port", str(self._port), "--practice-seed", "7")
        self.riskd = Twistd(self.directory, *arguments, f"--state={self.state}")

    def start_uplink(self) -> None:
        twistd = Path(sys.executable).with_name("twistd")
        with (self.directory / "uplink.log").open("ab") as log:
            self.uplink = subprocess.Popen(
                [twistd, "-n", "--pidfile=", "riskd-uplink", f"--config={self._config}"],
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill_riskd(self) -> None:
        assert self.riskd is not None
        self.riskd.send_signal(signal.SIGKILL)
        self.riskd.wait()

    def kill_uplink(self) -> None:
        assert self.uplink is not None
        self.uplink.kill()
        self.uplink.wait()

    def stop(self) -> None:
        for process in (self.riskd.process if self.riskd else None, self.uplink):
            if process is not None:
                process.terminate()
                process.wait(DEADLINE_SECONDS)

    @property
    def outbox(self) -> list[Number]:
        return [event.number for event in read_outbox(self.state, Number(0, 0), 1_000_000)]

    def act(self) -> None:
        """Let riskd have events, whatever its market does."""
        before = len(self.outbox)
        for command in ("lock", "unlock"):
            result = riskctl(f"--state={self.state}", command, "123", "--reason", "a pause")
            assert result.returncode == 0, result
        wait_until(lambda: len(self.outbox) >= before + 2)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[NatsServer, Path]]:
    path = new_desk(tmp_path / "alpha", "anna")
    server = NatsServer(path / "server")
    server.start()
    try:
        yield server, path
    finally:
        server.kill()


@pytest.fixture
def machine(tmp_path: Path, desk: tuple[NatsServer, Path]) -> Iterator[Machine]:
    directory = tmp_path / "machine"
    directory.mkdir()
    machine = Machine(directory, desk[1] / "traders/anna/desk.toml")
    try:
        yield machine
    finally:
        machine.stop()


def sent_state(streams: DeskStreams, account_id: int) -> AccountState | None:
    """Return an account as a desk has it."""
    state = streams.state("anna", account_id)
    return None if state is None else restored(state)


def test_what_enters_the_outbox_is_stored_once_in_order_over_kills(
    machine: Machine, desk: tuple[NatsServer, Path]
) -> None:
    server, path = desk
    streams = DeskStreams(path / "relay/desk.toml")
    streams.make()
    machine.start_riskd()
    machine.start_uplink()
    machine.act()
    wait_until(lambda: len(streams.events()) >= 2)
    machine.kill_uplink()
    machine.act()
    machine.start_uplink()
    server.kill()
    machine.act()
    server.start()
    machine.kill_riskd()
    machine.start_riskd()
    machine.act()
    assert machine.riskd is not None
    machine.riskd.send_signal(signal.SIGTERM)
    machine.riskd.wait()
    wait_until(lambda: {number for number, _, _ in streams.events()} >= {*machine.outbox})
    stored = [number for number, _, _ in streams.events()]
    assert len(stored) == len(machine.outbox)
    assert stored == sorted(stored)
    assert len({number.epoch for number in stored}) == 2
    # The last state is that of the published copy, with the number of the last event.
    wait_until(lambda: getattr(streams.state("anna", 123), "number", None) == stored[-1])
    for account_id, account in read_published(machine.state).accounts.items():
        # Other quotes alone come a while later.
        wait_until(lambda key=account_id, whole=account: sent_state(streams, key) == whole)
    wait_until(lambda: getattr(streams.beat("anna"), "number", None) == stored[-1])


def test_a_heartbeat_says_whether_riskd_is_there(
    machine: Machine, desk: tuple[NatsServer, Path]
) -> None:
    streams = DeskStreams(desk[1] / "relay/desk.toml")
    streams.make()
    machine.start_riskd()
    machine.start_uplink()

    def status() -> object:
        beat = streams.beat("anna")
        return beat and (beat.status, set(beat.accounts))

    wait_until(lambda: status() == (Status.RUNNING, {123, 456}))
    machine.kill_riskd()
    wait_until(lambda: status() == (None, {123, 456}))
    # One that is started without riskd sends what riskd has left.
    machine.kill_uplink()
    machine.start_uplink()
    log = machine.directory / "uplink.log"
    wait_until(lambda: f"what it has left in {machine.state}" in log.read_text())
