"""``--plain`` and ``--json``, with a client and a reactor in memory."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

from twisted.internet.defer import Deferred, succeed

from tests.support.command_line import CommandLineTestCase
from trader.cli import headless
from trader.cli.arguments import parse_options
from trader.cli.headless import run_headless


class FakeReactor:
    """Calls what is due when it runs, then shuts down."""

    def __init__(self) -> None:
        self.running = False
        self.stops = 0
        self._at_start: list[Any] = []
        self._at_shutdown: list[Any] = []

    def callWhenRunning(self, function: Any) -> None:
        self._at_start.append(function)

    def addSystemEventTrigger(self, _phase: str, _event: str, function: Any) -> None:
        self._at_shutdown.append(function)

    def run(self) -> None:
        self.running = True
        for function in (*self._at_start, *self._at_shutdown):
            function()

    def stop(self) -> None:
        self.stops += 1


class FakeClient:
    """Reports a connection and an event as soon as it connects."""

    def __init__(
        self,
        account_id: int,
        event_callback: Any,
        url: str,
        *,
        reactor: object,
        lazy_event_callback: Any = None,
    ) -> None:
        self._callback = event_callback
        self._lazy_callback = lazy_event_callback

    def connect(self) -> None:
        self._callback("connection_status", {"connected": False, "reason": "cannot connect"})
        if self._lazy_callback is None:
            self._callback("daemon_status", {"message": "In step"})

    def disconnect(self) -> Deferred[None]:
        self._callback("connection_status", {"connected": False, "reason": "disconnected"})
        return succeed(None)


class ClosedPipe(io.StringIO):
    """An output whose reader is gone."""

    def flush(self) -> None:
        raise BrokenPipeError


class HeadlessTests(CommandLineTestCase):
    """Lines on standard output until the reactor stops."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = FakeReactor()
        self.patch(headless, "DaemonClient", FakeClient)
        # Logging is global, and belongs to the test runner.
        self.patch(headless.globalLogBeginner, "beginLoggingTo", lambda *_, **__: None)
        self.output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        self.patch(sys, "stdout", self.output)

    def run_with(self, option: str) -> list[str]:
        """Run the program; return the lines of its output."""
        options = parse_options(["123", option, "--state", str(self.directory)])
        run_headless(123, options, self.reactor)
        self.output.seek(0)
        return self.output.read().splitlines()

    def test_json_writes_events_and_the_status_of_the_connection(self) -> None:
        lines = [json.loads(line) for line in self.run_with("--json")]
        self.assertEqual(
            [(line["type"], line["data"].get("reason")) for line in lines],
            [
                ("connection_status", "cannot connect"),
                ("daemon_status", None),
                ("connection_status", "disconnected"),
            ],
        )

    def test_plain_writes_sentences(self) -> None:
        self.assertEqual(self.run_with("--plain"), ["Cannot connect", "Disconnected"])

    def test_a_reader_that_closes_the_pipe_stops_the_reactor(self) -> None:
        discarded: list[bool] = []
        self.patch(headless, "discard_output", lambda: discarded.append(True))
        options = parse_options(["123", "--json"])
        pipe = ClosedPipe()
        pipe.reconfigure = lambda **_: None  # type: ignore[attr-defined]
        self.patch(sys, "stdout", pipe)
        run_headless(123, options, self.reactor)
        self.assertEqual((len(discarded), self.reactor.stops), (3, 3))
