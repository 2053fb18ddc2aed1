"""The state directory and its disk: rights, gateway, damage, locks and space."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.doctor.findings import Finding, Verdict
from riskd.app.riskctl.doctor.state import FEW_BYTES, LEAST_BYTES, check_disk, check_state
from riskd.journal.daemon_file import DaemonRecord
from riskd.journal.discovery import RunningDaemon
from riskd.journal.gateway_identity import gateway_identity
from riskd.journal.ownership import LOCK_NAME
from riskd.journal.state_directory import StateDirectory
from tests.support.directories import temporary_directory

GATEWAY = gateway_identity("projectx", "https://api.topstepx.com", "jane")
OTHER = gateway_identity("projectx", "https://api.topstepx.com", "joe")
LOCKS = Path("/proc/locks")
STRANGER = 54321
needs_root = skipIf(os.geteuid() != 0, "only root can give files away")


class StateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = temporary_directory(self) / "state"

    def claimed(self) -> StateDirectory:
        state = StateDirectory(self.path)
        state.claim(GATEWAY)
        return state

    def check(self, running: RunningDaemon | None = None, locks: Path = LOCKS) -> list[Finding]:
        return list(check_state(self.path, GATEWAY, running, locks))

    def fault(self, running: RunningDaemon | None = None) -> Finding:
        (fault,) = self.check(running)
        return fault

    def test_a_directory_that_riskd_made_is_sound(self) -> None:
        self.claimed().release()
        self.assertEqual(self.fault().verdict, Verdict.OK)

    def test_a_missing_directory_is_not_made(self) -> None:
        self.assertEqual(self.fault().verdict, Verdict.OK)
        self.assertFalse(self.path.exists())

    @needs_root
    def test_a_directory_of_another_user_is_to_be_given_back(self) -> None:
        self.path.mkdir()
        os.chown(self.path, STRANGER, STRANGER)
        fault = self.fault()
        self.assertIn(f"belongs to uid {STRANGER}", fault.says)
        self.assertEqual(fault.mend, f"sudo chown -R root {self.path}")

    def test_a_directory_that_others_may_write_is_found_in_each_mode(self) -> None:
        self.path.mkdir()
        for mode in (0o775, 0o757, 0o777):
            self.path.chmod(mode)
            fault = self.fault()
            self.assertEqual(
                (fault.verdict, fault.mend), (Verdict.WRONG, f"chmod go-w {self.path}")
            )

    def test_a_file_in_its_place_is_found(self) -> None:
        self.path.touch()
        self.assertIn("is no directory", self.fault().says)

    def test_a_file_above_it_is_named(self) -> None:
        self.path.touch()
        (fault,) = check_state(self.path / "a/b", GATEWAY, None, LOCKS)
        self.assertEqual(fault.says, f"{self.path} is no directory")
        self.assertEqual(fault.mend, f"mv {self.path} {self.path}.old")

    def test_the_directory_of_another_gateway_is_found(self) -> None:
        state = StateDirectory(self.path)
        state.claim(OTHER)
        state.release()
        fault = self.fault()
        self.assertEqual(fault.verdict, Verdict.WRONG)
        self.assertIn("'joe'", fault.says)

    def test_a_damaged_journal_is_found(self) -> None:
        self.claimed().release()
        (self.path / "riskd.db").write_bytes(b"no database" * 1000)
        (self.path / "riskd.db").chmod(0o600)
        fault = self.fault()
        self.assertEqual(fault.verdict, Verdict.WRONG)
        self.assertIn("riskd.db is damaged", fault.says)

    def test_a_long_path_is_found_which_keeps_riskctl_away(self) -> None:
        self.path = self.path / ("x" * 100)
        self.path.mkdir(parents=True)
        fault = self.fault()
        self.assertEqual(fault.verdict, Verdict.WARNING)
        self.assertIn("--state", fault.mend)

    def test_a_lock_is_that_of_the_riskd_that_runs_or_foreign(self) -> None:
        state = self.claimed()
        self.addCleanup(state.release)
        record = DaemonRecord(port=8765, instance="", kind="projectx", pid=os.getpid())
        running = RunningDaemon(directory=self.path, record=record)
        self.assertEqual(self.fault(running).verdict, Verdict.OK)
        if not LOCKS.exists():
            return
        fault = self.fault()
        self.assertEqual(fault.verdict, Verdict.WARNING)
        self.assertEqual(fault.mend, f"ps -o pid,user,args -p {os.getpid()}")

    def test_the_check_takes_no_lock_itself(self) -> None:
        self.claimed().release()
        self.check()
        with (self.path / LOCK_NAME).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.check()


class DiskTests(SynchronousTestCase):
    def test_little_space_is_a_warning_and_almost_none_is_wrong(self) -> None:
        path = temporary_directory(self)
        for free, verdict in (
            (FEW_BYTES, Verdict.OK),
            (FEW_BYTES - 1, Verdict.WARNING),
            (LEAST_BYTES - 1, Verdict.WRONG),
            (0, Verdict.WRONG),
        ):
            usage = shutil.disk_usage(path)._replace(free=free)
            (found,) = check_disk(path, lambda _path, usage=usage: usage)
            self.assertEqual(found.verdict, verdict, free)

    def test_the_disk_of_a_directory_that_is_not_there_yet_is_that_above(self) -> None:
        above = temporary_directory(self)
        asked: list[Path] = []

        def usage(path: Path) -> object:
            asked.append(path)
            return shutil.disk_usage(path)

        list(check_disk(above / "a" / "b", usage))
        self.assertEqual(asked, [above])
