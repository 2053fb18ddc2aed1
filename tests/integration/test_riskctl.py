"""``riskctl`` and a real daemon: the socket, its permissions, and each command end to end."""

from __future__ import annotations

import csv
import getpass
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from riskd.app.riskctl.main import main, parse
from riskd.app.riskctl.online import run_with_daemon
from riskd.control.protocol import MAX_PATH_BYTES, SOCKET_NAME
from riskd.host.errors import UserError
from riskd.journal.reader import read_published
from tests.integration.programs import riskctl, run
from tests.support.twistd import Twistd, twistd_command
from tests.support.waiting import DEADLINE_SECONDS, POLL_SECONDS, wait_until

Start = Callable[..., Twistd]

STRANGER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def output_of(state: Path, *arguments: str) -> str:
    """Return the output of a command that must succeed."""
    result = riskctl("--state", str(state), *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


async def output_in_process(state: Path, *arguments: str) -> str:
    """Return a command's output, run inside this process to save starting another.

    :raises UserError: the command failed.
    """
    options = parse(["--state", str(state), *arguments], datetime.now(UTC))
    return await run_with_daemon(reactor, options)


async def status_of(state: Path, account_id: int) -> dict[str, Any]:
    report = json.loads(await output_in_process(state, "status", "--json"))
    return next(each for each in report["accounts"] if each["account"] == account_id)


async def wait_for_status(state: Path, account_id: int, **expected: bool) -> dict[str, Any]:
    """Wait until each named part of an account's status is present or absent; return the status."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        account = await status_of(state, account_id)
        if all(bool(account[part]) is there for part, there in expected.items()):
            return account
        assert time.monotonic() < deadline, f"waited in vain: {account}"
        await deferLater(reactor, POLL_SECONDS)


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """Return the shared daemon's state directory, in a place that every user can reach."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path / "s"


@pytest.fixture(scope="module")
def daemon(shared_twistd: Start, state: Path) -> Twistd:
    return start(shared_twistd, state)


def start(twistd: Start, state: Path) -> Twistd:
    return twistd("--port", "0", "--state", str(state), "--practice-seed", "3")


# First, while the traders have just begun: later a trader may pause for long.
@pytest_twisted.ensureDeferred
async def test_flatten_closes_the_positions_and_is_in_the_journal(
    daemon: Twistd, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*options: str) -> list[str]:
        assert main(["--state", str(state), "journal", "456", *options]) == 0
        return capsys.readouterr().out.splitlines()

    def was_done() -> bool:
        lines = (json.loads(line) for line in told("--since", "1h", "--jsonl"))
        return any(line["data"].get("rule_id") == "OPERATOR" for line in lines)

    await wait_for_status(state, 456, positions=True)
    # At once: the trader may close the position first.
    assert "flattened" in await output_in_process(state, "flatten", "456", "--reason", "=1+1")
    wait_until(was_done)
    lines = [json.loads(line) for line in told("--since", "1h", "--jsonl")]
    (ordered,) = [line["data"] for line in lines if line["kind"] == "operator"]
    assert (ordered["command"], ordered["reason"]) == ("flatten", "=1+1")
    assert "flatten by" in output_of(state, "journal", "456")
    report = output_of(state, "report", "456")
    assert report.startswith("<!DOCTYPE html>")
    assert "still running, as of" in report
    assert "Operator: flatten by" in report
    rows = list(csv.DictReader(told("--csv")))
    assert "'=1+1" in [row["reason"] for row in rows]


@pytest_twisted.ensureDeferred
async def test_status(daemon: Twistd, state: Path) -> None:
    first, *_ = output_of(state, "status").splitlines()
    assert re.match(r"riskd .* on the practice gateway: RUNNING, \d\d:\d\d:\d\d: ", first)
    assert (await status_of(state, 123))["locks"] == []


@pytest_twisted.ensureDeferred
async def test_rules(daemon: Twistd, state: Path) -> None:
    assert "RULE-001  max_contracts" in output_of(state, "rules", "123")
    report = json.loads(await output_in_process(state, "rules", "123", "--json"))
    rules = {rule["key"]: rule for rule in report["rules"]}
    (gauge,) = rules["max_contracts"]["gauges"]
    assert (gauge["limit"], gauge["unit"]) == (3, "contracts")
    assert [rule["trouble"] for rule in report["rules"]] == [""] * len(rules)


@needs_root
def test_another_user_may_not_open_the_socket(daemon: Twistd, state: Path) -> None:
    program = f"""
import os, sys
# All that it imports, while it may read where riskd is installed.
import riskd.app.riskctl.online, riskd.control.server, twisted.internet.endpoints
import twisted.internet.reactor, twisted.internet.task
from riskd.app.riskctl.main import main
os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})
sys.exit(main(["--state", {str(state)!r}, "flatten", "123"]))
"""
    result = run(sys.executable, "-c", program)
    assert result.returncode == 1
    assert "permission denied: only root" in result.stderr
    assert "flatten account 123" not in daemon.log


@pytest_twisted.ensureDeferred
async def test_garbage_on_the_socket_does_not_harm_the_daemon(daemon: Twistd, state: Path) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(100_000), b"\x00" * 100):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_SECONDS)
            client.connect(str(state / SOCKET_NAME))
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(garbage)
    await output_in_process(state, "status")
    assert daemon.process.poll() is None
    assert "Traceback" not in daemon.log


