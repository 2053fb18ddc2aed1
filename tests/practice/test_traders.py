"""The practice traders: how they open, protect and close positions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial
from random import Random
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway import mapping
from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError
from riskd.model.contracts import Contract
from riskd.model.events import GatewayUserPosition
from riskd.practice.exchange import Exchange
from riskd.practice.market import STEP_SECONDS, Market
from riskd.practice.records import Quote
from riskd.practice.traders import Cancel, Close, Place, Trader, TraderAction, carry_out
from tests import in_one_runner
from tests.support.practice_exchange import without_faults
from tests.support.practice_gateway import (
    ACCOUNTS,
    ES,
    ORDER,
    POSITION,
    TRADE,
    GatewayDriver,
    GatewayTestCase,
    payloads_of,
)
from tests.support.waiting import step_until

ACCOUNT = 123
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
MAX_SIZE = 3
OVERSIZES = {4, 5, 6}
ONE_MINUTE = int(60 / STEP_SECONDS)
SEEDS = range(25)


class TraderDriver:
    """A trader on the practice exchange and market, step by step.

    An action that the exchange refuses is an error: a trader does nothing impossible.
    """

    def __init__(self, seed: int) -> None:
        self.market = Market(Random(f"{seed} market"), date(2026, 3, 2))
        self.exchange = Exchange(
            {ACCOUNT: "PRACTICE"}, self.market.contracts, self.market.fees, without_faults()
        )
        self.trader = Trader(self.market.contracts, Random(f"{seed} trader"))
        self.now = NOW
        self.messages: list[tuple[str, Payload]] = []
        for contract_id, quote in self.market.opening():
            self.exchange.move_market(contract_id, quote, self.now)

    def step(self) -> list[TraderAction]:
        self.now += timedelta(seconds=STEP_SECONDS)
        for contract_id, quote in self.market.step():
            self.exchange.move_market(contract_id, quote, self.now)
        actions = self.trader.step(
            self.positions(), self.orders(), self.exchange.quote, self.order
        )
        for action in actions:
            self.carry_out(action)
        self.messages += [
            (target, payload) for target, _id, payload in self.exchange.take_messages()
        ]
        return actions

    def carry_out(self, action: TraderAction) -> None:
        carry_out(self.exchange, ACCOUNT, action, self.now)

    def positions(self) -> list[Payload]:
        return self.exchange.store.open_positions(ACCOUNT)

    def orders(self) -> list[Payload]:
        return self.exchange.store.open_orders(ACCOUNT)

    def order(self, order_id: int) -> Payload:
        return self.exchange.store.order(ACCOUNT, order_id)

    def flatten(self) -> None:
        """Close the position and cancel the orders, as riskd or the operator would."""
        for order in self.orders():
            self.exchange.cancel_order(ACCOUNT, order["id"], self.now)
        for position in self.positions():
            self.exchange.close_contract(ACCOUNT, position["contractId"], self.now)

    def run_until_it_holds(self) -> None:
        step_until(self.positions, self.step)


class Step(NamedTuple):
    """A trader's step, with the state before and after it."""

    was_flat: bool
    actions: list[TraderAction]
    positions: list[Payload]
    orders: list[Payload]
    messages: list[tuple[str, Payload]]


@cache
def two_minutes(seed: int) -> list[Step]:
    """Return the steps of a trader in two minutes; cached for many tests."""
    driver = TraderDriver(seed)
    steps = []
    for _ in range(2 * ONE_MINUTE):
        was_flat = not driver.positions() and not driver.orders()
        known = len(driver.messages)
        actions = driver.step()
        messages = driver.messages[known:]
        steps.append(Step(was_flat, actions, driver.positions(), driver.orders(), messages))
    return steps


def closes(actions: list[TraderAction]) -> bool:
    return any(isinstance(action, Close) for action in actions)


