"""What a rule is: it looks at an account and says what is to be done.

A rule is a pure function.  It is given what is known of the account, its own settings, and the occasion,
which carries the time; it answers with a :class:`RuleResult`.  It never acts, never waits and keeps nothing
but what its verdict asks to be remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec
from zope.interface import Attribute, Interface, implementer

from riskd.model.account import AccountState
from riskd.model.events import EventData, OrderSide
from riskd.model.lockouts import Lock as Lock  # noqa: PLC0414  # whoever writes a rule finds it here


class Kind(StrEnum):
    """What a rule can be asked on.

    ``TIMER`` comes at the time that the rule's last verdict asked for.  ``REVIEW`` asks whether the
    account is as it should be, whatever happened: at the start, after the gateway was lost, after new
    settings, after a trade was voided, when a flatten is done and when a lock is about to end.
    """

    TRADE = "TRADE"
    POSITION = "POSITION"
    ORDER = "ORDER"
    QUOTE = "QUOTE"
    ACCOUNT = "ACCOUNT"
    TIMER = "TIMER"
    REVIEW = "REVIEW"


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """Why a rule is asked.

    :ivar now: the time of day, aware.
    :ivar next_reset: when the trading day ends.
    :ivar subject: the trade, position, order or quote that came; it is in the account's state already.
        ``None`` for the other kinds.
    """

    kind: Kind
    now: datetime
    next_reset: datetime
    subject: EventData | None = None


class Flatten(msgspec.Struct, frozen=True, kw_only=True):
    """Close positions and cancel their orders; lock the account if there is a ``lock``.

    :ivar reason: the breach, in a sentence for a trader.
    :ivar keep: how many contracts may stay, by contract id; contracts that are not named are not
        touched.  ``None``: nothing may stay, in any contract.
    :ivar asks_broker_first: whether the broker is asked what the account has, and then the rule once
        more, before anything is closed: for rules that miss something, and an event may be lost.
    """

    reason: str
    keep: Mapping[str, int] | None = None
    lock: Lock | None = None
    asks_broker_first: bool = False


class RejectOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel a working order that may not be."""

    reason: str
    order_id: int


class PlaceStop(msgspec.Struct, frozen=True, kw_only=True):
    """Place a stop order that protects a position."""

    reason: str
    contract_id: str
    side: OrderSide
    size: int
    stop_price: Decimal


OWN_STOP_TAG = "riskd-stop"
"""What the custom tags of the stops begin with that riskd has placed."""


class ChangeStop(msgspec.Struct, frozen=True, kw_only=True):
    """Change size and price of a stop order."""

    reason: str
    order_id: int
    size: int
    stop_price: Decimal


class WithdrawStop(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel a stop order that was placed for a position which is no more."""

    reason: str
    order_id: int


class LiftLock(msgspec.Struct, frozen=True, kw_only=True):
    """End the lock that this very rule has set; other locks stay."""

    reason: str


Command = Flatten | RejectOrder | PlaceStop | ChangeStop | WithdrawStop | LiftLock


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says.

    :ivar intents: what is to be done, in this order.
    :ivar memory: what the rule wants to find in ``state.risk.memory`` next time, as JSON; ``None``
        leaves what is there.
    :ivar wake_at: when the rule wants to be asked on ``TIMER``; it replaces what it asked for before.
    :ivar warnings: what keeps the rule from seeing clearly, in sentences for a trader.
    """

    commands: tuple[Command, ...] = ()
    memory: str | None = None
    wake_at: datetime | None = None
    warnings: tuple[str, ...] = ()


NOTHING = RuleResult()
"""The verdict of a rule that has nothing to say."""


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """How far an account is from a limit.

    :ivar name: what is measured, such as ``daily loss``.
    :ivar limit: the limit, a positive number; ``None`` where there is no number.
    :ivar current: what is measured now, in the limit's terms; ``None`` while it is unknown.
    :ivar unit: ``$``, ``contracts``, ``trades``, ``s`` ...
    :ivar words: the state in words, where numbers do not say it.
    """

    name: str
    limit: Decimal | None = None
    current: Decimal | None = None
    unit: str = ""
    words: str = ""


class IRule(Interface):
    """A rule; a Twisted plugin that also provides this is found at start."""

    rule_id = Attribute("the id on the wire, such as ``RULE-001``; rules are asked in its order")
    key = Attribute("the name of the rule's table in the configuration, such as ``max_contracts``")
    settings_type = Attribute(
        "a frozen msgspec Struct: the keys of that table, their types, bounds and defaults"
    )
    listens = Attribute("the kinds of occasion, a frozenset of Kind, that the rule is asked on")
    runs_while_locked = Attribute("whether it is asked while the account is locked, too")

    def check(state: AccountState, settings: Any, trigger: Trigger) -> RuleResult:
        """Look at the account and say what is to be done."""

    def gauges(state: AccountState, settings: Any, now: datetime) -> tuple[Gauge, ...]:
        """Say how far the account is from the rule's limits."""


def _no_gauges(_state: AccountState, _settings: Any, _now: datetime) -> tuple[Gauge, ...]:
    return ()


@implementer(IRule)
class Rule:
    """A rule made of functions; see :class:`IRule`."""

    def __init__(
        self,
        rule_id: str,
        key: str,
        settings_type: type[msgspec.Struct],
        listens: frozenset[Kind],
        check: Callable[[AccountState, Any, Trigger], RuleResult],
        gauges: Callable[[AccountState, Any, datetime], tuple[Gauge, ...]] = _no_gauges,
        *,
        runs_while_locked: bool = False,
    ) -> None:
        self.rule_id = rule_id
        self.key = key
        self.settings_type = settings_type
        self.listens = listens
        self.check = check
        self.gauges = gauges
        self.runs_while_locked = runs_while_locked
