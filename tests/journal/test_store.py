"""The journal on the disk: written, published, read back, damaged and mended."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.journal import schema
from riskd.journal.differences import differences
from riskd.journal.paths import JOURNAL_NAME, PUBLISHED_NAME, default_directory
from riskd.journal.reader import Snapshot, StateFileError, published_mark, read_published
from riskd.journal.salvage import DAMAGE_RULE
from riskd.journal.schema import MIGRATIONS, NewerSchemaError, migrate
from riskd.journal.state_directory import StateDirectory, StateDirectoryError
from riskd.journal.store import Store
from riskd.model.account import (
    AccountState,
    Charge,
    Flattening,
    Limit,
    LogEntry,
    OrderDetail,
    RiskState,
    apply,
    begin_day,
)
from riskd.model.contracts import known_contract
from riskd.model.events import Action, LockoutSet
from riskd.testing import make_event
from tests.model.test_account import few_moments, histories
from tests.support import strategies

NOON = datetime(2025, 1, 17, 12, 0, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.U25"
PRIVATE = '{"what":"only the daemon knows"}'


def kept(state: AccountState) -> AccountState:
    """What is recovered: what has ended, and more of orders, is the gateway's to know."""
    risk = msgspec.structs.replace(state.risk, order_details={}, earlier_trades={}, log=())
    return msgspec.structs.replace(state, final_orders={}, risk=risk)


def shown(state: AccountState) -> AccountState:
    """What is published."""
    return msgspec.structs.replace(state, final_orders={}, risk=RiskState())


def lock(rule_id: str, until: datetime | None = None) -> LockoutSet:
    return LockoutSet(reason="Too much", locked_until=until, rule_id=rule_id, locked_at=NOON)


def flattening(*locks: LockoutSet) -> Flattening:
    return Flattening(
        action=Action.CLOSE_ALL_AND_LOCKOUT,
        rule_id="RULE-003",
        reason="Too much",
        begun=NOON,
        keep={MNQ: 1},
        locks=locks,
    )


def entry(number: int) -> LogEntry:
    return LogEntry(NOON + timedelta(seconds=number), "operator", f'{{"number":{number}}}')


def with_risk(state: AccountState, **changes: Any) -> AccountState:
    risk = msgspec.structs.replace(state.risk, **changes)
    return msgspec.structs.replace(state, risk=risk)


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
    state = apply(state, make_event("daemon_status", {}))
    return msgspec.structs.replace(
        state,
        limits={"RULE-001": Limit("max_contracts", '{"limit":5}')},
        risk=RiskState(
            can_trade=True,
            order_details={7: OrderDetail(filled=1)},
            charges={1: Charge(NOON, Decimal("1.48"))},
            memory={"RULE-006": PRIVATE},
            flattening=flattening(lock("RULE-003")),
            day_key=date(2025, 1, 17),
            log=(entry(1),),
        ),
    )


