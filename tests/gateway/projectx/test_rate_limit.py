"""Requests a minute: the broker's limit is kept, and enforcement's part is kept for it."""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.rate_limit import RateLimit

CLOSE = "Position/closeContract"

READ = "Position/searchOpen"
CANCEL = "Order/cancel"

# Eighths of a second add up exactly.
eighths = st.integers(0, 8 * 70).map(lambda number: number / 8)
bursts = st.lists(
    st.tuples(eighths, st.integers(1, 220), st.booleans(), st.none() | eighths), max_size=8
)


def spend(limit: RateLimit, now: float, count: int) -> None:
    for _ in range(count):
        limit.spend(now)


class RateLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.limit = RateLimit()

    def test_140_requests_a_minute_are_for_all_purposes(self) -> None:
        self.assertTrue(self.limit.has_room(0, 140))
        self.assertFalse(self.limit.has_room(0, 141))
        spend(self.limit, 0, 139)
        self.assertEqual(self.limit.wait(0, CLOSE, urgent=False), 0)
        self.assertTrue(self.limit.has_room(0, 1))
        self.limit.spend(0)
        self.assertEqual(self.limit.wait(0, CLOSE, urgent=False), 60)
        self.assertFalse(self.limit.has_room(0, 1))

    def test_60_more_are_for_enforcement(self) -> None:
        spend(self.limit, 0, 199)
        self.assertEqual(self.limit.wait(1, CLOSE, urgent=True), 0)
        self.limit.spend(1)
        self.assertEqual(self.limit.wait(1, CLOSE, urgent=True), 59)

    def test_30_of_these_are_kept_for_closing(self) -> None:
        spend(self.limit, 0, 169)
        self.assertEqual(self.limit.wait(1, "Order/cancel", urgent=True), 0)
        self.limit.spend(1)
        self.assertEqual(self.limit.wait(1, "Order/cancel", urgent=True), 59)
        self.assertEqual(self.limit.wait(1, CLOSE, urgent=True), 0)

    def test_10_of_these_are_kept_from_the_reads_of_enforcement(self) -> None:
        spend(self.limit, 0, 189)
        self.assertEqual(self.limit.wait(1, READ, urgent=True), 0)
        self.limit.spend(1)
        self.assertEqual(self.limit.wait(1, READ, urgent=True), 59)
        self.assertEqual(self.limit.wait(1, CLOSE, urgent=True), 0)

    def test_pings_get_60_and_give_way_during_a_hold(self) -> None:
        spend(self.limit, 0, 59)
        self.assertTrue(self.limit.may_ping(1))
        self.limit.spend(1)
        self.assertFalse(self.limit.may_ping(59))
        self.assertTrue(self.limit.may_ping(60))
        self.limit.hold(60, 5)
        self.assertFalse(self.limit.may_ping(64))
        self.assertTrue(self.limit.may_ping(65))

    def test_requests_of_enforcement_count_for_all(self) -> None:
        for second in range(150):
            self.limit.spend(second / 10)
        self.assertEqual(self.limit.wait(20, CLOSE, urgent=True), 0)
        # The eleventh of them has to be gone.
        self.assertEqual(self.limit.wait(20, CLOSE, urgent=False), 41)

    def test_a_request_counts_for_a_minute(self) -> None:
        spend(self.limit, 0, 200)
        self.assertFalse(self.limit.has_room(59.9, 1))
        self.assertTrue(self.limit.has_room(60, 140))

    def test_during_a_hold_only_enforcement_goes_on(self) -> None:
        self.limit.hold(100, 7)
        self.assertEqual(self.limit.wait(102, CLOSE, urgent=False), 5)
        self.assertEqual(self.limit.wait(102, CLOSE, urgent=True), 0)
        self.assertFalse(self.limit.has_room(106.9, 1))
        self.assertTrue(self.limit.has_room(107, 1))

    def test_a_shorter_hold_does_not_end_a_longer_one(self) -> None:
        self.limit.hold(0, 60)
        self.limit.hold(1, 5)
        self.assertEqual(self.limit.wait(10, CLOSE, urgent=False), 50)

    def test_the_longer_of_a_hold_and_a_full_window_counts(self) -> None:
        spend(self.limit, 0, 140)
        self.limit.hold(0, 10)
        self.assertEqual(self.limit.wait(0, CLOSE, urgent=False), 60)
        self.limit.hold(30, 60)
        self.assertEqual(self.limit.wait(30, CLOSE, urgent=False), 60)

    @given(bursts)
    def test_no_window_has_too_many_requests(
        self, bursts: list[tuple[float, int, bool, float | None]]
    ) -> None:
        limit, now = RateLimit(), 0.0
        made: list[tuple[float, bool]] = []
        held_until = 0.0
        for gap, count, is_urgent, hold in bursts:
            now += gap
            if hold is not None:
                limit.hold(now, hold)
                held_until = max(held_until, now + hold)
            for _ in range(count):
                had_room = limit.has_room(now, 1)
                wait = limit.wait(now, CLOSE, urgent=is_urgent)
                self.assertTrue(0 <= wait <= 140)
                if not is_urgent:
                    self.assertEqual(had_room, wait == 0)
                now += wait
                self.assertEqual(limit.wait(now, CLOSE, urgent=is_urgent), 0, "it was not enough")
                if not is_urgent:
                    self.assertTrue(now >= held_until)
                limit.spend(now)
                made.append((now, is_urgent))
                window = [urgent for moment, urgent in made if moment > now - 60]
                self.assertTrue(len(window) <= (200 if is_urgent else 140), len(window))

    @given(st.lists(eighths, max_size=30), st.integers(0, 150))
    def test_no_wait_is_longer_than_necessary(self, gaps: list[float], more: int) -> None:
        """An eighth of a second earlier there is no room."""
        limit, now = RateLimit(), 0.0
        for gap in gaps:
            now += gap
            limit.spend(now)
        spend(limit, now, more)
        for is_urgent in (True, False):
            wait = limit.wait(now, CLOSE, urgent=is_urgent)
            if wait:
                self.assertTrue(limit.wait(now + wait - 0.125, CLOSE, urgent=is_urgent) > 0)


