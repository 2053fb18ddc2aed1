"""RULE-012: a position gets a stop, and the stop follows its profit.

The rule's own stops are told by the tag that whoever places them writes on them.  They cover what the
trader's own stops do not, and the trader's are never touched.  An own stop only ever comes closer to the
market.

What the rule asks for is known to be done when the gateway says so.  Until then it asks for nothing else
in that contract, and in any case for no more than one thing a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Final

import msgspec

from riskd.model.account import AccountState
from riskd.model.contracts import Contract
from riskd.model.events import GatewayUserOrder, GatewayUserPosition, OrderSide, PositionType
from riskd.model.formatting import contract_name, counted, dollars
from riskd.model.lockouts import is_exit
from riskd.model.money import profit, round_down_to_tick, round_up_to_tick
from riskd.model.open_pnl import is_stale
from riskd.rules.interface import (
    OWN_STOP_TAG,
    ChangeStop,
    Command,
    Flatten,
    Gauge,
    PlaceStop,
    RuleResult,
    Trigger,
    WithdrawStop,
)
from riskd.rules.settings import RuleSettings, Ticks
from riskd.rules.stops import order_detail, protecting_stops, remaining, total_remaining

_OWN_RULE: Final = "RULE-012"

_PACE: Final = timedelta(seconds=1)
"""How long a contract is left alone after something was asked for in it."""

_SETTLING: Final = timedelta(seconds=1)
"""How long a position may be without its stop when the stop went and not the position came.

A gateway tells that a stop was filled before it tells what became of the position.
"""

_PATIENCE: Final = timedelta(seconds=5)
"""How long a stop that was asked for may take to appear before it is asked for again."""


class Breakeven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Moving the stop to the entry.

    :ivar profit_trigger_ticks: the profit at which the stop is moved.
    :ivar offset_ticks: how far beyond the entry it is moved.
    """

    enabled: bool = False
    profit_trigger_ticks: Ticks = 10
    offset_ticks: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0

    def __post_init__(self) -> None:
        if self.offset_ticks >= self.profit_trigger_ticks:
            raise ValueError(
                f"offset_ticks: expected less than profit_trigger_ticks "
                f"({self.profit_trigger_ticks}), got {self.offset_ticks}"
            )


class Trailing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Letting the stop follow the price.

    :ivar activation_ticks: the profit from which on it follows.
    :ivar trail_distance_ticks: how far it stays behind the best price.
    """

    enabled: bool = False
    activation_ticks: Ticks = 20
    trail_distance_ticks: Ticks = 10


class Settings(RuleSettings, frozen=True, kw_only=True):
    """What is placed and moved for the trader.

    :ivar auto_stop_loss: whether a position without a stop gets one.  If not, it still gets one when
        ``auto_breakeven`` or ``trailing_stop`` has a price for it.
    :ivar stop_loss_ticks: how far from the entry.
    """

    enabled: bool = False
    auto_stop_loss: bool = True
    stop_loss_ticks: Ticks = 10
    auto_breakeven: Breakeven = Breakeven()
    trailing_stop: Trailing = Trailing()

    @property
    def follows_profit(self) -> bool:
        """Whether stops are moved at all."""
        return self.auto_breakeven.enabled or self.trailing_stop.enabled


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a position.

    :ivar opened: when it was opened, and
    :ivar side: which way it points: of another position there is another note.
    :ivar size: its contracts when it was last looked at.
    :ivar best: the best price since it was opened; kept only where stops follow the profit.
    :ivar is_placing: whether a stop was asked for that has not appeared yet.
    :ivar missing_from: when stops that cover too little may be made more; ``None``: they cover all.
    """

    opened: datetime
    side: PositionType
    size: int
    best: Decimal | None = None
    is_placing: bool = False
    missing_from: datetime | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered.

    :ivar notes: of each position, by contract id.
    :ivar asked: when something was asked for last, by contract id.
    """

    notes: Mapping[str, Note] = {}
    asked: Mapping[str, datetime] = {}


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """One position, and all that counts for its stop.

    :ivar direction: 1 for a long position, -1 for a short one.
    :ivar contract: ``None`` while its ticks are unknown.
    :ivar price: the last price, where it is fresh and younger than the position.
    :ivar own: this rule's stops that protect it, nearest to the market first.
    :ivar needed: how many contracts they should cover: those that the trader's stops do not.
    """

    position: GatewayUserPosition
    direction: int
    contract: Contract | None
    price: Decimal | None
    own: tuple[GatewayUserOrder, ...]
    needed: int

    def is_better(self, price: Decimal, other: Decimal) -> bool:
        """Tell whether ``price`` is further in the position's favor: nearer to the market for a stop."""
        return (price - other) * self.direction > 0

    def is_through(self, stop_price: Decimal) -> bool:
        """Tell whether the market is known to be at a stop's price, or past it."""
        return self.price is not None and not self.is_better(self.price, stop_price)


