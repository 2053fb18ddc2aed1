"""The clock of simulated days runs what Twisted's does, when Twisted's does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.simulation.network import SteppingClock
from tests.support.clocks import SortedClock

_SECONDS = st.integers(0, 6).map(float)

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 9), _SECONDS),
        st.tuples(st.sampled_from(["cancel", "reset", "delay"]), st.integers(0, 9), _SECONDS),
        st.tuples(st.just("advance"), st.just(0), _SECONDS),
    ),
    max_size=30,
)


def _run(clock: Clock, steps: list[tuple[str, int, float]]) -> list[tuple[float, list[int]]]:
    """Carry out steps; return which calls each advance has run, and until when."""
    calls: dict[int, IDelayedCall] = {}
    run: list[int] = []
    runs = []
    for what, name, seconds in steps:
        known = calls.get(name)
        if what == "advance":
            clock.advance(seconds)
            runs.append((clock.seconds(), sorted(run)))
            run.clear()
        elif what == "call" and (known is None or not known.active()):
            calls[name] = clock.callLater(seconds, run.append, name)
        elif what != "call" and known is not None and known.active():
            getattr(known, what)(*([] if what == "cancel" else [seconds]))
    return runs


class SortedClockTests(SynchronousTestCase):
    @given(_STEPS)
    def test_each_call_runs_in_the_advance_in_which_twisteds_clock_runs_it(
        self, steps: list[tuple[str, int, float]]
    ) -> None:
        expected = _run(Clock(), steps)
        self.assertEqual(_run(SortedClock(), steps), expected)
        self.assertEqual(_run(SteppingClock(), steps), expected)

    def test_calls_of_one_moment_run_in_the_order_in_which_they_were_made(self) -> None:
        clock, run = SortedClock(), list[str]()
        for delay, name in ((2, "third"), (1, "first"), (2, "fourth"), (1, "second")):
            clock.callLater(delay, run.append, name)
        clock.advance(2)
        self.assertEqual(run, ["first", "second", "third", "fourth"])

    def test_what_is_due_at_once_runs_in_the_same_advance(self) -> None:
        clock, run = SortedClock(), list[float]()
        clock.callLater(1, lambda: clock.callLater(0, lambda: run.append(clock.seconds())))
        clock.advance(3)
        self.assertEqual(run, [3.0])
