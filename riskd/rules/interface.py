"""What a rule is, what it gets and what it returns.

A rule is a pure function.  It gets the account's state, its own settings and the trigger, which carries
the time, and returns a :class:`RuleResult`.  It takes no action, never waits, and keeps nothing but the
``memory`` of its results (:func:`recall`, :func:`remember`), so that a recorded day replays to the same
decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from zope.interface import Attribute, Interface, implementer

from riskd.model.account import AccountState
from riskd.model.events import EventData, OrderSide
from riskd.model.lockouts import Lock as Lock  # noqa: PLC0414  # authors of rules import it from here

_Memory = TypeVar("_Memory")


class Kind(StrEnum):
    """What can trigger the evaluation of a rule.

    ``TIMER`` comes at the time that the rule's last result asked for.  ``REVIEW`` comes whenever an event
    may have been missed: at the start, after the gateway was lost, after new settings, after a trade was
    voided, when a flatten is done and when a lock is about to end.
    """

    TRADE = "TRADE"
    POSITION = "POSITION"
    ORDER = "ORDER"
    QUOTE = "QUOTE"
    ACCOUNT = "ACCOUNT"
    TIMER = "TIMER"
    REVIEW = "REVIEW"


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """Why and when a rule is evaluated.

    :ivar now: the time, aware.
    :ivar next_reset: when the trading day ends.
    :ivar subject: the trade, position, order or quote that arrived; the account's state has it already.
        ``None`` for the other kinds.
    """

    kind: Kind
    now: datetime
    next_reset: datetime
    subject: EventData | None = None


class Flatten(msgspec.Struct, frozen=True, kw_only=True):
    """Close positions and cancel their orders.

    Lock the account if there is a ``lock``.

    :ivar reason: the breach, in a sentence for a trader.
    :ivar keep: how many contracts may stay, by contract id; other contracts are not touched.  ``None``:
        close everything.
    :ivar asks_broker_first: fetch the account's state from the broker and evaluate the rule again before
        anything is closed; repeat that until the broker answers.  For rules that act because something is
        missing: its event may be lost.
    """

    reason: str
    keep: Mapping[str, int] | None = None
    lock: Lock | None = None
    asks_broker_first: bool = False


class RejectOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel a working order that the rule forbids."""

    reason: str
    order_id: int


class PlaceStop(msgspec.Struct, frozen=True, kw_only=True):
    """Place a stop order to protect a position."""

    reason: str
    contract_id: str
    side: OrderSide
    size: int
    stop_price: Decimal


OWN_STOP_TAG = "riskd-stop"
"""The beginning of the custom tag of each stop that riskd places."""


class ChangeStop(msgspec.Struct, frozen=True, kw_only=True):
    """Change the size and the price of a stop order."""

    reason: str
    order_id: int
    size: int
    stop_price: Decimal


