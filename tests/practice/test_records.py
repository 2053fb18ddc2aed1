"""Positions: netting, average prices, P&L and fees."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.enums import (
    GatewayPositionType,
)
from riskd.model.contracts import Contract
from riskd.practice.records import STARTING_BALANCE
from tests.support.practice_exchange import (
    ACCOUNT,
    ACCOUNT_EVENT,
    BUY,
    ES,
    EURO,
    MNQ,
    OTHER_ACCOUNT,
    POSITION,
    SELL,
    TRADE,
    ExchangeDriver,
)


class PositionTests(SynchronousTestCase):
    """Opening, adding to, closing and flipping positions."""

    def setUp(self) -> None:
        self.driver = ExchangeDriver()
        self.driver.move("21000.00")

    def position(self, contract: Contract = MNQ) -> tuple[GatewayPositionType, int, Decimal]:
        """Return type, size and average price in the last event of a position."""
        reported = [
            payload
            for payload in self.driver.payloads(POSITION)
            if payload["contractId"] == contract.id
        ][-1]
        return GatewayPositionType(reported["type"]), reported["size"], reported["averagePrice"]

    def pnls(self) -> list[Decimal | None]:
        return [trade.get("profitAndLoss") for trade in self.driver.payloads(TRADE)]

    def test_an_opening_trade_has_no_pnl(self) -> None:
        """The field is missing; a 0 would mean a position that was closed for nothing."""
        self.driver.order(BUY, 2)
        self.assertNotIn("profitAndLoss", self.driver.last(TRADE))
        self.assertEqual(self.position(), (GatewayPositionType.LONG, 2, Decimal("21000.25")))

    def test_adding_may_average_the_price_off_the_tick(self) -> None:
        self.driver.order(BUY, 1)
        self.driver.move("21000.25")
        self.driver.order(BUY, 2)
        kind, size, average = self.position()
        self.assertEqual((kind, size), (GatewayPositionType.LONG, 3))
        self.assertEqual(average, Decimal("63001.25") / 3)
        self.assertEqual(self.pnls(), [None, None])

    def test_a_short_position_has_a_positive_size(self) -> None:
        self.driver.order(SELL, 3)
        self.assertEqual(self.position(), (GatewayPositionType.SHORT, 3, Decimal("21000.00")))

    def test_closing_earns_the_move_in_ticks_times_the_tick_value(self) -> None:
        for contract, side, size, opened, closed, dollars in (
            # A long pays the ask and gets the bid: a tick more than the move of the bid.
            (MNQ, BUY, 2, "21000.00", "21010.25", "40.00"),
            (MNQ, SELL, 2, "21000.00", "21009.75", "-40.00"),
            (ES, BUY, 1, "5800.00", "5797.75", "-125.00"),
            (EURO, SELL, 3, "1.10000", "1.09985", "37.50"),
        ):
            driver = ExchangeDriver()
            driver.move(opened, contract=contract)
            driver.order(side, size, contract=contract)
            driver.move(closed, contract=contract)
            driver.order(SELL if side is BUY else BUY, size, contract=contract)
            made = str(driver.last(TRADE)["profitAndLoss"])
            self.assertEqual(made, dollars, (contract.name, side))

    def test_a_closed_position_keeps_its_average_price(self) -> None:
        self.driver.order(BUY, 2)
        opened = self.driver.last(POSITION)
        self.driver.move("21010.00")
        self.driver.order(SELL, 2)
        self.assertEqual(self.position(), (GatewayPositionType.UNDEFINED, 0, Decimal("21000.25")))
        self.assertEqual(self.driver.last(POSITION)["id"], opened["id"])
        self.assertEqual(self.driver.exchange.store.open_positions(ACCOUNT), [])

    def test_a_scratch_has_a_pnl_of_zero_without_a_sign(self) -> None:
        """The field exists, and its zero has no sign."""
        for side, back in ((BUY, "21000.25"), (SELL, "20999.75")):
            driver = ExchangeDriver()
            driver.move("21000.00")
            driver.order(side, 1)
            driver.move(back)
            driver.order(SELL if side is BUY else BUY, 1)
            self.assertEqual(str(driver.last(TRADE)["profitAndLoss"]), "0.00", side)

    def test_a_flip_closes_first_and_opens_with_the_rest(self) -> None:
        self.driver.order(BUY, 2)
        long = self.driver.last(POSITION)
        self.driver.clear()
        self.driver.now += timedelta(minutes=5)
        self.driver.move("21010.25")
        self.driver.order(SELL, 3)
        closing, opening = self.driver.payloads(TRADE)
        self.assertEqual((closing["size"], closing["profitAndLoss"]), (2, Decimal("40.00")))
        self.assertEqual((opening["size"], "profitAndLoss" in opening), (1, False))
        self.assertEqual(closing["orderId"], opening["orderId"])
        closed, opened = self.driver.payloads(POSITION)
        self.assertEqual((closed["id"], closed["size"], closed["type"]), (long["id"], 0, 0))
        self.assertEqual(closed["averagePrice"], Decimal("21000.25"))
        self.assertNotEqual(opened["id"], long["id"])
        self.assertEqual(
            (opened["size"], opened["type"], opened["averagePrice"]),
            (1, GatewayPositionType.SHORT, Decimal("21010.25")),
        )
        self.assertEqual(opened["creationTimestamp"], self.driver.now.isoformat())
        self.assertEqual(self.driver.exchange.store.open_positions(ACCOUNT), [opened])

    def test_the_rest_of_a_position_receives_what_rounding_left(self) -> None:
        """Two euros at an average of half a tick: 3.125 dollars each, and 6.25 together."""
        self.driver.move("1.10000", contract=EURO)
        self.driver.order(SELL, 1, contract=EURO)
        self.driver.move("1.10005", contract=EURO)
        self.driver.order(SELL, 1, contract=EURO)
        self.driver.move("1.09995", contract=EURO)
        self.driver.order(BUY, 1, contract=EURO)
        self.driver.order(BUY, 1, contract=EURO)
        self.assertEqual(self.pnls(), [None, None, Decimal("3.12"), Decimal("3.13")])

    def test_half_a_cent_rounds_to_even_despite_an_average_with_endless_places(self) -> None:
        """Six at an average with endless places: half of them make 15.625 dollars exactly."""
        self.driver.move("1.09995", contract=EURO)
        self.driver.order(BUY, 5, contract=EURO)
        self.driver.move("1.10000", contract=EURO)
        self.driver.order(BUY, 1, contract=EURO)
        self.driver.move("1.10005", contract=EURO)
        self.driver.order(SELL, 3, contract=EURO)
        self.assertEqual(self.pnls()[-1], Decimal("15.62"))
        self.driver.order(SELL, 3, contract=EURO)
        self.assertEqual(self.pnls()[-1], Decimal("15.63"))

    def test_no_fraction_of_a_cent_is_lost_over_partial_closes(self) -> None:
        self.driver.order(BUY, 2)
        self.driver.move("21000.25")
        self.driver.order(BUY, 1)
        for _ in range(3):
            self.driver.order(SELL, 1)
        made = self.pnls()[2:]
        self.assertEqual(len(made), 3)
        self.assertEqual(sum(pnl for pnl in made if pnl is not None), Decimal("-0.50"))

    def test_positions_are_netted_by_account_and_contract(self) -> None:
        self.driver.move("5800.00", contract=ES)
        self.driver.order(BUY, 1)
        self.driver.order(SELL, 2, contract=ES)
        self.driver.order(SELL, 3, account_id=OTHER_ACCOUNT)
        held = {
            (position["accountId"], position["contractId"]): (position["type"], position["size"])
            for account_id in (ACCOUNT, OTHER_ACCOUNT)
            for position in self.driver.exchange.store.open_positions(account_id)
        }
        self.assertEqual(
            held,
            {
                (ACCOUNT, MNQ.id): (GatewayPositionType.LONG, 1),
                (ACCOUNT, ES.id): (GatewayPositionType.SHORT, 2),
                (OTHER_ACCOUNT, MNQ.id): (GatewayPositionType.SHORT, 3),
            },
        )

    def test_each_half_turn_costs_fees_per_contract_and_the_balance_is_net(self) -> None:
        self.driver.order(BUY, 3)
        self.assertEqual(self.driver.last(TRADE)["fees"], Decimal("1.11"))
        self.assertEqual(
            self.driver.last(ACCOUNT_EVENT)["balance"], STARTING_BALANCE - Decimal("1.11")
        )
        self.driver.move("21010.25")
        self.driver.order(SELL, 2)
        self.assertEqual(self.driver.last(TRADE)["fees"], Decimal("0.74"))
        # P&L is gross: fees are a field of their own.
        self.assertEqual(self.driver.last(TRADE)["profitAndLoss"], Decimal("40.00"))
        self.assertEqual(str(self.driver.last(ACCOUNT_EVENT)["balance"]), "50038.15")

    def test_a_flip_costs_fees_once_per_contract(self) -> None:
        self.driver.order(BUY, 2)
        self.driver.clear()
        self.driver.order(SELL, 3)
        self.assertEqual(
            [trade["fees"] for trade in self.driver.payloads(TRADE)],
            [Decimal("0.74"), Decimal("0.37")],
        )
