"""``twistd riskd`` that measures itself, for :mod:`tests.benchmarks.hostile_broker`.

Each line on standard input is answered with a line: ``begin`` forgets what was measured so far, ``figures`` tells
it.  The time between two looks for events is how long a turn has held the reactor.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from twisted.internet import reactor
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.scripts.twistd import run

_RESET_PEAK: Final = "5"
"""Source: proc(5), ``/proc/pid/clear_refs``."""


class Turn(NamedTuple):
    """How one turn held the reactor, or a sum of that.

    :ivar in_all: seconds.
    :ivar waited: seconds of them in which other programs had the core.
    :ivar cpu: seconds of them in which this thread computed; neither the host's pauses count nor those in which the
        thread waits for a disk or for another thread.
    :ivar switches: how often it has begun to wait for one of those.
    """

    in_all: float = 0.0
    waited: float = 0.0
    cpu: float = 0.0
    switches: int = 0

    def since(self, before: Turn) -> Turn:
        """Return the difference to an earlier sum."""
        return Turn(
            self.in_all - before.in_all,
            self.waited - before.waited,
            self.cpu - before.cpu,
            self.switches - before.switches,
        )

    @property
    def held(self) -> float:
        """The seconds without those in which other programs had the core."""
        return self.in_all - self.waited


class TimedPoller:
    """Measures how long the reactor is busy between two polls.

    :param poller: the reactor's.
    :param spent: returns what this thread has spent so far.
    :ivar longest: the turn that held the reactor longest, without the time of other programs.
    :ivar longest_in_all: seconds, with that time.
    :ivar most_cpu: the most seconds of computing in one turn.
    """

    def __init__(self, poller: Any, spent: Callable[[], Turn]) -> None:
        self._poller = poller
        self._spent = spent
        self._returned = spent()
        self.forget()

    def forget(self) -> None:
        self.longest = Turn()
        self.longest_in_all = self.most_cpu = 0.0

    def poll(self, *arguments: Any) -> Any:
        turn = self._spent().since(self._returned)
        self.longest_in_all = max(self.longest_in_all, turn.in_all)
        self.most_cpu = max(self.most_cpu, turn.cpu)
        if turn.held > self.longest.held:
            self.longest = turn
        try:
            return self._poller.poll(*arguments)
        finally:
            self._returned = self._spent()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


def thread_meter() -> Callable[[], Turn]:
    """Return a function that returns what this thread has spent so far."""
    schedule = os.open("/proc/thread-self/schedstat", os.O_RDONLY)

    def spent() -> Turn:
        _ran, waited, _turns = os.pread(schedule, 100, 0).split()
        switches = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        return Turn(time.perf_counter(), int(waited) / 1e9, time.thread_time(), switches)

    return spent


class Orders(LineOnlyReceiver):
    """Answers the orders of the benchmark."""

    delimiter = b"\n"

    def __init__(self, poller: TimedPoller) -> None:
        self._poller = poller

    def lineReceived(self, line: bytes) -> None:
        if msgspec.json.decode(line)["do"] == "begin":
            Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
            self._poller.forget()
        memory = {
            name: int(value.split()[0]) / 1024
            for name, _, value in (
                each.partition(":") for each in Path("/proc/self/status").read_text().splitlines()
            )
            if name in ("VmRSS", "VmHWM")
        }
        figures = {
            "rss": memory["VmRSS"],
            "peak": memory["VmHWM"],
            "longest": self._poller.longest.held,
            "longest_cpu": self._poller.longest.cpu,
            "longest_switches": self._poller.longest.switches,
            "longest_in_all": self._poller.longest_in_all,
            "most_cpu": self._poller.most_cpu,
            "cpu": time.process_time(),
        }
        self.sendLine(msgspec.json.encode(figures))
        self._poller.forget()


def begin() -> None:
    poller = reactor._poller = TimedPoller(reactor._poller, thread_meter())
    StandardIO(Orders(poller))


if __name__ == "__main__":
    log, directory, *arguments = sys.argv[1:]
    os.chdir(directory)
    reactor.callWhenRunning(begin)
    sys.argv = [
        "twistd",
        "-n",
        "--pidfile=",
        f"--logfile={log}",
        "riskd",
        "--debuggable",
        *arguments,
    ]
    run()
