"""A commitment: what would loosen an account's settings waits.

Like an unlock, it is kept among the limits in force: there the journal, the published copy and the consoles
find it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec

from riskd.model.account import AccountState, Limit
from riskd.model.trading_day import ResetSchedule

COMMITMENT: Final = "COMMITMENT"
"""The name of the commitment among the limits in force, in the place of a rule's id."""

COMMITMENT_KEY: Final = "commitment"

DAILY_RESET: Final = "daily_reset"

MOST_DAYS: Final = 30
"""The longest wait."""

UNLOCK: Final = "unlock"
"""The name of a wait for an operator's unlock; the others are names of settings."""

ACCOUNT: Final = "account"
"""The name of a wait for the removal of the account itself."""

_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MICROSECOND: Final = timedelta(microseconds=1)


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Something that would loosen an account and does not hold yet.

    :ivar name: :data:`UNLOCK`, :data:`ACCOUNT`, or the name of the settings as
        :func:`riskd.config.known_settings.known_settings` has it.
    :ivar old: the settings that stay in force meanwhile, as JSON; of an unlock the reason.
    :ivar number: tells several earlier settings of one rule apart, from 2 on.
    :ivar asked_at: when it was asked for, in the broker's time.
    :ivar until: when it may hold; ``None`` while the broker's time is not known.
    :ivar sentence: what waits, in words.
    :ivar operator: the user of the operating system who asked.
    :ivar is_over: whether the time has passed, and only a restart is missing.
    """

    name: str
    old: str
    number: int = 2
    asked_at: datetime
    until: datetime | None = None
    sentence: str = ""
    operator: str = ""
    is_over: bool = False


class Commitment(msgspec.Struct, frozen=True, kw_only=True):
    """The commitment of an account.

    :ivar loosen_after: how long what loosens waits, as the configuration has it last; empty: not at all.
    :ivar is_dry_run: whether riskd does not enforce, and that does not wait.
    :ivar waits: what waits, in the order in which it was asked for.
    """

    loosen_after: str = ""
    is_dry_run: bool = False
    waits: tuple[Wait, ...] = ()

    @property
    def terms(self) -> tuple[str, ...]:
        """All times in force: an earlier one, too, while its change waits."""
        earlier = (each.old for each in self.waits if each.name == COMMITMENT_KEY)
        return tuple(dict.fromkeys(filter(None, (*earlier, self.loosen_after))))

    @property
    def limits(self) -> dict[str, Limit]:
        """The commitment among the limits in force; empty if there is none."""
        if not self.loosen_after and not self.waits:
            return {}
        return {COMMITMENT: Limit(COMMITMENT_KEY, msgspec.json.encode(self).decode())}

    def waiting(self, name: str) -> tuple[Wait, ...]:
        """Return the waits of a name."""
        return tuple(each for each in self.waits if each.name == name)


NO_COMMITMENT: Final = Commitment()

_UNREADABLE: Final = Commitment(loosen_after=DAILY_RESET)
"""Stands for a commitment that makes no sense: it must not end because somebody has damaged its row."""


def commitment_of(state: AccountState) -> Commitment:
    """Return the commitment of an account; one without terms if there is none.

    One that cannot be read counts as one until the daily reset.
    """
    limit = state.limits.get(COMMITMENT)
    return NO_COMMITMENT if limit is None else _decode(limit.settings)


# Screens ask for it each time that they are drawn, and it seldom changes.
@lru_cache(maxsize=64)
def _decode(text: str) -> Commitment:
    try:
        known = msgspec.json.decode(text, type=Commitment)
        for each in known.terms:
            duration(each)
    except (msgspec.MsgspecError, ValueError):
        return _UNREADABLE
    return known


def duration(loosen_after: str) -> timedelta | None:
    """Return a time such as ``8h``; ``None`` for :data:`DAILY_RESET`.

    :raises ValueError: it is neither.
    """
    if loosen_after == DAILY_RESET:
        return None
    found = _DURATION.fullmatch(loosen_after)
    length = timedelta.max
    if found:
        length = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if length > timedelta(days=MOST_DAYS):
        raise ValueError(
            f'expected "daily_reset", or a time such as "8h", "90m" or "2d" of up to {MOST_DAYS} days, '
            f"got {loosen_after[:40]!r}"
        )
    return length


def end_of_wait(terms: Iterable[str], now: datetime, schedule: ResetSchedule) -> datetime:
    """Return when what is asked for now may hold: after the longest of the terms.

    :param schedule: the daily reset in force.
    """
    ends = [now]
    for each in terms:
        length = duration(each)
        ends.append(schedule.next_reset(now) if length is None else now + length)
    return max(ends)


def end_of_day_after(moment: datetime, schedule: ResetSchedule) -> datetime:
    """Return the first daily reset that is not before a moment."""
    return schedule.next_reset(moment - _MICROSECOND)


def is_sooner(new: str, old: str) -> bool:
    """Return whether what loosens may hold sooner by a new term; empty is no term.

    A daily reset may come sooner or later than any time, and so may a term that makes no sense.
    """
    if not old or new == old:
        return False
    try:
        lengths = (duration(new) if new else timedelta(), duration(old))
    except ValueError:
        return True
    return None in lengths or lengths[0] < lengths[1]  # type: ignore[operator]
