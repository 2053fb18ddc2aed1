"""The latest quote of each contract, from updates that hold only what changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from riskd.gateway.fields import FieldReader, MappingError, in_utc
from riskd.gateway.interface import Payload
from riskd.model.account import BestBidAsk
from riskd.model.contracts import known_contract
from riskd.model.events import MarketQuote, plain_number
from riskd.model.marks import outdates_market
from riskd.model.money import ZERO
from riskd.model.open_pnl import STALE_AFTER

MAX_AHEAD: Final = timedelta(seconds=2)
"""A quote is dated at most this far ahead of our clock, whatever stamp the broker gives it."""


class _QuoteUpdate(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a ``GatewayQuote`` payload; unchanged ones are missing."""

    best_bid: int | Decimal | None = None
    best_ask: int | Decimal | None = None
    last_price: int | Decimal | None = None
    timestamp: datetime | None = None


class _Prices(msgspec.Struct, frozen=True):
    """The prices of a contract of which some are still unknown.

    :ivar at: when the latest of them was reported.
    """

    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    at: datetime | None = None


_NO_PRICES: Final = _Prices()
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class QuoteBook:
    """The latest quote of each contract.

    A quote never goes back in time, and none is dated further ahead than :data:`MAX_AHEAD`: one stamp
    from the far future would reject all quotes that follow it.

    Trades may be reported while bid and ask are not.  A trade far outside of a bid and ask that are stale
    replaces both, or the quote would show the market of before.
    """

    def __init__(self) -> None:
        self._known: dict[str, MarketQuote | _Prices] = {}
        self._bid_ask_at: dict[str, datetime] = {}
        self._horizon = _LONG_AGO

    def merge(
        self, contract_id: str, payload: Payload, now: Callable[[], datetime]
    ) -> MarketQuote | None:
        """Return a contract's quote after an update.

        It is ``None`` until bid, ask and last are known.

        :param contract_id: the contract that the feed named beside the payload; the payload's own
            ``symbol`` spans expiries.
        :param now: gives the time of day, aware; it dates an update that has no time.
        :raises MappingError: the payload cannot be read; none of its fields is kept.
        """
        known = self._known.get(contract_id, _NO_PRICES)
        try:
            # Convert all fields in one call: most of what the gateway sends is quotes.
            update = msgspec.convert(payload, _QuoteUpdate, builtin_types=(Decimal,))
            bid = known.bid if update.best_bid is None else Decimal(update.best_bid)
            ask = known.ask if update.best_ask is None else Decimal(update.best_ask)
            last = known.last if update.last_price is None else Decimal(update.last_price)
            moment = in_utc(update.timestamp or _time_without_stamp(payload, known, now()))
            if moment > self._horizon:
                self._horizon = now() + MAX_AHEAD
                moment = min(moment, self._horizon)
            # Two changes within a millisecond are common: of equal stamps, the later arrival counts.
            if isinstance(known, MarketQuote) and moment < known.timestamp:
                return known
            if update.best_bid is not None or update.best_ask is not None:
                self._bid_ask_at[contract_id] = moment
            if bid is None or ask is None or last is None:
                bid, ask, last = (
                    None if price is None else plain_number(price) for price in (bid, ask, last)
                )
                self._known[contract_id] = _Prices(bid, ask, last, moment)
                return None
            quote = MarketQuote(
                contract_id=contract_id, bid=bid, ask=ask, last=last, timestamp=moment
            )
            if moment - self._bid_ask_at[contract_id] > STALE_AFTER:
                quote = _without_old_market(quote)
        except (msgspec.ValidationError, ValueError) as error:
            _check_fields(payload)
            raise MappingError("GatewayQuote", payload, str(error)) from None
        self._known[contract_id] = quote
        return quote

    def latest(self, contract_id: str) -> MarketQuote | None:
        """Return a contract's latest quote; ``None`` until all its prices are known."""
        known = self._known.get(contract_id)
        return known if isinstance(known, MarketQuote) else None

    def best_bid_ask(self, contract_id: str) -> BestBidAsk:
        """Return the best bid and ask of a contract, as far as they are known."""
        known = self._known.get(contract_id, _NO_PRICES)
        at = known.timestamp if isinstance(known, MarketQuote) else known.at
        return BestBidAsk(known.bid, known.ask, at)


def _without_old_market(quote: MarketQuote) -> MarketQuote:
    """Return a quote without its stale bid and ask, if its last price is far outside."""
    contract = known_contract(quote.contract_id)
    tick_size = ZERO if contract is None else contract.tick_size
    if not outdates_market(quote, tick_size):
        return quote
    return msgspec.structs.replace(quote, bid=quote.last, ask=quote.last)


def _time_without_stamp(
    payload: Payload, known: MarketQuote | _Prices, received: datetime
) -> datetime:
    # What is received later is newer, also when our clock was set back in between.
    if isinstance(known, MarketQuote):
        received = max(received, known.timestamp)
    return FieldReader("GatewayQuote", payload).time("lastUpdated", received)


def _check_fields(payload: Payload) -> None:
    """Raise the error that names the first field that cannot be read, if any."""
    read = FieldReader("GatewayQuote", payload)
    for name in ("bestBid", "bestAsk", "lastPrice"):
        read.optional_number(name)
    read.time("lastUpdated" if payload.get("timestamp") is None else "timestamp", _LONG_AGO)
