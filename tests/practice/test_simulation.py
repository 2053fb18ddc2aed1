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
    Desk,
    GatewayTestCase,
)


class TraderTests(GatewayTestCase):
    """The accounts' practice traders."""

    def test_within_a_minute_every_account_made_a_full_turn(self) -> None:
        desk = Desk(ACCOUNTS).start()
        desk.run(60)
        trades = desk.listener.user_events(TRADE)
        self.assertEqual(
            {trade["accountId"] for trade in trades if "profitAndLoss" in trade}, set(ACCOUNTS)
        )

    def test_there_is_something_to_see_from_the_start(self) -> None:
        """A position within 2 seconds."""
        for seed in range(20):
            desk = Desk(ACCOUNTS, seed).start()
            desk.run(2)
            owners = {held["accountId"] for held in desk.listener.user_events(POSITION)}
            self.assertEqual(owners, set(ACCOUNTS))

    def test_a_trader_whose_positions_are_closed_comes_back_later(self) -> None:
        """As it does when somebody closes whatever it opens, as soon as it hears of it."""

        def act(target: str, payload: Payload) -> None:
            if target == POSITION and payload["size"]:
                desk.gateway.close_contract(123, payload["contractId"])

        desk = Desk({123: ("MNQ",)}, act=act).start()
        desk.run(600)
        opened = [
            datetime.fromisoformat(trade["creationTimestamp"])
            for trade in desk.listener.user_events(TRADE)
            if "profitAndLoss" not in trade
        ]
        self.assertTrue(5 < len(opened) < 60, len(opened))

    def test_an_account_trades_only_what_it_watches(self) -> None:
        desk = Desk(ACCOUNTS).start()
        desk.run(240)
        traded: dict[int, set[str]] = {}
        for trade in desk.listener.user_events(TRADE):
            traded.setdefault(trade["accountId"], set()).add(trade["contractId"].split(".")[3])
        self.assertTrue(traded[123] <= {"MNQ", "MES", "MCLE"}, traded)
        self.assertTrue(traded[456] <= {"ENQ", "EP", "M2K", "MGC"}, traded)

    def test_an_account_that_watches_nothing_has_no_trader(self) -> None:
        desk = Desk({123: ACCOUNTS[123], 456: ()}).start()
        desk.run(60)
        self.assertEqual({order["accountId"] for order in desk.listener.user_events(ORDER)}, {123})

    def test_an_account_that_watches_only_what_is_not_listed_has_no_trader(self) -> None:
        """And the market moves on all the same."""
        desk = Desk({123: ("CL", "FOO"), 456: ("RTY", "ES")}).start()
        desk.run(60)
        orders = desk.listener.user_events(ORDER)
        self.assertEqual(
            {(order["accountId"], order["contractId"]) for order in orders}, {(456, ES)}
        )
        self.assertEqual(desk.listener.quotes()[-1][1]["timestamp"], "2026-03-02T15:01:00+00:00")

    def test_the_market_moves_on_when_a_position_is_in_a_contract_its_trader_does_not_know(
        self,
    ) -> None:
        for seed in range(20):
            desk = Desk({123: ("MNQ",)}, seed).start()
            self.successResultOf(desk.gateway.place_order(123, desk.order(1, contract_id=ES)))
            desk.run(30)
            self.assertEqual(
                desk.listener.quotes()[-1][1]["timestamp"], "2026-03-02T15:00:30+00:00"
            )

    def test_all_that_is_told_can_be_read(self) -> None:
        """Five minutes of trading pass the mapping, and end where a search says they do."""
        desk = Desk(ACCOUNTS).start()
        desk.run(300)
        positions: dict[tuple[int, str], GatewayUserPosition] = {}
        for payload in desk.listener.user_events(POSITION):
            key = payload["accountId"], payload["contractId"]
            positions[key] = mapping.position(payload, positions.get(key), desk.now())
        for payload in desk.listener.user_events(ORDER):
            self.assertTrue(mapping.has_known_type(payload))
            mapping.order(payload, None, desk.now())
        full_turns = [
            mapping.trade(payload, desk.now()) for payload in desk.listener.user_events(TRADE)
        ]
        self.assertTrue(any(full_turns))
        for account_id in ACCOUNTS:
            held = self.successResultOf(desk.gateway.search_open_positions(account_id))
            self.assertEqual(
                {position["contractId"]: position["size"] for position in held},
                {
                    contract_id: position.size
                    for (owner, contract_id), position in positions.items()
                    if owner == account_id and position.size
                },
            )
