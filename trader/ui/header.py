"""The top of every page: account, source of the numbers, and urgent lines."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from riskd.model.events import LockoutSet, Status
from riskd.model.reduce_only import ReduceOnly, reduce_only_stage
from trader.model.formatting import clock, countdown, until, zone
from trader.model.limit_usage import unlocked_beyond
from trader.model.reduce_only_end import stage_end
from trader.model.view import View, is_current, is_empty, is_stopping
from trader.model.waits import next_wait
from trader.ui.disconnected import source_badges, source_lines
from trader.ui.styled_text import StyledLine, justify, length, wrap

_UNCONFIRMED: Final = "No news from the broker yet: these numbers may be old"
_LOCKED: Final = "New orders are canceled; you can still close what you hold"
_NOTHING_CANCELED: Final = "Dry run: no order is canceled and no position is closed"
_MAYBE_NOT: Final = "riskd may not be enforcing it now"

_ONLY_EXITS: Final = "New entries are canceled; you can only close what you hold"

_STAGE_LINES: Final = 2
"""Lines of the header about the stage."""

_NEXT_TRADE: Final = "a trade that leaves it there locks it again"


def header(view: View, now: datetime, width: int, whose: str = "") -> StyledLine:
    """Return account, gateway, source and time of day.

    Where room is short, the least important of them are left out.

    :param whose: stands in place of the account.
    """
    account = f"{whose or f'account {view.account.account_id}'} "
    own = f"{view.name} ({view.account.account_id}) " if view.name and not whose else account
    own_name: StyledLine = [("bar", f" riskd  {own}")]
    name: StyledLine = [("bar", f" riskd  {account}")]
    short_name: StyledLine = [("bar", f" {account}")]
    gateway, source = _gateway_badges(view), source_badges(view)
    time: StyledLine = [("bar", f" {clock(now)} ")]
    time_and_zone: StyledLine = [("bar", f" {clock(now)} {zone(now)} ")]
    for left, right in (
        ([*own_name, *gateway], [*source, *time_and_zone]),
        ([*own_name, *gateway], [*source, *time]),
        ([*name, *gateway], [*source, *time_and_zone]),
        ([*name, *gateway], [*source, *time]),
        ([*short_name, *gateway], [*source, *time]),
        ([*short_name, *gateway], [*source[-1:], *time]),
        ([*short_name, *gateway], source[-1:]),
    ):
        if length(left) + length(right) < width:
            break
    return justify(left, right, width, "bar")


def _gateway_badges(view: View) -> StyledLine:
    badges: StyledLine = []
    if view.gateway_name is not None:
        style = "practice" if view.gateway_name == "practice" else "bar"
        badges.append((style, f" {view.gateway_name.upper()} "))
    if view.is_dry_run:
        badges.append(("warning", " DRY RUN "))
    return badges


def banner(view: View, now: datetime, width: int) -> list[StyledLine]:
    """Return the urgent lines: source, lock, stage, unlock, wait, daemon and flash.

    The line of the flash is always there, so that nothing below it jumps.
    """
    lines = source_lines(view, now, width)
    lockout = view.account.lockout
    if lockout is not None:
        lines += wrap("alert", f"LOCKED OUT {lock_end(lockout, now)}: {lockout.reason}", width)
    stage = reduce_only_stage(view.account)
    if stage is not None and lockout is None:
        lines += _stage_lines(view, stage, now, width)
    if beyond := unlocked_beyond(view.account):
        sentence = f"Account was unlocked beyond its limit ({', '.join(beyond)}): {_NEXT_TRADE}"
        lines += wrap("warning", sentence, width)
    if waits := next_wait(view.account, now):
        lines += wrap("warning", waits, width, 1)
    return [*lines, *daemon_lines(view, width), *_flash(view, width)]


def _stage_lines(view: View, stage: ReduceOnly, now: datetime, width: int) -> list[StyledLine]:
    """Return how long the stage lasts, and as much of the reason as fits."""
    end = stage_end(view.account, now)
    words = "" if end is None else end.words(now)
    state = f"REDUCE ONLY {words}".strip()
    lines: list[StyledLine] = []
    for sentence in (
        f"{state}: {stage.reason} ({stage.rule_id})",
        f"{state}: {stage.reason}",
        state,
    ):
        lines = wrap("warning", sentence, width, _STAGE_LINES + 1)
        if len(lines) <= _STAGE_LINES:
            break
    return lines[:_STAGE_LINES]


def daemon_lines(view: View, width: int) -> list[StyledLine]:
    """Return what is wrong with the daemon."""
    lines, daemon = list[StyledLine](), view.daemon
    if daemon is not None and daemon.status is Status.ERROR:
        # It stays until the daemon reports that all is well: until then the numbers may be wrong.
        lines += wrap("alert", f"Daemon {daemon.status}: {daemon.message}", width)
        if view.is_live and not is_current(view) and not is_empty(view.account):
            lines += wrap("warning", _UNCONFIRMED, width)
    if is_stopping(daemon) and view.is_live:
        lines += wrap("alert", "The daemon is stopping: limits are not enforced", width)
    return lines


def _flash(view: View, width: int) -> list[StyledLine]:
    flash, lockout = view.flash, view.account.lockout
    # The lockout that is in force stands above anyway.
    is_repeated = (
        flash is not None
        and flash.kind == "lockout_set"
        and lockout is not None
        and lockout.reason in flash.text
    )
    if flash is not None and not is_repeated:
        return wrap(flash.style, flash.text, width)
    if lockout is not None:
        return wrap("loss", _effect(view, _LOCKED), width, 1)
    stage = reduce_only_stage(view.account)
    if stage is None:
        return [[]]
    effect = _NOTHING_CANCELED if stage.is_dry_run else _effect(view, _ONLY_EXITS)
    return wrap("caution", effect, width, 1)


def _effect(view: View, effect: str) -> str:
    """Return what happens to the trader's orders, as far as riskd enforces it."""
    if view.is_dry_run:
        return _NOTHING_CANCELED
    is_well = view.daemon is None or view.daemon.status is Status.RUNNING
    return effect if view.is_live and is_well else _MAYBE_NOT


def lock_end(lockout: LockoutSet, now: datetime) -> str:
    """Return until when a lockout lasts, and the time that is left."""
    if lockout.locked_until is None:
        return "until an operator unlocks it"
    left = (lockout.locked_until - now).total_seconds()
    # Only the daemon ends a lockout, and it may be down when the time is up.
    state = f"{countdown(left)} left" if left > 0 else "time is up; the daemon ends it"
    return f"until {until(lockout.locked_until, now)} ({state})"
