"""The state of one account: how events change it, and how two states are merged.

The daemon, the rules and the console share this, so that all three see the same account.

Repeated and outdated events change nothing: a position, an order or a quote that is older than the
known one, or equal to it, is ignored, and :func:`apply` returns the very state that it got.  So a view
that starts from a snapshot may apply events from before the snapshot again, in order, and ends on the
same state as one that saw each event once.  Of two changes with equal timestamps the later arrival
counts, since two changes within one millisecond are common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgspec

from riskd.model.balance import Balance, Result, merge_balances
from riskd.model.bounds import MOST_TRADES
from riskd.model.broker import BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.contracts import Contract, known_contract
from riskd.model.day_figures import DayFigures, count_entries_and_exits
from riskd.model.events import (
    Action,
    DaemonStatus,
    DailyReset,
    EnforcementAction,
    Event,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    LockoutCleared,
    LockoutSet,
    MarketQuote,
)
from riskd.model.moments import is_placeholder
from riskd.model.money import ZERO

_Reported = TypeVar("_Reported", BrokerTrade, BrokerPosition, BrokerOrder)

_A_DAY: Final = timedelta(days=1)

_Value = TypeVar("_Value")

# Each search lists all trades of a day again, and comparing copies of them costs seven times as much.
_all_but_receipt: Final = attrgetter(
    *(name for name in BrokerTrade.__struct_fields__ if name != "timestamp")
)

KEPT_RESULTS: Final = timedelta(days=8)
"""How long results of executions are kept: the broker may amend a trade of an earlier day."""

_REMEMBERED_VOIDS: Final = 1024
"""How many voided trades are remembered."""

_REMEMBERED_FINAL_ORDERS: Final = 256
"""How many ended orders are remembered.

Gateways send events late and twice; an order that has ended must not come back to life.
"""


class BestBidAsk(msgspec.Struct, frozen=True):
    """The best bid and ask of a contract whose last price is not known yet.

    :ivar at: the broker's time of the latest of them; ``None`` if that is unknown.
    """

    bid: Decimal | None
    ask: Decimal | None
    at: datetime | None = None


class Charge(msgspec.Struct, frozen=True):
    """The broker's fees and commissions for one trade of any kind, in dollars."""

    at: datetime
    amount: Decimal


class Unmatched(msgspec.Struct, frozen=True):
    """Closed contracts that only trades or only positions have shown so far.

    See :mod:`riskd.model.equity`.

    :ivar contracts: how many more the trades have closed than the positions; negative where the positions
        are ahead.
    :ivar pnl: of those that only the positions have shown, in dollars, at the mark of that moment.
    """

    contracts: int
    pnl: Decimal = ZERO


class Flattening(msgspec.Struct, frozen=True, kw_only=True):
    """A flatten that riskd decided and has not confirmed as done.

    :ivar action: its name on the wire.
    :ivar rule_id: the rule with the most severe of the breaches that led to it.
    :ivar reason: that breach, in a sentence.
    :ivar begun: when it was decided.
    :ivar keep: how many contracts may stay, by contract id; other contracts are not touched.  ``None``:
        close everything.
    :ivar locks: the locks that begin with it.
    :ivar overtaken_at: when the locks ended that it was for; orders that were placed later stay.
    :ivar is_announced: whether it and its locks were broadcast already, and only the confirmation that
        the account is flat is missing.
    """

    action: Action
    rule_id: str
    reason: str
    begun: datetime
    keep: Mapping[str, int] | None = None
    locks: tuple[LockoutSet, ...] = ()
    overtaken_at: datetime | None = None
    is_announced: bool = msgspec.field(name="is_told", default=False)


class LogEntry(msgspec.Struct, frozen=True):
    """A line of the journal's log that is in no other table.

    :ivar kind: see :class:`riskd.journal.audit_log.LogLine`.
    :ivar data: a JSON object.
    """

    at: datetime
    kind: str
    data: str


