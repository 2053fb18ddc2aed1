"""The hubs' events in the form of the live feed, quirks included.

The live gateway wraps events of accounts, sends positions a moment after the trades that made them and
accounts several times over, and writes the same time or number in more than one way.  Of quotes it sends
only what changed.  The module is pure: the same events and random numbers give the same result.

Source: captures by clients of the live gateway.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, Final, NamedTuple

from riskd.gateway.enums import GatewayOrderSide
from riskd.gateway.fields import Payload
from riskd.gateway.targets import ACCOUNT, ORDER, POSITION
from riskd.model.money import ZERO

CREATED: Final = 0
UPDATED: Final = 1
DELETED: Final = 2
"""The actions of an event."""

POSITION_SECONDS: Final = 0.1
ACCOUNT_SECONDS: Final = 0.12
"""How long after the order and the trade a hub sends the position, and then the account."""

_ACCOUNT_TIMES: Final = (2, 4)
_MAX_DOUBLE_DIGITS: Final = 17
_LONG_SCALE: Final = Decimal("1e-9")
_MAX_KNOWN: Final = 10_000

_ALWAYS: Final = ("symbol", "lastUpdated", "timestamp")
_PERCENT_PLACES: Final = Decimal("0.01")

_NEW_BEST_BID: Final = 9
_NEW_BEST_ASK: Final = 10
"""Kinds of rows in the depth.  Source: the ProjectX Gateway API documentation, DomType."""

_MAX_VOLUME: Final = 20


class HubEvent(NamedTuple):
    """An event for a hub to send.

    :ivar after: seconds from now.
    :ivar times: how often, one right after the other.
    :ivar argument: the argument of the invocation.
    """

    after: float
    times: int
    argument: Payload


class Quirks:
    """Turns events of accounts into those of the user hub.

    :param random: makes all choices.
    :param began: since when events have been received; what is older was created before.
    """

    def __init__(self, random: Random, began: datetime) -> None:
        self._random = random
        self._began = began
        # Orders, positions and trades share one sequence of ids.
        self._known: dict[int, None] = {}

    def account_event(self, target: str, payload: Payload) -> HubEvent:
        """Return an event as the user hub sends it.

        :param target: the kind of event, such as :data:`~riskd.gateway.targets.ORDER`.
        """
        after, times = 0.0, 1
        if target == ACCOUNT:
            action, after = UPDATED, ACCOUNT_SECONDS
            times = self._random.randint(*_ACCOUNT_TIMES)
        elif target == POSITION:
            action = self._action(payload) if payload["size"] else DELETED
            after = POSITION_SECONDS
        elif target == ORDER:
            action = self._action(payload)
        else:
            action = UPDATED if payload["voided"] else self._action(payload)
        return HubEvent(after, times, {"action": action, "data": self.spelled(payload)})

    def _action(self, payload: Payload) -> int:
        created = datetime.fromisoformat(payload["creationTimestamp"])
        # An order that was placed before a restart is not new.
        is_new = payload["id"] not in self._known and created >= self._began
        self._known[payload["id"]] = None
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]
        return CREATED if is_new else UPDATED

    def spelled(self, payload: Payload) -> Payload:
        """Return a payload with each time and fraction in one of the feed's spellings."""
        return {name: self._spelled(name, value) for name, value in payload.items()}

    def _spelled(self, name: str, value: Any) -> Any:
        if isinstance(value, Decimal):
            return self._number(value)
        is_time = isinstance(value, str) and name.endswith(("imestamp", "Updated"))
        return self._time(value) if is_time else value

    def _number(self, value: Decimal) -> Decimal | int:
        long = value.quantize(_LONG_SCALE)
        spelling = self._random.randrange(3)
        # An average may have endless decimal places; a double has at most 17 digits.
        if len(value.as_tuple().digits) > _MAX_DOUBLE_DIGITS:
            return long
        if spelling == 0 and long == value:
            return long
        if spelling == 1 and value == value.to_integral_value():
            return int(value)
        return value

    def _time(self, text: str) -> str:
        moment = datetime.fromisoformat(text).astimezone(UTC)
        if self._random.randrange(2):
            return moment.isoformat()
        # Tenths of a microsecond, few enough to be rounded away.
        # Not by strftime, which writes the year 1 as one digit.
        text = moment.replace(tzinfo=None).isoformat(timespec="microseconds")
        return f"{text}{self._random.randrange(1, 5)}Z"


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
