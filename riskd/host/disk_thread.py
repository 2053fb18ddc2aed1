"""A thread of its own for work that waits for the disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

_T = TypeVar("_T")


class DiskThread:
    """One thread that does disk work in order; the reactor never waits for it."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # A single thread: the journal's connection is used by one thread at a time, and writes must
        # reach the disk in the order in which they were asked for.
        self._pool = ThreadPool(1, 1, "disk")
        self._kept: deque[tuple[Deferred[Any], Any]] = deque()

    def start(self) -> None:
        """Start the thread."""
        self._pool.start()

    def run(self, act: Callable[[], _T]) -> Deferred[_T]:
        """Call ``act`` in the thread after all earlier calls; fires with its result."""
        return deferToThreadPool(self._reactor, self._pool, act)

    def run_quietly(self, act: Callable[[], _T], is_awaited: Callable[[], bool]) -> Deferred[_T]:
        """Do the same, but do not wake the reactor for a result that nothing waits for.

        Such a result is kept until :meth:`deliver`; an error never is.

        :param is_awaited: called in the thread after ``act``.  What begins to wait after that calls :meth:`deliver`.
        """
        fired: Deferred[_T] = Deferred()

        def work() -> None:
            try:
                result = act()
            except BaseException:  # noqa: BLE001  # it is the Deferred's
                self._reactor.callFromThread(fired.errback, Failure())
                return
            if is_awaited():
                self._reactor.callFromThread(fired.callback, result)
                return
            self._kept.append((fired, result))
            # Something may have begun to wait, and found no result, since the question above.
            if is_awaited():
                self._reactor.callFromThread(self.deliver)

        self._pool.callInThread(work)
        return fired

    def deliver(self) -> None:
        """Fire the Deferreds of all results that were kept."""
        while self._kept:
            fired, result = self._kept.popleft()
            fired.callback(result)

    def stop(self) -> None:
        """Finish all calls so far and end the thread."""
        if self._pool.started:
            self._pool.stop()