class TradingDayTests(SynchronousTestCase):
    """Two minutes of a trader on the exchange."""

    def messages(self, steps: int) -> Iterator[list[tuple[str, Payload]]]:
        """Yield the messages about each seed's trader within so many steps."""
        for seed in SEEDS:
            yield [message for step in two_minutes(seed)[:steps] for message in step.messages]

    def test_within_a_minute_a_trader_opens_and_closes_a_position(self) -> None:
        for messages in self.messages(ONE_MINUTE):
            sizes = [payload["size"] for target, payload in messages if "Position" in target]
            full_turns = [payload for _target, payload in messages if "profitAndLoss" in payload]
            orders = [payload for target, payload in messages if "Order" in target]
            self.assertTrue(orders)
            self.assertTrue(max(sizes) > 0)
            self.assertIn(0, sizes)
            self.assertTrue(full_turns)

    def test_a_trader_holds_a_position_within_seconds(self) -> None:
        for messages in self.messages(int(3 / STEP_SECONDS)):
            self.assertTrue(any("Position" in target for target, _payload in messages))

    def test_a_trader_holds_one_position_of_a_bounded_size(self) -> None:
        for seed in SEEDS:
            for step in two_minutes(seed):
                self.assertTrue(len(step.positions) <= 1, step.positions)
        for messages in self.messages(2 * ONE_MINUTE):
            sizes = [payload["size"] for target, payload in messages if "Position" in target]
            self.assertTrue(max(sizes) <= max(OVERSIZES))

    def test_the_exchange_accepts_every_action(self) -> None:
        """No stop on the wrong side, no price off tick, no canceling of an ended order.

        The driver raises refusals of the exchange; a rejected order would have status 5.
        """
        kinds = set()
        for messages in self.messages(2 * ONE_MINUTE):
            for target, payload in messages:
                if target == "GatewayUserOrder":
                    kinds.add(payload["type"])
                    self.assertNotEqual(payload["status"], GatewayOrderStatus.REJECTED)
        self.assertEqual(
            kinds, {GatewayOrderType.MARKET, GatewayOrderType.LIMIT, GatewayOrderType.STOP}
        )

    def test_a_flat_trader_has_no_order_but_an_entry(self) -> None:
        """When the stop closes the position, the target is canceled in the same step."""
        exits = 0
        for seed in SEEDS:
            entries = set()
            for step in two_minutes(seed):
                ids = {order["id"] for order in step.orders}
                if step.was_flat:
                    entries |= ids
                if not step.positions:
                    self.assertTrue(ids <= entries)
                    self.assertTrue(len(ids) <= 1)
                exits += bool(step.actions) and all(
                    isinstance(action, Cancel) for action in step.actions
                )
        self.assertTrue(exits > 0, "no target was left behind by a stop, or the other way")

    @in_one_runner
    def test_a_day_has_entries_of_all_kinds(self) -> None:
        """About a third rests in the book, about an eighth is too large."""
        market, resting, sizes = 0, 0, []
        for seed in SEEDS:
            for step in two_minutes(seed):
                if step.was_flat and step.actions:
                    first = step.actions[0]
                    assert isinstance(first, Place)
                    is_resting = first.order["type"] == GatewayOrderType.LIMIT
                    resting += is_resting
                    market += not is_resting
                    sizes.append(first.order["size"])
        self.assertTrue(0.2 < resting / (resting + market) < 0.45, (resting, market))
        large = [size for size in sizes if size > MAX_SIZE]
        self.assertEqual(set(large), OVERSIZES)
        self.assertTrue(0.05 < len(large) / len(sizes) < 0.25, (large, sizes))

    def test_the_same_seed_gives_the_same_day(self) -> None:
        first, second = TraderDriver(5), TraderDriver(5)
        for _ in range(ONE_MINUTE):
            self.assertEqual(first.step(), second.step())
        self.assertEqual(first.messages, second.messages)


