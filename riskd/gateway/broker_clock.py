"""Estimate the broker's time from what the broker sends.

The broker's time is the steady clock plus an offset.  The module calls the broker's time at second 0 of the
steady clock the *epoch*, and estimates that.  Until the broker reports its time, the wall clock stands in.

There are two kinds of readings:

- A **report** says that the broker's clock showed a time between ``at`` and ``at + precision`` at a moment
  within the last ``delay`` seconds, as the ``Date`` of an HTTP response does.  It bounds the epoch on both
  sides.
- A **stamp** is the time that the broker gave an event.  It is never later than the broker's time at
  receipt, so it bounds the epoch from below: the stamp with the least delay counts.

The rules:

1. Reports that agree are intersected.  As time passes, the bounds widen by :data:`DRIFT`, so that newer
   readings replace older ones.
2. A report that contradicts the bounds counts only when others confirm it: :data:`CONFIRMATIONS` reports
   that agree with one another, over :data:`CONFIRMED_AFTER` seconds, replace the bounds.  A single report
   does if it contradicts them by as much as the wall clock has jumped: then the steady clock stood still
   while the machine slept.  A contradiction or a stamp of the future calls for a report at once.
3. A stamp counts when another one agrees with it that was received at least :data:`SPREAD` seconds earlier:
   the broker's clock advanced with the steady clock between the two.  Stamps of the far future or past,
   repeated events and repeated stamps do not agree in this way.
4. A stamp beyond the upper bound of the reports does not count.
5. The estimate is the highest stamp that counts, plus half of the shortest round trip, within the bounds;
   without a stamp near the lower bound, it is the middle of the bounds.
6. A correction back by less than :data:`STANDSTILL` makes the time stand still until it has caught up.  A
   larger one takes effect at once, because a clock that stands still for long delays every timer.
7. A report with whole seconds narrows the bounds most if it is made when their middle begins a second.
   While they are wider than :data:`PRECISE` and a round trip, :meth:`BrokerClock.best_report_in` says when
   that is.
8. After a sleep of the machine the bounds widen by :data:`AFTER_SLEEP`: hardware clocks measure a sleep no
   better.

With reports and stamps the error is below half the round trip, as a rule; it is below 0.3 s with a round
trip of up to 0.3 s, and stays so while the steady clock drifts by 100 parts per million.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

DRIFT: Final = 2e-4
"""The bound of the drift between the two clocks: seconds per second."""

TOLERANCE: Final = timedelta(milliseconds=50)
"""How far two reports of one clock may contradict each other: a broker has several machines."""

CONFIRMATIONS: Final = 3
CONFIRMED_AFTER: Final = 5.0
"""How many reports, over how many seconds, show that the broker's clock was set."""

SPREAD: Final = 1.0
"""Two stamps confirm each other if so many seconds lie between their receipts."""

AGREEMENT: Final = timedelta(milliseconds=500)
"""Two stamps confirm each other if their delays differ by at most this."""

FORGOTTEN_AFTER: Final = 300.0
"""Stamps that are not confirmed again for so many seconds give way to others."""

NEAR: Final = timedelta(milliseconds=300)
"""The longest delay of an event on its way; stamps are trusted if they come as close to the bounds."""

STANDSTILL: Final = timedelta(seconds=1)
"""The longest correction for which the time stands still."""

PRECISE: Final = timedelta(milliseconds=250)
"""Bounds that are no wider than this need no further report."""

AFTER_SLEEP: Final = timedelta(seconds=2)
"""The error of the steady clock over a sleep of the machine."""

_MAX_GROUPS: Final = 8
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)


