"""``trader-console --plain`` and ``--json`` as programs, and the hook as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from riskd.testing import DaemonHarness
from tests.integration.test_console import (
    MAIN,
    Terminal,
    check_that_the_terminal_was_left_in_order,
)

DEADLINE_SECONDS: Final = 10


class Program:
    """A console that writes lines."""

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
        return self._process.stdout.readline().rstrip("\n")

    def stop_reading(self) -> None:
        """Close the end of the pipe that is read."""
        assert self._process.stdout is not None
        self._process.stdout.close()

    def exit_status(self) -> int:
        """Wait for the end; nothing may have been said on standard error."""
        status = self._process.wait(DEADLINE_SECONDS)
        assert self._process.stderr is not None
        assert self._process.stderr.read() == ""
        return status

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def close(self) -> None:
        """End it if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def run(shared_harness: DaemonHarness) -> Iterator[Callable[[str], Program]]:
    programs: list[Program] = []

    def start(output: str) -> Program:
        url = f"ws://localhost:{shared_harness.port}"
        state = str(shared_harness.state)
        programs.append(Program("456", output, "--url", url, "--state", state))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


def test_plain_lines_until_it_is_told_to_stop(
    run: Callable[[str], Program], shared_harness: DaemonHarness
) -> None:
    program = run("--plain")
    while "account 456, PRACTICE, " not in program.line():
        pass
    shared_harness.trigger_test_event("MarketQuote", {"accountId": 456})
    shared_harness.trigger_test_event(
        "GatewayUserTrade", {"accountId": 456, "id": 4561, "profitAndLoss": -45.50}
    )
    assert program.line().endswith("Trade -45.50  MNQU5 x2")
    program.terminate()
    assert program.exit_status() == 0


def test_json_lines_until_nobody_reads_any_more(
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


def test_the_hook_is_run_with_the_event_and_its_failure_is_in_the_feed(
    shared_harness: DaemonHarness, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    hook = [
        sys.executable,
        "-c",
        f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read()); sys.exit('no phone')",
    ]
    settings = tmp_path / "console.toml"
    settings.write_text(f"hook = {json.dumps(hook)}")
    terminal = Terminal()
    try:
        url = f"ws://localhost:{shared_harness.port}"
        terminal.start("456", "--url", url, "--config", str(settings))
        terminal.wait_for(" LIVE ")
        lock = {"accountId": 456, "reason": "hooked", "rule_id": "RULE-099"}
        shared_harness.trigger_test_event("lockout_set", lock)
        terminal.wait_for("LOCKED OUT", "failed: no phone")
        assert b"\a" in terminal.written
        event = json.loads(told.read_text())
        assert (event["type"], event["data"]["reason"]) == ("lockout_set", "hooked")
        shared_harness.trigger_test_event("lockout_cleared", {"accountId": 456})
        terminal.press("q")
        assert terminal.exit_status() == 0
        check_that_the_terminal_was_left_in_order(terminal)
    finally:
        terminal.close()
