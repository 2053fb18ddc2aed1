"""RULE-008: a position that has no stop for all its contracts in time is closed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import PositionType
from riskd.model.formatting import contract_name
from riskd.model.moments import first_known
from riskd.rules.interface import Command, Gauge, Kind, Rule, RuleResult, Trigger, recall, remember
from riskd.rules.positions import close_position, opened_at, protected_size
from riskd.rules.settings import RuleSettings, Seconds
from riskd.rules.tightness import Fixed, Lower


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``no_stop_loss_grace``.

    :ivar grace_period_seconds: how long a position may be without stops for all its contracts.
    """

    grace_period_seconds: Lower[Seconds] = 30
    action: Fixed[Literal["CLOSE_POSITION"]] = "CLOSE_POSITION"

    @property
    def grace(self) -> timedelta:
        """The same time, to calculate with."""
        return timedelta(seconds=self.grace_period_seconds)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The time in which a position has to get its stop.

    A position that is reversed gets a new one.

    :ivar opened: when the position was opened.
    :ivar began: when the time began.
    :ivar is_covered: whether stops covered all contracts at the last check.
    """

    opened: datetime
    side: PositionType
    began: datetime
    is_covered: bool = False


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close the positions whose time for a stop is over."""
    remembered = _remembered(state)
    known = _windows(state, settings, trigger.now, remembered)
    commands: list[Command] = []
    deadlines: list[datetime] = []
    for contract_id, window in known.items():
        if window.is_covered:
            continue
        position = state.positions[contract_id]
        deadline = window.began + settings.grace
        if trigger.now < deadline:
            deadlines.append(deadline)
            continue
        uncovered = position.size - protected_size(state, position)
        reason = (
            f"No stop for {uncovered} of {position.size} "
            f"{contract_name(state, position.contract_id)} "
            f"in time (limit {settings.grace_period_seconds} s)"
        )
        # The event of a stop may be lost, and a protected position must not be closed.
        commands.append(close_position(position, reason, asks_broker_first=True))
    return RuleResult(
        commands=tuple(commands),
        memory=remember(known, remembered),
        wake_at=min(deadlines, default=None),
    )


def gauges(state: AccountState, settings: Settings, now: datetime) -> tuple[Gauge, ...]:
    """Return for how many seconds each position has been without a stop."""
    return tuple(
        Gauge(
            name=f"{contract_name(state, contract_id)} without a stop",
            limit=Decimal(settings.grace_period_seconds),
            current=Decimal(0 if window.is_covered else _seconds_since(window.began, now)),
            unit="s",
            words="has a stop" if window.is_covered else "",
        )
        for contract_id, window in windows(state, settings, now).items()
    )


def _seconds_since(began: datetime, now: datetime) -> int:
    return int((now - began).total_seconds())


def _remembered(state: AccountState) -> dict[str, Window]:
    return recall(state, RULE.rule_id, dict[str, Window])


def windows(state: AccountState, settings: Settings, now: datetime) -> dict[str, Window]:
    """Return the window of each open position, by contract id."""
    return _windows(state, settings, now, _remembered(state))


def _windows(
    state: AccountState, settings: Settings, now: datetime, remembered: Mapping[str, Window]
) -> dict[str, Window]:
    found: dict[str, Window] = {}
    for position in state.open_positions:
        known = remembered.get(position.contract_id)
        is_covered = protected_size(state, position) >= position.size
        if known is None or known.opened != position.created_at:
            began = opened_at(position) or now
        elif known.side is not position.type:
            # The position was reversed, and no event has the time at which it went through flat.
            began = first_known(position.updated_at) or now
        elif known.is_covered and not is_covered and now >= known.began + settings.grace:
            # It had its stop in time.  A stop that is gone since, or a larger position, gets a new window.
            began = now
        else:
            began = known.began
        found[position.contract_id] = Window(
            opened=position.created_at,
            side=position.type,
            # A date ahead of the present counts as the present: the time must not last longer than it may.
            began=now if now < began else began,
            is_covered=is_covered,
        )
    return found


RULE: Final = Rule(
    "RULE-008",
    "no_stop_loss_grace",
    Settings,
    frozenset({Kind.POSITION, Kind.ORDER}),
    check,
    gauges,
)
