"""``trader-alerts`` as a process, and a service on this machine that takes its messages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.support.waiting import DEADLINE_SECONDS

HEARD_WITHIN_SECONDS = 10.0

PASSWORD = "hunter2hunter2"  # noqa: S105
"""A secret in the URLs of targets."""


class Sink:
    """A service that takes messages by HTTP.

    :ivar messages: those that it has taken, with the time of each.
    :ivar beats: the times at which the heartbeat URL was fetched.
    :ivar is_gone: whether it drops each connection.
    :ivar refused: how many it has dropped.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.beats: list[float] = []
        self.is_gone = False
        self.refused = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        port = self._server.server_address[1]
        self.target = f"json://me:{PASSWORD}@127.0.0.1:{port}/"
        self.heartbeat_url = f"http://127.0.0.1:{port}/{PASSWORD}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def lines(self) -> list[str]:
        """All lines of all messages."""
        return [line for _at, message in self.messages for line in message["message"].splitlines()]

    def heard(self, *words: str, since: float = 0.0) -> float | None:
        """Return when a line came that has all these words; ``None`` if none did.

        :param since: lines of before do not count.
        """
        for at, message in self.messages:
            for line in message["message"].splitlines():
                if at >= since and all(word in line for word in words):
                    return at
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(lambda now: sink.messages.append((now, content)))

            def do_GET(self) -> None:
                self._answer(sink.beats.append)

            def _answer(self, take: Callable[[float], object]) -> None:
                self.close_connection = True
                if sink.is_gone:
                    sink.refused += 1
                    return
                take(time.monotonic())
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        return Handler


class AlertsProgram:
    """A ``trader-alerts`` process that writes its log to ``path``."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self._path = path
        program = Path(sys.executable).with_name("trader-alerts")
        with path.open("wb") as output:
            self.process = subprocess.Popen(
                [str(program), *arguments], stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def log(self) -> str:
        return self._path.read_text()

    def end(self) -> int:
        """Send SIGTERM; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)
