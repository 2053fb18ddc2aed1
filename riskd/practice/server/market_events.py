"""What the market hub tells of a contract: quotes of which only the changes are told, trades and depth.

It is pure.  Source: what clients of the live gateway have captured.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Final

from riskd.gateway.enums import GatewayOrderSide
from riskd.gateway.interface import Payload

_ALWAYS: Final = ("symbol", "lastUpdated", "timestamp")
_PERCENT_PLACES: Final = Decimal("0.01")

_NEW_BEST_BID: Final = 9
_NEW_BEST_ASK: Final = 10
"""What a row of the depth is about.  Source: the ProjectX Gateway API documentation, DomType."""

_MAX_VOLUME: Final = 20


@dataclass
class _Day:
    """The day's figures of a contract; its day begins with the first quote."""

    open: Decimal
    high: Decimal
    low: Decimal
    volume: int = 0

    def trade(self, last: Decimal) -> Payload:
        """Take in a trade; return the figures."""
        self.high, self.low = max(self.high, last), min(self.low, last)
        self.volume += 1
        change = last - self.open
        # A day may begin at a price of 0, of which no change is a percentage.
        percent = change * 100 / self.open if self.open else Decimal(0)
        return {
            "change": change,
            "changePercent": percent.quantize(_PERCENT_PLACES),
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "volume": self.volume,
        }


class QuoteBook:
    """The last quote of every contract, whole; quotes are told as what changed in them."""

    def __init__(self) -> None:
        self._quotes: dict[str, Payload] = {}
        self._days: dict[str, _Day] = {}

    def quote(self, contract_id: str) -> Payload | None:
        """Return the whole quote of a contract; ``None`` before its first."""
        return self._quotes.get(contract_id)

    def update(self, contract_id: str, payload: Payload) -> Payload:
        """Take in a quote; return what is told of it.

        :param payload: a whole quote, as the exchange tells it.
        """
        last = payload["lastPrice"]
        day = self._days.setdefault(contract_id, _Day(last, last, last))
        whole = {**payload, **day.trade(last)}
        before = self._quotes.get(contract_id, {})
        self._quotes[contract_id] = whole
        return {
            name: value
            for name, value in whole.items()
            if name in _ALWAYS or before.get(name) != value
        }

    def again(self, contract_id: str, timestamp: str) -> Payload | None:
        """Return what is told of a contract that has not changed; ``None`` before its first quote."""
        whole = self._quotes.get(contract_id)
        if whole is None:
            return None
        return {**{name: whole[name] for name in _ALWAYS}, "timestamp": timestamp}


def trades(quote: Payload, random: Random) -> list[Payload]:
    """Return the trade that a quote speaks of, as the market hub tells it.

    :param quote: a whole quote.
    :param random: gives sizes, of which the practice market knows nothing.
    """
    is_bought = quote["lastPrice"] >= quote["bestAsk"]
    return [
        {
            "symbolId": quote["symbol"],
            "price": quote["lastPrice"],
            "timestamp": quote["timestamp"],
            "type": int(GatewayOrderSide.BID if is_bought else GatewayOrderSide.ASK),
            "volume": random.randint(1, _MAX_VOLUME),
        }
    ]


def depth(quote: Payload, random: Random) -> list[Payload]:
    """Return the touch of a quote, as the market hub tells depth.

    :param quote: a whole quote.
    :param random: gives sizes, of which the practice market knows nothing.
    """
    rows = []
    for kind, name in ((_NEW_BEST_BID, "bestBid"), (_NEW_BEST_ASK, "bestAsk")):
        volume = random.randint(1, _MAX_VOLUME)
        rows.append(
            {
                "price": quote[name],
                "volume": volume,
                "currentVolume": volume,
                "type": kind,
                "timestamp": quote["timestamp"],
            }
        )
    return rows
