"""The prices of a contract in a stretch of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from riskd.gateway.fields import Payload


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
