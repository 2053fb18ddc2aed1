"""Notices to systemd: what is sent and when, and what happens if it cannot be sent."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import skipUnless

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from riskd.host.service_manager import (
    CHECK_SECONDS,
    MAX_STATUS_BYTES,
    NotifyService,
    ServiceManager,
    service_manager,
)
from tests.support.directories import temporary_directory
from tests.support.service_manager import Notice, ReceivedNotices

has_abstract_names = skipUnless(os.uname().sysname == "Linux", "only Linux has abstract names")


class EnvironmentTests(SynchronousTestCase):
    """What the environment says."""

    def watchdog(self, **variables: str) -> float | None:
        found = service_manager({"NOTIFY_SOCKET": "/run/notify", **variables})
        assert found is not None
        return found.watchdog_seconds

    def test_without_a_service_manager_there_is_none(self) -> None:
        self.assertIsNone(service_manager({}))
        self.assertIsNone(service_manager({"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1000000"}))

    def test_an_address_of_another_kind_is_logged_and_left_alone(self) -> None:
        with capturedLogs() as logged:
            self.assertIsNone(service_manager({"NOTIFY_SOCKET": "vsock:2:1234"}))
        self.assertEqual([event["address"] for event in logged], ["vsock:2:1234"])

    def test_the_watchdog_is_for_the_process_that_it_names(self) -> None:
        own, other = str(os.getpid()), str(os.getpid() + 1)
        self.assertEqual(self.watchdog(WATCHDOG_USEC="1500000", WATCHDOG_PID=own), 1.5)
        self.assertEqual(self.watchdog(WATCHDOG_USEC="1500000"), 1.5)
        self.assertIsNone(self.watchdog(WATCHDOG_USEC="1500000", WATCHDOG_PID=other))

    def test_no_watchdog_is_expected_without_a_time(self) -> None:
        for microseconds in ("", "0", "-1", "soon", "1.5"):
            self.assertIsNone(self.watchdog(WATCHDOG_USEC=microseconds), microseconds)
        self.assertIsNone(self.watchdog())


class NoticeTests(SynchronousTestCase):
    """Notices as datagrams."""

    def receiver(self, path: Path | None = None) -> ReceivedNotices:
        notices = ReceivedNotices(path)
        self.addCleanup(notices.close)
        return notices

    def test_a_notice_reaches_a_path(self) -> None:
        notices = self.receiver(temporary_directory(self) / "notify")
        self.assertTrue(ServiceManager(notices.variable).notify({"READY": "1", "STATUS": "up"}))
        self.assertEqual(notices.all(), [{"READY": "1", "STATUS": "up"}])

    @has_abstract_names
    def test_a_notice_reaches_an_abstract_name(self) -> None:
        notices = self.receiver()
        self.assertTrue(ServiceManager(notices.variable).notify({"READY": "1"}))
        self.assertEqual(notices.all(), [{"READY": "1"}])

    def test_a_detached_process_says_which_one_it_is(self) -> None:
        notices = self.receiver(temporary_directory(self) / "notify")
        manager = ServiceManager(notices.variable)
        self.patch(os, "getpid", lambda: 4711)
        manager.notify({"STATUS": "up"})
        manager.notify({"READY": "1"})
        self.assertEqual(notices.all(), [{"STATUS": "up"}, {"READY": "1", "MAINPID": "4711"}])

    def test_a_text_cannot_forge_another_line(self) -> None:
        notices = self.receiver(temporary_directory(self) / "notify")
        ServiceManager(notices.variable).notify({"STATUS": "up\nWATCHDOG=trigger\r\n"})
        self.assertEqual(notices.all(), [{"STATUS": "up WATCHDOG=trigger"}])

    def test_a_manager_that_is_gone_is_one_line_in_the_log(self) -> None:
        path = temporary_directory(self) / "notify"
        manager = ServiceManager(str(path))
        with capturedLogs() as logged:
            self.assertEqual([manager.notify({"READY": "1"}) for _ in range(3)], [False] * 3)
        self.assertEqual(len(logged), 1)
        notices = self.receiver(path)
        self.assertTrue(manager.notify({"READY": "1"}))
        self.assertEqual(len(notices.all()), 1)


class _Manager(ServiceManager):
    """Keeps the notices; refuses them while ``is_full``."""

    def __init__(self, watchdog_seconds: float | None = None) -> None:
        super().__init__("/run/notify", watchdog_seconds)
        self.notices: list[Notice] = []
        self.is_full = False

    def notify(self, notice: Notice) -> bool:  # type: ignore[override]
        if not self.is_full:
            self.notices.append(dict(notice))
        return not self.is_full

    def take(self) -> list[Notice]:
        notices, self.notices = self.notices, []
        return notices


class NotifyServiceTests(SynchronousTestCase):
    """What is reported, and when."""

    def setUp(self) -> None:
        self.is_ready, self.sentence = False, ""

    def start(self, watchdog_seconds: float | None = None) -> None:
        self.clock = Clock()
        self.manager = _Manager(watchdog_seconds)
        self.service = NotifyService(
            self.clock, self.manager, lambda: self.is_ready, lambda: self.sentence
        )
        self.service.startService()

    def after(self, seconds: float = CHECK_SECONDS) -> list[Notice]:
        """Return the notices of the next seconds, in which the reactor is never late."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(min(0.05, until - self.clock.seconds()))
        return self.manager.take()

    def test_ready_and_status_are_sent_once_each(self) -> None:
        self.start()
        self.assertEqual(self.after(10), [])
        self.sentence = "RUNNING: up"
        self.assertEqual(self.after(), [{"STATUS": "RUNNING: up"}])
        self.is_ready = True
        self.assertEqual(self.after(10), [{"READY": "1"}])
        self.sentence = "ERROR: the feed is lost"
        self.assertEqual(self.after(10), [{"STATUS": "ERROR: the feed is lost"}])

    def test_a_notice_that_is_not_sent_is_sent_later(self) -> None:
        self.start(3)
        self.manager.is_full = self.is_ready = True
        self.sentence = "first"
        self.assertEqual(self.after(10), [])
        self.sentence, self.manager.is_full = "second", False
        self.assertEqual(self.after(), [{"READY": "1", "STATUS": "second", "WATCHDOG": "1"}])

    def test_signs_of_life_come_well_within_the_time(self) -> None:
        for timeout in (0.3, 1, 30):
            self.start(timeout)
            times = []
            for _ in range(200):
                self.clock.advance(timeout / 100)
                times += [self.clock.seconds()] * len(self.manager.take())
            gaps = [later - first for first, later in zip([0, *times], times, strict=False)]
            self.assertGreater(len(gaps), 3)
            self.assertLess(max(gaps), timeout / 2, timeout)

    def test_without_a_watchdog_there_are_no_signs_of_life(self) -> None:
        self.start()
        self.assertEqual(self.after(100), [])

    def test_a_stop_is_reported_with_the_last_status_and_ends_the_rest(self) -> None:
        self.start(3)
        self.sentence = "STOPPING: The daemon is stopping"
        self.service.stopService()
        self.assertEqual(
            self.after(10), [{"STOPPING": "1", "STATUS": "STOPPING: The daemon is stopping"}]
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @given(st.text(max_size=3000))
    def test_a_status_is_never_too_long_and_always_text(self, text: str) -> None:
        self.start()
        self.sentence = text
        for notice in self.after():
            self.assertLessEqual(len(notice["STATUS"].encode()), MAX_STATUS_BYTES)
            self.assertIn(notice["STATUS"].replace("?", ""), text.replace("?", ""))
