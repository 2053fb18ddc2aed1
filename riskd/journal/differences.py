"""SQL statements that take the journal from one state of an account to the next.

Two states share the parts that have not changed, and a shared part is not inspected: a write costs as much
as has changed since the write before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import date, datetime
from operator import attrgetter, is_
from typing import Any, Final, TypeVar

import msgspec

from riskd.journal.schema import STATUS_OF_ACCOUNT, as_stamp
from riskd.model.account import AccountState, current_quotes
from riskd.model.balance import Balance, Result
from riskd.model.equity import EquityMark
from riskd.model.wire import encode_data

Statement = tuple[str, Sequence[tuple[Any, ...]]]
"""An SQL statement, and the rows of values that it is executed with, one after the other."""

_Logged = TypeVar("_Logged", bound=Hashable)


def _details(result: Result) -> str | None:
    execution = result.execution
    return None if execution is None else msgspec.json.encode(execution).decode()


class _Table(msgspec.Struct, frozen=True):
    """A table that holds a mapping of each account, one row an entry.

    :ivar key: the column of the mapping's key, beside ``account_id``.
    :ivar rows: returns the mapping that the table holds.
    :ivar columns: the other columns.
    :ivar values: returns what an entry has in these columns.
    :ivar stored_key: returns what the table has for a key.
    :ivar keeps: whether rows stay when their entries leave the mapping.
    :ivar put: the SQL that writes a row.
    :ivar drop: the SQL that deletes one.
    """

    name: str
    key: str
    rows: Callable[[AccountState], Mapping[Any, Any]]
    columns: tuple[str, ...] = ("data",)
    values: Callable[[Any], tuple[Any, ...]] = lambda data: (encode_data(data),)
    stored_key: Callable[[Any], Any] = lambda key: key
    keeps: bool = False
    put: str = ""
    drop: str = ""

    def __post_init__(self) -> None:
        columns = ("account_id", self.key, *self.columns)
        places = ", ".join("?" * len(columns))
        put = f"INSERT OR REPLACE INTO {self.name} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608  # names of ours
        drop = f"DELETE FROM {self.name} WHERE account_id = ? AND {self.key} = ?"  # noqa: S608  # names of ours
        # Once, and not at each write.
        msgspec.structs.force_setattr(self, "put", put)
        msgspec.structs.force_setattr(self, "drop", drop)

    def differences(
        self, account_id: int, old: Mapping[Any, Any], new: Mapping[Any, Any]
    ) -> list[Statement]:
        """Return the statements that turn the rows of ``old`` into those of ``new``."""
        put = [
            (account_id, self.stored_key(key), *self.values(entry))
            for key, entry in new.items()
            if old.get(key) != entry
        ]
        drop = [
            (account_id, self.stored_key(key)) for key in old if key not in new and not self.keeps
        ]
        return [(sql, rows) for sql, rows in ((self.put, put), (self.drop, drop)) if rows]


_TABLES: Final = (
    _Table("positions", "contract_id", attrgetter("positions")),
    _Table("orders", "order_id", attrgetter("orders")),
    _Table("trades", "trade_id", attrgetter("trades")),
    _Table("quotes", "contract_id", current_quotes),
    _Table("lockouts", "rule_id", attrgetter("lockouts")),
    _Table(
        "limits",
        "rule_id",
        attrgetter("limits"),
        ("key", "settings"),
        lambda limit: (limit.key, limit.settings),
    ),
    _Table("rule_memory", "rule_id", attrgetter("risk.memory"), values=lambda data: (data,)),
    _Table("settings", "name", attrgetter("risk.settings"), values=lambda data: (data,)),
    _Table(
        "charges",
        "trade_id",
        attrgetter("risk.charges"),
        ("at", "amount"),
        lambda charge: (as_stamp(charge.at), str(charge.amount)),
    ),
    _Table(
        "results",
        "trade_id",
        attrgetter("risk.results"),
        ("at", "amount", "order_id", "leg", "data"),
        lambda result: (
            *(as_stamp(result.at), str(result.amount), result.order_id, result.leg),
            _details(result),
        ),
        # For reports; content.py deletes them after two years.
        keeps=True,
    ),
    _Table(
        "days",
        "day",
        attrgetter("days"),
        values=lambda figures: (msgspec.json.encode(figures).decode(),),
        stored_key=date.isoformat,
    ),
)

_ACCOUNT_VALUES: Final = attrgetter(
    *("realized_pnl", "trade_count", "last_reset", "day_began", "risk.day_key", "risk.can_trade"),
    "balance",
)

_PUT_CONTRACT: Final = (
    "INSERT OR REPLACE INTO contracts (contract_id, name, tick_size, tick_value)"
    " VALUES (?, ?, ?, ?)"
)
_PUT_ACCOUNT: Final = (
    "INSERT OR REPLACE INTO accounts"
    " (account_id, realized_pnl, trade_count, last_reset, day_began, day_key, can_trade, balance)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_PUT_FLATTENING: Final = "INSERT OR REPLACE INTO flattenings (account_id, data) VALUES (?, ?)"
_DROP_FLATTENING: Final = "DELETE FROM flattenings WHERE account_id = ?"
_ADD_ACTION: Final = "INSERT INTO enforcement (account_id, at, data) VALUES (?, ?, ?)"
_ADD_LOG_ENTRY: Final = "INSERT INTO log (account_id, at, kind, data) VALUES (?, ?, ?, ?)"


def differences(written: AccountState | None, state: AccountState) -> list[Statement]:
    """Return the statements that change the journal from ``written`` to ``state``.

    :param written: what the journal holds of the account; ``None`` if it has no such account.
    """
    if state is written:
        return []
    account_id = state.account_id
    old = written or AccountState(account_id=account_id)
    statements: list[Statement] = []
    for table in _TABLES:
        before, after = table.rows(old), table.rows(state)
        # By identity: comparing two mappings of hundreds of trades at each write would cost more than
        # the write.
        if before is not after:
            statements += table.differences(account_id, before, after)
    if old.contracts is not state.contracts:
        # Accounts share this table, so a contract that one account drops stays for the others.
        contracts = [
            (each.id, each.name, str(each.tick_size), str(each.tick_value))
            for each in state.contracts.values()
            if old.contracts.get(each.id) != each
        ]
        statements.append((_PUT_CONTRACT, contracts))
    flattening = state.risk.flattening
    if flattening is None and old.risk.flattening is not None:
        statements.append((_DROP_FLATTENING, [(account_id,)]))
    elif flattening != old.risk.flattening:
        data = msgspec.json.encode(flattening).decode()
        statements.append((_PUT_FLATTENING, [(account_id, data)]))
    # Nothing is ever deleted from these two.
    actions = [
        (account_id, as_stamp(action.timestamp), encode_data(action))
        for action in _added(old.enforcement, state.enforcement)
    ]
    entries = [
        (account_id, as_stamp(entry.at), entry.kind, entry.data)
        for entry in _added(old.risk.log, state.risk.log)
    ]
    statements += [(_ADD_ACTION, actions), (_ADD_LOG_ENTRY, entries)]
    # Made only of other values: the two texts in it cost as much as the rest of a small write.
    is_same = all(map(is_, _ACCOUNT_VALUES(old), _ACCOUNT_VALUES(state)))
    if written is None or not (is_same or _account_row(old) == _account_row(state)):
        statements.append((_PUT_ACCOUNT, [_account_row(state)]))
    return [each for each in statements if each[1]]


OF_ACCOUNTS: Final = (
    *(table.name for table in _TABLES),
    *("accounts", "flattenings", "enforcement", "log", "equity"),
)
"""The tables whose rows belong to accounts, without the outbox."""


def removal(account_ids: Collection[int]) -> list[Statement]:
    """Return the statements that remove accounts from the journal."""
    rows = [(account_id,) for account_id in account_ids]
    facts = [(f"{STATUS_OF_ACCOUNT}{account_id}",) for account_id in account_ids]
    return [
        *((f"DELETE FROM {table} WHERE account_id = ?", rows) for table in OF_ACCOUNTS),  # noqa: S608  # names of ours
        ("DELETE FROM facts WHERE name = ?", facts),
    ]


def equity_statement(
    marks: Iterable[EquityMark], at: datetime, database: str = "main"
) -> Statement:
    """Return the statement that writes the figures of a moment, unless it has them."""
    sql = (
        f"INSERT OR IGNORE INTO {database}.equity"  # noqa: S608  # names of ours
        " (at, account_id, balance, equity, net_pnl, high_net) VALUES (?, ?, ?, ?, ?, ?)"
    )
    stamp = as_stamp(at)
    return sql, [
        (
            *(stamp, mark.account_id, str(mark.balance), str(mark.equity)),
            *(str(mark.net_pnl), str(mark.high_net)),
        )
        for mark in marks
    ]


def _added(before: tuple[_Logged, ...], after: tuple[_Logged, ...]) -> tuple[_Logged, ...]:
    """Return the items of ``after`` that ``before`` does not have."""
    if before is after:
        return ()
    # Usually items have left at the front and come at the end.  Comparing them in order is quicker than
    # hashing them all.
    if after and after[0] in before:
        kept = before[before.index(after[0]) :]
        if after[: len(kept)] == kept:
            return tuple(each for each in after[len(kept) :] if each not in before)
    known = frozenset(before)
    return tuple(each for each in after if each not in known)


def _account_row(state: AccountState) -> tuple[Any, ...]:
    reset, began, day_key = state.last_reset, state.day_began, state.risk.day_key
    return (
        state.account_id,
        # As text: 1.5 and 1.50 are equal numbers, but cents are shown as they were received.
        str(state.realized_pnl),
        state.trade_count,
        encode_data(reset) if reset else None,
        as_stamp(began) if began else None,
        day_key.isoformat() if day_key else None,
        state.risk.can_trade,
        None if state.balance == Balance() else msgspec.json.encode(state.balance).decode(),
    )
