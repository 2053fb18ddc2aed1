"""The writer of a recording: a new file, written in a thread, that never delays the daemon."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.broker import BrokerAccount
from riskd.recording import writer as module
from riskd.recording.format import (
    FORMAT,
    Answered,
    Header,
    Recording,
    RecordingError,
    Request,
    Started,
    Turn,
)
from riskd.recording.writer import FLUSH_SECONDS, RecordingWriter
from tests.support.directories import temporary_directory
from tests.support.disk import SlowDisk

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
HEADER = Header(
    recording=FORMAT,
    riskd="0.1.0",
    gateway="practice",
    answer_seconds=2.0,
    at=NOW,
    seconds=0.0,
    configuration="",
)


class FullDisk(SlowDisk):
    """A full disk: it fails as the operating system does."""

    def run(self, act: Callable[[], Any]) -> Deferred[Any]:
        return fail(OSError(28, "No space left on device"))


class RecordingWriterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = temporary_directory(self)
        self.path = self.directory / "day.jsonl"
        self.clock = Clock()
        self.disk = SlowDisk()

    def writer(self, disk: SlowDisk | None = None) -> RecordingWriter:
        writer = RecordingWriter(self.path, self.clock, disk or self.disk)
        self.addCleanup(writer.close)
        writer.start()
        writer.write(HEADER)
        return writer

    def inputs(self) -> list[Any]:
        recording = Recording(io.BytesIO(self.path.read_bytes()), "day.jsonl")
        return [recorded.turn.input for recorded in recording.turns()]

    def test_only_the_owner_may_read_the_file_whatever_the_umask(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.writer()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_another_file_is_never_overwritten(self) -> None:
        self.path.write_text("precious")
        with self.assertRaisesRegex(RecordingError, "day.jsonl exists already"):
            RecordingWriter(self.path, self.clock, self.disk)
        self.assertEqual(self.path.read_text(), "precious")

    def test_a_link_is_never_followed(self) -> None:
        elsewhere = self.directory / "elsewhere"
        self.path.symlink_to(elsewhere)
        with self.assertRaisesRegex(RecordingError, "exists already"):
            RecordingWriter(self.path, self.clock, self.disk)
        self.assertFalse(elsewhere.exists())

    def test_a_missing_directory_is_an_error(self) -> None:
        with self.assertRaisesRegex(RecordingError, "cannot be created: No such file"):
            RecordingWriter(self.directory / "no" / "day.jsonl", self.clock, self.disk)

    def test_lines_are_written_once_a_second_and_only_if_there_are_any(self) -> None:
        writer = self.writer()
        writer.write_turn(Turn(NOW, 0.0, Started()))
        self.assertEqual(self.path.read_bytes(), b"")
        self.clock.advance(FLUSH_SECONDS)
        self.assertEqual(self.inputs(), [Started()])
        runs = self.disk.runs
        self.clock.advance(10 * FLUSH_SECONDS)
        self.assertEqual(self.disk.runs, runs)

    def test_the_last_lines_are_written_at_the_end(self) -> None:
        writer = self.writer()
        writer.write_turn(Turn(NOW, 0.0, Started()))
        writer.close()
        self.assertEqual(self.path.read_bytes().splitlines()[-1], b'{"end":true}')

    def test_a_turn_is_returned_as_a_replay_will_read_it(self) -> None:
        turn = Turn(NOW, 0.1, Answered(1, {"price": Decimal("21000")}))
        read = self.writer().write_turn(turn)
        self.assertIs(type(read.input.value["price"]), int)

    def test_an_answer_is_returned_as_its_request_asks_for(self) -> None:
        writer, account = self.writer(), BrokerAccount(balance=Decimal("0.10"))
        writer.write(Request(number=1, name="gateway.search_account", arguments={}))
        turn = Turn(NOW, 0.1, Answered(1, account))
        self.assertEqual(writer.write_turn(turn), turn)

    def test_a_turn_that_is_not_json_ends_the_recording_and_is_still_handled(self) -> None:
        for strange in (object(), Decimal("sNaN"), 0.1, {1, 2}):
            self.path.unlink(missing_ok=True)
            writer = self.writer()
            writer.write_turn(Turn(NOW, 0.0, Started()))
            turn = Turn(NOW, 0.0, Answered(1, {"price": strange}))
            with capturedLogs() as logged:
                self.assertIs(writer.write_turn(turn), turn)
                self.assertIs(writer.write_turn(turn), turn)
                writer.write(Request(number=1, name="gateway.stop", arguments={}))
            writer.close()
            self.assertEqual(len(self.errors(logged)), 1, strange)
            self.assertEqual(self.inputs(), [Started()])

    def test_a_request_that_is_not_json_ends_the_recording(self) -> None:
        writer = self.writer()
        with capturedLogs() as logged:
            writer.write(Request(number=1, name="x", arguments={"order": object()}))
        self.assertEqual(len(self.errors(logged)), 1)

    def test_a_full_disk_ends_the_recording_with_one_error(self) -> None:
        with capturedLogs() as logged:
            writer = self.writer(FullDisk())
            for _ in range(3):
                writer.write_turn(Turn(NOW, 0.0, Started()))
                self.clock.advance(FLUSH_SECONDS)
        (error,) = self.errors(logged)
        self.assertEqual(error, f"the recording {self.path} ends here: No space left on device")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_disk_that_hangs_delays_nothing_and_the_memory_is_bounded(self) -> None:
        self.patch(module, "MAX_UNWRITTEN_BYTES", 1000)
        writer = self.writer()
        self.disk.is_slow = True
        with capturedLogs() as logged:
            for _ in range(2):
                writer.write_bytes(b"x" * 600)
                self.clock.advance(FLUSH_SECONDS)
            self.assertEqual(len(self.disk.waiting), 1)
            self.assertEqual(self.errors(logged), [])
            writer.write_bytes(b"x" * 600)
            self.clock.advance(FLUSH_SECONDS)
        self.assertIn("the disk does not answer", self.errors(logged)[0])
        self.assertEqual(writer._unwritten, b"")
        self.disk.catch_up()

    def test_lines_that_waited_for_a_slow_disk_are_written_in_order(self) -> None:
        writer = self.writer()
        self.disk.is_slow = True
        self.clock.advance(FLUSH_SECONDS)
        writer.write_turn(Turn(NOW, 0.0, Started()))
        self.clock.advance(FLUSH_SECONDS)
        self.disk.catch_up()
        self.disk.is_slow = False
        self.clock.advance(FLUSH_SECONDS)
        self.assertEqual(self.inputs(), [Started()])

    def errors(self, logged: list[Any]) -> list[str | None]:
        return [formatEvent(event) for event in logged if event["log_level"] is LogLevel.error]
