"""What is known of one account, and how each event changes it.

The state is a frozen value and :func:`apply` the only way to the next one.  The daemon, the rules and
the console share it, so that all three see the same account.

Applying an event twice changes nothing, and a position, an order or a quote that is older than what
is known changes nothing: then :func:`apply` returns the very state that it was given.  So a view that
starts from a snapshot and applies events from before it once more, in order, ends on the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from riskd.model.contracts import Contract, known_contract
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
    OrderState,
    PositionType,
)
from riskd.model.money import ZERO, profit

_A_DAY: Final = timedelta(days=1)

_REMEMBERED_FINAL_ORDERS: Final = 256
"""Ids of finished orders that are kept, so that a late or doubled event revives none of them."""


class OrderDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway says of a working order beyond what the wire carries.

    :ivar filled: contracts of it that are filled.
    :ivar is_open: whether it is in the market: not pending, and not suspended until another is filled.
    :ivar custom_tag: what whoever placed it wrote on it.
    """

    filled: int = 0
    is_open: bool = True
    custom_tag: str = ""


class BestBidAsk(msgspec.Struct, frozen=True):
    """What a contract is bid and offered, as long as nobody has told of a trade in it."""

    bid: Decimal | None
    ask: Decimal | None


class Charge(msgspec.Struct, frozen=True):
    """What the broker took for a half-turn or a full turn: fees and commissions, in dollars."""

    at: datetime
    amount: Decimal


class Flattening(msgspec.Struct, frozen=True, kw_only=True):
    """A flatten that was decided and is not known to be done.

    :ivar action: what it is called on the wire.
    :ivar rule_id: the rule whose breach weighs most in it.
    :ivar reason: that breach, in a sentence.
    :ivar begun: when it was decided.
    :ivar keep: how many contracts may stay, by contract id; other contracts are not touched.  ``None``:
        nothing may stay, in any contract.
    :ivar locks: the locks that begin with it.
    :ivar is_told: whether it, and its locks, were told; then only the account is not yet flat.
    """

    action: Action
    rule_id: str
    reason: str
    begun: datetime
    keep: Mapping[str, int] | None = None
    locks: tuple[LockoutSet, ...] = ()
    is_told: bool = False


class LogEntry(msgspec.Struct, frozen=True):
    """A line of the journal's log that no other table holds.

    :ivar kind: an event's name on the wire, or ``operator`` for what an operator did.
    :ivar data: a JSON object.
    """

    at: datetime
    kind: str
    data: str


class RiskState(msgspec.Struct, frozen=True, kw_only=True):
    """What only the daemon needs to know of an account; it is not told and not published.

    :ivar can_trade: what the broker last said; ``None`` before it said anything.
    :ivar order_details: of working orders, by order id.
    :ivar touches: of contracts whose last trade is not known yet, by contract id.
    :ivar charges: of the trading day, by trade id.
    :ivar earlier_trades: when full-turn trades of the last 24 hours before the trading day were
        executed, by trade id: a stretch of time may span the end of a day.
    :ivar memory: what each rule wants to remember, as JSON, by rule id.
    :ivar flattening: the flatten that is under way.
    :ivar day_key: the date that the trading day is named after, the one on which it ends.
    :ivar log: what was logged of late, oldest first.
    """

    can_trade: bool | None = None
    order_details: Mapping[int, OrderDetail] = {}
    best_bid_asks: Mapping[str, BestBidAsk] = {}
    charges: Mapping[int, Charge] = {}
    earlier_trades: Mapping[int, datetime] = {}
    memory: Mapping[str, str] = {}
    flattening: Flattening | None = None
    day_key: date | None = None
    log: tuple[LogEntry, ...] = ()


class Limit(msgspec.Struct, frozen=True):
    """A rule in force.

    :ivar key: the rule's name in the configuration.
    :ivar settings: its settings there, as JSON.
    """

    key: str
    settings: str


