"""Which limits a trading day had, and how much of each was used.

Those on losses, and the floor, are lines on the curve of its equity.

A figure comes from each trade, which is exact, or from the journal's figures of each minute: what happened between two
minutes is not in those.  A limit whose use neither shows is unknown, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

from riskd.journal.audit_log import OPERATOR_COMMAND
from riskd.journal.history import EquityLine, TradeReport
from riskd.model.account import AccountState
from riskd.model.balance import Balance
from riskd.model.equity import day_start_balance
from riskd.model.events import EnforcementAction
from riskd.model.formatting import dollars
from riskd.model.money import ZERO
from riskd.model.settings_changes import RULE_PREFIX
from riskd.report.journaled import Journaled, TradingDay
from riskd.rules.builtin import (
    daily_net_loss,
    daily_profit_target,
    daily_realized_loss,
    maximum_loss,
)
from riskd.rules.interface import Rule
from riskd.rules.registry import RULES

BY_TRADE: Final = "each trade"
BY_MINUTE: Final = "each minute"

_NOT_KEPT: Final = "not journaled"
_NO_MINUTES: Final = "the journal has no equity of that day"
_OTHER_VERSION: Final = "set by another version of riskd"

_MINUTE: Final = timedelta(minutes=1)
_RULES: Final = {rule.key: rule for rule in RULES}
_Settings = TypeVar("_Settings")

Point = tuple[datetime, Decimal]


class Level(msgspec.Struct, frozen=True):
    """A line on the curve of the equity.

    :ivar name: ``floor``, or the limit's name.
    :ivar points: from when on it was where, in dollars of equity.
    """

    name: str
    points: Sequence[Point]


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of a day and how much of it was used at most.

    :ivar name: of the rule.
    :ivar limit: in dollars; ``None`` of a rule whose limits are no amounts.
    :ivar most: the most that was used, in dollars; ``None`` if it is unknown.
    :ivar at: when.
    :ivar basis: :data:`BY_TRADE` or :data:`BY_MINUTE`; of an unknown use the reason.
    :ivar acted_at: when riskd acted by the rule first; ``None`` if it did not.
    """

    rule_id: str
    name: str
    limit: Decimal | None = None
    most: Decimal | None = None
    at: datetime | None = None
    basis: str = _NOT_KEPT
    acted_at: datetime | None = None

    @property
    def share(self) -> Decimal | None:
        """The used share of the limit in whole per cent; not more than was used."""
        if not self.limit or self.most is None:
            return None
        return max(ZERO, self.most * 100 // self.limit)


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A trading day with what limits are measured by.

    :ivar executions: of the day, without voided ones.
    :ivar minutes: its equity.
    """

    journaled: Journaled
    day: TradingDay
    executions: Sequence[TradeReport]
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


def _convert(table: Mapping[str, Any] | None, kind: type[_Settings]) -> _Settings | None:
    try:
        return None if table is None else msgspec.convert(table, kind, strict=False)
    except (msgspec.ValidationError, ValueError, ArithmeticError):
        return None


def levels_of(day: Day) -> tuple[list[Level], list[str]]:
    """Return the lines on the curve of a day's equity, and why others are not known."""
    rules, found, problems = rules_of(day), list[Level](), list[str]()
    table = rules.get(maximum_loss.RULE.key)
    if table is not None:
        points, problem = floor_points(day, _convert(table, maximum_loss.Settings))
        found += [Level("floor", points)] if points else []
        problems += [f"The floor is not shown: {problem}."] if problem else []
    start = day.start
    for rule, kind in (
        (daily_net_loss.RULE, daily_net_loss.Settings),
        (daily_realized_loss.RULE, daily_realized_loss.Settings),
    ):
        settings: Any = _convert(rules.get(rule.key), kind)
        if settings is None:
            continue
        if start is None:
            problems.append(f"{_name(rule.key)} is not shown: no balance at the day's beginning.")
        elif rule is daily_net_loss.RULE:
            found.append(Level(_name(rule.key), _net_loss_points(day, settings, start)))
        else:
            found.append(Level(_name(rule.key), [(day.day.began, start - settings.loss_limit)]))
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
    """Return from when on the floor was where; without any, the reason."""
    if settings is None:
        return [], _OTHER_VERSION
    problem = _floor_problem(day, settings)
    if problem:
        return [], problem
    balance, began = day.journaled.account.balance, day.day.began
    firm = balance.firm_floor
    moments = [began]
    if firm is not None and began < firm.at < day.day.ended:
        moments.append(firm.at)
    peaks = _peaks(day) if settings.trailing is maximum_loss.Trailing.INTRADAY else []
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


def _peaks(day: Day) -> list[Point]:
    """Return each new high of the equity until the day's end, by each minute."""
    peaks: list[Point] = []
    for each in day.journaled.equity(None, day.day.ended):
        if not peaks or each.equity > peaks[-1][1]:
            peaks.append((each.at, each.equity))
    return peaks


# How much of each limit was used.


def uses_of(day: Day, actions: Sequence[EnforcementAction]) -> list[Use]:
    """Return the use of each limit of a day, in the order of the rules' ids.

    :param actions: what riskd did on the day.
    """
    uses: list[Use] = []
    for key, table in rules_of(day).items():
        rule = _RULES.get(key)
        if rule is None:
            # A rule of the user's own.
            uses.append(Use(rule_id="", name=_name(key)))
            continue
        uses += _uses_of_rule(day, rule, table)
    return [
        msgspec.structs.replace(each, acted_at=_first_action(each.rule_id, actions))
        for each in sorted(uses, key=lambda use: use.rule_id or "~")
    ]


def _first_action(rule_id: str, actions: Sequence[EnforcementAction]) -> datetime | None:
    return next((each.timestamp for each in actions if each.rule_id == rule_id), None)


def _uses_of_rule(day: Day, rule: Rule, table: Mapping[str, Any]) -> Iterator[Use]:
    measure = _MEASURES.get(rule.key)
    unknown = Use(rule_id=rule.rule_id, name=_name(rule.key))
    settings: Any = _convert(table, rule.settings_type)
    if settings is None:
        yield msgspec.structs.replace(unknown, basis=_OTHER_VERSION)
    elif measure is None:
        yield unknown
    else:
        yield measure(day, settings, unknown)


def _most(use: Use, limit: Decimal, points: Sequence[Point], basis: str) -> Use:
    """Return a use with the highest of all points."""
    if not points:
        return msgspec.structs.replace(use, limit=limit, basis=_NO_MINUTES)
    # The first moment of several with the same figure.
    at, most = max(points, key=lambda point: point[1])
    return msgspec.structs.replace(use, limit=limit, most=max(most, ZERO), at=at, basis=basis)


def _realized_loss(day: Day, settings: daily_realized_loss.Settings, use: Use) -> Use:
    total, points = ZERO, [(day.day.began, ZERO)]
    for each in day.executions:
        total += each.pnl or ZERO
        if settings.include_fees:
            total -= each.fees
        points.append((each.at, -total))
    return _most(use, settings.loss_limit, points, BY_TRADE)


def _net_loss(day: Day, settings: daily_net_loss.Settings, use: Use) -> Use:
    points = [(each.at, _loss_at(day, settings, each)) for each in day.counted]
    return _most(use, settings.loss_limit, points, BY_MINUTE)


def _loss_at(day: Day, settings: daily_net_loss.Settings, minute: EquityLine) -> Decimal:
    until = [each for each in day.executions if each.at <= minute.at]
    if settings.trailing is daily_net_loss.Trailing.EQUITY:
        return minute.high_net - minute.net_pnl
    high = ZERO
    if settings.trailing is daily_net_loss.Trailing.REALIZED:
        realized = ZERO
        for each in until:
            realized += (each.pnl or ZERO) - each.fees
            high = max(high, realized)
    fees = ZERO if settings.include_fees else sum((each.fees for each in until), ZERO)
    return high - minute.net_pnl - fees


def _profit(day: Day, settings: daily_profit_target.Settings, use: Use) -> Use:
    if settings.target is None:
        return use
    points = [(each.at, each.high_net) for each in day.counted]
    return _most(use, settings.target, points, BY_MINUTE)


def _largest_drawdown(day: Day, settings: maximum_loss.Settings, use: Use) -> Use:
    floors, problem = floor_points(day, settings)
    if problem:
        return msgspec.structs.replace(use, limit=settings.drawdown, basis=problem)
    points = [
        (each.at, settings.drawdown - (each.equity - level_at(floors, each.at)))
        for each in day.counted
    ]
    return _most(use, settings.drawdown, points, BY_MINUTE)


def level_at(points: Sequence[Point], moment: datetime) -> Decimal:
    """Return where a level was at a moment."""
    return next((amount for at, amount in reversed(points) if at <= moment), points[0][1])


_MEASURES: Final[Mapping[str, Callable[[Day, Any, Use], Use]]] = {
    daily_realized_loss.RULE.key: _realized_loss,
    daily_net_loss.RULE.key: _net_loss,
    daily_profit_target.RULE.key: _profit,
    maximum_loss.RULE.key: _largest_drawdown,
}


def _name(key: str) -> str:
    return key.replace("_", " ")


def limit_words(use: Use) -> str:
    """Return a limit for a person; ``-`` where it is no amount."""
    return "-" if use.limit is None else dollars(use.limit)
