"""How much the numbers of a view can be trusted, as styles and words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from riskd.model.events import Status
from trader.model.formatting import age
from trader.model.limit_usage import LimitUsage, limit_usages
from trader.model.view import Source, View, is_current, unknown_reason


def shade(view: View, style: str) -> str:
    """Return ``style`` while the numbers are current, and a dimmed one when they are not."""
    return style if is_current(view) else "dim"


def freshness(view: View, moments: Iterable[datetime], now: datetime) -> str:
    """Return how old a panel's data is.

    :param moments: when each of what it shows was last heard of; none where nothing was.
    """
    if view.source is Source.NOTHING:
        return ""
    if view.source is Source.LAST_KNOWN:
        known_at = view.known_at
        return "age unknown" if known_at is None else f"known {_ago(known_at, now)}"
    last = max(moments, default=None)
    if last is None:
        return "" if unknown_reason(view) else "no change yet"
    return f"changed {_ago(last, now)}"


def measured(view: View, now: datetime) -> tuple[LimitUsage, ...]:
    """Return every limit in force, and how far the account is from it as far as that is known."""
    is_live = view.source is Source.LIVE
    return limit_usages(view.account, now, is_live=is_live, unknown_reason=unknown_reason(view))


def count(view: View, number: int) -> str:
    """Return how many there are of what the broker tells of, as far as it has."""
    if number:
        return f"({number})"
    if reason := unknown_reason(view):
        return f"({reason})"
    # Whatever the trouble is, events may be missing.
    is_in_trouble = view.daemon is not None and view.daemon.status is Status.ERROR
    return "(none known)" if is_in_trouble else own_count(view, number)


def own_count(view: View, number: int) -> str:
    """Return how many there are; without the file, that none was seen is all one can say."""
    if number:
        return f"({number})"
    if view.source is Source.NOTHING:
        return f"({unknown_reason(view)})"
    return "(none)" if view.events_only_since is None else "(none seen)"


def _ago(moment: datetime, now: datetime) -> str:
    return f"{age((now - moment).total_seconds())} ago"
