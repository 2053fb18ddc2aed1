"""System calls an event of the daemon that users run; unlike times, they can be counted without noise.

Those of the broadcast alone are counted in ``tests/broadcast/test_server.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.benchmarks.enforcement import connect
from tests.benchmarks.process_counts import CALLS, TURNS, call_counts, has_strace, traced
from tests.benchmarks.real_daemon import RealDaemon
from tests.support.required import missing

EVENTS = 150
MOST_CALLS = 3.75
"""To wait for an event, to read it and to send it are three; the journal and the timers share the rest.

How often threads wait for each other (``futex``) depends on what else the machine does, so that is not counted.
"""

MOST_TURNS = 1.2


@pytest_twisted.ensureDeferred
async def test_an_event_at_one_client_is_a_wait_a_read_and_a_send(tmp_path: Path) -> None:
    if not has_strace():
        missing("strace is not installed", "STRACE")
    daemon = RealDaemon(tmp_path)
    try:
        await daemon.start()
        with connect(daemon.port):
            with traced(daemon.pid, tmp_path / "calls"):
                for _ in range(EVENTS):
                    daemon.send_quote()
                    await deferLater(reactor, 0.005)
            counts = call_counts((tmp_path / "calls").read_text().splitlines())
    finally:
        await daemon.stop()
    # Each was sent to the client, perhaps two of them at once.
    assert counts["sendto"] >= EVENTS / 2, counts
    assert (counts[CALLS] - counts["futex"]) / EVENTS <= MOST_CALLS, counts
    assert counts[TURNS] / EVENTS <= MOST_TURNS, counts
