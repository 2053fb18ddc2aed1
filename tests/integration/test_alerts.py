"""``trader-alerts`` with the real programs: what is heard when riskd dies, and when it is back.

``python -m tests.alert_rounds`` also stops riskd, its gateway and the network, as often as one likes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.alert_rounds import Stage
from tests.integration.alerts_program import Sink
from trader.alerts.heartbeat import fetcher


@pytest_twisted.async_yield_fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, has_broker=False)
    yield made
    await made.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.close()


@pytest_twisted.ensureDeferred
async def test_a_killed_daemon_is_heard_of_in_time_and_so_is_its_return(stage: Stage) -> None:
    await stage.start_daemon()
    await stage.start_alerts()
    await stage.kill_daemon()
    await stage.end_alerts()


@pytest_twisted.ensureDeferred
async def test_the_heartbeat_url_is_fetched(sink: Sink) -> None:
    fetch = fetcher(reactor, sink.heartbeat_url)
    assert await fetch() == 200
    assert len(sink.beats) == 1
