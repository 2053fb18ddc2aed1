"""Reports and the audit log as text: tables for people, CSV, and JSON."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Final

import msgspec

from riskd.config.presets import Preset, report_preset
from riskd.config.values import as_toml
from riskd.control.reports import (
    AccountReport,
    OrderReport,
    PositionReport,
    RuleReport,
    RulesReport,
    StatusReport,
    WaitReport,
)
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
from riskd.model.clock_offset import REMEDY, WARNING, offset_words
from riskd.model.compared_days import ComparedDay, FirstEnforced
from riskd.model.day_report import DayReport
from riskd.model.events import EnforcementAction, EventError
from riskd.model.formatting import RiskEvent, counted, describe, dollars
from riskd.model.safe_text import json_text, printable
from riskd.model.settings_changes import describe_change
from riskd.model.wire import from_fields
from riskd.rules.builtin.maximum_loss import if_closed

_STATUS_HEADER: Final = (
    *("ACCOUNT", "REALIZED", "OPEN", "NET", "BALANCE", "EQUITY", "TRADES", "POSITIONS", "ORDERS"),
    "LOCKED",
)
_RULES_HEADER: Final = ("RULE", "NAME", "LIMIT OF", "LIMIT", "CURRENT", "HEADROOM", "")
_JOURNAL_HEADER: Final = ("AT", "WHAT", "DETAILS")
_DAYS_HEADER: Final = ("DAY", "START", "CLOSE", "NET", "TRADES", "BEST", "WORST", "ENFORCED")
_TRADES_HEADER: Final = (
    *("AT", "WHAT", "CONTRACT", "SIDE", "SIZE", "ENTRY", "EXIT", "P&L", "FEES", "OPENED", ""),
)
_EQUITY_HEADER: Final = ("AT", "BALANCE", "EQUITY", "NET", "DAY'S HIGH")
_ENFORCEMENT_HEADER: Final = ("AT", "ACCOUNT", "RULE", "ACTION", "REASON")
_UNKNOWN: Final = "-"
_NOT_RECOVERED: Final = (
    "journal: not read yet; locks that were set before riskd started may be unknown"
)
_SENTENCES: Final = {BALANCE: "message", CORRECTION: "message", CLOCK: "reason", JOURNAL: "reason"}
"""Where the sentence is in lines that have one."""

_CSV_HEADER: Final = ("at", "kind", "rule_id", "action", "reason", "success", "until", "details")

_FORMULA_STARTS: Final = "=+-@＝＋－＠"  # noqa: RUF001  # a spreadsheet takes the wide ones, too
"""First characters with which a spreadsheet takes a cell for a formula."""


# The status.


def status_table(report: StatusReport, now: datetime) -> list[str]:
    """Return the status of a daemon as lines for a terminal."""
    rows = [
        _status_row(account, now, is_recovered=report.is_recovered) for account in report.accounts
    ]
    lines = [
        _daemon_line(report, now),
        _clock_line(report),
        *([] if report.is_recovered else [_NOT_RECOVERED]),
        "",
        *_table(_STATUS_HEADER, rows, right=range(9)),
    ]
    details = [
        line
        for account in report.accounts
        for line in _details(account, now, is_dry_run=report.dry_run)
    ]
    return [printable(line) for line in (*lines, *([""] if details else []), *details)]


def _daemon_line(report: StatusReport, now: datetime) -> str:
    dry_run = " (dry run)" if report.dry_run else ""
    line = f"riskd {report.version} on the {report.gateway} gateway{dry_run}"
    status = report.daemon
    if status is None:
        return f"{line} is starting"
    return f"{line}: {status.status}, {when(status.timestamp, now)}: {status.message}"


def _clock_line(report: StatusReport) -> str:
    if report.clock_offset is None:
        return (
            "clock: the broker's time is not known yet; no lock ends and no day begins before that"
        )
    offset = timedelta(seconds=report.clock_offset)
    remedy = f"; {REMEDY}" if abs(offset) > WARNING else ""
    return f"clock: {offset_words(offset)}{remedy}"


def _status_row(account: AccountReport, now: datetime, *, is_recovered: bool) -> tuple[str, ...]:
    is_reported = account.is_reported
    lock = _until(account, now)
    if not (account.locks or is_recovered):
        lock = _UNKNOWN
    return (
        str(account.account),
        dollars(account.realized_pnl) if is_reported else _UNKNOWN,
        _figure(account.open_pnl, "$"),
        _figure(account.net_pnl, "$"),
        _figure(account.balance, "$"),
        _figure(account.equity, "$"),
        *(
            str(number) if is_reported else _UNKNOWN
            for number in (account.trades, len(account.positions), len(account.orders))
        ),
        lock,
    )


def _until(account: AccountReport, now: datetime) -> str:
    if not account.locks:
        return "no" if account.reduce_only is None else "no, reduce only"
    end = account.locks[0].locked_until
    if end is None:
        return "until it is unlocked"
    return f"until {when(end, now)} ({_left(end, now)} left)"


def _details(account: AccountReport, now: datetime, *, is_dry_run: bool) -> Iterator[str]:
    details = chain(
        _restrictions(account, now, is_dry_run=is_dry_run),
        _floor(account),
        _brokers_view(account),
        map(_position, account.positions),
        map(_order, account.orders),
    )
    return (f"{account.account}: {detail}" for detail in details)


def _restrictions(account: AccountReport, now: datetime, *, is_dry_run: bool) -> Iterator[str]:
    """Yield what riskd holds an account to, and in a dry run does not."""
    not_held = "; not enforced, this is a dry run" if is_dry_run else ""
    if account.flattening is not None:
        plan = account.flattening
        # A dry run keeps the flatten of an enforcing riskd, which goes on with it after a restart.
        what = "flatten that waits for a riskd that enforces," if is_dry_run else "FLATTENING"
        yield f"{what} since {when(plan.begun, now)}: {plan.reason} ({plan.rule_id})"
    if account.unlocked_beyond:
        yield f"unlocked {beyond_limits(account.unlocked_beyond)}"
    if account.reduce_only is not None:
        since = when(account.reduce_only.since, now)
        for rule_id, reason in account.reduce_only.reasons.items():
            yield f"REDUCE ONLY since {since}: {reason} ({rule_id}){not_held}"
    if account.commitment:
        yield f"committed: what loosens waits ({' and '.join(account.commitment)})"
    for wait in account.waits:
        yield f"{_wait_end(wait, now)}: {wait.what} (by {wait.operator or 'an unknown user'})"
    for lock in account.locks:
        end = "" if lock.locked_until is None else f" until {when(lock.locked_until, now)}"
        yield f"LOCKED{end}: {lock.reason} ({lock.rule_id}){not_held}"


def _wait_end(wait: WaitReport, now: datetime) -> str:
    if wait.is_over:
        return "takes effect at the next start of riskd"
    if wait.until is None:
        return "WAITS until the broker's time is known, and then its time"
    return f"WAITS until {when(wait.until, now)} ({_left(wait.until, now)} left)"


def _left(end: datetime, now: datetime) -> timedelta:
    # Whole seconds, because a timedelta is written with its microseconds.
    return timedelta(seconds=max(0, int((end - now).total_seconds())))


def _floor(account: AccountReport) -> Iterator[str]:
    """Yield the floor, how far it is, and what the end of the day would do to it."""
    floor = account.floor
    if floor is None and account.has_floor:
        yield "floor not known yet"
    if floor is not None:
        yield (
            f"floor {dollars(floor.amount)} by {floor.source.words}, "
            f"headroom {_figure(floor.headroom, '$')}{if_closed(floor.after_close)}"
        )


def _brokers_view(account: AccountReport) -> Iterator[str]:
    """Yield what is unusual in what the broker says of an account."""
    if account.can_trade is False:
        yield "the broker does not let it trade"
    if not account.is_reported:
        yield (
            "the broker has not reported this account since riskd started; positions and orders are from before"
            if account.positions or account.orders
            else "the broker has not reported this account since riskd started"
        )
    elif account.can_trade is None:
        yield "the broker has not said yet whether it may trade"
    if account.brokers_balance is not None:
        yield (
            f"the broker says that its balance is {dollars(account.brokers_balance)}, which no trade explains; "
            "the lower balance counts until the account is flat"
        )


def beyond_limits(rule_ids: Sequence[str]) -> str:
    """Return in words beyond which rules' limits an account is unlocked."""
    return f"beyond its limit ({', '.join(map(str, rule_ids))})"


