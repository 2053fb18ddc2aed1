"""What the journal keeps: tables, CSV and JSON of log, days, trades and equity."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from riskd.app.riskctl.status_tables import beyond_limits
from riskd.app.riskctl.tables import UNKNOWN, figure, local, table, when
from riskd.journal.audit_log import (
    BALANCE,
    CLOCK,
    CORRECTION,
    DAY,
    JOURNAL,
    OPERATOR_COMMAND,
    SETTINGS,
    LogLine,
)
from riskd.journal.history import EquityLine, TradeReport
from riskd.model.day_report import DayReport
from riskd.model.events import EventError
from riskd.model.formatting import RiskEvent, counted, describe, dollars
from riskd.model.safe_text import json_text, printable
from riskd.model.settings_changes import describe_change
from riskd.model.wire import from_fields

_JOURNAL_HEADER: Final = ("AT", "WHAT", "DETAILS")
_DAYS_HEADER: Final = ("DAY", "START", "CLOSE", "NET", "TRADES", "BEST", "WORST", "ENFORCED")
_TRADES_HEADER: Final = (
    *("AT", "WHAT", "CONTRACT", "SIDE", "SIZE", "ENTRY", "EXIT", "P&L", "FEES", "OPENED", ""),
)
_EQUITY_HEADER: Final = ("AT", "BALANCE", "EQUITY", "NET", "DAY'S HIGH")
_CSV_HEADER: Final = ("at", "kind", "rule_id", "action", "reason", "success", "until", "details")

_SENTENCES: Final = {BALANCE: "message", CORRECTION: "message", CLOCK: "reason", JOURNAL: "reason"}
"""Where the sentence is in lines that have one."""

_FORMULA_STARTS: Final = "=+-@＝＋－＠"  # noqa: RUF001  # a spreadsheet takes the wide ones, too
"""First characters with which a spreadsheet takes a cell for a formula."""


# The log.


def journal_table(lines: Iterable[LogLine]) -> list[str]:
    """Return the log as lines for a terminal."""
    rows = [(local(line.at), line.kind, _describe(line)) for line in lines]
    return table(_JOURNAL_HEADER, rows, empty="nothing is logged")


def journal_json_lines(lines: Iterable[LogLine]) -> Iterator[str]:
    """Yield the log as one JSON object per line."""
    for line in lines:
        yield json_text({"at": _stamp(line.at), "kind": line.kind, "data": line.data})


def journal_csv(lines: Iterable[LogLine]) -> Iterator[str]:
    """Yield the log as CSV, with a header."""
    yield _csv_row(_CSV_HEADER)
    for line in lines:
        yield _csv_row(_cells(line))


def _describe(line: LogLine) -> str:
    """Return a line of the log in words.

    A line that another version of riskd wrote is returned as JSON.
    """
    try:
        if line.kind in _SENTENCES:
            return str(line.data[_SENTENCES[line.kind]])
        if line.kind == DAY:
            day = msgspec.convert(line.data, DayReport, strict=False)
            return f"{day.day}: net {dollars(day.net_pnl)} in {counted(day.trades, 'trade')}"
        if line.kind == OPERATOR_COMMAND:
            beyond = line.data.get("beyond")
            note = f" {beyond_limits(beyond)}" if beyond else ""
            return (
                f"{line.data['command']}{note} by {line.data['operator']}: {line.data['reason']}"
            )
        if line.kind == SETTINGS:
            return _settings_change(line.data)
        # The envelope's account is not part of the sentence.
        data = from_fields(line.kind, 0, line.data).data
        if isinstance(data, RiskEvent):
            return describe(data, when)
    except (EventError, KeyError, msgspec.ValidationError):
        pass
    return json_text(line.data)


def _settings_change(data: Mapping[str, Any]) -> str:
    """Return in words which settings of a rule have changed."""
    name = f"{data['key']} ({data['rule_id']})" if data["rule_id"] else str(data["key"])
    change = describe_change(name, data["before"], data["after"])
    if "operator" not in data:
        # Not the settings: what was held beside them has ended.
        return f"in force: {change}"
    return f"by {data['operator'] or 'an unknown user'}: {change}"


def _cells(line: LogLine) -> list[str]:
    """Return the cells of a line; fields without a column are JSON in the last cell."""
    rest = dict(line.data)
    details = rest.pop("details", None)
    if isinstance(details, dict):
        rest.update(details)
    columns = (
        rest.pop("rule_id", None),
        rest.pop("action", None) or rest.pop("command", None),
        rest.pop("reason", None),
        rest.pop("success", None),
        rest.pop("locked_until", None),
    )
    return [_stamp(line.at), line.kind, *map(_cell, columns), _cell(rest) if rest else ""]


def _stamp(moment: datetime) -> str:
    """Return a time in the format of the log's JSON."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json_text(value)


def _csv_row(cells: Sequence[str]) -> str:
    # Row by row, because the lines are written as an iterator and not into one file.
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def _harmless(cell: str) -> str:
    """Return a cell that a spreadsheet reads as text, never as a formula."""
    cell = printable(cell)
    return f"'{cell}" if cell.lstrip()[:1] and cell.lstrip()[0] in _FORMULA_STARTS else cell


# The trading days.


def days_table(days: Iterable[DayReport]) -> list[str]:
    """Return trading days as lines for a terminal."""
    rows = [
        (
            str(each.day),
            *(figure(amount, "$") for amount in (each.start, each.close, each.net_pnl)),
            str(each.trades),
            *(figure(amount, "$") for amount in (each.best, each.worst)),
            str(each.enforced),
        )
        for each in days
    ]
    return table(_DAYS_HEADER, rows, right=range(1, 8), empty="no trading day has ended yet")


# Executions and equity.


def trades_table(trades: Iterable[TradeReport]) -> list[str]:
    """Return executions as lines for a terminal."""
    rows = [
        (
            local(each.at),
            each.what,
            each.contract,
            each.side,
            str(each.size),
            *(UNKNOWN if price is None else f"{price:f}" for price in (each.entry, each.exit)),
            *(figure(amount, "$") for amount in (each.pnl, each.fees)),
            UNKNOWN if each.opened_at is None else local(each.opened_at),
            "voided" if each.is_voided else "",
        )
        for each in trades
    ]
    return table(_TRADES_HEADER, rows, right=range(4, 9), empty="no trade is journaled")


def equity_table(marks: Iterable[EquityLine]) -> list[str]:
    """Return the figures of each minute as lines for a terminal."""
    rows = [
        (
            local(each.at),
            *(dollars(x) for x in (each.balance, each.equity, each.net_pnl, each.high_net)),
        )
        for each in marks
    ]
    return table(_EQUITY_HEADER, rows, right=range(1, 5), empty="no equity is journaled")


def plain_csv(kind: type[msgspec.Struct]) -> Callable[[Iterable[msgspec.Struct]], Iterator[str]]:
    """Return a function that yields values of ``kind`` as CSV, with a header.

    Amounts are plain numbers, times are UTC.
    """

    def lines(values: Iterable[msgspec.Struct]) -> Iterator[str]:
        yield ",".join(kind.__struct_fields__)
        for value in values:
            yield ",".join(map(_plain, msgspec.structs.astuple(value)))

    return lines


days_csv = plain_csv(DayReport)
trades_csv = plain_csv(TradeReport)
equity_csv = plain_csv(EquityLine)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return _stamp(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    # The names of contracts are the broker's.
    return "" if value is None or value is False else _csv_row([str(value)])
