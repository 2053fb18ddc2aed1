"""Half a minute of the soak benchmark: no memory and no descriptor leaks."""

from __future__ import annotations

from tests.benchmarks.soak import EVENTS_A_SECOND, soak

SECONDS = 30
CLIENTS = 60


def test_memory_and_descriptors_are_flat_while_clients_come_and_go() -> None:
    soaked = soak(SECONDS, CLIENTS, is_pinned=False)
    assert soaked.events >= EVENTS_A_SECOND * SECONDS / 2
    assert soaked.is_flat, soaked
