"""The twelve rules: their ids, the events that each listens to, and the order of evaluation.

riskd evaluates rules in the order of this table, and a user's own rules after them by their ids.
"""

from __future__ import annotations

from typing import Final

from riskd.rules.builtin import (
    auth_loss_guard,
    cooldown_after_loss,
    daily_realized_loss,
    daily_unrealized_loss,
    max_contracts,
    max_contracts_per_instrument,
    max_unrealized_profit,
    no_stop_loss_grace,
    session_block_outside,
    symbol_blocks,
    trade_frequency_limit,
    trade_management,
)
from riskd.rules.interface import Kind, Rule


def _rule(number: str, module: object, *listens: Kind, runs_while_locked: bool = False) -> Rule:
    name: str = module.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    return Rule(
        f"RULE-{number}",
        name,
        module.Settings,  # type: ignore[attr-defined]
        frozenset(listens),
        module.check,  # type: ignore[attr-defined]
        module.gauges,  # type: ignore[attr-defined]
        runs_while_locked=runs_while_locked,
    )


_TRADE, _POSITION, _ORDER, _QUOTE, _ACCOUNT = (
    Kind.TRADE,
    Kind.POSITION,
    Kind.ORDER,
    Kind.QUOTE,
    Kind.ACCOUNT,
)

RULES: Final = (
    _rule("001", max_contracts, _POSITION),
    _rule("002", max_contracts_per_instrument, _POSITION),
    # A loss that is realized during a cooldown must still end the day.
    _rule("003", daily_realized_loss, _TRADE, runs_while_locked=True),
    _rule("004", daily_unrealized_loss, _POSITION, _QUOTE),
    _rule("005", max_unrealized_profit, _POSITION, _QUOTE),
    _rule("006", trade_frequency_limit, _TRADE),
    # A cooldown whose trade is voided must end.
    _rule("007", cooldown_after_loss, _TRADE, runs_while_locked=True),
    _rule("008", no_stop_loss_grace, _POSITION, _ORDER),
    _rule("009", session_block_outside, _POSITION, _ORDER),
    # Its lock must end when the broker permits trading again.
    _rule("010", auth_loss_guard, _ACCOUNT, runs_while_locked=True),
    _rule("011", symbol_blocks, _POSITION, _ORDER),
    _rule("012", trade_management, _POSITION, _ORDER, _QUOTE),
)
