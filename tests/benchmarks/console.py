"""The CPU cost of one console, and the time from an event to its screen.

A real console runs on a pseudo-terminal, with a real daemon that broadcasts 60 and then 1,000 events a second;
three of each second's events are trades, the rest are quotes of ten contracts.  Before that nothing happens.  A client that
drops what it receives gets the same events after that: its cost is the least that a console on Autobahn can have.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from typing import Final

from riskd.testing import DaemonHarness
from tests.benchmarks.outcome import Options, Outcome, percentile, show_progress
from tests.benchmarks.process_counts import cpu_seconds
from tests.benchmarks.processes import Process
from tests.support.pseudo_terminal import PseudoTerminal

TRADES_A_SECOND: Final = 3
CONTRACTS: Final = tuple(
    f"CON.F.US.MNQ.{month}{year}" for year in (25, 26, 27) for month in "HMUZ"
)[:10]
RATES: Final = (60, 1000)

CPU: Final = "CPU, %"
P50: Final = "p50, ms"
P99: Final = "p99, ms"
WORST: Final = "worst, ms"
FIGURES: Final = (CPU, P50, P99, WORST)
_LIMITS: Final = {
    0: {CPU: 0.3},
    60: {CPU: 2.0, P50: 3.0, P99: 8.0},
    1000: {CPU: 15.0, P99: 10.0},
}
"""By events a second."""

_TABLE: Final = "from a trade to the screen"
_BARE_TABLE: Final = "a client that drops all events"


def benchmark(options: Options) -> Outcome:
    """Measure a console at rest and at each rate."""
    seconds = options.seconds_or(30.0, 5.0)
    outcome = Outcome(tables={_TABLE: {one: {} for one in FIGURES}, _BARE_TABLE: {CPU: {}}})
    for number in range(options.rounds_or(5, 1)):
        show_progress(f"round {number + 1}")
        for table, rate, figures in measure(seconds):
            for name, value in figures.items():
                outcome.add(table, name, _load(rate), value)
    for rate, limits in _LIMITS.items():
        for name, limit in limits.items():
            value = outcome.median(_TABLE, name, _load(rate))
            outcome.judge(f"{name}, {_load(rate)}", value, "<", limit)
    return outcome


def _load(rate: int) -> str:
    return f"{rate:,} events/s" if rate else "idle"


def measure(seconds: float) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Yield the table and the rate of figures; 0 is a daemon with nothing to say."""
    with DaemonHarness() as daemon:
        trades = count()
        with closing(Watched(120, 40)) as terminal:
            url = f"ws://localhost:{daemon.port}"
            terminal.start("123", "--url", url, "--state", str(daemon.state))
            terminal.wait_for(" LIVE ")
            yield _TABLE, 0, {CPU: rest(terminal, seconds)}
            for rate in RATES:
                figures = load(
                    terminal,
                    rate,
                    seconds,
                    lambda: show_trade(daemon, terminal, next(trades)),
                    lambda number: send_quote(daemon, number),
                )
                yield _TABLE, rate, figures
        with Process("bare_client", str(daemon.port), core=None) as client:
            pid = client.answer()["pid"]
            for rate in RATES:
                yield _BARE_TABLE, rate, {CPU: drop(daemon, pid, trades, rate, seconds)}


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
    pid = terminal.process.pid
    cpu, began = cpu_seconds(pid), time.monotonic()
    while time.monotonic() < began + seconds:
        terminal.read(0.1)
    return 100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - began)


def load(
    terminal: Watched,
    rate: int,
    seconds: float,
    show: Callable[[], float],
    send: Callable[[int], None],
) -> dict[str, float]:
    """Broadcast ``rate`` events a second; return the figures of the console.

    :param show: broadcasts an event and returns the seconds until it was on the terminal; called
        :data:`TRADES_A_SECOND` times a second.
    :param send: broadcasts one of the other events, given its number.
    """
    delays: list[float] = []
    pid = terminal.process.pid
    cpu, began = cpu_seconds(pid), time.monotonic()
    for number, is_trade in paced(rate, seconds):
        if is_trade:
            delays.append(1000 * show())
        else:
            send(number)
        terminal.drain()
    share = 100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - began)
    return {
        CPU: share,
        P50: percentile(delays, 0.5),
        P99: percentile(delays, 0.99),
        WORST: max(delays),
    }


def paced(rate: int, seconds: float) -> Iterator[tuple[int, bool]]:
    """Yield the number of each event when it is due, and whether it is one of the trades."""
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        yield number, number % (rate // TRADES_A_SECOND) == 0
        ahead = began + (number + 1) / rate - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)


def drop(
    daemon: DaemonHarness, pid: int, trades: Iterator[int], rate: int, seconds: float
) -> float:
    """Broadcast ``rate`` events a second; return the CPU share of the client that drops them."""
    cpu, began = cpu_seconds(pid), time.monotonic()
    for number, is_trade in paced(rate, seconds):
        if is_trade:
            send_trade(daemon, next(trades))
        else:
            send_quote(daemon, number)
    return 100 * (cpu_seconds(pid) - cpu) / (time.monotonic() - began)


def send_quote(daemon: DaemonHarness, number: int) -> None:
    """Broadcast a quote of one of the contracts, in turn."""
    quote = {"contractId": CONTRACTS[number % len(CONTRACTS)], "last": 20000 + number % 999}
    daemon.trigger_test_event("MarketQuote", quote)


def send_trade(daemon: DaemonHarness, number: int) -> None:
    """Broadcast a trade, each of another profit."""
    daemon.trigger_test_event("GatewayUserTrade", {"id": number, "profitAndLoss": number + 1})


def show_trade(daemon: DaemonHarness, terminal: Watched, number: int) -> float:
    """Broadcast a trade; return the seconds until it was on the terminal."""
    said = f"Trade +${number + 1:,}.00"
    began = time.perf_counter()
    send_trade(daemon, number)
    # Emulating the screen takes longer than the console's draw, so it is looked at only once more was written.
    while not terminal.read(1) or said not in terminal.shown:
        pass
    return terminal.written_at - began
