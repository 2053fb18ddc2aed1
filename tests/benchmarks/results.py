"""A run of benchmarks as a file: what was measured, when, and on which machine."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import msgspec

from tests.benchmarks.outcome import Goal, Outcome

_LIBRARIES: Final = ("twisted", "autobahn", "msgspec", "aiohttp", "picows", "uvloop", "websockets")


class Run(msgspec.Struct):
    """The outcomes of a run.

    :ivar machine: one line.
    :ivar began: the day and time, UTC.
    :ivar benchmarks: by name.
    """

    machine: str
    began: str
    benchmarks: dict[str, Outcome]

    @property
    def goals(self) -> list[tuple[str, Goal]]:
        """Every goal, with the name of its benchmark."""
        return [(name, goal) for name, one in self.benchmarks.items() for goal in one.goals]

    @property
    def is_met(self) -> bool:
        """Whether every benchmark has come to its end, and every goal is reached."""
        return all(goal.is_met for _, goal in self.goals) and not any(
            one.failure for one in self.benchmarks.values()
        )


def new_run() -> Run:
    """Return a run of which nothing is measured yet."""
    return Run(machine(), f"{datetime.now(UTC):%Y-%m-%d %H:%M}", {})


def machine() -> str:
    """Return one line that describes the machine."""
    installed = [name for name in _LIBRARIES if find_spec(name) is not None]
    versions = ", ".join(f"{name} {version(name)}" for name in installed)
    return f"Python {platform.python_version()}, Linux {platform.release()}, {versions}"


def read_run(path: Path) -> Run:
    """Return the run in a file.

    :raises SystemExit: there is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError) as error:
        raise SystemExit(
            f"{path}: {error}; expected a file that --json of this program wrote"
        ) from error


def write_run(path: Path, run: Run) -> None:
    """Write a run to a file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1) + b"\n")
