"""The file of a recording: made new, written behind, and never in the way."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from riskd.recording import writer as module
from riskd.recording.format import (
    Asked,
    Header,
    Recording,
    RecordingError,
    Started,
    Turn,
    UserEvent,
)
from riskd.recording.writer import FLUSH_SECONDS, Recorder
from tests.support.memory_transport import SlowDisk

NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
HEADER = Header(
    recording=1,
    riskd="0.1.0",
    gateway="practice",
    answer_seconds=2.0,
    at=NOW,
    seconds=0.0,
    configuration="",
)


class FullDisk(SlowDisk):
    """A disk that has no room: it fails as the operating system does."""

    def run(self, act: Callable[[], Any]) -> Deferred[Any]:
        return fail(OSError(28, "No space left on device"))


class RecorderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "day.jsonl"
        self.clock = Clock()
        self.disk = SlowDisk()

    def recorder(self, disk: SlowDisk | None = None) -> Recorder:
        recorder = Recorder(self.path, self.clock, disk or self.disk)
        self.addCleanup(recorder.close)
        recorder.start()
        recorder.write(HEADER)
        return recorder

    def events(self) -> list[Any]:
        recording = Recording(io.BytesIO(self.path.read_bytes()), "day.jsonl")
        return [recorded.turn.came for recorded in recording.turns()]

    def test_only_its_owner_may_read_it_whatever_the_umask(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        self.recorder()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_it_is_never_written_over_another_file(self) -> None:
        self.path.write_text("precious")
        with self.assertRaisesRegex(RecordingError, "day.jsonl exists already"):
            Recorder(self.path, self.clock, self.disk)
        self.assertEqual(self.path.read_text(), "precious")

    def test_it_is_never_written_through_a_link(self) -> None:
        elsewhere = self.directory / "elsewhere"
        self.path.symlink_to(elsewhere)
        with self.assertRaisesRegex(RecordingError, "exists already"):
            Recorder(self.path, self.clock, self.disk)
        self.assertFalse(elsewhere.exists())

    def test_a_directory_that_is_not_there(self) -> None:
        with self.assertRaisesRegex(RecordingError, "cannot be made: No such file"):
            Recorder(self.directory / "no" / "day.jsonl", self.clock, self.disk)

    def test_lines_are_written_once_a_second(self) -> None:
        recorder = self.recorder()
        recorder.write_turn(Turn(NOW, 0.0, Started()))
        self.assertEqual(self.path.read_bytes(), b"")
        self.clock.advance(FLUSH_SECONDS)
        self.assertEqual(self.events(), [Started()])
        runs = self.disk.runs
        self.clock.advance(10 * FLUSH_SECONDS)
        self.assertEqual(self.disk.runs, runs)

    def test_the_last_lines_are_written_at_the_end(self) -> None:
        recorder = self.recorder()
        recorder.write_turn(Turn(NOW, 0.0, Started()))
        recorder.close()
        self.assertEqual(self.path.read_bytes().splitlines()[-1], b'{"end":true}')

    def test_a_turn_comes_back_as_it_will_be_read(self) -> None:
        turn = Turn(NOW, 0.1, UserEvent("GatewayUserOrder", {"price": Decimal("21000")}))
        read = self.recorder().write_turn(turn)
        self.assertIs(type(read.came.payload["price"]), int)

    def test_what_is_no_json_ends_the_recording_and_comes_in_all_the_same(self) -> None:
        for strange in (object(), Decimal("sNaN"), 0.1, {1, 2}):
            self.path.unlink(missing_ok=True)
            recorder = self.recorder()
            recorder.write_turn(Turn(NOW, 0.0, Started()))
            turn = Turn(NOW, 0.0, UserEvent("GatewayUserOrder", {"price": strange}))
            with capturedLogs() as logged:
                self.assertIs(recorder.write_turn(turn), turn)
                self.assertIs(recorder.write_turn(turn), turn)
                recorder.write(Asked(asked=1, request="gateway.stop", arguments={}))
            recorder.close()
            self.assertEqual(len(self.errors(logged)), 1, strange)
            self.assertEqual(self.events(), [Started()])

    def test_a_request_that_is_no_json_ends_it_too(self) -> None:
        recorder = self.recorder()
        with capturedLogs() as logged:
            recorder.write(Asked(asked=1, request="x", arguments={"order": object()}))
        self.assertEqual(len(self.errors(logged)), 1)

    def test_a_full_disk_ends_it_with_one_error(self) -> None:
        with capturedLogs() as logged:
            recorder = self.recorder(FullDisk())
            for _ in range(3):
                recorder.write_turn(Turn(NOW, 0.0, Started()))
                self.clock.advance(FLUSH_SECONDS)
        (error,) = self.errors(logged)
        self.assertEqual(error, f"the recording {self.path} ends here: No space left on device")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_disk_that_hangs_holds_nothing_up_and_takes_no_end_of_memory(self) -> None:
        self.patch(module, "MAX_UNWRITTEN_BYTES", 1000)
        recorder = self.recorder()
        self.disk.is_slow = True
        with capturedLogs() as logged:
            for _ in range(2):
                recorder.write_bytes(b"x" * 600)
                self.clock.advance(FLUSH_SECONDS)
            self.assertEqual(len(self.disk.waiting), 1)
            self.assertEqual(self.errors(logged), [])
            recorder.write_bytes(b"x" * 600)
            self.clock.advance(FLUSH_SECONDS)
        self.assertIn("the disk does not answer", self.errors(logged)[0])
        self.assertEqual(recorder._unwritten, [])
        self.disk.catch_up()

    def test_what_waited_for_a_slow_disk_is_written_in_order(self) -> None:
        recorder = self.recorder()
        self.disk.is_slow = True
        self.clock.advance(FLUSH_SECONDS)
        recorder.write_turn(Turn(NOW, 0.0, Started()))
        self.clock.advance(FLUSH_SECONDS)
        self.disk.catch_up()
        self.disk.is_slow = False
        self.clock.advance(FLUSH_SECONDS)
        self.assertEqual(self.events(), [Started()])

    def errors(self, logged: list[Any]) -> list[str | None]:
        return [formatEvent(event) for event in logged if event["log_level"] is LogLevel.error]
