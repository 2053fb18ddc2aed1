"""A daemon in a process of its own that broadcasts a number of events on demand.

``python -m tests.integration.event_source DIRECTORY`` prints its port; for each line ``RATE COUNT EVERY`` of
standard input it broadcasts COUNT events, RATE a second.  Each EVERY-th event is a trade, the others are
quotes: of ten contracts if every other one is a trade.  Trades are numbered by their quantity, quotes by their bid; the id of a
trade is the moment at which it was due, in nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver

from riskd.app.launch import Signals
from riskd.engine.service import EngineService
from riskd.model.events import Event, GatewayUserTrade, MarketQuote
from riskd.testing import start_still_daemon

CONTRACTS = 10
_ACCOUNT = 123
_TURN_SECONDS = 0.005
_NOW = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)


def numbered(number: int, due: int, every: int = 2) -> Event:
    """Return the event with this ``number``."""
    if number % every:
        price = Decimal(number)
        return Event(
            _ACCOUNT,
            MarketQuote(
                contract_id=f"CON.{number % (2 * CONTRACTS)}",
                bid=price,
                ask=price,
                last=price,
                timestamp=_NOW,
            ),
        )
    return Event(
        _ACCOUNT,
        GatewayUserTrade(
            id=due,
            contract_id="CON.TRADE",
            profit_and_loss=Decimal("-45.50"),
            quantity=number,
            execution_time=_NOW,
            timestamp=_NOW,
        ),
    )


class Source(LineOnlyReceiver):
    """Broadcast what standard input asks for."""

    delimiter = b"\n"

    def __init__(self, engine: EngineService, port: int, signals: Signals) -> None:
        self._broadcast = engine._broadcast
        self._port = port
        self._signals = signals
        self._number = 0

    def connectionMade(self) -> None:
        self.sendLine(b"%d" % self._port)

    def lineReceived(self, line: bytes) -> None:
        rate, count, every = map(int, line.split())
        Deferred.fromCoroutine(self._emit(rate, count, every)).addErrback(
            lambda failure: failure.printTraceback()
        )

    async def _emit(self, rate: int, count: int, every: int) -> None:
        begun = time.monotonic_ns()
        first = self._number
        while self._number < first + count:
            wanted = (time.monotonic_ns() - begun) * rate // 1_000_000_000
            while self._number < first + min(wanted, count):
                due = begun + (self._number - first) * 1_000_000_000 // rate
                self._broadcast(numbered(self._number, due, every))
                self._number += 1
            await deferLater(reactor, _TURN_SECONDS)

    def connectionLost(self, reason: object = None) -> None:
        self._signals.stop("end of input")


def main(directory: Path) -> None:
    """Run until standard input ends."""
    engine, port, signals = start_still_daemon(reactor, 0, directory)
    engine.started.addCallback(lambda _: StandardIO(Source(engine, port, signals)))
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
