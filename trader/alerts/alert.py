"""What an alert is: its kinds, their fields, and how grave each is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Final

import msgspec

from riskd.model.safe_text import printable


class Kind(StrEnum):
    """The kinds of alerts, by their names in ``alerts.toml``; the gravest first."""

    GONE = "gone"
    """The daemon is gone, or does not answer."""
    ERROR = "error"
    """The daemon has an error."""
    LOCKOUT = "lockout"
    """The account is locked out."""
    ENFORCEMENT = "enforcement"
    """riskd acted on a breach, or tried to."""
    LIMIT = "limit"
    """A limit is nearly used up."""
    BACK = "back"
    """The daemon is back."""
    RUNNING = "running"
    """The daemon's error has ended."""
    LOCKOUT_ENDED = "lockout_ended"
    """The account may trade again."""
    SUMMARY = "summary"
    """The trading day has ended."""
    STARTED = "started"
    """This program has begun to watch an account."""


PRESSING: Final = (Kind.GONE, Kind.BACK, Kind.ERROR, Kind.RUNNING, Kind.LOCKOUT)
"""The kinds that never wait behind a flood of others: they say whether the account is guarded, or locked."""


class Urgency(StrEnum):
    """How a target marks a message."""

    FAILURE = "failure"
    WARNING = "warning"
    SUCCESS = "success"
    INFO = "info"


class KindFacts(msgspec.Struct, frozen=True):
    """What is the same for all alerts of a kind.

    :ivar headline: the title of a message with one such alert.
    :ivar sentence: a sample of ``{text}``, in the fields' samples.
    :ivar fields: the fields that the words may have, beside :data:`COMMON_FIELDS`, each with a sample.
    """

    headline: str
    urgency: Urgency
    sentence: str
    fields: Mapping[str, str]


class Variant(msgspec.Struct, frozen=True):
    """In what some alerts of a kind differ from the others."""

    headline: str
    urgency: Urgency


ACTION_FAILED: Final = Variant("riskd FAILED to act", Urgency.FAILURE)
"""riskd could not enforce a limit: the account is beyond it, and only the trader can act."""

NOT_ENFORCED: Final = Variant("Dry run: riskd would have acted", Urgency.WARNING)
"""A title is often all that a phone shows, so that of a dry run claims no action."""

COMMON_FIELDS: Final[Mapping[str, str]] = {
    "account": "123",
    "gateway": "PRACTICE",
    "text": "a sentence that says all",
}
"""The fields that all alerts have, with samples."""

FACTS: Final[Mapping[Kind, KindFacts]] = {
    Kind.GONE: KindFacts(
        "riskd is GONE",
        Urgency.FAILURE,
        "riskd is GONE: {reason}",
        {"reason": "lost connection to daemon: it has not answered for 3 s"},
    ),
    Kind.ERROR: KindFacts(
        "riskd has an ERROR",
        Urgency.FAILURE,
        "riskd has an ERROR: {message}",
        {"message": "The gateway does not answer since 14:03:22"},
    ),
    Kind.LOCKOUT: KindFacts(
        "LOCKED OUT",
        Urgency.FAILURE,
        "LOCKED OUT until {until}: {reason} ({rule})",
        {"reason": "Daily loss limit hit: -$550.00", "rule": "RULE-003", "until": "17:00:00"},
    ),
    Kind.ENFORCEMENT: KindFacts(
        "riskd acted",
        Urgency.WARNING,
        "{outcome}: {action} ({rule}): {reason}; 1 position closed, 0 orders canceled",
        {
            "outcome": "ENFORCED",
            "action": "close positions",
            "reason": "MaxContracts breach: 6 > 5",
            "rule": "RULE-001",
        },
    ),
    Kind.LIMIT: KindFacts(
        "Near a limit",
        Urgency.WARNING,
        "{limit} at {percent} %: {figures}, {left} left",
        {
            "limit": "realized loss",
            "percent": "72",
            "figures": "$360.00 of $500.00",
            "left": "$140.00",
        },
    ),
    Kind.BACK: KindFacts(
        "riskd is back", Urgency.SUCCESS, "riskd is back, after {away}", {"away": "12 s"}
    ),
    Kind.RUNNING: KindFacts(
        "riskd's error has ended",
        Urgency.SUCCESS,
        "riskd's error has ended: {message}",
        {"message": "Running again on the PRACTICE gateway"},
    ),
    Kind.LOCKOUT_ENDED: KindFacts("Trading resumed", Urgency.SUCCESS, "Trading resumed", {}),
    Kind.SUMMARY: KindFacts(
        "The trading day",
        Urgency.INFO,
        "the trading day has ended: realized {pnl} in {trades} trades, best {best}, worst {worst}, "
        "net of fees {net}, balance {balance}",
        {
            "pnl": "+120.50",
            "net": "+105.70",
            "balance": "$50,105.70",
            "trades": "6",
            "best": "+80.00",
            "worst": "-45.50",
            "enforced": "1",
        },
    ),
    Kind.STARTED: KindFacts(
        "trader-alerts watches",
        Urgency.INFO,
        "watched from now on: {state}",
        {"state": "not locked, 1 position, 0 working orders"},
    ),
}
"""The facts of each kind."""


class Alert(msgspec.Struct, frozen=True):
    """One piece of news.

    :ivar at: when it happened, or was noticed; aware.
    :ivar fields: texts that are safe to show.
    :ivar variant: in what this alert differs from the usual one of its kind; ``None``: in nothing.
    :ivar day: the trading day that a summary is about, where it is known.
    """

    kind: Kind
    at: datetime
    fields: Mapping[str, str]
    variant: Variant | None = None
    day: date | None = None

    @property
    def headline(self) -> str:
        """The title of a message with this alert alone."""
        return FACTS[self.kind].headline if self.variant is None else self.variant.headline

    @property
    def urgency(self) -> Urgency:
        """How a target marks the message."""
        return FACTS[self.kind].urgency if self.variant is None else self.variant.urgency

    @property
    def gravity(self) -> tuple[int, int]:
        """A sort key: the gravest is the least."""
        return _GRAVITY[self.kind], _URGENCIES[self.urgency]


_GRAVITY: Final = {kind: place for place, kind in enumerate(Kind)}
_URGENCIES: Final = {urgency: place for place, urgency in enumerate(Urgency)}


def make_alert(
    kind: Kind, at: datetime, *, account: str, gateway: str, text: str, **fields: str
) -> Alert:
    """Return an alert; all texts, some of them the broker's, become safe to show."""
    named = {"account": account, "gateway": gateway, "text": text, **fields}
    return Alert(kind, at, {name: printable(value) for name, value in named.items()})


def sample(kind: Kind, at: datetime) -> Alert:
    """Return a sample of a kind, to try targets and words."""
    facts = FACTS[kind]
    text = f"TEST, nothing has happened. {facts.sentence.format_map(facts.fields)}"
    return make_alert(kind, at, **{**COMMON_FIELDS, "text": text}, **facts.fields)
