"""The connection: the daemon, its gateway, what it sent, and the state file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from trader.model.formatting import UNKNOWN
from trader.model.ui_state import UiState
from trader.model.view import Source, View
from trader.ui.header import when
from trader.ui.styled_text import Markup, cut, title, wrapped

_NAME: Final = 16


def heading(
    view: View, _ui_state: UiState, now: datetime, columns: int, rows: int
) -> list[Markup]:
    """Return what is known of the way from the broker to this screen, each part in a line or a few."""
    facts = list(_facts(view, now))
    for most in (3, 2, 1):
        lines = [title("Connection", columns)]
        for name, text in facts:
            lines += _fact(name, text, columns, most)
        if len(lines) <= rows:
            break
    return cut(lines, rows)


def _fact(name: str, text: str, columns: int, most: int) -> list[Markup]:
    told = wrapped("text", text, columns - _NAME, most)
    names = [name, *[""] * len(told)]
    return [[("dim", f"{name:<{_NAME}}"), *part] for name, part in zip(names, told, strict=False)]


def _facts(view: View, now: datetime) -> Iterator[tuple[str, str]]:
    yield "Source", _source(view)
    yield "Daemon", view.url or UNKNOWN
    said = view.daemon
    yield (
        "Its last word",
        f"{UNKNOWN} none was heard"
        if said is None
        else f"{said.status}, {when(said.timestamp, now)}: {said.message}",
    )
    yield "Gateway", view.gateway_name or f"{UNKNOWN} not heard of yet"
    yield "Enforcement", _enforcement(view)
    yield "Connected", _connected(view, now)
    yield "Reconnects", str(max(0, view.connections - 1))
    yield "Events", f"{view.events} received"
    yield (
        "Last event",
        f"{UNKNOWN} none yet"
        if view.last_event_at is None
        else f"{view.last_event}, {when(view.last_event_at, now)}",
    )
    yield "Unreadable", f"{view.dropped} messages"
    yield "State file", view.file_problem or _file(view, now)


def _source(view: View) -> str:
    if view.source is Source.LIVE:
        return "LIVE: the daemon tells what happens as it happens"
    known = "LAST KNOWN state" if view.source is Source.LAST_KNOWN else "nothing is known yet"
    next_try = (
        "connecting"
        if view.retry_in is None
        else f"next try in {max(0, math.ceil(view.retry_in))} s"
    )
    return f"{known}; {next_try}. {view.connection_problem}".strip()


def _enforcement(view: View) -> str:
    if view.is_dry_run is None:
        return f"{UNKNOWN} the daemon has not said"
    return "DRY RUN: breaches are told, nothing is done" if view.is_dry_run else "on"


def _connected(view: View, now: datetime) -> str:
    if view.connected_at is None:
        return f"{UNKNOWN} not yet"
    since = when(view.connected_at, now)
    return f"since {since}" if view.source is Source.LIVE else f"not now; last time at {since}"


def _file(view: View, now: datetime) -> str:
    if view.file_as_of is None:
        return f"{UNKNOWN} not read yet"
    return f"written {when(view.file_as_of, now)}"
