"""Save lockouts, unfinished flattens and balances from a damaged journal.

A trader must not get rid of a lock by damaging a file.  So a lock is saved from the journal or from its
published copy, whichever still has it; if neither can be read, every account is locked.  A balance is saved for
its highs: no floor of a trailing limit may fall.  The figures of ended days are saved, too: no broker lists them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from riskd.host.files import UnsafeFileError
from riskd.journal.database import open_copy, open_journal
from riskd.journal.reader import DAMAGES
from riskd.journal.schema import (
    JOURNAL_NAME,
    PUBLISHED_NAME,
    DamagedError,
    as_moment,
    as_number,
    as_text,
    check_schema,
)
from riskd.journal.values import read_amount, read_balance, read_figures, read_flattening
from riskd.model.account import AccountState, Flattening, Limit, RiskState, with_locks
from riskd.model.commitment import COMMITMENT
from riskd.model.day_figures import DayFigures
from riskd.model.equity import with_lasting_closes
from riskd.model.events import LockoutSet
from riskd.model.wire import decode_data

DAMAGE_RULE: Final = "JOURNAL"
"""The rule id of the lock that stands in for locks that cannot be read."""

_Files = tuple[str, ...]
"""The names of the journal and its copy; of what both have, the first one's counts."""

_FILES: Final = (JOURNAL_NAME, PUBLISHED_NAME)
"""The journal is the newer one, unless it is found to be older."""

_NONSENSE: Final = (ValueError, TypeError, ArithmeticError, RecursionError)
"""What reading one row raises whose values make no sense; the others may be sound."""

_Locks = dict[tuple[int, str], LockoutSet]
"""Locks by account id and rule id."""


def salvage(
    directory: Path, account_ids: Collection[int], now: datetime, *, is_outdated: bool = False
) -> tuple[dict[int, AccountState], str]:
    """Return accounts with what was saved, and a clause about their locks.

    :param account_ids: the accounts to lock if no locks can be read.
    :param is_outdated: whether the published copy is newer than the journal.
    """
    files = _FILES[::-1] if is_outdated else _FILES
    locks = _saved_locks(directory, files)
    outcome = "its lockouts were saved"
    if locks is None:
        outcome = (
            "its lockouts cannot be read, so every account is locked until an operator unlocks it"
        )
        stand_in = LockoutSet(
            reason="The journal was damaged and its lockouts cannot be read",
            locked_until=None,
            rule_id=DAMAGE_RULE,
            locked_at=now,
        )
        locks = {(account_id, DAMAGE_RULE): stand_in for account_id in account_ids}
    limits = _saved_commitments(directory, files)
    if limits:
        outcome += f"; {_committed(limits)} locked, because of the commitment"
        for account_id in limits:
            locks[account_id, DAMAGE_RULE] = LockoutSet(
                reason="The journal is missing or damaged, and the account has a commitment",
                locked_until=None,
                rule_id=DAMAGE_RULE,
                locked_at=now,
            )
    flattenings = _saved_flattenings(directory / JOURNAL_NAME)
    balances, days = _saved_balances(directory, files), _saved_days(directory, files)
    accounts = {}
    for account_id in {*account_ids, *(owner for owner, _rule in locks), *flattenings}:
        own = [lock for (owner, _rule), lock in locks.items() if owner == account_id]
        flattening = flattenings.get(account_id)
        # The locks that a flatten was about to set count as set.
        pending = flattening.locks if flattening else ()
        accounts[account_id] = msgspec.structs.replace(
            balances.get(account_id, AccountState(account_id=account_id)),
            lockouts=with_locks({}, (*pending, *own)),
            days=days.get(account_id, {}),
            limits=limits.get(account_id, {}),
            risk=RiskState(flattening=flattening),
        )
    return accounts, outcome


def _saved_locks(directory: Path, files: _Files) -> _Locks | None:
    """Return the locks in the journal or its copy; ``None`` if neither can be read.

    Each file may lack what the other has.  A lock too many is for an operator to lift; one too few lets
    a trader trade on.
    """
    saved: _Locks | None = None
    for name in files:
        with suppress(*DAMAGES, OSError):
            # Of two locks of a rule the first file's is the newer.
            saved = {**_read_locks(directory / name), **(saved or {})}
    return saved


