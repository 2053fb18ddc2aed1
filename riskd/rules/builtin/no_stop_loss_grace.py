"""RULE-008: a position gets a stop in time, or it is closed."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserPosition, PositionType
from riskd.model.formatting import contract_name
from riskd.rules.interface import Flatten, Gauge, RuleResult, Trigger
from riskd.rules.settings import RuleSettings, Seconds
from riskd.rules.stops import protected_size

_OWN_RULE: Final = "RULE-008"


class Action(StrEnum):
    """What is done with a position that has no stop in time."""

    CLOSE_POSITION = "CLOSE_POSITION"


class Settings(RuleSettings, frozen=True, kw_only=True):
    """What ``no_stop_loss_grace`` may say.

    :ivar grace_period_seconds: how long a position may be without a stop that covers all of it.
    """

    grace_period_seconds: Seconds = 30
    action: Action = Action.CLOSE_POSITION


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The time that a position has for its stop.

    :ivar opened: when the position was opened, and
    :ivar side: which way it points: of another position there is another window.
    :ivar began: when the time began to run.
    :ivar is_covered: whether stops covered all of the position when it was last looked at.
    """

    opened: datetime
    side: PositionType
    began: datetime
    is_covered: bool = False


_DECODER: Final = msgspec.json.Decoder(dict[str, Window])


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close the positions whose time for a stop is over."""
    grace = timedelta(seconds=settings.grace_period_seconds)
    windows = _windows(state, grace, trigger.now)
    closings: list[Flatten] = []
    deadlines: list[datetime] = []
    for position in state.open_positions:
        window = windows[position.contract_id]
        deadline = window.began + grace
        if window.is_covered:
            continue
        if trigger.now >= deadline:
            closings.append(_closing(state, position, settings))
        else:
            deadlines.append(deadline)
    return RuleResult(
        commands=tuple(closings),
        memory=None if windows == _remembered(state) else msgspec.json.encode(windows).decode(),
        wake_at=min(deadlines, default=None),
    )


def gauges(state: AccountState, settings: Settings, now: datetime) -> tuple[Gauge, ...]:
    """Say for how many seconds each position without a stop has been so."""
    grace = timedelta(seconds=settings.grace_period_seconds)
    windows = _windows(state, grace, now)
    return tuple(
        _gauge(state, position, windows[position.contract_id], settings, now)
        for position in state.open_positions
    )


def _gauge(
    state: AccountState,
    position: GatewayUserPosition,
    window: Window,
    settings: Settings,
    now: datetime,
) -> Gauge:
    name = f"{contract_name(state, position.contract_id)} without a stop"
    limit = Decimal(settings.grace_period_seconds)
    if window.is_covered:
        return Gauge(name=name, limit=limit, current=Decimal(0), unit="s", words="has a stop")
    seconds = Decimal(int((now - window.began).total_seconds()))
    return Gauge(name=name, limit=limit, current=max(Decimal(0), seconds), unit="s")


def _remembered(state: AccountState) -> dict[str, Window]:
    return _decode(state.risk.memory.get(_OWN_RULE, "{}"))


@lru_cache(maxsize=128)
def _decode(text: str) -> dict[str, Window]:
    return _DECODER.decode(text)


def _windows(state: AccountState, grace: timedelta, now: datetime) -> dict[str, Window]:
    """Return the window of each position; those of positions that are no more are forgotten."""
    known = _remembered(state)
    return {
        position.contract_id: _window(
            known.get(position.contract_id),
            position,
            is_covered=protected_size(state, position) >= position.size,
            grace=grace,
            now=now,
        )
        for position in state.open_positions
    }


def _window(
    known: Window | None,
    position: GatewayUserPosition,
    *,
    is_covered: bool,
    grace: timedelta,
    now: datetime,
) -> Window:
    if known is None or known.opened != position.created_at:
        began = position.created_at
    elif known.side is not position.type:
        # It went through flat, and no event says when it was opened on this side.
        began = position.updated_at
    elif known.is_covered and not is_covered and now >= known.began + grace:
        # It had its stop in time; what has happened to the stop or the size since is a new case.
        began = now
    else:
        began = known.began
    return Window(
        opened=position.created_at, side=position.type, began=began, is_covered=is_covered
    )


def _closing(state: AccountState, position: GatewayUserPosition, settings: Settings) -> Flatten:
    covered = protected_size(state, position)
    name = contract_name(state, position.contract_id)
    reason = (
        f"No stop for {position.size - covered} of {position.size} {name} "
        f"in time (limit {settings.grace_period_seconds} s)"
    )
    return Flatten(reason=reason, keep={position.contract_id: 0}, asks_broker_first=True)