few_limits = st.dictionaries(st.sampled_from(["RULE-001", "RULE-003"]), strategies.limits)


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
        self.assertEqual(self.recovery.accounts, {123: kept(state)})

    def test_a_whole_state_comes_back_after_a_crash(self) -> None:
        state = full_state()
        self.write(state)
        self.crash()
        self.open()
        self.assertEqual(self.recovery.accounts, {123: kept(state)})

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
        self.assertEqual(recovered, kept(state))
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

    def test_what_the_daemon_knows_no_more_is_gone(self) -> None:
        self.write(full_state())
        state = msgspec.structs.replace(full_state(), limits={}, risk=RiskState())
        self.write(state, at=NOON + timedelta(seconds=2))
        self.store.close()
        self.open()
        recovered = self.recovery.accounts[123]
        self.assertEqual((recovered.limits, recovered.risk), ({}, RiskState()))

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
        """What the log says, after a restart too."""
        rows = self.store._journal.execute("SELECT data FROM log ORDER BY number")
        return [data for (data,) in rows]

    def test_what_is_logged_is_added_and_never_taken_away(self) -> None:
        entries = [entry(number) for number in range(6)]
        for begin, end in ((0, 1), (0, 3), (2, 4), (3, 4), (4, 4), (4, 6), (0, 0)):
            self.write(with_risk(full_state(), log=tuple(entries[begin:end])))
        self.assertEqual(self.logged(), [each.data for each in entries])

    def test_what_was_logged_and_told_in_another_order_is_not_logged_twice(self) -> None:
        first, second, third = entry(1), entry(2), entry(3)
        for log in ((first, second), (second, first, third), (third, first)):
            self.write(with_risk(full_state(), log=log))
        self.assertEqual(self.logged(), [each.data for each in (first, second, third)])

    def test_a_new_daemon_goes_on_with_the_log(self) -> None:
        self.write(full_state())
        self.store.close()
        self.store = self.open()
        self.write(with_risk(self.recovery.accounts[123], log=(entry(2),)))
        self.assertEqual(self.logged(), [entry(1).data, entry(2).data])

    def test_actions_of_the_day_are_logged_once(self) -> None:
        state = full_state()
        for second in range(1, 6):
            stamp = (NOON + timedelta(seconds=second)).isoformat()
            state = apply(state, make_event("enforcement_action", {"timestamp": stamp}))
            self.write(state)
        self.write(begin_day(state, NOON + timedelta(seconds=3)))
        count = self.store._journal.execute("SELECT count(*) FROM enforcement").fetchone()
        self.assertEqual(count, (6,))

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
        self.assertEqual(self.publish(full_state()).accounts[123], shown(full_state()))
        self.assertEqual(self.publish(state).accounts[123], shown(state))

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
    @given(st.lists(st.tuples(histories(), strategies.risks, few_limits, few_moments), max_size=4))
    def test_whatever_happens_what_was_written_is_read(self, days: list[Any]) -> None:
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
            # An action from before the day that came after it began is in the log, not in the day.
            actions = tuple(a for a in state.enforcement if a.timestamp >= state.day_began)
            expected = msgspec.structs.replace(state, enforcement=actions)
            self.assertEqual(snapshot.accounts[123], shown(expected))
            store.close()
            store = self.store = self.open()
            self.assertEqual(self.recovery.accounts[123], kept(expected))
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

    def test_limits_are_published(self) -> None:
        limits = self.publish(full_state()).accounts[123].limits
        self.assertEqual(limits, full_state().limits)

    def test_nothing_private_is_in_it(self) -> None:
        self.assertEqual(self.publish(full_state()).accounts[123], shown(full_state()))
        copy = sqlite3.connect(self.published)
        self.addCleanup(copy.close)
        for table in schema.PRIVATE_TABLES:
            query = f"SELECT count(*) FROM {table}"  # noqa: S608
            self.assertEqual(self.store._journal.execute(query).fetchone(), (1,), table)
            self.assertEqual(copy.execute(query).fetchone(), (0,), table)
        # Nor is any of it in a part of the file that is not in use.
        self.assertNotIn(PRIVATE.encode(), self.published.read_bytes())

    def test_actions_of_an_account_whose_day_is_unknown_are_published(self) -> None:
        action = make_event("enforcement_action", {})
        state = apply(AccountState(account_id=123), action)
        self.assertEqual(self.publish(state).accounts[123].enforcement, (action.data,))

    def test_a_copy_left_half_made_is_no_hindrance(self) -> None:
        (self.directory / ".last-known.db.new").write_bytes(b"half")
        self.assertEqual(set(self.publish(full_state()).accounts), {123})

    def test_the_copy_is_a_sound_database(self) -> None:
        self.publish(full_state())
        copy = sqlite3.connect(self.published)
        self.assertEqual(copy.execute("PRAGMA integrity_check").fetchone(), ("ok",))
        copy.close()


