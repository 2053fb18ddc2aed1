"""riskd's own rules as Twisted plugins; riskd finds them as it finds a user's."""

from twisted.plugin import IPlugin
from zope.interface import alsoProvides

from riskd.rules.registry import RULES

for _rule in RULES:
    alsoProvides(_rule, IPlugin)

(
    max_contracts,
    max_contracts_per_instrument,
    daily_realized_loss,
    daily_unrealized_loss,
    max_unrealized_profit,
    trade_frequency_limit,
    cooldown_after_loss,
    no_stop_loss_grace,
    session_block_outside,
    auth_loss_guard,
    symbol_blocks,
    trade_management,
) = RULES
del _rule
