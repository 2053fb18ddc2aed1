"""RULE-009: the hours in which an account may trade.

Hours are wall-clock times, so a change of the clocks moves them.  Hours whose end is not after their start
go over midnight; they belong to the date on which they start, and so do holidays in a list.  Whatever the hours say,
all trading ends over the weekend, from Friday 16:00 to Sunday 17:00 in Chicago.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import count
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from riskd.model.account import AccountState
from riskd.model.formatting import contract_name
from riskd.model.lockouts import is_exit
from riskd.model.trading_day import ZONES_MEANT
from riskd.rules.holidays import ExchangeHolidays, Window, cme_holidays
from riskd.rules.interface import (
    Command,
    Flatten,
    Gauge,
    Kind,
    Lock,
    RejectOrder,
    Rule,
    RuleResult,
    Trigger,
)
from riskd.rules.positions import affected_orders, close_position, opened_at
from riskd.rules.settings import RuleSettings, Table, Ticker, expect_no_repeats
from riskd.rules.tightness import Fixed, WhenTrue, tighter_by

_EXCHANGE_ZONE: Final = ZoneInfo("America/Chicago")
_WEEKEND_BEGINS: Final = time(16)
_WEEKEND_ENDS: Final = time(17)
_FRIDAY: Final = 4
_MINUTES_OF_DAY: Final = 24 * 60

WallTime = Annotated[
    str,
    msgspec.Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description='a time such as "08:30"'),
]
"""A time of day, such as ``08:30``."""


class Hours(Table, frozen=True, kw_only=True):
    """The trading hours of a day; at ``end`` they are over."""

    start: WallTime = "08:30"
    end: WallTime = "15:00"

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise ValueError(f"end: expected another time than start, got {self.end} for both")


class Session(Hours, frozen=True, kw_only=True):
    """The trading hours of one product.

    :ivar timezone: by default that of the rule.
    """

    start: WallTime
    end: WallTime
    timezone: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.timezone is not None:
            _check_zone(self.timezone)


def _opens_no_longer(new: Any, old: Any, _key: str) -> bool:
    """Return whether the account's hours are within those of before."""
    # A window belongs to the date on which it starts, and so does a holiday in a list.
    keeps_date = old.holidays not in ((), "CME")
    return _is_within(new.allowed_hours, old.allowed_hours, keeps_date=keeps_date)


def _has_no_longer_sessions(new: Any, old: Any, _key: str) -> bool:
    """Return whether the hours of each root are within those of before.

    Hours of its own are looser than the account's: they lock nothing.
    """
    for root in (*new.sessions, *old.sessions):
        now, was = new.session(root), old.session(root)
        if was is None or new.calendar(now).zone != old.calendar(was).zone:
            return False
        keeps_date = old.holidays not in ((), "CME")
        if not _is_within(now or new.allowed_hours, was, keeps_date=keeps_date):
            return False
    return True


def _has_as_many_holidays(new: Any, old: Any, _key: str) -> bool:
    if "CME" in (new.holidays, old.holidays):
        return old.holidays in ((), new.holidays)
    return set(new.holidays) >= set(old.holidays)


def _is_within(inner: Hours, outer: Hours, *, keeps_date: bool) -> bool:
    """Return whether hours are within others, of their day or the one before.

    :param keeps_date: whether only the same day counts.
    """
    (start, end), (first, last) = _minutes(inner), _minutes(outer)
    shifts = (0,) if keeps_date else (0, _MINUTES_OF_DAY)
    return any(first <= start + shift and end + shift <= last for shift in shifts)


