"""What the programs under twistd share."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.launch import Signals, freeze_garbage


class StoppableReactor(MemoryReactorClock):
    """Counts how often it is stopped."""

    stops = 0

    def callFromThread(self, act: Callable[..., object], *arguments: object) -> None:
        act(*arguments)

    def stop(self) -> None:
        self.stops += 1


class GarbageTests(SynchronousTestCase):
    """The collection before the program serves."""

    def test_objects_of_the_program_are_exempt_from_later_collections(self) -> None:
        self.addCleanup(gc.unfreeze)
        freeze_garbage()
        self.assertGreater(gc.get_freeze_count(), 0)
        self.assertLess(len(gc.get_objects()), gc.get_freeze_count())


class SignalsTests(SynchronousTestCase):
    """SIGINT and SIGTERM end the daemon in order; SIGHUP may reload the configuration."""

    def setUp(self) -> None:
        self.reactor = StoppableReactor()
        self.reloads = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        # As in a terminal, wherever the tests run.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def reload(self) -> None:
        self.reloads += 1

    def install(self, reload: Callable[[], None] | None = None, **more: bool) -> None:
        Signals(self.reactor, reload, **more).startService()
        for act, arguments, keywords in self.reactor.whenRunningHooks:
            act(*arguments, **keywords)

    def test_the_first_signal_stops_the_reactor_and_others_do_nothing(self) -> None:
        self.install()
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        self.assertEqual(self.reactor.stops, 1)

    def test_without_a_reload_sighup_is_an_orderly_end(self) -> None:
        self.install()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.reactor.stops, 1)

    def test_with_a_reload_each_sighup_reloads(self) -> None:
        for is_detached in (False, True):
            self.install(self.reload, is_detached=is_detached)
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual((self.reloads, self.reactor.stops), (3, 0))

    def test_a_detached_program_without_a_reload_only_logs_sighup(self) -> None:
        self.install(is_detached=True)
        with capturedLogs() as logged:
            signal.raise_signal(signal.SIGHUP)
        self.assertEqual((self.reactor.stops, len(logged)), (0, 1))

    def test_an_ignored_sighup_stays_ignored(self) -> None:
        """nohup ignores SIGHUP, so that the daemon outlives the terminal."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.install(self.reload)
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual((self.reloads, self.reactor.stops), (0, 0))
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
