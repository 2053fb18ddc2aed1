"""Random days, on each of which riskd, its dry run and a replay must name the same first enforcement.

A day is played twice, with the same seed: by a daemon that enforces, and by a dry run.  Both record, and both
recordings are replayed under the same limits.  All four must agree on the rule, the moment, the sentence with its
figure and the net P&L of the day at that moment.  After it the ways part: the account is another.

``python -m tests.first_enforcements 50`` plays 50 days; the test suite plays a handful.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.monkey import MonkeyPatcher

from riskd.config.settings import Faults
from riskd.engine.enforcement import dry_run, enforcer, rejections, stop_orders
from riskd.engine.enforcement.dry_run import DryRun
from riskd.engine.enforcement.enforcer import Enforcer
from riskd.gateway.enums import GatewayOrderType
from riskd.gateway.interface import GatewayError
from riskd.model.account import Flattening
from riskd.model.equity import net_pnl
from riskd.practice.market import front_contract
from riskd.recording.format import Recording
from riskd.recording.what_if import what_if
from tests.support.practice_daemon import ACCOUNT, CATALOGUE
from tests.support.recorded_daemon import RecordedDaemon, settings_of

MOST_SECONDS: Final = 1500
"""How long a day goes on without an enforcement."""

AFTER_SECONDS: Final = 12
"""How long a day goes on after its first announced enforcement: others may have been decided on before it."""

TICKERS: Final = ("MNQ", "MNQ", "MNQ", "ES", "MES", "M2K")

HABITS: Final[tuple[dict[str, Any], ...]] = (
    {"latency_seconds": 0.1},
    {"latency_seconds": 0.08, "jitter_seconds": 0.05},
    {"position_delay_seconds": 0.1},
    {"searches_trail_seconds": 0.5},
    {"commissions": True},
    {"lost_events": 0.1},
    {"doubled_events": 0.3},
    {"swapped_events": 0.2},
    {"late_events": 0.1},
    {"failed_reads": 0.3},
    {"slow_seconds": 3.0},
    {"partial_fills": 0.5},
    {"split_fills": 0.5},
    {"opening_half_again": True},
    {"amended_trades": 0.2},
    {"voided_trades": 0.1},
    {"quote_freezes": 0.002, "freeze_seconds": 20.0},
    {"wild_last_prices": 0.02},
    {"clock_offset_seconds": 2.5},
)
"""Faults of the broker, of which a day has a few."""


class Plan(NamedTuple):
    """What a day is like.

    :ivar config: its configuration.
    :ivar begin: when the daemon begins; a daemon may have traded a day before.
    """

    seed: int
    config: str
    begin: datetime
    faults: Faults
    has_past: bool


class First(NamedTuple):
    """The first enforcement of a day; amounts in dollars."""

    at: datetime
    rule_id: str
    reason: str
    net_pnl: Decimal | None


def plan_of(seed: int) -> Plan:
    """Return the plan of a day."""
    random = Random(f"plan {seed}")
    begin = datetime(2026, 11, 23 + random.randrange(4), 12, tzinfo=UTC) + timedelta(
        # From six in the morning in Chicago to shortly before the daily reset and after it.
        seconds=random.choice([random.randrange(11 * 3600), 11 * 3600 - 300, 12 * 3600 + 60])
    )
    habits = random.sample(HABITS, random.choice((0, 0, 1, 2, 3)))
    # At no distance what riskd did and what was over before it have the same time.
    habits.insert(0, {"latency_seconds": random.choice((0.005, 0.02, 0.05))})
    faults = Faults(**{key: value for habit in habits for key, value in habit.items()})
    tables = random.sample(sorted(RULES), random.choice((1, 2, 3, 5, len(RULES))))
    rules = "".join(f"[rules.{key}]\n{RULES[key](random, begin)}\n" for key in tables)
    strict = "strict_mode = true\n" if random.random() < 0.1 else ""
    news = begin + timedelta(seconds=random.randrange(300, 900))
    files = f'[files."news.toml"]\ntext = """[[news]]\nat = {news:%Y-%m-%dT%H:%M:%SZ}\n"""\n'
    return Plan(
        seed, f"{strict}{files}{rules}{_ACCOUNT}", begin, faults, has_past=random.random() < 0.4
    )


_ACCOUNT: Final = f'[[accounts]]\nid = {ACCOUNT}\nwatch = ["MNQ", "MES"]\n'


def _dollars(random: Random, least: int, most: int) -> str:
    return f"{random.randrange(least * 2, most * 2) / 2:.2f}"


def _hours(random: Random, begin: datetime) -> str:
    """Return allowed hours that end or begin soon."""
    edge = begin + timedelta(seconds=random.randrange(120, 1200))
    hours = [f"{edge:%H:%M}", f"{edge + timedelta(hours=random.choice((5, -5))):%H:%M}"]
    random.shuffle(hours)
    return f'allowed_hours = {{ start = "{hours[0]}", end = "{hours[1]}" }}\ntimezone = "UTC"\n'


RULES: Final[dict[str, Callable[[Random, datetime], str]]] = {
    "max_contracts": lambda random, _: (
        f"limit = {random.choice((3, 4, 6))}\nreduce_to_limit = {random.choice(('true', 'false'))}\n"
        + random.choice(("", "weights = {}\n"))
    ),
    "max_contracts_per_instrument": lambda random, _: (
        f"limits = {{ MNQ = {random.choice((2, 4, 6))} }}\nunknown_symbol_action = "
        f'"{random.choice(("block", "allow_unlimited", "allow_with_limit:2"))}"\n'
    ),
    "daily_realized_loss": lambda random, _: (
        f"loss_limit = {_dollars(random, 20, 200)}\n"
        f'action = "{random.choice(("CLOSE_ALL_AND_LOCKOUT", "CLOSE_ALL_POSITIONS"))}"\n'
        + random.choice(("", "reduce_only_at = 60\n", "include_fees = true\n"))
    ),
    "daily_unrealized_loss": lambda random, _: (
        f'loss_limit = {_dollars(random, 15, 150)}\nscope = "{random.choice(("total", "per_position"))}"\n'
    ),
    "maximum_loss": lambda random, _: (
        f"drawdown = {_dollars(random, 50, 400)}\n"
        f'trailing = "{random.choice(("end_of_day", "intraday", "static"))}"\n'
        f'stops_at = "never"\n{random.choice(("", "buffer = 20", "reduce_only_at = 50"))}\n'
    ),
    "weekly_limits": lambda random, _: (
        f"loss_limit = {_dollars(random, 50, 400)}\n"
        "max_entries_and_exits = { week = 40, day = 15 }\n"
    ),
    "daily_net_loss": lambda random, _: (
        f"loss_limit = {_dollars(random, 30, 200)}\n"
        f'trailing = "{random.choice(("none", "realized", "equity"))}"\n'
        + random.choice(("", "reduce_only_at = 60\n"))
    ),
    "daily_profit_target": lambda random, _: (
        f"target = {_dollars(random, 60, 200)}\nprotect = {{ arm_at = 40, floor = 20 }}\n"
        f'action = "{random.choice(("CLOSE_ALL_AND_LOCKOUT", "CLOSE_ALL_POSITIONS"))}"\n'
    ),
    "consistency": lambda random, _: f"share = {random.choice((30, 50))}\nstop_for_today = true\n",
    "max_unrealized_profit": lambda random, _: random.choice(
        (f"profit_target = {_dollars(random, 20, 100)}\n", 'mode = "breakeven"\n')
    ),
    "trade_frequency_limit": lambda random, _: (
        f"max_trades = {random.randrange(3, 9)}\ntime_window_minutes = 5\n"
    ),
    "cooldown_after_loss": lambda random, _: f"loss_threshold = {_dollars(random, 10, 80)}\n",
    "no_stop_loss_grace": lambda random, _: (
        f"grace_period_seconds = {random.choice((5, 20, 45))}\n"
    ),
    "session_block_outside": _hours,
    "auth_loss_guard": lambda _random, _: "",
    "symbol_blocks": lambda random, _: f'blocked_symbols = ["{random.choice(TICKERS[2:])}"]\n',
    "trade_management": lambda random, _: (
        f"enabled = true\nstop_loss_ticks = {random.choice((20, 60))}\n"
    ),
    "news_blackout": lambda random, _: (
        f'file = "news.toml"\nminutes_before = {random.choice((1, 3))}\nminutes_after = 1\n'
    ),
    "order_limits": lambda random, _: (
        f"max_size = {random.choice((3, 5))}\nprice_band_ticks = 60\n"
        f"no_adding_to_losers = {random.choice(('true', 'false'))}\nno_opposite_micros = true\n"
    ),
}
"""The tables of the rules, each with limits that a day of some minutes may reach."""


class Day:
    """A day: practice traders trade, another trader does what is unwise, and the broker has its habits.

    What happens depends on the seed alone, until riskd does something.
    """

    def __init__(self, plan: Plan, *, enforces: bool) -> None:
        self._random = Random(f"acts {plan.seed}")
        settings = f"{'' if enforces else 'enforce = false'}\n{plan.config}"
        begun = plan.begin - timedelta(days=1) if plan.has_past else plan.begin
        self.daemon = RecordedDaemon(
            _ACCOUNT if plan.has_past else settings, now=begun, seed=plan.seed, faults=plan.faults
        )
        self._contracts = {
            ticker: front_contract("EP" if ticker == "ES" else ticker, plan.begin.date())
            for ticker in TICKERS
        }
        if plan.has_past:
            # A day without rules, of which the journal tells the next daemon.
            self.trade(300)
            self.daemon.end()
            self.daemon.clock.rightNow += (plan.begin - self.daemon.now()).total_seconds()
            self.daemon.settings = settings_of(settings)
            self.daemon.begin()

    def run(self, seconds: float) -> None:
        """Let time pass; each timer fires when it is due."""
        clock = self.daemon.clock
        end = clock.seconds() + seconds
        while (
            due := min((each.getTime() for each in clock.getDelayedCalls()), default=end)
        ) < end:
            clock.rightNow = max(due, clock.rightNow)
            clock.advance(0)
        clock.rightNow = end
        clock.advance(0)

    def trade(self, seconds: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Trade for a time, or until the day is over."""
        end = self.daemon.clock.seconds() + seconds
        while self.daemon.clock.seconds() < end and not is_over():
            self.run(self._random.choice((0.05, 0.3, 1.0, 4.0, 15.0)))
            self._act()

    def _act(self) -> None:
        random, gateway = self._random, self.daemon.gateway
        act, contract = random.random(), self._contracts[random.choice(TICKERS)]
        quote = gateway.exchange.quote(contract.id)
        last = Decimal(0) if quote is None else quote.last
        order = {
            "contractId": contract.id,
            "side": random.choice((0, 1)),
            "size": random.choice((1, 1, 1, 2, 2, 3, 4, 6)),
        }
        price = last + random.randrange(-30, 31) * contract.tick_size
        if act < 0.4:
            self._place(order, type=GatewayOrderType.MARKET)
        elif act < 0.5:
            self._place(order, type=GatewayOrderType.LIMIT, limitPrice=price)
        elif act < 0.6:
            self._place(order, type=GatewayOrderType.STOP, stopPrice=price)
        elif act < 0.75:
            held = gateway.exchange.store.open_positions(ACCOUNT)
            if held:
                contract_id = random.choice(held)["contractId"]
                self._ask(gateway.close_contract(ACCOUNT, contract_id))
        elif act < 0.82:
            working = gateway.exchange.store.open_orders(ACCOUNT)
            if working:
                self._ask(gateway.cancel_order(ACCOUNT, random.choice(working)["id"]))
        elif act < 0.98:
            gateway.move_market(contract.id, price)
        elif act < 0.985:
            gateway.set_can_trade(ACCOUNT, random.random() < 0.7)
        else:
            gateway.transfer(ACCOUNT, Decimal(random.choice((-300, -50, 100))))

    def _place(self, order: dict[str, Any], **more: Any) -> None:
        self._ask(self.daemon.gateway.place_order(ACCOUNT, {**order, **more}))

    def _ask(self, answer: Deferred[Any]) -> None:
        # A trader takes a refusal, and no answer, for an answer.
        answer.addErrback(lambda failure: failure.trap(GatewayError))


