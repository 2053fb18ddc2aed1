"""A disk thread at the test's pace, and a disk that fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.python.failure import Failure
from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal import store


class SlowDisk:
    """Stands in for :class:`riskd.host.disk_thread.DiskThread`.

    :ivar is_slow: whether calls wait until the test lets the disk catch up; otherwise they run at once.
    :ivar is_quiet: whether results that nothing waits for are kept, as by the real one; otherwise none is.
    :ivar waiting: the waiting calls and their Deferreds.
    :ivar runs: the number of calls that have run.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.is_slow = self.is_quiet = False
        self.runs = 0
        self._kept: list[tuple[Deferred[Any], Any]] = []

    def start(self) -> None:
        """There is no thread to start."""

    def stop(self) -> None:
        """There is no thread to end."""

    def run(self, act: Callable[[], Any]) -> Deferred[Any]:
        if not self.is_slow:
            self.runs += 1
            return execute(act)
        done: Deferred[Any] = Deferred()
        self.waiting.append((act, done))
        return done

    def run_quietly(self, act: Callable[[], Any], is_awaited: Callable[[], bool]) -> Deferred[Any]:
        fired: Deferred[Any] = Deferred()

        def keep_or_fire(result: Any) -> None:
            if not self.is_quiet or isinstance(result, Failure) or is_awaited():
                fired.callback(result)
            else:
                self._kept.append((fired, result))

        self.run(act).addBoth(keep_or_fire)
        return fired

    def deliver(self) -> None:
        while self._kept:
            fired, result = self._kept.pop(0)
            fired.callback(result)

    def catch_up(self, count: int = 1) -> None:
        """Run the first ``count`` waiting calls."""
        for _ in range(count):
            act, done = self.waiting.pop(0)
            self.runs += 1
            execute(act).chainDeferred(done)

    def hurry(self) -> None:
        """Run all that waits, and whatever comes later at once."""
        while self.waiting:
            self.catch_up(len(self.waiting))
        self.is_slow = False


def failing_disk(test: SynchronousTestCase) -> MonkeyPatcher:
    """Let the disk fail whenever a journal is opened, until :meth:`MonkeyPatcher.restore`."""

    def fail(_path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    return test.patch(store, "check_files", fail)
