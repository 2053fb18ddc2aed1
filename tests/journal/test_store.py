"""Writing the journal, publishing the copy, and opening a journal that is damaged."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from riskd.journal import schema
from riskd.journal import store as store_module
from riskd.journal.outbox import noted
from riskd.journal.reader import published_mark, read_published
from riskd.journal.replacement import set_aside
from riskd.journal.schema import JOURNAL_NAME, PUBLISHED_NAME, NewerSchemaError
from riskd.journal.store import Store
from riskd.model.account import AccountState, RiskState, apply, begin_day, with_risk
from riskd.testing import make_event
from tests import examples
from tests.support import strategies
from tests.support.journal import (
    NOON,
    PRIVATE,
    DamageTestCase,
    StoreTestCase,
    as_published,
    as_recovered,
    full_state,
    log_entry,
)
from tests.support.strategies import few_moments, histories

few_limits = st.dictionaries(st.sampled_from(["RULE-001", "RULE-003"]), strategies.limits)


class WriteTests(StoreTestCase):
    """Reading back what was written."""

    def test_a_new_journal_has_no_accounts(self) -> None:
        self.assertEqual((self.recovery.accounts, self.recovery.problem), ({}, ""))

    def test_a_whole_state_comes_back_after_a_stop(self) -> None:
        state = full_state()
        self.write(state)
        self.store.close()
        self.open()
        self.assertEqual(self.recovery.accounts, {123: as_recovered(state)})

    def test_a_whole_state_comes_back_after_a_crash(self) -> None:
        state = full_state()
        self.write(state)
        self.crash()
        self.open()
        self.assertEqual(self.recovery.accounts, {123: as_recovered(state)})

    def test_an_unchanged_state_is_not_written_again(self) -> None:
        state = full_state()
        self.assertTrue(self.write(state))
        self.assertFalse(self.write(state, at=NOON + timedelta(hours=1)))

    def test_ended_orders_and_locks_and_trades_of_the_day_before_are_deleted(self) -> None:
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
        self.assertEqual(recovered, as_recovered(state))
        self.assertEqual((recovered.orders, recovered.lockouts, recovered.trades), ({}, {}, {}))

    def test_two_accounts_are_both_published(self) -> None:
        other = AccountState(account_id=456)
        self.write(full_state(), other)
        self.assertEqual(set(self.publish(full_state(), other).accounts), {123, 456})

    def test_enforcement_of_earlier_days_stays_in_the_journal_but_leaves_the_copy(self) -> None:
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

    def test_limits_and_private_rows_are_deleted_with_the_state(self) -> None:
        self.write(full_state())
        state = msgspec.structs.replace(full_state(), limits={}, risk=RiskState())
        self.write(state, at=NOON + timedelta(seconds=2))
        self.store.close()
        self.open()
        recovered = self.recovery.accounts[123]
        kept = RiskState(results=full_state().risk.results)
        self.assertEqual((recovered.limits, recovered.risk), ({}, kept))

    def test_a_day_that_began_without_a_reset_comes_back(self) -> None:
        state = begin_day(AccountState(account_id=123), NOON)
        self.assertEqual(self.publish(state).accounts[123], state)
        self.store.close()
        self.open()
        self.assertEqual(self.recovery.accounts, {123: state})

    def test_an_empty_account_is_written_once(self) -> None:
        state = AccountState(account_id=123)
        self.assertTrue(self.write(state))
        self.assertFalse(self.write(state))

    def logged(self) -> list[str]:
        """Return the data of all log entries."""
        rows = self.store._journal.execute("SELECT data FROM log ORDER BY number")
        return [data for (data,) in rows]

    def test_log_entries_that_leave_the_state_stay_in_the_log(self) -> None:
        entries = [log_entry(number) for number in range(6)]
        for begin, end in ((0, 1), (0, 3), (2, 4), (3, 4), (4, 4), (4, 6), (0, 0)):
            self.write(with_risk(full_state(), log=tuple(entries[begin:end])))
        self.assertEqual(self.logged(), [each.data for each in entries])

    def test_log_entries_in_another_order_are_not_logged_twice(self) -> None:
        first, second, third = log_entry(1), log_entry(2), log_entry(3)
        for log in ((first, second), (second, first, third), (third, first)):
            self.write(with_risk(full_state(), log=log))
        self.assertEqual(self.logged(), [each.data for each in (first, second, third)])

    def test_a_new_daemon_appends_to_the_log(self) -> None:
        self.write(full_state())
        self.store.close()
        self.store = self.open()
        self.write(with_risk(self.recovery.accounts[123], log=(log_entry(2),)))
        self.assertEqual(self.logged(), [log_entry(1).data, log_entry(2).data])

    def test_an_enforcement_action_is_stored_once(self) -> None:
        state = full_state()
        for second in range(1, 6):
            stamp = (NOON + timedelta(seconds=second)).isoformat()
            state = apply(state, make_event("enforcement_action", {"timestamp": stamp}))
            self.write(state)
        self.write(begin_day(state, NOON + timedelta(seconds=3)))
        count = self.store._journal.execute("SELECT count(*) FROM enforcement").fetchone()
        self.assertEqual(count, (6,))

    def test_quotes_are_left_out_of_a_write_that_does_not_take_them(self) -> None:
        state = full_state()
        self.write(state)
        later = apply(state, make_event("MarketQuote", {"last": 1}))
        at = NOON + timedelta(seconds=5)
        self.assertFalse(self.store.write([later], "practice", at, takes_quotes=False))
        self.assertFalse(self.store.has_all_quotes)
        self.assertTrue(self.store.write([later], "practice", at))
        self.assertTrue(self.store.has_all_quotes)

    def test_a_failed_write_changes_nothing_and_can_be_repeated(self) -> None:
        self.write(full_state())
        self.store._journal.execute(
            "CREATE TEMP TRIGGER no BEFORE INSERT ON main.trades BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        state = full_state()
        for event in (
            make_event("lockout_set", {"rule_id": "X"}),
            make_event("GatewayUserTrade", {}),
        ):
            state = apply(state, event)
        self.assertRaises(sqlite3.Error, self.write, state)
        self.store._journal.execute("DROP TRIGGER no")
        self.assertEqual(self.publish(full_state()).accounts[123], as_published(full_state()))
        self.assertEqual(self.publish(state).accounts[123], as_published(state))

    def test_every_file_is_private_but_the_published_copy(self) -> None:
        self.publish(full_state())
        for path, mode in ((self.journal, 0o600), (self.published, 0o644)):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode)
        for path in self.directory.iterdir():
            if path != self.published:
                self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

    def test_a_commit_is_synced_to_survive_a_power_cut(self) -> None:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2)):
            self.assertEqual(self.store._journal.execute(f"PRAGMA {pragma}").fetchone(), (value,))

    @settings(max_examples=examples(20))
    @given(st.lists(st.tuples(histories(), strategies.risks, few_limits, few_moments), max_size=4))
    def test_any_history_is_published_and_recovered_as_written(self, days: list[Any]) -> None:
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        store = self.store = self.open()
        state = AccountState(account_id=123)
        for number, (history, risk, limits, began) in enumerate(days):
            for event in history:
                state = apply(state, event)
            state = msgspec.structs.replace(state, limits=limits, risk=risk)
            if state.day_began is None or began > state.day_began:
                state = begin_day(state, began)
            snapshot = self.publish(state, at=NOON + timedelta(seconds=number))
            # An action that is dated before the day began is in the table but not among the day's.
            actions = tuple(a for a in state.enforcement if a.timestamp >= state.day_began)
            expected = msgspec.structs.replace(state, enforcement=actions)
            self.assertEqual(snapshot.accounts[123], as_published(expected))
            store.close()
            store = self.store = self.open()
            self.assertEqual(self.recovery.accounts[123], as_recovered(expected))
        store.close()


class PublishTests(StoreTestCase):
    """The published copy."""

    def test_reading_the_copy_leaves_no_file(self) -> None:
        snapshot = self.publish(full_state())
        self.assertEqual((snapshot.as_of, snapshot.gateway_name), (NOON, "practice"))
        before = sorted(path.name for path in self.directory.iterdir())
        self.assertEqual(read_published(self.directory), snapshot)
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), before)
        self.assertFalse(any(PUBLISHED_NAME + "-" in name for name in before))

    def test_an_unchanged_journal_is_not_published_again(self) -> None:
        self.publish(full_state())
        mark = published_mark(self.directory)
        self.publish(full_state())
        self.assertEqual(published_mark(self.directory), mark)
        self.publish(AccountState(account_id=123))
        self.assertNotEqual(published_mark(self.directory), mark)

    def test_a_reader_keeps_the_copy_that_it_has_opened(self) -> None:
        self.publish(full_state())
        reader = sqlite3.connect(f"file:{self.published}?mode=ro&immutable=1", uri=True)
        self.publish(AccountState(account_id=123))
        self.assertEqual(reader.execute("SELECT count(*) FROM trades").fetchone(), (2,))
        reader.close()

    def test_limits_are_published(self) -> None:
        limits = self.publish(full_state()).accounts[123].limits
        self.assertEqual(limits, full_state().limits)

    def test_no_private_row_is_in_the_copy(self) -> None:
        self.store.close()
        self.store = Store(self.directory, has_outbox=True)
        self.store.open([123], NOON)
        self.addCleanup(self.store.close)
        event = noted(make_event("daemon_status", {"message": PRIVATE}))
        self.store.write([full_state()], "practice", NOON, events=[event])
        self.assertEqual(self.publish(full_state()).accounts[123], as_published(full_state()))
        copy = sqlite3.connect(self.published)
        self.addCleanup(copy.close)
        for table in schema.PRIVATE_TABLES:
            query = f"SELECT count(*) FROM {table}"  # noqa: S608
            self.assertEqual(self.store._journal.execute(query).fetchone(), (1,), table)
            self.assertEqual(copy.execute(query).fetchone(), (0,), table)
        # Nor in an unused part of the file.
        self.assertNotIn(PRIVATE.encode(), self.published.read_bytes())

    def test_actions_of_an_account_whose_day_is_unknown_are_published(self) -> None:
        action = make_event("enforcement_action", {})
        state = apply(AccountState(account_id=123), action)
        self.assertEqual(self.publish(state).accounts[123].enforcement, (action.data,))

    def test_an_unfinished_copy_of_a_killed_daemon_is_replaced(self) -> None:
        (self.directory / ".last-known.db.new").write_bytes(b"half")
        self.assertEqual(set(self.publish(full_state()).accounts), {123})

    def test_the_copy_passes_an_integrity_check(self) -> None:
        self.publish(full_state())
        copy = sqlite3.connect(self.published)
        self.assertEqual(copy.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        copy.close()


class DamageTests(DamageTestCase):
    """A damaged journal is set aside, and no lock is lost."""

    def test_a_truncated_journal_loses_no_lock(self) -> None:
        self.damage(lambda content: content[: len(content) // 2])
        self.assert_locks_kept()

    def test_an_emptied_journal_loses_no_lock(self) -> None:
        self.damage(lambda _: b"")
        self.assert_locks_kept()

    def test_a_deleted_journal_loses_no_lock(self) -> None:
        self.damage(lambda _: b"")
        self.journal.unlink()
        self.assert_locks_kept()

    def test_random_bytes_in_the_header_lose_no_lock(self) -> None:
        for seed in range(20):
            with self.subTest(seed=seed):
                header = bytes((seed * 37 + i * 101) % 256 for i in range(100))
                self.damage(lambda content, header=header: header + content[100:])
                self.assert_locks_kept()
                self.store.close()
                shutil.rmtree(self.directory)
                self.directory.mkdir()
                self.store = self.open()

    def test_a_zeroed_page_anywhere_loses_no_lock(self) -> None:
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
        """Assert that a journal of these bytes is opened with the locks of :func:`full_state`."""
        self.store.close()
        for path in self.directory.iterdir():
            if path != self.published:
                path.unlink()
        self.journal.write_bytes(content)
        self.store = self.open()
        self.assertEqual(set(self.recovery.accounts[123].lockouts), {"RULE-003", "RULE-007"})
        self.store.close()

    def test_a_changed_byte_of_the_header_loses_no_lock(self) -> None:
        self.publish(full_state())
        self.store.close()
        whole = self.journal.read_bytes()
        # Bytes 60 to 63 are the version.  A newer version is refused, which loses nothing.
        for place in (*range(60), *range(64, 100)):
            with self.subTest(place=place):
                self.assert_locks_survive(whole[:place] + b"\xff" + whole[place + 1 :])

    def test_random_bytes_anywhere_lose_no_lock(self) -> None:
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
                # Only the version was changed: refused, which loses nothing.
                self.store.close()

    def test_locks_that_were_deleted_with_another_tool_come_back_from_the_copy(self) -> None:
        self.publish(full_state())
        self.store._journal.execute("DELETE FROM lockouts")
        self.store.close()
        with sqlite3.connect(self.journal) as journal:
            journal.execute("UPDATE facts SET value = '0' WHERE name = 'commits'")
        journal.close()
        self.assert_locks_kept()

    def test_commits_that_were_lost_with_the_end_of_the_log_come_back_from_the_copy(self) -> None:
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

    def test_a_full_disk_during_the_recovery_loses_no_lock(self) -> None:
        self.damage(lambda content: content[: len(content) // 2])
        for step in ("_open_whole", "_write", "set_aside"):
            store = Store(self.directory)
            place: Any = store_module if step == "set_aside" else store
            real = getattr(place, step)
            calls = []

            def fail(*arguments: object, real: Any = real, calls: Any = calls) -> object:
                calls.append(arguments)
                if step == "_open_whole" and len(calls) == 1:  # noqa: B023
                    return real(*arguments)
                raise OSError(28, "No space left on device")

            failing = self.patch(place, step, fail)
            self.assertRaises(OSError, store.open, [123, 456], NOON)
            failing.restore()
            self.assertFalse(store.is_open)
        self.assert_locks_kept()

    def test_a_crash_during_the_recovery_loses_no_lock(self) -> None:
        self.damage(lambda content: content[: len(content) // 2])
        set_aside(self.journal, NOON, "damaged")
        self.assert_locks_kept()

    def test_an_event_that_cannot_be_decoded_loses_no_lock(self) -> None:
        self.damage(lambda content: content.replace(b"profitAndLoss", b"profitAndXoss"))
        self.assert_locks_kept()

    def test_the_damaged_journal_is_kept_as_it_was(self) -> None:
        self.damage(lambda _: b"x" * 5000)
        self.open()
        (aside,) = (path for path in self.directory.iterdir() if ".damaged-" in path.name)
        self.assertEqual(aside.read_bytes(), b"x" * 5000)
