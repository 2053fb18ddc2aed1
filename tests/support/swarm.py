"""Faults of the practice gateway for swarm testing: any subset of them, at any strength."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from riskd.config.settings import NO_FAULTS, Faults

CHANCES = (
    *("refuse", "pending", "unanswered", "lost_requests", "failed_reads", "partial_fills"),
    *("fill_while_cancelled", "lost_events", "doubled_events", "swapped_events", "late_events"),
    *("events_without_stamp", "searches_without_stamp", "ends_stamped_early"),
    *("positions_dated_ahead", "positions_without_date", "repeated_quotes", "old_quote_stamps"),
    *("zero_last_prices", "wild_last_prices", "quote_freezes", "split_fills", "amended_trades"),
    *("voided_trades", "binary_noise"),
)
SWITCHES = ("opening_half_again", "commissions")
MOST_SECONDS = {
    "slow_seconds": 2.0,
    "latency_seconds": 0.3,
    "jitter_seconds": 0.3,
    "position_delay_seconds": 0.2,
    "searches_trail_seconds": 1.0,
    "late_seconds": 5.0,
    "freeze_seconds": 30.0,
    "correction_seconds": 20.0,
}
"""As long as each duration is drawn."""


def some_faults(
    *, without: tuple[str, ...] = (), offset: float = 60.0
) -> st.SearchStrategy[Faults]:
    """Return a strategy of settings with any subset of the faults.

    A test that draws from few faults at a time finds more than one that has them all at once.

    :param without: names of faults that are never drawn.
    :param offset: the most seconds by which the exchange's clock is off, either way.
    """
    fields: dict[str, st.SearchStrategy[Any]] = {
        **{name: st.sampled_from((0.05, 0.2, 0.5)) for name in CHANCES},
        **{name: st.just(True) for name in SWITCHES},
        **{name: st.floats(0.0, longest) for name, longest in MOST_SECONDS.items()},
        "clock_offset_seconds": st.floats(-offset, offset),
        "requests_per_minute": st.sampled_from((30, 200)),
    }
    wanted = {name: drawn for name, drawn in fields.items() if name not in without}
    drawn_fields = st.fixed_dictionaries({}, optional=wanted)
    return drawn_fields.map(lambda drawn: msgspec.structs.replace(NO_FAULTS, **drawn))
