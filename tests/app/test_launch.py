"""What the programs under twistd share."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.launch import Signals, spare_the_program


class StoppableReactor(MemoryReactorClock):
    """Counts how often it is stopped."""

    stops = 0

    def callFromThread(self, act: Callable[..., object], *arguments: object) -> None:
        act(*arguments)

    def stop(self) -> None:
        self.stops += 1


class GarbageTests(SynchronousTestCase):
    """What is searched for garbage."""

    def test_what_is_there_is_searched_once(self) -> None:
        self.addCleanup(gc.unfreeze)
        spare_the_program()
        self.assertGreater(gc.get_freeze_count(), 0)
        self.assertLess(len(gc.get_objects()), gc.get_freeze_count())


class SignalsTests(SynchronousTestCase):
    """Signals end the daemon in order, with exit status 0; SIGHUP may do something else."""

    def setUp(self) -> None:
        self.reactor = StoppableReactor()
        self.reloads = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        # As in a terminal, wherever the tests run.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def reload(self) -> None:
        self.reloads += 1

    def take_over(self, reload: Callable[[], None] | None = None, **more: bool) -> None:
        Signals(self.reactor, reload, **more).startService()
        for act, arguments, keywords in self.reactor.whenRunningHooks:
            act(*arguments, **keywords)

    def test_the_first_signal_stops_the_reactor_and_others_do_nothing(self) -> None:
        self.take_over()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        self.assertEqual(self.reactor.stops, 1)

    def test_a_closed_terminal_is_an_end_like_any_other(self) -> None:
        self.take_over()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.reactor.stops, 1)

    def test_with_a_file_it_is_read_again_each_time(self) -> None:
        for is_detached in (False, True):
            self.take_over(self.reload, is_detached=is_detached)
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual((self.reloads, self.reactor.stops), (3, 0))

    def test_without_a_terminal_and_a_file_there_is_nothing_to_do(self) -> None:
        self.take_over(is_detached=True)
        with capturedLogs() as logged:
            signal.raise_signal(signal.SIGHUP)
        self.assertEqual((self.reactor.stops, len(logged)), (0, 1))

    def test_who_has_it_ignored_has_it_ignored(self) -> None:
        """So does nohup, lest the daemon end with the terminal."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.take_over(self.reload)
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual((self.reloads, self.reactor.stops), (0, 0))
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
