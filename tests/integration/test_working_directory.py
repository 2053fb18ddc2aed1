"""A working directory that is gone, or that cannot be written, is one sentence and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import DEADLINE_SECONDS

PROGRAMS = Path(sys.executable).parent
GONE = "the working directory has been deleted; change to another one"


def start_in(directory: str, *command: str) -> subprocess.Popen[str]:
    """Start a program of riskd in a directory, which a shell prepares."""
    program, *arguments = command
    return subprocess.Popen(
        ["/bin/sh", "-c", f'{directory} && exec "$@"', "sh", PROGRAMS / program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_in(directory: str, *command: str) -> tuple[int, str]:
    """Run a program in a directory; return its exit status and what it says."""
    with start_in(directory, *command) as program:
        _, said = program.communicate(timeout=DEADLINE_SECONDS)
    return program.returncode, said


def deleted(directory: Path) -> str:
    """Return the shell's commands after which its directory is gone."""
    gone = directory / "gone"
    return f'mkdir "{gone}" && cd "{gone}" && rmdir "{gone}"'


@pytest.mark.parametrize(
    ("says", "command"),
    [
        ("riskd", ["twistd", "riskd", "--port", "0"]),
        ("practice-gateway", ["twistd", "-n", "practice-gateway", "--port", "0"]),
        ("riskctl", ["riskctl", "--state", "state", "status"]),
    ],
)
def test_a_deleted_directory(tmp_path: Path, says: str, command: list[str]) -> None:
    status, said = run_in(deleted(tmp_path), *command)
    assert status == 1
    assert said.startswith(f"{says}: {GONE}")
    assert said.count("\n") == 1


def test_riskctl_works_in_a_deleted_directory(tmp_path: Path) -> None:
    """An operator in a hurry is not kept from a command that needs no directory."""
    _, said = run_in(deleted(tmp_path), "riskctl", "status")
    assert said.startswith("riskctl: riskd is not running")


def test_the_console_works_in_a_deleted_directory(tmp_path: Path, dead_url: str) -> None:
    arguments = ("123", "--plain", "--state", "state", "--url", dead_url)
    with start_in(deleted(tmp_path), "trader-console", *arguments) as console:
        assert console.stdout is not None
        assert console.stdout.readline().startswith("Cannot connect to daemon")
        console.terminate()
        _, said = console.communicate(timeout=DEADLINE_SECONDS)
    assert said == ""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is where not even root may write")
@pytest.mark.parametrize(
    ("says", "file", "command"),
    [
        ("riskd", "twistd.pid", ["twistd", "riskd", "--port", "0"]),
        ("riskd", "twistd.log", ["twistd", "--pidfile=", "riskd", "--port", "0"]),
        (
            "practice-gateway",
            "twistd.pid",
            ["twistd", "-n", "practice-gateway", "--port", "0"],
        ),
    ],
)
def test_a_directory_that_cannot_be_written(says: str, file: str, command: list[str]) -> None:
    status, said = run_in("cd /proc", *command)
    assert status == 1
    assert said.startswith(f"{says}: /proc/{file} cannot be written: ")
    assert f"twistd --pidfile FILE --logfile FILE {says}" in said
    assert said.count("\n") == 1
