"""A riskd that runs: found by its command line, and what it says of itself."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from riskd import __version__
from riskd.app.riskctl.doctor.daemon import check_daemon, check_user, daemons_of
from riskd.app.riskctl.doctor.findings import Verdict
from riskd.control.reports import StatusReport
from riskd.journal.daemon_file import DaemonRecord, write_daemon
from riskd.journal.discovery import RunningDaemon
from riskd.model.events import DaemonStatus, Status
from tests.support.directories import temporary_directory

RUNNING = RunningDaemon(
    directory=Path("state"),
    record=DaemonRecord(port=8765, instance="", kind="projectx", pid=77),
)


class ProcessTests(SynchronousTestCase):
    """Processes as the kernel lists them."""

    def setUp(self) -> None:
        self.proc = temporary_directory(self)
        self.home = temporary_directory(self)
        self.config = self.home / "riskd.toml"
        self.config.touch()

    def process(self, pid: int, *words: str, directory: Path | None = None) -> None:
        path = self.proc / str(pid)
        path.mkdir()
        (path / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        (path / "cwd").symlink_to(directory or self.home)

    def test_a_riskd_with_the_configuration_is_found_however_it_is_named(self) -> None:
        twistd = ("/usr/bin/python3", "/home/jane/.venv/bin/twistd", "-n", "riskd")
        self.process(1, *twistd, "--config", str(self.config))
        self.process(2, *twistd, "--state", "x", "--config=riskd.toml")
        self.process(3, *twistd, "-c", "../riskd.toml", directory=self.home)
        self.process(4, *twistd, "--port", "0", "-c", "riskd.toml")
        self.assertEqual(sorted(daemons_of(self.config, self.proc)), [1, 2, 4])

    def test_other_processes_are_not(self) -> None:
        elsewhere = temporary_directory(self)
        (elsewhere / "riskd.toml").touch()
        self.process(1, "twistd", "-n", "riskd", "--config", "riskd.toml", directory=elsewhere)
        self.process(2, "twistd", "-n", "riskd")
        self.process(3, "twistd", "-n", "practice-gateway", "--config", "riskd.toml")
        self.process(4, "vi", "riskd", "--config", "riskd.toml")
        (self.proc / "5").mkdir()
        (self.proc / "self").mkdir()
        self.assertEqual(daemons_of(self.config, self.proc), [])
        self.assertEqual(daemons_of(self.config, self.proc / "none"), [])


class UserTests(SynchronousTestCase):
    def test_a_riskd_of_another_user_is_to_be_examined_by_that_one(self) -> None:
        directory = temporary_directory(self)
        write_daemon(directory, RUNNING.record)
        running = RunningDaemon(directory=directory, record=RUNNING.record)
        self.patch(sys, "argv", ["/opt/riskd/bin/riskctl", "doctor", "--config", "my file"])
        self.assertEqual(list(check_user(running)), [])
        (fault,) = check_user(running, me=54321)
        me = getpass.getuser()
        self.assertIn(f"process 77, runs under {me}", fault.says)
        self.assertEqual(
            fault.mend, f"sudo -u {me} /opt/riskd/bin/riskctl doctor --config 'my file'"
        )


class ReportTests(SynchronousTestCase):
    """Findings about what a daemon reports."""

    def verdicts(
        self, status: Status | None, version: str = __version__, problem: str = ""
    ) -> list[Verdict]:
        at = datetime(2026, 11, 29, tzinfo=UTC)
        report = StatusReport(
            version=version,
            gateway="projectx",
            daemon=None if status is None else DaemonStatus(status, "a sentence", at),
            accounts=(),
        )
        found = check_daemon(RUNNING, None if problem else report, problem)
        return [each.verdict for each in found]

    def test_its_status_is_the_finding(self) -> None:
        self.assertEqual(self.verdicts(Status.RUNNING), [Verdict.OK])
        self.assertEqual(self.verdicts(Status.ERROR), [Verdict.WRONG])
        self.assertEqual(self.verdicts(Status.STOPPING), [Verdict.WRONG])
        self.assertEqual(self.verdicts(None), [Verdict.WARNING])

    def test_one_that_does_not_answer_is_a_warning(self) -> None:
        self.assertEqual(self.verdicts(None, problem="permission denied"), [Verdict.WARNING])

    def test_another_version_wants_a_restart(self) -> None:
        self.assertEqual(
            self.verdicts(Status.RUNNING, version="0.0.1"), [Verdict.OK, Verdict.WARNING]
        )
