"""The CPU cost of one console, and the time from an event to its screen.

A real console runs on a pseudo-terminal, with a real daemon that broadcasts 60 and then 1,000 events a second;
three of each second's events are trades, the rest are quotes of ten contracts.  Before that nothing happens.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from riskd.testing import DaemonHarness
from tests.benchmarks.outcome import Options, Outcome, percentile, show_progress
from tests.support.pseudo_terminal import PseudoTerminal

TRADES_A_SECOND: Final = 3
CONTRACTS: Final = tuple(
    f"CON.F.US.MNQ.{month}{year}" for year in (25, 26, 27) for month in "HMUZ"
)[:10]
RATES: Final = (60, 1000)

_CPU: Final = "CPU, %"
_P50: Final = "p50, ms"
_P99: Final = "p99, ms"
_WORST: Final = "worst, ms"
_LIMITS: Final = {
    0: {_CPU: 0.3},
    60: {_CPU: 2.0, _P50: 3.0, _P99: 8.0},
    1000: {_CPU: 15.0, _P99: 10.0},
}
"""By events a second."""

_TABLE: Final = "from a trade to the screen"


def benchmark(options: Options) -> Outcome:
    """Measure a console at rest and at each rate."""
    seconds = options.seconds_or(30.0, 5.0)
    outcome = Outcome(tables={_TABLE: {one: {} for one in (_CPU, _P50, _P99, _WORST)}})
    for number in range(options.rounds_or(3, 1)):
        show_progress(f"round {number + 1}")
        for rate, figures in measure(seconds):
            for name, value in figures.items():
                outcome.add(_TABLE, name, _load(rate), value)
    for rate, limits in _LIMITS.items():
        for name, limit in limits.items():
            value = outcome.median(_TABLE, name, _load(rate))
            outcome.judge(f"{name}, {_load(rate)}", value, "<", limit)
    return outcome


def _load(rate: int) -> str:
    return f"{rate:,} events/s" if rate else "idle"


def measure(seconds: float) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield each rate with its figures; 0 is a daemon with nothing to say."""
    with DaemonHarness() as daemon, closing(Watched(120, 40)) as terminal:
        url = f"ws://localhost:{daemon.port}"
        terminal.start("123", "--url", url, "--state", str(daemon.state))
        terminal.wait_for(" LIVE ")
        yield 0, {_CPU: rest(terminal, seconds)}
        trades = iter(range(10**6))
        for rate in RATES:
            delays, share = run(daemon, terminal, rate, seconds, trades)
            milliseconds = [1000 * delay for delay in delays]
            yield (
                rate,
                {
                    _CPU: share,
                    _P50: percentile(milliseconds, 0.5),
                    _P99: percentile(milliseconds, 0.99),
                    _WORST: max(milliseconds),
                },
            )


class Watched(PseudoTerminal):
    """A terminal that notes when the console last wrote to it."""

    written_at = 0.0

    def read(self, seconds: float) -> bool:
        """Show the output of the next ``seconds``; return whether there was any."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        # Emulating the screen takes this process longer than writing it took the console.
        self.written_at = time.perf_counter()
        return super().read(0)


def rest(terminal: Watched, seconds: float) -> float:
    """Return the CPU share of a console to which nothing happens."""
    cpu, began = cpu_seconds(terminal), time.monotonic()
    while time.monotonic() < began + seconds:
        terminal.read(0.1)
    return 100 * (cpu_seconds(terminal) - cpu) / (time.monotonic() - began)


def run(
    daemon: DaemonHarness, terminal: Watched, rate: int, seconds: float, trades: Iterator[int]
) -> tuple[list[float], float]:
    """Broadcast ``rate`` events a second; return trade delays and CPU share."""
    delays: list[float] = []
    cpu, began = cpu_seconds(terminal), time.monotonic()
    count = int(rate * seconds)
    for number in range(count):
        if number % (rate // TRADES_A_SECOND) == 0:
            delays.append(show_trade(daemon, terminal, next(trades)))
        else:
            quote = {
                "contractId": CONTRACTS[number % len(CONTRACTS)],
                "last": 20000 + number % 999,
            }
            daemon.trigger_test_event("MarketQuote", quote)
        terminal.drain()
        ahead = began + (number + 1) / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
    return delays, 100 * (cpu_seconds(terminal) - cpu) / (time.monotonic() - began)


def show_trade(daemon: DaemonHarness, terminal: Watched, number: int) -> float:
    """Broadcast a trade; return the seconds until it was on the terminal."""
    said = f"Trade +${number + 1:,}.00"
    began = time.perf_counter()
    daemon.trigger_test_event("GatewayUserTrade", {"id": number, "profitAndLoss": number + 1})
    # Emulating the screen takes longer than the console's draw, so it is looked at only once more was written.
    while not terminal.read(1) or said not in terminal.shown:
        pass
    return terminal.written_at - began


def cpu_seconds(terminal: Watched) -> float:
    """Return the console's CPU seconds so far."""
    fields = Path(f"/proc/{terminal.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
