"""What an account held on a trading day, by its executions.

Rules about what is held get an account with the positions after each execution, and say themselves how much of their
limits that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from riskd.journal.history import TradeReport
from riskd.model.account import AccountState
from riskd.model.balance import Balance
from riskd.model.broker import BrokerPosition
from riskd.model.contracts import Contract
from riskd.model.events import PositionType
from riskd.report.levels import Day

_ANY: Final = Decimal(1)
"""In place of prices and ticks, which no such rule asks for."""


def held_problem(day: Day) -> str:
    """Return why it is not known what was held; empty if it is."""
    if day.has_voids:
        return "a trade was voided, so it is not known what was held"
    if any(not each.side for each in day.executions):
        return "the broker did not report each side"
    return ""


def held_states(day: Day) -> Iterator[tuple[datetime, AccountState]]:
    """Yield the account at the day's beginning, and after each execution."""
    held = _held_at_start(day)
    began, start = day.day.began, day.start
    balance = Balance() if start is None else Balance(agreed=start)
    days = {key: each for key, each in day.journaled.account.days.items() if key < day.day.key}
    empty = AccountState(
        account_id=day.journaled.account_id, balance=balance, days=days, day_began=began
    )
    yield began, _with_positions(empty, held, began)
    for each in day.executions:
        held[each.contract] = held.get(each.contract, 0) + _change(each)
        yield each.at, _with_positions(empty, held, each.at)


def _change(execution: TradeReport) -> int:
    """Return by how much an execution changed a position; short ones are negative."""
    is_bought = (execution.side == "long") is (execution.pnl is None)
    if execution.what == "again":
        # The entry was counted before.
        return 0
    return execution.size if is_bought else -execution.size


def _held_at_start(day: Day) -> dict[str, int]:
    """Return what was held at the day's beginning, by contract."""
    account, held = day.journaled.account, dict[str, int]()
    start: dict[str, int] = {}
    for each in day.executions:
        change = _change(each)
        before = held.get(each.contract, 0)
        if each.pnl is not None and abs(before) < abs(change):
            # It closed what had been opened on an earlier day.
            start[each.contract] = start.get(each.contract, 0) - change - before
            before = -change
        held[each.contract] = before + change
    if day.day.is_running:
        for position in account.open_positions:
            contract = account.contract(position.contract_id)
            name = position.contract_id if contract is None else contract.name
            signed = position.size * position.type.sign
            start[name] = start.get(name, 0) + signed - held.get(name, 0)
    return start


def _with_positions(account: AccountState, held: Mapping[str, int], at: datetime) -> AccountState:
    contracts = {
        name: Contract(id=name, name=name, tick_size=_ANY, tick_value=_ANY) for name in held
    }
    positions = {
        name: BrokerPosition(
            id=number,
            contract_id=name,
            type=PositionType.LONG if size > 0 else PositionType.SHORT,
            size=abs(size),
            average_price=_ANY,
            created_at=at,
            updated_at=at,
        )
        for number, (name, size) in enumerate(held.items())
    }
    return msgspec.structs.replace(account, contracts=contracts, positions=positions)
