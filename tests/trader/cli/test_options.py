"""The command line, and ``console.toml`` with its keys and errors."""

from __future__ import annotations

import io
import sys
from typing import get_args

from riskd import __version__
from riskd.config.toml import ConfigError
from tests.support.command_line import CommandLineTestCase
from tests.support.state_directories import PAPER, locked, write_state
from trader.cli.options import (
    Settings,
    Theme,
    followed_daemon,
    parse_options,
    parse_settings,
    read_settings,
)
from trader.client import DEFAULT_URL
from trader.ui.palette import THEMES


class SettingsTests(CommandLineTestCase):
    """Settings from the file, and how the command line overrides them."""

    def test_without_a_file_the_settings_are_the_defaults(self) -> None:
        self.assertEqual(read_settings(None), Settings())

    def test_every_key_is_read(self) -> None:
        self.write_settings(
            'account = 456\nurl = "ws://127.0.0.1:9000"\nstate = "~/riskd"\ntheme = "light"\n'
            'ascii = true\nmouse = true\nbell = false\nhook = ["notify-send", "riskd"]\n'
        )
        options = parse_options([])
        self.assertEqual((options.account, options.url), (456, "ws://127.0.0.1:9000"))
        self.assertEqual(options.state, self.directory / "riskd")
        self.assertEqual((options.ui_state.theme, options.ui_state.is_ascii), ("light", True))
        settings = options.settings
        self.assertEqual((settings.mouse, settings.bell), (True, False))
        self.assertEqual(settings.hook, ("notify-send", "riskd"))

    def test_the_command_line_overrides_the_file(self) -> None:
        self.write_settings('account = 456\ntheme = "light"\nurl = "ws://[::1]:1"')
        options = parse_options(["123", "--theme", "dark", "--url", "ws://localhost:2"])
        self.assertEqual(
            (options.account, options.ui_state.theme, options.url),
            (123, "dark", "ws://localhost:2"),
        )

    def test_a_named_file_must_exist(self) -> None:
        named = self.directory / "mine.toml"
        named.write_text("account = 7")
        self.assertEqual(parse_options(["--config", str(named)]).account, 7)
        named.unlink()
        self.assertIn(
            f"{named}: cannot be read: No such file", self.usage_error("--config", str(named))
        )

    def test_every_error_is_reported_with_file_line_key_and_expectation(self) -> None:
        path = self.write_settings('theme = "pink"\nacount = 5\nbell = 1\naccount = -1')
        output = self.usage_error()
        for words in (
            f"{path}, line 1: theme: expected one of",
            f"{path}, line 2: acount: unknown key; did you mean account?",
            f"{path}, line 3: bell: expected true or false, got 1",
            f"{path}, line 4: account: expected an account id, such as 123, got -1",
        ):
            self.assertIn(words, output)

    def test_a_wrong_url_and_path_are_reported_with_the_other_errors(self) -> None:
        path = self.write_settings(
            'theme = "pink"\nurl = "http://localhost"\nstate = "~nobody-here/riskd"'
        )
        output = self.usage_error("1")
        self.assertIn(f"{path}, line 1: theme: ", output)
        self.assertIn(
            f"{path}, line 3: state: expected a path, got '~nobody-here/riskd': there is no such user",
            output,
        )
        self.assertIn(
            f"{path}, line 2: url: url 'http://localhost' does not start with ws", output
        )

    def test_accounts_have_names_by_their_numbers(self) -> None:
        settings = parse_settings('[names]\n4417001 = "Combine 50K"\n', "x.toml")
        self.assertEqual(settings.account_names, {4417001: "Combine 50K"})
        for wrong, expected in (
            ('mine = "A"', "names.mine: expected the number of an account, such as 4417001"),
            ("7 = 5", "names.7: expected a name of up to 60 characters, got 5"),
        ):
            error = self.assertRaises(ConfigError, parse_settings, f"[names]\n{wrong}\n", "x.toml")
            self.assertIn(expected, str(error))

    def test_a_file_that_is_no_toml_is_rejected(self) -> None:
        error = self.assertRaises(ConfigError, parse_settings, "account = ", "x.toml")
        self.assertTrue(str(error).startswith("x.toml: "), error)
        path = self.directory / "binary.toml"
        path.write_bytes(b"\xff\xfe")
        self.assertIn("not UTF-8 text", self.usage_error("--config", str(path)))
        path.write_bytes(b"#" * 300_000)
        self.assertIn("expected at most", self.usage_error("--config", str(path)))

    def test_the_themes_are_those_of_the_palette(self) -> None:
        self.assertEqual(list(get_args(Theme)), list(THEMES))


