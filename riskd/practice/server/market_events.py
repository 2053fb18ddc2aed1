"""The market hub's events of a contract: quote changes, trades and depth.

It is pure.  Source: captures by clients of the live gateway.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Final

from riskd.gateway.enums import GatewayOrderSide
from riskd.gateway.interface import Payload
from riskd.model.money import ZERO

_ALWAYS: Final = ("symbol", "lastUpdated", "timestamp")
_PERCENT_PLACES: Final = Decimal("0.01")

_NEW_BEST_BID: Final = 9
_NEW_BEST_ASK: Final = 10
"""Kinds of rows in the depth.  Source: the ProjectX Gateway API documentation, DomType."""

_MAX_VOLUME: Final = 20


class QuoteChanges:
    """The last full quote of every contract; an event holds only what changed in it."""

    def __init__(self) -> None:
        self._quotes: dict[str, Payload] = {}

    def quote(self, contract_id: str) -> Payload | None:
        """Return the full quote of a contract; ``None`` before its first."""
        return self._quotes.get(contract_id)

    def update(self, contract_id: str, payload: Payload) -> Payload:
        """Return the event for a new quote: the fields that changed.

        A full quote also has the figures of the contract's day, which begins with the first quote.

        :param payload: a quote of the exchange.
        """
        before = self._quotes.get(contract_id, {})
        last = payload["lastPrice"]
        opening = before.get("open", last)
        change = last - opening
        # A day may begin at a price of 0, of which no change is a percentage.
        percent = change * 100 / opening if opening else ZERO
        self._quotes[contract_id] = full = {
            **payload,
            "change": change,
            "changePercent": percent.quantize(_PERCENT_PLACES),
            "open": opening,
            "high": max(before.get("high", last), last),
            "low": min(before.get("low", last), last),
            "volume": before.get("volume", 0) + 1,
        }
        return {
            name: value
            for name, value in full.items()
            if name in _ALWAYS or before.get(name) != value
        }

    def unchanged(self, contract_id: str, timestamp: str) -> Payload | None:
        """Return the event for an unchanged quote; ``None`` before the first quote."""
        full = self._quotes.get(contract_id)
        if full is None:
            return None
        return {**{name: full[name] for name in _ALWAYS}, "timestamp": timestamp}


def trades(quote: Payload, random: Random) -> list[Payload]:
    """Return the market hub's payload of the trade behind a quote.

    :param quote: a full quote.
    :param random: makes up sizes, which the practice market does not have.
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
    """Return the best bid and ask of a quote as the market hub's payload of depth.

    :param quote: a full quote.
    :param random: makes up sizes, which the practice market does not have.
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
