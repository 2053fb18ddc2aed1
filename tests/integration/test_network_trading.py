"""A short round of random trading with the real programs; see :mod:`tests.network_trading`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.network_trading import NetworkCourse, ViolationError
from tests.support.undisciplined_trader import BUY

TRADING_SECONDS = 5
UNGUARDED_SECONDS = 2.0


@asynccontextmanager
async def course_in(directory: Path, **options: Any) -> AsyncIterator[NetworkCourse]:
    course = NetworkCourse(directory, 1, rules=(), offset=0.0, **options)
    try:
        await course.start()
        yield course
    finally:
        await course.clean_up()


@pytest_twisted.ensureDeferred
async def test_all_agree_after_a_round_with_a_lost_link_and_a_kill(state_home: Path) -> None:
    async with course_in(state_home) as course:
        await course.play(TRADING_SECONDS, is_disturbed=False)
        await course.suffer("cut", 0.5)
        await course.kill_riskd(0)
        await course.settle()
        assert course.counts["GatewayUserTrade"] > 0
        await course.stop()


@pytest_twisted.ensureDeferred
async def test_a_position_that_a_rule_forbids_is_found(state_home: Path) -> None:
    async with course_in(state_home, settings="enforce = false") as course:
        await course.trader.place(course.trader.mnq, BUY, 5)
        with pytest.raises(ViolationError, match="RULE-001"):
            await course.settle(UNGUARDED_SECONDS)
