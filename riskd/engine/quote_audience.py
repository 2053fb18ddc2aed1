"""Which accounts receive a quote; it costs nothing for the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from riskd.engine.guarded_account import GuardedAccount
from riskd.model.account import AccountState
from riskd.model.contracts import Contract


class _Wants(NamedTuple):
    """What decides which quotes an account receives."""

    active: frozenset[str]
    contracts: Mapping[str, Contract]
    watch: frozenset[str]


class QuoteAudience:
    """Knows which accounts receive which quotes, and when that may have changed.

    :param accounts: by account id.
    """

    def __init__(self, accounts: Mapping[int, GuardedAccount]) -> None:
        self._accounts = accounts
        self._receivers: dict[str, tuple[GuardedAccount, ...]] = {}
        self._wants: dict[int, _Wants] = {}
        # They are compared at the next quote: many changes may come between two.
        self._changed: set[int] = set()

    def changed(self, account_id: int) -> None:
        """Note that an account is new, or may want quotes of other contracts."""
        self._changed.add(account_id)

    def of(self, contract_id: str) -> tuple[GuardedAccount, ...]:
        """Return the accounts that want the quotes of a contract, in their order."""
        if self._changed:
            self._forget_outdated()
        receivers = self._receivers.get(contract_id)
        if receivers is None:
            receivers = tuple(
                each for each in self._accounts.values() if each.account.wants_quotes(contract_id)
            )
            self._receivers[contract_id] = receivers
        return receivers

    def _forget_outdated(self) -> None:
        """Forget the receivers of contracts that changed accounts want now, or no more."""
        for account_id in self._changed:
            account = self._accounts[account_id].account
            state = account.state
            now = _Wants(_active(state), state.contracts, account.watch)
            before = self._wants.get(account_id)
            self._wants[account_id] = now
            if (
                before is None
                or before.contracts is not now.contracts
                or before.watch != now.watch
            ):
                # A ticker is watched, and which contracts have it is known from their data.
                self._receivers.clear()
                continue
            for contract_id in before.active ^ now.active:
                self._receivers.pop(contract_id, None)
        self._changed.clear()


def _active(state: AccountState) -> frozenset[str]:
    """Return the contracts with an open position or a working order."""
    return frozenset(state.active_contracts)
