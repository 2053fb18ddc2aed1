"""A trader's riskd and uplink, a desk's server and relay, and clients of the relay, as users run them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from riskd.journal.reader import read_published
from riskd.model.events import LINK_LOST, Status
from tests.integration.programs import run
from tests.support.desk_machines import DeskMachine, Recorder, TraderMachine, is_part, published
from tests.support.nats_server import NatsServer, new_desk
from tests.support.twistd import twistd_command
from tests.support.waiting import wait_until


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    path = new_desk(tmp_path / "alpha", "anna")
    server = NatsServer(path / "server")
    server.start()
    try:
        yield path
    finally:
        server.kill()


@pytest.fixture
def relay(tmp_path: Path, desk: Path) -> Iterator[DeskMachine]:
    machine = DeskMachine(tmp_path / "desk", desk / "relay/desk.toml")
    machine.start()
    try:
        yield machine
    finally:
        machine.stop()


@pytest.fixture
def anna(tmp_path: Path, desk: Path) -> Iterator[TraderMachine]:
    machine = TraderMachine(tmp_path / "anna", desk / "traders/anna/desk.toml")
    machine.start()
    try:
        yield machine
    finally:
        machine.stop()


def shown(state: Path) -> dict[int, Status | None]:
    """Return the status that each account of a published copy shows."""
    return {
        key: each.daemon and each.daemon.status
        for key, each in read_published(state).accounts.items()
    }


def test_a_killed_relay_goes_on_and_no_event_is_lost_or_doubled(
    relay: DeskMachine, anna: TraderMachine
) -> None:
    wait_until(lambda: relay.has_said("anna: "))
    before = Recorder(relay.port)
    anna.trade(3)
    wait_until(lambda: len(before.events) >= 2)
    relay.kill()
    before.close()
    anna.trade(1)
    relay.start()
    after = Recorder(relay.port)
    # What came meanwhile is in the copy that a client reads after its handshake.
    anna.trade(2)
    anna.stop_riskd()
    outbox = anna.outbox
    wait_until(lambda: after.events[-1:] == outbox[-1:])
    assert is_part([*before.events], outbox)
    assert is_part([*after.events], outbox)
    assert not {*before.events} & {*after.events}
    wait_until(lambda: published(relay.state) == published(anna.state))
    wait_until(lambda: relay.has_said("DAEMON GONE"))
    after.close()


def test_a_pulled_link_is_told_within_12_seconds_and_its_return_within_3(
    relay: DeskMachine, anna: TraderMachine
) -> None:
    wait_until(lambda: relay.has_said("RUNNING: anna: "))
    client = Recorder(relay.port)
    statuses = {123: Status.RUNNING, 456: Status.RUNNING}
    wait_until(lambda: shown(relay.state) == statuses)
    begun = time.monotonic()
    anna.pull_link()
    wait_until(lambda: client.statuses)
    assert time.monotonic() - begun < 12
    ((status, message),) = client.statuses
    assert (status, message[: len(LINK_LOST)]) == ("ERROR", LINK_LOST)
    # The copy says so at once, which a console reads then.
    assert set(shown(relay.state).values()) == {Status.ERROR}
    anna.trade(1)
    begun = time.monotonic()
    anna.mend_link()
    wait_until(lambda: client.statuses[-1][0] == "RUNNING" and client.events)
    assert time.monotonic() - begun < 3
    assert shown(relay.state) == statuses
    client.close()


def test_what_is_wrong_at_the_start_is_one_line(tmp_path: Path) -> None:
    command = [each for each in twistd_command() if each != "riskd"]
    for arguments, words in (
        ([], "riskd-relay: expected --config with the file desk.toml"),
        (["--config", "desk.toml"], "riskd-relay: desk.toml: cannot be read"),
        (["--port", "x"], "riskd-relay: port 'x' is not a number"),
    ):
        done = run(*command, "riskd-relay", *arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith(words), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
