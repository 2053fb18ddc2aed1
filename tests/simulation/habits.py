"""What a broker's answers, events, facts and quotes are like on a bad day: groups of faults."""

from __future__ import annotations

OF_REQUESTS = [
    {"refuse": 0.5},
    {"pending": 0.5},
    {"unanswered": 0.5},
    {"lost_requests": 0.5},
    {"failed_reads": 0.4},
    {"slow_seconds": 3.0},
    {"fill_while_cancelled": 0.7},
    {
        "lost_events": 0.2,
        "unanswered": 0.2,
        "pending": 0.2,
        "failed_reads": 0.2,
        "slow_seconds": 1.0,
    },
]
OF_EVENTS = [
    {"lost_events": 0.4},
    {"lost_events": 0.8},
    {"doubled_events": 0.5},
    {"late_events": 0.5, "late_seconds": 3.0},
    {"swapped_events": 0.5},
    {
        "swapped_events": 0.3,
        "late_events": 0.3,
        "doubled_events": 0.3,
        "searches_trail_seconds": 0.8,
    },
    {"events_without_stamp": 0.7, "searches_without_stamp": 0.7},
    {"searches_without_stamp": 1.0, "swapped_events": 0.3},
    {"ends_stamped_early": 0.7},
    {"searches_trail_seconds": 0.9},
    {"position_delay_seconds": 0.1},
]
OF_FACTS = [
    {"opening_half_again": True},
    {"partial_fills": 0.7},
    {"split_fills": 0.7},
    {"positions_dated_ahead": 0.7},
    {"positions_without_date": 0.7},
    {"amended_trades": 0.4, "voided_trades": 0.2, "commissions": True, "correction_seconds": 20.0},
    {"binary_noise": 0.7},
]
OF_QUOTES = [
    {"repeated_quotes": 0.5},
    {"old_quote_stamps": 0.5},
    {"zero_last_prices": 0.5},
    {"wild_last_prices": 0.5},
    {"quote_freezes": 0.2, "freeze_seconds": 20.0},
]
_CHANCE = (0.05, 0.2, 0.5)
HABITS: dict[str, tuple[float | bool, ...]] = {
    **dict.fromkeys(
        (
            *("refuse", "pending", "unanswered", "lost_requests", "failed_reads"),
            *("fill_while_cancelled", "partial_fills", "split_fills"),
            *("lost_events", "doubled_events", "late_events", "swapped_events"),
            *("events_without_stamp", "searches_without_stamp", "ends_stamped_early"),
            *("positions_dated_ahead", "positions_without_date"),
            *("amended_trades", "voided_trades", "binary_noise"),
            *("repeated_quotes", "old_quote_stamps", "zero_last_prices", "wild_last_prices"),
        ),
        _CHANCE,
    ),
    "quote_freezes": (0.02, 0.1, 0.2),
    "freeze_seconds": (5.0, 20.0, 120.0),
    "requests_per_minute": (60, 100, 200),
    "slow_seconds": (0.5, 2.0, 3.0),
    "late_seconds": (1.0, 3.0, 5.0),
    "position_delay_seconds": (0.1, 0.2),
    "searches_trail_seconds": (0.3, 0.8, 1.0),
    "correction_seconds": (5.0, 20.0, 30.0),
    "opening_half_again": (True,),
    "commissions": (True,),
}
"""What a broker may be like on a day, and how strong each habit may be."""
