"""How an account's locks end and its trading days begin.

Most of these functions return what ended the account's locks (``ClearedBy``), or ``None``.  They do not
announce it: the risk engine does, unless the rules lock the account again at once.
"""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec
from twisted.logger import Logger

from riskd.engine.tracked_account import TrackedAccount
from riskd.journal.audit_log import DAY
from riskd.model.account import AccountState, apply, with_locks
from riskd.model.day_report import report_day
from riskd.model.ended_days import with_ended_days
from riskd.model.equity import with_closed_days
from riskd.model.events import Action, ClearedBy, DailyReset, Event
from riskd.model.lockouts import ended_lock, lock_announcements, lock_of, locks_in_force
from riskd.model.money import ZERO
from riskd.model.trading_day import ResetSchedule
from riskd.rules.positions import opened_at

_log = Logger()

_MOST_DAYS: Final = 366
"""How many days of a daemon that did not run are looked at one by one."""


class Day(NamedTuple):
    """A trading day.

    :ivar schedule: the schedule that it follows.
    :ivar key: the date that it is named after.
    :ivar since: the moment that it was computed for; it may begin earlier.
    :ivar end: when it ends.
    """

    schedule: ResetSchedule
    key: date
    since: datetime
    end: datetime


def count_day(account: TrackedAccount, schedule: ResetSchedule, now: datetime) -> None:
    """Count the trades of the trading day of ``now``; announce no reset."""
    account.count_since(schedule.day_start(now))
    account.change_risk(day_key=schedule.day_key(now))


def count_first_day(account: TrackedAccount, schedule: ResetSchedule, now: datetime) -> None:
    """Count the trading day of ``now``, if none is counted yet."""
    if account.state.risk.day_key is None:
        count_day(account, schedule, now)


def ended_before_day(
    account: TrackedAccount, schedule: ResetSchedule, now: datetime, *, is_dry_run: bool
) -> bool:
    """Return whether the locks are over, and all ended before this trading day began.

    Their time was over while the daemon did not run or the machine slept.  A lock that ends with a day is
    ended by the reset (:func:`end_day`).
    """
    if end_locks(account, now, is_dry_run=is_dry_run) is None:
        return False
    began = schedule.day_start(now)
    ends = [lock.locked_until for lock in account.state_with_pending.lockouts.values()]
    return all(end is not None and end < began for end in ends)


def end_day(
    account: TrackedAccount, schedule: ResetSchedule, now: datetime, *, ends_locks: bool
) -> ClearedBy | None:
    """Begin a new trading day if it is time; return the reset if it ended the locks.

    The last one may have ended while the daemon did not run.

    :param ends_locks: whether it ends the locks that are over.
    """
    key, counted = schedule.day_key(now), account.state.risk.day_key
    if counted is None or key == counted:
        return None
    if key < counted:
        # The clock had been ahead, or the settings end the day at another time now.
        _log.error(
            "account {account}: the clock was set back, the day of {key} goes on",
            account=account.account_id,
            key=key,
        )
        count_day(account, schedule, now)
        return None
    began = schedule.day_start(now)
    ends = _ends_between(account.state, began, schedule)
    days = with_ended_days(account.state, [*ends, began], schedule)
    account.change_balance(with_closed_days(account.state, ends).balance, days)
    _note_days(account, [*ends, began], schedule)
    reset = _reset(account.state_with_pending, began, schedule, ends_locks=ends_locks)
    account.change_risk(day_key=key)
    account.announce(reset)
    return ClearedBy.DAILY_RESET if reset.lockouts_cleared else None


def _ends_between(state: AccountState, began: datetime, schedule: ResetSchedule) -> list[datetime]:
    """Return when days ended before the last one, which ends at ``began``."""
    ends: list[datetime] = []
    if state.day_began is not None:
        end = schedule.next_reset(state.day_began)
        while end < began and len(ends) < _MOST_DAYS:
            ends.append(end)
            end = schedule.next_reset(end)
    return ends


