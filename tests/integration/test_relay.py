"""A trader's riskd and uplink, a desk's server and relay, and clients of the relay, as users run them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from riskd.desk.settings import load_desk
from riskd.journal.reader import read_published
from riskd.model.desk_status import LINK_LOST
from riskd.model.events import Status
from tests.integration.alerts_program import AlertsProgram, Sink
from tests.integration.programs import riskctl, run
from tests.support.chromium import Chromium
from tests.support.desk_machines import DeskMachine, Recorder, TraderMachine, is_part, published
from tests.support.desk_screen import DeskScreen
from tests.support.link_proxy import put_proxies_into
from tests.support.nats_server import NatsServer, new_desk
from tests.support.twistd import twistd_command
from tests.support.waiting import wait_until
from tests.support.web_console import WebConsole

ROWS = ("123", "456", "789")
"""The accounts on a console's screen."""

SETTINGS = """
[rules.daily_realized_loss]
loss_limit = 100_000
"""
ANNA = f"{SETTINGS}[[accounts]]\nid = 123\n[[accounts]]\nid = 456\n"
BEN = f"{SETTINGS}[[accounts]]\nid = 789\n"
"""Nothing locks these accounts by itself."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Path]:
    path = new_desk(tmp_path / "alpha", "anna", "ben")
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


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@contextmanager
def alerts_at(relay: DeskMachine, sink: Sink, log: Path) -> Iterator[AlertsProgram]:
    """Run ``trader-alerts`` at the desk."""
    url = f"ws://localhost:{relay.port}"
    program = AlertsProgram(log, "--target", sink.target, "--url", url)
    try:
        wait_until(lambda: "connected to ws://" in program.log)
        yield program
    finally:
        status = program.end()
    assert (status, "Traceback" in program.log) == (0, False)


@pytest.fixture
def alerts(
    tmp_path: Path, relay: DeskMachine, anna: TraderMachine, sink: Sink
) -> Iterator[AlertsProgram]:
    """Start ``trader-alerts``, once anna's accounts are there."""
    wait_until(lambda: relay.has_said("RUNNING: anna: "))
    with alerts_at(relay, sink, tmp_path / "alerts.log") as program:
        yield program


def test_a_killed_relay_goes_on_and_no_event_is_lost_or_doubled(
    relay: DeskMachine, anna: TraderMachine, alerts: AlertsProgram
) -> None:
    # An account's events of before its first state are in that.
    wait_until(lambda: shown(relay.state) == {123: Status.RUNNING, 456: Status.RUNNING})
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
    # The start of the relay was no alarm, of which it is the last that was said.
    wait_until(lambda: "gone of 123, 456: DAEMON GONE" in alerts.log)
    assert "back of 123, 456: The relay is back, after" in alerts.log
    assert "error of " not in alerts.log


def test_a_console_shows_a_lost_link_within_12_seconds_and_catches_up_within_3(
    tmp_path: Path, relay: DeskMachine, desk: Path, sink: Sink
) -> None:
    """Of two traders the link of one is pulled, so that all packets vanish, and that of the other is cut."""
    with ExitStack() as stack:
        machines = []
        for name, settings in (("anna", ANNA), ("ben", BEN)):
            config = desk / "traders" / name / "desk.toml"
            (proxy,) = put_proxies_into(config, load_desk(config).servers)
            stack.callback(proxy.close)
            machines.append((TraderMachine(tmp_path / name, config, settings), proxy))
            stack.callback(machines[-1][0].stop)
        for machine, _proxy in machines:
            machine.start()
        client = stack.enter_context(closing(Recorder(relay.port)))
        screen = stack.enter_context(closing(DeskScreen(relay.port, relay.state)))
        screen.wait_for_standing("free", ROWS)
        (anna, pulled), (_ben, cut) = machines
        assert "DAEMON GONE" not in relay.log
        stack.enter_context(alerts_at(relay, sink, tmp_path / "alerts.log"))
        client.statuses.clear()
        begun = time.monotonic()
        pulled.pull()
        cut.cut()
        assert screen.wait_for_standing(LINK_LOST, ROWS) - begun < 12
        # Each client has the events in its own time, and the copy has them after all.
        wait_until(lambda: client.statuses)
        for status, message in client.statuses:
            assert (status, message[: len(LINK_LOST)]) == ("ERROR", LINK_LOST)
        wait_until(lambda: set(shown(relay.state).values()) == {Status.ERROR})
        lock = riskctl(f"--state={anna.state}", "lock", "123", "--reason", "a pause")
        assert lock.returncode == 0, lock
        begun = time.monotonic()
        pulled.mend()
        cut.mend()
        assert screen.wait_for_standing("LOCKED", ROWS[:1]) - begun < 3
        assert screen.wait_for_standing("free", ROWS[1:]) - begun < 3
        statuses = {123: Status.RUNNING, 456: Status.RUNNING, 789: Status.RUNNING}
        wait_until(lambda: shown(relay.state) == statuses)
        wait_until(lambda: sink.heard("RUNNING again (accounts 123, 456): anna: "))
        whose = "anna (accounts 123, 456)"
        assert sink.heard("LINK LOST since", whose, "enforces there is not known")
        lock_of = "account 123 (desk, anna): LOCKED OUT"
        wait_until(lambda: sink.heard(lock_of, "a pause (OPERATOR)"))


def test_a_browser_shows_all_accounts_and_one(relay: DeskMachine, anna: TraderMachine) -> None:
    with ExitStack() as stack:
        browser = stack.enter_context(closing(Chromium()))
        wait_until(lambda: relay.has_said("RUNNING: anna: "))
        options = ("--url", f"ws://localhost:{relay.port}", "--state", str(relay.state))
        consoles = [
            stack.enter_context(closing(WebConsole(*options, *of))) for of in ([], ["456"])
        ]
        of_all, of_one = [browser.open(each.url) for each in consoles]
        of_all.wait_for("123", "456", "LIVE")
        of_one.wait_for("account 456", "LIVE")
        riskctl(f"--state={anna.state}", "lock", "456", "--reason", "a pause")
        of_all.wait_for("LOCKED")
        of_one.wait_for("LOCKED", "a pause")
        # Events come ahead of the copy that riskctl reads.
        wait_until(lambda: read_published(relay.state).accounts[456].lockouts)
        status = riskctl(f"--state={relay.state}", "status")
        assert (status.returncode, status.stderr) == (0, "")
        assert f"on port {relay.port}: it shows" in status.stdout
        assert re.search(r"456 +anna +RUNNING .* until it is unlocked", status.stdout)
        anna.kill_riskd()
        for tab in (of_all, of_one):
            tab.wait_for("DAEMON GONE", "of anna")
        for console in consoles:
            assert console.end() == (0, "")


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