class _Decisions:
    """What a daemon decides on, and what of that it announces.

    :ivar announced: the decisions that came to something.
    """

    def __init__(self) -> None:
        self.announced: list[First] = []
        self._decided: dict[object, First] = {}
        self._patches = MonkeyPatcher()

    def __enter__(self) -> _Decisions:
        for kind in (Enforcer, DryRun):
            self._watch(kind)
        for module, name in _DESCRIBED:
            self._patches.addPatch(module, name, self._described(getattr(module, name)))
        self._patches.patch()
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.restore()

    def _watch(self, kind: Any) -> None:
        flatten, carry_out = kind.flatten, kind.carry_out

        def noted_flatten(acting: Any, *wanted: Flattening) -> None:
            for each in wanted:
                self._note(acting, each.begun, each.begun, each.rule_id, each.reason)
            flatten(acting, *wanted)

        def noted_carry_out(acting: Any, rule_id: str, command: Any) -> None:
            self._note(acting, command, acting._now(), rule_id, command.reason)
            carry_out(acting, rule_id, command)

        self._patches.addPatch(kind, "flatten", noted_flatten)
        self._patches.addPatch(kind, "carry_out", noted_carry_out)

    def _note(self, acting: Any, key: object, at: datetime, rule_id: str, reason: str) -> None:
        state = acting._account.state_with_pending
        self._decided.setdefault(key, First(at, rule_id, reason, net_pnl(state)))

    def _described(self, describe: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **more: Any) -> Any:
            plan = arguments[0]
            key = plan.begun if isinstance(plan, Flattening) else arguments[1]
            # What is done in a lock is no decision.
            self.announced += filter(None, [self._decided.get(key)])
            return describe(*arguments, **more)

        return noted


