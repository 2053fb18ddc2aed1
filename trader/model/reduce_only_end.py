"""When an account of the reduce-only stage may open positions again.

The stage ends once no rule asks for it: at the latest with the day or the week whose loss or trades a rule counts, and
earlier once the loss is clearly smaller than the one at which it began.  The loss from a drawdown's floor belongs to
no day, so that only a higher equity ends its stage.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.formatting import dollars
from riskd.model.reduce_only import reduce_only_stage
from riskd.rules.builtin import daily_net_loss, daily_realized_loss, maximum_loss, weekly_limits
from riskd.rules.builtin.maximum_loss import published_floor
from riskd.rules.interface import Rule
from riskd.rules.reduce_only import LASTS
from trader.model.formatting import until
from trader.model.limit_usage import next_reset, reset_schedule, settings_in_force

_HUNDRED: Final = 100


class StageEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What ends the stage that one rule asks for, or all of them.

    :ivar at: when it ends at the latest; ``None`` if no time ends it.
    :ivar equity: above which equity it ends, in dollars, where no time ends it.
    :ivar conditions: what ends it before its time, in words.
    """

    at: datetime | None = None
    equity: Decimal | None = None
    conditions: tuple[str, ...] = ()

    def words(self, now: datetime) -> str:
        """Return until when or on what it lasts; empty if that is not known."""
        time = "" if self.at is None else f"until {until(self.at, now)}"
        condition = " and ".join(self.conditions)
        if not condition:
            return time
        return f"{time} or {condition}" if time else f"until {condition}"


def stage_end(state: AccountState, now: datetime) -> StageEnd | None:
    """Return what ends the account's stage; ``None`` if it may open positions."""
    stage = reduce_only_stage(state)
    if stage is None:
        return None
    if not _ENDS.keys() >= stage.reasons.keys():
        # What ends the stage that a plugin's rule asks for is not known.
        return StageEnd()
    ends = [_ENDS[rule_id](state, now) for rule_id in stage.reasons]
    times = [end.at for end in ends if end.at is not None]
    is_timed = len(times) == len(ends)
    # No condition ends it before its time where only the time ends what one of the rules asks for.
    has_conditions = not is_timed or all(end.conditions for end in ends)
    return StageEnd(
        at=max(times) if is_timed else None,
        equity=next((end.equity for end in ends if end.equity is not None), None),
        conditions=tuple(each for end in ends for each in end.conditions)
        if has_conditions
        else (),
    )


def _of_realized_loss(state: AccountState, now: datetime) -> StageEnd:
    rule, kind = daily_realized_loss.RULE, daily_realized_loss.Settings
    return _of_loss(rule, settings_in_force(state, rule.key, kind), Decimal(1), state, now)


def _of_net_loss(state: AccountState, now: datetime) -> StageEnd:
    rule, kind = daily_net_loss.RULE, daily_net_loss.Settings
    return _of_loss(rule, settings_in_force(state, rule.key, kind), LASTS, state, now)


def _of_loss(
    rule: Rule,
    settings: daily_realized_loss.Settings | daily_net_loss.Settings | None,
    lasts: Decimal,
    state: AccountState,
    now: datetime,
) -> StageEnd:
    """Return what ends the stage of a day's loss.

    :param lasts: down to which part of its threshold the loss keeps the account in the stage.
    """
    at = next_reset(state, now)
    if settings is None or settings.reduce_only_at is None:
        return StageEnd(at=at)
    loss = settings.loss_limit * settings.reduce_only_at / _HUNDRED * lasts
    (gauge,) = rule.gauges(state, settings, now)
    return StageEnd(at=at, conditions=(f"{gauge.name} below {dollars(loss)}",))


def _of_drawdown(state: AccountState, _now: datetime) -> StageEnd:
    settings = settings_in_force(state, maximum_loss.RULE.key, maximum_loss.Settings)
    floor = published_floor(state)
    if settings is None or settings.reduce_only_at is None or floor is None:
        return StageEnd()
    loss = settings.drawdown * settings.reduce_only_at / _HUNDRED * LASTS
    equity = floor.amount + settings.drawdown - loss
    return StageEnd(equity=equity, conditions=(f"equity above {dollars(equity)}",))


def _of_trades(state: AccountState, now: datetime) -> StageEnd:
    settings = settings_in_force(state, weekly_limits.RULE.key, weekly_limits.Settings)
    schedule = reset_schedule(state)
    if settings is None or schedule is None:
        return StageEnd()
    if weekly_limits.is_week_spent(state, settings):
        return StageEnd(at=schedule.week_end(now))
    return StageEnd(at=next_reset(state, now))


_ENDS: Final[dict[str, Callable[[AccountState, datetime], StageEnd]]] = {
    daily_realized_loss.RULE.rule_id: _of_realized_loss,
    daily_net_loss.RULE.rule_id: _of_net_loss,
    maximum_loss.RULE.rule_id: _of_drawdown,
    weekly_limits.RULE.rule_id: _of_trades,
}
"""The rules that ask for the stage, by their ids."""
