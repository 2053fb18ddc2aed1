"""``alerts.toml``: its keys, and what is wrong with them."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.toml import ConfigError
from riskd.host.private_file import PrivateFileError
from tests.support.command_line import CommandLineTestCase
from trader.alerts.alert import FACTS, Kind
from trader.alerts.settings import Settings, parse_settings, read_settings

ROOT = Path(__file__).parents[3]


class SettingsTests(SynchronousTestCase):
    """The text of the file."""

    def problems(self, text: str) -> str:
        return str(self.assertRaises(ConfigError, parse_settings, text, "alerts.toml"))

    def test_an_empty_file_sends_all(self) -> None:
        settings = parse_settings("", "alerts.toml")
        self.assertEqual(settings, Settings())
        self.assertEqual(settings.send, tuple(Kind))
        self.assertFalse(settings.attach_report)
        self.assertEqual(settings.marks, (Decimal("0.7"), Decimal("0.9")))

    def test_the_example_of_the_documentation_is_read(self) -> None:
        page = (ROOT / "docs" / "alerts.md").read_text()
        (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
        settings = parse_settings(example, "alerts.toml")
        keys = {field.name for field in msgspec.structs.fields(Settings)}
        self.assertEqual(
            {key for key in keys if f"{key} = " in example or f"[{key}]" in example}, keys
        )
        self.assertEqual(set(settings.words), {Kind.LOCKOUT, Kind.LIMIT})
        self.assertEqual(settings.marks, (Decimal("0.5"), Decimal("0.7"), Decimal("0.9")))

    def test_the_documentation_has_each_kind_with_its_fields(self) -> None:
        page = (ROOT / "docs" / "alerts.md").read_text()
        for table in ("| kind | when |", "| kind | fields |"):
            rows = page.split(table)[1].split("\n\n")[0]
            named = {kind for row in rows.splitlines() for kind in re.findall("`([a-z_]+)`", row)}
            wanted = {kind for kind in Kind if "when" in table or FACTS[kind].fields}
            self.assertLessEqual(wanted, named)
        for kind in Kind:
            for row in (row for row in rows.splitlines() if f"`{kind}`" in row):
                self.assertEqual(set(re.findall(r"{(\w+)}", row)), set(FACTS[kind].fields))

    def test_a_mistake_names_file_line_key_value_and_what_was_expected(self) -> None:
        problems = self.problems(
            'send = ["lokout"]\nlimit_percent = [101]\nurl = "http://x"\nfoo = 1\n'
            '[words]\nlockout = "{untl}"\nnothing = "x"\n'
        )
        for start, more in (
            (
                "alerts.toml, line 1: send[0]: expected one of ",
                'got "lokout"; did you mean lockout?',
            ),
            (
                "alerts.toml, line 2: limit_percent[0]: expected a whole number of percent",
                "got 101",
            ),
            ("alerts.toml, line 3: url: ", "does not start with ws://"),
            ("alerts.toml, line 4: foo: unknown key", ""),
            ("alerts.toml, line 6: words.lockout: unknown field {untl}; did you mean until?", ""),
            ("alerts.toml, line 7: words.nothing: expected one of ", "got "),
        ):
            (line,) = [each for each in problems.splitlines() if each.startswith(start)]
            self.assertIn(more, line)

    def test_a_heartbeat_url_is_refused_without_being_shown(self) -> None:
        for url in ("hc-ping.com/secret", "ftp://x/secret", "http:///secret", "http://[x/secret"):
            problem = self.problems(f'heartbeat_url = "{url}"')
            self.assertIn("heartbeat_url: expected a URL that begins with https://", problem)
            self.assertNotIn("secret", problem)


class FileTests(CommandLineTestCase):
    """The file itself."""

    settings_name = "alerts.toml"

    def test_the_default_file_need_not_exist_and_a_named_one_must(self) -> None:
        self.assertEqual(read_settings(None), Settings())
        self.assertRaises(ConfigError, read_settings, self.directory / "mine.toml")

    def test_the_default_file_is_in_the_configuration_directory(self) -> None:
        self.write_settings('send = ["gone"]')
        self.assertEqual(read_settings(None).send, (Kind.GONE,))

    def test_with_a_heartbeat_url_only_its_owner_may_read_it(self) -> None:
        path = self.write_settings('heartbeat_url = "https://hc-ping.com/1234"')
        path.chmod(0o644)
        problem = str(self.assertRaises(PrivateFileError, read_settings, None))
        self.assertIn(f"chmod 600 {path}", problem)
        self.assertNotIn("1234", problem)
        path.chmod(0o600)
        self.assertEqual(read_settings(None).heartbeat_url, "https://hc-ping.com/1234")
