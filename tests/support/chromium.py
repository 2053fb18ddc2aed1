"""Chromium without a window, driven by its DevTools protocol.

Source: https://chromedevtools.github.io/devtools-protocol; one WebSocket has the commands and the events of all tabs.
"""

from __future__ import annotations

import base64
import json
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Final

import websocket

from tests.support.required import missing
from tests.support.waiting import DEADLINE_SECONDS, wait_until

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--remote-debugging-port=0",
    # A name of elsewhere that was made to lead to this machine.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
)

KEYS: Final = {
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    "ArrowDown": 40,
    "ArrowUp": 38,
    "PageDown": 34,
    "PageUp": 33,
    "Home": 36,
    "End": 35,
    "Backspace": 8,
    "F5": 116,
}
"""The keys that are no letters, with their codes on Windows."""

CTRL: Final = 2
SHIFT: Final = 8

_WATCH: Final = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
    window.prevented = null;
    window.addEventListener("keydown", (event) => { window.prevented = event.defaultPrevented; });
"""
"""Runs in each page before its own scripts."""


class Chromium:
    """One browser with an empty profile, until :meth:`close`."""

    def __init__(self) -> None:
        program = shutil.which("chromium")
        if program is None:
            missing("chromium is not installed", "CHROMIUM")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        place = Path(self._profile.name, "DevToolsActivePort")
        wait_until(lambda: place.exists() and len(place.read_text().splitlines()) > 1)
        port, path = place.read_text().splitlines()
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}{path}", timeout=DEADLINE_SECONDS, suppress_origin=True
        )
        self._numbers = count(1)

    def command(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Carry out a command; return its result.

        :raises AssertionError: the browser refuses it.
        """
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def open(self, url: str, columns: int = 900, rows: int = 600) -> Tab:
        """Open a tab, and load a page as if its address had been typed."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)
        tab = Tab(self, target, session["sessionId"])
        tab.command("Page.enable")
        tab.command("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
        tab.resize(columns, rows)
        tab.load(url)
        return tab

    def close(self) -> None:
        """End the browser."""
        self._socket.close()
        self._process.kill()
        self._process.wait()
        self._profile.cleanup()


class Tab:
    """One tab."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def command(self, method: str, **parameters: Any) -> Any:
        """Carry out a command in this tab; return its result."""
        return self._browser.command(method, self._session, **parameters)

    def load(self, url: str) -> None:
        """Go to an address."""
        self.command("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, a promise's when it is fulfilled."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, (expression, answer)
        return answer["result"].get("value")

    @property
    def rows(self) -> list[str]:
        """The rows of the screen, without the blanks at their ends."""
        script = "[...document.querySelectorAll('#text > span')].map((row) => row.textContent)"
        return [row.rstrip() for row in self.evaluate(script)]

    @property
    def shown(self) -> str:
        """The text of the page as a reader sees it."""
        return str(self.evaluate("document.body === null ? '' : document.body.innerText"))

    @property
    def title(self) -> str:
        """The title of the tab."""
        return str(self.evaluate("document.title"))

    def wait_for(self, *words: str) -> None:
        """Wait until the page shows all ``words``."""
        self.wait_until(lambda: all(word in self.shown for word in words), " and ".join(words))

    def wait_until(self, condition: Callable[[], bool], description: str) -> None:
        """Wait until ``condition`` holds."""
        try:
            wait_until(condition)
        except AssertionError:
            raise AssertionError(
                f"never saw {description}; the page shows:\n{self.shown}"
            ) from None

    def press(self, key: str, modifiers: int = 0, commands: tuple[str, ...] = ()) -> None:
        """Press and release a key.

        :param key: a letter, or one of :data:`KEYS`.
        :param commands: what the browser's own shortcut does, which the protocol leaves to its client.
        """
        code = KEYS.get(key, ord(key.upper()) if len(key) == 1 else 0)
        event = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        text = key if len(key) == 1 and not modifiers & CTRL else ""
        self.command(
            "Input.dispatchKeyEvent", type="keyDown", text=text, commands=list(commands), **event
        )
        self.command("Input.dispatchKeyEvent", type="keyUp", **event)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size, in pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def color_at(self, x: float, y: float) -> tuple[int, ...]:
        """Return red, green and blue of one pixel of a screenshot."""
        clip = {"x": x, "y": y, "width": 1, "height": 1, "scale": 1}
        picture = base64.b64decode(self.screenshot(clip=clip))
        return _first_pixel(picture)

    def screenshot(self, **options: Any) -> str:
        """Return a picture of the page as PNG in base64."""
        return str(self.command("Page.captureScreenshot", format="png", **options)["data"])

    def close(self) -> None:
        """Close the tab."""
        self._browser.command("Target.closeTarget", targetId=self._target)


def _first_pixel(picture: bytes) -> tuple[int, ...]:
    """Return the first pixel of a PNG; in the first row, each filter leaves it as it is."""
    place, data = 8, b""
    while place < len(picture):
        (size,) = struct.unpack_from(">I", picture, place)
        if picture[place + 4 : place + 8] == b"IDAT":
            data += picture[place + 8 : place + 8 + size]
        place += 12 + size
    return tuple(zlib.decompress(data)[1:4])
