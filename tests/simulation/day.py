"""A trading day: drawn from a seed, played, and played again from its trace.

A day begins shortly before the daily reset and ends after the next one.  It has sessions in which the trader
trades, and idle hours between them, which are skipped: the machine sleeps or no daemon runs.  Each day draws
which habits it has and how strong they are, so that rare ones meet (swarm testing).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from random import Random
from time import process_time
from traceback import extract_tb, format_exception
from typing import Any, NamedTuple

import msgspec

from riskd.model.wire import encode
from tests.simulation.course import MES, Course, ViolationError
from tests.simulation.habits import HABITS, OF_EVENTS
from tests.support.balance_oracle import NET
from tests.support.exchange_oracle import (
    MAX_TRADES,
    MAXIMUM_LOSSES,
    NET_LOSSES,
    OF_HOURS,
    OF_MANAGEMENT,
    OF_PRICES,
    OF_STOPS,
    OF_TRADES,
)
from tests.support.invariants import LADDER_SECONDS, SETTLING_SECONDS
from tests.support.practice_daemon import BUY, ES, MNQ, SELL
from tests.support.trading_hours import CHICAGO

Arguments = dict[str, Any]

LEAST_FILLS = 200
LEAST_QUOTES = 3000
MOST_ACTS = 2000
RESTRICTED_ACTS = 150

OFFSETS = (0.0, 0.0, 0.0, 0.4, -0.4, 3.0, -3.0, 31.0, -31.0, 60.0, -60.0)
"""How far this machine's clock is ahead of the exchange's, in seconds."""

RULES = {OF_TRADES: 0.6, OF_PRICES: 0.6, OF_STOPS: 0.5, OF_HOURS: 0.25, OF_MANAGEMENT: 0.35}
"""How likely each table of rules is on a day."""

NETWORKED = 0.2
"""How likely the daemon's gateway is the ProjectX client, over a network in memory."""

BALANCE_ACTS = 0.06
"""How likely each act is followed by one about the balance."""

ACTS_OF_PARTS = 0.04
"""How likely each act is followed by one about a part of a position, or one that follows another."""

OUTAGES = (
    ("slow_the_disk", 40),
    ("fill_the_disk", 40),
    ("lose_the_broker", 90),
    ("answer_no_search", 130),
)
"""What fails for a time, and for how many seconds at most."""

OTHER_LIMITS: tuple[dict[str, int], ...] = (
    {},
    *({"loss": 600}, {"loss": 1500}, {"contracts": 3}, {"contracts": 6, "es": 3}, {"es": 1}),
    *({"trades": 3}, {"trades": 8}, {"large_loss": 60}, {"large_loss": 160, "loss": 800}),
    *({"open_loss": 120}, {"open_loss": 300, "profit": 160}),
)
"""What an operator may change the limits to."""

SESSIONS = ((17.1, 20.0), (2.0, 5.0), (7.5, 9.5), (10.0, 14.0))
"""When sessions may begin, in hours of Chicago's day; the first is on the evening before."""

BEGINNINGS = tuple(
    datetime(year, month, day, 16, 50, tzinfo=CHICAGO).astimezone(UTC)
    for year, month, day in (
        # A Sunday, a weekday, a Friday, the eve of the change of the clock, and of a holiday.
        (2026, 11, 22),
        (2026, 11, 24),
        (2026, 11, 20),
        (2026, 10, 31),
        (2026, 11, 25),
    )
)
"""When days may begin: ten minutes before the daily reset."""

FIRST_WITH_RARE_ACTS = 90_000
FIRST_WITH_QUICK_WINDOWS = 101_000
FIRST_WITH_BALANCES = 1_000_000
FIRST_WITH_REDUCE_ONLY = 3_000_000
FIRST_WITH_PARTS = 4_000_000
"""The seeds from which on days have what was added later."""

LAST_MINUTE = 16 + 58 / 60


class Act(NamedTuple):
    """Something that happens: the name of a method of :class:`Course`, and its arguments."""

    name: str
    arguments: Arguments


