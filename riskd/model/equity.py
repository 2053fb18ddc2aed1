"""Equity and the net P&L of the trading day, exact to the cent.

Equity is the balance plus the open P&L.  The net P&L of the day is the realized P&L of the day's trades, less
their fees and commissions, plus the open P&L.  A void or an amendment of an earlier day's trade moves the
balance and not the net P&L of today.

The open P&L counts here at what an exit would bring: at the bid for a long position and at the ask for a short
one, where both are known, believed and near each other; otherwise at the mark of :mod:`riskd.model.marks`.
RULE-004 and the screens use that mark throughout, which is the last price if it is believed.  So this open
P&L is usually lower by what half the spread costs.

An exit is reported as a trade and as a change of the position, in either order and some tenths of a second
apart.  In between, its P&L would count twice, as realized and as open, or not at all.  So for each contract
riskd counts how many closed contracts only one of the two has shown (:class:`riskd.model.account.Unmatched`):
those that only a trade has shown are open no more, and those that only the position has shown keep the P&L
that they had at that moment until the trade comes.

No quote from before an entry values it.  Until the next one, a position that was increased counts what it had made
before: otherwise a profit would vanish for a moment, and a limit would end the day of a trader who adds to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from operator import is_
from typing import Final

import msgspec

from riskd.model.account import AccountState, Unmatched, is_opened, is_outdated
from riskd.model.balance import balance_at
from riskd.model.broker import BrokerPosition, BrokerTrade
from riskd.model.events import GatewayUserPosition
from riskd.model.marks import exit_price
from riskd.model.money import ZERO, profit, to_cents

_NONE: Final = Unmatched(0)


def exit_pnl(
    state: AccountState, position: GatewayUserPosition, size: int | None = None
) -> Decimal | None:
    """Return the dollars that closing a position now would bring.

    ``None`` if that is unknown.

    :param size: of how many of its contracts; by default of all.
    """
    contract = state.contract(position.contract_id)
    price = None if contract is None else exit_price(state, position)
    if contract is None or price is None:
        return None
    return profit(
        side=position.type.sign,
        size=position.size if size is None else size,
        entry=position.average_price,
        exit_=price,
        tick_size=contract.tick_size,
        tick_value=contract.tick_value,
    )


def is_pnl_known(state: AccountState) -> bool:
    """Return whether the P&L of each open position is known."""
    return all(exit_pnl(state, position) is not None for position in state.open_positions)


def open_pnl(state: AccountState) -> Decimal:
    """Return the dollars that closing all positions would bring.

    An unknown P&L counts as zero, or as what the position had made before it was increased.
    """
    # Several rules ask at each quote.  What it depends on is replaced and never changed, so identity tells.
    if state is _latest.state:
        return _latest.total
    risk = state.risk
    parts = (
        *(state.positions, state.quotes, state.outdated_quotes, state.contracts),
        *(risk.unmatched, risk.best_bid_asks, risk.carried),
    )
    if not all(map(is_, parts, _latest.parts)):
        _latest.total = _open_pnl(state)
        _latest.parts = parts
    _latest.state = state
    return _latest.total


class _Latest:
    """What :func:`open_pnl` has computed last, and from which parts of a state."""

    state: AccountState | None = None
    parts: tuple[object, ...] = (None,) * 7
    total = ZERO


_latest: Final = _Latest()


def _open_pnl(state: AccountState) -> Decimal:
    unmatched, total = state.risk.unmatched, ZERO
    for position in state.positions.values():
        if position.size:
            ahead = (
                max(unmatched.get(position.contract_id, _NONE).contracts, 0) if unmatched else 0
            )
            total += _counted_pnl(state, position, max(position.size - ahead, 0))
    for each in unmatched.values():
        total += each.pnl
    return total


def _counted_pnl(state: AccountState, position: GatewayUserPosition, size: int) -> Decimal:
    """Return what counts as the P&L of ``size`` of a position's contracts."""
    pnl = exit_pnl(state, position, size)
    if pnl is None and is_outdated(state, position.contract_id):
        pnl = _part(state.risk.carried.get(position.contract_id, ZERO), size, position.size)
    return pnl or ZERO


def net_realized(state: AccountState) -> Decimal:
    """Return the realized P&L of the trading day, less its fees and commissions."""
    return state.realized_pnl - state.balance.charges


def net_pnl(state: AccountState) -> Decimal:
    """Return the net P&L of the trading day, in dollars."""
    return net_realized(state) + open_pnl(state)


