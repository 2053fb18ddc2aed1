"""The cost of recording, and the speed of a replay.

The practice gateway trades in memory into an engine with a recording and one without; the journal's disk takes no
time.
"""

from __future__ import annotations

import importlib.resources
import io
import time
from collections.abc import Callable

from riskd.engine.service import EngineService
from riskd.journal.service import JournalService
from riskd.journal.store import Store
from riskd.model.wire import encode
from riskd.recording.format import Recording
from riskd.recording.replay import replay
from riskd.recording.what_if import what_if
from tests.benchmarks.outcome import Options, Outcome, show_progress
from tests.support.practice_daemon import CATALOGUE
from tests.support.recorded_daemon import EventualDisk, RecordedDaemon, settings_of

CONFIG = (importlib.resources.files("riskd.config") / "practice.toml").read_text()
EVENTS_PER_SECOND = 60


class PlainDaemon(RecordedDaemon):
    """The same daemon without a recording."""

    def begin(self) -> None:
        self.broadcasts = []
        disk = EventualDisk(self.clock)
        self.journal = JournalService(
            self.clock, Store(self.directory), disk, self.now, "practice"
        )
        self.plain = EngineService(
            self.clock,
            self.gateway,
            self.settings,
            self.journal,
            lambda event: self.broadcasts.append(encode(event)),
            self.now,
            CATALOGUE,
        )
        self.journal.startService()
        self.plain.startService()


def cpu_of(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began


def benchmark(options: Options) -> Outcome:
    """Record some minutes, and replay them."""
    outcome = Outcome()
    for number in range(options.rounds_or(5, 1)):
        show_progress(f"round {number + 1}")
        for name, value in measure(2.0 if options.quick else 10.0).items():
            outcome.add("a recording", name, "", value)
    return outcome


def measure(minutes: float) -> dict[str, float]:
    """Return the figures of a recording."""
    plain, recorded = PlainDaemon(CONFIG), RecordedDaemon(CONFIG)
    without = cpu_of(lambda: plain.advance(60 * minutes))
    with_it = cpu_of(lambda: recorded.advance(60 * minutes))
    content = recorded.end().read_bytes()
    turns = sum(1 for _ in Recording(io.BytesIO(content), "day").turns())

    def play() -> None:
        for _turn in replay(Recording(io.BytesIO(content), "day"), CATALOGUE):
            pass

    def play_otherwise() -> None:
        for _one in what_if(Recording(io.BytesIO(content), "day"), settings_of(CONFIG), CATALOGUE):
            pass

    each = (with_it - without) / turns
    return {
        "turns": turns,
        "bytes a turn": len(content) / turns,
        "recording a turn, CPU us": 1e6 * each,
        f"CPU at {EVENTS_PER_SECOND} turns/s, %": 100 * EVENTS_PER_SECOND * each,
        "exact replay, turns/s": turns / cpu_of(play),
        "what if, turns/s": turns / cpu_of(play_otherwise),
    }
