"""The gateway's kinds of events, as it names them."""

from __future__ import annotations

from typing import Final

ACCOUNT: Final = "GatewayUserAccount"
POSITION: Final = "GatewayUserPosition"
ORDER: Final = "GatewayUserOrder"
TRADE: Final = "GatewayUserTrade"
QUOTE: Final = "GatewayQuote"
