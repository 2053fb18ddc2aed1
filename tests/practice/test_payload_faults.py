"""What is wrong in events and answers."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import Faults
from riskd.gateway.fields import Payload
from riskd.gateway.targets import ACCOUNT, ORDER, QUOTE, TRADE
from riskd.model.money import is_on_tick, to_cents
from riskd.practice.fault_injection import FaultInjector
from riskd.practice.payload_faults import PayloadFaults
from riskd.practice.records import Message, Quote
from tests.support.practice_gateway import MNQ, START
from tests.support.swarm import some_faults

TICK = Decimal("0.25")
READS = ("Order/searchOpen", "Order/search", "Order/searchById")


def order() -> Payload:
    return {"id": 1, "status": 1, "updateTimestamp": START.isoformat()}


def trade(pnl: str | None = None) -> Payload:
    payload: Payload = {"id": 2, "fees": Decimal("0.37")}
    return payload if pnl is None else {**payload, "profitAndLoss": Decimal(pnl)}


class PayloadFaultsTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.set_seed(1)

    def set_seed(self, seed: int) -> None:
        self.injector = FaultInjector(Faults(), Random(seed))
        self.faults = PayloadFaults(self.injector, Random(seed))
        self.seconds = 0.0

    def inject(self, **faults: Any) -> None:
        self.injector.faults = Faults(**faults)

    def event(self, target: str, payload: Payload) -> Payload:
        ((sent, contract_id, changed),) = self.faults.events(
            Message(target, None, payload), self.seconds
        )
        self.assertEqual((sent, contract_id), (target, None))
        return changed

    def quote(self, bid: str, contract_id: str = MNQ) -> list[Payload]:
        """Return what is sent for a quote, whose last trade was at the bid."""
        low = Decimal(bid)
        at = START + timedelta(seconds=self.seconds)
        payload = Quote(low, low + TICK, low).payload("F.US.MNQ", at)
        sent = self.faults.events(Message(QUOTE, contract_id, payload), self.seconds)
        self.assertTrue(all(message.contract_id == contract_id for message in sent))
        return [message.payload for message in sent]


class StampTests(PayloadFaultsTestCase):
    """Stamps of orders."""

    def test_without_faults_payloads_pass_as_they_are(self) -> None:
        for target, payload in ((ORDER, order()), (TRADE, trade("5.00")), (ACCOUNT, {"id": 1})):
            self.assertIs(self.event(target, payload), payload)
            for request in (*READS, "Trade/search", "Account/search", "Position/searchOpen"):
                self.assertEqual(self.faults.answer(request, [payload]), [payload])
                self.assertEqual(self.faults.answer(request, payload), payload)

    def test_an_event_leaves_a_null_stamp_out_and_a_search_has_it(self) -> None:
        payload = order()
        self.inject(events_without_stamp=1.0)
        self.assertNotIn("updateTimestamp", self.event(ORDER, payload))
        self.assertEqual(self.faults.answer("Order/search", [payload]), [payload])
        self.inject(searches_without_stamp=1.0)
        self.assertEqual(self.event(ORDER, payload), payload)
        for request in READS:
            (found,) = self.faults.answer(request, [payload])
            self.assertIsNone(found["updateTimestamp"], request)
        self.assertIsNone(self.faults.answer("Order/searchById", payload)["updateTimestamp"])
        self.assertEqual(payload, order(), "the exchange's own payload is unchanged")

    def test_only_some_lack_it_by_chance(self) -> None:
        self.inject(events_without_stamp=0.3, searches_without_stamp=0.3)
        events = Counter("updateTimestamp" in self.event(ORDER, order()) for _ in range(1000))
        self.assertTrue(200 < events[False] < 400, events)
        found = self.faults.answer("Order/search", [order() for _ in range(1000)])
        nulls = sum(each["updateTimestamp"] is None for each in found)
        self.assertTrue(200 < nulls < 400, nulls)


class NoiseTests(PayloadFaultsTestCase):
    """P&L with the digits of a double."""

    def test_a_noisy_pnl_is_not_the_amount_and_rounds_to_it(self) -> None:
        self.inject(binary_noise=1.0)
        for amount in ("-250.00", "0.01", "555.00", "0.00", "-98765.43"):
            for _ in range(10):
                for noisy in (
                    self.event(TRADE, trade(amount)),
                    self.faults.answer("Trade/search", [trade(amount)])[0],
                ):
                    pnl = noisy["profitAndLoss"]
                    self.assertNotEqual(pnl, Decimal(amount))
                    self.assertEqual(to_cents(pnl), Decimal(amount))

    def test_an_opening_trade_has_no_pnl_at_all(self) -> None:
        self.inject(binary_noise=1.0)
        self.assertEqual(self.event(TRADE, trade()), trade())

    @given(st.decimals(-(10**6), 10**6, places=2, allow_nan=False))
    def test_any_amount_rounds_to_itself(self, amount: Decimal) -> None:
        self.inject(binary_noise=1.0)
        noisy = self.event(TRADE, trade(str(amount)))["profitAndLoss"]
        self.assertNotEqual(noisy, amount)
        self.assertEqual(to_cents(noisy), to_cents(amount))
        self.assertTrue(len(noisy.as_tuple().digits) <= 17)


class QuoteTests(PayloadFaultsTestCase):
    """Quotes that are old, wrong or missing."""

    def test_a_quote_passes_as_it_is(self) -> None:
        (sent,) = self.quote("21000")
        self.assertEqual((sent["bestBid"], sent["lastPrice"]), (21000, 21000))

    def test_an_older_quote_is_sent_again_with_its_own_time(self) -> None:
        (first,) = self.quote("21000")
        self.inject(repeated_quotes=1.0)
        self.seconds = 9.0
        new, old = self.quote("21100")
        self.assertEqual((new["lastPrice"], old), (21100, first))
        self.assertTrue(old["timestamp"] < new["timestamp"])

    def test_there_is_nothing_older_to_repeat_at_first(self) -> None:
        self.inject(repeated_quotes=1.0)
        self.assertEqual(len(self.quote("21000")), 1)
        self.assertEqual(len(self.quote("5000", "another contract")), 1)
        self.assertEqual(len(self.quote("21000.25")), 2)

    def test_an_old_stamp_is_from_10_s_to_10_min_old(self) -> None:
        self.inject(old_quote_stamps=1.0)
        ages = []
        for _ in range(200):
            (sent,) = self.quote("21000")
            self.assertEqual(sent["timestamp"], sent["lastUpdated"])
            ages.append((START - datetime.fromisoformat(sent["timestamp"])).total_seconds())
        self.assertTrue(10 <= min(ages) < 30, ages)
        self.assertTrue(570 < max(ages) <= 600, ages)

    def test_a_last_price_of_zero_leaves_bid_and_ask(self) -> None:
        self.inject(zero_last_prices=1.0)
        (sent,) = self.quote("21000")
        self.assertEqual(
            (sent["lastPrice"], sent["bestBid"], sent["bestAsk"]), (0, 21000, 21000 + TICK)
        )

    def test_a_wild_last_price_is_far_off_and_on_a_tick(self) -> None:
        self.inject(wild_last_prices=1.0)
        for bid in ("21000", "0.25", "0", "-37.50"):
            directions = set()
            for _ in range(50):
                (sent,) = self.quote(bid)
                away = sent["lastPrice"] - Decimal(bid)
                self.assertTrue(abs(away) >= max(50, abs(Decimal(bid)) * Decimal("0.049")), sent)
                self.assertTrue(is_on_tick(sent["lastPrice"], TICK), sent)
                self.assertEqual(sent["bestBid"], Decimal(bid))
                directions.add(away > 0)
            self.assertEqual(directions, {True, False})

    def test_quotes_of_all_contracts_stop_for_a_time(self) -> None:
        self.inject(quote_freezes=1.0, freeze_seconds=60.0)
        self.assertEqual(len(self.quote("21000")), 1)
        for contract_id in (MNQ, "another contract"):
            self.assertEqual(self.quote("21001", contract_id), [])
        self.seconds = 30.0
        self.assertEqual(self.quote("21001"), [])
        self.assertTrue(self.faults.are_quotes_frozen(59.9))
        self.seconds = 60.0
        self.assertFalse(self.faults.are_quotes_frozen(60.0))
        self.assertEqual(len(self.quote("21002")), 1)
        self.assertEqual(self.quote("21003"), [])

    def test_healing_ends_a_freeze(self) -> None:
        self.inject(quote_freezes=1.0)
        self.quote("21000")
        self.inject()
        self.assertFalse(self.faults.are_quotes_frozen(0.0))
        self.assertEqual(len(self.quote("21001")), 1)

    def test_one_fault_does_not_change_the_sequence_of_another(self) -> None:
        def zeros(**more: Any) -> list[bool]:
            self.set_seed(3)
            self.inject(zero_last_prices=0.3, **more)
            return [self.quote("21000")[0]["lastPrice"] == 0 for _ in range(100)]

        self.assertEqual(zeros(), zeros(old_quote_stamps=0.5, repeated_quotes=0.5))


class SeedTests(PayloadFaultsTestCase):
    """The same seed gives the same faults."""

    @given(some_faults())
    def test_the_same_seed_gives_the_same_faults(self, faults: Faults) -> None:
        def sent() -> list[object]:
            self.set_seed(5)
            self.injector.faults = faults
            return [
                each
                for step in range(20)
                for each in (
                    self.quote(str(21000 + step)),
                    self.event(ORDER, order()),
                    self.event(TRADE, trade("-5.00")),
                    self.faults.answer("Order/search", [order()]),
                )
            ]

        self.assertEqual(sent(), sent())
