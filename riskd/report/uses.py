"""How much of each limit of a trading day was used at most.

A figure comes from each trade, which is exact, or from the journal's figures of each minute: what happened between two
minutes is not in those.  A limit whose use neither shows is unknown, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from riskd.journal.history import EquityLine
from riskd.model.account import AccountState, RiskState
from riskd.model.events import EnforcementAction
from riskd.model.money import ZERO
from riskd.report.happened import was_done
from riskd.report.held import held_problem, held_states
from riskd.report.levels import (
    OTHER_VERSION,
    Day,
    Point,
    convert,
    floor_points,
    level_at,
    name_of,
    rules_of,
)
from riskd.rules.builtin import (
    daily_net_loss,
    daily_profit_target,
    daily_realized_loss,
    daily_unrealized_loss,
    max_contracts,
    max_contracts_per_instrument,
    max_unrealized_profit,
    maximum_loss,
    trade_frequency_limit,
    weekly_limits,
)
from riskd.rules.interface import Gauge, Rule
from riskd.rules.registry import RULES
from riskd.rules.settings import Scope

BY_TRADE: Final = "each trade"
BY_MINUTE: Final = "each minute"

_WHOLE: Final = 100
"""Per cent."""

_NOT_KEPT: Final = "not journaled"
_NOT_BY_POSITION: Final = "not journaled for each position"
_NO_MINUTES: Final = "the journal has no equity of that day"
_RULES: Final = {rule.key: rule for rule in RULES}


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A limit of a day and how much of it was used at most.

    :ivar name: of the rule.
    :ivar limit: in its unit; ``None`` of a rule whose limits are no amounts.
    :ivar most: the most that was used, in its unit; ``None`` if it is unknown.
    :ivar at: when.
    :ivar basis: :data:`BY_TRADE` or :data:`BY_MINUTE`; of an unknown use the reason.
    :ivar acted_at: when riskd acted by the rule first; ``None`` if it did not.
    :ivar is_dry_run: whether it only said then what it would have done.
    """

    rule_id: str
    name: str
    limit: Decimal | None = None
    most: Decimal | None = None
    at: datetime | None = None
    unit: str = "$"
    basis: str = _NOT_KEPT
    acted_at: datetime | None = None
    is_dry_run: bool = False

    @property
    def share(self) -> Decimal | None:
        """The used share of the limit in whole per cent; not more than was used."""
        if not self.limit or self.most is None:
            return None
        return max(ZERO, self.most * 100 // self.limit)


def uses_of(day: Day, actions: Sequence[EnforcementAction]) -> list[Use]:
    """Return the use of each limit of a day, in the order of the rules' ids.

    :param actions: what riskd did on the day.
    """
    uses: list[Use] = []
    for key, table in rules_of(day).items():
        rule = _RULES.get(key)
        if rule is None:
            # A rule of the user's own.
            uses.append(Use(rule_id="", name=name_of(key)))
            continue
        uses += _uses_of_rule(day, rule, table)
    return [
        _with_action(each, [action for action in actions if action.rule_id == each.rule_id])
        for each in sorted(uses, key=lambda use: use.rule_id or "~")
    ]


def _with_action(use: Use, actions: Sequence[EnforcementAction]) -> Use:
    """Return a use with the first of its rule's actions, those of a dry run last."""
    if not actions:
        return use
    first = next(filter(was_done, actions), actions[0])
    basis = use.basis
    if basis == BY_MINUTE and (use.share or 0) < _WHOLE:
        basis = f"{BY_MINUTE}; riskd also acts between two"
    return msgspec.structs.replace(
        use, acted_at=first.timestamp, is_dry_run=not was_done(first), basis=basis
    )


def _uses_of_rule(day: Day, rule: Rule, table: Mapping[str, Any]) -> Iterator[Use]:
    measure = _MEASURES.get(rule.key)
    unknown = Use(rule_id=rule.rule_id, name=name_of(rule.key))
    settings: Any = convert(table, rule.settings_type)
    if settings is None:
        yield msgspec.structs.replace(unknown, basis=OTHER_VERSION)
    elif rule in _OF_HELD:
        yield from _most_held(day, rule, settings, unknown)
    elif rule is trade_frequency_limit.RULE:
        yield from _most_of_states(_traded_states(day), rule, settings, unknown)
    elif rule is weekly_limits.RULE:
        yield from _weekly(day, settings, unknown)
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


def _most_held(day: Day, rule: Rule, settings: Any, use: Use) -> Iterator[Use]:
    problem = held_problem(day)
    if problem:
        yield msgspec.structs.replace(use, basis=problem)
        return
    yield from _most_of_states(held_states(day), rule, settings, use)


def _traded_states(day: Day) -> Iterator[tuple[datetime, AccountState]]:
    """Yield the account at each execution that closed contracts."""
    times = {number: each.at for number, each in enumerate(day.executions) if each.pnl is not None}
    traded = AccountState(
        account_id=day.journaled.account_id,
        day_began=day.day.began,
        risk=RiskState(earlier_trades=times),
    )
    yield day.day.began, traded
    for at in times.values():
        yield at, traded


def _most_of_states(
    states: Iterable[tuple[datetime, AccountState]], rule: Rule, settings: Any, use: Use
) -> Iterator[Use]:
    """Yield the highest figure of each of a rule's gauges."""
    highest: dict[str, tuple[datetime, Gauge]] = {}
    for at, state in states:
        for gauge in rule.gauges(state, settings, at):
            known = highest.get(gauge.name)
            if known is None or (gauge.current or 0) > (known[1].current or 0):
                highest[gauge.name] = (at, gauge)
    for name, (at, gauge) in highest.items():
        yield msgspec.structs.replace(
            use,
            name=use.name if rule is max_contracts.RULE else f"{use.name}, {name}",
            limit=gauge.limit,
            most=gauge.current,
            at=at,
            unit=gauge.unit,
            basis=BY_TRADE,
        )


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


def _open_loss(day: Day, settings: daily_unrealized_loss.Settings, use: Use) -> Use:
    return _open(day, settings.scope is Scope.TOTAL, settings.loss_limit, -1, use)


def _open_profit(day: Day, settings: max_unrealized_profit.Settings, use: Use) -> Use:
    if settings.mode is max_unrealized_profit.Mode.BREAKEVEN:
        return use
    return _open(day, settings.scope is Scope.TOTAL, settings.profit_target, 1, use)


def _open(day: Day, is_total: bool, limit: Decimal, sign: int, use: Use) -> Use:
    if not is_total:
        return msgspec.structs.replace(use, limit=limit, basis=_NOT_BY_POSITION)
    points = [(each.at, sign * (each.equity - each.balance)) for each in day.counted]
    return _most(use, limit, points, BY_MINUTE)


def _weekly(day: Day, settings: weekly_limits.Settings, use: Use) -> Iterator[Use]:
    """Yield the use of each limit of the week, until the day's end."""
    today, account = day.day.key, day.journaled.account
    monday = today - timedelta(days=today.weekday())
    earlier = [each for key, each in account.days.items() if monday <= key < today]
    net = sum((each.net for each in earlier), ZERO)
    for name, limit, sign in (
        ("net loss", settings.loss_limit, -1),
        ("net profit", settings.profit_target, 1),
    ):
        if limit is not None:
            points = [(each.at, sign * (net + each.net_pnl)) for each in day.counted]
            named = msgspec.structs.replace(use, name=f"{use.name}, {name}")
            yield _most(named, limit, points, BY_MINUTE)
    most = settings.max_entries_and_exits
    if most is None:
        return
    ended = account.days.get(today)
    count = account.balance.entries_and_exits if ended is None else ended.entries_and_exits
    before = sum(each.entries_and_exits for each in earlier)
    for name, number, used in (("week", most.week, before + count), ("day", most.day, count)):
        if number is not None:
            yield msgspec.structs.replace(
                use,
                name=f"{use.name}, entries and exits of the {name}",
                limit=Decimal(number),
                most=Decimal(used),
                at=max((each.at for each in day.executions), default=day.day.began),
                unit="orders",
                basis=BY_TRADE,
            )


_OF_HELD: Final = (max_contracts.RULE, max_contracts_per_instrument.RULE)

_MEASURES: Final[Mapping[str, Callable[[Day, Any, Use], Use]]] = {
    daily_realized_loss.RULE.key: _realized_loss,
    daily_net_loss.RULE.key: _net_loss,
    daily_profit_target.RULE.key: _profit,
    maximum_loss.RULE.key: _largest_drawdown,
    daily_unrealized_loss.RULE.key: _open_loss,
    max_unrealized_profit.RULE.key: _open_profit,
}
