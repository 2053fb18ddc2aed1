"""Searches, tags, and states that outlive an exchange."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.interface import GatewayRefusedError
from riskd.practice import account_store
from riskd.practice.account_store import ExchangeState
from riskd.practice.records import Quote
from tests.support.practice_exchange import (
    ACCOUNT,
    BUY,
    ES,
    EURO,
    LIMIT,
    MNQ,
    NOW,
    ORDER,
    OTHER_ACCOUNT,
    SELL,
    STOP,
    STOP_LIMIT,
    TRADE,
    Desk,
    RefusalTestCase,
    fresh_exchange,
    prices,
)


class ListTests(SynchronousTestCase):
    """All that there is."""

    def test_every_account_and_every_contract_is_listed(self) -> None:
        exchange = fresh_exchange()
        self.assertEqual(
            exchange.accounts(), [exchange.account(key) for key in (ACCOUNT, OTHER_ACCOUNT)]
        )
        self.assertEqual(
            exchange.contracts(), [exchange.contract(each.id) for each in (MNQ, ES, EURO)]
        )


class OrderSearchTests(SynchronousTestCase):
    """An order can be asked for, whatever became of it."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def status(self, order_id: int) -> int:
        order = self.desk.exchange.order(ACCOUNT, order_id)
        self.assertEqual(
            order, [told for told in self.desk.payloads(ORDER) if told["id"] == order_id][-1]
        )
        status: int = order["status"]
        return status

    def refusal(self, order_id: int, account_id: int = ACCOUNT) -> tuple[str, int]:
        error = self.assertRaises(
            GatewayRefusedError, self.desk.exchange.order, account_id, order_id
        )
        return error.request, error.code

    def test_an_order_is_found_in_every_state(self) -> None:
        """As it was told last."""
        filled = self.desk.order(BUY, 2)
        working = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        cancelled = self.desk.order(SELL, 1, LIMIT, **prices(limit="21090.00"))
        self.desk.now += timedelta(seconds=1)
        self.desk.cancel(cancelled)
        self.assertRaises(GatewayRefusedError, self.desk.order, BUY, 0)
        rejected = self.desk.last(ORDER)["id"]
        self.assertEqual(
            [self.status(order_id) for order_id in (filled, working, cancelled, rejected)],
            [2, 1, 3, 5],
        )

    def test_an_order_nobody_placed_is_refused(self) -> None:
        self.assertEqual(self.refusal(999), ("Order/searchById", 1))

    def test_an_order_of_another_account_is_refused(self) -> None:
        for order_id in (
            self.desk.order(BUY, 1),
            self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00")),
        ):
            self.assertEqual(self.refusal(order_id, OTHER_ACCOUNT), ("Order/searchById", 1))

    def test_only_so_many_ended_orders_are_remembered(self) -> None:
        self.patch(account_store, "MAX_ENDED_ORDERS", 3)
        first, *others = (self.desk.order(BUY, 1) for _ in range(4))
        self.assertEqual(self.refusal(first), ("Order/searchById", 1))
        self.assertEqual([self.status(order_id) for order_id in others], [2] * 3)

    def test_what_is_found_is_a_copy(self) -> None:
        order_id = self.desk.order(BUY, 1)
        self.desk.exchange.order(ACCOUNT, order_id)["size"] = 99
        self.assertEqual(self.status(order_id), 2)


