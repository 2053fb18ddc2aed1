"""``riskctl desk``: the files, who may read them, and what comes and goes with a trader."""

from __future__ import annotations

import io
import stat
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.desk import commands
from riskd.app.riskctl.main import main
from tests.support.directories import temporary_directory
from tests.support.nats_server import program_that_says

ONE = ("--server", "desk.example")
THREE = ("--server=a.example", "--server=10.0.0.5:5000:6000", "--server=[fd00::5]")
MACHINES = ("server-1", "server-2", "server-3")


class DeskTestCase(SynchronousTestCase):
    """A place for a desk, on a machine without nats-server.

    :ivar output: what riskctl wrote to standard output at last.
    """

    def setUp(self) -> None:
        self.path = temporary_directory(self) / "alpha"
        self.output = ""
        self.patch(commands, "find_server", lambda: None)

    def riskctl(self, *arguments: str) -> None:
        """Run a step that succeeds."""
        with redirect_stdout(io.StringIO()) as shown:
            self.assertEqual(main(["desk", *arguments]), 0)
        self.output = shown.getvalue()

    def refusal(self, *arguments: str) -> str:
        """Run a step that fails; return its sentences."""
        with redirect_stderr(io.StringIO()) as said, redirect_stdout(io.StringIO()):
            self.assertEqual(main(["desk", *arguments]), 1)
        return said.getvalue()

    def init(self, *arguments: str) -> None:
        self.riskctl("init", "alpha", "-o", str(self.path), *arguments)

    def text(self, *names: str) -> str:
        return self.path.joinpath(*names).read_text()

    @property
    def files(self) -> set[str]:
        found = (each for each in self.path.rglob("*") if each.is_file())
        return {str(each.relative_to(self.path)) for each in found}


