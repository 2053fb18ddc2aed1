"""Versions of Python and of the libraries, against the bounds of the installed riskd."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.doctor.findings import Finding, Verdict
from riskd.app.riskctl.doctor.installation import check_installation
from tests.support.directories import temporary_directory


class InstallationTests(SynchronousTestCase):
    """A directory of packages that comes before all others."""

    def setUp(self) -> None:
        self.packages = temporary_directory(self)
        self.patch(sys, "path", [str(self.packages), *sys.path])

    def install(self, name: str, version: str, *lines: str) -> None:
        path = Path(self.packages, f"{name}-{version}.dist-info")
        path.mkdir()
        fields = (f"Name: {name}", f"Version: {version}", *lines)
        (path / "METADATA").write_text("\n".join(("Metadata-Version: 2.1", *fields, "")))

    def faults(self, python: str = "3.12.1") -> list[Finding]:
        return [each for each in check_installation(python) if each.verdict != Verdict.OK]

    def test_this_installation_is_sound(self) -> None:
        self.assertEqual([each.verdict for each in check_installation()], [Verdict.OK] * 2)

    def test_python_is_compared_as_a_version_and_not_as_text(self) -> None:
        for python, count in (("3.9.18", 1), ("3.10.0", 1), ("3.11.0", 0), ("3.100.0", 0)):
            self.assertEqual(len(self.faults(python)), count, python)

    def test_a_library_beyond_its_bounds_is_wrong_on_either_side(self) -> None:
        self.install("riskd", "9", "Requires-Dist: lib>=2,<3")
        for version, count in (("1.9", 1), ("2.0", 0), ("3.0", 1)):
            self.install("lib", version)
            self.assertEqual(len(self.faults()), count, version)
            for file in self.packages.glob("lib-*/*"):
                file.unlink()
            for directory in self.packages.glob("lib-*"):
                directory.rmdir()

    def test_a_missing_library_is_to_be_installed(self) -> None:
        self.install("riskd", "9", "Requires-Dist: surely-not-there>=2")
        (fault,) = self.faults()
        self.assertEqual(fault.says, "surely-not-there is missing")
        self.assertTrue(fault.mend.endswith("-m pip install 'surely-not-there>=2'"))

    def test_what_a_library_needs_for_riskd_must_be_there(self) -> None:
        self.install("riskd", "9", "Requires-Dist: lib[tls]>=2")
        self.install("lib", "2.1", 'Requires-Dist: surely-not-there; extra == "tls"')
        (fault,) = self.faults()
        self.assertEqual(fault.says, "surely-not-there is missing, which lib[tls]>=2 needs")

    def test_a_library_of_an_extra_may_be_missing_but_not_too_old(self) -> None:
        self.install("riskd", "9", 'Requires-Dist: lib>=2; extra == "alerts"')
        self.assertEqual(self.faults(), [])
        self.install("lib", "1.0")
        (fault,) = self.faults()
        self.assertEqual(fault.verdict, Verdict.WARNING)
