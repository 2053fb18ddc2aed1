"""The cost of recording, and the speed of a replay.

Run as ``python -m tests.benchmarks.recording [MINUTES]``.  The practice gateway trades in memory into an
engine with a recording and one without; the journal's disk takes no time.
"""

from __future__ import annotations

import importlib.resources
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from riskd.engine.service import EngineService
from riskd.journal.service import JournalService
from riskd.journal.store import Store
from riskd.model.wire import encode
from riskd.recording.format import Recording
from riskd.recording.replay import replay
from riskd.recording.what_if import what_if
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


def main(minutes: float) -> None:
    """Print the figures."""
    plain, recorded = PlainDaemon(CONFIG), RecordedDaemon(CONFIG)
    without = cpu_of(lambda: plain.advance(60 * minutes))
    with_it = cpu_of(lambda: recorded.advance(60 * minutes))
    path = Path(tempfile.mkdtemp(), "day.jsonl")
    shutil.copy(recorded.end(), path)
    turns = sum(1 for _ in Recording(path.open("rb"), "day").turns())
    each = (with_it - without) / turns
    print(  # noqa: T201
        f"{turns:,} turns, {len(recorded.broadcasts):,} broadcasts, {path.stat().st_size:,} bytes\n"
        f"recording a turn: {1e6 * each:.0f} us of CPU; "
        f"at {EVENTS_PER_SECOND} a second: {100 * EVENTS_PER_SECOND * each:.2f} %"
    )
    content = path.read_bytes()

    def play() -> None:
        for _turn in replay(Recording(io.BytesIO(content), "day"), CATALOGUE):
            pass

    print(f"exact replay: {turns / cpu_of(play):,.0f} turns a second")  # noqa: T201

    def play_otherwise() -> None:
        for _one in what_if(Recording(io.BytesIO(content), "day"), settings_of(CONFIG), CATALOGUE):
            pass

    print(f"what if: {turns / cpu_of(play_otherwise):,.0f} turns a second")  # noqa: T201


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
