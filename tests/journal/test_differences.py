"""Statements from one state to the next."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.differences import differences
from riskd.model.account import AccountState, RiskState, with_risk
from tests.support.journal import log_entry


class Untouchable:
    """Stands in for a value that must not be inspected."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        if self is other:
            raise AssertionError("compared with itself")
        return NotImplemented

    def __iter__(self) -> Any:
        raise AssertionError("iterated")


class DifferencesTests(SynchronousTestCase):
    """A write inspects only what has changed."""

    def test_shared_parts_of_two_states_are_not_inspected(self) -> None:
        # To hash, compare or iterate one of these fails.
        touchy: Any = Untouchable()
        unseen = AccountState(
            account_id=123,
            contracts=touchy,
            positions=touchy,
            orders=touchy,
            trades=touchy,
            quotes=touchy,
            lockouts=touchy,
            enforcement=(touchy,),
            limits=touchy,
            risk=RiskState(memory=touchy, charges=touchy, log=(touchy,)),
        )
        after = msgspec.structs.replace(unseen, trade_count=1)
        ((sql, _values),) = differences(unseen, after)
        self.assertIn("INTO accounts", sql)

    def test_of_a_state_that_was_written_nothing_is_inspected(self) -> None:
        state: Any = Untouchable()
        self.assertEqual(differences(state, state), [])

    def test_new_log_entries_are_found_without_hashing_the_others(self) -> None:
        touchy: Any = Untouchable()
        before = AccountState(account_id=123, risk=RiskState(log=(touchy, log_entry(1))))
        for log in ((touchy, log_entry(1), log_entry(2)), (log_entry(1), log_entry(2))):
            (statement,) = differences(before, with_risk(before, log=log))
            ((*_others, data),) = statement[1]
            self.assertEqual(data, log_entry(2).data)