class DecisionTests(SynchronousTestCase):
    """A trader's decision in a given situation."""

    def setUp(self) -> None:
        market = Market(Random(7), date(2026, 3, 2))
        self.contracts = {contract.root: contract for contract in market.contracts}
        self.quotes: dict[str, Quote] = dict(market.opening())

    def trader(self, seed: int, *roots: str) -> Trader:
        return Trader(tuple(self.contracts[root] for root in roots or ("MNQ",)), Random(seed))

    def order_of(self, order_id: int) -> Payload:
        """Return an order that is no longer working: it was filled."""
        return {"id": order_id, "status": int(GatewayOrderStatus.FILLED), "fillVolume": 1}

    def step(
        self, trader: Trader, positions: list[Payload], orders: list[Payload]
    ) -> list[TraderAction]:
        return trader.step(positions, orders, self.quotes.get, self.order_of)

    def entry(self, trader: Trader) -> list[TraderAction]:
        """Return the first actions of a flat trader."""
        for _ in range(50):
            actions = self.step(trader, [], [])
            if actions:
                return actions
        raise AssertionError("the trader does nothing")

    def position(
        self, contract: Contract, size: int, kind: GatewayPositionType = GatewayPositionType.LONG
    ) -> Payload:
        return {"contractId": contract.id, "type": int(kind), "size": size}

    def test_an_entry_at_the_market_protects_the_whole_position(self) -> None:
        sides, protections = set(), set()
        for seed in range(60):
            first, *rest = self.entry(self.trader(seed))
            assert isinstance(first, Place)
            quote = self.quotes[first.order["contractId"]]
            self.assertEqual(first.order["type"], GatewayOrderType.MARKET)
            self.assertIn(first.order["size"], {1, 2, 3} | OVERSIZES)
            sides.add(first.order["side"])
            away = 1 if first.order["side"] == GatewayOrderSide.BID else -1
            for action in rest:
                assert isinstance(action, Place)
                exit_order = action.order
                self.assertEqual(exit_order["size"], first.order["size"])
                self.assertNotEqual(exit_order["side"], first.order["side"])
                if exit_order["type"] == GatewayOrderType.STOP:
                    self.assertTrue((quote.last - exit_order["stopPrice"]) * away > 0)
                else:
                    self.assertTrue((exit_order["limitPrice"] - quote.last) * away > 0)
            protections.add(tuple(action.order["type"] for action in rest))
        self.assertEqual(sides, {GatewayOrderSide.BID, GatewayOrderSide.ASK})
        stop, target = GatewayOrderType.STOP, GatewayOrderType.LIMIT
        self.assertEqual(protections, {(), (stop,), (target,), (stop, target)})

    def test_a_trader_trades_all_its_contracts_and_no_other(self) -> None:
        traded = set()
        for seed in range(60):
            for action in self.entry(self.trader(seed, "MES", "MCL")):
                assert isinstance(action, Place)
                traded.add(action.order["contractId"])
        self.assertEqual(traded, {self.contracts["MES"].id, self.contracts["MCL"].id})

    def test_a_flat_trader_cancels_all_its_orders(self) -> None:
        orders = [{"id": 31}, {"id": 32}]
        self.assertEqual(self.step(self.trader(1), [], orders), [Cancel(31), Cancel(32)])

    def test_a_trader_waits_after_canceling(self) -> None:
        for seed in range(20):
            trader = self.trader(seed)
            self.step(trader, [], [{"id": 31}])
            for _ in range(7):
                self.assertEqual(self.step(trader, [], []), [])

    def test_a_trader_waits_for_a_first_quote(self) -> None:
        trader = self.trader(1)
        for _ in range(50):
            self.assertEqual(trader.step([], [], lambda _id: None, self.order_of), [])
        self.assertTrue(self.entry(trader))

    def test_a_trader_closes_its_position_and_cancels_its_orders(self) -> None:
        mnq = self.contracts["MNQ"]
        held, orders = [self.position(mnq, MAX_SIZE)], [{"id": 31}, {"id": 32}]
        for seed in range(20):
            trader = self.trader(seed)
            self.entry(trader)
            answers = [self.step(trader, held, orders) for _ in range(100)]
            actions = next(answer for answer in answers if answer)
            self.assertEqual(actions, [Cancel(31), Cancel(32), Close(mnq.id)])

    def test_a_trader_waits_after_closing(self) -> None:
        held = [self.position(self.contracts["MNQ"], MAX_SIZE)]
        for seed in range(20):
            trader = self.trader(seed)
            step_until(partial(self.step, trader, held, []))
            for _ in range(7):
                self.assertEqual(self.step(trader, [], []), [])

    def test_a_trader_may_add_a_contract_to_its_position(self) -> None:
        for kind, side in (
            (GatewayPositionType.LONG, GatewayOrderSide.BID),
            (GatewayPositionType.SHORT, GatewayOrderSide.ASK),
        ):
            added = self.additions(self.position(self.contracts["MNQ"], MAX_SIZE - 1, kind))
            self.assertTrue(added)
            for order in added:
                self.assertEqual(
                    order,
                    {
                        "contractId": self.contracts["MNQ"].id,
                        "type": GatewayOrderType.MARKET,
                        "side": side,
                        "size": 1,
                    },
                )

    def test_a_trader_adds_nothing_to_a_large_position(self) -> None:
        for size in (MAX_SIZE, MAX_SIZE + 5):
            self.assertEqual(self.additions(self.position(self.contracts["MNQ"], size)), [])

    def test_a_trader_manages_a_position_that_the_operator_opened(self) -> None:
        """In any contract."""
        added = self.additions(self.position(self.contracts["ES"], 1))
        self.assertTrue(added)
        for order in added:
            self.assertEqual(order["contractId"], self.contracts["ES"].id)

    def additions(self, held: Payload) -> list[Payload]:
        """Return the orders that many MNQ traders place while they hold ``held``."""
        placed = []
        for seed in range(20):
            trader = self.trader(seed)
            for _ in range(40):
                placed += [
                    action.order
                    for action in self.step(trader, [held], [])
                    if isinstance(action, Place)
                ]
        return placed


