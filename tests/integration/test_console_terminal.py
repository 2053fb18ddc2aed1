"""The console on a terminal that is held, full, stopped or pasted into."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import termios
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from riskd.testing import DaemonHarness
from tests.support.pseudo_terminal import CONTROLLED, PseudoTerminal
from tests.support.waiting import DEADLINE_SECONDS, wait_until

ENTERED = b"\x1b[?1049h"


def is_stopped(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a process was stopped by a signal."""
    status = Path(f"/proc/{process.pid}/stat").read_text()
    return status.rpartition(")")[2].split()[0] == "T"


def settings(terminal: PseudoTerminal) -> list[Any]:
    """Return the settings of the terminal."""
    return termios.tcgetattr(terminal.slave)


def start(terminal: PseudoTerminal, url: str, account: str = "123") -> None:
    """Start a console as a shell does, and wait until it is live."""
    terminal.start(account, "--url", url, script=CONTROLLED)
    terminal.wait_for(" LIVE ", "q quit")


def quit_by_key(terminal: PseudoTerminal) -> None:
    """Quit, and check that the terminal is as before."""
    terminal.press("q")
    assert terminal.exit_status() == 0
    terminal.check_restored()
    assert b"Traceback" not in terminal.written


def test_ctrl_s_does_not_hold_the_screen(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    start(terminal, shared_url)
    terminal.press("\x13")
    shared_harness.trigger_test_event("lockout_set", {"reason": "Daily loss limit hit"})
    terminal.wait_for("LOCKED OUT until an operator unlocks it: Daily loss limit hit")
    shared_harness.trigger_test_event("lockout_cleared", {})
    for key in "\x13\x11\x13\x16\x0f":
        terminal.press(key)
    shared_harness.trigger_test_event("GatewayUserTrade", {"profitAndLoss": -45.50})
    terminal.wait_for("Trade -$45.50")
    quit_by_key(terminal)


def test_a_terminal_that_was_held_before_the_start_is_drawn_on(
    terminal: PseudoTerminal, shared_url: str
) -> None:
    terminal.press("\x13")
    wait_until(lambda: terminal.is_full)
    termios.tcflow(terminal.slave, termios.TCOOFF)
    start(terminal, shared_url)
    quit_by_key(terminal)


def test_the_keys_for_signals_end_the_console_and_restore_the_terminal(dead_url: str) -> None:
    keys = ("\x03", "\x1c")
    with ExitStack() as stack:
        terminals = [stack.enter_context(closing(PseudoTerminal())) for _ in keys]
        for terminal in terminals:
            terminal.start("123", "--url", dead_url, script=CONTROLLED)
        for terminal, key in zip(terminals, keys, strict=True):
            terminal.wait_for("RECONNECTING in")
            terminal.press(key)
            assert terminal.exit_status() == 0, key
            terminal.check_restored()
            assert b"Traceback" not in terminal.written


def test_a_key_for_a_signal_may_be_another_one(terminal: PseudoTerminal, dead_url: str) -> None:
    other = settings(terminal)
    other[6][termios.VINTR], other[6][termios.VQUIT] = b"\x07", b"\x00"
    termios.tcsetattr(terminal.slave, termios.TCSANOW, other)
    terminal.start("123", "--url", dead_url, script=CONTROLLED)
    terminal.wait_for("RECONNECTING in")
    terminal.send(b"\x03\x1c\x006")
    terminal.wait_for("[6 ")
    terminal.press("\x07")
    assert terminal.exit_status() == 0
    assert settings(terminal) == other


def test_a_pasted_text_does_nothing(terminal: PseudoTerminal, shared_url: str) -> None:
    start(terminal, shared_url)
    assert b"\x1b[?2004h" in terminal.written
    for pasted in (
        b"a quick note\r",
        b"2\t6?tm\x1b[B",
        # Each of them would end or stop the console, hold its output or empty its input.
        b"\x03\x1c\x1a\x13\x04\x15\x12\x0f\x16q",
        # A report of the terminal, a mouse, an unfinished sequence, no UTF-8.
        b"\x1b[?2026;2$y\x1b[M !!\x1b[<0;3;24M\xff\xc3\x1b[20",
        b"q" * 100_000,
    ):
        terminal.send(b"\x1b[200~")
        for begin in range(0, len(pasted), 4000):
            terminal.send(pasted[begin : begin + 4000])
            terminal.drain()
        terminal.send(b"\x1b[201~")
    terminal.send(b"6")
    terminal.wait_for("[6 ")
    assert "Keys" not in terminal.shown
    assert "mouse" not in terminal.shown
    quit_by_key(terminal)


def test_a_paste_that_is_split_or_has_no_end_does_nothing(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    def wait_for_a_draw(amount: int) -> None:
        """Wait until the console has read what was sent, and drawn an event."""
        shared_harness.trigger_test_event("GatewayUserTrade", {"profitAndLoss": amount})
        terminal.wait_for(f"Trade +${amount}.00")

    start(terminal, shared_url)
    pieces = (b"\x1b[20", b"0~quick", b" q", b"q\x1b[2", b"01~")
    for number, piece in enumerate(pieces, 1):
        terminal.send(piece)
        wait_for_a_draw(number)
    terminal.send(b"\x1b[200~no end q")
    wait_for_a_draw(9)
    # Keys act again once the paste must be over.
    terminal.wait_until(lambda: press_and_see(terminal, "6", "[6 "), "a key acting")
    quit_by_key(terminal)


def press_and_see(terminal: PseudoTerminal, key: str, words: str) -> bool:
    """Press a key, and wait a while for its effect."""
    terminal.press(key)
    for _ in range(30):
        if words in terminal.shown:
            return True
        terminal.read(0.05)
    return False


def test_after_sigstop_the_terminal_is_taken_again_and_redrawn(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    before = settings(terminal)
    start(terminal, shared_url)
    during = settings(terminal)
    terminal.signal(signal.SIGSTOP)
    wait_until(lambda: is_stopped(terminal.process))
    # A shell sets the terminal to its liking and writes on it.
    termios.tcsetattr(terminal.slave, termios.TCSANOW, before)
    terminal.scribble("\x1b[?2004l\x1b[3;1H[1]+ stopped\r\n$ \x1b[?25hls\r\nfile file\r\n")
    terminal.wait_for("[1]+ stopped", "file file")
    shared_harness.trigger_test_event("GatewayUserTrade", {"profitAndLoss": -11})
    written = len(terminal.written)
    terminal.signal(signal.SIGCONT)
    terminal.wait_for("Trade -$11.00")
    terminal.wait_until(
        lambda: "stopped" not in terminal.shown and "file file" not in terminal.shown,
        "the screen whole again",
    )
    assert settings(terminal) == during
    assert b"\x1b[?2004h" in terminal.written[written:]
    terminal.send(b"\x1b[200~q\x1b[201~6")
    terminal.wait_for("[6 ")
    quit_by_key(terminal)


def test_after_a_continue_in_the_foreground_the_screen_is_whole(
    terminal: PseudoTerminal, shared_url: str
) -> None:
    start(terminal, shared_url)
    for _ in range(3):
        terminal.signal(signal.SIGCONT)
    terminal.press("6")
    terminal.wait_for(" LIVE ", "[6 ", "q quit")
    quit_by_key(terminal)


def test_ctrl_z_gives_the_terminal_back_until_fg(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    console = [sys.executable, "-c", "from trader.cli.main import main; main()"]
    command = " ".join(f"'{word}'" for word in (*console, "123", "--url", shared_url))
    # With job control, a shell runs each command in a process group of its own.
    shell = f"set -m; {command}; echo HELD; read -r line; fg >/dev/null; echo OVER"
    script = (
        "import fcntl, os, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        f"os.execvp('bash', ['bash', '--norc', '-c', {shell!r}])"
    )
    terminal.start(script=script)
    terminal.wait_for(" LIVE ", "q quit")
    terminal.press("\x1a")
    terminal.wait_for("HELD")
    terminal.check_restored()
    shared_harness.trigger_test_event("GatewayUserTrade", {"profitAndLoss": -12})
    written = len(terminal.written)
    terminal.press("\n")
    terminal.wait_for("Trade -$12.00", "q quit")
    terminal.wait_until(lambda: "HELD" not in terminal.shown, "the screen whole again")
    assert ENTERED in terminal.written[written:]
    assert not settings(terminal)[0] & termios.IXON
    terminal.press("6")
    terminal.wait_for("[6 ")
    terminal.press("q")
    terminal.wait_for("OVER")
    assert terminal.exit_status() == 0
    terminal.check_restored()


def fill(terminal: PseudoTerminal) -> None:
    """Have the console draw until the terminal takes no more."""
    keys = iter("t" * 10_000)

    def is_full() -> bool:
        terminal.press(next(keys))
        return terminal.is_full

    wait_until(is_full)


def test_a_full_terminal_does_not_hold_the_console(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    hook = [sys.executable, "-c", f"open({str(seen)!r}, 'w').close()"]
    options = tmp_path / "console.toml"
    options.write_text(f"hook = {json.dumps(hook)}")
    terminal.start("456", "--url", shared_url, "--config", str(options), script=CONTROLLED)
    terminal.wait_for(" LIVE ", "q quit")
    fill(terminal)
    for number in range(1, 4):
        trade = {"accountId": 456, "profitAndLoss": number}
        shared_harness.trigger_test_event("GatewayUserTrade", trade)
    lock = {"accountId": 456, "reason": "unseen", "rule_id": "RULE-098"}
    shared_harness.trigger_test_event("lockout_set", lock)
    # The terminal shows nothing of it yet, and the hook runs all the same.
    wait_until(seen.exists)
    assert terminal.is_full
    # Once it takes output again, it shows what is so now.
    terminal.wait_for("LOCKED OUT until an operator unlocks it: unseen", "Trade +$3.00", "q quit")
    shared_harness.trigger_test_event("lockout_cleared", {"accountId": 456})
    terminal.wait_for("Trading resumed")
    quit_by_key(terminal)


def test_a_full_terminal_is_restored_at_the_end(terminal: PseudoTerminal, shared_url: str) -> None:
    start(terminal, shared_url)
    fill(terminal)
    terminal.signal(signal.SIGTERM)
    # It is not read until the console has ended.
    assert terminal.process.wait(DEADLINE_SECONDS) == 0
    terminal.drain()
    terminal.check_restored()
