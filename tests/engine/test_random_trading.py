"""Random courses of trading, faults and clocks; see :mod:`tests.random_trading`."""

from __future__ import annotations

from hypothesis import settings

from tests.random_trading import COURSE, RandomTrading

RandomTradingTests = RandomTrading.TestCase
RandomTradingTests.settings = settings(COURSE, max_examples=50)