class RiskState(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an account's state that is neither broadcast nor published.

    :ivar can_trade: the broker's permission to trade; ``None`` until the broker reported it.
    :ivar best_bid_asks: of contracts whose last price is not known yet, by contract id.
    :ivar charges: of the trading day, by trade id.
    :ivar results: what each execution of the last days did to the balance, by trade id.
    :ivar unmatched: exits that positions and trades do not both show yet, by contract id; not journaled.
    :ivar carried: the P&L that a position had when it was increased, in dollars by contract id, which counts
        until a quote values the larger position; not journaled.
    :ivar is_listing: whether an answer that lists trades and positions is being applied, so that the two do not
        fit each other; not journaled.
    :ivar earlier_trades: the execution times of full-turn trades in the 24 hours before the trading
        day, by trade id, since a rule's time window may span the daily reset.
    :ivar voided: the ids of voided trades, full or half turns; the broker's searches list them again.
    :ivar memory: the text that each rule wants to find at its next check, by rule id.
    :ivar flattening: the flatten in progress.
    :ivar day_key: the trading day's date, on which it ends.
    :ivar log: recent log entries, oldest first.
    :ivar settings: the settings that the account was configured with last, as JSON by name
        (:func:`riskd.config.known_settings.known_settings`); empty until they are known.
    """

    can_trade: bool | None = None
    best_bid_asks: Mapping[str, BestBidAsk] = {}
    charges: Mapping[int, Charge] = {}
    results: Mapping[int, Result] = {}
    unmatched: Mapping[str, Unmatched] = {}
    carried: Mapping[str, Decimal] = {}
    is_listing: bool = False
    earlier_trades: Mapping[int, datetime] = {}
    voided: tuple[int, ...] = ()
    memory: Mapping[str, str] = {}
    flattening: Flattening | None = None
    day_key: date | None = None
    log: tuple[LogEntry, ...] = ()
    settings: Mapping[str, str] = {}


class Limit(msgspec.Struct, frozen=True):
    """A rule in force, as the journal and the console know it.

    :ivar key: the rule's key in the configuration.
    :ivar settings: its settings, as JSON.
    """

    key: str
    settings: str


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """What riskd knows of one account.

    :ivar contracts: the gateway's data on contracts, by contract id.
    :ivar positions: the latest position of each contract, by contract id; size 0 is flat.
    :ivar orders: working orders, by order id.
    :ivar final_orders: when ended orders reached their final state, by order id.
    :ivar trades: full-turn trades of the trading day, and earlier ones that arrived late, by trade id.
    :ivar realized_pnl: dollars realized in the trading day, gross of fees as the gateway reports them.
    :ivar trade_count: the number of full-turn trades of the trading day.
    :ivar balance: the account's balance and highs.
    :ivar days: the figures of ended trading days, by the date on which each ended.
    :ivar quotes: the latest quote of each contract, by contract id.
    :ivar outdated_quotes: the quote of each contract that was known when its position was opened,
        reversed or increased, by contract id; it does not value that position.
    :ivar lockouts: the locks that were announced and not cleared, by the id of the rule that set them.
    :ivar enforcement: the enforcement actions of the trading day, oldest first.
    :ivar last_reset: the last announced daily reset; ``None`` before the first.
    :ivar day_began: when the trading day began; ``None`` until that is known.
    :ivar limits: the rules in force, by rule id.
    :ivar daemon: the daemon's latest status.
    :ivar risk: the part that only the daemon needs.
    """

    account_id: int
    contracts: Mapping[str, Contract] = {}
    positions: Mapping[str, BrokerPosition] = {}
    orders: Mapping[int, BrokerOrder] = {}
    final_orders: Mapping[int, datetime] = {}
    trades: Mapping[int, BrokerTrade] = {}
    realized_pnl: Decimal = ZERO
    trade_count: int = 0
    balance: Balance = Balance()
    days: Mapping[date, DayFigures] = {}
    quotes: Mapping[str, MarketQuote] = {}
    outdated_quotes: Mapping[str, MarketQuote] = {}
    lockouts: Mapping[str, LockoutSet] = {}
    enforcement: tuple[EnforcementAction, ...] = ()
    last_reset: DailyReset | None = None
    day_began: datetime | None = None
    limits: Mapping[str, Limit] = {}
    daemon: DaemonStatus | None = None
    risk: RiskState = RiskState()

    @property
    def open_positions(self) -> tuple[BrokerPosition, ...]:
        """The positions that are not flat, in the order of their first opening."""
        # Each rule asks.  A dict of positions is replaced and never changed, so identity tells.
        known, found = _latest.open
        if known is not self.positions:
            found = tuple([each for each in self.positions.values() if each.size])
            # In one assignment: other threads may read states, too.
            _latest.open = self.positions, found
        return found

    @property
    def working_orders(self) -> tuple[BrokerOrder, ...]:
        """The working orders, oldest first."""
        return tuple(self.orders.values())

    @property
    def active_contracts(self) -> tuple[str, ...]:
        """The contracts with an open position, then those with only a working order."""
        contract_ids = [position.contract_id for position in self.open_positions]
        contract_ids += [order.contract_id for order in self.orders.values()]
        return tuple(dict.fromkeys(contract_ids))

    @property
    def lockout(self) -> LockoutSet | None:
        """The lock that ends last; ``None`` if the account may trade.

        A permanent lock outlasts all.  A lock whose end has passed still counts until the daemon clears it.
        """
        return max(self.lockouts.values(), key=end_of_lock, default=None)

    def contract(self, contract_id: str) -> Contract | None:
        """Return a contract by the gateway's data, or else by the table of products."""
        return self.contracts.get(contract_id) or known_contract(contract_id)

    def root(self, contract_id: str) -> str | None:
        """Return a contract's ticker, such as ``ES``; ``None`` while it is unknown."""
        contract = self.contract(contract_id)
        return contract.root if contract else None

    def holds_or_works(self, contract_id: str) -> bool:
        """Return whether the account has a position or a working order in the contract."""
        position = self.positions.get(contract_id)
        return bool(position and position.size) or any(
            order.contract_id == contract_id for order in self.orders.values()
        )

    def is_of_trading_day(self, moment: datetime) -> bool:
        """Return whether ``moment`` may lie in the trading day.

        While the day's beginning is not known, every moment may.
        """
        return self.day_began is None or moment >= self.day_began


class _Latest:
    """What :attr:`AccountState.open_positions` was asked of last, and its answer."""

    open: tuple[Mapping[str, BrokerPosition] | None, tuple[BrokerPosition, ...]] = (None, ())


_latest: Final = _Latest()


def end_of_lock(lock: LockoutSet) -> tuple[bool, float]:
    """Return a sort key of locks by their ends; a permanent lock comes last."""
    until = lock.locked_until
    return (until is None, until.timestamp() if until else 0.0)


def with_locks(
    known: Mapping[str, LockoutSet], more: Iterable[LockoutSet]
) -> dict[str, LockoutSet]:
    """Return locks by rule id: of each rule's locks the one that ends last.

    Of two that end together, the one from ``more`` counts: it has the present reason.
    """
    locks = {**known}
    for lock in more:
        other = locks.get(lock.rule_id)
        if other is None or end_of_lock(lock) >= end_of_lock(other):
            locks[lock.rule_id] = lock
    return locks


def with_risk(state: AccountState, **changes: Any) -> AccountState:
    """Return ``state`` with changes to its :class:`RiskState`."""
    return msgspec.structs.replace(state, risk=msgspec.structs.replace(state.risk, **changes))


def apply(state: AccountState, event: Event) -> AccountState:
    """Return the state after ``event``; the same object if the event changes nothing.

    :raises ValueError: the event belongs to another account.
    """
    # Events of the daemon itself concern every account.
    if event.account_id not in (None, state.account_id):
        raise ValueError(f"event of account {event.account_id} applied to {state.account_id}")
    return _REDUCERS[type(event.data)](state, event.data)


def apply_quote(state: AccountState, quote: MarketQuote) -> AccountState:
    """Return the state after ``quote``, as :func:`apply` does.

    Most events are quotes, and a caller that knows that it has one saves the dispatch.
    """
    known = state.quotes.get(quote.contract_id)
    if known is not None and (quote.timestamp < known.timestamp or quote == known):
        return state
    return msgspec.structs.replace(state, quotes={**state.quotes, quote.contract_id: quote})


def says_the_same(one: BrokerPosition | BrokerOrder, other: BrokerPosition | BrokerOrder) -> bool:
    """Return whether two positions or two orders differ in their times alone.

    Brokers often report a position or an order again.
    """
    return msgspec.structs.replace(one, updated_at=other.updated_at, stamp=other.stamp) == other


def is_same_trade(one: BrokerTrade, other: BrokerTrade) -> bool:
    """Return whether two versions of a trade differ in the time of receipt alone."""
    return _all_but_receipt(one) == _all_but_receipt(other)


def is_repeat(state: AccountState, event: Event) -> bool:
    """Return whether ``event`` repeats a known position or order at a later time."""
    data = event.data
    if isinstance(data, GatewayUserPosition):
        position = state.positions.get(data.contract_id)
        return position is not None and says_the_same(_as_broker(data, BrokerPosition), position)
    if isinstance(data, GatewayUserOrder):
        order = state.orders.get(data.id)
        return order is not None and says_the_same(_as_broker(data, BrokerOrder), order)
    return False


def is_opened(known: GatewayUserPosition | None, position: GatewayUserPosition) -> bool:
    """Return whether ``position`` is another one than ``known``, its contract's last."""
    if not position.size:
        return False
    return (
        known is None
        or not known.size
        or known.type is not position.type
        # It was closed and opened again, and the end of the former was not reported.
        or (known.created_at < position.created_at and not is_placeholder(known.created_at))
    )


def is_entry(known: GatewayUserPosition | None, position: GatewayUserPosition) -> bool:
    """Return whether contracts of ``position`` were opened since ``known``."""
    return is_opened(known, position) or (known is not None and known.size < position.size)


def _with_outdated_quote(state: AccountState, contract_id: str) -> AccountState:
    """Return the state in which a contract's market is older than its position."""
    best_bid_asks = state.risk.best_bid_asks
    if contract_id in best_bid_asks:
        others = {key: best for key, best in best_bid_asks.items() if key != contract_id}
        state = with_risk(state, best_bid_asks=others)
    quote = state.quotes.get(contract_id)
    if quote is None:
        return state
    outdated_quotes = {**state.outdated_quotes, contract_id: quote}
    return msgspec.structs.replace(state, outdated_quotes=outdated_quotes)


def is_outdated(state: AccountState, contract_id: str) -> bool:
    """Return whether a contract's quote is older than its position."""
    outdated = state.outdated_quotes.get(contract_id)
    # By identity: a feed may come back to the same prices within a millisecond.
    return outdated is not None and outdated is state.quotes.get(contract_id)


def current_quotes(state: AccountState) -> Mapping[str, MarketQuote]:
    """Return the quotes that are not older than a position, by contract id."""
    quotes = state.quotes
    outdated = [key for key in state.outdated_quotes if is_outdated(state, key)]
    if not outdated:
        return quotes
    return {key: quote for key, quote in quotes.items() if key not in outdated}


def begin_day(state: AccountState, began: datetime) -> AccountState:
    """Return the state at the beginning of the trading day that began at ``began``.

    Trades, charges and enforcement actions of earlier days are dropped.  Those of the new day that
    arrived before its announcement stay; :func:`with_day_figures` counts them.  The day's highs begin anew.
    """
    times = {number: trade.execution_time for number, trade in state.trades.items()}
    earlier_trades = {
        number: at
        for number, at in {**state.risk.earlier_trades, **times}.items()
        if began - _A_DAY <= at < began
    }
    charges = {
        number: charge for number, charge in state.risk.charges.items() if charge.at >= began
    }
    results = state.risk.results
    kept = [item for item in results.items() if item[1].at >= began - KEPT_RESULTS]
    if len(kept) < len(results) or len(kept) > MOST_TRADES:
        # Room for as many again, so that no trade of the day is refused.
        results = dict(kept[-MOST_TRADES:])
    balance = state.balance
    # Views apply a reset again that is in their snapshot already.
    if began != state.day_began:
        balance = msgspec.structs.replace(
            balance,
            open_flow=balance.difference,
            flows=ZERO,
            charges=ZERO,
            entries_and_exits=0,
            high_realized=ZERO,
            high_net=ZERO,
        )
    after = msgspec.structs.replace(
        with_risk(state, charges=charges, earlier_trades=earlier_trades, results=results),
        day_began=began,
        balance=balance,
        enforcement=tuple(done for done in state.enforcement if done.timestamp >= began),
    )
    trades = {number: trade for number, trade in state.trades.items() if times[number] >= began}
    return with_trades(after, trades)


def with_day_figures(state: AccountState) -> AccountState:
    """Return ``state`` with the trading day's charges, high and executions.

    The high is that of the executions in the order of their times, whatever the order in which they came.
    """
    nets = {
        (trade.execution_time, number): trade.profit_and_loss
        for number, trade in state.trades.items()
        if state.is_of_trading_day(trade.execution_time)
    }
    charges = {
        number: charge
        for number, charge in state.risk.charges.items()
        if state.is_of_trading_day(charge.at)
    }
    for number, charge in charges.items():
        key = (charge.at, number)
        nets[key] = nets.get(key, ZERO) - charge.amount
    results = {
        number: each
        for number, each in state.risk.results.items()
        if state.is_of_trading_day(each.at)
    }
    sums = accumulate((nets[key] for key in sorted(nets)), initial=ZERO)
    return msgspec.structs.replace(
        state,
        balance=msgspec.structs.replace(
            state.balance,
            charges=sum((charge.amount for charge in charges.values()), ZERO),
            entries_and_exits=count_entries_and_exits(results),
            high_realized=max(sums),
        ),
    )


def with_trades(state: AccountState, trades: dict[int, BrokerTrade]) -> AccountState:
    """Return ``state`` with these trades, and the trading day's P&L and count."""
    counted = [trade for trade in trades.values() if state.is_of_trading_day(trade.execution_time)]
    return msgspec.structs.replace(
        state,
        trades=trades,
        realized_pnl=sum((trade.profit_and_loss for trade in counted), ZERO),
        trade_count=len(counted),
    )


def with_earlier_trade(state: AccountState, trade: BrokerTrade) -> AccountState:
    """Return the state with a trade of the day before, for time windows alone.

    The same object if it is not of that day, or known, or no full turn.
    """
    began, at, earlier = state.day_began, trade.execution_time, state.risk.earlier_trades
    is_of_day_before = began is not None and began - _A_DAY <= at < began
    is_counted = trade.is_full_turn and trade.id not in earlier
    if not is_of_day_before or not is_counted or trade.id in state.risk.voided:
        return state
    return with_risk(state, earlier_trades={**earlier, trade.id: at})


def without_trade(state: AccountState, trade_id: int) -> AccountState:
    """Return the state without a trade that the broker voided, nor its charges.

    The trade may be a half-turn, of an earlier day, or not known yet: a copy that comes late does not count
    either.
    """
    if trade_id in state.risk.voided:
        return state
    risk = state.risk
    after = with_risk(
        state,
        charges=_without(risk.charges, trade_id),
        earlier_trades=_without(risk.earlier_trades, trade_id),
        voided=(*risk.voided, trade_id)[-_REMEMBERED_VOIDS:],
    )
    if trade_id not in state.trades:
        return after
    return with_trades(after, {**_without(state.trades, trade_id)})


def _without(known: Mapping[int, _Value], key: int) -> Mapping[int, _Value]:
    return {each: known[each] for each in known if each != key} if key in known else known


def merge(known: AccountState, since: AccountState) -> AccountState:
    """Return the state in the journal and that of this run as one.

    Where both know something, the later state counts.

    :param known: the state that an earlier run of the daemon wrote to the journal.
    :param since: the state that this run has gathered without that knowledge.
    """
    resets = [state.last_reset for state in (known, since) if state.last_reset]
    starts = [state.day_began for state in (known, since) if state.day_began]
    orders = {**known.orders, **since.orders}
    # A position that this run found may be another than the one that the journal's quote was of.
    outdated_quotes = {
        key: quote
        for key, quote in known.quotes.items()
        if key in since.positions and is_entry(known.positions.get(key), since.positions[key])
    }
    merged = msgspec.structs.replace(
        since,
        limits=since.limits or known.limits,
        contracts={**known.contracts, **since.contracts},
        positions={**known.positions, **since.positions},
        orders={key: order for key, order in orders.items() if key not in since.final_orders},
        quotes={**known.quotes, **since.quotes},
        outdated_quotes={**known.outdated_quotes, **outdated_quotes, **since.outdated_quotes},
        lockouts=with_locks(known.lockouts, since.lockouts.values()),
        enforcement=tuple(dict.fromkeys((*known.enforcement, *since.enforcement))),
        last_reset=max(resets, key=lambda reset: reset.reset_time, default=None),
        day_began=max(starts, default=None),
        balance=merge_balances(known.balance, since.balance, is_same_day=starts[1:] == starts[:1]),
        days={**known.days, **since.days},
        daemon=since.daemon or known.daemon,
        risk=_merge_risk(known.risk, since.risk),
    )
    trades = {**known.trades, **since.trades}
    voided = merged.risk.voided
    return with_trades(merged, {key: trades[key] for key in trades if key not in voided})


def _merge_risk(known: RiskState, since: RiskState) -> RiskState:
    # The log is of this run alone: the journal has the rest.
    return msgspec.structs.replace(
        since,
        can_trade=known.can_trade if since.can_trade is None else since.can_trade,
        charges={
            number: charge
            for number, charge in {**known.charges, **since.charges}.items()
            if number not in since.voided
        },
        results={**known.results, **since.results},
        earlier_trades={**known.earlier_trades, **since.earlier_trades},
        voided=tuple(dict.fromkeys((*known.voided, *since.voided))),
        memory={**known.memory, **since.memory},
        flattening=_merge_flattenings(known.flattening, since.flattening),
        day_key=max((key for key in (known.day_key, since.day_key) if key), default=None),
    )


def _merge_flattenings(known: Flattening | None, since: Flattening | None) -> Flattening | None:
    if known is None or since is None:
        return since or known
    # Neither run has weighed one against the other, so everything is closed and all locks begin.
    return msgspec.structs.replace(
        since, keep=None, locks=(*known.locks, *since.locks), is_announced=False
    )


def _apply_trade(state: AccountState, data: GatewayUserTrade) -> AccountState:
    known = state.trades.get(data.id)
    # The wire has each trade once, as it was first reported; a snapshot may know the broker's last word.
    if data.id in state.risk.voided or (known and not isinstance(data, BrokerTrade)):
        return state
    trade = _as_broker(data, BrokerTrade)
    if known and is_same_trade(trade, known):
        return state
    trades = {**state.trades, trade.id: trade}
    if known:
        after = with_trades(state, trades)
    else:
        # Not the sum of all: each of thousands of trades would cost as much as all of them.
        is_counted = state.is_of_trading_day(trade.execution_time)
        after = msgspec.structs.replace(
            state,
            trades=trades,
            realized_pnl=state.realized_pnl + (trade.profit_and_loss if is_counted else ZERO),
            trade_count=state.trade_count + is_counted,
        )
    earlier = after.risk.earlier_trades
    if trade.id not in earlier:
        return after
    # The gateway has repeated a trade of an earlier day; counting it in both would count it twice.
    return with_risk(
        after, earlier_trades={key: earlier[key] for key in earlier if key != trade.id}
    )


def _apply_position(state: AccountState, data: GatewayUserPosition) -> AccountState:
    position = _as_broker(data, BrokerPosition)
    known = state.positions.get(position.contract_id)
    if known is not None and (position.updated_at < known.updated_at or position == known):
        return state
    positions = {**state.positions, position.contract_id: position}
    after = msgspec.structs.replace(state, positions=positions)
    return (
        _with_outdated_quote(after, position.contract_id) if is_entry(known, position) else after
    )


def _apply_order(state: AccountState, data: GatewayUserOrder) -> AccountState:
    # An order that has ended never works again, whatever the timestamps say.
    if data.id in state.final_orders:
        return state
    order = _as_broker(data, BrokerOrder)
    if not order.has_ended:
        known = state.orders.get(order.id)
        if known is not None and (order.updated_at < known.updated_at or order == known):
            return state
        return msgspec.structs.replace(state, orders={**state.orders, order.id: order})
    final_orders = {**state.final_orders, order.id: order.updated_at}
    # Dicts keep their order, so the first key is the oldest.
    if len(final_orders) > _REMEMBERED_FINAL_ORDERS:
        del final_orders[next(iter(final_orders))]
    orders = {key: working for key, working in state.orders.items() if key != order.id}
    return msgspec.structs.replace(state, orders=orders, final_orders=final_orders)


def _as_broker(data: Any, kind: type[_Reported]) -> _Reported:
    """Return an event as ``kind``; what the wire lacks has its default."""
    if isinstance(data, kind):
        return data
    return kind(**msgspec.structs.asdict(data))


def _apply_lockout(state: AccountState, lockout: LockoutSet) -> AccountState:
    if state.lockouts.get(lockout.rule_id) == lockout:
        return state
    return msgspec.structs.replace(state, lockouts={**state.lockouts, lockout.rule_id: lockout})


def _apply_cleared(state: AccountState, _cleared: LockoutCleared) -> AccountState:
    return msgspec.structs.replace(state, lockouts={}) if state.lockouts else state


def _apply_enforcement(state: AccountState, action: EnforcementAction) -> AccountState:
    if not state.is_of_trading_day(action.timestamp) or action in state.enforcement:
        return state
    return msgspec.structs.replace(state, enforcement=(*state.enforcement, action))


def _apply_reset(state: AccountState, reset: DailyReset) -> AccountState:
    after = msgspec.structs.replace(state, lockouts={}) if reset.lockouts_cleared else state
    # An older reset, from before a day that began by the clock, must not bring back its trades.
    if state.day_began is None or reset.reset_time >= state.day_began:
        after = begin_day(msgspec.structs.replace(after, last_reset=reset), reset.reset_time)
    return state if after == state else after


def _apply_status(state: AccountState, status: DaemonStatus) -> AccountState:
    return state if status == state.daemon else msgspec.structs.replace(state, daemon=status)


_REDUCERS: Final[dict[type, Callable[[AccountState, Any], AccountState]]] = {
    GatewayUserTrade: _apply_trade,
    GatewayUserPosition: _apply_position,
    GatewayUserOrder: _apply_order,
    BrokerTrade: _apply_trade,
    BrokerPosition: _apply_position,
    BrokerOrder: _apply_order,
    MarketQuote: apply_quote,
    LockoutSet: _apply_lockout,
    LockoutCleared: _apply_cleared,
    EnforcementAction: _apply_enforcement,
    DailyReset: _apply_reset,
    DaemonStatus: _apply_status,
}
