"""Contracts, and the table of the products that riskd knows by itself.

The gateway's product code is not always the ticker that traders use: ``EP`` is the ES.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

_CONTRACT_ID: Final = re.compile(
    r"CON\.F\.US\.(?P<product>[A-Z0-9]+)\.(?P<month>[FGHJKMNQUVXZ])(?P<year>\d\d)"
)


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """A futures contract.

    :ivar id: the gateway's contract id, such as ``CON.F.US.MNQ.Z26``.
    :ivar name: ticker, month and year, such as ``MNQZ6``.
    :ivar tick_size: the smallest move of its price.
    :ivar tick_value: the dollars that one contract makes with one tick.
    """

    id: str
    name: str
    tick_size: Decimal
    tick_value: Decimal

    @property
    def root(self) -> str:
        """The ticker: the name without the letter of the month and the digit of the year."""
        return self.name[:-2]

    @property
    def price_places(self) -> int:
        """The number of decimal places in its prices."""
        exponent = self.tick_size.as_tuple().exponent
        return max(0, -exponent) if isinstance(exponent, int) else 0

    def entry_price(self, *, made: Decimal, size: int, exit_: Decimal, closed_by: int) -> Decimal:
        """Return the average price at which closed contracts were opened.

        :param made: the gross dollars of the exit.
        :param size: how many contracts it closed, at least 1.
        :param closed_by: 1 if they were bought back, -1 if they were sold.
        """
        # Selling closes a long position, whose entry is below the exit by what it has made.
        points = made / size / self.tick_value * self.tick_size
        exact, on_tick = (
            round(exit_ + points * closed_by, self.price_places + more) for more in (4, 0)
        )
        return on_tick if on_tick == exact else exact.normalize()


class Product(msgspec.Struct, frozen=True):
    """The specification that all contracts of a product share.

    :ivar code: the gateway's product code, the third part of a contract id.
    :ivar ticker: the name that traders use.
    :ivar tick_size: the smallest move of the price.
    :ivar tick_value: the dollars that one contract makes with one tick.
    :ivar months: the codes of the months that it is listed in.
    """

    code: str
    ticker: str
    tick_size: Decimal
    tick_value: Decimal
    months: str
    description: str


_QUARTERLY: Final = "HMUZ"
_MONTHLY: Final = "FGHJKMNQUVXZ"

PRODUCTS: Final[dict[str, Product]] = {
    code: Product(code, ticker, Decimal(tick_size), Decimal(tick_value), months, description)
    for code, ticker, tick_size, tick_value, months, description in (
        # Tick sizes and values as in the contract specifications of CME Group and in the gateway's API.
        ("MNQ", "MNQ", "0.25", "0.50", _QUARTERLY, "Micro E-mini Nasdaq-100"),
        ("ENQ", "NQ", "0.25", "5.00", _QUARTERLY, "E-mini Nasdaq-100"),
        ("MES", "MES", "0.25", "1.25", _QUARTERLY, "Micro E-mini S&P 500"),
        ("EP", "ES", "0.25", "12.50", _QUARTERLY, "E-mini S&P 500"),
        ("M2K", "M2K", "0.10", "0.50", _QUARTERLY, "Micro E-mini Russell 2000"),
        ("RTY", "RTY", "0.10", "5.00", _QUARTERLY, "E-mini Russell 2000"),
        ("MYM", "MYM", "1", "0.50", _QUARTERLY, "Micro E-mini Dow Jones"),
        ("YM", "YM", "1", "5.00", _QUARTERLY, "E-mini Dow Jones"),
        ("MCLE", "MCL", "0.01", "1.00", _MONTHLY, "Micro Crude Oil"),
        ("CLE", "CL", "0.01", "10.00", _MONTHLY, "Crude Oil"),
        ("MGC", "MGC", "0.10", "1.00", "GJMQVZ", "Micro Gold"),
        ("GCE", "GC", "0.10", "10.00", "GJMQVZ", "Gold"),
        ("EU6", "6E", "0.00005", "6.25", _QUARTERLY, "Euro FX"),
        ("JY6", "6J", "0.0000005", "6.25", _QUARTERLY, "Japanese Yen"),
    )
}
"""The products that riskd knows by itself, by their code; the gateway's data has precedence."""


MICROS: Final[dict[str, str]] = {
    # Contract sizes as in the contract specifications of CME Group.
    "MNQ": "NQ",
    "MES": "ES",
    "M2K": "RTY",
    "MYM": "YM",
    "MCL": "CL",
    "MNG": "NG",
    "MGC": "GC",
    "MHG": "HG",
    "M6E": "6E",
    "M6A": "6A",
    "M6B": "6B",
    "MCD": "6C",
    "MSF": "6S",
    "MJY": "6J",
}
"""The tickers of micros, with the ticker of the product of which each is a tenth."""


@lru_cache(maxsize=1024)
def known_contract(contract_id: str) -> Contract | None:
    """Return the contract by the table of products; ``None`` for another product."""
    match = _CONTRACT_ID.fullmatch(contract_id)
    product = PRODUCTS.get(match["product"]) if match else None
    if match is None or product is None:
        return None
    return Contract(
        id=contract_id,
        name=f"{product.ticker}{match['month']}{match['year'][-1]}",
        tick_size=product.tick_size,
        tick_value=product.tick_value,
    )
