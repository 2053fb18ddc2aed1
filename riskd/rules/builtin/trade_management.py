"""RULE-012: a position gets a stop, and the stop follows the profit.

The rule recognizes its own stops by the custom tag with which riskd places them.  They cover the contracts
that the trader's own stops do not, and the rule never touches the trader's.  It moves its own stop only
towards the market.

Of each position, the first of these cases counts (see ``_manage``):

1. The trader's stops cover the whole position: the rule withdraws its own.
2. It has no stop of its own: it places one.
3. It has several: it withdraws all but the one nearest to the market.
4. Its stop is not in the market yet: it waits.
5. Otherwise it moves the stop to the nearest of its targets and gives it the contracts to cover.

Where the market is beyond the new price of a stop already, the rule closes the position instead: the broker
would refuse the stop, and the position would go on losing without one.

A command counts as done when the gateway reports its effect.  Until then the rule asks for nothing else in
that contract, and in any case for no more than one thing a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Final, NamedTuple

import msgspec

from riskd.model.account import AccountState
from riskd.model.broker import BrokerOrder, BrokerPosition
from riskd.model.contracts import Contract
from riskd.model.events import OrderSide, PositionType
from riskd.model.formatting import contract_name, counted, dollars
from riskd.model.lockouts import is_exit
from riskd.model.money import profit, round_down_to_tick, round_up_to_tick
from riskd.model.open_pnl import fresh_mark
from riskd.rules.interface import (
    NOTHING,
    OWN_STOP_TAG,
    ChangeStop,
    Command,
    Gauge,
    Headroom,
    Kind,
    PlaceStop,
    Rule,
    RuleResult,
    Trigger,
    WithdrawStop,
    recall,
    remember,
)
from riskd.rules.positions import (
    close_position,
    contracts_left,
    protecting_stops,
)
from riskd.rules.settings import RuleSettings, Table, Ticks
from riskd.rules.tightness import Higher, Lower, WhenTrue

_PACE: Final = timedelta(seconds=1)
"""How long the rule leaves a contract alone after a command."""

_SETTLING: Final = timedelta(seconds=1)
"""How long a position may lack a stop that has disappeared, if the position did not grow.

A gateway reports that a stop is filled before it reports what that made of the position.
"""

_PATIENCE: Final = timedelta(seconds=5)
"""How long a new stop may take to appear before the rule asks for it again."""


class Breakeven(Table, frozen=True, kw_only=True):
    """When the stop moves to the entry.

    :ivar profit_trigger_ticks: the profit at which the stop moves.
    :ivar offset_ticks: how far beyond the entry it moves.
    """

    enabled: WhenTrue[bool] = False
    profit_trigger_ticks: Lower[Ticks] = 10
    offset_ticks: Higher[Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]] = 0

    def __post_init__(self) -> None:
        # Otherwise the stop's price would not be behind the market when the profit reaches the trigger.
        if self.offset_ticks >= self.profit_trigger_ticks:
            raise ValueError(
                f"offset_ticks: expected less than profit_trigger_ticks "
                f"({self.profit_trigger_ticks}), got {self.offset_ticks}"
            )


class Trailing(Table, frozen=True, kw_only=True):
    """When and how the stop follows the price.

    :ivar activation_ticks: the profit at which the stop begins to follow.
    :ivar trail_distance_ticks: how far it stays behind the best price.
    """

    enabled: WhenTrue[bool] = False
    activation_ticks: Lower[Ticks] = 20
    trail_distance_ticks: Lower[Ticks] = 10


class Settings(RuleSettings, frozen=True, kw_only=True):
    """The table ``trade_management``.

    :ivar auto_stop_loss: whether a position without a stop gets one at ``stop_loss_ticks``.  Without it,
        the position still gets one once ``auto_breakeven`` or ``trailing_stop`` has a price for it.
    :ivar stop_loss_ticks: the distance of the stop from the entry.
    """

    enabled: WhenTrue[bool] = False
    auto_stop_loss: WhenTrue[bool] = True
    stop_loss_ticks: Lower[Ticks] = 10
    auto_breakeven: Breakeven = Breakeven()
    trailing_stop: Trailing = Trailing()

    @property
    def follows_profit(self) -> bool:
        """Whether stops move at all."""
        return self.auto_breakeven.enabled or self.trailing_stop.enabled


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the rule remembers of a position.

    A position that is reversed gets a new note.

    :ivar opened: when the position was opened.
    :ivar size: the position's contracts at the last check.
    :ivar best: the best price since the opening; kept only where stops follow the profit.
    :ivar is_placing: whether the rule has asked for a stop that has not appeared yet.
    :ivar missing_from: the time from which the rule may place or enlarge a stop; ``None`` while stops
        cover everything.
    """

    opened: datetime
    side: PositionType
    size: int
    best: Decimal | None = None
    is_placing: bool = False
    missing_from: datetime | None = None

    def is_settling(self, now: datetime) -> bool:
        """Return whether the event of a position that its stop reduced may still come."""
        return self.missing_from is not None and now < self.missing_from


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the rule remembers.

    :ivar notes: a note for each position, by contract id.
    :ivar asked: the time of the last command, by contract id.
    """

    notes: Mapping[str, Note] = {}
    asked: Mapping[str, datetime] = {}


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """One position, and everything that decides about its stop.

    :ivar sign: 1 for a long position, -1 for a short one.
    :ivar contract: ``None`` while its tick size is unknown.
    :ivar price: the position's mark, if it is fresh.
    :ivar own: this rule's stops that protect the position, nearest to the market first.
    :ivar needed: how many contracts those should cover: all that the trader's stops do not.
    """

    state: AccountState
    settings: Settings
    now: datetime
    position: BrokerPosition
    sign: int
    contract: Contract | None
    price: Decimal | None
    own: list[BrokerOrder]
    needed: int

    @property
    def name(self) -> str:
        return contract_name(self.state, self.position.contract_id)

    def is_better(self, price: Decimal, other: Decimal) -> bool:
        """Return whether ``price`` is the more favorable one.

        For a stop, nearer to the market.
        """
        return (price - other) * self.sign > 0

    def is_through(self, stop_price: Decimal) -> bool:
        """Return whether the market is known to have reached a stop's price."""
        return self.price is not None and not self.is_better(self.price, stop_price)


