"""A broker reports more of an account than riskd follows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from riskd.engine import intake, tracked_account
from riskd.engine.intake import LOOKUP_SECONDS, LOOKUPS
from riskd.engine.reconciliation import MOST_EVALUATED, MOST_LOOKED_UP
from riskd.engine.tracked_account import missing_positions
from riskd.gateway.interface import Found
from riskd.model.bounds import (
    MORE_BY_EVENTS,
    MOST_CONTRACTS,
    MOST_ORDERS,
    MOST_POSITIONS,
    MOST_TRADES,
)
from riskd.model.events import DaemonStatus, GatewayUserTrade, Status
from riskd.rules.interface import Kind
from tests.support.scripted_gateway import EngineTestCase, order, position, trade


def positions(number: int, first: int = 0) -> list[dict[str, Any]]:
    return [position(1, f"C{each}", id=each) for each in range(first, first + number)]


class AnswerTests(EngineTestCase):
    """Answers that list very much."""

    def work_off(self) -> int:
        """Let all that is under way end; return how many turns that took."""
        turns = 0
        while (calls := self.clock.getDelayedCalls()) and min(
            each.getTime() for each in calls
        ) <= self.clock.seconds():
            self.clock.advance(0)
            turns += 1
        return turns

    def problems(self) -> list[str]:
        statuses = [data for data in self.take() if isinstance(data, DaemonStatus)]
        return [each.message for each in statuses if each.status is Status.ERROR]

    def begin(self) -> None:
        self.start()
        self.work_off()

    def reconcile(self) -> None:
        self.engine._reconciliation.request(self.engine.accounts[123])
        self.work_off()

    def test_what_is_beyond_the_bounds_is_reported_for_as_long_as_it_is(self) -> None:
        for things, name, most in (
            (positions(MOST_POSITIONS + 5), "positions", MOST_POSITIONS),
            ([order(1, each) for each in range(1, MOST_ORDERS + 6)], "orders", MOST_ORDERS),
        ):
            self.setUp()
            getattr(self.gateway, name)[123] = things
            self.begin()
            account = self.engine.accounts[123].account
            self.assertEqual(len(getattr(account.state, name)), most)
            self.assertIn("more of account 123 than riskd follows", self.problems()[-1])
            # What is beyond exists: nothing that is known has ended because it is not among the first.
            known = set(getattr(account.state, name))
            getattr(self.gateway, name)[123] = things[::-1]
            self.clock.advance(2)
            self.reconcile()
            self.assertEqual(set(getattr(account.state, name)), known)
            getattr(self.gateway, name)[123] = things[:3]
            self.clock.advance(2)
            self.reconcile()
            self.assertEqual(len(account.state.open_positions) or len(account.state.orders), 3)
            self.assertEqual(
                [data.status for data in self.take() if isinstance(data, DaemonStatus)],
                [Status.RUNNING],
            )

    def test_a_long_answer_is_applied_over_many_turns_and_evaluated_at_once(self) -> None:
        self.begin()
        engine = self.engine.accounts[123].risk_engine
        kinds: list[Kind] = []
        self.patch(engine, "_evaluate", lambda kind, *_: kinds.append(kind))
        self.gateway.positions[123] = positions(MOST_POSITIONS)
        self.gateway.orders[123] = [order(1, each) for each in range(1, MOST_ORDERS + 1)]
        # As enforcement does, which evaluates no rule by itself.
        guarded = self.engine.accounts[123]
        Deferred.fromCoroutine(self.engine._reconciliation.verify(guarded, at_once=True))
        state = self.engine.accounts[123].account.state
        self.assertLess(len(state.positions), 50)
        self.work_off()
        state = self.engine.accounts[123].account.state
        self.assertEqual((len(state.positions), len(state.orders)), (MOST_POSITIONS, MOST_ORDERS))
        self.assertNotIn(Kind.POSITION, kinds)
        self.assertNotIn(Kind.ORDER, kinds)
        self.assertIn(Kind.REVIEW, kinds)
        self.assertLess(len(kinds), 10)

    def test_each_position_of_an_answer_of_a_usual_length_is_evaluated(self) -> None:
        self.begin()
        kinds: list[Kind] = []
        engine = self.engine.accounts[123].risk_engine
        self.patch(engine, "_evaluate", lambda kind, *_: kinds.append(kind))
        self.gateway.positions[123] = positions(MOST_EVALUATED)
        self.reconcile()
        self.assertEqual(kinds.count(Kind.POSITION), MOST_EVALUATED)

    def test_of_very_many_orders_that_are_gone_a_few_are_looked_up(self) -> None:
        asked: list[int] = []
        search = self.gateway.search_order
        self.gateway.orders[123] = [order(1, each) for each in range(1, 101)]
        self.begin()
        self.gateway.orders[123] = []
        self.clock.advance(2)
        self.patch(
            self.gateway,
            "search_order",
            lambda account_id, order_id: (asked.append(order_id), search(account_id, order_id))[1],
        )
        self.reconcile()
        self.assertEqual(self.engine.accounts[123].account.state.orders, {})
        self.assertEqual(len(asked), MOST_LOOKED_UP)

    def test_very_many_orders_that_are_gone_end_over_many_turns(self) -> None:
        self.gateway.orders[123] = [order(1, each) for each in range(1, MOST_ORDERS + 1)]
        self.begin()
        self.gateway.orders[123] = []
        self.clock.advance(2)
        self.engine._reconciliation.request(self.engine.accounts[123])
        account = self.engine.accounts[123].account
        self.assertGreater(len(account.state.orders), MOST_ORDERS // 2)
        self.work_off()
        self.assertEqual(account.state.orders, {})

    def test_very_many_positions_that_are_gone_are_evaluated_at_once(self) -> None:
        self.gateway.positions[123] = positions(MOST_POSITIONS)
        self.begin()
        kinds: list[Kind] = []
        engine = self.engine.accounts[123].risk_engine
        self.patch(engine, "_evaluate", lambda kind, *_: kinds.append(kind))
        self.gateway.positions[123] = []
        self.clock.advance(2)
        self.reconcile()
        self.assertEqual(self.engine.accounts[123].account.state.open_positions, ())
        self.assertNotIn(Kind.POSITION, kinds)
        self.assertIn(Kind.REVIEW, kinds)

    def test_thousands_of_trades_are_summed_over_many_turns(self) -> None:
        self.gateway.trades[123] = [trade(each, "-0.5") for each in range(1, 3001)]
        self.begin()
        state = self.engine.accounts[123].account.state
        self.assertEqual((state.realized_pnl, state.trade_count), (Decimal(-1500), 3000))

    def test_a_strange_list_leaves_room_for_what_the_trader_does(self) -> None:
        self.gateway.positions[123] = positions(MOST_POSITIONS + 5)
        self.begin()
        self.user("GatewayUserPosition", position(3, "C9999"))
        self.assertEqual(self.engine.accounts[123].account.state.positions["C9999"].size, 3)

    def test_an_account_with_more_than_is_followed_is_not_flat(self) -> None:
        self.begin()
        account = self.engine.accounts[123].account
        found = Found((), (), ("C1",))
        self.assertEqual(missing_positions(account.state, found), [])
        self.user("GatewayUserPosition", position(1, "C1"))
        self.assertEqual(missing_positions(account.state, found), [])
        self.assertEqual(len(missing_positions(account.state, Found(()))), 1)


class EventTests(EngineTestCase):
    """Events without an end."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.account = self.engine.accounts[123].account

    def test_events_of_more_than_is_followed_are_dropped_and_the_broker_asked(self) -> None:
        with capturedLogs() as logs:
            for each in range(MOST_POSITIONS + 2 * MORE_BY_EVENTS):
                self.user("GatewayUserPosition", position(1, f"C{each}"))
            for each in range(1, MOST_ORDERS + 2 * MORE_BY_EVENTS):
                self.user("GatewayUserOrder", order(1, each))
        state = self.account.state
        self.assertEqual(
            (len(state.positions), len(state.orders)),
            (MOST_POSITIONS + MORE_BY_EVENTS, MOST_ORDERS + MORE_BY_EVENTS),
        )
        self.assertIsNotNone(self.account.truth.doubt_since)
        self.assertEqual(sum("riskd follows" in each["log_format"] for each in logs), 1)

    def test_events_of_what_is_known_apply_also_when_there_is_no_room(self) -> None:
        for each in range(MOST_POSITIONS + MORE_BY_EVENTS + 1):
            self.user("GatewayUserPosition", position(1, f"C{each}"))
        self.user("GatewayUserPosition", position(2, "C7"))
        self.user("GatewayUserPosition", position(0, "C8"))
        self.assertEqual(self.account.state.positions["C7"].size, 2)
        self.user("GatewayUserPosition", position(3, "C9999"))
        self.assertEqual(self.account.state.positions["C9999"].size, 3)

    def test_trades_without_an_end_are_kept_up_to_the_bound(self) -> None:
        self.patch_most_trades(20)
        for each in range(1, 40):
            self.user("GatewayUserTrade", trade(each, "1.00"))
            self.user("GatewayUserTrade", trade(1000 + each, None))
        self.assertLessEqual(len(self.account.state.risk.charges), 20)
        self.assertLessEqual(
            len([each for each in self.take() if isinstance(each, GatewayUserTrade)]), 20
        )

    def patch_most_trades(self, most: int) -> None:
        self.assertGreater(MOST_TRADES, most)
        self.patch(tracked_account, "MOST_TRADES", most - MORE_BY_EVENTS)

    def test_contracts_in_which_the_account_is_flat_are_forgotten(self) -> None:
        most = self.patch_most_contracts()
        for each in range(most + 20):
            self.user("GatewayUserPosition", position(1, f"C{each}"))
            self.user("GatewayUserPosition", position(0, f"C{each}"))
        self.assertEqual(len(self.account.state.positions), most)
        self.assertNotIn("C5", self.account.state.positions)

    def test_no_more_contracts_are_followed_than_are_known(self) -> None:
        most = self.patch_most_contracts()
        for each in range(most + 20):
            self.user("GatewayUserTrade", trade(each + 1, None, contractId=f"C{each}"))
        self.assertEqual(len(self.gateway.quotes_followed), most)

    def patch_most_contracts(self) -> int:
        """Lower the bound, which is reached by an event a contract; return it."""
        most = 60
        self.assertGreater(MOST_CONTRACTS, most)
        for module in (intake, tracked_account):
            self.patch(module, "MOST_CONTRACTS", most)
        return most

    def test_contracts_are_looked_up_a_few_a_minute(self) -> None:
        for each in range(2 * LOOKUPS):
            self.user("GatewayUserPosition", position(1, f"C{each}"))
        self.assertEqual(len(self.gateway.contracts_asked), LOOKUPS)
        self.clock.advance(LOOKUP_SECONDS)
        for each in range(3 * LOOKUPS):
            self.user("GatewayUserTrade", trade(each + 1, None, contractId=f"C{each}"))
        self.assertEqual(len(self.gateway.contracts_asked), 2 * LOOKUPS)
