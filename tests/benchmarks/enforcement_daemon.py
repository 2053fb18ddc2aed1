"""The daemon that ``tests.benchmarks.enforcement`` measures, with the journal or without.

It prints its port and, when the breaches are done, the measurements as a JSON object.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from zope.interface import implementer

from riskd.app import tap
from riskd.config.loader import parse_settings
from riskd.engine.service import EngineService
from riskd.gateway.commands import CloseContract, Command
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.gateway.interface import IGatewayListener
from riskd.gateway.payload_listener import PayloadListener
from riskd.host.loopback import listen
from riskd.journal.state_directory import StateDirectory
from riskd.model.broker import BrokerNews, BrokerPosition, BrokerQuote
from riskd.practice.gateway import PracticeGateway
from riskd.rules.registry import RULES
from tests.benchmarks import journal_daemon

QUOTES_A_SECOND = 1_000
CLIENTS = 100
BREACHES_A_SECOND = 20

_ACCOUNT = 123
_LIMIT = 2
_BURSTS_A_SECOND = 100
_TICK = Decimal("0.25")
_PRICE = Decimal(21000)

_CONFIG = f"""
[rules.max_contracts]
limit = {_LIMIT}
[rules.max_contracts_per_instrument]
limits = {{ MNQ = 5 }}
[rules.daily_realized_loss]
loss_limit = 1_000_000
[rules.daily_unrealized_loss]
[rules.max_unrealized_profit]
[rules.trade_frequency_limit]
max_trades = 1_000_000
[rules.cooldown_after_loss]
[rules.no_stop_loss_grace]
[rules.session_block_outside]
allowed_hours = {{ start = "00:00", end = "23:59" }}
lockout_outside_session = false
[rules.auth_loss_guard]
[rules.symbol_blocks]
blocked_symbols = ["RTY"]
[rules.trade_management]
enabled = true
[[accounts]]
id = {_ACCOUNT}
watch = ["MNQ"]
"""


@implementer(IGatewayListener)
class Watched:
    """Forward every event, and note the time at which a breach is forwarded."""

    def __init__(self, listener: IGatewayListener, breached: Callable[[], None]) -> None:
        self._listener = listener
        self._breached = breached

    def receive(self, account_id: int, news: BrokerNews) -> None:
        if isinstance(news, BrokerPosition) and news.size > _LIMIT:
            self._breached()
        self._listener.receive(account_id, news)

    def receive_quote(self, quote: BrokerQuote) -> None:
        self._listener.receive_quote(quote)

    def feed_lost(self, sentence: str) -> None:
        self._listener.feed_lost(sentence)

    def feed_restored(self) -> None:
        self._listener.feed_restored()

    def clock_reported(self, at: datetime, precision: float, delay: float) -> None:
        self._listener.clock_reported(at, precision, delay)

    def now(self) -> datetime:
        return self._listener.now()

    def gateway_problem(self, source: str, sentence: str) -> None:
        self._listener.gateway_problem(source, sentence)


class TimedGateway(PracticeGateway):
    """Measure the time from the event of a breach to the call that closes it.

    :ivar latencies: in seconds.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.latencies: list[float] = []
        self._breached_at: float | None = None

    def start(self, listener: IGatewayListener) -> Deferred[None]:
        return super().start(Watched(listener, self._breached))

    def carry_out(self, command: Command) -> Deferred[int | None]:
        if self._breached_at is not None and isinstance(command, CloseContract):
            self.latencies.append(time.perf_counter() - self._breached_at)
            self._breached_at = None
        return super().carry_out(command)

    def _breached(self) -> None:
        if self._breached_at is None:
            self._breached_at = time.perf_counter()