class BrokerClock:
    """The broker's time.

    :param seconds: gives the seconds of the steady clock.
    :param wall: gives the time of the wall clock, aware.
    :ivar is_known: whether the broker's time is known; before that, ``now`` is the wall clock's.
    """

    def __init__(self, seconds: Callable[[], float], wall: Callable[[], datetime]) -> None:
        self._seconds = seconds
        self._wall = wall
        self.is_known = False
        self._epoch = _BEFORE_ALL
        self._floor = _BEFORE_ALL
        self._bounds: _Bounds | None = None
        self._contradicting: _Bounds | None = None
        self._wall_jump = timedelta()
        self._groups: list[_Group] = []
        self._is_doubtful = False

    def now(self) -> datetime:
        """Return the broker's time, or the wall clock's until that is known."""
        # The engine asks for it with each quote; a call of at() would cost a third more.
        if not self.is_known:
            return self._wall()
        moment = self._epoch + timedelta(0, self._seconds())
        return moment if moment >= self._floor else self._floor

    def at(self, seconds: float) -> datetime:
        """Return the broker's time at a second of the steady clock."""
        if not self.is_known:
            return self._wall()
        moment = self._epoch + timedelta(seconds=seconds)
        return moment if moment >= self._floor else self._floor

    def passed(self) -> datetime:
        """Return the latest moment that has passed for sure, by which locks and days end.

        Until the broker's time is known, none has: the wall clock may be wrong by days.
        """
        return self.now() if self.is_known else _BEFORE_ALL

    @property
    def offset(self) -> timedelta | None:
        """How far the broker's clock is ahead of the wall clock; ``None``: unknown."""
        return self.now() - self._wall() if self.is_known else None

    # Readings.

    def reported(self, at: datetime, precision: float, delay: float) -> None:
        """Take a report; see the module's docstring.

        :param at: aware.
        """
        if not _is_plausible(at):
            return
        seconds = self._seconds()
        low = at - timedelta(seconds=seconds)
        self._is_doubtful = False
        report = _Bounds(low, low + timedelta(seconds=precision + delay), seconds, delay)
        if self._bounds is None or self._bounds.agrees(report):
            self._contradicting, self._wall_jump = None, timedelta()
        elif self._wall_jump and self._bounds.shifted(self._wall_jump).agrees(report):
            self._replace_bounds()
        elif not self._is_confirmed(report):
            return
        if self._bounds is None:
            self._bounds = report
        else:
            self._bounds.narrow(report)
        self._estimate(seconds)

    def _is_confirmed(self, report: _Bounds) -> bool:
        """Return whether enough reports contradict the bounds; these are replaced then."""
        other = self._contradicting
        if other is None or not other.agrees(report):
            self._contradicting = report
            return False
        other.narrow(report)
        if other.count < CONFIRMATIONS or other.at - other.began < CONFIRMED_AFTER:
            return False
        self._replace_bounds(other)
        return True

    def _replace_bounds(self, bounds: _Bounds | None = None) -> None:
        self._bounds, self._contradicting, self._wall_jump = bounds, None, timedelta()
        # The earlier bounds confirmed them.
        self._groups = []

    def best_report_in(self) -> float | None:
        """Return in how many seconds a report would narrow the bounds most.

        At once, if a reading contradicts them; ``None``: they are narrow enough, or nothing is known.
        """
        bounds, seconds = self._bounds, self._seconds()
        if bounds is None:
            return None
        if self._is_doubtful or self._contradicting is not None:
            return 0.0
        bounds.widen_until(seconds)
        round_trip = timedelta(seconds=bounds.least_delay)
        if bounds.high - bounds.low <= PRECISE + round_trip:
            return None
        middle = bounds.low + (bounds.high - bounds.low) / 2
        arrival = middle + timedelta(seconds=seconds) + round_trip / 2
        return 1.0 - arrival.microsecond / 1e6

    def stamped(self, stamp: datetime) -> None:
        """Take the stamp of an event that has just been received; aware."""
        if not _is_plausible(stamp):
            return
        seconds = self._seconds()
        epoch = stamp - timedelta(seconds=seconds)
        # The broker's clock may have been set.
        if self._bounds is not None and epoch > self._bounds.high + NEAR:
            self._is_doubtful = True
        group = next((each for each in self._groups if each.agrees(epoch, seconds)), None)
        if group is None:
            self._groups.append(_Group(epoch, seconds))
            if len(self._groups) > _MAX_GROUPS:
                # First those that no second stamp has confirmed, then those of longest ago.
                self._groups.remove(
                    min(self._groups[:-1], key=lambda each: (each.is_confirmed, each.at))
                )
            return
        group.add(epoch, seconds)
        if group.is_confirmed:
            self._estimate(seconds)

    # What happens to the clocks of this machine.

    def wall_jumped(self, by: timedelta) -> None:
        """Note that the wall clock has jumped, compared with the steady clock."""
        self._wall_jump += by

    def slept(self) -> None:
        """Note that the machine slept, and that the steady clock has counted that."""
        self._groups = []
        if self._bounds is not None:
            self._bounds.widen(AFTER_SLEEP)

    # The estimate.

    def _estimate(self, seconds: float) -> None:
        bounds = self._bounds
        if bounds is not None:
            bounds.widen_until(seconds)
        stamped = self._highest_stamp(seconds)
        if bounds is None:
            if stamped is not None:
                self._set(stamped, seconds)
            return
        low, half_width = bounds.low, (bounds.high - bounds.low) / 2
        if stamped is None or stamped < low - NEAR:
            self._set(low + half_width, seconds)
            return
        low = min(max(low, stamped), bounds.high)
        on_the_way = min(timedelta(seconds=bounds.least_delay), NEAR) / 2
        self._set(low + min((bounds.high - low) / 2, on_the_way), seconds)

    def _highest_stamp(self, seconds: float) -> datetime | None:
        """Return the highest epoch that stamps confirm, and that is within the bounds."""
        limit = None if self._bounds is None else self._bounds.high + TOLERANCE
        fitting = [
            group
            for group in self._groups
            if group.is_confirmed and (limit is None or group.epoch <= limit)
        ]
        recent = [group for group in fitting if seconds - group.at < FORGOTTEN_AFTER]
        return max((group.epoch for group in recent or fitting), default=None)

    def _set(self, epoch: datetime, seconds: float) -> None:
        before = self.at(seconds) if self.is_known else _BEFORE_ALL
        is_small = before - (epoch + timedelta(seconds=seconds)) <= STANDSTILL
        self._floor = before if is_small else _BEFORE_ALL
        self._epoch = epoch
        self.is_known = True