class AccountState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one account.

    :ivar contracts: what the gateway said of contracts, by contract id.
    :ivar positions: the last word on each contract's position, by contract id; size 0 is flat.
    :ivar orders: working orders, by order id.
    :ivar final_orders: when orders that no longer work reached their end, by order id.
    :ivar trades: full-turn trades by trade id, those of the trading day and any that came late.
    :ivar realized_pnl: dollars realized in the trading day, as the gateway reports them.
    :ivar trade_count: full-turn trades of the trading day.
    :ivar quotes: the latest quote of each contract, by contract id.
    :ivar lockouts: locks in force, by the id of the rule that set them.
    :ivar enforcement: what was enforced in the trading day, oldest first.
    :ivar last_reset: the last reset that was told; ``None`` before the first.
    :ivar day_began: when the trading day began; ``None`` before that is known.
    :ivar limits: the rules in force, by rule id.
    :ivar daemon: the daemon's last word on itself.
    :ivar risk: what only the daemon needs to know.
    """

    account_id: int
    contracts: Mapping[str, Contract] = {}
    positions: Mapping[str, GatewayUserPosition] = {}
    orders: Mapping[int, GatewayUserOrder] = {}
    final_orders: Mapping[int, datetime] = {}
    trades: Mapping[int, GatewayUserTrade] = {}
    realized_pnl: Decimal = ZERO
    trade_count: int = 0
    quotes: Mapping[str, MarketQuote] = {}
    lockouts: Mapping[str, LockoutSet] = {}
    enforcement: tuple[EnforcementAction, ...] = ()
    last_reset: DailyReset | None = None
    day_began: datetime | None = None
    limits: Mapping[str, Limit] = {}
    daemon: DaemonStatus | None = None
    risk: RiskState = RiskState()

    @property
    def open_positions(self) -> tuple[GatewayUserPosition, ...]:
        """The positions that are not flat, in the order in which their contracts were first held."""
        return tuple([position for position in self.positions.values() if position.size])

    @property
    def working_orders(self) -> tuple[GatewayUserOrder, ...]:
        """The working orders, oldest first."""
        return tuple(self.orders.values())

    @property
    def lockout(self) -> LockoutSet | None:
        """The lock that ends last, a permanent one before all; ``None`` when the account may trade.

        A lock whose time has passed still counts: it ends when the daemon says so.
        """
        return max(self.lockouts.values(), key=end_of_lock, default=None)

    def contract(self, contract_id: str) -> Contract | None:
        """Return what is known of a contract: the gateway's word, else the table of products."""
        return self.contracts.get(contract_id) or known_contract(contract_id)

    def root(self, contract_id: str) -> str | None:
        """Return the ticker that a contract belongs to, such as ``ES``; ``None`` while it is unknown."""
        contract = self.contract(contract_id)
        return contract.root if contract else None

    def holds_or_works(self, contract_id: str) -> bool:
        """Tell whether there is a position or a working order in the contract."""
        position = self.positions.get(contract_id)
        return bool(position and position.size) or any(
            order.contract_id == contract_id for order in self.orders.values()
        )


class OpenPnl(msgspec.Struct, frozen=True):
    """An unrealized P&L, or why there is none.

    :ivar amount: dollars, to the cent; ``None`` when it cannot be known.
    :ivar unknown: why it cannot be known; empty when it is.
    """

    amount: Decimal | None
    unknown: str = ""


def position_pnl(state: AccountState, position: GatewayUserPosition) -> OpenPnl:
    """Return what ``position`` would make if it were closed at the last price.

    Until a last price is seen, a long position goes by the bid and a short one by the ask.
    """
    contract = state.contract(position.contract_id)
    if contract is None:
        return OpenPnl(None, "tick size unknown")
    is_long = position.type is PositionType.LONG
    price = _mark(state, position.contract_id, is_long=is_long)
    if price is None:
        return OpenPnl(None, "no quote yet")
    return OpenPnl(
        profit(
            side=1 if is_long else -1,
            size=position.size,
            entry=position.average_price,
            exit_=price,
            tick_size=contract.tick_size,
            tick_value=contract.tick_value,
        )
    )


def _mark(state: AccountState, contract_id: str, *, is_long: bool) -> Decimal | None:
    quote = state.quotes.get(contract_id)
    if quote is not None:
        return quote.last
    best_bid_ask = state.risk.best_bid_asks.get(contract_id)
    if best_bid_ask is None:
        return None
    return best_bid_ask.bid if is_long else best_bid_ask.ask


def apply(state: AccountState, event: Event) -> AccountState:
    """Return the state after ``event``; ``state`` itself when the event changes nothing.

    :raises ValueError: the event belongs to another account.
    """
    if event.account_id not in (None, state.account_id):
        raise ValueError(f"event of account {event.account_id} applied to {state.account_id}")
    return _REDUCERS[type(event.data)](state, event.data)


