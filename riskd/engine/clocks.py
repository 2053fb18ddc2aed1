"""The engine's clocks: the broker's time, and the watch over this machine's.

All times in the engine are the broker's.  A sleep of the machine, a jump of the wall clock and a correction
of the broker's time are logged, journaled for each account and broadcast; none of them ends a lock or
begins a day early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from riskd.engine.clock_watch import TICK_SECONDS, ClockWatch
from riskd.gateway.broker_clock import BrokerClock
from riskd.host.timing import lasting_loop
from riskd.model.clock_offset import REMEDY, error_sentence, offset_words, span_words

_log = Logger()

ASK_SECONDS: Final = (2.0, 60.0)
"""The first and the longest pause between two requests that only make the broker's time exact."""

CORRECTION: Final = timedelta(seconds=2)
"""A larger change of the estimate of the broker's time is reported."""


class Clocks:
    """The broker's clock and the watch over this machine's.

    :param clock: the reactor.
    :param wall: gives the time of the wall clock, aware.
    :param report_problem: takes a source and a sentence; an empty sentence ends the problem of that source.
    :ivar broker: the broker's clock.
    :ivar became_known: called when the broker's time is known for the first time.
    :ivar slept: called when the machine has slept.
    :ivar jumped: called when the wall clock has jumped.
    :ivar offset_changed: called when the offset has changed.
    :ivar ask_time: called when an answer of the broker would make its time more exact.
    :ivar report: receives each sentence about the clocks and the span that it is about.
    """

    def __init__(
        self,
        clock: IReactorTime,
        wall: Callable[[], datetime],
        report_problem: Callable[[str, str], None],
    ) -> None:
        self.broker = BrokerClock(clock.seconds, wall)
        self._watch = ClockWatch(self.broker, clock.seconds, wall)
        self._loop = lasting_loop(clock, self.check, _log)
        self._clock = clock
        self._asking: IDelayedCall | None = None
        self._ask_not_before = 0.0
        self._ask_pause = ASK_SECONDS[0]
        self._report_problem = report_problem
        self._problem_offset: timedelta | None = None
        self.became_known: Callable[[], None] = lambda: None
        self.slept: Callable[[], None] = lambda: None
        self.jumped: Callable[[], None] = lambda: None
        self.offset_changed: Callable[[], None] = lambda: None
        self.ask_time: Callable[[], None] = lambda: None
        self.report: Callable[[str, timedelta], None] = lambda _sentence, _span: None

    def start(self) -> None:
        """Compare the clocks every second."""
        self._loop.start(TICK_SECONDS, now=False)

    def stop(self) -> None:
        """Stop comparing the clocks."""
        if self._loop.running:
            self._loop.stop()
        if self._asking is not None and self._asking.active():
            self._asking.cancel()

    @property
    def offset(self) -> timedelta | None:
        """How far the broker's clock is ahead of the wall clock; ``None``: unknown."""
        return self._watch.offset

    # The broker's clock.

    def reported(self, at: datetime, precision: float, delay: float) -> None:
        """Take what the broker's clock showed; see ``IGatewayListener``."""
        with self._correction():
            self.broker.reported(at, precision, delay)

    def stamped(self, stamp: datetime) -> None:
        """Take the broker's stamp of an event that has just arrived."""
        with self._correction():
            self.broker.stamped(stamp)

    @contextmanager
    def _correction(self) -> Iterator[None]:
        was_known, before = self.broker.is_known, self.broker.now()
        yield
        if not self.broker.is_known:
            return
        correction = self.broker.now() - before
        if not was_known:
            self._evaluate_offset()
            self.became_known()
        elif abs(correction) > CORRECTION:
            way = "ahead of" if correction > timedelta() else "behind"
            self.report(
                f"The broker's clock is {span_words(correction)} {way} riskd's estimate; "
                "riskd follows the broker's clock",
                correction,
            )

    # This machine's clocks.

    def notice_sleep(self) -> None:
        """Compare the clocks if the machine has slept; called before rules are evaluated."""
        if self._watch.has_slept:
            self.check()

    def check(self) -> None:
        """Compare the clocks and report each change."""
        changes = self._watch.compare()
        if changes.slept:
            self.report(
                f"This machine slept, or riskd was stopped, for {span_words(changes.slept)}; "
                "riskd reconciles all accounts before it evaluates the rules",
                changes.slept,
            )
            self.slept()
        if changes.jumped:
            way = "forward" if changes.jumped > timedelta() else "back"
            self.report(
                f"This machine's clock was set {way} by {span_words(changes.jumped)}; "
                "locks and trading days follow the broker's clock",
                changes.jumped,
            )
            self.jumped()
        self._evaluate_offset()
        self._ask_time_later()

    def _ask_time_later(self) -> None:
        """Schedule a request for the broker's time, if the estimate is not exact.

        Each request waits longer than the one before.
        """
        wait = self.broker.best_report_in()
        if wait is None:
            self._ask_pause = ASK_SECONDS[0]
        elif self._clock.seconds() >= self._ask_not_before:
            self._ask_not_before = self._clock.seconds() + self._ask_pause
            self._ask_pause = min(2 * self._ask_pause, ASK_SECONDS[1])
            self._asking = self._clock.callLater(wait, self.ask_time)

    def _evaluate_offset(self) -> None:
        was_warning, before = self._watch.is_warning, self._watch.offset
        self._watch.evaluate_offset()
        offset = self._watch.offset
        if offset is None:
            return
        if offset != before:
            self.offset_changed()
        if self._watch.is_warning and not was_warning:
            _log.warn("{offset}: {remedy}", offset=offset_words(offset), remedy=REMEDY)
        if not self._watch.is_error:
            self._problem_offset = None
            self._report_problem("clock", "")
        elif self._problem_offset is None or abs(offset - self._problem_offset) >= CORRECTION:
            # A clock that drifts must not change the sentence all the time.
            self._problem_offset = offset
            self._report_problem("clock", error_sentence(offset))
