"""The memory of a rule: a value as JSON in the account's state."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from riskd.model.account import AccountState

_Memory = TypeVar("_Memory")


def recall(state: AccountState, rule_id: str, kind: type[_Memory]) -> _Memory:
    """Return what a rule remembers, as a ``kind``; at first an empty one.

    Do not change it: checks of the same memory share one value.
    """
    text = state.risk.memory.get(rule_id)
    return kind() if text is None else _decode(text, cast(Any, kind))


def remember(value: object, known: object = None) -> str | None:
    """Return a result's ``memory``: ``value`` as JSON, or ``None`` if it is known."""
    return None if value == known else msgspec.json.encode(value).decode()


# A rule decodes its memory for every quote, and it seldom changes.
@lru_cache(maxsize=256)
def _decode(text: str, kind: Any) -> Any:
    return msgspec.json.decode(text, type=kind)