class _Target(NamedTuple):
    """The price at which a stop should be.

    :ivar ticks: how far it is from ``start``, away from the market if negative.
    :ivar where: where that is, such as ``behind {start}``.
    """

    price: Decimal
    start: Decimal
    ticks: int
    where: str

    @property
    def why(self) -> str:
        """Why it should be there, such as ``10 ticks from the entry``."""
        if not self.ticks:
            return "at the entry"
        return f"{counted(abs(self.ticks), 'tick')} {self.where.format(start=self.start)}"


def check(state: AccountState, settings: Settings, trigger: Trigger) -> RuleResult:
    """Place the stops that are missing; move, resize and withdraw the rule's own."""
    now = trigger.now
    known = recall(state, RULE.rule_id, Memory)
    notes: dict[str, Note] = {}
    asked = known.asked
    commands: list[Command] = []
    wakes: list[datetime] = []
    warnings: list[str] = []
    headroom: dict[str, Headroom] = {}
    for contract_id, own in _own_stops(state).items():
        # A stop that would not close a position protects nothing, and a fill of it would open a new one.
        exits = [order for order in own if is_exit(state, order)]
        strays = _withdrawals(state, [order for order in own if order not in exits])
        position = state.positions.get(contract_id)
        note, managed = None, NOTHING
        if position is not None and position.size:
            case = _case(state, settings, position, exits, now)
            note = _note(case, known.notes.get(contract_id))
            managed = _manage(case, note)
            headroom[contract_id] = _headroom(case, note)
            if warning := _warning(case):
                warnings.append(warning)
        wake_at = managed.wake_at
        # The account's state does not have the effect of a command yet when the next event comes, and the
        # rule must not give the command twice.
        if wanted := (*strays, *managed.commands):
            wake_at = asked[contract_id] + _pause(note) if contract_id in asked else now
            if wake_at <= now:
                commands += wanted
                # Commands that are older than every pause hold nothing back any more.
                awaited = {key: at for key, at in asked.items() if now - at < _PATIENCE}
                asked = {**awaited, contract_id: now}
                if note is not None:
                    is_placing = any(isinstance(each, PlaceStop) for each in wanted)
                    note = msgspec.structs.replace(note, is_placing=is_placing)
                # The gateway may refuse a command without an event, so check again.
                wake_at = now + _pause(note)
        if wake_at is not None:
            wakes.append(wake_at)
        if note is not None:
            notes[contract_id] = note
    return RuleResult(
        commands=tuple(commands),
        memory=remember(Memory(notes=notes, asked=asked), known),
        wake_at=min(wakes, default=None),
        warnings=tuple(warnings),
        # What waits is given up when prices change.
        headroom=None if wakes else headroom,
    )


