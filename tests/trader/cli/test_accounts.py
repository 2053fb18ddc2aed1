"""What there is to show when the trader names no account."""

from __future__ import annotations

from riskd.journal.discovery import SeveralDaemonsError
from tests.support.command_line import CommandLineTestCase
from tests.support.state_directories import PAPER, REAL, locked, write_record, write_state
from trader.cli.accounts import why_no_account
from trader.cli.options import parse_options


class NoAccountTests(CommandLineTestCase):
    """Whether all accounts can be shown."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.directory / "state" / "riskd"

    def why(self, *arguments: str) -> str:
        return why_no_account(parse_options(list(arguments)), self.root)

    def test_a_machine_that_never_had_a_riskd_is_told_how_to_start_one(self) -> None:
        self.assertEqual(
            self.why(),
            f"no riskd runs, and there is no last known state under {self.root}; "
            "start one with riskctl init and twistd -n riskd",
        )

    def test_a_riskd_that_runs_says_which_accounts_it_has(self) -> None:
        write_record(self.root / "paper", 123, 456)
        self.assertEqual(self.why(), "")

    def test_a_last_known_state_can_be_shown(self) -> None:
        write_state(self.root / "real", REAL, locked(123))
        self.assertEqual(self.why(), "")

    def test_several_riskd_are_an_error_that_lists_them(self) -> None:
        write_record(self.root / "paper", 123, port=9000)
        write_record(self.root / "real", 999, kind="projectx", port=9001)
        error = self.assertRaises(SeveralDaemonsError, self.why)
        self.assertIn("PRACTICE on port 9000", str(error))
        self.assertIn("projectx on port 9001", str(error))

    def test_of_several_the_one_on_the_usual_port_is_meant(self) -> None:
        write_record(self.root / "paper", 123, port=8765)
        write_record(self.root / "real", 999, kind="projectx", port=9001)
        self.assertEqual(self.why(), "")

    def test_a_url_needs_no_state(self) -> None:
        self.assertEqual(self.why("--url", "ws://localhost:9001"), "")

    def test_a_named_directory_must_have_a_state(self) -> None:
        write_state(self.root / "paper", PAPER, locked(123))
        self.assertEqual(self.why("--state", str(self.root / "paper")), "")
        self.assertIn("no last known state: ", self.why("--state", str(self.root / "other")))
