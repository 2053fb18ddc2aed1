"""The practice market: its contracts and their prices."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.contracts import PRODUCTS, Contract
from riskd.model.money import is_on_tick
from riskd.practice.market import LISTINGS, STEP_SECONDS, Market, front_contract
from riskd.practice.records import Quote
from tests import examples

TODAY = date(2026, 3, 2)
MONTH_CODES = "FGHJKMNQUVXZ"

seeds = st.integers(min_value=0, max_value=2**32)


def walk(seed: int, steps: int) -> list[tuple[str, Quote]]:
    """Return the opening quotes of a market and those of so many steps."""
    market = Market(Random(seed), TODAY)
    quotes = list(market.opening())
    for _ in range(steps):
        quotes.extend(market.step())
    return quotes


class Downhill(Random):
    """Random numbers that let every price fall by a thousand ticks a step."""

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return -1000.0


class WalkTests(SynchronousTestCase):
    """Prices, step by step."""

    def test_the_same_seed_gives_the_same_walk(self) -> None:
        self.assertEqual(walk(7, 200), walk(7, 200))

    def test_another_seed_gives_another_walk(self) -> None:
        self.assertNotEqual(walk(7, 200), walk(8, 200))

    def test_each_contract_walks_by_itself(self) -> None:
        """MNQ and NQ open about the same and do not move in step."""
        bids: dict[str, list[Decimal]] = {}
        for contract_id, quote in walk(7, 200):
            bids.setdefault(contract_id.split(".")[3], []).append(quote.bid)
        self.assertNotEqual(bids["MNQ"][:50], bids["ENQ"][:50])

    def test_the_opening_quotes_every_contract_once_near_its_price(self) -> None:
        market = Market(Random(7), TODAY)
        opening = dict(market.opening())
        self.assertEqual(list(opening), [contract.id for contract in market.contracts])
        for listing, quote in zip(LISTINGS, opening.values(), strict=True):
            self.assertTrue(abs(quote.bid / listing.opening - 1) < Decimal("0.02"), listing.code)

    @given(seeds)
    @settings(max_examples=examples(15), deadline=None)
    def test_every_quote_is_a_tick_wide_on_tick_and_above_zero(self, seed: int) -> None:
        market = Market(Random(seed), TODAY)
        contracts = {contract.id: contract for contract in market.contracts}
        for contract_id, quote in walk(seed, 200):
            tick = contracts[contract_id].tick_size
            self.assertTrue(0 < quote.bid < quote.ask, quote)
            self.assertEqual(quote.ask - quote.bid, tick)
            self.assertTrue(is_on_tick(quote.bid, tick), quote)
            self.assertIn(quote.last, (quote.bid, quote.ask))

    def test_the_last_trade_is_at_the_bid_or_the_ask(self) -> None:
        sides = Counter(quote.last == quote.ask for _id, quote in walk(7, 200))
        self.assertTrue(min(sides[True], sides[False]) > 0.4 * sides.total(), sides)

    def test_each_contract_is_quoted_one_to_four_times_a_second(self) -> None:
        """On average over ten minutes."""
        seconds = 600
        market = Market(Random(7), TODAY)
        counts = Counter(
            contract_id
            for _ in range(int(seconds / STEP_SECONDS))
            for contract_id, _quote in market.step()
        )
        self.assertEqual(set(counts), {contract.id for contract in market.contracts})
        for contract_id, count in counts.items():
            self.assertTrue(1 <= count / seconds <= 4, (contract_id, count / seconds))

    def test_prices_move_both_ways_and_sometimes_by_more_than_a_tick(self) -> None:
        bids: dict[str, list[Decimal]] = {}
        for contract_id, quote in walk(7, 400):
            bids.setdefault(contract_id, []).append(quote.bid)
        for contract in Market(Random(7), TODAY).contracts:
            walked = bids[contract.id]
            moves = [after - before for before, after in pairwise(walked)]
            self.assertTrue(min(moves) < -contract.tick_size, contract.name)
            self.assertTrue(max(moves) > contract.tick_size, contract.name)

    def test_prices_fall_no_further_than_half_of_the_opening_price(self) -> None:
        """Even there they are on tick, with room below for stops."""
        market = Market(Downhill(7), TODAY)
        ticks = {contract.id: contract.tick_size for contract in market.contracts}
        lowest = dict(market.opening())
        for _ in range(200):
            lowest.update(market.step())
        for listing, (contract_id, quote) in zip(LISTINGS, lowest.items(), strict=True):
            self.assertEqual(quote.bid, listing.opening / 2)
            self.assertTrue(is_on_tick(quote.bid, ticks[contract_id]))

    def test_a_market_that_was_moved_below_its_floor_goes_on_from_there(self) -> None:
        """Through zero, as crude oil did."""
        market = Market(Downhill(7), TODAY)
        (crude,) = market.listed({"MCL"})
        for price in (Decimal("0.03"), Decimal(0), Decimal("-37.63")):
            market.resume({crude.id: price})
            self.assertEqual(dict(market.opening())[crude.id].bid, price)
        while crude.id not in (moved := dict(market.step())):
            continue
        self.assertTrue(moved[crude.id].bid < Decimal("-37.63"))
        self.assertTrue(is_on_tick(moved[crude.id].bid, crude.tick_size))

    def test_every_contract_has_a_fee_in_cents(self) -> None:
        market = Market(Random(7), TODAY)
        self.assertEqual(set(market.fees), {contract.id for contract in market.contracts})
        for fee in market.fees.values():
            self.assertTrue(fee > 0)
            self.assertTrue(is_on_tick(fee, Decimal("0.01")))

    def test_the_contracts_of_the_default_accounts_are_listed(self) -> None:
        listed = {contract.root for contract in Market(Random(7), TODAY).contracts}
        self.assertEqual(listed, {"MNQ", "NQ", "MES", "ES", "M2K", "MCL", "MGC"})


def month_of(contract: Contract) -> tuple[int, int]:
    """Return the year and the month in a contract's id."""
    code, year = contract.id[-3], contract.id[-2:]
    return 2000 + int(year), MONTH_CODES.index(code) + 1


