"""State directories for tests of the journal, and account states to write there."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.messages import PublishedState
from riskd.journal.reader import Snapshot, read_published, read_snapshot
from riskd.journal.schema import JOURNAL_NAME, MIGRATIONS, PUBLISHED_NAME, upgrade
from riskd.journal.store import Store
from riskd.model.account import (
    AccountState,
    Charge,
    Flattening,
    Limit,
    LogEntry,
    RiskState,
    apply,
    current_quotes,
)
from riskd.model.balance import Balance, Execution, FirmFloor, Leg, Result
from riskd.model.contracts import known_contract
from riskd.model.day_figures import DayFigures
from riskd.model.events import Action, LockoutSet, OrderSide
from riskd.testing import make_event
from tests.support.directories import temporary_directory

NOON = datetime(2025, 1, 17, 12, 0, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.U25"
PRIVATE = '{"what":"only the daemon knows"}'
"""A rule's memory, which must not be published."""


def as_recovered(state: AccountState) -> AccountState:
    """Return what of ``state`` is recovered; the gateway knows the rest, such as orders that have ended."""
    risk = msgspec.structs.replace(state.risk, earlier_trades={}, log=())
    return msgspec.structs.replace(_kept(state), risk=risk)


def as_published(state: AccountState) -> AccountState:
    """Return what of ``state`` is published."""
    balance = msgspec.structs.replace(state.balance, is_settled=False)
    return msgspec.structs.replace(_kept(state), balance=balance, risk=RiskState())


def _kept(state: AccountState) -> AccountState:
    return msgspec.structs.replace(
        state, quotes=current_quotes(state), outdated_quotes={}, final_orders={}
    )


def lock(rule_id: str, until: datetime | None = None) -> LockoutSet:
    return LockoutSet(reason="Too much", locked_until=until, rule_id=rule_id, locked_at=NOON)


def flattening(*locks: LockoutSet) -> Flattening:
    return Flattening(
        action=Action.CLOSE_ALL_AND_LOCKOUT,
        rule_id="RULE-003",
        reason="Too much",
        begun=NOON,
        keep={MNQ: 1},
        locks=locks,
    )


def log_entry(number: int) -> LogEntry:
    return LogEntry(NOON + timedelta(seconds=number), "operator", f'{{"number":{number}}}')


EXECUTION: Final = Execution(
    contract_id=MNQ,
    size=1,
    side=OrderSide.SELL,
    price=Decimal("20977.25"),
    pnl=Decimal("-45.50"),
    fees=Decimal("1.48"),
    opened_at=NOON - timedelta(minutes=5),
)
"""Sold an MNQ that was bought 22.75 points higher 5 minutes before."""


@cache
def full_state() -> AccountState:
    """Return a state that has something in every table."""
    contract = known_contract(MNQ)
    assert contract is not None
    state = AccountState(account_id=123, contracts={MNQ: contract})
    for event_type, data in (
        ("daily_reset", {"reset_time": "2025-01-16T23:00:00Z", "lockouts_cleared": False}),
        (
            "GatewayUserTrade",
            {"id": 1, "profitAndLoss": -45.5, "executionTime": "2025-01-17T11:00:00Z"},
        ),
        (
            "GatewayUserTrade",
            {"id": 2, "profitAndLoss": 0.1, "executionTime": "2025-01-17T11:01:00Z"},
        ),
        ("GatewayUserPosition", {"id": 1, "size": 2}),
        ("GatewayUserOrder", {"id": 7}),
        ("MarketQuote", {}),
        ("lockout_set", {"rule_id": "RULE-003", "locked_until": None}),
        ("lockout_set", {"rule_id": "RULE-007", "locked_until": "2025-01-17T13:00:00Z"}),
        ("enforcement_action", {"timestamp": "2025-01-17T11:01:00Z"}),
    ):
        state = apply(state, make_event(event_type, data))
    state = apply(state, make_event("daemon_status", {}))
    return msgspec.structs.replace(
        state,
        limits={"RULE-001": Limit("max_contracts", '{"limit":5}')},
        balance=Balance(
            agreed=Decimal("50000.00"),
            results=Decimal("-45.50"),
            other=Decimal("49000.10"),
            is_settled=True,
            first=Decimal("50000.00"),
            charges=Decimal("1.48"),
            peak=Decimal("50010.25"),
            firm_floor=FirmFloor(
                amount=Decimal("48500.25"), at=NOON, payouts=Decimal("12.50"), peak=Decimal(50001)
            ),
        ),
        days={
            date(2025, 1, 16): DayFigures(
                net=Decimal("-12.50"), entries_and_exits=2, close=Decimal("50000.00")
            )
        },
        risk=RiskState(
            can_trade=True,
            charges={1: Charge(NOON, Decimal("1.48"))},
            results={1: Result(NOON, Decimal("-46.98"), 7, Leg.SELL_TO_CLOSE, EXECUTION)},
            memory={"RULE-006": PRIVATE},
            settings={"gateway": PRIVATE},
            flattening=flattening(lock("RULE-003")),
            day_key=date(2025, 1, 17),
            log=(log_entry(1),),
        ),
    )