class Plan(msgspec.Struct, frozen=True):
    """What a day is like.

    :ivar seed: the day's number.
    :ivar rules: tables of rules beside those that every day has.
    :ivar habits: the faults that the broker may have on this day, each with its strength.
    :ivar is_networked: whether the daemon's gateway is the ProjectX client.
    :ivar has_balances: whether the broker pays out, and figures of the balance are checked.
    """

    seed: int
    rules: tuple[str, ...]
    begin: datetime
    latency: float
    jitter: float
    offset: float
    habits: dict[str, Any]
    is_networked: bool = False
    has_balances: bool = False


class Violation(msgspec.Struct, frozen=True):
    """What did not hold, and the act at which that was seen."""

    kind: str
    text: str
    at_act: int


class Result(msgspec.Struct, frozen=True):
    """How a day went.

    :ivar counts: how often each habit, act, rule and lock occurred.
    :ivar seconds: the processor time that it cost.
    :ivar digest: of all that happened and that riskd broadcast; the same for the same day.
    """

    seed: int
    violation: Violation | None
    fills: int
    quotes: int
    seconds: float
    hours: float
    counts: dict[str, int]
    digest: str = ""


def has_rare_acts(seed: int) -> bool:
    """Return whether a day has the acts that were added later; earlier ones stay as they were."""
    return seed >= FIRST_WITH_RARE_ACTS and seed != 1_795_904_117_030


def has_balances(seed: int) -> bool:
    """Return whether a day knows balances, payouts and floors; those before them are as they were."""
    return seed >= FIRST_WITH_BALANCES and has_rare_acts(seed)


def has_parts(seed: int) -> bool:
    """Return whether a day has the acts about parts of positions and of exits."""
    return seed >= FIRST_WITH_PARTS and has_balances(seed)


def plan_of(seed: int) -> Plan:
    """Return the plan of a day."""
    plan = _former_plan(seed)
    if not has_balances(seed):
        return plan
    random = Random(f"balances {seed}")
    # A position that is closed for its open loss comes near no other limit.
    left = [table for table in plan.rules if table != OF_PRICES or random.random() < 0.4]
    tables = [
        random.choice(some)
        for some, chance in ((NET_LOSSES, 0.5), (MAXIMUM_LOSSES, 0.8))
        if random.random() < chance
    ]
    if seed >= FIRST_WITH_REDUCE_ONLY:
        tables = [
            f"{table}reduce_only_at = {random.choice((50, 80))}\n"
            if random.random() < 0.7
            else table
            for table in tables
        ]
    return msgspec.structs.replace(plan, rules=(*left, *tables), has_balances=True)


def _former_plan(seed: int) -> Plan:
    random = Random(f"plan {seed}")
    # A few habits at a time find more than all of them at once.
    number = random.choice((0, 1, 2, 3, 5, 8, 13))
    names = random.sample(sorted(HABITS), min(number, len(HABITS)))
    return Plan(
        seed,
        tuple(table for table, chance in RULES.items() if random.random() < chance),
        random.choice(BEGINNINGS),
        random.choice((0.0, 0.0, 0.02, 0.08, 0.3)),
        random.choice((0.0, 0.0, 0.1)),
        random.choice(OFFSETS),
        {name: random.choice(HABITS[name]) for name in names},
        random.random() < NETWORKED,
    )


