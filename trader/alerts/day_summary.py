"""The summary of a trading day, from the stream and the published copy.

At the daily reset the stream has the day's P&L and its number of trades.  Net of fees and the balance are published
a moment later.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from riskd.model.account import AccountState
from riskd.model.day_figures import DayFigures
from riskd.model.events import DailyReset
from riskd.model.formatting import counted, dollars
from trader.model.formatting import UNKNOWN, money


class EndedDay(msgspec.Struct, frozen=True):
    """A day that has ended, and whose figures may not be published yet.

    :ivar before: the account during that day; ``None`` if it was not seen.
    """

    reset: DailyReset
    before: AccountState | None


def published_figures(day: EndedDay, copy: AccountState) -> DayFigures | None:
    """Return the figures of a day; ``None`` if the copy does not have them yet."""
    known = {} if day.before is None else day.before.days
    if copy.last_reset != day.reset or not copy.days or max(copy.days) in known:
        return None
    return copy.days[max(copy.days)]


def summary_fields(day: EndedDay, figures: DayFigures | None) -> dict[str, str]:
    """Return the figures as texts, ``-`` for those that are not known."""
    reset = day.reset
    fields = dict.fromkeys(("net", "balance", "best", "worst", "enforced"), UNKNOWN)
    if figures is not None:
        fields["net"] = money(figures.net)
        fields["balance"] = UNKNOWN if figures.close is None else dollars(figures.close)
    before = day.before
    if before is not None and not _has_begun(before, reset):
        pnls = [trade.profit_and_loss for trade in before.trades.values()]
        actions = [each for each in before.enforcement if before.is_of_trading_day(each.timestamp)]
        fields["enforced"] = str(len(actions))
        # Without the copy, trades of before this program ran are missing.
        if pnls and len(pnls) == reset.previous_trade_count:
            fields["best"], fields["worst"] = money(max(pnls)), money(min(pnls))
    return {
        "pnl": money(reset.previous_pnl),
        "trades": str(reset.previous_trade_count),
        **fields,
    }


def summary_words(fields: Mapping[str, str]) -> str:
    """Return the figures that are known in a sentence."""
    parts = [
        f"realized {fields['pnl']} in {counted(int(fields['trades']), 'trade')}",
        f"best {fields['best']}, worst {fields['worst']}" if fields["best"] != UNKNOWN else "",
        f"net of fees {fields['net']}" if fields["net"] != UNKNOWN else "",
        f"balance {fields['balance']}" if fields["balance"] != UNKNOWN else "",
        counted(int(fields["enforced"]), "enforcement") if fields["enforced"] != UNKNOWN else "",
    ]
    return f"the trading day has ended: {', '.join(filter(None, parts))}"


def _has_begun(account: AccountState, reset: DailyReset) -> bool:
    """Return whether the day of ``account`` is the one that began with ``reset``."""
    return account.day_began is not None and account.day_began >= reset.reset_time
