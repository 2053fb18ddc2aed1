"""An uplink and its server, beside the daemon that a benchmark measures."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from typing import Final

from tests.support.desk_machines import end, start
from tests.support.desk_streams import DeskStreams
from tests.support.nats_server import NatsServer, new_desk
from tests.support.waiting import wait_until

_KILL_SECONDS: Final = 3.0


class UplinkBeside:
    """A server and an uplink of the daemon that is measured.

    :param is_server_killed: whether the server is killed as soon as the uplink has used it.
    :param is_killed: whether the uplink is killed while the daemon is measured, twice.
    """

    def __init__(self, directory: Path, *, is_server_killed: bool, is_killed: bool) -> None:
        self._is_server_killed = is_server_killed
        self._is_killed = is_killed
        desk = new_desk(directory / "alpha", "anna")
        self._server = NatsServer(desk / "server")
        self._streams = DeskStreams(desk / "relay/desk.toml")
        self._config = desk / "traders/anna/desk.toml"
        self._log = directory / "log"
        self._uplink: subprocess.Popen[bytes] | None = None
        self._is_over = threading.Event()
        self._killing = threading.Thread(target=self._kill, daemon=True)

    def begin(self, port: int) -> None:
        """Bring about the situation, beside the daemon at a port."""
        self._server.start()
        self._streams.make()
        with self._config.open("a") as file:
            file.write(f'\n[uplink]\nurl = "ws://localhost:{port}"\n')
        self._start_uplink()
        wait_until(lambda: "connected to the desk" in self._log.read_text())
        wait_until(lambda: self._streams.beat("anna") is not None)
        if self._is_server_killed:
            self._server.kill()
        elif self._is_killed:
            self._killing.start()

    def end(self) -> None:
        """End all of it."""
        self._is_over.set()
        if self._killing.is_alive():
            self._killing.join()
        end(self._uplink)
        self._server.kill()

    def _start_uplink(self) -> None:
        self._uplink = start(self._log, "riskd-uplink", f"--config={self._config}")

    def _kill(self) -> None:
        """Kill the uplink and start another one, as a service manager does; then kill that."""
        for is_started_again in (True, False):
            if self._is_over.wait(_KILL_SECONDS):
                return
            assert self._uplink is not None
            self._uplink.kill()
            self._uplink.wait()
            if is_started_again:
                self._start_uplink()
