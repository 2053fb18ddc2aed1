"""The journaled balance and that of a run that began without it, as one; results of executions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.values import read_balance
from riskd.model.balance import (
    Balance,
    FirmFloor,
    Result,
    after_firm_floor,
    merge_balances,
    result_of,
)
from tests.support.broker_values import broker_position, broker_trade

NOON = datetime(2026, 11, 23, 18, tzinfo=UTC)
KNOWN = Balance(
    agreed=Decimal(50000),
    payouts=Decimal(300),
    firm_floor=FirmFloor(
        amount=Decimal(48500), at=NOON, close=Decimal(50200), peak=Decimal(50300)
    ),
)


class FirmFloorTests(SynchronousTestCase):
    """The firm's figure for the floor."""

    def floor(self, since: Balance, known: Balance = KNOWN) -> FirmFloor:
        floor = merge_balances(known, since, is_same_day=True).firm_floor
        assert floor is not None
        return floor

    def test_it_is_kept_with_the_higher_of_its_highs(self) -> None:
        self.assertEqual(self.floor(Balance()), KNOWN.firm_floor)
        for close, peak in (("50100", "50200"), ("50400", "50500")):
            since = Balance(
                agreed=Decimal(50000), earlier_close=Decimal(close), peak=Decimal(peak)
            )
            merged = self.floor(since)
            self.assertEqual(
                (merged.amount, merged.close, merged.peak),
                (48500, max(Decimal(50200), Decimal(close)), max(Decimal(50300), Decimal(peak))),
            )

    def test_a_later_figure_takes_its_place(self) -> None:
        at = NOON + timedelta(hours=1)
        later = after_firm_floor(Balance(agreed=Decimal(50000)), Decimal(49000), at)
        floor = self.floor(later)
        self.assertEqual((floor.amount, floor.at, floor.payouts), (49000, at, 300))

    def test_it_remembers_the_payouts_until_then(self) -> None:
        floor = after_firm_floor(KNOWN, Decimal(48600), NOON).firm_floor
        self.assertEqual(floor, FirmFloor(amount=Decimal(48600), at=NOON, payouts=Decimal(300)))

    def test_one_that_is_no_number_is_not_read(self) -> None:
        text = msgspec.json.encode(KNOWN).decode()
        self.assertEqual(read_balance(text), KNOWN)
        for part in ("48500", "50300"):
            self.assertRaises(ValueError, read_balance, text.replace(part, "NaN"))


class ResultTests(SynchronousTestCase):
    """What an execution keeps for reports."""

    def opened_at(self, opened: float, known: Result | None = None, **trade: Any) -> Any:
        """Return when the position was opened that a trade at noon closed."""
        position = broker_position(at=NOON + timedelta(seconds=opened))
        execution = result_of(broker_trade(at=NOON, **trade), position, known).execution
        assert execution is not None
        return execution.opened_at

    def test_an_exit_has_the_beginning_of_its_position(self) -> None:
        self.assertEqual(self.opened_at(-30), NOON - timedelta(seconds=30))
        self.assertIsNone(self.opened_at(-30, is_full_turn=False))
        # By now the next position is open.
        self.assertIsNone(self.opened_at(5))

    def test_an_amendment_leaves_it(self) -> None:
        opened = broker_position(at=NOON - timedelta(seconds=30))
        known = result_of(broker_trade(at=NOON), opened, None)
        self.assertEqual(self.opened_at(5, known), NOON - timedelta(seconds=30))
