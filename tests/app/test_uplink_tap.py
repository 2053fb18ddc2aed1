"""``twistd riskd-uplink``: what it refuses, each in one line."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.uplink_tap import Options, uplink_settings
from riskd.host.errors import UserError
from tests.support.directories import temporary_directory

WHOLE = """
desk = "alpha"
instance = "anna"
servers = ["tls://desk.example:4222"]
certificate = "anna.pem"
key = "anna.key"
ca = "ca.pem"
"""


class OptionsTests(SynchronousTestCase):
    def refusal(self, config: Path | None) -> str:
        options = Options()
        options["config"] = config
        return str(self.assertRaises(UserError, uplink_settings, options))

    def test_it_needs_a_file(self) -> None:
        self.assertIn("expected --config with the file desk.toml", self.refusal(None))

    def test_a_mistake_in_the_file_is_named(self) -> None:
        file = temporary_directory(self) / "desk.toml"
        self.assertIn(f"{file}: cannot be read", self.refusal(file))
        file.write_text(WHOLE.replace('"alpha"', "1"))
        self.assertIn(f"{file}, line 2: desk: expected a name", self.refusal(file))

    def test_the_riskd_of_this_machine_has_a_name(self) -> None:
        file = temporary_directory(self) / "desk.toml"
        file.write_text(WHOLE.replace('instance = "anna"', ""))
        self.assertIn(f"{file}: instance: missing", self.refusal(file))
        file.write_text(WHOLE)
        options = Options()
        options["config"] = file
        self.assertEqual(uplink_settings(options).instance, "anna")

    def test_a_wrong_option_is_refused_in_one_line(self) -> None:
        refusal = str(self.assertRaises(SystemExit, Options().parseOptions, ["--colour"]).code)
        self.assertTrue(
            refusal.startswith("riskd-uplink: option --colour not recognized"), refusal
        )