def gauges(state: AccountState, _settings: Settings, _now: datetime) -> tuple[Gauge, ...]:
    """Return where the stops of each position are."""
    return tuple(
        Gauge(
            name=f"stop of {contract_name(state, position.contract_id)}",
            words=", ".join(
                f"{order.remaining} at {order.stop_price}"
                for order in protecting_stops(state, position)
                if order.stop_price is not None
            )
            or "none",
        )
        for position in state.open_positions
    )


def _own_stops(state: AccountState) -> dict[str, list[BrokerOrder]]:
    """Return the rule's working stops by contract id, those of open positions first."""
    stops: dict[str, list[BrokerOrder]] = {
        position.contract_id: [] for position in state.open_positions
    }
    for order in state.orders.values():
        if order.custom_tag.startswith(OWN_STOP_TAG):
            stops.setdefault(order.contract_id, []).append(order)
    return stops


def _pause(note: Note | None) -> timedelta:
    """Return how long the rule leaves a contract alone after a command.

    After placing a stop it waits longer: a second one for the same contracts would, once both are filled,
    open a position on the other side.
    """
    return _PATIENCE if note is not None and note.is_placing else _PACE


def _case(
    state: AccountState,
    settings: Settings,
    position: BrokerPosition,
    own: list[BrokerOrder],
    now: datetime,
) -> _Case:
    """Return the case of an open position.

    ``own`` are the rule's stops that would close it.
    """
    sign = position.type.sign

    def nearness(order: BrokerOrder) -> Decimal:
        # A price of zero is a price.
        price = position.average_price if order.stop_price is None else order.stop_price
        return price * sign

    if len(own) > 1:
        own = sorted(own, key=nearness, reverse=True)
    traders = [order for order in protecting_stops(state, position) if order not in own]
    return _Case(
        state=state,
        settings=settings,
        now=now,
        position=position,
        sign=sign,
        contract=state.contract(position.contract_id),
        price=fresh_mark(state, position, now),
        own=own,
        needed=max(0, position.size - contracts_left(traders)) if traders else position.size,
    )


def _note(case: _Case, known: Note | None) -> Note:
    """Return the new note of a position, whose last note is ``known``."""
    position = case.position
    if known is not None and (known.opened, known.side) != (position.created_at, position.type):
        known = None
    best = known.best if known else None
    if case.price is not None and (best is None or case.is_better(case.price, best)):
        best = case.price
    missing_from = None
    if contracts_left(case.own) < case.needed:
        if known is None or position.size > known.size:
            # The position came or grew: no stop was there that could have been filled just now.
            missing_from = case.now
        else:
            missing_from = known.missing_from or case.now + _SETTLING
    return Note(
        opened=position.created_at,
        side=position.type,
        size=position.size,
        best=best if case.settings.follows_profit else None,
        is_placing=known is not None and known.is_placing and not case.own,
        missing_from=missing_from,
    )


def _headroom(case: _Case, note: Note) -> Headroom:
    """Return how far the P&L of a position may move before its stop has to.

    Stops follow the best price, and nothing else of the market.
    """
    if case.price is None or note.best is None or case.contract is None:
        return Headroom()
    behind = (note.best - case.price) * case.sign * case.position.size
    return Headroom(up=behind * case.contract.tick_value / case.contract.tick_size)


def _manage(case: _Case, note: Note) -> RuleResult:
    """Return what to do about the stop of a position.

    The module's docstring has the cases.
    """
    if not case.needed:
        return RuleResult(commands=_withdrawals(case.state, case.own)) if case.own else NOTHING
    if not case.own:
        return _place(case, note)
    nearest, *others = case.own
    if others:
        # Several stops would cover contracts twice, and the nearest protects best.
        return RuleResult(commands=_withdrawals(case.state, others))
    if not nearest.is_open:
        # The broker cannot change a stop before it is in the market.
        return NOTHING
    return _change(case, note, nearest)


def _place(case: _Case, note: Note) -> RuleResult:
    """Place the position's stop, unless it is settling or the market is through it."""
    target = _target(case, note)
    if target is None:
        return NOTHING
    if note.is_settling(case.now):
        return RuleResult(wake_at=note.missing_from)
    if case.is_through(target.price):
        return _close(case, target)
    size = counted(case.needed, "contract")
    risk = _risk(case, target.price)
    command = PlaceStop(
        reason=f"Stop for {size} of {case.name} at {target.price}, {target.why}{risk}",
        contract_id=case.position.contract_id,
        side=OrderSide.SELL if case.sign > 0 else OrderSide.BUY,
        size=case.needed,
        stop_price=target.price,
    )
    return RuleResult(commands=(command,))


