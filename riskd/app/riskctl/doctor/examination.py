"""All checks of ``riskctl doctor``, one after another, each within a time."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.threads import deferToThread

from riskd.app.gateway_of import gateway_of
from riskd.app.riskctl.doctor.broker import BrokerChecks, check_offset
from riskd.app.riskctl.doctor.configuration import (
    check_presets,
    find_configuration,
    find_key,
    read_configuration,
)
from riskd.app.riskctl.doctor.daemon import (
    ask_daemon,
    check_daemon,
    check_relay,
    check_user,
    daemons_of,
)
from riskd.app.riskctl.doctor.findings import Finding, note, ok, quoted, worst, wrong
from riskd.app.riskctl.doctor.installation import check_installation
from riskd.app.riskctl.doctor.port import check_port
from riskd.app.riskctl.doctor.sleep import check_sleep
from riskd.app.riskctl.doctor.state import check_disk, check_state
from riskd.app.riskctl.in_reactor import in_reactor
from riskd.config.settings import Settings
from riskd.control.reports import StatusReport
from riskd.gateway.broker_text import broker_text
from riskd.gateway.projectx.credentials import Credentials
from riskd.host.directories import default_directory
from riskd.journal.contents import daemon_of
from riskd.journal.discovery import (
    USUAL_PORT,
    RunningDaemon,
    running_daemon,
    running_daemons,
)
from riskd.journal.gateway_identity import DESK, PRACTICE

CHECK_SECONDS: Final = 20.0
"""How long any check may take; those that go over the network have shorter limits of their own."""

Show = Callable[[Finding], None]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks read of a machine, which a test can set.

    :ivar python: Python's version; empty for this one's.
    :ivar platform: Python's name of the system.
    :ivar root: the directory that the system's files are below.
    :ivar port: the port that riskd takes unless another one is named.
    :ivar usage: returns a disk's usage, as :func:`shutil.disk_usage` does.
    :ivar now: returns the time of day, aware.
    """

    python: str = ""
    platform: str = sys.platform
    root: Path = Path("/")
    port: int = USUAL_PORT
    usage: Callable[[Path], Any] = shutil.disk_usage
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class Place(NamedTuple):
    """Where riskd is.

    :ivar directory: its state directory; ``None`` if that is unknown.
    :ivar running: the daemon that runs there.
    :ivar unknown: the processes of other daemons with the same configuration.
    """

    directory: Path | None
    running: RunningDaemon | None
    unknown: list[int]


def run(options: argparse.Namespace) -> int:
    """Write what each check finds; return the worst as the exit status."""

    def show(finding: Finding) -> None:
        for line in finding.lines:
            sys.stdout.write(f"{line}\n")
        # Some checks take seconds.
        sys.stdout.flush()

    async def examine(reactor: Any) -> int:
        examination = Examination(reactor, options, Machine(), show)
        status = await examination.run()
        if examination.is_stuck:
            # A thread still waits for a disk; a normal end would wait for the thread.
            sys.stdout.flush()
            os._exit(status)
        return status

    return in_reactor(examine)