class InitTests(DeskTestCase):
    """What is written, and what is not."""

    def test_each_machine_has_what_it_needs_and_no_more(self) -> None:
        self.init(*ONE, "--trader=anna", "--trader=ben")
        self.assertEqual(
            self.files,
            {
                *("desk.json", "accounts.conf", "authority/ca.pem", "authority/ca.key"),
                *("revoked.json", "relay/revoked.json"),
                *("server/nats-server.conf", "server/accounts.conf", "server/ca.pem"),
                *("server/server.pem", "server/server.key"),
                *(f"relay/{each}" for each in ("desk.toml", "ca.pem", "relay.pem", "relay.key")),
                *(
                    f"traders/{name}/{each}"
                    for name in ("anna", "ben")
                    for each in ("desk.toml", "ca.pem", f"{name}.pem", f"{name}.key")
                ),
            },
        )

    def test_three_servers_have_a_directory_each(self) -> None:
        self.init(*THREE)
        expected = {
            *("nats-server.conf", "accounts.conf", "ca.pem", "server.pem", "server.key"),
            *("cluster-ca.pem", "cluster.pem", "cluster.key"),
        }
        for name in MACHINES:
            self.assertEqual({each.name for each in (self.path / name).iterdir()}, expected)
        self.assertLessEqual({"authority/cluster-ca.pem", "authority/cluster-ca.key"}, self.files)

    def test_keys_are_for_their_owner_alone(self) -> None:
        self.init(*THREE, "--trader=anna")
        for each in (self.path, *self.path.rglob("*")):
            mode = stat.S_IMODE(each.stat().st_mode)
            if each.is_dir():
                self.assertEqual(mode, 0o700, each)
            else:
                is_secret = "PRIVATE KEY" in each.read_text()
                self.assertEqual(is_secret, each.suffix == ".key", each)
                self.assertEqual(mode & 0o777 if is_secret else mode & 0o700, 0o600, each)

    def test_desk_toml_is_what_the_programs_read(self) -> None:
        self.init(*THREE, "--trader=anna")
        servers = ["tls://a.example:4222", "tls://10.0.0.5:5000", "tls://[fd00::5]:4222"]
        self.assertEqual(
            tomllib.loads(self.text("traders", "anna", "desk.toml")),
            {
                "desk": "alpha",
                "instance": "anna",
                "servers": servers,
                "certificate": "anna.pem",
                "key": "anna.key",
                "ca": "ca.pem",
            },
        )
        self.assertEqual(
            tomllib.loads(self.text("relay", "desk.toml")),
            {
                "desk": "alpha",
                "servers": servers,
                "certificate": "relay.pem",
                "key": "relay.key",
                "ca": "ca.pem",
            },
        )

    def test_a_server_keeps_all_on_the_disk_and_listens_where_it_is_told(self) -> None:
        self.init(*ONE)
        text = self.text("server", "nats-server.conf")
        for line in (
            'listen: "desk.example:4222"',
            "  sync_interval: always",
            '  store_dir: "store"',
            "  verify_and_map: true",
            "  handshake_first: true",
            '  min_version: "1.3"',
            'include "accounts.conf"',
        ):
            self.assertIn(f"{line}\n", text)
        for word in ("0.0.0.0", "cluster", "http", "no_auth_user"):
            self.assertNotIn(word, text)

    def test_the_servers_of_a_cluster_know_each_other(self) -> None:
        self.init(*THREE)
        text = self.text("server-2", "nats-server.conf")
        for line in (
            'server_name: "alpha-2"',
            'listen: "10.0.0.5:5000"',
            '  listen: "10.0.0.5:6000"',
            '    "tls://a.example:6222"',
            '    "tls://[fd00::5]:6222"',
            '    ca_file: "cluster-ca.pem"',
            "    verify: true",
        ):
            self.assertIn(f"{line}\n", text)
        self.assertEqual(text.count('min_version: "1.3"'), 2)
        self.assertNotIn("tls://10.0.0.5", text)

    def test_the_servers_have_the_same_accounts(self) -> None:
        self.init(*THREE, "--trader=anna", "--trader=ben")
        for name in MACHINES:
            self.assertEqual(self.text(name, "accounts.conf"), self.text("accounts.conf"))

    def test_each_trader_may_publish_to_their_own_subjects_alone(self) -> None:
        self.init(*ONE, "--trader=anna", "--trader=ben")
        accounts = self.text("accounts.conf")
        for name in ("anna", "ben"):
            certificate = x509.load_pem_x509_certificate(
                self.text("traders", name, f"{name}.pem").encode()
            )
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            (user,) = names.value.get_values_for_type(x509.UniformResourceIdentifier)
            self.assertIn(
                f'{{user: "{user}", permissions: {{publish: ["risk.alpha.{name}.>"], subscribe: ["_INBOX_{name}.>"]}}}}',
                accounts,
            )

    def test_the_next_steps_are_shown(self) -> None:
        self.init(*ONE, "--trader=anna")
        for words in (
            f"{self.path} is written: the desk alpha with 1 server, its relay and 1 trader.",
            "nats-server is not installed here. The server's machine needs version 2.10.21 or newer",
            "nats-server -c nats-server.conf",
            "twistd -n --pidfile= riskd-relay --config desk.toml",
            "twistd -n --pidfile= riskd-uplink --config desk.toml",
        ):
            self.assertIn(words, self.output)

    def test_a_server_that_is_here_is_named_and_one_that_is_too_old_refused(self) -> None:
        found = program_that_says(self.path.parent / "programs", "nats-server: v2.15.1")
        self.patch(commands, "find_server", lambda: found)
        self.init(*ONE)
        self.assertIn(f"nats-server 2.15.1 is installed here, as {found}.", self.output)
        program_that_says(self.path.parent / "programs", "nats-server: v2.9.10")
        other = self.path.with_name("beta")
        said = self.refusal("init", "beta", "-o", str(other), *ONE)
        self.assertIn("is version 2.9.10; expected 2.10.21 or newer", said)
        self.assertFalse(other.exists())

    def test_what_exists_is_left_alone(self) -> None:
        for make in (Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")):
            make(self.path)
            said = self.refusal("init", "alpha", "-o", str(self.path), *ONE)
            self.assertIn(
                f"{self.path} exists, and is not overwritten; -o DIR names another", said
            )
            self.assertEqual([each.name for each in self.path.parent.iterdir()], ["alpha"])
            if self.path.is_dir():
                self.path.rmdir()
            else:
                self.path.unlink()

    def test_where_nothing_can_be_written_nothing_is(self) -> None:
        place = self.path / "no" / "such"
        said = self.refusal("init", "alpha", "-o", str(place), *ONE)
        self.assertIn(f"{place} cannot be written: No such file or directory", said)
        self.assertFalse(self.path.exists())

    def test_bad_names_are_all_named(self) -> None:
        for name in ("", "an na", "anna.b", "*", "a" * 33, "caf\u00e9", "../up", "anna\n"):
            said = self.refusal("init", "al.pha", "-o", str(self.path), *ONE, f"--trader={name}")
            self.assertIn("desk 'al.pha': expected 1 to 32 letters", said)
            self.assertIn("trader ", said)
            self.assertFalse(self.path.exists())

    def test_no_two_have_one_name_and_none_that_of_the_relay(self) -> None:
        for one, two in (("anna", "anna"), ("anna", "Anna"), ("ben", "relay")):
            arguments = (*ONE, f"--trader={one}", f"--trader={two}")
            said = self.refusal("init", "alpha", "-o", str(self.path), *arguments)
            self.assertIn(f"trader {two}: expected a name that nobody else at the desk has", said)

    def test_a_bad_address_is_named(self) -> None:
        said = self.refusal("init", "alpha", "-o", str(self.path), "--server", "10.0.0.256")
        self.assertIn("--server 10.0.0.256: expected the name or IP address of a machine", said)


class TraderTests(DeskTestCase):
    """Traders come and go."""

    def setUp(self) -> None:
        super().setUp()
        self.init(*THREE, "--trader=anna")

    def user(self, name: str) -> str:
        """Return the text that names a trader's user at the server; empty without one."""
        _, found, rest = self.text("accounts.conf").partition(f'"urn:riskd:alpha:{name}:')
        return rest.partition('"')[0] if found else ""

    def assert_servers_agree(self) -> None:
        for name in MACHINES:
            self.assertEqual(self.text(name, "accounts.conf"), self.text("accounts.conf"))

    def test_one_more_trader(self) -> None:
        anna = self.user("anna")
        self.riskctl("add", str(self.path), "ben")
        self.assertEqual(
            {each.name for each in (self.path / "traders" / "ben").iterdir()},
            {"desk.toml", "ca.pem", "ben.pem", "ben.key"},
        )
        self.assertEqual(self.user("anna"), anna)
        self.assertTrue(self.user("ben"))
        self.assert_servers_agree()
        self.assertIn("ben has a place at the desk alpha.", self.output)
        self.assertIn("kill -HUP $(cat nats-server.pid)", self.output)

    def test_a_trader_who_is_there_is_not_added(self) -> None:
        before = self.text("accounts.conf")
        for name in ("anna", "ANNA", "relay"):
            said = self.refusal("add", str(self.path), name)
            self.assertIn(f"trader {name}: expected a name that nobody else", said)
        self.assertIn("expected 1 to 32 letters", self.refusal("add", str(self.path), "b n"))
        self.assertEqual(self.text("accounts.conf"), before)

    def test_a_revoked_trader_has_no_user_and_comes_back_as_another_one(self) -> None:
        before = self.user("anna")
        self.assertEqual(self.text("relay", "revoked.json"), "[]\n")
        self.riskctl("revoke", str(self.path), "anna")
        # The relay drops her accounts.
        self.assertEqual(self.text("relay", "revoked.json"), '["anna"]\n')
        self.assertIn("revoked.json to the directory of the relay (relay)", self.output)
        self.assertIn("shows anna no more", self.output)
        self.assertEqual(self.user("anna"), "")
        self.assert_servers_agree()
        self.assertFalse((self.path / "traders" / "anna").exists())
        (aside,) = (self.path / "revoked").iterdir()
        self.assertIn(f"What was for anna is in {aside} now.", self.output)
        self.riskctl("add", str(self.path), "anna")
        self.assertNotIn(self.user("anna"), ("", before))

    def test_files_may_have_moved_to_their_machines(self) -> None:
        for name in ("server-2", "traders/anna"):
            (self.path / name).rename(self.path.parent / name.rpartition("/")[2])
        self.riskctl("add", str(self.path), "ben")
        self.riskctl("revoke", str(self.path), "anna")
        self.assertFalse((self.path / "server-2").exists())
        self.assertEqual(self.text("server-3", "accounts.conf"), self.text("accounts.conf"))
        self.assertNotIn("anna", self.text("accounts.conf"))

    def test_a_trader_who_is_not_there_is_named(self) -> None:
        said = self.refusal("revoke", str(self.path), "ben")
        self.assertIn("the desk alpha has no trader 'ben'; it has anna", said)
        self.assertIn("has no trader 'relay'", self.refusal("revoke", str(self.path), "relay"))

    def test_what_is_no_desk_is_named(self) -> None:
        for step in ("add", "revoke"):
            said = self.refusal(step, str(self.path.parent), "ben")
            self.assertIn("desk.json cannot be read: No such file or directory; expected", said)
            for wrong in (b"", b"[]", b'{"desk": "alpha"}', b"\xff"):
                (self.path / "desk.json").write_bytes(wrong)
                said = self.refusal(step, str(self.path), "ben")
                self.assertIn("desk.json: expected what riskctl desk init writes", said)

    def test_without_its_authority_a_desk_takes_nobody(self) -> None:
        key = self.path / "authority" / "ca.key"
        key.write_text("no key")
        self.assertIn(f"{key}: expected the key of", self.refusal("add", str(self.path), "ben"))
        key.unlink()
        said = self.refusal("add", str(self.path), "ben")
        self.assertIn(f"{key} cannot be read: No such file or directory", said)
        # Those who are there can still be revoked.
        self.riskctl("revoke", str(self.path), "anna")
