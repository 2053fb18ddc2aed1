"""The practice gateway, as settings describe it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from riskd.app.launch import utc_now
from riskd.config.settings import Faults, Settings
from riskd.practice.gateway import PracticeGateway


def practice_gateway(
    reactor: Any,
    settings: Settings,
    seed: int | None,
    directory: Path,
    *,
    faults: Faults | None = None,
    is_quiet: bool = False,
) -> PracticeGateway:
    """Return the practice gateway.

    :param seed: makes the gateway repeat itself; ``None`` takes the settings' seed, if there is one.
    :param directory: the directory of the ledger of trades.
    :param faults: the broker's faults; ``None`` takes the settings'.
    :param is_quiet: whether there are no practice traders.
    """
    if seed is None:
        seed = settings.practice.seed
    return PracticeGateway(
        reactor,
        utc_now,
        {account.id: account.watch for account in settings.accounts},
        seed=seed,
        is_quiet=is_quiet,
        # A run that repeats itself must not begin with the trades of the run before.
        ledger=directory if seed is None else None,
        faults=faults or settings.practice.faults,
    )
