"""A published state that another machine has sent."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.copy_rows import read_states
from riskd.desk.messages import MessageError, PublishedState, decode_state, encode_state
from riskd.desk.published_state import digest, read_state
from riskd.journal.schema import MIGRATIONS, PRIVATE_TABLES, PUBLISHED_TABLES
from riskd.model.account import AccountState
from tests.support.journal import StoreTestCase, as_published, full_state


class RoundTripTests(StoreTestCase):
    """A state arrives as it was published."""

    def test_each_account_arrives_as_it_is_in_the_copy(self) -> None:
        states = (full_state(), AccountState(account_id=456))
        self.publish(*states)
        sent = read_states(self.directory)
        for state in states:
            received = decode_state(encode_state(sent[state.account_id]))
            snapshot = read_state(received, "anna", state.account_id)
            # How the daemon is, the relay knows by heartbeats and events.
            expected = msgspec.structs.replace(as_published(state), daemon=None)
            found = snapshot.accounts[state.account_id]
            self.assertEqual(found, msgspec.structs.replace(expected, contracts=found.contracts))
            self.assertLessEqual(expected.contracts.items(), found.contracts.items())
            self.assertEqual(snapshot.gateway_name, "practice")


ACCOUNT = [123, "1.50", 2, None, None, None, None, None]


def state(
    schema: int = len(MIGRATIONS), facts: dict[str, str] | None = None, **tables: Any
) -> PublishedState:
    """Return a state with one account and these tables."""
    return PublishedState(
        schema=schema, epoch=1, seq=2, facts=facts or {}, tables={"accounts": [ACCOUNT], **tables}
    )


class DigestTests(SynchronousTestCase):
    """What was read once is not read again."""

    def test_what_is_not_of_the_account_makes_no_difference(self) -> None:
        self.assertEqual(digest(state()), digest(state(facts={"as_of": "noon"})))

    def test_everything_else_does(self) -> None:
        known = state()
        digests = {
            digest(each)
            for each in (
                known,
                state(schema=1),
                state(limits=[[123, "RULE-003", "x", "{}"]]),
                # Those that travel by themselves may have been lost.
                state(quotes=[[123, "MNQ", "{}"]]),
                msgspec.structs.replace(known, seq=3),
                msgspec.structs.replace(known, epoch=2),
            )
        }
        self.assertEqual(len(digests), 6)


class RefusalTests(SynchronousTestCase):
    """What is wrong with a state is a sentence that names whose it is."""

    def refusal(self, wrong: PublishedState) -> str:
        return str(self.assertRaises(MessageError, read_state, wrong, "anna", 123))

    def test_a_sound_state_is_read(self) -> None:
        found = read_state(state(), "anna", 123).accounts
        self.assertEqual((list(found), found[123].trade_count), ([123], 2))

    def test_another_schema_is_refused_with_the_machine_to_upgrade(self) -> None:
        known = len(MIGRATIONS)
        self.assertIn("upgrade riskd on the desk's machine", self.refusal(state(known + 1)))
        for older in (known - 1, 0, -1):
            self.assertIn("upgrade riskd on the machine of anna", self.refusal(state(older)))

    def test_each_row_must_be_of_the_account(self) -> None:
        for tables in (
            {"accounts": [[456, *ACCOUNT[1:]]]},
            {"accounts": [ACCOUNT, [456, *ACCOUNT[1:]]]},
            {"accounts": [["123", *ACCOUNT[1:]]]},
            {"accounts": [[123.0, *ACCOUNT[1:]]]},
            {"lockouts": [[456, "RULE-003", "{}"]]},
            {"enforcement": [[1, 456, 0, "{}"]]},
            {"equity": [[0, 456, "1", "1", "1", "1"]]},
        ):
            self.assertIn("is of account", self.refusal(state(**tables)))

    def test_only_published_tables_are_taken(self) -> None:
        for table in (*PRIVATE_TABLES, "facts", "sqlite_master", "x; DROP TABLE accounts"):
            wrong = PublishedState(
                schema=len(MIGRATIONS), epoch=1, seq=2, facts={}, tables={table: []}
            )
            self.assertIn("it has a table", self.refusal(wrong))
        for table in {*PUBLISHED_TABLES} - {"facts", "accounts"}:
            read_state(state(**{table: []}), "anna", 123)

    def test_what_no_riskd_has_written_is_refused(self) -> None:
        for tables in (
            {"accounts": []},
            {"accounts": [ACCOUNT, ACCOUNT]},
            {"accounts": [ACCOUNT[:-1]]},
            {"accounts": [[123, "9e999999", *ACCOUNT[2:]]]},
            {"accounts": [[2**70, *ACCOUNT[1:]]]},
            {"lockouts": [[123, "RULE-003", "{}"]]},
            {"lockouts": [[123, "RULE-003", None]]},
            {"limits": [[123, "RULE-003", "x" * 65, "{}"]]},
            {"contracts": [["MNQ", "MNQ", "0", "1"]]},
            {"positions": [[123, "MNQ", "[" * 100_000]]},
            {"quotes": [[123, "MNQ", "x" * 2_000_000]]},
        ):
            self.assertIn("account 123 of anna is left out", self.refusal(state(**tables)))
        for facts in ({"as_of": "noon"}, {"commits": "x"}, {"clock_offset": "1e99"}):
            self.assertIn("is left out", self.refusal(state(facts=facts)))
