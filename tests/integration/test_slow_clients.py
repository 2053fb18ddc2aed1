"""Clients that do not read, on real sockets, beside 10,000 events a second."""

from __future__ import annotations

import socket

import pytest

from tests.integration.event_source import CONTRACTS
from tests.integration.streams import Source, Stream, receive_until, source
from tests.support.websocket_frames import CLOSE, close_code

__all__ = ["source"]

EVENTS_A_SECOND = 10_000
EVENTS = 30_000
READERS = 8
STALLED = 4
MAX_GROWTH = 25 * 1024 * 1024


def test_a_client_that_does_not_read_is_closed_and_slows_no_other(source: Source) -> None:
    readers = [Stream(source.port) for _ in range(READERS)]
    stalled = [Stream(source.port) for _ in range(STALLED)]
    before = peak = source.memory

    def are_closed() -> bool:
        nonlocal peak
        peak = max(peak, source.memory)
        return source.log.count("is closed: more than 1024 KiB were not read") == STALLED

    def have_heard_all() -> bool:
        nonlocal peak
        peak = max(peak, source.memory)
        return all(reader.trades[-1:] == [EVENTS - 2] for reader in readers)

    def have_last_quote() -> bool:
        return all(max(reader.newest_quotes().values()) == EVENTS - 1 for reader in readers)

    source.emit(EVENTS_A_SECOND, EVENTS)
    receive_until(readers, are_closed)
    # It reads within the two seconds before the connection is aborted.
    late, reason = stalled[0], b"more than 1024 KiB were not read"
    receive_until([*readers, late], lambda: late.has_received(reason))
    opcode, payload = late.last_frame()
    assert (opcode, close_code(payload), payload[2:]) == (CLOSE, 1013, reason)
    receive_until(readers, have_heard_all)
    # The very last event is a quote.
    receive_until(readers, have_last_quote)
    assert peak - before < MAX_GROWTH
    for reader in readers:
        assert reader.trades == list(range(0, EVENTS, 2))
        assert len(reader.newest_quotes()) == CONTRACTS
        assert min(reader.newest_quotes().values()) >= EVENTS - 2 * CONTRACTS
    # Clients that never read, and the one that does not answer the close, are aborted.
    receive_until(readers, lambda: source.log.count("disconnected: code 1013") == STALLED)
    for stream in (*readers, *stalled):
        stream.close()
    assert "Traceback" not in source.log


@pytest.mark.skipif(
    not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="this platform does not bound its kernel so"
)
def test_a_slow_client_is_noticed_before_the_kernel_buffers_megabytes(
    source: Source,
) -> None:
    """Without the bound the kernel would buffer 4 MB, and these 2.4 MB would close no client."""
    stalled = Stream(source.port)
    reader = Stream(source.port)
    source.emit(EVENTS_A_SECOND, 12_000)
    receive_until([reader], lambda: "is closed" in source.log)
    stalled.close()
    reader.close()