def _position(position: PositionReport) -> str:
    size = f"{position.side} {position.size} {position.contract}"
    return f"{size} at {position.average_price:f}, open {_figure(position.open_pnl, '$')}"


def _order(order: OrderReport) -> str:
    prices = [
        f"{name} {price:f}"
        for name, price in (("stop", order.stop_price), ("limit", order.limit_price))
        if price is not None
    ]
    wanted = f"{order.side} {order.size} {order.contract} {' '.join(prices) or order.type}"
    return f"order {order.id} to {wanted}"


# The rules.


def rules_table(report: RulesReport) -> list[str]:
    """Return an account's rules and their gauges as lines for a terminal."""
    rows = [row for rule in report.rules for row in _rule_rows(rule)]
    empty = f"account {report.account} has no rules"
    lines = _table(_RULES_HEADER, rows, right=(3, 4, 5), empty=empty)
    if not report.is_reported:
        lines.append(f"the broker has not reported account {report.account} since riskd started")
    if report.trouble:
        lines.append(
            printable(f"riskd reports an ERROR, so that figures may be old: {report.trouble}")
        )
    if report.unwritten:
        lines.append(
            printable(
                f"NOT ON THE DISK ({report.unwritten}): if riskd ends now, a floor may be lower at its next start"
            )
        )
    return lines


