"""The journal on the disk: written, published, read back, damaged and mended."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.account import AccountState, apply
from riskd.contracts import known_contract
from riskd.events import Event
from riskd.journal import schema
from riskd.journal.directory import StateDirectory, StateDirectoryError
from riskd.journal.files import JOURNAL_NAME, PUBLISHED_NAME, default_directory
from riskd.journal.reader import (
    Snapshot,
    StateFileError,
    published_mark,
    read_published,
)
from riskd.journal.schema import MIGRATIONS, NewerSchemaError, migrate
from riskd.journal.store import DAMAGE_RULE, Store
from riskd.testing import make_event
from tests.test_account import histories

NOON = datetime(2025, 1, 17, 12, 0, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.U25"


def without_final_orders(state: AccountState) -> AccountState:
    """What is kept: that an order has ended is the gateway's to know."""
    return msgspec.structs.replace(state, final_orders={})


@cache
def full_state() -> AccountState:
    contract = known_contract(MNQ)
    assert contract is not None
    state = AccountState(account_id=123, contracts={MNQ: contract})
    for event_type, data in (
        ("daily_reset", {"reset_time": "2025-01-16T23:00:00Z", "lockouts_cleared": False}),
        (
            "GatewayUserTrade",
            {"id": 1, "profitAndLoss": -45.5, "executionTime": "2025-01-17T11:00:00Z"},
        ),
        (
            "GatewayUserTrade",
            {"id": 2, "profitAndLoss": 0.1, "executionTime": "2025-01-17T11:01:00Z"},
        ),
        ("GatewayUserPosition", {"id": 1, "size": 2}),
        ("GatewayUserOrder", {"id": 7}),
        ("MarketQuote", {}),
        ("lockout_set", {"rule_id": "RULE-003", "locked_until": None}),
        ("lockout_set", {"rule_id": "RULE-007", "locked_until": "2025-01-17T13:00:00Z"}),
        ("enforcement_action", {"timestamp": "2025-01-17T11:01:00Z"}),
    ):
        state = apply(state, make_event(event_type, data))
    return apply(state, make_event("daemon_status", {}))


