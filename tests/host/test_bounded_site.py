"""Sites whose connections are bounded: who is cut, who is kept, and who is refused."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from riskd.host.bounded_site import REQUEST_SECONDS, BoundedSite
from tests.support.memory_transport import MemoryTransport

PLACE = IPv4Address("TCP", "127.0.0.1", 5000)
MOST = 4
IDLE = 60
WHOLE = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_A_BODY = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf"


class _Page(Resource):
    """Answers at once, or when the test lets it."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.is_slow = False
        self.waiting: list[Request] = []

    def render(self, request: Any) -> Any:
        if not self.is_slow:
            return b"page"
        self.waiting.append(request)
        return NOT_DONE_YET


class BoundedSiteTestCase(SynchronousTestCase):
    """A site of four connections on a clock of the test's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.page = _Page()
        self.site = BoundedSite(self.page, self.clock, MOST, Request, IDLE)
        # Dates every answer, and would otherwise tick on.
        self.site.startFactory()
        self.addCleanup(self.site.stopFactory)

    def connect(self, data: bytes = b"") -> MemoryTransport | None:
        """Return a connection on which ``data`` was sent; ``None`` if it was refused."""
        protocol: Any = self.site.buildProtocol(PLACE)
        if protocol is None:
            return None
        transport = MemoryTransport(PLACE, PLACE)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        if data:
            protocol.dataReceived(data)
        return transport

    def some(self, count: int, data: bytes = b"") -> list[MemoryTransport]:
        made = [self.connect(data) for _ in range(count)]
        assert None not in made
        return [each for each in made if each is not None]


def send(transport: MemoryTransport, data: bytes) -> None:
    transport.protocol.dataReceived(data)


class NumberTests(BoundedSiteTestCase):
    """The number of connections."""

    def test_a_flood_of_half_sent_requests_drives_out_only_its_own(self) -> None:
        (kept,) = self.some(1, WHOLE)
        flood = self.some(10 * MOST, HALF_A_BODY)
        self.assertTrue(kept.connected)
        self.assertEqual([each.connected for each in flood[-MOST + 1 :]], [True] * (MOST - 1))
        self.assertFalse(any(each.connected for each in flood[: -MOST + 1]))
        (asking,) = self.some(1, WHOLE)
        self.assertIn(b"page", asking.value())
        self.assertTrue(kept.connected)

    def test_of_idle_connections_the_longest_idle_goes_first(self) -> None:
        first, second, *_ = self.some(MOST, WHOLE)
        send(first, WHOLE)
        self.some(1, WHOLE)
        self.assertEqual((first.connected, second.connected), (True, False))

    def test_a_connection_that_waits_for_its_answer_is_never_cut(self) -> None:
        self.page.is_slow = True
        served = self.some(MOST, WHOLE)
        self.assertIsNone(self.connect())
        self.clock.advance(IDLE * 10)
        self.assertTrue(all(each.connected for each in served))
        for request in self.page.waiting:
            request.finish()
        self.assertIsNotNone(self.connect())

    def test_a_connection_is_cut_once_although_it_is_lost_only_later(self) -> None:
        """A transport of the operating system loses an aborted connection a turn later."""
        waiting = self.some(MOST)
        aborted: list[MemoryTransport] = []
        for each in waiting:
            self.patch(each, "abortConnection", lambda each=each: aborted.append(each))
        self.some(MOST)
        self.assertEqual(aborted, waiting)
        for each in waiting:
            MemoryTransport.abortConnection(each)
        self.assertIsNotNone(self.connect())

    @given(st.lists(st.sampled_from((b"", b"G", HALF_A_BODY, WHOLE, WHOLE + b"GET")), max_size=12))
    def test_there_are_never_more_and_none_is_forgotten(self, sent: list[bytes]) -> None:
        made = [self.connect(data) for data in sent]
        connected = [each for each in made if each is not None and each.connected]
        self.assertEqual(len(connected), min(len(sent), MOST))
        for each in connected:
            each.abortConnection()
        self.assertEqual([self.connect() is None for _ in range(MOST)], [False] * MOST)
        self.clock.advance(REQUEST_SECONDS)


class TimeTests(BoundedSiteTestCase):
    """The time that a request may take to arrive."""

    def drip(self, transport: MemoryTransport, data: bytes) -> float:
        """Send a byte each second; return after how many seconds the connection is cut."""
        begun = self.clock.seconds()
        for byte in data:
            if not transport.connected:
                break
            send(transport, bytes([byte]))
            self.clock.advance(1)
        return self.clock.seconds() - begun

    def test_a_request_that_drips_in_is_cut(self) -> None:
        for begun in (b"", HALF_A_BODY):
            (slow,) = self.some(1, begun)
            self.assertEqual(self.drip(slow, b"x" * 60), REQUEST_SECONDS)

    def test_a_silent_connection_is_cut(self) -> None:
        (silent,) = self.some(1)
        self.clock.advance(REQUEST_SECONDS)
        self.assertFalse(silent.connected)

    def test_a_later_request_that_drips_in_is_cut(self) -> None:
        (slow,) = self.some(1, WHOLE)
        self.clock.advance(REQUEST_SECONDS * 3)
        self.assertTrue(slow.connected)
        self.assertEqual(self.drip(slow, b"x" * 60), REQUEST_SECONDS)

    def test_what_is_sent_before_the_answer_is_timed_from_the_answer(self) -> None:
        self.page.is_slow = True
        (transport,) = self.some(1, WHOLE + b"GET")
        send(transport, b" /")
        self.clock.advance(REQUEST_SECONDS * 3)
        self.assertTrue(transport.connected)
        self.page.waiting.pop().finish()
        self.clock.advance(REQUEST_SECONDS)
        self.assertFalse(transport.connected)

    def test_requests_sent_together_are_all_answered(self) -> None:
        (transport,) = self.some(1, WHOLE * 3)
        self.assertEqual(transport.value().count(b"page"), 3)

    def test_an_idle_connection_is_closed_after_a_while(self) -> None:
        (idle,) = self.some(1, WHOLE)
        self.clock.advance(IDLE - 1)
        self.assertTrue(idle.connected)
        self.clock.advance(1)
        self.assertFalse(idle.connected)

    def test_a_client_that_leaves_leaves_no_timer(self) -> None:
        before = len(self.clock.getDelayedCalls())
        for data in (b"", HALF_A_BODY, WHOLE, WHOLE + b"GET"):
            (transport,) = self.some(1, data)
            transport.loseConnection()
        self.page.is_slow = True
        (transport,) = self.some(1, WHOLE + b"GET")
        transport.loseConnection()
        self.assertEqual(len(self.clock.getDelayedCalls()), before)
