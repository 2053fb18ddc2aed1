"""A trader in a bad hour at the state directory: real daemons, consoles and riskctl."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from riskd.journal.audit_log import OPERATOR_COMMAND, read_log
from riskd.journal.ownership import LOCK_NAME
from riskd.journal.reader import StateFileError, read_published
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME
from riskd.testing import DaemonHarness
from tests.integration.event_stream import EventStream
from tests.integration.programs import riskctl, run
from tests.support.intruders import DATABASES, NOT_FILES, put_in_place
from tests.support.pseudo_terminal import QUICK, PseudoTerminal
from tests.support.twistd import Twistd, twistd_command

Start = Callable[..., Twistd]

LOCK = {"rule_id": "RULE-003", "locked_until": None}
PIPE, VIEW = NOT_FILES["a pipe"], DATABASES["an endless view"]


def locks_in(directory: Path) -> set[str]:
    return set(read_published(directory).accounts[123].lockouts)


def without_files(state: Path) -> None:
    """Remove everything but the socket."""
    for path in state.iterdir():
        if path.is_file():
            path.unlink()


def with_older_files(state: Path) -> None:
    """Put the files from before the lock in the place of those with it."""
    for name in (JOURNAL_NAME, PUBLISHED_NAME):
        shutil.copy(state / "before" / name, state / "new")
        (state / "new").rename(state / name)


@pytest.mark.parametrize("attack", [without_files, with_older_files])
def test_a_running_daemon_notices_and_a_kill_frees_no_account(
    harness: DaemonHarness, attack: Callable[[Path], None]
) -> None:
    stream = EventStream(harness.port)
    before = harness.state / "before"
    before.mkdir()
    for name in (JOURNAL_NAME, PUBLISHED_NAME):
        shutil.copy(harness.state / name, before / name)
    harness.trigger_test_event("lockout_set", LOCK)
    stream.next("lockout_set")
    attack(harness.state)
    # Without any other event.
    error = stream.next("daemon_status", status="ERROR")
    assert f"The journal {harness.state / JOURNAL_NAME} was " in error["message"]
    assert "riskd has written it again, and no lock is lost" in error["message"]
    stream.next("daemon_status", status="RUNNING")
    stream.close()
    harness.kill()
    assert locks_in(harness.state) == {"RULE-003"}
    harness.start()
    EventStream(harness.port).close()
    assert locks_in(harness.state) == {"RULE-003"}


def test_a_removed_lock_lets_no_second_daemon_in(harness: DaemonHarness) -> None:
    for path in harness.state.iterdir():
        if path.name in (LOCK_NAME, "daemon.json"):
            path.unlink()
    result = run(*twistd_command("--port", "0", "--state", str(harness.state)))
    assert result.returncode != 0
    (line,) = result.stderr.splitlines()
    assert "another riskd uses the state directory" in line


def test_nothing_in_place_of_the_copy_keeps_the_daemon_from_its_locks(
    twistd: Start, terminal: PseudoTerminal, state_home: Path
) -> None:
    state = state_home / "state"
    daemon = twistd("--port", "0", "--state", str(state))
    assert riskctl("--state", str(state), "lock", "123", "--reason", "lunch").returncode == 0
    daemon.send_signal(signal.SIGKILL)
    daemon.process.wait()
    put_in_place(state / PUBLISHED_NAME, VIEW)

    with pytest.raises(StateFileError, match="cannot read the last known state"):
        read_published(state)
    (line,) = [line for line in read_log(state, 123) if line.kind == OPERATOR_COMMAND]
    assert line.data["reason"] == "lunch"
    terminal.start("123", "--state", str(state), script=QUICK)
    terminal.wait_until(
        lambda: "annot read the last known state" in " ".join(terminal.shown.split()),
        "the sentence about the file",
    )

    twistd("--port", "0", "--state", str(state))
    terminal.wait_for("LIVE", "LOCKED OUT until an operator unlocks it: lunch")
    assert "OPERATOR" in locks_in(state)
    terminal.press("q")
    assert terminal.exit_status() == 0


def test_a_console_lives_on_events_alone(harness: DaemonHarness, terminal: PseudoTerminal) -> None:
    EventStream(harness.port).close()
    put_in_place(harness.state / PUBLISHED_NAME, PIPE)
    terminal.start("123", "--url", f"ws://localhost:{harness.port}", script=QUICK)
    terminal.wait_for("LIVE")
    put_in_place(harness.state / PUBLISHED_NAME, VIEW)
    harness.trigger_test_event("lockout_set", LOCK)
    terminal.wait_for("LOCKED OUT")
    terminal.press("q")
    assert terminal.exit_status() == 0
