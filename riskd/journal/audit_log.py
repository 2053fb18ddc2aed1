"""The operator's log: enforcement, lockouts, resets, and actions of operators.

It can be read while a daemon uses the journal: reading writes nothing and delays no write.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from riskd.journal.reader import DAMAGES, StateFileError, open_to_read, words_of
from riskd.journal.schema import (
    BEFORE_ALL,
    FIRST_WITH_LOG,
    JOURNAL_NAME,
    DamagedError,
    as_stamp,
    as_text,
)
from riskd.journal.values import read_details, shown_moment
from riskd.model.day_report import DayReport

_ACTIONS: Final = (
    "SELECT at, 'enforcement_action', data, 0 AS source, number FROM enforcement"
    " WHERE account_id = :account AND at >= :since"
)
_ENTRIES: Final = (
    "SELECT at, kind, data, 1 AS source, number FROM log"
    " WHERE account_id = :account AND at >= :since"
)

BALANCE: Final = "balance"
"""The kind of the lines about balances: a payout, a deposit, or a figure that no trade explains."""

CLOCK: Final = "clock"
"""The kind of the lines about clocks: a jump, a sleep, or a correction of the broker's time."""

CORRECTION: Final = "correction"
"""The kind of the lines about trades that the broker voided or amended."""

DAY: Final = "day"
"""The kind of the lines about trading days: a :class:`riskd.model.day_report.DayReport` each."""

JOURNAL: Final = "journal"
"""The kind of the lines about what other programs have done to the journal's files."""

OPERATOR_COMMAND: Final = "operator"
"""The kind of the lines about operators' commands."""

SETTINGS: Final = "settings"
"""The kind of the lines about settings in force that have changed: rule, key, before and after."""


class LogLine(msgspec.Struct, frozen=True):
    """One line of the log.

    :ivar at: when it happened, in UTC.
    :ivar kind: an event type of the wire, :data:`OPERATOR_COMMAND`, :data:`CORRECTION`,
        :data:`BALANCE`, :data:`DAY`, :data:`SETTINGS`, :data:`JOURNAL` or :data:`CLOCK`.
    :ivar data: the details, with every fraction as a ``Decimal``.
    """

    at: datetime
    kind: str
    data: dict[str, Any]


def read_days(directory: Path, account_id: int, since: datetime | None = None) -> list[DayReport]:
    """Return the ended trading days of an account, oldest first.

    :param since: aware; days that riskd has seen end before are left out.
    :raises StateFileError: see :func:`read_log`.
    """
    return days_among(read_log(directory, account_id, since), directory)


def days_among(lines: Iterable[LogLine], directory: Path) -> list[DayReport]:
    """Return the trading days among lines of the log.

    :param directory: of the journal that they were read from.
    :raises StateFileError: one makes no sense.
    """
    try:
        return [
            msgspec.convert(line.data, DayReport, strict=False)
            for line in lines
            if line.kind == DAY
        ]
    except (*DAMAGES, msgspec.MsgspecError) as error:
        path = directory / JOURNAL_NAME
        raise StateFileError(
            f"cannot read the days: {path} is damaged ({words_of(error)})"
        ) from None


def read_log(directory: Path, account_id: int, since: datetime | None = None) -> list[LogLine]:
    """Return the log of an account from the journal in ``directory``, oldest first.

    :param since: aware; earlier lines are left out.
    :raises StateFileError: there is no journal, or it cannot be read, is damaged, or is of a newer
        riskd.
    """
    with open_to_read(directory / JOURNAL_NAME, "log") as (journal, version):
        if not version:
            raise DamagedError("it is empty")
        # A journal that its daemon has not migrated yet has no log table.
        sources = [_ACTIONS, _ENTRIES] if version >= FIRST_WITH_LOG else [_ACTIONS]
        # One query sees one commit.  At the same time an action comes before the lock that it caused.
        query = " UNION ALL ".join(sources) + " ORDER BY at, source, number"
        begin = BEFORE_ALL if since is None else as_stamp(since)
        rows = journal.execute(query, {"account": account_id, "since": begin})
        return [
            LogLine(shown_moment(at), as_text(kind), read_details(data))
            for at, kind, data, *_ in rows
        ]