def _rule_rows(rule: RuleReport) -> list[tuple[str, ...]]:
    # A rule that failed has no gauges.
    failure = f"failed: {rule.trouble}" if rule.trouble else ""
    return [
        (
            rule.rule_id,
            rule.key,
            gauge.name,
            _figure(gauge.limit, gauge.unit),
            _figure(gauge.current, gauge.unit),
            _figure(gauge.headroom, gauge.unit),
            gauge.words,
        )
        for gauge in rule.gauges
    ] or [(rule.rule_id, rule.key, "", "", "", "", failure)]


def _figure(value: Decimal | None, unit: str) -> str:
    if value is None:
        return _UNKNOWN
    if unit == "$":
        return dollars(value)
    # A unit is in the plural, if it has one.
    return f"{value:f} {unit.removesuffix('s') if value == 1 and len(unit) > 1 else unit}".strip()


# The journal's log.


def presets_table(presets: Iterable[Preset]) -> list[str]:
    """Return presets as lines for a terminal."""
    rows = [(each.name, str(each.read), each.title) for each in presets]
    return _table(("PRESET", "READ", "ACCOUNT"), rows)


def preset_table(preset: Preset) -> list[str]:
    """Return all of a preset as lines for a terminal."""
    rows = [
        (
            ".".join(filter(None, (each.rule, each.key))),
            "set by you" if each.value is None else as_toml(each.value),
            str(each.read),
            each.source,
        )
        for each in report_preset(preset).limits
    ]
    return [
        f"{preset.name}: {preset.title}",
        *_table(("KEY", "VALUE", "READ", "SOURCE"), rows),
        "The firm's page decides. Beside a preset a key may only tighten it.",
    ]


def journal_table(lines: Iterable[LogLine]) -> list[str]:
    """Return the log as lines for a terminal."""
    rows = [(_local(line.at), line.kind, _describe(line)) for line in lines]
    return _table(_JOURNAL_HEADER, rows, empty="nothing is logged")


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
            *(_figure(amount, "$") for amount in (each.start, each.close, each.net_pnl)),
            str(each.trades),
            *(_figure(amount, "$") for amount in (each.best, each.worst)),
            str(each.enforced),
        )
        for each in days
    ]
    return _table(_DAYS_HEADER, rows, right=range(1, 8), empty="no trading day has ended yet")


