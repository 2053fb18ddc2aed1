"""The connection: daemon, gateway, received events and state file."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from riskd.model.clock_offset import ERROR, REMEDY, WARNING
from trader.model.formatting import UNKNOWN, zone
from trader.model.limit_usage import reset_schedule
from trader.model.ui_state import UiState
from trader.model.view import Source, View
from trader.ui.disconnected import retry_seconds, time_and_age
from trader.ui.styled_text import StyledLine, panel_title, truncate, wrap

_NAME: Final = 16
_CLOCK: Final = "Clock"
_MAX_LINES: Final = 3
"""Lines of a fact where there is room for all facts."""


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[StyledLine]:
    """Return the whole page, each fact in as many lines as there is room for."""
    facts = _facts(view, now)
    for max_lines in range(_MAX_LINES, 0, -1):
        lines = [panel_title("Connection", columns)]
        for name, text in facts:
            style = _clock_style(view) if name == _CLOCK else "text"
            lines += _fact(name, style, text, columns, max_lines)
        if len(lines) <= rows:
            break
    return truncate(lines, rows)


def _fact(name: str, style: str, text: str, columns: int, max_lines: int) -> list[StyledLine]:
    lines = wrap(style, text, columns - _NAME, max_lines)
    names = [name, *[""] * len(lines)]
    return [[("dim", f"{name:<{_NAME}}"), *line] for name, line in zip(names, lines, strict=False)]


def _facts(view: View, now: datetime) -> tuple[tuple[str, str], ...]:
    """Return name and text of each fact; what is not known is a dash with a reason."""
    status = view.daemon
    file = (
        f"{UNKNOWN} not read yet"
        if view.file_as_of is None
        else f"written {time_and_age(view.file_as_of, now)}"
    )
    return (
        ("Source", _source(view)),
        ("Daemon", view.url or UNKNOWN),
        (
            "Last status",
            f"{UNKNOWN} none received"
            if status is None
            else f"{status.status}, {time_and_age(status.timestamp, now)}: {status.message}",
        ),
        ("Gateway", view.gateway_name or f"{UNKNOWN} not known yet"),
        ("Enforcement", _enforcement(view)),
        ("Times", _times(view, now)),
        *([] if view.clock_offset is None else [(_CLOCK, _clock(view.clock_offset))]),
        ("Connected", _connected(view, now)),
        ("Reconnects", str(max(0, view.connections - 1))),
        ("Events", f"{view.events} received"),
        (
            "Last event",
            f"{UNKNOWN} none yet"
            if view.last_event_at is None
            else f"{view.last_event}, {time_and_age(view.last_event_at, now)}",
        ),
        ("Unreadable", f"{view.dropped} messages"),
        ("State file", view.file_problem or file),
    )


def _source(view: View) -> str:
    if view.is_live:
        return "LIVE: the daemon sends each event as it happens"
    known = "LAST KNOWN state" if view.source is Source.LAST_KNOWN else "nothing is known yet"
    seconds = retry_seconds(view)
    attempt = "connecting" if seconds is None else f"next try in {seconds} s"
    return f"{known}; {attempt}. {view.connection_problem}".strip()


def _enforcement(view: View) -> str:
    if view.is_dry_run is None:
        return f"{UNKNOWN} not reported by the daemon yet"
    return "DRY RUN: breaches are reported, nothing is enforced" if view.is_dry_run else "on"


def _times(view: View, now: datetime) -> str:
    """Return whose times the screen shows, and those of the trading day."""
    local = f"local, {zone(now)} (UTC{now.astimezone():%z})"
    schedule = reset_schedule(view.account)
    if schedule is None:
        return local
    reset = schedule.reset_time.strftime("%H:%M")
    return f"{local}; the trading day ends at {reset} in {schedule.time_zone}"


def _clock(offset: timedelta) -> str:
    """Return the offset of this machine's clock, and what to do about it."""
    where = "behind" if offset > timedelta() else "ahead of"
    seconds = f"{abs(offset.total_seconds()):,.1f}"
    if seconds == "0.0":
        return "as the broker's"
    difference = f"{seconds} s {where} the broker's"
    if abs(offset) <= WARNING:
        return difference
    level = "WARN" if abs(offset) <= ERROR else "ERROR"
    return f"{difference}. {level}: {REMEDY} (NTP)"


def _clock_style(view: View) -> str:
    offset = abs(view.clock_offset or timedelta())
    if offset <= WARNING:
        return "text"
    return "warning" if offset <= ERROR else "alert"


def _connected(view: View, now: datetime) -> str:
    if view.connected_at is None:
        return f"{UNKNOWN} not yet"
    since = time_and_age(view.connected_at, now)
    return f"since {since}" if view.is_live else f"not now; last time at {since}"
