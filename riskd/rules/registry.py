"""riskd's own rules in the order of evaluation.

A user's own rules follow them by their ids.
"""

from __future__ import annotations

from typing import Final

from riskd.rules.builtin import (
    auth_loss_guard,
    consistency,
    cooldown_after_loss,
    daily_net_loss,
    daily_profit_target,
    daily_realized_loss,
    daily_unrealized_loss,
    max_contracts,
    max_contracts_per_instrument,
    max_unrealized_profit,
    maximum_loss,
    news_blackout,
    no_stop_loss_grace,
    order_limits,
    session_block_outside,
    symbol_blocks,
    trade_frequency_limit,
    trade_management,
    weekly_limits,
)

RULES: Final = (
    max_contracts.RULE,
    max_contracts_per_instrument.RULE,
    daily_realized_loss.RULE,
    daily_unrealized_loss.RULE,
    maximum_loss.RULE,
    weekly_limits.RULE,
    daily_net_loss.RULE,
    daily_profit_target.RULE,
    consistency.RULE,
    max_unrealized_profit.RULE,
    trade_frequency_limit.RULE,
    cooldown_after_loss.RULE,
    no_stop_loss_grace.RULE,
    session_block_outside.RULE,
    auth_loss_guard.RULE,
    symbol_blocks.RULE,
    trade_management.RULE,
    news_blackout.RULE,
    order_limits.RULE,
)
