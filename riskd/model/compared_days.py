"""What several configurations would have enforced first on a trading day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import msgspec


class FirstEnforced(msgspec.Struct, frozen=True, kw_only=True):
    """The first action of a trading day that a configuration would have taken.

    :ivar at: when riskd would have begun to act.
    :ivar net_pnl: the net P&L of the day at that time, in dollars.
    """

    at: datetime
    rule_id: str
    reason: str
    net_pnl: Decimal


class ComparedDay(msgspec.Struct, frozen=True, kw_only=True):
    """A trading day of an account.

    :ivar day: the date on which it ends.
    :ivar net_pnl: in dollars, less fees; with open P&L while the day has not ended.
    :ivar first: by the number of the configuration, without those that do not guard the account; ``None``: nothing
        would have been enforced.
    """

    day: date
    account: int
    net_pnl: Decimal
    first: Mapping[int, FirstEnforced | None]