# Executions and equity.


def trades_table(trades: Iterable[TradeReport]) -> list[str]:
    """Return executions as lines for a terminal."""
    rows = [
        (
            _local(each.at),
            each.what,
            each.contract,
            each.side,
            str(each.size),
            *("-" if price is None else f"{price:f}" for price in (each.entry, each.exit)),
            *(_figure(amount, "$") for amount in (each.pnl, each.fees)),
            "-" if each.opened_at is None else _local(each.opened_at),
            "voided" if each.is_voided else "",
        )
        for each in trades
    ]
    return _table(_TRADES_HEADER, rows, right=range(4, 9), empty="no trade is journaled")


def equity_table(marks: Iterable[EquityLine]) -> list[str]:
    """Return the figures of each minute as lines for a terminal."""
    rows = [
        (
            _local(each.at),
            *(dollars(x) for x in (each.balance, each.equity, each.net_pnl, each.high_net)),
        )
        for each in marks
    ]
    return _table(_EQUITY_HEADER, rows, right=range(1, 5), empty="no equity is journaled")


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


# The enforcement of a replay.


def enforcement_table(actions: Iterable[tuple[int, EnforcementAction]]) -> list[str]:
    """Return actions with their accounts as lines for a terminal."""
    rows = [
        (
            _local(action.timestamp),
            str(account),
            action.rule_id,
            action.action.value,
            action.reason,
        )
        for account, action in actions
    ]
    return _table(_ENFORCEMENT_HEADER, rows, right=(1,), empty="nothing is enforced")


def compared_days_table(days: Iterable[ComparedDay], names: Sequence[str]) -> list[str]:
    """Return what would have been enforced first as lines for a terminal.

    :param names: of the configurations.
    """
    rows = [
        (
            str(each.day),
            str(each.account),
            dollars(each.net_pnl),
            *(
                _first_enforced(each.day, each.first[number]) if number in each.first else ""
                for number in range(len(names))
            ),
        )
        for each in days
    ]
    header = ("DAY", "ACCOUNT", "NET", *names)
    return _table(header, rows, right=(1, 2), empty="no trading day is recorded")


def _first_enforced(day: date, first: FirstEnforced | None) -> str:
    if first is None:
        return "nothing"
    local = first.at.astimezone()
    # A trading day begins on the evening before.
    form = "%H:%M:%S" if local.date() == day else "%Y-%m-%d %H:%M:%S"
    return f"{first.rule_id} {local.strftime(form)} {dollars(first.net_pnl)}"


def compared_days_report(days: Iterable[ComparedDay], names: Sequence[str]) -> dict[str, Any]:
    """Return what would have been enforced first as a value for JSON.

    The list of a day lacks the configurations that do not guard the account.  An ``action`` that is false: nothing
    is enforced.
    """
    return {
        "days": [
            {
                "day": each.day,
                "account": each.account,
                "net_pnl": each.net_pnl,
                "enforced_first": [
                    {"config": names[number], "action": first or False}
                    for number, first in each.first.items()
                ],
            }
            for each in days
        ]
    }


def enforcement_summary(actions: Iterable[EnforcementAction]) -> str:
    """Return the number of actions of each rule in words."""
    of_rules = Counter(action.rule_id for action in actions)
    total = counted(of_rules.total(), "action")
    if not of_rules:
        return total
    rules = ", ".join(f"{number} by {rule}" for rule, number in sorted(of_rules.items()))
    return f"{total}: {rules}"


# Times, figures and tables.


def when(moment: datetime, now: datetime) -> str:
    """Return the local time of ``moment``, with its date unless it is today."""
    local = moment.astimezone()
    today = local.date() == now.astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def _local(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Container[int] = (),
    empty: str = "",
) -> list[str]:
    """Return rows under a header, each column as wide as its longest cell.

    :param right: the columns that are flush right, as numbers are.
    :param empty: the line in place of a table without rows, if there is one.
    """
    if empty and not rows:
        return [empty]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return printable("  ".join(padded).rstrip())

    return [line(row) for row in (header, *rows)]
