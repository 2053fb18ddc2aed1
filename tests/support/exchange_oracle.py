"""What the rules demand of an account, by the exchange's own positions, orders, trades and prices.

The oracle knows nothing of riskd's state.  It reads the practice exchange itself, by its clock, and remembers
for each breach when it was last there and since when it has been there without a break.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any, Final, NamedTuple, Protocol

from riskd.gateway.enums import GatewayOrderType
from riskd.gateway.fields import Payload
from riskd.model.events import OPERATOR
from riskd.practice.account_store import AccountStore
from riskd.practice.records import Quote
from tests.support.account_view import (
    AccountView,
    direction,
    entries,
    held_as,
    is_own_stop,
    signed,
    view_account,
)
from tests.support.balance_oracle import (
    NET,
    NET_LOSS,
    BalanceOracle,
    Held,
    moment_of,
    net_rules,
)
from tests.support.extremes import Extreme
from tests.support.trading_hours import CHICAGO, HOLIDAYS, Hours

DAY_BEGINS: Final = time(17)


class Limits(NamedTuple):
    """The limits of the rules; the lower, the tighter."""

    loss: int = 1000
    open_loss: int = 200
    profit: int = 240
    large_loss: int = 100
    trades: int = 5
    contracts: int = 4
    es: int = 2

    def tightest(self, other: Limits) -> Limits:
        return Limits(*map(min, self, other))


COOLDOWN_SECONDS: Final = 240.0
WINDOW: Final = timedelta(minutes=5)
MAX_TRADES: Final = Limits().trades
MAX_ES: Final = Limits().es
GRACE_SECONDS: Final = 30.0

NO_STOP: Final = "no stop"
"""RULE-012 wants a stop for what others do not cover.  Where it closes instead, that is a breach of its own."""

STOPS_TOO_MANY: Final = "stops too many"
"""The stops of riskd would close more than is held."""

REDUCE_ONLY: Final = "reduce only"
"""A loss is near its limit: no order may open contracts, and what is opened all the same is closed."""

_ALWAYS: Final = """
[rules.max_contracts]
limit = {contracts}
[rules.max_contracts_per_instrument]
limits = {{ ES = {es} }}
unknown_symbol_action = "allow_unlimited"
[rules.daily_realized_loss]
loss_limit = {loss}
[rules.auth_loss_guard]
[rules.symbol_blocks]
blocked_symbols = ["MES"]
"""
_OF_TRADES: Final = f"""
[rules.trade_frequency_limit]
max_trades = {{trades}}
time_window_minutes = 5
cooldown_seconds = {COOLDOWN_SECONDS:g}
[rules.cooldown_after_loss]
loss_threshold = {{large_loss}}
cooldown_seconds = {COOLDOWN_SECONDS:g}
"""
_OF_PRICES: Final = """
[rules.daily_unrealized_loss]
loss_limit = {open_loss}
[rules.max_unrealized_profit]
profit_target = {profit}
"""
ALWAYS, OF_TRADES, OF_PRICES = (
    table.format(**Limits()._asdict()) for table in (_ALWAYS, _OF_TRADES, _OF_PRICES)
)
OF_STOPS: Final = f"""
[rules.no_stop_loss_grace]
grace_period_seconds = {GRACE_SECONDS:g}
"""
HOURS: Final = Hours(time(17, 30), time(15))
ES_HOURS: Final = Hours(time(3), time(12))
OF_HOURS: Final = f"""
[rules.session_block_outside]
allowed_hours = {HOURS.as_toml()}
sessions = {{ ES = {ES_HOURS.as_toml()} }}
holidays = [{", ".join(map(str, HOLIDAYS))}]
"""
STOP_TICKS: Final = 20
BREAKEVEN_TICKS: Final = 12
TRAIL_TICKS: Final = 20
OF_MANAGEMENT: Final = f"""
[rules.trade_management]
enabled = true
stop_loss_ticks = {STOP_TICKS}
auto_breakeven = {{ enabled = true, profit_trigger_ticks = {BREAKEVEN_TICKS} }}
trailing_stop = {{ enabled = true, activation_ticks = {TRAIL_TICKS}, trail_distance_ticks = {TRAIL_TICKS} }}
"""
NET_LOSSES: Final = tuple(
    f'[rules.daily_net_loss]\nloss_limit = {limit}\ntrailing = "{trailing}"\n'
    for trailing in ("none", "realized", "equity")
    for limit in (400, 700)
)
MAXIMUM_LOSSES: Final = tuple(
    f'[rules.maximum_loss]\ndrawdown = {drawdown}\ntrailing = "{trailing}"\n{more}'
    for trailing in ("end_of_day", "intraday", "static")
    for drawdown in (600, 1500)
    for more in (
        "",
        *("buffer = 0\n", 'buffer = 40\nstops_at = "never"\n'),
        *("starting_balance = 49900\n", 'after_payout = "start"\n'),
    )
)
"""What may be in force of the limits on balance and equity, as TOML tables; see :func:`net_rules`."""

RULE_SETS: Final = (
    (OF_TRADES, OF_PRICES, OF_STOPS),
    (OF_PRICES, OF_STOPS),
    (OF_TRADES, OF_PRICES),
    (OF_PRICES,),
    (OF_TRADES,),
    (OF_STOPS,),
    (),
)
"""What may be in force beside :data:`ALWAYS`, as TOML tables."""

_RULE_IDS: Final = {
    ALWAYS: {"RULE-001", "RULE-002", "RULE-003", "RULE-010", "RULE-011"},
    OF_TRADES: {"RULE-006", "RULE-007"},
    OF_PRICES: {"RULE-004", "RULE-005"},
    OF_STOPS: {"RULE-008"},
    OF_HOURS: {"RULE-009"},
    OF_MANAGEMENT: {"RULE-012", NO_STOP, STOPS_TOO_MANY},
}

CLOCK_SECONDS: Final = 2.0
"""How far riskd's idea of the exchange's time may be off."""

SOON_SECONDS: Final = 6.0
"""How long after a breach riskd may act on it while nothing is lost or late."""

NEVER: Final = float("-inf")

NEWS_SECONDS: Final = 150.0
"""How long riskd may not know what happened to a trade."""

_STOPS: Final = (
    GatewayOrderType.STOP,
    GatewayOrderType.STOP_LIMIT,
    GatewayOrderType.TRAILING_STOP,
)
PRICED: Final = ("RULE-004", "RULE-005")
"""The rules that go by open P&L."""

_OF_ONE_POSITION: Final = ("RULE-004", "RULE-005", "RULE-008", "RULE-012")

_EXCUSED: Final = ("RULE-009", "RULE-010")
"""The rules that lock for what there is, which an unlock excuses."""


class Breach(NamedTuple):
    """A rule that is breached, by all positions together or by that in one contract."""

    rule_id: str
    contract_id: str | None = None


class Sighting(NamedTuple):
    """When a breach was there last, and in which of the contract's positions."""

    at: float
    life: int


