"""The status of a daemon and the rules of an account as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from riskd.app.riskctl.tables import UNKNOWN, figure, table, when
from riskd.control.reports import (
    AccountReport,
    OrderReport,
    PositionReport,
    RuleReport,
    RulesReport,
    StatusReport,
    WaitReport,
)
from riskd.model.clock_offset import REMEDY, WARNING, offset_words
from riskd.model.floor import if_closed
from riskd.model.formatting import dollars
from riskd.model.safe_text import printable

_STATUS_HEADER: Final = (
    *("ACCOUNT", "REALIZED", "OPEN", "NET", "BALANCE", "EQUITY", "TRADES", "POSITIONS", "ORDERS"),
    "LOCKED",
)
_RULES_HEADER: Final = ("RULE", "NAME", "LIMIT OF", "LIMIT", "CURRENT", "HEADROOM", "")
_NOT_RECOVERED: Final = (
    "journal: not read yet; locks that were set before riskd started may be unknown"
)


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
        *table(_STATUS_HEADER, rows, right=range(9)),
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
        lock = UNKNOWN
    return (
        str(account.account),
        dollars(account.realized_pnl) if is_reported else UNKNOWN,
        figure(account.open_pnl, "$"),
        figure(account.net_pnl, "$"),
        figure(account.balance, "$"),
        figure(account.equity, "$"),
        *(
            str(number) if is_reported else UNKNOWN
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
            f"headroom {figure(floor.headroom, '$')}{if_closed(floor.after_close)}"
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
    return f"{size} at {position.average_price:f}, open {figure(position.open_pnl, '$')}"


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
    lines = table(_RULES_HEADER, rows, right=(3, 4, 5), empty=empty)
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
            figure(gauge.limit, gauge.unit),
            figure(gauge.current, gauge.unit),
            figure(gauge.headroom, gauge.unit),
            gauge.words,
        )
        for gauge in rule.gauges
    ] or [(rule.rule_id, rule.key, "", "", "", "", failure)]
