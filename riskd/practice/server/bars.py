"""Bars out of quotes: what a contract traded at, second by second and minute by minute.

Only so much is remembered: half an hour of seconds and two days of minutes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from riskd.gateway.interface import Payload

MAX_SECONDS: Final = 1800
MAX_MINUTES: Final = 2880

UNIT_SECONDS: Final = {1: 1, 2: 60, 3: 3600, 4: 86400}
"""The units that bars may be asked in: seconds, minutes, hours, days."""


@dataclass
class Bar:
    """What a contract traded at in a stretch of time.

    :ivar start: when the stretch began, in seconds since 1970.
    :ivar volume: quotes in it; the practice market counts no contracts.
    """

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int

    def join(self, later: Bar) -> None:
        """Take in what came after."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume

    def payload(self) -> Payload:
        """Return the gateway's payload of it."""
        return {
            "t": datetime.fromtimestamp(self.start, UTC).isoformat(),
            "o": self.open,
            "h": self.high,
            "l": self.low,
            "c": self.close,
            "v": self.volume,
        }


class Chart:
    """The bars of every contract."""

    def __init__(self) -> None:
        self._seconds: dict[str, deque[Bar]] = {}
        self._minutes: dict[str, deque[Bar]] = {}

    def add(self, contract_id: str, price: Decimal, at: datetime) -> None:
        """Take in that a contract traded at ``price``."""
        moment = int(at.timestamp())
        for bars, seconds, most in (
            (self._seconds, 1, MAX_SECONDS),
            (self._minutes, 60, MAX_MINUTES),
        ):
            series = bars.setdefault(contract_id, deque(maxlen=most))
            bar = Bar(moment - moment % seconds, price, price, price, price, 1)
            # A time of day that was set back adds to the bar that there is.
            if series and bar.start <= series[-1].start:
                series[-1].join(bar)
            else:
                series.append(bar)

    def bars(self, contract_id: str, unit: int, number: int) -> Iterator[Bar]:
        """Yield bars of ``number`` units each, the newest first.

        :param unit: a key of :data:`UNIT_SECONDS`.
        :param number: above zero.
        """
        source = self._seconds if unit == 1 else self._minutes
        seconds = UNIT_SECONDS[unit] * number
        gathered: list[Bar] = []
        for bar in source.get(contract_id, ()):
            start = bar.start - bar.start % seconds
            part = Bar(start, bar.open, bar.high, bar.low, bar.close, bar.volume)
            if gathered and gathered[-1].start == start:
                gathered[-1].join(part)
            else:
                gathered.append(part)
        return reversed(gathered)
