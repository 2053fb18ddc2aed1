"""Random trading with the real programs over a network that fails, and what must hold.

``python -m tests.network_trading --minutes 60`` starts a practice gateway, riskd and a client of its stream,
with a proxy between gateway and riskd.  A trader without discipline trades through the gateway's API, beside the
proxy.  Faults of the network and habits of the broker come and go, and riskd is killed now and then.  At the end
of each minute all must agree: the exchange, the published copy and the stream.

Every few minutes a new course begins in a directory of its own.  ``--seed`` draws the same courses again; what
happens in them depends on the machine, too.  A violation prints the seed of its course, and keeps its directory.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import shutil
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater, react
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from riskd.gateway.targets import POSITION
from riskd.journal.reader import StateFileError, read_published
from riskd.model.account import AccountState
from riskd.model.broker import on_wire
from riskd.model.events import Action, Status
from riskd.practice.market import front_contract
from tests.integration.fault_proxy import FAULTS, FaultProxy
from tests.integration.practice_gateway import KEY, Broker, Gateway, key_file
from tests.support.exchange_oracle import (
    ALWAYS,
    CLOCK_SECONDS,
    OF_HOURS,
    OF_MANAGEMENT,
    OF_PRICES,
    OF_STOPS,
    OF_TRADES,
    ExchangeOracle,
    rule_ids,
    signed,
)
from tests.support.followed_exchange import FollowedExchange
from tests.support.invariants import (
    LADDER_SECONDS,
    LOCKING,
    OF_POSITIONS,
    PRICED,
    SETTLING_SECONDS,
    UNANSWERED,
    Invariants,
)
from tests.support.practice_daemon import ACCOUNT
from tests.support.stream_recorder import StreamRecorder
from tests.support.swarm import CHANCES, MOST_SECONDS, SWITCHES
from tests.support.twistd import Twistd
from tests.support.undisciplined_trader import UndisciplinedTrader
from tests.support.waiting import until

_WATCH_SECONDS = 0.25
_POLL_SECONDS = 0.5
_TRACE_LINES = 60
_HUBS = 2
_CLOSES = ("closeContract", "partialCloseContract")

HARMLESS = frozenset(
    {
        *("opening_half_again", "commissions", "binary_noise", "split_fills"),
        *("positions_dated_ahead", "positions_without_date", "position_delay_seconds"),
        *("latency_seconds", "jitter_seconds"),
        # These say how long others last.
        *("late_seconds", "correction_seconds", "freeze_seconds"),
    }
)
"""The habits with which riskd acts as soon as without."""

_RULES = {OF_TRADES: 0.5, OF_PRICES: 0.5, OF_STOPS: 0.4, OF_MANAGEMENT: 0.4, OF_HOURS: 0.1}
"""The chance of each group of rules to be in force."""

_LATE = ("delay", "duplicates", "reversed")
_LOST = ("silence", "reordered")


def trouble_of(fault: str) -> set[str]:
    """Return what a fault of the network does, in the names of the broker's faults.

    Where a connection ends, too, the next one begins with all that the broker has.
    """
    if fault in _LATE:
        return {"late_events"}
    if fault in _LOST:
        return {"lost_events"}
    return {"lost_events", "unanswered"} if fault == "half-open" else {"unanswered"}


def draw_habits(random: Random) -> dict[str, Any]:
    """Return some of the broker's habits, each with its strength; now and then there are none."""
    if random.random() < 0.15:
        return {}
    names = random.sample([*CHANCES, *SWITCHES, *MOST_SECONDS], random.randint(1, 6))
    return {
        name: True
        if name in SWITCHES
        else random.choice((0.05, 0.2, 0.5))
        if name in CHANCES
        else round(random.uniform(0.0, MOST_SECONDS[name]), 3)
        for name in names
    }


class ViolationError(AssertionError):
    """Something did not hold."""