class RestingEntryTests(SynchronousTestCase):
    """Entries that rest a few ticks from the market."""

    def resting(self) -> Iterator[tuple[TraderDriver, Payload]]:
        """Yield drivers with a resting entry, and its order."""
        for seed in SEEDS:
            driver = TraderDriver(seed)
            for _ in range(4 * ONE_MINUTE):
                was_flat = not driver.positions() and not driver.orders()
                actions = driver.step()
                if was_flat and len(actions) == 1 and driver.orders() and not driver.positions():
                    yield driver, driver.orders()[0]
                    break

    def test_a_resting_entry_is_a_few_ticks_from_the_market(self) -> None:
        for driver, order in self.resting():
            self.assertEqual(order["type"], GatewayOrderType.LIMIT)
            contract = driver.exchange.store.contract(order["contractId"])
            quote = driver.exchange.quote(order["contractId"])
            assert quote is not None
            if order["side"] == GatewayOrderSide.BID:
                distance = quote.bid - order["limitPrice"]
            else:
                distance = order["limitPrice"] - quote.ask
            self.assertTrue(2 <= distance / contract["tickSize"] <= 8)

    def test_a_resting_entry_is_filled_or_canceled(self) -> None:
        statuses = set()
        for driver, order in self.resting():
            for _ in range(ONE_MINUTE):
                driver.step()
            statuses.add(driver.order(order["id"])["status"])
        self.assertEqual(statuses, {GatewayOrderStatus.FILLED, GatewayOrderStatus.CANCELLED})

    def test_a_filled_resting_entry_is_managed_like_any_position(self) -> None:
        """Often protected, and closed later."""
        protected = set()
        for driver, order in self.resting():
            while driver.order(order["id"])["status"] == GatewayOrderStatus.OPEN:
                driver.step()
            if driver.order(order["id"])["status"] == GatewayOrderStatus.FILLED:
                protected.add(bool(driver.orders()))
                for _ in range(ONE_MINUTE):
                    driver.step()
                held_sizes = [
                    payload["size"] for target, payload in driver.messages if "Position" in target
                ]
                self.assertIn(0, held_sizes)
        self.assertIn(True, protected)


