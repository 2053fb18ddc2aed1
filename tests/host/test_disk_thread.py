"""The thread for work that waits for the disk."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.disk_thread import DiskThread


class QueueingReactor:
    """Keeps what the thread hands to the reactor's thread until the test asks for it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def callFromThread(self, act: Any, *arguments: Any) -> None:
        self.calls.append((act, arguments))

    def turn(self) -> None:
        for act, arguments in self.calls:
            act(*arguments)


class DiskThreadTests(SynchronousTestCase):
    """Calls run in one other thread, in order."""

    def setUp(self) -> None:
        self.reactor = QueueingReactor()
        self.disk = DiskThread(self.reactor)

    def test_all_calls_run_in_order_in_one_thread_before_it_ends(self) -> None:
        self.disk.start()
        threads: list[str] = []

        def act(number: int) -> int:
            threads.append(threading.current_thread().name)
            return number

        done = [self.disk.run(partial(act, number)) for number in range(20)]
        self.disk.stop()
        for each in done:
            self.assertNoResult(each)
        self.reactor.turn()
        self.assertEqual([self.successResultOf(each) for each in done], list(range(20)))
        self.assertEqual(len(set(threads)), 1)
        self.assertNotIn(threading.current_thread().name, threads)

    def test_an_exception_is_a_failure_of_the_deferred(self) -> None:
        self.disk.start()
        failing = self.disk.run(lambda: 1 / 0)
        self.disk.stop()
        self.reactor.turn()
        self.failureResultOf(failing, ZeroDivisionError)

    def quiet(self, is_awaited: list[bool]) -> Deferred[int]:
        """Return the result of a quiet call; ``is_awaited`` has the answers to the question."""
        self.disk.start()
        quiet = self.disk.run_quietly(lambda: 1, lambda: is_awaited.pop(0))
        self.disk.stop()
        self.assertEqual(is_awaited, [])
        return quiet

    def test_a_result_that_nothing_waits_for_wakes_no_reactor(self) -> None:
        quiet = self.quiet([False, False])
        self.assertEqual(self.reactor.calls, [])
        self.assertNoResult(quiet)
        self.disk.deliver()
        self.assertEqual(self.successResultOf(quiet), 1)

    def test_a_quiet_result_that_something_waits_for_wakes_it(self) -> None:
        quiet = self.quiet([True])
        # What fires is the business of that turn alone.
        self.disk.deliver()
        self.assertNoResult(quiet)
        self.reactor.turn()
        self.assertEqual(self.successResultOf(quiet), 1)

    def test_what_begins_to_wait_while_a_result_is_kept_is_not_left_alone(self) -> None:
        quiet = self.quiet([False, True])
        self.reactor.turn()
        self.assertEqual(self.successResultOf(quiet), 1)

    def test_an_exception_is_never_kept(self) -> None:
        self.disk.start()
        failing = self.disk.run_quietly(lambda: 1 // 0, lambda: False)
        self.disk.stop()
        self.reactor.turn()
        self.failureResultOf(failing, ZeroDivisionError)

    def test_a_thread_that_was_never_started_can_be_stopped(self) -> None:
        self.disk.stop()
