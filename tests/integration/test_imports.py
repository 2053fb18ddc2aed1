"""What programs do not import: a module that is not needed costs time at each start, and memory."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.twistd import Twistd

_IMPORTED = re.compile(r"^import time:.*\| +(\S+)$", re.MULTILINE)

OTHER_PROGRAMS = (
    *("apprise", "prometheus_client", "pytest", "treq", "riskd.testing"),
    *("jinja2", "leather", "riskd.report"),
    *("nats", "riskd.desk", "riskd.app.riskctl.desk.certificates"),
)
C_PARSER = ("autobahn.nvx", "cffi.cparser", "pycparser")
HTTP = ("jwt", "riskd.host.bounded_site", "twisted.web", "twisted.spread")
BROKER = ("riskd.gateway.projectx.gateway", "riskd.gateway.projectx.websocket")

NOT_NEEDED = {
    "the daemon, which has the practice gateway here": (
        *OTHER_PROGRAMS,
        *C_PARSER,
        *HTTP,
        *BROKER,
        "riskd.app.metrics",
        "riskd.practice.server",
        "riskd.recording",
        "trader",
        "twisted.conch",
        "urwid",
    ),
    "the console": (
        *OTHER_PROGRAMS,
        *C_PARSER,
        *HTTP,
        "riskd.app",
        "riskd.control",
        "riskd.engine",
        "riskd.gateway",
        "riskd.practice",
        "riskd.recording",
        "trader.alerts",
    ),
    "riskctl status": (
        *OTHER_PROGRAMS,
        *C_PARSER,
        *HTTP,
        "_sqlite3",
        "autobahn",
        "riskd.broadcast",
        "riskd.config",
        "riskd.engine",
        "riskd.gateway",
        "riskd.practice",
        "riskd.model.account",
        "riskd.recording",
        "riskd.rules",
        "trader",
        "twisted.application",
        "twisted.internet.endpoints",
        "twisted.plugin",
        "urwid",
        "zoneinfo",
    ),
}


def needless(program: str, report: str) -> list[str]:
    """Return the modules that Python's report of imports has, and ``program`` does not need."""
    imported = set(_IMPORTED.findall(report))
    assert "twisted.internet.reactor" in imported, report
    return sorted(module for module in imported if _is_in(module, NOT_NEEDED[program]))


def _is_in(module: str, packages: Iterable[str]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def report_of(*arguments: str) -> str:
    """Return Python's report of what it imported to run."""
    command = [sys.executable, "-X", "importtime", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    daemon = Twistd(tmp_path, "--port", "0", "--state", str(tmp_path / "state"))
    daemon.process.kill()
    daemon.wait()
    assert not needless("the daemon, which has the practice gateway here", daemon.log)


def test_the_console() -> None:
    report = report_of("-c", "import trader.cli.main, twisted.internet.reactor")
    assert not needless("the console", report)


def test_riskctl_status(tmp_path: Path) -> None:
    report = report_of("-m", "riskd.app.riskctl.main", "--state", str(tmp_path), "status")
    assert not needless("riskctl status", report)