class CountingBroker:
    """A broker that answers 200 requests in any 60 s."""

    def __init__(self) -> None:
        self.received: list[float] = []

    def receive(self, now: float) -> None:
        """Receive a request.

        :raises AssertionError: HTTP 429.
        """
        self.received = [*(moment for moment in self.received if moment > now - 60), now]
        assert len(self.received) <= 200, f"HTTP 429 at {now:g} s"


class LockedAccountTests(SynchronousTestCase):
    """A locked account that a bot enters again every second, for 10 minutes."""

    def setUp(self) -> None:
        self.limit, self.broker = RateLimit(), CountingBroker()
        self.sent = Counter[str]()
        self.reads: deque[float] = deque()

    def send(self, now: float, name: str) -> None:
        self.limit.spend(now, name)
        self.broker.receive(now)
        self.sent[name] += 1

    def command(self, now: float, request: str) -> None:
        self.assertEqual(self.limit.wait(now, request, urgent=True), 0, f"{request} at {now:g} s")
        self.send(now, request)

    def read(self, now: float, *, urgent: bool) -> None:
        """Send the reads that are due, as far as there is room."""
        while self.reads and not self.limit.wait(now, READ, urgent=urgent):
            self.reads.popleft()
            self.send(now, READ)

    def ping(self, now: float) -> None:
        if self.limit.may_ping(now):
            self.send(now, "ping")

    def hold_the_account(
        self, *, cancels: int = 0, reads: int, ping_each: int, urgent: bool
    ) -> None:
        """Close each position of the bot at once, with a look each 5 s, and pings."""
        for second in range(600):
            now = 1000.0 + second
            self.command(now, CLOSE)
            for _ in range(cancels):
                self.command(now + 0.01, CANCEL)
            if second % 5 == 0:
                self.reads.extend([now] * reads)
            self.read(now + 0.1, urgent=urgent)
            if second % ping_each == 0:
                self.ping(now + 0.2)

    def test_closes_never_wait(self) -> None:
        # As many reads as a reconciliation makes, and pings of 2 connections each 15 s.
        for urgent in (True, False):
            self.setUp()
            self.hold_the_account(reads=4, ping_each=8, urgent=urgent)
            self.assertEqual(self.sent[CLOSE], 600)
            self.assertEqual((self.sent[READ], len(self.reads)), (480, 0))

    def test_closes_and_cancels_never_wait_and_reads_give_way(self) -> None:
        # A look of enforcement at positions and orders; more other reads than there is room for.
        for reads, urgent in ((2, True), (12, False)):
            self.setUp()
            self.hold_the_account(cancels=1, reads=reads, ping_each=1, urgent=urgent)
            self.assertEqual((self.sent[CLOSE], self.sent[CANCEL]), (600, 600))
            self.assertEqual(self.sent[READ] == 240, urgent)
            # There is still a look of 2 each 6 s.
            self.assertTrue(self.sent[READ] >= 200, self.sent)

    def test_closes_do_not_wait_after_a_burst_of_reads(self) -> None:
        self.reads.extend([999.0] * 1000)
        self.read(999.0, urgent=False)
        self.assertEqual(self.sent[READ], 140)
        self.hold_the_account(reads=2, ping_each=1, urgent=False)
        self.assertEqual(self.sent[CLOSE], 600)

    def test_pings_give_way_first(self) -> None:
        # 8 connections, pinged each 15 s, and a reconciliation of three accounts each 5 s.
        self.hold_the_account(reads=12, ping_each=2, urgent=False)
        self.assertEqual(self.sent[CLOSE], 600)
        self.assertTrue(self.sent["ping"] < 60, self.sent)
        self.assertTrue(self.sent[READ] > 700, self.sent)
