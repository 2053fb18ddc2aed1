"""The WebSockets of the tabs: what is sent ahead, and when a tab is cut."""

from __future__ import annotations

import txaio
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.memory_transport import MemoryTransport
from tests.support.websocket_frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    client_frame,
    close_code,
    handshake,
    read_frames,
)
from trader.web.tabs import (
    CONGESTED_SECONDS,
    MAX_MESSAGE_BYTES,
    MAX_TABS,
    MAX_UNSHOWN,
    SHOWN,
    Connection,
    TabFactory,
)


class Page:
    """What is behind a tab: records what it is told."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.fed: list[str] = []
        self.congestion: list[bool] = []
        self.stops = 0

    def feed(self, message: str) -> None:
        """Record a message; refuse an empty one and ``bad``."""
        if message in ("", "bad"):
            raise ValueError(message)
        self.fed.append(message)

    def set_congested(self, is_congested: bool, /) -> None:
        """Record the report."""
        self.congestion.append(is_congested)

    def stop(self) -> Deferred[None]:
        """Count the ends."""
        self.stops += 1
        return succeed(None)


class TabTests(SynchronousTestCase):
    """One tab, in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        # Autobahn takes its timers from there.
        self.patch(txaio.config, "loop", self.clock)
        self.pages: list[Page] = []
        self.factory = TabFactory(self.clock, self.open)
        self.transport = self.connect()

    def open(self, connection: Connection) -> Page:
        """Make what is behind a tab."""
        self.pages.append(Page(connection))
        return self.pages[-1]

    def connect(self) -> MemoryTransport:
        """Return the server's end of a new connection that has sent its handshake."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        assert protocol is not None
        transport = MemoryTransport()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        protocol.dataReceived(handshake("localhost:1"))
        return transport

    def say(self, payload: bytes, opcode: int = TEXT) -> None:
        """Send a message as the page."""
        self.transport.protocol.dataReceived(client_frame(opcode, payload))

    def frames(self) -> list[tuple[int, bytes]]:
        """Return what was sent since the last call."""
        data = self.transport.value()
        self.transport.clear()
        if data.startswith(b"HTTP/"):
            data = data.partition(b"\r\n\r\n")[2]
        return read_frames(data)

    def begin(self) -> Page:
        """Send the first message."""
        self.say(b"size")
        self.frames()
        return self.pages[0]

    def test_the_first_message_opens_the_page(self) -> None:
        self.assertEqual(self.pages, [])
        page = self.begin()
        self.assertEqual(page.fed, ["size"])

    def test_a_page_that_shows_what_it_gets_is_never_congested(self) -> None:
        page = self.begin()
        for _ in range(10 * MAX_UNSHOWN):
            page.connection.send("frame")
            self.say(SHOWN)
        self.assertEqual(page.congestion, [])
        self.assertEqual(len(self.frames()), 10 * MAX_UNSHOWN)

    def test_a_page_that_shows_nothing_is_congested_until_it_does(self) -> None:
        page = self.begin()
        for _ in range(MAX_UNSHOWN):
            page.connection.send("frame")
        self.assertEqual(page.congestion, [True])
        self.say(SHOWN)
        self.assertEqual(page.congestion, [True, False])
        self.clock.advance(2 * CONGESTED_SECONDS)
        self.assertEqual(page.stops, 0)

    def test_a_page_that_sleeps_is_cut(self) -> None:
        page = self.begin()
        for _ in range(MAX_UNSHOWN):
            page.connection.send("frame")
        self.clock.advance(CONGESTED_SECONDS - 1)
        self.assertEqual(page.stops, 0)
        self.clock.advance(1)
        self.assertEqual(page.stops, 1)
        self.assertFalse(self.transport.connected)
        self.assertEqual(len(self.factory.tabs), 0)

    def test_a_full_transport_is_congestion_too(self) -> None:
        page = self.begin()
        producer = self.transport.producer
        for _ in range(3):
            producer.pauseProducing()
        self.say(SHOWN)
        self.assertEqual(page.congestion, [True])
        producer.resumeProducing()
        self.assertEqual(page.congestion, [True, False])

    def test_acknowledgments_without_messages_count_for_nothing(self) -> None:
        page = self.begin()
        for _ in range(100):
            self.say(SHOWN)
        for _ in range(MAX_UNSHOWN):
            page.connection.send("frame")
        self.assertEqual(page.congestion, [True])

    def test_pings_of_a_page_that_does_not_read_are_not_answered(self) -> None:
        self.begin()
        self.say(b"1", PING)
        self.assertEqual(self.frames(), [(PONG, b"1")])
        self.transport.producer.pauseProducing()
        self.say(b"2", PING)
        self.assertEqual(self.frames(), [])

    def test_what_no_page_sends_ends_the_connection(self) -> None:
        for opcode, payload, code in (
            (TEXT, b"bad", 1008),
            (2, b"bytes", 1008),
            (TEXT, b"x" * (MAX_MESSAGE_BYTES + 1), 1009),
        ):
            self.transport = self.connect()
            self.say(b"size")
            self.frames()
            self.say(payload, opcode)
            kind, reason = self.frames()[-1]
            self.assertEqual((kind, close_code(reason)), (CLOSE, code))
            # What follows reaches no page.
            fed = len(self.pages[-1].fed)
            self.say(b"more")
            self.assertEqual(len(self.pages[-1].fed), fed)
        self.flushLoggedErrors()

    def test_nothing_is_sent_after_the_end(self) -> None:
        page = self.begin()
        page.connection.close()
        page.connection.close()
        page.connection.send("late")
        self.assertEqual([kind for kind, _ in self.frames()], [CLOSE])

    def test_one_tab_too_many_is_refused(self) -> None:
        for _ in range(MAX_TABS - 1):
            self.connect()
        self.assertTrue(self.factory.is_full)
        refused = self.connect()
        self.assertTrue(refused.value().startswith(b"HTTP/1.1 503 "))
        self.assertEqual(len(self.factory.tabs), MAX_TABS)

    def test_a_closed_tab_is_forgotten_once(self) -> None:
        page = self.begin()
        self.transport.loseConnection()
        self.assertEqual(page.stops, 1)
        self.assertEqual(len(self.factory.tabs), 0)

    def test_the_end_of_the_program_closes_each_tab(self) -> None:
        self.begin()
        gone = self.factory.close_all()
        kind, reason = self.frames()[-1]
        self.assertEqual((kind, close_code(reason)), (CLOSE, 1001))
        self.say(reason, CLOSE)
        self.successResultOf(gone)
