"""Paper and a broker on one machine: their state directories, and how programs find them.

All programs run as users run them, with one XDG state directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from riskd.journal.daemon_file import DAEMON_NAME, DaemonRecord, is_running, read_daemon
from riskd.journal.reader import read_published
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME
from tests.integration.practice_gateway import (
    ACCOUNT,
    OWN_KEY,
    Broker,
    Gateway,
    config,
    key_file,
)
from tests.integration.programs import riskctl, run
from tests.support.pseudo_terminal import MAIN, QUICK, PseudoTerminal
from tests.support.state_directories import locked, locks_in, write_earlier_state
from tests.support.twistd import Twistd, twistd_command
from tests.support.waiting import wait_until

Start = Callable[..., Twistd]

PAPER = "practice"


class Machine:
    """A machine with a broker, on which riskd guards paper and a broker's account.

    :param directory: for configuration and logs.
    :param state_home: the XDG state directory.
    """

    def __init__(self, directory: Path, state_home: Path, start: Start) -> None:
        (directory / "gateway").mkdir()
        key_file(directory)
        self._gateway = Gateway(directory / "gateway", "--quiet", "--key-file", f"{directory}/key")
        self._config = config(directory, self._gateway.url)
        self._start = start
        self.root = state_home / "riskd"
        self.paper = self.root / PAPER
        self.broker = Broker(self._gateway.port, OWN_KEY)

    def close(self) -> None:
        self._gateway.process.kill()
        self._gateway.process.wait()

    @property
    def real(self) -> Path:
        """The default directory of the broker's gateway, once it exists."""
        (path,) = self.root.glob("projectx-*")
        return path

    def start_paper(self, *arguments: str, port: int = 0) -> Twistd:
        return self._start("--port", str(port), "--practice-seed", "3", *arguments)

    def start_real(self) -> Twistd:
        return self._start("--port", "0", "--config", self._config)

    def refusal(self, *arguments: str) -> str:
        """Start riskd, which must end with one line and without a traceback; return the line."""
        result = run(*twistd_command("--port", "0", *arguments))
        assert result.returncode != 0
        assert "Traceback" not in result.stdout + result.stderr
        (line,) = result.stderr.splitlines()
        return line

    def real_arguments(self, state: Path) -> tuple[str, ...]:
        return ("--config", self._config, "--state", str(state))

    def buy(self, size: int) -> None:
        """Buy at the broker, by hand."""
        self.broker.trade(ACCOUNT, self.broker.contract("MNQ"), side=0, size=size)

    @property
    def held(self) -> list[int]:
        return list(self.broker.held(ACCOUNT).values())


@pytest.fixture
def machine(tmp_path: Path, state_home: Path, twistd: Start) -> Iterator[Machine]:
    made = Machine(tmp_path, state_home, twistd)
    yield made
    made.close()


def end(daemon: Twistd, number: signal.Signals = signal.SIGTERM) -> None:
    daemon.send_signal(number)
    daemon.wait()


def wait_for_sentence(terminal: PseudoTerminal, words: str) -> None:
    """Wait until the screen shows ``words``, on any number of lines."""
    terminal.wait_until(lambda: words in " ".join(terminal.shown.split()), words)


def record_in(directory: Path) -> DaemonRecord:
    record = read_daemon(directory)
    assert record is not None
    return record


def test_a_paper_lock_never_acts_on_a_brokers_account(
    machine: Machine, tmp_path: Path, state_home: Path
) -> None:
    state = state_home / "shared"
    paper = machine.start_paper("--state", str(state))
    assert riskctl("--state", str(state), "lock", "123", "--reason", "lunch").returncode == 0
    end(paper, signal.SIGKILL)
    machine.buy(2)

    copied, linked, journal_only = (tmp_path / name for name in ("copied", "linked", "journal"))
    shutil.copytree(state, copied, ignore=shutil.ignore_patterns("*.sock"))
    linked.symlink_to(state)
    journal_only.mkdir()
    shutil.copy(copied / PUBLISHED_NAME, journal_only)
    damaged = tmp_path / "damaged"
    shutil.copytree(copied, damaged)
    for name in (JOURNAL_NAME, f"{JOURNAL_NAME}-wal", PUBLISHED_NAME):
        (damaged / name).write_bytes(b"x" * 5000)
    for directory in (state, copied, linked, journal_only, damaged):
        line = machine.refusal(*machine.real_arguments(directory))
        assert f"{directory} belongs to the practice gateway" in line
        assert "not to the projectx gateway at http://127.0.0.1:" in line
        assert "--state" in line
    assert machine.held == [2]

    # The broker's account has a directory of its own, and no lock.
    real = machine.start_real()
    assert locks_in(machine.real) == set()
    assert machine.held == [2]
    end(real)
    # Nor does paper take over the broker's.
    assert "belongs to the projectx gateway at" in machine.refusal("--state", str(machine.real))
    # The lock still holds where it belongs.
    end(machine.start_paper("--state", str(state)))
    assert (ACCOUNT, "OPERATOR") in locks_in(state)


