"""``trader-console --plain`` and ``--json``, and the hook as a process."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from riskd.testing import DaemonHarness
from tests.support.pseudo_terminal import MAIN, PseudoTerminal
from tests.support.waiting import DEADLINE_SECONDS, wait_until


class Program:
    """A console that writes lines to a pipe."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", MAIN, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """Return the next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the console wrote nothing more"
        return line.rstrip("\n")

    def stop_reading(self) -> None:
        """Close the reading end of the pipe."""
        assert self._process.stdout is not None
        self._process.stdout.close()

    def exit_status(self) -> int:
        """Return the exit status, after a check that standard error is empty."""
        status = self._process.wait(DEADLINE_SECONDS)
        assert self._process.stderr is not None
        assert self._process.stderr.read() == ""
        return status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def close(self) -> None:
        """Kill a console that still runs, and close its pipes."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def run(shared_harness: DaemonHarness, shared_url: str) -> Iterator[Callable[[str], Program]]:
    programs: list[Program] = []

    def start(output: str) -> Program:
        state = str(shared_harness.state)
        programs.append(Program("456", output, "--url", shared_url, "--state", state))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


def test_plain_lines_end_with_sigterm(
    run: Callable[[str], Program], shared_harness: DaemonHarness
) -> None:
    program = run("--plain")
    while "account 456, PRACTICE, " not in program.line():
        pass
    shared_harness.trigger_test_event("MarketQuote", {"accountId": 456})
    shared_harness.trigger_test_event(
        "GatewayUserTrade", {"accountId": 456, "id": 4561, "profitAndLoss": -45.50}
    )
    assert program.line().endswith("Trade -$45.50  MNQU5 x2")
    program.terminate()
    assert program.exit_status() == 0


def test_json_lines_end_with_their_reader(
    run: Callable[[str], Program], shared_harness: DaemonHarness
) -> None:
    program = run("--json")
    assert json.loads(program.line())["data"]["connected"] is True
    shared_harness.trigger_test_event("MarketQuote", {"accountId": 456, "last": 21000.50})
    event = json.loads(program.line())
    assert (event["type"], event["account_id"]) == ("MarketQuote", 456)
    assert event["data"]["last"] == 21000.50
    program.stop_reading()
    shared_harness.trigger_test_event("MarketQuote", {"accountId": 456})
    assert program.exit_status() == 0


def test_the_hook_receives_the_event_and_its_failure_is_in_the_feed(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str, tmp_path: Path
) -> None:
    received = tmp_path / "received"
    # The feed has the hook's name before its error, and the screen has room for a short one.
    script = f"cat >{shlex.quote(str(received))}; echo no phone >&2; exit 1"
    settings = tmp_path / "console.toml"
    settings.write_text(f"hook = {json.dumps(['sh', '-c', script])}")
    terminal.start("456", "--url", shared_url, "--config", str(settings))
    terminal.wait_for(" LIVE ")
    lock = {"accountId": 456, "reason": "hooked", "rule_id": "RULE-099"}
    shared_harness.trigger_test_event("lockout_set", lock)
    terminal.wait_for("LOCKED OUT", "failed: no phone")
    assert b"\a" in terminal.written
    event = json.loads(received.read_text())
    assert (event["type"], event["data"]["reason"]) == ("lockout_set", "hooked")
    # An error of the daemon and its end, which waits until the hook may run again.
    error = {"status": "ERROR", "message": "No broker"}
    shared_harness.trigger_test_event("daemon_status", error)
    wait_until(lambda: "No broker" in received.read_text())
    assert json.loads(received.read_text())["data"]["status"] == "ERROR"
    shared_harness.trigger_test_event("daemon_status", {"status": "RUNNING"})
    shared_harness.trigger_test_event("lockout_cleared", {"accountId": 456})
    terminal.press("q")
    assert terminal.exit_status() == 0
    terminal.check_restored()
