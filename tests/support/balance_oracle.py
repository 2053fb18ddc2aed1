"""What the limits on balance and equity demand of an account, by the exchange's own balance, trades and prices.

The exchange knows one balance and one price at each moment.  riskd hears of them one by one, each some time
later, so what it may know is bounded: the balance and the positions of one moment, at the prices of another
one, both of the last seconds.  A breach that is there at every such bound must be acted on; one that is at
none of them must not.
"""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from riskd.gateway.fields import Payload
from riskd.practice.account_store import net_result
from tests.support.extremes import Extreme

NET_LOSS: Final = "RULE-013"
MAXIMUM_LOSS: Final = "RULE-014"
NET: Final = (NET_LOSS, MAXIMUM_LOSS)
"""The rules that go by balance, realized and open P&L together."""

_TABLES: Final = {"daily_net_loss": NET_LOSS, "maximum_loss": MAXIMUM_LOSS}

IN_TIME: Final = 2.0
"""How far apart the moments of balance and price may be while nothing is late."""

LATE: Final = 10.0
"""The same after a restart, or while single events are late."""

LONGEST: Final = 150.0
"""The same while anything may be lost."""

SOON_SECONDS: Final = 6.0
"""How long after a breach riskd may act on it while nothing is late."""

SETTLED_SECONDS: Final = 3.0
"""An equity that lasted for so long was seen, and is on the disk."""

FLOW_SECONDS: Final = 30.0
REPEATED_FLOW_SECONDS: Final = 75.0
"""The same for one that leads to an earlier balance: an event of that looks like a late copy."""

COSTS: Final = Decimal("5.00")
"""What fees, commissions and half the spread of a contract come to at most, for an exit or an entry."""

_EXIT_COSTS: Final = Decimal("2.50")

LASTS: Final = Decimal("0.9")
"""Down to which part of its threshold a loss keeps an account near its limit."""

ZERO: Final = Decimal(0)

_at: Final = attrgetter("at")


moment_of = cache(datetime.fromisoformat)


class Held(NamedTuple):
    """A position: contracts, short ones negative, and what a point of one of them is worth."""

    contract_id: str
    size: int
    average: Decimal
    point: Decimal
    tick_value: Decimal

    def pnl(self, low: Decimal, high: Decimal) -> tuple[Decimal, Decimal]:
        """Return the least and the most that it makes at prices from ``low`` to ``high``."""
        worth = self.point * self.size
        at_low, at_high = (low - self.average) * worth, (high - self.average) * worth
        return (at_low, at_high) if self.size > 0 else (at_high, at_low)

    def exit_pnl(self, low: Decimal, high: Decimal) -> Decimal:
        """Return what an exit brings, at the bid or the ask."""
        return self.pnl(low, high)[0]


def pnl_of(
    held: Iterable[Held], prices: Callable[[str], tuple[Decimal, Decimal]]
) -> tuple[Decimal, Decimal]:
    """Return the least and the most that positions make, at the lowest and highest price of each contract."""
    least = most = ZERO
    for each in held:
        low, high = each.pnl(*prices(each.contract_id))
        least, most = least + low, most + high
    return least, most


class Standing(NamedTuple):
    """What the account had from a moment on.

    :ivar net: the day's realized P&L, less its charges.
    """

    at: float
    balance: Decimal
    net: Decimal
    held: tuple[Held, ...]


class Flow(NamedTuple):
    """A payout, negative, or a deposit.

    :ivar seconds: how long riskd takes to count it while nothing is lost, and to know it in a flat account.
    """

    at: float
    amount: Decimal
    seconds: float = FLOW_SECONDS


class Bounds(NamedTuple):
    """What riskd may take a figure for, at the least and at the most."""

    low: Decimal
    high: Decimal

    def over(self, low: Decimal, high: Decimal) -> Bounds:
        """Return the bounds of a high that has risen to these figures."""
        if low <= self.low and high <= self.high:
            return self
        return Bounds(max(self.low, low), max(self.high, high))


class Fall(NamedTuple):
    """How far the equity has fallen since a breach.

    :ivar least: the lowest equity while the news of the breach and the answer to it were on their way.
    :ivar costs: what the exits may cost.
    """

    since: float
    held: dict[str, int]
    least: Decimal
    costs: Decimal