def _change(case: _Case, note: Note, own: BrokerOrder) -> RuleResult:
    """Move and resize the position's stop, where either is necessary."""
    left = own.remaining
    wanted, wake_at = case.needed, None
    if note.is_settling(case.now):
        # The stop may move at once, but its size waits.
        wanted, wake_at = left, note.missing_from
    target = _target(case, note)
    if target and own.stop_price is not None and not case.is_better(target.price, own.stop_price):
        # A stop never moves away from the market.
        target = None
    if target and case.is_through(target.price):
        return _close(case, target)
    price = target.price if target else own.stop_price
    if price is None or (target is None and wanted == left):
        return RuleResult(wake_at=wake_at)
    why = f", {target.why}" if target else ""
    command = ChangeStop(
        reason=f"Stop for {counted(wanted, 'contract')} of {case.name} at {price}{why}",
        order_id=own.id,
        # The size of an order includes the contracts that are filled.
        size=own.size - left + wanted,
        stop_price=price,
    )
    return RuleResult(commands=(command,))


def _close(case: _Case, target: _Target) -> RuleResult:
    """Close the position: beyond the target, where the market is, stops are refused."""
    reason = (
        f"{case.position.size} {case.name}: the stop would be at "
        f"{target.price}, {target.why}, and the market is there already"
    )
    return RuleResult(commands=(close_position(case.position, reason),))


def _target(case: _Case, note: Note) -> _Target | None:
    """Return where the stop should be: of all targets, the one nearest to the market."""
    return max(_targets(case, note), key=lambda target: target.price * case.sign, default=None)


def _targets(case: _Case, note: Note) -> Iterator[_Target]:
    """Yield where the settings want a stop."""
    if case.contract is None:
        return
    tick = case.contract.tick_size
    towards_loss = round_down_to_tick if case.sign > 0 else round_up_to_tick
    entry, settings = case.position.average_price, case.settings

    def at(start: Decimal, ticks: int, where: str) -> _Target:
        """Return the target ``ticks`` better than ``start``, away from the market."""
        price = towards_loss(start + ticks * tick * case.sign, tick)
        return _Target(price, start, ticks, where)

    if settings.auto_stop_loss:
        yield at(entry, -settings.stop_loss_ticks, "from the entry")
    if case.price is None or note.best is None:
        # Without a fresh price a stop might be placed on the wrong side of the market.
        return
    gained = (note.best - entry) * case.sign
    breakeven, trailing = settings.auto_breakeven, settings.trailing_stop
    if breakeven.enabled and gained >= breakeven.profit_trigger_ticks * tick:
        yield at(entry, breakeven.offset_ticks, "beyond the entry")
    if trailing.enabled and gained >= trailing.activation_ticks * tick:
        yield at(note.best, -trailing.trail_distance_ticks, "behind {start}")


def _risk(case: _Case, stop_price: Decimal) -> str:
    """Return the end of a sentence: what a fill at ``stop_price`` would lose.

    It is empty if a fill would lose nothing.
    """
    if case.contract is None:
        return ""
    made = profit(
        side=case.sign,
        size=case.needed,
        entry=case.position.average_price,
        exit_=stop_price,
        tick_size=case.contract.tick_size,
        tick_value=case.contract.tick_value,
    )
    return f": {dollars(-made)} at risk" if made < 0 else ""


def _withdrawals(state: AccountState, orders: Iterable[BrokerOrder]) -> tuple[WithdrawStop, ...]:
    return tuple(
        [
            WithdrawStop(
                reason=f"Stop for {counted(order.remaining, 'contract')} "
                f"of {contract_name(state, order.contract_id)} not needed any more",
                order_id=order.id,
            )
            for order in orders
        ]
    )


def _warning(case: _Case) -> str:
    """Return why the rule does not manage a whole position; empty if it does."""
    if case.contract is None:
        return f"{case.position.contract_id}: tick size unknown, it gets no stop"
    if case.settings.follows_profit and case.price is None:
        return f"{case.name}: no fresh quote, its stop does not follow"
    return ""


RULE: Final = Rule(
    "RULE-012",
    "trade_management",
    Settings,
    frozenset({Kind.POSITION, Kind.ORDER, Kind.QUOTE}),
    check,
    gauges,
)
