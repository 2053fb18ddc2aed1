"""``trader-console --web`` and requests to it, of a browser and of others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import websocket

from tests.support.pseudo_terminal import MAIN
from tests.support.waiting import DEADLINE_SECONDS


class WebConsole:
    """The program, until :meth:`close`.

    :ivar url: the first line that it printed.
    :ivar cookie_attributes: what a browser was told of its cookie.
    """

    def __init__(self, *arguments: str, script: str = MAIN) -> None:
        self._command = (sys.executable, "-W", "error", "-c", script, "--web", *arguments)
        self.cookie_attributes: list[str] = []
        self._start()

    def _start(self, *more: str) -> None:
        self.process = subprocess.Popen(
            [*self._command, *more],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = self.line().strip()

    def restart(self, *more: str) -> None:
        """End the program, and start it with further arguments."""
        assert self.end() == (0, "")
        self._start(*more)

    @property
    def host(self) -> str:
        """Name and port, as in the URL."""
        return urlsplit(self.url).netloc

    @property
    def place(self) -> str:
        """The path of the page."""
        return urlsplit(self.url).path

    def line(self) -> str:
        """Return the next line that the program prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def new_url(self) -> str:
        """Return the URL that was printed for the next browser."""
        return self.line().rpartition(" ")[2].strip()

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> tuple[HTTPResponse, str]:
        """Return the response to a request and its text."""
        connection = HTTPConnection(self.host, timeout=DEADLINE_SECONDS)
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in {"Host": self.host, **(headers or {})}.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            return response, response.read().decode()
        finally:
            connection.close()

    def admit(self) -> str:
        """Use the token; return the cookie, as a browser sends it."""
        parts = urlsplit(self.url)
        response, _page = self.get(f"{parts.path}?{parts.query}")
        assert response.status == 200
        cookie, *self.cookie_attributes = (response.getheader("Set-Cookie") or "").split("; ")
        return cookie

    def join(self, cookie: str, **options: Any) -> websocket.WebSocket:
        """Return the WebSocket of a tab, with a size of 80x24 sent."""
        tab = websocket.create_connection(
            f"ws://{self.host}{self.place}stream",
            timeout=DEADLINE_SECONDS,
            **{"origin": f"http://{self.host}", "cookie": cookie, **options},
        )
        tab.send('{"type":"resize","cols":80,"rows":24}')
        return tab

    def end(self) -> tuple[int, str]:
        """End the program with SIGTERM; return its exit status and its errors."""
        self.process.terminate()
        _output, errors = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, errors

    def close(self) -> None:
        """Kill the program, if it runs."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
