"""An account under many rules, and a broker with faults, for tests of any course of events."""

from __future__ import annotations

from hypothesis import strategies as st

from riskd.config.faults import Faults

RULES = """
[rules.max_contracts]
limit = 4
[rules.max_contracts_per_instrument]
limits = { ES = 2 }
unknown_symbol_action = "allow_unlimited"
[rules.daily_realized_loss]
loss_limit = 500
[rules.cooldown_after_loss]
loss_threshold = 100
cooldown_seconds = 60
[rules.auth_loss_guard]
[rules.symbol_blocks]
blocked_symbols = ["MES"]
"""

QUIET = Faults()
FAULTS = st.sampled_from(
    [
        QUIET,
        Faults(refuse=0.5),
        Faults(pending=0.5),
        Faults(unanswered=0.5),
        Faults(lost_requests=0.5),
        Faults(failed_reads=0.4),
        Faults(slow_seconds=3.0),
        Faults(fill_while_cancelled=0.7),
        Faults(lost_events=0.4),
        Faults(lost_events=0.8),
        Faults(doubled_events=0.5),
        Faults(opening_half_again=True),
        Faults(partial_fills=0.7),
        Faults(lost_events=0.2, unanswered=0.2, pending=0.2, failed_reads=0.2, slow_seconds=1.0),
    ]
)
