"""Hypothesis strategies: events that the wire can carry, and the daemon's own state."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from enum import Enum
from types import NoneType
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st
from msgspec import UnsetType

from riskd.model.account import (
    Charge,
    Flattening,
    Limit,
    LogEntry,
    RiskState,
)
from riskd.model.events import (
    EVENT_TYPES,
    Action,
    ContractId,
    Contracts,
    Count,
    DaemonStatus,
    Event,
    EventData,
    Identifier,
    LockoutSet,
    Seconds,
    Timestamp,
    to_milliseconds,
)

ids = st.integers(min_value=-(2**63), max_value=2**63 - 1)
counts = st.integers(min_value=0, max_value=2**53)
contract_ids = st.text(
    st.characters(min_codepoint=ord("!"), max_codepoint=ord("~")), min_size=1, max_size=64
)
numbers = st.decimals(
    min_value=Decimal(-(10**14)),
    max_value=Decimal(10**14),
    allow_nan=False,
    allow_infinity=False,
    # The journal takes no more places.
).filter(lambda number: int(number.as_tuple().exponent) >= -60)
moments = st.datetimes(
    min_value=datetime(1970, 1, 2),  # noqa: DTZ001  # hypothesis adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from(
        [UTC, timezone(timedelta(hours=-6)), timezone(timedelta(hours=5.5))]
    ),
)
sentences = st.text(max_size=2000)

_OF_TYPES: dict[Any, st.SearchStrategy[Any]] = {
    Identifier: ids,
    ContractId: contract_ids,
    Count: counts,
    Contracts: counts,
    Seconds: counts,
    Timestamp: moments,
    Decimal: numbers,
    str: sentences,
    bool: st.booleans(),
    NoneType: st.none(),
}


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Return a strategy for structs of ``kind``, with and without the fields that have a default."""
    fields = msgspec.structs.fields(kind)
    return st.fixed_dictionaries(
        {field.name: _values(field.type) for field in fields if field.required},
        optional={field.name: _values(field.type) for field in fields if not field.required},
    ).map(lambda values: kind(**values))


def _values(kind: Any) -> st.SearchStrategy[Any]:
    if kind in _OF_TYPES:
        return _OF_TYPES[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return structs(kind)
    return st.one_of([_values(part) for part in get_args(kind) if part is not UnsetType])


account_events = st.builds(
    Event,
    ids,
    st.one_of([structs(kind) for kind in EVENT_TYPES.values() if kind is not DaemonStatus]),
)
events = account_events | st.builds(Event, st.none(), structs(DaemonStatus))


def is_number(text: str) -> bool:
    """Return whether the journal takes ``text`` for a number, which may be one that it refuses."""
    try:
        Decimal(text)
    except InvalidOperation:
        return False
    return True


words = sentences.filter(lambda text: not is_number(text))
json_objects = st.dictionaries(
    sentences, st.integers(-(10**14), 10**14) | words | st.none(), max_size=3
).map(lambda fields: msgspec.json.encode(fields).decode())
milliseconds = moments.map(to_milliseconds)
limits = st.builds(Limit, contract_ids, json_objects)
log_entries = st.builds(LogEntry, milliseconds, contract_ids, json_objects)
flattenings = st.builds(
    Flattening,
    action=st.sampled_from(Action),
    rule_id=contract_ids,
    reason=sentences,
    begun=moments,
    keep=st.none() | st.dictionaries(contract_ids, counts, max_size=3),
    locks=st.lists(structs(LockoutSet), max_size=3).map(tuple),
    is_announced=st.booleans(),
)
risks = st.builds(
    RiskState,
    can_trade=st.none() | st.booleans(),
    charges=st.dictionaries(ids, st.builds(Charge, milliseconds, numbers), max_size=3),
    memory=st.dictionaries(contract_ids, json_objects, max_size=3),
    flattening=st.none() | flattenings,
    day_key=st.none() | st.dates(),
    log=st.lists(log_entries, max_size=3).map(tuple),
)


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