class Formers:
    """The positions that there were in a contract a moment ago.

    :ivar held: each of them once, in the order in which they were there last.
    """

    def __init__(self) -> None:
        self.held: tuple[Held, ...] = ()
        self._until: tuple[float, ...] = ()

    def note(self, now: float, held: Held) -> None:
        """Note a position that was there until now."""
        kept = [pair for pair in zip(self.held, self._until, strict=True) if pair[0] != held]
        self._keep([*kept, (held, now)])

    def forget(self, oldest: float) -> None:
        """Forget what was there last before ``oldest``."""
        if self._until and self._until[0] < oldest:
            pairs = zip(self.held, self._until, strict=True)
            self._keep([pair for pair in pairs if pair[1] >= oldest])

    def _keep(self, pairs: list[tuple[Held, float]]) -> None:
        self.held = tuple(held for held, _until in pairs)
        self._until = tuple(until for _held, until in pairs)


class Trade(NamedTuple):
    """A trade that closed contracts."""

    id: int
    order_id: int
    executed: datetime
    pnl: Decimal


def config_of(tables: Iterable[str], limits: Limits) -> str:
    """Return these tables of rules, and those of every day, with other limits, as TOML."""
    templates = {ALWAYS: _ALWAYS, OF_TRADES: _OF_TRADES, OF_PRICES: _OF_PRICES}
    return "".join(
        templates[table].format(**limits._asdict()) if table in templates else table
        for table in (ALWAYS, *tables)
    )


class Unlock(NamedTuple):
    """What the account had when an operator unlocked it.

    :ivar at: in the exchange's seconds.
    :ivar trades: the ids of the trades of the day.
    :ivar held: the sizes of the positions, short ones negative, by contract id.
    :ivar working: the ids of the working orders.
    :ivar excused: the rules about what is held that were breached.
    :ivar excused_at: when each of them was excused last.
    :ivar unknown: those of them that riskd may not have known as breached yet.
    :ivar loss: the tightest limit of the day's loss.
    """

    at: float
    trades: frozenset[int]
    held: Mapping[str, int]
    working: frozenset[int]
    excused: set[str]
    excused_at: dict[str, float]
    unknown: frozenset[str]
    loss: int


def rule_ids(*tables: str) -> frozenset[str]:
    """Return the ids of the rules in these tables."""
    return frozenset().union(*(_RULE_IDS.get(each) or net_rules([each]) for each in tables))


