"""Bars made of prices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.server.bar import Bar
from riskd.practice.server.bars import KEPT, UNIT_SECONDS, Chart
from tests import examples

MNQ = "CON.F.US.MNQ.H26"
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
        for minute in range(KEPT[60] + 10):
            chart.add("MNQ", Decimal(minute), START + timedelta(minutes=minute))
        seconds, minutes = list(chart.bars("MNQ", 1, 1)), list(chart.bars("MNQ", 2, 1))
        self.assertEqual((len(seconds), len(minutes)), (KEPT[1], KEPT[60]))
        self.assertEqual((minutes[0].close, minutes[-1].close), (KEPT[60] + 9, 10))


class HistoryTests(SynchronousTestCase):
    """The bars of the days before the first quote."""

    def chart(self, seconds: int = 0) -> Chart:
        """Return a chart with two prices, from this many seconds after the start on."""
        chart = Chart()
        for moment, price in ((0, 21000), (1, 21001)):
            chart.add(MNQ, Decimal(price), START + timedelta(seconds=seconds + moment))
        return chart

    def test_there_are_bars_of_each_unit_at_once(self) -> None:
        chart = self.chart()
        for unit, number, least in (
            (1, 1, 1800),
            (2, 1, 7200),
            (2, 5, 1440),
            (3, 1, 1440),
            (4, 1, 60),
        ):
            self.assertGreaterEqual(len(list(chart.bars(MNQ, unit, number))), least)

    # A history is dear, and has the bars of each unit.
    @settings(max_examples=examples(5))
    @given(st.integers(0, 90_000))
    def test_they_go_on_without_a_gap_up_to_the_quotes(self, seconds: int) -> None:
        chart = self.chart(seconds)
        for unit in ((1, 7), (2, 1), (2, 5), (3, 1), (4, 1)):
            self.check(list(chart.bars(MNQ, *unit)), unit, seconds)

    def check(self, bars: list[Bar], unit: tuple[int, int], seconds: int) -> None:
        period = UNIT_SECONDS[unit[0]] * unit[1]
        self.assertEqual(bars[0].close, 21001)
        pairs = list(pairwise(bars))
        self.assertEqual({newer.start - older.start for newer, older in pairs}, {period})
        first = int(START.timestamp()) + seconds
        gaps = [pair for pair in pairs if pair[0].start <= first and pair[0].open != pair[1].close]
        self.assertEqual(gaps, [])
        tick = Decimal("0.25")
        wrong = [
            bar
            for bar in bars
            if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
            or bar.low % tick
        ]
        self.assertEqual(wrong, [])

    def test_longer_bars_are_made_of_shorter_ones(self) -> None:
        chart = self.chart(1234)
        minutes, hours = list(chart.bars(MNQ, 2, 60)), list(chart.bars(MNQ, 3, 1))
        # The oldest one has fewer minutes.
        self.assertEqual(minutes[:-1], hours[: len(minutes) - 1])
        self.assertGreater(len(minutes), 100)

    def test_the_same_beginning_has_the_same_history(self) -> None:
        bars = list(self.chart().bars(MNQ, 2, 1))
        self.assertEqual(list(self.chart().bars(MNQ, 2, 1)), bars)
        self.assertNotEqual(list(self.chart(60).bars(MNQ, 2, 1))[5:9], bars[4:8])

    def test_quotes_go_on_after_a_look_at_the_history(self) -> None:
        chart = self.chart()
        list(chart.bars(MNQ, 2, 1))
        chart.add(MNQ, Decimal(21002), START + timedelta(minutes=1))
        newest, before, *_ = chart.bars(MNQ, 2, 1)
        self.assertEqual((newest.open, before.close), (21002, 21001))

    def test_after_a_long_run_no_gap_is_filled_with_history(self) -> None:
        chart = self.chart()
        for second in range(KEPT[1] + 10):
            chart.add(MNQ, Decimal(21001), START + timedelta(seconds=2 + second))
        bars = list(chart.bars(MNQ, 1, 1))
        self.assertEqual({bar.close for bar in bars}, {Decimal(21001)})
        self.assertEqual(len(list(chart.bars(MNQ, 2, 1))), KEPT[60])
