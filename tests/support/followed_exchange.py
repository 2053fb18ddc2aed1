"""A practice exchange in another process, as its ledger shows it: at once, and without any fault.

The gateway writes each change there before it reports it, and asking it would cost requests that riskd needs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

from riskd.gateway.targets import ACCOUNT, ORDER, POSITION, TRADE
from riskd.practice.account_store import AccountStore
from riskd.practice.broker import LEDGER_NAME
from riskd.practice.ledger_format import Note, read_lines
from riskd.practice.market import LISTINGS, front_contract
from riskd.practice.records import Message, Quote
from riskd.practice.trailing_store import apply_message

_STEPS = 13
"""By how many steps of the walk a price may be off, if it was set half a second ago at most."""


class FollowedExchange:
    """What an exchange has, for an oracle.

    :param directory: the state directory of the practice gateway.
    :ivar store: what the accounts have, up to the last change that was taken.
    :ivar version: is another one after each change of that.
    :ivar prices: where the market was moved to last, by contract id.
    """

    def __init__(self, directory: Path, accounts: Collection[int], today: date) -> None:
        self._path = directory / LEDGER_NAME
        self._names = {account_id: str(account_id) for account_id in accounts}
        self._contracts = [front_contract(each.code, today) for each in LISTINGS]
        self._drift = {
            contract.id: round(_STEPS * listing.volatility) * contract.tick_size
            for contract, listing in zip(self._contracts, LISTINGS, strict=True)
        }
        self._inode = self._read_to = self.version = 0
        self.store = self._empty_store()
        self.prices: dict[str, Decimal] = {}

    def _empty_store(self) -> AccountStore:
        return AccountStore(self._names, self._contracts, first_id=0)

    def quote(self, contract_id: str) -> Quote | None:
        """Return a quote whose bid and ask are as far apart as the market may have moved by itself."""
        price = self.prices.get(contract_id)
        if price is None:
            return None
        drift = self._drift[contract_id]
        return Quote(price - drift, price + drift, price)

    def changes(self) -> Iterator[Message]:
        """Apply what is new in the ledger; yield each message once it is applied.

        A ledger that was replaced brings nothing new: it has all of the old one that still matters.
        """
        try:
            ledger = self._path.open("rb")
        except FileNotFoundError:
            return
        with ledger:
            inode = os.fstat(ledger.fileno()).st_ino
            is_new = inode == self._inode
            if not is_new:
                self._inode, self._read_to, self.store = inode, 0, self._empty_store()
                self.version += 1
            ledger.seek(self._read_to)
            text = ledger.read()
        notes: list[Note] = []
        messages = read_lines(text, str(self._path), notes.append)
        if notes:
            # The gateway is writing; the rest is there next time.
            return
        self._read_to += len(text)
        for message in messages:
            if message.target in (ACCOUNT, ORDER, POSITION, TRADE):
                apply_message(self.store, message)
                self.version += 1
                if is_new:
                    yield message
