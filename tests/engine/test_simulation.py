"""The simulator of trading days: some days of it, and that it would notice a fault.

The other days are played by hand; see docs/simulation.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from random import SystemRandom
from typing import Any

import msgspec
import pytest
from twisted.trial.unittest import SynchronousTestCase

import tests.simulation
from riskd.engine.balances import Balances
from riskd.engine.order_of_truth import OrderOfTruth
from riskd.model.balance import Balance, after_agreement
from riskd.rules.builtin import (
    cooldown_after_loss,
    max_contracts,
    maximum_loss,
    no_stop_loss_grace,
)
from tests.simulation.day import FIRST_WITH_BALANCES, RULES, Act, Result, plan_of, play
from tests.simulation.runs import failure_text, known_results, known_seeds, play_day, play_days
from tests.support.balance_oracle import BalanceOracle, Held
from tests.support.exchange_oracle import OF_STOPS, OF_TRADES
from tests.support.practice_daemon import BUY, MNQ

QUIET = 103
"""A short day, at a broker without a bad habit."""

FAILED = Path(tests.simulation.__file__).with_name("failed_seeds.txt")
CORES = min(os.cpu_count() or 1, 4)


def test_days_pass_without_a_violation(tmp_path: Path) -> None:
    """A function: it takes a minute on all cores, which one test runner is enough for."""
    fresh = SystemRandom().randrange(10**9, 10**10)
    print(f"a fresh day: python -m tests.simulation --seed {fresh}")  # noqa: T201
    digests: dict[int, str] = {}
    failures: list[str] = []
    for report in play_days([QUIET, *known_seeds(FAILED), fresh], CORES, seconds=20):
        result = report.result
        digests[result.seed] = result.digest
        if result.violation is not None:
            failures.append(failure_text(report))
        elif result.fills < 200 or result.quotes < 3000:
            failures.append(f"seed {result.seed}: {result.fills} fills, {result.quotes} quotes")
    assert not failures, "\n".join(failures)
    # A seed is the same day in another process, and a day in a file of progress is not played again.
    progress = tmp_path / "progress"
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(QUIET), "--days", "1"]
    command += ["--jobs", "1", "--progress", str(progress)]
    played = []
    for _ in range(2):
        written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "1 days, 0 with a violation" in written
        played.append(progress.read_bytes())
    assert played[0] == played[1]
    assert known_results(progress)[QUIET].digest == digests[QUIET]


class DaysTests(SynchronousTestCase):
    def test_the_days_have_all_tables_of_rules_quiet_and_bad_brokers_and_both_gateways(
        self,
    ) -> None:
        plans = [plan_of(seed) for seed in (QUIET, *known_seeds(FAILED))]
        self.assertLessEqual(set(RULES), {table for plan in plans for table in plan.rules})
        self.assertEqual({plan.is_networked for plan in plans}, {False, True})
        self.assertEqual({bool(plan.habits) for plan in plans}, {False, True})


def test_a_planted_fault_is_found_and_its_trace_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that sees no breach; a function, for the search of a short trace takes seconds."""
    monkeypatch.setattr(max_contracts, "_count", lambda _state, _settings: 0)
    seed = QUIET
    report = play_day(seed, enough=10)
    violation = report.result.violation
    assert violation is not None
    assert violation.kind == "held RULE-001"
    assert len(report.trace) < violation.at_act
    assert len(report.trace) <= 10
    again = play(plan_of(seed), report.trace).violation
    assert again is not None
    assert again.kind == violation.kind
    text = failure_text(report)
    assert f"seed {seed}: held RULE-001" in text
    assert "    trade_at_the_market(" in text


class BalanceTests(SynchronousTestCase):
    """Days that know balances, payouts and floors; on short ones, planted faults are found."""

    def play(self, *acts: Act) -> Result:
        plan = msgspec.structs.replace(
            plan_of(FIRST_WITH_BALANCES),
            rules=('[rules.maximum_loss]\ndrawdown = 600\ntrailing = "static"\n',),
            habits={},
            latency=0.08,
            jitter=0.0,
            offset=0.0,
            is_networked=False,
        )
        quiet = Act("wait", {"seconds": 160, "drift": 0})
        near = Act("refill", {"dollars": 150, "is_repeated": False})
        return play(plan, [quiet, near, *acts, Act("settle", {"is_quick": False})])

    def pay_out(self) -> Result:
        """Pay out while a position is held, until equity is $20 below the floor and its buffer."""
        return self.play(Act("pay_out_near", {"side": BUY, "cents": -2000, "seconds": 52}))

    def report_early(self) -> Result:
        """Report the balance after a loss, $40 above the floor, seconds before the trade that made it."""
        loss = {"rule_id": "RULE-014", "side": BUY, "cents": 4000, "seconds": 3}
        return self.play(Act("report_badly", {"what": "early", **loss}))

    def kind(self, result: Result) -> str:
        self.assertIsNotNone(result.violation)
        return "" if result.violation is None else result.violation.kind

    def test_earlier_days_are_as_they_were(self) -> None:
        for seed, knows in ((QUIET, False), (FIRST_WITH_BALANCES, True)):
            self.assertEqual(plan_of(seed).has_balances, knows)

    def test_a_payout_in_mid_session_ends_in_a_lock(self) -> None:
        result = self.pay_out()
        self.assertIsNone(result.violation)
        self.assertEqual(result.counts["lock RULE-014"], 1)

    def test_a_payout_that_counts_only_once_the_account_is_flat_is_found(self) -> None:
        self.patch(Balance, "counted", property(lambda balance: balance.expected))
        self.assertEqual(self.kind(self.pay_out()), "held RULE-014")

    def test_a_balance_before_its_trade_is_no_false_floor(self) -> None:
        result = self.report_early()
        self.assertIsNone(result.violation)
        self.assertNotIn("lock RULE-014", result.counts)

    def test_a_balance_that_is_believed_at_once_is_found(self) -> None:
        def believe(balances: Balances, figure: Decimal, _sent_at: object = None) -> None:
            known = balances._account.state.balance
            balances._change(after_agreement(known, figure, is_settled=True))

        self.patch(Balances, "reported", believe)
        self.assertIn("closed or canceled", self.kind(self.report_early()))

    def test_a_floor_that_follows_from_nothing_is_found(self) -> None:
        self.patch(maximum_loss, "floor_of", lambda _state, _settings: Decimal(49000))
        self.assertEqual(self.kind(self.play()), "floor")


