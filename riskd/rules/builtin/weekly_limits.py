"""RULE-016: what a week may lose and has to make, and how often it may trade.

P&L is the net P&L of the week (:mod:`riskd.model.ended_days`), with open P&L and after fees; each limit on it locks
the account until the week ends.  At a limit on entries and exits the account may only close what it holds: exits
stay allowed, and positions stay.  Sources: the weekly limits of Tradovate and the trade limits of TopstepX, in
November 2026.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.ended_days import schedule_of, week_entries_and_exits, week_net
from riskd.model.formatting import dollars
from riskd.model.lockouts import lock_of
from riskd.model.open_pnl import pnl_warnings
from riskd.rules.fills import checked_until_trades_come
from riskd.rules.interface import (
    Flatten,
    Gauge,
    Headroom,
    Kind,
    Lock,
    Rule,
    RuleResult,
    Trigger,
    recall,
    remember,
)
from riskd.rules.settings import RuleSettings, Table, Trades
from riskd.rules.tightness import Lower, WhenSet

_LOSS_LIMIT: Final = Decimal("2000.00")

_FILLING: Final = timedelta(seconds=2)
"""How long fills of an entry, and the position that it makes, may be reported after its first fill."""


class EntriesAndExits(Table, frozen=True, kw_only=True):
    """The table ``max_entries_and_exits``; without a value there may be any number."""

    week: Lower[Trades | None] = None
    day: Lower[Trades | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.week is None and self.day is None:
            raise ValueError("max_entries_and_exits: expected week or day, got neither")


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``weekly_limits``.

    :ivar loss_limit: dollars; a net loss of the week of as much is a breach.  By default $2,000, and none beside
        the other keys.
    :ivar profit_target: dollars; a net profit of the week of as much is a breach.
    :ivar max_entries_and_exits: from that many on the account may only close what it holds.
    """

    loss_limit: Lower[Decimal | None] = None
    profit_target: Lower[Decimal | None] = None
    max_entries_and_exits: WhenSet[EntriesAndExits | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.loss_limit, self.profit_target, self.max_entries_and_exits) == (None, None, None):
            msgspec.structs.force_setattr(self, "loss_limit", _LOSS_LIMIT)

    @property
    def needs_quotes(self) -> bool:
        """Whether a limit on the P&L is set: counts do not change by a quote."""
        return self.loss_limit is not None or self.profit_target is not None


class _Memory(msgspec.Struct, frozen=True):
    """What the rule remembers.

    :ivar begins: from when on the account may only close what it holds; ``None`` while it may trade more.
    """

    begins: datetime | None = None


@checked_until_trades_come
def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Lock the account at a limit on its P&L; let it only close at one on its trades."""
    if state.risk.is_listing:
        return RuleResult(reduce_only=None)
    known, now = recall(state, RULE.rule_id, _Memory), trigger.now
    spent = _spent(state, settings)
    memory = _Memory(known.begins or _begins(state, now)) if spent else _Memory()
    is_waiting = memory.begins is not None and now < memory.begins
    result = RuleResult(
        memory=remember(memory, known),
        # A count ends with the day or the week, even if nothing happens.
        wake_at=memory.begins if is_waiting else trigger.next_reset if spent else None,
        warnings=pnl_warnings(state, now) if settings.needs_quotes else (),
        reduce_only="" if is_waiting else spent,
    )
    reason = _reason(state, settings, is_certain=not result.warnings)
    if not reason:
        headroom = None if spent else _headroom(state, settings)
        return msgspec.structs.replace(result, headroom=headroom)
    if lock_of(state, RULE.rule_id, now) is not None:
        return result
    lock = Lock(until=schedule_of(state).week_end(now))
    return msgspec.structs.replace(result, commands=(Flatten(reason=reason, lock=lock),))


def _reason(state: AccountState, settings: Settings, *, is_certain: bool) -> str:
    """Return which limit on the P&L of the week is reached; empty if none is.

    :param is_certain: whether the P&L is known well enough to take a profit.
    """
    loss_limit, target = settings.loss_limit, settings.profit_target
    if loss_limit is None and target is None:
        return ""
    net = week_net(state)
    if loss_limit is not None and net <= -loss_limit:
        return f"Weekly net loss limit hit: {dollars(net)} (limit {dollars(loss_limit)})"
    if target is not None and net >= target and is_certain:
        return f"Weekly profit target hit: {dollars(net)} (target {dollars(target)})"
    return ""


def _headroom(state: AccountState, settings: Settings) -> Headroom:
    """Return how far the open P&L may move before the week is at a limit."""
    loss_limit, target, net = settings.loss_limit, settings.profit_target, week_net(state)
    return Headroom(
        down=None if loss_limit is None else net + loss_limit,
        up=None if target is None else target - net,
    )


def is_week_spent(state: AccountState, settings: Settings) -> bool:
    """Return whether the number of entries and exits of the week is reached."""
    most = settings.max_entries_and_exits
    if most is None or most.week is None:
        return False
    return week_entries_and_exits(state) >= most.week


def _spent(state: AccountState, settings: Settings) -> str:
    """Return which number of entries and exits is reached; empty if none is."""
    most = settings.max_entries_and_exits
    if most is None:
        return ""
    if is_week_spent(state, settings):
        return f"the week's limit of {most.week} entries and exits is reached"
    if most.day is not None and state.balance.entries_and_exits >= most.day:
        return f"the day's limit of {most.day} entries and exits is reached"
    return ""


def _begins(state: AccountState, now: datetime) -> datetime:
    """Return from when on the account may only close what it holds.

    What an entry has filled may stay, and all of that has to be known.
    """
    last = max(state.risk.results.values(), key=lambda each: each.at, default=None)
    is_entry = last is not None and last.leg is not None and not last.leg.is_exit
    return now + _FILLING if is_entry else now


def gauges(state: AccountState, settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return the net P&L and the entries and exits of the week, and those of the day."""
    net, most = week_net(state), settings.max_entries_and_exits
    figures = [
        ("net weekly loss", settings.loss_limit, -net, "$"),
        ("net weekly profit", settings.profit_target, net, "$"),
    ]
    if most is not None:
        week, day = week_entries_and_exits(state), state.balance.entries_and_exits
        figures += [
            ("entries and exits, week", _decimal(most.week), Decimal(week), "orders"),
            ("entries and exits, day", _decimal(most.day), Decimal(day), "orders"),
        ]
    return tuple(
        Gauge(name=name, limit=limit, current=current, unit=unit)
        for name, limit, current, unit in figures
        if limit is not None
    )


def _decimal(number: int | None) -> Decimal | None:
    return None if number is None else Decimal(number)


RULE: Final = Rule(
    "RULE-016",
    "weekly_limits",
    Settings,
    # Not on trades; see RULE-013.
    frozenset({Kind.POSITION, Kind.QUOTE, Kind.ACCOUNT}),
    check,
    gauges,
    # A loss that is realized during a cooldown must still end the week.
    runs_while_locked=True,
)
