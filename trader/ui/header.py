"""The top of every page: what account this is, how far it can be trusted, and what must not be missed."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from riskd.model.events import LockoutSet, Status
from trader.model.activity import FeedLine
from trader.model.formatting import age, clock, countdown, until
from trader.model.view import Source, View, is_current, is_empty, is_stopping
from trader.ui.styled_text import Markup, length, spread, wrapped

_LINES_FOR_FILE_TROUBLE: Final = 3
"""Its sentence names a path, and says after it what to do."""

_OF_BEFORE: Final = "What is shown is from before; the broker has not said what is so now"


def header(view: View, now: datetime, width: int) -> list[Markup]:
    """Account, gateway, source and time of day; on a narrow screen the least of it goes first."""
    name: Markup = [("bar", f" riskd  account {view.account.account_id} ")]
    short: Markup = [("bar", f" account {view.account.account_id} ")]
    gateway = _gateway(view)
    time: Markup = [("bar", f" {clock(now)} ")]
    for left, right in (
        ([*name, *gateway], [*_source(view, now), *time]),
        ([*short, *gateway], [*_source(view, now), *time]),
        ([*short, *gateway], [*_source(view, now)[-1:], *time]),
        ([*short, *gateway], _source(view, now)[-1:]),
    ):
        if length(left) + length(right) < width:
            break
    line = spread(left, right, width)
    return [[("bar", part) if isinstance(part, str) else part for part in line]]


def _gateway(view: View) -> Markup:
    parts: Markup = []
    if view.gateway_name is not None:
        is_practice = view.gateway_name == "practice"
        parts.append(("practice" if is_practice else "bar", f" {view.gateway_name.upper()} "))
    if view.is_dry_run:
        parts.append(("warning", " DRY RUN "))
    return parts


def _source(view: View, _now: datetime) -> Markup:
    """Return whether this is live; the last part is what matters most."""
    daemon = view.daemon
    if view.source is Source.LIVE:
        if daemon is None or daemon.status is Status.RUNNING:
            return [("good", " LIVE ")]
        # The connection is live; what comes over it may not be, so nothing is said to be good.
        return [("bar", " LIVE "), ("alert", f" {daemon.status} ")]
    parts: Markup = []
    if view.source is Source.LAST_KNOWN:
        parts.append(("warning", " LAST KNOWN "))
    if view.retry_in is None:
        parts.append(("alert", " CONNECTING "))
    else:
        parts.append(("alert", f" RECONNECTING in {max(0, math.ceil(view.retry_in))} s "))
    return parts


def banner(view: View, now: datetime, width: int) -> list[Markup]:
    """What must not be missed: no connection, no file, a lockout, a daemon in trouble; what flashes.

    The line for what flashes is always there, so that nothing below it jumps.
    """
    lines: list[Markup] = []
    if view.source is not Source.LIVE:
        lines += wrapped("alert", view.connection_problem or "Connecting to daemon", width)
    if view.source is Source.LAST_KNOWN:
        lines += wrapped("warning", f"Last known state, {when(view.known_at, now)}", width)
    lines += wrapped("warning", view.file_problem, width, _LINES_FOR_FILE_TROUBLE)
    lockout = view.account.lockout
    if lockout is not None:
        end = lock_end(lockout, now)
        lines += wrapped("alert", f"LOCKED OUT {end}: {lockout.reason}", width)
    daemon = view.daemon
    if daemon is not None and daemon.status is Status.ERROR:
        # It stands until the daemon says otherwise: what is on the screen may be wrong meanwhile.
        lines += wrapped("alert", f"Daemon {daemon.status}: {daemon.message}", width)
        if view.source is Source.LIVE and not is_current(view) and not is_empty(view.account):
            lines += wrapped("warning", _OF_BEFORE, width)
    if is_stopping(daemon) and view.source is Source.LIVE:
        lines += wrapped("alert", "The daemon is stopping", width)
    return lines + _flash(view, width)


def _flash(view: View, width: int) -> list[Markup]:
    if view.flash is not None and not _is_shown_lock(view, view.flash):
        return wrapped(view.flash.style, view.flash.text, width)
    if view.account.lockout is not None:
        return wrapped(
            "loss", "Trade suggestions off; you can still close what you hold", width, 1
        )
    return [[]]


def lock_end(lockout: LockoutSet, now: datetime) -> str:
    """Return until when a lock lasts, and how long that still is."""
    if lockout.locked_until is None:
        return "until an operator unlocks it"
    left = (lockout.locked_until - now).total_seconds()
    # It has ended when the daemon says so, which may be down.
    told = f"{countdown(left)} left" if left > 0 else "time is up; the daemon ends it"
    return f"until {until(lockout.locked_until, now)} ({told})"


def _is_shown_lock(view: View, line: FeedLine) -> bool:
    """Tell whether a line tells of the lock that stands above it anyway."""
    lockout = view.account.lockout
    return line.kind == "lockout_set" and lockout is not None and lockout.reason in line.text


def when(moment: datetime | None, now: datetime) -> str:
    """Return a time of day with its age."""
    if moment is None:
        return "of unknown age"
    return f"{clock(moment)}, {age((now - moment).total_seconds())} ago"