class Market:
    """Quote one contract in bursts, as a gateway's socket delivers them.

    :ivar count: quotes made.
    :ivar longest: seconds that the longest burst took to broadcast.
    """

    def __init__(self, engine: EngineService, contract_id: str) -> None:
        self._payloads = PayloadListener(engine)
        self._contract_id = contract_id
        self.count = 0
        self.longest = 0.0

    def burst(self) -> None:
        begun = time.perf_counter()
        stamp = tap.utc_now().isoformat()
        for _ in range(QUOTES_A_SECOND // _BURSTS_A_SECOND):
            self.count += 1
            last = _PRICE + _TICK * (self.count % 2)
            payload = {
                "symbol": "F.US.MNQ",
                "bestBid": last - _TICK,
                "bestAsk": last + _TICK,
                "lastPrice": last,
                "lastUpdated": stamp,
                "timestamp": stamp,
            }
            self._payloads.market_event("GatewayQuote", self._contract_id, payload)
        self.longest = max(self.longest, time.perf_counter() - begun)


class Setting(NamedTuple):
    """A running daemon and its gateway."""

    engine: EngineService
    gateway: TimedGateway
    contract_id: str

    def breach(self) -> None:
        order = {
            "contractId": self.contract_id,
            "type": int(GatewayOrderType.MARKET),
            "side": int(GatewayOrderSide.BID),
            "size": _LIMIT + 1,
        }
        self.gateway.place_order(_ACCOUNT, order)

    @property
    def is_calm(self) -> bool:
        """Whether the account is flat and the last flatten was broadcast."""
        state = self.engine.accounts[_ACCOUNT].account.state_with_pending
        return not state.open_positions and state.risk.flattening is None


async def measure(setting: Setting, breaches: int) -> None:
    """Breach the limit repeatedly under load, and print the times."""
    market = Market(setting.engine, setting.contract_id)
    quoting = LoopingCall(market.burst)
    quoted = quoting.start(1 / _BURSTS_A_SECOND)
    await deferLater(reactor, 1)
    begun, used, quotes = time.perf_counter(), journal_daemon.cpu(), market.count
    for number in range(breaches):
        # At a different moment of the bursts each time.
        await deferLater(reactor, 1 / BREACHES_A_SECOND + number % 7 / 1000)
        setting.breach()
        while not setting.is_calm:
            await deferLater(reactor, 0.001)
    seconds = time.perf_counter() - begun
    figures = {
        "latencies": setting.gateway.latencies,
        "quotes": (market.count - quotes) / seconds,
        "cpu": (journal_daemon.cpu() - used) / seconds,
        "longest burst": market.longest,
        "clients": setting.engine._broadcast.__self__.statistics.clients,
    }
    quoting.stop()
    await quoted
    print(msgspec.json.encode(figures).decode(), flush=True)  # noqa: T201
    reactor.stop()


def main(*, with_journal: bool, breaches: int, has_outbox: bool) -> None:
    """Run until the breaches are measured."""
    if not with_journal:
        tap.JournalService = journal_daemon.NoJournal
    catalogue = {rule.key: rule for rule in RULES}
    config = f"{_CONFIG}\n[desk]\noutbox = {str(has_outbox).lower()}\n"
    settings = parse_settings(config, "benchmark", catalogue)
    sockets = listen(0)
    port = sockets[0].getsockname()[1]
    gateway = TimedGateway(reactor, tap.utc_now, {_ACCOUNT: ("MNQ",)}, seed=1, is_open=False)
    with tempfile.TemporaryDirectory() as directory:
        state = StateDirectory(Path(directory))
        daemon, engine = tap.assemble(
            tap.EngineService, reactor, gateway, sockets, state, settings, catalogue
        )
        reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
        daemon.startService()
        clients = engine._broadcast.__self__

        async def begin() -> None:
            await engine.started
            while clients.statistics.clients < CLIENTS:
                await deferLater(reactor, 0.01)
            await measure(Setting(engine, gateway, _contract(gateway)), breaches)

        Deferred.fromCoroutine(begin()).addErrback(_give_up)
        print(port, flush=True)  # noqa: T201
        reactor.run()


def _contract(gateway: PracticeGateway) -> str:
    """Return the traded contract with its first price."""
    contract_id = next(one.id for one in gateway._market.contracts if one.root == "MNQ")
    gateway.move_market(contract_id, _PRICE)
    return contract_id


def _give_up(failure: Any) -> None:
    failure.printTraceback()
    reactor.stop()


if __name__ == "__main__":
    main(
        with_journal=sys.argv[1] == "1",
        breaches=int(sys.argv[2]),
        has_outbox=sys.argv[3] == "1",
    )
