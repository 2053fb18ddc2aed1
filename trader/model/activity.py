"""The activity feed: a line for each event, and whether it flashes."""

from __future__ import annotations

from datetime import datetime

import msgspec

from riskd.model.account import AccountState
from riskd.model.descriptions import describe
from riskd.model.events import (
    DaemonStatus,
    DailyReset,
    Event,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    LockoutCleared,
    MarketQuote,
    OrderState,
    OrderType,
    Status,
)
from riskd.model.formatting import contract_name
from trader.model.formatting import money, until
from trader.model.wording import describe_order, describe_position


class FeedLine(msgspec.Struct, frozen=True):
    """One line of the feed.

    :ivar at: when the event was received or, if it came from the state file, happened; aware.
    :ivar text: the event in a sentence.
    :ivar style: the name of a style in the palette.
    :ivar flashes: whether the line flashes on the screen.
    :ivar kind: the event type; ``console`` for lines of the console itself.
    """

    at: datetime
    text: str
    style: str
    flashes: bool = False
    kind: str = "console"


def line_for(event: Event, state: AccountState, now: datetime) -> FeedLine | None:
    """Return the line for ``event``; ``None`` for an event that has no line.

    :param state: the account before the event.
    """
    data = event.data
    flashes = True
    match data:
        case MarketQuote():
            return None
        case GatewayUserOrder(type=OrderType.MARKET, state=OrderState.ACTIVE):
            # It is filled a moment later, and its fill has a line.
            return None
        case GatewayUserOrder():
            text, flashes = describe_order(data, state), data.state is OrderState.REJECTED
            style = "loss" if flashes else "dim"
        case GatewayUserPosition():
            text, style, flashes = describe_position(data, state), "text", False
        case GatewayUserTrade():
            pnl, name = data.profit_and_loss, contract_name(state, data.contract_id)
            text = f"Trade {money(pnl)}  {name} x{data.quantity}"
            style = "loss" if pnl < 0 else "gain" if pnl > 0 else "strong"
        case DaemonStatus():
            # An error does not flash: it stands above every page for as long as it lasts.
            text, flashes = f"Daemon {data.status}: {data.message}", False
            style = "good" if data.status is Status.RUNNING else "alert"
        case _:
            text = describe(data, until)
            style = "good" if isinstance(data, (LockoutCleared, DailyReset)) else "alert"
    return FeedLine(now, text, style, flashes, event.type)
