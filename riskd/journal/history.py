"""What the journal keeps for two years: executions, and equity once a minute.

Voids and amendments that come later change an execution here, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from riskd.journal.reader import open_to_read
from riskd.journal.schema import BEFORE_ALL, FIRST_WITH_HISTORY, JOURNAL_NAME, as_stamp
from riskd.journal.values import (
    read_amount,
    read_execution,
    read_name,
    read_positive,
    shown_moment,
)
from riskd.model.balance import Execution
from riskd.model.contracts import Contract, known_contract
from riskd.model.events import OrderSide

_LONG, _SHORT = "long", "short"

_EXECUTIONS: Final = (
    "SELECT trade_id, at, order_id, leg, data FROM results"
    " WHERE account_id = ? AND at >= ? AND at < ? AND data IS NOT NULL ORDER BY at, trade_id"
)
_EQUITY: Final = (
    "SELECT at, balance, equity, net_pnl, high_net FROM equity"
    " WHERE account_id = ? AND at >= ? AND at < ? ORDER BY at"
)


class TradeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One execution.

    :ivar what: ``exit`` if it closed contracts, otherwise ``entry``; ``again`` for an entry that the broker reports
        once more with its exit, and charges.
    :ivar contract: its name.
    :ivar side: of the position, ``long`` or ``short``; empty if the broker did not report it.
    :ivar entry: the price of an entry; of an exit the average price of the entry, by the P&L; ``None`` if it is
        unknown, as ``exit``.
    :ivar pnl: gross dollars of an exit.
    :ivar fees: dollars of this execution, with commissions.
    :ivar opened_at: when the position that an exit closed was opened; ``None`` if that is unknown.
    """

    at: datetime
    id: int
    what: str
    contract: str
    side: str
    size: int
    entry: Decimal | None
    exit: Decimal | None
    pnl: Decimal | None
    fees: Decimal
    opened_at: datetime | None
    is_voided: bool


class EquityLine(msgspec.Struct, frozen=True):
    """The figures of an account in a minute.

    See :class:`riskd.model.equity.EquityMark`.
    """

    at: datetime
    balance: Decimal
    equity: Decimal
    net_pnl: Decimal
    high_net: Decimal


def read_trades(
    directory: Path,
    account_id: int,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[TradeReport]:
    """Return the executions of an account, oldest first.

    Brokers report the opening half of an exit again with it, which is no execution: one without fees is left out.

    :param until: aware; what was executed then or later is left out.
    :raises StateFileError: see :func:`riskd.journal.audit_log.read_log`.
    """
    with open_to_read(directory / JOURNAL_NAME, "trades") as (journal, version):
        if version < FIRST_WITH_HISTORY:
            return []
        contracts = {
            contract_id: Contract(
                id=contract_id,
                name=read_name(name),
                tick_size=read_positive(size),
                tick_value=read_positive(value),
            )
            for contract_id, name, size, value in journal.execute("SELECT * FROM contracts")
        }
        return list(_trades(journal, account_id, (since, until), contracts))


def read_equity(
    directory: Path,
    account_id: int,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[EquityLine]:
    """Return the figures of an account, oldest first.

    They are those of the first write in each minute; a minute without one has none.

    :param until: aware; that minute and later ones are left out.
    :raises StateFileError: see :func:`riskd.journal.audit_log.read_log`.
    """
    with open_to_read(directory / JOURNAL_NAME, "equity") as (journal, version):
        if version < FIRST_WITH_HISTORY:
            return []
        rows = journal.execute(_EQUITY, (account_id, _begin(since), _end(until)))
        return [EquityLine(shown_moment(at), *map(read_amount, amounts)) for at, *amounts in rows]


def _begin(since: datetime | None) -> float:
    return BEFORE_ALL if since is None else as_stamp(since)


def _end(until: datetime | None) -> float:
    return -BEFORE_ALL if until is None else as_stamp(until)


def _trades(
    journal: sqlite3.Connection,
    account_id: int,
    span: tuple[datetime | None, datetime | None],
    contracts: dict[str, Contract],
) -> Iterator[TradeReport]:
    rows = [
        (*row, execution)
        for *row, data in journal.execute(
            _EXECUTIONS, (account_id, _begin(span[0]), _end(span[1]))
        )
        if (execution := read_execution(data)) is not None
    ]
    # An order has one side; the opening half of an exit has the entry's.
    exit_sides = {order_id: each.side for _, _, order_id, _, each in rows if each.pnl is not None}
    for trade_id, at, order_id, leg, execution in rows:
        contract_id, is_exit = execution.contract_id, execution.pnl is not None
        exit_side = None if order_id is None else exit_sides.get(order_id)
        is_again = None not in (exit_side, execution.side) and execution.side is not exit_side
        if is_again and not execution.fees:
            continue
        contract = contracts.get(contract_id) or known_contract(contract_id)
        yield TradeReport(
            at=shown_moment(at),
            id=trade_id,
            what="again" if is_again else "exit" if is_exit else "entry",
            contract=contract_id if contract is None else contract.name,
            side=_side(execution, is_exit=is_exit),
            size=execution.size,
            entry=_entry(execution, contract) if is_exit else execution.price,
            exit=execution.price if is_exit else None,
            pnl=execution.pnl,
            fees=execution.fees,
            opened_at=execution.opened_at,
            is_voided=leg is None,
        )


def _side(execution: Execution, *, is_exit: bool) -> str:
    if execution.side is None:
        return ""
    is_buy = execution.side is OrderSide.BUY
    return _LONG if is_buy is not is_exit else _SHORT


def _entry(execution: Execution, contract: Contract | None) -> Decimal | None:
    """Return the average price at which the closed contracts were opened."""
    pnl, price, side = execution.pnl, execution.price, execution.side
    if contract is None or price is None or side is None or pnl is None or not execution.size:
        return None
    return contract.entry_price(made=pnl, size=execution.size, exit_=price, closed_by=side.sign)
