"""The memory of a daemon and of a console, beside that of a process which only imports their libraries."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from tests.benchmarks.outcome import Options, Outcome, show_progress
from tests.benchmarks.process_counts import resident
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.twistd import Twistd

DAEMON: Final = "daemon"
CONSOLE: Final = "console"
IMPORTS: Final = {
    DAEMON: "twisted.internet.reactor, autobahn.twisted.websocket, treq",
    CONSOLE: "twisted.internet.reactor, autobahn.twisted.websocket, urwid",
}
LIMITS: Final = {DAEMON: 8.0, CONSOLE: 5.0}
"""MiB beyond the imports."""

_TABLE: Final = "memory, MiB"
_ACCOUNT: Final = "123"


def benchmark(options: Options) -> Outcome:
    """Measure all after a time in which the practice market is quoted and traded."""
    outcome = Outcome()
    seconds = options.seconds_or(30.0, 5.0)
    for number in range(options.rounds_or(5, 1)):
        show_progress(f"round {number + 1}")
        least = {name: imported(modules) for name, modules in IMPORTS.items()}
        for name, value in measure(seconds).items():
            outcome.add(_TABLE, name, "imports", least[name])
            outcome.add(_TABLE, name, "whole", value)
            outcome.add(_TABLE, name, "beyond", value - least[name])
    for name, limit in LIMITS.items():
        outcome.judge(
            f"{name} beyond its imports, MiB", outcome.median(_TABLE, name, "beyond"), "<=", limit
        )
    outcome.notes += [f"Imports of the {name}: {modules}." for name, modules in IMPORTS.items()]
    return outcome


def imported(modules: str) -> float:
    """Return the memory of a process that has imported modules, and does nothing else."""
    with waiting(f"import {modules}; print(flush=True); input()") as pid:
        return resident(pid)


@contextmanager
def waiting(script: str) -> Iterator[int]:
    """Run a script until it prints a line and waits; yield its process id."""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate(b"\n")


def measure(seconds: float) -> dict[str, float]:
    """Return the memory of a daemon with the two paper accounts, and of a console of it."""
    with tempfile.TemporaryDirectory() as place, closing(PseudoTerminal(120, 40)) as terminal:
        directory = Path(place)
        daemon = Twistd(directory, "--port", "0", "--state", "state", "--practice-seed", "1")
        try:
            state = os.fspath(directory / "state")
            terminal.start(_ACCOUNT, "--url", f"ws://localhost:{daemon.port}", "--state", state)
            terminal.wait_for(" LIVE ")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                terminal.read(0.1)
            return {DAEMON: resident(daemon.process.pid), CONSOLE: resident(terminal.process.pid)}
        finally:
            daemon.process.terminate()
            daemon.wait()
