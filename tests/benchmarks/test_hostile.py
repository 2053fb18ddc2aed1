"""What the benchmark of a broker that misbehaves measures, and that broker's market hub."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.signalr import (
    HANDSHAKE_REQUEST,
    Completion,
    Invocation,
    encode,
    encode_handshake_response,
)
from tests.benchmarks.hostile_broker import Measured, what_held
from tests.benchmarks.hostile_daemon import TimedPoller, Turn, thread_meter
from tests.integration.hostile_broker import MarketHub
from tests.support.websocket_frames import TEXT, client_frame, handshake, read_frames


class TimedPollerTests(SynchronousTestCase):
    """Turns of a reactor, each described by what the thread has spent in it."""

    def setUp(self) -> None:
        self.spent = Turn()
        poller: Any = SimpleNamespace(poll=self.poll, close=lambda: "closed")
        self.poller = TimedPoller(poller, lambda: self.spent)

    def poll(self, seconds: float) -> list[int]:
        # A poll sleeps; that holds nothing.
        self.spent = Turn(self.spent.in_all + seconds, *self.spent[1:])
        return [7]

    def turn(self, *figures: Any) -> None:
        """Spend something in a turn, then poll."""
        self.spent = Turn(*map(sum, zip(self.spent, figures, strict=True)))
        self.assertEqual(self.poller.poll(100.0), [7])

    def test_the_longest_turn_is_told_with_what_it_was_made_of(self) -> None:
        self.turn(0.010, 0.0, 0.009, 0)
        self.turn(0.065, 0.005, 0.007, 1)
        self.turn(0.090, 0.080, 0.008, 0)
        longest = self.poller.longest
        self.assertAlmostEqual(longest.held, 0.06)
        self.assertAlmostEqual(longest.cpu, 0.007)
        self.assertEqual(longest.switches, 1)
        self.assertAlmostEqual(self.poller.longest_in_all, 0.09)
        self.assertAlmostEqual(self.poller.most_cpu, 0.009)

    def test_what_was_measured_before_is_forgotten(self) -> None:
        self.turn(0.5, 0.0, 0.4, 2)
        self.poller.forget()
        self.turn(0.001, 0.0, 0.001, 0)
        self.assertAlmostEqual(self.poller.longest.held, 0.001)
        self.assertAlmostEqual(self.poller.longest_in_all, 0.001)
        self.assertAlmostEqual(self.poller.most_cpu, 0.001)

    def test_it_stands_for_the_reactors_poller(self) -> None:
        self.assertEqual(self.poller.close(), "closed")

    def test_computing_is_told_from_waiting(self) -> None:
        meter = thread_meter()
        before = meter()
        while (computed := meter().since(before)).cpu < 0.002:
            pass
        self.assertGreaterEqual(computed.in_all, computed.cpu)


class WhatHeldTests(SynchronousTestCase):
    """The sentence about a reactor that was held for too long."""

    def measured(self, switches: int) -> Measured:
        return Measured(1.0, 0.065, 0.071, 0.007, switches, 0.008, [0.01], 0.5)

    def test_a_pause_of_the_host_is_told_from_a_wait(self) -> None:
        self.assertEqual(
            what_held(self.measured(0)),
            "in the turn that held the reactor for 65.0 ms the thread computed for 7.0 ms, and was paused by the "
            "host for 58.0 ms",
        )
        self.assertIn("waited for the host, a disk or another thread", what_held(self.measured(2)))


class MarketHubTests(SynchronousTestCase):
    """The market hub of the hostile broker, on a connection in memory."""

    def test_records_may_come_in_any_parts(self) -> None:
        subscription = encode(Invocation("SubscribeContractQuotes", ("MNQ",), "1"))
        sent = client_frame(TEXT, HANDSHAKE_REQUEST) + client_frame(TEXT, subscription)
        for size in (1, 5, len(sent)):
            broker: Any = SimpleNamespace(hubs=set())
            hub, transport = MarketHub(), StringTransport()
            hub.factory = SimpleNamespace(broker=broker)
            hub.makeConnection(transport)
            request = handshake()
            for begin in range(0, len(request), size):
                hub.dataReceived(request[begin : begin + size])
            self.assertIn(b" 101 ", transport.value())
            transport.clear()
            for begin in range(0, len(sent), size):
                hub.dataReceived(sent[begin : begin + size])
            answers = [(TEXT, encode_handshake_response()), (TEXT, encode(Completion("1", 0)))]
            self.assertEqual(read_frames(transport.value()), answers)
            self.assertEqual(broker.hubs, {hub})
