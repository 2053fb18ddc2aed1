"""The quirks of the live feed, in which the hubs' events differ from ours.

The live gateway wraps events of accounts, sends positions a moment after the trades that made them and
accounts several times over, and writes the same time or number in more than one way.  The module is pure:
the same events and random numbers give the same result.

Source: captures by clients of the live gateway.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, Final, NamedTuple

from riskd.gateway.interface import Payload
from riskd.practice.records import ACCOUNT, ORDER, POSITION

CREATED: Final = 0
UPDATED: Final = 1
DELETED: Final = 2
"""The actions of an event."""

POSITION_SECONDS: Final = 0.1
ACCOUNT_SECONDS: Final = 0.12
"""How long after the order and the trade a hub sends the position, and then the account."""

_ACCOUNT_TIMES: Final = (2, 4)
_LONG_SCALE: Final = Decimal("1e-9")
_MAX_KNOWN: Final = 10_000


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
        # Orders and positions share one sequence of ids.
        self._known: dict[int, None] = {}

    def account_event(self, target: str, payload: Payload) -> HubEvent:
        """Return an event as the user hub sends it.

        :param target: the kind of event, such as :data:`~riskd.practice.records.ORDER`.
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
            action = UPDATED if payload["voided"] else CREATED
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
        # An average may have endless decimal places.
        if spelling == 0 or long != value:
            return long
        if spelling == 1 and value == value.to_integral_value():
            return int(value)
        return value

    def _time(self, text: str) -> str:
        moment = datetime.fromisoformat(text).astimezone(UTC)
        if self._random.randrange(2):
            return moment.isoformat()
        # Tenths of a microsecond, few enough to be rounded away.
        return f"{moment:%Y-%m-%dT%H:%M:%S.%f}{self._random.randrange(1, 5)}Z"
