"""What the journal has of an account, and its trading days.

A day's boundaries follow from the daily reset that was in force then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from riskd.config.known_settings import DAY_NAME, OWN_NAME
from riskd.host.errors import UserError
from riskd.journal.audit_log import DAY, LogLine, days_among, read_log
from riskd.journal.discovery import gateway_words
from riskd.journal.history import EquityLine, TradeReport, read_equity, read_trades
from riskd.journal.reader import journaled_accounts, read_journal
from riskd.model.account import AccountState
from riskd.model.day_report import DayReport
from riskd.model.formatting import counted
from riskd.model.trading_day import ResetSchedule
from riskd.report.settings_then import settings_at

_MILLISECOND: Final = timedelta(milliseconds=1)


class Journaled(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What the journal has of an account.

    :ivar as_of: the time of the last write.
    :ivar log: the whole log, oldest first.
    :ivar days: the trading days that have ended, oldest first.
    """

    directory: Path
    account: AccountState
    gateway_kind: str | None
    as_of: datetime
    log: Sequence[LogLine]
    days: Sequence[DayReport]

    @property
    def account_id(self) -> int:
        """The broker's number of the account."""
        return self.account.account_id

    @property
    def gateway(self) -> str:
        """Which gateway the account is at, in words."""
        return gateway_words(self.gateway_kind)

    @property
    def name(self) -> str:
        """The account's name in the configuration; empty without one."""
        own = settings_at(self.account, (), self.as_of).get(OWN_NAME)
        return str(own.get("name") or "") if isinstance(own, dict) else ""

    def settings_at(self, moment: datetime) -> dict[str, Any]:
        """Return the settings that were configured at a moment, decoded, by name."""
        return settings_at(self.account, self.log, moment)

    def executions(self, began: datetime, ended: datetime) -> list[TradeReport]:
        """Return the executions between two moments, oldest first."""
        return read_trades(self.directory, self.account_id, began, ended)

    def equity(self, began: datetime, ended: datetime) -> list[EquityLine]:
        """Return the figures of the minutes between two moments, oldest first."""
        return read_equity(self.directory, self.account_id, began, ended)

    @cached_property
    def peaks(self) -> list[tuple[datetime, Decimal]]:
        """Each new high of the equity since the journal's first minute, oldest first."""
        peaks: list[tuple[datetime, Decimal]] = []
        for each in read_equity(self.directory, self.account_id):
            if not peaks or each.equity > peaks[-1][1]:
                peaks.append((each.at, each.equity))
        return peaks


class TradingDay(msgspec.Struct, frozen=True, kw_only=True):
    """One trading day.

    :ivar key: the date on which it ends.
    :ivar ended: its end, also of the day that is still running.
    :ivar zone: the IANA name of its time zone.
    :ivar report: how it was when it ended; ``None`` while it is running.
    :ivar as_of: the time of the journal's last write, while it is running.
    """

    key: date
    began: datetime
    ended: datetime
    zone: str
    report: DayReport | None = None
    as_of: datetime | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.report is None

    @property
    def known_until(self) -> datetime:
        """The end of what is known of it."""
        return self.ended if self.as_of is None else min(self.as_of, self.ended)

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the time zone of the trading day."""
        return moment.astimezone(ZoneInfo(self.zone))


def read_journaled(directory: Path, account_id: int) -> Journaled:
    """Return what the journal in ``directory`` has of an account.

    :raises UserError: it has no such account, or cannot be read.
    """
    snapshot = read_journal(directory, [account_id])
    account = snapshot.accounts.get(account_id)
    if account is None:
        listed = ", ".join(map(str, sorted(journaled_accounts(directory)))) or "none"
        raise UserError(f"the journal in {directory} has no account {account_id}; it has {listed}")
    log = read_log(directory, account_id)
    return Journaled(
        directory=directory,
        account=account,
        gateway_kind=snapshot.gateway_name,
        as_of=snapshot.as_of or datetime.now(UTC),
        log=log,
        days=days_among(log, directory),
    )


def trading_days(journaled: Journaled) -> list[TradingDay]:
    """Return the days that the journal knows, oldest first; one may be running."""
    ends = [line.at for line in journaled.log if line.kind == DAY]
    found = {
        report.day: _ended_day(journaled, report, noted)
        for report, noted in zip(journaled.days, ends, strict=True)
    }
    running = _running_day(journaled)
    if running is not None:
        found[running.key] = running
    return [found[key] for key in sorted(found)]


def _ended_day(journaled: Journaled, report: DayReport, noted: datetime) -> TradingDay:
    """Return a day that has ended.

    :param noted: when riskd saw it end; a daemon that did not run saw it later.
    """
    schedule = _schedule(journaled.settings_at(noted - _MILLISECOND))
    zone = ZoneInfo(schedule.time_zone)
    ended, began = (
        datetime.combine(day, schedule.reset_time, tzinfo=zone).astimezone(UTC)
        for day in (report.day, report.day - timedelta(days=1))
    )
    return TradingDay(
        key=report.day, began=began, ended=ended, zone=schedule.time_zone, report=report
    )


def _running_day(journaled: Journaled) -> TradingDay | None:
    key, began = journaled.account.risk.day_key, journaled.account.day_began
    if key is None or began is None:
        return None
    schedule = _schedule(journaled.settings_at(journaled.as_of))
    # Not the last write: the broker's clock, by which trades have their times, may be ahead of this machine's.
    ended = schedule.next_reset(began)
    return TradingDay(
        key=key, began=began, ended=ended, zone=schedule.time_zone, as_of=journaled.as_of
    )


def _schedule(settings: dict[str, Any]) -> ResetSchedule:
    try:
        return msgspec.convert(settings.get(DAY_NAME, {}), ResetSchedule, strict=False)
    except (msgspec.ValidationError, ValueError):
        return ResetSchedule()


def day_named(days: Sequence[TradingDay], key: date | None, journaled: Journaled) -> TradingDay:
    """Return the day of a date; without one, the last.

    :raises UserError: the journal does not know it.
    """
    found = [each for each in days if key in (None, each.key)]
    if found:
        return found[-1]
    raise no_day_error("" if key is None else f" {key}", days, journaled)


def no_day_error(which: str, days: Sequence[TradingDay], journaled: Journaled) -> UserError:
    """Return the error that the journal has no such trading day, and which it has.

    :param which: follows "trading day", with a space before it; empty for any.
    """
    return UserError(
        f"the journal in {journaled.directory} has no trading day{which} of account {journaled.account_id}; "
        f"{_known(days)}"
    )


def _known(days: Sequence[TradingDay]) -> str:
    if not days:
        return "it has none yet"
    first, last = days[0].key, days[-1].key
    span = f"{first}" if first == last else f"{first} to {last}"
    return f"it has {counted(len(days), 'day')}, {span}"
