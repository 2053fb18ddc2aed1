"""Simulated trading days of one account, and the pure core that evaluates the rules on all of them.

Orders are canceled, placed and changed as decided, but no stop of riskd's is ever filled.  Positions are
not closed, for the simulated trader goes on: a flatten is under way until the trader is flat, as a real one
is until the broker reports it, and every trade of a locked account is decided on again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from riskd.config.loader import parse_settings
from riskd.config.settings import AccountSettings
from riskd.model.account import AccountState, apply, begin_day
from riskd.model.broker import BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.contracts import known_contract
from riskd.model.events import (
    ClearedBy,
    DailyReset,
    Event,
    EventData,
    GatewayUserOrder,
    GatewayUserPosition,
    LockoutCleared,
    MarketQuote,
    OrderSide,
    OrderState,
    OrderType,
    PositionType,
)
from riskd.model.lockouts import ended_lock, forbidden_orders, is_locked, locks_in_force, new_lock
from riskd.model.money import profit
from riskd.rules.evaluation import evaluate
from riskd.rules.headroom import SparedRules
from riskd.rules.interface import (
    OWN_STOP_TAG,
    ChangeStop,
    Command,
    Flatten,
    Kind,
    LiftLock,
    PlaceStop,
    RejectOrder,
    Trigger,
    WithdrawStop,
)
from riskd.rules.registry import RULES

ACCOUNT: Final = 123
TRADES_A_DAY: Final = 50
QUOTES_A_TRADE: Final = 40

CONFIG: Final = f"""
[rules.max_contracts]
[rules.max_contracts_per_instrument]
limits = {{ MNQ = 5, ES = 2 }}
unknown_symbol_action = "allow_unlimited"
[rules.daily_realized_loss]
loss_limit = 2500
[rules.daily_unrealized_loss]
loss_limit = 750
[rules.max_unrealized_profit]
[rules.trade_frequency_limit]
max_trades = 9
[rules.cooldown_after_loss]
loss_threshold = 600
[rules.no_stop_loss_grace]
[rules.session_block_outside]
[rules.auth_loss_guard]
[rules.symbol_blocks]
blocked_symbols = ["RTY"]
[rules.trade_management]
enabled = true
stop_loss_ticks = 60
trailing_stop = {{ enabled = true }}
[[accounts]]
id = {ACCOUNT}
"""

_ZONE: Final = ZoneInfo("America/Chicago")
_FIRST_DAY: Final = date(2025, 1, 6)
_OPENING: Final = time(8, 30)
_SECONDS_A_TRADE: Final = 472
"""The last trade of a day is a little late for the session."""
_CONTRACTS: Final = ("CON.F.US.MNQ.Z25", "CON.F.US.EP.Z25", "CON.F.US.RTY.Z25")
_KINDS: Final[Mapping[type, Kind]] = {
    BrokerTrade: Kind.TRADE,
    BrokerPosition: Kind.POSITION,
    BrokerOrder: Kind.ORDER,
    MarketQuote: Kind.QUOTE,
}


def settings() -> AccountSettings:
    """Return an account with all twelve rules in force."""
    (account,) = parse_settings(CONFIG, "replay", {rule.key: rule for rule in RULES}).accounts
    return account


class Moment(NamedTuple):
    """Something that happens.

    :ivar event: the event; ``None`` if the broker reports whether the account may trade.
    """

    at: datetime
    event: Event | None
    may_trade: bool = True


def trading_days(days: int, seed: int = 1) -> Iterator[list[Moment]]:
    """Yield trading days; the same ``seed`` gives the same days."""
    trader = _Trader(Random(seed))
    for number in range(days):
        # Five days a week.
        weeks, weekday = divmod(number, 5)
        yield trader.day(number, _FIRST_DAY + timedelta(weeks=weeks, days=weekday))


class _Trader:
    """Makes up the trading of one account."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._last_id = 0
        self._prices = dict(zip(_CONTRACTS, map(Decimal, ("21000", "5800", "2300")), strict=True))
        self._moments: list[Moment] = []

    def day(self, number: int, day: date) -> list[Moment]:
        self._moments = []
        begins = datetime.combine(day, _OPENING, tzinfo=_ZONE).astimezone(UTC)
        suspended = self._random.randrange(TRADES_A_DAY - 3) if number % 10 == 5 else None
        for trade in range(TRADES_A_DAY):
            at = begins + timedelta(seconds=_SECONDS_A_TRADE * trade)
            if suspended is not None and trade in (suspended, suspended + 3):
                self._moments.append(Moment(at, None, may_trade=trade != suspended))
            self._trade(at)
        return self._moments

    def _trade(self, begins: datetime) -> None:
        """Quote a contract for some minutes, half of them with a position in it."""
        contract_id = self._random.choices(_CONTRACTS, (60, 39, 1))[0]
        step = timedelta(seconds=_SECONDS_A_TRADE / QUOTES_A_TRADE)
        entry = self._random.randrange(5, QUOTES_A_TRADE // 2)
        exit_ = entry + QUOTES_A_TRADE // 2
        trip: _Trip | None = None
        for number in range(QUOTES_A_TRADE):
            at = begins + step * number + timedelta(seconds=self._random.randrange(4))
            self._quote(contract_id, at)
            if number == entry:
                trip = self._enter(contract_id, at)
            elif number == exit_ and trip is not None:
                self._leave(trip, at)

    def _quote(self, contract_id: str, at: datetime) -> None:
        contract = known_contract(contract_id)
        assert contract is not None
        tick = contract.tick_size
        last = self._prices[contract_id] + self._random.randint(-6, 6) * tick
        self._prices[contract_id] = last
        self._report(
            at,
            MarketQuote(
                contract_id=contract_id, bid=last - tick, ask=last + tick, last=last, timestamp=at
            ),
        )

    def _enter(self, contract_id: str, at: datetime) -> _Trip:
        size = self._random.choices((1, 2, 3, 6), (20, 15, 4, 1))[0]
        trip = _Trip(
            position=BrokerPosition(
                id=self._next_id(),
                contract_id=contract_id,
                type=self._random.choice((PositionType.LONG, PositionType.SHORT)),
                size=size,
                average_price=self._prices[contract_id],
                created_at=at,
                updated_at=at,
            ),
            stop_id=self._next_id() if self._random.random() < 0.9 else None,
        )
        # Filled in two parts where there is more than one.
        if size > 1:
            self._report(at, msgspec.structs.replace(trip.position, size=1))
        self._report(at, trip.position)
        self._report_stop(trip, at, OrderState.ACTIVE)
        return trip

    def _leave(self, trip: _Trip, at: datetime) -> None:
        position = trip.position
        contract = known_contract(position.contract_id)
        assert contract is not None
        made = profit(
            side=trip.direction,
            size=position.size,
            entry=position.average_price,
            exit_=self._prices[position.contract_id],
            tick_size=contract.tick_size,
            tick_value=contract.tick_value,
        )
        self._report_stop(trip, at, OrderState.FILLED if made < 0 else OrderState.CANCELED)
        self._report(at, msgspec.structs.replace(position, size=0, updated_at=at))
        self._report(
            at,
            BrokerTrade(
                id=self._next_id(),
                contract_id=position.contract_id,
                profit_and_loss=made,
                quantity=position.size,
                execution_time=at,
                timestamp=at,
            ),
        )

    def _report_stop(self, trip: _Trip, at: datetime, state: OrderState) -> None:
        if trip.stop_id is None:
            return
        position = trip.position
        self._report(
            at,
            BrokerOrder(
                id=trip.stop_id,
                contract_id=position.contract_id,
                type=OrderType.STOP,
                side=OrderSide.SELL if trip.direction > 0 else OrderSide.BUY,
                size=position.size,
                limit_price=None,
                stop_price=position.average_price - 20 * trip.direction,
                state=state,
                created_at=position.created_at,
                updated_at=at,
            ),
        )

    def _report(self, at: datetime, data: EventData) -> None:
        self._moments.append(Moment(at, Event(ACCOUNT, data)))

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


class _Trip(NamedTuple):
    """A position from its opening to its close, and its stop if it has one."""

    position: GatewayUserPosition
    stop_id: int | None

    @property
    def direction(self) -> int:
        return 1 if self.position.type is PositionType.LONG else -1


class Decided(NamedTuple):
    """A decision: when, by which rule, and the command."""

    at: datetime
    rule_id: str
    command: Command


class RulesUnderTest:
    """Evaluates the rules on simulated days, as the risk engine does on real ones.

    :ivar decided: all decisions, in order.
    """

    def __init__(self, account: AccountSettings) -> None:
        self._rules = account.rules
        self._schedule = account.schedule
        self.state = AccountState(account_id=account.id)
        self.decided: list[Decided] = []
        self._day_ends: datetime | None = None
        self._wakes: dict[str, datetime] = {}
        self._under_way: list[Flatten] = []
        self._answers: deque[GatewayUserOrder] = deque()
        self._placed = 0
        self._spared = SparedRules()

    def handle(self, moments: Iterable[Moment]) -> None:
        """Handle what happens."""
        for at, event, may_trade in moments:
            self._pass_time(at)
            if event is None:
                self._change_risk(can_trade=may_trade)
                self._evaluate(Kind.ACCOUNT, at)
            else:
                self._take(event, at)
            self._take_answers(at)

    def _take_answers(self, at: datetime) -> None:
        while self._answers:
            self._take(Event(self.state.account_id, self._answers.popleft()), at)

    def _take(self, event: Event, at: datetime) -> None:
        after = apply(self.state, event)
        if after is self.state:
            return
        self.state = after
        data = event.data
        if isinstance(data, MarketQuote):
            held = after.positions.get(data.contract_id)
            if held is None or not held.size:
                return
            if self._spared.are_all(after, data, at):
                return
        self._evaluate(_KINDS[type(data)], at, data)
        if self._under_way and self._is_flattened():
            self._under_way.clear()
            self._evaluate(Kind.REVIEW, at)

    def _is_flattened(self) -> bool:
        """Return whether the trader holds nothing more than the flattens under way leave."""
        held = self.state.open_positions
        return not any(
            flatten.keep is None
            or position.size > flatten.keep.get(position.contract_id, position.size)
            for flatten in self._under_way
            for position in held
        )

    # Time.

    def _pass_time(self, at: datetime) -> None:
        """Handle everything that is due by now, each at its time."""
        if self._day_ends is None:
            self._day_ends = self._schedule.next_reset(at)
            self.state = begin_day(self.state, self._schedule.day_start(at))
        while (due := self._next_due(self._day_ends)) <= at:
            self._end_day(due)
            self._end_locks(due)
            rules = [rule_id for rule_id, wake_at in self._wakes.items() if wake_at <= due]
            for rule_id in rules:
                del self._wakes[rule_id]
            if rules:
                self._evaluate(Kind.TIMER, due, due=rules)
            self._take_answers(due)

    def _next_due(self, day_ends: datetime) -> datetime:
        # Locks end together, with the last of them.
        lock = self.state.lockout if self.state.lockouts else None
        lock_ends = lock.locked_until if lock is not None and lock.locked_until else day_ends
        return min(day_ends, lock_ends, *self._wakes.values())

    def _end_day(self, now: datetime) -> None:
        if self._day_ends is None or now < self._day_ends:
            return
        state = self.state
        reset = DailyReset(
            reset_time=self._day_ends,
            previous_pnl=state.realized_pnl,
            previous_trade_count=state.trade_count,
            lockouts_cleared=bool(state.lockouts) and not locks_in_force(state, now),
        )
        self.state = apply(state, Event(state.account_id, reset))
        self._day_ends = self._schedule.next_reset(now)

    def _end_locks(self, now: datetime) -> None:
        if self.state.lockouts and not locks_in_force(self.state, now):
            self._clear(ClearedBy.TIMER_EXPIRY, now)
            self._evaluate(Kind.REVIEW, now)

    def _clear(self, cleared_by: ClearedBy, now: datetime) -> None:
        cleared = LockoutCleared(cleared_at=now, cleared_by=cleared_by)
        self.state = apply(self.state, Event(self.state.account_id, cleared))

    # Evaluation and decisions.

    def _evaluate(
        self, kind: Kind, now: datetime, subject: EventData | None = None, due: Iterable[str] = ()
    ) -> None:
        locked = is_locked(self.state, now)
        if locked and not self._under_way:
            self._gate(now)
        if self._under_way and kind not in (Kind.TRADE, Kind.ACCOUNT):
            return
        assert self._day_ends is not None
        trigger = Trigger(kind=kind, now=now, next_reset=self._day_ends, subject=subject)
        checked, spared = self.state, frozenset[str]()
        if isinstance(subject, MarketQuote):
            spared = self._spared.slots(checked, subject, now)
        evaluation = evaluate(
            checked, self._rules, trigger, is_locked=locked, due=tuple(due), spared=spared
        )
        for fault in evaluation.faults:
            raise fault.error
        self.state = evaluation.state
        self._spared.note(checked, self.state, self._rules, trigger, evaluation)
        for rule_id, result in evaluation.results.items():
            if result.wake_at is None:
                self._wakes.pop(rule_id, None)
            else:
                self._wakes[rule_id] = result.wake_at
        for rule_id, command in evaluation.decisions:
            self._decide(rule_id, command, now)

    def _gate(self, now: datetime) -> None:
        """Flatten a locked account, or reject its working orders."""
        lock = locks_in_force(self.state, now)[0]
        if self.state.open_positions:
            self._decide(lock.rule_id, Flatten(reason=f"Locked: {lock.reason}"), now)
            return
        for order in forbidden_orders(self.state):
            rejection = RejectOrder(reason=f"Locked: {lock.reason}", order_id=order.id)
            self._decide(lock.rule_id, rejection, now)

    def _decide(self, rule_id: str, command: Command, now: datetime) -> None:
        self.decided.append(Decided(now, rule_id, command))
        if isinstance(command, Flatten):
            self._flatten(rule_id, command, now)
        elif isinstance(command, LiftLock):
            self._lift(rule_id, command, now)
        elif isinstance(command, PlaceStop):
            self._place(command, now)
        else:
            self._change(command, now)

    def _flatten(self, rule_id: str, command: Flatten, now: datetime) -> None:
        if command.lock is not None:
            lock = new_lock(rule_id, command.reason, command.lock, self.state, now)
            self.state = apply(self.state, Event(self.state.account_id, lock))
        self._under_way.append(command)
        if self._is_flattened():
            self._under_way.clear()

    def _lift(self, rule_id: str, command: LiftLock, now: datetime) -> None:
        """End one rule's lock; the account is free when it was the only one."""
        locks = locks_in_force(self.state, now)
        mine = next((lock for lock in locks if lock.rule_id == rule_id), None)
        if mine is not None and len(locks) == 1:
            self._clear(ClearedBy.ADMIN_OVERRIDE, now)
        elif mine is not None:
            ended = ended_lock(mine, command.reason, now)
            self.state = apply(self.state, Event(self.state.account_id, ended))

    def _place(self, wanted: PlaceStop, now: datetime) -> None:
        self._placed += 1
        order = BrokerOrder(
            id=-self._placed,
            contract_id=wanted.contract_id,
            type=OrderType.STOP,
            side=wanted.side,
            size=wanted.size,
            limit_price=None,
            stop_price=wanted.stop_price,
            state=OrderState.ACTIVE,
            created_at=now,
            updated_at=now,
            custom_tag=OWN_STOP_TAG,
        )
        self._answers.append(order)

    def _change(self, wanted: ChangeStop | WithdrawStop | RejectOrder, now: datetime) -> None:
        order = self.state.orders[wanted.order_id]
        if isinstance(wanted, ChangeStop):
            changed = msgspec.structs.replace(
                order, size=wanted.size, stop_price=wanted.stop_price, updated_at=now
            )
        else:
            changed = msgspec.structs.replace(order, state=OrderState.CANCELED, updated_at=now)
        self._answers.append(changed)

    def _change_risk(self, **changes: object) -> None:
        risk = msgspec.structs.replace(self.state.risk, **changes)
        self.state = msgspec.structs.replace(self.state, risk=risk)
