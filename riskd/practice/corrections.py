"""The broker's corrections of trades: some are amended or voided later.

Which ones and when is decided at random; the same seed, settings and trades give the same corrections.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError
from riskd.model.money import ZERO
from riskd.practice.fault_injection import FaultInjector

_MAX_PNL_CENTS: Final = 10_000
_MAX_COST_CENTS: Final = 500
"""By how much an amendment changes an amount at the most."""


class Correction(NamedTuple):
    """What the broker does to a trade.

    :ivar after: seconds until then.
    :ivar changes: new amounts by field; ``None`` to void the trade.
    """

    after: float
    changes: Payload | None


class Corrections:
    """Corrects trades later.

    :param clock: times the corrections.
    :param injector: has the faults to simulate.
    :param correct: called with the id of an account, that of its trade, and the changes, or ``None`` to void
        the trade; may raise :class:`GatewayRefusedError`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        injector: FaultInjector,
        random: Random,
        correct: Callable[[int, int, Payload | None], None],
    ) -> None:
        self._clock = clock
        self._injector = injector
        self._random = random
        self._correct = correct
        self._last_id = 0
        self._calls: set[IDelayedCall] = set()

    def consider(self, trade: Payload) -> None:
        """Decide, once for each trade, whether it is corrected later."""
        if trade["id"] <= self._last_id:
            return
        self._last_id = trade["id"]
        for correction in self._plan(trade):
            self._calls = {call for call in self._calls if call.active()}
            self._calls.add(
                self._clock.callLater(
                    correction.after,
                    self._carry_out,
                    trade["accountId"],
                    trade["id"],
                    correction.changes,
                )
            )

    def stop(self) -> None:
        """Cancel all corrections that are due later."""
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls.clear()

    def _plan(self, trade: Payload) -> list[Correction]:
        """Return what happens to a trade later; it may be both amended and voided."""
        faults, random = self._injector.faults, self._random
        # All is drawn for each trade, so that setting one fault keeps the sequence of the others.
        is_amended = random.random() < faults.amended_trades
        is_voided = random.random() < faults.voided_trades
        amended_after, voided_after = (
            random.uniform(0.0, faults.correction_seconds) for _ in range(2)
        )
        pnl = Decimal(random.randint(-_MAX_PNL_CENTS, _MAX_PNL_CENTS)).scaleb(-2)
        cost = Decimal(random.randint(1, _MAX_COST_CENTS)).scaleb(-2)
        name = random.choice(("profitAndLoss", "profitAndLoss", "fees", "commissions"))
        if name not in trade:
            name = "fees"
        change = pnl if name == "profitAndLoss" else cost
        planned = []
        if is_amended:
            planned.append(Correction(amended_after, {name: trade.get(name, ZERO) + change}))
        if is_voided:
            planned.append(Correction(voided_after, None))
        return planned

    def _carry_out(self, account_id: int, trade_id: int, changes: Payload | None) -> None:
        try:
            self._correct(account_id, trade_id, changes)
        except GatewayRefusedError:
            # It was voided meanwhile, or is so old that the exchange has forgotten it.
            return
