"""Why the server cuts a client off: the limits of a client, and the reasons.

A client that exceeds a limit is closed with a code and a reason, or its connection is aborted where it
cannot read a reason any more; see ``ConsoleProtocol`` in :mod:`~riskd.broadcast.connection`.  A client that is
merely behind is not cut: its backlog replaces its quotes and keeps everything else.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from riskd.broadcast.heartbeat import KEEPALIVE_SECONDS

MAX_HELD_BYTES: Final = 1024 * 1024
"""The most bytes of events for one client, in its backlog and in its connection's buffer."""

MAX_CONGESTED_SECONDS: Final = 30
"""The longest time that a client's backlog may take to empty."""

MAX_FRAMES_PER_HEARTBEAT: Final = 30
"""A client owes a pong, and may ping.  Reading a frame costs about 12 us, and all clients may send at once."""


class Cut(StrEnum):
    """The reasons for which the server ends a connection.

    The values are labels of the metric ``riskd_clients_cut_total``.
    """

    TOO_MUCH_UNREAD = "too_much_unread"
    TOO_LONG_CONGESTED = "too_long_behind"
    NO_PONG = "no_pong"
    SENT_A_MESSAGE = "sent_a_message"
    SENT_TOO_MUCH = "sent_too_much"
    TOO_MANY_PENDING = "crowd_at_the_door"


REASONS: Final = {
    Cut.TOO_MUCH_UNREAD: f"more than {MAX_HELD_BYTES // 1024} KiB were not read",
    Cut.TOO_LONG_CONGESTED: f"behind for {MAX_CONGESTED_SECONDS} s",
    Cut.NO_PONG: f"no pong within {KEEPALIVE_SECONDS} s",
    Cut.SENT_A_MESSAGE: "this stream is one-way",
    Cut.SENT_TOO_MUCH: f"more than {MAX_FRAMES_PER_HEARTBEAT} frames within {KEEPALIVE_SECONDS} s",
    Cut.TOO_MANY_PENDING: "too many connections without a handshake",
}
"""The sentence for the client and for the log."""
