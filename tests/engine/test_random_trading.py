"""Random courses of trading, faults and clocks; see :mod:`tests.random_trading`."""

from __future__ import annotations

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.random_trading import COURSE, RandomTrading


def test_nothing_is_lost_on_random_courses() -> None:
    """A function: it takes minutes of a core, which one test runner is enough for."""
    run_state_machine_as_test(RandomTrading, settings=settings(COURSE, max_examples=10))
