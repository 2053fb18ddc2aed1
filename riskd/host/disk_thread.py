"""A thread of its own for work that waits for the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

_T = TypeVar("_T")


class DiskThread:
    """One thread that does disk work in order; the reactor never waits for it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # A single thread: the journal's connection is used by one thread at a time, and writes must
        # reach the disk in the order in which they were asked for.
        self._pool = ThreadPool(1, 1, "disk")

    def start(self) -> None:
        """Start the thread."""
        self._pool.start()

    def run(self, act: Callable[[], _T]) -> Deferred[_T]:
        """Call ``act`` in the thread after all earlier calls; fires with its result."""
        return deferToThreadPool(self._reactor, self._pool, act)

    def stop(self) -> None:
        """Finish all calls so far and end the thread."""
        if self._pool.started:
            self._pool.stop()
