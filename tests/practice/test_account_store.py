"""Searches, tags and restarts."""

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
    ExchangeDriver,
    RefusalTestCase,
    fresh_exchange,
    prices,
)


class ListTests(SynchronousTestCase):
    """Lists of accounts and contracts."""

    def test_every_account_and_every_contract_is_listed(self) -> None:
        exchange = fresh_exchange()
        self.assertEqual(
            exchange.store.accounts(),
            [exchange.store.account(key) for key in (ACCOUNT, OTHER_ACCOUNT)],
        )
        self.assertEqual(
            exchange.store.contracts(),
            [exchange.store.contract(each.id) for each in (MNQ, ES, EURO)],
        )


class OrderSearchTests(RefusalTestCase):
    """Searches for one order."""

    def status(self, order_id: int) -> int:
        order = self.driver.exchange.store.order(ACCOUNT, order_id)
        self.assertEqual(
            order,
            [reported for reported in self.driver.payloads(ORDER) if reported["id"] == order_id][
                -1
            ],
        )
        status: int = order["status"]
        return status

    def search_refusal(self, order_id: int, account_id: int = ACCOUNT) -> tuple[str, int]:
        return self.refusal(self.driver.exchange.store.order, account_id, order_id)

    def test_an_order_is_found_in_every_state(self) -> None:
        """The payload is the one reported last."""
        filled = self.driver.order(BUY, 2)
        working = self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        canceled = self.driver.order(SELL, 1, LIMIT, **prices(limit="21090.00"))
        self.driver.now += timedelta(seconds=1)
        self.driver.cancel(canceled)
        self.assertRaises(GatewayRefusedError, self.driver.order, BUY, 0)
        rejected = self.driver.last(ORDER)["id"]
        self.assertEqual(
            [self.status(order_id) for order_id in (filled, working, canceled, rejected)],
            [2, 1, 3, 5],
        )

    def test_a_search_for_an_unknown_order_is_refused(self) -> None:
        self.assertEqual(self.search_refusal(999), ("Order/searchById", 1))

    def test_a_search_for_an_order_of_another_account_is_refused(self) -> None:
        for order_id in (
            self.driver.order(BUY, 1),
            self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00")),
        ):
            self.assertEqual(self.search_refusal(order_id, OTHER_ACCOUNT), ("Order/searchById", 1))

    def test_the_oldest_ended_orders_are_forgotten(self) -> None:
        self.patch(account_store, "MAX_ENDED_ORDERS", 3)
        first, *others = (self.driver.order(BUY, 1) for _ in range(4))
        self.assertEqual(self.search_refusal(first), ("Order/searchById", 1))
        self.assertEqual([self.status(order_id) for order_id in others], [2] * 3)

    def test_a_found_payload_is_a_copy(self) -> None:
        order_id = self.driver.order(BUY, 1)
        self.driver.exchange.store.order(ACCOUNT, order_id)["size"] = 99
        self.assertEqual(self.status(order_id), 2)


class TradeSearchTests(SynchronousTestCase):
    """Searches for trades."""

    def setUp(self) -> None:
        self.driver = ExchangeDriver()
        self.driver.move("21000.00")

    def test_trades_since_a_moment_are_found_oldest_first(self) -> None:
        """Entries and trades of that very moment are included; those of other accounts are not."""
        self.driver.order(BUY, 1)
        self.driver.now += timedelta(minutes=1)
        since = self.driver.now
        self.driver.order(BUY, 1)
        self.driver.order(SELL, 7, account_id=OTHER_ACCOUNT)
        self.driver.now += timedelta(microseconds=1)
        self.driver.order(SELL, 2)
        found = self.driver.exchange.store.trades(ACCOUNT, since)
        own = [trade for trade in self.driver.payloads(TRADE) if trade["accountId"] == ACCOUNT]
        self.assertEqual(found, own[1:])
        self.assertEqual(["profitAndLoss" in trade for trade in found], [False, True])
        self.assertEqual(self.driver.exchange.store.trades(ACCOUNT, NOW), own)
        self.assertEqual(
            self.driver.exchange.store.trades(ACCOUNT, self.driver.now + timedelta(seconds=1)), []
        )

    def test_trades_older_than_eight_days_are_forgotten(self) -> None:
        for hours in (0, 1, 8 * 24):
            self.driver.now = NOW + timedelta(hours=hours, seconds=1)
            self.driver.order(BUY, 1)
        found = self.driver.exchange.store.trades(ACCOUNT, NOW - timedelta(days=20))
        self.assertEqual(found, self.driver.payloads(TRADE))
        self.driver.now += timedelta(seconds=1)
        self.driver.order(BUY, 1)
        found = self.driver.exchange.store.trades(ACCOUNT, NOW - timedelta(days=20))
        self.assertEqual(found, self.driver.payloads(TRADE)[1:])

    def test_a_found_payload_is_a_copy(self) -> None:
        self.driver.order(BUY, 1)
        self.driver.exchange.store.trades(ACCOUNT, NOW)[0]["size"] = 99
        self.assertEqual(self.driver.exchange.store.trades(ACCOUNT, NOW)[0]["size"], 1)