class _Target(msgspec.Struct, frozen=True):
    """Where a stop should be: how many ticks from where."""

    price: Decimal
    ticks: int
    from_where: str

    @property
    def why(self) -> str:
        return f"{counted(self.ticks, 'tick')} {self.from_where}" if self.ticks else "at the entry"


class _Wish(msgspec.Struct, frozen=True):
    """What should be asked for in one contract, and when to look again if nothing happens."""

    commands: tuple[Command, ...] = ()
    wake_at: datetime | None = None


_NO_WISH: Final = _Wish()

_NOTHING_KNOWN: Final = Memory()
_DECODER: Final = msgspec.json.Decoder(Memory)


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Place the stops that are missing; move, resize and withdraw those of this rule."""
    now = trigger.now
    known = _remembered(state)
    own = _own_stops(state)
    notes: dict[str, Note] = {}
    asked = known.asked
    commands: list[Command] = []
    wakes: list[datetime] = []
    held = state.open_positions
    for contract_id in _concerned(held, own):
        wish, note = _evaluate(
            state, settings, contract_id, own, known.notes.get(contract_id), now
        )
        wake_at = wish.wake_at
        if wish.commands:
            wake_at = _free_at(asked.get(contract_id), note)
            if wake_at is None or now >= wake_at:
                commands += wish.commands
                asked = {**_still_waited_for(asked, now), contract_id: now}
                note = _after_asking(note, wish)
                # What was asked for may fail without a word.
                wake_at = _free_at(now, note)
        if wake_at is not None:
            wakes.append(wake_at)
        if note is not None:
            notes[contract_id] = note
    memory = Memory(notes=notes, asked=asked)
    return RuleResult(
        commands=tuple(commands),
        memory=None if memory == known else msgspec.json.encode(memory).decode(),
        wake_at=min(wakes, default=None),
        warnings=tuple(_warnings(state, settings, held, now)),
    )


def gauges(state: AccountState, _settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Say where the stops of each position are."""
    return tuple(
        Gauge(
            name=f"stop of {contract_name(state, position.contract_id)}",
            words=_words(state, position),
        )
        for position in state.open_positions
    )


def _words(state: AccountState, position: GatewayUserPosition) -> str:
    stops = [
        f"{remaining(state, order)} at {order.stop_price}"
        for order in protecting_stops(state, position)
        if order.stop_price is not None
    ]
    return ", ".join(stops) or "none"


def _remembered(state: AccountState) -> Memory:
    text = state.risk.memory.get(_OWN_RULE)
    return _NOTHING_KNOWN if text is None else _decode(text)


@lru_cache(maxsize=128)
def _decode(text: str) -> Memory:
    return _DECODER.decode(text)


def _own_stops(state: AccountState) -> list[GatewayUserOrder]:
    return [
        order
        for order in state.orders.values()
        if order_detail(state, order).custom_tag.startswith(OWN_STOP_TAG)
    ]


def _concerned(
    held: Iterable[GatewayUserPosition], own: Iterable[GatewayUserOrder]
) -> Iterable[str]:
    contract_ids = [position.contract_id for position in held]
    contract_ids += [order.contract_id for order in own]
    return dict.fromkeys(contract_ids)


def _free_at(asked_at: datetime | None, note: Note | None) -> datetime | None:
    """Return from when on something may be asked for in a contract; ``None``: at any time."""
    if asked_at is None:
        return None
    return asked_at + (_PATIENCE if note is not None and note.is_placing else _PACE)


def _still_waited_for(asked: Mapping[str, datetime], now: datetime) -> dict[str, datetime]:
    return {contract_id: at for contract_id, at in asked.items() if now - at < _PATIENCE}


def _after_asking(note: Note | None, wish: _Wish) -> Note | None:
    if note is None:
        return None
    is_placing = any(isinstance(command, PlaceStop) for command in wish.commands)
    return msgspec.structs.replace(note, is_placing=is_placing)


