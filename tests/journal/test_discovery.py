"""Which running daemon and which last known state are found for an account."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from riskd.journal import discovery
from riskd.journal.contents import daemon_of, published_copies
from riskd.journal.discovery import (
    SeveralDaemonsError,
    choose_daemon,
    gateway_words,
    running_daemons,
    state_directories,
)
from riskd.journal.schema import PUBLISHED_NAME
from tests.support.state_directories import (
    OTHER_LOGIN,
    PAPER,
    REAL,
    StateHomeTestCase,
    locked,
    write_earlier_state,
    write_record,
    write_state,
)


def _forbidden(path: Path) -> None:
    raise PermissionError(13, "Permission denied", str(path))


class DaemonTests(StateHomeTestCase):
    """Running daemons."""

    def chosen(self, account_id: int | None = None) -> int | None:
        """Return the port of the daemon that is chosen."""
        found = choose_daemon(running_daemons(self.root), account_id)
        return None if found is None else found.record.port

    def several(self, account_id: int | None = None) -> str:
        daemons = running_daemons(self.root)
        return str(self.assertRaises(SeveralDaemonsError, choose_daemon, daemons, account_id))

    def test_without_a_directory_none_runs(self) -> None:
        self.assertEqual((running_daemons(self.root), state_directories(self.root)), ([], []))
        self.assertIsNone(self.chosen())

    def test_the_machines_own_daemon_is_found_too(self) -> None:
        write_record(self.system, 123, port=9000, kind="projectx")
        self.assertEqual(self.chosen(123), 9000)
        write_record(self.root / "practice", 123, port=9001)
        self.assertIn(str(self.system), self.several(123))

    def test_the_daemon_of_a_gateway_is_found_by_its_directory_or_by_its_files(self) -> None:
        self.assertIsNone(daemon_of(REAL))
        write_state(self.system, REAL)
        write_record(self.system, 123, kind="projectx")
        found = daemon_of(REAL)
        self.assertEqual(found and found.directory, self.system)
        self.assertIsNone(daemon_of(OTHER_LOGIN))
        write_record(self.root / REAL.key, 123, kind="projectx")
        found = daemon_of(REAL)
        self.assertEqual(found and found.directory, self.root / REAL.key)
        write_record(self.root / REAL.key, 123, kind="projectx", is_dead=True)
        write_record(self.system, 123, kind="projectx", is_dead=True)
        self.assertIsNone(daemon_of(REAL))

    def test_a_directory_that_may_not_be_opened_is_passed_over(self) -> None:
        write_record(self.system, 123, port=9000)
        self.patch(discovery, "read_daemon", lambda _: None)
        self.patch(discovery.Path, "iterdir", _forbidden)
        self.assertEqual((running_daemons(self.root), published_copies(self.root)), ([], []))

    def test_only_living_daemons_count(self) -> None:
        write_record(self.root / "practice", 123, port=9000)
        write_record(self.root / "projectx-1", 123, kind="projectx", is_dead=True)
        self.assertEqual([each.record.port for each in running_daemons(self.root)], [9000])
        self.assertEqual(self.chosen(123), 9000)

    def test_the_only_one_is_chosen_even_if_it_does_not_follow_the_account(self) -> None:
        write_record(self.root / "practice", 123, port=9000)
        self.assertEqual((self.chosen(), self.chosen(999)), (9000, 9000))

    def test_of_several_the_one_on_the_usual_port_comes_first(self) -> None:
        write_record(self.root / "a", 123, port=9000)
        write_record(self.root / "b", 123, port=8765, kind="projectx")
        self.assertEqual((self.chosen(), self.chosen(123)), (8765, 8765))

    def test_of_several_the_only_one_that_follows_the_account_is_chosen(self) -> None:
        write_record(self.root / "a", 123, port=8765)
        write_record(self.root / "b", 999, port=9000, kind="projectx")
        self.assertEqual((self.chosen(999), self.chosen(123)), (9000, 8765))
        self.assertIsNone(self.chosen(7))

    def test_a_linked_or_copied_directory_is_no_second_daemon(self) -> None:
        write_record(self.root / "practice", 123, port=9000)
        (self.root / "a-link").symlink_to(self.root / "practice")
        (self.root / "a-dangling").symlink_to(self.root / "nothing")
        (self.root / "z-link").symlink_to(self.home)
        shutil.copytree(self.root / "practice", self.root / "copy")
        found = running_daemons(self.root)
        self.assertEqual([each.directory.name for each in found], ["practice"])

    def test_several_that_would_do_are_listed(self) -> None:
        write_record(self.root / "a", 123, 456, port=9001)
        write_record(self.root / "b", 123, port=9000, kind="projectx")
        for said in (self.several(), self.several(123)):
            self.assertIn(f"PRACTICE on port 9001 (accounts 123, 456; {self.root / 'a'})", said)
            self.assertIn(f"projectx on port 9000 (accounts 123; {self.root / 'b'})", said)
        self.assertEqual(self.chosen(456), 9001)


class CopyTests(StateHomeTestCase):
    """Published copies."""

    def directories(self, account_id: int | None = None) -> list[str]:
        return [copy.directory.name for copy in published_copies(self.root, account_id)]

    def date(self, name: str, seconds: int) -> None:
        os.utime(self.root / name / PUBLISHED_NAME, (seconds, seconds))

    def test_the_copy_that_was_published_last_comes_first(self) -> None:
        write_state(self.root / "practice", PAPER, locked(123), locked(456))
        write_state(self.root / "real", REAL, locked(123))
        for first, second in (("practice", "real"), ("real", "practice")):
            self.date(first, 2_000)
            self.date(second, 1_000)
            self.assertEqual(self.directories(123), [first, second])
            self.assertEqual(self.directories(), [first, second])
        self.assertEqual((self.directories(456), self.directories(7)), (["practice"], []))

    def test_the_place_of_an_earlier_riskd_is_one_of_them(self) -> None:
        write_earlier_state(self.root, "practice")
        self.assertEqual(self.directories(123), ["riskd"])

    def test_a_damaged_copy_does_not_hide_the_others(self) -> None:
        write_state(self.root / "practice", PAPER, locked(123))
        (self.root / "broken").mkdir()
        (self.root / "broken" / PUBLISHED_NAME).write_bytes(b"x" * 5000)
        (self.root / "file").touch()
        self.assertEqual(self.directories(123), ["practice"])

    def test_practice_is_written_in_capitals(self) -> None:
        words = [gateway_words(kind) for kind in ("practice", "projectx", "", None)]
        self.assertEqual(
            words, ["PRACTICE", "projectx", "an unknown gateway", "an unknown gateway"]
        )