class NetworkCourse:
    """The three programs in a directory, and what is done to them.

    :param directory: of this course alone.
    :param rules: the rules in force beside those that always are; drawn unless given.
    :param settings: the beginning of riskd's configuration.
    :param offset: by how many seconds the exchange's clock is ahead; drawn unless given.
    :ivar counts: what happened how often.
    """

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        rules: tuple[str, ...] | None = None,
        settings: str = "",
        offset: float | None = None,
    ) -> None:
        self.directory = directory
        self.seed = seed
        self.minute = 0
        self.counts: Counter[str] = Counter()
        self.habits: dict[str, Any] = {}
        random = Random(seed)
        # Trader and network take turns as the machine pleases, so each draws for itself.
        self._random = Random(f"{seed} network")
        self._lines: deque[str] = deque(maxlen=_TRACE_LINES)
        self._trace_file = (directory / "trace").open("a")
        drawn = tuple(each for each, chance in _RULES.items() if random.random() < chance)
        rules = drawn if rules is None else rules
        self._rules = ALWAYS + "".join(rules)
        self._settings = settings
        # A clock that is off by more than two seconds is an ERROR by itself.
        drawn_offset = random.choice((0.0, 0.0, 1.0, -1.0, 31.0, -31.0))
        self._offset = drawn_offset if offset is None else offset
        today = datetime.now(UTC).date()
        contracts = tuple(front_contract(code, today).id for code in ("MNQ", "EP", "MES"))
        self.exchange = FollowedExchange(directory / "gateway" / "state", [ACCOUNT], today)
        self.oracle = ExchangeOracle(
            self.exchange,
            ACCOUNT,
            self.now,
            rule_ids(ALWAYS, *rules),
            limited=contracts[1],
            blocked=contracts[2],
        )
        self.invariants = Invariants(self.oracle, self.now, self.counts)
        self.trader = UndisciplinedTrader(
            self.exchange,
            lambda: self._broker,
            Random(f"{seed} trader"),
            contracts,
            self.trace,
        )
        self._faults: set[str] = set()
        self._corrected = False
        self._has_lost = False
        # Whether the broker has refused requests, so that riskd may have made all that it may in a minute.
        self._was_refused = False
        self._closed_at: datetime | None = None
        self._daemons: list[Twistd] = []
        self._is_up = False
        self._watching = LoopingCall(self._watch)
        self._holding = LoopingCall(lambda: Deferred.fromCoroutine(self.trader.hold_prices()))

    def now(self) -> datetime:
        """Return the exchange's time."""
        return datetime.now(UTC) + timedelta(seconds=self._offset)

    def trace(self, text: str) -> None:
        line = f"{datetime.now(UTC):%H:%M:%S.%f} {text}"
        self._lines.append(line)
        self._trace_file.write(line + "\n")
        self._trace_file.flush()

    # The programs.

    async def start(self) -> None:
        """Start the gateway, the proxy, riskd and the client."""
        (self.directory / "gateway").mkdir()
        self._write_habits({})
        config = self.directory / "gateway.toml"
        self.gateway = await deferToThread(
            Gateway, self.directory / "gateway", "--config", str(config), "--quiet"
        )
        self._broker = await deferToThread(Broker, self.gateway.port)
        self.proxy = FaultProxy(self.gateway.port)
        self.proxy.on_change, self.proxy.on_changed = self._riskd_asks, self._riskd_has_done
        key_file(self.directory, KEY)
        rest, hubs = (
            f"http://127.0.0.1:{port}" for port in (self.proxy.rest_port, self.proxy.hub_port)
        )
        (self.directory / "riskd.toml").write_text(
            f"""
            {self._settings}
            {self._rules}
            [gateway]
            kind = "projectx"
            user_name = "practice"
            key_file = "key"
            rest_url = "{rest}"
            user_hub_url = "{hubs}/hubs/user"
            market_hub_url = "{hubs}/hubs/market"
            [[accounts]]
            id = {ACCOUNT}
            watch = ["MNQ"]
            """
        )
        await self.trader.hold_prices()
        for loop, seconds in ((self._watching, _WATCH_SECONDS), (self._holding, _POLL_SECONDS)):
            loop.start(seconds).addErrback(self._failed)
        await self._start_riskd("0")
        self.client = StreamRecorder(
            self._daemons[-1].port,
            self.directory,
            self.invariants,
            self.trace,
            self._look,
            self._client_connected,
        )
        self.client.connect()
        await until(lambda: self.client.connected)

    async def _start_riskd(self, port: str) -> None:
        own = self.directory / f"riskd-{len(self._daemons)}"
        own.mkdir()
        arguments = ["--config", str(self.directory / "riskd.toml")]
        arguments += ["--state", str(self.directory / "state"), "--port", port]
        self._daemons.append(await deferToThread(Twistd, own, *arguments, waits=False))
        self._is_up = True
        self.trace(f"riskd is started, see {own.name}")

    async def kill_riskd(self, seconds: float) -> None:
        """Kill riskd, and start it again after some seconds."""
        self.counts["kills of riskd"] += 1
        self.trace("riskd is killed")
        self._is_up = False
        self._daemons[-1].process.kill()
        await deferToThread(self._daemons[-1].process.wait)
        await deferLater(reactor, seconds)
        await self._start_riskd(str(self._daemons[-1].port))

    async def restart_gateway(self, habits: dict[str, Any]) -> None:
        """Kill the gateway and start it with other habits, as a broker's maintenance does."""
        self.counts["restarts of the gateway"] += 1
        self.trace(f"the gateway is started again, with {habits}")
        self._take_changes()
        self.gateway.process.kill()
        await deferToThread(self.gateway.process.wait)
        self._write_habits(habits)
        await deferToThread(self.gateway.start)

    def _write_habits(self, habits: dict[str, Any]) -> None:
        self.habits = habits
        self.counts.update(f"habit {name}" for name in habits)
        if not habits.keys().isdisjoint(("amended_trades", "voided_trades")):
            self._corrected = True
        lines = [
            f"{name} = {str(value).lower()}"
            for name, value in {**habits, "clock_offset_seconds": self._offset}.items()
        ]
        (self.directory / "gateway.toml").write_text(
            "\n".join(
                [
                    "[practice.faults]",
                    *lines,
                    "[[accounts]]",
                    f"id = {ACCOUNT}",
                    'watch = ["MNQ"]',
                ]
            )
        )

    async def stop(self) -> None:
        """Stop all programs in order; riskd must end well."""
        for loop in (self._watching, self._holding):
            if loop.running:
                loop.stop()
        riskd = self._daemons[-1]
        riskd.process.terminate()
        code = await deferToThread(riskd.wait)
        self.invariants.check(code == 0, "riskd ended with", code)
        await until(lambda: not self.client.connected)
        self.invariants.check(
            self.client.status is Status.STOPPING, "did not say STOPPING", self.client.status
        )
        await deferToThread(self.gateway.end)
        self._check_logs()
        self.check()

    async def clean_up(self) -> None:
        """End what is still running."""
        for loop in (self._watching, self._holding):
            if loop.running:
                loop.stop()
        if hasattr(self, "client"):
            await self.client.close()
        if hasattr(self, "proxy"):
            await self.proxy.stop()
        for program in (*self._daemons, *([self.gateway] if hasattr(self, "gateway") else [])):
            with suppress(ProcessLookupError):
                program.process.kill()
            program.process.wait()
        self._trace_file.close()

    def _failed(self, failure: Failure) -> None:
        self.invariants.check(False, failure.getTraceback())

    # What is watched.

    def _watch(self) -> None:
        self._look()
        self.invariants.check_exposure()
        self.invariants.check_ended()

    def _look(self) -> None:
        self._take_changes()
        self.invariants.note_trouble(self._trouble())
        self.oracle.lag = self.invariants.reach()
        self.oracle.look()

    def _take_changes(self) -> None:
        """Look at the exchange after each of its changes."""
        for message in self.exchange.changes():
            self.counts[message.target] += 1
            if message.target == POSITION:
                self.oracle.note_size(message.payload)
            self.oracle.look()
            self.invariants.check_exposure()

    def _trouble(self) -> set[str]:
        """Return what may keep riskd from acting now, in the names of the broker's faults."""
        trouble = set(self.habits) - HARMLESS
        for fault in self._faults:
            trouble |= trouble_of(fault)
        self._has_lost |= "lost_events" in trouble
        if not self._is_linked:
            # A new connection begins with all that the broker has.
            trouble |= {"lost_events", "unanswered"}
        return trouble

    def _riskd_asks(self, name: str, body: dict[str, Any]) -> None:
        """Check what riskd asks the broker to end."""
        self.counts[f"riskd: {name}"] += 1
        self.trace(f"riskd: {name} {body}")
        self._look()
        orders = [each for each in self.oracle.orders() if each["id"] == body.get("orderId")]
        if name in _CLOSES:
            self.invariants.check_sound(body["contractId"])
        elif name == "place":
            self.invariants.check_placed(body)
        for order in orders:
            if name == "cancel":
                self.invariants.check_cancel(order)
            else:
                self.invariants.check_modified(order, body)

    def _riskd_has_done(self, name: str) -> None:
        if name in _CLOSES:
            self._closed_at = self.now()

    def _client_connected(self, copy: AccountState) -> None:
        """Check that the copy has every lock that was broadcast."""
        for rule_id in self.invariants.in_force():
            lock, known = copy.lockouts.get(rule_id), self.invariants.ends[rule_id]
            if lock is not None and (
                lock.locked_until is None
                or (known.locked_until and lock.locked_until >= known.locked_until)
            ):
                continue
            may_be_lifted = self._corrected or rule_id == "RULE-010"
            self.invariants.check(may_be_lifted, "forgotten or shortened", known, lock)
            self.invariants.end_locks(rule_id)
        for lock in copy.lockouts.values():
            if self.invariants.ends.get(lock.rule_id) != lock:
                self.invariants.receive_lock(lock)

    def check(self) -> None:
        """Check that all has held until now.

        :raises ViolationError: something has not.
        """
        if self.invariants.violations:
            raise ViolationError(self.invariants.violations)

    def _check_logs(self) -> None:
        for log in (*(each.log for each in self._daemons), self.gateway.log):
            self.invariants.check("Traceback" not in log, "a failure in a log")

    # A minute.

    async def play(self, seconds: float, *, is_disturbed: bool = True) -> None:
        """Let the trader trade for some seconds, while things go wrong."""
        self.minute += 1
        end = time.monotonic() + seconds
        disturbing = Deferred.fromCoroutine(self._disturb(end if is_disturbed else 0.0))
        try:
            while time.monotonic() < end:
                await self.trader.act()
                await deferLater(reactor, self._random.uniform(0.1, 2.5))
                self.check()
        finally:
            await disturbing
        await self.trader.permit()

    async def _disturb(self, end: float) -> None:
        """Begin and end faults of the network, and kill riskd now and then."""
        random = self._random
        # Not all of them: what few do together, many would hide.
        names = random.sample(list(FAULTS), random.randint(1, 4))
        kill_at = time.monotonic() + random.uniform(0, 100)
        while time.monotonic() < end:
            await deferLater(reactor, random.uniform(0.5, 8))
            if kill_at < time.monotonic() < end:
                kill_at = float("inf")
                await self.kill_riskd(random.choice((0, 0, 3)))
            elif time.monotonic() < end:
                await self.suffer(random.choice(names), random.choice((0.5, 2, 5, 12)))

    async def suffer(self, name: str, seconds: float) -> None:
        """Have a fault of the network for some seconds, and perhaps a kill in it."""
        self.counts[f"fault {name}"] += 1
        self._was_refused |= name == _REFUSED
        self.trace(f"network: {name} for {seconds} s")
        self._faults.add(name)
        with suppress(AssertionError, OSError, http.client.HTTPException):
            # To log out takes a request, which may come to nothing.
            FAULTS[name].begin(self.proxy)
        await deferLater(reactor, seconds)
        if self._random.random() < 0.1:
            await self.kill_riskd(0)
        FAULTS[name].end(self.proxy)
        self.invariants.note_trouble(self._trouble())
        self._faults.remove(name)
        self.trace(f"network: {name} is over")

    async def settle(self, seconds: float | None = None) -> float:
        """Wait until all agree; return after how many seconds they did.

        A broker that refuses requests or does not answer gets well if it takes too long.

        :param seconds: how long that may take once riskd is connected; by default it depends on what was lost.
        :raises ViolationError: they did not, or something else did not hold.
        """
        began = time.monotonic()
        if seconds is None:
            is_late = self._has_lost or self._was_refused
            seconds = LADDER_SECONDS + (SETTLING_SECONDS if is_late else LADDER_SECONDS)
        try:
            await self._agree(seconds)
        except ViolationError as error:
            if self.invariants.violations or UNANSWERED.isdisjoint(self.habits):
                raise
            self.counts["brokers that had to get well"] += 1
            self.trace(f"the broker gets well; until now: {error}")
            await self.restart_gateway({})
            await self._agree(seconds)
        self._has_lost = self._was_refused = False
        self.invariants.forget_trouble()
        self._check_logs()
        self.check()
        return time.monotonic() - began

    async def _agree(self, seconds: float) -> None:
        # A login that was refused is tried again after a minute.
        linked_by = time.monotonic() + SETTLING_SECONDS
        while not self._is_linked and time.monotonic() < linked_by:
            await deferLater(reactor, _POLL_SECONDS)
        deadline = time.monotonic() + seconds
        while True:
            differences = list(self._differences())
            if not differences:
                differences = await self._differences_of_api()
            if not differences:
                return
            self.check()
            if time.monotonic() > deadline:
                raise ViolationError(f"no agreement after {seconds} s", *differences)
            await deferLater(reactor, _POLL_SECONDS)

    @property
    def _is_linked(self) -> bool:
        """Whether riskd is connected to the broker."""
        return self._is_up and len(self.proxy.relays) >= _HUBS

    def _differences(self) -> Iterator[object]:
        """Yield in what exchange, published copy and stream do not agree."""
        self._watch()
        if not self.client.connected:
            yield "the client is not connected"
            return
        try:
            copy = read_published(self.directory / "state").accounts[ACCOUNT]
        except StateFileError as error:
            yield error
            return
        known, real = _known(copy), self._real()
        yield from ((name, known[name], real[name]) for name in real if known[name] != real[name])
        seen, said = _streamed(self.client.account), _streamed(copy)
        yield from (
            ("the stream says", name, seen[name], said[name])
            for name in seen
            # What the broker has corrected, only the copy says.
            if seen[name] != said[name] and not (self._corrected and name in _CORRECTED)
        )
        in_force = {
            rule_id: self.invariants.ends[rule_id] for rule_id in self.invariants.in_force()
        }
        if in_force.items() - copy.lockouts.items():
            yield "locks", in_force, copy.lockouts
        if self.invariants.is_held_in_lock():
            yield "held in a lock", in_force, self.oracle.positions(), self.oracle.orders()
        held = self.oracle.positions()
        yield from (
            ("held against a rule", breach)
            for breach in self.oracle.exposed()
            if breach.rule_id in OF_POSITIONS
            and breach.rule_id not in PRICED
            and breach.contract_id in (None, *held)
        )
        actions = [msgspec.json.encode(each) for each in copy.enforcement]
        if len(set(actions)) < len(actions):
            yield "an action twice", copy.enforcement
        closing = [each for each in copy.enforcement if each.action in _CLOSING]
        last = closing[-1] if closing else None
        if self._closed_at is not None and (
            # What failed was reported as that, and goes on.
            last is None
            or (
                last.success
                and last.timestamp < self._closed_at - timedelta(seconds=CLOCK_SECONDS)
            )
        ):
            yield "a close that is not reported", self._closed_at, last
        # Of quotes that stop the daemon must complain.
        if "quote_freezes" not in self.habits:
            wanted = Status.RUNNING if abs(self._offset) < 2 else Status.ERROR
            if self.client.status is not wanted:
                yield f"{self.client.status}, not {wanted}"

    def _real(self) -> dict[str, Any]:
        """Return what the exchange has."""
        return {
            "positions": {
                name: (signed(each), round(each["averagePrice"], 9))
                for name, each in self.oracle.positions().items()
            },
            "orders": {
                each["id"]: (each["size"], each.get("limitPrice"), each.get("stopPrice"))
                for each in self.oracle.orders()
            },
            "trades": {each.id: each.pnl for each in self.oracle.trades()},
            "realized": self.oracle.realized(),
            "count": len(self.oracle.trades()),
        }

    async def _differences_of_api(self) -> list[object]:
        """Return in what the gateway's API and the published copy do not agree."""
        positions = await self.trader.ask("Position/searchOpen", accountId=ACCOUNT)
        orders = await self.trader.ask("Order/searchOpen", accountId=ACCOUNT)
        if not (positions.get("success") and orders.get("success")):
            return ["the API does not answer"]
        copy = read_published(self.directory / "state").accounts[ACCOUNT]
        sizes = {each["contractId"]: signed(each) for each in positions["positions"]}
        known = {name: size for name, (size, _price) in _known(copy)["positions"].items()}
        working = {each["id"] for each in orders["orders"]}
        is_same = sizes == known and working == {each.id for each in copy.working_orders}
        return [] if is_same else [("the API says", positions, orders, known)]

    def report(self) -> str:
        """Return what to know after a violation."""
        return "\n".join(
            [
                f"seed {self.seed}, minute {self.minute}, in {self.directory}",
                f"rules {sorted(self.oracle._rules)}, clock ahead by {self._offset} s",
                f"habits {self.habits}, faults {list(self._faults)}",
                *self._lines,
            ]
        )


