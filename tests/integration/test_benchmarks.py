"""The benchmark's machinery on a small load: it counts every event at every client."""

from __future__ import annotations

import pytest

from tests.benchmarks import growth, growth_daemon
from tests.benchmarks.peer import JOINED, POSITIONS, RISKD
from tests.benchmarks.processes import bench
from tests.support.waiting import wait_until

CLIENTS = 5


@pytest.mark.parametrize("name", [RISKD, POSITIONS, JOINED])
def test_every_event_arrives_and_is_counted_once(name: str) -> None:
    with bench(is_pinned=False) as stand, stand.server(name) as (server, port):
        receiver = stand.receiver
        receiver.ask("connect", port=port, clients=CLIENTS, sampled=CLIENTS)
        wait_until(lambda: server.ask("status")["clients"] == CLIENTS)
        receiver.ask("begin", hot=False)
        paced = server.ask("load", rate=100, burst=3, seconds=0.1)
        flood = server.ask("load", rate=0, burst=10, seconds=0.1)
        assert paced["events"] == 30
        assert flood["events"] >= 10
        # The last events are on their way.
        wait_until(lambda: receiver.ask("count")["frames"] >= CLIENTS * (30 + flood["events"]))
        got = receiver.ask("end")
        assert got["least"] == got["most"] == 30 + flood["events"]
        assert got["lost"] == 0
        # They carry no time stamp, so their ages are unknown.
        assert (got["p50"] is None) == (name == POSITIONS)
        receiver.ask("leave", clients=2)
        wait_until(lambda: server.ask("status")["clients"] == CLIENTS - 2)


@pytest.mark.parametrize("kind", list(growth.SIZES))
def test_a_daemon_of_each_kind_of_size_is_measured(kind: str) -> None:
    figures = growth_daemon.measure(kind, 3)
    assert set(figures) == set(growth.FIGURES)
    assert all(figures[name] > 0 for name in figures if name != growth_daemon.MEMORY), figures
