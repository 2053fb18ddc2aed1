"""Waiting for a condition, never for a number of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.task import deferLater

DEADLINE_SECONDS = 60
"""When a test gives up.  A busy machine may take long; only a test that fails waits this long."""

POLL_SECONDS = 0.01

MAX_STEPS = 10_000
"""When a test on a clock of its own gives up."""


async def until(condition: Callable[[], object]) -> None:
    """Run the reactor until ``condition`` holds.

    :raises AssertionError: the condition does not hold within the deadline.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        await deferLater(reactor, POLL_SECONDS)


def wait_until(condition: Callable[[], object]) -> None:
    """Block until ``condition`` holds, in tests without a reactor.

    :raises AssertionError: the condition does not hold within the deadline.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(POLL_SECONDS)


def step_until(condition: Callable[[], object], step: Callable[[], object] = lambda: None) -> None:
    """Take steps until ``condition`` holds, in tests on a clock of their own.

    :raises AssertionError: the condition does not hold after very many steps.
    """
    for _ in range(MAX_STEPS):
        if condition():
            return
        step()
    raise AssertionError("the condition did not hold in time")
