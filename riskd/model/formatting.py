"""Amounts, numbers and names for sentences, and text that is safe to show."""

from __future__ import annotations

from decimal import Decimal

from riskd.model.account import AccountState
from riskd.model.money import to_cents


def dollars(amount: Decimal) -> str:
    """Return an amount as ``$1,234.50`` or ``-$1,234.50``."""
    cents = to_cents(amount)
    return f"{'-' if cents < 0 else ''}${abs(cents):,.2f}"


def counted(number: int, thing: str) -> str:
    """Return ``1 contract``, ``2 contracts``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def printable(text: str) -> str:
    """Return ``text`` without characters that command a terminal or break a line."""
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in text
    )


def contract_name(state: AccountState, contract_id: str) -> str:
    """Return a contract's name, such as ``MNQZ6``; its id while that is unknown."""
    contract = state.contract(contract_id)
    return contract.name if contract else contract_id
