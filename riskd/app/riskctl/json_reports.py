"""The status as ``riskctl status --json`` writes it.

docs/riskctl.md describes each field.

``null`` is a figure or a time that riskd does not know, or that there is none of.  A state is never ``null``: it is a
word, an object, or true or false.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from riskd.control.reports import AccountReport, StatusReport

STARTING: Final = "STARTING"
"""The status of a daemon that has not announced one yet."""


def status_json(report: StatusReport, now: datetime) -> dict[str, Any]:
    """Return a status as a value for JSON.

    :param now: the moment of a status that has none of its own.
    """
    starting = {"status": STARTING, "message": "The daemon is starting", "timestamp": now}
    return {
        **msgspec.structs.asdict(report),
        "daemon": report.daemon or starting,
        "accounts": [_account(each) for each in report.accounts],
    }


def _account(account: AccountReport) -> dict[str, Any]:
    figures = {} if account.is_reported else {"realized_pnl": None, "trades": None}
    return {
        **msgspec.structs.asdict(account),
        **figures,
        "locks": [
            {**msgspec.structs.asdict(lock), "is_permanent": lock.locked_until is None}
            for lock in account.locks
        ],
        "flattening": account.flattening or False,
        "reduce_only": account.reduce_only or False,
        "floor": account.floor or (_unknown_floor() if account.has_floor else False),
    }


def _unknown_floor() -> dict[str, Any]:
    return {"amount": None, "source": "unknown", "headroom": None, "after_close": None}