class InterferenceTests(SynchronousTestCase):
    """What a trader does when riskd or the operator interferes."""

    LEAST_PAUSE = int(20 / STEP_SECONDS)
    LONGEST_PAUSE = int(70 / STEP_SECONDS)

    def quiet_steps(self, driver: TraderDriver) -> tuple[int, list[TraderAction]]:
        """Return how many steps a trader does nothing, and its actions after them."""
        for steps in range(2 * self.LONGEST_PAUSE):
            actions = driver.step()
            if actions:
                return steps, actions
        raise AssertionError("the trader never comes back")

    def after_interference(self) -> Iterator[TraderDriver]:
        """Yield drivers after riskd closed the position and canceled the orders."""
        for seed in SEEDS:
            driver = TraderDriver(seed)
            driver.run_until_it_holds()
            for _ in range(4):
                driver.step()
            if driver.positions():
                driver.flatten()
                yield driver

    def test_a_trader_stays_away_or_retries_once_with_a_limit(self) -> None:
        entries = []
        for driver in self.after_interference():
            steps, actions = self.quiet_steps(driver)
            assert isinstance(actions[0], Place)
            self.assertTrue(steps <= self.LONGEST_PAUSE)
            if steps < self.LEAST_PAUSE - 1:
                self.assertEqual(
                    [action.order["type"] for action in actions if isinstance(action, Place)],
                    [GatewayOrderType.LIMIT],
                )
            entries.append(steps < self.LEAST_PAUSE - 1)
        self.assertEqual(set(entries), {True, False})

    def test_a_canceled_retry_is_not_repeated_at_once(self) -> None:
        tried = 0
        for driver in self.after_interference():
            steps, _wishes = self.quiet_steps(driver)
            if steps < self.LEAST_PAUSE - 1 and not driver.positions():
                tried += 1
                driver.flatten()
                steps, _wishes = self.quiet_steps(driver)
                self.assertTrue(steps > 5 / STEP_SECONDS - 2, steps)
        self.assertTrue(tried)

    def test_a_trader_notices_a_position_closed_between_two_steps(self) -> None:
        """A daemon in the same process closes that fast."""
        for seed in SEEDS:
            driver = TraderDriver(seed)
            step_until(driver.step)
            driver.flatten()
            steps, _wishes = self.quiet_steps(driver)
            self.assertTrue(steps >= 5 / STEP_SECONDS - 1, steps)

    def test_a_canceled_order_counts_as_interference_with_a_kept_position(
        self,
    ) -> None:
        for seed in SEEDS:
            driver = TraderDriver(seed)
            driver.run_until_it_holds()
            driver.step()
            if not driver.positions() or not driver.orders():
                continue
            driver.exchange.cancel_order(ACCOUNT, driver.orders()[0]["id"], driver.now)
            while driver.positions():
                driver.step()
            steps, actions = self.quiet_steps(driver)
            is_retry = len(actions) == 1
            self.assertTrue(steps > (5 if is_retry else 19) / STEP_SECONDS - 3, steps)

    def test_its_own_stop_and_target_are_no_interference(self) -> None:
        """It cancels the other order and soon enters again."""
        pauses = []
        for seed in SEEDS:
            driver = TraderDriver(seed)
            for _ in range(2 * ONE_MINUTE):
                was_held = bool(driver.positions())
                actions = driver.step()
                if was_held and not driver.positions() and not closes(actions) and actions:
                    pauses.append(self.quiet_steps(driver)[0])
                    break
        self.assertTrue(len(pauses) > 3)
        self.assertTrue(max(pauses) < 32, pauses)

    def test_a_trader_does_not_repeat_a_refused_entry_at_each_step(self) -> None:
        for seed in range(5):
            driver = TraderDriver(seed)
            driver.exchange.set_can_trade(ACCOUNT, False)
            asked = 0
            for _ in range(5 * ONE_MINUTE):
                driver.now += timedelta(seconds=STEP_SECONDS)
                actions = driver.trader.step(
                    driver.positions(), driver.orders(), driver.exchange.quote, driver.order
                )
                asked += bool(actions)
                for action in actions:
                    self.assertRaises(GatewayRefusedError, driver.carry_out, action)
            self.assertTrue(1 <= asked <= 30, asked)