def equity(state: AccountState) -> Decimal | None:
    """Return the equity in dollars; ``None`` while no balance is known.

    While the broker has another balance than riskd can explain, the lower of the two counts.
    """
    balance = state.balance.counted
    return None if balance is None else balance + open_pnl(state)


class EquityMark(msgspec.Struct, frozen=True):
    """The figures of an account at one moment, in dollars.

    :ivar balance: the lower one while the broker has another balance than riskd can explain.
    :ivar net_pnl: of the trading day.
    :ivar high_net: the highest net P&L of the trading day.
    """

    account_id: int
    balance: Decimal
    equity: Decimal
    net_pnl: Decimal
    high_net: Decimal


def equity_mark(state: AccountState) -> EquityMark | None:
    """Return the figures now; ``None`` while one of them is unknown or uncertain."""
    balance, now = state.balance.counted, equity(state)
    if balance is None or now is None or state.risk.unmatched or state.risk.is_listing:
        return None
    if not is_pnl_known(state):
        return None
    net = net_pnl(state)
    return EquityMark(state.account_id, balance, now, net, max(net, state.balance.high_net))


def day_start_balance(state: AccountState) -> Decimal | None:
    """Return the balance at the beginning of the trading day.

    ``None`` while no balance is known.  It follows from the present one: what the broker changes later of an earlier
    day's trades has changed it.  Of two figures that stood beside each other then, the lower one counts until they
    agree, as it does now.
    """
    balance, expected = state.balance, state.balance.expected
    if expected is None:
        return None
    return expected + min(balance.open_flow, ZERO) - net_realized(state) - balance.flows


def highest_close(state: AccountState) -> Decimal | None:
    """Return the highest known balance at the end of a trading day."""
    start = day_start_balance(state)
    known = [each for each in (start, state.balance.earlier_close) if each is not None]
    return max(known, default=None)


def highest_close_since_figure(state: AccountState) -> Decimal | None:
    """Return the highest balance at the end of a trading day since the firm's figure.

    ``None`` if no day has ended since then, or there is no figure.
    """
    firm, start = state.balance.firm_floor, day_start_balance(state)
    if firm is None:
        return None
    has_ended = state.day_began is not None and state.day_began > firm.at
    known = [start if has_ended else None, firm.close]
    return max((each for each in known if each is not None), default=None)


def with_closed_days(state: AccountState, ends: Iterable[datetime]) -> AccountState:
    """Return the state before a daily reset, with the balances at the ends of days.

    :param ends: when the days ended that began after the counted one, without the last: of days on which the
        daemon did not run.
    """
    expected, highest = state.balance.expected, highest_close(state)
    if expected is None or highest is None:
        return state
    closes = [balance_at(expected, state.risk.results, end) for end in ends]
    balance = msgspec.structs.replace(state.balance, earlier_close=max([highest, *closes]))
    if balance.firm_floor is not None:
        since = highest_close_since_figure(state)
        known = closes if since is None else [since, *closes]
        firm = msgspec.structs.replace(balance.firm_floor, close=max(known, default=None))
        balance = msgspec.structs.replace(balance, firm_floor=firm)
    return msgspec.structs.replace(state, balance=balance)


def with_lasting_closes(state: AccountState) -> AccountState:
    """Return the state with the last close among the earlier ones.

    Otherwise it follows from the present balance, which the broker's next one may replace.
    """
    return with_closed_days(state, ())


def with_highs(state: AccountState, *, is_balance_open: bool = False) -> AccountState:
    """Return the state with the highs that its equity reaches.

    The same object if none is higher.

    While exits are unmatched, an answer is being applied or the P&L of a position is unknown, the equity is too
    uncertain for a high.  Of two balances the lower one is certain.

    :param is_balance_open: whether the broker's latest balance is neither confirmed nor explained yet, so that the
        equity is uncertain.
    """
    balance = state.balance
    if state.risk.unmatched or state.risk.is_listing:
        return state
    pnl = open_pnl(state)
    net, peak, counted = net_realized(state) + pnl, balance.peak, balance.counted
    firm = balance.firm_floor
    # The first balance is one that the account had, whichever executions it includes.
    is_known = balance.is_settled or not (balance.results or state.open_positions)
    if is_known and not is_balance_open and counted is not None:
        now = counted + pnl
        peak = now if peak is None or now > peak else peak
        if firm is not None and (firm.peak is None or now > firm.peak):
            firm = msgspec.structs.replace(firm, peak=now)
    is_higher = (
        net > balance.high_net or peak is not balance.peak or firm is not balance.firm_floor
    )
    # Highs are rare, so what they need besides is asked last.
    if not is_higher or not is_pnl_known(state):
        return state
    balance = msgspec.structs.replace(
        balance, high_net=max(net, balance.high_net), peak=peak, firm_floor=firm
    )
    return msgspec.structs.replace(state, balance=balance)


