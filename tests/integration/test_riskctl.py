"""``riskctl`` and a real daemon: the socket, who may open it, and every command from end to end."""

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
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from riskd.control import MAX_PATH_BYTES, SOCKET_NAME
from tests.integration.conftest import DEADLINE_SECONDS, Twistd, twistd_command, wait_until

Start = Callable[..., Twistd]
Completed = subprocess.CompletedProcess[str]

STRANGER = 54321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def riskctl(state: Path, *arguments: str, **options: Any) -> Completed:
    return subprocess.run(
        [sys.executable, "-m", "riskd.riskctl", "--state", str(state), *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        **options,
    )


def said(state: Path, *arguments: str) -> str:
    """Return what a command says that does what it is asked."""
    result = riskctl(state, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def daemon(twistd: Start, state: Path) -> Twistd:
    return twistd("--port", "0", "--state", str(state), "--practice-seed", "3")


def status_of(state: Path, account_id: int) -> dict[str, Any]:
    report = json.loads(said(state, "status", "--json"))
    return next(each for each in report["accounts"] if each["account"] == account_id)


def test_status(daemon: Twistd, state: Path) -> None:
    first, *_ = said(state, "status").splitlines()
    assert re.match(r"riskd .* on the practice gateway: RUNNING since \d\d:\d\d:\d\d, ", first)
    assert status_of(state, 123)["locks"] == []


def test_rules(daemon: Twistd, state: Path) -> None:
    assert "RULE-001  max_contracts" in said(state, "rules", "123")
    report = json.loads(said(state, "rules", "123", "--json"))
    rules = {rule["key"]: rule for rule in report["rules"]}
    (gauge,) = rules["max_contracts"]["gauges"]
    assert (gauge["limit"], gauge["unit"]) == (3, "contracts")
    assert [rule["trouble"] for rule in report["rules"]] == [""] * len(rules)


def test_lock_and_unlock(daemon: Twistd, state: Path) -> None:
    """The lock closes, holds, survives a kill, ends on command, and all of it is in the log."""
    wait_until(lambda: status_of(state, 123)["positions"])
    assert "is locked until" in said(state, "lock", "123", "--reason", "lunch", "--minutes", "90")
    wait_until(lambda: status_of(state, 123)["flattening"] is None)
    account = status_of(state, 123)
    assert account["positions"] == []
    (lock,) = account["locks"]
    assert (lock["reason"], lock["rule_id"]) == ("lunch", "OPERATOR")
    assert "123: LOCKED until" in said(state, "status")

    assert said(state, "unlock", "123", "--reason", "back") == "account 123 is unlocked\n"
    assert status_of(state, 123)["locks"] == []
    again = riskctl(state, "unlock", "123", "--reason", "back")
    assert (again.returncode, again.stderr) == (1, "riskctl: account 123 is not locked\n")

    me = getpass.getuser()
    assert f"operator {me}: lock account 123: lunch" in daemon.log
    assert f"operator {me}: unlock account 123: back" in daemon.log
    assert "Traceback" not in daemon.log


def test_a_lock_that_was_answered_survives_a_kill(
    daemon: Twistd, state: Path, twistd: Start
) -> None:
    said(state, "lock", "456", "--reason", "enough")
    daemon.process.kill()
    daemon.wait()
    assert riskctl(state, "status").returncode == 1
    twistd("--port", "0", "--state", str(state), "--practice-seed", "3")
    (lock,) = status_of(state, 456)["locks"]
    assert (lock["reason"], lock["locked_until"]) == ("enough", None)


def test_flatten_and_what_the_journal_says_of_it(daemon: Twistd, state: Path) -> None:
    wait_until(lambda: status_of(state, 456)["positions"])
    assert "flattened" in said(state, "flatten", "456", "--reason", "=1+1")

    def told() -> list[dict[str, Any]]:
        lines = said(state, "journal", "456", "--since", "1h", "--jsonl").splitlines()
        return [json.loads(line) for line in lines]

    def was_done() -> bool:
        return any(line["data"].get("rule_id") == "OPERATOR" for line in told())

    wait_until(was_done)
    (ordered,) = [line["data"] for line in told() if line["kind"] == "operator"]
    assert (ordered["command"], ordered["reason"]) == ("flatten", "=1+1")
    assert "flatten by" in said(state, "journal", "456")
    rows = list(csv.DictReader(said(state, "journal", "456", "--csv").splitlines()))
    assert "'=1+1" in [row["reason"] for row in rows]
    # The journal is read without a daemon, too.
    daemon.send_signal(signal.SIGTERM)
    daemon.wait()
    assert "flatten by" in said(state, "journal", "456")


def test_an_account_that_is_not_followed(daemon: Twistd, state: Path) -> None:
    result = riskctl(state, "flatten", "99")
    assert result.returncode == 1
    assert result.stderr == "riskctl: riskd does not follow account 99, but 123, 456\n"


def test_the_socket_is_its_owners_and_goes_with_the_daemon(daemon: Twistd, state: Path) -> None:
    path = state / SOCKET_NAME
    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o600
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert not path.exists()
    result = riskctl(state, "status")
    assert result.returncode == 1
    assert result.stderr == f"riskctl: riskd is not running (no answer at {path})\n"


def test_garbage_does_the_daemon_no_harm(daemon: Twistd, state: Path) -> None:
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(100_000), b"\x00" * 100):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_SECONDS)
            client.connect(str(state / SOCKET_NAME))
            with suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(garbage)
    said(state, "status")
    assert daemon.process.poll() is None
    assert "Traceback" not in daemon.log


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can reach."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path / "s"


@needs_root
def test_nobody_else_may_open_it(twistd: Start, open_directory: Path) -> None:
    daemon = twistd("--port", "0", "--state", str(open_directory))
    program = f"""
import os, sys
from riskd.riskctl import main
os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})
sys.exit(main(["--state", {str(open_directory)!r}, "flatten", "123"]))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "permission denied: only root" in result.stderr
    assert "operator" not in daemon.log


def test_a_path_too_long_for_a_socket_stops_nothing_else(tmp_path: Path) -> None:
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
    finally:
        daemon.terminate()
        assert daemon.wait(DEADLINE_SECONDS) == 0
    result = riskctl(state, "status")
    assert result.returncode == 1
    assert "bytes long" in result.stderr


def test_wrong_usage_is_2(state: Path) -> None:
    result = riskctl(state, "unlock", "123")
    assert result.returncode == 2
    assert result.stderr.startswith("usage: riskctl")


def test_whoever_has_read_enough_may_close_the_pipe(daemon: Twistd, state: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        result = subprocess.run(
            [sys.executable, "-m", "riskd.riskctl", "--state", str(state), "status"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "")
