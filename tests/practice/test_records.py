"""Positions and their money."""

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
    Desk,
)


class PositionTests(SynchronousTestCase):
    """Netting: what opening, adding, closing and flipping make of a position and of money."""

    def setUp(self) -> None:
        self.desk = Desk()
        self.desk.move("21000.00")

    def position(self, contract: Contract = MNQ) -> tuple[GatewayPositionType, int, Decimal]:
        """Return type, size and average price of the last position told."""
        told = [
            payload
            for payload in self.desk.payloads(POSITION)
            if payload["contractId"] == contract.id
        ][-1]
        return GatewayPositionType(told["type"]), told["size"], told["averagePrice"]

    def pnls(self) -> list[Decimal | None]:
        return [trade.get("profitAndLoss") for trade in self.desk.payloads(TRADE)]

    def test_an_opening_trade_has_no_profit_and_loss(self) -> None:
        """The key is left out; a 0 would say that a position was closed for nothing."""
        self.desk.order(BUY, 2)
        self.assertNotIn("profitAndLoss", self.desk.last(TRADE))
        self.assertEqual(self.position(), (GatewayPositionType.LONG, 2, Decimal("21000.25")))

    def test_adding_averages_the_price_off_the_tick(self) -> None:
        self.desk.order(BUY, 1)
        self.desk.move("21000.25")
        self.desk.order(BUY, 2)
        kind, size, average = self.position()
        self.assertEqual((kind, size), (GatewayPositionType.LONG, 3))
        self.assertEqual(average, Decimal("63001.25") / 3)
        self.assertEqual(self.pnls(), [None, None])

    def test_a_short_is_a_size_that_is_not_negative(self) -> None:
        self.desk.order(SELL, 3)
        self.assertEqual(self.position(), (GatewayPositionType.SHORT, 3, Decimal("21000.00")))

    def test_closing_makes_the_difference_in_ticks_times_their_value(self) -> None:
        for contract, side, size, opened, closed, dollars in (
            # A long pays the ask and gets the bid: a tick more than the move of the bid.
            (MNQ, BUY, 2, "21000.00", "21010.25", "40.00"),
            (MNQ, SELL, 2, "21000.00", "21009.75", "-40.00"),
            (ES, BUY, 1, "5800.00", "5797.75", "-125.00"),
            (EURO, SELL, 3, "1.10000", "1.09985", "37.50"),
        ):
            desk = Desk()
            desk.move(opened, contract=contract)
            desk.order(side, size, contract=contract)
            desk.move(closed, contract=contract)
            desk.order(SELL if side is BUY else BUY, size, contract=contract)
            made = str(desk.last(TRADE)["profitAndLoss"])
            self.assertEqual(made, dollars, (contract.name, side))

    def test_a_closed_position_keeps_its_average_price(self) -> None:
        self.desk.order(BUY, 2)
        opened = self.desk.last(POSITION)
        self.desk.move("21010.00")
        self.desk.order(SELL, 2)
        self.assertEqual(self.position(), (GatewayPositionType.UNDEFINED, 0, Decimal("21000.25")))
        self.assertEqual(self.desk.last(POSITION)["id"], opened["id"])
        self.assertEqual(self.desk.exchange.open_positions(ACCOUNT), [])

    def test_a_scratch_has_a_profit_and_loss_of_zero(self) -> None:
        """It is there, and it has no sign."""
        for side, back in ((BUY, "21000.25"), (SELL, "20999.75")):
            desk = Desk()
            desk.move("21000.00")
            desk.order(side, 1)
            desk.move(back)
            desk.order(SELL if side is BUY else BUY, 1)
            self.assertEqual(str(desk.last(TRADE)["profitAndLoss"]), "0.00", side)

    def test_a_flip_closes_first_and_opens_with_what_is_left(self) -> None:
        self.desk.order(BUY, 2)
        long = self.desk.last(POSITION)
        self.desk.forget()
        self.desk.now += timedelta(minutes=5)
        self.desk.move("21010.25")
        self.desk.order(SELL, 3)
        closing, opening = self.desk.payloads(TRADE)
        self.assertEqual((closing["size"], closing["profitAndLoss"]), (2, Decimal("40.00")))
        self.assertEqual((opening["size"], "profitAndLoss" in opening), (1, False))
        self.assertEqual(closing["orderId"], opening["orderId"])
        closed, opened = self.desk.payloads(POSITION)
        self.assertEqual((closed["id"], closed["size"], closed["type"]), (long["id"], 0, 0))
        self.assertEqual(closed["averagePrice"], Decimal("21000.25"))
        self.assertNotEqual(opened["id"], long["id"])
        self.assertEqual(
            (opened["size"], opened["type"], opened["averagePrice"]),
            (1, GatewayPositionType.SHORT, Decimal("21010.25")),
        )
        self.assertEqual(opened["creationTimestamp"], self.desk.now.isoformat())
        self.assertEqual(self.desk.exchange.open_positions(ACCOUNT), [opened])

    def test_what_rounding_a_partial_close_leaves_is_made_by_the_rest(self) -> None:
        """Two euros at an average of half a tick: 3.125 dollars each, and 6.25 together."""
        self.desk.move("1.10000", contract=EURO)
        self.desk.order(SELL, 1, contract=EURO)
        self.desk.move("1.10005", contract=EURO)
        self.desk.order(SELL, 1, contract=EURO)
        self.desk.move("1.09995", contract=EURO)
        self.desk.order(BUY, 1, contract=EURO)
        self.desk.order(BUY, 1, contract=EURO)
        self.assertEqual(self.pnls(), [None, None, Decimal("3.12"), Decimal("3.13")])

    def test_half_a_cent_is_rounded_to_even_however_the_average_is_written(self) -> None:
        """Six at an average with endless places: half of them make 15.625 dollars exactly."""
        self.desk.move("1.09995", contract=EURO)
        self.desk.order(BUY, 5, contract=EURO)
        self.desk.move("1.10000", contract=EURO)
        self.desk.order(BUY, 1, contract=EURO)
        self.desk.move("1.10005", contract=EURO)
        self.desk.order(SELL, 3, contract=EURO)
        self.assertEqual(self.pnls()[-1], Decimal("15.62"))
        self.desk.order(SELL, 3, contract=EURO)
        self.assertEqual(self.pnls()[-1], Decimal("15.63"))

    def test_three_thirds_of_a_cent_are_not_lost(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.move("21000.25")
        self.desk.order(BUY, 1)
        for _ in range(3):
            self.desk.order(SELL, 1)
        made = self.pnls()[2:]
        self.assertEqual(len(made), 3)
        self.assertEqual(sum(pnl for pnl in made if pnl is not None), Decimal("-0.50"))

    def test_positions_are_netted_by_account_and_contract(self) -> None:
        self.desk.move("5800.00", contract=ES)
        self.desk.order(BUY, 1)
        self.desk.order(SELL, 2, contract=ES)
        self.desk.order(SELL, 3, account_id=OTHER_ACCOUNT)
        held = {
            (position["accountId"], position["contractId"]): (position["type"], position["size"])
            for account_id in (ACCOUNT, OTHER_ACCOUNT)
            for position in self.desk.exchange.open_positions(account_id)
        }
        self.assertEqual(
            held,
            {
                (ACCOUNT, MNQ.id): (GatewayPositionType.LONG, 1),
                (ACCOUNT, ES.id): (GatewayPositionType.SHORT, 2),
                (OTHER_ACCOUNT, MNQ.id): (GatewayPositionType.SHORT, 3),
            },
        )

    def test_both_half_turns_pay_fees_by_contract_and_the_balance_is_net(self) -> None:
        self.desk.order(BUY, 3)
        self.assertEqual(self.desk.last(TRADE)["fees"], Decimal("1.11"))
        self.assertEqual(
            self.desk.last(ACCOUNT_EVENT)["balance"], STARTING_BALANCE - Decimal("1.11")
        )
        self.desk.move("21010.25")
        self.desk.order(SELL, 2)
        self.assertEqual(self.desk.last(TRADE)["fees"], Decimal("0.74"))
        # Profit and loss is gross: the fees are beside it.
        self.assertEqual(self.desk.last(TRADE)["profitAndLoss"], Decimal("40.00"))
        self.assertEqual(str(self.desk.last(ACCOUNT_EVENT)["balance"]), "50038.15")

    def test_a_flip_pays_fees_for_every_contract_once(self) -> None:
        self.desk.order(BUY, 2)
        self.desk.forget()
        self.desk.order(SELL, 3)
        self.assertEqual(
            [trade["fees"] for trade in self.desk.payloads(TRADE)],
            [Decimal("0.74"), Decimal("0.37")],
        )
