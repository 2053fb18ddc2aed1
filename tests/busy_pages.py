"""A thousand events a second in two tabs of a real browser, and a third tab that reads nothing.

``python -m tests.busy_pages 60`` plays so many seconds.  Each page must show the last event at the end, get no more
frames than eyes can follow, and cost neither the browser nor the console more memory than a few screens; the tab
that reads nothing delays nobody.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.benchmarks.process_counts import cpu_seconds, resident
from tests.integration.streams import Source
from tests.support.chromium import Chromium, Tab
from tests.support.web_console import WebConsole
from trader.ui.screen import MAX_DRAWS_A_SECOND

RATE: Final = 1000
TRADE_EVERY: Final = 100
MAX_GROWTH: Final = 40
"""MiB that the console may grow by: three consoles with a day's trades each."""

_SLACK_FRAMES: Final = 60

_COUNT: Final = """
    window.counted = [0, 0];
    { const inner = receive; receive = (data) => { counted[0] += 1; counted[1] += data.length; inner(data); }; }
"""


def play(directory: Path, browser: Chromium, seconds: int) -> str:
    """Play for some seconds; return what was measured.

    :raises AssertionError: a page or the console did not keep up.
    """
    source = Source(directory)
    options = ("--url", f"ws://localhost:{source.port}", "--state", str(directory / "state"))
    with closing(WebConsole("123", *options)) as console:
        tabs = [browser.open(console.url)]
        tabs[0].wait_for("LIVE")
        tabs.append(browser.open(f"http://{console.host}{console.place}"))
        tabs[1].wait_for("LIVE")
        cookie = browser.command("Storage.getCookies")["cookies"][-1]
        asleep = console.join(f"{cookie['name']}={cookie['value']}")
        for tab in tabs:
            tab.evaluate(_COUNT)
        before, busy = resident(console.process.pid), cpu_seconds(console.process.pid)
        begun = time.monotonic()
        count = RATE * seconds
        source.emit(RATE, count, TRADE_EVERY)
        for tab in tabs:
            _wait_for_trade(tab, count - TRADE_EVERY, seconds)
        took = time.monotonic() - begun
        frames = [tab.evaluate("counted") for tab in tabs]
        busy = (cpu_seconds(console.process.pid) - busy) / took
        growth = resident(console.process.pid) - before
        elements = [tab.evaluate("document.querySelectorAll('*').length") for tab in tabs]
        figures = (
            f"{count} events in {took:.1f} s; frames and characters of each tab {frames}; elements {elements}; "
            f"console: {busy:.0%} of a core for three tabs, {growth:+.1f} MiB"
        )
        for number, _characters in frames:
            assert number <= MAX_DRAWS_A_SECOND * took + _SLACK_FRAMES, figures
        assert growth < MAX_GROWTH, figures
        assert max(elements) < 5000, figures
        asleep.close()
        for tab in tabs:
            tab.close()
    source.end()
    return figures


def _wait_for_trade(tab: Tab, number: int, seconds: int) -> None:
    newest = f"CON.TRADE x{number}"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and newest not in tab.shown:
        time.sleep(0.2)
    tab.wait_for(newest, "LIVE")


def main() -> None:
    """Play as long as the command line says."""
    with tempfile.TemporaryDirectory() as directory, closing(Chromium()) as browser:
        print(play(Path(directory), browser, int(sys.argv[1])))  # noqa: T201


if __name__ == "__main__":
    main()
