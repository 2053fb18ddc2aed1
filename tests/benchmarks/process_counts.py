"""What a running process does, by counts that do not drift: system calls, polls, thread switches, and CPU."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SWITCHES: Final = "thread switches"
CALLS: Final = "system calls"
TURNS: Final = "reactor turns"
TIMERS: Final = "timer wake-ups"

_CALL: Final = re.compile(r"\d+ +(\w+)\(")
_POLLS: Final = ("epoll_wait", "epoll_pwait")
_POLLED: Final = re.compile(r"\d+ +(?:<\.\.\. )?epoll_p?wait\b.* = (-?\d+)")


def thread_switches(pid: int) -> int:
    """Return how often the threads of a process have given up their core so far.

    Source: proc(5), ``voluntary_ctxt_switches``.
    """
    statuses = (task / "status" for task in Path(f"/proc/{pid}/task").iterdir())
    lines = (line for status in statuses for line in status.read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary"))


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of all threads of a process so far, by the scheduler's clock.

    Source: the kernel's Documentation/scheduler/sched-stats.rst; those of ``/proc/PID/stat`` are hundredths.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident(pid: int) -> float:
    """Return the memory of a process in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def has_strace() -> bool:
    """Return whether system calls can be counted."""
    return shutil.which("strace") is not None


@contextmanager
def traced(pid: int, path: Path) -> Iterator[None]:
    """Write all system calls of a process and its threads into a file."""
    with subprocess.Popen(
        ["strace", "-f", "-p", str(pid), "-o", os.fspath(path)], stderr=subprocess.PIPE
    ) as strace:
        assert strace.stderr is not None
        # "strace: Process 1234 attached", for each thread or for all of them.
        said = strace.stderr.readline()
        if b"attached" not in said:
            raise RuntimeError(f"strace does not attach: {said.decode().strip()}")
        try:
            yield
        finally:
            # It detaches first.
            strace.send_signal(signal.SIGINT)


def call_counts(lines: Iterable[str]) -> Counter[str]:
    """Return the calls in the output of strace by name, and the sums of interest.

    A call that another thread interrupts is two lines, of which the first has the name with a bracket.
    """
    counts: Counter[str] = Counter()
    for line in lines:
        call = _CALL.match(line)
        if call is not None:
            counts[call[1]] += 1
            counts[CALLS] += 1
            counts[TURNS] += call[1] in _POLLS
        polled = _POLLED.match(line)
        if polled is not None:
            counts[TIMERS] += polled[1] == "0"
    return counts
