"""Which daemon and which state file a console follows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from riskd.host.errors import UserError
from riskd.journal.discovery import SeveralDaemonsError
from riskd.journal.reader import Snapshot, StateFileError
from riskd.journal.schema import PUBLISHED_NAME
from tests.support.state_directories import (
    PAPER,
    REAL,
    StateHomeTestCase,
    locked,
    write_earlier_state,
    write_record,
    write_state,
)
from trader.client import DEFAULT_URL, Handshake
from trader.model.followed_daemon import FollowedDaemon


class FollowingTestCase(StateHomeTestCase):
    """A console of account 123."""

    def setUp(self) -> None:
        super().setUp()
        self.paper, self.real = self.root / "practice", self.root / REAL.key

    def follow(
        self, account_id: int | None = 123, url: str | None = None, state: Path | None = None
    ) -> FollowedDaemon:
        return FollowedDaemon(account_id, url, state, self.root)

    def kind_of(self, followed: FollowedDaemon) -> str | None:
        return followed.read().gateway_name

    def problem(self, followed: FollowedDaemon) -> str:
        return str(self.assertRaises(StateFileError, followed.read))

    def date(self, directory: Path, seconds: int) -> None:
        os.utime(directory / PUBLISHED_NAME, (seconds, seconds))


def handshake(directory: Path | None, kind: str = "practice", instance: str = "") -> Handshake:
    file = None if directory is None else directory / PUBLISHED_NAME
    return Handshake(gateway_name=kind, state_file=file, instance=instance)


class LocateTests(FollowingTestCase):
    """The URL of the next attempt."""

    def test_without_a_daemon_it_is_the_usual_one(self) -> None:
        self.assertEqual(self.follow().locate(), DEFAULT_URL)

    def test_it_is_that_of_the_daemon_that_runs_now(self) -> None:
        followed = self.follow()
        for port in (9000, 9001):
            write_record(self.paper, 123, port=port)
            self.assertEqual(followed.locate(), f"ws://localhost:{port}")
            self.assertEqual(followed.url, f"ws://localhost:{port}")

    def test_what_the_trader_names_is_taken_as_it_is(self) -> None:
        write_record(self.paper, 123, port=9000)
        self.assertEqual(self.follow(url="ws://localhost:1").locate(), "ws://localhost:1")
        self.assertEqual(self.follow(state=self.real).locate(), DEFAULT_URL)

    def test_a_named_state_directory_says_where_its_daemon_serves(self) -> None:
        elsewhere = self.home / "elsewhere"
        write_record(self.paper, 123, port=9000)
        followed = self.follow(state=elsewhere)
        for port, is_dead in ((9001, False), (9002, False), (9002, True)):
            write_record(elsewhere, 123, port=port, is_dead=is_dead)
            self.assertEqual(followed.locate(), f"ws://localhost:{port}")
        named = self.follow(url="ws://localhost:1", state=elsewhere)
        self.assertEqual(named.locate(), "ws://localhost:1")

    def test_of_several_the_one_that_follows_the_account(self) -> None:
        write_record(self.paper, 456)
        write_record(self.real, 123, port=9000, kind="projectx")
        self.assertEqual(self.follow().locate(), "ws://localhost:9000")

    def test_several_that_would_do_are_listed(self) -> None:
        write_record(self.paper, 123, port=9001)
        write_record(self.real, 123, port=9000, kind="projectx")
        followed = self.follow()
        error = self.assertRaises(SeveralDaemonsError, followed.locate)
        self.assertIn("; choose one with --url", str(error))
        self.assertIn("several riskd run", self.problem(followed))

    def test_a_daemon_of_other_accounts_is_not_connected_to(self) -> None:
        write_record(self.paper, 456)
        error = self.assertRaises(SeveralDaemonsError, self.follow().locate)
        self.assertIn("no riskd that runs follows account 123: PRACTICE on port 8765", str(error))

    def test_a_daemon_that_no_file_names_may_serve_the_usual_port(self) -> None:
        write_record(self.paper, 456, port=9000)
        self.assertEqual(self.follow().locate(), DEFAULT_URL)

    def test_a_restarted_daemon_is_followed_to_its_new_port(self) -> None:
        write_record(self.real, 123, port=9000, kind="projectx", instance="real")
        followed = self.follow()
        followed.locate()
        followed.admit(handshake(self.real, "projectx", "real"))
        write_record(self.real, 123, port=9001, kind="projectx", instance="real")
        write_record(self.root / "other", 123, kind="projectx", instance="other")
        self.assertEqual(followed.locate(), "ws://localhost:9001")

    def test_a_screen_of_a_broker_does_not_turn_to_practice(self) -> None:
        write_record(self.real, 123, port=9000, kind="projectx", instance="real")
        followed = self.follow()
        followed.locate()
        followed.admit(handshake(self.real, "projectx", "real"))
        write_record(self.real, 123, port=9000, kind="projectx", is_dead=True)
        write_record(self.paper, 123, port=9001)
        self.assertEqual(followed.locate(), "ws://localhost:9000")


class AnyAccountTests(FollowingTestCase):
    """A program that watches whatever accounts a daemon has."""

    def test_it_connects_to_the_daemon_that_runs(self) -> None:
        write_record(self.paper, 456, port=9000)
        self.assertEqual(self.follow(None).locate(), "ws://localhost:9000")

    def test_of_several_it_takes_that_of_the_usual_port_and_no_other(self) -> None:
        write_record(self.paper, 456, port=9000)
        write_record(self.real, 123, port=9001, kind="projectx")
        error = self.assertRaises(SeveralDaemonsError, self.follow(None).locate)
        self.assertIn("several riskd run: ", str(error))
        write_record(self.real, 123, kind="projectx")
        self.assertEqual(self.follow(None).locate(), DEFAULT_URL)

    def test_without_a_daemon_it_reads_the_latest_state(self) -> None:
        self.assertIn("no last known state", self.problem(self.follow(None)))
        write_state(self.paper, PAPER, locked(456))
        self.assertEqual(set(self.follow(None).read().accounts), {456})

    def test_by_a_url_it_finds_the_state_of_the_daemon_there(self) -> None:
        write_state(self.paper, PAPER, locked(456))
        write_record(self.paper, 456, port=9000)
        write_state(self.real, REAL, locked(123))
        followed = self.follow(None, url="ws://localhost:9000")
        self.assertEqual(self.kind_of(followed), "practice")

    def test_after_a_broker_it_does_not_turn_to_practice(self) -> None:
        followed = self.follow(None)
        followed.admit(handshake(self.real, "projectx", "real"))
        practice = handshake(self.paper, "practice", "p")
        error = self.assertRaises(UserError, followed.admit, practice)
        self.assertIn("this program shows any account of projectx", str(error))


class AdmitTests(FollowingTestCase):
    """Daemons that answer."""

    def refusal(self, followed: FollowedDaemon) -> str:
        practice = handshake(self.paper, "practice", "p")
        return str(self.assertRaises(UserError, followed.admit, practice))

    def test_practice_is_refused_on_the_screen_of_a_connected_broker(self) -> None:
        for url in (None, DEFAULT_URL):
            followed = self.follow(url=url)
            followed.admit(handshake(self.real, "projectx", "r"))
            said = self.refusal(followed)
            self.assertIn(f"{DEFAULT_URL} trades paper on the PRACTICE gateway", said)
            self.assertIn("shows account 123 of projectx", said)
            self.assertEqual(followed.origin, ("projectx", "r"))

    def test_practice_is_refused_on_the_last_known_state_of_a_broker(self) -> None:
        write_state(self.real, REAL)
        followed = self.follow()
        self.assertEqual(self.kind_of(followed), "projectx")
        self.refusal(followed)

    def test_a_named_url_counts_more_than_the_state_shown_before(self) -> None:
        write_state(self.real, REAL)
        instance = write_state(self.paper, PAPER)
        self.date(self.paper, 1_000)
        followed = self.follow(url=DEFAULT_URL)
        self.assertEqual(self.kind_of(followed), "projectx")
        followed.admit(handshake(self.paper, "practice", instance))
        self.assertEqual(self.kind_of(followed), "practice")

    def test_a_broker_is_admitted_after_practice(self) -> None:
        followed = self.follow()
        followed.admit(handshake(self.paper, "practice", "p"))
        instance = write_state(self.real, REAL)
        followed.admit(handshake(self.real, "projectx", instance))
        self.assertEqual(self.kind_of(followed), "projectx")


class FileTests(FollowingTestCase):
    """The state file."""

    def test_the_handshake_names_it(self) -> None:
        write_state(self.real, REAL)
        elsewhere = self.home / "else where\N{SNOWMAN}"
        instance = write_state(elsewhere, PAPER)
        followed = self.follow()
        followed.admit(handshake(elsewhere, "practice", instance))
        self.assertEqual(self.kind_of(followed), "practice")

    def test_a_copy_of_another_instance_is_refused(self) -> None:
        mine = write_state(self.paper, PAPER)
        followed = self.follow()
        followed.admit(handshake(self.paper, "practice", "new"))
        said = self.problem(followed)
        self.assertIn(f"{self.paper / PUBLISHED_NAME} is of another riskd, on PRACTICE", said)
        self.assertIn(f"instance {mine}", said)
        self.assertIn("instance new", said)
        followed.admit(handshake(self.paper, "practice", mine))
        self.assertIsInstance(followed.read(), Snapshot)

    def test_a_named_directory_of_another_daemon_is_refused(self) -> None:
        paper = write_state(self.paper, PAPER)
        real = write_state(self.real, REAL)
        followed = self.follow(url=DEFAULT_URL, state=self.paper)
        followed.admit(handshake(self.real, "projectx", real))
        said = self.problem(followed)
        self.assertIn(f"instance {paper}", said)
        self.assertIn(f"whose own is {self.real / PUBLISHED_NAME}", said)

    def test_a_named_directory_may_be_another_path_to_the_same_state(self) -> None:
        instance = write_state(self.paper, PAPER)
        link = self.home / "link"
        link.symlink_to(self.paper)
        followed = self.follow(state=link)
        followed.admit(handshake(self.paper, "practice", instance))
        self.assertEqual(self.kind_of(followed), "practice")

    def test_a_new_directory_behind_the_same_port_is_followed(self) -> None:
        first = write_state(self.home / "first", PAPER, locked(123))
        second = write_state(self.home / "second", PAPER, locked(123, "RULE-007"))
        followed = self.follow()
        followed.admit(handshake(self.home / "first", "practice", first))
        self.assertEqual(set(followed.read().accounts[123].lockouts), {"RULE-003"})
        before = followed.version()
        followed.admit(handshake(self.home / "second", "practice", second))
        self.assertNotEqual(followed.version(), before)
        self.assertEqual(set(followed.read().accounts[123].lockouts), {"RULE-007"})

    def test_a_restart_with_the_same_journal_needs_no_handshake(self) -> None:
        instance = write_state(self.paper, PAPER)
        followed = self.follow()
        followed.admit(handshake(self.paper, "practice", instance))
        write_state(self.paper, PAPER, locked(123, "RULE-007"))
        self.assertEqual(set(followed.read().accounts[123].lockouts), {"RULE-007"})

    def test_an_earlier_riskd_names_no_file(self) -> None:
        write_earlier_state(self.root, "practice")
        followed = self.follow()
        followed.admit(handshake(None, "practice"))
        self.assertEqual(self.kind_of(followed), "practice")

    def test_the_copy_of_another_kind_is_refused_without_an_instance_too(self) -> None:
        write_earlier_state(self.root, "practice")
        followed = self.follow()
        followed.admit(handshake(None, "projectx"))
        self.assertIn("of another riskd, on PRACTICE", self.problem(followed))

    def test_without_a_daemon_the_copy_that_was_published_last_is_shown(self) -> None:
        write_state(self.paper, PAPER)
        write_state(self.real, REAL)
        for last, kind in ((self.paper, "practice"), (self.real, "projectx")):
            self.date(self.paper, 1_000)
            self.date(self.real, 1_000)
            self.date(last, 2_000)
            followed = self.follow()
            self.assertEqual(self.kind_of(followed), kind)

    def test_what_is_shown_stays_the_same_account(self) -> None:
        """Another copy that is published later is another account's."""
        write_state(self.real, REAL)
        followed = self.follow()
        followed.read()
        write_state(self.paper, PAPER)
        self.assertEqual(self.kind_of(followed), "projectx")

    def test_only_a_copy_that_knows_the_account_is_shown(self) -> None:
        write_state(self.real, REAL, locked(999))
        write_state(self.paper, PAPER, locked(456))
        self.assertEqual(self.kind_of(self.follow(999)), "projectx")
        self.assertIn("they know 456 (PRACTICE), 999 (projectx)", self.problem(self.follow(123)))

    def test_the_file_of_the_daemon_that_runs_comes_first(self) -> None:
        write_state(self.paper, PAPER)
        write_state(self.real, REAL)
        write_record(self.paper, 123, port=9000)
        self.assertEqual(self.kind_of(self.follow()), "practice")

    def test_a_named_url_finds_the_directory_of_its_port(self) -> None:
        write_state(self.paper, PAPER)
        write_state(self.real, REAL)
        for is_dead in (False, True):
            write_record(self.paper, 123, port=9000, is_dead=is_dead)
            self.assertEqual(self.kind_of(self.follow(url="ws://127.0.0.1:9000")), "practice")
        self.assertEqual(self.kind_of(self.follow(url="ws://127.0.0.1:9001")), "projectx")

    def test_without_any_state_it_says_where_it_looked(self) -> None:
        followed = self.follow()
        before = followed.version()
        self.assertIn(f"there is none under {self.root}", self.problem(followed))
        write_state(self.paper, PAPER)
        self.assertNotEqual(followed.version(), before)
        self.assertEqual(self.kind_of(followed), "practice")

    def test_a_directory_that_is_gone_is_a_problem(self) -> None:
        write_state(self.paper, PAPER)
        followed = self.follow()
        followed.read()
        shutil.rmtree(self.paper)
        self.assertIn("is not there", self.problem(followed))