def _evaluate(
    state: AccountState,
    settings: Settings,
    contract_id: str,
    own: Iterable[GatewayUserOrder],
    known: Note | None,
    now: datetime,
) -> tuple[_Wish, Note | None]:
    """Return what should be done in a contract, and what is to be remembered of its position."""
    position = state.positions.get(contract_id)
    here = [order for order in own if order.contract_id == contract_id]
    strays = [_withdrawal(state, order) for order in here if not is_exit(state, order)]
    if position is None or not position.size:
        return _Wish(tuple(strays)), None
    case = _case(state, position, here, now)
    note = _note(state, settings, case, known, now)
    wish = _wish_for(state, settings, case, note, now)
    if strays:
        wish = _Wish((*strays, *wish.commands), wish.wake_at)
    return wish, note


def _case(
    state: AccountState,
    position: GatewayUserPosition,
    here: Iterable[GatewayUserOrder],
    now: datetime,
) -> _Case:
    direction = 1 if position.type is PositionType.LONG else -1
    own = [order for order in here if is_exit(state, order)]
    if len(own) > 1:
        own = _nearest_first(own, position, direction)
    traders = [order for order in protecting_stops(state, position) if order not in own]
    return _Case(
        position=position,
        direction=direction,
        contract=state.contract(position.contract_id),
        price=_fresh_price(state, position, now),
        own=tuple(own),
        needed=max(0, position.size - total_remaining(state, traders)),
    )


def _nearest_first(
    stops: Iterable[GatewayUserOrder], position: GatewayUserPosition, direction: int
) -> list[GatewayUserOrder]:
    def nearness(order: GatewayUserOrder) -> Decimal:
        return (order.stop_price or position.average_price) * direction

    return sorted(stops, key=nearness, reverse=True)


def _fresh_price(
    state: AccountState, position: GatewayUserPosition, now: datetime
) -> Decimal | None:
    quote = state.quotes.get(position.contract_id)
    if quote is None or is_stale(quote, now) or quote.timestamp < position.created_at:
        return None
    return quote.last


def _note(
    state: AccountState, settings: Settings, case: _Case, known: Note | None, now: datetime
) -> Note:
    position = case.position
    if known is not None and (known.opened, known.side) != (position.created_at, position.type):
        known = None
    is_short = total_remaining(state, case.own) < case.needed
    return Note(
        opened=position.created_at,
        side=position.type,
        size=position.size,
        best=_best(case, known) if settings.follows_profit else None,
        is_placing=known is not None and known.is_placing and not case.own,
        missing_from=_missing_from(position, known, now) if is_short else None,
    )


def _best(case: _Case, known: Note | None) -> Decimal | None:
    best = known.best if known else None
    if case.price is None:
        return best
    return case.price if best is None or case.is_better(case.price, best) else best


def _missing_from(position: GatewayUserPosition, known: Note | None, now: datetime) -> datetime:
    """Return when a shortage may be acted on: at once where it is the position that grew."""
    if known is None or position.size > known.size:
        return now
    return known.missing_from or now + _SETTLING


def _wish_for(
    state: AccountState, settings: Settings, case: _Case, note: Note, now: datetime
) -> _Wish:
    if not case.needed:
        return _Wish(tuple([_withdrawal(state, order) for order in case.own]))
    if not case.own:
        return _wish_to_place(state, settings, case, note, now)
    nearest, *others = case.own
    if others:
        return _Wish(tuple(_withdrawal(state, order) for order in others))
    if not order_detail(state, nearest).is_open:
        return _NO_WISH
    return _wish_to_change(state, settings, case, note, nearest, now)


def _wish_to_place(
    state: AccountState, settings: Settings, case: _Case, note: Note, now: datetime
) -> _Wish:
    target = _target(settings, case, note)
    if target is None or note.missing_from is None:
        return _NO_WISH
    if now < note.missing_from:
        return _Wish(wake_at=note.missing_from)
    if case.is_through(target.price):
        return _Wish((_closing(state, case, target),))
    size = counted(case.needed, "contract")
    name = contract_name(state, case.position.contract_id)
    command = PlaceStop(
        reason=f"Stop for {size} of {name} at {target.price}, {target.why}{_risk(case, target)}",
        contract_id=case.position.contract_id,
        side=OrderSide.SELL if case.direction > 0 else OrderSide.BUY,
        size=case.needed,
        stop_price=target.price,
    )
    return _Wish((command,))


