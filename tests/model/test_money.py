"""Tick arithmetic, exact to the cent."""

from __future__ import annotations

from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.contracts import PRODUCTS, Product
from riskd.model.money import (
    is_on_tick,
    profit,
    round_down_to_tick,
    round_up_to_tick,
    to_cents,
    without_noise,
)

products = st.sampled_from(list(PRODUCTS.values()))
tick_counts = st.integers(min_value=-1_000_000, max_value=1_000_000)
sizes = st.integers(min_value=0, max_value=1000)


class ProfitTests(SynchronousTestCase):
    """The dollars between two prices."""

    def test_the_largest_numbers_of_the_wire_make_a_profit(self) -> None:
        most = Decimal("999999999999999")
        made = profit(
            side=1,
            size=2**53,
            entry=-most,
            exit_=most,
            tick_size=Decimal("1e-12"),
            tick_value=most,
        )
        self.assertEqual(made, 2 * int(most) ** 2 * 2**53 * 10**12)

    def test_worked_examples(self) -> None:
        for code, side, size, entry, exit_, dollars in (
            ("MNQ", 1, 2, "21000", "20925", "-300.00"),
            ("MNQ", 1, 2, "21000", "20700", "-1200.00"),
            ("ENQ", 1, 1, "21000", "21000.25", "5.00"),
            ("EP", -1, 1, "5800", "5780", "1000.00"),
            ("EP", 1, 2, "5800", "5797.50", "-250.00"),
            ("MCLE", -1, 3, "72.85", "72.80", "15.00"),
            ("JY6", 1, 1, "0.0066750", "0.0066755", "6.25"),
            ("MES", 1, 3, "5800.333333333", "5800.25", "-1.25"),
        ):
            product = PRODUCTS[code]
            made = profit(
                side=side,
                size=size,
                entry=Decimal(entry),
                exit_=Decimal(exit_),
                tick_size=product.tick_size,
                tick_value=product.tick_value,
            )
            self.assertEqual(str(made), dollars, (code, side, size, entry, exit_))

    @given(products, tick_counts, tick_counts, sizes)
    def test_a_short_position_makes_what_a_long_one_loses(
        self, product: Product, entry: int, exit_: int, size: int
    ) -> None:
        long, short = (
            profit(
                side=side,
                size=size,
                entry=entry * product.tick_size,
                exit_=exit_ * product.tick_size,
                tick_size=product.tick_size,
                tick_value=product.tick_value,
            )
            for side in (1, -1)
        )
        self.assertEqual(long, -short)

    @given(products, tick_counts, tick_counts, sizes)
    def test_prices_on_ticks_make_whole_tick_values(
        self, product: Product, entry: int, exit_: int, size: int
    ) -> None:
        made = profit(
            side=1,
            size=size,
            entry=entry * product.tick_size,
            exit_=exit_ * product.tick_size,
            tick_size=product.tick_size,
            tick_value=product.tick_value,
        )
        self.assertEqual(made, (exit_ - entry) * size * product.tick_value)

    def test_the_largest_price_and_size_of_the_wire_lose_no_digit(self) -> None:
        huge = Decimal("999999999999999.999999999999")
        product = PRODUCTS["JY6"]
        made = profit(
            side=1,
            size=2**53,
            entry=-huge,
            exit_=huge,
            tick_size=product.tick_size,
            tick_value=product.tick_value,
        )
        with localcontext(prec=60):
            self.assertEqual(made, to_cents(huge * 2 * 2**53 * 12500000))
        self.assertEqual(to_cents(made), made)


class RoundingTests(SynchronousTestCase):
    """Cents and ticks."""

    def test_half_a_cent_is_rounded_to_the_even_cent(self) -> None:
        self.assertEqual(str(to_cents(Decimal("0.125"))), "0.12")
        self.assertEqual(str(to_cents(Decimal("0.135"))), "0.14")
        self.assertEqual(str(to_cents(Decimal(-5))), "-5.00")

    def test_zero_has_no_sign(self) -> None:
        self.assertEqual(str(to_cents(Decimal("-0.001"))), "0.00")

    @given(products, st.decimals("-99999", "99999", places=9))
    def test_rounding_to_a_tick_stays_within_one(self, product: Product, price: Decimal) -> None:
        tick = product.tick_size
        down, up = round_down_to_tick(price, tick), round_up_to_tick(price, tick)
        self.assertTrue(is_on_tick(down, tick))
        self.assertTrue(is_on_tick(up, tick))
        self.assertTrue(price - tick < down <= price <= up < price + tick)

    def test_a_price_between_ticks_is_not_on_a_tick(self) -> None:
        self.assertFalse(is_on_tick(Decimal("5800.30"), Decimal("0.25")))
        self.assertTrue(is_on_tick(Decimal("5800.50"), Decimal("0.25")))


class NoiseTests(SynchronousTestCase):
    """Amounts that were computed in binary."""

    def test_an_amount_that_misses_a_cent_by_less_than_a_millionth_is_that_cent(self) -> None:
        for sent, meant in (
            ("-249.99999999999997", "-250.00"),
            ("-250.00000000000003", "-250.00"),
            ("0.30000000000000004", "0.30"),
            ("1.23000099999999999999", "1.23"),
            ("1.22999900000000000001", "1.23"),
            ("-0.0000009", "0.00"),
            ("1E-300", "0.00"),
        ):
            self.assertEqual(str(without_noise(Decimal(sent))), meant)

    def test_any_other_amount_is_kept_exactly(self) -> None:
        for sent in (
            "-250",
            "-45.5",
            "0.375",
            "1.230001",
            "1.229999",
            "1.2300011",
            "-0.000001",
            "0",
            "1E+20",
            "9E+40",
            "NaN",
            "-Infinity",
        ):
            self.assertEqual(str(without_noise(Decimal(sent))), sent)

    @given(st.integers(-(10**12), 10**12), st.integers(1, 3))
    def test_a_sum_of_cents_computed_in_binary_is_exact(self, cents: int, parts: int) -> None:
        noisy = Decimal(sum([cents / 100 / parts] * parts))
        self.assertEqual(
            without_noise(noisy) * 100 == cents, abs(noisy * 100 - cents) < Decimal("0.0001")
        )
