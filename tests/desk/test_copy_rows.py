"""The published copy as it travels, account by account."""

from __future__ import annotations

import msgspec

from riskd.desk.copy_rows import read_states
from riskd.journal.outbox import noted
from riskd.journal.reader import StateFileError
from riskd.journal.schema import MIGRATIONS, PUBLISHED_TABLES
from riskd.journal.store import Store
from riskd.model.account import AccountState
from riskd.model.event_number import Number
from riskd.testing import make_event
from tests.support.journal import NOON, PRIVATE, StoreTestCase, as_published, full_state, restored


class CopyTests(StoreTestCase):
    def open(self) -> Store:
        store = Store(self.directory, has_outbox=True)
        self.recovery = store.open([123, 456], NOON)
        self.addCleanup(store.close)
        return store

    def test_each_account_comes_back_from_its_rows(self) -> None:
        other = msgspec.structs.replace(full_state(), account_id=456, trades={})
        self.publish(full_state(), other)
        states = read_states(self.directory)
        self.assertEqual(set(states), {123, 456})
        for account in (full_state(), other):
            state = states[account.account_id]
            self.assertEqual(restored(state), as_published(account))

    def test_no_row_is_of_another_account_or_private(self) -> None:
        self.publish(full_state(), AccountState(account_id=456))
        state = read_states(self.directory)[456]
        self.assertLessEqual(set(state.tables), set(PUBLISHED_TABLES))
        self.assertNotIn("trades", state.tables)
        self.assertNotIn(PRIVATE, msgspec.json.encode(state).decode())

    def test_a_state_has_the_number_of_the_last_event(self) -> None:
        self.publish(full_state())
        self.assertEqual(read_states(self.directory)[123].number, Number(0, 0))
        event = noted(make_event("daemon_status", {}))
        self.store.write([full_state()], "practice", NOON, events=[event, event])
        self.store.publish()
        state = read_states(self.directory)[123]
        self.assertEqual(state.number, Number(int(NOON.timestamp()), 2))
        self.assertEqual(state.schema, len(MIGRATIONS))

    def test_without_a_copy_there_is_an_error(self) -> None:
        self.assertRaises(StateFileError, read_states, self.directory / "nowhere")
