"""The title of the screen's window, read while another window is in front."""

from __future__ import annotations

from typing import Final

from riskd.model.events import Status
from riskd.model.reduce_only import reduce_only_stage
from trader.model.account_row import AccountList
from trader.model.view import View
from trader.ui.accounts_page import WHOSE
from trader.ui.disconnected import source_badges

_SEPARATOR: Final = " - "


def window_title(view: View) -> str:
    """Return account and state, what matters first: ``LOCKED - 123 - riskd``."""
    words = _source(view)
    if view.account.lockout is not None:
        words.append("LOCKED")
    elif reduce_only_stage(view.account) is not None:
        words.append("REDUCE ONLY")
    if view.is_dry_run:
        words.append("DRY RUN")
    return _SEPARATOR.join([*words, str(view.account.account_id), "riskd"])


def title_of_all(listed: AccountList) -> str:
    """Return how many accounts are locked: ``2 LOCKED - all accounts - riskd``."""
    link = listed.link
    words = _source(link)
    locked = sum(row.lockout is not None for row in listed.rows)
    if locked:
        words.append(f"{locked} LOCKED")
    if link.is_dry_run:
        words.append("DRY RUN")
    return _SEPARATOR.join([*words, WHOSE, "riskd"])


def _source(view: View) -> list[str]:
    """Return where the figures come from, or what is wrong; nothing if all is well."""
    if not view.is_live:
        return [text.strip() for _, text in source_badges(view)[:1]]
    if view.silent_for is not None:
        # Without the seconds, which would change the title each second.
        return ["SILENT"]
    if view.daemon is None or view.daemon.status is Status.RUNNING:
        return []
    return [view.daemon.status]
