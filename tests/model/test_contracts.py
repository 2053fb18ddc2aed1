"""Contracts by the table of products."""

from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.contracts import PRODUCTS, known_contract


class KnownContractTests(SynchronousTestCase):
    """The table of products."""

    def test_the_product_code_is_not_the_ticker(self) -> None:
        contract = known_contract("CON.F.US.EP.U25")
        assert contract is not None
        self.assertEqual((contract.name, contract.root), ("ESU5", "ES"))
        self.assertEqual(
            (contract.tick_size, contract.tick_value), (Decimal("0.25"), Decimal("12.50"))
        )

    def test_micros_and_minis_are_different_products(self) -> None:
        for code, root, tick_value in (("MNQ", "MNQ", "0.50"), ("ENQ", "NQ", "5.00")):
            contract = known_contract(f"CON.F.US.{code}.Z26")
            assert contract is not None
            self.assertEqual((contract.root, str(contract.tick_value)), (root, tick_value))

    def test_unknown_products_have_no_contract(self) -> None:
        for contract_id in (
            "",
            "MNQ",
            "CON.F.US.XYZ.Z26",
            "CON.F.US.MNQ.A26",
            "CON.F.US.MNQ.Z2026",
        ):
            self.assertIsNone(known_contract(contract_id))

    def test_prices_have_the_decimal_places_of_a_tick(self) -> None:
        for code, places in (("MNQ", 2), ("M2K", 2), ("MYM", 0), ("JY6", 7)):
            contract = known_contract(f"CON.F.US.{code}.Z26")
            assert contract is not None
            self.assertEqual(contract.price_places, places)

    def test_every_product_is_under_its_own_code(self) -> None:
        self.assertEqual([product.code for product in PRODUCTS.values()], list(PRODUCTS))