class StoreTestCase(SynchronousTestCase):
    """A state directory, and a journal that is open there."""

    def setUp(self) -> None:
        self.directory = temporary_directory(self)
        self.store = self.open()

    @property
    def journal(self) -> Path:
        return self.directory / JOURNAL_NAME

    @property
    def published(self) -> Path:
        return self.directory / PUBLISHED_NAME

    def open(self) -> Store:
        store = Store(self.directory)
        self.recovery = store.open([123, 456], NOON)
        self.addCleanup(store.close)
        return store

    def write(self, *states: AccountState, at: datetime = NOON) -> bool:
        return self.store.write(states, "practice", at)

    def publish(self, *states: AccountState, at: datetime = NOON) -> Snapshot:
        self.write(*states, at=at)
        self.store.publish()
        return read_published(self.directory)

    def crash(self) -> None:
        """Leave the files as a killed process leaves them: without a checkpoint."""
        aside = temporary_directory(self)
        copy = aside / "copy"
        shutil.copytree(self.directory, copy, symlinks=True, ignore=_special_files)
        self.store.close()
        shutil.rmtree(self.directory)
        shutil.copytree(copy, self.directory, symlinks=True)


def _special_files(directory: str, names: list[str]) -> list[str]:
    """Return those of ``names`` that cannot be copied: pipes, sockets, and files of a terabyte."""
    found = {name: Path(directory, name).lstat() for name in names}
    return [
        name
        for name, status in found.items()
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode) or status.st_size > 2**30
    ]


class DamageTestCase(StoreTestCase):
    """A journal that is damaged and opened again."""

    def damage(self, change: Callable[[bytes], bytes], state: AccountState | None = None) -> None:
        """Publish and close a journal, and change its bytes."""
        self.publish(state or full_state())
        self.store.close()
        content = self.journal.read_bytes()
        self.journal.write_bytes(change(content))

    def assert_locks_kept(self) -> None:
        """Open the journal: it must be found damaged, and the locks of :func:`full_state` be saved."""
        self.open()
        self.assertIn("is damaged", self.recovery.problem)
        self.assertEqual(set(self.recovery.accounts[123].lockouts), {"RULE-003", "RULE-007"})

    def forget_commits(self) -> None:
        """Damage only the number of commits, so that the journal lags behind its copy."""
        with closing(sqlite3.connect(self.journal, isolation_level=None)) as journal:
            journal.execute("UPDATE facts SET value = '0' WHERE name = 'commits'")


