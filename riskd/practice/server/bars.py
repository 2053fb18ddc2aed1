"""The chart of each contract: bars of its quotes, and of the days before them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from riskd.practice.server.bar import Bar
from riskd.practice.server.history import bars_before

KEPT: Final = {1: 1800, 60: 7200, 3600: 1440}
"""How many bars are kept, by the seconds in a bar."""

UNIT_SECONDS: Final = {1: 1, 2: 60, 3: 3600, 4: 86400}
"""Seconds in each unit of bars, by the API's number: seconds, minutes, hours, days."""


class Chart:
    """The bars of every contract; those before its first quote are invented."""

    def __init__(self) -> None:
        # By contract and by the seconds in a bar.
        self._series: dict[tuple[str, int], deque[Bar]] = {}
        # The first second of each contract, while what was before it is not invented yet.
        self._first: dict[str, Bar] = {}

    def add(self, contract_id: str, price: Decimal, at: datetime) -> None:
        """Add a price at which a contract traded."""
        moment = int(at.timestamp())
        for seconds, most in KEPT.items():
            key = (contract_id, seconds)
            bar = Bar(moment - moment % seconds, price, price, price, price, 1)
            series = self._series.get(key)
            if series is None:
                self._series[key] = deque([bar], maxlen=most)
                self._first.setdefault(contract_id, replace(bar))
            # While the time of day is set back, prices are added to the last bar.
            elif bar.start <= series[-1].start:
                series[-1].join(bar)
            else:
                series.append(bar)

    def bars(self, contract_id: str, unit: int, number: int) -> Iterator[Bar]:
        """Yield bars of ``number`` units each, newest first.

        :param unit: a key of :data:`UNIT_SECONDS`.
        :param number: above zero.
        """
        self._invent_history(contract_id)
        source = self._series.get((contract_id, min(UNIT_SECONDS[unit], max(KEPT))), ())
        seconds = UNIT_SECONDS[unit] * number
        gathered: list[Bar] = []
        for bar in source:
            part = replace(bar, start=bar.start - bar.start % seconds)
            if gathered and gathered[-1].start == part.start:
                gathered[-1].join(part)
            else:
                gathered.append(part)
        return reversed(gathered)

    def _invent_history(self, contract_id: str) -> None:
        """Invent what was before the first bar of a contract, once it is asked for."""
        first = self._first.pop(contract_id, None)
        if first is None:
            return
        for seconds, bars in bars_before(contract_id, first, KEPT).items():
            series = self._series[contract_id, seconds]
            # A series that has forgotten its first bar has no room for what was before it.
            series.extendleft(bars[: KEPT[seconds] - len(series)])
