"""Price bars made of quotes: half an hour of seconds and two days of minutes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from riskd.gateway.fields import Payload

MAX_SECONDS: Final = 1800
MAX_MINUTES: Final = 2880

UNIT_SECONDS: Final = {1: 1, 2: 60, 3: 3600, 4: 86400}
"""Seconds in each unit of bars, by the API's number: seconds, minutes, hours, days."""


@dataclass
class Bar:
    """The prices of a contract in a stretch of time.

    :ivar start: the start of the stretch, in seconds since 1970.
    :ivar volume: quotes in it; the practice market counts no contracts.
    """

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int

    def join(self, later: Bar) -> None:
        """Add a later bar to this one."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume

    def payload(self) -> Payload:
        """Return the gateway's payload of the bar."""
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
        # By contract and by the seconds in a bar: 1 or 60.
        self._series: dict[tuple[str, int], deque[Bar]] = {}

    def add(self, contract_id: str, price: Decimal, at: datetime) -> None:
        """Add a price at which a contract traded."""
        moment = int(at.timestamp())
        for seconds, most in ((1, MAX_SECONDS), (60, MAX_MINUTES)):
            series = self._series.setdefault((contract_id, seconds), deque(maxlen=most))
            bar = Bar(moment - moment % seconds, price, price, price, price, 1)
            # While the time of day is set back, prices are added to the last bar.
            if series and bar.start <= series[-1].start:
                series[-1].join(bar)
            else:
                series.append(bar)

    def bars(self, contract_id: str, unit: int, number: int) -> Iterator[Bar]:
        """Yield bars of ``number`` units each, newest first.

        :param unit: a key of :data:`UNIT_SECONDS`.
        :param number: above zero.
        """
        source = self._series.get((contract_id, 1 if unit == 1 else 60), ())
        seconds = UNIT_SECONDS[unit] * number
        gathered: list[Bar] = []
        for bar in source:
            part = replace(bar, start=bar.start - bar.start % seconds)
            if gathered and gathered[-1].start == part.start:
                gathered[-1].join(part)
            else:
                gathered.append(part)
        return reversed(gathered)