class WithdrawStop(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel a stop order that riskd placed and that protects nothing any more."""

    reason: str
    order_id: int


class LiftLock(msgspec.Struct, frozen=True, kw_only=True):
    """End the lock that the same rule has set; locks of other rules stay."""

    reason: str


Command = Flatten | RejectOrder | PlaceStop | ChangeStop | WithdrawStop | LiftLock


class Headroom(msgspec.Struct, frozen=True):
    """How far an open P&L may move before a rule would return anything else.

    In dollars; ``None``: any distance.  A move of exactly the amount is too far already.

    :ivar down: how far it may fall.
    :ivar up: how far it may rise.
    """

    down: Decimal | None = None
    up: Decimal | None = None


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule returns.

    :ivar commands: what to do, in this order.
    :ivar memory: the text, usually JSON, that the rule wants to find in ``state.risk.memory`` at its next
        check; ``None`` leaves the present one.
    :ivar wake_at: when the rule wants its next ``TIMER`` check; replaces the time of earlier results.
    :ivar warnings: what the rule cannot check at present, in sentences for a trader.
    :ivar problem: why the rule does not guard the account at all, in a sentence for a trader: the daemon's
        status is ``ERROR`` until a result has none.
    :ivar reduce_only: why the account may only close what it holds, in words without a full stop; it may
        until a result has none, which is an empty text.  ``None`` leaves that as it is, for a rule that cannot
        tell at present.  Without figures that change often, since each change is journaled.  See
        :mod:`riskd.rules.reduce_only`.
    :ivar headroom: how far the open P&L of all positions together, or of each one by contract id, may move before a
        check at a quote would return anything else than this result, or would remember anything else than it does
        now, if nothing but prices changes and time does not reach ``wake_at``.  Until then riskd does not ask the
        rule about quotes.  It has no effect beside commands or warnings.  ``None``: it asks at each quote.  See
        :mod:`riskd.rules.headroom`.
    """

    commands: tuple[Command, ...] = ()
    memory: str | None = None
    wake_at: datetime | None = None
    warnings: tuple[str, ...] = ()
    problem: str = ""
    reduce_only: str | None = ""
    headroom: Headroom | Mapping[str, Headroom] | None = None


NOTHING = RuleResult()
"""The result of a rule that finds no breach."""


def recall(state: AccountState, rule_id: str, kind: type[_Memory]) -> _Memory:
    """Return what a rule remembers, as a ``kind``; at first an empty one.

    Do not change it: checks of the same memory share one value.
    """
    text = state.risk.memory.get(rule_id)
    return kind() if text is None else _decode(text, kind)  # type: ignore[arg-type]


def remember(value: object, known: object = None) -> str | None:
    """Return a result's ``memory``: ``value`` as JSON, or ``None`` if it is known."""
    return None if value == known else msgspec.json.encode(value).decode()


# A rule decodes its memory for every quote, and it seldom changes.
@lru_cache(maxsize=256)
def _decode(text: str, kind: Any) -> Any:
    return msgspec.json.decode(text, type=kind)


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """How far an account is from a limit.

    :ivar name: what the gauge measures, such as ``realized loss``.
    :ivar limit: a positive number; ``None`` where the limit is not a number.
    :ivar current: the value now, in the limit's unit; ``None`` while it is unknown.
    :ivar unit: ``$``, ``contracts``, ``trades``, ``orders`` or ``s``.
    :ivar words: the state in words, where numbers cannot express it.
    :ivar floor: the equity in dollars at which the limit is reached, where it is one on the equity.
    """

    name: str
    limit: Decimal | None = None
    current: Decimal | None = None
    unit: str = ""
    words: str = ""
    floor: Decimal | None = None


class IRule(Interface):
    """A rule.  riskd finds each Twisted plugin that provides this interface."""

    rule_id = Attribute("the id on the wire, such as ``RULE-001``")
    key = Attribute("the name of the rule's table in the configuration, such as ``max_contracts``")
    settings_type = Attribute(
        "the subclass of RuleSettings that is that table: its keys, types, bounds and defaults"
    )
    listens = Attribute(
        "the frozenset of the Kinds that the rule is evaluated on, besides TIMER and REVIEW"
    )
    runs_while_locked = Attribute(
        "whether riskd also evaluates the rule while the account is locked"
    )

    def check(state: AccountState, settings: Any, trigger: Trigger) -> RuleResult:
        """Return what to do about the account."""

    def gauges(state: AccountState, settings: Any, now: datetime) -> tuple[Gauge, ...]:
        """Return how far the account is from each of the rule's limits."""


def _no_gauges(_state: AccountState, _settings: Any, _now: datetime) -> tuple[Gauge, ...]:
    return ()


# Rules are compared by identity: a rule of a user's own with the id of another is a mistake to report.
@implementer(IRule)
@dataclass(eq=False)
class Rule:
    """A rule made of functions; see :class:`IRule`."""

    rule_id: str
    key: str
    settings_type: type[msgspec.Struct]
    listens: frozenset[Kind]
    check: Callable[[AccountState, Any, Trigger], RuleResult]
    gauges: Callable[[AccountState, Any, datetime], tuple[Gauge, ...]] = _no_gauges
    runs_while_locked: bool = field(default=False, kw_only=True)
