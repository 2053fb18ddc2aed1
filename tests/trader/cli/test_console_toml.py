"""``console.toml``: its keys, its place and its errors."""

from __future__ import annotations

from typing import get_args

from riskd.config.toml import ConfigError
from tests.support.command_line import CommandLineTestCase
from trader.cli.arguments import parse_options
from trader.cli.console_toml import (
    Settings,
    Theme,
    default_file,
    parse_settings,
    read_settings,
)
from trader.ui.palette import THEMES


class SettingsTests(CommandLineTestCase):
    """Settings from the file, and how the command line overrides them."""

    def test_without_a_file_the_settings_are_the_defaults(self) -> None:
        self.assertEqual(read_settings(None), Settings())
        self.assertEqual(default_file(), self.directory / "riskd" / "console.toml")

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

    def test_a_wrong_url_is_reported_with_the_other_errors(self) -> None:
        path = self.write_settings('theme = "pink"\nurl = "http://localhost"')
        output = self.usage_error("1")
        self.assertIn(f"{path}, line 1: theme: ", output)
        self.assertIn(
            f"{path}, line 2: url: url 'http://localhost' does not start with ws", output
        )

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
