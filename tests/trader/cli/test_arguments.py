"""The command line, and the file behind it."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.toml import ConfigError
from riskd.journal.store import Store
from riskd.model.account import AccountState
from trader.cli.arguments import choose_account, parse_options
from trader.cli.console_toml import (
    Settings,
    Theme,
    default_file,
    parse_settings,
    read_settings,
)
from trader.client import DEFAULT_URL
from trader.ui.palette import THEMES


class ArgumentsCase(SynchronousTestCase):
    """A command line in an environment of its own."""

    def setUp(self) -> None:
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.stdout)
        self.patch(sys, "stderr", self.stderr)
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.environment = {"HOME": directory.name, "XDG_CONFIG_HOME": directory.name}
        self.patch(os, "environ", self.environment)

    def write_settings(self, text: str) -> Path:
        """Write ``console.toml`` where it is found."""
        path = self.directory / "riskd" / "console.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def refuse(self, *arguments: str) -> str:
        """Check that ``arguments`` are a usage error; return what is said of them."""
        refusal = self.assertRaises(SystemExit, parse_options, arguments)
        self.assertEqual(refusal.code, 2)
        said = self.stderr.getvalue()
        self.assertTrue(said.startswith("usage: trader-console"), said)
        return said


class ArgumentTests(ArgumentsCase):
    """What can be said on the command line."""

    def test_what_the_terminal_has_no_letters_for_is_not_drawn(self) -> None:
        latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        self.patch(sys, "stdout", latin)
        self.assertTrue(parse_options(["123"]).is_ascii)

    def test_an_account_is_enough(self) -> None:
        options = parse_options(["123"])
        self.assertEqual((options.account, options.url), (123, "ws://localhost:8765"))
        self.assertEqual((options.theme, options.is_ascii), ("dark", False))
        self.assertEqual(options.output, "screen")

    def test_url_theme_and_letters_can_be_chosen(self) -> None:
        options = parse_options(
            ["123", "--url", "ws://127.0.0.1:9000", "--theme", "light", "--ascii"]
        )
        self.assertEqual(options.url, "ws://127.0.0.1:9000")
        self.assertEqual((options.theme, options.is_ascii), ("light", True))
        self.assertIn("'pink'", self.refuse("123", "--theme", "pink"))

    def test_no_color_is_no_color_whatever_the_theme(self) -> None:
        self.assertEqual(parse_options(["1", "--no-color", "--theme", "light"]).theme, "mono")
        self.environment["NO_COLOR"] = "1"
        self.assertEqual(parse_options(["1", "--theme", "light"]).theme, "mono")
        self.environment["NO_COLOR"] = ""
        self.assertEqual(parse_options(["1"]).theme, "dark")

    def test_the_state_directory_is_the_daemons_own_unless_another_is_named(self) -> None:
        self.environment["XDG_STATE_HOME"] = "/var/state"
        self.assertEqual(parse_options(["123"]).state, Path("/var/state/riskd"))
        self.assertEqual(
            parse_options(["123", "--state", "/srv/elsewhere"]).state, Path("/srv/elsewhere")
        )

    def test_lines_instead_of_a_screen(self) -> None:
        self.assertEqual(parse_options(["1", "--plain"]).output, "plain")
        self.assertEqual(parse_options(["1", "--json"]).output, "json")
        self.assertIn("not allowed with", self.refuse("1", "--json", "--plain"))

    def test_an_account_that_is_no_number_is_refused_by_name(self) -> None:
        said = self.refuse("abc")
        self.assertIn("'abc' is not an account id; it must be a whole number", said)

    def test_other_wrong_accounts_are_refused(self) -> None:
        for account in ("", "12.5", "1e3", "0x10", "-1", " ", "9" * 30):
            self.stderr.truncate(0)
            self.stderr.seek(0)
            self.refuse(account)

    def test_a_url_that_is_not_a_websocket_url_is_refused_by_name(self) -> None:
        said = self.refuse("123", "--url", "http://localhost:8765")
        self.assertIn("http://localhost:8765", said)

    def test_an_unknown_option_is_refused(self) -> None:
        self.assertIn("--colour", self.refuse("123", "--colour"))

    def test_help_explains_and_is_no_error(self) -> None:
        self.assertEqual(self.assertRaises(SystemExit, parse_options, ["--help"]).code, 0)
        for word in (
            "account",
            "--url",
            DEFAULT_URL,
            "--state",
            "--no-color",
            "--plain",
            "--json",
        ):
            self.assertIn(word, self.stdout.getvalue())

    def test_help_tells_any_path(self) -> None:
        self.environment["XDG_STATE_HOME"] = "/100%s"
        self.assertRaises(SystemExit, parse_options, ["--help"])
        self.assertIn("/100%s/riskd", "".join(self.stdout.getvalue().split()))


class SettingsTests(ArgumentsCase):
    """``console.toml``."""

    def test_without_a_file_there_are_defaults(self) -> None:
        self.assertEqual(read_settings(None), Settings())
        self.assertEqual(default_file(), self.directory / "riskd" / "console.toml")

    def test_everything_can_be_said_in_it(self) -> None:
        self.write_settings(
            'account = 456\nurl = "ws://127.0.0.1:9000"\nstate = "~/riskd"\ntheme = "light"\n'
            'ascii = true\nmouse = true\nbell = false\nhook = ["notify-send", "riskd"]\n'.replace(
                "\\\n", "\n"
            )
        )
        options = parse_options([])
        self.assertEqual((options.account, options.url), (456, "ws://127.0.0.1:9000"))
        self.assertEqual(options.state, self.directory / "riskd")
        self.assertEqual((options.theme, options.is_ascii), ("light", True))
        settings = options.settings
        self.assertEqual((settings.mouse, settings.bell), (True, False))
        self.assertEqual(settings.hook, ("notify-send", "riskd"))

    def test_the_command_line_goes_before_the_file(self) -> None:
        self.write_settings('account = 456\ntheme = "light"\nurl = "ws://[::1]:1"')
        options = parse_options(["123", "--theme", "dark", "--url", "ws://localhost:2"])
        self.assertEqual(
            (options.account, options.theme, options.url), (123, "dark", "ws://localhost:2")
        )

    def test_another_file_can_be_named_and_must_be_there(self) -> None:
        named = self.directory / "mine.toml"
        named.write_text("account = 7")
        self.assertEqual(parse_options(["--config", str(named)]).account, 7)
        named.unlink()
        self.assertIn(
            f"{named}: cannot be read: No such file", self.refuse("--config", str(named))
        )

    def test_every_mistake_is_told_with_file_line_key_and_what_was_expected(self) -> None:
        path = self.write_settings('theme = "pink"\nacount = 5\nbell = 1\naccount = -1')
        said = self.refuse()
        for words in (
            f"{path}, line 1: theme: expected one of",
            f"{path}, line 2: acount: unknown key; did you mean account?",
            f"{path}, line 3: bell: expected true or false, got 1",
            f"{path}, line 4: account: expected an account id, such as 123, got -1",
        ):
            self.assertIn(words, said)

    def test_a_wrong_url_in_it_is_told_with_the_other_mistakes(self) -> None:
        path = self.write_settings('theme = "pink"\nurl = "http://localhost"')
        said = self.refuse("1")
        self.assertIn(f"{path}, line 1: theme: ", said)
        self.assertIn(f"{path}, line 2: url: url 'http://localhost' does not start with ws", said)

    def test_what_is_no_toml_is_refused(self) -> None:
        error = self.assertRaises(ConfigError, parse_settings, "account = ", "x.toml")
        self.assertTrue(str(error).startswith("x.toml: "), error)
        path = self.directory / "binary.toml"
        path.write_bytes(b"\xff\xfe")
        self.assertIn("not UTF-8 text", self.refuse("--config", str(path)))
        path.write_bytes(b"#" * 300_000)
        self.assertIn("expected at most", self.refuse("--config", str(path)))

    def test_the_themes_are_those_that_there_are(self) -> None:
        self.assertEqual(list(get_args(Theme)), list(THEMES))


class PickerTests(ArgumentsCase):
    """Which account, when none is named."""

    def setUp(self) -> None:
        super().setUp()
        self.said: list[str] = []
        self.questions: list[str] = []

    def publish(self, *accounts: int) -> None:
        """Publish a state file that knows these accounts."""
        store = Store(self.directory)
        now = datetime.now(UTC)
        store.open(accounts, now)
        store.write([AccountState(account_id=number) for number in accounts], "practice", now)
        store.publish()
        store.close()

    def choose(self, answer: str | None = None) -> int | None:
        """Choose, with this answer to the question."""

        def ask(question: str) -> str:
            self.questions.append(question)
            if answer == "":
                raise EOFError
            return answer or ""

        return choose_account(self.directory, None if answer is None else ask, self.said.append)

    def test_the_only_account_is_taken_without_a_question(self) -> None:
        self.publish(456)
        self.assertEqual(self.choose("123"), 456)
        self.assertEqual((self.said, self.questions), ([], []))

    def test_of_several_the_trader_says_which(self) -> None:
        self.publish(456, 123)
        self.assertEqual(self.choose(" 456 "), 456)
        self.assertEqual(self.said, ["accounts: 123, 456"])

    def test_another_answer_is_told_and_none_is_none(self) -> None:
        self.publish(456, 123)
        self.assertIsNone(self.choose("789"))
        self.assertEqual(self.said[-1], "'789' is none of them")
        self.assertIsNone(self.choose(""))

    def test_with_nobody_to_ask_the_known_ones_are_named(self) -> None:
        self.publish(456, 123)
        self.assertIsNone(self.choose())
        self.assertEqual(
            self.said, ["name an account, such as 123; the state file knows 123, 456"]
        )

    def test_without_a_file_it_says_what_is_missing(self) -> None:
        self.assertIsNone(self.choose("123"))
        self.assertIn("name an account, such as 123; no last known state: ", self.said[0])
