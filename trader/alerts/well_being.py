"""When a watchdog elsewhere may hear that all is well."""

from __future__ import annotations

from collections.abc import Collection

from riskd.model.clock_offset import ERROR as WRONG_CLOCK
from riskd.model.clock_offset import offset_words
from riskd.model.events import DaemonStatus, Status
from trader.model.view import View


def trouble_of(views: Collection[View], daemon: DaemonStatus | None, *, is_of_desk: bool) -> str:
    """Return why not all is well with a connected daemon; empty if it is.

    All is well while it runs, is in step and is heard, and this machine's clock is right.  Of a desk, each riskd that
    is not well is an alert; all is well while one of them is heard, which shows that relay and server are.

    :param views: of the accounts that are watched.
    :param daemon: the last status of the daemon.
    """
    if not is_of_desk and not _is_running(daemon):
        return "riskd is not RUNNING"
    if not views:
        return "no account is known"
    if is_of_desk and not any(_is_running(view.daemon) for view in views):
        return "no riskd of the desk is RUNNING"
    return next(filter(None, map(_trouble_of, views)), "")


def _is_running(daemon: DaemonStatus | None) -> bool:
    return daemon is not None and daemon.status is Status.RUNNING


def _trouble_of(view: View) -> str:
    """Return what is wrong with what is known of an account, or with the clock."""
    if view.events_only_since is not None:
        return f"the last known state cannot be read: {view.file_problem}"
    if view.clock_offset is None:
        return "the offset of this machine's clock is not known"
    return offset_words(view.clock_offset) if abs(view.clock_offset) > WRONG_CLOCK else ""
