"""The practice traders on the practice market."""

from __future__ import annotations

from datetime import datetime

from riskd.gateway import mapping
from riskd.gateway.interface import (
    Payload,
)
from riskd.model.events import GatewayUserPosition
from tests.support.practice_gateway import (
    ACCOUNTS,
    ES,
    ORDER,
    POSITION,
    TRADE,
    GatewayDriver,
    GatewayTestCase,
)


class TraderTests(GatewayTestCase):
    """The practice traders of the accounts."""

    def test_within_a_minute_every_account_made_a_full_turn(self) -> None:
        driver = GatewayDriver(ACCOUNTS).start()
        driver.run(60)
        trades = driver.listener.user_events(TRADE)
        self.assertEqual(
            {trade["accountId"] for trade in trades if "profitAndLoss" in trade}, set(ACCOUNTS)
        )

    def test_every_account_has_a_position_within_two_seconds(self) -> None:
        """A position within 2 seconds."""
        for seed in range(20):
            driver = GatewayDriver(ACCOUNTS, seed).start()
            driver.run(2)
            owners = {held["accountId"] for held in driver.listener.user_events(POSITION)}
            self.assertEqual(owners, set(ACCOUNTS))

    def test_a_trader_comes_back_after_its_positions_were_closed(self) -> None:
        """Here a listener closes each position as soon as it receives its event."""

        def act(target: str, payload: Payload) -> None:
            if target == POSITION and payload["size"]:
                driver.gateway.close_contract(123, payload["contractId"])

        driver = GatewayDriver({123: ("MNQ",)}, act=act).start()
        driver.run(600)
        opened = [
            datetime.fromisoformat(trade["creationTimestamp"])
            for trade in driver.listener.user_events(TRADE)
            if "profitAndLoss" not in trade
        ]
        self.assertTrue(5 < len(opened) < 60, len(opened))

    def test_an_account_trades_only_what_it_watches(self) -> None:
        driver = GatewayDriver(ACCOUNTS).start()
        driver.run(240)
        traded: dict[int, set[str]] = {}
        for trade in driver.listener.user_events(TRADE):
            traded.setdefault(trade["accountId"], set()).add(trade["contractId"].split(".")[3])
        self.assertTrue(traded[123] <= {"MNQ", "MES", "MCLE"}, traded)
        self.assertTrue(traded[456] <= {"ENQ", "EP", "M2K", "MGC"}, traded)

    def test_an_account_without_contracts_has_no_trader(self) -> None:
        driver = GatewayDriver({123: ACCOUNTS[123], 456: ()}).start()
        driver.run(60)
        self.assertEqual(
            {order["accountId"] for order in driver.listener.user_events(ORDER)}, {123}
        )

    def test_an_account_with_only_unlisted_contracts_has_no_trader(self) -> None:
        """The market moves on all the same."""
        driver = GatewayDriver({123: ("CL", "FOO"), 456: ("RTY", "ES")}).start()
        driver.run(60)
        orders = driver.listener.user_events(ORDER)
        self.assertEqual(
            {(order["accountId"], order["contractId"]) for order in orders}, {(456, ES)}
        )
        self.assertEqual(driver.listener.quotes()[-1][1]["timestamp"], "2026-03-02T15:01:00+00:00")

    def test_a_position_in_a_contract_unknown_to_the_trader_does_no_harm(
        self,
    ) -> None:
        for seed in range(20):
            driver = GatewayDriver({123: ("MNQ",)}, seed).start()
            self.successResultOf(driver.gateway.place_order(123, driver.order(1, contract_id=ES)))
            driver.run(30)
            self.assertEqual(
                driver.listener.quotes()[-1][1]["timestamp"], "2026-03-02T15:00:30+00:00"
            )

    def test_every_event_can_be_mapped(self) -> None:
        """Five minutes of events pass the mapping and end in the state that a search finds."""
        driver = GatewayDriver(ACCOUNTS).start()
        driver.run(300)
        positions: dict[tuple[int, str], GatewayUserPosition] = {}
        for payload in driver.listener.user_events(POSITION):
            key = payload["accountId"], payload["contractId"]
            positions[key] = mapping.position(payload, positions.get(key), driver.now())
        for payload in driver.listener.user_events(ORDER):
            self.assertTrue(mapping.has_known_type(payload))
            mapping.order(payload, None, driver.now())
        full_turns = [
            mapping.trade(payload, driver.now()) for payload in driver.listener.user_events(TRADE)
        ]
        self.assertTrue(any(full_turns))
        for account_id in ACCOUNTS:
            held = self.successResultOf(driver.gateway.search_open_positions(account_id))
            self.assertEqual(
                {position["contractId"]: position["size"] for position in held},
                {
                    contract_id: position.size
                    for (owner, contract_id), position in positions.items()
                    if owner == account_id and position.size
                },
            )