class StoreTestCase(SynchronousTestCase):
    """A state directory of its own."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.store = self.open()

    @property
    def journal(self) -> Path:
        return self.directory / JOURNAL_NAME

    @property
    def published(self) -> Path:
        return self.directory / PUBLISHED_NAME

    def open(self) -> Store:
        store = Store(self.directory)
        self.recovery = store.open([123, 456], NOON)
        self.addCleanup(store.close)
        return store

    def write(self, *states: AccountState, at: datetime = NOON) -> bool:
        return self.store.write(states, "practice", at)

    def publish(self, *states: AccountState, at: datetime = NOON) -> Snapshot:
        self.write(*states, at=at)
        self.store.publish()
        return read_published(self.directory)

    def crash(self) -> None:
        """Leave the files as a killed process does: without a checkpoint."""
        aside = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, aside, ignore_errors=True)
        copy = aside / "copy"
        shutil.copytree(self.directory, copy)
        self.store.close()
        shutil.rmtree(self.directory)
        shutil.copytree(copy, self.directory)


class WriteTests(StoreTestCase):
    """What is written is what is read."""

    def test_a_new_journal_knows_nothing(self) -> None:
        self.assertEqual((self.recovery.accounts, self.recovery.problem), ({}, ""))

    def test_a_whole_state_comes_back_after_a_stop(self) -> None:
        state = full_state()
        self.write(state)
        self.store.close()
        self.open()
        self.assertEqual(self.recovery.accounts, {123: without_final_orders(state)})

    def test_a_whole_state_comes_back_after_a_crash(self) -> None:
        state = full_state()
        self.write(state)
        self.crash()
        self.open()
        self.assertEqual(self.recovery.accounts, {123: without_final_orders(state)})

    def test_writing_the_same_again_is_nothing(self) -> None:
        state = full_state()
        self.assertTrue(self.write(state))
        self.assertFalse(self.write(state, at=NOON + timedelta(hours=1)))

    def test_what_is_gone_is_gone(self) -> None:
        self.write(full_state())
        state = full_state()
        for event_type, data in (
            ("GatewayUserOrder", {"id": 7, "state": 3}),
            ("lockout_cleared", {}),
            ("daily_reset", {"reset_time": "2025-01-17T23:00:00Z"}),
        ):
            state = apply(state, make_event(event_type, data))
        self.write(state, at=NOON + timedelta(seconds=2))
        self.store.close()
        self.open()
        recovered = self.recovery.accounts[123]
        self.assertEqual(recovered, without_final_orders(state))
        self.assertEqual((recovered.orders, recovered.lockouts, recovered.trades), ({}, {}, {}))

    def test_accounts_are_kept_apart(self) -> None:
        other = AccountState(account_id=456)
        self.write(full_state(), other)
        self.assertEqual(set(self.publish(full_state(), other).accounts), {123, 456})

    def test_the_enforcement_log_is_never_shortened(self) -> None:
        self.write(full_state())
        state = apply(
            full_state(), make_event("daily_reset", {"reset_time": "2025-01-17T23:00:00Z"})
        )
        snapshot = self.publish(state)
        self.assertEqual(snapshot.accounts[123].enforcement, ())
        count = "SELECT count(*) FROM enforcement"
        with sqlite3.connect(self.journal) as journal:
            self.assertEqual(journal.execute(count).fetchone(), (1,))
        journal.close()
        copy = sqlite3.connect(self.published)
        self.assertEqual(copy.execute(count).fetchone(), (0,))
        copy.close()

    def test_quotes_are_written_once_a_second(self) -> None:
        state = full_state()
        self.write(state)
        later = apply(state, make_event("MarketQuote", {"last": 1}))
        self.assertFalse(self.write(later, at=NOON + timedelta(seconds=0.9)))
        self.assertTrue(self.write(later, at=NOON + timedelta(seconds=1)))

    def test_a_clock_that_was_set_back_stops_nothing(self) -> None:
        state = full_state()
        self.write(state)
        later = apply(state, make_event("MarketQuote", {"last": 1}))
        self.assertTrue(self.write(later, at=NOON - timedelta(days=1)))

    def test_a_write_that_fails_leaves_all_as_it_was(self) -> None:
        self.write(full_state())
        self.store._journal.execute(
            "CREATE TRIGGER no BEFORE INSERT ON trades BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        state = full_state()
        for event in (
            make_event("lockout_set", {"rule_id": "X"}),
            make_event("GatewayUserTrade", {}),
        ):
            state = apply(state, event)
        self.assertRaises(sqlite3.Error, self.write, state)
        self.store._journal.execute("DROP TRIGGER no")
        self.assertEqual(
            self.publish(full_state()).accounts[123], without_final_orders(full_state())
        )
        self.assertEqual(self.publish(state).accounts[123], without_final_orders(state))

    def test_the_journal_is_private_and_the_copy_is_not(self) -> None:
        self.publish(full_state())
        for path, mode in ((self.journal, 0o600), (self.published, 0o644)):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode)
        for path in self.directory.iterdir():
            if path != self.published:
                self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

    def test_it_survives_a_power_cut(self) -> None:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2)):
            self.assertEqual(self.store._journal.execute(f"PRAGMA {pragma}").fetchone(), (value,))

    @settings(max_examples=20)
    @given(st.lists(histories(), max_size=4))
    def test_whatever_happens_what_was_written_is_read(self, days: list[list[Event]]) -> None:
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        store = self.store = self.open()
        state = AccountState(account_id=123)
        for number, history in enumerate(days):
            for event in history:
                state = apply(state, event)
            snapshot = self.publish(state, at=NOON + timedelta(seconds=number))
            expected = without_final_orders(state)
            read = snapshot.accounts.get(123, AccountState(account_id=123))
            began = state.last_reset.reset_time if state.last_reset else None
            # An action from before the reset that came after it is in the log, not in the day.
            kept = tuple(a for a in state.enforcement if began is None or a.timestamp >= began)
            self.assertEqual(read, msgspec.structs.replace(expected, enforcement=kept))
        store.close()


class PublishTests(StoreTestCase):
    """The copy for consoles."""

    def test_it_is_read_without_a_trace(self) -> None:
        snapshot = self.publish(full_state())
        self.assertEqual((snapshot.as_of, snapshot.gateway_name), (NOON, "practice"))
        before = sorted(path.name for path in self.directory.iterdir())
        self.assertEqual(read_published(self.directory), snapshot)
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), before)
        self.assertFalse(any(PUBLISHED_NAME + "-" in name for name in before))

    def test_publishing_the_same_again_is_free(self) -> None:
        self.publish(full_state())
        mark = published_mark(self.directory)
        self.publish(full_state())
        self.assertEqual(published_mark(self.directory), mark)
        self.publish(AccountState(account_id=123))
        self.assertNotEqual(published_mark(self.directory), mark)

    def test_a_reader_keeps_the_copy_it_has_opened(self) -> None:
        self.publish(full_state())
        reader = sqlite3.connect(f"file:{self.published}?mode=ro&immutable=1", uri=True)
        self.publish(AccountState(account_id=123))
        self.assertEqual(reader.execute("SELECT count(*) FROM trades").fetchone(), (2,))
        reader.close()

    def test_a_copy_left_half_made_is_no_hindrance(self) -> None:
        (self.directory / ".last-known.db.new").write_bytes(b"half")
        self.assertEqual(set(self.publish(full_state()).accounts), {123})

    def test_the_copy_is_a_sound_database(self) -> None:
        self.publish(full_state())
        copy = sqlite3.connect(self.published)
        self.assertEqual(copy.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        copy.close()


class ReaderTests(StoreTestCase):
    """Whatever is wrong with the copy is a sentence."""

    def sentence(self) -> str:
        return str(self.assertRaises(StateFileError, read_published, self.directory))

    def test_none(self) -> None:
        self.assertIn("is not there", self.sentence())
        self.assertEqual(published_mark(self.directory), None)

    def test_one_of_a_newer_riskd(self) -> None:
        self.publish(full_state())
        copy = sqlite3.connect(self.published)
        copy.execute("PRAGMA user_version = 99")
        copy.close()
        self.assertIn("newer riskd (schema 99", self.sentence())

    def test_damaged_ones(self) -> None:
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

    def test_a_directory_in_its_place(self) -> None:
        self.published.mkdir()
        self.assertIn("cannot read the last known state", self.sentence())

    def test_odd_characters_in_the_path(self) -> None:
        odd = self.directory / "a ?b#c%20"
        odd.mkdir()
        store = Store(odd)
        store.open([123], NOON)
        store.write([full_state()], "practice", NOON)
        store.publish()
        store.close()
        self.assertEqual(set(read_published(odd).accounts), {123})


class DamageTests(StoreTestCase):
    """A damaged journal is set aside, and no lock is lost."""

    def damage(self, change: object) -> None:
        self.publish(full_state())
        self.store.close()
        content = self.journal.read_bytes()
        self.journal.write_bytes(change(content))

    def recover(self) -> AccountState:
        self.open()
        self.assertIn("is damaged", self.recovery.problem)
        aside = [path for path in self.directory.iterdir() if ".damaged-" in path.name]
        self.assertEqual(len(aside), 1)
        # And the new one is sound.
        self.store = self.open()
        self.assertEqual(self.recovery.problem, "")
        return self.recovery.accounts.get(123, AccountState(account_id=123))

    def assert_locks_kept(self) -> None:
        self.open()
        self.assertIn("is damaged", self.recovery.problem)
        self.assertEqual(set(self.recovery.accounts[123].lockouts), {"RULE-003", "RULE-007"})

    def test_truncated(self) -> None:
        self.damage(lambda content: content[: len(content) // 2])
        self.assert_locks_kept()

    def test_emptied(self) -> None:
        self.damage(lambda _: b"")
        self.assert_locks_kept()

    def test_deleted(self) -> None:
        self.damage(lambda _: b"")
        self.journal.unlink()
        self.assert_locks_kept()

    def test_random_bytes_in_the_header(self) -> None:
        for seed in range(20):
            with self.subTest(seed=seed):
                header = bytes((seed * 37 + i * 101) % 256 for i in range(100))
                self.damage(lambda content, header=header: header + content[100:])
                self.assert_locks_kept()
                self.store.close()
                shutil.rmtree(self.directory)
                self.directory.mkdir()
                self.store = self.open()

    def test_a_zeroed_page_anywhere(self) -> None:
        self.publish(full_state())
        self.store.close()
        pages = self.journal.stat().st_size // 4096
        for page in range(pages):
            with self.subTest(page=page):
                shutil.rmtree(self.directory)
                self.directory.mkdir()
                self.store = self.open()
                start = page * 4096
                self.damage(
                    lambda content, start=start: (
                        content[:start] + bytes(4096) + content[start + 4096 :]
                    )
                )
                self.open()
                locks = set(self.recovery.accounts[123].lockouts)
                self.assertEqual(locks, {"RULE-003", "RULE-007"})

    def assert_locks_survive(self, content: bytes) -> None:
        """See that a journal of these bytes, whatever they are, is opened with its locks."""
        self.store.close()
        for path in self.directory.iterdir():
            if path != self.published:
                path.unlink()
        self.journal.write_bytes(content)
        self.store = self.open()
        self.assertEqual(set(self.recovery.accounts[123].lockouts), {"RULE-003", "RULE-007"})
        self.store.close()

    def test_any_byte_of_the_header(self) -> None:
        self.publish(full_state())
        self.store.close()
        whole = self.journal.read_bytes()
        # Of bytes 60 to 63 is the version: a newer one is refused, and nothing is lost.
        for place in (*range(60), *range(64, 100)):
            with self.subTest(place=place):
                self.assert_locks_survive(whole[:place] + b"\xff" + whole[place + 1 :])

    def test_random_bytes_anywhere(self) -> None:
        self.publish(full_state())
        self.store.close()
        whole = self.journal.read_bytes()
        chance = random.Random(7)
        for _ in range(60):
            damaged = bytearray(whole)
            for _ in range(chance.randint(1, 8)):
                damaged[chance.randrange(len(whole))] = chance.randrange(256)
            try:
                self.assert_locks_survive(bytes(damaged))
            except NewerSchemaError:
                # Only the version was hit: refused, and nothing is lost.
                self.store.close()

    def test_a_page_of_locks_that_was_emptied(self) -> None:
        self.publish(full_state())
        self.store._journal.execute("DELETE FROM lockouts")
        self.store.close()
        with sqlite3.connect(self.journal) as journal:
            journal.execute("UPDATE facts SET value = '0' WHERE name = 'commits'")
        journal.close()
        self.assert_locks_kept()

    def test_a_log_whose_end_was_lost(self) -> None:
        early = full_state()
        self.publish(early)
        locked = apply(early, make_event("lockout_set", {"rule_id": "IN-WAL"}))
        self.publish(locked, at=NOON + timedelta(seconds=2))
        self.crash()
        wal = self.directory / f"{JOURNAL_NAME}-wal"
        content = wal.read_bytes()
        wal.write_bytes(content[: len(content) - 4096 * 2] + os.urandom(4096 * 2))
        self.open()
        self.assertIn("IN-WAL", self.recovery.accounts[123].lockouts)

    def test_a_full_disk_while_it_is_set_aside_loses_nothing(self) -> None:
        self.damage(lambda content: content[: len(content) // 2])
        for step in ("_open_whole", "write", "_set_aside"):
            store = Store(self.directory)
            real = getattr(store, step)
            calls = []

            def fail(*arguments: object, real: Any = real, calls: Any = calls) -> object:
                calls.append(arguments)
                if step == "_open_whole" and len(calls) == 1:  # noqa: B023
                    return real(*arguments)
                raise OSError(28, "No space left on device")

            self.patch(store, step, fail)
            self.assertRaises(OSError, store.open, [123, 456], NOON)
            self.assertFalse(store.is_open)
        self.assert_locks_kept()

    def test_a_crash_after_it_was_set_aside_loses_nothing(self) -> None:
        self.damage(lambda content: content[: len(content) // 2])
        self.store._set_aside(NOON)
        self.assert_locks_kept()

    def test_words_that_make_no_sense(self) -> None:
        self.damage(lambda content: content.replace(b"profitAndLoss", b"profitAndXoss"))
        self.assert_locks_kept()

    def test_locks_that_nobody_can_read_lock_every_account(self) -> None:
        self.damage(lambda _: b"x" * 5000)
        self.published.write_bytes(b"x" * 5000)
        self.open()
        self.assertIn("every account is locked", self.recovery.problem)
        for account_id in (123, 456):
            (lock,) = self.recovery.accounts[account_id].lockouts.values()
            self.assertEqual((lock.rule_id, lock.locked_until), (DAMAGE_RULE, None))

    def test_what_was_set_aside_is_kept_as_it_was(self) -> None:
        self.damage(lambda _: b"x" * 5000)
        self.open()
        (aside,) = (path for path in self.directory.iterdir() if ".damaged-" in path.name)
        self.assertEqual(aside.read_bytes(), b"x" * 5000)


class SchemaTests(StoreTestCase):
    """Older and newer journals."""

    def connect(self) -> sqlite3.Connection:
        self.store.close()
        connection = sqlite3.connect(self.journal, isolation_level=None)
        self.addCleanup(connection.close)
        return connection

    def test_an_older_journal_is_copied_and_brought_up_to_date(self) -> None:
        self.write(full_state())
        connection = self.connect()
        newer = (*MIGRATIONS, "CREATE TABLE later (x);")
        migrate(connection, self.journal, newer)
        self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (len(newer),))
        backup = sqlite3.connect(self.directory / f"{JOURNAL_NAME}.v{len(MIGRATIONS)}.backup")
        self.addCleanup(backup.close)
        self.assertEqual(backup.execute("PRAGMA user_version").fetchone(), (len(MIGRATIONS),))
        self.assertEqual(backup.execute("SELECT count(*) FROM trades").fetchone(), (2,))

    def test_a_migration_that_fails_leaves_the_journal_as_it_was(self) -> None:
        connection = self.connect()
        broken = (*MIGRATIONS, "CREATE TABLE later (x); CREATE TABLE facts (x);")
        self.assertRaises(sqlite3.Error, migrate, connection, self.journal, broken)
        self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (len(MIGRATIONS),))
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        self.assertNotIn("later", names)

    def test_a_newer_journal_is_refused_and_left_alone(self) -> None:
        self.connect().execute("PRAGMA user_version = 99")
        error = self.assertRaises(NewerSchemaError, Store(self.directory).open, [123], NOON)
        self.assertIn("newer riskd (schema 99", str(error))
        self.assertFalse(any(".damaged-" in path.name for path in self.directory.iterdir()))

    def test_every_table_is_listed(self) -> None:
        connection = self.connect()
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        self.assertEqual({name for (name,) in connection.execute(query)}, set(schema.TABLES))


class DirectoryTests(SynchronousTestCase):
    """The state directory belongs to one daemon."""

    def setUp(self) -> None:
        self.base = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)

    def hold(self, path: Path) -> StateDirectory:
        held = StateDirectory(path)
        self.addCleanup(held.release)
        return held

    def test_it_is_made_for_everybody_to_read(self) -> None:
        umask = os.umask(0o022)
        self.addCleanup(os.umask, umask)
        held = self.hold(self.base / "a" / "b")
        self.assertEqual(stat.S_IMODE(held.path.stat().st_mode), 0o755)

    def test_a_second_daemon_is_refused_until_the_first_is_gone(self) -> None:
        first = StateDirectory(self.base)
        error = self.assertRaises(StateDirectoryError, StateDirectory, self.base)
        self.assertIn("another riskd uses the state directory", str(error))
        first.release()
        self.hold(self.base)

    def test_what_cannot_be_a_directory_is_refused(self) -> None:
        file = self.base / "file"
        file.touch()
        for path in (file, file / "below"):
            error = self.assertRaises(StateDirectoryError, StateDirectory, path)
            self.assertIn("cannot be used", str(error))

    def test_a_newer_journal_is_refused_at_once(self) -> None:
        store = Store(self.base)
        store.open([123], NOON)
        store._journal.execute("PRAGMA user_version = 99")
        store.close()
        error = self.assertRaises(StateDirectoryError, StateDirectory, self.base)
        self.assertIn("newer riskd", str(error))

    def test_a_damaged_journal_is_not_refused(self) -> None:
        (self.base / JOURNAL_NAME).write_bytes(b"x" * 5000)
        self.hold(self.base)

    def test_the_default_is_under_the_xdg_state_directory(self) -> None:
        for home, expected in (
            ("/somewhere/state", Path("/somewhere/state/riskd")),
            ("relative", Path.home() / ".local/state/riskd"),
            ("", Path.home() / ".local/state/riskd"),
        ):
            self.patch(os, "environ", {**os.environ, "XDG_STATE_HOME": home})
            self.assertEqual(default_directory(), expected)
