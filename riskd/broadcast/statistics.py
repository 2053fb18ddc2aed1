"""What the broadcast counts of itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Cut(StrEnum):
    """Why a connection was ended from this side."""

    TOO_MUCH_UNREAD = "too_much_unread"
    TOO_LONG_BEHIND = "too_long_behind"
    NO_PONG = "no_pong"
    SENT_A_MESSAGE = "sent_a_message"
    SENT_TOO_MUCH = "sent_too_much"
    CROWD_AT_THE_DOOR = "crowd_at_the_door"


@dataclass
class Statistics:
    """Counts since the start, and how it is now.

    :ivar clients: connected now.
    :ivar events: broadcast, by type.
    :ivar bytes_sent: of events, handed to the clients' connections.
    :ivar queue_bytes: of events, kept now for clients that cannot take them yet; the connections' own
        buffers are not among them.
    :ivar conflated_quotes: that a newer one took the place of, so that the client never saw them.
    :ivar cut: connections that were ended from this side, by reason.
    """

    clients: int = 0
    events: Counter[str] = field(default_factory=Counter)
    bytes_sent: int = 0
    queue_bytes: int = 0
    conflated_quotes: int = 0
    cut: Counter[Cut] = field(default_factory=Counter)
