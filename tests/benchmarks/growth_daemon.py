"""A daemon of a certain size in memory, for :mod:`tests.benchmarks.growth`: ``... KIND SIZE`` prints its figures as JSON.

Engine, rules, journal and broadcast encoding are riskd's; the broker is the practice exchange, and time is the
measuring program's, so that a second passes as fast as it is computed.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from unittest.mock import patch

import msgspec

from riskd.config.loader import parse_settings
from riskd.config.settings import Settings
from riskd.gateway.commands import CloseContract, Command
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.journal.schema import JOURNAL_NAME, as_stamp
from riskd.model.broker import BrokerNews, BrokerPosition, BrokerQuote
from riskd.model.day_figures import DayFigures
from riskd.model.wire import encode
from riskd.practice.records import Position
from tests.benchmarks.process_counts import resident
from tests.benchmarks.workload import say
from tests.support.configuration import CATALOGUE
from tests.support.practice_daemon import ACCOUNT, MNQ, PracticeDaemon

CPU: Final = "CPU, ms a second"
MEMORY: Final = "memory, MiB"
START: Final = "start, ms"
PUBLICATION: Final = "publication, ms"
BREACH: Final = "breach to call, ms"

TICKERS: Final = ("MNQ", "NQ", "MES", "ES", "M2K", "RTY", "MYM", "YM", "MGC", "GC")
CONTRACTS: Final = tuple(
    f"CON.F.US.{code}.Z26"
    for code in ("MNQ", "ENQ", "MES", "EP", "M2K", "RTY", "MYM", "YM", "MGC", "GCE")
)
QUOTES_A_SECOND: Final = 4
"""Of each contract."""

_LATENCY: Final = 0.01
_MAX_SIZE: Final = 10_000
_MEASURED_SECONDS: Final = 2
_REPEATS: Final = 3
_PRICE: Final = Decimal(21000)
_TICK: Final = Decimal("0.25")
_KEPT: Final = timedelta(days=700)

_RULES: Final = f"""
# Else what follows from an event would happen within it.
[practice.faults]
latency_seconds = {_LATENCY}
[rules.max_contracts]
limit = {_MAX_SIZE}
[rules.daily_realized_loss]
loss_limit = 1_000_000
[rules.daily_unrealized_loss]
loss_limit = 1_000_000
[rules.max_unrealized_profit]
profit_target = 100_000_000
[rules.daily_net_loss]
loss_limit = 1_000_000
[rules.weekly_limits]
loss_limit = 1_000_000
[rules.maximum_loss]
drawdown = 1_000_000
trailing = "intraday"
[rules.consistency]
stop_for_today = true
[rules.trade_frequency_limit]
max_trades = 1_000_000
"""


def config(accounts: int) -> str:
    """Return a configuration of so many accounts with ten contracts each."""
    watch = msgspec.json.encode(TICKERS).decode()
    return _RULES + "".join(
        f"[[accounts]]\nid = {ACCOUNT + number}\nwatch = {watch}\n" for number in range(accounts)
    )


class Daemon(PracticeDaemon):
    """The daemon, which broadcasts to nobody: an event is encoded, and counted.

    :ivar broadcasts: how many.
    """

    def read_settings(self, config: str) -> Settings:
        return parse_settings(config, "growth", CATALOGUE)

    def _begin(self) -> None:
        self.broadcasts = 0
        self._stamp = 0
        super()._begin()
        self.engine._broadcast = self._encode
        for guarded in self.engine.accounts.values():
            guarded.account._broadcast = self._encode

    def _encode(self, event: Any) -> None:
        self.broadcasts += 1
        encode(event)

    def hold(self, account_id: int, contract_id: str, size: int = 1) -> None:
        """Buy at the market."""
        order = {
            "contractId": contract_id,
            "type": int(GatewayOrderType.MARKET),
            "side": int(GatewayOrderSide.BID),
            "size": size,
        }
        self.gateway.place_order(account_id, order)

    def start_again(self) -> None:
        """Start on the journal that there is, until the broker's state is known."""
        self.restart()
        while not self.engine.is_reconciled:
            self.clock.advance(_LATENCY)

    def quote_for(self, seconds: int) -> None:
        """Let a time pass with quotes of all contracts."""
        for _ in range(seconds * QUOTES_A_SECOND):
            self._stamp += 1
            last = _PRICE + _TICK * (self._stamp % 4)
            for contract_id in CONTRACTS:
                quote = BrokerQuote(
                    contract_id, last - _TICK, last + _TICK, last, stamp=self.broker_time()
                )
                self.engine.receive_quote(quote)
            self.clock.advance(1 / QUOTES_A_SECOND)


def milliseconds(act: Callable[[], object]) -> float:
    """Return the CPU time of a call."""
    gc.collect()
    began = time.process_time()
    act()
    return 1000 * (time.process_time() - began)


