"""A commitment keeps a configuration on its gateway."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.committed_gateway import CONFIGURATION_NAME, check_gateway, note_configuration
from riskd.host.errors import UserError
from riskd.journal.store import Store
from riskd.model.account import AccountState
from riskd.model.commitment import Commitment, Wait
from tests.support.directories import temporary_directory

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
WAIT = Wait(name="gateway", old="{}", asked_at=NOW, until=NOW)


class CommittedGatewayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = temporary_directory(self)
        self.old, self.new = self.root / "projectx-1", self.root / "practice"
        self.old.mkdir()
        self.file = self.root / "riskd.toml"

    def commit(self, commitment: Commitment) -> None:
        store = Store(self.old)
        store.open((), NOW)
        store.write([AccountState(account_id=123, limits=commitment.limits)], "projectx", NOW)
        store.close()
        note_configuration(self.old, self.file)

    def check(self, file: Path | None = None) -> None:
        check_gateway(self.root, self.new, file or self.file)

    def test_the_same_file_is_refused_on_another_gateway(self) -> None:
        for waits in ((), (WAIT,)):
            self.commit(Commitment(loosen_after="8h", waits=waits))
            error = self.assertRaises(UserError, self.check)
            self.assertIn("account 123 has a [commitment] on another gateway", str(error))

    def test_its_own_gateway_and_another_file_are_not(self) -> None:
        self.commit(Commitment(loosen_after="8h"))
        check_gateway(self.root, self.old, self.file)
        self.check(self.root / "other.toml")

    def test_after_the_wait_and_without_a_commitment_it_is_not(self) -> None:
        over = Wait(name="gateway", old="{}", asked_at=NOW, until=NOW, is_over=True)
        for commitment in (Commitment(loosen_after="8h", waits=(over,)), Commitment()):
            self.commit(commitment)
            self.check()

    def test_what_is_no_file_there_is_ignored(self) -> None:
        (self.old / CONFIGURATION_NAME).mkdir()
        self.check()
        note_configuration(self.old, self.file)
        self.assertEqual((self.old / CONFIGURATION_NAME).stat().st_mode & 0o777, 0o600)
