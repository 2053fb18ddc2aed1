"""A daemon's stream as any WebSocket client receives it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import websocket

from tests.support.waiting import DEADLINE_SECONDS

Message = dict[str, Any]


class EventStream:
    """A client of the daemon on a port.

    :ivar texts: every message received.
    """

    def __init__(self, port: int) -> None:
        self.texts: list[str] = []
        self._socket = websocket.create_connection(
            f"ws://localhost:{port}", timeout=DEADLINE_SECONDS
        )

    def next_message(self, is_wanted: Callable[[Message], object]) -> Message:
        """Return the next message that is wanted.

        :raises AssertionError: there is none within the deadline.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            assert time.monotonic() < deadline, "waited in vain"
            self.texts.append(self._socket.recv())
            message: Message = json.loads(self.texts[-1])
            if is_wanted(message):
                return message

    def next(self, event_type: str, **fields: Any) -> dict[str, Any]:
        """Return the data of the next event of a type with these fields."""
        data: dict[str, Any] = self.next_message(
            lambda message: (
                message["type"] == event_type and fields.items() <= message["data"].items()
            )
        )["data"]
        return data

    def close(self) -> None:
        self._socket.shutdown()