def _read_locks(path: Path) -> _Locks:
    """Return the locks in a file whose other tables may be damaged.

    :raises OSError: there is no file.
    :raises DamagedError: the file is empty.
    :raises sqlite3.Error: the table cannot be read.
    :raises ValueError: a lock makes no sense.
    """
    # SQLite reads an empty file as an empty database, which would count as "no locks".
    if not path.lstat().st_size:
        raise DamagedError("it is empty")
    locks: _Locks = {}
    with _opened(path, "lockouts") as file:
        for account_id, data in file.execute("SELECT account_id, data FROM lockouts"):
            lock: Any = decode_data("lockout_set", as_number(account_id), as_text(data)).data
            locks[account_id, lock.rule_id] = lock
    return locks


def _committed(limits: Mapping[int, object]) -> str:
    accounts = ", ".join(map(str, sorted(limits)))
    return f"account {accounts} is" if len(limits) == 1 else f"the accounts {accounts} are"


def _saved_commitments(directory: Path, files: _Files) -> dict[int, dict[str, Limit]]:
    """Return the limits of the accounts that have a commitment.

    Without the journal riskd does not know what has been loosened since.
    """
    saved: dict[int, dict[str, Limit]] = {}
    query = "SELECT account_id, rule_id, key, settings FROM limits"
    for name in files:
        found: dict[int, dict[str, Limit]] = {}
        with suppress(*DAMAGES, OSError), _opened(directory / name, "limits") as file:
            for account_id, rule_id, key, settings in file.execute(query):
                limit = Limit(as_text(key), as_text(settings))
                found.setdefault(as_number(account_id), {})[as_text(rule_id)] = limit
        saved = {key: each for key, each in found.items() if COMMITMENT in each} | saved
    return saved


def _saved_balances(directory: Path, files: _Files) -> dict[int, AccountState]:
    """Return the balances in the journal or its copy that can be read.

    Each is in an account with the trading day that it is of.  They are not settled: which executions they
    include is lost.
    """
    saved: dict[int, AccountState] = {}
    query = "SELECT account_id, balance, realized_pnl, day_began FROM accounts WHERE balance IS NOT NULL"
    for name in files:
        with suppress(*DAMAGES, OSError), _opened(directory / name, "accounts") as file:
            for account_id, data, realized_pnl, began in file.execute(query):
                with suppress(*_NONSENSE):
                    account = with_lasting_closes(
                        AccountState(
                            account_id=account_id,
                            balance=msgspec.structs.replace(read_balance(data), is_settled=False),
                            realized_pnl=read_amount(realized_pnl),
                            day_began=None if began is None else as_moment(began),
                        )
                    )
                    saved.setdefault(account_id, account)
    return saved


def _saved_days(directory: Path, files: _Files) -> dict[int, dict[date, DayFigures]]:
    """Return the figures of ended days in the journal or its copy that can be read."""
    saved: dict[int, dict[date, DayFigures]] = {}
    for name in files:
        with suppress(*DAMAGES, OSError), _opened(directory / name, "days") as file:
            for account_id, day, data in file.execute("SELECT account_id, day, data FROM days"):
                with suppress(*_NONSENSE):
                    figures = read_figures(data)
                    days = saved.setdefault(as_number(account_id), {})
                    days.setdefault(date.fromisoformat(day), figures)
    return saved


def _saved_flattenings(path: Path) -> dict[int, Flattening]:
    """Return those flattens in a damaged file that can be read."""
    saved: dict[int, Flattening] = {}
    with suppress(*DAMAGES, OSError), _opened(path, "flattenings") as file:
        for account_id, data in file.execute("SELECT account_id, data FROM flattenings"):
            with suppress(*_NONSENSE):
                saved[account_id] = read_flattening(data)
    return saved


@contextmanager
def _opened(path: Path, table: str) -> Iterator[sqlite3.Connection]:
    """Open a file to read one table; the others may be damaged.

    :raises DamagedError: the table is not riskd's.
    """
    with ExitStack() as stack:
        if path.name == PUBLISHED_NAME:
            file = stack.enter_context(open_copy(path, is_whole=False))
        else:
            try:
                file = stack.enter_context(open_journal(path))
            except UnsafeFileError:
                # Only what is beside the journal may be unsafe.
                file = stack.enter_context(open_journal(path, with_log=False))
        check_schema(file, [table])
        yield file