class ArgumentTests(CommandLineTestCase):
    """Options and arguments."""

    def test_a_terminal_without_lines_and_bars_gets_ascii(self) -> None:
        latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        self.patch(sys, "stdout", latin)
        self.assertTrue(parse_options(["123"]).ui_state.is_ascii)

    def test_an_account_is_all_that_is_needed(self) -> None:
        options = parse_options(["123"])
        self.assertEqual((options.account, options.url, options.state), (123, None, None))
        self.assertEqual(followed_daemon(123, options).url, "ws://localhost:8765")
        self.assertEqual((options.ui_state.theme, options.ui_state.is_ascii), ("dark", False))
        self.assertEqual(options.output, "screen")

    def test_url_theme_and_ascii_can_be_chosen(self) -> None:
        options = parse_options(
            ["123", "--url", "ws://127.0.0.1:9000", "--theme", "light", "--ascii"]
        )
        self.assertEqual(options.url, "ws://127.0.0.1:9000")
        self.assertEqual((options.ui_state.theme, options.ui_state.is_ascii), ("light", True))
        self.assertIn("'pink'", self.usage_error("123", "--theme", "pink"))

    def test_no_color_overrides_the_theme(self) -> None:
        self.assertEqual(
            parse_options(["1", "--no-color", "--theme", "light"]).ui_state.theme, "mono"
        )
        self.environment["NO_COLOR"] = "1"
        self.assertEqual(parse_options(["1", "--theme", "light"]).ui_state.theme, "mono")
        self.environment["NO_COLOR"] = ""
        self.assertEqual(parse_options(["1"]).ui_state.theme, "dark")

    def test_the_state_directory_is_that_of_the_daemon_unless_named(self) -> None:
        self.environment["XDG_STATE_HOME"] = str(self.directory)
        for name, number in (("riskd/practice", 123), ("elsewhere", 456)):
            write_state(self.directory / name, PAPER, locked(number))
        found = followed_daemon(123, parse_options(["123"]))
        self.assertEqual(list(found.read().accounts), [123])
        options = parse_options(["123", "--state", str(self.directory / "elsewhere")])
        self.assertEqual(list(followed_daemon(123, options).read().accounts), [456])

    def test_lines_replace_the_screen(self) -> None:
        self.assertEqual(parse_options(["1", "--plain"]).output, "plain")
        self.assertEqual(parse_options(["1", "--json"]).output, "json")
        self.assertIn("not allowed with", self.usage_error("1", "--json", "--plain"))

    def test_an_account_that_is_no_number_is_quoted_in_the_error(self) -> None:
        output = self.usage_error("abc")
        self.assertIn("'abc' is not an account id; it must be a whole number", output)

    def test_other_invalid_accounts_are_rejected(self) -> None:
        for account in ("", "12.5", "1e3", "0x10", "-1", " ", "9" * 30):
            self.stderr.truncate(0)
            self.stderr.seek(0)
            self.usage_error(account)

    def test_an_invalid_url_is_quoted_in_the_error(self) -> None:
        output = self.usage_error("123", "--url", "http://localhost:8765")
        self.assertIn("http://localhost:8765", output)

    def test_an_unknown_option_is_rejected(self) -> None:
        self.assertIn("--colour", self.usage_error("123", "--colour"))

    def test_help_names_the_options_and_succeeds(self) -> None:
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

    def test_version_is_a_line_of_its_own(self) -> None:
        self.assertEqual(self.assertRaises(SystemExit, parse_options, ["--version"]).code, 0)
        self.assertEqual(self.stdout.getvalue(), f"trader-console {__version__}\n")


class WebTests(CommandLineTestCase):
    """``--web`` and its port."""

    def test_a_page_is_drawn_in_any_character_and_leaves_the_mouse_to_the_browser(self) -> None:
        self.patch(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
        self.write_settings("mouse = true")
        options = parse_options(["123", "--web"])
        self.assertEqual((options.output, options.web_port), ("web", 0))
        state = options.ui_state
        self.assertEqual((state.is_page, state.is_ascii, state.has_mouse), (True, False, False))

    def test_a_port_is_chosen(self) -> None:
        self.assertEqual(parse_options(["--web", "--web-port", "8767"]).web_port, 8767)

    def test_a_port_without_a_page_is_an_error(self) -> None:
        self.assertIn("--web-port is the port of --web", self.usage_error("--web-port", "8767"))

    def test_what_is_no_port_is_an_error(self) -> None:
        for text in ("0", "80", "65536", "-1", "http", "\u0663"):
            error = self.usage_error("--web", f"--web-port={text}")
            self.assertIn(f"{text!r} is not a TCP port; it must be from 1024 to 65535", error)

    def test_a_page_is_no_lines(self) -> None:
        self.assertIn("not allowed with", self.usage_error("--web", "--plain"))
