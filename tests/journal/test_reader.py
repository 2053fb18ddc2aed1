"""Reading the published copy."""

from __future__ import annotations

import os
import sqlite3

from riskd.journal.reader import StateFileError, published_mark, read_published
from riskd.journal.store import Store
from riskd.model.account import AccountState
from tests.support.journal import NOON, StoreTestCase, full_state


class ReaderTests(StoreTestCase):
    """Every problem with the copy is a sentence."""

    def sentence(self) -> str:
        return str(self.assertRaises(StateFileError, read_published, self.directory))

    def test_a_missing_copy_is_reported(self) -> None:
        self.assertIn("is not there", self.sentence())
        self.assertEqual(published_mark(self.directory), None)

    def test_a_copy_of_a_newer_riskd_is_reported(self) -> None:
        self.publish(full_state())
        copy = sqlite3.connect(self.published)
        copy.execute("PRAGMA user_version = 99")
        copy.close()
        self.assertIn("newer riskd (schema 99", self.sentence())

    def test_a_damaged_copy_is_reported(self) -> None:
        self.publish(full_state())
        whole = self.published.read_bytes()
        for damaged in (
            b"",
            b"not a database at all" * 100,
            whole[:1000],
            whole[: len(whole) // 2],
            os.urandom(100) + whole[100:],
            whole[:4096] + bytes(4096) + whole[8192:],
            whole.replace(b"profitAndLoss", b"profitAndXoss"),
        ):
            self.published.write_bytes(damaged)
            self.assertIn("cannot read the last known state", self.sentence())

    def test_a_directory_in_place_of_the_copy_is_reported(self) -> None:
        self.published.mkdir()
        self.assertIn("cannot read the last known state", self.sentence())

    def test_a_path_may_have_characters_with_a_meaning_in_uris(self) -> None:
        odd = self.directory / "a ?b#c%20"
        odd.mkdir()
        store = Store(odd)
        store.open([123], NOON)
        store.write([full_state()], "practice", NOON)
        store.publish()
        store.close()
        self.assertEqual(set(read_published(odd).accounts), {123})

    def test_some_accounts_are_read_alone(self) -> None:
        self.publish(full_state(), AccountState(account_id=456))
        self.assertEqual(read_published(self.directory).accounts.keys(), {123, 456})
        some = read_published(self.directory, only=[456, 789])
        self.assertEqual(some.accounts.keys(), {456})
        self.assertEqual(some.accounts[456], read_published(self.directory).accounts[456])
