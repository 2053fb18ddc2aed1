"""Builders of accounts, events and triggers for tests of rules, and a rule that follows a script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from riskd.model.account import AccountState, Charge, apply, with_day_figures, with_risk
from riskd.model.broker import BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.events import (
    Event,
    EventData,
    MarketQuote,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
)
from riskd.model.reduce_only import REDUCE_ONLY, ReduceOnly
from riskd.rules.evaluation import RuleInForce
from riskd.rules.interface import NOTHING, Flatten, Kind, Lock, Rule, RuleResult, Trigger
from riskd.rules.settings import RuleSettings
from tests.support.broker_values import broker_order, broker_position, broker_trade

ACCOUNT = 123

MNQ = "CON.F.US.MNQ.U25"
MNQ_DEC = "CON.F.US.MNQ.Z25"
ES = "CON.F.US.EP.U25"
ES_DEC = "CON.F.US.EP.Z25"
MES = "CON.F.US.MES.U25"
RTY = "CON.F.US.RTY.U25"
UNKNOWN = "CON.F.US.TYA.U25"
"""A contract that the table of products does not have."""

NOON = datetime(2025, 7, 17, 12, 0, tzinfo=UTC)
RESET = datetime(2025, 7, 17, 22, 0, tzinfo=UTC)

LONG, SHORT = PositionType.LONG, PositionType.SHORT
BUY, SELL = OrderSide.BUY, OrderSide.SELL

_Settings = TypeVar("_Settings", bound=RuleSettings)

_KINDS: dict[type[EventData], Kind] = {
    BrokerPosition: Kind.POSITION,
    BrokerOrder: Kind.ORDER,
    MarketQuote: Kind.QUOTE,
}


def at(seconds: float) -> datetime:
    """Return the time ``seconds`` after noon."""
    return NOON + timedelta(seconds=seconds)


def position(
    contract_id: str,
    size: int,
    side: PositionType = LONG,
    price: str = "21000",
    *,
    seconds: float = 0,
    opened: float = 0,
) -> Event:
    """Return the event of a position ``seconds`` after noon; size 0 closes it."""
    data = broker_position(
        contract_id=contract_id,
        type=side,
        size=size,
        average_price=Decimal(price),
        created_at=at(opened),
        updated_at=at(seconds),
    )
    return Event(ACCOUNT, data)


def order(
    number: int,
    contract_id: str = MNQ,
    side: OrderSide = SELL,
    size: int = 1,
    *,
    kind: OrderType = OrderType.STOP,
    state: OrderState = OrderState.ACTIVE,
    price: str = "20900",
    seconds: float = 0,
    **detail: Any,
) -> Event:
    """Return the event of an order ``seconds`` after noon."""
    has_stop = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    has_limit = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    data = broker_order(
        id=number,
        contract_id=contract_id,
        type=kind,
        side=side,
        size=size,
        limit_price=Decimal(price) if has_limit else None,
        stop_price=Decimal(price) if has_stop else None,
        state=state,
        created_at=at(0),
        updated_at=at(seconds),
        **detail,
    )
    return Event(ACCOUNT, data)


def canceled(event: Event, seconds: float = 0) -> Event:
    """Return the event of the cancellation of an order."""
    return Event(
        ACCOUNT,
        msgspec.structs.replace(event.data, state=OrderState.CANCELED, updated_at=at(seconds)),
    )


def trade(number: int, pnl: str, seconds: float = 0) -> Event:
    """Return the event of a full-turn trade executed ``seconds`` after noon."""
    data = broker_trade(id=number, contract_id=MNQ, profit_and_loss=Decimal(pnl), at=at(seconds))
    return Event(ACCOUNT, data)


def quote(contract_id: str, last: str, seconds: float = 0) -> Event:
    """Return the event of a quote ``seconds`` after noon."""
    price = Decimal(last)
    data = MarketQuote(
        contract_id=contract_id, bid=price, ask=price, last=price, timestamp=at(seconds)
    )
    return Event(ACCOUNT, data)


def state_after(*events: Event, state: AccountState | None = None) -> AccountState:
    """Return the state of the account after ``events``."""
    state = state or AccountState(account_id=ACCOUNT)
    for event in events:
        state = apply(state, event)
    return state


def with_memory(state: AccountState, rule_id: str, result: RuleResult) -> AccountState:
    """Return ``state`` with the memory of a rule's result."""
    if result.memory is None:
        return state
    return with_risk(state, memory={**state.risk.memory, rule_id: result.memory})


def without_headroom(result: RuleResult) -> RuleResult:
    """Return a result as it is but for its headroom, which :mod:`tests.rules.test_headroom` tests."""
    return msgspec.structs.replace(result, headroom=None)


def with_detail(state: AccountState, number: int, **detail: object) -> AccountState:
    """Return ``state`` with other details of one order."""
    order = msgspec.structs.replace(state.orders[number], **detail)
    return msgspec.structs.replace(state, orders={**state.orders, number: order})


def with_charges(state: AccountState, *charges: tuple[float, str]) -> AccountState:
    """Return ``state`` with the broker's charges, each of so many seconds after noon."""
    known = {
        number: Charge(at(seconds), Decimal(amount))
        for number, (seconds, amount) in enumerate(charges)
    }
    return with_risk(state, charges=known)


def day(*trades: str, charges: str = "0", opened: int = 0, last: str = "21000") -> AccountState:
    """Return an account after trades, long at 21,000 with bid, ask and last at one price."""
    events = [trade(number, pnl, number) for number, pnl in enumerate(trades)]
    if opened:
        events += [position(MNQ, opened), quote(MNQ, last, 1)]
    state = with_charges(state_after(*events), (0, charges))
    quotes = {
        key: msgspec.structs.replace(each, bid=each.last, ask=each.last)
        for key, each in state.quotes.items()
    }
    return with_day_figures(msgspec.structs.replace(state, quotes=quotes))