_NEWS = {"positions": "updated_at", "orders": "updated_at", "trades": "timestamp"}
_STREAMED = ("realized_pnl", "trade_count", "lockouts", "enforcement")
_CORRECTED = ("trades", "realized_pnl", "trade_count")

_REFUSED = "429"
"""The fault of the network by which riskd asks again and again."""

_CLOSING = (Action.CLOSE_ALL_POSITIONS, *LOCKING)
"""Between a close that failed and one that came to its end, orders may be rejected."""


def _streamed(account: AccountState) -> dict[str, Any]:
    """Return what a client of the stream knows; what changes in its time alone is not broadcast again."""
    never = datetime.min.replace(tzinfo=UTC)
    return {
        **{
            name: {
                key: msgspec.structs.replace(on_wire(each), **{stamp: never})
                for key, each in getattr(account, name).items()
            }
            for name, stamp in _NEWS.items()
        },
        **{name: getattr(account, name) for name in _STREAMED},
    }


def _known(copy: AccountState) -> dict[str, Any]:
    """Return what riskd knows, as :meth:`NetworkCourse._real` says what is."""
    trades = copy.trades.values()
    return {
        "positions": {
            each.contract_id: (each.size * each.type.sign, round(each.average_price, 9))
            for each in copy.open_positions
        },
        "orders": {
            each.id: (each.size, each.limit_price, each.stop_price) for each in copy.working_orders
        },
        "trades": {each.id: each.profit_and_loss for each in trades},
        "realized": copy.realized_pnl,
        "count": copy.trade_count,
    }


