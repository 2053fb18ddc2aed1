"""A thousand events a second in two tabs of a real browser, and a third tab that reads nothing.

``python -m tests.busy_pages 60`` plays so many seconds.  Each page must show the last event at the end, get no more
frames than eyes can follow, and cost neither the browser nor the console more memory than a few screens; the tab
that reads nothing delays nobody.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.benchmarks.process_counts import cpu_seconds, resident
from tests.integration.streams import Source
from tests.support.chromium import Chromium, Tab
from tests.support.web_console import WebConsole
from trader.ui.screen import MAX_DRAWS_A_SECOND

RATE: Final = 1000
TRADE_EVERY: Final = 100
MAX_GROWTH: Final = 40
"""MiB that the console may grow by: three consoles with a day's trades each."""

MAX_ELEMENTS: Final = 5000
"""Of a page: each row has a few."""

_SLACK_FRAMES: Final = 60

_COUNT: Final = """
    window.counted = [0, 0];
    { const inner = take; take = (data) => { counted[0] += 1; counted[1] += data.length; inner(data); }; }
    0
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
        count = RATE * seconds
        newest = f"CON.TRADE x{count - TRADE_EVERY}"
        figures = measure(
            browser, console, tabs, lambda: source.emit(RATE, count, TRADE_EVERY), newest, seconds
        )
    source.end()
    return f"{count} events; {figures}"


def measure(
    browser: Chromium,
    console: WebConsole,
    tabs: Sequence[Tab],
    emit: Callable[[], object],
    newest: str,
    seconds: float,
) -> str:
    """Return what events cost in tabs, beside one that reads nothing.

    :param emit: begins to broadcast the events.
    :param newest: what the pages show of the last of them.
    :param seconds: how long the events take; no page is looked at before.
    :raises AssertionError: a page or the console did not keep up.
    """
    port = urlsplit(console.url).port
    cookies = browser.command("Storage.getCookies")["cookies"]
    cookie = next(each for each in cookies if each["name"] == f"trader-console-{port}")
    for tab in tabs:
        tab.evaluate(_COUNT)
    pid = console.process.pid
    with closing(console.join(f"{cookie['name']}={cookie['value']}")):
        before, busy, begun = resident(pid), cpu_seconds(pid), time.monotonic()
        emit()
        time.sleep(max(0, begun + seconds - time.monotonic()))
        for tab in tabs:
            tab.wait_for(newest, "LIVE")
        took = time.monotonic() - begun
        frames = [tab.evaluate("counted") for tab in tabs]
        elements = [tab.evaluate("document.querySelectorAll('*').length") for tab in tabs]
        growth = resident(pid) - before
        figures = (
            f"{took:.1f} s; frames and characters of each tab {frames}; elements {elements}; console: "
            f"{(cpu_seconds(pid) - busy) / took:.0%} of a core for three tabs, {growth:+.1f} MiB"
        )
    for number, _characters in frames:
        assert number <= MAX_DRAWS_A_SECOND * took + _SLACK_FRAMES, figures
    assert growth < MAX_GROWTH, figures
    assert max(elements) < MAX_ELEMENTS, figures
    return figures


def main() -> None:
    """Play as long as the command line says."""
    with tempfile.TemporaryDirectory() as directory, closing(Chromium()) as browser:
        print(play(Path(directory), browser, int(sys.argv[1])))  # noqa: T201


if __name__ == "__main__":
    main()