class Examination:
    """One run of all checks.

    :param options: their ``config`` names the configuration, their ``state`` the state directory.
    :param show: receives each finding.
    :ivar is_stuck: whether a check still runs in its thread after its time.
    """

    def __init__(
        self, reactor: Any, options: argparse.Namespace, machine: Machine, show: Show
    ) -> None:
        self._reactor = reactor
        self._options = options
        self._machine = machine
        self._show = show
        self._found: list[Finding] = []
        self.is_stuck = False

    async def run(self) -> int:
        """Run the checks; return the worst as the exit status."""
        machine = self._machine
        path = find_configuration(self._options.config)
        await self._in_thread("installation", lambda: check_installation(machine.python))
        settings = await self._configuration(path)
        place = await self._place(settings, path)
        if place is None:
            # Whether a riskd runs is unknown, so a login could end one.
            return worst(self._found)
        running = place.running
        is_mine = running is None or await self._is_mine(running)
        credentials = None
        if settings is not None and path is not None and is_mine:
            credentials = await self._key(settings, path)
        # What is right for the user of that riskd is wrong for this one.
        await self._local(path, settings if is_mine else None, place)
        if settings is not None and settings.gateway.kind == "projectx" and path is not None:
            await self._broker(path, settings, credentials, place)
        elif running is not None:
            await self._daemon(running)
        return worst(self._found)

    async def _is_mine(self, running: RunningDaemon) -> bool:
        """Return whether a daemon runs under the user of this program; report if not."""
        before = len(self._found)
        await self._in_thread("user", lambda: check_user(running))
        return len(self._found) == before

    async def _configuration(self, path: Path | None) -> Settings | None:
        settings: Settings | None = None

        def read() -> Iterable[Finding]:
            nonlocal settings
            settings, findings = read_configuration(path)
            return findings

        await self._in_thread("configuration", read)
        if settings is not None:
            self._report(check_presets(settings, self._machine.now().date()))
        return settings

    async def _key(self, settings: Settings, path: Path) -> Credentials | None:
        credentials: Credentials | None = None

        def find() -> Iterable[Finding]:
            nonlocal credentials
            credentials, findings = find_key(settings, path, os.environ)
            return findings

        await self._in_thread("API key", find)
        return credentials

    async def _place(self, settings: Settings | None, path: Path | None) -> Place | None:
        """Return where riskd is; ``None`` if that cannot be found out in time."""
        place: Place | None = None

        def find() -> Iterable[Finding]:
            nonlocal place
            directory = self._directory(settings, path)
            running = None if directory is None else running_daemon(directory)
            unknown = list[int]()
            if path is not None and running is None:
                # Those that announce themselves have another gateway.
                announced = {each.record.pid for each in running_daemons(default_directory())}
                unknown = [each for each in daemons_of(path) if each not in announced]
            place = Place(directory, running, unknown)
            return ()

        await self._in_thread("riskd", find)
        return place

    def _directory(self, settings: Settings | None, path: Path | None) -> Path | None:
        """Return the state directory: the named one, else that of the gateway.

        That of a riskd that runs comes first, wherever it is.
        """
        if self._options.state is not None:
            return Path(self._options.state).absolute()
        if path is None:
            # A riskd without a configuration, which trades paper.
            return default_directory() / PRACTICE
        if settings is None:
            return None
        identity = gateway_of(settings.gateway)
        running = daemon_of(identity)
        return default_directory() / identity.key if running is None else running.directory

    async def _local(self, path: Path | None, settings: Settings | None, place: Place) -> None:
        machine, directory, running = self._machine, place.directory, place.running
        if settings is not None and directory is not None:
            identity = gateway_of(settings.gateway)
            locks = machine.root / "proc/locks"
            await self._in_thread(
                "state directory", lambda: check_state(directory, identity, running, locks)
            )
        where = directory or default_directory()
        await self._in_thread("disk space", lambda: check_disk(where, machine.usage))
        await self._in_thread(
            "port",
            lambda: check_port(machine.port, path, running, running_daemons(default_directory())),
        )
        await self._in_thread("sleep", lambda: check_sleep(machine.platform, machine.root))

    async def _broker(
        self,
        path: Path,
        settings: Settings,
        credentials: Credentials | None,
        place: Place,
    ) -> None:
        checks = BrokerChecks(self._reactor, settings, quoted(path), self._machine.now)
        try:
            await self._in_time("broker's API", checks.check_rest())
            report = None
            if place.running is not None:
                report = await self._daemon(place.running)
                says = "not tried: riskd has this login, and a second one could end its own"
                # What is wrong with that, the daemon has said.
                self._report([note("login", says) if report is None else ok("login", says)])
            elif place.unknown:
                says = (
                    f"not tried: process {place.unknown[0]} is a riskd with a {path.name}, perhaps this one, and a "
                    "second login could end its own; riskctl --state DIR doctor asks it"
                )
                self._report([note("login", says)])
            else:
                await self._in_time("login", checks.check_login(credentials))
            await self._in_time("hubs", checks.check_hubs())
            if report is None:
                await self._in_time("clock", checks.check_clock())
            else:
                offset = report.clock_offset
                ahead = None if offset is None else timedelta(seconds=offset)
                self._report([check_offset("clock", ahead)])
        finally:
            checks.end()

    async def _daemon(self, running: RunningDaemon) -> StatusReport | None:
        """Report what the running daemon says of itself; return that."""
        if running.record.kind == DESK:
            self._report(check_relay(running))
            return None
        report, problem = await ask_daemon(self._reactor, running)
        self._report(check_daemon(running, report, problem))
        return report

    # Running a check.

    async def _in_thread(self, what: str, check: Callable[[], Iterable[Finding]]) -> None:
        """Run a check that may block, such as on a disk that does not answer."""
        ended: list[bool] = []

        def run() -> list[Finding]:
            try:
                return list(check())
            finally:
                ended.append(True)

        await self._in_time(what, deferToThread(run))
        self.is_stuck = self.is_stuck or not ended

    async def _in_time(self, what: str, check: Awaitable[list[Finding]]) -> None:
        async def checked() -> list[Finding]:
            return await check

        try:
            found = await Deferred.fromCoroutine(checked()).addTimeout(
                CHECK_SECONDS, self._reactor
            )
        except DeferredTimeoutError:
            found = [
                wrong(
                    what,
                    f"not known after {CHECK_SECONDS:g} s: something does not answer",
                    "dmesg | tail",
                )
            ]
        except Exception as error:  # noqa: BLE001  # the other checks may find the cause
            found = [
                wrong(what, f"the check failed: {type(error).__name__}: {broker_text(error)}")
            ]
        self._report(found)

    def _report(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._found.append(finding)
            self._show(finding)