class TradeSearchTests(SynchronousTestCase):
    """The trades of an account, from a moment on."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def test_all_trades_since_a_moment_are_found_oldest_first(self) -> None:
        """Half-turns too, of this account only, and those made at that very moment."""
        self.desk.order(BUY, 1)
        self.desk.now += timedelta(minutes=1)
        since = self.desk.now
        self.desk.order(BUY, 1)
        self.desk.order(SELL, 7, account_id=OTHER_ACCOUNT)
        self.desk.now += timedelta(microseconds=1)
        self.desk.order(SELL, 2)
        found = self.desk.exchange.trades(ACCOUNT, since)
        own = [trade for trade in self.desk.payloads(TRADE) if trade["accountId"] == ACCOUNT]
        self.assertEqual(found, own[1:])
        self.assertEqual(["profitAndLoss" in trade for trade in found], [False, True])
        self.assertEqual(self.desk.exchange.trades(ACCOUNT, NOW), own)
        self.assertEqual(
            self.desk.exchange.trades(ACCOUNT, self.desk.now + timedelta(seconds=1)), []
        )

    def test_trades_older_than_two_days_are_forgotten(self) -> None:
        for hours in (0, 1, 48):
            self.desk.now = NOW + timedelta(hours=hours, seconds=1)
            self.desk.order(BUY, 1)
        found = self.desk.exchange.trades(ACCOUNT, NOW - timedelta(days=9))
        self.assertEqual(found, self.desk.payloads(TRADE))
        self.desk.now += timedelta(seconds=1)
        self.desk.order(BUY, 1)
        found = self.desk.exchange.trades(ACCOUNT, NOW - timedelta(days=9))
        self.assertEqual(found, self.desk.payloads(TRADE)[1:])

    def test_what_is_found_is_a_copy(self) -> None:
        self.desk.order(BUY, 1)
        self.desk.exchange.trades(ACCOUNT, NOW)[0]["size"] = 99
        self.assertEqual(self.desk.exchange.trades(ACCOUNT, NOW)[0]["size"], 1)


class TagTests(RefusalTestCase):
    """A custom tag is used once by an account."""

    def test_a_tag_is_refused_the_second_time_whatever_became_of_the_first(self) -> None:
        self.desk.order(BUY, 1, customTag="filled")
        self.desk.order(BUY, 1, LIMIT, customTag="working", **prices(limit="20990.00"))
        self.desk.cancel(
            self.desk.order(BUY, 1, LIMIT, customTag="cancelled", **prices(limit="20990.00"))
        )
        self.refusal(self.desk.order, BUY, 0, customTag="rejected")
        for restarts in (False, True):
            if restarts:
                self.desk.restart(self.desk.exchange.state(self.desk.now))
            self.desk.forget()
            for tag in ("filled", "working", "cancelled", "rejected"):
                self.assertEqual(
                    self.refusal(self.desk.order, BUY, 1, customTag=tag), ("Order/place", 2), tag
                )
            self.assertEqual(self.desk.told, [], "there is no order of it")

    def test_another_account_may_use_it_and_no_tag_is_none(self) -> None:
        self.desk.order(BUY, 1, customTag="tag")
        self.desk.order(BUY, 1, customTag="tag", account_id=OTHER_ACCOUNT)
        for _ in range(2):
            self.desk.order(BUY, 1)
            self.desk.order(BUY, 1, customTag=None)

    def test_a_tag_is_remembered_as_long_as_its_order(self) -> None:
        self.patch(account_store, "MAX_ENDED_ORDERS", 2)
        self.desk.order(BUY, 1, customTag="tag")
        self.desk.order(BUY, 1)
        self.refusal(self.desk.order, BUY, 1, customTag="tag")
        self.desk.order(BUY, 1)
        self.desk.order(BUY, 1, customTag="tag")


class MemoryTests(SynchronousTestCase):
    """What another exchange goes on from."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")
        self.desk.move("1.10000", contract=EURO)

    def state(self) -> ExchangeState:
        return self.desk.exchange.state(self.desk.now)

    def test_an_exchange_goes_on_from_what_another_knew(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.order(SELL, 1, contract=EURO, account_id=OTHER_ACCOUNT)
        self.desk.order(SELL, 2, STOP, **prices(stop="20990.00"))
        self.desk.order(BUY, 3, LIMIT, customTag="a tag", **prices(limit="20980.00"))
        before = self.state()
        self.assertEqual(len(before.positions) + len(before.orders), 4)
        self.assertEqual(self.desk.restart(before), [])
        self.assertEqual(self.state(), before)

    def test_of_the_past_it_holds_two_days(self) -> None:
        self.desk.order(BUY, 1)
        resting = self.desk.order(BUY, 1, LIMIT, **prices(limit="20000.00"))
        self.desk.now += timedelta(days=2, seconds=1)
        state = self.state()
        self.assertEqual((state.trades, state.ended), ((), ()))
        self.assertEqual([order["id"] for order in state.orders], [resting])
        self.assertEqual([held["size"] for held in state.positions], [1])

    def test_ids_go_on_above_the_highest_and_above_the_first(self) -> None:
        order = {"contractId": MNQ.id, "type": 2, "side": 0, "size": 1}
        for first_id, next_id in ((1, 5001), (9000, 9000)):
            exchange = fresh_exchange(first_id=first_id)
            exchange.restore(ExchangeState(highest_id=5000), NOW)
            exchange.move_market(MNQ.id, Quote(Decimal(10), Decimal("10.25"), Decimal(10)), NOW)
            self.assertEqual(exchange.place_order(ACCOUNT, order, NOW), next_id)

    def test_what_is_in_a_contract_not_listed_any_more_is_dropped(self) -> None:
        """Its order has expired; its trades were made all the same."""
        self.desk.order(BUY, 2)
        self.desk.order(SELL, 1, contract=EURO)
        order_id = self.desk.order(SELL, 2, STOP, **prices(stop="20990.00"))
        exchange = fresh_exchange(contracts=(ES, EURO))
        later = NOW + timedelta(hours=1)
        position, order = exchange.restore(self.state(), later)
        for sentence, kind in ((position, "position"), (order, "order")):
            self.assertIn(kind, sentence)
            self.assertIn("account 123, 2 CON.F.US.MNQ.H26, is dropped", sentence)
        self.assertEqual(
            [held["contractId"] for held in exchange.open_positions(ACCOUNT)], [EURO.id]
        )
        self.assertEqual(exchange.open_orders(ACCOUNT), [])
        expired = exchange.order(ACCOUNT, order_id)
        self.assertEqual((expired["status"], expired["updateTimestamp"]), (4, later.isoformat()))
        self.assertEqual(exchange.trades(ACCOUNT, NOW), self.desk.payloads(TRADE))
        self.assertEqual(exchange.take_messages(), [])

    def test_what_is_of_an_account_not_traded_any_more_is_dropped(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.order(SELL, 2, STOP, **prices(stop="20990.00"))
        exchange = fresh_exchange(accounts=(OTHER_ACCOUNT,))
        (sentence,) = exchange.restore(self.state(), NOW)
        self.assertIn("account 123", sentence)
        state = exchange.state(NOW)
        self.assertEqual(
            (state.positions, state.orders, state.ended, state.trades), ((), (), (), ())
        )

    def test_half_a_cent_falls_to_the_same_side_although_the_average_was_cut(self) -> None:
        for cut in ("1.100008333333333333333333333", "1.100008333333333333333333334"):
            self.desk = Desk()
            self.desk.move("1.09995", contract=EURO)
            self.desk.order(BUY, 5, contract=EURO)
            self.desk.move("1.10000", contract=EURO)
            self.desk.order(BUY, 1, contract=EURO)
            self.desk.move("1.10005", contract=EURO)
            state = self.state()
            state.positions[0]["averagePrice"] = Decimal(cut)
            self.desk.restart(state)
            for made in ("15.62", "15.63"):
                self.desk.order(SELL, 3, contract=EURO)
                self.assertEqual(str(self.desk.last(TRADE)["profitAndLoss"]), made)

    def test_a_stop_limit_stays_triggered(self) -> None:
        """It rests as a limit once its stop was reached, and only then."""
        order_id = self.desk.order(BUY, 1, STOP_LIMIT, **prices(stop="21002.00", limit="21003.00"))
        waiting = self.state()
        self.desk.now += timedelta(seconds=1)
        self.desk.move("21010.00")
        triggered = self.desk.last(ORDER)
        self.assertEqual(
            (triggered["id"], triggered["status"], triggered["updateTimestamp"]),
            (order_id, 1, self.desk.now.isoformat()),
        )
        resting = self.state()
        for state, fills in ((waiting, []), (resting, [(order_id, Decimal("21003.00"))])):
            desk = Desk()
            desk.restart(state)
            desk.move("21001.00")
            self.assertEqual(desk.fills(), fills)

    def test_a_resting_limit_keeps_its_price_when_the_market_opens_beyond_it(self) -> None:
        order_id = self.desk.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        desk = Desk()
        desk.restart(self.state())
        desk.move("20950.00")
        self.assertEqual(desk.fills(), [(order_id, Decimal("20990.00"))])
