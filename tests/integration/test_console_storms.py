"""The console under more keys, resizes and events than a day has."""

from __future__ import annotations

import random
import re
import subprocess

from riskd.testing import DaemonHarness
from tests.support.pseudo_terminal import MAIN, PseudoTerminal
from tests.support.waiting import DEADLINE_SECONDS
from trader.cli.console import KEYS

TYPED = {
    "tab": "\t",
    "shift tab": "\x1b[Z",
    "down": "\x1b[B",
    "up": "\x1b[A",
    "page down": "\x1b[6~",
    "page up": "\x1b[5~",
    "ctrl d": "\x04",
    "ctrl u": "\x15",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "enter": "\r",
    "esc": "\x1b",
}
"""The bytes that a terminal sends for the keys that are not letters."""

BURST = 10_000


def settings_of(terminal: PseudoTerminal) -> bytes:
    """Return all settings of the terminal, as ``stty -a`` prints them."""
    return subprocess.run(
        ["stty", "-a"], stdin=terminal.slave, capture_output=True, check=True
    ).stdout


def finish(terminal: PseudoTerminal, before: bytes) -> None:
    """Quit, and check that the terminal is as it was before."""
    terminal.press("q")
    assert terminal.exit_status() == 0
    terminal.check_restored()
    assert settings_of(terminal) == before
    assert b"Traceback" not in terminal.written


def test_every_key_works_and_other_input_is_ignored(
    terminal: PseudoTerminal, shared_url: str
) -> None:
    before = settings_of(terminal)
    terminal.start("123", "--url", shared_url)
    terminal.wait_for(" LIVE ")
    for key in KEYS:
        for name in key.names:
            if name != "q":
                terminal.press(TYPED.get(name, name))
                if name in ("0", "esc"):
                    # What follows an escape too early would make another key of it.
                    terminal.wait_for("riskd  all accounts")
                    terminal.press("\r")
                    terminal.wait_for("riskd  account 123")
                elif name == "/":
                    terminal.wait_for("/_")
                    terminal.press("\r")
                terminal.press("3")
                terminal.wait_for("[3 Limits]")
                terminal.press("1")
                terminal.wait_for("[1 Over")
    for junk in ("\x1b[99~", "\x00", "\xff", "ü", "\x1b]0;title\x07", "\x1b[M !!", "\x0c", "\x1a"):
        terminal.press(junk)
    terminal.press("6")
    terminal.wait_for("[6", "Reconnects")
    finish(terminal, before)
    # The mouse, which one of the keys has taken, was given back.
    assert terminal.written.rfind(b"\x1b[?1000l") > terminal.written.rfind(b"\x1b[?1000h") >= 0


def test_a_hundred_resizes(terminal: PseudoTerminal, shared_url: str) -> None:
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
            re.search(r"LIVE  \d\d:\d\d:\d\d( \S+)?$", terminal.rows[0]) is not None
            and terminal.rows[-1].endswith("? help  q quit")
        ),
        "80x24",
    )
    finish(terminal, before)


def test_a_burst_of_ten_thousand_events(
    terminal: PseudoTerminal, harness: DaemonHarness, url: str
) -> None:
    before = settings_of(terminal)
    terminal.start("123", "--url", url, "--state", str(harness.state))
    terminal.wait_for(" LIVE ")
    for number in range(BURST):
        harness.trigger_test_event("MarketQuote", {"last": 20000 + number})
        if number % 20 == 0:
            terminal.drain()
    terminal.wait_for(f"{20000 + BURST - 1}.00")
    harness.trigger_test_event("GatewayUserTrade", {"profitAndLoss": -45.50})
    terminal.wait_for("Realized -$45.50", " LIVE ")
    terminal.press("6")
    # Of quotes that it could not take at once it may have been sent the latest only.
    terminal.wait_for("Last event       GatewayUserTrade", "Reconnects       0")
    harness.kill()
    terminal.wait_for("Lost connection to daemon", "RECONNECTING in ")
    harness.start()
    terminal.wait_for(" LIVE ", "Reconnects       1")
    finish(terminal, before)


def test_a_closed_terminal_ends_the_console(terminal: PseudoTerminal, dead_url: str) -> None:
    terminal.start("123", "--url", dead_url)
    terminal.wait_for("RECONNECTING in")
    terminal.hang_up()
    assert terminal.process.wait(DEADLINE_SECONDS) == 0


def test_an_error_in_a_page_restores_the_terminal(terminal: PseudoTerminal, dead_url: str) -> None:
    broken = f"from trader.ui import connection_page; connection_page._facts = None; {MAIN}"
    before = settings_of(terminal)
    terminal.start("123", "--url", dead_url, script=broken)
    terminal.wait_for("RECONNECTING in")
    terminal.press("6")
    assert terminal.exit_status() == 1
    terminal.check_restored()
    assert settings_of(terminal) == before
    # The traceback comes after the screen was left.
    assert terminal.written.rfind(b"Traceback") > terminal.written.rfind(b"\x1b[?1049l")
