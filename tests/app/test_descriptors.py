"""File descriptors: the limit that is raised, and the problem reported before it is reached."""

from __future__ import annotations

import errno
import resource
import tempfile

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.app import descriptors
from riskd.app.descriptors import (
    CHECK_SECONDS,
    DescriptorService,
    open_descriptors,
    raise_limit,
)


class LimitTests(SynchronousTestCase):
    """The limit of the process that runs the tests."""

    def setUp(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        self.hard = before[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, self.hard))

    def soft(self) -> int:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def test_the_limit_is_raised_to_the_wanted_one(self) -> None:
        self.assertEqual((raise_limit(700), self.soft()), (700, 700))

    def test_the_limit_is_not_raised_beyond_the_hard_limit(self) -> None:
        limit = raise_limit(2**40)
        self.assertEqual(limit, self.soft())
        self.assertEqual(limit, self.hard)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[1], self.hard)

    def test_a_higher_limit_stays(self) -> None:
        self.assertEqual((raise_limit(100), self.soft()), (512, 512))

    def test_open_files_are_counted(self) -> None:
        before = open_descriptors()
        with tempfile.TemporaryFile(), tempfile.TemporaryFile():
            self.assertEqual(open_descriptors(), before + 2)
        self.assertEqual(open_descriptors(), before)


class DescriptorServiceTests(SynchronousTestCase):
    """The problem reported while most descriptors are in use."""

    max_clients = 308

    def setUp(self) -> None:
        self.clock = Clock()
        self.used = 10
        self.problems: list[tuple[str, str]] = []
        self.service = self.make(1000)
        self.service.startService()

    def make(self, limit: int) -> DescriptorService:
        self.patch(descriptors, "open_descriptors", self.count)
        self.patch(descriptors, "raise_limit", lambda _wanted: limit)
        return DescriptorService(
            self.clock,
            self.max_clients,
            lambda source, sentence: self.problems.append((source, sentence)),
        )

    def count(self) -> int:
        if self.used < 0:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.used

    def use(self, count: int) -> None:
        self.used = count
        self.clock.advance(CHECK_SECONDS)

    def test_a_problem_is_reported_once_at_80_percent_and_ends_below_70(self) -> None:
        self.use(799)
        self.assertEqual(self.problems, [])
        with capturedLogs() as captured:
            self.use(800)
        self.assertEqual([event["log_level"] for event in captured], [LogLevel.warn])
        self.use(900)
        self.use(750)
        ((source, sentence),) = self.problems
        self.assertEqual(source, "descriptors")
        self.assertIn("1000 file descriptors", sentence)
        self.use(699)
        self.assertEqual(self.problems[1:], [("descriptors", "")])
        self.use(800)
        self.assertEqual(len(self.problems), 3)

    def test_a_failed_count_means_that_no_descriptor_is_left(self) -> None:
        self.use(-1)
        self.assertEqual(len(self.problems), 1)

    def test_the_check_ends_with_the_service(self) -> None:
        self.service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_limit_that_is_too_low_for_the_clients_is_logged_at_the_start(self) -> None:
        with capturedLogs() as captured:
            self.make(999).startService()
        (event,) = captured
        self.assertEqual((event["limit"], event["needed"]), (999, 1000))
        # Pending connections need descriptors too.
        self.assertGreater(event["needed"], 2 * self.max_clients)
        with capturedLogs() as captured:
            self.make(1000).startService()
        self.assertEqual(captured, [])
