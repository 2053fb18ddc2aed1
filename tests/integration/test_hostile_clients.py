"""Hostile clients: whatever they do, well-behaved clients receive every event in time."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.hostile import KINDS
from tests.integration.streams import Source, Stream, receive_until, source

__all__ = ["source"]

EVENTS_A_SECOND = 500
EVENTS = 300
HONEST = 3
MAX_FILES = 150
TRIES = 5
FLOOR_SECONDS = 0.02
"""In time whatever the quiet value: processors are shared with those that do hostile_client, and with other tests.

What is to be found is a turn of the reactor that one client can make long: unbounded, such a turn takes
hundreds of milliseconds.
"""


@contextmanager
def hostile_client(kind: str, port: int) -> Iterator[None]:
    """Run a hostile client in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.hostile", kind, str(port)]
    )
    try:
        yield
        assert process.poll() is None, f"{kind} ended by itself"
    finally:
        process.kill()
        process.wait()


def receive_more(source: Source, honest: list[Stream]) -> float:
    """Broadcast more events to the well-behaved clients; return the 99th percentile of delays."""
    source.emit(EVENTS_A_SECOND, EVENTS)
    last = (honest[0].trades or [-2])[-1] + EVENTS
    receive_until(honest, lambda: all(stream.trades[-1:] == [last] for stream in honest))
    delays = sorted(delay for stream in honest for delay in stream.delays[-EVENTS // 2 :])
    return delays[len(delays) * 99 // 100]


def test_well_behaved_clients_receive_everything_in_time(source: Source) -> None:
    honest = [Stream(source.port) for _ in range(HONEST)]
    in_time = max(2 * receive_more(source, honest), FLOOR_SECONDS)
    for kind in KINDS:
        with hostile_client(kind, source.port):
            delays: list[float] = []
            # Another process may have had the processor once; a real effect would repeat.
            while not delays or (min(delays) > in_time and len(delays) < TRIES):
                delays.append(receive_more(source, honest))
        assert min(delays) <= in_time, (kind, delays, in_time)
    for stream in honest:
        assert stream.trades == list(range(0, stream.trades[-1] + 1, 2))
        stream.close()
    assert "Traceback" not in source.log


def test_running_out_of_descriptors_is_reported_and_survived(tmp_path: Path) -> None:
    """Connected clients still receive all; when there is room again, others can connect."""
    source = Source(tmp_path, MAX_FILES)
    assert f"limit of open files is {MAX_FILES}" in source.log
    honest = Stream(source.port)
    crowd = [socket.create_connection(("127.0.0.1", source.port)) for _ in range(2 * MAX_FILES)]
    receive_until([honest], lambda: honest.has_received_words(b"most of its %d file" % MAX_FILES))
    receive_more(source, [honest])
    for stranger in crowd:
        stranger.close()
    receive_until([honest], lambda: "file descriptors are in use again" in source.log)
    receive_until(
        [honest], lambda: honest.has_received_words(b'"RUNNING","message":"Running again')
    )
    late = Stream(source.port)
    receive_more(source, [honest, late])
    honest.close()
    late.close()
    source.end()