def to_next_high(state: AccountState) -> Decimal | None:
    """Return how far the open P&L may rise before there is a new high.

    A high is what :func:`with_highs` would raise.  ``None`` if that is unknown, or if the account is above a high
    already and it does not count yet.
    """
    balance, pnl = state.balance, open_pnl(state)
    rooms = [balance.high_net - net_realized(state) - pnl]
    if balance.counted is not None:
        firm = balance.firm_floor
        for high in (balance.peak, balance.peak if firm is None else firm.peak):
            if high is None:
                return None
            rooms.append(high - balance.counted - pnl)
    room = min(rooms)
    return None if room < 0 else room


def after_exit_trade(state: AccountState, trade: BrokerTrade) -> Mapping[str, Unmatched]:
    """Return the unmatched exits after a new full-turn trade.

    :param state: the account before the trade.
    """
    unmatched, contract_id = state.risk.unmatched, trade.contract_id
    known = unmatched.get(contract_id, _NONE)
    contracts = known.contracts + trade.quantity - beyond_position(state, trade)
    return _with(unmatched, contract_id, known, contracts)


def beyond_position(state: AccountState, trade: BrokerTrade) -> int:
    """Return how many more contracts a full-turn trade has closed than are held.

    No more can be closed than is held: the trade is older than what is known of the position, or newer than what is
    known of any.

    :param state: the account before the trade.
    """
    position = state.positions.get(trade.contract_id)
    held = position.size if position is not None else 0
    known = state.risk.unmatched.get(trade.contract_id, _NONE)
    return max(0, known.contracts + trade.quantity - max(held, 0))


def closed_contracts(state: AccountState, position: BrokerPosition) -> int:
    """Return how many contracts a change of a position shows as closed.

    :param state: the account before the change.
    """
    before = state.positions.get(position.contract_id)
    if before is None or not before.size:
        return 0
    is_other = is_opened(before, position) or not position.size
    return before.size if is_other else max(0, before.size - position.size)


def after_position(
    state: AccountState, position: BrokerPosition, early: int = 0
) -> Mapping[str, Unmatched]:
    """Return the unmatched exits after a position has changed.

    :param state: the account before the change.
    :param early: how many of the contracts that it shows as closed trades have shown before the position was known.
    """
    unmatched, contract_id = state.risk.unmatched, position.contract_id
    closed = closed_contracts(state, position) - early
    if closed <= 0:
        return unmatched
    before, known = state.positions[contract_id], unmatched.get(contract_id, _NONE)
    contracts = known.contracts - closed
    if contracts >= 0:
        return _with(unmatched, contract_id, known, contracts)
    # Only those of them that no trade has shown; what was ahead before keeps its figure.
    new = min(closed, -contracts)
    pnl = known.pnl + _counted_pnl(state, before, new)
    return {**unmatched, contract_id: Unmatched(contracts, pnl)}


def after_increase(state: AccountState, position: BrokerPosition) -> Mapping[str, Decimal]:
    """Return what increased positions had made before, after a position has changed.

    :param state: the account before the change.
    """
    carried, contract_id = state.risk.carried, position.contract_id
    before = state.positions.get(contract_id)
    if before is None or not position.size or is_opened(before, position):
        if contract_id not in carried:
            return carried
        return {key: carried[key] for key in carried if key != contract_id}
    pnl = exit_pnl(state, before) if position.size > before.size else None
    if pnl is None and position.size < before.size and contract_id in carried:
        pnl = _part(carried[contract_id], position.size, before.size)
    return carried if pnl is None else {**carried, contract_id: pnl}


def _part(pnl: Decimal, contracts: int, of_all: int) -> Decimal:
    """Return the share of ``contracts`` in a P&L, to the cent."""
    return to_cents(pnl * contracts / of_all)


def _with(
    unmatched: Mapping[str, Unmatched], contract_id: str, known: Unmatched, contracts: int
) -> Mapping[str, Unmatched]:
    """Return ``unmatched`` with a new count; the P&L of a part is its share."""
    if not contracts:
        return {key: each for key, each in unmatched.items() if key != contract_id}
    pnl = _part(known.pnl, contracts, known.contracts) if contracts < 0 else ZERO
    return {**unmatched, contract_id: Unmatched(contracts, pnl)}
