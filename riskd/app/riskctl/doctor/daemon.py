"""The riskd that runs for a configuration, and what it says of itself.

While it runs it is logged in, and a second login could end its own: then the doctor asks it, not the broker.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from riskd import __version__
from riskd.app.riskctl.doctor.findings import Finding, note, ok, quoted, warning, wrong
from riskd.app.riskctl.online import run_with_daemon
from riskd.control.protocol import StatusCommand
from riskd.control.reports import StatusReport
from riskd.host.errors import UserError
from riskd.host.users import user_argument, user_name
from riskd.journal.daemon_file import DAEMON_NAME
from riskd.journal.discovery import RunningDaemon
from riskd.model.events import DaemonStatus, Status

_WHAT: Final = "riskd"
_MAX_COMMAND: Final = 64 * 1024
_CONFIG_OPTIONS: Final = ("--config", "-c")


def daemons_of(configuration: Path, proc: Path = Path("/proc")) -> list[int]:
    """Return the ids of processes that run riskd with a configuration.

    Where there is no ``/proc``, as on macOS, there are none.
    """
    try:
        processes = [each for each in proc.iterdir() if each.name.isdecimal()]
    except OSError:
        return []
    return [int(each.name) for each in processes if _runs_riskd(each, configuration)]


def _runs_riskd(process: Path, configuration: Path) -> bool:
    # A process may end at any moment.
    with suppress(OSError):
        with (process / "cmdline").open("rb") as file:
            words = [os.fsdecode(word) for word in file.read(_MAX_COMMAND).split(b"\0")]
        if "riskd" not in words or not any(Path(word).name == "twistd" for word in words):
            return False
        named = _named(words[words.index("riskd") :])
        return named is not None and _is_same(process, Path(named), configuration)
    return False


def _named(words: list[str]) -> str | None:
    """Return the value of ``--config`` in a command line."""
    for word, value in zip(words, [*words[1:], ""], strict=True):
        if word in _CONFIG_OPTIONS:
            return value
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return None


def _is_same(process: Path, named: Path, configuration: Path) -> bool:
    try:
        return (process / "cwd" / named).samefile(configuration)
    except PermissionError:
        # riskd lets no other program examine it; a relative path could be of any directory.
        return named.name == configuration.name and not named.is_absolute()
    except OSError:
        return False


def check_user(running: RunningDaemon, me: int | None = None) -> Iterator[Finding]:
    """Yield a warning if a daemon runs under another user.

    :param me: the user's number; by default that of this process.
    """
    # The daemon itself wrote the file; who owns a process that no other may examine, /proc does not say.
    owner = (running.directory / DAEMON_NAME).stat().st_uid
    if owner != (os.geteuid() if me is None else me):
        user = user_argument(owner)
        if user.isdecimal():
            # sudo(8): a user without a name.
            user = f"#{user}"
        yield warning(
            "user",
            f"riskd, process {running.record.pid}, runs under {user_name(owner)}, whose key and state are not "
            "checked",
            f"sudo -u {quoted(user)} {' '.join(map(quoted, sys.argv))}",
        )


async def ask_daemon(reactor: Any, running: RunningDaemon) -> tuple[StatusReport | None, str]:
    """Return a daemon's report, or why there is none."""

    async def status(ask: Any, _options: Namespace) -> Any:
        return await ask(StatusCommand)

    options: Any = Namespace(state=running.directory, ask=status)
    try:
        report: Any = await run_with_daemon(reactor, options)
    except UserError as error:
        return None, str(error)
    return report, ""


def check_relay(running: RunningDaemon) -> Iterator[Finding]:
    """Yield that a daemon is a desk's relay, which nobody can ask."""
    yield note(
        _WHAT,
        f"process {running.record.pid} on port {running.record.port} is a desk's relay and no riskd: it enforces nothing, "
        f"and shows what others send; riskctl --state {quoted(running.directory)} status has its accounts",
    )


def check_daemon(
    running: RunningDaemon, report: StatusReport | None, problem: str
) -> Iterator[Finding]:
    """Yield what a daemon says of itself."""
    name = f"process {running.record.pid} on port {running.record.port}"
    if report is None:
        yield warning(_WHAT, f"{name} does not say how it is: {problem}", "riskctl status")
        return
    status: DaemonStatus | None = report.daemon
    if status is None:
        yield warning(_WHAT, f"{name} has only just been started", "riskctl status")
    elif status.status is Status.RUNNING:
        yield ok(_WHAT, f"{name} is {status.status}: {status.message}")
    else:
        yield wrong(_WHAT, f"{name} is {status.status}: {status.message}", "riskctl status")
    if report.version != __version__:
        yield warning(
            _WHAT,
            f"{name} is riskd {report.version}, and {__version__} is installed; a restart takes that",
            f"kill {running.record.pid}   # and start riskd again, while the account is flat",
        )