def memory() -> float:
    """Return the memory of this process in MiB."""
    gc.collect()
    return resident(os.getpid())


def measure(kind: str, size: int) -> dict[str, float]:
    """Return the figures of a daemon; each the least of some repeats."""
    before = memory()
    daemon = Daemon(config(size if kind == "accounts" else 1))
    try:
        daemon.advance(2)
        for account_id in daemon.engine.accounts:
            daemon.hold(account_id, MNQ)
        daemon.advance(2)
        daemon.stop()
        if kind == "positions":
            invent_positions(daemon, size)
        fill(daemon, kind, size)
        start = milliseconds(daemon.start_again)
        daemon.quote_for(2)
        grown = memory() - before
        cpu = min(
            milliseconds(lambda: daemon.quote_for(_MEASURED_SECONDS)) / _MEASURED_SECONDS
            for _ in range(_REPEATS)
        )
        publication = min(publish(daemon) for _ in range(_REPEATS))
        call = breach(daemon)
    finally:
        daemon.close()
    return {CPU: cpu, MEMORY: grown, START: start, PUBLICATION: publication, BREACH: call}


def publish(daemon: Daemon) -> float:
    """Return the milliseconds until a copy has what has changed in one account."""
    account = daemon.engine.accounts[ACCOUNT].account
    account.note("growth")
    return milliseconds(lambda: account.make_durable() and daemon.journal.published())


def breach(daemon: Daemon) -> float:
    """Return the milliseconds from the event of a position that is too large to the call that closes one."""
    times: list[float] = []
    receive, carry_out = daemon.engine.receive, daemon.gateway.carry_out

    def received(account_id: int, news: BrokerNews) -> None:
        if isinstance(news, BrokerPosition) and news.size > _MAX_SIZE:
            times.append(time.process_time())
        receive(account_id, news)

    def called(command: Command) -> Any:
        if isinstance(command, CloseContract):
            times.append(time.process_time())
        return carry_out(command)

    gc.collect()
    with (
        patch.object(daemon.engine, "receive", received),
        patch.object(daemon.gateway, "carry_out", called),
    ):
        daemon.hold(ACCOUNT, MNQ, _MAX_SIZE + 1)
        daemon.advance(10 * _LATENCY, _LATENCY)
    if len(times) < 2:
        raise SystemExit("growth: no position was closed after the breach")
    return 1000 * (times[1] - times[0])


def invent_positions(daemon: Daemon, size: int) -> None:
    """Give the account a position in so many contracts."""
    exchange = daemon.gateway.exchange
    store, quote = exchange.store, exchange.quote(MNQ)
    assert quote is not None
    held = store.records[ACCOUNT].positions
    known = store.listed[MNQ]
    for number in range(1, size):
        contract = msgspec.structs.replace(known, id=f"CON.F.US.MNQ.X{number}")
        store.listed[contract.id] = contract
        exchange._fees[contract.id] = exchange._fees[MNQ]
        exchange.move_market(contract.id, quote, daemon.now())
        held[contract.id] = Position(
            store.next_id(), ACCOUNT, contract, daemon.now(), net=1, price_sum=_PRICE
        )


def fill(daemon: Daemon, kind: str, size: int) -> None:
    """Fill the journal of a daemon that has stopped."""
    if kind not in ("rows", "days"):
        return
    now = daemon.now()
    with closing(sqlite3.connect(daemon.directory / JOURNAL_NAME)) as journal, journal:
        if kind == "days":
            text = msgspec.json.encode(DayFigures(net=Decimal(50), close=Decimal(50_000))).decode()
            first = now.date() - timedelta(days=size)
            days = ((ACCOUNT, str(first + timedelta(days=each)), text) for each in range(size))
            journal.executemany("INSERT OR REPLACE INTO days VALUES (?, ?, ?)", days)
            return
        stamps = [as_stamp(now - _KEPT * each / (size / 3 + 1)) for each in range(size // 3 + 1)]
        journal.executemany(
            "INSERT INTO log (account_id, at, kind, data) VALUES (?, ?, 'note', '{}')",
            ((ACCOUNT, at) for at in stamps),
        )
        journal.executemany(
            "INSERT OR REPLACE INTO results (account_id, trade_id, at, amount) VALUES (?, ?, ?, '1')",
            ((ACCOUNT, 10**9 + number, at) for number, at in enumerate(stamps)),
        )
        journal.executemany(
            "INSERT OR REPLACE INTO equity VALUES (?, ?, '50000', '50000', '0', '0')",
            ((at // 60_000 * 60_000 - number, ACCOUNT) for number, at in enumerate(stamps)),
        )


if __name__ == "__main__":
    say(**measure(sys.argv[1], int(sys.argv[2])))