def test_an_account_that_riskd_does_not_follow_is_refused(daemon: Twistd, state: Path) -> None:
    result = riskctl("--state", str(state), "flatten", "99")
    assert result.returncode == 1
    assert result.stderr == "riskctl: riskd does not follow account 99, only 123, 456\n"


def test_a_reader_may_close_the_pipe_early(daemon: Twistd, state: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        result = subprocess.run(
            [sys.executable, "-m", "riskd.app.riskctl.main", "--state", str(state), "status"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "")


@pytest_twisted.ensureDeferred
async def test_lock_and_unlock(twistd: Start, state_home: Path) -> None:
    """A lock closes positions, holds, ends on command, and is in the log."""
    state = state_home / "s"
    daemon = start(twistd, state)
    await wait_for_status(state, 123, positions=True)
    assert "is locked until" in output_of(
        state, "lock", "123", "--reason", "lunch", "--minutes", "90"
    )
    account = await wait_for_status(state, 123, flattening=False)
    assert account["positions"] == []
    (lock,) = account["locks"]
    assert (lock["reason"], lock["rule_id"]) == ("lunch", "OPERATOR")
    assert "123: LOCKED until" in await output_in_process(state, "status")

    assert output_of(state, "unlock", "123", "--reason", "back") == "account 123 is unlocked\n"
    assert (await status_of(state, 123))["locks"] == []
    again = riskctl("--state", str(state), "unlock", "123", "--reason", "back")
    assert (again.returncode, again.stderr) == (1, "riskctl: account 123 is not locked\n")

    me = getpass.getuser()
    assert f"operator {me}: lock account 123: lunch" in daemon.log
    assert f"operator {me}: unlock account 123: back" in daemon.log
    assert "Traceback" not in daemon.log


@pytest_twisted.ensureDeferred
async def test_an_answered_command_survives_a_kill_and_the_socket_goes_with_the_daemon(
    twistd: Start, state_home: Path
) -> None:
    own = state_home / "s"
    path = own / SOCKET_NAME
    daemon = start(twistd, own)
    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o600
    await output_in_process(own, "lock", "456", "--reason", "enough")
    daemon.process.kill()
    daemon.wait()
    with pytest.raises(UserError, match="riskd is not running"):
        await output_in_process(own, "status")

    again = start(twistd, own)
    (lock,) = (await status_of(own, 456))["locks"]
    assert (lock["reason"], lock["locked_until"]) == ("enough", None)
    again.send_signal(signal.SIGTERM)
    assert again.wait() == 0
    assert not path.exists()
    result = riskctl("--state", str(own), "status")
    assert result.returncode == 1
    assert result.stderr == f"riskctl: riskd is not running (no answer at {path})\n"
    # riskctl reads the journal without a daemon, too.
    assert "lock by" in output_of(own, "journal", "456")


@pytest_twisted.ensureDeferred
async def test_the_firms_floor_survives_a_kill_beside_a_preset(
    twistd: Start, state_home: Path
) -> None:
    config, own = state_home / "riskd.toml", state_home / "s"
    config.write_text('[[accounts]]\nid = 123\nwatch = ["MNQ"]\npreset = "topstep-50k"\n')
    arguments = ("--port", "0", "--state", str(own), "--config", str(config))
    daemon = twistd(*arguments)
    account = await status_of(own, 123)
    assert (account["floor"]["amount"], account["floor"]["source"]) == (48000, "estimate")
    assert await output_in_process(own, "floor", "123", "48500") == (
        "account 123: the floor is $48,500.00 by the firm's figure (it was $48,000.00)"
    )
    daemon.process.kill()
    daemon.wait()
    journal = output_of(own, "journal", "123")
    assert "The floor of account 123 is $48,500.00 by the firm's figure" in journal

    again = twistd(*arguments)
    assert "123: floor $48,500.00 by the firm's figure" in output_of(own, "status")
    assert "floor $48,500.00 by the firm's figure" in output_of(own, "rules", "123")
    published = read_published(own).accounts[123].balance
    assert published.firm_floor is not None
    assert published.firm_floor.amount == 48500
    for amount, words in (
        ("60000", "riskd closes everything and locks the account at once; add --yes"),
        ("47000", "expected at least $48,000.00, which is starting_balance less drawdown"),
    ):
        refused = riskctl("--state", str(own), "floor", "123", amount)
        assert refused.returncode == 1
        assert words in refused.stderr
    assert not (await status_of(own, 123))["locks"]
    await output_in_process(own, "floor", "123", "60000", "--yes")
    (lock,) = (await wait_for_status(own, 123, locks=True))["locks"]
    assert lock["rule_id"] == "RULE-014"

    # A looser key is refused, at a reload and at a start.
    config.write_text(f"{config.read_text()}[accounts.rules.maximum_loss]\ndrawdown = 2500\n")
    sentence = "drawdown: expected 2000 or less beside preset topstep-50k, got 2500"
    again.send_signal(signal.SIGHUP)
    wait_until(lambda: sentence in again.log)
    again.send_signal(signal.SIGTERM)
    assert again.wait() == 0
    result = run(*twistd_command(*arguments))
    assert result.returncode == 1
    assert sentence in result.stderr


@pytest_twisted.ensureDeferred
async def test_a_path_too_long_for_a_socket_stops_only_the_socket(tmp_path: Path) -> None:
    state = tmp_path / ("x" * MAX_PATH_BYTES)
    log = tmp_path / "log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            twistd_command("--port", "0", "--state", str(state)),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: "status ERROR: riskctl cannot reach this riskd" in log.read_text())
        wait_until(lambda: "listening on" in log.read_text())
        port = int(re.findall(r"listening on ws://127.0.0.1:(\d+)", log.read_text())[0])
        with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as client:
            # Only a running reactor answers, and until it runs a signal would kill the daemon.
            client.sendall(b"nonsense\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    finally:
        daemon.terminate()
        assert daemon.wait(DEADLINE_SECONDS) == 0
    with pytest.raises(UserError, match="bytes long"):
        await output_in_process(state, "status")


def test_wrong_usage_is_2(tmp_path: Path) -> None:
    result = riskctl("--state", str(tmp_path), "unlock", "123")
    assert result.returncode == 2
    assert result.stderr.startswith("usage: riskctl")
