"""Counts of the broadcast, for the metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from riskd.broadcast.cuts import Cut


@dataclass
class Statistics:
    """Counts since the start, and the present state.

    :ivar clients: clients connected now.
    :ivar events: events broadcast, by type.
    :ivar bytes_sent: bytes of events handed to the clients' connections.
    :ivar queue_bytes: bytes of events in the backlogs now, without the connections' own buffers.
    :ivar conflated_quotes: quotes in backlogs that a newer quote replaced, so that no client saw them.
    :ivar cut: connections that the server ended, by reason.
    """

    clients: int = 0
    events: Counter[str] = field(default_factory=Counter)
    bytes_sent: int = 0
    queue_bytes: int = 0
    conflated_quotes: int = 0
    cut: Counter[Cut] = field(default_factory=Counter)
