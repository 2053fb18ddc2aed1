"""How much of one account riskd follows.

A broker that misbehaves may list any number of positions and orders.  Each rule looks at all of them at each event,
so that their number bounds how long a rule takes: with these, all rules take some 20 ms.  No trader comes near.
"""

from __future__ import annotations

from typing import Final

MOST_POSITIONS: Final = 200
MOST_ORDERS: Final = 500
"""How many open positions and working orders of an account are followed; more are counted, and reported."""

MORE_BY_EVENTS: Final = 100
"""How many more may be opened by events: what a trader does now must not find all room taken by a strange list."""

MOST_TRADES: Final = 10_000
"""How many trades of a day are kept."""

MOST_CONTRACTS: Final = 1000
"""How many contracts are known, held or not."""
