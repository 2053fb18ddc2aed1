"""The ended trading days of an account, and its week, for limits that span days.

A week begins with the daily reset on Sunday and ends with the next one: for the futures markets, with Friday's
close.  The figures of ended days are kept for two years.  A trade of an ended day that is known late, voided or
amended moves that day's figures, as long as its executions are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from operator import is_
from typing import Final, NamedTuple

import msgspec

from riskd.model.account import KEPT_RESULTS, AccountState
from riskd.model.balance import balance_at
from riskd.model.day_figures import (
    DayFigures,
    count_entries_and_exits,
    executed_between,
    net_of,
)
from riskd.model.equity import day_start_balance, net_pnl
from riskd.model.money import ZERO
from riskd.model.trading_day import DAY_LIMIT, ResetSchedule

_KEPT_DAYS: Final = timedelta(days=731)

_MARGIN: Final = timedelta(days=1, hours=2)
"""How much older than a day its kept executions are: where clocks are set, a day has 25 hours."""


def schedule_of(state: AccountState) -> ResetSchedule:
    """Return the daily reset in force, or the default one while that is unknown."""
    return _decode(_text_of(state))


def _text_of(state: AccountState) -> str:
    limit = state.limits.get(DAY_LIMIT)
    return "" if limit is None else limit.settings


# Rules ask for it at every check, and it seldom changes.
@lru_cache(maxsize=64)
def _decode(text: str) -> ResetSchedule:
    try:
        return msgspec.json.decode(text, type=ResetSchedule)
    except (msgspec.MsgspecError, ValueError):
        return ResetSchedule()


def with_ended_days(
    state: AccountState, ends: Iterable[datetime], schedule: ResetSchedule
) -> Mapping[date, DayFigures]:
    """Return the ended days before a daily reset, with those that end now.

    :param ends: when they ended, oldest first; several after a time in which the daemon did not run.
    """
    began = state.day_began
    if began is None:
        return state.days
    days, expected, results = dict(state.days), state.balance.expected, state.risk.results
    for start, end in pairwise([began, *ends]):
        executed = executed_between(results, start, end)
        days[schedule.day_key(start)] = DayFigures(
            net=net_of(executed.values()),
            entries_and_exits=count_entries_and_exits(executed),
            close=None if expected is None else balance_at(expected, results, end),
            flows=state.balance.flows if start == began else ZERO,
        )
    oldest = max(days) - _KEPT_DAYS
    return {key: each for key, each in days.items() if key >= oldest}


def with_day_again(
    state: AccountState, executed_at: datetime, late: Decimal = ZERO
) -> Mapping[date, DayFigures]:
    """Return the ended days after an execution of one has come or has changed.

    :param executed_at: when it was executed.
    :param late: what an execution has made that was not known when its day ended.
    """
    began, schedule = state.day_began, schedule_of(state)
    if began is None or not began - KEPT_RESULTS + _MARGIN <= executed_at < began:
        return state.days
    key, start = schedule.day_key(executed_at), schedule.day_start(executed_at)
    known = state.days.get(key, DayFigures())
    executed = executed_between(state.risk.results, start, schedule.next_reset(executed_at))
    figures = msgspec.structs.replace(
        known,
        net=net_of(executed.values()),
        entries_and_exits=count_entries_and_exits(executed),
        close=None if known.close is None else known.close + late,
    )
    return {**state.days, key: figures}


def end_of_day_balance(state: AccountState) -> Decimal | None:
    """Return the balance at the end of the last trading day, as it was then.

    Before riskd has seen a day end, it follows from the present balance.  ``None`` while no balance is known.
    """
    last = max((key for key, each in state.days.items() if each.close is not None), default=None)
    return day_start_balance(state) if last is None else state.days[last].close


def week_net(state: AccountState) -> Decimal:
    """Return the net P&L of the week in dollars, with open P&L."""
    return net_pnl(state) + sum((each.net for each in _days_of_week(state)), ZERO)


def week_entries_and_exits(state: AccountState) -> int:
    """Return the number of entries and exits of the week."""
    ended = sum(each.entries_and_exits for each in _days_of_week(state))
    return state.balance.entries_and_exits + ended


def best_and_total(state: AccountState) -> tuple[Decimal, Decimal]:
    """Return the best net P&L of an ended day, or 0, and that of all days.

    In dollars.  They count from the day of the last payout on.
    """
    is_paid = state.balance.flows < 0
    parts = (state.days, state.day_began, state.limits)
    known = _bests.get(state.account_id)
    # A rule may ask at each quote, and the ended days of two years are many: see riskd.model.equity.open_pnl().
    if known is not None and known.is_paid is is_paid and all(map(is_, known.parts, parts)):
        return known.found
    today = None if state.day_began is None else schedule_of(state).day_key(state.day_began)
    paid = [key for key, each in state.days.items() if each.flows < 0]
    since = max(paid, default=date.min)
    # Present figures of a day whose end is being written.
    nets = [
        each.net
        for key, each in state.days.items()
        if key >= since and (today is None or key < today) and not is_paid
    ]
    found = (max(nets, default=ZERO).max(ZERO), sum(nets, ZERO))
    _bests[state.account_id] = _Best(parts, is_paid, found)
    return found


class _Best(NamedTuple):
    parts: tuple[object, ...]
    is_paid: bool
    found: tuple[Decimal, Decimal]


_bests: Final[dict[int, _Best]] = {}
"""What :func:`best_and_total` has found last, and from what, by account id."""


def _days_of_week(state: AccountState) -> list[DayFigures]:
    """Return the ended days of the week, without the present day."""
    if state.day_began is None:
        return []
    keys = _keys_before(_text_of(state), state.day_began)
    return [state.days[key] for key in keys if key in state.days]


@lru_cache(maxsize=64)
def _keys_before(schedule: str, began: datetime) -> tuple[date, ...]:
    # By the text: to hash a schedule would take longer than all else that a quote needs here.
    today = _decode(schedule).day_key(began)
    return tuple([today - timedelta(days=number) for number in range(today.weekday(), 0, -1)])
