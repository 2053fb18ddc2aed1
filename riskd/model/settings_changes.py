"""Changes of settings: which have changed, and how a person reads that.

The latest ones are kept among the limits in force, like an unlock: there the published copy has them, and a
console that connects later shows them in its feed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from riskd.model.account import AccountState, Limit
from riskd.model.safe_text import json_text, printable

CHANGES: Final = "SETTINGS"
"""The name of the latest changes among the limits in force, in the place of a rule's id."""

CHANGES_KEY: Final = "settings"

KEPT_CHANGES: Final = 30
"""How many of the latest changes the published copy has."""

CHANGE_BEGINS: Final = ("Settings ", "Unlock ")
"""How the sentences begin."""

RULE_PREFIX: Final = "rules."
"""Begins the names of rules among the settings; the rule's key follows."""

HIDDEN: Final = ("user_name", "key_file")
"""Keys whose values are in the journal alone: every user of the machine may read the copy and the stream."""

_LONGEST_VALUE: Final = 60
_LONGEST_SENTENCE: Final = 220
"""Characters."""


class SettingsChange(msgspec.Struct, frozen=True):
    """A change of settings as consoles show it.

    :ivar at: when riskd took it over, in the broker's time; in whole milliseconds, as on the wire.
    :ivar sentence: without a full stop.
    """

    at: datetime
    sentence: str


_DECODER: Final = msgspec.json.Decoder(tuple[SettingsChange, ...])
_VALUES: Final = msgspec.json.Decoder(float_hook=Decimal)


def changes_limit(changes: tuple[SettingsChange, ...]) -> dict[str, Limit]:
    """Return the latest changes as the journal keeps them; empty if there are none."""
    text = msgspec.json.encode(changes[-KEPT_CHANGES:]).decode()
    return {CHANGES: Limit(CHANGES_KEY, text)} if changes else {}


def latest_changes(state: AccountState) -> tuple[SettingsChange, ...]:
    """Return the latest changes of an account's settings, oldest first."""
    limit = state.limits.get(CHANGES)
    return () if limit is None else _decode(limit.settings)


@lru_cache(maxsize=64)
def _decode(text: str) -> tuple[SettingsChange, ...]:
    try:
        return _DECODER.decode(text)
    except (msgspec.MsgspecError, ValueError):
        return ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A table or key of the settings that has changed.

    :ivar key: the rule's key, or the name of another table or key.
    :ivar before: its value; of tables that were and are there, only the keys that differ; ``None`` if it was
        not there.
    :ivar after: likewise.
    """

    key: str
    before: Any
    after: Any


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    """Yield what differs between two settings.

    :param before: values as JSON, by name.
    """
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) == after.get(name):
            continue
        old, new = _value(before.get(name)), _value(after.get(name))
        if isinstance(old, dict) and isinstance(new, dict):
            names = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            old, new = ({key: table.get(key) for key in names} for table in (old, new))
        yield Difference(key=name, before=old, after=new)


def _value(text: str | None) -> Any:
    """Return a value of JSON, with every fraction as a ``Decimal``."""
    try:
        return None if text is None else _VALUES.decode(text)
    except (msgspec.MsgspecError, ValueError):
        # Of another version of riskd.
        return text


def describe_change(name: str, before: Any, after: Any) -> str:
    """Return a change in words, such as ``max_contracts: limit 2 became 3``.

    :param before: see :class:`Difference`.
    """
    if before is None or after is None:
        return f"{name} was {'removed' if after is None else 'added'}"
    if not isinstance(before, dict) or not isinstance(after, dict):
        return f"{name}: {_words(before)} became {_words(after)}"
    changes = [
        f"{key} {_words(before.get(key))} became {_words(after.get(key))}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
    return f"{name}: {', '.join(changes)}"


def sentence_of(
    difference: Difference, account_id: int | None, operator: str, effect: str = ""
) -> str:
    """Return the sentence that consoles show, without hidden values.

    :param effect: what follows from it, in a clause.
    :param account_id: ``None`` for settings that are not about single accounts.
    :param operator: the user of the operating system whose file has the new settings; empty if unknown.
    """
    whose = "Settings" if account_id is None else f"Settings of account {account_id}"
    by = f" by {operator}" if operator else ""
    what = describe_change(difference.key, *shown(difference))
    note = f" ({effect})" if effect else ""
    room = _LONGEST_SENTENCE - len(note)
    return f"{printable(f'{whose} changed{by}: {what}')[:room]}{note}"


def words_of(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return what differs between two settings in words, by name."""
    return {
        each.key: describe_change(each.key.removeprefix(RULE_PREFIX), *shown(each))
        for each in differences(before, after)
    }


def shown(difference: Difference) -> tuple[Any, Any]:
    """Return both values of a difference as others may see them."""
    return _shown(difference.before, "a value"), _shown(difference.after, "another")


def _shown(value: Any, word: str) -> Any:
    """Return a value of a change as others may see it.

    :param word: stands for a hidden value.
    """
    if not isinstance(value, dict):
        return value
    return {**value, **{key: word for key in HIDDEN if value.get(key)}}


def _words(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json_text(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
