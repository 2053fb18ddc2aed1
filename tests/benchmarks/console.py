"""How long an event takes from the daemon to the trader's screen.

Run as ``python -m tests.benchmarks.console [SECONDS]``.  A real daemon sends 60 events a second to a real
``trader-console`` in a pseudo-terminal: quotes, and five times a second a trade, which must be seen at
once.  A trade's time begins when the daemon is given it and ends when its amount has been written to the
terminal.  How long quotes wait is not measured: they are drawn at most ten times a second.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import closing
from decimal import Decimal
from typing import Final

from riskd.testing import DaemonHarness
from tests.benchmarks.goals import print_goal, show
from tests.benchmarks.receiver import percentiles
from tests.integration.test_console import Terminal
from trader.text import money

EVENTS_A_SECOND: Final = 60
_TRADE_EVERY: Final = 12
_LIMIT_MS: Final = 10.0
_DEADLINE_SECONDS: Final = 10.0
_TICK: Final = Decimal("0.25")
_PRICE: Final = Decimal(21000)


class RawTerminal(Terminal):
    """A terminal that keeps what was written and draws nothing: that would take longer than the console."""

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        self.written += os.read(self._master, 65536)
        return True

    def saw(self, words: str, until: float) -> bool:
        """Read until ``words`` were written, but no longer than until a moment; tell whether they were."""
        while words.encode() not in self.written:
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._read(left)
        return True


def measure(seconds: float) -> list[float]:
    """Return how many milliseconds each trade took to the screen."""
    waits: list[float] = []
    with DaemonHarness() as daemon, closing(RawTerminal()) as terminal:
        url = f"ws://localhost:{daemon.port}"
        terminal.start("123", "--url", url, "--state", str(daemon.state))
        if not terminal.saw("LIVE", time.monotonic() + _DEADLINE_SECONDS):
            raise RuntimeError("the console did not connect")
        begun = time.monotonic()
        for number in range(round(seconds * EVENTS_A_SECOND)):
            due = begun + number / EVENTS_A_SECOND
            while (left := due - time.monotonic()) > 0:
                terminal._read(left)
            if number % _TRADE_EVERY:
                daemon.trigger_test_event("MarketQuote", {"last": _PRICE + _TICK * (number % 7)})
            else:
                waits.append(1000 * _wait_of_trade(daemon, terminal, number))
    return waits


def _wait_of_trade(daemon: DaemonHarness, terminal: RawTerminal, number: int) -> float:
    terminal.written = b""
    loss = -Decimal(1_000_00 + number) / 100
    sent = time.monotonic()
    daemon.trigger_test_event("GatewayUserTrade", {"profitAndLoss": loss})
    if not terminal.saw(money(loss), sent + _DEADLINE_SECONDS):
        raise RuntimeError(f"a trade of {loss} was never seen")
    return time.monotonic() - sent


def main(seconds: float) -> dict[str, float]:
    """Measure, print the table, and return it."""
    waits = measure(seconds)
    figures = percentiles(waits)
    show(f"{len(waits)} trades among {EVENTS_A_SECOND} events/s, from the daemon to the screen")
    show(f"p50 {figures['p50']:.2f} ms, p99 {figures['p99']:.2f} ms, at most {max(waits):.2f} ms")
    print_goal("p99, ms", figures["p99"], "<", _LIMIT_MS, figures["p99"] < _LIMIT_MS)
    return figures


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