def _minutes(hours: Hours) -> tuple[int, int]:
    """Return start and end in minutes from the midnight before the start."""
    start, end = (
        moment.hour * 60 + moment.minute
        for moment in map(time.fromisoformat, (hours.start, hours.end))
    )
    return start, end if start < end else end + _MINUTES_OF_DAY


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``session_block_outside``.

    :ivar timezone: the IANA name of the zone of ``allowed_hours``.
    :ivar sessions: the hours of roots that have their own; a breach of these closes only that contract.
    :ivar holidays: dates on which no trading hours start; or ``CME`` for the holidays and the early closes of
        CME's Globex.
    :ivar close_positions_at_session_end: whether the rule also closes positions that were opened within
        the hours; otherwise only those that were opened outside.
    :ivar lockout_outside_session: whether a position outside ``allowed_hours`` locks the account until
        they start again; otherwise the rule only closes the position.
    :ivar exchange: the holidays of the exchange that ``holidays`` names.
    """

    FROM_FILES: ClassVar[tuple[str, ...]] = ("exchange",)

    allowed_hours: Annotated[Hours, tighter_by(_opens_no_longer)] = Hours()
    timezone: Fixed[str] = "America/Chicago"
    action: Fixed[Literal["CANCEL_ORDER"]] = "CANCEL_ORDER"
    sessions: Annotated[Mapping[Ticker, Session], tighter_by(_has_no_longer_sessions)] = {}
    holidays: Annotated[
        tuple[date, ...] | Literal["CME"],
        msgspec.Meta(description='dates such as [2026-12-25, 2027-01-01], or "CME"'),
        tighter_by(_has_as_many_holidays),
    ] = ()
    close_positions_at_session_end: WhenTrue[bool] = True
    lockout_outside_session: WhenTrue[bool] = True
    exchange: ExchangeHolidays | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_zone(self.timezone)
        expect_no_repeats("sessions", "root", [root.upper() for root in self.sessions])

    def with_files(self, _read: Callable[[str], str]) -> Self:
        """Return the settings with the holidays of the exchange."""
        exchange = cme_holidays() if self.holidays == "CME" else None
        return msgspec.structs.replace(self, exchange=exchange)

    def session(self, root: str | None) -> Session | None:
        """Return the hours of a root that has its own."""
        if not self.sessions:
            return None
        wanted = (root or "").upper()
        return next((each for name, each in self.sessions.items() if name.upper() == wanted), None)

    def calendar(self, session: Session | None) -> Calendar:
        """Return the calendar of a session, or that of the account."""
        hours = session or self.allowed_hours
        zone = (session and session.timezone) or self.timezone
        holidays = () if self.holidays == "CME" else self.holidays
        return Calendar(hours.start, hours.end, zone, holidays, self.exchange)


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        meant = ZONES_MEANT.get(name.casefold())
        hint = f"; did you mean {meant}?" if meant else ""
        raise ValueError(
            f"timezone: expected an IANA name such as America/Chicago, got {name!r}{hint}"
        ) from None


class Calendar(NamedTuple):
    """Trading hours, and the days on which they do not start.

    The fields are those of the settings.
    """

    start: str
    end: str
    zone: str
    holidays: tuple[date, ...]
    exchange: ExchangeHolidays | None = None

    def is_open(self, now: datetime) -> bool:
        """Return whether trading is allowed at ``now``."""
        return self.next_window(now).start <= now

    def next_window(self, now: datetime) -> Window:
        """Return the first time of trading that is not over."""
        windows = _windows_near(self, now.astimezone(UTC).date())
        return next(window for window in windows if window.end > now)

    def next_start(self, now: datetime) -> datetime:
        """Return the first start of trading after ``now``."""
        return next(window.start for window in _windows(self, now) if window.start > now)

    def next_edge(self, now: datetime) -> datetime:
        """Return the first start or end of trading after ``now``."""
        window = self.next_window(now)
        return window.end if window.start <= now else window.start

    def __str__(self) -> str:
        return f"{self.start} to {self.end} {self.zone}"


# A rule is checked at each order, and a window takes time zone conversions.
@lru_cache(maxsize=128)
def _windows_near(calendar: Calendar, day: date) -> tuple[Window, ...]:
    """Return the windows around a UTC day.

    For each moment of the day, the first that is not over is among them.
    """
    begins = datetime.combine(day, time(), tzinfo=UTC)
    last = begins + timedelta(days=1)
    near: list[Window] = []
    for window in _windows(calendar, begins):
        near.append(window)
        if window.end > last:
            break
    return tuple(near)


def _windows(calendar: Calendar, now: datetime) -> Iterator[Window]:
    """Yield windows in their order, from yesterday's on, without end."""
    today = now.astimezone(ZoneInfo(calendar.zone)).date()
    # Yesterday's window may go over midnight, and holidays may follow one another.
    for ahead in count(-1):
        yield from _windows_of(calendar, today + timedelta(days=ahead))


@lru_cache(maxsize=1024)
def _windows_of(calendar: Calendar, day: date) -> tuple[Window, ...]:
    """Return the parts of the window that starts on ``day``, in their order."""
    zone = ZoneInfo(calendar.zone)
    start = _moment(day, time.fromisoformat(calendar.start), zone)
    if day in calendar.holidays:
        return ()
    last_day = day if calendar.start < calendar.end else day + timedelta(days=1)
    end = _moment(last_day, time.fromisoformat(calendar.end), zone)
    window = _without_weekend(Window(start, end))
    closures = [] if calendar.exchange is None else calendar.exchange.closures(window)
    windows = [window]
    for closure in closures:
        windows = [part for each in windows for part in _without(each, closure)]
    return tuple(sorted(each for each in windows if each.start < each.end))


