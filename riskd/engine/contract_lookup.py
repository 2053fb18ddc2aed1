"""Ask the gateway for the tick size and tick value of each contract that matters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from riskd.engine.guarded_account import GuardedAccount
from riskd.gateway import mapping
from riskd.gateway.fields import MappingError
from riskd.gateway.interface import GatewayError, IGateway
from riskd.gateway.timeouts import answer_in_time

_log = Logger()

RETRY_SECONDS: Final = 30.0
"""How long after a failure the gateway is asked for a contract again."""


class ContractLookup:
    """Looks up each contract once, and lets all accounts know it.

    :param gateway: the gateway.
    :param clock: times the answers.
    :param accounts: by account id.
    """

    def __init__(
        self, gateway: IGateway, clock: IReactorTime, accounts: Mapping[int, GuardedAccount]
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._accounts = accounts
        self._ask_at: dict[str, float] = {}

    def ensure(self, contract_id: str) -> None:
        """Subscribe to the quotes of a contract and look it up, unless that was done."""
        if self._clock.seconds() < self._ask_at.get(contract_id, 0.0):
            return
        # First of all, for the answer may come within the call.
        self._ask_at[contract_id] = math.inf
        self._gateway.follow_quotes(contract_id)
        looked_up = Deferred.fromCoroutine(self._look_up(contract_id))
        looked_up.addErrback(self._failed, contract_id)

    async def _look_up(self, contract_id: str) -> None:
        payload = await answer_in_time(
            "Contract/searchById",
            self._gateway.search_contract(contract_id),
            self._clock,
            self._gateway.answer_seconds,
        )
        contract = mapping.contract(payload)
        for each in self._accounts.values():
            each.account.add_contract(contract)
            # What its positions are worth is known only now.
            each.risk_engine.review()

    def _failed(self, failure: Failure, contract_id: str) -> None:
        # The next mention asks again, but not each quote: the broker answers only so many requests a minute.
        self._ask_at[contract_id] = self._clock.seconds() + RETRY_SECONDS
        if failure.check(GatewayError, MappingError) is not None:
            _log.error(
                "no tick size for {contract}, its P&L is unknown: {error}",
                contract=contract_id,
                error=failure.value,
            )
        elif failure.check(CancelledError) is None:
            # A request that waits while the daemon stops is canceled.
            _log.failure("looking up contract {id}: internal error", failure, id=contract_id)