class TagTests(RefusalTestCase):
    """An account may use a custom tag once."""

    def test_a_used_tag_is_refused_in_any_state_of_its_order(self) -> None:
        self.driver.order(BUY, 1, customTag="filled")
        self.driver.order(BUY, 1, LIMIT, customTag="working", **prices(limit="20990.00"))
        self.driver.cancel(
            self.driver.order(BUY, 1, LIMIT, customTag="canceled", **prices(limit="20990.00"))
        )
        self.refusal(self.driver.order, BUY, 0, customTag="rejected")
        for restarts in (False, True):
            if restarts:
                self.driver.restart(self.driver.exchange.store.state(self.driver.now))
            self.driver.clear()
            for tag in ("filled", "working", "canceled", "rejected"):
                self.assertEqual(
                    self.refusal(self.driver.order, BUY, 1, customTag=tag), ("Order/place", 2), tag
                )
            self.assertEqual(self.driver.messages, [], "there is no order of it")

    def test_accounts_may_share_a_tag_and_orders_may_lack_one(self) -> None:
        self.driver.order(BUY, 1, customTag="tag")
        self.driver.order(BUY, 1, customTag="tag", account_id=OTHER_ACCOUNT)
        for _ in range(2):
            self.driver.order(BUY, 1)
            self.driver.order(BUY, 1, customTag=None)

    def test_a_tag_is_remembered_as_long_as_its_order(self) -> None:
        self.patch(account_store, "MAX_ENDED_ORDERS", 2)
        self.driver.order(BUY, 1, customTag="tag")
        self.driver.order(BUY, 1)
        self.refusal(self.driver.order, BUY, 1, customTag="tag")
        self.driver.order(BUY, 1)
        self.driver.order(BUY, 1, customTag="tag")


