"""Real daemons on real ports; everything here waits for conditions and never for seconds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater

from riskd.testing import DaemonHarness

DEADLINE_SECONDS = 15
POLL_SECONDS = 0.01


async def until(condition: Callable[[], object]) -> None:
    """Let the reactor run until ``condition`` holds; fail when it does not come to hold."""
    deadline = reactor.seconds() + DEADLINE_SECONDS
    while not condition():
        assert reactor.seconds() < deadline, "waited in vain"
        await deferLater(reactor, POLL_SECONDS)


def wait_until(condition: Callable[[], object]) -> None:
    """Block until ``condition`` holds, for tests without a reactor; fail when it does not."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(POLL_SECONDS)


@pytest.fixture
def harness() -> Iterator[DaemonHarness]:
    """A daemon whose only events are those the test triggers."""
    daemon = DaemonHarness()
    daemon.start()
    yield daemon
    daemon.kill()


@pytest.fixture(scope="module")
def shared_harness() -> Iterator[DaemonHarness]:
    """A daemon like that of :func:`harness`, which the tests of a module share."""
    daemon = DaemonHarness()
    daemon.start()
    yield daemon
    daemon.kill()


class Twistd:
    """``twistd -n riskd`` as a user starts it, in a directory of its own.

    :param waits: whether it is waited for until all is well.
    """

    def __init__(self, directory: Path, *arguments: str, waits: bool = True) -> None:
        self._log_path = directory / "log"
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(
                twistd_command(*arguments), cwd=directory, stdout=log, stderr=subprocess.STDOUT
            )
        begun = "status RUNNING" if waits else "listening on ws://[::1]"
        wait_until(lambda: begun in self.log or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        self.port = int(re.findall(r"listening on ws://127\.0\.0\.1:(\d+)", self.log)[0])

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)


def twistd_command(*arguments: str) -> list[str]:
    """Return the command that starts riskd with the twistd beside this Python."""
    twistd = Path(sys.executable).with_name("twistd")
    return [os.fspath(twistd), "-n", "--pidfile=", "riskd", *arguments]


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let no test touch the state of the user who runs it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def daemons_in(directory: Path) -> Iterator[Callable[..., Twistd]]:
    """Yield what starts daemons, each in a directory of its own below; end them all then."""
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
    """Start daemons that are gone after the test."""
    yield from daemons_in(tmp_path)


@pytest.fixture(scope="module")
def shared_twistd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Twistd]]:
    """Start daemons that are gone after the module; each needs a state directory of its own."""
    yield from daemons_in(tmp_path_factory.mktemp("shared"))