class Day:
    """Draws the acts of a day one by one; the next may depend on how far the day is."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._random = Random(f"acts {plan.seed}")
        # A trader of this day has his own weaknesses.
        usual = (8.0, 2, 4, 1, 1, 4, 2, 3, 2)
        self._weights = [each * self._random.choice((1, 1, 3)) for each in usual]
        # And each day its own mishaps.
        usual = (8, 4, 2, 1, 1, 2, 1, 1, 1, 3, 1, 4, 2)
        self._event_weights = [each * self._random.choice((1, 1, 4)) for each in usual]
        self._unrest = self._random.choice((0.1, 0.1, 0.2))
        # The rarer ones.
        rare = (0.5, 0.5, 1)
        self._weights += (
            [each * self._random.choice((1, 1, 3)) for each in rare]
            if has_rare_acts(plan.seed)
            else [0.0] * len(rare)
        )
        # Of their own, so that all other acts are what they were.
        self._of_balances = Random(f"balances of {plan.seed}")
        self._of_parts = Random(f"parts of {plan.seed}")

    def acts(self, course: Course) -> Iterator[Act]:
        """Yield acts until the day is over and enough has happened on it."""
        random = self._random
        sessions = [
            SESSIONS[0],
            *sorted(random.sample(SESSIONS[1:], random.choice((1, 2, 3)))),
        ]
        yield from self._session(course, len(sessions) + 1)
        for number, (first, last) in enumerate(sessions):
            yield self._skip(random.uniform(first, last))
            yield from self._session(course, len(sessions) + 1 - number)
        yield self._skip(LAST_MINUTE)
        for _each in range(12):
            yield self._trade()
            yield self._wait()
        yield from self._session(course, 1)
        yield Act("settle", {"is_quick": False})

    def _session(self, course: Course, left: int) -> Iterator[Act]:
        """Yield acts until this session has its share of fills and quotes."""
        random = self._random
        fills = course.fills + max(0, LEAST_FILLS - course.fills) / left
        quotes = course.quotes + max(0, LEAST_QUOTES - course.quotes) / left
        number = 0
        while (course.fills < fills or course.quotes < quotes) and number < MOST_ACTS:
            number += 1
            kind = random.random()
            if number % RESTRICTED_ACTS == 0:
                # An account that may not trade makes no fills.
                yield Act("restrict", {"may_trade": True})
            elif course.fills < fills and kind < 0.55:
                yield self._trade()
            elif kind < 1 - self._unrest:
                yield self._wait()
            else:
                yield from self._events()
            if self._plan.has_balances and self._of_balances.random() < BALANCE_ACTS:
                yield from self._balances()
            if has_parts(self._plan.seed) and self._of_parts.random() < ACTS_OF_PARTS:
                yield self._part()
        yield Act("settle", {"is_quick": random.random() < 0.5})

    # What traders do.

    def _trade(self) -> Act:
        random = self._random
        kinds = (
            self._market,
            self._limit,
            self._protect,
            self._lose_stop,
            self._cancel,
            self._round_trip,
            self._scalp,
            self._move,
            self._move_fast,
            self._over_window,
            self._lose_day,
            self._tangle,
        )
        return random.choices(kinds, self._weights)[0]()

    def _contract(self) -> str:
        return self._random.choice([MNQ] * 6 + [ES] * 4 + [MES])

    def _side(self) -> int:
        return int(self._random.choice((BUY, SELL)))

    def _market(self) -> Act:
        return Act(
            "trade_at_the_market",
            {
                "side": self._side(),
                "size": self._random.choice((1, 1, 1, 2, 2, 3, 5)),
                "contract_id": self._contract(),
                "stop": self._random.choice((None, 20, 40, 40)),
            },
        )

    def _limit(self) -> Act:
        return Act(
            "trade_at_a_limit",
            {
                "side": self._side(),
                "size": self._random.randint(1, 3),
                "steps": self._random.randint(-20, 20),
                "contract_id": self._contract(),
            },
        )

    def _protect(self) -> Act:
        return Act(
            "protect", {"contract_id": self._contract(), "steps": self._random.randint(5, 40)}
        )

    def _lose_stop(self) -> Act:
        return Act(
            "lose_the_stop",
            {
                "side": self._side(),
                "contract_id": self._random.choice((MNQ, ES)),
                "seconds": self._random.choice((1, 61)),
            },
        )

    def _cancel(self) -> Act:
        return Act("cancel", {"index": self._random.randint(0, 10)})

    def _round_trip(self) -> Act:
        return Act(
            "make_a_round_trip",
            {
                "side": self._side(),
                "size": self._random.randint(1, 4),
                "steps": self._random.randint(-30, 30),
                "faults": self._faults(),
                "contract_id": self._random.choice((MNQ, MNQ, ES)),
                "seconds": self._random.choice((0, 0, 3, 12)),
            },
        )

    def _scalp(self) -> Act:
        return Act(
            "scalp",
            {
                "count": self._random.choice((3, MAX_TRADES + 1, 8)),
                "faults": self._faults(),
                "seconds": self._random.choice((0, 0, 0, SETTLING_SECONDS + LADDER_SECONDS + 5)),
            },
        )

    def _move(self) -> Act:
        return Act(
            "move", {"steps": self._random.randint(-16, 16), "contract_id": self._contract()}
        )

    def _move_fast(self) -> Act:
        return Act(
            "move_fast",
            {
                "side": self._side(),
                "steps": self._random.choice((-40, -32, -24, -8, 8, 24, 32, 40)),
                "contract_id": self._contract(),
                "seconds": self._random.choice((0, 0.25, 0.5)),
            },
        )

    def _over_window(self) -> Act:
        if self._plan.seed < FIRST_WITH_QUICK_WINDOWS:
            return Act("trade_over_the_window", {"faults": self._random.choice(OF_EVENTS)})
        # Only what is lost becomes known so late.
        lost = {"lost_events": self._random.choice((0.7, 1.0))}
        return Act("trade_over_the_window", {"faults": lost, "is_quick": True})

    def _lose_day(self) -> Act:
        return Act(
            "lose_the_day",
            {
                "side": self._side(),
                "size": self._random.choice((1, 2, 3)),
                "winning": self._random.choice((0, 4, 12)),
            },
        )

    def _tangle(self) -> Act:
        return Act(
            "tangle",
            {
                "side": self._side(),
                "steps": self._random.choice((-20, -2, 2)),
                "faults": self._random.choice(OF_EVENTS),
            },
        )

    # What brokers do with balances, and who trades near a limit of them.

    def _balances(self) -> Iterator[Act]:
        random = self._of_balances
        near = (-6000, -2000, -1, 0, 1, 1000, 1500, 4000)
        side, rule_id = int(random.choice((BUY, SELL))), random.choice(NET)
        kinds = (
            lambda: Act("transfer", {"cents": random.choice((-90000, -20050, -1, 1, 30025))}),
            lambda: Act(
                "approach",
                {
                    "rule_id": rule_id,
                    "side": side,
                    "size": random.choice((1, 2, 4)),
                    "cents": random.choice(near),
                    "seconds": random.choice((0, 1, 4, LADDER_SECONDS + 2)),
                    "is_killed": random.random() < 0.2,
                },
            ),
            lambda: Act(
                "report_badly",
                {
                    "rule_id": rule_id,
                    "what": random.choice(("late", "doubled", "early")),
                    "side": side,
                    "cents": random.choice(near),
                    "seconds": random.choice((0, 1, 3, 8)),
                },
            ),
            lambda: Act(
                "pay_out_near",
                {
                    "side": side,
                    "cents": random.choice(near),
                    "seconds": random.choice((1, 3 * LADDER_SECONDS + 10)),
                },
            ),
            lambda: Act("repeat_balance", {"index": random.randint(0, 10)}),
            lambda: Act(
                "correct_yesterday",
                {
                    "index": random.randint(0, 10),
                    "cents": random.choice((None, random.randint(-20000, 20000))),
                },
            ),
        )
        # An account that is locked, or far from its limits, shows nothing.
        if random.random() < 0.7:
            is_repeated = random.random() < 0.3
            yield Act(
                "refill",
                {"dollars": random.choice((60, 150, 300)), "is_repeated": is_repeated},
            )
        yield random.choices(kinds, (2, 8, 4, 2, 1, 1))[0]()

    # What is known only by more than one order, fill or event.

    def _part(self) -> Act:
        random = self._of_parts
        side = int(random.choice((BUY, SELL)))
        kinds = (
            lambda: Act(
                "protect_in_part",
                {
                    "side": side,
                    "size": random.choice((2, 2, 3)),
                    "contract_id": random.choice((MNQ, ES)),
                },
            ),
            lambda: Act("lose_in_parts", {"side": side, "size": random.choice((2, 3, 4))}),
            lambda: Act(
                "reverse_news",
                {
                    "side": side,
                    "size": random.choice((1, 2)),
                    "seconds": random.choice((0, 7, 10)),
                },
            ),
        )
        return random.choice(kinds)()

    # What happens around them.

    def _wait(self) -> Act:
        return Act(
            "wait",
            {
                "seconds": self._random.choice((0.25, 0.5, 1, 1, 5, 20)),
                "drift": self._random.choice((-3, -1, 0, 0, 0, 1, 3)),
            },
        )

    def _faults(self) -> Arguments:
        """Return some of the day's habits."""
        habits = self._plan.habits
        chosen = self._random.sample(sorted(habits), self._random.randint(0, len(habits)))
        return {name: habits[name] for name in chosen}

    def _events(self) -> Iterator[Act]:
        """Yield something that happens; after an outage, sometimes the time in which all must be well again."""
        event = self._event()
        yield event
        if "order" in event.arguments and self._random.random() < 0.4:
            yield Act("settle", {"is_quick": False})

    def _event(self) -> Act:
        random = self._random
        kinds = (
            lambda: Act("break_something", {"faults": self._faults(), "more": {}}),
            lambda: Act("settle", {"is_quick": random.random() < 0.8}),
            lambda: Act(
                "kill",
                {"steps": random.choice((0, 0, -12, 12)), "seconds": random.choice((0, 0, 10))},
            ),
            lambda: Act("sleep", {"hours": random.choice((0.001, 0.02, 0.1))}),
            lambda: Act(
                "set_the_clock",
                {"seconds": random.choice((-86400.0, -7200.0, -45.0, -2.0, 2.0, 45.0, 86400.0))},
            ),
            lambda: Act(
                "correct",
                {
                    "index": random.randint(0, 10),
                    "cents": random.choice((None, random.randint(-20000, 5000))),
                    "is_reported": random.random() < 0.7,
                },
            ),
            lambda: Act("restrict", {"may_trade": random.random() < 0.7}),
            lambda: Act("flatten_by_hand", {}),
            lambda: Act("lock_by_hand", {"minutes": random.choice((1, 5, None))}),
            self._outage,
            lambda: Act("stop", {"seconds": random.choice((0, 10))}),
            lambda: Act("unlock_by_hand", {}),
            lambda: Act("reload", {"limits": random.choice(OTHER_LIMITS)}),
        )
        return random.choices(kinds, self._event_weights)[0]()

    def _outage(self) -> Act:
        if self._plan.is_networked and self._random.random() < 0.5:
            return Act(
                "break_connections",
                {
                    "how": self._random.choice(("cut", "cut", "silence", "refuse")),
                    "seconds": self._random.choice((1, 5, 20, 40)),
                    "order": self._market().arguments,
                },
            )
        name, longest = self._random.choice(OUTAGES)
        seconds = self._random.choice((5, 20, longest)) if longest < 100 else longest
        return Act(name, {"seconds": seconds, "order": self._market().arguments})

    def _skip(self, hour: float) -> Act:
        kind = self._random.choice(("sleep", "sleep", "stop", "kill"))
        return Act("skip", {"hour": round(hour, 3), "kind": kind})


