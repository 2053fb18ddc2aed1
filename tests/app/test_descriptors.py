"""File descriptors: the limit that is raised, and the alarm before it is reached."""

from __future__ import annotations

import errno
import resource
import tempfile

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.descriptors import (
    CHECK_SECONDS,
    DescriptorService,
    descriptors_for,
    open_descriptors,
    raise_limit,
)


class LimitTests(SynchronousTestCase):
    """The limit of this very process."""

    def setUp(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        self.hard = before[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, self.hard))

    def soft(self) -> int:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def test_it_is_raised_as_far_as_wanted(self) -> None:
        self.assertEqual((raise_limit(700), self.soft()), (700, 700))

    def test_it_is_raised_no_further_than_the_hard_limit(self) -> None:
        limit = raise_limit(2**40)
        self.assertEqual(limit, self.soft())
        self.assertEqual(limit, self.hard)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[1], self.hard)

    def test_a_higher_one_stays(self) -> None:
        self.assertEqual((raise_limit(100), self.soft()), (512, 512))

    def test_what_is_open_is_counted(self) -> None:
        before = open_descriptors()
        with tempfile.TemporaryFile(), tempfile.TemporaryFile():
            self.assertEqual(open_descriptors(), before + 2)
        self.assertEqual(open_descriptors(), before)

    def test_as_many_may_wait_at_the_door_as_there_are_clients(self) -> None:
        self.assertGreater(descriptors_for(1000), 2 * 1000)


class AlarmTests(SynchronousTestCase):
    """What is told when most of them are in use."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.used = 10
        self.told: list[tuple[str, str]] = []
        self.service = self.make(1000)
        self.service.startService()

    def make(self, limit: int) -> DescriptorService:
        return DescriptorService(
            self.clock,
            1000,
            lambda source, sentence: self.told.append((source, sentence)),
            self.count,
            lambda _wanted: limit,
        )

    def count(self) -> int:
        if self.used < 0:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.used

    def use(self, count: int) -> None:
        self.used = count
        self.clock.advance(CHECK_SECONDS)

    def test_it_is_raised_at_80_percent_once_and_ends_below_70(self) -> None:
        self.use(799)
        self.assertEqual(self.told, [])
        with capturedLogs() as captured:
            self.use(800)
        self.assertEqual([event["log_level"] for event in captured], [LogLevel.warn])
        self.use(900)
        self.use(750)
        ((source, sentence),) = self.told
        self.assertEqual(source, "descriptors")
        self.assertIn("1000 file descriptors", sentence)
        self.use(699)
        self.assertEqual(self.told[1:], [("descriptors", "")])
        self.use(800)
        self.assertEqual(len(self.told), 3)

    def test_who_cannot_even_count_has_none_left(self) -> None:
        self.use(-1)
        self.assertEqual(len(self.told), 1)

    def test_it_ends_with_the_service(self) -> None:
        self.service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_limit_that_is_too_low_for_the_clients_is_told_at_the_start(self) -> None:
        with capturedLogs() as captured:
            self.make(999).startService()
        (event,) = captured
        self.assertEqual((event["limit"], event["needed"]), (999, 1000))
        with capturedLogs() as captured:
            self.make(1000).startService()
        self.assertEqual(captured, [])
