"""Report that the broker voided or amended a trade that was broadcast.

A trade is broadcast once, so no trade event can report it.  The published copy is corrected first; then a
``daemon_status`` reports the correction in a sentence, and clients read the copy again.
"""

from __future__ import annotations

from typing import Final

from riskd.model.broker import BrokerTrade, is_same_on_wire
from riskd.model.events import GatewayUserTrade
from riskd.model.formatting import dollars

_MAX_REMEMBERED: Final = 1024
"""How many amended trades are remembered."""

_MAX_VERSIONS: Final = 16
"""How many earlier versions of one trade are remembered."""


def voided_sentence(account_id: int, trade: GatewayUserTrade) -> str:
    """Return the sentence that the broker voided a trade, for a trader."""
    return (
        f"The broker voided trade {trade.id} of account {account_id} "
        f"({dollars(trade.profit_and_loss)}); it does not count any more"
    )


def amended_sentence(account_id: int, known: GatewayUserTrade, trade: GatewayUserTrade) -> str:
    """Return the sentence that the broker changed a trade, for a trader."""
    if known.profit_and_loss == trade.profit_and_loss:
        return f"The broker changed trade {trade.id} of account {account_id}"
    return (
        f"The broker changed trade {trade.id} of account {account_id} from "
        f"{dollars(known.profit_and_loss)} to {dollars(trade.profit_and_loss)}"
    )


def is_amended(known: BrokerTrade, trade: BrokerTrade) -> bool:
    """Return whether the broker reports other figures than clients have."""
    return not is_same_on_wire(known, trade)


class Versions:
    """The earlier versions of amended trades.

    A late event may repeat an earlier version, which is no amendment; the answer to a later request may
    restore one.
    """

    def __init__(self) -> None:
        self._earlier: dict[int, list[BrokerTrade]] = {}

    def is_late_copy(self, trade: BrokerTrade) -> bool:
        """Return whether an event repeats an earlier version of a trade."""
        return any(not is_amended(each, trade) for each in self._earlier.get(trade.id, ()))

    def amend(self, known: BrokerTrade, trade: BrokerTrade) -> None:
        """Remember that ``trade`` has replaced ``known``."""
        earlier = self._earlier.pop(trade.id, [])
        self._earlier[trade.id] = [
            *(each for each in earlier if is_amended(each, trade)),
            known,
        ][-_MAX_VERSIONS:]
        if len(self._earlier) > _MAX_REMEMBERED:
            del self._earlier[next(iter(self._earlier))]
