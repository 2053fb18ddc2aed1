"""The title of the screen's window, read while another window is in front."""

from __future__ import annotations

from typing import Final

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
    """Return where the figures come from; nothing while they are live."""
    return [] if view.is_live else [text.strip() for _, text in source_badges(view)[:1]]
