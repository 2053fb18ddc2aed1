"""The CPU cost of a console that shows 200 accounts, and the time from an event to its screen.

A real console runs on a pseudo-terminal, with a real daemon of 200 accounts, each of which holds a contract.  500 events a
second are broadcast; three of them change the position of the account in the first row, the others are quotes of the
accounts in turn.
"""

from __future__ import annotations

import time
from contextlib import closing
from itertools import count
from typing import Final

from riskd.testing import DaemonHarness
from tests.benchmarks.accounts_daemon import ACCOUNTS
from tests.benchmarks.console import CPU, FIGURES, P99, Watched, load, rest
from tests.benchmarks.outcome import Options, Outcome, show_progress

RATE: Final = 500

_TABLE: Final = "200 accounts, from an event to the screen"
_LOAD: Final = f"{RATE} events/s"
_GOALS: Final = {CPU: 12.0, P99: 10.0}


def benchmark(options: Options) -> Outcome:
    """Measure a console of all accounts at rest and under load."""
    seconds = options.seconds_or(30.0, 5.0)
    outcome = Outcome(tables={_TABLE: {one: {} for one in FIGURES}})
    for number in range(options.rounds_or(5, 1)):
        show_progress(f"round {number + 1}")
        idle, figures = measure(seconds)
        outcome.add(_TABLE, CPU, "idle", idle)
        for name, value in figures.items():
            outcome.add(_TABLE, name, _LOAD, value)
    for name, limit in _GOALS.items():
        outcome.judge(f"{name}, {_LOAD}", outcome.median(_TABLE, name, _LOAD), "<", limit)
    return outcome


class ManyAccounts(DaemonHarness):
    """The daemon of :mod:`tests.benchmarks.accounts_daemon`."""

    _module = "tests.benchmarks.accounts_daemon"

    def start(self) -> None:
        """Start it, and let each account hold a contract."""
        super().start()
        for number in ACCOUNTS:
            self.trigger_test_event("GatewayUserPosition", {"accountId": number, "size": 1})


def measure(seconds: float) -> tuple[float, dict[str, float]]:
    """Return the CPU share at rest, and the figures under load."""
    with ManyAccounts() as daemon, closing(Watched(120, 40)) as terminal:
        terminal.start("--url", f"ws://localhost:{daemon.port}", "--state", str(daemon.state))
        terminal.wait_for(" LIVE ", f"{len(ACCOUNTS)} accounts")
        # By name, so that the first row stays the first.
        terminal.press("o")
        terminal.wait_for("by name")
        idle = rest(terminal, seconds)
        sizes = count(100)
        return idle, load(
            terminal,
            RATE,
            seconds,
            lambda: _show_position(daemon, terminal, next(sizes)),
            lambda number: _send_quote(daemon, number),
        )


def _send_quote(daemon: DaemonHarness, number: int) -> None:
    """Broadcast a quote of one of the accounts, in turn."""
    quote = {"accountId": ACCOUNTS[number % len(ACCOUNTS)], "last": 20000 + number % 999}
    daemon.trigger_test_event("MarketQuote", quote)


def _show_position(daemon: DaemonHarness, terminal: Watched, size: int) -> float:
    """Change the position of the first account; return the seconds until it was on the terminal."""
    began = time.perf_counter()
    daemon.trigger_test_event("GatewayUserPosition", {"accountId": ACCOUNTS[0], "size": size})
    row = f"> {ACCOUNTS[0]} "
    while not terminal.read(1) or not any(
        line.startswith(row) and f" {size} " in line for line in terminal.rows
    ):
        pass
    return terminal.written_at - began
