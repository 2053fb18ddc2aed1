"""The clock of turns: timers in a fixed order, fired one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from riskd.recording.turn_clock import TurnClock

# Quarters, so that many are due at the same time.
delays = st.integers(0, 12).map(lambda quarters: quarters / 4)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("set"), delays),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("reset"), st.integers(0, 9), delays),
        st.tuples(st.just("delay"), st.integers(0, 9), delays),
        st.tuples(st.just("fire")),
    ),
    max_size=40,
)


class TurnClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = TurnClock(100.0)
        self.fired: list[str] = []

    def test_the_interface(self) -> None:
        verifyObject(IReactorTime, self.clock)

    def test_time_stands_still_until_it_is_set(self) -> None:
        self.clock.callLater(1, self.fired.append, "a")
        self.clock.set(250.0)
        self.assertEqual((self.clock.seconds(), self.fired), (250.0, []))
        self.assertEqual(self.clock.next_due, 101.0)

    def test_timers_due_together_fire_in_the_order_they_were_set(self) -> None:
        late = self.clock.callLater(1, self.fired.append, "first")
        self.clock.callLater(3, self.fired.append, "second")
        late.reset(3)
        for _ in range(2):
            self.clock.fire_first()
        self.assertEqual(self.fired, ["first", "second"])

    def test_without_a_timer_none_can_fire(self) -> None:
        self.assertRaises(LookupError, self.clock.fire_first)
        self.assertIsNone(self.clock.next_due)

    def test_a_timer_that_fired_or_was_canceled_is_over(self) -> None:
        fired, canceled = self.clock.callLater(1, int), self.clock.callLater(2, int)
        self.clock.fire_first()
        canceled.cancel()
        self.assertRaises(AlreadyCalled, fired.cancel)
        self.assertRaises(AlreadyCancelled, canceled.reset, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_twisteds_loops_and_waits_run_on_it(self) -> None:
        loop = LoopingCall(self.fired.append, "round")
        loop.clock = self.clock
        loop.start(5, now=False)
        waited = deferLater(self.clock, 7)
        for due in (105.0, 107.0, 110.0):
            self.assertEqual(self.clock.next_due, due)
            self.clock.set(due)
            self.clock.fire_first()
        self.successResultOf(waited)
        loop.stop()
        self.assertEqual(self.fired, ["round", "round"])

    @given(acts)
    def test_any_use_keeps_the_same_timers_as_twisteds_clock(
        self, acts: list[tuple[object, ...]]
    ) -> None:
        """Timers are due when Twisted's are; of timers due together, the oldest fires first."""
        ours, theirs = TurnClock(0.0), Clock()
        fired: list[int] = []
        pairs = []
        for name, *arguments in acts:
            if name == "set":
                number = len(pairs)
                pair = (
                    ours.callLater(arguments[0], fired.append, number),
                    theirs.callLater(arguments[0], int),
                )
                pairs.append(pair)
            elif name == "fire":
                waiting = [(own.getTime(), i) for i, (own, _) in enumerate(pairs) if own.active()]
                due = ours.next_due
                if not waiting:
                    self.assertRaises(LookupError, ours.fire_first)
                else:
                    ours.fire_first()
                    first = min(waiting)
                    self.assertEqual((due, fired[-1]), first)
                    pairs[first[1]][1].cancel()
            elif arguments[0] < len(pairs) and pairs[arguments[0]][0].active():
                for call in pairs[arguments[0]]:
                    getattr(call, name)(*arguments[1:])
            for own, their in pairs:
                self.assertEqual(own.active(), their.active())
                if own.active():
                    self.assertEqual(own.getTime(), their.getTime())
        self.assertEqual(len(fired), len(set(fired)))
