"""Each contract that matters is looked up once."""

from __future__ import annotations

from decimal import Decimal

from twisted.logger import LogLevel, capturedLogs

from tests.support.scripted_gateway import (
    EngineTestCase,
    position,
    quote,
)


class ContractTests(EngineTestCase):
    """The gateway is asked once for each contract that matters."""

    def setUp(self) -> None:
        super().setUp()
        self.gateway.contracts["CON.F.US.XYZ.H25"] = {
            "id": "CON.F.US.XYZ.H25",
            "name": "MNQH5",
            "tickSize": Decimal("0.5"),
            "tickValue": Decimal(1),
        }
        self.start()

    def test_a_contract_is_asked_for_once(self) -> None:
        for size in (1, 2):
            self.user("GatewayUserPosition", position(size, "CON.F.US.XYZ.H25"))
        self.assertEqual(self.gateway.contracts_asked, ["CON.F.US.XYZ.H25"])

    def test_a_failed_lookup_is_repeated_later_and_not_with_each_quote(self) -> None:
        unknown = "CON.F.US.NONE.H25"
        self.user("GatewayUserPosition", position(1, unknown))
        for last in range(4 * 29):
            self.engine.market_event("GatewayQuote", unknown, quote(last))
            self.clock.advance(0.25)
        self.assertEqual(self.gateway.contracts_asked, [unknown])
        self.gateway.contracts[unknown] = {
            **self.gateway.contracts["CON.F.US.XYZ.H25"],
            "id": unknown,
        }
        self.clock.advance(2)
        self.engine.market_event("GatewayQuote", unknown, quote(1))
        self.assertIn(unknown, self.engine.accounts[123].account.state.contracts)

    def test_a_lookup_that_an_internal_error_ended_is_repeated(self) -> None:
        wanted = "CON.F.US.XYZ.H25"
        mistaken = self.patch(self.gateway, "search_contract", lambda _contract_id: 1 / 0)
        self.user("GatewayUserPosition", position(1, wanted))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        mistaken.restore()
        self.engine.market_event("GatewayQuote", wanted, quote(1))
        self.assertEqual(self.gateway.contracts_asked, [])
        self.clock.advance(30)
        self.engine.market_event("GatewayQuote", wanted, quote(2))
        self.assertEqual(self.gateway.contracts_asked, [wanted])
        self.assertIn(wanted, self.engine.accounts[123].account.state.contracts)

    def test_a_contract_that_was_looked_up_can_be_watched(self) -> None:
        self.user("GatewayUserPosition", position(1, "CON.F.US.XYZ.H25"))
        self.user("GatewayUserPosition", position(0, "CON.F.US.XYZ.H25"))
        self.told.clear()
        self.engine.market_event("GatewayQuote", "CON.F.US.XYZ.H25", quote(5))
        self.assertEqual([event.type for event in self.told], ["MarketQuote"])

    def test_an_unknown_contract_is_logged_and_its_events_are_broadcast(self) -> None:
        with capturedLogs() as captured:
            self.user("GatewayUserPosition", position(1, "CON.F.US.NONE.H25"))
        self.assertIn(LogLevel.error, [each["log_level"] for each in captured])
        self.assertEqual(len(self.take()), 1)
