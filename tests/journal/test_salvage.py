"""Saving locks and unfinished flattens from a damaged journal."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta

import msgspec

from riskd.journal.salvage import DAMAGE_RULE
from riskd.model.account import AccountState, RiskState, with_risk
from riskd.model.balance import Balance
from riskd.model.equity import with_lasting_closes
from tests.support.journal import (
    NOON,
    DamageTestCase,
    flattening,
    full_state,
    lock,
    write_version_1,
)


class SalvageTests(DamageTestCase):
    """Locks and flattens after the recovery."""

    def test_locks_that_a_flatten_was_about_to_set_are_in_force(self) -> None:
        locks = (lock("RULE-007", NOON + timedelta(hours=9)), lock("RULE-009"))
        state = with_risk(full_state(), flattening=flattening(*locks))
        self.damage(lambda content: content, state)
        self.forget_commits()
        self.open()
        self.assertIn("its lockouts were saved", self.recovery.problem)
        recovered = self.recovery.accounts[123]
        self.assertEqual(set(recovered.lockouts), {"RULE-003", "RULE-007", "RULE-009"})
        # Of two locks of a rule the longer one is in force.
        self.assertEqual(recovered.lockouts["RULE-007"], locks[0])
        self.assertEqual(recovered.risk, RiskState(flattening=flattening(*locks)))
        self.store = self.open()
        self.assertEqual(self.recovery.accounts[123], recovered)

    def test_a_lock_of_a_flatten_shortens_no_lock(self) -> None:
        locks = (lock("RULE-003", NOON), lock("RULE-007", NOON))
        state = with_risk(full_state(), flattening=flattening(*locks))
        self.damage(lambda content: content, state)
        self.forget_commits()
        self.open()
        self.assertEqual(self.recovery.accounts[123].lockouts, full_state().lockouts)

    def test_rows_that_are_deleted_from_a_journal_are_saved_from_the_copy(self) -> None:
        for table in ("lockouts", "limits"):
            self.write(full_state())
            self.store.publish()
            self.store.close()
            with closing(sqlite3.connect(self.journal, isolation_level=None)) as journal:
                journal.execute(f"DELETE FROM {table}")  # noqa: S608
            self.store = self.open()
            self.assertIn("is not what was published", self.recovery.problem)
            self.assertEqual(self.recovery.accounts[123].lockouts, full_state().lockouts)

    def test_of_an_older_journal_the_copy_has_the_newer_locks(self) -> None:
        older = msgspec.structs.replace(
            full_state(), lockouts={"RULE-003": lock("RULE-003", NOON + timedelta(hours=1))}
        )
        self.write(older)
        self.store.close()
        kept = self.journal.read_bytes()
        self.store = self.open()
        self.write(full_state())
        self.store.publish()
        self.store.close()
        self.journal.write_bytes(kept)
        self.store = self.open()
        self.assertIn("has lost what was published", self.recovery.problem)
        self.assertEqual(self.recovery.accounts[123].lockouts, full_state().lockouts)

    def test_a_flatten_of_an_account_without_locks_is_saved(self) -> None:
        state = with_risk(AccountState(account_id=789), flattening=flattening(lock("RULE-009")))
        self.damage(lambda content: content, state)
        self.forget_commits()
        self.open()
        self.assertEqual(set(self.recovery.accounts), {123, 456, 789})
        self.assertEqual(set(self.recovery.accounts[789].lockouts), {"RULE-009"})

    def test_a_flatten_that_cannot_be_read_does_not_cost_a_lock(self) -> None:
        self.damage(lambda content: content.replace(b'"begun"', b'"gebun"'))
        self.assert_locks_kept()
        self.assertEqual(self.recovery.accounts[123].risk, RiskState())

    def test_a_flatten_that_cannot_be_read_does_not_cost_another_one(self) -> None:
        others = [
            with_risk(AccountState(account_id=number), flattening=flattening(lock("RULE-009")))
            for number in (1, 456)
        ]
        self.write(*others)
        self.damage(lambda content: content)
        with closing(sqlite3.connect(self.journal, isolation_level=None)) as journal:
            journal.execute("UPDATE flattenings SET data = '{}' WHERE account_id = 1")
        self.forget_commits()
        self.open()
        self.assertEqual(set(self.recovery.accounts), {123, 456})
        self.assertEqual(set(self.recovery.accounts[456].lockouts), {"RULE-009"})

    def test_locks_in_a_damaged_journal_of_an_older_riskd_are_saved(self) -> None:
        self.store.close()
        for damage in (b"profitAndLoss", b"average"):
            with self.subTest(damage=damage):
                shutil.rmtree(self.directory)
                self.directory.mkdir()
                write_version_1(self.journal)
                content = self.journal.read_bytes()
                self.journal.write_bytes(content.replace(damage, damage[::-1]))
                self.store = self.open()
                self.assertIn("its lockouts were saved", self.recovery.problem)
                self.assertEqual(set(self.recovery.accounts[123].lockouts), {"RULE-003"})

    def test_balances_are_saved_without_what_they_include(self) -> None:
        self.damage(lambda content: content)
        self.forget_commits()
        self.open()
        self.assertEqual(
            self.recovery.accounts[123].balance,
            msgspec.structs.replace(with_lasting_closes(full_state()).balance, is_settled=False),
        )
        self.assertEqual(self.recovery.accounts[456].balance, Balance())
        self.assertEqual(self.recovery.accounts[123].days, full_state().days)

    def test_every_account_is_locked_if_no_locks_can_be_read(self) -> None:
        self.damage(lambda _: b"x" * 5000)
        self.published.write_bytes(b"x" * 5000)
        self.open()
        self.assertIn("every account is locked", self.recovery.problem)
        for account_id in (123, 456):
            (lock,) = self.recovery.accounts[account_id].lockouts.values()
            self.assertEqual((lock.rule_id, lock.locked_until), (DAMAGE_RULE, None))