_DESCRIBED: Final = (
    (enforcer, "flatten_action"),
    (rejections, "rejection_action"),
    (stop_orders, "stop_action"),
    (dry_run, "flatten_action"),
    (dry_run, "rejection_action"),
    (dry_run, "stop_action"),
)
"""What describes each action that is announced, by module."""


def play(plan: Plan) -> dict[str, First | None]:
    """Play a day; return its first enforcement by each way to tell it."""
    found: dict[str, First | None] = {}
    for enforces, name in ((True, "riskd"), (False, "dry run")):
        with _Decisions() as decisions:
            day = Day(plan, enforces=enforces)
            try:
                day.trade(MOST_SECONDS, lambda: bool(decisions.announced))
                day.trade(AFTER_SECONDS)
                recorded = day.daemon.end().read_bytes()
            finally:
                day.daemon.clean_up()
        found[name] = _first(decisions.announced)
        found[f"what-if of a day by {name}"] = _what_if(recorded, day)
    return found


def _what_if(recorded: bytes, day: Day) -> First | None:
    recording = Recording(io.BytesIO(recorded), "day.jsonl")
    return _first(
        First(each.action.timestamp, each.action.rule_id, each.action.reason, each.decided.net_pnl)
        for each in what_if(recording, day.daemon.settings, CATALOGUE)
        if each.decided is not None
    )


