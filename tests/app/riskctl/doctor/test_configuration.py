"""The configuration, and the file of the API key."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.doctor import configuration
from riskd.app.riskctl.doctor.configuration import (
    find_configuration,
    find_key,
    read_configuration,
)
from riskd.app.riskctl.doctor.findings import Finding, Verdict
from riskd.config.settings import AccountSettings, GatewaySettings, Settings
from riskd.config.toml import ConfigError
from riskd.gateway.projectx import credentials
from tests.support.directories import temporary_directory

CONFIG = Path("riskd.toml")
STRANGER = 54321
KEY = "a-key-that-nobody-may-see"


class ConfigurationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = temporary_directory(self) / "riskd.toml"

    def faults(self, text: str) -> list[Finding]:
        self.path.write_text(text)
        _settings, found = read_configuration(self.path)
        return [each for each in found if each.verdict != Verdict.OK]

    def test_the_named_file_is_checked_or_else_that_of_this_directory(self) -> None:
        before = Path.cwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.path.parent)
        self.patch(os, "environ", {"XDG_CONFIG_HOME": str(self.path.parent / "config")})
        self.assertIsNone(find_configuration(None))
        users = self.path.parent / "config/riskd/riskd.toml"
        users.parent.mkdir(parents=True)
        users.touch()
        self.assertEqual(find_configuration(None), users)
        self.path.touch()
        self.assertEqual(find_configuration(None), Path("riskd.toml"))
        self.assertEqual(find_configuration(Path("other.toml")), Path("other.toml"))

    def test_without_a_file_init_makes_one(self) -> None:
        for path, mend, verdict in (
            (None, "riskctl init", Verdict.WARNING),
            (self.path, f"riskctl init -o {self.path}", Verdict.WRONG),
        ):
            settings, (fault,) = read_configuration(path)
            self.assertIsNone(settings)
            self.assertEqual((fault.mend, fault.verdict), (mend, verdict))

    def test_a_file_that_cannot_be_read_is_made_readable(self) -> None:
        self.path.touch()
        self.path.chmod(0)
        self.patch(os, "access", lambda *_access: False)

        def fail(*_arguments: object) -> Settings:
            raise ConfigError("cannot be read: Permission denied")

        self.patch(configuration, "load_settings", fail)
        for user, mend in (
            (os.geteuid(), f"chmod u+r {self.path}"),
            (STRANGER, f"sudo chown {STRANGER} {self.path}"),
        ):
            self.patch(os, "geteuid", lambda user=user: user)
            _settings, (fault,) = read_configuration(self.path)
            self.assertEqual((fault.verdict, fault.mend), (Verdict.WRONG, mend))

    def test_a_directory_in_its_place_is_moved_away(self) -> None:
        self.path.mkdir()
        _settings, (fault,) = read_configuration(self.path)
        self.assertEqual(
            fault.mend, f"mv {self.path} {self.path}.old && riskctl init -o {self.path}"
        )

    def test_each_mistake_is_a_line(self) -> None:
        faults = self.faults("enforce = 1\nstrict = true\n[[accounts]]\nid = 7\n")
        self.assertEqual([each.verdict for each in faults], [Verdict.WRONG] * 2)
        self.assertTrue(all("check-config" in each.mend for each in faults))

    def test_what_guards_nothing_is_a_warning(self) -> None:
        (fault,) = self.faults("[[accounts]]\nid = 7\n")
        self.assertEqual(fault.says, "account 7 is guarded by no rule")
        self.assertEqual(fault.verdict, Verdict.WARNING)

    def test_a_file_that_others_may_change_is_a_warning(self) -> None:
        text = "[rules.auth_loss_guard]\n[[accounts]]\nid = 7\n"
        self.assertEqual(self.faults(text), [])
        self.path.chmod(0o664)
        (fault,) = self.faults(text)
        self.assertEqual(fault.mend, f"chmod go-w {self.path}")


class KeyTests(SynchronousTestCase):
    """Each way in which a key file can be wrong, and what mends it."""

    def setUp(self) -> None:
        self.patch(credentials, "_from_environment", {})
        self.path = temporary_directory(self) / "my key"
        self.path.write_text(f"{KEY}\n")
        self.path.chmod(0o600)

    def find(self, key_file: str | None, **environ: str) -> tuple[str, Finding]:
        gateway = GatewaySettings(kind="projectx", user_name="jane", key_file=key_file)
        settings = Settings(gateway=gateway, accounts=(AccountSettings(id=7),))
        found, (finding,) = find_key(settings, CONFIG, environ)
        self.assertNotIn(KEY, finding.says + finding.mend)
        return "" if found is None else found.api_key.reveal(), finding

    def fault(self) -> Finding:
        key, finding = self.find(str(self.path))
        self.assertEqual((key, finding.verdict), ("", Verdict.WRONG))
        return finding

    def test_a_sound_key_is_found_in_a_file_and_in_the_environment(self) -> None:
        for found in (self.find(str(self.path)), self.find(None, RISKD_API_KEY=KEY)):
            self.assertEqual((found[0], found[1].verdict), (KEY, Verdict.OK))

    def test_each_fault_of_the_file_names_its_mend(self) -> None:
        quoted = f"'{self.path}'"
        for plant, mend in (
            (lambda: self.path.chmod(0o604), f"chmod 600 {quoted}"),
            (
                lambda: self.path.write_text(""),
                f"install -m 600 /dev/null {quoted} && cat > {quoted}",
            ),
            (lambda: self.path.write_text("two words"), "install -m 600"),
            (lambda: self.path.write_text("x" * 5000), "install -m 600"),
            (self.path.unlink, "install -m 600"),
            (self.exchange_for_link, f"readlink -f {quoted}"),
        ):
            plant()
            self.assertTrue(self.fault().mend.startswith(mend), self.fault().mend)
            self.path.unlink(missing_ok=True)
            self.path.write_text(f"{KEY}\n")
            self.path.chmod(0o600)

    def exchange_for_link(self) -> None:
        self.path.unlink()
        self.path.symlink_to("/etc/hostname")

    def test_a_key_that_only_the_service_may_have_is_a_warning(self) -> None:
        key, finding = self.find(None)
        self.assertEqual((key, finding.verdict), ("", Verdict.WARNING))
        self.assertIn("systemd", finding.says)
        self.assertEqual(finding.mend, "${EDITOR:-vi} riskd.toml   # add key_file")

    def test_the_practice_gateway_needs_none(self) -> None:
        settings = Settings(accounts=(AccountSettings(id=7),))
        found, (finding,) = find_key(settings, CONFIG, {})
        self.assertEqual((found, finding.verdict), (None, Verdict.OK))
