"""A guarded account on a course of trading: what traders, brokers and machines do.

The acts are methods; who plays a course draws them.  What must hold is checked after each.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from math import ceil
from typing import Any

from twisted.logger import LogEvent, LogLevel, globalLogPublisher
from twisted.python.monkey import MonkeyPatcher

from riskd.config.settings import NO_FAULTS, Faults
from riskd.gateway.fields import Payload
from riskd.gateway.targets import ACCOUNT as BALANCE
from riskd.gateway.targets import POSITION, QUOTE, TRADE
from riskd.journal.reader import read_published
from riskd.model.balance import Balance
from riskd.model.equity import equity, net_pnl
from riskd.model.events import (
    OPERATOR,
    LockoutSet,
)
from riskd.model.lockouts import is_in_force
from riskd.model.wire import decode_data
from riskd.practice.records import Message
from riskd.rules.builtin.maximum_loss import nearest_floor
from tests.simulation.world import UNREACHABLE, NetworkedWorld, World
from tests.support.account_view import signed
from tests.support.balance_oracle import (
    FLOW_SECONDS,
    IN_TIME,
    LATE,
    LONGEST,
    MAXIMUM_LOSS,
    BalanceOracle,
    net_rules,
)
from tests.support.exchange_oracle import (
    ALWAYS,
    GRACE_SECONDS,
    MAX_ES,
    MAX_TRADES,
    SOON_SECONDS,
    WINDOW,
    ExchangeOracle,
    Limits,
    config_of,
    rule_ids,
    to_cents,
)
from tests.support.invariants import LADDER_SECONDS, SETTLING_SECONDS, Invariants
from tests.support.journal import as_published, as_recovered
from tests.support.practice_daemon import (
    ACCOUNT,
    BUY,
    ES,
    MNQ,
    MONDAY_NOON,
    SELL,
    settings_of,
)
from tests.support.trading_hours import CHICAGO

MES = "CON.F.US.MES.Z26"
PRICES = {MNQ: Decimal(21000), ES: Decimal(5800), MES: Decimal(5800)}
STEP = {MNQ: Decimal("2.5"), ES: Decimal("0.25"), MES: Decimal("0.25")}
"""What a contract moves by; it makes a few dollars with one contract."""

DOLLARS_A_STEP = 5
"""What a contract of MNQ makes in a step."""

MOST_STEPS = 160
"""How far a price moves at once at the most."""

ACT_SECONDS = 2.0
"""How long riskd takes to end a breach, beside the way to the exchange: what is new has a price within a second."""

WOBBLE = (1, -1, 0)
"""By how many steps the price of a contract goes up and down within a second, quote by quote."""

WRITE_SECONDS = 2
"""How long a change may wait for its write."""

CONNECTING_SECONDS = 5
"""How long a daemon that starts may not hear all events."""

MOMENT = 0.002
"""Seconds between two things at the exchange, which stamps in milliseconds tell apart."""


class ViolationError(AssertionError):
    """Something did not hold.

    :ivar kind: the same for all that fail alike.
    """

    def __init__(self, violations: list[tuple[Any, ...]]) -> None:
        super().__init__("\n".join(map(repr, violations)))
        _seconds, what, *of = violations[0]
        first = of[0] if of else ""
        rule_id = getattr(first, "rule_id", first if isinstance(first, str) else "")
        self.kind = f"{what} {rule_id}".strip()


class Course:
    """A course of trading on one account.

    :ivar checks: what must hold.
    :ivar fills: how many trades the exchange has made.
    :ivar quotes: how many quotes it has sent.
    :ivar counts: how often each fault, action and lock has been there.
    """

    def begin(
        self,
        rules: tuple[str, ...],
        latency: float,
        jitter: float,
        offset: float,
        now: datetime = MONDAY_NOON,
        *,
        is_networked: bool = False,
        has_balances: bool = False,
    ) -> None:
        self.rules = rules
        self.way = latency + jitter
        config = config_of(rules, Limits())
        self.daemon: World
        if is_networked:
            self.daemon = NetworkedWorld(
                config, latency=latency, jitter=jitter, wall_ahead=offset, now=now
            )
            self.distance = {}
        else:
            self.daemon = World(config, wall_ahead=offset, now=now)
            self.distance = {"latency_seconds": latency, "jitter_seconds": jitter}
        daemon = self.daemon
        self.fills = self.quotes = 0
        self.counts: Counter[str] = Counter(
            {"gateway ProjectX, over a network" if is_networked else "gateway in process": 1}
        )
        self.faults: dict[str, Any] = {}
        self.balances_sent: deque[Payload] = deque(maxlen=20)
        # Until when riskd may not have found the broker again.
        self.away_until = float("-inf")
        self.seen = 0
        # When something happened last that only a search shows.
        self.unreported_at = self.restarted_at = float("-inf")
        exchange = daemon.gateway.exchange
        self.oracle = ExchangeOracle(
            exchange,
            ACCOUNT,
            daemon.broker_time,
            rule_ids(ALWAYS, *rules),
            limited=ES,
            blocked=MES,
            net=net_rules(rules) if has_balances else None,
        )
        self.checks = Invariants(self.oracle, daemon.broker_time, self.counts)
        daemon.gateway.observe(self.observe, before_faults=True)
        globalLogPublisher.addObserver(self.note_error)  # type: ignore[arg-type]
        # The traders' ways to the exchange, before riskd's are watched.
        self.place_order, self.cancel_order = exchange.place_order, exchange.cancel_order
        self.watch_riskd()
        self.inject({})
        self.prices = dict(PRICES)
        for contract_id in PRICES:
            self.quote(contract_id)
        self.pass_time(10 if is_networked else 2)

    def teardown(self) -> None:
        if hasattr(self, "daemon"):
            try:
                self.settle(is_quick=False)
                self.locks_hold()
            finally:
                self.end()

    def end(self) -> None:
        """Stop the daemon and remove its directory."""
        globalLogPublisher.removeObserver(self.note_error)  # type: ignore[arg-type]
        self.daemon.close()

    # What traders, brokers and machines do.

    def trade_at_the_market(
        self, side: int, size: int, contract_id: str, stop: int | None
    ) -> None:
        self.place(contract_id, {"type": 2, "side": int(side), "size": size})
        if stop is not None:
            self.protect(contract_id, stop)

    def trade_at_a_limit(self, side: int, size: int, steps: int, contract_id: str) -> None:
        price = self.prices[contract_id] + steps * STEP[contract_id]
        self.place(contract_id, {"type": 1, "side": int(side), "size": size, "limitPrice": price})

    def protect(self, contract_id: str, steps: int, but: int = 0) -> None:
        """Place a stop for a position.

        :param but: for how many of its contracts it is too small.
        """
        position = self.oracle.positions().get(contract_id)
        if position is not None and position["size"] > but:
            sign = 1 if signed(position) > 0 else -1
            price = self.prices[contract_id] - sign * steps * STEP[contract_id]
            side = SELL if sign > 0 else BUY
            self.place(
                contract_id,
                {
                    "type": 4,
                    "side": int(side),
                    "size": position["size"] - but,
                    "stopPrice": price,
                },
            )

    def lose_the_stop(self, side: int, contract_id: str, seconds: float) -> None:
        """Open a position with a stop, and cancel the stop when it is the only protection."""
        known = {order["id"] for order in self.oracle.orders()}
        self.trade_at_the_market(side, 1, contract_id, 40)
        self.pass_time(seconds)
        for order in self.oracle.orders():
            if order["id"] not in known:
                self.daemon.at_exchange(self.cancel_order, ACCOUNT, order["id"])
        self.look()
        self.pass_time(61)

    def cancel(self, index: int) -> None:
        orders = self.oracle.orders()
        if orders:
            order_id = orders[index % len(orders)]["id"]
            self.daemon.at_exchange(self.cancel_order, ACCOUNT, order_id)
            self.look()

    def make_a_round_trip(
        self,
        side: int,
        size: int,
        steps: int,
        faults: dict[str, Any],
        contract_id: str,
        seconds: float,
    ) -> None:
        """Open, let the market move while something goes wrong, and close."""
        self.inject(faults)
        size = min(size, MAX_ES) if contract_id == ES else size
        self.place(contract_id, {"type": 2, "side": int(side), "size": size})
        self.pass_time(seconds, steps // 8)
        self.move(steps, contract_id)
        self.place(contract_id, {"type": 2, "side": int(1 - side), "size": size})

    def scalp(self, count: int, faults: dict[str, Any], seconds: float) -> None:
        """Trade often while something goes wrong, and once more when all is well."""
        for number in range(count):
            self.inject(faults if number < count - 1 else {})
            for side in (BUY, SELL):
                self.place(MNQ, {"type": 2, "side": int(side), "size": 1})
            self.pass_time(1)
        self.pass_time(seconds)

    def trade_over_the_window(self, faults: dict[str, Any], is_quick: bool = False) -> None:
        """Trade once too often within a window, which is over when that becomes known.

        :param faults: those of all trades but the first two, and of a quick course but the last one.
        """
        gap, pace = (2.5, 0.25) if is_quick else (20, 1)
        for number in range(MAX_TRADES + 2):
            if number == 2:
                self.pass_time(WINDOW.total_seconds() - (4 if is_quick else 20))
                self.inject(faults)
            if number == MAX_TRADES + 1:
                if is_quick:
                    self.inject({})
                self.pass_time(gap)
            for side in (BUY, SELL):
                self.place(MNQ, {"type": 2, "side": int(side), "size": 1})
            self.pass_time(pace if number else 1)
        self.inject({})
        self.pass_time(SETTLING_SECONDS + LADDER_SECONDS + 5)

    def lose_the_day(self, side: int, size: int, winning: int) -> None:
        """Lose as much as a day may at once, while another position has won something."""
        self.place(ES, {"type": 2, "side": int(side), "size": 1})
        self.move((1 if side == BUY else -1) * winning, ES)
        self.place(MNQ, {"type": 2, "side": int(side), "size": size})
        left = self.oracle.limits.loss + self.oracle.realized()
        steps = max(1, ceil(left / (size * DOLLARS_A_STEP)))
        self.move((-1 if side == BUY else 1) * steps, MNQ)
        self.place(MNQ, {"type": 2, "side": int(1 - side), "size": size})
        self.pass_time(LADDER_SECONDS)

    def tangle(self, side: int, steps: int, faults: dict[str, Any]) -> None:
        """Do much at once while something goes wrong, and look soon afterwards."""
        self.inject(faults)
        self.trade_at_a_limit(side, 1, steps, MNQ)
        self.place(MNQ, {"type": 2, "side": int(side), "size": 1})
        self.cancel(-1)
        self.place(MNQ, {"type": 2, "side": int(1 - side), "size": 2})
        self.place(MNQ, {"type": 2, "side": int(side), "size": 1})
        self.settle(is_quick=True)

    def protect_in_part(self, side: int, size: int, contract_id: str) -> None:
        """Hold a position for longer than its grace, with stops for all but one of its contracts."""
        self.place(contract_id, {"type": 2, "side": int(side), "size": size})
        self.protect(contract_id, 40, but=1)
        self.pass_time(GRACE_SECONDS + LADDER_SECONDS + 2)

    def lose_in_parts(self, side: int, size: int) -> None:
        """Lose just enough for a cooldown with an exit that is filled in parts, of which none loses as much."""
        self.place(MNQ, {"type": 2, "side": int(side), "size": size})
        steps = ceil(self.oracle.limits.large_loss / (size * DOLLARS_A_STEP))
        self.move((-1 if side == BUY else 1) * steps, MNQ)
        self.inject({"split_fills": 1.0})
        self.place(MNQ, {"type": 2, "side": int(1 - side), "size": size})
        self.inject({})
        self.pass_time(LADDER_SECONDS + 2)

    def reverse_news(self, side: int, size: int, seconds: float) -> None:
        """Close a position and open the next, whose news comes before the end of the former.

        :param seconds: how late both are; riskd may have asked meanwhile.
        """
        self.place(MNQ, {"type": 2, "side": int(side), "size": 1})
        self.pass_time(1)
        # No event is swapped by chance; the checks learn that news may come in another order.
        self.inject({"swapped_events": 0.0})
        with self.daemon.late(POSITION, is_reversed=True):
            self.place(MNQ, {"type": 2, "side": int(1 - side), "size": 1})
            self.place(MNQ, {"type": 2, "side": int(side), "size": size})
            self.pass_time(seconds)
        self.pass_time(LADDER_SECONDS)
        self.inject({})

    def move(self, steps: int, contract_id: str) -> None:
        self.prices[contract_id] += steps * STEP[contract_id]
        self.quote(contract_id)

    # What brokers do with balances.

    def transfer(self, cents: int) -> None:
        """Let the broker pay out a negative amount, or take a deposit."""
        amount = Decimal(cents) / 100
        if not amount:
            return
        # Until the first balance is settled, another one takes its place.
        self.pass_time(max(0.0, SETTLING_SECONDS - self.oracle.awake()))
        self.balances.note_flow(amount)
        self.daemon.gateway.transfer(ACCOUNT, amount)
        self.look()

    def refill(self, dollars: int, is_repeated: bool) -> None:
        """Let the account have some dollars more than its floor, and trade again.

        :param is_repeated: whether the broker repeats the balance of before then.
        """
        headroom = self.balances.headroom(MAXIMUM_LOSS)
        if headroom is not None and headroom != dollars:
            self.transfer(int((dollars - headroom) * 100))
        self.pass_time(FLOW_SECONDS + 1)
        self.unlock_by_hand()
        if is_repeated:
            self.repeat_balance(1)

    def repeat_balance(self, index: int) -> None:
        """Let the broker report an earlier balance once more."""
        if index < len(self.balances_sent):
            self.note_trouble(late=True)
            can_trade = self.daemon.gateway.exchange.store.account(ACCOUNT)["canTrade"]
            payload = {**self.balances_sent[-1 - index], "canTrade": can_trade}
            self.daemon.gateway._network.deliver([Message(BALANCE, None, payload)])
            self.pass_time(1)

    def approach(
        self, rule_id: str, side: int, size: int, cents: int, seconds: float, is_killed: bool
    ) -> None:
        """Let the market move against a position until some cents are left of a limit.

        :param cents: below zero, the limit is exceeded.
        :param seconds: until the trader closes what is left.
        :param is_killed: whether the daemon is killed at that moment.
        """
        self.come_near(rule_id, side, size, cents)
        if is_killed:
            self.kill(0, 0)
        self.pass_time(seconds)
        self.place(MNQ, {"type": 2, "side": int(1 - side), "size": size})

    def come_near(self, rule_id: str, side: int, size: int, cents: int) -> None:
        """Open a position, and let the market move until some cents are left of a limit."""
        self.place(MNQ, {"type": 2, "side": int(side), "size": size})
        headroom, position = self.balances.headroom(rule_id), self.oracle.positions().get(MNQ)
        if headroom is not None and position is not None:
            held = signed(position)
            steps = int((headroom - Decimal(cents) / 100) // (abs(held) * DOLLARS_A_STEP))
            self.move((-1 if held > 0 else 1) * max(-MOST_STEPS, min(steps, MOST_STEPS)), MNQ)

    def pay_out_near(self, side: int, cents: int, seconds: float) -> None:
        """Pay out until some cents are left of the maximum loss, while a position is held."""
        self.place(MNQ, {"type": 2, "side": int(side), "size": 1})
        headroom = self.balances.headroom(MAXIMUM_LOSS)
        if headroom is not None and headroom > 0:
            self.transfer(cents - int(headroom * 100))
        self.pass_time(seconds)
        self.place(MNQ, {"type": 2, "side": int(1 - side), "size": 1})

    def report_badly(self, rule_id: str, what: str, side: int, cents: int, seconds: float) -> None:
        """Close a loss near a limit; balances come late, twice, or before all else that tells of it.

        :param what: ``late``, ``doubled`` or ``early``.
        """
        self.come_near(rule_id, side, 2, cents)
        self.pass_time(1)
        self.note_trouble(late=True)
        late = (TRADE, POSITION) if what == "early" else (BALANCE,)
        with self.daemon.late(*late, is_doubled=what == "doubled"):
            self.place(MNQ, {"type": 2, "side": int(1 - side), "size": 2})
            self.pass_time(seconds)
        self.note_trouble(late=True)
        self.look()

    def correct_yesterday(self, index: int, cents: int | None) -> None:
        """Let the broker amend or void a trade of an earlier day, and report it."""
        store = self.daemon.gateway.exchange.store
        day = self.oracle.day_began()
        trades = [
            each
            for each in store.trades(ACCOUNT, day - timedelta(days=1))
            if not each["voided"] and each.get("profitAndLoss") is not None
            if datetime.fromisoformat(each["creationTimestamp"]) < day
        ]
        if trades:
            self.note_trouble(late=True)
            trade_id = trades[-1 - index % len(trades)]["id"]
            gateway = self.daemon.gateway
            if cents is None:
                gateway.void_trade(ACCOUNT, trade_id)
            else:
                gateway.amend_trade(ACCOUNT, trade_id, pnl=Decimal(cents) / 100)
            self.look()

    @property
    def balances(self) -> BalanceOracle:
        assert self.oracle.balances is not None
        return self.oracle.balances

    def move_fast(self, side: int, steps: int, contract_id: str, seconds: float) -> None:
        """Let a trader trade at the end of a move whose quotes are still on their way."""
        with self.daemon.quotes_late():
            self.move(steps, contract_id)
            self.place(contract_id, {"type": 2, "side": int(side), "size": 2})
            self.pass_time(seconds)
        self.look()

    def wait(self, seconds: float, drift: int) -> None:
        self.pass_time(seconds, drift, is_busy=True)

    def break_something(self, faults: dict[str, Any], more: dict[str, Any]) -> None:
        self.inject({**faults, **more})

    def restrict(self, may_trade: bool) -> None:
        self.daemon.gateway.set_can_trade(ACCOUNT, may_trade)
        self.look()

    def kill(self, steps: int, seconds: float) -> None:
        """Kill the daemon; time may pass and the market move while it is down."""
        told = self.published_highs()
        self.daemon.kill()
        self.checks.restarted()
        self.daemon.stopped_for(seconds=seconds)
        if seconds > LADDER_SECONDS:
            # Until now nothing could be done.
            self.checks.forgive()
        self.prices[MNQ] += steps * STEP[MNQ]
        self.restart()
        self.check_highs(told)

    def published_highs(self) -> Balance | None:
        """Return the balance that was told last, with its highs."""
        if self.oracle.balances is None:
            return None
        return read_published(self.daemon.directory).accounts[ACCOUNT].balance

    def check_highs(self, told: Balance | None) -> None:
        """After a restart no high is lower than what was told before."""
        balance = self.daemon.state.balance
        if told is not None and told.peak is not None:
            self.checks.check(
                balance.peak is not None and balance.peak >= told.peak, "lower peak", told, balance
            )
        if told is not None and told.earlier_close is not None:
            is_kept = (balance.earlier_close or 0) >= told.earlier_close
            self.checks.check(is_kept, "lower close", told, balance)

    def stop(self, seconds: float) -> None:
        """Stop the daemon in order, and start it again after a while."""
        self.look()
        self.daemon.stop()
        self.checks.restarted()
        self.daemon.stopped_for(seconds=seconds)
        self.restart()

    def slow_the_disk(self, seconds: float, order: dict[str, Any]) -> None:
        """Let no write end for a while in which a trader trades."""
        self.daemon.disk.is_slow = True
        self.trade_at_the_market(**order)
        self.pass_time(seconds)
        self.daemon.disk.hurry()
        self.look()

    def fill_the_disk(self, seconds: float, order: dict[str, Any]) -> None:
        """Let each write fail for a while in which a trader trades."""

        def fail(*_arguments: object, **_more: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        store = self.daemon.journal._store
        patch = MonkeyPatcher((store, "write", fail))
        patch.patch()
        before = as_recovered(self.daemon.state)
        self.trade_at_the_market(**order)
        self.pass_time(seconds - WRITE_SECONDS)
        # In a restricted account nothing may happen; then there is nothing to write, and nothing that fails.
        has_changed = as_recovered(self.daemon.state) != before
        self.pass_time(WRITE_SECONDS)
        if has_changed:
            self.checks.check_error("the disk is full")
        patch.restore()
        # The next try is a second later.
        self.pass_time(2)

    def lose_the_broker(self, seconds: float, order: dict[str, Any]) -> None:
        """Let the broker be out of reach for a while, in which a trader trades by another way."""
        self.away_until = float("inf")
        self.inject(self.daemon.lose_broker())
        self.trade_at_the_market(**order)
        self.pass_time(seconds)
        if seconds > self.daemon.noticed_after:
            self.checks.check_error("the broker cannot be reached")
        self.inject({})
        self.daemon.find_broker()
        self.away_until = self.oracle.awake() + self.daemon.back_after
        self.look()

    def break_connections(self, how: str, seconds: float, order: dict[str, Any]) -> None:
        """Let all connections to the broker end, with a word or without, perhaps for a while.

        :param how: ``cut``, ``silence`` or ``refuse``.
        """
        if not isinstance(self.daemon, NetworkedWorld):
            return
        network = self.daemon.network
        self.away_until = float("inf")
        if how == "silence":
            network.silence()
        else:
            network.is_refusing = how == "refuse"
            network.cut()
        self.trade_at_the_market(**order)
        self.pass_time(seconds)
        network.is_refusing = False
        self.away_until = self.oracle.awake() + self.daemon.back_after
        self.look()

    def answer_no_search(self, seconds: float, order: dict[str, Any]) -> None:
        """Let the broker answer no search for minutes, while its events go on."""
        self.inject({"failed_reads": 1.0})
        self.trade_at_the_market(**order)
        self.pass_time(seconds)
        self.checks.check_error("the broker answers no search")
        self.inject({})

    def restart(self) -> None:
        """Start the daemon on a broker that answers; a start without answers is tested elsewhere."""
        self.note_trouble(late=True)
        faults, self.daemon.gateway.faults = self.daemon.gateway.faults, NO_FAULTS
        self.checks.restarted()
        self.daemon.restart()
        self.restarted_at = self.oracle.awake()
        for contract_id in PRICES:
            self.quote(contract_id)
        self.daemon.gateway.faults = faults
        self.look()

    def skip(self, hour: float, kind: str) -> None:
        """Skip the time until an hour of Chicago's day.

        :param kind: ``sleep``: the machine sleeps; ``stop`` or ``kill``: no daemon runs.
        """
        now = self.daemon.broker_time().astimezone(CHICAGO)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        hours = (midnight + timedelta(hours=hour) - now).total_seconds() / 3600 % 24
        if kind == "sleep":
            self.sleep(hours)
            return
        self.look()
        if kind == "stop":
            self.daemon.stop()
        else:
            self.daemon.kill()
        self.oracle.sleep(hours * 3600)
        self.daemon.stopped_for(hours=hours)
        self.checks.forgive()
        self.restart()

    def flatten_by_hand(self) -> None:
        """Let the operator close and cancel everything."""
        self.look()
        self.oracle.want_flat(OPERATOR)
        self.checks.is_flattening = True
        self.daemon.engine.accounts[ACCOUNT].flatten("enough", "operator")
        self.look()

    def lock_by_hand(self, minutes: float | None) -> None:
        """Let the operator lock the account for some minutes, or until it is unlocked."""
        self.look()
        self.oracle.want_flat(OPERATOR)
        until = None if minutes is None else self.daemon.broker_time() + timedelta(minutes=minutes)
        self.daemon.engine.accounts[ACCOUNT].lock("a walk", "operator", until)
        self.look()

    def unlock_by_hand(self) -> None:
        """Let the operator end all locks."""
        self.look()
        self.checks.is_unlocking = True
        if self.daemon.engine.accounts[ACCOUNT].unlock("enough", "operator"):
            self.receive_events()
            self.checks.unlock()
            self.counts["unlock of a locked account"] += 1
        self.checks.is_unlocking = False
        self.look()

    def reload(self, limits: dict[str, int]) -> None:
        """Let the operator change limits; all others become what they were in the morning."""
        self.look()
        changed = Limits(**limits)
        settings = settings_of(config_of(self.rules, changed))
        # Before riskd has them: it acts on them at once.
        self.oracle.set_limits(changed, is_locked=bool(self.checks.in_force()))
        self.daemon.settings = settings
        self.daemon.engine.reload(settings)
        self.look()

    def sleep(self, hours: float) -> None:
        """Let the machine sleep while the world goes on."""
        self.look()
        self.oracle.sleep(hours * 3600)
        self.daemon.sleep(hours=hours)
        self.checks.forgive()
        self.note_trouble(late=True)
        self.pass_time(1)

    def set_the_clock(self, seconds: float) -> None:
        """Let somebody set the machine's clock."""
        self.daemon.wall_ahead += timedelta(seconds=seconds)
        self.pass_time(1)

    def correct(self, index: int, cents: int | None, is_reported: bool) -> None:
        """Let the broker amend a trade to a P&L, or void it."""
        trades = self.oracle.trades()
        if not trades:
            return
        self.note_trouble(late=True)
        if not is_reported:
            self.unreported_at = self.oracle.awake()
        trade_id = trades[-1 - index % len(trades)].id
        gateway = self.daemon.gateway
        if cents is None:
            gateway.void_trade(ACCOUNT, trade_id, is_reported=is_reported)
        else:
            pnl = Decimal(cents) / 100
            gateway.amend_trade(ACCOUNT, trade_id, pnl=pnl, is_reported=is_reported)
        self.look()

    def settle(self, is_quick: bool) -> None:
        """Once all is quiet, riskd and the published copy know what the broker knows.

        What was late, twice or out of order is soon put right; only what was lost takes longer.
        """
        self.inject({})
        over = self.oracle.times_over()
        if self.oracle.awake() - self.restarted_at < CONNECTING_SECONDS:
            # An event may have come before the daemon listened, and a late one of the same thing afterwards.
            self.checks.lost_at = self.oracle.awake()
        self.pass_time(LADDER_SECONDS if is_quick else SETTLING_SECONDS)
        if (self.daemon.broker_time() - self.oracle.day_began()).total_seconds() < 3:
            # riskd ends the day within a tick of its clock.
            self.pass_time(3)
        if not is_quick:
            self.checks.check_status(self.daemon.wall_ahead.total_seconds())
        if not is_quick or self.oracle.awake() - self.checks.lost_at > SETTLING_SECONDS:
            self.check_state()
        if not is_quick or self.oracle.awake() - self.unreported_at > SETTLING_SECONDS:
            self.check_day()
        self.check_published()
        is_known = self.oracle.awake() - self.unreported_at > SETTLING_SECONDS
        if self.oracle.balances is not None and not is_quick and is_known:
            self.check_figures()
        self.checks.settle(over)

    def check_figures(self) -> None:
        """Balance, net P&L and equity are the exchange's, to the cent."""
        for contract_id in self.oracle.positions():
            # A quote that says what was known before an entry does not value it.
            self.move(1, contract_id)
        self.check_soon(lambda: self.figures() in self.true_figures())
        balance, balances = self.daemon.state.balance, self.balances
        assert balance.payouts <= balances.paid, (balance, balances.paid)
        if balance.other is None:
            balances.believe_flows()
        self.check_floor()

    def figures(self) -> tuple[Decimal | None, Decimal, Decimal | None]:
        """Return the balance, the net P&L of the day and the equity that riskd knows."""
        state = self.daemon.state
        return state.balance.counted, net_pnl(state), equity(state)

    def true_figures(self) -> list[tuple[Decimal, Decimal, Decimal]]:
        """Return the exchange's figures.

        Until the account is flat, and for some seconds after that, the last deposits do not count.
        """
        balances, held, balance = self.balances, self.oracle.held(), self.oracle.balance()
        pnl = sum(
            (each.exit_pnl(*self.oracle.prices(each.contract_id)) for each in held), Decimal(0)
        )
        pnl = to_cents(pnl)
        counted = [balance]
        if self.daemon.state.balance.other is not None and (held or balances.flows):
            sums = accumulate(each.amount for each in reversed(balances.flows))
            counted = [balance - max(each, Decimal(0)) for each in sums]
        return [(each, balances.net + pnl, each + pnl) for each in counted]

    def check_floor(self) -> None:
        """The floor is one that follows from what riskd may know."""
        known = self.balances.floor()
        floor = nearest_floor(self.daemon.state, self.daemon.engine.accounts[ACCOUNT].rules)
        if known is not None:
            assert floor is not None
            self.checks.check(known.low <= floor.amount <= known.high, "floor", floor, known)

    def check_state(self) -> None:
        """The state is the exchange's; what was closed just now may be on its way."""
        self.check_soon(lambda: self.held_and_working() == (self.daemon.held, self.working()))
        assert self.oracle.stops_hold(), (self.daemon.state.positions, self.daemon.state.orders)

    def held_and_working(self) -> tuple[dict[str, int], list[int]]:
        """Return what riskd knows as held and as working."""
        state = self.daemon.state
        held = {
            position.contract_id: position.size * position.type.sign
            for position in state.open_positions
        }
        return held, sorted(state.orders)

    def working(self) -> list[int]:
        return sorted(self.daemon.working)

    def check_day(self) -> None:
        """The day is the ledger's; a correction may be on its way."""
        self.check_soon(
            lambda: (
                (self.daemon.state.realized_pnl, self.daemon.state.trade_count)
                == (self.oracle.realized(), len(self.oracle.trades()))
            )
        )

    def check_published(self) -> None:
        """The published copy is the state; a correction may have come just now."""
        self.check_soon(lambda: not self.differences())

    def check_soon(self, holds: Callable[[], bool]) -> None:
        """Check that something holds within three seconds."""
        for _second in range(3):
            if holds():
                return
            self.pass_time(1)
        assert holds(), (
            (self.daemon.state.realized_pnl, *self.held_and_working()),
            (self.oracle.realized(), self.daemon.held, self.working()),
            self.differences(),
        )

    def differences(self) -> dict[str, tuple[object, object]]:
        """Return what the published copy and the state have, where they differ."""
        published = read_published(self.daemon.directory)
        assert published is not None
        copy, expected = published.accounts[ACCOUNT], as_published(self.daemon.state)
        return {
            name: (getattr(copy, name), getattr(expected, name))
            for name in copy.__struct_fields__
            # Quotes are published within some seconds.
            if name != "quotes" and getattr(copy, name) != getattr(expected, name)
        }

    # Helpers.

    @property
    def hours(self) -> float:
        """The hours that have passed at the exchange."""
        return self.oracle.seconds() / 3600

    def inject(self, faults: dict[str, Any]) -> None:
        """Put faults in force, at the distance of this course."""
        self.note_trouble()
        self.daemon.gateway.faults = Faults(**{**self.distance, **faults})
        self.faults = faults
        self.counts.update(f"habit {name}" for name in faults)
        self.note_trouble()

    def note_trouble(self, *, late: bool = False) -> None:
        """Note what may keep riskd from acting at once, or acting at all."""
        troubles = {*self.faults, *self.daemon.troubles()}
        if self.oracle.awake() < self.away_until:
            troubles |= UNREACHABLE.keys()
        self.checks.note_trouble(troubles, late=late or self.daemon.disk.is_slow)
        self.note_news(is_quiet=not troubles)
        if "lost_events" in troubles:
            self.unreported_at = self.oracle.awake()
        if self.daemon.disk.is_slow:
            self.checks.note_silence()

    def note_news(self, *, is_quiet: bool) -> None:
        """Note how late riskd may know what happens to the balance, and how soon it acts."""
        balances = self.oracle.balances
        if balances is None:
            return
        now = self.oracle.awake()
        is_quiet &= self.checks.reach() == SOON_SECONDS
        balances.grace = 4 * self.way + ACT_SECONDS if is_quiet else None
        if now - max(self.checks.hidden_at, self.unreported_at) < SETTLING_SECONDS:
            balances.window = LONGEST
        # As after a restart, the first balance is not settled.
        elif now < SETTLING_SECONDS or now - self.checks.late_at < SETTLING_SECONDS:
            balances.window = LATE
        else:
            balances.window = IN_TIME

    def place(self, contract_id: str, order: dict[str, object]) -> None:
        self.daemon.advance(MOMENT)
        # What riskd has announced is about what was there until now.
        self.receive_events()
        self.daemon.at_exchange(self.place_order, ACCOUNT, {"contractId": contract_id, **order})
        self.look()

    def quote(self, contract_id: str) -> None:
        self.daemon.advance(MOMENT)
        self.receive_events()
        self.daemon.gateway.move_market(contract_id, self.prices[contract_id])
        self.look()

    def pass_time(self, seconds: float, drift: int = 0, *, is_busy: bool = False) -> None:
        """Let time pass; what is held or watched is quoted every second.

        :param drift: by how many steps the prices move in a second.
        :param is_busy: whether the market is: three quotes a second, up and down.
        """
        wobbles = WOBBLE if is_busy else (0,)
        while seconds > 0:
            second = min(seconds, 1.0)
            seconds -= 1.0
            for number, wobble in enumerate(wobbles):
                self.daemon.advance(second / len(wobbles), step=0.5)
                steps = (drift + number) // len(wobbles) + wobble
                for contract_id in {MNQ: None, **self.oracle.positions()}:
                    self.prices[contract_id] += steps * STEP[contract_id]
                    self.quote(contract_id)
            self.checks.check_exposure()
            self.check_positions()

    def check_positions(self) -> None:
        """Check that what riskd knows as held is held."""
        self.checks.check_known(self.daemon.held, self.held_and_working()[0])
        known = {each.contract_id: each.id for each in self.daemon.state.open_positions}
        held = {name: each["id"] for name, each in self.oracle.positions().items()}
        self.checks.check_remembered(held, known)

    def look(self) -> None:
        self.note_trouble()
        self.oracle.lag = self.checks.reach()
        self.oracle.look()
        self.receive_events()

    def observe(self, message: Message) -> None:
        """Note what the exchange reports, as it happens."""
        self.quotes += message.target == QUOTE
        self.fills += message.target == TRADE
        if message.target == BALANCE and message.payload["id"] == ACCOUNT:
            self.balances_sent.append(message.payload)
        if message.target == POSITION and message.payload["accountId"] == ACCOUNT:
            self.oracle.note_size(message.payload)

    # What must hold.

    def watch_riskd(self) -> None:
        """Check each close and cancellation that reaches the exchange from riskd."""
        exchange = self.daemon.gateway.exchange
        close, reduce, cancel, place, modify = (
            exchange.close_contract,
            exchange.partial_close_contract,
            exchange.cancel_order,
            exchange.place_order,
            exchange.modify_order,
        )

        def close_contract(account_id: int, contract_id: str, now: datetime) -> None:
            self.check_sound(contract_id)
            close(account_id, contract_id, now)
            self.oracle.look()

        def partial_close_contract(
            account_id: int, contract_id: str, size: int, now: datetime
        ) -> None:
            self.check_sound(contract_id)
            reduce(account_id, contract_id, size, now)
            self.oracle.look()

        def cancel_order(account_id: int, order_id: int, now: datetime) -> None:
            self.look()
            for order in self.oracle.orders():
                if order["id"] == order_id:
                    self.checks.check_cancel(order)
            cancel(account_id, order_id, now)

        def place_order(account_id: int, order: Payload, now: datetime) -> int:
            self.look()
            self.checks.check_placed(order)
            return place(account_id, order, now)

        def modify_order(account_id: int, order_id: int, changes: Payload, now: datetime) -> None:
            for order in self.oracle.orders():
                if order["id"] == order_id:
                    self.checks.check_modified(order, changes)
            modify(account_id, order_id, changes, now)

        MonkeyPatcher(
            (exchange, "close_contract", close_contract),
            (exchange, "partial_close_contract", partial_close_contract),
            (exchange, "cancel_order", cancel_order),
            (exchange, "place_order", place_order),
            (exchange, "modify_order", modify_order),
        ).patch()

    def note_error(self, event: LogEvent) -> None:
        """Note an internal error of riskd."""
        if event.get("log_level") is LogLevel.critical:
            failure = event["log_failure"]
            self.checks.check(False, repr(failure.value), failure.getTraceback())

    def check_sound(self, contract_id: str) -> None:
        """Check that what riskd ends is wanted ended by some rule, or by a lock in force."""
        self.look()
        self.checks.check_sound(contract_id)

    def receive_events(self) -> None:
        while self.seen < len(self.daemon.told):
            self.seen += 1
            self.checks.receive(self.daemon.told[self.seen - 1])

    def locks_hold(self) -> None:
        """No lock is shortened, and each that was broadcast is in the journal."""
        if not hasattr(self, "daemon"):
            return
        self.receive_events()
        self.checks.check_ended()
        if self.checks.violations:
            raise ViolationError(self.checks.violations)
        now = self.daemon.broker_time()
        in_force = [lock for lock in self.checks.ends.values() if is_in_force(lock, now)]
        if in_force:
            kept = self.locks_in_journal()
            for lock in in_force:
                assert self.daemon.state.lockouts.get(lock.rule_id) == lock
                assert lock in kept

    def locks_in_journal(self) -> list[LockoutSet]:
        journal = self.daemon.journal._store._journal
        # By the daemon's own connection, for another one would take a tenth of a day to open.
        assert not journal.in_transaction
        rows = journal.execute("SELECT data FROM lockouts WHERE account_id = ?", (ACCOUNT,))
        return [lock_of(data) for (data,) in rows]


@lru_cache
def lock_of(data: str) -> LockoutSet:
    """Return a lock in the journal."""
    lock = decode_data("lockout_set", ACCOUNT, data).data
    assert isinstance(lock, LockoutSet)
    return lock
