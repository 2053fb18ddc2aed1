"""Bars made of prices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.server.bars import MAX_MINUTES, MAX_SECONDS, UNIT_SECONDS, Bar, Chart

START = datetime(2026, 3, 2, tzinfo=UTC)
moves = st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 50)), min_size=1, max_size=40)


class ChartTests(SynchronousTestCase):
    def test_a_contract_without_quotes_has_no_bars(self) -> None:
        self.assertEqual(list(Chart().bars("MNQ", 2, 1)), [])

    def test_contracts_are_kept_apart(self) -> None:
        chart = Chart()
        chart.add("MNQ", Decimal(5), START)
        chart.add("MES", Decimal(7), START)
        (bar,) = chart.bars("MNQ", 1, 1)
        self.assertEqual((bar.open, bar.close), (5, 5))

    @given(moves, st.sampled_from(sorted(UNIT_SECONDS)), st.integers(1, 7))
    def test_bars_hold_the_prices_of_each_stretch(
        self, steps: list[tuple[int, int]], unit: int, number: int
    ) -> None:
        chart = Chart()
        at = START
        prices: dict[int, list[Decimal]] = {}
        period = UNIT_SECONDS[unit] * number
        for seconds, price in steps:
            at += timedelta(seconds=seconds)
            chart.add("MNQ", Decimal(price), at)
            moment = int(at.timestamp())
            prices.setdefault(moment - moment % period, []).append(Decimal(price))
        expected = [
            Bar(start, each[0], max(each), min(each), each[-1], len(each))
            for start, each in reversed(prices.items())
        ]
        found = list(chart.bars("MNQ", unit, number))
        self.assertEqual(found, expected)

    def test_a_clock_that_is_set_back_adds_to_the_last_bar(self) -> None:
        chart = Chart()
        chart.add("MNQ", Decimal(5), START)
        chart.add("MNQ", Decimal(6), START - timedelta(hours=1))
        (bar,) = chart.bars("MNQ", 2, 1)
        self.assertEqual((bar.start, bar.close, bar.volume), (int(START.timestamp()), 6, 2))

    def test_the_oldest_bars_are_forgotten(self) -> None:
        chart = Chart()
        for minute in range(MAX_MINUTES + 10):
            chart.add("MNQ", Decimal(minute), START + timedelta(minutes=minute))
        seconds, minutes = list(chart.bars("MNQ", 1, 1)), list(chart.bars("MNQ", 2, 1))
        self.assertEqual((len(seconds), len(minutes)), (MAX_SECONDS, MAX_MINUTES))
        self.assertEqual((minutes[0].close, minutes[-1].close), (MAX_MINUTES + 9, 10))
