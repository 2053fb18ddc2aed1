"""A daemon in memory that records, and the replay of its recording."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock, deferLater

from riskd.config.loader import parse_settings
from riskd.config.settings import NO_FAULTS, Faults, Settings
from riskd.engine.interface import IOperatedAccount
from riskd.journal.service import JournalService
from riskd.journal.store import Store
from riskd.model.wire import encode
from riskd.practice.gateway import PracticeGateway
from riskd.recording.format import RecordedTurn, Recording, Stopped
from riskd.recording.recording_engine import RecordingEngine
from riskd.recording.replay import replay
from riskd.recording.writer import RecordingWriter
from tests.support.disk import SlowDisk
from tests.support.practice_daemon import CATALOGUE, MONDAY_NOON

DISK_SECONDS = 0.002


class EventualDisk:
    """Stands in for the journal's thread: every call takes 2 ms."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def run(self, act: Callable[[], Any]) -> Deferred[Any]:
        return deferLater(self._clock, DISK_SECONDS).addCallback(lambda _: execute(act))

    def run_quietly(
        self, act: Callable[[], Any], _is_awaited: Callable[[], bool]
    ) -> Deferred[Any]:
        return self.run(act)

    def deliver(self) -> None:
        """No result is kept."""


class RecordedDaemon:
    """A daemon without a network that trades paper and records.

    :param config: all of its configuration.
    :ivar broadcasts: every message that clients received, byte for byte.
    """

    def __init__(
        self,
        config: str,
        *,
        now: datetime = MONDAY_NOON,
        seed: int = 1,
        is_open: bool = True,
        faults: Faults = NO_FAULTS,
        seconds: float = 0.0,
    ) -> None:
        self.clock = Clock()
        self.clock.rightNow = seconds
        self._origin = now - timedelta(seconds=seconds)
        self.directory = Path(tempfile.mkdtemp(prefix="riskd-"))
        self.settings = settings_of(config)
        self.gateway = PracticeGateway(
            self.clock,
            self.now,
            {account.id: account.watch for account in self.settings.accounts},
            seed=seed,
            is_open=is_open,
            faults=faults,
        )
        self.recordings: list[Path] = []
        self.begin()

    def begin(self) -> None:
        self.broadcasts: list[bytes] = []
        self.waits: list[float] = []
        self.recordings.append(self.directory / f"day-{len(self.recordings)}.jsonl")
        self.writer = RecordingWriter(self.recordings[-1], self.clock, SlowDisk())
        disk = EventualDisk(self.clock)
        self.journal = JournalService(
            self.clock, Store(self.directory), disk, self.now, "practice"
        )
        self.engine = RecordingEngine(
            self.clock,
            self.gateway,
            self.settings,
            self.journal,
            lambda event: self.broadcasts.append(encode(event)),
            self.now,
            CATALOGUE,
            self.waits.append,
            writer=self.writer,
        )
        self.journal.startService()
        self.engine.startService()

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=self.clock.seconds())

    def jump(self, **duration: float) -> None:
        """Let the time of day jump; the steady clock does not."""
        self._origin += timedelta(**duration)

    def advance(self, seconds: float, step: float = 0.25) -> None:
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step

    def end(self) -> Path:
        """Shut down in order; return the recording."""
        self.engine.stopService()
        self.journal.stopService()
        self.advance(1.0)
        self.writer.close()
        return self.recordings[-1]

    def kill(self) -> Path:
        """End it as a crash does, after everything was written; return the recording."""
        self.writer._write_behind()
        self.writer._is_over = True
        self.writer._file.close()
        self.engine._broadcast = lambda _event: None
        self.engine._handle(Stopped(), self._abandon)
        self.gateway.stop()
        for call in tuple(self.clock.getDelayedCalls()):
            if call.active():
                call.cancel()
        self.journal._store.close()
        return self.recordings[-1]

    def _abandon(self) -> None:
        engine = self.engine._sandbox.engine
        engine.pause()
        for account in engine.accounts.values():
            account.risk_engine.stop()

    def clean_up(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def account(self, account_id: int) -> IOperatedAccount:
        return self.engine.operated_accounts[account_id]


def settings_of(config: str) -> Settings:
    return parse_settings(config, "riskd.toml", CATALOGUE)


def replayed(recording: bytes) -> tuple[Recording, list[RecordedTurn]]:
    """Replay a recording; return it and its turns."""
    opened = Recording(io.BytesIO(recording), "day.jsonl")
    return opened, list(replay(opened, CATALOGUE))


def broadcasts_of(turns: list[RecordedTurn]) -> list[bytes]:
    return [message for turn in turns for message in turn.broadcasts]
