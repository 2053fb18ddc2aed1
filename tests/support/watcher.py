"""The watcher of ``trader-alerts`` on a clock, and a daemon that it follows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.reader import Snapshot
from riskd.model.events import Event
from tests.support.console import BEGIN, StateFile
from trader.alerts.alert import Alert, Kind
from trader.alerts.settings import Settings
from trader.alerts.watcher import Watcher
from trader.model.session import Origin


class Followed:
    """A daemon that publishes its state in memory."""

    url = "ws://localhost:8765"
    origin: Origin = ("practice", "")

    def __init__(self) -> None:
        self.file = StateFile()

    def read(self, _only: object = None) -> Snapshot:
        return self.file.read()

    def version(self) -> object:
        return self.file.version()

    def locate(self) -> str:
        return self.url

    def admit(self, _handshake: object) -> None:
        """Follow any daemon."""


class WatcherTestCase(SynchronousTestCase):
    """A watcher on a clock, fed as a client feeds it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.followed = Followed()
        self.begin()

    def begin(self, *accounts: int, settings: Settings | None = None) -> None:
        self.sent: list[Alert] = []
        self.watcher = Watcher(
            accounts,
            self.followed,  # type: ignore[arg-type]
            settings or Settings(),
            self.sent.append,
            self.clock,
            self.now,
        )

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.clock.seconds())

    def publish(self, *events: Event, **more: Any) -> None:
        self.followed.file.publish(
            *events, clock_offset=more.pop("clock_offset", timedelta()), **more
        )

    def connect(self) -> None:
        self.watcher.client.connected = True
        self.watcher.receive_status("", {"connected": True, "reason": "connected"})

    def lose(self, reason: str = "lost connection to daemon") -> None:
        self.watcher.client.connected = False
        self.watcher.receive_status("", {"connected": False, "reason": reason})

    def receive(self, event: Event) -> None:
        self.watcher.receive(event.type, lambda: event)

    @property
    def kinds(self) -> list[Kind]:
        return [alert.kind for alert in self.sent]
