"""How long programs take to start, as multiples of importing Twisted's reactor.

Each start is divided by the mean of two of ``python -c "import twisted.internet.reactor"``, one right before it and one
right after, so that the machine's drift cancels out.  The daemon has started when it listens, the console when it has drawn its first screen, and
riskctl when it has printed the status.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.benchmarks.outcome import Options, Outcome, show_progress
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.twistd import Twistd, twistd_command

REACTOR: Final = "import twisted.internet.reactor"
DAEMON: Final = "twistd riskd"
CONSOLE: Final = "trader-console"
STATUS: Final = "riskctl status"
LIMITS: Final = {DAEMON: 1.4, CONSOLE: 1.4, STATUS: 1.15}

_LISTENS: Final = b"listening on ws://"
_STARTS: Final = "start"


def benchmark(options: Options) -> Outcome:
    """Start each program in each round."""
    outcome = Outcome()
    # Else riskd's modules, and not those of the libraries, would be compiled at each start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        # The one that the console and riskctl ask.
        running = Twistd(directory, "--port", "0", "--state", "state", "--practice-seed", "1")
        try:
            starts: dict[str, Callable[[], float]] = {
                DAEMON: lambda: start_daemon(directory),
                CONSOLE: lambda: start_console(running.port, directory / "state"),
                STATUS: lambda: run(
                    script("riskctl"), "--state", os.fspath(directory / "state"), "status"
                ),
            }
            for start in starts.values():
                start()
            for number in range(options.rounds_or(11, 3)):
                show_progress(f"round {number + 1}")
                for name, start in starts.items():
                    before = run(sys.executable, "-c", REACTOR)
                    seconds = start()
                    least = (before + run(sys.executable, "-c", REACTOR)) / 2
                    outcome.add(_STARTS, "python", "seconds", least)
                    outcome.add(_STARTS, name, "seconds", seconds)
                    outcome.add(_STARTS, name, "times python", seconds / least)
        finally:
            running.process.terminate()
            running.wait()
    for name, limit in LIMITS.items():
        outcome.judge(
            f"{name}, times python", outcome.median(_STARTS, name, "times python"), "<=", limit
        )
    outcome.notes.append(f"python: python -c {REACTOR!r}.")
    return outcome


def script(name: str) -> str:
    """Return the program beside this Python."""
    return os.fspath(Path(sys.executable).with_name(name))


def run(*command: str) -> float:
    """Return the seconds of a program from its start to its end.

    :raises subprocess.CalledProcessError: its exit status is not 0.
    """
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def start_daemon(directory: Path) -> float:
    """Return the seconds until a new daemon listens; end it."""
    with tempfile.TemporaryDirectory(dir=directory) as state:
        began = time.perf_counter()
        with subprocess.Popen(
            twistd_command("--port", "0", "--state", state), stdout=subprocess.PIPE, cwd=directory
        ) as daemon:
            assert daemon.stdout is not None
            for line in daemon.stdout:
                if _LISTENS in line:
                    break
            seconds = time.perf_counter() - began
            daemon.terminate()
            # Else it could wait for a reader.
            daemon.stdout.read()
    return seconds


def start_console(port: int, state: Path) -> float:
    """Return the seconds until a new console has drawn something; end it."""
    with closing(PseudoTerminal(120, 40)) as terminal:
        began = time.perf_counter()
        terminal.start("123", "--url", f"ws://localhost:{port}", "--state", os.fspath(state))
        while not terminal.shown.strip():
            terminal.read(1)
        return time.perf_counter() - began
