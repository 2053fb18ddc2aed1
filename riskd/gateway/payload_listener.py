"""Map a broker's payloads to values, and log those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar

import msgspec
from twisted.logger import Logger

from riskd.gateway import mapping, targets
from riskd.gateway.broker_text import broker_text
from riskd.gateway.fields import MappingError, Payload, is_contract_id, whole
from riskd.gateway.interface import Found, GatewayUnreadableError, IGatewayListener
from riskd.model.bounds import MOST_ORDERS, MOST_POSITIONS, MOST_TRADES
from riskd.model.broker import BrokerAccount, BrokerNews, BrokerOrder, Unreadable

_log = Logger()
_T = TypeVar("_T")

_MOST: Final = {
    targets.POSITION: MOST_POSITIONS,
    targets.ORDER: MOST_ORDERS,
    targets.TRADE: MOST_TRADES,
}

_MOST_LOGGED: Final = 10
_LOG_PERIOD: Final = timedelta(minutes=1)
"""How many lines are logged about the payloads of one answer, and about the events of a minute."""


class PayloadListener:
    """Maps the payloads of events for a listener.

    The listener receives an unreadable payload as :class:`~riskd.model.broker.Unreadable`.
    """

    def __init__(self, listener: IGatewayListener) -> None:
        self._listener = listener
        self._logged_since = datetime.min.replace(tzinfo=UTC)
        self._logged = 0

    def user_event(self, target: str, payload: Payload) -> None:
        """Pass on an event of an account; drop one that names no account."""
        account_id = mapping.account_of(target, payload)
        if account_id is None:
            return
        self._listener.receive(account_id, _read(target, payload, self._may_log))

    def market_event(self, target: str, contract_id: str, payload: Payload) -> None:
        """Pass on an event of a market; riskd needs only quotes."""
        if target == targets.QUOTE:
            self._receive_quote(contract_id, payload)

    def latest_trade(self, contract_id: str, payload: Payload) -> None:
        """Pass on price and time of a contract's latest trade, in a quote's fields."""
        self._receive_quote(contract_id, payload, is_trade=True)

    def _receive_quote(
        self, contract_id: str, payload: Payload, *, is_trade: bool = False
    ) -> None:
        try:
            quote = mapping.quote(contract_id, payload)
        except MappingError as error:
            if self._may_log():
                _log.error("dropped a quote that cannot be read: {error}", error=error)
            return
        if is_trade:
            quote = msgspec.structs.replace(quote, is_trade=True)
        self._listener.receive_quote(quote)

    def _may_log(self) -> bool:
        """Return whether another line may be logged about what the broker has sent."""
        now = self._listener.now()
        if not timedelta() <= now - self._logged_since < _LOG_PERIOD:
            self._logged_since, self._logged = now, 0
        self._logged += 1
        if self._logged == _MOST_LOGGED + 1:
            _log.error(
                "more of the broker's events cannot be read; the next minute leaves them out"
            )
        return self._logged <= _MOST_LOGGED

    def clock_reported(self, at: datetime, precision: float, delay: float) -> None:
        """Pass on what the broker's clock showed; see ``IGatewayListener``."""
        self._listener.clock_reported(at, precision, delay)


class FoundReader(Generic[_T]):
    """Reads the answer to a search, payload by payload.

    :param target: what was searched, such as ``GatewayUserOrder``.
    :param kind: the type of its values.
    """

    def __init__(self, target: str, kind: type[_T]) -> None:
        self._target = target
        self._kind = kind
        self.most = _MOST[target]
        self._items: list[_T] = []
        self._unreadable: list[Unreadable] = []
        self._beyond: list[int | str] = []
        self._logged = 0

    def read(self, payload: Payload) -> None:
        """Read the next one; of more than riskd follows, only what identifies it."""
        if len(self._items) + len(self._unreadable) >= self.most:
            key = _key_of(self._target, payload)
            self._beyond += [] if key is None else [key]
            return
        news = _read(self._target, payload, self._may_log)
        if isinstance(news, self._kind):
            self._items.append(news)
        elif isinstance(news, Unreadable):
            self._unreadable.append(news)

    def _may_log(self) -> bool:
        self._logged += 1
        return self._logged <= _MOST_LOGGED

    def found(self) -> Found[_T]:
        """Return what was read."""
        return Found(tuple(self._items), tuple(self._unreadable), tuple(self._beyond))


def found(target: str, payloads: Iterable[Payload], kind: type[_T]) -> Found[_T]:
    """Return the answer to a search as values; see :class:`FoundReader`."""
    reader = FoundReader(target, kind)
    for payload in payloads:
        reader.read(payload)
    return reader.found()


def _key_of(target: str, payload: Payload) -> int | str | None:
    if target != targets.POSITION:
        return whole(payload.get("id"))
    contract_id = payload.get("contractId")
    return contract_id if is_contract_id(contract_id) else None


def _read(target: str, payload: Payload, may_log: Callable[[], bool]) -> BrokerNews:
    news = mapping.news(target, payload)
    if isinstance(news, Unreadable):
        if may_log():
            _log.error("{what} cannot be read: {why}", what=news.what, why=news.why)
    elif isinstance(news, BrokerAccount):
        if news.unreadable and may_log():
            _log.error("a balance cannot be read: {why}", why=news.unreadable)
    elif (
        isinstance(news, BrokerOrder)
        and whole(payload.get("type")) not in mapping.ORDER_TYPES
        and may_log()
    ):
        _log.warn(
            "order {id} is of unknown type {type}",
            id=news.id,
            type=broker_text(payload.get("type")),
        )
    return news


def readable(request: str, payload: Payload, read: Callable[[Payload], _T]) -> _T:
    """Return the one value that a request was about.

    :raises GatewayUnreadableError: it cannot be read.
    """
    try:
        return read(payload)
    except MappingError as error:
        raise GatewayUnreadableError(request, f"the answer cannot be read: {error}") from None
