"""Closing one position, and locks until a configured time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.rules.closing import close_position, lock_until
from riskd.rules.interface import Flatten, Lock
from riskd.rules.settings import LockoutUntil
from tests.support.rules import MNQ, RESET, position, review, state_after


class ClosingTests(SynchronousTestCase):
    def test_one_position_is_closed_and_the_others_are_not_touched(self) -> None:
        (held,) = state_after(position(MNQ, 2)).open_positions
        self.assertEqual(close_position(held, "why"), Flatten(reason="why", keep={MNQ: 0}))

    def test_the_broker_may_be_asked_first(self) -> None:
        (held,) = state_after(position(MNQ, 2)).open_positions
        self.assertTrue(close_position(held, "why", asks_broker_first=True).asks_broker_first)

    def test_a_lock_ends_at_the_next_reset_or_never(self) -> None:
        self.assertEqual(lock_until(LockoutUntil.DAILY_RESET, review()), Lock(until=RESET))
        self.assertEqual(lock_until(LockoutUntil.PERMANENT, review()), Lock(until=None))
