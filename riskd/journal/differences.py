"""What makes a journal that says one thing say another.

States share what has not changed, and what is shared is not looked at: a write costs what has changed
since the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from riskd.journal.schema import as_stamp
from riskd.model.account import AccountState
from riskd.model.contracts import Contract
from riskd.model.wire import encode_data

Statement = tuple[str, tuple[Any, ...]]
"""A statement of SQL, and the values in it."""

_Logged = TypeVar("_Logged", bound=Hashable)


class _Keyed(msgspec.Struct, frozen=True):
    """A table with a row for each entry of a mapping, by account and key.

    :ivar rows: gives the mapping that the table holds.
    :ivar columns: those beside account and key.
    :ivar values: gives what an entry has in these columns.
    """

    name: str
    key: str
    rows: Callable[[AccountState], Mapping[Any, Any]]
    columns: tuple[str, ...] = ("data",)
    values: Callable[[Any], tuple[Any, ...]] = lambda data: (encode_data(data),)

    @property
    def put(self) -> str:
        """The statement that writes a row."""
        columns = ("account_id", self.key, *self.columns)
        places = ", ".join("?" * len(columns))
        return f"INSERT OR REPLACE INTO {self.name} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608  # names of ours

    @property
    def drop(self) -> str:
        """The statement that removes a row."""
        return f"DELETE FROM {self.name} WHERE account_id = ? AND {self.key} = ?"  # noqa: S608  # names of ours


_KEYED: Final = (
    _Keyed("positions", "contract_id", lambda state: state.positions),
    _Keyed("orders", "order_id", lambda state: state.orders),
    _Keyed("trades", "trade_id", lambda state: state.trades),
    _Keyed("quotes", "contract_id", lambda state: state.quotes),
    _Keyed("lockouts", "rule_id", lambda state: state.lockouts),
    _Keyed(
        "limits",
        "rule_id",
        lambda state: state.limits,
        ("key", "settings"),
        lambda limit: (limit.key, limit.settings),
    ),
    _Keyed("rule_memory", "rule_id", lambda state: state.risk.memory, values=lambda data: (data,)),
    _Keyed(
        "charges",
        "trade_id",
        lambda state: state.risk.charges,
        ("at", "amount"),
        lambda charge: (as_stamp(charge.at), str(charge.amount)),
    ),
)

_PUT_CONTRACT: Final = (
    "INSERT OR REPLACE INTO contracts (contract_id, name, tick_size, tick_value)"
    " VALUES (?, ?, ?, ?)"
)
_PUT_ACCOUNT: Final = (
    "INSERT OR REPLACE INTO accounts"
    " (account_id, realized_pnl, trade_count, last_reset, day_began, day_key, can_trade)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_PUT_FLATTENING: Final = "INSERT OR REPLACE INTO flattenings (account_id, data) VALUES (?, ?)"
_DROP_FLATTENING: Final = "DELETE FROM flattenings WHERE account_id = ?"
_ADD_ACTION: Final = "INSERT INTO enforcement (account_id, at, data) VALUES (?, ?, ?)"
_ADD_LOG_ENTRY: Final = "INSERT INTO log (account_id, at, kind, data) VALUES (?, ?, ?, ?)"


def differences(written: AccountState | None, state: AccountState) -> list[Statement]:
    """Return what makes a journal that says ``written`` of an account say ``state``.

    :param written: ``None`` if the journal has never heard of the account.
    """
    old = written or AccountState(account_id=state.account_id)
    statements: list[Statement] = []
    for table in _KEYED:
        statements += _keyed_differences(
            table, state.account_id, table.rows(old), table.rows(state)
        )
    statements += _contract_differences(old.contracts, state.contracts)
    statements += _flattening_difference(old, state)
    statements += _log_lines(old, state)
    if written is None or _summary(old) != _summary(state):
        statements.append((_PUT_ACCOUNT, _account_row(state)))
    return statements


def _keyed_differences(
    table: _Keyed, account_id: int, before: Mapping[Any, Any], after: Mapping[Any, Any]
) -> list[Statement]:
    if before is after:
        return []
    put, drop = table.put, table.drop
    return [
        (put, (account_id, key, *table.values(entry)))
        for key, entry in after.items()
        if before.get(key) != entry
    ] + [(drop, (account_id, key)) for key in before if key not in after]


def _contract_differences(
    before: Mapping[str, Contract], after: Mapping[str, Contract]
) -> list[Statement]:
    if before is after:
        return []
    return [
        (
            _PUT_CONTRACT,
            (contract.id, contract.name, str(contract.tick_size), str(contract.tick_value)),
        )
        for contract in after.values()
        if before.get(contract.id) != contract
    ]


def _flattening_difference(old: AccountState, new: AccountState) -> list[Statement]:
    before, after = old.risk.flattening, new.risk.flattening
    if before == after:
        return []
    if after is None:
        return [(_DROP_FLATTENING, (new.account_id,))]
    return [(_PUT_FLATTENING, (new.account_id, msgspec.json.encode(after).decode()))]


def _log_lines(old: AccountState, new: AccountState) -> list[Statement]:
    """Return what adds to the two logs, of which nothing is ever taken away."""
    account_id = new.account_id
    actions: list[Statement] = [
        (_ADD_ACTION, (account_id, as_stamp(action.timestamp), encode_data(action)))
        for action in _added(old.enforcement, new.enforcement)
    ]
    entries: list[Statement] = [
        (_ADD_LOG_ENTRY, (account_id, as_stamp(entry.at), entry.kind, entry.data))
        for entry in _added(old.risk.log, new.risk.log)
    ]
    return actions + entries


def _added(before: tuple[_Logged, ...], after: tuple[_Logged, ...]) -> tuple[_Logged, ...]:
    """Return what ``after`` has and ``before`` has not."""
    if before is after:
        return ()
    if after and after[0] in before:
        # As a rule some went at the front and some came at the end; that is seen at a glance.
        kept = before[before.index(after[0]) :]
        if after[: len(kept)] == kept:
            return tuple(each for each in after[len(kept) :] if each not in before)
    known = frozenset(before)
    return tuple(each for each in after if each not in known)


def _summary(state: AccountState) -> tuple[Any, ...]:
    """Return what the account's row depends on; two are quicker to compare than two rows to make."""
    risk = state.risk
    # Equal amounts may be written differently, and cents are to be read as they were told.
    pnl = str(state.realized_pnl)
    count, reset, began = state.trade_count, state.last_reset, state.day_began
    return (pnl, count, reset, began, risk.day_key, risk.can_trade)


def _account_row(state: AccountState) -> tuple[Any, ...]:
    reset, began, day_key = state.last_reset, state.day_began, state.risk.day_key
    return (
        state.account_id,
        str(state.realized_pnl),
        state.trade_count,
        encode_data(reset) if reset else None,
        as_stamp(began) if began else None,
        day_key.isoformat() if day_key else None,
        state.risk.can_trade,
    )
