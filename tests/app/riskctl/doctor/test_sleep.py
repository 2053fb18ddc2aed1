"""Sleep settings: logind's, the desktop's, a Mac's, and those that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.doctor.findings import Finding, Verdict
from riskd.app.riskctl.doctor.sleep import check_sleep
from tests.support.directories import temporary_directory

PMSET = """System-wide power settings:
Currently in use:
 standby              1
 disksleep            10
 sleep                {minutes}
 displaysleep         10
"""


class SleepTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = temporary_directory(self)
        self.outputs: dict[str, str] = {}

    def run_program(self, command: Sequence[str]) -> str | None:
        return self.outputs.get(command[0])

    def write(self, name: str, text: str = "") -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def boot_systemd(self) -> None:
        (self.root / "run/systemd/system").mkdir(parents=True)

    def found(self, platform: str = "linux") -> list[Finding]:
        return list(check_sleep(platform, self.root, self.run_program))

    def only(self, platform: str = "linux") -> Finding:
        (finding,) = self.found(platform)
        return finding

    def test_without_systemd_and_desktop_nothing_is_known(self) -> None:
        self.assertEqual(self.only().verdict, Verdict.NOTE)

    def test_logind_leaves_a_machine_awake_by_default(self) -> None:
        self.boot_systemd()
        self.assertEqual(self.only().verdict, Verdict.OK)

    def test_the_last_file_of_logind_counts(self) -> None:
        self.boot_systemd()
        self.write("usr/lib/systemd/logind.conf", "[Login]\n#IdleAction=ignore\n")
        self.write("etc/systemd/logind.conf", "[Login]\nIdleAction=ignore\n")
        self.write("etc/systemd/logind.conf.d/50-idle.conf", "[Login]\nIdleAction=suspend\n")
        finding = self.only()
        self.assertEqual(finding.verdict, Verdict.WARNING)
        self.assertIn("IdleAction=suspend", finding.says)
        self.write("run/systemd/logind.conf.d/60-idle.conf", "[Login]\nIdleAction=lock\n")
        self.assertEqual(self.only().verdict, Verdict.OK)

    def test_a_lid_suspends_a_laptop_unless_logind_ignores_it(self) -> None:
        self.boot_systemd()
        self.write("sys/class/power_supply/BAT0/status")
        finding = self.only()
        self.assertIn("HandleLidSwitch=suspend", finding.says)
        self.assertTrue(finding.mend.startswith("sudo systemctl mask"))
        self.write("etc/systemd/logind.conf", "[Login]\nHandleLidSwitch=ignore\n")
        self.assertEqual(self.only().verdict, Verdict.OK)

    def test_masked_targets_keep_a_machine_awake_whatever_else_is_set(self) -> None:
        self.boot_systemd()
        self.write("etc/systemd/logind.conf", "[Login]\nIdleAction=suspend\n")
        (self.root / "etc/systemd/system").mkdir(parents=True)
        (self.root / "etc/systemd/system/suspend.target").symlink_to("/dev/null")
        (self.root / "etc/systemd/system/sleep.target").symlink_to("/dev/null")
        self.assertEqual(self.only().verdict, Verdict.OK)

    def test_a_file_that_makes_no_sense_is_left_out(self) -> None:
        self.boot_systemd()
        self.write("etc/systemd/logind.conf", "IdleAction=suspend\n[[[")
        self.assertEqual(self.only().verdict, Verdict.OK)

    def test_a_desktop_that_suspends_is_found(self) -> None:
        self.outputs["gsettings"] = "'suspend'\n"
        finding = self.only()
        self.assertEqual(finding.verdict, Verdict.WARNING)
        self.assertIn("sleep-inactive-ac-type nothing", finding.mend)
        self.outputs["gsettings"] = "'nothing'\n"
        self.assertEqual(self.only().verdict, Verdict.OK)

    def test_a_mac_sleeps_after_minutes_or_not_by_itself(self) -> None:
        for output, verdict in (
            (PMSET.format(minutes=0), Verdict.OK),
            (PMSET.format(minutes="1 (sleep prevented by powerd)"), Verdict.WARNING),
            ("", Verdict.NOTE),
        ):
            self.outputs["pmset"] = output
            self.assertEqual(self.only("darwin").verdict, verdict, output)

    def test_windows_decides_for_its_own_linux(self) -> None:
        self.write("proc/version", "Linux version 5.15.90.1-microsoft-standard-WSL2")
        self.assertIn("Windows decides", self.only().says)