def _reducing(net: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """Return what settings on balance and equity demand near their limits."""
    is_demanded = any("reduce_only_at" in each for each in net.values())
    return frozenset({REDUCE_ONLY} if is_demanded else ())


class Truth(Protocol):
    """What the exchange has, as :class:`~riskd.practice.exchange.Exchange` shows it."""

    store: AccountStore
    version: int

    def quote(self, contract_id: str) -> Quote | None:
        """Return the contract's last quote; ``None`` before its first."""


class ExchangeOracle:
    """What the rules demand of an account.

    :param exchange: the practice exchange.
    :param account_id: the account.
    :param time: gives the exchange's time, aware.
    :param rules: the ids of the rules in force.
    :param limited: the contract id of ES.
    :param blocked: that of the ticker that is blocked.
    :param net: the settings of the rules on balance and equity; see
        :func:`~tests.support.balance_oracle.net_rules`.  ``None``: nobody looks at balances.
    :ivar balances: what balance and equity demand.
    :ivar seen: when each breach was there last.
    :ivar since: since when each breach has been there without a break, for everyone to see.
    :ivar times: how often each rule came to be breached, of all contracts together.
    :ivar lag: for how many seconds riskd may not know what happened to a position.
    :ivar flat_at: when no position was held last.
    :ivar corrected_at: when a trade was voided or amended last.
    """

    def __init__(
        self,
        exchange: Truth,
        account_id: int,
        time: Callable[[], datetime],
        rules: frozenset[str],
        *,
        limited: str,
        blocked: str,
        net: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._exchange = exchange
        self._account_id, self._time = account_id, time
        self._began = self._asked = time()
        self._seconds = self._slept = self._settles_at = 0.0
        # Until when nothing could be done about any breach.
        self._forgiven_at = 0.0
        self._rules = rules if net is None else rules | _reducing(net)
        self._limited, self._blocked = limited, blocked
        self._trade_seen: dict[int, float] = {}
        self._versions: dict[int, list[tuple[float, Decimal | None]]] = {}
        self._day = self._day_began = self._day_ends = self._began
        self._has_new_trades = True
        self._known_store: AccountStore | None = None
        # What was read last, and the exchange's version then.
        self._view, self._version = AccountView(), -1
        # What there was at the last look.
        self._latest = AccountView()
        self._trades: list[Trade] = []
        # The trades as they look worst to somebody who has not heard all of the last minutes.
        self._worst: dict[int, Trade] = {}
        self._unsettled: dict[int, Payload] = {}
        self._opened: dict[str, tuple[object, float]] = {}
        self._placed: dict[int, float] = {}
        self._unprotected: dict[str, float] = {}
        # When each position changed last, and each quote.
        self._changed_at: dict[str, float] = {}
        self._quoted: dict[str, tuple[Quote | None, float]] = {}
        # The lowest and the highest price of each quote that was asked for last.
        self._prices: dict[str, tuple[Quote, tuple[Decimal, Decimal]]] = {}
        self._formers: dict[str, Formers] = defaultdict(Formers)
        # What positions and those of a moment ago breach, and by what; most looks find the same.
        self._by_prices: dict[str, tuple[object, list[Breach]]] = {}
        self._former_by_prices: dict[str, tuple[object, list[Breach]]] = {}
        # What is breached whatever the prices are and the time is, and by what.
        self._steady: tuple[object, list[Breach]] = (None, [])
        # Whether trading is allowed at a moment, certainly or perhaps, and the same in ES.
        self._hours: tuple[datetime | None, list[tuple[bool, bool]]] = (None, [])
        self._busy_since: float | None = None
        # The last: when any trade that begins a cooldown was seen first.
        self.flat_at = self.corrected_at = self._reloaded_at = self._newest_of_all = NEVER
        self.lag = 1.0
        # How many contracts riskd may take for held, by contract id.
        self._sizes: dict[str, Extreme[int]] = {}
        self._culprits: dict[tuple[str, int], float] = {}
        self._known_cooldowns: dict[str, list[Trade]] = {}
        # The losses, and the trades that begin a cooldown by rule id: by all trades, and at worst.
        self._loss = self._worst_loss = Decimal(0)
        self._cooldowns: dict[str, list[Trade]] = {}
        self._worst_cooldowns: dict[str, list[Trade]] = {}
        # When the last of these trades was seen first.
        self._newest: dict[str, float] = {}
        self.seen: dict[Breach, Sighting] = {}
        self.since: dict[Breach, float] = {}
        self.times: Counter[str] = Counter()
        # The breaches at the last look, those that an unlock excuses too.
        self._found: set[Breach] = set()
        # The same, each with the position that it is about.
        self._occurred: set[tuple[Breach, int]] = set()
        # How many positions each contract has had.
        self._lives: dict[str, int] = defaultdict(int)
        # The sizes that were held lately, each since when.
        self._held_at: deque[tuple[float, dict[str, int]]] = deque(maxlen=100)
        self.limits = Limits()
        # Those before, each until when they were in force.
        self._former_limits: list[tuple[float, Limits]] = []
        # What no rule may lock the account for once more.
        self._unlock: Unlock | None = None
        self.balances = None if net is None else BalanceOracle(self, net)
        self._begin_stops()

    def _begin_stops(self) -> None:
        # Since when a loss may have been near its limit.
        self._near_since = NEVER
        # The best price for each position since it was opened.
        self._best: dict[str, Decimal] = {}
        self._own_stops: dict[str, int] = {}
        self._needed_since: dict[int, float] = {}

    @property
    def _store(self) -> AccountStore:
        """What the accounts have; a store notes here that its trades have changed."""
        store = self._exchange.store
        if store is not self._known_store:
            self._known_store, self._has_new_trades = store, True
            for name in ("add_trade", "void_trade", "amend_trade"):
                change = self._noting(getattr(store, name), is_correction=name != "add_trade")
                setattr(store, name, change)
        return store

    def _noting(self, change: Callable[..., Any], *, is_correction: bool) -> Callable[..., Any]:
        def note_and_change(*args: Any) -> Any:
            self._has_new_trades = True
            # A store that follows another process gets the whole trade again.
            if is_correction or args[0]["id"] in self._versions:
                self.corrected_at = self.awake()
            return change(*args)

        return note_and_change

    def seconds(self) -> float:
        """Return the seconds that have passed at the exchange."""
        now = self._time()
        if now is not self._asked:
            self._asked, self._seconds = now, (now - self._began).total_seconds()
        return self._seconds

    def awake(self) -> float:
        """Return the seconds that the daemon's machine was not asleep."""
        # Each look asks many times, mostly at the moment for which it has asked before.
        seconds = self._seconds if self._time() is self._asked else self.seconds()
        return seconds - self._slept

    def sleep(self, seconds: float) -> None:
        """Note that the machine is about to sleep."""
        self._slept += seconds

    # What the exchange has.

    def view(self) -> AccountView:
        """Return what the account has now."""
        version = self._exchange.version
        if version != self._version:
            self._version = version
            self._view = view_account(self._exchange.store, self._account_id)
        return self._view

    def positions(self) -> Mapping[str, Payload]:
        return self.view().positions

    def orders(self) -> Sequence[Payload]:
        return self.view().orders

    def longest_held(self) -> float:
        """Return for how many seconds the oldest position was held at the last look; 0 without one."""
        return max(
            (self.seconds() - opened for _key, opened in self._opened.values()), default=0.0
        )

    def longest_working(self) -> float:
        """Return for how many seconds the oldest order has been working at the last look; 0 without one."""
        return max((self.seconds() - placed for placed in self._placed.values()), default=0.0)

    def trades(self) -> list[Trade]:
        """Return the trades of the trading day that closed contracts and are not voided."""
        self._read_trades()
        return self._trades

    def day_began(self) -> datetime:
        now = self._time()
        # To ask the calendar at each look would take long.
        if not self._day_began <= now < self._day_ends:
            today = now.astimezone(CHICAGO).date()
            days = [today + timedelta(days=number) for number in (-1, 0, 1)]
            begins = [datetime.combine(each, DAY_BEGINS, CHICAGO).astimezone(UTC) for each in days]
            self._day_began = max(each for each in begins if each <= now)
            self._day_ends = min(each for each in begins if each > now)
        return self._day_began

    def realized(self) -> Decimal:
        return sum((each.pnl for each in self.trades()), Decimal("0.00"))

    def holds_forbidden_order(self) -> bool:
        """Return whether an order works that would not close a position."""
        return bool(self.view().entries)

    def held(self) -> tuple[Held, ...]:
        """Return the positions as what they are worth at a price."""
        return tuple(self.view().held.values())

    def balance(self) -> Decimal:
        return self.view().balance

    def prices(self, contract_id: str) -> tuple[Decimal, Decimal]:
        """Return the lowest and the highest of bid, ask and last price."""
        quote = self._exchange.quote(contract_id)
        assert quote is not None
        known = self._prices.get(contract_id)
        if known is None or known[0] is not quote:
            known = self._prices[contract_id] = quote, (min(quote), max(quote))
        return known[1]

    # What follows from that.

    def look(self) -> None:
        """Note the breaches of this moment."""
        self._read_trades()
        seconds, now = self.seconds(), self.awake()
        self._note_quotes(now)
        self._note_account(seconds, now)
        if self.balances is not None:
            self.balances.look()
        found = {each for each in self._breaches(seconds) if each.rule_id in self._rules}
        self._note_occurrences(found)
        self._note_excuses(found)
        breaches = {each for each in found if not self._is_excused(each)}
        tightest = self._tightest()
        possible = [
            *self._trade_breaches(
                self._worst_loss, self._worst_cooldowns, tightest, is_certain=False
            ),
            *self._size_breaches_as_known(now, tightest),
            *self._breaches_as_known(now, tightest),
            *self._unexcused_as_known(now),
            *self._nearness_as_known(now),
        ]
        # What has grown since an unlock may be known late, and then be gone.
        as_known = found if self.lag > SOON_SECONDS else breaches
        for each in (*as_known, *(each for each in possible if each.rule_id in self._rules)):
            self.seen[each] = Sighting(now, self._lives[each.contract_id or ""])
        plain = {each for each in breaches if self._is_plain(each)}
        for each in plain:
            self.since.setdefault(each, now)
        for each in [each for each in self.since if each not in plain]:
            del self.since[each]
        if self.balances is not None:
            self.balances.follow_fall(any(Breach(rule_id) in plain for rule_id in NET))
        self._note_idleness(now)

    def _nearness_as_known(self, now: float) -> Iterator[Breach]:
        """Yield whether a loss may be near its limit."""
        if REDUCE_ONLY not in self._rules or self.balances is None:
            return
        if self.balances.may_be_near():
            last = self.seen.get(Breach(REDUCE_ONLY))
            if last is None or now - last.at > NEWS_SECONDS:
                self._near_since = now - self.lag
            yield Breach(REDUCE_ONLY)

    def may_be_reduced(self, contract_id: str, within: float) -> bool:
        """Return whether a position may have more contracts than when a loss came near its limit."""
        if not self.was_breached(REDUCE_ONLY, within):
            return False
        size = self.view().sizes.get(contract_id, 0)
        sizes = self._sizes_since(self._near_since - within, contract_id)
        return any(each * size <= 0 or abs(each) < abs(size) for each in sizes)

    def may_be_rejected(self, order: Payload, within: float) -> bool:
        """Return whether an order would open contracts, alone, while a loss may be near its limit."""
        if not self.was_breached(REDUCE_ONLY, within):
            return False
        name, left = order["contractId"], order["size"] - order.get("fillVolume", 0)
        sizes = self._sizes_since(self.awake() - max(self.lag, 1.0), name)
        sizes.append(self.view().sizes.get(name, 0))
        return any(size * direction(order) >= 0 or left > abs(size) for size in sizes)

    def _sizes_since(self, oldest: float, contract_id: str) -> list[int]:
        """Return the sizes that a position has had since then, and the one that it had before."""
        sizes = [held.get(contract_id, 0) for at, held in self._held_at if at >= oldest]
        earlier = [held.get(contract_id, 0) for at, held in self._held_at if at < oldest]
        return sizes + (earlier[-1:] or [0])

    def _note_occurrences(self, found: set[Breach]) -> None:
        """Count the breaches that were not there at the last look, or in another position."""
        if not found and not self._occurred:
            self._found = found
            return
        occurred = {(each, self._lives[each.contract_id or ""]) for each in found}
        for each, _life in occurred - self._occurred:
            self.times[each.rule_id] += 1
        self._found, self._occurred = found, occurred

    def _note_idleness(self, now: float) -> None:
        """Note when nothing was held last, and since when something has been held or entered."""
        view = self.view()
        if not view.positions:
            self.flat_at = now
        if not view.positions and not view.entries:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = now

    def set_limits(self, limits: Limits, *, is_locked: bool) -> None:
        """Note that these limits are in force from now on.

        :param is_locked: whether the earlier ones stay in force beside them until :meth:`release`.
        """
        self._former_limits.append((float("inf") if is_locked else self.awake(), self.limits))
        self.times.update(each.rule_id for each in self._breached_late(limits))
        self.limits = limits
        self._reloaded_at = self.seconds()
        self._has_new_trades = True
        self.look()

    def _breached_late(self, limits: Limits) -> Iterator[Breach]:
        """Yield what only new limits forbid of what was held until now: riskd may know of that later."""
        oldest = self.awake() - self.lag
        later = set(self._size_breaches(self.view().sizes, limits))
        for at, held in reversed(self._held_at):
            breaches = set(self._size_breaches(held, limits))
            breaches.difference_update(self._size_breaches(held, self.limits))
            yield from breaches - later
            # What was held before that was held until then.
            if at < oldest:
                return
            later = breaches

    def release(self) -> None:
        """Note that no lock holds the account to earlier limits any more."""
        now = self.awake()
        self._former_limits = [(min(until, now), each) for until, each in self._former_limits]

    def _tightest(self) -> Limits:
        """Return the tightest of the limits that riskd may go by."""
        if not self._former_limits:
            return self.limits
        oldest = self.awake() - self.lag
        self._former_limits = [each for each in self._former_limits if each[0] >= oldest]
        return reduce(Limits.tightest, (each for _until, each in self._former_limits), self.limits)

    def want_flat(self, rule_id: str) -> None:
        """Note that somebody wants all closed and canceled at this moment."""
        self.seen[Breach(rule_id)] = Sighting(self.awake(), self._lives[""])

    def forgive(self) -> None:
        """Let every breach begin now: until now nothing could be done about it."""
        now = self._forgiven_at = self.awake()
        self.since = dict.fromkeys(self.since, now)
        if self._busy_since is not None:
            self._busy_since = now

    def note_size(self, position: Payload) -> None:
        """Note a size that a position had for a moment, between two looks."""
        sizes = {**self.view().sizes, position["contractId"]: signed(position)}
        self._held_at.append((self.awake(), sizes))
        if position["size"]:
            held = held_as(position, self._exchange.store)
            self._formers[held.contract_id].note(self.awake(), held)
        elif not self.positions():
            self.flat_at = self.awake()
        breaches = [*self._size_breaches(sizes, self._tightest())]
        if position["size"]:
            breaches += self._hours_breaches([position["contractId"]], is_certain=True)
        for each in breaches:
            if each.rule_id in self._rules:
                self.times[each.rule_id] += each not in self._found
                self.seen[each] = Sighting(self.awake(), self._lives[each.contract_id or ""])

    def times_over(self) -> Counter[str]:
        """Return how often each rule was breached, without the breaches that are there now."""
        return self.times - Counter(breach.rule_id for breach, _life in self._occurred)

    def _note_possible(self) -> None:
        """Note the breaches of the rules on balance and equity by what riskd may know now."""
        if self.balances is not None:
            for rule_id in self.balances.may_be_breached():
                self.seen[Breach(rule_id)] = Sighting(self.awake(), self._lives[""])

    def was_breached(self, rule_id: str, within: float, contract_id: str | None = None) -> bool:
        """Return whether a rule was breached in the last seconds, by any or one contract."""
        if rule_id in NET:
            self._note_possible()
        oldest = self.awake() - within
        return any(
            sighting.at >= oldest
            for breach, sighting in self.seen.items()
            if breach.rule_id == rule_id
            and (contract_id is None or breach.contract_id in (None, contract_id))
        )

    def exposed(self) -> dict[Breach, float]:
        """Return for how many seconds each breach has been there for everyone to see.

        A position without a stop has its grace first.
        """
        now = self.awake()
        busy = now - (now if self._busy_since is None else self._busy_since)
        exposed = {
            breach: min(now - since, busy if breach.contract_id is None else now)
            for breach, since in self.since.items()
            # A loss is there without anything held.
            if breach.rule_id not in NET or self._busy_since is not None
        }
        for name in self.positions():
            seconds = self.seconds()
            unprotected = seconds - self._unprotected.get(name, seconds) - GRACE_SECONDS
            since = exposed.pop(Breach("RULE-008", name), None)
            if since is not None and unprotected > 0:
                exposed[Breach("RULE-008", name)] = min(since, unprotected)
        return exposed

    def _is_plain(self, breach: Breach) -> bool:
        """Return whether a breach is there by bid, ask and last price, not by one of them alone.

        A price of the moment in which the position changed may be from before; the next one decides.
        """
        if breach.rule_id not in PRICED or breach.contract_id is None:
            return True
        if self._quoted[breach.contract_id][1] <= self._changed_at[breach.contract_id] + self.lag:
            return False
        held = self.view().held[breach.contract_id]
        least, most = held.pnl(*self.prices(breach.contract_id))
        if breach.rule_id == "RULE-004":
            return most <= -self.limits.open_loss
        return least >= self.limits.profit

    def is_justified(self, contract_id: str, within: float, under_way: float) -> bool:
        """Return whether any rule wanted the position in a contract closed in the last seconds.

        :param under_way: for how many seconds the breach of the position before still counts.
        """
        now, life = self.awake(), self._lives[contract_id]
        self._note_possible()
        return any(
            now - at <= (within if rule_id not in _OF_ONE_POSITION or life == of else under_way)
            for (rule_id, name), (at, of) in self.seen.items()
            if name in (None, contract_id)
            and rule_id not in (NO_STOP, STOPS_TOO_MANY, REDUCE_ONLY)
        )

    def _note_quotes(self, now: float) -> None:
        """Note when each quote has changed."""
        quoted = self._quoted
        for name in self.view().positions:
            if name not in quoted:
                quoted[name] = (self._exchange.quote(name), NEVER)
        for name, (known, _at) in quoted.items():
            quote = self._exchange.quote(name)
            if known is not quote and known != quote:
                quoted[name] = (quote, now)

    def _note_account(self, seconds: float, now: float) -> None:
        """Note what has changed in the account since the last look."""
        view, former = self.view(), self._latest
        if view is not former:
            self._latest = view
            for name in {**view.positions, **former.positions}:
                if view.positions.get(name) != former.positions.get(name):
                    self._changed_at[name] = now
                    if name in former.held:
                        self._formers[name].note(now, former.held[name])
            self._note_sizes(view.sizes, now)
            self._note_lives(view.positions, seconds)
            self._placed = {
                each["id"]: self._placed.get(each["id"], seconds) for each in view.orders
            }
        if "RULE-012" in self._rules:
            self._note_stops()

    def _note_sizes(self, sizes: Mapping[str, int], now: float) -> None:
        for name in {**sizes, **self._sizes}:
            size = abs(sizes.get(name, 0))
            if name in self._sizes:
                self._sizes[name].note(now, size)
            else:
                self._sizes[name] = Extreme(size, NEWS_SECONDS, is_most=True)

    def _note_lives(self, positions: Mapping[str, Payload], now: float) -> None:
        """Note since when each position is held, and since when without a stop for all of it."""
        for name, position in positions.items():
            key = (position["id"], position["type"])
            if self._opened.get(name, (None, 0.0))[0] != key:
                self._opened[name] = (key, now)
                self._lives[name] += 1
                self._unprotected.pop(name, None)
                self._best.pop(name, None)
            if self._protected(position) >= position["size"]:
                self._unprotected.pop(name, None)
            else:
                self._unprotected.setdefault(name, now)
        for name in [name for name in self._opened if name not in positions]:
            del self._opened[name]
            self._unprotected.pop(name, None)

    def _protected(self, position: Payload, *, of_trader: bool = False) -> int:
        return sum(
            each["size"] - each.get("fillVolume", 0)
            for each in self.orders()
            if each["contractId"] == position["contractId"]
            and each["type"] in _STOPS
            and direction(each) * signed(position) < 0
            and not (of_trader and is_own_stop(each))
        )

    def _breaches(self, now: float) -> list[Breach]:
        view = self.view()
        breaches = [*self._steady_breaches(view)]
        for held in view.held.values():
            breaches += self._breaches_by_price((held,), self.limits, self._by_prices)
        for name in self._unprotected:
            # A stop that is gone before the grace is over gets no new one, so the position's age counts.
            if now - self._opened[name][1] >= GRACE_SECONDS - 1:
                breaches.append(Breach("RULE-008", name))
        if "RULE-009" in self._rules:
            breaches += self._hours_breaches(view.positions, is_certain=True)
        breaches += self._trade_breaches(self._loss, self._cooldowns, self.limits, is_certain=True)
        if self.balances is not None:
            breaches += map(Breach, self.balances.breached())
        if REDUCE_ONLY in self._rules and self._must_reduce():
            breaches += [Breach(REDUCE_ONLY, each["contractId"]) for each in view.entries]
        return breaches

    def _must_reduce(self) -> bool:
        """Return whether a loss is near its limit, and no operator has unlocked the account beyond that."""
        unlock, balances = self._unlock, self.balances
        is_unlocked = unlock is not None and not self._is_of_past(unlock)
        return balances is not None and not is_unlocked and balances.is_near()

    def _steady_breaches(self, view: AccountView) -> list[Breach]:
        """Return what is breached whatever the prices are and the time is."""
        known, breaches = self._steady
        if known != (view, self.limits):
            breaches = [
                *self._size_breaches(view.sizes, self.limits),
                *(Breach(NO_STOP, name) for name in self._unprotected),
                *(
                    Breach(STOPS_TOO_MANY, name)
                    for name, size in self._own_stops.items()
                    if size > self._left_to_cover(name)
                ),
            ]
            if any(each["contractId"] == self._blocked for each in view.entries):
                breaches.append(Breach("RULE-011", self._blocked))
            if not view.can_trade:
                breaches.append(Breach("RULE-010"))
            self._steady = (view, self.limits), breaches
        return breaches

    def _trade_breaches(
        self,
        pnl: Decimal,
        cooldowns: dict[str, list[Trade]],
        limits: Limits,
        *,
        is_certain: bool,
    ) -> list[Breach]:
        breaches = []
        if pnl <= -limits.loss and self._has_traded_since_unlock(is_certain=is_certain):
            breaches.append(Breach("RULE-003"))
        begun = self.seconds() - COOLDOWN_SECONDS
        if self._newest_of_all <= begun:
            return breaches
        for rule_id, culprits in cooldowns.items():
            if culprits and self._newest[rule_id] > begun:
                for each in reversed(culprits):
                    if self._trade_seen[each.id] > begun and self._is_since_unlock(
                        each, is_certain=is_certain
                    ):
                        breaches.append(Breach(rule_id))
                        break
        return breaches

    # What an operator has unlocked.

    def unlock(self, known: Collection[str] = ()) -> None:
        """Note that an operator has unlocked the account: what there is now is no reason to lock it again.

        :param known: the rules that had locked it.
        """
        now = self.awake()
        self.look()
        excused = {rule_id for rule_id in _EXCUSED if Breach(rule_id) in self._found}
        # riskd may have seen a loss that is none by the bounds of the oracle.
        excused |= self._rules.intersection(NET)
        recent = {
            each for each in excused if now - self.since.get(Breach(each), NEVER) <= self.lag
        }
        self._unlock = Unlock(
            self.seconds(),
            frozenset(each.id for each in self._trades),
            {**self._latest.sizes},
            frozenset(each["id"] for each in self.orders()),
            excused,
            {},
            frozenset(recent.difference(known)),
            self._tightest().loss,
        )
        # A flatten goes on, and each sighting from now on is a new one.
        self.seen = {
            each: Sighting(min(at, now - 0.001), of) for each, (at, of) in self.seen.items()
        }
        self.seen[Breach(OPERATOR)] = Sighting(now, self._lives[""])
        self.look()

    def may_lock(self, rule_id: str, within: float) -> bool:
        """Return whether a rule was breached in the last seconds, and since the last unlock."""
        if self._unlock is not None:
            within = min(within, self.seconds() - self._unlock.at)
        return self.was_breached(rule_id, within)

    def _has_traded_since_unlock(self, *, is_certain: bool) -> bool:
        unlock = self._unlock
        if unlock is None or self._is_of_past(unlock):
            return True
        if is_certain:
            return self.limits.loss < unlock.loss or any(
                each.id not in unlock.trades for each in reversed(self._trades)
            )
        return self._reloaded_at > unlock.at - self.lag or any(
            self._is_since_unlock(each, is_certain=False)
            for each in reversed(self._worst.values())
        )

    def _is_since_unlock(self, trade: Trade, *, is_certain: bool) -> bool:
        """Return whether a trade was made since the last unlock; or else perhaps known only since then."""
        if self._unlock is None:
            return True
        if is_certain:
            return self._versions[trade.id][0][0] > self._unlock.at
        since = self._unlock.at - self.lag
        return self._reloaded_at > since or self._versions[trade.id][-1][0] > since

    def _note_excuses(self, breaches: Iterable[Breach]) -> None:
        """Forget what is excused no more: its limit was kept once, or the day is over."""
        unlock = self._unlock
        if unlock is not None and unlock.excused:
            # Quotes alone end no excuse of a loss.
            kept = {
                each for each in unlock.excused if Breach(each) not in breaches and each not in NET
            }
            unlock.excused.difference_update(unlock.excused if self._is_of_past(unlock) else kept)

    def _is_excused(self, breach: Breach) -> bool:
        """Return whether what is held was there at the last unlock, and breached the rule all the time."""
        unlock = self._unlock
        return (
            unlock is not None
            and breach.contract_id is None
            and breach.rule_id in unlock.excused
            and not self._has_grown(unlock)
        )

    def _unexcused_as_known(self, now: float) -> Iterator[Breach]:
        """Yield what an unlock has not excused for somebody who knows late what there is.

        That is a breach which was news at the unlock, or which was still there a moment before the account grew.
        """
        unlock = self._unlock
        if unlock is None:
            return
        unlock.excused_at.update(dict.fromkeys(unlock.excused, now))
        has_grown = self._has_grown(unlock)
        is_news = self.seconds() - unlock.at <= self.lag
        for rule_id, at in unlock.excused_at.items():
            if (
                rule_id not in NET
                and now - at <= self.lag
                and (has_grown or (is_news and rule_id in unlock.unknown))
            ):
                yield Breach(rule_id)

    def _is_of_past(self, unlock: Unlock) -> bool:
        return unlock.at < (self._day - self._began).total_seconds()

    def _has_grown(self, unlock: Unlock) -> bool:
        sizes = self._latest.sizes
        return any(each["id"] not in unlock.working for each in self._entries()) or any(
            size * unlock.held.get(name, 0) <= 0 or abs(size) > abs(unlock.held[name])
            for name, size in sizes.items()
        )

    def _read_trades(self) -> None:
        """Read the trades of the day, if they are not those that were read before."""
        now, day, store = self.seconds(), self.day_began(), self._store
        if self._has_new_trades or day != self._day:
            self._has_new_trades, self._day = False, day
            # Time windows of RULE-006 may begin before the day.
            found = store.trades(self._account_id, day - timedelta(days=1))
            if self.balances is not None:
                self.balances.note_trades(found, day)
            closing = [
                (each, to_cents(each["profitAndLoss"]))
                for each in found
                if each.get("profitAndLoss") is not None
            ]
            self._note_versions(closing, now)
            valid = [as_trade(each, pnl) for each, pnl in closing if not each["voided"]]
            self._trades = [each for each in valid if each.executed >= day]
            self._loss, self._cooldowns = consequences(valid, day, self.limits)
            for each in valid:
                self._trade_seen.setdefault(each.id, now)
        elif now < self._settles_at:
            return
        self._note_worst(now, day)

    def _note_versions(self, closing: list[tuple[Payload, Decimal]], now: float) -> None:
        """Note how the trades that closed contracts have changed."""
        ids = {each["id"] for each, _pnl in closing}
        self._worst = {key: each for key, each in self._worst.items() if key in ids}
        self._unsettled = {key: each for key, each in self._unsettled.items() if key in ids}
        for each, pnl in closing:
            version = None if each["voided"] else pnl
            versions = self._versions.setdefault(each["id"], [])
            if not versions or versions[-1][1] != version:
                versions.append((now, version))
                self._unsettled[each["id"]] = each
            elif each["id"] not in self._worst:
                self._unsettled[each["id"]] = each

    def _note_worst(self, now: float, day: datetime) -> None:
        """Note the trades as they look worst to somebody who has not heard all of the last minutes."""
        self._settles_at = float("inf")
        for key, each in tuple(self._unsettled.items()):
            versions = self._versions[key]
            ends = [at for at, _version in versions[1:]] + [now]
            recent = [
                version
                for (_at, version), end in zip(versions, ends, strict=True)
                if now - end <= NEWS_SECONDS
            ]
            pnls = [version for version in recent if version is not None]
            is_settled = len(recent) == 1 and now - versions[0][0] > NEWS_SECONDS
            if pnls:
                is_certain = len(pnls) == len(recent) and now - versions[0][0] > NEWS_SECONDS
                least = min(pnls) if is_certain else min(*pnls, Decimal(0))
                self._worst[key] = as_trade(each, least)
            else:
                self._worst.pop(key, None)
            if is_settled:
                del self._unsettled[key]
            else:
                changes = [at + NEWS_SECONDS for at, _version in versions]
                self._settles_at = min([self._settles_at, *(at for at in changes if at >= now)])
        self._worst_loss, self._worst_cooldowns = consequences(
            self._worst.values(), day, self._tightest()
        )
        for each in self._worst:
            self._trade_seen.setdefault(each, now)
        self._newest = {
            rule_id: max((self._trade_seen[each.id] for each in (*trades, *worst)), default=NEVER)
            for (rule_id, trades), worst in zip(
                self._cooldowns.items(), self._worst_cooldowns.values(), strict=True
            )
        }
        self._newest_of_all = max(self._newest.values(), default=NEVER)

    def _breaches_as_known(self, now: float, limits: Limits) -> Iterator[Breach]:
        """Yield what positions of a moment ago would breach by the prices and the time of now."""
        for formers in self._formers.values():
            formers.forget(now - self.lag)
            if formers.held:
                yield from self._breaches_by_price(formers.held, limits, self._former_by_prices)
        view = self.view()
        if limits != self.limits:
            for held in view.held.values():
                yield from self._price_breaches(held, limits)
        if "RULE-009" in self._rules:
            known = {name: None for name, each in self._formers.items() if each.held}
            for each in self._hours_breaches({**known, **view.positions}, is_certain=False):
                if not self._is_excused(each) or self.lag > SOON_SECONDS:
                    yield each
        if any(order["contractId"] == self._blocked for order in view.orders):
            yield Breach("RULE-011", self._blocked)

    def _breaches_by_price(
        self,
        positions: tuple[Held, ...],
        limits: Limits,
        known: dict[str, tuple[object, list[Breach]]],
    ) -> list[Breach]:
        """Return what positions in a contract breach at its prices.

        :param known: what the last look has found, by contract id.
        """
        name = positions[0].contract_id
        by = (positions, self._exchange.quote(name), self._best.get(name), limits)
        if name not in known or known[name][0] != by:
            breaches: list[Breach] = []
            for held in positions:
                breaches += self._price_breaches(held, limits)
                breaches += self._stop_breaches(held)
            known[name] = by, breaches
        return known[name][1]

    def _price_breaches(self, held: Held, limits: Limits) -> Iterator[Breach]:
        if self._rules.isdisjoint(PRICED):
            return
        worst, best = held.pnl(*self.prices(held.contract_id))
        if worst <= -limits.open_loss:
            yield Breach("RULE-004", held.contract_id)
        if best >= limits.profit:
            yield Breach("RULE-005", held.contract_id)

    def _size_breaches_as_known(self, now: float, limits: Limits) -> Iterator[Breach]:
        """Yield whether there are too many contracts for somebody who knows each position late."""
        known = {name: each.since(now - self.lag) for name, each in self._sizes.items()}
        if sum(known.values()) > limits.contracts:
            yield Breach("RULE-001")
        # Under the limits of then, that was seen then.
        is_new = self.seconds() - self._reloaded_at <= self.lag
        if is_new and known.get(self._limited, 0) > limits.es:
            yield Breach("RULE-002", self._limited)
        if limits != self.limits:
            yield from self._size_breaches(self.view().sizes, limits)

    def _size_breaches(self, sizes: Mapping[str, int], limits: Limits) -> Iterator[Breach]:
        if sum(map(abs, sizes.values())) > limits.contracts:
            yield Breach("RULE-001")
        if abs(sizes.get(self._limited, 0)) > limits.es:
            yield Breach("RULE-002", self._limited)
        if sizes.get(self._blocked):
            yield Breach("RULE-011", self._blocked)

    # Trading hours.

    def are_open(self, contract_id: str, *, is_certain: bool) -> bool:
        """Return whether trading is allowed in a contract; if not, whether that is certain."""
        now, off = self._time(), timedelta(seconds=CLOCK_SECONDS)
        if now != self._hours[0]:
            moments = (now - off, now, now + off)
            known = [[hours.are_open(each) for each in moments] for hours in (HOURS, ES_HOURS)]
            self._hours = now, [(all(each), any(each)) for each in known]
        return self._hours[1][contract_id == self._limited][is_certain]

    def _hours_breaches(self, held: Iterable[str], *, is_certain: bool) -> Iterator[Breach]:
        """Yield what is held or entered outside the trading hours.

        :param is_certain: whether only what riskd must see; otherwise all that it may see.
        """
        if "RULE-009" not in self._rules:
            return
        for name in held:
            if not self.are_open(name, is_certain=is_certain):
                yield Breach("RULE-009", name if name == self._limited else None)
        for each in self._entries() if is_certain else self.orders():
            if not self.are_open(each["contractId"], is_certain=is_certain):
                yield Breach("RULE-009", each["contractId"])

    def _entries(self) -> Sequence[Payload]:
        """Return the working orders that would not close a position of the last look."""
        if self._latest is self.view():
            return self._latest.entries
        return entries(self._latest.sizes, self.orders())

    # Stops of riskd's.

    def is_needed(self, order: Payload) -> bool:
        """Return whether a stop of riskd's covers what no other stop does, for everyone to see."""
        self._note_stops()
        since = self._needed_since.get(order["id"])
        return since is not None and self.awake() - since > self.lag

    def _is_needed(self, order: Payload) -> bool:
        position = self._latest.positions.get(order["contractId"])
        if position is None or direction(order) * signed(position) > 0:
            return False
        left = order["size"] - order.get("fillVolume", 0)
        return self._protected(position) - left < position["size"]

    def stops_hold(self) -> bool:
        """Return whether no stop of riskd's is further from the entry than it may be."""
        held = self.positions()
        return all(
            (each["stopPrice"] - self._farthest_stop(held[each["contractId"]]))
            * signed(held[each["contractId"]])
            >= 0
            for each in self.orders()
            if is_own_stop(each) and each["contractId"] in held
        )

    def may_place(self, order: Payload) -> bool:
        """Return whether an order of riskd's is a stop that closes what is held, or was a moment ago."""
        name = order["contractId"]
        known = [each.size for each in self._formers[name].held]
        known += [self.view().sizes[name]] if name in self.positions() else []
        return (
            "RULE-012" in self._rules
            and is_own_stop(order)
            and order["type"] == GatewayOrderType.STOP
            and any(direction(order) * size < 0 and order["size"] <= abs(size) for size in known)
        )

    def _tick(self, contract_id: str) -> Decimal:
        return self._exchange.store.listed[contract_id].tick_size

    def _farthest_stop(self, position: Payload) -> Decimal:
        """Return the price at which the stop of a position has to be at least.

        A stop is on a tick, so it may be almost one further.
        """
        sign = 1 if signed(position) > 0 else -1
        price: Decimal = position["averagePrice"]
        return price - sign * (STOP_TICKS + 1) * self._tick(position["contractId"])

    def _stop_breaches(self, held: Held) -> Iterator[Breach]:
        """Yield whether the market may have reached the price at which a stop is wanted."""
        if "RULE-012" not in self._rules:
            return
        name, entry, sign = held.contract_id, held.average, 1 if held.size > 0 else -1
        quote, tick = self._exchange.quote(name), self._tick(name)
        assert quote is not None
        prices = [price * sign for price in quote]
        gained = max(*prices, self._best.get(name, entry) * sign) - entry * sign
        targets = [entry * sign - STOP_TICKS * tick]
        if gained >= BREAKEVEN_TICKS * tick:
            targets.append(entry * sign)
        if gained >= TRAIL_TICKS * tick:
            targets.append(entry * sign + gained - TRAIL_TICKS * tick)
        if min(prices) <= max(targets):
            yield Breach("RULE-012", name)

    def _note_stops(self) -> None:
        """Note how much the stops of riskd's would close, and how far each position has come."""
        self._own_stops, known = defaultdict(int), self._needed_since
        self._needed_since = {}
        for each in self.orders():
            if is_own_stop(each):
                if self._is_needed(each):
                    self._needed_since[each["id"]] = known.get(each["id"], self.awake())
                self._own_stops[each["contractId"]] += each["size"] - each.get("fillVolume", 0)
        sizes = self._latest.sizes
        for name in [name for name in self._best if name not in sizes]:
            del self._best[name]
        for name, size in sizes.items():
            low, high = self.prices(name)
            best = self._best.get(name, low)
            self._best[name] = max(high, best) if size > 0 else min(low, best)

    def _left_to_cover(self, name: str) -> int:
        """Return how many contracts of a position the trader's own stops do not cover."""
        position = self._latest.positions.get(name)
        if position is None:
            return 0
        traders = self._protected(position, of_trader=True)
        return max(0, position["size"] - traders)

    def locks_due(self) -> Iterator[tuple[str, float, datetime | None]]:
        """Yield the rules that have to lock the account now, and for how many seconds they have had to.

        Of a cooldown also when the trade was executed that began it.
        """
        now, awake = self.seconds(), self.awake()
        if self._cooldowns is not self._known_cooldowns:
            self._known_cooldowns = self._cooldowns
            known = {
                (rule_id, each.id)
                for rule_id, trades in self._cooldowns.items()
                for each in trades
                if rule_id in self._rules
            }
            self._culprits = {key: self._culprits.get(key, awake) for key in known}
        # By riskd's idea of the exchange's time, the day may have ended.
        ends_soon = (self._day_ends - self._time()).total_seconds() < CLOCK_SECONDS
        for rule_id in ("RULE-003", "RULE-009", "RULE-010", *NET):
            is_of_day = rule_id in ("RULE-003", NET_LOSS)
            if Breach(rule_id) in self.since and not (is_of_day and ends_soon):
                yield rule_id, awake - self.since[Breach(rule_id)], None
        for rule_id, trades in self._cooldowns.items():
            is_over = now - self._newest[rule_id] >= COOLDOWN_SECONDS
            for each in trades if rule_id in self._rules and not is_over else ():
                is_due = now - self._trade_seen[each.id] < COOLDOWN_SECONDS - 10
                # A trade of yesterday that is known today begins none.
                is_due &= each.executed >= self._day
                if is_due and self._is_since_unlock(each, is_certain=True):
                    since = max(self._culprits[rule_id, each.id], self._forgiven_at)
                    yield rule_id, awake - since, each.executed


def consequences(
    trades: Iterable[Trade], day: datetime, limits: Limits
) -> tuple[Decimal, dict[str, list[Trade]]]:
    """Return the P&L of the trading day, and the trades that begin a cooldown, by rule id.

    :param day: when the trading day began.
    """
    known = sorted(trades, key=lambda each: each.executed)
    exits: dict[int, list[Trade]] = defaultdict(list)
    of_day = [each for each in known if each.executed >= day]
    for each in of_day:
        exits[each.order_id].append(each)
    cooldowns = {
        # Each trade that is one too many in its time window.
        "RULE-006": [
            last
            for first, last in zip(known, known[limits.trades :], strict=False)
            if last.executed - first.executed < WINDOW
        ],
        # The last trade of each exit that lost too much.
        "RULE-007": [
            parts[-1]
            for parts in exits.values()
            if sum(each.pnl for each in parts) <= -limits.large_loss
        ],
    }
    return sum((each.pnl for each in of_day), Decimal(0)), cooldowns


def as_trade(payload: Payload, pnl: Decimal) -> Trade:
    return Trade(payload["id"], payload["orderId"], moment_of(payload["creationTimestamp"]), pnl)


def to_cents(amount: Decimal) -> Decimal:
    """Return an amount without the noise of a binary fraction."""
    return round(amount, 2)
