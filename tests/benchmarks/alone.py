"""One benchmark in a process of its own: a reactor runs only once, and memory is what the last one left.

``python -m tests.benchmarks.alone NAME`` reads options as a line of JSON and prints the outcome as one.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import msgspec

from tests.benchmarks.catalogue import BENCHMARKS
from tests.benchmarks.outcome import Options, Outcome

_BEGIN: Final = b"\0"
"""Before the outcome: a daemon in the same process might print too."""


def measure_alone(name: str, options: Options) -> Outcome:
    """Return a benchmark's outcome; one with a failure if its process ends without an outcome."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, name],
        input=msgspec.json.encode(options),
        stdout=subprocess.PIPE,
        check=False,
    )
    return outcome_of(done.stdout, done.returncode)


def outcome_of(printed: bytes, status: int) -> Outcome:
    """Return the outcome that a process has printed, or that it has not."""
    before, found, line = printed.rpartition(_BEGIN)
    if found and not status:
        return msgspec.json.decode(line, type=Outcome)
    said = (before or line).decode(errors="replace").strip()
    reason = f"exit status {status}, standard error has the reason"
    return Outcome(failure=f"{reason}: {said}" if said else reason)


def main(name: str) -> None:
    """Measure, and print the outcome."""
    options = msgspec.json.decode(sys.stdin.buffer.read(), type=Options)
    outcome = BENCHMARKS[name].measure(options)
    sys.stdout.buffer.write(_BEGIN + msgspec.json.encode(outcome))


if __name__ == "__main__":
    main(sys.argv[1])
