"""The practice traders: they open, protect and close, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from riskd.contracts import Contract
from riskd.gateway.enums import (
    GatewayOrderSide,
    GatewayOrderStatus,
    GatewayOrderType,
    GatewayPositionType,
)
from riskd.gateway.interface import Payload
from riskd.practice.exchange import Exchange, Quote
from riskd.practice.market import STEP_SECONDS, Market
from riskd.practice.traders import Cancel, Close, Place, Trader, Wish

ACCOUNT = 123
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
MAX_SIZE = 3
ONE_MINUTE = int(60 / STEP_SECONDS)
SEEDS = range(25)


class Floor:
    """A trader on the practice exchange and market, step by step.

    A wish that the exchange refuses is an error: a trader wishes for nothing that cannot be.
    """

    def __init__(self, seed: int) -> None:
        self.market = Market(Random(f"{seed} market"), date(2026, 3, 2))
        self.exchange = Exchange({ACCOUNT: "PRACTICE"}, self.market.contracts, self.market.fees)
        self.trader = Trader(self.market.contracts, Random(f"{seed} trader"))
        self.now = NOW
        self.told: list[tuple[str, Payload]] = []
        for contract_id, quote in self.market.opening():
            self.exchange.move_market(contract_id, quote, self.now)

    def step(self) -> list[Wish]:
        self.now += timedelta(seconds=STEP_SECONDS)
        for contract_id, quote in self.market.step():
            self.exchange.move_market(contract_id, quote, self.now)
        wishes = self.trader.step(self.positions(), self.orders(), self.exchange.quote)
        for wish in wishes:
            self.carry_out(wish)
        self.told += [(target, payload) for target, _id, payload in self.exchange.take_messages()]
        return wishes

    def carry_out(self, wish: Wish) -> None:
        if isinstance(wish, Place):
            self.exchange.place_order(ACCOUNT, wish.order, self.now)
        elif isinstance(wish, Cancel):
            self.exchange.cancel_order(ACCOUNT, wish.order_id, self.now)
        else:
            self.exchange.close_contract(ACCOUNT, wish.contract_id, self.now)

    def positions(self) -> list[Payload]:
        return self.exchange.open_positions(ACCOUNT)

    def orders(self) -> list[Payload]:
        return self.exchange.open_orders(ACCOUNT)


class TradingDayTests(SynchronousTestCase):
    """A trader on the exchange."""

    def floors(self, steps: int) -> Iterator[Floor]:
        """Yield the floor of each seed after so many steps."""
        for seed in SEEDS:
            floor = Floor(seed)
            for _ in range(steps):
                floor.step()
            yield floor

    def test_within_a_minute_an_order_was_placed_a_position_held_and_closed(self) -> None:
        for floor in self.floors(ONE_MINUTE):
            sizes = [payload["size"] for told, payload in floor.told if "Position" in told]
            full_turns = [payload for _told, payload in floor.told if "profitAndLoss" in payload]
            orders = [payload for told, payload in floor.told if "Order" in told]
            self.assertTrue(orders)
            self.assertTrue(max(sizes) > 0)
            self.assertIn(0, sizes)
            self.assertTrue(full_turns)

    def test_within_seconds_there_is_a_position(self) -> None:
        for floor in self.floors(int(3 / STEP_SECONDS)):
            self.assertTrue(any("Position" in told for told, _payload in floor.told))

    def test_no_position_is_ever_larger_than_the_maximum_and_there_is_one_at_a_time(self) -> None:
        for seed in SEEDS:
            floor = Floor(seed)
            for _ in range(2 * ONE_MINUTE):
                floor.step()
                held = floor.positions()
                self.assertTrue(len(held) <= 1, held)
                self.assertTrue(all(position["size"] <= MAX_SIZE for position in held), held)
            sizes = [payload["size"] for told, payload in floor.told if "Position" in told]
            self.assertTrue(max(sizes) <= MAX_SIZE)

    def test_every_wish_is_granted(self) -> None:
        """No stop on the wrong side, no price off tick, no cancelling of what does not work.

        The floor raises what the exchange refuses; an order that it rejects would have status 5.
        """
        kinds = set()
        for floor in self.floors(2 * ONE_MINUTE):
            for told, payload in floor.told:
                if told == "GatewayUserOrder":
                    kinds.add(payload["type"])
                    self.assertNotEqual(payload["status"], GatewayOrderStatus.REJECTED)
        self.assertEqual(
            kinds, {GatewayOrderType.MARKET, GatewayOrderType.LIMIT, GatewayOrderType.STOP}
        )

    def test_no_order_works_while_flat_once_the_trader_has_acted(self) -> None:
        """When the stop closes the position the target is cancelled in the same step."""
        exits = 0
        for seed in SEEDS:
            floor = Floor(seed)
            for _ in range(2 * ONE_MINUTE):
                wishes = floor.step()
                if not floor.positions():
                    self.assertEqual(floor.orders(), [])
                exits += bool(wishes) and all(isinstance(wish, Cancel) for wish in wishes)
        self.assertTrue(exits > 0, "no target was left behind by a stop, or the other way")

    def test_the_same_seed_gives_the_same_day(self) -> None:
        first, second = Floor(5), Floor(5)
        for _ in range(ONE_MINUTE):
            self.assertEqual(first.step(), second.step())
        self.assertEqual(first.told, second.told)


class DecisionTests(SynchronousTestCase):
    """What a trader answers to what it is shown."""

    def setUp(self) -> None:
        market = Market(Random(7), date(2026, 3, 2))
        self.contracts = {contract.root: contract for contract in market.contracts}
        self.quotes: dict[str, Quote] = dict(market.opening())

    def trader(self, seed: int, *roots: str) -> Trader:
        return Trader(tuple(self.contracts[root] for root in roots or ("MNQ",)), Random(seed))

    def entry(self, trader: Trader) -> list[Wish]:
        """Return what a flat trader wishes for first."""
        for _ in range(50):
            wishes = trader.step([], [], self.quotes.get)
            if wishes:
                return wishes
        raise AssertionError("the trader does nothing")

    def position(
        self, contract: Contract, size: int, kind: GatewayPositionType = GatewayPositionType.LONG
    ) -> Payload:
        return {"contractId": contract.id, "type": int(kind), "size": size}

    def test_it_enters_at_the_market_and_protects_the_whole_position(self) -> None:
        sides, protections = set(), set()
        for seed in range(60):
            first, *rest = self.entry(self.trader(seed))
            assert isinstance(first, Place)
            quote = self.quotes[first.order["contractId"]]
            self.assertEqual(first.order["type"], GatewayOrderType.MARKET)
            self.assertTrue(1 <= first.order["size"] <= MAX_SIZE)
            sides.add(first.order["side"])
            away = 1 if first.order["side"] == GatewayOrderSide.BID else -1
            for wish in rest:
                assert isinstance(wish, Place)
                exit_order = wish.order
                self.assertEqual(exit_order["size"], first.order["size"])
                self.assertNotEqual(exit_order["side"], first.order["side"])
                if exit_order["type"] == GatewayOrderType.STOP:
                    self.assertTrue((quote.last - exit_order["stopPrice"]) * away > 0)
                else:
                    self.assertTrue((exit_order["limitPrice"] - quote.last) * away > 0)
            protections.add(tuple(wish.order["type"] for wish in rest))
        self.assertEqual(sides, {GatewayOrderSide.BID, GatewayOrderSide.ASK})
        stop, target = GatewayOrderType.STOP, GatewayOrderType.LIMIT
        self.assertEqual(protections, {(), (stop,), (target,), (stop, target)})

    def test_all_its_contracts_are_traded_and_no_other(self) -> None:
        traded = set()
        for seed in range(60):
            for wish in self.entry(self.trader(seed, "MES", "MCL")):
                assert isinstance(wish, Place)
                traded.add(wish.order["contractId"])
        self.assertEqual(traded, {self.contracts["MES"].id, self.contracts["MCL"].id})

    def test_flat_with_orders_it_cancels_them_all(self) -> None:
        orders = [{"id": 31}, {"id": 32}]
        self.assertEqual(
            self.trader(1).step([], orders, self.quotes.get), [Cancel(31), Cancel(32)]
        )

    def test_having_cancelled_it_waits_before_it_enters_again(self) -> None:
        for seed in range(20):
            trader = self.trader(seed)
            trader.step([], [{"id": 31}], self.quotes.get)
            for _ in range(7):
                self.assertEqual(trader.step([], [], self.quotes.get), [])

    def test_without_a_market_it_waits(self) -> None:
        trader = self.trader(1)
        for _ in range(50):
            self.assertEqual(trader.step([], [], lambda _id: None), [])
        self.assertTrue(self.entry(trader))

    def test_a_position_is_closed_in_time_and_its_orders_with_it(self) -> None:
        mnq = self.contracts["MNQ"]
        held, orders = [self.position(mnq, MAX_SIZE)], [{"id": 31}, {"id": 32}]
        for seed in range(20):
            trader = self.trader(seed)
            self.entry(trader)
            answers = [trader.step(held, orders, self.quotes.get) for _ in range(100)]
            wishes = next(answer for answer in answers if answer)
            self.assertEqual(wishes, [Cancel(31), Cancel(32), Close(mnq.id)])

    def test_having_closed_it_waits_before_it_enters_again(self) -> None:
        held = [self.position(self.contracts["MNQ"], MAX_SIZE)]
        for seed in range(20):
            trader = self.trader(seed)
            while not trader.step(held, [], self.quotes.get):
                pass
            for _ in range(7):
                self.assertEqual(trader.step([], [], self.quotes.get), [])

    def test_it_adds_a_contract_in_the_direction_of_its_position(self) -> None:
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

    def test_it_adds_nothing_to_a_position_of_the_maximum_or_more(self) -> None:
        for size in (MAX_SIZE, MAX_SIZE + 5):
            self.assertEqual(self.additions(self.position(self.contracts["MNQ"], size)), [])

    def test_a_position_that_somebody_else_opened_is_managed_like_its_own(self) -> None:
        """Whatever contract it is in: the operator trades the account as well."""
        for order in self.additions(self.position(self.contracts["ES"], 1)):
            self.assertEqual(order["contractId"], self.contracts["ES"].id)

    def additions(self, held: Payload) -> list[Payload]:
        """Return the orders that many MNQ traders place while they hold ``held``."""
        placed = []
        for seed in range(20):
            trader = self.trader(seed)
            for _ in range(40):
                placed += [
                    wish.order
                    for wish in trader.step([held], [], self.quotes.get)
                    if isinstance(wish, Place)
                ]
        return placed
