"""News of the broker in any order: which of them count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS, Faults
from riskd.engine.order_of_truth import SETTLED_SECONDS, OrderOfTruth, thing_of
from riskd.gateway.interface import GatewayRefusedError
from riskd.model.account import AccountState, apply
from riskd.model.broker import BrokerAccount, BrokerOrder, BrokerPosition, Unreadable
from riskd.model.events import (
    Event,
    GatewayUserOrder,
    GatewayUserPosition,
    OrderSide,
    OrderState,
)
from tests import examples
from tests.support.broker_values import NOON, broker_order, broker_position, broker_trade
from tests.support.practice_daemon import ACCOUNT, BUY, ES, MNQ, SELL, PracticeDaemon
from tests.support.waiting import step_until

EMPTY = AccountState(account_id=ACCOUNT)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def order(
    number: int = 7,
    state: OrderState = OrderState.ACTIVE,
    stamp: float | None = None,
    size: int = 1,
) -> BrokerOrder:
    stamped = None if stamp is None else at(stamp)
    return broker_order(
        id=number, state=state, size=size, stop_price=Decimal(20900), stamp=stamped
    )


def position(
    size: int, opened: float = 0, stamp: float | None = None, number: int = 1
) -> BrokerPosition:
    stamped = None if stamp is None else at(stamp)
    return broker_position(id=number, size=size, created_at=at(opened), stamp=stamped)


class EventTests(SynchronousTestCase):
    """Events among themselves."""

    def setUp(self) -> None:
        self.truth = OrderOfTruth()

    def accepts(self, news: Any, seconds: float, state: AccountState = EMPTY) -> bool:
        return self.truth.accepts_event(news, state, seconds)

    def test_events_apply_in_the_order_of_receipt(self) -> None:
        for seconds, stamp in ((0, None), (1, 5), (2, None), (3, 5), (4, 6)):
            self.assertTrue(self.accepts(order(stamp=stamp), seconds))
        self.assertIsNone(self.truth.doubt_since)

    def test_a_late_copy_does_not_apply_and_leaves_doubt(self) -> None:
        self.accepts(order(stamp=5), 0)
        self.assertTrue(self.accepts(order(8, stamp=1), 1))
        self.assertFalse(self.accepts(order(stamp=4.9), 2))
        self.assertEqual(self.truth.doubt_since, 2)
        # A late one is no measure of those that follow.
        self.assertFalse(self.accepts(order(stamp=4.95), 3))

    def test_the_end_of_an_order_applies_whatever_its_stamp(self) -> None:
        self.accepts(order(stamp=5), 0)
        self.assertTrue(self.accepts(order(state=OrderState.CANCELED, stamp=1), 1))

    def test_an_order_that_has_ended_works_no_more(self) -> None:
        ended = apply(EMPTY, Event(ACCOUNT, order(state=OrderState.FILLED)))
        self.assertFalse(self.accepts(order(stamp=9), 1, ended))

    def test_the_late_end_of_a_position_leaves_the_next_one_open(self) -> None:
        truth = OrderOfTruth()
        state = apply(EMPTY, Event(ACCOUNT, position(1, opened=5)))
        self.assertFalse(truth.accepts_event(position(0), state, 10))
        self.assertEqual(truth.doubt_since, 10)
        self.assertFalse(truth.accepts_event(position(1), state, 11))
        self.assertTrue(truth.accepts_event(position(0, opened=5), state, 12))
        # Neither date says which position it was: an end counts.
        undated = msgspec.structs.replace(position(0), created_at=datetime(1, 1, 1, tzinfo=UTC))
        self.assertTrue(OrderOfTruth().accepts_event(undated, state, 10))

    def test_the_late_end_of_a_position_that_was_dated_ahead_leaves_the_next_one_open(
        self,
    ) -> None:
        truth = OrderOfTruth()
        self.assertTrue(truth.accepts_event(position(1, opened=86400), EMPTY, 0))
        following = position(1, opened=5, number=2)
        self.assertTrue(truth.accepts_answer(following, 7))
        state = apply(EMPTY, Event(ACCOUNT, following))
        self.assertFalse(truth.accepts_event(position(0, opened=86400), state, 10))
        self.assertEqual(truth.doubt_since, 10)
        self.assertTrue(truth.accepts_event(position(0, opened=5, number=2), state, 12))

    def test_a_position_whose_end_is_reported_late_is_guarded_all_the_time(self) -> None:
        daemon = PracticeDaemon("[rules.no_stop_loss_grace]\ngrace_period_seconds = 30\n")
        self.addCleanup(daemon.close)
        daemon.move(MNQ, "21000")
        daemon.trade(BUY, 1)
        [first] = daemon.gateway.exchange.store.open_positions(ACCOUNT)
        daemon.advance(3)
        daemon.gateway.faults = Faults(lost_events=1.0)
        daemon.trade(SELL, 1)
        daemon.trade(BUY, 1)
        daemon.gateway.faults = NO_FAULTS
        [second] = daemon.gateway.exchange.store.open_positions(ACCOUNT)
        for payload in (second, {**first, "size": 0, "type": 0}):
            daemon.payloads.user_event("GatewayUserPosition", payload)
        daemon.advance(33)
        self.assertEqual(daemon.held, {})

    def test_a_closed_position_is_not_open_again(self) -> None:
        self.assertTrue(self.accepts(position(2), 0))
        self.assertTrue(self.accepts(position(0), 10))
        self.assertFalse(self.accepts(position(2), 20))
        self.assertEqual(self.truth.doubt_since, 20)
        self.assertTrue(self.accepts(position(1, opened=15), 21))

    def test_news_of_two_ended_positions_in_any_order_change_nothing_more(self) -> None:
        state = EMPTY
        for seconds, news in enumerate((position(1), position(0), position(1, opened=2))):
            self.assertTrue(self.accepts(news, 10 * seconds, state))
            state = apply(state, Event(ACCOUNT, news))
        ended = position(0, opened=2)
        self.assertTrue(self.accepts(ended, 30, state))
        state = apply(state, Event(ACCOUNT, ended))
        self.assertIsNone(self.truth.doubt_since)
        # The end of the first one is told once, and neither is open again after it.
        self.assertFalse(self.accepts(position(0), 31, state))
        self.assertFalse(self.accepts(position(0, opened=2), 31, state))
        self.assertIsNone(self.truth.doubt_since)
        for late in (position(1, opened=2), position(1)):
            self.assertFalse(self.accepts(late, 40, state))
            self.assertEqual(self.truth.doubt_since, 40)
        # The broker lists it: it is open.
        self.assertTrue(self.truth.accepts_answer(position(1, opened=2), 50))
        self.assertTrue(self.accepts(position(2, opened=2), 52, state))

    def test_a_position_that_comes_after_the_end_of_a_later_one_leaves_doubt(self) -> None:
        # The two ends came first, and both openings are late.
        self.assertTrue(self.accepts(position(0), 0))
        self.assertTrue(self.accepts(position(0, opened=5), 6))
        self.assertIsNone(self.truth.doubt_since)
        self.accepts(position(1), 8)
        self.assertEqual(self.truth.doubt_since, 8)
        # The broker lists it: its dates say nothing.
        self.truth.accepts_answer(position(1), 10)
        self.truth.settled(10)
        self.accepts(position(2), 13)
        self.assertIsNone(self.truth.doubt_since)

    def test_a_position_without_a_date_is_known_by_its_id(self) -> None:
        def undated(number: int, size: int) -> BrokerPosition:
            return msgspec.structs.replace(
                position(size, number=number), created_at=datetime(1, 1, 1, tzinfo=UTC)
            )

        self.assertTrue(self.accepts(undated(1, 2), 0))
        self.assertTrue(self.accepts(undated(1, 0), 10))
        self.assertTrue(self.accepts(undated(2, 2), 20))
        self.assertIsNone(self.truth.doubt_since)
        second = apply(EMPTY, Event(ACCOUNT, undated(2, 2)))
        self.assertFalse(self.accepts(undated(1, 0), 30, second))
        self.assertEqual(self.truth.doubt_since, 30)

    def test_the_end_of_another_position_leaves_doubt(self) -> None:
        later = apply(EMPTY, Event(ACCOUNT, position(1, opened=5)))
        self.assertFalse(self.accepts(position(0, opened=1), 6, later))
        self.assertEqual(self.truth.doubt_since, 6)
        # Its beginning was lost: the one that was known has ended before.
        self.assertTrue(self.accepts(position(0, opened=9), 10, later))
        self.assertEqual(self.truth.doubt_since, 10)

    def test_events_of_one_position_that_come_together_leave_doubt(self) -> None:
        self.accepts(position(2), 0)
        self.accepts(position(3), 5)
        self.assertIsNone(self.truth.doubt_since)
        self.accepts(position(2), 9.9)
        self.assertEqual(self.truth.doubt_since, 9.9)

    def test_a_position_does_not_follow_one_that_was_opened_later(self) -> None:
        later = apply(EMPTY, Event(ACCOUNT, position(2, opened=5, number=2)))
        self.assertFalse(self.accepts(position(1, opened=1), 6, later))
        self.assertEqual(self.truth.doubt_since, 6)
        self.assertTrue(self.accepts(position(1, opened=9, number=3), 7, later))
        ended = apply(EMPTY, Event(ACCOUNT, position(0, opened=5, number=2)))
        self.assertTrue(self.accepts(position(1, opened=1), 8, ended))

    def test_stamps_tell_the_order_of_events_that_come_together(self) -> None:
        self.assertTrue(self.accepts(position(3, stamp=1.1), 5))
        self.assertFalse(self.accepts(position(2, stamp=1.0), 5.1))
        self.assertTrue(self.accepts(position(4, stamp=1.2), 5.2))

    def test_trades_apply_in_the_order_of_receipt(self) -> None:
        for seconds in range(3):
            self.assertTrue(self.accepts(broker_trade(), seconds))

    def test_what_cannot_be_read_leaves_doubt(self) -> None:
        self.assertFalse(self.accepts(Unreadable(what="GatewayUserOrder", why="?"), 3))
        self.assertEqual(self.truth.doubt_since, 3)

    def test_permissions_always_apply(self) -> None:
        self.assertTrue(self.accepts(BrokerAccount(can_trade=False), 0))

    def test_the_thing_that_was_received_first_is_forgotten_first(self) -> None:
        for number in (*range(4000), 0, *range(4000, 4500)):
            self.accepts(order(number, stamp=5), 0)
        self.assertFalse(self.accepts(order(0, stamp=4), 1))
        self.assertTrue(self.accepts(order(1, stamp=4), 1))


class AnswerTests(SynchronousTestCase):
    """Answers among themselves and among events."""

    def setUp(self) -> None:
        self.truth = OrderOfTruth()

    def test_an_answer_covers_what_was_received_before_its_request(self) -> None:
        self.truth.accepts_event(order(stamp=5), EMPTY, 10)
        for sent_at, covers in ((10, False), (10 + SETTLED_SECONDS - 0.01, False), (11, True)):
            self.assertIs(self.truth.covers(("order", 7), sent_at), covers, sent_at)
        self.assertTrue(self.truth.covers(("order", 8), 0))
        self.assertTrue(self.truth.covers(("order", 7), 10, trail=0))

    def test_a_stamp_is_never_compared_with_an_answer(self) -> None:
        self.truth.accepts_event(order(stamp=3600), EMPTY, 10)
        self.assertTrue(self.truth.covers(("order", 7), 20))
        self.assertTrue(self.truth.accepts_answer(order(), 20))
        self.assertTrue(self.truth.accepts_event(order(stamp=3601), EMPTY, 21))

    def test_an_answer_to_an_earlier_request_does_not_apply_later(self) -> None:
        self.assertTrue(self.truth.accepts_answer(order(), 20))
        self.assertFalse(self.truth.accepts_answer(order(), 19))
        self.truth.ended(("order", 8), 20)
        self.assertFalse(self.truth.covers(("order", 8), 19))

    def test_what_a_later_answer_did_not_list_has_ended(self) -> None:
        self.truth.listed("order", 20)
        self.truth.listed("order", 18)
        self.assertFalse(self.truth.accepts_answer(order(), 19))
        self.assertTrue(self.truth.accepts_answer(order(state=OrderState.FILLED), 19))
        self.assertTrue(self.truth.accepts_answer(position(1), 19))
        self.assertTrue(self.truth.accepts_answer(order(8), 20))

    def test_a_position_that_the_broker_still_lists_is_open(self) -> None:
        self.truth.accepts_event(position(2), EMPTY, 0)
        self.truth.accepts_event(position(0), EMPTY, 1)
        self.truth.accepts_answer(position(2), 5)
        self.assertTrue(self.truth.accepts_event(position(3), EMPTY, 6))

    def test_a_position_that_the_broker_lists_no_more_is_not_opened_by_a_late_event(self) -> None:
        self.truth.accepts_event(position(2), EMPTY, 0)
        self.truth.ended(thing_of(position(2)), 5, position(2).opening)
        self.assertFalse(self.truth.accepts_event(position(2), EMPTY, 6))

    def test_doubt_ends_with_a_later_reconciliation(self) -> None:
        self.truth.doubt(10)
        for sent_at in (9.0, 10.5):
            self.truth.settled(sent_at)
            self.assertEqual(self.truth.doubt_since, 10)
        self.truth.settled(11)
        self.assertIsNone(self.truth.doubt_since)


NO_STOP = "[rules.no_stop_loss_grace]\ngrace_period_seconds = 30\n"


class StopTests(SynchronousTestCase):
    """A stop that is gone protects nothing, however the broker says so."""

    def start(self, *, fast: float = 0, faults: Faults = NO_FAULTS) -> PracticeDaemon:
        daemon = PracticeDaemon(NO_STOP)
        self.addCleanup(daemon.close)
        daemon.gateway.faults = msgspec.structs.replace(faults, clock_offset_seconds=-fast)
        daemon.move(MNQ, "21000")
        daemon.trade(BUY, 1)
        self.stop = daemon.trade(SELL, 1, stopPrice="20900")
        return daemon

    def assert_closed(self, daemon: PracticeDaemon, seconds: float = 100) -> None:
        daemon.advance(seconds)
        self.assertEqual((list(daemon.state.orders), daemon.held), ([], {}))

    def next_look(self, daemon: PracticeDaemon) -> None:
        """Let time pass until the account has just been reconciled."""
        looks: list[int] = []
        real = daemon.gateway.search_open_orders

        def search(account_id: int, *, urgent: bool = False) -> Any:
            looks.append(account_id)
            return real(account_id, urgent=urgent)

        daemon.gateway.search_open_orders = search  # type: ignore[method-assign]
        step_until(lambda: looks, lambda: daemon.advance(0.25))

    def test_it_is_canceled_after_a_look_without_stamps(self) -> None:
        for fast in (0, 3, 60, -3, -60):
            for faults in (
                Faults(searches_without_stamp=1.0),
                Faults(events_without_stamp=1.0),
                Faults(searches_without_stamp=1.0, events_without_stamp=1.0),
            ):
                with self.subTest(fast=fast, faults=faults):
                    daemon = self.start(fast=fast, faults=faults)
                    self.next_look(daemon)
                    daemon.advance(1)
                    daemon.gateway.cancel_order(ACCOUNT, self.stop)
                    self.assert_closed(daemon)

    def test_its_end_is_stamped_before_its_last_change(self) -> None:
        for change in ({"stopPrice": Decimal(20910)}, {"size": 2}):
            daemon = self.start(faults=Faults(ends_stamped_early=1.0))
            daemon.advance(2)
            daemon.gateway.modify_order(ACCOUNT, self.stop, change)
            daemon.gateway.cancel_order(ACCOUNT, self.stop)
            self.assert_closed(daemon)

    def test_it_is_filled_a_moment_after_it_was_placed(self) -> None:
        daemon = self.start(faults=Faults(searches_trail_seconds=0.4))
        daemon.advance(0.25)
        daemon.move(MNQ, "20890")
        daemon.advance(70)
        self.assertEqual((list(daemon.state.orders), daemon.held), ([], {}))
        self.assertEqual(daemon.state.open_positions, ())

    def test_the_event_of_its_end_is_lost(self) -> None:
        daemon = self.start(fast=45, faults=Faults(searches_without_stamp=1.0))
        self.next_look(daemon)
        daemon.gateway.faults = Faults(lost_events=1.0, clock_offset_seconds=-45)
        daemon.gateway.cancel_order(ACCOUNT, self.stop)
        daemon.gateway.faults = Faults(clock_offset_seconds=-45)
        self.assert_closed(daemon, 130)


class PhantomTests(SynchronousTestCase):
    """Orders and positions that riskd knows and the broker does not."""

    def journal_phantoms(self, config: str) -> PracticeDaemon:
        """Start on a journal with an order and a position that are dated a day ahead."""
        daemon = PracticeDaemon(config)
        self.addCleanup(daemon.close)
        daemon.move(MNQ, "21000")
        daemon.advance(2)
        account = daemon.engine.accounts[ACCOUNT].account
        tomorrow = daemon.now() + timedelta(days=1)
        for phantom in (order(4711), position(3)):
            self.assertTrue(account.update(msgspec.structs.replace(phantom, stamp=tomorrow)))
        daemon.advance(2)
        self.assertEqual(len(daemon.state.orders), 1)
        daemon.kill()
        daemon.told.clear()
        daemon.restart()
        return daemon

    def test_those_of_a_journal_are_gone_after_the_start(self) -> None:
        daemon = self.journal_phantoms("")
        daemon.advance(2)
        self.assertEqual((list(daemon.state.orders), daemon.state.open_positions), ([], ()))
        self.assertEqual([each.size for each in daemon.news(GatewayUserPosition)], [0])
        self.assertEqual(
            [each.state for each in daemon.news(GatewayUserOrder)], [OrderState.CANCELED]
        )
        daemon.kill()
        daemon.restart()
        self.assertEqual((list(daemon.state.orders), daemon.state.open_positions), ([], ()))

    def test_a_phantom_order_costs_a_locked_account_few_requests(self) -> None:
        daemon = PracticeDaemon("")
        self.addCleanup(daemon.close)
        daemon.move(MNQ, "21000")
        daemon.advance(2)
        daemon.engine.accounts[ACCOUNT].lock("enough", "trader", None)
        daemon.advance(5)
        requests: list[int] = []
        real = daemon.gateway.cancel_order

        def cancel(account_id: int, order_id: int) -> Any:
            requests.append(order_id)
            return real(account_id, order_id)

        daemon.gateway.cancel_order = cancel  # type: ignore[method-assign]
        daemon.engine.receive(ACCOUNT, msgspec.structs.replace(order(4711), side=OrderSide.BUY))
        daemon.advance(60)
        self.assertEqual(list(daemon.state.orders), [])
        self.assertLessEqual(len(requests), 2)

    def test_a_stamp_from_the_future_makes_nothing_after_it_look_late(self) -> None:
        daemon = PracticeDaemon("")
        self.addCleanup(daemon.close)
        daemon.move(MNQ, "21000")
        daemon.advance(2)
        for seconds, size in ((86_400, 1), (1, 2), (1, 3)):
            stamp = daemon.now() + timedelta(seconds=seconds)
            for news in (position(size), order(size=size)):
                daemon.engine.receive(ACCOUNT, msgspec.structs.replace(news, stamp=stamp))
            daemon.advance(0.25)
            self.assertEqual([each.size for each in daemon.state.open_positions], [size])
            self.assertEqual([each.size for each in daemon.state.working_orders], [size])

    def test_a_position_without_a_date_is_entered_again(self) -> None:
        daemon = PracticeDaemon("")
        self.addCleanup(daemon.close)
        daemon.move(MNQ, "21000")
        daemon.gateway.faults = Faults(positions_without_date=1.0)
        for _ in range(3):
            daemon.trade(BUY, 1)
            daemon.advance(1)
            self.assertEqual(len(daemon.state.open_positions), 1)
            daemon.trade(SELL, 1)
            daemon.advance(1)
            self.assertEqual(daemon.state.open_positions, ())

    def test_a_position_that_is_dated_ahead_is_closed_like_any_other(self) -> None:
        for faults in (Faults(positions_dated_ahead=1.0), Faults(positions_without_date=1.0)):
            daemon = PracticeDaemon("")
            self.addCleanup(daemon.close)
            daemon.move(MNQ, "21000")
            daemon.gateway.faults = faults
            daemon.trade(BUY, 1)
            daemon.advance(1)
            self.assertEqual(len(daemon.state.open_positions), 1)
            daemon.trade(SELL, 1)
            daemon.advance(1)
            self.assertEqual(daemon.state.open_positions, ())


WORLDS = st.builds(
    Faults,
    clock_offset_seconds=st.sampled_from([0.0, 3.0, -3.0, 60.0, -60.0]),
    latency_seconds=st.sampled_from([0.0, 0.04, 0.3]),
    position_delay_seconds=st.sampled_from([0.0, 0.1]),
    searches_trail_seconds=st.sampled_from([0.0, 0.1, 0.5]),
    lost_events=st.sampled_from([0.0, 0.3]),
    doubled_events=st.sampled_from([0.0, 0.3]),
    swapped_events=st.sampled_from([0.0, 0.3]),
    late_events=st.sampled_from([0.0, 0.3]),
    events_without_stamp=st.sampled_from([0.0, 0.5, 1.0]),
    searches_without_stamp=st.sampled_from([0.0, 0.5, 1.0]),
    ends_stamped_early=st.sampled_from([0.0, 0.5]),
    positions_dated_ahead=st.sampled_from([0.0, 0.3]),
    positions_without_date=st.sampled_from([0.0, 0.3]),
    partial_fills=st.sampled_from([0.0, 0.5]),
)

ACTS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "stop", "limit", "cancel", "change", "close", "move"]),
        st.sampled_from([MNQ, ES]),
        st.integers(1, 3),
        st.sampled_from([0.0, 0.1, 0.25, 0.6, 2.0, 7.0]),
    ),
    min_size=1,
    max_size=15,
)


class ModelTests(SynchronousTestCase):
    """Whatever happens to the news, riskd knows what the broker knows once all is quiet."""

    def act(self, daemon: PracticeDaemon, act: str, contract: str, size: int) -> None:
        price = {MNQ: 21000, ES: 5800}[contract]
        store, gateway = daemon.gateway.exchange.store, daemon.gateway
        working = store.open_orders(ACCOUNT)
        if act in ("buy", "sell"):
            self.place(daemon, contract, type=2, side=int(act == "sell"), size=size)
        elif act == "stop":
            self.place(daemon, contract, type=4, side=1, size=size, stopPrice=Decimal(price - 50))
        elif act == "limit":
            self.place(daemon, contract, type=1, side=0, size=size, limitPrice=Decimal(price - 40))
        elif act == "move":
            daemon.move(contract, str(price + 20 * size - 60))
        elif act == "close":
            gateway.close_contract(ACCOUNT, contract).addErrback(ignore)
        elif working and act == "cancel":
            gateway.cancel_order(ACCOUNT, working[0]["id"]).addErrback(ignore)
        elif working and act == "change":
            gateway.modify_order(ACCOUNT, working[0]["id"], {"size": size}).addErrback(ignore)

    def place(self, daemon: PracticeDaemon, contract: str, **more: Any) -> None:
        daemon.gateway.place_order(ACCOUNT, {"contractId": contract, **more}).addErrback(ignore)

    @settings(max_examples=examples(30))
    @given(WORLDS, ACTS)
    def test_news_in_any_order_end_in_the_truth(
        self, world: Faults, acts: list[tuple[str, str, int, float]]
    ) -> None:
        daemon = PracticeDaemon("")
        try:
            for contract, price in ((MNQ, "21000"), (ES, "5800")):
                daemon.move(contract, price)
            daemon.gateway.faults = world
            for act, contract, size, pause in acts:
                self.act(daemon, act, contract, size)
                daemon.advance(pause, step=0.05)
            quiet = Faults(clock_offset_seconds=world.clock_offset_seconds)
            daemon.gateway.faults = quiet
            daemon.advance(75, step=0.5)
            self.assert_truth(daemon)
            self.assert_wire(daemon)
        finally:
            daemon.close()

    def assert_truth(self, daemon: PracticeDaemon) -> None:
        store = daemon.gateway.exchange.store
        believed = {
            each.contract_id: each.size * each.type.sign for each in daemon.state.open_positions
        }
        self.assertEqual(believed, daemon.held)
        self.assertEqual(sorted(daemon.state.orders), sorted(daemon.working))
        for payload in store.open_orders(ACCOUNT):
            known = daemon.state.orders[payload["id"]]
            self.assertEqual(
                (known.size, known.filled, known.stop_price),
                (payload["size"], payload["fillVolume"], payload.get("stopPrice")),
            )

    def assert_wire(self, daemon: PracticeDaemon) -> None:
        """An order that has ended is never told of again, and no time goes back."""
        ended: set[int] = set()
        latest: dict[object, datetime] = {}
        for told in daemon.news(GatewayUserOrder, GatewayUserPosition):
            key = told.id if isinstance(told, GatewayUserOrder) else told.contract_id
            if isinstance(told, GatewayUserOrder):
                self.assertNotIn(told.id, ended)
                if told.state is not OrderState.ACTIVE:
                    ended.add(told.id)
            self.assertLessEqual(latest.get(key, told.updated_at), told.updated_at)
            latest[key] = told.updated_at


def ignore(failure: Any) -> None:
    failure.trap(GatewayRefusedError)
