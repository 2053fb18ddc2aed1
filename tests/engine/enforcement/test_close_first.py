"""Full closes leave at once and without a read; the reconciliation that follows verifies them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred, succeed

from riskd.config.settings import NO_FAULTS, Faults
from riskd.model.events import DaemonStatus, Status
from tests.support.guarded_account import (
    DAILY_LOSS,
    MAX_CONTRACTS,
    BrokerTestCase,
    never,
    refused,
)
from tests.support.practice_daemon import ACCOUNT, BUY, ES, MNQ, SELL

CLOSE, CANCEL = "Position/closeContract", "Order/cancel"
READS = ["Position/searchOpen", "Order/searchOpen", "Account/search", "Trade/search"]


class CloseFirstTestCase(BrokerTestCase):
    """Notes every request that the broker receives, with its time.

    :ivar requests: name and seconds.
    """

    def setUp(self) -> None:
        super().setUp()
        self.requests: list[tuple[str, float]] = []
        network = self.daemon.gateway._network
        real = network.execute

        def execute(request: str, *arguments: Any) -> Deferred[Any]:
            self.requests.append((request, self.daemon.clock.seconds()))
            return real(request, *arguments)

        self.patch(network, "execute", execute)

    @property
    def names(self) -> list[str]:
        return [name for name, _at in self.requests]

    def times(self, name: str) -> list[float]:
        return [at for each, at in self.requests if each == name]

    def trade_directly(self, side: int, size: int, contract_id: str = MNQ, **more: Any) -> int:
        """Trade at the exchange, where no faults of requests and no count of them apply."""
        daemon = self.daemon
        order = {"contractId": contract_id, "type": 2, "side": int(side), "size": size, **more}
        placed: int = daemon.gateway.exchange.place_order(ACCOUNT, order, daemon.now())
        daemon.gateway._publish()
        return placed

    def hold(self, method: str) -> Any:
        """Hold the first request of a kind back; return a function that answers it."""
        real = getattr(self.daemon.gateway, method)
        held: list[tuple[Deferred[Any], Any, Any]] = []

        def wait(*arguments: Any, **more: Any) -> Deferred[Any]:
            held.append((Deferred(), arguments, more))
            return held[-1][0]

        patch = self.answer(method, wait)

        def answer() -> None:
            patch.restore()
            for waiting, arguments, more in held:
                real(*arguments, **more).chainDeferred(waiting)

        return answer

    def lock(self) -> None:
        self.lose(125, 2)
        self.daemon.advance(3)
        self.assertEqual(len(self.daemon.locks), 1)
        self.requests.clear()


class RequestTests(CloseFirstTestCase):
    config = MAX_CONTRACTS

    def test_one_position_takes_five_requests(self) -> None:
        for faults in (Faults(), Faults(latency_seconds=0.08, position_delay_seconds=0.1)):
            self.daemon.gateway.faults = faults
            self.requests.clear()
            self.trade_directly(BUY, 3)
            self.daemon.advance(20)
            self.assertEqual((self.daemon.held, self.names), ({}, [CLOSE, *READS]))
            self.assertTrue(self.daemon.actions[-1].success)

    def test_two_positions_and_two_orders_take_eight(self) -> None:
        self.daemon.move(ES, "5800")
        for faults in (Faults(), Faults(latency_seconds=0.08, position_delay_seconds=0.1)):
            self.daemon.gateway.faults = faults
            for contract_id in (MNQ, ES):
                self.trade_directly(BUY, 1, contract_id, type=1, limitPrice=4000)
            self.trade_directly(BUY, 1, ES)
            self.daemon.advance(3)
            self.requests.clear()
            self.trade_directly(BUY, 2)
            self.daemon.advance(20)
            self.assertEqual((self.daemon.held, self.daemon.working), ({}, []))
            self.assertEqual(self.names, [CLOSE, CLOSE, CANCEL, CANCEL, *READS])
            details = self.daemon.actions[-1].details
            self.assertEqual((details.positions_closed, details.orders_canceled), (2, 2))

    def test_a_request_for_the_brokers_time_is_the_only_one_beside_them(self) -> None:
        """Answers are dated in whole seconds, and requests at equal intervals all come at the same fraction of one."""
        network = self.daemon.gateway._network

        def report_clock(shown: datetime, shown_at: float) -> None:
            delay = self.daemon.clock.seconds() - shown_at
            self.daemon.engine.clock_reported(shown.replace(microsecond=0), 1.0, delay)

        self.patch(network, "_report_clock", report_clock)
        self.daemon.gateway.faults = Faults(latency_seconds=0.08, position_delay_seconds=0.1)
        self.daemon.advance(603)
        beside: list[int] = []
        for _ in range(10):
            self.requests.clear()
            self.trade_directly(BUY, 3)
            self.daemon.advance(6, step=0.05)
            others = Counter(self.names) - Counter([CLOSE, *READS])
            self.assertLessEqual(set(others), {"Account/search"})
            beside.append(others.total())
        self.assertEqual(set(beside), {0, 1})

    def test_all_commands_leave_before_any_is_answered(self) -> None:
        self.daemon.move(ES, "5800")
        self.trade_directly(BUY, 1, ES)
        self.trade_directly(BUY, 1, type=1, limitPrice=20000)
        self.daemon.advance(3)
        self.requests.clear()
        self.daemon.gateway.faults = Faults(latency_seconds=0.5)
        self.trade_directly(BUY, 2)
        self.daemon.advance(0.5)
        self.assertEqual(sorted(self.names), [CANCEL, CLOSE, CLOSE])
        self.assertEqual(len({at for _name, at in self.requests}), 1)

    def test_a_close_needs_no_read(self) -> None:
        self.answer("search_open_positions", never)
        self.answer("search_open_orders", never)
        self.trade_directly(BUY, 3)
        self.assertEqual(self.daemon.held, {})
        self.daemon.advance(1)
        # Only an answer verifies that the account is flat.
        self.assertEqual(self.daemon.actions, [])
        self.daemon.advance(10)
        self.assertFalse(self.daemon.actions[0].success)

    def test_a_refused_close_is_repeated_though_reads_hang(self) -> None:
        refusing = self.answer("close_contract", refused(CLOSE, 5))
        self.trade_directly(BUY, 3)
        self.answer("search_open_positions", never)
        refusing.restore()
        self.daemon.advance(0.5)
        self.assertEqual(self.daemon.held, {})

    def test_a_search_that_trails_repeats_no_close(self) -> None:
        for trail in (0.1, 0.9):
            self.daemon.gateway.faults = Faults(searches_trail_seconds=trail)
            self.requests.clear()
            self.trade_directly(BUY, 3)
            self.daemon.advance(20)
            self.assertEqual(self.names.count(CLOSE), 1, trail)
            self.assertTrue(self.daemon.actions[-1].success)

    def test_an_accepted_close_that_does_nothing_is_repeated_after_a_second(self) -> None:
        real = self.daemon.gateway.close_contract
        times: list[float] = []

        def close(*wanted: Any) -> Deferred[Any]:
            times.append(self.daemon.clock.seconds())
            return succeed(None) if len(times) == 1 else real(*wanted)

        self.answer("close_contract", close)
        self.trade_directly(BUY, 3)
        self.daemon.advance(10)
        self.assertEqual((self.daemon.held, len(times)), ({}, 2))
        self.assertGreaterEqual(times[1] - times[0], 1.0)
        self.assertEqual(self.daemon.actions[-1].details.positions_closed, 1)

    def test_a_doubled_event_closes_nothing_twice(self) -> None:
        self.daemon.gateway.faults = Faults(doubled_events=1.0, latency_seconds=0.3)
        self.trade_directly(BUY, 3)
        self.daemon.advance(20)
        self.assertEqual((self.names.count(CLOSE), self.daemon.held), (1, {}))


class ReopenedTests(CloseFirstTestCase):
    """What the trader does while riskd flattens an account that is not locked."""

    config = MAX_CONTRACTS

    def test_the_next_trade_is_left_alone(self) -> None:
        answers = self.hold("search_open_positions")
        self.trade_directly(BUY, 3)
        self.assertEqual(self.daemon.held, {})
        self.daemon.advance(0.1)
        self.trade_directly(BUY, 1)
        stop = self.trade_directly(SELL, 1, type=4, stopPrice=20900)
        answers()
        self.daemon.advance(20)
        self.assertEqual((self.daemon.held, self.daemon.working), ({MNQ: 1}, [stop]))
        self.assertEqual([action.success for action in self.daemon.actions], [True])

    def test_a_next_trade_that_breaches_is_closed_in_turn(self) -> None:
        answers = self.hold("search_open_positions")
        self.trade_directly(BUY, 3)
        self.daemon.advance(0.1)
        self.trade_directly(BUY, 3)
        answers()
        self.daemon.advance(3)
        self.assertEqual((self.daemon.held, len(self.daemon.actions)), ({}, 2))

    def test_a_next_trade_that_breaches_is_closed_while_reads_wait(self) -> None:
        answers = self.hold("search_open_positions")
        for _ in range(3):
            self.trade_directly(BUY, 3)
            self.assertEqual(self.daemon.held, {})
            self.daemon.advance(0.1)
        self.assertEqual(self.names.count(CLOSE), 3)
        answers()
        self.daemon.advance(20)
        # Once the answers are there, those that they verify are announced, and then the rest.
        closed = [action.details.positions_closed for action in self.daemon.actions]
        self.assertEqual(closed, [1, 2])
        self.assertTrue(all(action.success for action in self.daemon.actions))

    def test_a_next_trade_is_closed_when_it_has_grown_too_large(self) -> None:
        self.hold("search_open_positions")
        self.trade_directly(BUY, 3)
        self.daemon.advance(0.1)
        self.trade_directly(BUY, 2)
        self.daemon.advance(0.1)
        self.assertEqual(self.daemon.held, {MNQ: 2})
        stop = self.trade_directly(SELL, 2, type=4, stopPrice=20900)
        self.trade_directly(BUY, 1)
        self.assertEqual((self.daemon.held, stop in self.daemon.working), ({}, False))

    def test_a_next_trade_is_not_counted_with_a_position_that_is_being_closed(self) -> None:
        self.daemon.move(ES, "5800")
        self.trade_directly(BUY, 2, ES)
        self.daemon.advance(3)
        refusing = self.answer("close_contract", refused(CLOSE, 5), ES)
        self.trade_directly(BUY, 1)
        self.daemon.advance(0.1)
        self.assertEqual(self.daemon.held, {ES: 2})
        self.trade_directly(BUY, 1)
        self.daemon.advance(0.1)
        self.assertEqual(self.daemon.held, {ES: 2, MNQ: 1})
        refusing.restore()
        self.daemon.advance(20)
        self.assertEqual(self.daemon.held, {MNQ: 1})

    def test_a_position_that_a_stop_has_opened_meanwhile_is_closed(self) -> None:
        """The flatten was about to cancel the stop, and the market was faster."""
        self.trade_directly(BUY, 2)
        self.trade_directly(SELL, 2, type=4, stopPrice=20900)
        self.daemon.advance(3)
        self.requests.clear()
        self.daemon.gateway.faults = Faults(fill_while_cancelled=1.0)
        self.trade_directly(BUY, 1)
        self.daemon.advance(5)
        self.assertEqual(self.daemon.held, {})
        self.assertEqual(self.names.count(CLOSE), 2)


class ReopenedAndStopsTests(CloseFirstTestCase):
    """What a next trade needs does not wait for the flatten before it."""

    config = (
        MAX_CONTRACTS
        + "[rules.trade_management]\nenabled = true\nauto_breakeven = { enabled = true }\n"
    )

    def test_a_next_trade_gets_its_stop_while_reads_wait(self) -> None:
        self.hold("search_open_positions")
        self.trade_directly(BUY, 3)
        self.daemon.advance(0.1)
        self.trade_directly(BUY, 1)
        self.daemon.advance(0.1)
        self.assertEqual((self.daemon.held, len(self.daemon.working)), ({MNQ: 1}, 1))

    def test_the_stop_of_a_next_trade_follows_the_market_while_reads_wait(self) -> None:
        self.hold("search_open_positions")
        self.trade_directly(BUY, 3)
        self.daemon.advance(0.1)
        self.trade_directly(BUY, 1)
        self.daemon.advance(0.1)
        (stop,) = self.daemon.working
        first = self.daemon.state.orders[stop].stop_price
        self.daemon.move(MNQ, "21100")
        self.daemon.advance(3)
        self.assertEqual(self.daemon.working, [stop])
        self.assertGreater(self.daemon.state.orders[stop].stop_price, first)


class LockedTests(CloseFirstTestCase):
    """A program that enters a locked account again and again."""

    config = DAILY_LOSS

    def enter_every_second(self, seconds: int) -> float:
        """Return the longest time for which a position was held."""
        longest = 0.0
        for _ in range(seconds):
            self.trade_directly(BUY, 1)
            held = 0.0
            for _step in range(20):
                held += 0.05 if self.daemon.held else 0.0
                self.daemon.advance(0.05, step=0.05)
            longest = max(longest, held)
        return longest

    def hold_off(self, seconds: int, **faults: float) -> float:
        """Hold the account against the program, and return the longest time for which a position was there."""
        self.lock()
        refusals: list[float] = []
        injector = self.daemon.gateway._injector
        real = injector._excess

        def excess(request: str, now: float) -> Any:
            error = real(request, now)
            refusals.extend([now] if error else [])
            return error

        self.patch(injector, "_excess", excess)
        self.daemon.gateway.faults = Faults(requests_per_minute=200, **faults)
        self.daemon.told.clear()
        longest = self.enter_every_second(seconds)
        self.daemon.advance(15)
        self.assertEqual((refusals, self.daemon.held), ([], {}))
        actions = self.daemon.actions
        self.assertTrue(all(action.success for action in actions))
        self.assertEqual(sum(action.details.positions_closed for action in actions), seconds)
        errors = [one for one in self.daemon.news(DaemonStatus) if one.status is Status.ERROR]
        self.assertEqual(errors, [])
        return longest

    def test_it_is_held_off_for_minutes_within_the_rate_limit(self) -> None:
        seconds = 130
        self.assertEqual(self.hold_off(seconds), 0.0)
        counts = Counter(self.names)
        self.assertEqual((counts[CLOSE], counts["Order/searchById"]), (seconds, 0))
        # Once in five seconds, and the first of half a minute at once.
        self.assertLessEqual(counts["Position/searchOpen"], seconds / 5 + seconds / 30 + 5)

    def test_it_is_held_off_at_a_distance_too(self) -> None:
        longest = self.hold_off(130, latency_seconds=0.08, position_delay_seconds=0.1)
        self.assertLess(longest, 0.4)

    def test_a_position_that_is_opened_while_another_is_verified_is_closed_at_once(self) -> None:
        self.lock()
        self.answer("search_open_positions", never)
        for _ in range(3):
            self.trade_directly(BUY, 1)
            self.assertEqual(self.daemon.held, {})
            self.daemon.advance(0.1)
        self.assertEqual(self.names.count(CLOSE), 3)

    def test_what_is_closed_after_the_listing_was_asked_for_is_verified_by_the_next(self) -> None:
        self.lock()
        answers = self.hold("search_open_positions")
        self.daemon.told.clear()
        for _ in range(2):
            self.trade_directly(BUY, 1)
            self.daemon.advance(0.1)
        answers()
        closed = [action.details.positions_closed for action in self.daemon.actions]
        self.assertEqual(closed, [1])
        self.daemon.advance(8)
        closed = [action.details.positions_closed for action in self.daemon.actions]
        self.assertEqual(closed, [1, 1])

    def test_a_position_that_only_the_listing_shows_is_closed_before_success_is_told(self) -> None:
        self.daemon.move(ES, "5800")
        self.daemon.gateway.faults = Faults(lost_events=1.0)
        self.trade_directly(BUY, 1, ES)
        self.daemon.gateway.faults = Faults(latency_seconds=0.05)
        self.assertEqual(self.daemon.state.positions, {})
        self.trade_directly(BUY, 2)
        self.daemon.move(MNQ, "20875")
        self.trade_directly(SELL, 2)
        while not self.daemon.actions:
            self.daemon.advance(0.01, step=0.01)
        self.assertEqual((self.daemon.actions[0].success, self.daemon.held), (True, {}))

    def test_what_the_broker_refuses_to_close_is_not_announced_as_closed(self) -> None:
        """A close that is repeated while the listing is asked for is of no next position."""
        self.daemon.move(ES, "5800")
        self.trade_directly(BUY, 1, ES)
        self.answer("close_contract", refused(CLOSE, 5), ES)
        answers = self.hold("search_open_positions")
        self.lose(125, 2)
        self.daemon.advance(0.4)
        answers()
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {ES: 1})
        self.assertEqual([action for action in self.daemon.actions if action.success], [])

    def test_a_position_that_is_opened_while_a_close_is_under_way_is_closed_after_it(self) -> None:
        self.lock()
        self.daemon.gateway.faults = Faults(latency_seconds=0.25)
        self.trade_directly(BUY, 1)
        self.daemon.advance(0.25)
        self.trade_directly(BUY, 1)
        self.daemon.advance(3)
        self.assertEqual(self.daemon.held, {})

    def test_the_lock_is_announced_though_some_close_is_under_way_at_every_moment(self) -> None:
        self.daemon.move(ES, "5800")
        self.daemon.gateway.faults = Faults(latency_seconds=0.5)
        self.trade_directly(BUY, 2)
        self.daemon.move(MNQ, "20875")
        self.trade_directly(SELL, 2)
        for number in range(40):
            self.trade_directly(BUY, 1, (MNQ, ES)[number % 2])
            self.daemon.advance(0.25)
        self.assertEqual(len(self.daemon.locks), 1)

    def test_an_order_that_is_canceled_is_not_asked_for_where_an_event_reports_its_end(
        self,
    ) -> None:
        self.lock()
        for faults, asked in ((NO_FAULTS, 0), (Faults(lost_events=1.0), 1)):
            self.requests.clear()
            self.daemon.gateway.faults = faults
            order = self.trade_directly(BUY, 1, type=1, limitPrice=20000)
            # Without its event, the next round finds it.
            self.daemon.advance(6)
            self.assertEqual((order in self.daemon.working, self.daemon.working), (False, []))
            self.assertEqual(self.names.count("Order/searchById"), asked)

    def test_the_order_that_closes_a_position_is_not_canceled(self) -> None:
        """The broker reports the order that it makes of a close, before that is filled."""
        self.lock()
        self.daemon.gateway.faults = Faults(latency_seconds=0.1, position_delay_seconds=0.1)
        self.trade_directly(BUY, 1)
        self.daemon.advance(3)
        # The order that opened it is canceled, in vain; the one that closes it is not.
        self.assertEqual((self.names.count(CANCEL), self.daemon.held), (1, {}))


class RateLimitTests(CloseFirstTestCase):
    """Verification leaves room for closes."""

    config = MAX_CONTRACTS

    def test_without_room_a_flatten_is_verified_later_and_by_two_reads(self) -> None:
        self.patch(self.daemon.gateway, "has_room", lambda _requests: False)
        self.trade_directly(BUY, 3)
        self.assertEqual((self.daemon.held, self.names), ({}, [CLOSE]))
        self.daemon.advance(7)
        self.assertEqual(self.names, [CLOSE, *READS[:2]])
        self.assertEqual([action.success for action in self.daemon.actions], [True])
