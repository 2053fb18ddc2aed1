"""The report of a trading day, to be attached to its summary.

It is made from the daemon's journal, so this program must run as the daemon's user.  A report that cannot be made is a
sentence in its place: the summary itself always gets through.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from twisted.logger import Logger

from riskd.host.errors import UserError
from riskd.report.extra import page_writer
from trader.alerts.alert import Alert
from trader.alerts.words import Attachment

Attach = Callable[[Alert], Attachment | str]
"""Returns what is attached to a message with an alert, or why there is nothing; an empty text: nothing is wanted."""

_log = Logger()


def no_attachment(_alert: Alert) -> str:
    """Return that nothing is wanted."""
    return ""


def attach_reports(directory: Callable[[], Path | None]) -> Attach:
    """Return a function that attaches the report to the summary of a day.

    It reads the journal and blocks until the page is made, so it is meant for a thread.

    :param directory: returns the daemon's state directory.
    """

    def attach(alert: Alert) -> Attachment | str:
        if alert.day is None:
            return ""
        account, day = int(alert.fields["account"]), alert.day
        try:
            page = _make(directory(), account, day)
        except UserError as error:
            return f"account {account}: the report of {day} is not attached: {error}"
        except Exception:  # noqa: BLE001  # the summary must get through
            _log.failure("internal error in the report of account {account}", account=account)
            return f"account {account}: the report of {day} is not attached: internal error"
        return Attachment(f"riskd-{account}-{day}.html", page)

    return attach


def _make(directory: Path | None, account_id: int, day: date) -> str:
    if directory is None:
        raise UserError("where riskd keeps its journal is not known")
    write_page = page_writer()
    # Most programs attach nothing.
    from riskd.report.journaled import day_named, read_journaled, trading_days  # noqa: PLC0415

    journaled = read_journaled(directory, account_id)
    known = trading_days(journaled)
    return write_page(journaled, known, [day_named(known, day, journaled)])
