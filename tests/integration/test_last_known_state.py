"""The published copy of real daemons: after kills, for other users, on a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from riskd.journal.reader import read_published
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME
from riskd.testing import DaemonHarness
from tests import kills
from tests.integration.event_stream import EventStream
from tests.integration.programs import fill, run
from tests.support.twistd import Twistd, twistd_command
from tests.support.waiting import wait_until

Start = Callable[..., Twistd]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def test_kills_at_random_moments_lose_nothing() -> None:
    """Twelve kills under load, on two daemons at a time; ``python -m tests.kills 200`` does more."""
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(kills.run, 6) for _ in range(2)]:
            done.result()


def test_after_a_handshake_the_copy_has_everything_broadcast_before(
    shared_harness: DaemonHarness,
) -> None:
    for number in range(3):
        shared_harness.trigger_test_event("GatewayUserTrade", {"id": 1000 + number})
        shared_harness.trigger_test_event("lockout_set", {"rule_id": f"RULE-{number}"})
        stream = EventStream(shared_harness.port)
        account = read_published(shared_harness.state).accounts[123]
        assert 1000 + number in account.trades
        assert f"RULE-{number}" in account.lockouts
        stream.close()


def test_a_second_daemon_in_the_same_state_directory_is_refused(
    shared_harness: DaemonHarness,
) -> None:
    result = run(*twistd_command("--port", "0", "--state", str(shared_harness.state)))
    assert result.returncode != 0
    (line,) = result.stderr.splitlines()
    assert "another riskd uses the state directory" in line


def test_a_restart_forgets_no_lockout_and_a_stop_publishes_stopping(
    harness: DaemonHarness,
) -> None:
    harness.trigger_test_event("lockout_set", {"rule_id": "RULE-003", "locked_until": None})
    harness.kill()
    # A console without a daemon shows it, and so does the restarted daemon.
    assert set(read_published(harness.state).accounts[123].lockouts) == {"RULE-003"}
    harness.start()
    stream = EventStream(harness.port)
    assert set(read_published(harness.state).accounts[123].lockouts) == {"RULE-003"}
    stream.close()
    harness.stop()
    status = read_published(harness.state).accounts[123].daemon
    assert status is not None
    assert status.status == "STOPPING"


STRANGER = 54321


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """Return a directory that every user can reach."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path / "state"


def as_stranger(state: Path) -> dict[str, bool]:
    """Return which operations another user can do in the state directory."""
    program = f"""
import json, os, sqlite3
from pathlib import Path
from riskd.journal.reader import read_published
state = Path({str(state)!r})
os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})
def can(act):
    try:
        act()
    except (OSError, sqlite3.Error):
        return False
    return True
print(json.dumps({{
    "read": can(lambda: read_published(state).accounts[123]),
    "write": can(lambda: (state / {PUBLISHED_NAME!r}).open("r+b")),
    "replace": can(lambda: (state / {PUBLISHED_NAME!r}).unlink()),
    "create": can(lambda: (state / "new").touch()),
    "read journal": can(lambda: (state / {JOURNAL_NAME!r}).open("rb")),
}}))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    answer: dict[str, bool] = json.loads(result.stdout)
    return answer


ONLY_READ = {
    "read": True,
    "write": False,
    "replace": False,
    "create": False,
    "read journal": False,
}


@needs_root
def test_another_user_can_read_the_copy_and_nothing_else(open_directory: Path) -> None:
    """While the daemon runs, after a kill, and after an orderly stop."""
    daemon = DaemonHarness(state=open_directory)
    daemon.start()
    EventStream(daemon.port).close()
    assert as_stranger(open_directory) == ONLY_READ
    daemon.kill()
    assert as_stranger(open_directory) == ONLY_READ
    daemon.start()
    daemon.stop()
    assert as_stranger(open_directory) == ONLY_READ


@needs_root
def test_a_full_disk_is_reported_the_stream_goes_on_and_the_journal_recovers(
    small_disk: Path,
) -> None:
    daemon = DaemonHarness(state=small_disk / "state")
    daemon.start()
    stream = EventStream(daemon.port)
    ballast = fill(small_disk)
    for number in range(20):
        daemon.trigger_test_event("GatewayUserTrade", {"id": number})
    daemon.trigger_test_event("lockout_set", {"rule_id": "RULE-003", "locked_until": None})
    assert stream.next("lockout_set", rule_id="RULE-003")
    told = [json.loads(text) for text in stream.texts]
    errors = [each for each in told if each["data"].get("status") == "ERROR"]
    assert errors, told
    assert "cannot be written" in errors[0]["data"]["message"]
    ballast.unlink()
    assert stream.next("daemon_status", status="RUNNING")
    stream.close()
    daemon.kill()
    daemon.start()
    EventStream(daemon.port).close()
    account = read_published(daemon.state).accounts[123]
    assert set(account.lockouts) == {"RULE-003"}
    assert len(account.trades) == 20
    daemon.stop()


def test_a_damaged_journal_is_set_aside_and_the_daemon_starts(harness: DaemonHarness) -> None:
    harness.trigger_test_event("lockout_set", {"rule_id": "RULE-003", "locked_until": None})
    harness.stop()
    journal = harness.state / JOURNAL_NAME
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) // 2])
    harness.start()
    EventStream(harness.port).close()
    assert set(read_published(harness.state).accounts[123].lockouts) == {"RULE-003"}
    assert [path for path in harness.state.iterdir() if ".damaged-" in path.name]


def test_paper_trading_goes_on_after_a_kill(twistd: Start, state_home: Path) -> None:
    daemon = twistd("--port", "0")
    stream = EventStream(daemon.port)
    held = stream.next_message(
        lambda message: message["type"] == "GatewayUserPosition" and message["data"]["size"]
    )
    daemon.send_signal(signal.SIGKILL)
    daemon.process.wait()
    stream.close()
    begun = datetime.now(UTC)
    again = twistd("--port", "0")
    EventStream(again.port).close()
    wait_until(lambda: read_published(state_home / "riskd" / "practice").as_of > begun)
    account = read_published(state_home / "riskd" / "practice").accounts[held["account_id"]]
    position = account.positions[held["data"]["contractId"]]
    assert position.id == held["data"]["id"]
