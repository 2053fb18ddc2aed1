"""Searching contracts."""

from __future__ import annotations

from datetime import date
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.account_store import AccountStore
from riskd.practice.market import Market
from riskd.practice.server.contract_search import MAX_FOUND, search

MARKET = Market(Random(1), date(2026, 3, 2))
CONTRACTS = AccountStore({}, MARKET.contracts, 1).contracts()


def found(text: str) -> list[str]:
    return [contract["name"] for contract in search(CONTRACTS, text)]


class SearchTests(SynchronousTestCase):
    def test_the_best_match_comes_first(self) -> None:
        """Clients take the first match, and some tickers are a part of others."""
        for text, name in (
            ("ES", "ESM6"),
            ("NQ", "NQM6"),
            ("MNQ", "MNQM6"),
            ("mnq", "MNQM6"),
            ("EP", "ESM6"),
            ("ENQ", "NQM6"),
            ("MCLE", "MCLK6"),
            ("ESM6", "ESM6"),
            ("CON.F.US.EP.M26", "ESM6"),
            ("F.US.MGC", "MGCJ6"),
            (" gold ", "MGCJ6"),
            ("micro nasdaq", "MNQM6"),
            ("e-mini russell", "M2KM6"),
        ):
            self.assertEqual(found(text)[0], name, text)

    def test_words_match_only_from_their_beginning(self) -> None:
        described = [{**contract, "description": "September"} for contract in CONTRACTS]
        names = [contract["name"] for contract in search(described, "EP")]
        self.assertEqual(names, ["ESM6"])

    def test_an_empty_text_finds_all_and_nonsense_nothing(self) -> None:
        self.assertEqual(len(found("")), len(CONTRACTS))
        for text in ("xyz", "-", "gold nasdaq"):
            self.assertEqual(found(text), [], text)

    def test_a_search_finds_at_most_twenty(self) -> None:
        many = [{**CONTRACTS[0], "id": f"CON.F.US.MNQ.{number}"} for number in range(50)]
        self.assertEqual(len(search(many, "MNQ")), MAX_FOUND)

    @given(st.text(max_size=12))
    def test_any_text_can_be_searched(self, text: str) -> None:
        self.assertTrue(set(found(text)) <= {contract["name"] for contract in CONTRACTS})
