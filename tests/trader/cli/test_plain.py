"""Events as lines, without a screen."""

from __future__ import annotations

import json
from typing import Any

from riskd.model.events import EVENT_TYPES
from riskd.model.wire import encode, open_envelope
from riskd.testing import make_event
from tests.support.console import BEGIN, DAY, SessionTestCase
from trader.cli.plain import JsonLines, PlainLines
from trader.model.formatting import clock


class PlainTests(SessionTestCase):
    """A line for each event, in words."""

    def setUp(self) -> None:
        super().setUp()
        self.file.publish()
        self.lines: list[str] = []
        self.plain = PlainLines(self.session, self.lines.append)

    def connect(self) -> None:
        self.plain.take("connection_status", {"connected": True, "reason": "connected"})

    def lose(self, reason: str = "lost connection to daemon") -> None:
        self.plain.take("connection_status", {"connected": False, "reason": reason})

    def receive(self, event_type: str, **data: Any) -> None:
        envelope = open_envelope(encode(make_event(event_type, data)))
        self.plain.take(envelope.type, envelope.read_data())

    def test_a_connection_says_how_the_account_is(self) -> None:
        position = make_event("GatewayUserPosition", {})
        self.file.publish(position, make_event("GatewayUserTrade", {"profitAndLoss": 5}))
        self.connect()
        self.assertEqual(
            self.lines,
            [
                f"{clock(BEGIN)} Connected to daemon",
                (
                    "account 123, PRACTICE, realized +5.00 in 1 trade, 1 position, "
                    "0 working orders, not locked"
                ),
            ],
        )

    def test_of_what_nobody_told_the_summary_has_no_figures(self) -> None:
        self.connect()
        self.assertEqual(
            self.lines[-1],
            "account 123, PRACTICE, P&L, positions and orders: the broker has not said, not locked",
        )

    def test_a_connection_says_what_the_daemon_is_in_trouble_with(self) -> None:
        trouble = {"status": "ERROR", "message": "The broker refuses the login"}
        self.file.publish(make_event("daemon_status", trouble))
        self.connect()
        self.assertIn("orders: the daemon has an error, not locked", self.lines[-1])
        self.assertTrue(self.lines[-1].endswith("; Daemon ERROR: The broker refuses the login"))

    def test_each_event_is_a_line_and_a_quote_is_none(self) -> None:
        self.connect()
        self.lines.clear()
        for event_type in EVENT_TYPES:
            self.receive(event_type)
        self.assertEqual(len(self.lines), len(EVENT_TYPES) - 1)
        self.assertTrue(all(line.startswith(clock(BEGIN)) for line in self.lines))

    def test_a_lock_of_the_file_is_in_the_summary_and_what_was_enforced_before_it(self) -> None:
        self.file.publish(*DAY)
        self.connect()
        self.assertTrue(any("ENFORCED" in line for line in self.lines))
        self.assertIn("LOCKED OUT: Daily loss", self.lines[-1])

    def test_a_file_that_cannot_be_read_is_said(self) -> None:
        self.file.fail()
        self.connect()
        self.assertIn("; No last known state: ", self.lines[-1])

    def test_trouble_is_told_once_as_long_as_it_is_the_same(self) -> None:
        for reason in ("cannot connect", "cannot connect", "no such host"):
            self.lose(reason)
        self.assertEqual(self.lines, ["Cannot connect", "No such host"])

    def test_a_loss_is_told_once(self) -> None:
        self.connect()
        self.lines.clear()
        for reason in ("lost connection to daemon", "cannot connect"):
            self.lose(reason)
        self.assertEqual(self.lines, [f"{clock(BEGIN)} Lost connection to daemon"])

    def test_what_comes_from_elsewhere_cannot_break_a_line(self) -> None:
        self.connect()
        self.receive("lockout_set", reason="a\x1b[2J\nb")
        self.assertTrue(all(line.isprintable() for line in self.lines))


class JsonTests(SessionTestCase):
    """An object for each event."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        self.json = JsonLines(123, self.lines.append)

    def test_each_event_is_as_it_was_on_the_wire(self) -> None:
        for event_type in EVENT_TYPES:
            message = encode(make_event(event_type, {}))
            envelope = open_envelope(message)
            self.json.take(envelope.type, envelope.read_data())
            self.assertEqual(json.loads(self.lines[-1]), json.loads(message))
            self.assertNotIn("\n", self.lines[-1])

    def test_the_connection_is_an_object_too(self) -> None:
        self.json.take("connection_status", {"connected": False, "reason": "gone"})
        self.assertEqual(
            json.loads(self.lines[0]),
            {
                "type": "connection_status",
                "account_id": None,
                "data": {"connected": False, "reason": "gone"},
            },
        )
