"""riskd, an uplink and a desk's server, as users run them, and what is stored over kills."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from riskd.journal.outbox import read_outbox
from riskd.journal.reader import read_published
from riskd.model.account import AccountState
from riskd.model.event_number import Number
from riskd.model.events import Status
from tests.integration.programs import riskctl
from tests.support.desk_machines import TraderMachine
from tests.support.desk_streams import DeskStreams
from tests.support.journal import restored
from tests.support.nats_server import NatsServer, new_desk
from tests.support.waiting import wait_until

ACCOUNTS = "[[accounts]]\nid = 123\n[[accounts]]\nid = 456\n"


class Machine(TraderMachine):
    """A trader's machine that has events when a test needs them."""

    @property
    def numbers(self) -> list[Number]:
        """Those of all events in the outbox."""
        return [event.number for event in read_outbox(self.state, Number(0, 0), 1_000_000)]

    def act(self) -> None:
        """Let riskd have events, whatever its market does."""
        before = len(self.numbers)
        for command in ("lock", "unlock"):
            result = riskctl(f"--state={self.state}", command, "123", "--reason", "a pause")
            assert result.returncode == 0, result
        wait_until(lambda: len(self.numbers) >= before + 2)


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
    machine = Machine(tmp_path / "machine", desk[1] / "traders/anna/desk.toml", ACCOUNTS)
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
    machine.start()
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
    machine.stop_riskd()
    wait_until(lambda: {number for number, _, _ in streams.events()} >= {*machine.numbers})
    stored = [number for number, _, _ in streams.events()]
    assert len(stored) == len(machine.numbers)
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
    machine.start()

    def status() -> object:
        beat = streams.beat("anna")
        return beat and (beat.status, set(beat.accounts))

    wait_until(lambda: status() == (Status.RUNNING, {123, 456}))
    machine.kill_riskd()
    wait_until(lambda: status() == (None, {123, 456}))
    # One that is started without riskd sends what riskd has left.
    machine.kill_uplink()
    machine.start_uplink()
    words = f"what it has left in {machine.state}"
    wait_until(lambda: words in machine.uplink_log)
