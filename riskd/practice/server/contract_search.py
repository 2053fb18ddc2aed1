"""Searching contracts by text, best match first."""

from __future__ import annotations

from typing import Final

from riskd.gateway.fields import Payload

MAX_FOUND: Final = 20
"""The most contracts that a search returns.  Source: the ProjectX Gateway API documentation."""

_NO_MATCH: Final = 4


def search(contracts: list[Payload], text: str) -> list[Payload]:
    """Return the contracts that ``text`` may mean, best first.

    The text may be a ticker, a product, a name, an id, the beginning of one of them, or words of the
    description.  An empty text means all contracts.

    :param contracts: payloads of contracts.
    """
    wanted = text.strip().upper()
    ranks = {contract["id"]: _rank(contract, wanted) for contract in contracts}
    found = [contract for contract in contracts if ranks[contract["id"]] < _NO_MATCH]
    return sorted(found, key=lambda contract: ranks[contract["id"]])[:MAX_FOUND]


def _rank(contract: Payload, text: str) -> int:
    """Return how good a match is, 0 being the best."""
    ticker = contract["name"][:-2]
    product = contract["symbolId"].rpartition(".")[2]
    names = (ticker, product, contract["name"], contract["id"], contract["symbolId"])
    if text in names:
        return 0
    if any(name.startswith(text) for name in names):
        return 1
    # Only the beginnings of words count: "EP" is in the middle of "September".
    described = contract["description"].upper().replace("-", " ").split()
    wanted = text.replace("-", " ").split()
    if wanted and all(any(word.startswith(part) for word in described) for part in wanted):
        return 2
    return 3 if any(text in name for name in names) else _NO_MATCH
