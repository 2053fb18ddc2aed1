"""The latest quote of each contract, from updates that hold only what changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.account import BestBidAsk
from riskd.model.broker import BrokerQuote
from riskd.model.contracts import known_contract
from riskd.model.events import MarketQuote
from riskd.model.marks import outdates_market
from riskd.model.money import ZERO
from riskd.model.open_pnl import STALE_AFTER

MAX_AHEAD: Final = timedelta(seconds=2)
"""A quote is dated at most this far ahead of the broker's time, whatever its stamp."""


class _Prices(msgspec.Struct, frozen=True):
    """The prices of a contract while some are still unknown.

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

    An update that is stamped before the latest price changes no quote yet.  The feed will not repeat its prices, so
    they count from the next update on.

    A quote without bid and ask says that they are as before.  A trade that was asked for in place of missing quotes
    says nothing of them.  If it is far outside stale bid and ask, it replaces both: the wire has one time for all
    three prices, so no client could see that bid and ask are those of an earlier market.
    """

    def __init__(self) -> None:
        self._known: dict[str, MarketQuote | _Prices] = {}
        self._bid_ask_at: dict[str, datetime] = {}
        # The stamp of the latest price.
        self._priced_at: dict[str, datetime] = {}
        # What the feed has sent last, if that was stamped before the latest price.
        self._outdated: dict[str, _Prices] = {}
        self._horizon = _LONG_AGO

    def merge(self, update: BrokerQuote, now: Callable[[], datetime]) -> MarketQuote | None:
        """Return a contract's quote after an update.

        It is ``None`` until bid, ask and last are known.

        :param now: gives the broker's time, aware; it dates an update that has no stamp.
        """
        contract_id = update.contract_id
        known = self._known.get(contract_id, _NO_PRICES)
        before = known if update.is_trade else self._outdated.pop(contract_id, known)
        bid = before.bid if update.bid is None else update.bid
        ask = before.ask if update.ask is None else update.ask
        last = before.last if update.last is None else update.last
        moment = update.stamp or _time_without_stamp(known, now())
        if moment > self._horizon:
            self._horizon = now() + MAX_AHEAD
            moment = min(moment, self._horizon)
        stamped = moment
        # Two changes within a millisecond are common: of equal stamps, the later arrival counts.
        if isinstance(known, MarketQuote) and moment < known.timestamp:
            if moment < self._priced_at.get(contract_id, known.timestamp):
                if not update.is_trade:
                    self._outdated[contract_id] = _Prices(bid, ask, last)
                return known
            # Only a repeat without prices is stamped later than this.
            moment = known.timestamp
        if update.has_prices:
            self._priced_at[contract_id] = stamped
        if not update.is_trade:
            self._bid_ask_at[contract_id] = moment
        elif contract_id in self._outdated:
            self._outdated[contract_id] = msgspec.structs.replace(
                self._outdated[contract_id], last=last
            )
        if bid is None or ask is None or last is None:
            self._known[contract_id] = _Prices(bid, ask, last, moment)
            return None
        quote = MarketQuote(contract_id=contract_id, bid=bid, ask=ask, last=last, timestamp=moment)
        if moment - self._bid_ask_at.get(contract_id, moment) > STALE_AFTER:
            quote = _without_old_market(quote)
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


def _time_without_stamp(known: MarketQuote | _Prices, received: datetime) -> datetime:
    # What is received later is newer, also when the estimate of the broker's time was corrected back.
    return max(received, known.timestamp) if isinstance(known, MarketQuote) else received
