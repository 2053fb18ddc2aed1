"""riskd as a service: what systemd learns of the real program."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.integration.programs import riskctl, run
from tests.support.plugins import RULE
from tests.support.required import missing
from tests.support.service_manager import ReceivedNotices
from tests.support.state_directories import PAPER, locked, write_state
from tests.support.twistd import Twistd, twistd_command
from tests.support.waiting import DEADLINE_SECONDS, wait_until

WATCHDOG_SECONDS = 0.8
REPOSITORY = Path(__file__).parents[2]

HANGING_RULE = f"""
import os, time
{RULE.replace("return NOTHING", "hang(); return NOTHING")}
def hang():
    while os.path.exists(os.environ["RISKD_HANG"]):
        time.sleep(0.01)

mine = rule(listens=frozenset(Kind))
"""
"""A plugin with a rule that does not return while a file exists."""

CONFIG = """
[[accounts]]
id = 123
[[accounts]]
id = 456
watch = ["MNQ"]
[accounts.rules.mine]
limit = 1
"""


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch, state_home: Path) -> Iterator[ReceivedNotices]:
    """Receive what programs that are started from now on send to their service manager."""
    # Only Linux has names that are no paths.
    path = None if sys.platform == "linux" else state_home / "notify"
    with closing(ReceivedNotices(path)) as received:
        monkeypatch.setenv("NOTIFY_SOCKET", received.variable)
        yield received


def test_systemd_learns_all_of_a_daemon(
    notices: ReceivedNotices,
    twistd: Callable[..., Twistd],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    state_home: Path,
) -> None:
    plugins, hang = tmp_path / "own" / "twisted" / "plugins", tmp_path / "hang"
    plugins.mkdir(parents=True)
    (plugins / "hanging.py").write_text(HANGING_RULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    monkeypatch.setenv("RISKD_HANG", str(hang))
    monkeypatch.setenv("WATCHDOG_USEC", str(round(WATCHDOG_SECONDS * 1_000_000)))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    config = tmp_path / "riskd.toml"
    config.write_text(CONFIG)
    state = state_home / "state"
    write_state(state, PAPER, locked())
    arguments = ("--port", "0", "--config", str(config), "--state", str(state))

    daemon = twistd(*arguments, waits=False)
    notices.wait_for("READY")
    # It serves, and has the lock of the daemon before.
    socket.create_connection(("127.0.0.1", daemon.port)).close()
    assert "123: LOCKED: Daily loss" in riskctl("--state", str(state), "status").stdout
    notices.wait_for_status("RUNNING: Daemon started successfully on the PRACTICE gateway")

    notices.wait_for("WATCHDOG")
    hang.touch()
    wait_until(lambda: notices.next(WATCHDOG_SECONDS) is None)
    hang.unlink()
    notices.wait_for("WATCHDOG")

    daemon.send_signal(signal.SIGTERM)
    stopping = notices.wait_for("STOPPING")
    assert stopping["STATUS"] == "STOPPING: The daemon is stopping"
    assert daemon.wait() == 0
    assert notices.all() == []


def test_a_daemon_that_detaches_names_its_process(
    notices: ReceivedNotices, tmp_path: Path
) -> None:
    """As ``Type=notify`` with ``NotifyAccess=all`` needs it."""
    command = twistd_command("--port", "0")
    command.remove("-n")
    command[command.index("--pidfile=")] = f"--pidfile={tmp_path / 'pid'}"
    with subprocess.Popen(command, cwd=tmp_path) as started:
        assert started.wait(DEADLINE_SECONDS) == 0
    pid = int((tmp_path / "pid").read_text())
    try:
        ready = notices.wait_for("READY")
        assert int(ready["MAINPID"]) == pid != started.pid
        os.kill(pid, signal.SIGTERM)
        notices.wait_for("STOPPING")
        wait_until(lambda: not is_alive(pid))
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("manager", ["system", "user"])
def test_systemd_finds_no_mistake_in_the_units(manager: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        missing("systemd-analyze is not installed", "SYSTEMD")
    # It looks for the programs, which are elsewhere here.
    place = re.compile(r"^ExecStart=\S+/bin/", re.MULTILINE)
    own = f"ExecStart={Path(sys.executable).parent}/"
    units = []
    for unit in (REPOSITORY / "contrib" / "systemd" / manager).iterdir():
        text, count = place.subn(own, unit.read_text())
        assert count == 1, unit
        units.append(tmp_path / unit.name)
        units[-1].write_text(text)
    (tmp_path / "run").mkdir(mode=0o700)
    done = run(
        *(analyze, "verify", "--man=no", f"--{manager}", *map(os.fspath, sorted(units))),
        env={**os.environ, "XDG_RUNTIME_DIR": os.fspath(tmp_path / "run")},
    )
    # What it says of other units of this machine is not about ours.
    said = [line for line in done.stderr.splitlines() if "riskd" in line or "trader" in line]
    assert len(units) == 2
    assert (done.returncode, said) == (0, []), done.stderr


def test_the_recipe_of_the_system_unit_gives_each_user_its_rights(tmp_path: Path) -> None:
    """The steps of docs/services.md, the unit's own command, and two users beside riskd's."""
    script = os.fspath(Path(__file__).with_name("own_machine.sh"))
    possible = run("bash", script, "--", "true")
    if possible.returncode:
        missing(
            f"this user cannot have a machine of its own: {possible.stderr.strip()}",
            "USERS",
        )
    repository = os.fspath(REPOSITORY)
    done = run(
        *("bash", script, sys.base_prefix, sys.prefix, repository, os.fspath(tmp_path), "--"),
        *(sys.executable, "-m", "tests.integration.two_users", repository, os.fspath(tmp_path)),
        cwd=repository,
    )
    assert done.returncode == 0, done.stdout + done.stderr