def apply_quote(state: AccountState, quote: MarketQuote) -> AccountState:
    """Return the state after ``quote``, as :func:`apply` does; most events are quotes."""
    known = state.quotes.get(quote.contract_id)
    if known is not None and (quote.timestamp < known.timestamp or quote == known):
        return state
    return msgspec.structs.replace(state, quotes={**state.quotes, quote.contract_id: quote})


def is_repeat(state: AccountState, event: Event) -> bool:
    """Tell whether ``event`` says of a position or an order what is known of it already.

    Gateways repeat themselves with nothing new but the time.
    """
    data = event.data
    known: GatewayUserPosition | GatewayUserOrder | None = None
    if isinstance(data, GatewayUserPosition):
        known = state.positions.get(data.contract_id)
    elif isinstance(data, GatewayUserOrder):
        known = state.orders.get(data.id)
    return (
        known is not None and msgspec.structs.replace(data, updated_at=known.updated_at) == known
    )


def merge(known: AccountState, since: AccountState) -> AccountState:
    """Return what is known of before and what came since, together.

    :param known: what an earlier run of the daemon wrote down.
    :param since: what this run was told without knowing of the earlier one.
    """
    resets = [state.last_reset for state in (known, since) if state.last_reset]
    began = [state.day_began for state in (known, since) if state.day_began]
    working = {**known.orders, **since.orders}
    together = msgspec.structs.replace(
        since,
        limits=since.limits or known.limits,
        contracts={**known.contracts, **since.contracts},
        positions={**known.positions, **since.positions},
        orders={key: order for key, order in working.items() if key not in since.final_orders},
        quotes={**known.quotes, **since.quotes},
        lockouts=with_locks(known.lockouts, since.lockouts.values()),
        enforcement=(
            *known.enforcement,
            *(done for done in since.enforcement if done not in known.enforcement),
        ),
        last_reset=max(resets, key=lambda reset: reset.reset_time, default=None),
        day_began=max(began, default=None),
        daemon=since.daemon or known.daemon,
        risk=_merge_risk(known.risk, since.risk),
    )
    return _with_trades(together, {**known.trades, **since.trades})


def _merge_risk(known: RiskState, since: RiskState) -> RiskState:
    return msgspec.structs.replace(
        since,
        can_trade=known.can_trade if since.can_trade is None else since.can_trade,
        charges={**known.charges, **since.charges},
        earlier_trades={**known.earlier_trades, **since.earlier_trades},
        memory={**known.memory, **since.memory},
        flattening=_merge_flattenings(known.flattening, since.flattening),
        day_key=max((key for key in (known.day_key, since.day_key) if key), default=None),
    )


def _merge_flattenings(known: Flattening | None, since: Flattening | None) -> Flattening | None:
    if known is None or since is None:
        return since or known
    # Of two that nobody has weighed against each other, all of both.
    return msgspec.structs.replace(
        since, keep=None, locks=(*known.locks, *since.locks), is_told=False
    )


def begin_day(state: AccountState, began: datetime) -> AccountState:
    """Return the state of a trading day that began at ``began``.

    What was executed earlier is dropped; what came ahead of the day's announcement stays.
    """
    trades = {
        number: trade for number, trade in state.trades.items() if trade.execution_time >= began
    }
    charges = {
        number: charge for number, charge in state.risk.charges.items() if charge.at >= began
    }
    actions = tuple(done for done in state.enforcement if done.timestamp >= began)
    executed = {number: trade.execution_time for number, trade in state.trades.items()}
    earlier = {
        number: at
        for number, at in {**state.risk.earlier_trades, **executed}.items()
        if began - _A_DAY <= at < began
    }
    risk = msgspec.structs.replace(state.risk, charges=charges, earlier_trades=earlier)
    after = msgspec.structs.replace(state, day_began=began, enforcement=actions, risk=risk)
    return _with_trades(after, trades)


def without_trade(state: AccountState, trade_id: int) -> AccountState:
    """Return the state without a trade that the broker voided; it does not count any more."""
    if trade_id not in state.trades:
        return state
    trades = {number: trade for number, trade in state.trades.items() if number != trade_id}
    return _with_trades(state, trades)


