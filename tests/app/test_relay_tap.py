"""``twistd riskd-relay``: what it refuses, each in one line, and whose its state directory is."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.python.monkey import MonkeyPatcher
from twisted.trial.unittest import SynchronousTestCase

from riskd.app import desk_options
from riskd.app.desk_options import read_settings
from riskd.app.launch import open_state
from riskd.host.errors import UserError
from riskd.journal.gateway_identity import DESK, GatewayIdentity
from tests.support.directories import temporary_directory

WHOLE = """
desk = "alpha"
servers = ["tls://desk.example:4222"]
certificate = "relay.pem"
key = "relay.key"
ca = "ca.pem"
"""


def desk(name: str) -> GatewayIdentity:
    """Return what a state directory of a desk belongs to."""
    return GatewayIdentity(DESK, login=name)


class OptionsTests(SynchronousTestCase):
    def refusal(self, config: Path | None) -> str:
        return str(self.assertRaises(UserError, read_settings, config))

    def test_it_needs_a_file(self) -> None:
        self.assertIn("expected --config with the file desk.toml", self.refusal(None))

    def test_a_mistake_in_the_file_is_named(self) -> None:
        file = temporary_directory(self) / "desk.toml"
        self.assertIn(f"{file}: cannot be read", self.refusal(file))
        file.write_text(WHOLE.replace('"alpha"', "1"))
        self.assertIn(f"{file}, line 2: desk: expected a name", self.refusal(file))

    def test_the_relay_has_no_instance(self) -> None:
        file = temporary_directory(self) / "desk.toml"
        file.write_text(WHOLE)
        self.assertIsNone(read_settings(file).instance)

    def test_without_nats_py_it_says_what_to_install(self) -> None:
        self.patch(desk_options, "find_spec", lambda _name: None)
        self.assertIn("pip install 'riskd[desk]'", self.refusal(None))


class StateTests(SynchronousTestCase):
    def test_a_named_directory_is_of_its_desk_alone(self) -> None:
        directory = temporary_directory(self) / "state"
        open_state(directory, desk("alpha")).release()
        refusal = str(self.assertRaises(UserError, open_state, directory, desk("beta")))
        self.assertIn("belongs to the desk alpha", refusal)

    def test_the_default_one_is_where_consoles_look(self) -> None:
        home = temporary_directory(self)
        patcher = MonkeyPatcher((os, "environ", {**os.environ, "XDG_STATE_HOME": str(home)}))
        patcher.patch()
        self.addCleanup(patcher.restore)
        state = open_state(None, desk("alpha"))
        state.release()
        self.assertEqual(state.path.parent, home / "riskd")
        self.assertTrue(state.path.name.startswith("desk-"))
