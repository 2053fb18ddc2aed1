"""The broker's corrections of trades."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import Faults
from riskd.gateway.fields import Payload
from riskd.practice.corrections import Corrections
from riskd.practice.fault_injection import FaultInjector
from riskd.practice.refusals import refusal


def trade(identifier: int, **fields: Any) -> Payload:
    return {"id": identifier, "accountId": 123, "fees": Decimal("0.37"), **fields}


class CorrectionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.set_seed(1)

    def set_seed(self, seed: int, **faults: Any) -> None:
        self.clock = Clock()
        self.done: list[tuple[int, Payload | None]] = []
        self.injector = FaultInjector(Faults(**faults), Random(seed))
        self.corrections = Corrections(self.clock, self.injector, Random(seed), self.correct)

    def correct(self, account_id: int, trade_id: int, changes: Payload | None) -> None:
        self.assertEqual(account_id, 123)
        self.done.append((trade_id, changes))

    def inject(self, **faults: Any) -> None:
        self.injector.faults = Faults(**faults)

    def test_without_faults_nothing_is_corrected(self) -> None:
        for number in range(1, 200):
            self.corrections.consider(trade(number))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_trade_is_voided_within_its_time(self) -> None:
        self.inject(voided_trades=1.0, correction_seconds=20.0)
        self.corrections.consider(trade(1))
        (call,) = self.clock.getDelayedCalls()
        self.assertTrue(0 < call.getTime() <= 20, call.getTime())
        self.clock.advance(20)
        self.assertEqual(self.done, [(1, None)])

    def test_an_amendment_changes_one_amount(self) -> None:
        self.inject(amended_trades=1.0)
        amounts = {"profitAndLoss": Decimal("-5.00"), "commissions": Decimal("0.25")}
        for number in range(1, 200):
            self.corrections.consider(trade(number, **amounts))
        self.clock.advance(30)
        self.assertEqual(len(self.done), 199)
        names = set()
        for _number, changes in self.done:
            assert changes is not None
            ((name, amount),) = changes.items()
            self.assertEqual(amount.as_tuple().exponent, -2)
            names.add(name)
        self.assertEqual(names, {"profitAndLoss", "fees", "commissions"})

    def test_an_opening_trade_gets_no_pnl(self) -> None:
        self.inject(amended_trades=1.0)
        for number in range(1, 100):
            self.corrections.consider(trade(number))
        self.clock.advance(30)
        self.assertEqual(len(self.done), 99)
        for _number, changes in self.done:
            assert changes is not None
            self.assertEqual(list(changes), ["fees"])
            self.assertTrue(changes["fees"] > Decimal("0.37"))

    def test_a_trade_is_considered_once(self) -> None:
        """The event of its correction is that of the same trade."""
        self.inject(voided_trades=1.0)
        self.corrections.consider(trade(5))
        self.corrections.consider(trade(5, voided=True))
        self.corrections.consider(trade(4))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_refused_correction_is_no_error(self) -> None:
        """A trade that is voided before it is amended, or long forgotten."""

        def refuse(_account: int, _trade: int, changes: Payload | None) -> None:
            raise refusal("Practice/voidTrade", "TradeVoided", str(changes))

        self.inject(voided_trades=1.0, amended_trades=1.0)
        corrections = Corrections(self.clock, self.injector, Random(1), refuse)
        corrections.consider(trade(1))
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        self.clock.advance(30)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_stop_corrects_nothing_any_more(self) -> None:
        self.inject(voided_trades=1.0, amended_trades=1.0)
        for number in range(1, 10):
            self.corrections.consider(trade(number))
        self.corrections.stop()
        self.assertEqual((self.clock.getDelayedCalls(), self.done), ([], []))
        self.corrections.stop()

    def test_the_same_seed_gives_the_same_corrections(self) -> None:
        def done(seed: int) -> list[tuple[int, Payload | None]]:
            self.set_seed(seed, voided_trades=0.3, amended_trades=0.3)
            for number in range(1, 100):
                self.corrections.consider(trade(number))
            self.clock.advance(30)
            return self.done

        self.assertEqual(done(1), done(1))
        self.assertNotEqual(done(1), done(2))
