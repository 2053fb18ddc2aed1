"""Fixtures for tests that run real daemons on real ports."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from riskd.journal.discovery import SYSTEM_VARIABLE
from riskd.testing import DaemonHarness
from tests.integration.brokers import WallClock
from tests.integration.practice_gateway import Gateway
from tests.support.practice_daemon import MONDAY_NOON
from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.twistd import Twistd


@pytest.fixture(scope="session", autouse=True)
def _sighup_reaches_programs() -> None:
    """Let the programs that tests start receive SIGHUP, also where nohup runs the tests.

    A program inherits that a signal is ignored, but not the handler that ignores it here.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of one megabyte; see :func:`tests.integration.programs.fill`."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def harness() -> Iterator[DaemonHarness]:
    """Start a daemon that broadcasts only the events that the test triggers."""
    daemon = DaemonHarness()
    daemon.start()
    yield daemon
    daemon.kill()


@pytest.fixture(scope="module")
def shared_harness() -> Iterator[DaemonHarness]:
    """Start a daemon like that of :func:`harness`, once for the tests of a module."""
    daemon = DaemonHarness()
    daemon.start()
    yield daemon
    daemon.kill()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Start a practice gateway without traders, once for the tests of a module."""
    started = Gateway(tmp_path_factory.mktemp("gateway"), "--quiet")
    yield started
    started.end(signal.SIGKILL)


@pytest.fixture
def url(harness: DaemonHarness) -> str:
    """Return the URL of the test's daemon."""
    return f"ws://localhost:{harness.port}"


@pytest.fixture
def shared_url(shared_harness: DaemonHarness) -> str:
    """Return the URL of the module's daemon."""
    return f"ws://localhost:{shared_harness.port}"


@pytest.fixture
def dead_url() -> Iterator[str]:
    """Return a URL whose port is bound and never accepts a connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"ws://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def terminal() -> Iterator[PseudoTerminal]:
    """Return a terminal to start a console in."""
    with closing(PseudoTerminal()) as made:
        yield made


@pytest.fixture(autouse=True)
def state_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep tests away from the state directory of the user who runs them.

    The path is short: that of a socket has 107 bytes, and tmp_path is long where tests run in parallel.
    """
    with TemporaryDirectory(prefix="riskd-") as directory:
        monkeypatch.setenv("XDG_STATE_HOME", directory)
        # A developer's machine may have a riskd of its own.
        monkeypatch.setenv(SYSTEM_VARIABLE, f"{directory}/of-the-system")
        yield Path(directory)


def daemons_in(directory: Path) -> Iterator[Callable[..., Twistd]]:
    """Yield a function that starts a daemon in a new subdirectory; kill all daemons afterwards."""
    started: list[Twistd] = []

    def start(*arguments: str, waits: bool = True) -> Twistd:
        own = directory / str(len(started))
        own.mkdir()
        started.append(Twistd(own, *arguments, waits=waits))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.fixture
def twistd(tmp_path: Path) -> Iterator[Callable[..., Twistd]]:
    """Return a function that starts daemons; they are killed after the test."""
    yield from daemons_in(tmp_path)


@pytest.fixture(scope="module")
def shared_twistd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Twistd]]:
    """Return a function that starts daemons, each with its own ``--state``; killed after the module."""
    yield from daemons_in(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """Set the daemon's wall clock to Monday noon in Chicago; the test may set it again."""
    clock = WallClock()
    clock.set_to(MONDAY_NOON)
    monkeypatch.setattr("riskd.app.tap.utc_now", clock)
    # How often the daemon compares its timers with the wall clock.
    monkeypatch.setattr("riskd.engine.risk.TICK_SECONDS", 0.02)
    return clock
