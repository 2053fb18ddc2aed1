"""``riskctl report``: the report of trading days as one HTML page."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

from riskd.app.riskctl.finding import say
from riskd.app.riskctl.journal_finding import journal_directory
from riskd.app.riskctl.journal_tables import trades_csv
from riskd.app.riskctl.new_configuration import write_new
from riskd.host.errors import UserError
from riskd.report.extra import page_writer
from riskd.report.journaled import (
    Journaled,
    TradingDay,
    day_named,
    no_day_error,
    read_journaled,
    trading_days,
)

_PRIVATE: Final = 0o600


def run(options: argparse.Namespace) -> int:
    """Write the report of a day, or of the days since a moment.

    :raises UserError: there is no such day, the extra is not installed, or a file exists or cannot be written.
    """
    paths = _paths(options)
    write_page = page_writer()
    journaled = read_journaled(
        journal_directory(options.state, options.account, say), options.account
    )
    known = trading_days(journaled)
    shown = _shown(known, journaled, options.day, options.since)
    page = write_page(journaled, known, shown)
    if options.output is None:
        sys.stdout.write(page)
        return 0
    write_new(paths[0], page, _PRIVATE)
    if options.csv:
        trades = [
            trade for each in shown for trade in journaled.executions(each.began, each.ended)
        ]
        write_new(paths[1], "".join(f"{line}\n" for line in trades_csv(trades)), _PRIVATE)
    for path in paths:
        say(f"{path} is written")
    return 0


def _paths(options: argparse.Namespace) -> list[Path]:
    """Return the files to write.

    :raises UserError: one exists, or the CSV has no page to be beside.
    """
    if options.output is None:
        if options.csv:
            raise UserError("--csv writes a file beside the page: expected -o FILE, too")
        return []
    page: Path = options.output
    paths = [page, page.with_suffix(".csv")] if options.csv else [page]
    if len(set(paths)) < len(paths):
        raise UserError(f"-o {page}: the trades would have the same name; expected FILE.html")
    for path in paths:
        if os.path.lexists(path):
            raise UserError(f"{path} exists, and is not overwritten; -o FILE names another file")
    return paths


def _shown(
    known: Sequence[TradingDay],
    journaled: Journaled,
    day: date | None,
    since: datetime | None,
) -> list[TradingDay]:
    if since is None:
        return [day_named(known, day, journaled)]
    found = [each for each in known if each.ended > since]
    if not found:
        raise no_day_error(f" after {since.astimezone():%Y-%m-%d %H:%M}", known, journaled)
    return found
