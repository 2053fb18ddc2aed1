"""Rules that are spared quotes decide what they would decide if they were asked about each."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, apply
from riskd.model.balance import Balance
from riskd.model.equity import to_next_high, with_highs
from riskd.model.events import Event, EventData, MarketQuote, OrderSide
from riskd.rules.builtin import (
    consistency,
    daily_net_loss,
    daily_profit_target,
    daily_unrealized_loss,
    max_unrealized_profit,
    maximum_loss,
    no_stop_loss_grace,
    trade_management,
    weekly_limits,
)
from riskd.rules.evaluation import Decision, RuleInForce, evaluate
from riskd.rules.headroom import MOST_POSITIONS, SparedRules
from riskd.rules.interface import (
    NOTHING,
    OWN_STOP_TAG,
    ChangeStop,
    Flatten,
    Headroom,
    Kind,
    PlaceStop,
    Rule,
    RuleResult,
    Trigger,
    WithdrawStop,
)
from tests import examples
from tests.support.rules import (
    ACCOUNT,
    BUY,
    ES,
    LONG,
    MES,
    MNQ,
    RESET,
    SELL,
    SHORT,
    Script,
    at,
    canceled,
    order,
    position,
    quote,
    settings_of,
    state_after,
    trade,
    trigger,
)

STARTS = {MNQ: Decimal(21000), MES: Decimal(5800)}
TICK = Decimal("0.25")

WALK = 25
"""How many quotes there are in a walk."""

_TRAILING = {"enabled": True, "activation_ticks": 4, "trail_distance_ticks": 3}
_BREAKEVEN = {"enabled": True, "profit_trigger_ticks": 5}
TABLES: dict[Rule, list[dict[str, Any]]] = {
    daily_unrealized_loss.RULE: [
        {"loss_limit": Decimal(20)},
        {"loss_limit": Decimal("33.33"), "scope": "total"},
    ],
    max_unrealized_profit.RULE: [
        {"profit_target": Decimal(25)},
        {"profit_target": Decimal(40), "scope": "total"},
        {"mode": "breakeven"},
    ],
    maximum_loss.RULE: [
        {"drawdown": Decimal(60), "starting_balance": Decimal(5000)},
        {"drawdown": Decimal(90), "trailing": "intraday", "reduce_only_at": 50},
    ],
    weekly_limits.RULE: [
        {"loss_limit": Decimal(50), "profit_target": Decimal(30)},
        {"profit_target": Decimal(45)},
    ],
    daily_net_loss.RULE: [
        {"loss_limit": Decimal(40), "reduce_only_at": 60},
        {"loss_limit": Decimal(45), "trailing": "equity"},
    ],
    daily_profit_target.RULE: [
        {"target": Decimal(50), "action": "CLOSE_ALL_POSITIONS"},
        {"protect": {"arm_at": Decimal(20), "floor": Decimal(5)}, "action": "CLOSE_ALL_POSITIONS"},
        {"target": Decimal(60), "protect": {"arm_at": Decimal(20), "floor": Decimal(5)}},
    ],
    consistency.RULE: [{"stop_for_today": True}],
    no_stop_loss_grace.RULE: [{"grace_period_seconds": 5}],
    trade_management.RULE: [
        {"enabled": True, "stop_loss_ticks": 12, "trailing_stop": _TRAILING},
        {"enabled": True, "auto_stop_loss": False, "auto_breakeven": _BREAKEVEN},
        {"enabled": True, "stop_loss_ticks": 9},
    ],
}
"""Tables of each rule, with limits that small moves reach."""

rules_in_force = st.tuples(
    *(
        st.none() | st.sampled_from(tables).map(lambda table, rule=rule: (rule, table))
        for rule, tables in TABLES.items()
    )
).map(
    lambda chosen: tuple(
        RuleInForce(rule, settings_of(rule.settings_type, **table))
        for rule, table in filter(None, chosen)
    )
)

contracts = st.sampled_from([MNQ, MES])
waits = st.sampled_from([0, 0, 0, 0.5, 1, 3, 11])
# Of lists hypothesis draws mostly short ones, so a long walk is drawn from a seed.
walks = st.tuples(st.just("walk"), st.integers(min_value=0, max_value=2**32))
quotes = st.tuples(
    st.just("quote"),
    contracts,
    st.integers(min_value=-3, max_value=3),
    st.sampled_from([1, 1, 1, 2, 150]),
    st.sampled_from(["plain", "plain", "old", "far", "zero", "one-sided"]),
)
holds = st.tuples(st.just("hold"), contracts, st.integers(-3, 3), st.integers(-3, 3))
others = (
    holds
    | st.tuples(st.just("order"), contracts, st.booleans(), st.integers(1, 3))
    | st.tuples(st.just("cancel"), st.integers(1, 6))
    | st.tuples(st.just("trade"), st.integers(-20, 20))
    | st.just(("review",))
)
steps = st.tuples(waits, walks | walks | quotes | others)
courses = st.tuples(
    st.lists(st.tuples(st.just(0.0), holds), min_size=1, max_size=2),
    st.lists(steps, min_size=3, max_size=15),
).map(lambda parts: [*parts[0], *parts[1]])


class Answer(NamedTuple):
    """What a rule has returned last, besides commands and memory."""

    wake_at: datetime | None
    warnings: tuple[str, ...]
    problem: str
    reduce_only: str


class Account:
    """An account whose rules are evaluated as the risk engine does it.

    :ivar asked: how many checks there were at quotes.
    """

    def __init__(self, rules: tuple[RuleInForce, ...], *, spares: bool) -> None:
        self.rules, self.spares = rules, spares
        self.spared = SparedRules()
        balance = Balance(agreed=Decimal(5000), first=Decimal(5000), is_settled=True)
        self.state = msgspec.structs.replace(AccountState(account_id=ACCOUNT), balance=balance)
        self.decided: list[tuple[datetime, Decision]] = []
        self.answers: dict[str, Answer] = {}
        self.prices = dict(STARTS)
        self.now, self.number, self.asked = 0.0, 0, 0

    def play(self, wait: float, step: tuple[Any, ...]) -> None:
        self.now += wait
        self.wake()
        kind, *arguments = step
        getattr(self, kind)(*arguments)

    def walk(self, seed: int) -> None:
        """Let plain quotes come, a second apart."""
        random = Random(seed)
        for _ in range(WALK):
            step = ("quote", random.choice([MNQ, MNQ, MES]), random.randint(-2, 2), 1, "plain")
            self.play(1, step)

    def quote(self, contract_id: str, ticks: int, spread: int, form: str) -> None:
        last = self.prices[contract_id] = self.prices[contract_id] + ticks * TICK
        bid, ask = last - TICK, last + (spread - 1) * TICK
        if form == "far":
            last += 1000
        elif form == "zero":
            last = Decimal(0)
        elif form == "one-sided":
            ask = Decimal(0)
        seconds = self.now - (12 if form == "old" else 0)
        self.happen(Kind.QUOTE, MarketQuote(contract_id, bid, ask, last, at(seconds)))

    def hold(self, contract_id: str, size: int, off: int) -> None:
        known = self.state.positions.get(contract_id)
        side = SHORT if size < 0 else LONG
        is_same = known is not None and known.size and known.type is side
        opened = known.created_at if known is not None and is_same else at(self.now)
        # Some prices lie between ticks, as averages do.
        price = self.prices[contract_id] + off * TICK / 3
        event = position(contract_id, abs(size), side, f"{price:.6f}", seconds=self.now)
        self.happen(Kind.POSITION, msgspec.structs.replace(event.data, created_at=opened))

    def order(self, contract_id: str, is_buy: bool, size: int) -> None:
        self.number += 1
        side = BUY if is_buy else SELL
        price = self.prices[contract_id] + (9 if is_buy else -9) * TICK
        event = order(self.number, contract_id, side, size, price=str(price), seconds=self.now)
        self.happen(Kind.ORDER, event.data)

    def cancel(self, number: int) -> None:
        if number in self.state.orders:
            known = Event(ACCOUNT, self.state.orders[number])
            self.happen(Kind.ORDER, canceled(known, self.now).data)

    def trade(self, pnl: int) -> None:
        self.number += 1
        self.happen(Kind.TRADE, trade(1000 + self.number, str(pnl), self.now).data)

    def review(self) -> None:
        self.evaluate(Kind.REVIEW)

    def wake(self) -> None:
        now = at(self.now)
        due = [slot for slot, each in self.answers.items() if each.wake_at and each.wake_at <= now]
        for slot in due:
            self.answers[slot] = self.answers[slot]._replace(wake_at=None)
        if due:
            self.evaluate(Kind.TIMER, due=due)

    def happen(self, kind: Kind, data: EventData) -> None:
        after = apply(self.state, Event(ACCOUNT, data))
        if after is self.state:
            return
        self.state = after
        if isinstance(data, MarketQuote):
            held = after.positions.get(data.contract_id)
            if held is None or not held.size:
                return
            if self.spares and self.spared.are_all(after, data, at(self.now)):
                return
        self.evaluate(kind, data)

    def evaluate(
        self, kind: Kind, subject: EventData | None = None, due: list[str] | None = None
    ) -> None:
        now = at(self.now)
        self.state = checked = with_highs(self.state)
        trigger = Trigger(kind=kind, now=now, next_reset=RESET, subject=subject)
        is_quote = self.spares and isinstance(subject, MarketQuote)
        evaluation = evaluate(
            checked,
            self.rules,
            trigger,
            due=due or (),
            spared=self.spared.slots(checked, subject, now) if is_quote else (),
        )
        assert not evaluation.faults, evaluation.faults
        self.asked += len(evaluation.results) if kind is Kind.QUOTE else 0
        self.state = evaluation.state
        room = to_next_high(self.state)
        highs = None if room is None else Headroom(up=room)
        self.spared.note(checked, self.state, self.rules, trigger, evaluation, highs)
        for slot, result in evaluation.results.items():
            known = self.answers.get(slot)
            why = result.reduce_only
            if why is None:
                why = "" if known is None else known.reduce_only
            self.answers[slot] = Answer(result.wake_at, result.warnings, result.problem, why)
        for decision in evaluation.decisions:
            self.decided.append((now, decision))
            self.carry_out(decision)

    def carry_out(self, decision: Decision) -> None:
        """Place, change and cancel stops; what is to be closed stays, as if the broker was slow."""
        command = decision.command
        if isinstance(command, PlaceStop):
            self.number += 1
            side = OrderSide.BUY if command.side is BUY else OrderSide.SELL
            event = order(
                self.number,
                command.contract_id,
                side,
                command.size,
                price=str(command.stop_price),
                seconds=self.now,
                custom_tag=OWN_STOP_TAG,
            )
            self.state = apply(self.state, event)
        elif isinstance(command, ChangeStop):
            known = self.state.orders[command.order_id]
            changed = msgspec.structs.replace(
                known, size=command.size, stop_price=command.stop_price, updated_at=at(self.now)
            )
            self.state = apply(self.state, Event(ACCOUNT, changed))
        elif isinstance(command, WithdrawStop):
            known = self.state.orders[command.order_id]
            self.state = apply(self.state, canceled(Event(ACCOUNT, known), self.now))


class RandomCourseTests(SynchronousTestCase):
    @settings(max_examples=examples(50), deadline=None)
    @given(rules_in_force, courses)
    def test_sparing_changes_nothing(
        self, rules: tuple[RuleInForce, ...], course: list[tuple[float, tuple[Any, ...]]]
    ) -> None:
        asked, spared = Account(rules, spares=False), Account(rules, spares=True)
        for step in course:
            asked.play(*step)
            spared.play(*step)
            self.assertEqual(spared.decided, asked.decided, step)
            self.assertEqual(spared.state, asked.state, step)
            self.assertEqual(spared.answers, asked.answers, step)
        self.assertLessEqual(spared.asked, asked.asked)


class Spared:
    """Scripted rules on an account that is long 1 MNQ and 1 MES, and how often quotes ask them."""

    def __init__(self, *results: RuleResult, orders: tuple[Event, ...] = ()) -> None:
        self.scripts = [
            Script(f"A-{number}", result, listens=[Kind.QUOTE])
            for number, result in enumerate(results)
        ]
        self.rules = tuple(script.in_force() for script in self.scripts)
        self.spared = SparedRules()
        held = (position(MNQ, 1, price="21000"), position(MES, 1, price="5800"))
        self.state = state_after(*held, *orders)
        self.receive(MES, "5800")
        self.receive(MNQ, "21000")

    def asks(self, contract_id: str, last: str, seconds: float = 1, **other: Any) -> list[int]:
        """Return how often each rule is asked about a quote."""
        before = [len(script.states) for script in self.scripts]
        self.receive(contract_id, last, seconds, **other)
        return [len(script.states) - was for script, was in zip(self.scripts, before, strict=True)]

    def receive(self, contract_id: str, last: str, seconds: float = 1, **other: Any) -> None:
        fields = msgspec.structs.asdict(quote(contract_id, last, seconds).data)
        data = MarketQuote(**{**fields, **other})
        self.state = apply(self.state, Event(ACCOUNT, data))
        if not self.spared.are_all(self.state, data, at(seconds)):
            self.ask(trigger(Kind.QUOTE, seconds, data))

    def ask(self, on: Trigger) -> None:
        spared = ()
        if isinstance(on.subject, MarketQuote):
            spared = self.spared.slots(self.state, on.subject, on.now)
        evaluation = evaluate(self.state, self.rules, on, spared=spared)
        self.spared.note(self.state, evaluation.state, self.rules, on, evaluation)
        self.state = evaluation.state


def room(down: str | None = None, up: str | None = None, **other: Any) -> RuleResult:
    limits = [None if each is None else Decimal(each) for each in (down, up)]
    return RuleResult(headroom=Headroom(*limits), **other)


class SparedRulesTests(SynchronousTestCase):
    def test_a_rule_is_asked_when_the_market_has_used_its_headroom(self) -> None:
        # MNQ makes $2 a point; each of the two positions has a half.
        account = Spared(room("40", "20"))
        self.assertEqual(account.asks(MNQ, "20990.25"), [0])
        self.assertEqual(account.asks(MNQ, "21004.75"), [0])
        self.assertEqual(account.asks(MNQ, "21005"), [1])
        self.assertEqual(account.asks(MNQ, "20994.75"), [1])
        # MES makes $5 a point.
        self.assertEqual(account.asks(MES, "5796.25"), [0])
        self.assertEqual(account.asks(MES, "5796"), [1])

    def test_a_headroom_of_one_position_is_its_own(self) -> None:
        account = Spared(RuleResult(headroom={MNQ: Headroom(down=Decimal(20)), MES: Headroom()}))
        self.assertEqual(account.asks(MNQ, "20990.25"), [0])
        self.assertEqual(account.asks(MES, "5000"), [0])
        self.assertEqual(account.asks(MNQ, "20990"), [1])

    def test_only_the_rules_whose_headroom_is_used_are_asked(self) -> None:
        account = Spared(room("40"), room("400"), room())
        self.assertEqual(account.asks(MNQ, "20980"), [1, 0, 0])
        self.assertEqual(account.asks(MNQ, "20979.75"), [0, 0, 0])
        self.assertEqual(account.asks(MNQ, "20850"), [1, 1, 0])

    def test_a_rule_that_names_none_is_asked_at_each_quote(self) -> None:
        """So are rules of a user's own that were written before there was a headroom."""
        account = Spared(room(), NOTHING)
        self.assertEqual([account.asks(MNQ, "21000") for _ in range(3)], [[0, 1]] * 3)

    def test_a_rule_that_acts_or_warns_is_asked_at_each_quote(self) -> None:
        for other in ({"warnings": ("w",)}, {"commands": (Flatten(reason="r"),)}):
            account = Spared(room(**other))
            self.assertEqual([account.asks(MNQ, "21000") for _ in range(2)], [[1]] * 2, other)

    def test_a_rule_that_fails_is_asked_at_each_quote(self) -> None:
        account = Spared(room())
        account.scripts[0].result = ZeroDivisionError()
        account.state = state_after(trade(1, "5"), state=account.state)
        self.assertEqual([account.asks(MNQ, "21000") for _ in range(2)], [[1]] * 2)

    def test_all_are_asked_when_anything_but_a_price_has_changed(self) -> None:
        for event in (trade(1, "5"), order(1), position(ES, 1, price="5800"), position(MNQ, 2)):
            account = Spared(room(), room())
            account.state = state_after(event, state=account.state)
            self.assertEqual(account.asks(MNQ, "21000.25"), [1, 1], event)

    def test_all_are_asked_about_a_quote_that_rules_weigh(self) -> None:
        """Its last price is not the mark, or its bid is not the price of an exit."""
        account = Spared(room())
        self.assertEqual(account.asks(MNQ, "0"), [1])
        for other in (
            {"bid": Decimal(0)},
            {"ask": Decimal(0)},
            {"bid": Decimal(20900), "ask": Decimal(20950)},
            {"ask": Decimal("21025.25")},
            {"timestamp": at(0)},
        ):
            account = Spared(room())
            self.assertEqual(account.asks(MNQ, "21000", 10.5, **other), [1], other)

    def test_all_are_asked_when_the_quote_of_another_position_has_become_old(self) -> None:
        account = Spared(room())
        self.assertEqual(account.asks(MNQ, "21000", 11), [0])
        self.assertEqual(account.asks(MNQ, "21000", 11.5), [1])

    def test_all_are_asked_when_a_rule_wants_to_be_or_the_day_ends(self) -> None:
        self.assertEqual(Spared(room(wake_at=at(5))).asks(MNQ, "21000", 5), [1])
        self.assertEqual(Spared(room(wake_at=at(5))).asks(MNQ, "21000", 4.75), [0])
        for reset in (at(3), RESET):
            account = Spared(room())
            account.ask(trigger(Kind.REVIEW, 2, reset=reset))
            self.assertEqual(account.asks(MNQ, "21000", 3), [int(reset is not RESET)])

    def test_all_are_asked_about_a_market_that_was_not_seen(self) -> None:
        """While the rules are not evaluated, quotes come and go."""
        account = Spared(room("40"))
        account.state = state_after(quote(MES, "5700", 2), state=account.state)
        self.assertEqual(account.asks(MNQ, "21000", 3), [1])

    def test_what_a_rule_remembers_concerns_no_other(self) -> None:
        account = Spared(room("40", memory="1"), room())
        self.assertEqual(account.asks(MNQ, "20980"), [1, 0])
        account.scripts[0].result = room("40", memory="2")
        self.assertEqual(account.asks(MNQ, "20960"), [1, 0])
        self.assertEqual(account.asks(MNQ, "20960"), [0, 0])

    def test_with_many_positions_all_are_asked(self) -> None:
        """Each would have a part of the headroom that is hardly any."""
        for more in (0, 1):
            held = [
                event
                for number in range(MOST_POSITIONS - 2 + more)
                for event in (
                    position(f"CON.F.US.MNQ.Z{number:02}", 1),
                    quote(f"CON.F.US.MNQ.Z{number:02}", "21000", 1),
                )
            ]
            account = Spared(room(), orders=tuple(held))
            self.assertEqual(account.asks(MNQ, "21000.25"), [more])
