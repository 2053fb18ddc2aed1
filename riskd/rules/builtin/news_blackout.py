"""RULE-017: no position and no order while news is published.

The times of the news are in a file, which is read with the configuration: at the start and at each reload.
The rule has no lock: what the news does not move may be traded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final, Self

import msgspec

from riskd.host.errors import UserError
from riskd.model.account import AccountState
from riskd.model.broker import BrokerPosition
from riskd.model.formatting import contract_name
from riskd.rules.interface import (
    Command,
    Gauge,
    Kind,
    RejectOrder,
    Rule,
    RuleResult,
    Trigger,
)
from riskd.rules.news_calendar import Importance, News, NewsCalendar, parse_news
from riskd.rules.positions import affected_orders, close_position, held_in, opened_at, opened_by
from riskd.rules.settings import FileName, RuleSettings
from riskd.rules.tightness import Fixed, Higher, WhenTrue, tighter_by, tightest_last

_Minutes = Annotated[int, msgspec.Meta(ge=0, le=24 * 60)]


def _has_as_much_news(new: Settings, old: Settings, _key: str) -> bool:
    """Return whether a calendar has all news of another one."""
    if old.calendar is None:
        return True
    return new.calendar is not None and not {*old.calendar.news} - {*new.calendar.news}


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``news_blackout``.

    :ivar file: a TOML or CSV file with the times of the news; see :mod:`riskd.rules.news_calendar`.
    :ivar minutes_before: how long before the news the blackout begins.
    :ivar minutes_after: how long after it the blackout ends; at that moment it is over.
    :ivar importance: the least importance that counts.
    :ivar flatten: whether positions are closed that were opened before the blackout; those that are opened
        during it always are.
    :ivar calendar: the news of the file that counts; ``None`` if it cannot be used.
    :ivar problem: why it cannot.
    """

    FROM_FILES: ClassVar[tuple[str, ...]] = ("calendar", "problem")

    file: Fixed[FileName] = "news.toml"
    minutes_before: Higher[_Minutes] = 5
    minutes_after: Higher[_Minutes] = 5
    importance: Annotated[
        Importance, tightest_last(Importance.HIGH, Importance.MEDIUM, Importance.LOW)
    ] = Importance.HIGH
    flatten: WhenTrue[bool] = True
    calendar: Annotated[NewsCalendar | None, tighter_by(_has_as_much_news)] = None
    problem: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.minutes_before + self.minutes_after:
            raise ValueError("minutes_after: expected more than 0 if minutes_before is 0, got 0")

    def with_files(self, read: Callable[[str], str]) -> Self:
        """Return the settings with the times in the file, as far as they count."""
        try:
            known = parse_news(read(self.file), self.file)
        except UserError as error:
            return msgspec.structs.replace(self, calendar=None, problem=error.problems[0])
        news = tuple(each for each in known.news if each.importance.rank >= self.importance.rank)
        return msgspec.structs.replace(
            self, calendar=msgspec.structs.replace(known, news=news), problem=""
        )

    def _index(self, beyond: datetime) -> int:
        """Return the index of the first news after a moment."""
        news = () if self.calendar is None else self.calendar.news
        return bisect_right(news, beyond, key=lambda each: each.at)

    def current(self, now: datetime) -> tuple[News, ...]:
        """Return the news for which there is a blackout."""
        if self.calendar is None:
            return ()
        # It begins at its first moment and is over at its last.
        first, last = self._index(now - self._after), self._index(now + self._before)
        return self.calendar.news[first:last]

    def next_news(self, now: datetime) -> News | None:
        """Return the first news whose blackout has not begun."""
        following = () if self.calendar is None else self.calendar.news
        return next(iter(following[self._index(now + self._before) :]), None)

    def next_edge(self, now: datetime) -> datetime | None:
        """Return when the next blackout begins or one ends, or the times of the file do."""
        if self.calendar is None:
            return None
        ending = self.calendar.news[self._index(now - self._after) :][:1]
        beginning = self.next_news(now)
        edges = [each.at + self._after for each in ending]
        edges += [] if beginning is None else [beginning.at - self._before]
        edges += [self.calendar.until] if self.calendar.until > now else []
        return min(edges, default=None)

    @property
    def _before(self) -> timedelta:
        return timedelta(minutes=self.minutes_before)

    @property
    def _after(self) -> timedelta:
        return timedelta(minutes=self.minutes_after)


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Close positions and cancel orders in what the news moves."""
    now = trigger.now
    current = settings.current(now)
    return RuleResult(
        commands=_commands(state, settings, trigger, current) if current else (),
        wake_at=settings.next_edge(now),
        warnings=_warnings(state, current),
        problem=_problem(settings, now),
    )


def gauges(_state: AccountState, settings: Settings, now: datetime) -> tuple[Gauge, ...]:
    """Return which blackout there is, or when the next one begins."""
    return (Gauge(name="news blackout", words=_words(settings, now)),)


def _commands(
    state: AccountState, settings: Settings, trigger: Trigger, current: tuple[News, ...]
) -> tuple[Command, ...]:
    commands: dict[str | int, Command] = {}
    for position in state.open_positions:
        news = _news_of(state, position.contract_id, current)
        if news is not None and not _is_kept(position, news, settings):
            name = contract_name(state, position.contract_id)
            reason = f"{position.size} {name} held during news: {_named(news)}"
            commands[position.contract_id] = close_position(position, reason)
    for order in affected_orders(state, trigger):
        news = _news_of(state, order.contract_id, current)
        opens = opened_by(order, order.remaining, held_in(state, order.contract_id))
        # Closing a position cancels the orders of its contract.
        if news is not None and opens and order.contract_id not in commands:
            name = contract_name(state, order.contract_id)
            what = f"{order.side.name.lower()} {order.size} {name}"
            reason = f"Order to {what} during news: {_named(news)}"
            commands[order.id] = RejectOrder(reason=reason, order_id=order.id)
    return tuple(commands.values())


def _is_kept(position: BrokerPosition, news: News, settings: Settings) -> bool:
    """Return whether a position may stay, since it was opened before its blackout."""
    opened = opened_at(position)
    begun = news.at - timedelta(minutes=settings.minutes_before)
    return not settings.flatten and opened is not None and opened < begun


def _news_of(state: AccountState, contract_id: str, current: tuple[News, ...]) -> News | None:
    """Return the first news that moves a contract."""
    root = (state.root(contract_id) or "").upper()
    return next((each for each in current if not each.tickers or root in each.tickers), None)


def _named(news: News) -> str:
    name = news.name or "unnamed"
    return f"{name} at {news.at:%H:%M} UTC"


def _warnings(state: AccountState, current: tuple[News, ...]) -> tuple[str, ...]:
    if not any(each.tickers for each in current):
        return ()
    return tuple(
        f"Symbol of {contract_id} unknown: cannot tell whether the news moves it"
        for contract_id in state.active_contracts
        if state.root(contract_id) is None
    )


def _problem(settings: Settings, now: datetime) -> str:
    if settings.calendar is None:
        problem = settings.problem or f"{settings.file} was not read"
        return f"news is not guarded against, {problem}"
    if now >= settings.calendar.until:
        return (
            f"news is not guarded against, {settings.file} is outdated: it ends "
            f"{settings.calendar.until:%Y-%m-%d %H:%M} UTC"
        )
    return ""


def _words(settings: Settings, now: datetime) -> str:
    if problem := _problem(settings, now):
        return problem
    current = settings.current(now)
    if current:
        ends = current[-1].at + timedelta(minutes=settings.minutes_after)
        return f"until {ends:%a %Y-%m-%d %H:%M} UTC: {_named(current[0])}"
    following = settings.next_news(now)
    if following is None:
        return "none ahead"
    begins = following.at - timedelta(minutes=settings.minutes_before)
    return f"from {begins:%a %Y-%m-%d %H:%M} UTC: {_named(following)}"


RULE: Final = Rule(
    "RULE-017", "news_blackout", Settings, frozenset({Kind.POSITION, Kind.ORDER}), check, gauges
)
