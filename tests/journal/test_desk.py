"""What a relay publishes of a desk: accounts of several daemons."""

from __future__ import annotations

import msgspec

from riskd.journal.differences import OF_ACCOUNTS
from riskd.journal.gateway_identity import DESK, PRACTICE, GatewayIdentity, gateway_identity
from riskd.journal.ownership import OtherGatewayError, Owner
from riskd.journal.reader import read_published
from riskd.journal.state_directory import StateDirectory
from riskd.journal.store import Store
from riskd.model.account import AccountState
from riskd.model.events import DaemonStatus, Status
from tests.support.directories import temporary_directory
from tests.support.journal import NOON, StoreTestCase

RUNNING = DaemonStatus(status=Status.RUNNING, message="anna: In step", timestamp=NOON)
LOST = DaemonStatus(status=Status.ERROR, message="LINK LOST since noon: ben", timestamp=NOON)


def accounts(*statuses: DaemonStatus | None) -> tuple[AccountState, ...]:
    """Return an account with each status."""
    return tuple(
        AccountState(account_id=number, daemon=status) for number, status in enumerate(statuses, 1)
    )


class StatusTests(StoreTestCase):
    """Each account of a desk has the status of its own daemon."""

    def statuses(self, kind: str, *statuses: DaemonStatus | None) -> list[DaemonStatus | None]:
        self.store.write(accounts(*statuses), kind, NOON)
        self.store.publish()
        return [each.daemon for each in read_published(self.directory).accounts.values()]

    def test_each_account_has_its_own(self) -> None:
        for statuses in ([RUNNING, LOST, RUNNING], [LOST, LOST, LOST], [RUNNING, RUNNING, LOST]):
            self.assertEqual(self.statuses(DESK, *statuses), statuses)
            # After a restart nothing is left of what was before.
            self.store.close()
            self.store = self.open()
            recovered = [each.daemon for each in self.recovery.accounts.values()]
            self.assertEqual(recovered, statuses)

    def test_a_program_that_knows_one_daemon_alone_finds_what_is_wrong(self) -> None:
        self.statuses(DESK, RUNNING, LOST)
        facts = dict(self.store._journal.execute("SELECT name, value FROM facts"))
        self.assertIn("LINK LOST", facts["daemon_status"])

    def test_the_accounts_of_a_riskd_have_one(self) -> None:
        self.assertEqual(self.statuses(PRACTICE, RUNNING, None), [RUNNING, RUNNING])
        names = {name for (name,) in self.store._journal.execute("SELECT name FROM facts")}
        self.assertEqual(
            {name for name in names if name.startswith("daemon_status")}, {"daemon_status"}
        )

    def test_an_account_that_has_left_is_removed(self) -> None:
        first, second = accounts(RUNNING, LOST)
        self.store.write((first, second), DESK, NOON)
        self.assertTrue(self.store.write((first,), DESK, NOON))
        self.assertFalse(self.store.write((first,), DESK, NOON))
        self.store.publish()
        self.assertEqual(set(read_published(self.directory).accounts), {1})
        self.store.close()
        self.store = self.open()
        self.assertEqual(set(self.recovery.accounts), {1})
        facts = {name for (name,) in self.store._journal.execute("SELECT name FROM facts")}
        self.assertNotIn("daemon_status.2", facts)

    def test_an_account_of_a_riskd_stays_in_its_journal(self) -> None:
        first, second = accounts(RUNNING, RUNNING)
        self.store.write((first, second), PRACTICE, NOON)
        self.store.write((first,), PRACTICE, NOON)
        self.store.close()
        self.store = self.open()
        self.assertEqual(set(self.recovery.accounts), {1, 2})

    def test_each_table_of_accounts_is_known(self) -> None:
        tables = self.store._journal.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%account_id INTEGER%'"
        )
        self.assertEqual({name for (name,) in tables} - {"outbox"}, set(OF_ACCOUNTS))

    def test_a_change_of_one_is_written(self) -> None:
        self.assertTrue(self.store.write(accounts(RUNNING, RUNNING), DESK, NOON))
        self.assertFalse(self.store.write(accounts(RUNNING, RUNNING), DESK, NOON))
        self.assertTrue(self.store.write(accounts(RUNNING, LOST), DESK, NOON))


class OwnerTests(StoreTestCase):
    """A directory is that of one desk, or of a riskd."""

    ALPHA, BETA = (GatewayIdentity(DESK, login=name) for name in ("alpha", "beta"))

    def test_the_directory_of_a_desk_is_not_used_for_another(self) -> None:
        directory = temporary_directory(self) / "state"
        state = StateDirectory(directory)
        state.claim(self.ALPHA)
        assert isinstance(state.owner, Owner)
        store = Store(directory, state.owner)
        store.open((), NOON)
        store.write(accounts(RUNNING), DESK, NOON)
        store.publish()
        store.close()
        state.release()
        for other, words in (
            (self.BETA, "belongs to the desk alpha"),
            (gateway_identity(PRACTICE), "belongs to a gateway of the kind 'desk'"),
        ):
            state = StateDirectory(directory)
            self.assertIn(words, str(self.assertRaises(OtherGatewayError, state.claim, other)))
            state.release()
        state = StateDirectory(directory)
        self.assertEqual(state.claim(self.ALPHA), [])
        state.release()

    def test_two_desks_have_two_default_directories(self) -> None:
        keys = {self.ALPHA.key, self.BETA.key}
        self.assertEqual((len(keys), {key.rpartition("-")[0] for key in keys}), (2, {DESK}))
        self.assertEqual(str(self.ALPHA), "the desk alpha")
        self.assertNotEqual(
            msgspec.structs.replace(self.ALPHA, login="Alpha2").key, self.ALPHA.key
        )
