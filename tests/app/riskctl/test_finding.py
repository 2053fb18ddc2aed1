"""Which riskd ``riskctl`` operates without ``--state``."""

from __future__ import annotations

import os
from pathlib import Path

from riskd.app.riskctl.finding import daemon_directory
from riskd.app.riskctl.journal_finding import journal_directory
from riskd.control.protocol import SOCKET_NAME
from riskd.host.errors import UserError
from riskd.host.users import group_name
from tests.support.state_directories import (
    PAPER,
    REAL,
    StateHomeTestCase,
    locked,
    write_earlier_state,
    write_record,
    write_state,
)


class FindingTestCase(StateHomeTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []
        self.paper, self.real = self.root / "practice", self.root / REAL.key

    def daemon(self, account_id: int | None = None) -> Path:
        return daemon_directory(None, account_id, self.said.append)

    def journal(self, account_id: int) -> Path:
        return journal_directory(None, account_id, self.said.append)

    def refusal(self, *accounts: int) -> str:
        return str(self.assertRaises(UserError, self.daemon, *accounts))


class DaemonTests(FindingTestCase):
    """Commands that ask the daemon."""

    def test_a_named_directory_is_taken_as_it_is(self) -> None:
        write_record(self.paper, 123)
        self.assertEqual(daemon_directory(Path("x"), 123, self.said.append), Path("x"))
        self.assertEqual(journal_directory(Path("x"), 123, self.said.append), Path("x"))

    def test_the_only_riskd_that_runs_is_asked_without_a_word(self) -> None:
        write_record(self.paper, 123, port=9000)
        for accounts in ((), (123,), (999,)):
            self.assertEqual(self.daemon(*accounts), self.paper)
        self.assertEqual(self.said, [])

    def test_without_one_it_says_where_it_looked(self) -> None:
        write_record(self.paper, 123, is_dead=True)
        self.assertIn(f"riskd is not running (no state directory in {self.root}", self.refusal())

    def test_a_hint_leads_to_the_machines_own_riskd_whose_directory_is_shut(self) -> None:
        self.assertNotIn("members of the group", self.refusal())
        self.system.mkdir()
        self.assertNotIn("members of the group", self.refusal())
        # Root may search every directory.
        self.patch(os, "access", lambda path, _mode: path != self.system)
        group = group_name(self.system.stat().st_gid)
        hint = f"members of the group {group} may ask the riskd in {self.system}"
        self.assertIn(hint, self.refusal())

    def test_of_several_the_choice_is_said(self) -> None:
        write_record(self.paper, 123)
        write_record(self.real, 123, 999, port=9000, kind="projectx")
        self.assertEqual(self.daemon(123), self.paper)
        self.assertIn("this is PRACTICE on port 8765", self.said.pop())
        self.assertEqual(self.daemon(999), self.real)
        self.assertIn("this is projectx on port 9000", self.said.pop())

    def test_several_without_the_usual_port_are_listed(self) -> None:
        write_record(self.paper, 123, port=9001)
        write_record(self.real, 123, port=9000, kind="projectx")
        for accounts in ((), (123,)):
            said = self.refusal(*accounts)
            self.assertIn("PRACTICE on port 9001", said)
            self.assertIn("projectx on port 9000", said)
            self.assertIn("choose one with --state", said)

    def test_an_account_that_none_of_several_follows_is_a_sentence(self) -> None:
        write_record(self.paper, 123)
        write_record(self.real, 456, port=9000, kind="projectx")
        self.assertIn("no riskd that runs follows account 7: PRACTICE", self.refusal(7))

    def test_an_earlier_riskd_that_still_runs_is_asked(self) -> None:
        self.root.mkdir()
        (self.root / SOCKET_NAME).touch()
        self.assertEqual(self.daemon(), self.root)


class JournalTests(FindingTestCase):
    """The journal, with and without a daemon."""

    def test_the_journal_of_the_riskd_that_runs_comes_first(self) -> None:
        write_state(self.real, REAL, locked(123), locked(7))
        write_state(self.paper, PAPER, locked(123))
        write_record(self.real, 123, port=9000, kind="projectx")
        self.assertEqual(self.journal(123), self.real)

    def test_an_account_that_it_does_not_follow_is_looked_for_in_the_others(self) -> None:
        write_state(self.real, REAL, locked(7))
        write_record(self.paper, 123)
        self.assertEqual(self.journal(7), self.real)

    def test_without_a_riskd_the_state_published_last_comes_first(self) -> None:
        write_state(self.paper, PAPER, locked(123))
        write_state(self.real, REAL, locked(123))
        self.assertEqual(self.journal(123), self.real)
        self.assertIn("this is that of projectx", self.said[0])

    def test_an_account_that_none_knows_is_a_sentence(self) -> None:
        write_state(self.paper, PAPER, locked(123))
        error = self.assertRaises(UserError, self.journal, 7)
        self.assertIn(f"no state directory in {self.root} knows account 7", str(error))

    def test_the_journal_of_an_earlier_riskd_is_found(self) -> None:
        write_earlier_state(self.root, "practice")
        self.assertEqual((self.journal(123), self.journal(7)), (self.root, self.root))
