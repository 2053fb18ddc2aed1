"""The CPU cost of one console, and the time from an event to its screen.

Run as ``python -m tests.benchmarks.console [SECONDS]``.  A real console runs on a pseudo-terminal, with a real
daemon that broadcasts 60 and then 1,000 events a second; three of each second's
events are trades, the rest are quotes of ten contracts.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from riskd.testing import DaemonHarness
from tests.support.pseudo_terminal import PseudoTerminal

TRADES_A_SECOND: Final = 3
CONTRACTS: Final = tuple(
    f"CON.F.US.MNQ.{month}{year}" for year in (25, 26, 27) for month in "HMUZ"
)[:10]
AIM_MILLISECONDS: Final = 10.0
AIMS: Final = {60: 3.0, 1000: 15.0}
"""Per cent of a core, by events a second."""


def main(seconds: float) -> dict[str, float]:
    """Measure, print a line for each figure, and return them."""
    figures: dict[str, float] = {}
    with DaemonHarness() as daemon, closing(Watched(120, 40)) as terminal:
        url = f"ws://localhost:{daemon.port}"
        terminal.start("123", "--url", url, "--state", str(daemon.state))
        terminal.wait_for(" LIVE ")
        trades = iter(range(10**6))
        for rate, aim in AIMS.items():
            delays, share = run(daemon, terminal, rate, seconds, trades)
            say(f"console at {rate} events/s: CPU {share:.1f} % of a core (aim < {aim:.0f} %)")
            delays.sort()
            figures[f"cpu_percent@{rate}"] = share
            late = delays[int(len(delays) * 0.99)] * 1000
            middle = delays[len(delays) // 2] * 1000
            figures[f"p50_ms@{rate}"], figures[f"p99_ms@{rate}"] = middle, late
            say(
                f"  trade to changed screen: median {middle:.1f} ms, p99 {late:.1f} ms, "
                f"worst {delays[-1] * 1000:.1f} ms of {len(delays)} (aim p99 < {AIM_MILLISECONDS:.0f} ms)"
            )
    return figures


def say(line: str) -> None:
    """Print a figure."""
    print(line, flush=True)  # noqa: T201


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
    said = f"Trade +{number + 1:,}.00"
    began = time.perf_counter()
    daemon.trigger_test_event("GatewayUserTrade", {"id": number, "profitAndLoss": number + 1})
    while said not in terminal.shown:
        terminal.read(1)
    return terminal.written_at - began


def cpu_seconds(terminal: Watched) -> float:
    """Return the console's CPU seconds so far."""
    fields = Path(f"/proc/{terminal.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