class RestartTests(SynchronousTestCase):
    """The state that another exchange restores after a restart."""

    def setUp(self) -> None:
        self.driver = ExchangeDriver()
        self.driver.move("21000.00")
        self.driver.move("1.10000", contract=EURO)

    def state(self) -> ExchangeState:
        return self.driver.exchange.store.state(self.driver.now)

    def test_an_exchange_goes_on_from_the_state_of_another(self) -> None:
        self.driver.order(BUY, 2)
        self.driver.order(SELL, 1, contract=EURO, account_id=OTHER_ACCOUNT)
        self.driver.order(SELL, 2, STOP, **prices(stop="20990.00"))
        self.driver.order(BUY, 3, LIMIT, customTag="a tag", **prices(limit="20980.00"))
        before = self.state()
        self.assertEqual(len(before.positions) + len(before.orders), 4)
        self.assertEqual(self.driver.restart(before), [])
        self.assertEqual(self.state(), before)

    def test_a_state_holds_eight_days_of_the_past(self) -> None:
        self.driver.order(BUY, 1)
        resting = self.driver.order(BUY, 1, LIMIT, **prices(limit="20000.00"))
        self.driver.now += timedelta(days=8, seconds=1)
        state = self.state()
        self.assertEqual((state.trades, state.ended), ((), ()))
        self.assertEqual([order["id"] for order in state.orders], [resting])
        self.assertEqual([held["size"] for held in state.positions], [1])

    def test_restored_ids_go_on_above_the_highest_and_the_first(self) -> None:
        order = {"contractId": MNQ.id, "type": 2, "side": 0, "size": 1}
        for first_id, next_id in ((1, 5001), (9000, 9000)):
            exchange = fresh_exchange(first_id=first_id)
            exchange.store.restore(ExchangeState(highest_id=5000), NOW)
            exchange.move_market(MNQ.id, Quote(Decimal(10), Decimal("10.25"), Decimal(10)), NOW)
            self.assertEqual(exchange.place_order(ACCOUNT, order, NOW), next_id)

    def test_positions_and_orders_in_an_unlisted_contract_are_dropped(self) -> None:
        """The order has expired; the trades stay."""
        self.driver.order(BUY, 2)
        self.driver.order(SELL, 1, contract=EURO)
        order_id = self.driver.order(SELL, 2, STOP, **prices(stop="20990.00"))
        exchange = fresh_exchange(contracts=(ES, EURO))
        later = NOW + timedelta(hours=1)
        position, order = exchange.store.restore(self.state(), later)
        for sentence, kind in ((position, "position"), (order, "order")):
            self.assertIn(kind, sentence)
            self.assertIn("account 123, 2 CON.F.US.MNQ.H26, is dropped", sentence)
        self.assertEqual(
            [held["contractId"] for held in exchange.store.open_positions(ACCOUNT)], [EURO.id]
        )
        self.assertEqual(exchange.store.open_orders(ACCOUNT), [])
        expired = exchange.store.order(ACCOUNT, order_id)
        self.assertEqual((expired["status"], expired["updateTimestamp"]), (4, later.isoformat()))
        self.assertEqual(exchange.store.trades(ACCOUNT, NOW), self.driver.payloads(TRADE))
        self.assertEqual(exchange.take_messages(), [])

    def test_everything_of_a_removed_account_is_dropped(self) -> None:
        self.driver.order(BUY, 2)
        self.driver.order(SELL, 2, STOP, **prices(stop="20990.00"))
        exchange = fresh_exchange(accounts=(OTHER_ACCOUNT,))
        (sentence,) = exchange.store.restore(self.state(), NOW)
        self.assertIn("account 123", sentence)
        state = exchange.store.state(NOW)
        self.assertEqual(
            (state.positions, state.orders, state.ended, state.trades), ((), (), (), ())
        )

    def test_half_a_cent_rounds_to_the_same_side_after_the_average_was_cut(self) -> None:
        for cut in ("1.100008333333333333333333333", "1.100008333333333333333333334"):
            self.driver = ExchangeDriver()
            self.driver.move("1.09995", contract=EURO)
            self.driver.order(BUY, 5, contract=EURO)
            self.driver.move("1.10000", contract=EURO)
            self.driver.order(BUY, 1, contract=EURO)
            self.driver.move("1.10005", contract=EURO)
            state = self.state()
            state.positions[0]["averagePrice"] = Decimal(cut)
            self.driver.restart(state)
            for made in ("15.62", "15.63"):
                self.driver.order(SELL, 3, contract=EURO)
                self.assertEqual(str(self.driver.last(TRADE)["profitAndLoss"]), made)

    def test_a_stop_limit_stays_triggered_after_a_restart(self) -> None:
        """It rests as a limit only once its stop was reached."""
        order_id = self.driver.order(
            BUY, 1, STOP_LIMIT, **prices(stop="21002.00", limit="21003.00")
        )
        waiting = self.state()
        self.driver.now += timedelta(seconds=1)
        self.driver.move("21010.00")
        triggered = self.driver.last(ORDER)
        self.assertEqual(
            (triggered["id"], triggered["status"], triggered["updateTimestamp"]),
            (order_id, 1, self.driver.now.isoformat()),
        )
        resting = self.state()
        for state, fills in ((waiting, []), (resting, [(order_id, Decimal("21003.00"))])):
            driver = ExchangeDriver()
            driver.restart(state)
            driver.move("21001.00")
            self.assertEqual(driver.fills(), fills)

    def test_a_restored_limit_keeps_its_price_when_the_market_opens_beyond_it(self) -> None:
        order_id = self.driver.order(BUY, 1, LIMIT, **prices(limit="20990.00"))
        driver = ExchangeDriver()
        driver.restart(self.state())
        driver.move("20950.00")
        self.assertEqual(driver.fills(), [(order_id, Decimal("20990.00"))])