def _without(window: Window, closure: Window) -> tuple[Window, Window]:
    """Return the parts of a window before and after a closure; either may be empty."""
    return (
        Window(window.start, min(window.end, closure.start)),
        Window(max(window.start, closure.end), window.end),
    )


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close positions and cancel orders outside the trading hours.

    An account without positions is no breach, and an order that closes a position may work.
    """
    now, closed = trigger.now, set[str]()
    edges: list[datetime] = []
    for contract_id in state.active_contracts:
        window = _calendar_of(state, settings, contract_id).next_window(now)
        if window.start <= now:
            edges.append(window.end)
        else:
            edges.append(window.start)
            closed.add(contract_id)
    return RuleResult(
        commands=_commands(state, settings, trigger, closed) if closed else (),
        # Trading hours end although nothing happens, so the rule wants to be woken then.
        wake_at=min(edges, default=None),
        warnings=_warnings(state, settings, trigger.now),
    )


def gauges(_state: AccountState, settings: Settings, now: datetime) -> tuple[Gauge, ...]:
    """Return whether trading is allowed, and how long: for the account and each root."""
    calendars = {"trading hours": settings.calendar(None)}
    for root, session in settings.sessions.items():
        calendars[f"trading hours {root.upper()}"] = settings.calendar(session)
    return tuple(
        Gauge(name=name, words=_words(calendar, now)) for name, calendar in calendars.items()
    )


def _commands(
    state: AccountState, settings: Settings, trigger: Trigger, closed: Collection[str]
) -> tuple[Command, ...]:
    """Return what to do about the contracts outside their trading hours."""
    now = trigger.now
    commands: dict[str | int, Command] = {}
    for position in state.open_positions:
        if position.contract_id not in closed:
            continue
        session = settings.session(state.root(position.contract_id))
        calendar = settings.calendar(session)
        opened = opened_at(position)
        # Without a date, nothing says that it was opened within the hours.
        is_kept = (
            not settings.close_positions_at_session_end
            and opened is not None
            and calendar.is_open(opened)
        )
        if is_kept:
            continue
        name = contract_name(state, position.contract_id)
        reason = f"{position.size} {name} held outside trading hours ({_closed(calendar, now)})"
        if session is None and settings.lockout_outside_session:
            # The lock closes and cancels everything; other commands would only repeat that.
            return (Flatten(reason=reason, lock=Lock(until=calendar.next_start(now))),)
        commands[position.contract_id] = close_position(position, reason)
    for order in affected_orders(state, trigger):
        # Closing a position cancels the orders of its contract.
        is_handled = order.contract_id in commands or is_exit(state, order)
        if order.contract_id in closed and not is_handled:
            calendar = _calendar_of(state, settings, order.contract_id)
            name = contract_name(state, order.contract_id)
            what = f"{order.side.name.lower()} {order.size} {name}"
            reason = f"Order to {what} outside trading hours ({_closed(calendar, now)})"
            commands[order.id] = RejectOrder(reason=reason, order_id=order.id)
    return tuple(commands.values())


def _calendar_of(state: AccountState, settings: Settings, contract_id: str) -> Calendar:
    return settings.calendar(settings.session(state.root(contract_id)))


def _warnings(state: AccountState, settings: Settings, now: datetime) -> tuple[str, ...]:
    exchange = settings.exchange
    outdated: tuple[str, ...] = ()
    if exchange is not None and not exchange.are_known(now):
        known = f"the holidays of {settings.holidays} are known until {exchange.known_until}"
        outdated = (f"{known}, later ones do not count; a newer riskd may know them",)
    if not settings.sessions:
        return outdated
    return outdated + tuple(
        f"{position.contract_id}: symbol unknown, the account's hours are taken for its own"
        for position in state.open_positions
        if state.root(position.contract_id) is None
    )


def _words(calendar: Calendar, now: datetime) -> str:
    return f"{_open_until(calendar, now)} {calendar.zone}"


def _closed(calendar: Calendar, now: datetime) -> str:
    # A weekend or a holiday may lie within the hours, which then explain nothing.
    return f"{calendar}; {_open_until(calendar, now)}"


def _open_until(calendar: Calendar, now: datetime) -> str:
    edge = calendar.next_edge(now).astimezone(ZoneInfo(calendar.zone))
    word = "open" if calendar.is_open(now) else "closed"
    return f"{word} until {edge:%a %Y-%m-%d %H:%M}"


def _moment(day: date, wall: time, zone: ZoneInfo) -> datetime:
    # A wall-clock time that a change skips counts as if the clock had not been set yet; one that it
    # repeats counts the first time.
    return datetime.combine(day, wall, tzinfo=zone).astimezone(UTC)


def _without_weekend(window: Window) -> Window:
    """Return the part of ``window`` outside the weekend."""
    day = window.start.astimezone(_EXCHANGE_ZONE).date()
    friday = day + timedelta(days=(_FRIDAY - day.weekday()))
    begins = _moment(friday, _WEEKEND_BEGINS, _EXCHANGE_ZONE)
    ends = _moment(friday + timedelta(days=2), _WEEKEND_ENDS, _EXCHANGE_ZONE)
    if begins <= window.start < ends:
        return Window(ends, window.end)
    if window.start < begins < window.end:
        return Window(window.start, begins)
    return window


RULE: Final = Rule(
    "RULE-009",
    "session_block_outside",
    Settings,
    frozenset({Kind.POSITION, Kind.ORDER}),
    check,
    gauges,
)
