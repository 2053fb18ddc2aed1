"""One reading of the published copy for all sessions."""

from __future__ import annotations

from collections.abc import Collection

from twisted.trial.unittest import SynchronousTestCase

from riskd.journal.reader import Snapshot, StateFileError
from riskd.model.account import AccountState
from tests.support.console import BEGIN
from trader.model.shared_copy import SharedCopy


class SharedCopyTests(SynchronousTestCase):
    """What is read, and when it is read again."""

    def setUp(self) -> None:
        self.version = 1
        self.problem = ""
        self.commits = 1
        self.known = {1, 2, 3}
        self.readings: list[Collection[int] | None] = []
        self.copy = SharedCopy(self.read, lambda: self.version)

    def read(self, only: Collection[int] | None) -> Snapshot:
        self.readings.append(None if only is None else sorted(only))
        if self.problem:
            raise StateFileError(self.problem)
        wanted = self.known if only is None else self.known.intersection(only)
        accounts = {number: AccountState(account_id=number) for number in wanted}
        return Snapshot(accounts=accounts, as_of=BEGIN, commits=self.commits)

    def test_a_whole_reading_serves_every_account(self) -> None:
        self.copy.read_all()
        for number in (1, 2, 3, 4):
            self.copy.read(number)
        self.assertEqual(self.readings, [None])

    def test_accounts_that_are_read_together_take_one_reading(self) -> None:
        with self.copy.for_several([1, 3]):
            self.copy.read(1)
            self.copy.read(3)
        self.assertEqual(self.readings, [[1, 3]])

    def test_nothing_is_read_before_an_account_asks(self) -> None:
        with self.copy.for_several([1, 3]):
            pass
        self.assertEqual(self.readings, [])

    def test_a_copy_is_read_again_when_it_is_published(self) -> None:
        self.copy.read_all()
        self.version = 2
        self.copy.read(1)
        self.copy.read_all()
        self.assertEqual(self.readings, [None, [1], None])

    def test_what_is_known_of_this_copy_is_kept(self) -> None:
        self.copy.read(1)
        self.assertEqual(set(self.copy.read(2).accounts), {1, 2})
        self.copy.read(1)
        self.assertEqual(self.readings, [[1], [2]])

    def test_two_copies_are_never_mixed(self) -> None:
        self.copy.read(1)
        # It was published after its version was looked at.
        self.commits = 2
        self.assertEqual(set(self.copy.read(2).accounts), {2})
        self.copy.read(1)
        self.assertEqual(self.readings, [[1], [2], [1]])

    def test_in_place_of_an_account_that_it_lacks_are_all_that_it_has(self) -> None:
        for _ in range(3):
            self.assertEqual(set(self.copy.read(9).accounts), {1, 2, 3})
        self.assertEqual(self.readings, [[9], None])

    def test_a_problem_is_found_once_in_each_copy(self) -> None:
        self.problem = "it is damaged"
        for _ in range(3):
            error = self.assertRaises(StateFileError, self.copy.read, 1)
            self.assertEqual(str(error), "it is damaged")
        self.assertEqual(len(self.readings), 1)
        self.problem, self.version = "", 2
        self.copy.read(1)

    def test_after_a_connection_it_is_read_again_whatever_its_version(self) -> None:
        self.copy.read_all()
        self.copy.forget()
        self.copy.read_all()
        self.assertEqual(self.readings, [None, None])

    def test_the_version_is_looked_at_once_for_several(self) -> None:
        with self.copy.for_several([1]):
            self.version = 2
            self.assertEqual(self.copy.version(), 1)
        self.assertEqual(self.copy.version(), 2)