class _Bounds:
    """Bounds of the epoch, from reports that agree.

    :ivar at: the second of the steady clock for which they hold.
    :ivar began: the second of the first report.
    :ivar count: how many reports there were.
    :ivar least_delay: the shortest delay among them, in seconds.
    """

    def __init__(self, low: datetime, high: datetime, at: float, delay: float) -> None:
        self.low = low
        self.high = high
        self.at = self.began = at
        self.count = 1
        self.least_delay = delay

    def widen(self, by: timedelta) -> None:
        self.low -= by
        self.high += by

    def widen_until(self, seconds: float) -> None:
        self.widen(timedelta(seconds=(seconds - self.at) * DRIFT))
        self.at = seconds

    def shifted(self, by: timedelta) -> _Bounds:
        """Return the bounds after the steady clock stood still, as after a sleep."""
        return _Bounds(
            self.low + by - AFTER_SLEEP, self.high + by + AFTER_SLEEP, self.at, self.least_delay
        )

    def agrees(self, report: _Bounds) -> bool:
        slack = TOLERANCE + timedelta(seconds=(report.at - self.at) * DRIFT)
        return report.low <= self.high + slack and report.high >= self.low - slack

    def narrow(self, report: _Bounds) -> None:
        self.widen_until(report.at)
        low, high = max(self.low, report.low), min(self.high, report.high)
        # Within the tolerance they may not overlap; the truth is then as likely anywhere in between.
        self.low, self.high = min(low, high), max(low, high)
        self.count += 1
        self.least_delay = min(self.least_delay, report.least_delay)


class _Group:
    """Stamps that agree on the epoch.

    :ivar epoch: the highest one.
    :ivar at: the second of the latest stamp.
    :ivar is_confirmed: whether two of them lie far enough apart.
    """

    def __init__(self, epoch: datetime, at: float) -> None:
        self.epoch = epoch
        self.at = self._began = at
        self.is_confirmed = False

    def agrees(self, epoch: datetime, at: float) -> bool:
        return abs(epoch - self._aged(at)) <= AGREEMENT

    def add(self, epoch: datetime, at: float) -> None:
        self.epoch = max(epoch, self._aged(at))
        self.at = at
        self.is_confirmed = self.is_confirmed or at - self._began >= SPREAD

    def _aged(self, at: float) -> datetime:
        # The newer of two stamps counts, though the clocks drift.
        return self.epoch - timedelta(seconds=(at - self.at) * DRIFT)


def _is_plausible(moment: datetime) -> bool:
    # .NET's empty date is year 1, and some dates mean "never".
    return _EARLIEST < moment < _LATEST
