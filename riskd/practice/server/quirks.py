"""The live feed's habits, between what the exchange says and what a hub sends.

The live gateway wraps events of users, tells positions a moment after the trades that made them and
accounts several times over, and writes the same time or number in more ways than one.  It is pure: the
same events and the same dice give the same messages.

Source: what clients of the live gateway have captured.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, Final, NamedTuple

from riskd.gateway.interface import Payload

CREATED: Final = 0
UPDATED: Final = 1
DELETED: Final = 2
"""What happened to that which an event is about."""

POSITION_SECONDS: Final = 0.1
ACCOUNT_SECONDS: Final = 0.12
"""How long after the order and the trade a position, and then the account, is told."""

_ACCOUNT_TIMES: Final = (2, 4)
_LONG_SCALE: Final = Decimal("1e-9")
_MAX_KNOWN: Final = 10_000


class Telling(NamedTuple):
    """Something that is to be told.

    :ivar after: seconds from now.
    :ivar times: how often, one right after the other.
    :ivar argument: what the event carries.
    """

    after: float
    times: int
    argument: Payload


class Habits:
    """Turns events of users into what is told of them.

    :param random: throws the dice.
    :param began: since when events are seen; what is older was created before.
    """

    def __init__(self, random: Random, began: datetime) -> None:
        self._random = random
        self._began = began
        # Orders and positions share one row of ids.
        self._known: dict[int, None] = {}

    def user_event(self, target: str, payload: Payload) -> Telling:
        """Return how an event of a user is told.

        :param target: ``GatewayUserAccount``, ``GatewayUserPosition``, ``GatewayUserOrder`` or
            ``GatewayUserTrade``.
        """
        if target == "GatewayUserAccount":
            times = self._random.randint(*_ACCOUNT_TIMES)
            return self._telling(UPDATED, payload, ACCOUNT_SECONDS, times)
        if target == "GatewayUserPosition":
            action = self._action(payload) if payload["size"] else DELETED
            return self._telling(action, payload, POSITION_SECONDS)
        if target == "GatewayUserOrder":
            return self._telling(self._action(payload), payload)
        return self._telling(UPDATED if payload["voided"] else CREATED, payload)

    def _telling(
        self, action: int, payload: Payload, after: float = 0.0, times: int = 1
    ) -> Telling:
        return Telling(after, times, {"action": action, "data": self.spelled(payload)})

    def _action(self, payload: Payload) -> int:
        created = datetime.fromisoformat(payload["creationTimestamp"])
        is_new = payload["id"] not in self._known and created >= self._began
        self._known[payload["id"]] = None
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]
        return CREATED if is_new else UPDATED

    def spelled(self, payload: Payload) -> Payload:
        """Return a payload with its times and fractions written in one way or another."""
        return {name: self._spelled(name, value) for name, value in payload.items()}

    def _spelled(self, name: str, value: Any) -> Any:
        if isinstance(value, Decimal):
            return self._number(value)
        is_time = isinstance(value, str) and name.endswith(("imestamp", "Updated"))
        return self._time(value) if is_time else value

    def _number(self, value: Decimal) -> Decimal | int:
        long = value.quantize(_LONG_SCALE)
        spelling = self._random.randrange(3)
        # An average may have endless places.
        if spelling == 0 or long != value:
            return long
        if spelling == 1 and value == value.to_integral_value():
            return int(value)
        return value

    def _time(self, text: str) -> str:
        moment = datetime.fromisoformat(text).astimezone(UTC)
        if self._random.randrange(2):
            return moment.isoformat()
        # A tenth of a microsecond, small enough to be rounded away.
        return f"{moment:%Y-%m-%dT%H:%M:%S.%f}{self._random.randrange(1, 5)}Z"