_VERSION_1 = (
    ("INSERT INTO facts VALUES (?, ?)", "as_of", "2025-01-17T12:00:00+00:00"),
    ("INSERT INTO facts VALUES (?, ?)", "gateway", "practice"),
    ("INSERT INTO facts VALUES (?, ?)", "commits", "41"),
    (
        "INSERT INTO facts VALUES (?, ?)",
        "daemon_status",
        '{"status":"RUNNING","message":"Daemon started","timestamp":"2025-01-17T11:00:00Z"}',
    ),
    (
        "INSERT INTO accounts VALUES (?, ?, ?, ?, ?)",
        123,
        "-45.50",
        1,
        (
            '{"reset_time":"2025-01-16T23:00:00Z","previous_pnl":12.5,"previous_trade_count":3,'
            '"lockouts_cleared":true}'
        ),
        1737068400000,
    ),
    ("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", 456, "0.00", 0, None, None),
    ("INSERT INTO contracts VALUES (?, ?, ?, ?)", MNQ, "MNQU5", "0.25", "0.5"),
    (
        "INSERT INTO positions VALUES (?, ?, ?)",
        123,
        MNQ,
        (
            f'{{"id":1,"contractId":"{MNQ}","type":1,"size":2,"averagePrice":21000.25,'
            '"createdAt":"2025-01-17T11:00:00Z","updatedAt":"2025-01-17T11:00:00Z"}'
        ),
    ),
    (
        "INSERT INTO orders VALUES (?, ?, ?)",
        123,
        7,
        (
            f'{{"id":7,"contractId":"{MNQ}","type":3,"side":2,"size":2,"limitPrice":null,'
            '"stopPrice":20990,"state":1,"createdAt":"2025-01-17T11:00:00Z",'
            '"updatedAt":"2025-01-17T11:00:00.250Z"}'
        ),
    ),
    (
        "INSERT INTO trades VALUES (?, ?, ?)",
        123,
        1,
        (
            f'{{"id":1,"contractId":"{MNQ}","profitAndLoss":-45.50,"quantity":1,'
            '"executionTime":"2025-01-17T11:00:00Z","timestamp":"2025-01-17T11:00:00Z"}'
        ),
    ),
    (
        "INSERT INTO quotes VALUES (?, ?, ?)",
        123,
        MNQ,
        (
            f'{{"contractId":"{MNQ}","bid":21000,"ask":21000.25,"last":21000,'
            '"timestamp":"2025-01-17T11:59:59Z"}'
        ),
    ),
    (
        "INSERT INTO lockouts VALUES (?, ?, ?)",
        123,
        "RULE-003",
        (
            '{"reason":"Daily loss","locked_until":null,"rule_id":"RULE-003",'
            '"locked_at":"2025-01-17T11:00:00Z"}'
        ),
    ),
    # The first one is of the day before.
    *(
        (
            "INSERT INTO enforcement (account_id, at, data) VALUES (?, ?, ?)",
            123,
            at,
            (
                f'{{"action":"CLOSE_ALL_POSITIONS","reason":"Daily loss","rule_id":"RULE-003",'
                f'"success":true,"timestamp":"{stamp}",'
                '"details":{"positions_closed":1,"orders_canceled":0}}'
            ),
        )
        for at, stamp in (
            (1737028800000, "2025-01-16T12:00:00Z"),
            (1737111600000, "2025-01-17T11:00:00Z"),
        )
    ),
)


def write_version_1(path: Path) -> None:
    """Write a journal as the first version of riskd wrote it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as journal:
        journal.executescript(MIGRATIONS[0])
        journal.execute("PRAGMA application_id = 0x7269736B")
        journal.execute("PRAGMA user_version = 1")
        for sql, *values in _VERSION_1:
            journal.execute(sql, values)


def restored(state: PublishedState) -> AccountState:
    """Return the account of a state that has come from a desk's server."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        upgrade(database, 0)
        tables: dict[str, Any] = {**state.tables, "facts": state.facts.items()}
        for table, rows in tables.items():
            for row in rows:
                marks = ", ".join("?" * len(row))
                database.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608
        (account,) = read_snapshot(database).accounts.values()
    return account
