"""The console on a terminal, with a real daemon, from start to exit."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from riskd.journal.schema import PUBLISHED_NAME
from riskd.journal.store import Store
from riskd.model.account import AccountState, apply
from riskd.model.events import Event
from riskd.testing import DaemonHarness, make_event
from tests.support.pseudo_terminal import MAIN, QUICK, PseudoTerminal
from tests.support.waiting import DEADLINE_SECONDS


def test_a_day_at_the_console(terminal: PseudoTerminal, harness: DaemonHarness, url: str) -> None:
    terminal.start("123", "--url", url, "--state", str(harness.state))
    terminal.wait_for("account 123", "PRACTICE", "LIVE", "Connected to daemon", "q quit")
    terminal.wait_for("P&L of the day", "Positions (none)")
    assert not terminal.is_as_before

    trigger = harness.trigger_test_event
    trigger("GatewayUserPosition", {"type": 1, "size": 3, "averagePrice": 21000.50})
    trigger("MarketQuote", {"last": 21010.75})
    trigger("GatewayUserOrder", {"type": 3, "side": 2, "limitPrice": None, "stopPrice": 20990.25})
    trigger("GatewayUserTrade", {"profitAndLoss": -45.50})
    trigger("GatewayUserTrade", {"accountId": 456, "profitAndLoss": -7777.77})
    terminal.wait_for(
        "Realized -$45.50   Unrealized +$61.50   Total +$16.00",
        "Trades 1",
        "Positions (1, 3 contracts)",
        "stop 20990.25",
        "Position opened: Long 3 MNQU5 at 21000.50",
    )
    assert "7,777" not in terminal.shown

    trigger("enforcement_action", {"reason": "MaxContracts breach: 6 > 5"})
    terminal.wait_for("ENFORCED: close positions (RULE-001): MaxContracts breach: 6 > 5")
    trigger("lockout_set", {"reason": "Daily loss limit hit: -$550"})
    terminal.wait_for("LOCKED OUT until an operator unlocks it: Daily loss limit hit: -$550")
    trigger("lockout_cleared", {})
    terminal.wait_for("Trading resumed")
    trigger("daily_reset", {})
    terminal.wait_for("Daily reset executed", "Realized $0.00", "Trades 0")

    harness.kill()
    terminal.wait_for(
        "Lost connection to daemon",
        "RECONNECTING in 1 s",
        "Last known state",
        "Positions (1, 3 contracts)",
    )
    harness.start()
    terminal.wait_for("LIVE")
    # The header is written before the rows below it.
    terminal.wait_until(lambda: "Last known state" not in terminal.shown, "a live state")

    harness.trigger_test_event("daemon_status", {"status": "STOPPING", "message": "Going down"})
    terminal.wait_for("The daemon is stopping")

    terminal.press("q")
    assert terminal.exit_status() == 0
    terminal.check_restored()
    assert b"Traceback" not in terminal.written


def test_all_accounts_and_one_of_them(
    terminal: PseudoTerminal, harness: DaemonHarness, url: str
) -> None:
    terminal.start("--url", url, "--state", str(harness.state))
    terminal.wait_for("all accounts", "LIVE", "2 accounts, nearest limit first", "123", "456")
    trigger = harness.trigger_test_event
    trigger("GatewayUserPosition", {"accountId": 456, "size": 7})
    terminal.wait_until(
        lambda: any("456" in row and " 7 " in row for row in terminal.rows), "its position"
    )
    trigger("lockout_set", {"accountId": 456, "reason": "Daily loss limit hit: -$550"})
    terminal.wait_for("Account 456: LOCKED OUT until an operator unlocks it", "UNGUARDED, LOCKED")
    # It is drawn first.
    terminal.wait_until(lambda: b"\a" in terminal.written, "the bell")

    terminal.press("G")
    terminal.wait_until(lambda: any(row.startswith("> 456") for row in terminal.rows), "456")
    terminal.press("\r")
    terminal.wait_for("account 456", "Positions (1, 7 contracts)", "LOCKED OUT until an operator")
    terminal.send(b"\x1b")
    terminal.wait_for("all accounts", "> 456")

    harness.kill()
    terminal.wait_for("LAST KNOWN", "Lost connection to daemon", "Last known state")
    terminal.press("q")
    assert terminal.exit_status() == 0
    terminal.check_restored()


def test_the_garbage_collector_ignores_the_objects_of_the_start(
    terminal: PseudoTerminal, dead_url: str
) -> None:
    count = "import gc; from trader.cli import console; is_watched = console.Console._begin"
    note = "self.navigation.session.note(f'{len(gc.get_objects()) // 50000} of 50,000 objects are watched')"
    begin = f"console.Console._begin = lambda self: (is_watched(self), {note})"
    terminal.start("123", "--url", dead_url, script=f"{count}; {begin}; {MAIN}")
    terminal.wait_for("0 of 50,000 objects are watched")


def test_a_daemon_that_does_not_run_is_tried_again(
    terminal: PseudoTerminal, dead_url: str
) -> None:
    terminal.start("123", "--url", dead_url, script=QUICK)
    terminal.wait_for("Cannot connect to daemon (is it running?)", "RECONNECTING in ")
    # On a busy machine some seconds of the countdown may never be seen.
    first = re.search(r"RECONNECTING in [0-5] s", terminal.shown)
    assert first is not None
    terminal.wait_until(lambda: first[0] not in terminal.shown, "the countdown running")
    terminal.press("q")
    assert terminal.exit_status() == 0


def publish(directory: Path, *events: Event, ago: float = 0) -> None:
    """Publish the state after ``events``, dated ``ago`` seconds back."""
    state = AccountState(account_id=123)
    for event in events:
        state = apply(state, event)
    store = Store(directory)
    now = datetime.now(UTC) - timedelta(seconds=ago)
    store.open((123,), now)
    store.write([state], "practice", now)
    store.publish()
    store.close()


def test_without_a_daemon_the_last_known_state_is_on_the_screen(
    terminal: PseudoTerminal, dead_url: str, tmp_path: Path
) -> None:
    def left() -> int | None:
        """Return the seconds to the end of the lockout that are shown."""
        found = re.search(r"LOCKED OUT until .* \((\d+):(\d\d) left\): Daily loss", terminal.shown)
        return int(found[1]) * 60 + int(found[2]) if found else None

    end = datetime.now(UTC) + timedelta(minutes=50)
    publish(
        tmp_path,
        make_event("GatewayUserPosition", {"type": 1, "size": 3, "averagePrice": 21000.50}),
        make_event("MarketQuote", {"last": 21010.75}),
        make_event("GatewayUserTrade", {"profitAndLoss": -45.50}),
        make_event("enforcement_action", {"reason": "Daily loss"}),
        make_event("lockout_set", {"reason": "Daily loss", "locked_until": end.isoformat()}),
        make_event("daemon_status", {"status": "STOPPING", "message": "The daemon is stopping"}),
        ago=130,
    )
    terminal.start("123", "--url", dead_url, "--state", str(tmp_path))
    terminal.wait_for(
        "PRACTICE",
        "Cannot connect to daemon (is it running?)",
        "Last known state, ",
        ", 2 min ago",
        "P&L of the day",
        "Realized -$45.50   Unrealized +$61.50   Total +$16.00",
        "Trades 1",
        "Positions (1, 3 contracts)",
        "ENFORCED: close positions (RULE-001): Daily loss",
    )
    assert re.search(r"MNQU5 +Long +3 avg +21000\.50 last +21010\.75", terminal.shown)
    assert "stopping" not in terminal.shown
    first = left()
    assert first is not None
    assert 2900 < first < 3000
    terminal.wait_until(lambda: (left() or first) < first, "the countdown running")
    terminal.press("q")
    assert terminal.exit_status() == 0
    terminal.check_restored()


def test_a_problem_with_the_file_is_shown_until_it_is_solved(
    terminal: PseudoTerminal, dead_url: str, tmp_path: Path
) -> None:
    published = tmp_path / PUBLISHED_NAME
    terminal.start("123", "--url", dead_url, "--state", str(tmp_path), script=QUICK)
    # Single words: where a line is broken depends on the length of the path in it.
    terminal.wait_for("No last known state: ", "there", "not connected yet")
    published.write_bytes(b"no database")
    terminal.wait_for("Cannot read the last known state: ", "damaged")
    published.unlink()
    publish(tmp_path, make_event("GatewayUserTrade", {"profitAndLoss": -45.50}))
    terminal.wait_for("Last known state, ", "Realized -$45.50")
    assert "No last known state" not in terminal.shown
    terminal.press("q")
    assert terminal.exit_status() == 0
    assert b"Traceback" not in terminal.written


def test_an_account_that_is_not_in_the_file_is_named(
    terminal: PseudoTerminal, dead_url: str, tmp_path: Path
) -> None:
    publish(tmp_path)
    terminal.start("999", "--url", dead_url, "--state", str(tmp_path))
    terminal.wait_for("Account 999 is not in the last known state; it knows 123")


def test_a_console_that_starts_late_shows_the_whole_day(
    terminal: PseudoTerminal, harness: DaemonHarness, url: str
) -> None:
    trigger = harness.trigger_test_event
    trigger("GatewayUserPosition", {"type": 1, "size": 3, "averagePrice": 21000.50})
    trigger("GatewayUserOrder", {"type": 3, "side": 2, "limitPrice": None, "stopPrice": 20990.25})
    trigger("GatewayUserTrade", {"id": 1, "profitAndLoss": -45.50})
    trigger("enforcement_action", {"reason": "Daily loss"})
    trigger("lockout_set", {"reason": "Daily loss"})
    terminal.start("123", "--url", url, "--state", str(harness.state))
    terminal.wait_for(
        "LIVE",
        "LOCKED OUT until an operator unlocks it: Daily loss",
        "P&L of the day",
        "Realized -$45.50",
        "Trades 1",
        "Positions (1, 3 contracts)",
        "stop 20990.25",
        "ENFORCED: close positions (RULE-001): Daily loss",
    )
    trigger("GatewayUserTrade", {"id": 1, "profitAndLoss": -45.50})
    trigger("GatewayUserTrade", {"id": 2, "profitAndLoss": -4.50})
    trigger("MarketQuote", {"last": 21010.75})
    terminal.wait_for(
        "Realized -$50.00   Unrealized +$61.50   Total +$11.50", "Trades 2", "Trade -$4.50"
    )
    terminal.wait_until(lambda: terminal.shown.count("Trade -$45.50") == 1, "the trade once")
    harness.stop()
    terminal.wait_for("Lost connection to daemon", "Last known state, ", "Realized -$50.00")
    assert "\n The daemon is stopping" not in terminal.shown
    harness.start()
    terminal.wait_for(" LIVE ", "LOCKED OUT", "P&L of the day")
    terminal.wait_until(lambda: terminal.shown.count("ENFORCED") == 1, "ENFORCED once")


def test_a_signal_leaves_the_terminal_as_it_was(dead_url: str) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with ExitStack() as stack:
        terminals = [stack.enter_context(closing(PseudoTerminal())) for _ in numbers]
        for terminal in terminals:
            terminal.start("123", "--url", dead_url)
        for terminal, number in zip(terminals, numbers, strict=True):
            terminal.wait_for("RECONNECTING in")
            terminal.signal(number)
            assert terminal.exit_status() == 0, number
            terminal.check_restored()


def test_a_resized_terminal_is_drawn_in_full(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    def is_drawn(columns: int, rows: int) -> bool:
        shown = terminal.rows
        return (
            len(shown) == rows
            # The time of day ends one blank before the edge.
            and re.search(r"LIVE  \d\d:\d\d:\d\d( \S+)?$", shown[0]) is not None
            and len(shown[0]) == columns - 1
            # The footer; a narrow screen has no room for all of it.
            and shown[-1].endswith(("? help  q quit", "? help", " ?"))
            and not any("1 Over" in row for row in shown[:-1])
        )

    terminal.start("123", "--url", shared_url)
    terminal.wait_until(lambda: is_drawn(80, 24), "80x24")
    for columns, rows in ((120, 40), (60, 20), (40, 10), (80, 24)):
        terminal.resize(columns, rows)
        terminal.wait_until(lambda: is_drawn(columns, rows), f"{columns}x{rows}")  # noqa: B023
    shared_harness.trigger_test_event("GatewayUserTrade", {"profitAndLoss": -45.50})
    terminal.wait_for("Realized -$45.50")


def test_a_stopped_daemon_is_silent_before_it_is_lost(
    terminal: PseudoTerminal, tmp_path: Path
) -> None:
    with DaemonHarness(state=tmp_path) as daemon:
        terminal.start("123", "--url", f"ws://localhost:{daemon.port}", "--state", str(tmp_path))
        terminal.wait_for(" LIVE ")
        assert daemon._process is not None
        daemon._process.send_signal(signal.SIGSTOP)
        try:
            terminal.wait_until(lambda: "SILENT for" in terminal.rows[0], "SILENT")
            assert "LIVE" not in terminal.rows[0]
            terminal.wait_for("it has not answered for 5 s")
        finally:
            daemon._process.send_signal(signal.SIGCONT)
        terminal.wait_for(" LIVE ")


def test_control_sequences_in_a_reason_do_not_reach_the_terminal(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    terminal.start("456", "--url", shared_url)
    terminal.wait_for("LIVE")
    evil = "Bad\x1b]0;owned\x07\x1b[2J\x1b[5;5H news\nin two\rlines\u202e"
    shared_harness.trigger_test_event("lockout_set", {"accountId": 456, "reason": evil})
    terminal.wait_for("LOCKED OUT until an operator unlocks it: Bad?]0;owned??[2J", "q quit")
    assert b"\x1b]0;" not in terminal.written
    assert b"\x1b[5;5H" not in terminal.written
    assert "\u202e".encode() not in terminal.written
    assert terminal.rows[-1].endswith("q quit")


def test_no_color_draws_only_attributes(terminal: PseudoTerminal, dead_url: str) -> None:
    terminal.start("123", "--url", dead_url, NO_COLOR="1")
    terminal.wait_for("Cannot connect")
    terminal.press("q")
    assert terminal.exit_status() == 0
    styles = set(re.findall(rb"\x1b\[([\d;]*)m", terminal.written))
    assert styles
    codes = {int(code) for style in styles for code in style.split(b";") if code}
    assert codes <= {0, 1, 4, 7, 39, 49}
    assert {1, 7} <= codes, "nothing stands out"


def run_sabotaged(sabotage: str) -> str:
    """Return a script that runs ``sabotage`` and then the console."""
    return f"from trader.ui import panels\n{sabotage}\n{MAIN}"


def check_crash(terminal: PseudoTerminal) -> None:
    """Check that the terminal was restored before the traceback was printed."""
    assert terminal.exit_status() == 1
    terminal.check_restored()
    restored = terminal.written.rfind(b"\x1b[?1049l")
    assert b"Traceback" not in terminal.written[:restored]
    left = terminal.written[restored:]
    assert b"Traceback (most recent call last)" in left
    assert left.rstrip().endswith(b"ZeroDivisionError: sabotage")


def test_an_error_in_the_first_draw_restores_the_terminal(
    terminal: PseudoTerminal, dead_url: str
) -> None:
    sabotage = (
        "def pnl(view, now, width):\n    raise ZeroDivisionError('sabotage')\npanels.pnl = pnl"
    )
    terminal.start("123", "--url", dead_url, script=run_sabotaged(sabotage))
    check_crash(terminal)


def test_an_error_in_a_later_draw_restores_the_terminal(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    sabotage = (
        "whole = panels.pnl\n"
        "def pnl(view, now, width):\n"
        "    if view.account.trade_count: raise ZeroDivisionError('sabotage')\n"
        "    return whole(view, now, width)\n"
        "panels.pnl = pnl"
    )
    terminal.start("456", "--url", shared_url, script=run_sabotaged(sabotage))
    terminal.wait_for("LIVE")
    shared_harness.trigger_test_event("GatewayUserTrade", {"accountId": 456})
    check_crash(terminal)


def test_an_event_that_fails_is_a_line_in_the_feed(
    terminal: PseudoTerminal, shared_harness: DaemonHarness, shared_url: str
) -> None:
    sabotage = (
        "import sys, warnings\n"
        "from trader.model import session\n"
        "whole = session.line_for\n"
        "def line_for(event, state, now):\n"
        "    if event.type == 'lockout_cleared': raise ZeroDivisionError('sabotage')\n"
        "    if event.type == 'daily_reset': print('printed', file=sys.stderr)\n"
        "    return whole(event, state, now)\n"
        "session.line_for = line_for"
    )
    terminal.start("123", "--url", shared_url, script=run_sabotaged(sabotage))
    terminal.wait_for("LIVE")
    shared_harness.trigger_test_event("lockout_set", {})
    shared_harness.trigger_test_event("lockout_cleared", {})
    shared_harness.trigger_test_event("daily_reset", {})
    shared_harness.trigger_test_event("GatewayUserTrade", {"profitAndLoss": -45.50})
    terminal.wait_for("The callback failed on lockout_cleared", "Printed", "Trade -$45.50")
    assert terminal.rows[-1].endswith("q quit")
    terminal.press("q")
    assert terminal.exit_status() == 0
    assert b"Traceback" not in terminal.written


def run_outside_a_terminal(*arguments: str) -> tuple[int, str, str]:
    """Run the console on pipes; return exit status, output and errors."""
    done: Any = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_without_a_terminal_the_console_says_so_and_fails() -> None:
    assert run_outside_a_terminal("123") == (
        1,
        "",
        "trader-console: this is a screen; it needs a terminal, or --plain or --json\n",
    )


def test_a_wrong_account_is_a_usage_error() -> None:
    status, output, errors = run_outside_a_terminal("abc")
    assert (status, output) == (2, "")
    assert errors.startswith("usage: trader-console")
    assert "'abc' is not an account id" in errors
