"""A state directory belongs to one gateway, whatever is exchanged in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from riskd.journal.daemon_file import process_mark, write_daemon
from riskd.journal.gateway_identity import GatewayIdentity, gateway_identity
from riskd.journal.ownership import LEDGER_NAME, LOCK_NAME, OtherGatewayError
from riskd.journal.reader import read_published
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME
from riskd.journal.state_directory import StateDirectory, StateDirectoryError
from riskd.journal.store import Store
from riskd.model.account import AccountState
from riskd.practice import broker as practice_broker
from tests.support.journal import NOON, write_version_1
from tests.support.state_directories import (
    OTHER_LOGIN,
    OTHER_URL,
    PAPER,
    REAL,
    StateHomeTestCase,
    facts_of,
    locked,
    set_fact,
    write_earlier_state,
    write_record,
    write_state,
)

FILES = (JOURNAL_NAME, PUBLISHED_NAME, LOCK_NAME)


class OwnershipTestCase(StateHomeTestCase):
    """Two directories, of paper and of a broker."""

    def setUp(self) -> None:
        super().setUp()
        self.paper, self.real = self.home / "paper", self.home / "real"
        write_state(self.paper, PAPER)
        write_state(self.real, REAL)

    def claim(self, path: Path, gateway: GatewayIdentity) -> list[str]:
        held = StateDirectory(path)
        try:
            return held.claim(gateway)
        finally:
            held.release()

    def refusal(self, path: Path, gateway: GatewayIdentity) -> str:
        error = self.assertRaises(OtherGatewayError, self.claim, path, gateway)
        self.assertEqual(len(str(error).splitlines()), 1)
        self.assertIn("--state", str(error))
        return str(error)


class StartTests(OwnershipTestCase):
    """Starts of the same and of other gateways."""

    def test_the_same_gateway_starts_again_with_the_same_instance(self) -> None:
        for path, gateway in ((self.paper, PAPER), (self.real, REAL)):
            before = read_published(path).instance
            self.assertRegex(before, r"^[0-9a-f]{32}$")
            self.assertEqual(self.claim(path, gateway), [])
            self.assertEqual(write_state(path, gateway), before)

    def test_another_gateway_is_refused_with_both_named(self) -> None:
        said = self.refusal(self.paper, REAL)
        self.assertIn(str(self.paper), said)
        self.assertIn("belongs to the practice gateway, by its riskd.db", said)
        self.assertIn(f"not to {REAL}", said)
        said = self.refusal(self.real, PAPER)
        self.assertIn(f"belongs to {REAL}, by its riskd.db, and not to the practice", said)
        for other in (OTHER_LOGIN, OTHER_URL):
            said = self.refusal(self.real, other)
            self.assertIn(f"belongs to {REAL}", said)
            self.assertIn(str(other), said)

    def test_a_refused_start_changes_nothing(self) -> None:
        before = {name: (self.paper / name).read_bytes() for name in FILES}
        self.refusal(self.paper, REAL)
        self.assertEqual({name: (self.paper / name).read_bytes() for name in FILES}, before)

    def test_the_journal_records_the_gateway_before_any_other_write(self) -> None:
        path = self.home / "new"
        held = self.hold(path)
        held.claim(REAL)
        store = Store(path, held.owner)
        store.open([123], NOON)
        store.close()
        facts = facts_of(path / JOURNAL_NAME)
        self.assertEqual(
            (facts["gateway"], facts["gateway_url"], facts["gateway_login"]),
            (REAL.kind, REAL.url, REAL.login),
        )
        self.assertEqual(facts["gateway_key"], REAL.key)

    def test_the_copy_shows_neither_url_nor_login(self) -> None:
        facts = facts_of(self.real / PUBLISHED_NAME)
        self.assertEqual((facts["gateway"], facts["gateway_key"]), ("projectx", REAL.key))
        self.assertNotIn(b"jane", (self.real / PUBLISHED_NAME).read_bytes())
        self.assertFalse({"gateway_url", "gateway_login", "directory"} & set(facts))

    def test_the_ledger_is_that_of_the_practice_gateway(self) -> None:
        self.assertEqual(LEDGER_NAME, practice_broker.LEDGER_NAME)


class EarlierStateTests(OwnershipTestCase):
    """Journals that record only the kind, or nothing."""

    def earlier(self, kind: str) -> Path:
        path = self.home / f"earlier-{kind}"
        write_earlier_state(path, kind)
        return path

    def test_the_recorded_kind_counts(self) -> None:
        for kind, own, other in (("practice", PAPER, REAL), ("projectx", REAL, PAPER)):
            path = self.earlier(kind)
            self.assertIn(f"belongs to the {kind} gateway", self.refusal(path, other))
            (note,) = self.claim(path, own)
            self.assertIn(f"recorded only the kind of gateway, {kind}; from now on", note)

    def test_the_first_start_settles_url_and_login(self) -> None:
        path = self.earlier("projectx")
        self.claim(path, REAL)
        self.refusal(path, OTHER_LOGIN)

    def test_the_first_version_of_the_schema_counts_too(self) -> None:
        path = self.home / "first"
        path.mkdir()
        write_version_1(path / JOURNAL_NAME)
        self.refusal(path, REAL)
        self.claim(path, PAPER)

    def test_an_unknown_kind_is_refused_for_every_gateway(self) -> None:
        path = self.earlier("fxchange")
        for gateway in (PAPER, REAL):
            said = self.refusal(path, gateway)
            self.assertIn(
                "of the kind 'fxchange', by its riskd.db, which this riskd does not", said
            )

    def test_accounts_of_no_recorded_gateway_are_refused_for_every_gateway(self) -> None:
        path = self.earlier("")
        for gateway in (PAPER, REAL):
            self.assertIn("does not record of which gateway", self.refusal(path, gateway))

    def test_a_ledger_says_that_it_is_practice(self) -> None:
        path = self.earlier("")
        (path / LEDGER_NAME).touch()
        self.assertIn(f"by its {LEDGER_NAME}", self.refusal(path, REAL))
        self.claim(path, PAPER)

    def test_a_journal_without_accounts_belongs_to_whichever_starts_first(self) -> None:
        path = self.home / "empty"
        path.mkdir()
        store = Store(path)
        store.open([], NOON)
        store.close()
        self.claim(path, REAL)
        self.refusal(path, PAPER)


class AttackTests(OwnershipTestCase):
    """Copied, exchanged, damaged and linked files."""

    def test_a_copied_directory_is_of_the_same_gateway_and_of_another_instance(self) -> None:
        copy = self.home / "copy"
        shutil.copytree(self.paper, copy)
        self.refusal(copy, REAL)
        (note,) = self.claim(copy, PAPER)
        self.assertIn("was copied from another one", note)
        instance = write_state(copy, PAPER)
        self.assertNotEqual(instance, read_published(self.paper).instance)
        self.assertEqual(write_state(copy, PAPER), instance)

    def test_a_moved_directory_keeps_its_instance(self) -> None:
        instance = read_published(self.real).instance
        moved = self.real.rename(self.home / "moved")
        self.assertEqual(write_state(moved, REAL), instance)

    def test_any_file_of_another_gateway_is_refused(self) -> None:
        for name in FILES:
            path = self.home / f"with-{name}"
            shutil.copytree(self.real, path)
            shutil.copy(self.paper / name, path / name)
            self.assertIn(f"by its {name}", self.refusal(path, REAL))
            self.refusal(path, PAPER)

    def test_any_file_that_is_left_says_the_gateway(self) -> None:
        for name in FILES:
            for damage in (Path.unlink, lambda path: path.write_bytes(b"x" * 5000)):
                path = self.home / f"only-{name}"
                shutil.rmtree(path, ignore_errors=True)
                shutil.copytree(self.paper, path)
                for other in set(FILES) - {name}:
                    damage(path / other)
                self.assertIn(f"by its {name}", self.refusal(path, REAL))
                self.claim(path, PAPER)

    def test_a_damaged_journal_is_replaced_by_one_of_the_same_gateway_and_instance(self) -> None:
        instance = read_published(self.real).instance
        (self.real / JOURNAL_NAME).write_bytes(b"x" * 5000)
        held = self.hold(self.real)
        held.claim(REAL)
        store = Store(self.real, held.owner)
        recovery = store.open([123], NOON)
        self.addCleanup(store.close)
        self.assertIn("RULE-003", recovery.accounts[123].lockouts)
        facts = facts_of(self.real / JOURNAL_NAME)
        self.assertEqual((facts["gateway_key"], facts["instance"]), (REAL.key, instance))

    def test_a_journal_that_is_exchanged_after_the_start_is_not_opened(self) -> None:
        held = self.hold(self.real)
        held.claim(REAL)
        shutil.copy(self.paper / JOURNAL_NAME, self.real / JOURNAL_NAME)
        store = Store(self.real, held.owner)
        error = self.assertRaises(OtherGatewayError, store.open, [123], NOON)
        self.assertIn("belongs to the practice gateway", str(error))
        self.assertFalse(store.is_open)

    def test_the_copy_of_another_instance_does_not_outdate_the_journal(self) -> None:
        other = self.home / "other"
        write_state(other, REAL, locked(rule_id="RULE-007"))
        set_fact(other, "commits", "99")
        write_state(other, REAL, locked(rule_id="RULE-007"), locked(456))
        shutil.copy(other / PUBLISHED_NAME, self.real / PUBLISHED_NAME)
        held = self.hold(self.real)
        held.claim(REAL)
        store = Store(self.real, held.owner)
        recovery = store.open([123], NOON)
        self.addCleanup(store.close)
        self.assertEqual(recovery.problem, "")
        self.assertEqual(set(recovery.accounts[123].lockouts), {"RULE-003"})

    def test_a_journal_of_another_directory_frees_no_account(self) -> None:
        other = self.home / "other"
        write_state(other, REAL, AccountState(account_id=123))
        for has_lock_file in (True, False):
            path = self.home / f"locked-{has_lock_file}"
            write_state(path, REAL)
            if not has_lock_file:
                (path / LOCK_NAME).unlink()
            shutil.copy(other / JOURNAL_NAME, path / JOURNAL_NAME)
            held = self.hold(path)
            held.claim(REAL)
            store = Store(path, held.owner)
            recovery = store.open([123], NOON)
            store.close()
            self.assertIn("was written in another directory", recovery.problem)
            self.assertEqual(set(recovery.accounts[123].lockouts), {"RULE-003"})

    def test_linked_files_are_refused(self) -> None:
        for name in FILES:
            path = self.home / f"linked-{name}"
            path.mkdir()
            (path / name).symlink_to(self.real / name)
            error = self.assertRaises(StateDirectoryError, StateDirectory, path)
            self.assertIn(f"its {name} is", str(error))
            self.assertIn("a symbolic link", str(error))

    def test_a_linked_directory_is_the_same_directory(self) -> None:
        link = self.home / "link"
        link.symlink_to(self.real)
        self.refusal(link, PAPER)
        self.hold(self.real)
        error = self.assertRaises(StateDirectoryError, StateDirectory, link)
        self.assertIn("another riskd uses the state directory", str(error))

    def test_a_removed_lock_file_lets_no_second_riskd_in(self) -> None:
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            record = write_record(self.real, 123, kind="projectx")
            running = msgspec.structs.replace(
                record, pid=other.pid, process=process_mark(other.pid)
            )
            write_daemon(self.real, running)
            error = self.assertRaises(StateDirectoryError, StateDirectory, self.real)
            self.assertIn(f"another riskd, process {other.pid}, uses the state", str(error))
            # It is not used any more once it is copied, or its process has ended.
            copy = self.home / "copy"
            shutil.copytree(self.real, copy)
            self.claim(copy, REAL)
            assert other.stdin is not None
            other.stdin.write(b"\n")
        self.claim(self.real, REAL)

    def test_a_lock_file_that_cannot_be_written_is_a_note(self) -> None:
        held = self.hold(self.home / "full")
        self.patch(os, "pwrite", no_space)
        (note,) = held.claim(REAL)
        self.assertIn("riskd.lock cannot be written: No space left", note)

    def test_the_kind_is_compared_as_a_whole(self) -> None:
        self.refusal(self.real, gateway_identity("project", REAL.url, REAL.login))


def no_space(*_arguments: object) -> int:
    raise OSError(28, os.strerror(28))
