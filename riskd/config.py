"""Settings: what a daemon is told about the accounts it follows."""

from __future__ import annotations

from typing import Final

import msgspec


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One account.

    :ivar id: the gateway's account id.
    :ivar watch: tickers such as ``MNQ`` whose quotes are sent to the account's consoles even while it
        holds nothing in them.
    """

    id: int
    watch: tuple[str, ...] = ()


PRACTICE_ACCOUNTS: Final = (
    AccountSettings(id=123, watch=("MNQ", "MES", "MCL")),
    AccountSettings(id=456, watch=("NQ", "ES", "M2K", "MGC")),
)
"""The accounts of the embedded practice gateway."""