def _apply_trade(state: AccountState, trade: GatewayUserTrade) -> AccountState:
    if trade.id in state.trades:
        return state
    after = _with_trades(state, {**state.trades, trade.id: trade})
    if trade.id not in after.risk.earlier_trades:
        return after
    # It went with an earlier day and was told again: it is remembered once.
    earlier = {key: at for key, at in after.risk.earlier_trades.items() if key != trade.id}
    risk = msgspec.structs.replace(after.risk, earlier_trades=earlier)
    return msgspec.structs.replace(after, risk=risk)


def _with_trades(state: AccountState, trades: dict[int, GatewayUserTrade]) -> AccountState:
    """Replace the trades; those executed before the day began are kept but do not count."""
    counted = [trade for trade in trades.values() if _is_of_the_day(state, trade.execution_time)]
    return msgspec.structs.replace(
        state,
        trades=trades,
        realized_pnl=sum((trade.profit_and_loss for trade in counted), ZERO),
        trade_count=len(counted),
    )


def _is_of_the_day(state: AccountState, moment: datetime) -> bool:
    return state.day_began is None or moment >= state.day_began


def _apply_position(state: AccountState, position: GatewayUserPosition) -> AccountState:
    known = state.positions.get(position.contract_id)
    if known is not None and (position.updated_at < known.updated_at or position == known):
        return state
    positions = {**state.positions, position.contract_id: position}
    return msgspec.structs.replace(state, positions=positions)


def _apply_order(state: AccountState, order: GatewayUserOrder) -> AccountState:
    # Whatever the timestamps say, an order that has ended does not work any more.
    if order.id in state.final_orders:
        return state
    if order.state is OrderState.ACTIVE:
        known = state.orders.get(order.id)
        if known is not None and (order.updated_at < known.updated_at or order == known):
            return state
        return msgspec.structs.replace(state, orders={**state.orders, order.id: order})
    final_orders = {**state.final_orders, order.id: order.updated_at}
    if len(final_orders) > _REMEMBERED_FINAL_ORDERS:
        del final_orders[next(iter(final_orders))]
    orders = {key: working for key, working in state.orders.items() if key != order.id}
    return msgspec.structs.replace(state, orders=orders, final_orders=final_orders)


def _apply_lockout(state: AccountState, lockout: LockoutSet) -> AccountState:
    if state.lockouts.get(lockout.rule_id) == lockout:
        return state
    return msgspec.structs.replace(state, lockouts={**state.lockouts, lockout.rule_id: lockout})


def _apply_cleared(state: AccountState, _cleared: LockoutCleared) -> AccountState:
    return msgspec.structs.replace(state, lockouts={}) if state.lockouts else state


def _apply_enforcement(state: AccountState, action: EnforcementAction) -> AccountState:
    is_of_the_day = _is_of_the_day(state, action.timestamp)
    if not is_of_the_day or action in state.enforcement:
        return state
    return msgspec.structs.replace(state, enforcement=(*state.enforcement, action))


def _apply_reset(state: AccountState, reset: DailyReset) -> AccountState:
    after = msgspec.structs.replace(state, lockouts={}) if reset.lockouts_cleared else state
    if state.day_began is None or reset.reset_time >= state.day_began:
        after = begin_day(msgspec.structs.replace(after, last_reset=reset), reset.reset_time)
    return state if after == state else after


def _apply_status(state: AccountState, status: DaemonStatus) -> AccountState:
    return state if status == state.daemon else msgspec.structs.replace(state, daemon=status)


def end_of_lock(lock: LockoutSet) -> tuple[bool, float]:
    """Return what orders locks by their ends; one without an end comes last."""
    until = lock.locked_until
    return (until is None, until.timestamp() if until else 0.0)


def with_locks(
    known: Mapping[str, LockoutSet], more: Iterable[LockoutSet]
) -> dict[str, LockoutSet]:
    """Return locks by rule id: of each rule's the one that ends last, and of equal ones the later told."""
    locks = {**known}
    for lock in more:
        other = locks.get(lock.rule_id)
        if other is None or end_of_lock(lock) >= end_of_lock(other):
            locks[lock.rule_id] = lock
    return locks


_REDUCERS: Final[dict[type, Callable[[AccountState, Any], AccountState]]] = {
    GatewayUserTrade: _apply_trade,
    GatewayUserPosition: _apply_position,
    GatewayUserOrder: _apply_order,
    MarketQuote: apply_quote,
    LockoutSet: _apply_lockout,
    LockoutCleared: _apply_cleared,
    EnforcementAction: _apply_enforcement,
    DailyReset: _apply_reset,
    DaemonStatus: _apply_status,
}