def _wish_to_change(
    state: AccountState,
    settings: Settings,
    case: _Case,
    note: Note,
    own: GatewayUserOrder,
    now: datetime,
) -> _Wish:
    left = remaining(state, own)
    wanted, wake_at = case.needed, None
    if note.missing_from is not None and now < note.missing_from:
        wanted, wake_at = left, note.missing_from
    target = _target(settings, case, note)
    is_moving = target is not None and (
        own.stop_price is None or case.is_better(target.price, own.stop_price)
    )
    if target is not None and is_moving and case.is_through(target.price):
        return _Wish((_closing(state, case, target),))
    price = target.price if target is not None and is_moving else own.stop_price
    if price is None or (not is_moving and wanted == left):
        return _Wish(wake_at=wake_at)
    name = contract_name(state, case.position.contract_id)
    why = f", {target.why}" if target is not None and is_moving else ""
    command = ChangeStop(
        reason=f"Stop for {counted(wanted, 'contract')} of {name} at {price}{why}",
        order_id=own.id,
        # The size of an order is the original one, however much of it is filled.
        size=own.size - left + wanted,
        stop_price=price,
    )
    return _Wish((command,), wake_at)


def _target(settings: Settings, case: _Case, note: Note) -> _Target | None:
    """Return where the stop should be: where it is nearest to the market of all that applies."""
    if case.contract is None:
        return None
    tick = case.contract.tick_size
    best: _Target | None = None
    for target in _targets(settings, case, note, tick):
        if best is None or case.is_better(target.price, best.price):
            best = target
    return best


def _targets(settings: Settings, case: _Case, note: Note, tick: Decimal) -> Iterator[_Target]:
    """Yield where a stop may be."""
    entry = case.position.average_price
    if settings.auto_stop_loss:
        ticks = settings.stop_loss_ticks
        yield _Target(_moved(case, entry, -ticks, tick), ticks, "from the entry")
    if case.price is None or note.best is None:
        # Where the market is now is not known well enough to follow it.
        return
    gained = (note.best - entry) * case.direction
    breakeven, trailing = settings.auto_breakeven, settings.trailing_stop
    if breakeven.enabled and gained >= breakeven.profit_trigger_ticks * tick:
        ticks = breakeven.offset_ticks
        yield _Target(_moved(case, entry, ticks, tick), ticks, "beyond the entry")
    if trailing.enabled and gained >= trailing.activation_ticks * tick:
        ticks = trailing.trail_distance_ticks
        yield _Target(_moved(case, note.best, -ticks, tick), ticks, f"behind {note.best}")


def _moved(case: _Case, price: Decimal, ticks: int, tick: Decimal) -> Decimal:
    """Return what is so many ticks better than ``price``, away from the market to the next tick."""
    towards_loss = round_down_to_tick if case.direction > 0 else round_up_to_tick
    return towards_loss(price + ticks * tick * case.direction, tick)


def _risk(case: _Case, target: _Target) -> str:
    if case.contract is None:
        return ""
    made = profit(
        side=case.direction,
        size=case.needed,
        entry=case.position.average_price,
        exit_=target.price,
        tick_size=case.contract.tick_size,
        tick_value=case.contract.tick_value,
    )
    return f": {dollars(-made)} at risk" if made < 0 else ""


def _closing(state: AccountState, case: _Case, target: _Target) -> Flatten:
    position = case.position
    reason = (
        f"{position.size} {contract_name(state, position.contract_id)}: the stop would be at "
        f"{target.price}, {target.why}, and the market is there already"
    )
    return Flatten(reason=reason, keep={position.contract_id: 0})


def _withdrawal(state: AccountState, order: GatewayUserOrder) -> WithdrawStop:
    size = counted(remaining(state, order), "contract")
    name = contract_name(state, order.contract_id)
    return WithdrawStop(reason=f"Stop for {size} of {name} not needed any more", order_id=order.id)


def _warnings(
    state: AccountState, settings: Settings, held: Iterable[GatewayUserPosition], now: datetime
) -> Iterator[str]:
    for position in held:
        contract_id = position.contract_id
        quote = state.quotes.get(contract_id)
        if state.contract(contract_id) is None:
            yield f"{contract_id}: tick size unknown, it gets no stop"
        elif settings.follows_profit and (quote is None or is_stale(quote, now)):
            yield f"{contract_name(state, contract_id)}: no fresh quote, its stop does not follow"
