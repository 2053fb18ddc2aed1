"""The command line of ``trader-alerts``, and its samples."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from riskd import __version__
from tests.support.command_line import CommandLineTestCase
from trader.alerts.alert import Kind
from trader.alerts.main import send_samples
from trader.alerts.options import Options, parse_options
from trader.alerts.targets import SendError, Target
from trader.alerts.words import Message

URL = "json://user:hunter2@localhost/tokentoken"


class AlertsCommandLine(CommandLineTestCase):
    """A command line of ``trader-alerts``."""

    program = "trader-alerts"
    settings_name = "alerts.toml"

    def parse(self, arguments: Sequence[str]) -> Options:
        return parse_options(arguments)

    def write_targets(self, text: str, name: str = "alert-targets", mode: int = 0o600) -> Path:
        path = self.directory / "riskd" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path


class OptionsTests(AlertsCommandLine):
    """Options, settings and targets together."""

    def test_a_target_on_the_command_line_needs_no_file(self) -> None:
        options = self.parse(["--target", URL, "--target", "xml://localhost"])
        names = [target.name for target in options.targets]
        self.assertEqual(names, ["target 1 (json)", "target 2 (xml)"])
        self.assertEqual((options.accounts, options.url, options.state), ((), None, None))
        self.assertFalse(options.is_test)

    def test_all_arguments_are_read(self) -> None:
        options = self.parse(
            ["--url", "ws://localhost:1", "--state", "/x", "--target", URL, "--test", "456", "123"]
        )
        self.assertEqual(options.accounts, (456, 123))
        self.assertEqual((options.url, options.state), ("ws://localhost:1", Path("/x")))
        self.assertTrue(options.is_test)

    def test_the_command_line_overrides_the_files(self) -> None:
        self.write_settings('accounts = [1]\nurl = "ws://localhost:1"\nstate = "~/riskd"')
        self.write_targets("xml://localhost")
        options = self.parse([])
        self.assertEqual((options.accounts, options.url), ((1,), "ws://localhost:1"))
        self.assertEqual(options.state, self.directory / "riskd")
        self.assertEqual([each.name for each in options.targets], ["target 1 (xml)"])
        options = self.parse(["2", "--url", "ws://localhost:2", "--target", URL])
        self.assertEqual((options.accounts, options.url), ((2,), "ws://localhost:2"))
        self.assertEqual([each.name for each in options.targets], ["target 1 (json)"])

    def test_reports_without_their_packages_are_a_usage_error(self) -> None:
        self.write_settings("attach_report = true")
        self.assertTrue(self.parse(["--target", URL]).settings.attach_report)
        with patch.dict(sys.modules, {"jinja2": None}):
            sys.modules.pop("riskd.report.page", None)
            problem = self.usage_error("--target", URL)
        self.assertIn("jinja2 is not installed; run: pip install 'riskd[report]'", problem)

    def test_the_file_of_targets_stands_beside_the_settings(self) -> None:
        self.write_settings('targets = "mine"')
        self.write_targets(URL, "mine")
        self.assertEqual(len(self.parse([]).targets), 1)

    def test_a_path_of_an_unknown_user_is_a_mistake_in_the_file(self) -> None:
        path = self.write_settings('targets = "~nobody-here/mine"')
        self.assertIn(f"{path}, line 1: targets: expected a path", self.usage_error())

    def test_a_file_of_targets_that_cannot_be_reached_is_a_sentence(self) -> None:
        """Not even whether it is there is known."""
        self.write_settings(f'targets = "{"x" * 5000}"')
        self.assertIn("cannot be read: File name too long", self.usage_error())

    def test_without_a_target_the_error_says_how_to_name_one(self) -> None:
        output = self.usage_error()
        path = self.directory / "riskd" / "alert-targets"
        for words in (f"{path} is not there", f"chmod 600 {path}", "--target"):
            self.assertIn(words, output)

    def test_targets_that_others_may_read_are_refused(self) -> None:
        path = self.write_targets(URL, mode=0o644)
        self.assertIn(f"chmod 600 {path}", self.usage_error())

    def test_no_error_shows_a_secret(self) -> None:
        for url in ("json://", "nonsense://hunter2/tokentoken", "hunter2"):
            self.assertNotIn("hunter2", self.usage_error("--target", url).split("error:")[1])

    def test_wrong_arguments_are_usage_errors(self) -> None:
        for arguments in (["x"], ["--url", "http://x"], ["-1"], ["--config", "/nowhere"]):
            self.usage_error("--target", URL, *arguments)

    def test_the_version_is_shown(self) -> None:
        self.assertRaises(SystemExit, self.parse, ["--version"])
        self.assertEqual(self.stdout.getvalue(), f"trader-alerts {__version__}\n")


class SampleTests(AlertsCommandLine):
    """``--test``."""

    def test_a_sample_of_each_alert_is_sent_and_marked_as_one(self) -> None:
        target = Target(URL, 1, "here")
        sent: list[Message] = []
        target.send = sent.append  # type: ignore[method-assign]
        words = {Kind.LOCKOUT: "own words"}
        self.assertEqual(send_samples([target], words), 0)
        self.assertEqual(len(sent), len(Kind))
        for message in sent:
            self.assertTrue("TEST" in message.body or "own words" in message.body)
            self.assertTrue(message.title.startswith("TEST: "))
        self.assertIn("target 1 (json): has 10 samples", self.stdout.getvalue())

    def test_a_target_that_fails_is_named_and_the_others_are_tried(self) -> None:
        def fail(_message: Message) -> None:
            raise SendError("no network")

        first, second = Target(URL, 1, "here"), Target(URL, 2, "here")
        sent: list[Message] = []
        first.send, second.send = fail, sent.append  # type: ignore[method-assign]
        self.assertEqual(send_samples([first, second], {}), 1)
        self.assertEqual(len(sent), len(Kind))
        self.assertIn(
            "target 1 (json): got none of the 10 samples: no network\n", self.stderr.getvalue()
        )
        self.assertNotIn("target 1", self.stdout.getvalue())

    def test_the_samples_that_fail_are_named_in_one_line(self) -> None:
        def send(message: Message) -> None:
            if "LOCKED" in message.title or "limit" in message.title:
                raise SendError("too long")

        target = Target(URL, 1, "here")
        target.send = send  # type: ignore[method-assign]
        self.assertEqual(send_samples([target], {}), 1)
        self.assertEqual(
            self.stderr.getvalue(),
            "target 1 (json): got all but lockout, limit of the 10 samples: too long\n",
        )