class PartsTests(SynchronousTestCase):
    """What is known only by more than one order, fill or event; planted faults in it are found."""

    def play(self, table: str, act: str, arguments: dict[str, Any]) -> Result:
        plan = msgspec.structs.replace(
            plan_of(QUIET), rules=(table,), habits={}, offset=0.0, is_networked=False
        )
        # What riskd asks when it begins would show the fault.
        quiet = Act("wait", {"seconds": 20, "drift": 0})
        return play(plan, [quiet, Act(act, {"side": BUY, **arguments})])

    def protect_in_part(self) -> Result:
        return self.play(OF_STOPS, "protect_in_part", {"size": 3, "contract_id": MNQ})

    def lose_in_parts(self) -> Result:
        return self.play(OF_TRADES, "lose_in_parts", {"size": 2})

    def reverse_news(self) -> Result:
        return self.play(OF_STOPS, "reverse_news", {"size": 1, "seconds": 7})

    def test_riskd_passes(self) -> None:
        protected, lost = self.protect_in_part(), self.lose_in_parts()
        for result in (protected, lost, self.reverse_news()):
            self.assertIsNone(result.violation)
        self.assertEqual(protected.counts["CLOSE_ALL_POSITIONS RULE-008"], 1)
        self.assertEqual(lost.counts["lock RULE-007"], 1)

    def test_a_stop_that_counts_for_more_than_its_size_is_found(self) -> None:
        self.patch(no_stop_loss_grace, "protected_size", lambda _state, _position: 10)
        self.assert_found(self.protect_in_part(), "held RULE-008")

    def test_a_loss_that_is_one_fill_is_found(self) -> None:
        self.patch(cooldown_after_loss, "_key", lambda trade: ("", trade.id))
        self.assert_found(self.lose_in_parts(), "not locked RULE-007")

    def test_a_position_that_the_end_of_the_former_one_closes_is_found(self) -> None:
        self.patch(OrderOfTruth, "_accepts_end", lambda *_of: True)
        self.assert_found(self.reverse_news(), f"forgotten {MNQ}")

    def assert_found(self, result: Result, kind: str) -> None:
        self.assertIsNotNone(result.violation)
        self.assertEqual(result.violation and result.violation.kind, kind)


class FallTests(SynchronousTestCase):
    """Equity may fall after a breach by what the price moves before riskd can act, and no further."""

    def setUp(self) -> None:
        self.seconds, self.price, self.size = 0.0, Decimal(21000), 2
        self.oracle = BalanceOracle(self, {})
        self.oracle.grace = 2.0
        self.look(0, "20990")

    # What the oracle sees.

    def awake(self) -> float:
        return self.seconds

    def balance(self) -> Decimal:
        return Decimal(50000)

    def prices(self, _contract_id: str) -> tuple[Decimal, Decimal]:
        return self.price, self.price

    def held(self) -> tuple[Held, ...]:
        held = Held(MNQ, self.size, Decimal(21000), Decimal(2), Decimal("0.50"))
        return (held,) if self.size else ()

    def look(self, seconds: float, price: str) -> None:
        self.seconds, self.price = seconds, Decimal(price)
        self.oracle.look()
        self.oracle.follow_fall(is_breached=True)

    def test_a_fall_within_the_latency_is_none_of_riskds(self) -> None:
        self.look(1.5, "20900")
        self.size = 0
        self.look(3, "20800")
        self.assertIsNone(self.oracle.lost_more)

    def test_a_fall_after_it_is(self) -> None:
        self.look(1.5, "20990")
        self.look(3, "20987.50")
        self.assertIsNone(self.oracle.lost_more)
        self.look(4, "20987")
        # The exits of two contracts may cost $11.
        self.assertEqual(self.oracle.lost_more, (4, 12))

    def test_what_a_trader_adds_is_his(self) -> None:
        self.size = 3
        self.look(3, "20800")
        self.assertIsNone(self.oracle.lost_more)