def test_both_run_at_once_and_are_found(machine: Machine, terminal: PseudoTerminal) -> None:
    paper, real = machine.start_paper(), machine.start_real()
    first, second = record_in(machine.paper), record_in(machine.real)
    assert (first.kind, first.port, first.accounts) == ("practice", paper.port, (123, 456))
    assert (second.kind, second.port, second.accounts) == ("projectx", real.port, (123,))
    assert (first.pid, second.pid) == (paper.process.pid, real.process.pid)
    assert first.instance != second.instance

    several = riskctl("status")
    assert several.returncode == 1
    assert f"PRACTICE on port {paper.port}" in several.stderr
    assert f"projectx on port {real.port}" in several.stderr
    console = run(sys.executable, "-c", MAIN, "123", "--plain")
    assert console.returncode == 2, console
    assert f"PRACTICE on port {paper.port}" in console.stderr
    # Only paper follows it.
    flattened = riskctl("flatten", "456")
    assert flattened.returncode == 0
    assert f"of 2 riskd that run, this is PRACTICE on port {paper.port}" in flattened.stderr

    end(paper)
    assert not (machine.paper / DAEMON_NAME).exists()
    assert "on the projectx gateway: RUNNING" in riskctl("status").stdout
    terminal.start("123", script=QUICK)
    terminal.wait_for("PROJECTX", "LIVE")
    assert "PRACTICE" not in terminal.shown

    end(real, signal.SIGKILL)
    left = record_in(machine.real)
    assert not is_running(left)
    assert "riskd is not running" in riskctl("status").stderr
    terminal.wait_for("PROJECTX", "Last known state")
    # On the port of the dead daemon, and the only one that runs now.
    paper = machine.start_paper(port=real.port)
    wait_for_sentence(
        terminal, "on the PRACTICE gateway, and this program shows account 123 of projectx"
    )
    terminal.press("6")
    terminal.wait_for("Gateway", "projectx")
    assert "LIVE" not in terminal.rows[0]
    end(paper)
    machine.start_real()
    assert record_in(machine.real).instance == left.instance
    terminal.wait_for("LIVE")
    terminal.press("q")
    assert terminal.exit_status() == 0
    assert b"Traceback" not in terminal.written


def test_a_new_directory_behind_the_same_port_is_followed(
    machine: Machine, terminal: PseudoTerminal, state_home: Path
) -> None:
    first, second = state_home / "first", state_home / "second"
    paper = machine.start_paper("--state", str(first))
    url = f"ws://localhost:{paper.port}"
    riskctl("--state", str(first), "lock", "123", "--reason", "the first lock")
    terminal.start("123", "--url", url, script=QUICK)
    terminal.wait_for("LIVE", "LOCKED OUT until an operator unlocks it: the first lock")
    end(paper)
    paper = machine.start_paper("--state", str(second), port=paper.port)
    terminal.wait_for("LIVE")
    terminal.wait_until(
        lambda: "the first lock" not in terminal.shown, "a screen without the lock"
    )
    assert read_published(first).instance != read_published(second).instance
    terminal.press("q")
    assert terminal.exit_status() == 0


def test_the_copy_of_another_riskd_is_refused(
    machine: Machine, terminal: PseudoTerminal, tmp_path: Path
) -> None:
    end(machine.start_paper("--state", str(tmp_path / "other")))
    paper = machine.start_paper("--state", str(tmp_path / "own"))
    url = f"ws://localhost:{paper.port}"
    terminal.start("123", "--url", url, "--state", str(tmp_path / "other"))
    terminal.wait_for("LIVE")
    terminal.press("6")
    wait_for_sentence(terminal, "is of another riskd")


def test_a_crash_leaves_a_file_that_no_program_believes(machine: Machine) -> None:
    paper = machine.start_paper()
    end(paper, signal.SIGKILL)
    record = record_in(machine.paper)
    assert not is_running(record)
    # Another program is given the same process id.
    own = record.pid, os.getpid()
    path = machine.paper / DAEMON_NAME
    path.write_text(path.read_text().replace(*(f'"pid":{pid}' for pid in own)))
    assert record_in(machine.paper).pid == os.getpid()
    assert "riskd is not running" in riskctl("status").stderr
    paper = machine.start_paper()
    assert record_in(machine.paper).instance == record.instance
    assert "RUNNING" in riskctl("status").stdout
    assert oct(path.stat().st_mode)[-3:] == "644"


def test_the_state_of_an_earlier_riskd_moves_to_the_first_start_of_its_kind(
    machine: Machine,
) -> None:
    write_earlier_state(machine.root, "projectx", locked(ACCOUNT, "RULE-003"))
    machine.buy(2)
    paper = machine.start_paper()
    assert locks_in(machine.paper) == set()
    assert locks_in(machine.root) == {(ACCOUNT, "RULE-003")}
    assert machine.held == [2]
    real = machine.start_real()
    assert f"was moved from {machine.root} to {machine.real}" in real.log
    assert not (machine.root / JOURNAL_NAME).exists()
    # It is in force there: the account is flattened.
    wait_until(lambda: machine.held == [])
    end(real, signal.SIGKILL)
    end(machine.start_real())
    assert locks_in(machine.real) == {(ACCOUNT, "RULE-003")}
    end(paper)
