"""``desk.toml``: every mistake is named with its line, its value and what was expected."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.config.toml import ConfigError
from riskd.desk.settings import load_desk
from tests.support.directories import temporary_directory

WHOLE = """
desk = "alpha"
instance = "anna"
servers = ["tls://desk.example:4222", "tls://[::1]:4223"]
certificate = "anna.pem"
key = "/elsewhere/anna.key"
ca = "ca.pem"

[uplink]
state = "state"
url = "ws://127.0.0.1:9000"
"""


class SettingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = temporary_directory(self)
        self.file = self.directory / "desk.toml"

    def problems(self, text: str) -> list[str]:
        self.file.write_text(text)
        problems = self.assertRaises(ConfigError, load_desk, self.file).problems
        return [problem.removeprefix(f"{self.file}") for problem in problems]

    def test_files_are_beside_it(self) -> None:
        self.file.write_text(WHOLE)
        settings = load_desk(self.file)
        self.assertEqual((settings.desk, settings.instance), ("alpha", "anna"))
        self.assertEqual(settings.servers, ("tls://desk.example:4222", "tls://[::1]:4223"))
        self.assertEqual(settings.certificate, self.directory / "anna.pem")
        self.assertEqual(settings.key, Path("/elsewhere/anna.key"))
        self.assertEqual(settings.uplink_state, self.directory / "state")
        self.assertEqual(settings.url, "ws://127.0.0.1:9000")

    def test_a_server_in_the_clear_is_refused(self) -> None:
        for wrong in ("nats://desk.example:4222", "tls://user:secret@desk.example", "ws://desk"):
            (problem,) = self.problems(WHOLE.replace("tls://desk.example:4222", wrong))
            self.assertTrue(problem.startswith(", line 4: servers[0]: expected a server"), problem)

    def test_names_are_those_that_subjects_may_have(self) -> None:
        for wrong in ("al pha", "al.pha", "*", ">", "", "a" * 33):
            (problem,) = self.problems(WHOLE.replace('"alpha"', f'"{wrong}"'))
            self.assertTrue(problem.startswith(", line 2: desk: expected a name"), problem)

    def test_riskd_is_on_this_machine(self) -> None:
        (problem,) = self.problems(WHOLE.replace("127.0.0.1", "192.0.2.1"))
        self.assertTrue(problem.startswith(", line 11: uplink.url: expected the URL"), problem)

    def test_all_that_is_missing_is_named(self) -> None:
        missing = self.problems("instanze = 1")
        self.assertEqual(len(missing), 6)
        self.assertIn(", line 1: instanze: unknown key; did you mean instance?", missing)
