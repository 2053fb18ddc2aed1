"""RULE-009: when an account may trade.

Hours are wall-clock times: a change of the clocks moves them.  Hours whose end is not after their start
go over midnight and belong to the date on which they start; so does a holiday of theirs.  Whatever the
hours say, all is shut over the weekend, from Friday 16:00 to Sunday 17:00 in Chicago.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import count
from typing import Annotated, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from riskd.model.account import AccountState
from riskd.model.events import GatewayUserOrder, GatewayUserPosition
from riskd.model.formatting import contract_name
from riskd.model.lockouts import is_exit
from riskd.rules.affected import affected_orders
from riskd.rules.interface import Flatten, Gauge, Lock, RejectOrder, RuleResult, Trigger
from riskd.rules.settings import RuleSettings, Ticker

_EXCHANGE_ZONE: Final = ZoneInfo("America/Chicago")
_SHUTS: Final = time(16)
_REOPENS: Final = time(17)
_FRIDAY: Final = 4

WallTime = Annotated[
    str,
    msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description='a time such as "08:30"'),
]
"""A time of day, such as ``08:30``."""


class Action(StrEnum):
    """What is done with an order outside the hours."""

    CANCEL_ORDER = "CANCEL_ORDER"


def _check_hours(start: str, end: str) -> None:
    if start == end:
        raise ValueError(f"end: expected another time than start, got {end} for both")


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"timezone: expected an IANA name such as America/Chicago, got {name!r}"
        ) from None


class Hours(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hours of a day; the end is outside."""

    start: WallTime = "08:30"
    end: WallTime = "15:00"

    def __post_init__(self) -> None:
        _check_hours(self.start, self.end)


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hours of one product.

    :ivar timezone: that of the rule, if it says none.
    """

    start: WallTime
    end: WallTime
    timezone: str | None = None

    def __post_init__(self) -> None:
        _check_hours(self.start, self.end)
        if self.timezone is not None:
            _check_zone(self.timezone)


class Settings(RuleSettings, frozen=True, kw_only=True):
    """When an account may trade.

    :ivar timezone: the IANA name of the zone that ``allowed_hours`` are in.
    :ivar sessions: hours of their own for some roots; breaking these closes only that contract.
    :ivar holidays: dates on which no hours start.
    :ivar close_positions_at_session_end: whether what was opened within the hours is closed when they
        end; if not, only what is opened outside of them is.
    :ivar lockout_outside_session: whether a position outside of ``allowed_hours`` locks the account
        until they start again; if not, just that position is closed.
    """

    allowed_hours: Hours = Hours()
    timezone: str = "America/Chicago"
    action: Action = Action.CANCEL_ORDER
    sessions: Mapping[Ticker, Session] = {}
    holidays: tuple[date, ...] = ()
    close_positions_at_session_end: bool = True
    lockout_outside_session: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_zone(self.timezone)
        roots = [root.upper() for root in self.sessions]
        for root in roots:
            if roots.count(root) > 1:
                raise ValueError(f"sessions: expected each root once, got {root} twice")


class Window(NamedTuple):
    """Once when trading is allowed, in UTC; the end is outside."""

    start: datetime
    end: datetime


class Calendar(NamedTuple):
    """Hours, and the days on which they do not start."""

    start: time
    end: time
    zone: ZoneInfo
    holidays: frozenset[date]

    def window(self, now: datetime) -> Window | None:
        """Return the window that ``now`` lies in."""
        nearest = _next_window(self, now)
        return nearest if nearest.start <= now else None

    def next_start(self, now: datetime) -> datetime:
        """Return when trading is allowed again: the first start after ``now``."""
        return next(window.start for window in _windows(self, now) if window.start > now)

    def next_edge(self, now: datetime) -> datetime:
        """Return when trading begins or ends to be allowed, the first such time after ``now``."""
        nearest = _next_window(self, now)
        return nearest.end if nearest.start <= now else nearest.start

    def __str__(self) -> str:
        return f"{self.start:%H:%M} to {self.end:%H:%M} {self.zone.key}"


@lru_cache(maxsize=128)
def _next_window(calendar: Calendar, now: datetime) -> Window:
    """Return the first window that has not ended."""
    return next(window for window in _windows(calendar, now) if window.end > now)


def _windows(calendar: Calendar, now: datetime) -> Iterator[Window]:
    """Yield windows in their order without end, from yesterday on."""
    today = now.astimezone(calendar.zone).date()
    for ahead in count(-1):
        window = _window_of(calendar, today + timedelta(days=ahead))
        if window.start < window.end:
            yield window


@lru_cache(maxsize=1024)
def _window_of(calendar: Calendar, day: date) -> Window:
    """Return the window that starts on ``day``; it is empty when there is none."""
    start = _moment(day, calendar.start, calendar.zone)
    if day in calendar.holidays:
        return Window(start, start)
    last_day = day if calendar.start < calendar.end else day + timedelta(days=1)
    return _without_weekend(Window(start, _moment(last_day, calendar.end, calendar.zone)))


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close what is held and cancel what is ordered outside the hours.

    Being flat outside of them is no breach.  What closes a position may work.
    """
    now = trigger.now
    calendars = _Calendars(state, settings)
    outside = [
        position
        for position in state.open_positions
        if _is_breach(position, calendars.of(position.contract_id), settings, now)
    ]
    closing = _closing(state, settings, calendars, outside, now)
    closed = {position.contract_id for position in outside}
    rejections = (
        _rejection(state, order, calendars)
        for order in affected_orders(state, trigger)
        # Closing a position cancels the orders of its contract.
        if order.contract_id not in closed
        and not is_exit(state, order)
        and calendars.of(order.contract_id).window(now) is None
    )
    closes_all = any(flatten.keep is None for flatten in closing)
    return RuleResult(
        commands=closing if closes_all else (*closing, *rejections),
        wake_at=_next_edge(state, calendars, now),
        warnings=_warnings(state, settings),
    )


