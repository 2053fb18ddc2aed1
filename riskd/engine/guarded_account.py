"""An account together with the risk engine that guards it."""

from __future__ import annotations

from typing import NamedTuple

from riskd.engine.risk import RiskEngine
from riskd.engine.tracked_account import TrackedAccount


class GuardedAccount(NamedTuple):
    """One account and the risk engine that guards it."""

    account: TrackedAccount
    risk_engine: RiskEngine
