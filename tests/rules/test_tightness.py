"""Which settings of a rule are tighter than others: its keys say so, and its decisions bear them out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, get_args, get_origin

import msgspec
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState, with_risk
from riskd.model.balance import Balance
from riskd.model.broker import BrokerTrade
from riskd.model.events import Event, OrderType
from riskd.rules.builtin import (
    cooldown_after_loss,
    daily_net_loss,
    daily_profit_target,
    max_contracts,
    max_contracts_per_instrument,
    maximum_loss,
    session_block_outside,
    symbol_blocks,
    trade_frequency_limit,
    trade_management,
    weekly_limits,
)
from riskd.rules.interface import Flatten, Kind, RejectOrder, Rule, RuleResult, Trigger
from riskd.rules.registry import RULES
from riskd.rules.settings import RuleSettings
from riskd.rules.tightness import declaration, loosened
from tests import examples
from tests.support.rules import (
    BUY,
    ES,
    LONG,
    MES,
    MNQ,
    MNQ_DEC,
    RTY,
    SELL,
    SHORT,
    at,
    order,
    position,
    quote,
    settings_of,
    state_after,
    trade,
    trigger,
)


def undeclared(kind: type[msgspec.Struct], *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the keys of settings and of the tables within them that declare no direction."""
    for field in msgspec.structs.fields(kind):
        if field.name in getattr(kind, "FROM_FILES", ()) or declaration(field.type):
            continue
        tables = [each for each in _types(field.type) if issubclass(each, msgspec.Struct)]
        if not tables:
            yield (*path, field.encode_name)
        for table in tables:
            yield from undeclared(table, *path, field.encode_name)


def _types(kind: Any) -> list[type]:
    members = getattr(kind, "__args__", None)
    if members is None:
        return [kind] if inspect.isclass(kind) else []
    return [each for member in members for each in _types(member)]


class DeclarationTests(SynchronousTestCase):
    def test_each_key_of_each_rule_declares_which_way_is_tighter(self) -> None:
        for rule in RULES:
            missing = list(undeclared(rule.settings_type, rule.key))
            self.assertEqual(missing, [], "declare it in the type of the key: Lower, Fixed, ...")

    def test_a_key_that_declares_nothing_has_no_direction(self) -> None:
        class Own(RuleSettings, frozen=True, kw_only=True):
            losses: int = 3

        self.assertEqual(list(undeclared(Own)), [("losses",)])
        for losses in (2, 4):
            (found,) = loosened(Own(losses=losses), Own())
            self.assertEqual((found.path, found.new, found.old), (("losses",), losses, 3))
        self.assertEqual(list(loosened(Own(), Own())), [])
        (off,) = loosened(Own(enabled=False), Own())
        self.assertEqual(off.path, ("enabled",))


