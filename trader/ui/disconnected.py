"""What the screen shows when its numbers are not live.

That is: the daemon is gone or has an error, or the state file cannot be read.

The header says where the numbers come from and when the next attempt to connect is; the lines below it say
why.  Numbers that are not current are dimmed.  Every panel says how old its data is, or why it has none: what
is not known is a dash with a reason, and never a zero.

:mod:`trader.model.view` decides what is known and what is current; here that becomes styles and words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from riskd.model.events import Status
from trader.model.formatting import UNKNOWN, age, clock
from trader.model.view import Source, View, is_current, unknown_reason
from trader.ui.styled_text import StyledLine, wrap

_FILE_PROBLEM_LINES: Final = 3
"""The sentence names a path before it says what to do, so it needs more lines than others."""


def source_badges(view: View) -> StyledLine:
    """Return where the numbers come from; the last badge matters most."""
    if view.is_live and view.silent_for is not None:
        # It may hang, and what it says may be as old as that.
        return [("alert", f" SILENT for {math.ceil(view.silent_for)} s ")]
    if view.is_live:
        if view.daemon is None or view.daemon.status is Status.RUNNING:
            return [("good", " LIVE ")]
        # The connection is live, but what comes over it may not be: it must not look good.
        connection = "LIVE" if is_current(view) else "CONNECTED"
        return [("bar", f" {connection} "), ("alert", f" {view.daemon.status} ")]
    seconds = retry_seconds(view)
    retry = "CONNECTING" if seconds is None else f"RECONNECTING in {seconds} s"
    known = [("warning", " LAST KNOWN ")] if view.source is Source.LAST_KNOWN else []
    return [*known, ("alert", f" {retry} ")]


def source_lines(view: View, now: datetime, width: int) -> list[StyledLine]:
    """Return the connection problem, the numbers' age, and the file's problem."""
    lines = []
    if not view.is_live:
        lines += wrap("alert", view.connection_problem or "Connecting to daemon", width)
    if view.source is Source.LAST_KNOWN:
        lines += wrap("warning", f"Last known state, {time_and_age(view.known_at, now)}", width)
    return lines + wrap("warning", view.file_problem, width, _FILE_PROBLEM_LINES)


def retry_seconds(view: View) -> int | None:
    """Return the seconds to the next attempt to connect; ``None`` during one."""
    return None if view.retry_in is None else max(0, math.ceil(view.retry_in))


def current_style(view: View, style: str) -> str:
    """Return ``style`` while the numbers are current, otherwise a dimmed one."""
    return style if is_current(view) and view.silent_for is None else "dim"


def unknown_line(reason: str) -> StyledLine:
    """Return the line that stands in the place of numbers which are not known."""
    return [("dim", f"{UNKNOWN}  {reason}")]


def data_age(view: View, moments: Iterable[datetime], now: datetime) -> str:
    """Return how old a panel's data is.

    :param moments: when each of the things it shows last changed.
    """
    if view.source is Source.NOTHING:
        return ""
    if view.source is Source.LAST_KNOWN:
        return "age unknown" if view.known_at is None else f"known {_ago(view.known_at, now)}"
    last = max(moments, default=None)
    if last is not None:
        return f"changed {_ago(last, now)}"
    return "" if unknown_reason(view) else "no change yet"


def time_and_age(moment: datetime | None, now: datetime) -> str:
    """Return a time of day with its age."""
    return "of unknown age" if moment is None else f"{clock(moment)}, {_ago(moment, now)}"


def broker_count(view: View, number: int) -> str:
    """Return the number of positions, orders, quotes or trades, in words.

    It says "none" only where the broker has reported none.
    """
    if number:
        return f"({number})"
    if reason := unknown_reason(view):
        return f"({reason})"
    # A daemon that has an error may be missing events, whatever the error is.
    return "(none known)" if view.has_daemon_error else riskd_count(view, number)


def riskd_count(view: View, number: int) -> str:
    """Return the number of riskd's own actions, in words.

    Without the state file, the actions from before the connection are not known.
    """
    if number:
        return f"({number})"
    if view.source is Source.NOTHING:
        return f"({unknown_reason(view)})"
    return "(none)" if view.events_only_since is None else "(none seen)"


def _ago(moment: datetime, now: datetime) -> str:
    return f"{age((now - moment).total_seconds())} ago"
