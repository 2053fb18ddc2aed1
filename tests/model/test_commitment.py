"""A commitment among the limits in force."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, Limit
from riskd.model.commitment import (
    COMMITMENT,
    COMMITMENT_KEY,
    DAILY_RESET,
    Commitment,
    commitment_of,
    duration,
    is_sooner,
)


def state(text: str) -> AccountState:
    """Return an account with this text for its commitment."""
    return AccountState(account_id=1, limits={COMMITMENT: Limit(COMMITMENT_KEY, text)})


class CommitmentTests(SynchronousTestCase):
    def test_it_is_read_as_it_was_written(self) -> None:
        known = Commitment(loosen_after="8h")
        self.assertEqual(commitment_of(AccountState(account_id=1, limits=known.limits)), known)

    def test_without_a_row_there_is_none(self) -> None:
        self.assertEqual(commitment_of(AccountState(account_id=1)).terms, ())

    @given(st.text() | st.just('{"loosen_after":"soon"}') | st.just('{"loosen_after":8}'))
    def test_a_row_that_makes_no_sense_ends_none(self, text: str) -> None:
        terms = commitment_of(state(text)).terms
        for each in terms:
            duration(each)
        try:
            known = msgspec.json.decode(text, type=Commitment)
        except msgspec.MsgspecError:
            self.assertEqual(terms, (DAILY_RESET,))
        else:
            self.assertTrue(terms or not known.loosen_after)

    def test_from_a_term_that_makes_no_sense_any_change_loosens(self) -> None:
        self.assertTrue(is_sooner("8h", "soon"))
        self.assertTrue(is_sooner("", "soon"))
