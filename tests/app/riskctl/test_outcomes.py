"""What riskctl says of a command's outcome: what is so, and what is not or not known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.outcomes import (
    NotSoError,
    flatten_sentence,
    floor_sentence,
    lock_sentence,
    unlock_sentence,
)
from riskd.control.protocol import Outcome
from riskd.control.reporting import report_account
from riskd.control.reports import FlatteningReport, FlattenReport
from riskd.host.errors import UserError
from riskd.model.account import AccountState, apply
from riskd.model.events import Event, LockoutSet
from tests.support.control import NOW, order, position

LOCK = LockoutSet(reason="lunch", locked_until=None, rule_id="OPERATOR", locked_at=NOW)
FULL = "database or disk is full"
DONE = FlattenReport(closed=2, canceled=1)


def outcome(*events: Any, **fields: Any) -> Outcome:
    """Return the outcome of a command whose change is on the disk, unless ``fields`` say something else."""
    state = AccountState(account_id=123)
    for each in events:
        state = apply(state, Event(123, each))
    fields = {"was_locked": False, "unwritten": "", **fields}
    return Outcome(account=report_account(state, NOW), **fields)


class OutcomeTests(SynchronousTestCase):
    def doubts(self, say: Any, given: Outcome, *more: str) -> tuple[str, ...]:
        """Return what is so, and what is not."""
        return self.assertRaises(NotSoError, say, given, *more).problems

    def test_a_lock_on_the_disk_of_a_flat_account(self) -> None:
        self.assertEqual(
            lock_sentence(outcome(LOCK, flattened=DONE)),
            "account 123 was flattened (2 positions closed, 1 order canceled) and is locked until it is unlocked",
        )

    def test_a_lock_that_is_not_on_the_disk_holds_in_memory(self) -> None:
        so, lost = self.doubts(lock_sentence, outcome(LOCK, flattened=DONE, unwritten=FULL))
        self.assertIn("is locked until it is unlocked", so)
        self.assertEqual(
            lost,
            "the lock is NOT ON THE DISK (database or disk is full): it holds while riskd runs, and is forgotten if "
            "riskd ends before the disk takes it; riskd tries again every second",
        )

    def test_a_lock_of_an_account_that_the_broker_has_not_confirmed_as_flat(self) -> None:
        so, open_ = self.doubts(lock_sentence, outcome(LOCK, position(), order(1)))
        self.assertEqual(so, "account 123 is locked until it is unlocked")
        self.assertIn("NOT CONFIRMED within 4 seconds that account 123 is flat", open_)
        self.assertIn("it has 1 position and 1 order open; riskd keeps trying", open_)

    def test_a_lock_that_is_over(self) -> None:
        (sentence,) = self.doubts(lock_sentence, outcome(flattened=DONE))
        self.assertEqual(sentence, "account 123 is not locked any more")

    def test_a_flatten(self) -> None:
        for closed, canceled, done in (
            (2, 1, "2 positions closed, 1 order canceled"),
            (1, 0, "1 position closed"),
            (0, 2, "2 orders canceled"),
            (0, 0, "there was nothing to close or cancel"),
        ):
            flattened = FlattenReport(closed=closed, canceled=canceled)
            self.assertEqual(
                flatten_sentence(outcome(flattened=flattened)),
                f"account 123 was flattened ({done})",
            )

    def test_a_flatten_that_is_not_confirmed_names_what_is_wrong_with_the_daemon(self) -> None:
        so, unknown = self.doubts(flatten_sentence, outcome(trouble="The gateway is gone"))
        self.assertEqual(so, "account 123 is being flattened")
        self.assertIn("riskd knows of nothing open", unknown)
        self.assertIn("riskd reports: The gateway is gone", unknown)

    def test_a_flatten_that_the_journal_does_not_have(self) -> None:
        so, lost = self.doubts(flatten_sentence, outcome(flattened=DONE, unwritten=FULL))
        self.assertIn("was flattened", so)
        self.assertIn("the record of it is NOT ON THE DISK", lost)

    def test_an_unlock(self) -> None:
        unlocked = outcome(was_locked=True)
        self.assertEqual(unlock_sentence(unlocked), "account 123 is unlocked")
        error = self.assertRaises(UserError, unlock_sentence, outcome())
        self.assertEqual(str(error), "account 123 is not locked")
        self.assertNotIsInstance(error, NotSoError)

    def test_an_unlock_names_the_flatten_that_goes_on(self) -> None:
        plan = FlatteningReport(rule_id="OPERATOR", reason="lunch", begun=NOW)
        unlocked = outcome(was_locked=True)
        account = msgspec.structs.replace(unlocked.account, flattening=plan)
        self.assertEqual(
            unlock_sentence(msgspec.structs.replace(unlocked, account=account)),
            "account 123 is unlocked; riskd goes on closing what it held (lunch)",
        )

    def test_an_unlock_that_is_not_on_the_disk(self) -> None:
        so, lost = self.doubts(unlock_sentence, outcome(was_locked=True, unwritten=FULL))
        self.assertEqual(so, "account 123 is unlocked")
        self.assertIn("the unlock is NOT ON THE DISK", lost)

    def test_an_account_that_a_rule_locks_again_is_not_said_to_be_unlocked(self) -> None:
        lock = msgspec.structs.replace(LOCK, rule_id="RULE-003", reason="loss")
        so, again = self.doubts(unlock_sentence, outcome(lock, was_locked=True))
        self.assertEqual(so, "account 123 was unlocked")
        self.assertEqual(
            again, "account 123 is locked again until it is unlocked by RULE-003: loss"
        )

    def test_a_floor(self) -> None:
        taken = outcome(floor_before=Decimal(49000))
        figure = "account 123: the floor is $48,500.00 by the firm's figure"
        self.assertEqual(floor_sentence(taken, "$48,500.00"), f"{figure} (it was $49,000.00)")
        so, lost = self.doubts(floor_sentence, outcome(unwritten=FULL), "$48,500.00")
        self.assertEqual(so, figure)
        self.assertIn("the floor is NOT ON THE DISK", lost)

    def test_a_floor_at_which_riskd_acts_reports_that_as_a_lock_does(self) -> None:
        lock = msgspec.structs.replace(LOCK, rule_id="RULE-014")
        done = floor_sentence(outcome(lock, flattened=DONE), "$60,000.00")
        self.assertTrue(
            done.endswith(
                "; the account was flattened (2 positions closed, 1 order canceled) and is locked until "
                "it is unlocked by RULE-014"
            )
        )
        so, unknown = self.doubts(floor_sentence, outcome(lock), "$60,000.00")
        self.assertIn("; the account is locked until it is unlocked by RULE-014", so)
        self.assertIn("NOT CONFIRMED", unknown)

    def test_an_earlier_riskd_does_not_say_what_is_on_the_disk(self) -> None:
        for say in (lock_sentence, flatten_sentence, unlock_sentence):
            given = outcome(flattened=DONE, unwritten=None, was_locked=True)
            if say is lock_sentence:
                given = outcome(LOCK, flattened=DONE, unwritten=None)
            *_, unknown = self.doubts(say, given)
            self.assertIn("is not known: the riskd that runs is of an earlier version", unknown)

    @given(
        unwritten=st.none() | st.sampled_from(["", FULL]),
        flattened=st.none()
        | st.builds(FlattenReport, closed=st.integers(0, 3), canceled=st.integers(0, 3)),
        is_locked=st.booleans(),
    )
    def test_no_sentence_claims_what_is_not_known(
        self, unwritten: str | None, flattened: FlattenReport | None, *, is_locked: bool
    ) -> None:
        """Without an error all of it is so: locked, on the disk, and confirmed."""
        events = [LOCK] if is_locked else []
        given = outcome(*events, unwritten=unwritten, flattened=flattened, was_locked=True)
        is_sure = unwritten == ""
        for say, is_so in (
            (lock_sentence, is_sure and is_locked and flattened is not None),
            (flatten_sentence, is_sure and flattened is not None),
            (unlock_sentence, is_sure and not is_locked),
        ):
            try:
                say(given)
            except NotSoError:
                self.assertFalse(is_so)
            else:
                self.assertTrue(is_so)
