"""The account when the trader names none: all that are offered are of one riskd."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from riskd.journal.discovery import SeveralDaemonsError
from riskd.journal.schema import PUBLISHED_NAME
from riskd.journal.store import Store
from riskd.model.account import AccountState
from tests.support.command_line import CommandLineTestCase
from tests.support.state_directories import PAPER, REAL, locked, write_record, write_state
from trader.cli.accounts import choose_account, find_account
from trader.cli.options import parse_options


class FindAccountTests(CommandLineTestCase):
    """The choice of an account."""

    def setUp(self) -> None:
        super().setUp()
        self.root = self.directory / "state" / "riskd"
        self.shown: list[str] = []

    def find(self, *arguments: str, answer: str | None = None) -> int | None:
        options = parse_options(list(arguments))
        ask = None if answer is None else lambda _question: str(answer)
        return find_account(options, self.root, ask, self.shown.append)

    def publish(self, *names: str) -> None:
        """Publish the states of paper and of a broker, the last one last."""
        for seconds, name in enumerate(names, 1_000):
            if name == "paper":
                write_state(self.root / name, PAPER, locked(123), locked(456))
            else:
                write_state(self.root / name, REAL, locked(123), locked(999))
            os.utime(self.root / name / PUBLISHED_NAME, (seconds, seconds))

    def test_the_accounts_of_the_riskd_that_runs_are_offered(self) -> None:
        self.publish("paper", "real")
        write_record(self.root / "paper", 123, 456)
        self.assertEqual(self.find(answer="456"), 456)
        self.assertEqual(self.shown, ["accounts on PRACTICE: 123, 456"])

    def test_nothing_of_practice_is_offered_with_a_brokers_accounts(self) -> None:
        self.publish("paper", "real")
        self.assertIsNone(self.find(answer="456"))
        self.assertEqual(self.shown, ["accounts on projectx: 123, 999", "'456' is none of them"])
        write_record(self.root / "real", 123, 999, kind="projectx", port=9000)
        self.assertEqual(self.find(answer="999"), 999)
        self.assertEqual(self.shown[-1], "accounts on projectx: 123, 999")

    def test_the_state_that_was_published_last_is_offered(self) -> None:
        self.publish("real", "paper")
        self.assertIsNone(self.find())
        self.assertEqual(
            self.shown,
            ["name an account, such as 123; the state file knows 123, 456 on PRACTICE"],
        )

    def test_the_only_account_is_taken_without_a_word(self) -> None:
        write_record(self.root / "real", 999, kind="projectx", port=9000)
        self.assertEqual((self.find(), self.shown), (999, []))

    def test_several_riskd_are_an_error(self) -> None:
        write_record(self.root / "paper", 123, port=9000)
        write_record(self.root / "real", 999, kind="projectx", port=9001)
        self.assertRaises(SeveralDaemonsError, self.find)

    def test_a_named_directory_is_the_only_one(self) -> None:
        self.publish("paper", "real")
        write_record(self.root / "real", 999, kind="projectx")
        self.assertEqual(self.find("--state", str(self.root / "paper"), answer="456"), 456)
        self.assertEqual(self.shown, ["accounts: 123, 456"])

    def test_without_any_state_it_says_so(self) -> None:
        self.assertIsNone(self.find())
        self.assertIn("no riskd runs, and there is no last known state under", self.shown[0])
        write_record(self.root / "real", 999, kind="projectx", port=9000)
        self.assertIsNone(self.find("--url", "ws://localhost:9001"))
        self.assertIn("such as 123; there is no last known state under", self.shown[1])


class ChooseAccountTests(CommandLineTestCase):
    """The account when none is named."""

    def setUp(self) -> None:
        super().setUp()
        self.shown: list[str] = []
        self.questions: list[str] = []

    def publish(self, *accounts: int) -> None:
        """Publish a state file with these accounts."""
        store = Store(self.directory)
        now = datetime.now(UTC)
        store.open(accounts, now)
        store.write([AccountState(account_id=number) for number in accounts], "practice", now)
        store.publish()
        store.close()

    def choose(self, answer: str | None = None) -> int | None:
        """Choose with this answer; ``None`` stands for no terminal, empty for its end."""

        def ask(question: str) -> str:
            self.questions.append(question)
            if answer == "":
                raise EOFError
            return answer or ""

        return choose_account(self.directory, None if answer is None else ask, self.shown.append)

    def test_the_only_account_is_chosen_without_a_question(self) -> None:
        self.publish(456)
        self.assertEqual(self.choose("123"), 456)
        self.assertEqual((self.shown, self.questions), ([], []))

    def test_the_trader_chooses_among_several(self) -> None:
        self.publish(456, 123)
        self.assertEqual(self.choose(" 456 "), 456)
        self.assertEqual(self.shown, ["accounts: 123, 456"])

    def test_another_answer_chooses_none(self) -> None:
        self.publish(456, 123)
        self.assertIsNone(self.choose("789"))
        self.assertEqual(self.shown[-1], "'789' is none of them")
        self.assertIsNone(self.choose(""))

    def test_without_a_terminal_the_known_accounts_are_listed(self) -> None:
        self.publish(456, 123)
        self.assertIsNone(self.choose())
        self.assertEqual(
            self.shown, ["name an account, such as 123; the state file knows 123, 456"]
        )

    def test_without_a_file_its_problem_is_reported(self) -> None:
        self.assertIsNone(self.choose("123"))
        self.assertIn("name an account, such as 123; no last known state: ", self.shown[0])
