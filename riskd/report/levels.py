"""The rules of a trading day, and the levels on the curve of its equity.

Levels are the floor and the limits on losses.  One that does not follow from the journal is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

from riskd.journal.audit_log import OPERATOR_COMMAND
from riskd.journal.history import EquityLine, TradeReport
from riskd.model.account import AccountState
from riskd.model.balance import Balance
from riskd.model.equity import day_start_balance
from riskd.model.settings_changes import RULE_PREFIX
from riskd.report.journaled import Journaled, TradingDay
from riskd.rules.builtin import (
    daily_net_loss,
    daily_realized_loss,
    maximum_loss,
)

OTHER_VERSION: Final = "set by another version of riskd"

_MINUTE: Final = timedelta(minutes=1)
_Settings = TypeVar("_Settings")

Point = tuple[datetime, Decimal]


class Level(msgspec.Struct, frozen=True):
    """A line on the curve of the equity.

    :ivar name: ``floor``, or the limit's name.
    :ivar points: each moment at which it moved, and the equity in dollars from then on.
    """

    name: str
    points: Sequence[Point]


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A trading day with what limits are measured by.

    :ivar executions: of the day, without voided ones.
    :ivar has_voids: whether the broker voided others.
    :ivar minutes: its equity.
    """

    journaled: Journaled
    day: TradingDay
    executions: Sequence[TradeReport]
    has_voids: bool
    minutes: Sequence[EquityLine]

    @property
    def counted(self) -> Sequence[EquityLine]:
        """The figures whose P&L is that of this day.

        In its first minute riskd may have written those of the day before.
        """
        first = self.day.began + _MINUTE
        return [each for each in self.minutes if each.at >= first]

    @property
    def start(self) -> Decimal | None:
        """The balance at its beginning; ``None`` if it is unknown."""
        report = self.day.report
        return day_start_balance(self.journaled.account) if report is None else report.start


def rules_of(day: Day) -> dict[str, Mapping[str, Any]]:
    """Return the settings of each rule at the day's end, by the rule's key."""
    settings = day.journaled.settings_at(day.day.ended)
    return {
        name.removeprefix(RULE_PREFIX): table
        for name, table in settings.items()
        if name.startswith(RULE_PREFIX) and isinstance(table, dict)
    }


def convert(table: Mapping[str, Any] | None, kind: type[_Settings]) -> _Settings | None:
    """Return settings of a journal; ``None`` if another version of riskd wrote them."""
    try:
        return None if table is None else msgspec.convert(table, kind, strict=False)
    except (msgspec.ValidationError, ValueError, ArithmeticError):
        return None


def levels_of(day: Day) -> tuple[list[Level], list[str]]:
    """Return the lines on the curve of a day's equity, and why others are not known."""
    rules, found, problems = rules_of(day), list[Level](), list[str]()
    table = rules.get(maximum_loss.RULE.key)
    if table is not None:
        points, problem = floor_points(day, convert(table, maximum_loss.Settings))
        found += [Level("floor", points)] if points else []
        problems += [f"The floor is not shown: {problem}."] if problem else []
    start = day.start
    for rule, kind in (
        (daily_net_loss.RULE, daily_net_loss.Settings),
        (daily_realized_loss.RULE, daily_realized_loss.Settings),
    ):
        settings: Any = convert(rules.get(rule.key), kind)
        if settings is None:
            continue
        if start is None:
            problems.append(
                f"{name_of(rule.key)} is not shown: no balance at the day's beginning."
            )
        elif rule is daily_net_loss.RULE:
            found.append(Level(name_of(rule.key), _net_loss_points(day, settings, start)))
        else:
            found.append(Level(name_of(rule.key), [(day.day.began, start - settings.loss_limit)]))
    return found, problems


def _net_loss_points(day: Day, settings: daily_net_loss.Settings, start: Decimal) -> list[Point]:
    """Return the equity at which the net loss of a day reaches its limit."""
    if settings.trailing is not daily_net_loss.Trailing.EQUITY:
        return [(day.day.began, start - settings.loss_limit)]
    raised: list[Point] = [(day.day.began, start - settings.loss_limit)]
    for each in day.counted:
        level = start + each.high_net - settings.loss_limit
        if level > raised[-1][1]:
            raised.append((each.at, level))
    return raised


def floor_points(day: Day, settings: maximum_loss.Settings | None) -> tuple[list[Point], str]:
    """Return the points of the floor, see :class:`Level`; without any, the reason."""
    if settings is None:
        return [], OTHER_VERSION
    problem = _floor_problem(day, settings)
    if problem:
        return [], problem
    balance, began = day.journaled.account.balance, day.day.began
    firm = balance.firm_floor
    moments = [began]
    if firm is not None and began < firm.at < day.day.ended:
        moments.append(firm.at)
    peaks: list[Point] = []
    if settings.trailing is maximum_loss.Trailing.INTRADAY:
        peaks = [peak for peak in day.journaled.peaks if peak[0] < day.day.ended]
    moments += [at for at, _peak in peaks if at > began]
    points: list[Point] = []
    for moment in sorted(moments):
        peak = next((peak for at, peak in reversed(peaks) if at <= moment), None)
        amount = maximum_loss.floor_of(_state_at(day, moment, peak), settings)
        if amount is not None and (not points or points[-1][1] != amount):
            points.append((moment, amount))
    return points, "" if points else "no balance is known"


def _floor_problem(day: Day, settings: maximum_loss.Settings) -> str:
    balance = day.journaled.account.balance
    if settings.starting_balance is None and balance.first is None:
        return "no balance is known"
    if balance.payouts and settings.after_payout is not maximum_loss.AfterPayout.KEEP:
        return "a payout has moved it, and the journal does not say which"
    firm, given = balance.firm_floor, _figures_given(day)
    if len(given) > 1 or (given and firm is None):
        return "the firm's figure was given more than once, and the journal has the last one"
    if firm is not None and settings.trailing is maximum_loss.Trailing.INTRADAY:
        return "it follows the highest equity since the firm's figure, which the journal has not"
    return ""


def _figures_given(day: Day) -> list[datetime]:
    """Return when operators gave the firm's figure before the day's end."""
    return [
        line.at
        for line in day.journaled.log
        if line.kind == OPERATOR_COMMAND
        and line.data.get("command") == "floor"
        and line.at < day.day.ended
    ]


def _state_at(day: Day, moment: datetime, peak: Decimal | None) -> AccountState:
    """Return an account with what the floor followed at a moment."""
    balance, start = day.journaled.account.balance, day.start
    earlier = [
        each for each in day.journaled.days if each.close is not None and each.day < day.day.key
    ]
    closes = [each.close for each in earlier if each.close is not None]
    firm = balance.firm_floor
    if firm is not None:
        if firm.at > moment:
            firm = None
        else:
            since = [
                each.close
                for each in earlier
                if each.close is not None and each.day > day.day.local(firm.at).date()
            ]
            firm = msgspec.structs.replace(firm, close=max(since, default=None), peak=None)
    known = Balance(
        agreed=start if start is not None else max(closes, default=None),
        first=balance.first,
        earlier_close=max(closes, default=None),
        peak=peak,
        firm_floor=firm,
    )
    return AccountState(
        account_id=day.journaled.account_id, balance=known, day_began=day.day.began
    )


def level_at(points: Sequence[Point], moment: datetime) -> Decimal:
    """Return the amount of a level at a moment."""
    return next((amount for at, amount in reversed(points) if at <= moment), points[0][1])


def name_of(key: str) -> str:
    """Return the name of a rule in words."""
    return key.replace("_", " ")