async def play_course(seed: int, end: float, counts: Counter[str]) -> None:
    """Play a course of some minutes, or until the end of the run.

    :raises ViolationError: something did not hold.
    """
    directory = Path(tempfile.mkdtemp(prefix=f"network-trading-{seed}-"))
    course, random = NetworkCourse(directory, seed), Random(f"{seed} habits")
    try:
        await course.start()
        await course.settle()
        for _ in range(random.randint(1, 4)):
            if time.monotonic() > end:
                break
            if random.random() < 0.8:
                await course.restart_gateway(draw_habits(random))
            habits = tuple(course.habits)
            is_disturbed = bool(habits) or random.random() < 0.5
            await course.play(random.uniform(25, 45), is_disturbed=is_disturbed)
            seconds = await course.settle()
            _say(
                f"seed {seed}, minute {course.minute}: settled after {seconds:.1f} s; "
                f"habits {', '.join(habits) or 'none'}"
            )
        await course.stop()
    except BaseException:
        _say(course.report())
        raise
    else:
        await deferToThread(shutil.rmtree, directory)
    finally:
        counts.update(course.counts)
        await course.clean_up()


async def run(minutes: float, seed: int) -> None:
    """Play courses for some minutes; print what happened how often."""
    end = time.monotonic() + minutes * 60
    counts: Counter[str] = Counter()
    try:
        for number in itertools.count(seed):
            if time.monotonic() > end:
                break
            counts["courses"] += 1
            await play_course(number, end, counts)
    finally:
        for name, count in sorted(counts.items()):
            _say(f"{count:8,} {name}")
    _say(f"{minutes:g} minutes, nothing violated")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.network_trading", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = Random().randrange(10**6) if options.seed is None else options.seed
    react(lambda _reactor: Deferred.fromCoroutine(run(options.minutes, seed)), ())


if __name__ == "__main__":
    main()
