"""Price bars from before the practice gateway began, which no quote has made.

A program that begins with the bars of the last days would otherwise wait for days.  The prices walk back at random
from the first one, as far in a second as the market's own; the same contract, price and moment give the same bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from math import sqrt
from random import Random
from typing import Final

from riskd.model.contracts import known_contract
from riskd.practice.market import LISTINGS, STEP_SECONDS
from riskd.practice.server.bar import Bar

_VOLATILITIES: Final = {listing.code: listing.volatility for listing in LISTINGS}


def bars_before(contract_id: str, first: Bar, counts: Mapping[int, int]) -> dict[int, list[Bar]]:
    """Return the bars that end where ``first`` begins, newest first.

    Longer bars are made of the shorter ones, as far as these go back.

    :param first: the first bar that quotes have made; its start is a full second.
    :param counts: how many bars there are at least, by the seconds in a bar; each divides the next.
    :returns: by the seconds in a bar; nothing for a contract that the practice market does not list.
    """
    contract = known_contract(contract_id)
    if contract is None:
        return {}
    volatility = _VOLATILITIES.get(contract_id.split(".")[3])
    if volatility is None:
        return {}
    random = Random(f"{contract_id} {first.start} {first.open}")  # paper prices
    found: dict[int, list[Bar]] = {}
    bars: list[Bar] = []
    end, close = first.start, first.open
    for seconds, longer in pairwise([*counts, 1]):
        bars = _joined(bars, seconds)
        # A bar has many steps of the market, and beyond its ends a walk goes about half as far again.
        ticks = volatility * sqrt(seconds / STEP_SECONDS)
        while len(bars) < counts[seconds] or end % longer:
            start = end - 1 - (end - 1) % seconds
            open_ = close + round(random.gauss(0, ticks)) * contract.tick_size
            above, below = (
                round(abs(random.gauss(0, ticks / 2))) * contract.tick_size for _ in range(2)
            )
            high, low = max(open_, close) + above, min(open_, close) - below
            bars.append(Bar(start, open_, high, low, close, round(seconds / STEP_SECONDS)))
            end, close = start, open_
        found[seconds] = bars
    return found


def _joined(bars: list[Bar], seconds: int) -> list[Bar]:
    """Return bars, newest first, joined to longer ones."""
    joined: list[Bar] = []
    for bar in bars:
        longer = replace(bar, start=bar.start - bar.start % seconds)
        if joined and joined[-1].start == longer.start:
            longer.join(joined.pop())
        joined.append(longer)
    return joined