def _note_days(account: TrackedAccount, ends: list[datetime], schedule: ResetSchedule) -> None:
    """Keep the days that have ended in the journal, before their trades are dropped."""
    state = account.state_with_pending
    if state.day_began is None:
        return
    for began, ended in pairwise([state.day_began, *ends]):
        report = report_day(state, schedule.day_key(began), began, ended)
        account.note(DAY, **msgspec.structs.asdict(report))


def _reset(
    state: AccountState, began: datetime, schedule: ResetSchedule, *, ends_locks: bool
) -> DailyReset:
    """Return the reset that begins a day, with the figures of the day before."""
    ended = schedule.next_reset(state.day_began) if state.day_began else began
    counted = [
        trade.profit_and_loss
        for trade in state.trades.values()
        if (state.day_began is None or trade.execution_time >= state.day_began)
        and trade.execution_time < ended
    ]
    return DailyReset(
        reset_time=began,
        previous_pnl=sum(counted, ZERO),
        previous_trade_count=len(counted),
        lockouts_cleared=ends_locks and bool(state.lockouts) and not locks_in_force(state, began),
    )


def end_locks(account: TrackedAccount, now: datetime, *, is_dry_run: bool) -> ClearedBy | None:
    """Return the timer as what ended the locks, if none of them is in force."""
    state = account.state_with_pending
    # The rest of a flatten waits for a daemon that enforces; a lock does not wait for that.
    is_flattening = state.risk.flattening is not None and not is_dry_run
    if state.lockouts and not is_flattening and not locks_in_force(state, now):
        return ClearedBy.TIMER_EXPIRY
    return None


def lift_lock(account: TrackedAccount, rule_id: str, reason: str, now: datetime) -> bool:
    """End one rule's lock, unless it is the last one; return whether it is.

    The caller clears the account then.
    """
    state = account.state_with_pending
    drop_pending_locks(account, rule_id)
    lock = lock_of(state, rule_id, now)
    if lock is None:
        return False
    if len(locks_in_force(state, now)) == 1:
        return True
    if rule_id in state.lockouts:
        ended = ended_lock(lock, reason, now)
        after = apply(state, Event(state.account_id, ended))
        account.announce(*lock_announcements((ended,), after, now))
    return False


def drop_pending_locks(account: TrackedAccount, rule_id: str | None = None) -> None:
    """Take back the locks of a flatten in progress, which are not announced yet.

    :param rule_id: the rule whose lock is taken back; ``None`` takes back all.
    """
    plan = account.state.risk.flattening
    if plan is None or not (plan.locks or rule_id is None):
        return
    locks = tuple(lock for lock in plan.locks if rule_id is not None and lock.rule_id != rule_id)
    # Without a lock, the flatten goes on.
    action = plan.action if locks else Action.CLOSE_ALL_POSITIONS
    account.change_risk(flattening=msgspec.structs.replace(plan, action=action, locks=locks))


def leave_next_trades(account: TrackedAccount, now: datetime, *, are_over: bool = False) -> None:
    """Let a flatten of everything close only what there was when the locks ended.

    :param are_over: whether they end now, whatever their time is.
    """
    state = account.state_with_pending
    plan = state.risk.flattening
    if plan is None or plan.keep is not None:
        return
    ends = [lock.locked_until for lock in with_locks(state.lockouts, plan.locks).values()]
    if not are_over and (not ends or locks_in_force(state, now)):
        return
    # Ends are broker time, as are the times of opening.
    ended = now if None in ends else min(now, max(filter(None, ends), default=now))
    held = {
        position.contract_id: 0
        for position in state.open_positions
        if are_over or (opened := opened_at(position)) is None or opened <= ended
    }
    plan = msgspec.structs.replace(plan, keep=held, overtaken_at=ended)
    account.change_risk(flattening=plan)
