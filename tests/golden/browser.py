"""The picture of a page in a browser: a real riskd on paper, a real console, a real Chromium.

It shows what the practice market has made of the account, so it differs each time; look at it.
"""

from __future__ import annotations

import base64
import os
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.golden.captures import PICTURES
from tests.support.chromium import Chromium, Tab
from tests.support.png import read_png, small_png
from tests.support.twistd import Twistd
from tests.support.web_console import WebConsole

PICTURE: Final = PICTURES / "browser.png"

_SIZE: Final = (800, 460)
"""Pixels: a screen of 80 columns and more, and 24 rows."""

_SHOWN: Final = (" LIVE ", " avg ", "Trade ")
"""A position is held, and there was a trade before."""

_SMOOTH: Final = """
    document.body.style.willChange = "transform";
    new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
"""
"""Lets the browser draw letters in shades of their color alone, and waits until it has."""


def picture(tab: Tab) -> bytes:
    """Return the page that a tab shows, once it has something to show."""
    tab.wait_for(*_SHOWN)
    tab.evaluate(_SMOOTH)
    return small_png(read_png(base64.b64decode(tab.screenshot())))


def main() -> None:
    """Take the picture again."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        state = os.fspath(directory / "state")
        daemon = Twistd(directory, "--port", "0", "--state", state, "--practice-seed", "1")
        try:
            options = ("123", "--url", f"ws://localhost:{daemon.port}", "--state", state)
            with closing(WebConsole(*options)) as console, closing(Chromium()) as browser:
                PICTURE.write_bytes(picture(browser.open(console.url, *_SIZE)))
        finally:
            daemon.process.terminate()
            daemon.wait()


if __name__ == "__main__":
    main()