def is_tighter(kind: Any, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Return whether a change loosens nothing; keys that are missing in ``new`` are as in ``old``."""
    before = settings_of(kind.Settings, **old)
    return not list(loosened(settings_of(kind.Settings, **{**old, **new}), before))


class DirectionTests(SynchronousTestCase):
    """Pairs of settings of which only one direction is allowed."""

    def assert_one_way(self, kind: Any, loose: dict[str, Any], tight: dict[str, Any]) -> None:
        self.assertTrue(is_tighter(kind, loose, tight), (loose, tight))
        self.assertFalse(is_tighter(kind, tight, loose), (tight, loose))

    def assert_no_way(self, kind: Any, one: dict[str, Any], other: dict[str, Any]) -> None:
        self.assertFalse(is_tighter(kind, one, other), (one, other))
        self.assertFalse(is_tighter(kind, other, one), (other, one))

    def test_numbers_switches_and_choices(self) -> None:
        for loose, tight in (
            ({"loss_limit": "1000"}, {"loss_limit": "999.99"}),
            ({"include_fees": False}, {"include_fees": True}),
            ({"trailing": "none"}, {"trailing": "realized"}),
            ({"trailing": "realized"}, {"trailing": "equity"}),
            ({"action": "CLOSE_ALL_POSITIONS"}, {"action": "CLOSE_ALL_AND_LOCKOUT"}),
            ({"lockout_until": "daily_reset"}, {"lockout_until": "permanent"}),
            ({"reduce_only_at": None}, {"reduce_only_at": 99}),
            ({"reduce_only_at": 80}, {"reduce_only_at": 70}),
            ({"enabled": False}, {"enabled": True}),
        ):
            self.assert_one_way(daily_net_loss, loose, tight)

    def test_weights(self) -> None:
        for loose, tight in (
            # A table makes micros lighter.
            ({"weights": {}}, {"weights": None}),
            ({"weights": {"MBT": "0.02"}}, {"weights": {}}),
            ({"weights": {}}, {"weights": {"mnq": "0.2"}}),
            ({"weights": {"NQ": "1"}}, {"weights": {"nq": "2", "GC": "1.5"}}),
        ):
            self.assert_one_way(max_contracts, loose, tight)
        self.assert_no_way(max_contracts, {"weights": {"ES": "2"}}, {"weights": {"NQ": "2"}})
        self.assertTrue(is_tighter(max_contracts, {"weights": {"MNQ": "0.1"}}, {"weights": {}}))

    def test_tiers(self) -> None:
        def tiers(*pairs: tuple[int, int]) -> list[dict[str, int]]:
            return [{"balance": balance, "limit": limit} for balance, limit in pairs]

        loose = {"limit": 5, "tiers": tiers((50000, 2), (52000, 4))}
        for tight in (
            {"tiers": tiers((50000, 1), (52000, 4))},
            {"tiers": tiers((50000, 2), (52001, 4))},
            {"tiers": tiers((52000, 2))},
            {"limit": 4},
        ):
            self.assert_one_way(max_contracts, loose, {**loose, **tight})
        self.assert_one_way(max_contracts, {"limit": 5, "tiers": None}, loose)
        other = {"limit": 5, "tiers": tiers((50000, 1), (51000, 4))}
        self.assert_no_way(max_contracts, loose, other)

    def test_tables_that_may_be_missing(self) -> None:
        loose = {"target": 1000, "protect": {"arm_at": 500, "floor": 200}}
        for tight in ({"arm_at": 499, "floor": 200}, {"arm_at": 500, "floor": 201}):
            self.assert_one_way(daily_profit_target, loose, {**loose, "protect": tight})
        self.assert_one_way(daily_profit_target, {"target": 1000, "protect": None}, loose)
        loose = {"loss_limit": 1000, "max_entries_and_exits": {"week": 9}}
        for tight in ({"week": 8}, {"week": 9, "day": 4}):
            self.assert_one_way(weekly_limits, loose, {**loose, "max_entries_and_exits": tight})
        self.assert_one_way(weekly_limits, {**loose, "max_entries_and_exits": None}, loose)

    def test_lists_of_tickers(self) -> None:
        self.assert_one_way(
            symbol_blocks, {"blocked_symbols": ["RTY"]}, {"blocked_symbols": ["rty", "CL"]}
        )
        self.assert_no_way(symbol_blocks, {"blocked_symbols": ["ES"]}, {"blocked_symbols": ["NQ"]})
        for loose, tight in (
            ({"limits": {"ES": 2}}, {"limits": {"es": 1}}),
            # Of what is not listed nothing may be held, so a ticker more is looser.
            ({"limits": {"ES": 2, "NQ": 1}}, {"limits": {"ES": 2}}),
            (
                {"unknown_symbol_action": "allow_unlimited"},
                {"limits": {"ES": 2}, "unknown_symbol_action": "allow_unlimited"},
            ),
            (
                {"unknown_symbol_action": "allow_with_limit:3"},
                {"unknown_symbol_action": "allow_with_limit:2"},
            ),
            ({"unknown_symbol_action": "allow_with_limit:3"}, {"unknown_symbol_action": "block"}),
        ):
            self.assert_one_way(max_contracts_per_instrument, {"limits": {}} | loose, tight)

    def test_hours(self) -> None:
        day = {"start": "08:30", "end": "15:00"}
        night = {"start": "17:00", "end": "15:10"}
        self.assert_one_way(
            session_block_outside, {"allowed_hours": night}, {"allowed_hours": day}
        )
        later = {"start": "08:30", "end": "15:11"}
        self.assert_no_way(
            session_block_outside, {"allowed_hours": night}, {"allowed_hours": later}
        )
        # The night before a holiday in a list is closed, and the hours of the day after it would not be.
        self.assertFalse(
            is_tighter(
                session_block_outside,
                {"allowed_hours": night, "holidays": [date(2025, 7, 16)]},
                {"allowed_hours": day},
            )
        )
        self.assert_no_way(
            session_block_outside, {"timezone": "America/Chicago"}, {"timezone": "US/Eastern"}
        )
        some = {"holidays": [date(2025, 7, 16)]}
        more = {"holidays": [date(2025, 7, 16), date(2025, 7, 17)]}
        self.assert_one_way(session_block_outside, some, more)
        self.assert_one_way(session_block_outside, {"holidays": []}, {"holidays": "CME"})
        self.assert_no_way(session_block_outside, some, {"holidays": "CME"})

    def test_sessions_of_single_products(self) -> None:
        long = {"sessions": {"ES": {"start": "08:30", "end": "15:00"}}}
        short = {"sessions": {"es": {"start": "09:00", "end": "14:00"}}}
        self.assert_one_way(session_block_outside, long, short)
        # Hours of its own take a product out of the account's, and lock nothing.
        self.assert_one_way(session_block_outside, long, {"sessions": {}})
        elsewhere = {**long["sessions"]["ES"], "timezone": "America/New_York"}
        self.assert_no_way(session_block_outside, long, {"sessions": {"ES": elsewhere}})

    def test_floors(self) -> None:
        for loose, tight in (
            ({"drawdown": "2000"}, {"drawdown": "1999"}),
            ({"trailing": "static"}, {"trailing": "intraday"}),
            ({"trailing": "static"}, {"trailing": "end_of_day"}),
            ({"stops_at": "start"}, {"stops_at": "never"}),
            ({"stops_at": "50000"}, {"stops_at": "50100"}),
            ({"starting_balance": "50000"}, {"starting_balance": "50001"}),
            (
                {"starting_balance": "50000", "stops_at": "start"},
                {"stops_at": "50000.01"},
            ),
            ({"buffer": "50"}, {"buffer": "60"}),
            ({"after_payout": "keep"}, {"after_payout": "zero"}),
            (
                {"starting_balance": "0", "after_payout": "zero"},
                {"after_payout": "start"},
            ),
        ):
            self.assert_one_way(maximum_loss, loose, {**loose, **tight})
        for one, other in (
            ({"trailing": "intraday"}, {"trailing": "end_of_day"}),
            ({"buffer": None}, {"buffer": "50"}),
            ({"starting_balance": None}, {"starting_balance": "50000"}),
            ({"stops_at": "start"}, {"stops_at": "50000"}),
            ({"after_payout": "zero"}, {"after_payout": "start"}),
            # A smaller drawdown would bring the stage nearer to the floor.
            (
                {"drawdown": "2000", "reduce_only_at": 80},
                {"drawdown": "1000", "reduce_only_at": 80},
            ),
        ):
            self.assertFalse(is_tighter(maximum_loss, one, other), (one, other))

    def test_steps_of_losses(self) -> None:
        def steps(*pairs: tuple[str, int]) -> dict[str, Any]:
            rows = [{"loss_amount": loss, "cooldown_duration": length} for loss, length in pairs]
            return {"loss_thresholds": rows}

        loose = steps(("100", 300), ("200", 900))
        for tight in (
            steps(("100", 300), ("200", 901)),
            steps(("99", 300), ("200", 900)),
            steps(("100", 300), ("150", 600), ("200", 900)),
            steps(("50", 900)),
        ):
            self.assert_one_way(cooldown_after_loss, loose, tight)
        self.assert_no_way(cooldown_after_loss, loose, steps(("50", 300)))
        # A larger loss may have the shorter cooldown.
        self.assert_one_way(
            cooldown_after_loss, steps(("100", 900), ("200", 300)), steps(("100", 900))
        )

    def test_trades_and_cooldowns(self) -> None:
        loose = {"max_trades": 3, "time_window_minutes": 10, "cooldown_seconds": 60}
        for tight in ({"max_trades": 2}, {"time_window_minutes": 11}, {"cooldown_seconds": 61}):
            self.assert_one_way(trade_frequency_limit, loose, tight)
        loose = {"limits": {"per_hour": 5}, "cooldown_on_breach": {"per_hour_breach": 60}}
        for tight in (
            {"limits": {"per_hour": 4}},
            {"limits": {"per_hour": 5, "per_minute": 2}},
            {"cooldown_on_breach": {"per_hour_breach": 61}},
        ):
            self.assert_one_way(trade_frequency_limit, loose, {**loose, **tight})
        # Without a key its default counts, which is 30 in an hour.
        self.assertFalse(is_tighter(trade_frequency_limit, {}, {"max_trades": 40}))

    def test_a_key_in_a_table_is_named_with_the_table(self) -> None:
        stop = {"trailing_stop": {"enabled": True, "trail_distance_ticks": 10}}
        before = settings_of(trade_management.Settings, **stop)
        stop["trailing_stop"]["trail_distance_ticks"] = 11
        (found,) = loosened(settings_of(trade_management.Settings, **stop), before)
        self.assertEqual(found, (("trailing_stop", "trail_distance_ticks"), 11, 10, "or less"))


AMOUNTS = st.sampled_from(
    [Decimal(each) for each in ("50", "100", "100.01", "250", "500", "1000")]
)
TICKERS = st.sampled_from(["ES", "MES", "MNQ", "rty"])
HOURS = st.sampled_from(["00:00", "07:00", "08:30", "12:00", "15:00", "17:00", "23:30"])
WINDOWS = st.tuples(HOURS, HOURS).filter(lambda pair: pair[0] != pair[1])
DAYS = st.lists(st.dates(date(2025, 7, 14), date(2025, 7, 20)), max_size=2, unique=True).map(tuple)

KEYS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "max_contracts": {
        "limit": st.integers(1, 4),
        "weights": st.none()
        | st.dictionaries(
            st.sampled_from(["ES", "MES", "MNQ", "RTY"]),
            st.sampled_from([Decimal("0.1"), Decimal("0.5"), Decimal(2)]),
        ),
    },
    "max_contracts_per_instrument": {
        "limits": st.dictionaries(st.sampled_from(["ES", "MES", "MNQ"]), st.integers(1, 4)),
        "unknown_symbol_action": st.sampled_from(
            ["block", "allow_unlimited", "allow_with_limit:1", "allow_with_limit:3"]
        ),
    },
    "maximum_loss": {
        "drawdown": st.sampled_from([Decimal(1000), Decimal(1500), Decimal(2000)]),
        "starting_balance": st.none()
        | st.sampled_from([Decimal(0), Decimal(49000), Decimal(50000)]),
        "stops_at": st.sampled_from(["start", "never", "0", "49500", "50000", "50100.00"]),
        "buffer": st.none() | st.sampled_from([Decimal(0), Decimal(50), Decimal(200)]),
    },
    "trade_frequency_limit": {
        "max_trades": st.integers(1, 4),
        "time_window_minutes": st.integers(1, 4),
        "cooldown_seconds": st.integers(60, 63),
        "limits": st.just(msgspec.UNSET),
        "cooldown_on_breach": st.just(msgspec.UNSET),
    },
    "cooldown_after_loss": {
        "loss_threshold": st.just(msgspec.UNSET),
        "cooldown_seconds": st.just(msgspec.UNSET),
        "loss_thresholds": st.lists(
            st.builds(
                cooldown_after_loss.Tier,
                loss_amount=st.sampled_from([Decimal(50), Decimal(100), Decimal(250)]),
                cooldown_duration=st.integers(60, 63),
            ),
            min_size=1,
            max_size=3,
            unique_by=lambda tier: tier.loss_amount,
        ).map(tuple),
    },
    "session_block_outside": {
        "allowed_hours": WINDOWS.map(
            lambda pair: session_block_outside.Hours(start=pair[0], end=pair[1])
        ),
        "timezone": st.sampled_from(["America/Chicago", "Europe/Berlin"]),
        "sessions": st.dictionaries(
            st.sampled_from(["ES", "MNQ"]),
            st.builds(
                lambda pair, zone: session_block_outside.Session(
                    start=pair[0], end=pair[1], timezone=zone
                ),
                WINDOWS,
                st.sampled_from([None, "America/Chicago"]),
            ),
        ),
        "holidays": DAYS | st.just("CME"),
    },
    "symbol_blocks": {"blocked_symbols": st.lists(TICKERS, max_size=3).map(tuple)},
    "news_blackout": {
        "file": st.sampled_from(["news.toml", "other.toml"]),
        "minutes_before": st.integers(0, 60),
        "minutes_after": st.integers(0, 60),
    },
    "trade_management": {
        "stop_loss_ticks": st.integers(1, 40),
        "auto_breakeven": st.builds(
            lambda enabled, ticks, offset: trade_management.Breakeven(
                enabled=enabled, profit_trigger_ticks=ticks, offset_ticks=min(offset, ticks - 1)
            ),
            st.booleans(),
            st.integers(1, 20),
            st.integers(0, 10),
        ),
        "trailing_stop": st.builds(
            trade_management.Trailing,
            enabled=st.booleans(),
            activation_ticks=st.integers(1, 20),
            trail_distance_ticks=st.integers(1, 20),
        ),
    },
}
"""Values of keys whose types say too little."""

PLAIN: dict[Any, list[Any]] = {
    bool: [False, True],
    int: [1, 2, 3, 10, 30, 60, 90],
    Decimal: [Decimal(each) for each in ("50", "100", "100.01", "250", "500", "1000")],
    type(None): [None],
    msgspec.UnsetType: [msgspec.UNSET],
}

NEWS = {
    "news.toml": """
until = 2025-07-20
[[news]]
at = 2025-07-17T12:30:00Z
[[news]]
at = 2025-07-17T13:30:00Z
tickers = ["MNQ"]
importance = "medium"
""",
    "other.toml": "until = 2025-07-20\n",
}


def values_of(rule: Rule) -> dict[str, st.SearchStrategy[Any]]:
    """Return a strategy for each key of a rule."""
    computed = getattr(rule.settings_type, "FROM_FILES", ())
    own = KEYS.get(rule.key, {})
    return {
        field.name: own[field.name]
        if field.name in own
        else st.sampled_from(plain_values(field.type))
        for field in msgspec.structs.fields(rule.settings_type)
        if field.name not in computed
    }


def plain_values(kind: Any) -> list[Any]:
    """Return values of a type: all that it has, or some."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if members := get_args(kind):
        return [value for each in members for value in plain_values(each)]
    if inspect.isclass(kind) and issubclass(kind, StrEnum):
        return list(kind)
    return PLAIN.get(kind, [])


@st.composite
def pairs(draw: Any, rule: Rule) -> tuple[Any, Any]:
    """Return settings of a rule, and others that are at least as tight."""
    values = values_of(rule)
    old = {name: draw(each) for name, each in values.items()}
    changed = draw(st.sets(st.sampled_from(sorted(values)), min_size=1))
    new = {name: draw(values[name]) if name in changed else value for name, value in old.items()}
    old["enabled"] = new["enabled"] = True
    found = []
    for table in (old, new):
        try:
            found.append(rule.settings_type(**table))
        except ValueError:
            assume(False)
    before, after = found
    assume(not list(loosened(after, before)))
    return before.with_files(NEWS.__getitem__), after.with_files(NEWS.__getitem__)


CONTRACTS = {MNQ: "21000", MNQ_DEC: "21100", ES: "5800", MES: "5800", RTY: "2200"}


@st.composite
def moments(draw: Any) -> tuple[AccountState, Trigger]:
    """Return an account in which much may have happened, and a trigger."""
    events: list[Event] = []
    for contract_id, price in CONTRACTS.items():
        size = draw(st.integers(0, 4))
        if size:
            side = draw(st.sampled_from([LONG, SHORT]))
            opened = -draw(st.sampled_from([0, 20, 45, 3600, 40000]))
            events.append(position(contract_id, size, side, price, opened=opened, seconds=0))
            offset = draw(st.integers(-40, 40))
            events.append(quote(contract_id, str(Decimal(price) + offset), 1))
        if draw(st.booleans()):
            kind = draw(st.sampled_from([OrderType.LIMIT, OrderType.STOP]))
            limit = str(Decimal(price) + draw(st.integers(-40, 40)))
            side = draw(st.sampled_from([BUY, SELL]))
            number = draw(st.integers(1, 4))
            events.append(
                order(len(events) + 1, contract_id, side, number, kind=kind, price=limit)
            )
    losses = draw(st.lists(st.tuples(st.integers(-400, 0), st.integers(-600, 300)), max_size=6))
    events += [
        trade(number, str(pnl), seconds) for number, (seconds, pnl) in enumerate(sorted(losses))
    ]
    state = with_risk(state_after(*events), can_trade=draw(st.booleans()))
    figures = {
        name: draw(st.integers(0, 2000).map(Decimal))
        for name in ("charges", "high_realized", "payouts")
    }
    figures["high_net"] = figures["high_realized"] + draw(st.integers(0, 500))
    balance = Balance(
        agreed=draw(st.integers(47000, 53000).map(Decimal)),
        first=draw(st.sampled_from([Decimal(-100), Decimal(0), Decimal(50000)])),
        peak=draw(st.none() | st.integers(49000, 53000).map(Decimal)),
        earlier_close=draw(st.none() | st.integers(49000, 53000).map(Decimal)),
        **figures,
    )
    state = msgspec.structs.replace(state, balance=balance)
    seconds = draw(st.sampled_from([2, 30, 60, 1800, 2 * 3600, 20 * 3600, 40 * 3600]))
    latest = max(state.trades.values(), key=lambda each: each.id, default=None)
    if isinstance(latest, BrokerTrade) and draw(st.booleans()):
        return state, trigger(Kind.TRADE, 0, latest)
    return state, trigger(Kind.REVIEW, seconds, reset=at(seconds) + timedelta(hours=1))


def assert_as_tight(rule: Rule, state: AccountState, new: RuleResult, old: RuleResult) -> None:
    """Check that one result does whatever the other does, or more."""
    closes = [each for each in new.commands if isinstance(each, Flatten)]
    locks = [each.lock for each in closes if each.lock is not None]
    canceled = {each.order_id for each in new.commands if isinstance(each, RejectOrder)}
    closed = {
        contract_id
        for each in closes
        for contract_id in CONTRACTS
        if each.keep is None or each.keep.get(contract_id) == 0
    }
    for command in old.commands:
        if isinstance(command, Flatten):
            assert closes, (command, new)
            # Which contracts an excess is taken from depends on the weights, too.
            if command.keep is not None and rule is not max_contracts.RULE:
                gone = {each for each, kept in command.keep.items() if not kept}
                assert gone <= closed, (command, new)
            if command.lock is not None:
                until = command.lock.until
                assert any(
                    lock.until is None or (until is not None and lock.until >= until)
                    for lock in locks
                ), (command, new)
        elif isinstance(command, RejectOrder):
            is_closed = state.orders[command.order_id].contract_id in closed
            assert command.order_id in canceled or is_closed, (command, new)
    if old.reduce_only:
        assert new.reduce_only, (new, old)


def _tested(rule: Rule) -> Any:
    @settings(
        max_examples=examples(40),
        deadline=None,
        # Few pairs of a table with many keys are tighter in each of them.
        suppress_health_check=[HealthCheck.filter_too_much],
    )
    @given(pairs(rule), moments())
    def test(self: SynchronousTestCase, pair: tuple[Any, Any], moment: Any) -> None:
        old, new = pair
        state, asked = moment
        assert_as_tight(rule, state, rule.check(state, new, asked), rule.check(state, old, asked))

    test.__doc__ = f"Whatever breaches {rule.key} breaches tighter settings of it."
    return test


class BreachTests(SynchronousTestCase):
    """A test for each rule; :class:`DirectionTests` has what no single moment shows."""


for _rule in RULES:
    if _rule is not trade_management.RULE:
        setattr(BreachTests, f"test_{_rule.key}", _tested(_rule))