class FrontContractTests(SynchronousTestCase):
    """The front contract of a product."""

    def test_front_contracts_of_some_days(self) -> None:
        for code, today, contract_id, name in (
            ("MNQ", date(2026, 2, 28), "CON.F.US.MNQ.H26", "MNQH6"),
            ("MNQ", date(2026, 3, 1), "CON.F.US.MNQ.M26", "MNQM6"),
            ("EP", date(2026, 12, 31), "CON.F.US.EP.H27", "ESH7"),
            ("MGC", date(2026, 8, 15), "CON.F.US.MGC.V26", "MGCV6"),
            ("MCLE", date(2026, 11, 30), "CON.F.US.MCLE.F27", "MCLF7"),
            ("MNQ", date(2029, 12, 15), "CON.F.US.MNQ.H30", "MNQH0"),
        ):
            contract = front_contract(code, today)
            self.assertEqual((contract.id, contract.name), (contract_id, name), (code, today))

    def test_the_front_month_is_listed_and_begins_after_today(self) -> None:
        for code, product in PRODUCTS.items():
            for ahead in range(400):
                today = TODAY + timedelta(days=ahead)
                contract = front_contract(code, today)
                year, month = month_of(contract)
                self.assertIn(MONTH_CODES[month - 1], product.months)
                days = (date(year, month, 1) - today).days
                # Three months, as from the first of March to the first of June, is the longest way.
                self.assertTrue(0 < days <= 92, (contract.id, today))

    def test_the_front_contract_of_crude_oil_still_trades(self) -> None:
        """It stops three trading days before the 25th of the month before its own."""
        for code in ("CLE", "MCLE"):
            for ahead in range(400):
                today = TODAY + timedelta(days=ahead)
                year, month = month_of(front_contract(code, today))
                last_of_month_before = date(year, month, 1) - timedelta(days=1)
                self.assertTrue(today < last_of_month_before.replace(day=15), (code, today))