def _first(found: Iterable[First]) -> First | None:
    """Return the earliest; of several at one moment the one that was decided on first."""
    return min(found, key=lambda each: each.at, default=None)


def differences(plan: Plan) -> str:
    """Play a day; return what the ways say of its first enforcement if they do not agree, and "" if they do."""
    return _differences(plan, play(plan))


def _differences(plan: Plan, found: dict[str, First | None]) -> str:
    if len({_to_millisecond(each) for each in found.values()}) == 1:
        return ""
    return "\n  ".join([f"day {plan.seed}", *(f"{name}: {each}" for name, each in found.items())])


def _to_millisecond(first: First | None) -> First | None:
    # A replay adds up the seconds in another order.
    if first is None:
        return None
    at = first.at + timedelta(microseconds=2)
    return first._replace(at=at.replace(microsecond=at.microsecond // 1000 * 1000))


def main() -> None:
    """Play as many days as the command line says, from a seed on."""
    days, first = map(int, [*sys.argv[1:], *("50", "1")[len(sys.argv) - 1 :]])
    failed, rules = 0, Counter[str]()
    for plan in map(plan_of, range(first, first + days)):
        found = play(plan)
        first_one = found["riskd"]
        rules["none" if first_one is None else first_one.rule_id] += 1
        if text := _differences(plan, found):
            failed += 1
            show(text)
    counts = ", ".join(f"{rule} {number}" for rule, number in sorted(rules.items()))
    show(f"{days} days, {failed} on which the ways do not agree; first enforcements: {counts}")
    sys.exit(bool(failed))


def show(line: str) -> None:
    """Print a line."""
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
