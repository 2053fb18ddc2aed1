"""Hypothesis strategies: any event that the wire can carry, and what the daemon keeps to itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

from riskd.model.account import (
    AccountState,
    Charge,
    Flattening,
    Limit,
    LogEntry,
    OrderDetail,
    RiskState,
    apply,
)
from riskd.model.events import (
    Action,
    ClearedBy,
    DaemonStatus,
    DailyReset,
    EnforcementAction,
    EnforcementDetails,
    Event,
    EventData,
    GatewayUserOrder,
    GatewayUserPosition,
    GatewayUserTrade,
    LockoutCleared,
    LockoutSet,
    MarketQuote,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
    Status,
    to_milliseconds,
)

ids = st.integers(min_value=-(2**63), max_value=2**63 - 1)
counts = st.integers(min_value=0, max_value=2**53)
contract_ids = st.text(
    st.characters(min_codepoint=ord("!"), max_codepoint=ord("~")), min_size=1, max_size=64
)
numbers = st.decimals(
    min_value=Decimal(-(10**14)), max_value=Decimal(10**14), allow_nan=False, allow_infinity=False
)
moments = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001  # hypothesis adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from(
        [UTC, timezone(timedelta(hours=-6)), timezone(timedelta(hours=5.5))]
    ),
)
sentences = st.text(max_size=2000)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


trades = st.builds(
    GatewayUserTrade,
    id=ids,
    contract_id=contract_ids,
    profit_and_loss=numbers,
    quantity=counts,
    execution_time=moments,
    timestamp=moments,
)
positions = st.builds(
    GatewayUserPosition,
    id=ids,
    contract_id=contract_ids,
    type=st.sampled_from(PositionType),
    size=counts,
    average_price=numbers,
    created_at=moments,
    updated_at=moments,
)
orders = st.builds(
    GatewayUserOrder,
    id=ids,
    contract_id=contract_ids,
    type=st.sampled_from(OrderType),
    side=st.sampled_from(OrderSide),
    size=counts,
    limit_price=optional(numbers),
    stop_price=optional(numbers),
    state=st.sampled_from(OrderState),
    created_at=moments,
    updated_at=moments,
)
quotes = st.builds(
    MarketQuote,
    contract_id=contract_ids,
    bid=numbers,
    ask=numbers,
    last=numbers,
    timestamp=moments,
)
lockouts = st.builds(
    LockoutSet,
    reason=sentences,
    locked_until=optional(moments),
    rule_id=contract_ids,
    locked_at=moments,
)
cleared = st.builds(LockoutCleared, cleared_at=moments, cleared_by=st.sampled_from(ClearedBy))
details = st.fixed_dictionaries(
    {"positions_closed": counts, "orders_canceled": counts},
    optional={
        "contract_id": contract_ids,
        "cooldown_seconds": counts,
        "locked_until": optional(moments),
        "order_id": ids,
        "stop_price": numbers,
        "size": counts,
        "dry_run": st.booleans(),
    },
).map(lambda fields: EnforcementDetails(**fields))
actions = st.builds(
    EnforcementAction,
    action=st.sampled_from(Action),
    reason=sentences,
    rule_id=contract_ids,
    success=st.booleans(),
    timestamp=moments,
    details=details,
)
resets = st.builds(
    DailyReset,
    reset_time=moments,
    previous_pnl=numbers,
    previous_trade_count=counts,
    lockouts_cleared=st.booleans(),
)
statuses = st.builds(
    DaemonStatus, status=st.sampled_from(Status), message=sentences, timestamp=moments
)

account_events = st.builds(
    Event,
    ids,
    trades | positions | orders | quotes | lockouts | cleared | actions | resets,
)
events = account_events | st.builds(Event, st.none(), statuses)

json_objects = st.dictionaries(sentences, st.integers() | sentences | st.none(), max_size=3).map(
    lambda fields: msgspec.json.encode(fields).decode()
)
milliseconds = moments.map(to_milliseconds)
limits = st.builds(Limit, contract_ids, json_objects)
log_entries = st.builds(LogEntry, milliseconds, contract_ids, json_objects)
flattenings = st.builds(
    Flattening,
    action=st.sampled_from(Action),
    rule_id=contract_ids,
    reason=sentences,
    begun=moments,
    keep=optional(st.dictionaries(contract_ids, counts, max_size=3)),
    locks=st.lists(lockouts, max_size=3).map(tuple),
    is_announced=st.booleans(),
)
risks = st.builds(
    RiskState,
    can_trade=optional(st.booleans()),
    order_details=st.dictionaries(
        ids, st.builds(OrderDetail, filled=counts, is_open=st.booleans(), custom_tag=sentences)
    ),
    charges=st.dictionaries(ids, st.builds(Charge, milliseconds, numbers), max_size=3),
    memory=st.dictionaries(contract_ids, json_objects, max_size=3),
    flattening=optional(flattenings),
    day_key=optional(st.dates()),
    log=st.lists(log_entries, max_size=3).map(tuple),
)


def state_after(*events: Event) -> AccountState:
    """Return the state of account 123 after ``events``."""
    state = AccountState(account_id=123)
    for each in events:
        state = apply(state, each)
    return state


_NOON = datetime(2025, 1, 17, 12, 0, tzinfo=UTC)

# Few ids, contracts and moments, so that events concern the same things.
few_moments = st.integers(0, 6).map(lambda seconds: _NOON + timedelta(seconds=seconds))
few_ids = st.integers(1, 3)
few_contracts = st.sampled_from(["CON.F.US.MNQ.U25", "CON.F.US.EP.U25"])


def narrowed(data: EventData, draw: st.DrawFn) -> EventData:
    """Return ``data`` with one of the few ids, contracts and moments."""
    changes: dict[str, object] = {}
    for name in data.__struct_fields__:
        if isinstance(getattr(data, name), datetime):
            changes[name] = draw(few_moments)
    if hasattr(data, "id"):
        changes["id"] = draw(few_ids)
    if hasattr(data, "contract_id"):
        changes["contract_id"] = draw(few_contracts)
    if isinstance(data, LockoutSet):
        changes["rule_id"] = draw(st.sampled_from(["RULE-003", "RULE-007"]))
    return msgspec.structs.replace(data, **changes)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Draw events of one account, of which many concern the same orders and positions."""
    drawn = draw(st.lists(account_events | events, max_size=12))
    return [
        Event(None if each.account_id is None else 123, narrowed(each.data, draw))
        for each in drawn
    ]
