"""Map a broker's payloads to values, and log those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from twisted.logger import Logger

from riskd.gateway import mapping, targets
from riskd.gateway.broker_text import broker_text
from riskd.gateway.fields import MappingError, Payload, whole
from riskd.gateway.interface import Found, GatewayUnreadableError, IGatewayListener
from riskd.model.broker import BrokerNews, BrokerOrder, Unreadable

_log = Logger()
_T = TypeVar("_T")


class PayloadListener:
    """Maps the payloads of events for a listener.

    The listener receives an unreadable payload as :class:`~riskd.model.broker.Unreadable`.
    """

    def __init__(self, listener: IGatewayListener) -> None:
        self._listener = listener

    def user_event(self, target: str, payload: Payload) -> None:
        """Pass on an event of an account; drop one that names no account."""
        account_id = mapping.account_of(target, payload)
        if account_id is None:
            return
        self._listener.receive(account_id, _read(target, payload))

    def market_event(self, target: str, contract_id: str, payload: Payload) -> None:
        """Pass on an event of a market; riskd needs only quotes."""
        if target != targets.QUOTE:
            return
        try:
            quote = mapping.quote(contract_id, payload)
        except MappingError as error:
            _log.error("dropped a quote that cannot be read: {error}", error=error)
            return
        self._listener.receive_quote(quote)

    def clock_reported(self, at: datetime, precision: float, delay: float) -> None:
        """Pass on what the broker's clock showed; see ``IGatewayListener``."""
        self._listener.clock_reported(at, precision, delay)


def found(target: str, payloads: Iterable[Payload], kind: type[_T]) -> Found[_T]:
    """Return the answer to a search as values.

    :param target: what was searched, such as ``GatewayUserOrder``.
    :param kind: the type of its values.
    """
    read = [_read(target, payload) for payload in payloads]
    return Found(
        tuple(each for each in read if isinstance(each, kind)),
        tuple(each for each in read if isinstance(each, Unreadable)),
    )


def _read(target: str, payload: Payload) -> BrokerNews:
    news = mapping.news(target, payload)
    if isinstance(news, Unreadable):
        _log.error("{what} cannot be read: {why}", what=news.what, why=news.why)
    elif isinstance(news, BrokerOrder) and whole(payload.get("type")) not in mapping.ORDER_TYPES:
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
