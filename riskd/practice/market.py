"""The practice market: the contracts it lists, and prices that move like prices.

Prices walk at random, tick by tick, and change between calm and hectic spells, each contract by itself.
The same seed gives the same walk.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import date
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

from riskd.model.contracts import PRODUCTS, Contract, known_contract
from riskd.model.money import round_down_to_tick
from riskd.practice.records import Quote

STEP_SECONDS: Final = 0.25
"""How often the market may move; each contract is quoted 1 to 4 times a second."""

_STEPS_PER_SECOND: Final = round(1 / STEP_SECONDS)
_MONTH_CODES: Final = "FGHJKMNQUVXZ"

# Chances per step, and by how much a hectic spell multiplies the volatility.
_CALM_TO_HECTIC: Final = 0.02
_HECTIC_TO_CALM: Final = 0.08
_HECTIC_FACTOR: Final = 3.0


class Listing(NamedTuple):
    """A product of the practice market.

    :ivar code: the gateway's product code.
    :ivar opening: about where its price begins.
    :ivar volatility: the standard deviation of a step, in ticks.
    :ivar pace: the chance that a step brings a quote.
    :ivar fee: dollars per contract and half-turn.
    """

    code: str
    opening: Decimal
    volatility: float
    pace: float
    fee: Decimal


LISTINGS: Final = (
    Listing("MNQ", Decimal(21000), 3.0, 0.9, Decimal("0.37")),
    Listing("ENQ", Decimal(21000), 3.0, 0.9, Decimal("1.40")),
    Listing("MES", Decimal(5800), 1.2, 0.8, Decimal("0.37")),
    Listing("EP", Decimal(5800), 1.2, 0.8, Decimal("1.40")),
    Listing("M2K", Decimal(2250), 1.5, 0.5, Decimal("0.37")),
    Listing("MCLE", Decimal(72), 1.0, 0.4, Decimal("0.52")),
    Listing("MGC", Decimal(2650), 1.5, 0.5, Decimal("0.52")),
)

_EXPIRE_EARLY: Final = frozenset({"CLE", "MCLE"})
"""Products whose contracts stop trading in the month before their own."""


def front_contract(code: str, today: date) -> Contract:
    """Return a product's contract of the next listed month after ``today``.

    Real contracts expire on days of their own.  A contract of a later month has not expired yet; for one
    that expires before its own month, the month after the next is the first that is safe.
    """
    months = PRODUCTS[code].months
    first = 2 if code in _EXPIRE_EARLY else 1
    for ahead in range(first, first + 12):
        years, month = divmod(today.month - 1 + ahead, 12)
        if _MONTH_CODES[month] in months:
            year = (today.year + years) % 100
            contract = known_contract(f"CON.F.US.{code}.{_MONTH_CODES[month]}{year:02}")
            if contract is not None:
                return contract
    raise ValueError(f"{code} is listed in no month")


class Market:
    """Prices of the listed contracts, one step after another.

    :ivar contracts: the listed contracts.
    :ivar fees: dollars per contract and half-turn, by contract id.
    """

    def __init__(self, random: Random, today: date) -> None:
        self._walks = [
            _Walk(listing, front_contract(listing.code, today), random) for listing in LISTINGS
        ]
        self._walk_of = {walk.contract.id: walk for walk in self._walks}
        self.contracts = tuple(walk.contract for walk in self._walks)
        self.fees = {walk.contract.id: walk.listing.fee for walk in self._walks}

    def listed(self, tickers: Container[str]) -> tuple[Contract, ...]:
        """Return the listed contracts of ``tickers``, such as ``MNQ``."""
        return tuple(contract for contract in self.contracts if contract.root in tickers)

    def resume(self, prices: Mapping[str, Decimal]) -> None:
        """Go on from known prices, by contract id; ignore contracts that are not listed."""
        for contract_id, price in prices.items():
            if contract_id in self._walk_of:
                self._walk_of[contract_id].resume(price)

    def opening(self) -> Iterator[tuple[str, Quote]]:
        """Yield the first quote of every contract, by contract id."""
        for walk in self._walks:
            yield walk.contract.id, walk.quote()

    def step(self) -> Iterator[tuple[str, Quote]]:
        """Move on, and yield the new quotes by contract id."""
        for walk in self._walks:
            if walk.step():
                yield walk.contract.id, walk.quote()


class _Walk:
    """The price of one contract."""

    def __init__(self, listing: Listing, contract: Contract, random: Random) -> None:
        self.listing = listing
        self.contract = contract
        self._random = random
        self._is_hectic = False
        # What the price has moved since the last quote, in ticks.
        self._unquoted_ticks = 0.0
        self._last_was_bought = False
        self._silent_steps = 0
        # By itself the price stays far above zero; see resume().
        self._floor: Decimal | None = listing.opening / 2
        # Not the same opening price in every run.
        scatter = Decimal(random.randint(-100, 100)) * contract.tick_size
        self._bid = round_down_to_tick(listing.opening, contract.tick_size) + scatter

    def resume(self, price: Decimal) -> None:
        """Go on from ``price``, which may be zero or below it."""
        self._bid = round_down_to_tick(price, self.contract.tick_size)
        # A market below its floor has left it for good: a jump back would be a gain that no trade made.
        if self._floor is not None and self._bid < self._floor:
            self._floor = None

    def step(self) -> bool:
        """Move on; return whether there is a new quote."""
        random = self._random
        if random.random() < (_HECTIC_TO_CALM if self._is_hectic else _CALM_TO_HECTIC):
            self._is_hectic = not self._is_hectic
        factor = _HECTIC_FACTOR if self._is_hectic else 1.0
        move = random.gauss(0.0, self.listing.volatility * factor)
        # However slow its pace, a contract is quoted once a second.
        self._silent_steps += 1
        is_quoted = random.random() < self.listing.pace or self._silent_steps == _STEPS_PER_SECOND
        # Drawn at every step, quoted or not, so that the pace does not change the walk.
        self._last_was_bought = random.choice((True, False))
        self._unquoted_ticks += move
        if not is_quoted:
            return False
        self._silent_steps = 0
        ticks = round(self._unquoted_ticks)
        self._unquoted_ticks -= ticks
        self._bid += ticks * self.contract.tick_size
        if self._floor is not None:
            self._bid = max(self._bid, self._floor)
        return True

    def quote(self) -> Quote:
        """Return the current quote."""
        ask = self._bid + self.contract.tick_size
        return Quote(self._bid, ask, ask if self._last_was_bought else self._bid)
