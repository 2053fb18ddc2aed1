"""What is wrong in events and answers of the practice broker, decided at random.

The exchange itself knows its orders, trades and prices right.  It is pure: the same seed, settings and
payloads give the same faults.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeVar, cast

from riskd.gateway.fields import Payload
from riskd.gateway.targets import ORDER, TRADE
from riskd.practice.fault_injection import FaultInjector
from riskd.practice.records import Message

_T = TypeVar("_T")

_NOISE_OF_ZERO: Final = 2.0**-45
"""What a sum of doubles that should be zero may be instead."""

_MAX_NOISE_STEPS: Final = 3
"""How many doubles lie between an amount and a noisy one at the most."""

_MAX_REMEMBERED_QUOTES: Final = 100
"""How many quotes of a contract may be sent again."""

_OLD_SECONDS: Final = (10.0, 600.0)
"""The range of the age of an old stamp."""

_WILD_PARTS: Final = (0.05, 0.5)
_WILD_SPREADS: Final = 200
"""How far off a wild price is: such a part of the price, but at least so many spreads."""


class PayloadFaults:
    """Changes what clients receive.

    :param injector: has the faults to simulate.
    """

    def __init__(self, injector: FaultInjector, random: Random) -> None:
        self._injector = injector
        self._random = random
        self._quotes = QuoteFaults(injector, random)

    def events(self, message: Message, seconds: float) -> list[Message]:
        """Return what is sent in place of an event of the exchange.

        :param seconds: on a clock that does not go back.
        """
        target, contract_id, payload = message
        if contract_id is not None:
            quotes = self._quotes.events(contract_id, payload, seconds)
            if len(quotes) == 1 and quotes[0] is payload:
                return [message]
            return [Message(target, contract_id, quote) for quote in quotes]
        if target == ORDER and self._happens(self._injector.faults.events_without_stamp):
            # The gateway's events leave null fields out.
            payload = {key: value for key, value in payload.items() if key != "updateTimestamp"}
        elif target == TRADE:
            payload = self._noisy(payload)
        return [Message(target, None, payload)]

    def answer(self, request: str, result: _T) -> _T:
        """Return the answer to a request that only reads.

        :param request: the gateway's name of it, such as ``Order/search``.
        :param result: a payload, or a list of them.
        """
        act: Callable[[Payload], Payload]
        if request.startswith("Order/"):
            act = self._without_stamp
        elif request.startswith("Trade/"):
            act = self._noisy
        else:
            return result
        changed: Any = (
            [*map(act, result)] if isinstance(result, list) else act(cast("Any", result))
        )
        return cast("_T", changed)

    def are_quotes_frozen(self, seconds: float) -> bool:
        """Return whether no quotes are sent now."""
        return self._quotes.are_frozen(seconds)

    def _without_stamp(self, order: Payload) -> Payload:
        is_null = self._happens(self._injector.faults.searches_without_stamp)
        return {**order, "updateTimestamp": None} if is_null else order

    def _noisy(self, trade: Payload) -> Payload:
        is_noisy = self._happens(self._injector.faults.binary_noise)
        steps = 1 + _drawn_below(_MAX_NOISE_STEPS, self._random)
        towards = math.inf if _drawn_below(2, self._random) else -math.inf
        if not is_noisy or trade.get("profitAndLoss") is None:
            return trade
        amount = float(trade["profitAndLoss"])
        if not amount:
            amount = math.copysign(_NOISE_OF_ZERO, towards)
        for _ in range(steps):
            amount = math.nextafter(amount, towards)
        return {**trade, "profitAndLoss": Decimal(repr(amount))}

    def _happens(self, chance: float) -> bool:
        return self._random.random() < chance


class QuoteFaults:
    """Changes, repeats and withholds quotes."""

    def __init__(self, injector: FaultInjector, random: Random) -> None:
        self._injector = injector
        self._random = random
        self._sent: dict[str, deque[Payload]] = {}
        self._frozen_until = -math.inf

    def are_frozen(self, seconds: float) -> bool:
        """Return whether no quotes are sent now."""
        return bool(self._injector.faults.quote_freezes) and seconds < self._frozen_until

    def events(self, contract_id: str, quote: Payload, seconds: float) -> list[Payload]:
        """Return the quotes that are sent in place of one of the exchange."""
        faults, random, draw = self._injector.faults, self._random, self._random.random
        was_frozen = self.are_frozen(seconds)
        # All is drawn for each quote, so that setting one fault keeps the sequence of the others.
        freezes = draw() < faults.quote_freezes
        is_zero = draw() < faults.zero_last_prices
        is_wild = draw() < faults.wild_last_prices
        is_old = draw() < faults.old_quote_stamps
        is_repeated = draw() < faults.repeated_quotes
        is_above, wildness, oldness, choice = _drawn_below(2, random), draw(), draw(), draw()
        if freezes and not was_frozen:
            self._frozen_until = seconds + faults.freeze_seconds
        if was_frozen:
            return []
        earlier = self._sent.setdefault(contract_id, deque(maxlen=_MAX_REMEMBERED_QUOTES))
        repeated = [earlier[int(choice * len(earlier))]] if is_repeated and earlier else []
        earlier.append(quote)
        if is_zero:
            quote = {**quote, "lastPrice": Decimal(0)}
        elif is_wild:
            part = _between(_WILD_PARTS, wildness)
            quote = {**quote, "lastPrice": _wild(quote, part if is_above else -part)}
        if is_old:
            age = timedelta(seconds=_between(_OLD_SECONDS, oldness))
            stamp = datetime.fromisoformat(quote["timestamp"]) - age
            quote = {**quote, "timestamp": stamp.isoformat(), "lastUpdated": stamp.isoformat()}
        return [quote, *repeated]


def _drawn_below(number: int, random: Random) -> int:
    """Return what ``random.randrange(number)`` does, in a third of its time.

    Each search draws for all trades of a day.
    """
    bits = number.bit_length()
    drawn = random.getrandbits(bits)
    while drawn >= number:
        drawn = random.getrandbits(bits)
    return drawn


def _between(ends: tuple[float, float], drawn: float) -> float:
    """Return the number of a range that a draw between 0 and 1 stands for."""
    low, high = ends
    return low + (high - low) * drawn


def _wild(quote: Payload, part: float) -> Decimal:
    """Return a price far from the market, on a tick, and on either side of zero.

    :param part: how far away, in parts of the price; its sign is the direction.
    """
    price: Decimal = quote["lastPrice"]
    # A whole number of spreads away, it is on a tick as the price itself.
    spread: Decimal = quote["bestAsk"] - quote["bestBid"]
    spreads = max(int(abs(price) * Decimal(abs(part)) / spread), _WILD_SPREADS)
    return price + spread * (spreads if part > 0 else -spreads)
