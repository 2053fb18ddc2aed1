"""``trader-console``: find what there is to show, then show it or write lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from twisted.logger import globalLogBeginner

from riskd.host.directories import default_directory
from riskd.host.loopback import ListenError
from riskd.host.timing import use_steady_clock
from riskd.journal.discovery import SeveralDaemonsError
from riskd.journal.reader import StateFileError
from trader.cli.accounts import why_no_account
from trader.cli.console import Console
from trader.cli.display import Display
from trader.cli.headless import discard_output, run_headless
from trader.cli.options import Options, followed_daemon, parse_options
from trader.model.followed_daemon import FollowedDaemon

_PLAIN_TERMINALS: Final = ("dumb", "unknown")
"""The kinds of terminals that cannot move the cursor.  Source: terminfo(5)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``trader-console``; return its exit status."""
    options = parse_options(arguments)
    if options.output == "screen" and (problem := _why_no_screen()):
        _print_error(problem)
        return 1
    account_id = options.account
    root = default_directory()
    try:
        problem = why_no_account(options, root) if account_id is None else ""
        if problem:
            _print_error(problem)
            return 2
        followed = followed_daemon(account_id, options)
        check_choice(followed)
    except SeveralDaemonsError as error:
        _print_error(str(error))
        return 2
    from twisted.internet import reactor  # noqa: PLC0415  # importing this module must install none

    use_steady_clock(reactor)
    if options.output == "screen":
        _run_screen(account_id, followed, options, reactor)
    elif options.output == "web":
        return _run_in_browsers(account_id, options, reactor)
    else:
        run_headless(account_id, followed, options.output, reactor)
    return 0


def _why_no_screen() -> str:
    """Return why nothing can be drawn here; empty if it can."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "this is a screen; it needs a terminal, or --plain or --json"
    kind = os.environ.get("TERM", "")
    if kind in _PLAIN_TERMINALS:
        return (
            f"this is a screen, and a terminal with TERM={kind} shows none; use --plain or --json"
        )
    return ""


def check_choice(followed: FollowedDaemon) -> None:
    """Check that there is something to show.

    :raises SeveralDaemonsError: no daemon is the obvious one, and no last known state can be shown.
    """
    try:
        followed.locate()
    except SeveralDaemonsError:
        try:
            followed.read()
        except StateFileError:
            pass
        else:
            return
        raise


def _run_screen(
    account_id: int | None, followed: FollowedDaemon, options: Options, reactor: Any
) -> None:
    console = Console(
        account_id,
        followed,
        reactor,
        options.ui_state,
        options.settings.hook,
        bell=options.settings.bell,
        names=options.settings.account_names,
    )
    stdout, stderr = sys.stdout, sys.stderr
    # Log messages on the terminal would tear the screen, and so would print(); both go to the feed.
    globalLogBeginner.beginLoggingTo(
        [console.log_to_feed],  # type: ignore[list-item]  # any callable observes
        discardBuffer=True,
    )
    try:
        console.run()
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        try:
            sys.stdout.flush()
        except OSError:
            # The terminal was closed.
            discard_output()


def _run_in_browsers(account_id: int | None, options: Options, reactor: Any) -> int:
    # Not above: a terminal needs none of it.
    from trader.cli.web import run_in_browsers  # noqa: PLC0415

    def make_console(display: Display) -> Console:
        return Console(
            account_id,
            followed_daemon(account_id, options),
            reactor,
            options.ui_state,
            bell=options.settings.bell,
            display=display,
            names=options.settings.account_names,
        )

    try:
        run_in_browsers(make_console, options.web_port, reactor)
    except ListenError as error:
        _print_error(str(error))
        return 1
    return 0


def _print_error(sentence: str) -> None:
    print(f"trader-console: {sentence}", file=sys.stderr)  # noqa: T201  # nothing is drawn yet