class DifferencesTests(SynchronousTestCase):
    """A write costs what has changed."""

    def test_what_is_shared_is_not_looked_at(self) -> None:
        # Whatever touches these fails: they can neither be hashed nor compared nor gone through.
        touchy: Any = Untouchable()
        unseen = AccountState(
            account_id=123,
            contracts=touchy,
            positions=touchy,
            orders=touchy,
            trades=touchy,
            quotes=touchy,
            lockouts=touchy,
            enforcement=(touchy,),
            limits=touchy,
            risk=RiskState(memory=touchy, charges=touchy, log=(touchy,)),
        )
        after = msgspec.structs.replace(unseen, trade_count=1)
        ((sql, _values),) = differences(unseen, after)
        self.assertIn("INTO accounts", sql)

    def test_what_is_added_at_the_end_is_found_without_hashing_the_rest(self) -> None:
        touchy: Any = Untouchable()
        before = AccountState(account_id=123, risk=RiskState(log=(touchy, entry(1))))
        for log in ((touchy, entry(1), entry(2)), (entry(1), entry(2))):
            (statement,) = differences(before, with_risk(before, log=log))
            self.assertEqual(statement[1][-1], entry(2).data)


class Untouchable:
    """Stands in for what must not be looked at."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        if self is other:
            raise AssertionError("compared with itself")
        return NotImplemented

    def __iter__(self) -> Any:
        raise AssertionError("gone through")


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

    def damage(self, change: Any, state: AccountState | None = None) -> None:
        self.publish(state or full_state())
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

    def without_commits(self) -> None:
        """Damage the journal in nothing but that it has forgotten how often it was written."""
        with closing(sqlite3.connect(self.journal, isolation_level=None)) as journal:
            journal.execute("UPDATE facts SET value = '0' WHERE name = 'commits'")

    def test_locks_that_were_about_to_be_set_are_not_lost(self) -> None:
        locks = (lock("RULE-007", NOON + timedelta(hours=9)), lock("RULE-009"))
        state = with_risk(full_state(), flattening=flattening(*locks))
        self.damage(lambda content: content, state)
        self.without_commits()
        self.open()
        self.assertIn("its lockouts were saved", self.recovery.problem)
        recovered = self.recovery.accounts[123]
        self.assertEqual(set(recovered.lockouts), {"RULE-003", "RULE-007", "RULE-009"})
        # Of two locks of one rule the longer one holds.
        self.assertEqual(recovered.lockouts["RULE-007"], locks[0])
        self.assertEqual(recovered.risk, RiskState(flattening=flattening(*locks)))
        self.store = self.open()
        self.assertEqual(self.recovery.accounts[123], recovered)

    def test_a_lock_that_was_about_to_be_set_shortens_none(self) -> None:
        locks = (lock("RULE-003", NOON), lock("RULE-007", NOON))
        state = with_risk(full_state(), flattening=flattening(*locks))
        self.damage(lambda content: content, state)
        self.without_commits()
        self.open()
        self.assertEqual(self.recovery.accounts[123].lockouts, full_state().lockouts)

    def test_a_flatten_of_an_account_that_has_no_locks_is_saved(self) -> None:
        state = with_risk(AccountState(account_id=789), flattening=flattening(lock("RULE-009")))
        self.damage(lambda content: content, state)
        self.without_commits()
        self.open()
        self.assertEqual(set(self.recovery.accounts), {123, 456, 789})
        self.assertEqual(set(self.recovery.accounts[789].lockouts), {"RULE-009"})

    def test_a_flatten_that_cannot_be_read_spoils_no_lock(self) -> None:
        self.damage(lambda content: content.replace(b'"begun"', b'"gebun"'))
        self.assert_locks_kept()
        self.assertEqual(self.recovery.accounts[123].risk, RiskState())

    def test_of_several_flattens_those_that_can_be_read_are_saved(self) -> None:
        others = [
            with_risk(AccountState(account_id=number), flattening=flattening(lock("RULE-009")))
            for number in (1, 456)
        ]
        self.write(*others)
        self.store._journal.execute("UPDATE flattenings SET data = '{}' WHERE account_id = 1")
        self.damage(lambda content: content)
        self.without_commits()
        self.open()
        self.assertEqual(set(self.recovery.accounts), {123, 456})
        self.assertEqual(set(self.recovery.accounts[456].lockouts), {"RULE-009"})

    def test_a_damaged_journal_of_an_older_riskd_keeps_its_locks(self) -> None:
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


_VERSION_1 = (
    ("INSERT INTO facts VALUES (?, ?)", "as_of", "2025-01-17T12:00:00+00:00"),
    ("INSERT INTO facts VALUES (?, ?)", "gateway", "practice"),
    ("INSERT INTO facts VALUES (?, ?)", "commits", "41"),
    (
        "INSERT INTO facts VALUES (?, ?)",
        "daemon_status",
        '{"status":"RUNNING","message":"Daemon started","timestamp":"2025-01-17T11:00:00Z"}',
    ),
    (
        "INSERT INTO accounts VALUES (?, ?, ?, ?, ?)",
        123,
        "-45.50",
        1,
        (
            '{"reset_time":"2025-01-16T23:00:00Z","previous_pnl":12.5,"previous_trade_count":3,'
            '"lockouts_cleared":true}'
        ),
        1737068400000,
    ),
    ("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", 456, "0.00", 0, None, None),
    ("INSERT INTO contracts VALUES (?, ?, ?, ?)", MNQ, "MNQU5", "0.25", "0.5"),
    (
        "INSERT INTO positions VALUES (?, ?, ?)",
        123,
        MNQ,
        (
            f'{{"id":1,"contractId":"{MNQ}","type":1,"size":2,"averagePrice":21000.25,'
            '"createdAt":"2025-01-17T11:00:00Z","updatedAt":"2025-01-17T11:00:00Z"}'
        ),
    ),
    (
        "INSERT INTO orders VALUES (?, ?, ?)",
        123,
        7,
        (
            f'{{"id":7,"contractId":"{MNQ}","type":3,"side":2,"size":2,"limitPrice":null,'
            '"stopPrice":20990,"state":1,"createdAt":"2025-01-17T11:00:00Z",'
            '"updatedAt":"2025-01-17T11:00:00.250Z"}'
        ),
    ),
    (
        "INSERT INTO trades VALUES (?, ?, ?)",
        123,
        1,
        (
            f'{{"id":1,"contractId":"{MNQ}","profitAndLoss":-45.50,"quantity":1,'
            '"executionTime":"2025-01-17T11:00:00Z","timestamp":"2025-01-17T11:00:00Z"}'
        ),
    ),
    (
        "INSERT INTO quotes VALUES (?, ?, ?)",
        123,
        MNQ,
        (
            f'{{"contractId":"{MNQ}","bid":21000,"ask":21000.25,"last":21000,'
            '"timestamp":"2025-01-17T11:59:59Z"}'
        ),
    ),
    (
        "INSERT INTO lockouts VALUES (?, ?, ?)",
        123,
        "RULE-003",
        (
            '{"reason":"Daily loss","locked_until":null,"rule_id":"RULE-003",'
            '"locked_at":"2025-01-17T11:00:00Z"}'
        ),
    ),
    # The first of them is of the day before.
    *(
        (
            "INSERT INTO enforcement (account_id, at, data) VALUES (?, ?, ?)",
            123,
            at,
            (
                f'{{"action":"CLOSE_ALL_POSITIONS","reason":"Daily loss","rule_id":"RULE-003",'
                f'"success":true,"timestamp":"{stamp}",'
                '"details":{"positions_closed":1,"orders_canceled":0}}'
            ),
        )
        for at, stamp in (
            (1737028800000, "2025-01-16T12:00:00Z"),
            (1737111600000, "2025-01-17T11:00:00Z"),
        )
    ),
)


def write_version_1(path: Path) -> None:
    """Write a journal as the first riskd did."""
    with closing(sqlite3.connect(path, isolation_level=None)) as journal:
        journal.executescript(MIGRATIONS[0])
        journal.execute("PRAGMA application_id = 0x7269736B")
        journal.execute("PRAGMA user_version = 1")
        for sql, *values in _VERSION_1:
            journal.execute(sql, values)


class SchemaTests(StoreTestCase):
    """Older and newer journals."""

    def assert_is_of_version_1(self, account: AccountState) -> None:
        """See that what an account of the first riskd's journal held is all there."""
        self.assertEqual(str(account.realized_pnl), "-45.50")
        self.assertEqual(account.trade_count, 1)
        assert account.last_reset is not None
        self.assertEqual(account.last_reset.previous_trade_count, 3)
        self.assertEqual(account.day_began, account.last_reset.reset_time)
        self.assertEqual(account.contracts[MNQ].name, "MNQU5")
        self.assertEqual(account.positions[MNQ].size, 2)
        self.assertEqual(account.orders[7].stop_price, 20990)
        self.assertEqual(account.trades[1].quantity, 1)
        self.assertEqual(account.quotes[MNQ].last, 21000)
        self.assertEqual(account.lockouts["RULE-003"].reason, "Daily loss")
        self.assertEqual([done.timestamp.day for done in account.enforcement], [17])
        self.assertEqual((account.limits, account.risk), ({}, RiskState()))
        assert account.daemon is not None
        self.assertEqual(account.daemon.message, "Daemon started")

    def test_a_journal_of_the_first_riskd_is_brought_up_to_date(self) -> None:
        self.store.close()
        self.journal.unlink()
        write_version_1(self.journal)
        self.store = self.open()
        self.assertEqual(self.recovery.problem, "")
        self.assert_is_of_version_1(self.recovery.accounts[123])
        self.assertEqual(self.recovery.accounts[456].day_began, None)
        with closing(sqlite3.connect(self.directory / f"{JOURNAL_NAME}.v1.backup")) as backup:
            self.assertEqual(backup.execute("PRAGMA user_version").fetchone(), (1,))
            self.assertEqual(backup.execute("SELECT count(*) FROM trades").fetchone(), (1,))
        # And it holds what is new.
        state = msgspec.structs.replace(
            self.recovery.accounts[123], limits=full_state().limits, risk=full_state().risk
        )
        snapshot = self.publish(state)
        self.assertEqual((snapshot.accounts[123], snapshot.commits), (shown(state), 42))
        self.store.close()
        self.open()
        self.assertEqual(self.recovery.accounts[123], kept(state))

    def test_a_copy_of_the_first_riskd_can_be_read(self) -> None:
        write_version_1(self.published)
        before = self.published.read_bytes()
        snapshot = read_published(self.directory)
        self.assert_is_of_version_1(snapshot.accounts[123])
        self.assertEqual((snapshot.as_of, snapshot.commits), (NOON, 41))
        self.assertEqual(self.published.read_bytes(), before)

    def test_a_journal_of_the_first_riskd_that_lost_what_was_published_is_damaged(self) -> None:
        self.store.close()
        write_version_1(self.published)
        self.journal.unlink()
        write_version_1(self.journal)
        with closing(sqlite3.connect(self.journal, isolation_level=None)) as journal:
            journal.execute("UPDATE facts SET value = '40' WHERE name = 'commits'")
        self.store = self.open()
        self.assertIn("has lost what was published", self.recovery.problem)

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

    def test_the_copy_of_an_older_journal_is_private_before_anything_is_in_it(self) -> None:
        backup = self.directory / f"{JOURNAL_NAME}.v{len(MIGRATIONS)}.backup"
        modes: list[int] = []

        def note_mode(sql: str) -> None:
            if sql.startswith("VACUUM INTO"):
                modes.append(stat.S_IMODE(backup.stat().st_mode))

        self.addCleanup(os.umask, os.umask(0))
        self.write(full_state())
        connection = self.connect()
        # One that anybody may read was left there.
        backup.touch(0o644)
        connection.set_trace_callback(note_mode)
        migrate(connection, self.journal, (*MIGRATIONS, "CREATE TABLE later (x);"))
        self.assertEqual(modes, [0o600])
        self.assertEqual(stat.S_IMODE(backup.stat().st_mode), 0o600)

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
        self.assertEqual(
            {name for (name,) in connection.execute(query)},
            set(schema.PUBLISHED_TABLES + schema.PRIVATE_TABLES),
        )


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
        error = self.assertRaises(NewerSchemaError, StateDirectory, self.base)
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