class Oracle(Protocol):
    """What the exchange has, as :class:`~tests.support.exchange_oracle.ExchangeOracle` shows it."""

    def awake(self) -> float: ...
    def held(self) -> tuple[Held, ...]: ...
    def balance(self) -> Decimal: ...
    def prices(self, contract_id: str) -> tuple[Decimal, Decimal]: ...


def net_rules(tables: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Return the settings of the rules on balance and equity among these TOML tables, by rule id."""
    found = tomllib.loads("".join(tables)).get("rules", {})
    return {_TABLES[key]: found[key] for key in _TABLES if key in found}


class Range:
    """The lowest and the highest of bid, ask and last price of a contract, now and in the last seconds."""

    def __init__(self, prices: tuple[Decimal, Decimal]) -> None:
        self._prices = prices
        low, high = prices
        self._low = Extreme(low, LONGEST, is_most=False)
        self._high = Extreme(high, LONGEST, is_most=True)

    def note(self, now: float, prices: tuple[Decimal, Decimal]) -> None:
        if prices is not self._prices:
            self._prices = prices
            low, high = prices
            self._low.note(now, low)
            self._high.note(now, high)

    def since(self, oldest: float) -> tuple[Decimal, Decimal]:
        return self._low.since(oldest), self._high.since(oldest)


_Dated = TypeVar("_Dated", Standing, Flow)


def _since(known: Sequence[_Dated], oldest: float) -> Sequence[_Dated]:
    """Return what of a sequence in order of time is of ``oldest`` or later."""
    # Most looks find the last one long before that.
    if not known or known[-1].at < oldest:
        return known[:0]
    return known[bisect_left(known, oldest, key=_at) :]


class Past(NamedTuple):
    """What the account had in the last seconds, and the prices in them.

    :ivar standings: each was there until the next.
    :ivar prices: the lowest and the highest, by contract id.
    """

    standings: Sequence[Standing]
    prices: Mapping[str, tuple[Decimal, Decimal]]

    def valued(self) -> Iterator[tuple[Standing, Decimal, Decimal]]:
        """Yield each standing with the least and the most that its positions made."""
        for each in self.standings:
            yield each, *pnl_of(each.held, self.prices.__getitem__)


class BalanceOracle:
    """What balance and equity demand.

    :param oracle: shows what the exchange has.
    :param rules: the settings of the rules in force, by rule id.
    :ivar flows: the payouts and deposits that riskd may not have told apart from trades yet.
    :ivar paid: the payouts so far, and what riskd could not tell from one.
    :ivar net: the day's realized P&L less its charges.
    :ivar worth: the least and the most that the account was worth at the last look.
    :ivar window: for how many seconds riskd may not know what happened.
    :ivar grace: how many seconds riskd needs to end a breach; ``None`` while something may keep it from that.
    :ivar lost_more: by how much equity fell further than within the grace, at which time; ``None``: it did not.
    """

    def __init__(self, oracle: Oracle, rules: Mapping[str, Mapping[str, Any]]) -> None:
        self._oracle = oracle
        self.rules = rules
        self.flows: list[Flow] = []
        self.paid = ZERO
        self.net = self._high_realized = self._flows_of_day = ZERO
        self.worth = Bounds(ZERO, ZERO)
        self._start: Decimal | None = None
        self._closes = self._starts = self._peak = Bounds(ZERO, ZERO)
        self._late_flows = self._high_net = Bounds(ZERO, ZERO)
        self._day: datetime | None = None
        self._results: dict[int, Decimal] = {}
        self._changes: list[Flow] = []
        self._standings: list[Standing] = []
        self._prices: dict[str, Range] = {}
        # The most in the last seconds, balance and net P&L with what is open; most looks find the same.
        self._most: tuple[Past | None, Decimal, Decimal] = (None, ZERO, ZERO)
        self._lasting: deque[tuple[float, Decimal, Decimal]] = deque()
        self._is_start_raised = False
        self._fall: Fall | None = None
        self._flat_since = 0.0
        self._balances: set[Decimal] = set()
        self.window = LATE
        self.grace: float | None = None
        self.lost_more: tuple[float, Decimal] | None = None

    # What has happened.

    def note_flow(self, amount: Decimal) -> None:
        """Note a payout, negative, or a deposit that the broker makes now."""
        is_repeated = self._oracle.balance() + amount in self._balances
        seconds = REPEATED_FLOW_SECONDS if is_repeated else FLOW_SECONDS
        self.flows.append(Flow(self._oracle.awake(), amount, seconds))
        self._flows_of_day += amount
        self.paid += max(-amount, ZERO)

    def believe_flows(self) -> None:
        """Note that riskd knows all payouts and deposits as what they are."""
        self._is_start_raised |= bool(self.flows) and all(each.amount < 0 for each in self.flows)
        self.flows.clear()

    def note_trades(self, trades: Iterable[Payload], day: datetime) -> None:
        """Note the trades of the last days, half turns and voided ones too.

        :param day: when the trading day began.
        """
        if day != self._day:
            self._begin_day(day)
        of_day = []
        for each in trades:
            result = ZERO if each["voided"] else net_result(each)
            change = result - self._results.get(each["id"], ZERO)
            executed = moment_of(each["creationTimestamp"])
            if change or each["id"] not in self._results:
                self._changes.append(Flow(self._oracle.awake(), change))
                # An event that is lost tells it from a payout.
                if executed < day and self._is_late:
                    self.paid += abs(change)
            self._results[each["id"]] = result
            if executed >= day:
                of_day.append((executed, each["id"], result))
        nets = list(accumulate((result for *_key, result in sorted(of_day)), initial=ZERO))
        self.net, self._high_realized = nets[-1], max(nets)

    def _begin_day(self, day: datetime) -> None:
        self._day = day
        late = self._late_flows
        self._closes = self._closes.over(
            self._starts.low + late.low, self._starts.high + late.high
        )
        # What riskd has not heard of by now it takes for a flow of the new day.
        now = self._oracle.awake()
        unheard = [
            each.amount
            for each in self.flows
            if self.window >= LONGEST or now - each.at < each.seconds
        ]
        self._late_flows = Bounds(
            sum((min(-each, ZERO) for each in unheard), ZERO),
            sum((max(-each, ZERO) for each in unheard), ZERO),
        )
        self._flows_of_day, self._high_net = ZERO, Bounds(ZERO, ZERO)
        self._lasting.clear()

    def look(self) -> None:
        """Note the balance, the positions and the prices of this moment."""
        oracle = self._oracle
        now, held, balance = oracle.awake(), oracle.held(), oracle.balance()
        last = self._standings[-1] if self._standings else None
        if last is None or (last.balance, last.net, last.held) != (balance, self.net, held):
            self._standings.append(Standing(now, balance, self.net, held))
            self._balances.add(balance)
            for each in held:
                name = each.contract_id
                self._prices.setdefault(name, Range(oracle.prices(name)))
        for name, prices in self._prices.items():
            prices.note(now, oracle.prices(name))
        self.worth = Bounds(*self.equity())
        self._forget(now)
        self._believe_flows(now)
        start = balance - self.net - self._flows_of_day
        if self._start is None:
            self._start = start
            self._closes = self._starts = self._peak = Bounds(start, start)
        self._note_highs(now, start)

    def follow_fall(self, is_breached: bool) -> None:
        """Note whether a breach costs more than what the price moves before riskd can act.

        :param is_breached: whether a rule is breached for everyone to see, and nothing excuses it.
        """
        now, fall, held = self._oracle.awake(), self._fall, self._standings[-1].held
        sizes = {each.contract_id: each.size for each in held}
        least = self.worth.low
        has_grown = fall is not None and any(
            size * fall.held.get(name, 0) <= 0 or abs(size) > abs(fall.held[name])
            for name, size in sizes.items()
        )
        if self.grace is None or has_grown:
            fall = None
        if fall is None:
            if is_breached and held and self.grace is not None:
                contracts = sum(abs(size) for size in sizes.values())
                costs = contracts * COSTS + sum(abs(each.size) * each.tick_value for each in held)
                fall = Fall(now, sizes, least, costs)
        elif now - fall.since <= (self.grace or 0.0):
            fall = fall._replace(least=min(least, fall.least))
        elif least < fall.least - fall.costs:
            self.lost_more = now - fall.since, fall.least - least
        self._fall = fall if held else None

    def _believe_flows(self, now: float) -> None:
        """Note that riskd knows what has happened in an account that is flat for long."""
        if self._standings[-1].held or self.window >= LONGEST:
            self._flat_since = now
        elif all(now - max(self._flat_since, each.at) >= each.seconds for each in self.flows):
            self.believe_flows()

    def _forget(self, now: float) -> None:
        """Forget what riskd knows to be over; the last of it was there until the next."""
        oldest = now - LONGEST
        while len(self._standings) > 1 and self._standings[1].at < oldest:
            del self._standings[0]
        while self._changes and self._changes[0].at < oldest:
            del self._changes[0]

    def _note_highs(self, now: float, start: Decimal) -> None:
        payouts, deposits = self._unknown_flows(now)
        gains, losses = self._unknown_results(now)
        self._starts = Bounds(start - deposits - gains, start + payouts + losses)
        most_equity, most_net = self._most_lately(self._past(now - self.window))
        if self._is_late or self.flows:
            self._lasting.clear()
        else:
            least = self.worth.low
            net_least = least - self._standings[-1].balance + self.net
            if not self._lasting or self._lasting[-1][1:] != (least, net_least):
                self._lasting.append((now, least, net_least))
            while len(self._lasting) > 1 and self._lasting[1][0] <= now - SETTLED_SECONDS:
                self._lasting.popleft()
        if self._lasting and now - self._lasting[0][0] >= SETTLED_SECONDS:
            _since, lasted, net_lasted = map(min, zip(*self._lasting, strict=True))
        else:
            lasted, net_lasted = self._peak.low, self._high_net.low
        self._peak = self._peak.over(lasted, most_equity + losses + payouts)
        self._high_net = self._high_net.over(net_lasted, most_net + losses)

    def _most_lately(self, past: Past) -> tuple[Decimal, Decimal]:
        """Return the most of the balance and of the day's net P&L, each with what was open."""
        known, equity, net = self._most
        if known != past:
            valued = [(each, pnl) for each, _least, pnl in past.valued()]
            equity = max(each.balance + pnl for each, pnl in valued)
            net = max(each.net + pnl for each, pnl in valued)
            self._most = past, equity, net
        return equity, net

    # What riskd may not know.

    @property
    def _is_late(self) -> bool:
        return self.window > IN_TIME

    def _unknown_flows(self, now: float) -> tuple[Decimal, Decimal]:
        """Return the payouts and the deposits that riskd may not count yet, both positive."""
        if not self.flows:
            return ZERO, ZERO
        payouts = [
            -each.amount
            for each in self.flows
            if each.amount < 0 and now - each.at < (LONGEST if self._is_late else each.seconds)
        ]
        deposits = [each.amount for each in self.flows if each.amount > 0]
        return sum(payouts, ZERO), sum(deposits, ZERO)

    def _unknown_results(self, now: float) -> tuple[Decimal, Decimal]:
        """Return the gains and the losses of which riskd may know some and others not, both positive."""
        if not self._changes:
            return ZERO, ZERO
        recent = _since(self._changes, now - self.window)
        if not self._is_late:
            costs = COSTS * len(recent)
            return costs, costs
        # Until the balance is settled after a start, only losses count.
        gains = sum((each.amount for each in self._changes if each.amount > 0), ZERO)
        return gains, sum((-each.amount for each in recent if each.amount < 0), ZERO)

    def _past(self, oldest: float) -> Past:
        """Return what was there at some moment since ``oldest``."""
        recent = _since(self._standings, oldest)
        # The last one of before was there until the next.
        standings = self._standings[-len(recent) - 1 :]
        held = {each.contract_id for standing in standings for each in standing.held}
        return Past(standings, {name: self._prices[name].since(oldest) for name in held})

    # What follows.

    def equity(self) -> tuple[Decimal, Decimal]:
        """Return the least and the most that the account is worth at bid, ask or last price."""
        balance = self._oracle.balance()
        least, most = pnl_of(self._oracle.held(), self._oracle.prices)
        return balance + least, balance + most

    def floor(self) -> Bounds | None:
        """Return what the floor of RULE-014 is; ``None`` without one."""
        settings = self.rules.get(MAXIMUM_LOSS)
        if settings is None or self._start is None:
            return None
        start = Decimal(settings.get("starting_balance", self._start))
        trailing = settings["trailing"]
        high = Bounds(start, start)
        if trailing == "end_of_day":
            late = self._late_flows
            known = Bounds(self._starts.low + late.low, self._starts.high + late.high)
            high = high.over(*self._closes).over(*known)
        elif trailing == "intraday":
            high = high.over(*self._peak)
        stop = settings.get("stops_at", "start")
        floors = [each - settings["drawdown"] for each in high]
        if stop != "never":
            floors = [min(each, start) for each in floors]
        if settings.get("after_payout") == "start" and self.paid:
            low, most = floors
            floors = [max(low, start) if self._is_start_raised else low, max(most, start)]
        return Bounds(*floors)

    def _buffer(self, held: Iterable[Held]) -> Decimal:
        own = self.rules[MAXIMUM_LOSS].get("buffer")
        costs = [abs(each.size) * (each.tick_value + _EXIT_COSTS) for each in held]
        return sum(costs, ZERO) if own is None or not costs else Decimal(own)

    def headroom(self, rule_id: str) -> Decimal | None:
        """Return how many dollars may be lost until a rule acts; ``None`` if it is not in force."""
        if rule_id not in self.rules:
            return None
        least, _most = self.equity()
        if rule_id == MAXIMUM_LOSS:
            floor = self.floor()
            assert floor is not None
            return least - floor.high - self._buffer(self._oracle.held())
        net = least - self._oracle.balance() + self.net
        return net - self._high(is_low=False) + self.rules[NET_LOSS]["loss_limit"]

    def _high(self, *, is_low: bool) -> Decimal:
        """Return the high from which the day's loss counts."""
        trailing = self.rules[NET_LOSS]["trailing"]
        if trailing == "none":
            return ZERO
        realized = self._high_realized
        if not is_low:
            _gains, losses = self._unknown_results(self._oracle.awake())
            realized += losses
        if trailing == "realized":
            return realized
        return max(realized, self._high_net.low if is_low else self._high_net.high)

    def breached(self) -> Iterator[str]:
        """Yield the rules that were breached at the last look for everyone to see."""
        last, most = self._standings[-1], self.worth.high
        payouts, _deposits = self._unknown_flows(self._oracle.awake())
        floor = self.floor()
        if floor is not None and most + payouts <= floor.low + self._buffer(last.held):
            yield MAXIMUM_LOSS
        if NET_LOSS in self.rules:
            net = most - last.balance + self.net
            if self._high(is_low=True) - net >= self.rules[NET_LOSS]["loss_limit"]:
                yield NET_LOSS

    def _thresholds(self) -> Iterator[tuple[str, Decimal, Decimal]]:
        """Yield each rule that has one with its limit and the loss from which only exits are allowed."""
        for rule_id, key in ((MAXIMUM_LOSS, "drawdown"), (NET_LOSS, "loss_limit")):
            settings = self.rules.get(rule_id, {})
            if "reduce_only_at" in settings:
                limit = Decimal(settings[key])
                yield rule_id, limit, limit * settings["reduce_only_at"] / 100

    def is_near(self) -> bool:
        """Return whether a loss was so near to its limit at the last look, for everyone to see."""
        last, most = self._standings[-1], self.worth.high
        payouts, _deposits = self._unknown_flows(self._oracle.awake())
        for rule_id, limit, threshold in self._thresholds():
            if rule_id == NET_LOSS:
                loss = self._high(is_low=True) - (most - last.balance + self.net)
            else:
                floor = self.floor()
                loss = Decimal(0) if floor is None else limit - (most + payouts - floor.low)
            if loss >= threshold:
                return True
        return False

    def may_be_near(self) -> bool:
        """Return whether a loss is so near to its limit, or was, by something that riskd may know."""
        now = self._oracle.awake()
        gains, _losses = self._unknown_results(now)
        _payouts, deposits = self._unknown_flows(now)
        valued = list(self._past(now - max(self.window, SOON_SECONDS)).valued())
        for rule_id, limit, threshold in self._thresholds():
            if rule_id == NET_LOSS:
                net = min(each.net + low for each, low, _high in valued) - gains
                loss = self._high(is_low=False) - net
            else:
                floor = self.floor()
                if floor is None:
                    continue
                equity = min(each.balance + low for each, low, _high in valued)
                loss = limit - (equity - gains - deposits - floor.high)
            if loss >= threshold * LASTS:
                return True
        return False

    def may_be_breached(self) -> Iterator[str]:
        """Yield the rules that are breached by something that riskd may know."""
        now = self._oracle.awake()
        gains, _losses = self._unknown_results(now)
        _payouts, deposits = self._unknown_flows(now)
        valued = list(self._past(now - max(self.window, SOON_SECONDS)).valued())
        floor = self.floor()
        if floor is not None:
            equities = [
                each.balance + low - self._buffer(each.held) for each, low, _high in valued
            ]
            if min(equities) - gains - deposits <= floor.high:
                yield MAXIMUM_LOSS
        if NET_LOSS in self.rules:
            net = min(each.net + low for each, low, _high in valued) - gains
            if self._high(is_low=False) - net >= self.rules[NET_LOSS]["loss_limit"]:
                yield NET_LOSS