class TradersAtTheGatewayTests(GatewayTestCase):
    """The practice traders of the accounts, as a listener sees them."""

    def test_within_a_minute_every_account_made_a_full_turn(self) -> None:
        driver = GatewayDriver(ACCOUNTS).start()
        driver.run(60)
        trades = driver.listener.user_events(TRADE)
        self.assertEqual(
            {trade["accountId"] for trade in trades if "profitAndLoss" in trade}, set(ACCOUNTS)
        )

    def test_every_account_has_a_position_within_two_seconds(self) -> None:
        for seed in range(20):
            driver = GatewayDriver(ACCOUNTS, seed).start()
            driver.run(2)
            owners = {held["accountId"] for held in driver.listener.user_events(POSITION)}
            self.assertEqual(owners, set(ACCOUNTS))

    def test_a_trader_comes_back_after_its_positions_were_closed(self) -> None:
        """Here a listener closes each position as soon as it receives its event."""

        def act(target: str, payload: Payload) -> None:
            if target == POSITION and payload["size"]:
                driver.gateway.close_contract(123, payload["contractId"])

        driver = GatewayDriver({123: ("MNQ",)}, act=act).start()
        driver.run(600)
        opened = [
            datetime.fromisoformat(trade["creationTimestamp"])
            for trade in driver.listener.user_events(TRADE)
            if "profitAndLoss" not in trade
        ]
        self.assertTrue(5 < len(opened) < 60, len(opened))

    def test_an_account_trades_only_what_it_watches(self) -> None:
        driver = GatewayDriver(ACCOUNTS).start()
        driver.run(240)
        traded: dict[int, set[str]] = {}
        for trade in driver.listener.user_events(TRADE):
            traded.setdefault(trade["accountId"], set()).add(trade["contractId"].split(".")[3])
        self.assertTrue(traded[123] <= {"MNQ", "MES", "MCLE"}, traded)
        self.assertTrue(traded[456] <= {"ENQ", "EP", "M2K", "MGC"}, traded)

    def test_an_account_without_contracts_has_no_trader(self) -> None:
        driver = GatewayDriver({123: ACCOUNTS[123], 456: ()}).start()
        driver.run(60)
        self.assertEqual(
            {order["accountId"] for order in driver.listener.user_events(ORDER)}, {123}
        )

    def test_an_account_with_only_unlisted_contracts_has_no_trader(self) -> None:
        """The market moves on all the same."""
        driver = GatewayDriver({123: ("CL", "FOO"), 456: ("RTY", "ES")}).start()
        driver.run(60)
        orders = driver.listener.user_events(ORDER)
        self.assertEqual(
            {(order["accountId"], order["contractId"]) for order in orders}, {(456, ES)}
        )
        self.assertEqual(driver.listener.quotes()[-1][1]["timestamp"], "2026-03-02T15:01:00+00:00")

    def test_a_position_in_a_contract_unknown_to_the_trader_does_no_harm(
        self,
    ) -> None:
        for seed in range(20):
            driver = GatewayDriver({123: ("MNQ",)}, seed).start()
            self.successResultOf(driver.gateway.place_order(123, driver.order(1, contract_id=ES)))
            driver.run(30)
            self.assertEqual(
                driver.listener.quotes()[-1][1]["timestamp"], "2026-03-02T15:00:30+00:00"
            )

    def test_every_event_can_be_mapped(self) -> None:
        """Five minutes of events pass the mapping and end in the state that a search finds."""
        driver = GatewayDriver(ACCOUNTS).start()
        driver.run(300)
        positions: dict[tuple[int, str], GatewayUserPosition] = {}
        for payload in driver.listener.user_events(POSITION):
            key = payload["accountId"], payload["contractId"]
            positions[key] = mapping.position(payload)
        for payload in driver.listener.user_events(ORDER):
            self.assertIn(payload["type"], mapping.ORDER_TYPES)
            mapping.order(payload)
        trades = [mapping.trade(payload) for payload in driver.listener.user_events(TRADE)]
        self.assertTrue(any(trade.is_full_turn for trade in trades))
        for account_id in ACCOUNTS:
            held = self.successResultOf(
                payloads_of(driver.gateway, "Position/searchOpen", account_id)
            )
            self.assertEqual(
                {position["contractId"]: position["size"] for position in held},
                {
                    contract_id: position.size
                    for (owner, contract_id), position in positions.items()
                    if owner == account_id and position.size
                },
            )
