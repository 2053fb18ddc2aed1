"""Orders, positions and prices in words."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.account import AccountState
from riskd.model.contracts import Contract
from riskd.model.events import GatewayUserOrder, OrderSide, OrderState, OrderType
from riskd.model.formatting import contract_name
from trader.model.wording import contract_price, describe_order, order_type_name, side_name

NOW = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
MNQ = "CON.F.US.MNQ.U25"
UNKNOWN_CONTRACT = "CON.F.US.XYZ.U25"
ACCOUNT = AccountState(account_id=123)


class OrderTests(SynchronousTestCase):
    """Orders in words."""

    def test_every_type_of_order_names_its_prices(self) -> None:
        for order_type, side, limit, stop, words in (
            (OrderType.MARKET, OrderSide.BUY, None, None, "Buy market 2 MNQU5 working"),
            (
                OrderType.LIMIT,
                OrderSide.SELL,
                "21010",
                None,
                "Sell limit 2 MNQU5 at 21010.00 working",
            ),
            (
                OrderType.STOP,
                OrderSide.SELL,
                None,
                "20990.25",
                "Sell stop 2 MNQU5 at 20990.25 working",
            ),
            (
                OrderType.STOP_LIMIT,
                OrderSide.BUY,
                "21001",
                "21000",
                "Buy stop-limit 2 MNQU5 at 21000.00 limit 21001.00 working",
            ),
        ):
            order = GatewayUserOrder(
                id=789,
                contract_id=MNQ,
                type=order_type,
                side=side,
                size=2,
                limit_price=Decimal(limit) if limit else None,
                stop_price=Decimal(stop) if stop else None,
                state=OrderState.ACTIVE,
                created_at=NOW,
                updated_at=NOW,
            )
            self.assertEqual(describe_order(order, ACCOUNT), words)

    def test_every_side_and_type_has_a_name(self) -> None:
        self.assertEqual([side_name(side) for side in OrderSide], ["Buy", "Sell"])
        self.assertEqual(
            [order_type_name(kind) for kind in OrderType],
            ["market", "limit", "stop", "stop-limit"],
        )


class ContractTests(SynchronousTestCase):
    """Names of contracts, and decimals of their prices."""

    def test_a_known_contract_has_its_ticker(self) -> None:
        self.assertEqual(contract_name(ACCOUNT, MNQ), "MNQU5")
        self.assertEqual(contract_name(ACCOUNT, "CON.F.US.EP.Z26"), "ESZ6")

    def test_an_unknown_contract_has_its_id_and_all_decimals(self) -> None:
        self.assertEqual(contract_name(ACCOUNT, UNKNOWN_CONTRACT), UNKNOWN_CONTRACT)
        self.assertEqual(contract_price(ACCOUNT, UNKNOWN_CONTRACT, Decimal("12.5")), "12.5")

    def test_prices_have_the_decimals_of_the_tick_size(self) -> None:
        for contract_id, value, text in (
            (MNQ, "21000.5", "21000.50"),
            ("CON.F.US.MYM.U25", "44000", "44000"),
            ("CON.F.US.JY6.U25", "0.006675", "0.0066750"),
        ):
            self.assertEqual(contract_price(ACCOUNT, contract_id, Decimal(value)), text)

    def test_a_contract_of_the_gateway_overrides_the_built_in_table(self) -> None:
        contract = Contract(
            id=UNKNOWN_CONTRACT,
            name="XYZU5",
            tick_size=Decimal("0.001"),
            tick_value=Decimal(1),
        )
        state = msgspec.structs.replace(ACCOUNT, contracts={UNKNOWN_CONTRACT: contract})
        self.assertEqual(contract_name(state, UNKNOWN_CONTRACT), "XYZU5")
        self.assertEqual(contract_price(state, UNKNOWN_CONTRACT, Decimal("12.5")), "12.500")