def gauges(_state: AccountState, settings: Settings, now: datetime) -> tuple[Gauge, ...]:
    """Say for each hours whether trading is allowed, and until when that is so."""
    calendars = {"": _calendar_of_account(settings)} | {
        root.upper(): _calendar_of_root(settings, session)
        for root, session in settings.sessions.items()
    }
    return tuple(
        Gauge(name=f"trading hours {root}".strip(), words=_words(calendar, now))
        for root, calendar in calendars.items()
    )


class _Calendars:
    """Which calendar a contract goes by."""

    def __init__(self, state: AccountState, settings: Settings) -> None:
        self._state = state
        self._account = _calendar_of_account(settings)
        self._roots = {
            root.upper(): _calendar_of_root(settings, session)
            for root, session in settings.sessions.items()
        }

    def of(self, contract_id: str) -> Calendar:
        root = self._state.root(contract_id)
        return self._account if root is None else self._roots.get(root.upper(), self._account)

    def is_of_account(self, contract_id: str) -> bool:
        root = self._state.root(contract_id)
        return root is None or root.upper() not in self._roots


def _calendar_of_account(settings: Settings) -> Calendar:
    hours = settings.allowed_hours
    return _calendar(hours.start, hours.end, settings.timezone, settings.holidays)


def _calendar_of_root(settings: Settings, session: Session) -> Calendar:
    zone = session.timezone or settings.timezone
    return _calendar(session.start, session.end, zone, settings.holidays)


@lru_cache(maxsize=128)
def _calendar(start: str, end: str, zone: str, holidays: tuple[date, ...]) -> Calendar:
    return Calendar(
        start=time.fromisoformat(start),
        end=time.fromisoformat(end),
        zone=ZoneInfo(zone),
        holidays=frozenset(holidays),
    )


def _is_breach(
    position: GatewayUserPosition, calendar: Calendar, settings: Settings, now: datetime
) -> bool:
    if calendar.window(now) is not None:
        return False
    return settings.close_positions_at_session_end or calendar.window(position.created_at) is None


def _closing(
    state: AccountState,
    settings: Settings,
    calendars: _Calendars,
    outside: Iterable[GatewayUserPosition],
    now: datetime,
) -> tuple[Flatten, ...]:
    """Return what closes the positions that are ``outside``; all of them at once if it locks."""
    closings: list[Flatten] = []
    for position in outside:
        calendar = calendars.of(position.contract_id)
        name = contract_name(state, position.contract_id)
        reason = f"{position.size} {name} held outside trading hours ({calendar})"
        if calendars.is_of_account(position.contract_id) and settings.lockout_outside_session:
            return (Flatten(reason=reason, lock=Lock(until=calendar.next_start(now))),)
        closings.append(Flatten(reason=reason, keep={position.contract_id: 0}))
    return tuple(closings)


def _rejection(state: AccountState, order: GatewayUserOrder, calendars: _Calendars) -> RejectOrder:
    name = contract_name(state, order.contract_id)
    reason = (
        f"Order to {order.side.name.lower()} {order.size} {name} outside trading hours "
        f"({calendars.of(order.contract_id)})"
    )
    return RejectOrder(reason=reason, order_id=order.id)


def _next_edge(state: AccountState, calendars: _Calendars, now: datetime) -> datetime | None:
    """Return when what is held or ordered has to be looked at again, though nothing happens."""
    concerned = {calendars.of(position.contract_id) for position in state.open_positions}
    concerned |= {calendars.of(order.contract_id) for order in state.working_orders}
    return min([calendar.next_edge(now) for calendar in concerned], default=None)


def _warnings(state: AccountState, settings: Settings) -> tuple[str, ...]:
    if not settings.sessions:
        return ()
    return tuple(
        f"{position.contract_id}: symbol unknown, the account's hours are taken for its own"
        for position in state.open_positions
        if state.root(position.contract_id) is None
    )


def _words(calendar: Calendar, now: datetime) -> str:
    edge = calendar.next_edge(now).astimezone(calendar.zone)
    word = "open" if calendar.window(now) else "closed"
    return f"{word} until {edge:%a %Y-%m-%d %H:%M} {calendar.zone.key}"


def _moment(day: date, wall: time, zone: ZoneInfo) -> datetime:
    # A time that the clock skips is counted as if it had not; one that it repeats, the first time.
    return datetime.combine(day, wall, tzinfo=zone).astimezone(UTC)


def _without_weekend(window: Window) -> Window:
    """Cut off what lies in the weekend; that is longer than a window, so one piece is left at most."""
    day = window.start.astimezone(_EXCHANGE_ZONE).date()
    friday = day + timedelta(days=(_FRIDAY - day.weekday()))
    shuts = _moment(friday, _SHUTS, _EXCHANGE_ZONE)
    reopens = _moment(friday + timedelta(days=2), _REOPENS, _EXCHANGE_ZONE)
    if shuts <= window.start < reopens:
        return Window(reopens, window.end)
    if window.start < shuts < window.end:
        return Window(window.start, shuts)
    return window