def in_stage(state: AccountState, rule_id: str, reason: str) -> AccountState:
    """Return ``state`` in a reduce-only stage that a rule has asked for."""
    stage = ReduceOnly(since=NOON, reasons={rule_id: reason})
    return msgspec.structs.replace(state, limits={REDUCE_ONLY: stage.limit})


def trigger(
    kind: Kind, seconds: float = 0, subject: EventData | None = None, reset: datetime = RESET
) -> Trigger:
    """Return a trigger ``seconds`` after noon."""
    return Trigger(kind=kind, now=at(seconds), next_reset=reset, subject=subject)


def review(seconds: float = 0) -> Trigger:
    """Return the trigger of a review."""
    return trigger(Kind.REVIEW, seconds)


def timer(seconds: float) -> Trigger:
    """Return the trigger of a timer ``seconds`` after noon."""
    return trigger(Kind.TIMER, seconds)


def trigger_of(event: Event, seconds: float = 0) -> Trigger:
    """Return the trigger that an event is, ``seconds`` after noon."""
    return trigger(_KINDS[type(event.data)], seconds, event.data)


def quote_trigger(state: AccountState, contract_id: str, seconds: float = 0) -> Trigger:
    """Return the trigger that a contract's last quote is."""
    return trigger(Kind.QUOTE, seconds, state.quotes[contract_id])


def trade_trigger(event: Event, seconds: float | None = None) -> Trigger:
    """Return the trigger that a trade is, on its execution or ``seconds`` after noon."""
    assert isinstance(event.data, BrokerTrade)
    late = (event.data.execution_time - NOON).total_seconds()
    return trigger(Kind.TRADE, late if seconds is None else seconds, event.data)


def settings_of(settings_type: type[_Settings], **table: object) -> _Settings:
    """Return the settings of a table of the configuration."""
    return msgspec.convert(table, settings_type)


def flatten_of(result: RuleResult) -> Flatten:
    """Return the flatten that is the only command of a result."""
    (command,) = result.commands
    assert isinstance(command, Flatten)
    return command


def contracts_kept(result: RuleResult) -> list[tuple[str, int]]:
    """Return the contracts that the flattens of a result keep, in order."""
    return [
        pair
        for command in result.commands
        if isinstance(command, Flatten) and command.keep is not None
        for pair in command.keep.items()
    ]


NAIVE = datetime(2025, 7, 17, 12)  # noqa: DTZ001  # a rule must not return it

INVALID_RESULTS: dict[str, Any] = {
    "no result": None,
    "a moment without a zone": RuleResult(wake_at=NAIVE),
    "a moment that is a text": RuleResult(wake_at="tomorrow"),  # type: ignore[arg-type]
    "memory that is no text": RuleResult(memory={"trades": 3}),  # type: ignore[arg-type]
    "a warning that is no text": RuleResult(warnings=(7,)),  # type: ignore[arg-type]
    "a problem that is no text": RuleResult(problem=None),  # type: ignore[arg-type]
    "a reason to reduce that is no text": RuleResult(reduce_only=True),  # type: ignore[arg-type]
    "no commands": RuleResult(commands=None),  # type: ignore[arg-type]
    "a command that is a text": RuleResult(commands=("close",)),  # type: ignore[arg-type]
    "a reason that is no text": RuleResult(commands=(Flatten(reason=None),)),  # type: ignore[arg-type]
    "a negative number of contracts kept": RuleResult(
        commands=(Flatten(reason="r", keep={MNQ: -1}),)
    ),
    "a boolean number of contracts kept": RuleResult(
        commands=(Flatten(reason="r", keep={MNQ: True}),)
    ),
    "a fraction of a contract kept": RuleResult(commands=(Flatten(reason="r", keep={MNQ: 1.5}),)),  # type: ignore[dict-item]
    "a lock without a zone": RuleResult(commands=(Flatten(reason="r", lock=Lock(until=NAIVE)),)),
    "a lock that is a moment": RuleResult(commands=(Flatten(reason="r", lock=NAIVE),)),  # type: ignore[arg-type]
}
"""Results that are not what their types say, by what is wrong with them."""


class ScriptSettings(RuleSettings, frozen=True, kw_only=True):
    """The settings of a :class:`Script`; earlier and present ones differ in the limit."""

    limit: int = 1


class Script:
    """A rule that returns the result that the test gave it, or raises it.

    :ivar states: the states that it has checked.
    """

    def __init__(
        self,
        rule_id: str,
        result: Any = NOTHING,
        *,
        listens: Sequence[Kind] = (Kind.TRADE, Kind.QUOTE),
        runs_while_locked: bool = False,
    ) -> None:
        self.result = result
        self.states: list[AccountState] = []
        self.rule = Rule(
            rule_id,
            rule_id.lower().replace("-", "_"),
            ScriptSettings,
            frozenset(listens),
            self.check,
            runs_while_locked=runs_while_locked,
        )

    def check(
        self, state: AccountState, _settings: ScriptSettings, _trigger: Trigger
    ) -> RuleResult:
        self.states.append(state)
        if isinstance(self.result, Exception):
            raise self.result
        result: RuleResult = self.result
        return result

    def in_force(self, *, is_held: bool = False) -> RuleInForce:
        return RuleInForce(self.rule, ScriptSettings(limit=2 if is_held else 1), is_held)
