"""``trader-alerts`` as a user starts it: what it sends, also when riskd dies or hangs.

This is the short form of ``python -m tests.alert_rounds``, in which the gateway and the network die, too.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from riskd.testing import DaemonHarness
from tests.integration.alerts_program import (
    HEARD_WITHIN_SECONDS,
    PASSWORD,
    AlertsProgram,
    Sink,
)
from tests.support.waiting import wait_until
from trader.alerts.heartbeat import fetcher


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@pytest.fixture
def program(harness: DaemonHarness, sink: Sink, tmp_path: Path) -> Iterator[AlertsProgram]:
    """Start the program for one of the daemon's accounts."""
    settings = tmp_path / "alerts.toml"
    settings.write_text('[words]\nlockout = "No trades for {account}: {reason}"\n')
    daemon = ("--url", f"ws://localhost:{harness.port}", "--state", str(harness.state))
    started = AlertsProgram(
        tmp_path / "log", "--config", str(settings), "--target", sink.target, *daemon, "456"
    )
    yield started
    started.process.kill()
    started.process.wait()
    for words in ("Traceback", PASSWORD):
        assert words not in started.log


def test_news_and_the_death_of_riskd_are_heard_of(
    program: AlertsProgram, harness: DaemonHarness, sink: Sink
) -> None:
    wait_until(lambda: "started of 456: watched from now on" in program.log)
    for account in (123, 456):
        for kind, more in (
            ("enforcement_action", {"reason": "6 > 5\x1b[2J"}),
            ("lockout_set", {"reason": "enough"}),
            ("daily_reset", {"previous_pnl": -150.50, "previous_trade_count": 12}),
        ):
            harness.trigger_test_event(kind, {"accountId": account, **more})
    wait_until(lambda: sink.heard("the trading day has ended: realized -$150.50 in 12 trades"))
    assert sink.heard("account 456 (PRACTICE): watched from now on")
    assert sink.heard("account 456 (PRACTICE): ENFORCED: close positions", r"6 > 5\x1b[2J")
    assert sink.heard("No trades for 456: enough")
    assert not any("123" in line for line in sink.lines)

    since = time.monotonic()
    harness.kill()
    wait_until(lambda: sink.heard("riskd is GONE", since=since))
    assert time.monotonic() - since < HEARD_WITHIN_SECONDS
    harness.start()
    wait_until(lambda: sink.heard("riskd is back, after", since=since))

    since = time.monotonic()
    assert harness._process is not None
    harness._process.send_signal(signal.SIGSTOP)
    wait_until(lambda: sink.heard("riskd is GONE", "has not answered for 3 s", since=since))
    assert time.monotonic() - since < HEARD_WITHIN_SECONDS
    assert program.end() == 0
    # That the program itself ends is no news of riskd.
    assert len([line for line in sink.lines if "GONE" in line]) == 2


@pytest_twisted.ensureDeferred
async def test_the_heartbeat_url_is_fetched(sink: Sink) -> None:
    fetch = fetcher(reactor, sink.heartbeat_url)
    assert await fetch() == 200
    assert len(sink.beats) == 1
