"""The console under everything that a terminal, a trader and a market can do to it."""

from __future__ import annotations

import random
import re
import subprocess

from riskd.testing import DaemonHarness
from tests.integration.test_console import (
    MAIN,
    Terminal,
    check_that_the_terminal_was_left_in_order,
    daemon,
    dead_url,
    shared_url,
    terminal,
    url,
)
from trader.cli.console import KEYS

__all__ = ("daemon", "dead_url", "shared_url", "terminal", "url")

TYPED = {
    "tab": "\t",
    "shift tab": "\x1b[Z",
    "down": "\x1b[B",
    "up": "\x1b[A",
    "page down": "\x1b[6~",
    "page up": "\x1b[5~",
    "esc": "\x1b",
}
"""What a terminal sends for the keys that are no letters."""

BURST = 10_000


def settings_of(terminal: Terminal) -> bytes:
    """Return what ``stty -a`` says of the terminal."""
    return subprocess.run(
        ["stty", "-a"], stdin=terminal._slave, capture_output=True, check=True
    ).stdout


def finish(terminal: Terminal, before: bytes) -> None:
    """Quit, and check that everything is as it was before."""
    terminal.press("q")
    assert terminal.exit_status() == 0
    check_that_the_terminal_was_left_in_order(terminal)
    assert settings_of(terminal) == before
    assert b"Traceback" not in terminal.written


def test_every_key_and_keys_that_are_none(
    terminal: Terminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    before = settings_of(terminal)
    terminal.start("123", "--url", shared_url)
    terminal.wait_for(" LIVE ")
    for key in KEYS:
        for name in key.names:
            if name != "q":
                terminal.press(TYPED.get(name, name))
                if name == "esc":
                    # What follows too early would make another key of it.
                    terminal.wait_for("Shift-Tab")
                terminal.press("3")
                terminal.wait_for("[3 Limits]")
                terminal.press("1")
                terminal.wait_for("[1 Overview]")
    for junk in ("\x1b[99~", "\x00", "\xff", "ü", "\x1b]0;title\x07", "\x1b[M !!", "\x0c", "\x1a"):
        terminal.press(junk)
    terminal.press("6")
    terminal.wait_for("[6", "Reconnects")
    finish(terminal, before)
    # The mouse, which one of the keys has taken, was given back.
    assert terminal.written.rfind(b"\x1b[?1000l") > terminal.written.rfind(b"\x1b[?1000h") >= 0


def test_a_storm_of_sizes(
    terminal: Terminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    before = settings_of(terminal)
    terminal.start("123", "--url", shared_url)
    terminal.wait_for(" LIVE ")
    sizes = random.Random(7)
    for _ in range(100):
        terminal.resize(sizes.randint(1, 200), sizes.randint(1, 60))
        terminal.drain()
    terminal.resize(80, 24)
    terminal.wait_until(
        lambda: (
            re.search(r"LIVE  \d\d:\d\d:\d\d$", terminal.rows[0]) is not None
            and terminal.rows[-1].endswith("? help  q quit")
        ),
        "80x24",
    )
    finish(terminal, before)


def test_a_burst_of_ten_thousand_events(
    terminal: Terminal, daemon: DaemonHarness, url: str
) -> None:
    before = settings_of(terminal)
    terminal.start("123", "--url", url, "--state", str(daemon.state))
    terminal.wait_for(" LIVE ")
    for number in range(BURST):
        daemon.trigger_test_event("MarketQuote", {"last": 20000 + number})
        if number % 20 == 0:
            terminal.drain()
    terminal.wait_for(f"{20000 + BURST - 1}.00")
    daemon.trigger_test_event("GatewayUserTrade", {"profitAndLoss": -45.50})
    terminal.wait_for("Realized -45.50", " LIVE ")
    terminal.press("6")
    # Of quotes that it could not take at once it may have been sent the latest only.
    terminal.wait_for("Last event       GatewayUserTrade", "Reconnects       0")
    daemon.kill()
    terminal.wait_for("Lost connection to daemon", "RECONNECTING in ")
    daemon.start()
    terminal.wait_for(" LIVE ", "Reconnects       1")
    finish(terminal, before)


def test_a_closed_terminal_ends_it(terminal: Terminal, dead_url: str) -> None:
    terminal.start("123", "--url", dead_url)
    terminal.wait_for("RECONNECTING in")
    terminal.hang_up()
    assert terminal.ended() == 0


def test_a_page_that_fails_leaves_the_terminal_in_order(terminal: Terminal, dead_url: str) -> None:
    broken = f"from trader.ui import connection_page; connection_page._facts = None; {MAIN}"
    before = settings_of(terminal)
    terminal.start("123", "--url", dead_url, script=broken)
    terminal.wait_for("RECONNECTING in")
    terminal.press("6")
    assert terminal.exit_status() == 1
    check_that_the_terminal_was_left_in_order(terminal)
    assert settings_of(terminal) == before
    # The traceback comes after the screen was left.
    assert terminal.written.rfind(b"Traceback") > terminal.written.rfind(b"\x1b[?1049l")
