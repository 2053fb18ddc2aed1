"""``twistd riskd`` that measures itself, for :mod:`tests.benchmarks.hostile_broker`.

Each line on standard input is answered with a line: ``begin`` forgets what was measured so far, ``figures`` tells
it.  The time between two looks for events is how long a turn has held the reactor.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.internet import reactor
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.scripts.twistd import run

_RESET_PEAK: Final = "5"
"""Source: proc(5), ``/proc/pid/clear_refs``."""


class TimedPoller:
    """Measures how long the reactor is busy between two polls.

    :ivar longest: seconds, without those in which other programs had the core.
    :ivar longest_in_all: seconds, with those.
    """

    def __init__(self, poller: Any) -> None:
        self._poller = poller
        self._schedule = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._returned = self._times()
        self.forget()

    def _times(self) -> tuple[float, float]:
        """Return the time, and for how long this thread has waited for a core."""
        _ran, waited, _turns = os.pread(self._schedule, 100, 0).split()
        return time.perf_counter(), int(waited) / 1e9

    def forget(self) -> None:
        self.longest = self.longest_in_all = 0.0

    def poll(self, *arguments: Any) -> Any:
        (at, waited), (now, waited_now) = self._returned, self._times()
        self.longest_in_all = max(self.longest_in_all, now - at)
        self.longest = max(self.longest, now - at - (waited_now - waited))
        try:
            return self._poller.poll(*arguments)
        finally:
            self._returned = self._times()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


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
            "longest": self._poller.longest,
            "longest_in_all": self._poller.longest_in_all,
            "cpu": time.process_time(),
        }
        self.sendLine(msgspec.json.encode(figures))
        self._poller.forget()


def begin() -> None:
    poller = reactor._poller = TimedPoller(reactor._poller)
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
