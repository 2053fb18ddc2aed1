"""What holds for each of riskd's own rules."""

from __future__ import annotations

from datetime import UTC, datetime
from pkgutil import iter_modules
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import with_risk
from riskd.rules import builtin
from riskd.rules.interface import Kind, Trigger
from riskd.rules.registry import RULES
from tests.support.rules import (
    MNQ,
    NOON,
    RESET,
    UNKNOWN,
    at,
    order,
    position,
    quote,
    state_after,
    trade,
)

PLACEHOLDERS = st.sampled_from(
    [
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime(1, 1, 1, 23, 59, tzinfo=UTC),
        datetime(9999, 12, 31, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
    ]
)

TABLES: dict[str, dict[str, Any]] = {
    "RULE-006": {"limits": {"per_minute": 1, "per_hour": 1, "per_session": 1}},
    "RULE-009": {
        "allowed_hours": {"start": "18:00", "end": "17:00"},
        "close_positions_at_session_end": False,
        "sessions": {"MNQ": {"start": "08:30", "end": "09:00"}},
    },
    "RULE-015": {"target": 2000, "protect": {"arm_at": 1000, "floor": 800}},
    "RULE-016": {
        "loss_limit": 1,
        "profit_target": 1,
        "max_entries_and_exits": {"week": 1, "day": 1},
    },
    "RULE-018": {"stop_for_today": True},
    "RULE-019": {
        "max_size": 1,
        "price_band_ticks": 1,
        "no_adding_to_losers": True,
        "no_opposite_micros": True,
    },
    "RULE-012": {"trailing_stop": {"enabled": True}, "auto_breakeven": {"enabled": True}},
}


def with_stamps(event: Any, stamp: datetime, *names: str) -> Any:
    data = msgspec.structs.replace(event.data, **dict.fromkeys(names, stamp))
    return msgspec.structs.replace(event, data=data)


class PlaceholderTests(SynchronousTestCase):
    @given(PLACEHOLDERS, st.booleans())
    def test_a_stamp_that_was_never_set_breaks_no_rule(
        self, stamp: datetime, is_updated_too: bool
    ) -> None:
        stamps = ("created_at", "updated_at") if is_updated_too else ("created_at",)
        events = [
            with_stamps(position(MNQ, 2), stamp, *stamps),
            with_stamps(position(UNKNOWN, 1), stamp, *stamps),
            with_stamps(order(1), stamp, *stamps),
            with_stamps(trade(1, "-1000"), stamp, "execution_time"),
            trade(2, "-1000", 1),
            with_stamps(trade(3, "-1000"), stamp, "execution_time"),
            with_stamps(quote(MNQ, "20000"), stamp, "timestamp"),
            with_stamps(quote(UNKNOWN, "100"), stamp, "timestamp"),
        ]
        state = with_risk(state_after(*events), can_trade=True)
        for base in (state, msgspec.structs.replace(state, day_began=at(-3600))):
            for rule in RULES:
                settings = msgspec.convert(TABLES.get(rule.rule_id, {}), rule.settings_type)
                for kind in Kind:
                    subjects = [event.data for event in events] if kind is Kind.TRADE else [None]
                    for subject in subjects:
                        asked = Trigger(kind=kind, now=NOON, next_reset=RESET, subject=subject)
                        rule.check(base, settings, asked)
                rule.gauges(base, settings, NOON)

    def test_they_are_all_there_each_with_an_id_of_its_own(self) -> None:
        modules = [module.name for module in iter_modules(builtin.__path__)]
        self.assertCountEqual([rule.key for rule in RULES], modules)
        self.assertEqual(len({rule.rule_id for rule in RULES}), len(RULES))