def play(plan: Plan, acts: Iterable[Act] | None = None, trace: list[Act] | None = None) -> Result:
    """Play a day.

    :param acts: what happens; by default it is drawn.
    :param trace: receives each act before it happens.
    """
    trace = [] if trace is None else trace
    begun, course, violation = process_time(), Course(), None
    try:
        course.begin(
            plan.rules,
            plan.latency,
            plan.jitter,
            plan.offset,
            plan.begin,
            is_networked=plan.is_networked,
            has_balances=plan.has_balances,
        )
        for act in Day(plan).acts(course) if acts is None else acts:
            trace.append(act)
            getattr(course, act.name)(**act.arguments)
            course.locks_hold()
    except Exception as error:  # noqa: BLE001  # whatever it is, the day has failed
        kind, text = describe(error)
        violation = Violation(kind, text, len(trace))
    finally:
        course.end()
    counts = Counter(course.counts)
    counts.update(f"act {act.name}" for act in trace)
    return Result(
        plan.seed,
        violation,
        course.fills,
        course.quotes,
        process_time() - begun,
        course.hours,
        dict(counts),
        digest_of(trace, course),
    )


def digest_of(trace: Iterable[Act], course: Course) -> str:
    digest = sha256(msgspec.json.encode(list(trace)))
    for event in course.daemon.told:
        digest.update(encode(event))
    return digest.hexdigest()


def describe(error: Exception) -> tuple[str, str]:
    """Return the kind of a violation, the same for all that fail alike, and all of its text."""
    if isinstance(error, ViolationError):
        return error.kind, str(error)
    text = "".join(format_exception(error))
    last = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {last.name}", text
