"""The highs of a live account, which trailing limits follow."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from riskd.model.account import Limit
from riskd.model.balance import Balance, FirmFloor
from riskd.model.contracts import Contract
from tests.support.console import BEGIN, MNQ, SessionTestCase, at
from trader.model.limit_usage import limit_usages
from trader.model.session import LIMITS_SECONDS

CONTRACT = Contract(id=MNQ, name="MNQU5", tick_size=Decimal("0.25"), tick_value=Decimal("0.50"))
LIMITS = {
    "RULE-013": Limit("daily_net_loss", '{"loss_limit": 500, "trailing": "equity"}'),
    "RULE-014": Limit(
        "maximum_loss", '{"drawdown": 2000, "trailing": "intraday", "stops_at": "never"}'
    ),
}
BALANCE = Balance(agreed=Decimal(50000), first=Decimal(50000), peak=Decimal(50000))


class HighTests(SessionTestCase):
    """A position of one MNQ, opened at 21,000."""

    def setUp(self) -> None:
        super().setUp()
        self.publish(BALANCE)
        self.connect()
        self.receive(
            "GatewayUserPosition",
            size=1,
            type=1,
            averagePrice=21000,
            createdAt=at(0),
            updatedAt=at(0),
        )

    def publish(self, balance: Balance) -> None:
        self.file.publish(contracts={MNQ: CONTRACT}, limits=LIMITS, balance=balance)

    def quote(self, seconds: float, price: float) -> None:
        self.receive("MarketQuote", bid=price, ask=price, last=price, timestamp=at(seconds))

    def headrooms(self) -> list[Decimal | None]:
        """Return how far the loss from the day's high and the floor are away."""
        return [usage.headroom for usage in limit_usages(self.view, self.session.now())]

    def test_limits_trail_what_the_account_had_between_two_copies(self) -> None:
        self.quote(1, 21000)
        self.assertEqual(self.headrooms(), [500, 2000])
        for seconds, price in ((2, 21200), (3, 21050)):
            self.quote(seconds, price)
            shown = self.headrooms()
        # A profit of $400, of which $100 are left.
        self.assertEqual(shown, [200, 1700])

    def test_highs_of_quotes_that_did_not_come_are_those_of_the_copy(self) -> None:
        self.quote(1, 21050)
        high = msgspec.structs.replace(BALANCE, high_net=Decimal(300), peak=Decimal(50300))
        for balance in (high, BALANCE):
            self.publish(balance)
            self.wait(LIMITS_SECONDS)
            self.session.poll_file()
            self.assertEqual(self.view.account.balance.high_net, 300)
            self.assertEqual(self.view.account.balance.peak, 50300)

    def test_the_firms_floor_trails_the_highs_since_its_figure(self) -> None:
        firm = FirmFloor(amount=Decimal(48500), at=BEGIN)
        self.publish(msgspec.structs.replace(BALANCE, firm_floor=firm))
        self.connect()
        raised = msgspec.structs.replace(firm, peak=Decimal(51000))
        self.publish(msgspec.structs.replace(BALANCE, firm_floor=raised))
        self.wait(LIMITS_SECONDS)
        self.session.poll_file()
        self.assertEqual(self.view.account.balance.firm_floor, raised)
        self.publish(BALANCE)
        self.wait(LIMITS_SECONDS)
        self.session.poll_file()
        self.assertEqual(self.view.account.balance.firm_floor, raised)

    def test_between_a_trade_and_its_position_there_is_no_high(self) -> None:
        self.quote(1, 21200)
        self.view  # noqa: B018  # draws
        self.receive("GatewayUserTrade", profitAndLoss=400, executionTime=at(2), timestamp=at(2))
        self.quote(3, 21200)
        self.assertEqual(self.view.account.balance.high_net, 400)
