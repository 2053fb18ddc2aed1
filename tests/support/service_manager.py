"""A service manager's end of the notices, as systemd has it."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from tests.support.waiting import DEADLINE_SECONDS

Notice = dict[str, str]


class ReceivedNotices:
    """A datagram socket that a program is to notify.

    :param path: that of the socket; ``None`` takes a name in the abstract namespace.
    :ivar variable: the value of ``NOTIFY_SOCKET``.
    :ivar told: the last value of each name.
    """

    def __init__(self, path: Path | None = None) -> None:
        name = f"\0riskd-{uuid4()}" if path is None else str(path)
        self.told: Notice = {}
        self.variable = name.replace("\0", "@")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name)

    def close(self) -> None:
        self._socket.close()

    def next(self, seconds: float = 0) -> Notice | None:
        """Return the next notice; ``None`` if none arrives in time."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return None
        text = self._socket.recv(65536).decode()
        notice = dict(line.split("=", 1) for line in text.split("\n"))
        self.told.update(notice)
        return notice

    def all(self) -> list[Notice]:
        """Return the notices that have arrived."""
        notices = []
        while (notice := self.next()) is not None:
            notices.append(notice)
        return notices

    def wait_for(self, name: str) -> Notice:
        """Return the next notice that has a value of ``name``; discard those before."""
        return self._wait(lambda notice: name in notice)

    def wait_for_status(self, part: str) -> None:
        """Wait until the last status has ``part`` in it."""
        if part not in self.told.get("STATUS", ""):
            self._wait(lambda notice: part in notice.get("STATUS", ""))

    def _wait(self, is_wanted: Callable[[Notice], bool]) -> Notice:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            notice = self.next(left)
            if notice is not None and is_wanted(notice):
                return notice
        raise AssertionError(f"the notice did not come in time; the last are {self.told}")
