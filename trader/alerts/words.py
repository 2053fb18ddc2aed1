"""Alerts in words, and several of them as one message."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from riskd.config.toml import nearest
from riskd.model.safe_text import printable
from trader.alerts.alert import COMMON_FIELDS, FACTS, Alert, Kind, Urgency
from trader.model.formatting import clock

Words = Mapping[Kind, str]
"""The trader's own words, by kind; the others have the usual ones."""

_OF_ACCOUNT: Final = "account {account} ({gateway}): {text}"
_OF_DAEMON: Final = "{text}"

USUAL_WORDS: Final[Words] = {
    kind: _OF_DAEMON if kind in (Kind.GONE, Kind.BACK, Kind.ERROR, Kind.RUNNING) else _OF_ACCOUNT
    for kind in Kind
}

_NEWLINE: Final = "\n"
_FEWEST: Final = 80
"""Characters of a message that is never cut further."""


class Attachment(msgspec.Struct, frozen=True):
    """A file that is sent with a message.

    :ivar name: its name, without a directory.
    """

    name: str
    content: str


class Message(msgspec.Struct, frozen=True):
    """What a target shows."""

    title: str
    body: str
    urgency: Urgency
    attachments: tuple[Attachment, ...] = ()


def check_words(kind: Kind, words: str) -> None:
    """Check that an alert of ``kind`` can be put into these words.

    :raises ValueError: it cannot; the text says why.
    """
    if not words.strip():
        raise ValueError("expected words with fields in braces, got none")
    known = {**COMMON_FIELDS, **FACTS[kind].fields}
    try:
        parts = list(string.Formatter().parse(words))
    except ValueError:
        raise ValueError(
            "a brace has no partner; expected fields as {text}, and {{ for a brace itself"
        ) from None
    for _literal, name, options, conversion in parts:
        if name is None:
            continue
        if options or conversion:
            raise ValueError(f"expected {{{name}}} without anything behind the name")
        if name not in known:
            raise ValueError(f"unknown field {{{name}}}{nearest(name, known)}")


def line(alert: Alert, words: Words) -> str:
    """Return an alert in one line, with the local time."""
    template = words.get(alert.kind) or USUAL_WORDS[alert.kind]
    text = "".join(
        literal + ("" if name is None else alert.fields.get(name, ""))
        for literal, name, _options, _conversion in string.Formatter().parse(template)
    )
    # The trader's own words may have lines of their own.
    return f"{clock(alert.at)} {printable(text)}"


def compose(alerts: Sequence[Alert], words: Words, room: int, dropped: int = 0) -> Message:
    """Return one message of all alerts; of those that have no room, their number.

    The gravest alerts have room first, and the latest of equally grave ones.

    :param alerts: at least one, in the order of time.
    :param room: characters that the body may have.
    :param dropped: how many alerts were dropped before.
    """
    gravest = min(alerts, key=lambda alert: alert.gravity)
    more = len(alerts) + dropped - 1
    title = f"{gravest.headline}{f', and {more} more' if more else ''}"
    lines = [line(alert, words) for alert in alerts]
    if len("\n".join(lines)) > room or dropped:
        lines = _fitting(alerts, lines, max(room, _FEWEST), dropped)
    return Message(title, "\n".join(lines), gravest.urgency)


def _fitting(alerts: Sequence[Alert], lines: list[str], room: int, dropped: int) -> list[str]:
    by_gravity = sorted(range(len(alerts)), key=lambda place: (alerts[place].gravity, -place))
    left = room - len(_left_out(len(lines) + dropped))
    kept: dict[int, str] = {}
    for place in by_gravity:
        shown = lines[place]
        if not kept and len(shown) >= left:
            # Half a sentence on what is gravest says more than none.
            shown = f"{shown[: left - 2]}…"
        if len(shown) < left:
            kept[place] = shown
            left -= len(shown) + len(_NEWLINE)
    rest = len(lines) - len(kept) + dropped
    return [*(kept[place] for place in sorted(kept)), *([_left_out(rest)] if rest else [])]


def _left_out(number: int) -> str:
    return f"and {number} more; the console shows them"
