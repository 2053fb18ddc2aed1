"""Messages to a listener and to observers."""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure

from riskd.gateway.interface import (
    GatewayRefusedError,
    Payload,
)
from riskd.practice.records import Message
from tests.support.practice_gateway import (
    ACCOUNT_EVENT,
    ACCOUNTS,
    NOBODY_TRADES,
    ORDER,
    POSITION,
    TRADE,
    Desk,
    GatewayTestCase,
)


class ActingListenerTests(GatewayTestCase):
    """A listener that asks for something while it is told what happened."""

    def closing_desk(self, accounts: dict[int, tuple[str, ...]]) -> Desk:
        """Return a desk that closes every position of account 123 as soon as it hears of a trade.

        The trade is told before the position, so the position is gone when it is told.
        """

        def act(target: str, payload: Payload) -> None:
            is_opening = target == TRADE and "profitAndLoss" not in payload
            if is_opening and payload["accountId"] == 123:
                closing = desk.gateway.close_contract(123, payload["contractId"])
                closing.addErrback(gone_already)

        def gone_already(failure: Failure) -> None:
            # All news of a step are told after it, so the position may have changed since.
            failure.trap(GatewayRefusedError)

        desk = Desk(accounts, act=act)
        return desk

    def test_what_follows_from_an_event_is_told_after_what_came_with_it(self) -> None:
        desk = self.closing_desk(NOBODY_TRADES).start()
        self.successResultOf(desk.gateway.place_order(123, desk.order(0, 2)))
        self.assertEqual(
            [target for target, contract_id, _payload in desk.listener.told if not contract_id],
            [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT] * 2,
        )
        opened, closed = desk.listener.user_events(ACCOUNT_EVENT)
        self.assertTrue(opened["balance"] > closed["balance"])

    def test_the_last_word_on_each_position_is_the_truth(self) -> None:
        desk = self.closing_desk(ACCOUNTS).start()
        for _ in range(120):
            desk.run(1)
            told = {
                position["contractId"]: position["size"]
                for position in desk.listener.user_events(POSITION)
                if position["accountId"] == 123
            }
            held = {
                position["contractId"]: position["size"]
                for position in self.successResultOf(desk.gateway.search_open_positions(123))
            }
            self.assertEqual({key: size for key, size in told.items() if size}, held)
        self.assertTrue(told)


class ObserverTests(GatewayTestCase):
    """More who are told than the listener."""

    def test_an_observer_is_told_what_the_listener_is_told(self) -> None:
        """In the same order, also when the listener acts on what it hears."""

        def act(target: str, payload: Payload) -> None:
            if target == TRADE and "profitAndLoss" not in payload:
                desk.gateway.close_contract(123, payload["contractId"])

        desk = Desk(act=act)
        observed: list[Any] = []
        desk.gateway.observe(lambda message: observed.append(tuple(message)))
        desk.start()
        desk.gateway.place_order(123, desk.order(0))
        desk.run(5)
        self.assertEqual(observed, desk.listener.told)
        self.assertTrue(desk.listener.user_events(POSITION))

    def test_one_that_fails_disturbs_nobody(self) -> None:
        desk = Desk()
        observed: list[Message] = []

        def fail(_message: Message) -> None:
            raise ZeroDivisionError

        desk.gateway.observe(fail)
        desk.gateway.observe(observed.append)
        desk.start()
        self.assertEqual(len(observed), len(desk.listener.told))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), len(observed))

    def test_it_is_told_nothing_after_the_stop_and_again_after_the_next_start(self) -> None:
        desk = Desk()
        observed: list[Message] = []
        desk.gateway.observe(observed.append)
        desk.start()
        desk.gateway.stop()
        observed.clear()
        desk.gateway.place_order(123, desk.order(0))
        self.assertEqual(observed, [])
        desk.start()
        self.assertTrue(observed)

    def test_a_gateway_may_run_without_a_listener(self) -> None:
        observed: list[Message] = []
        gateway = Desk().gateway
        gateway.observe(observed.append)
        gateway.start()
        self.successResultOf(gateway.place_order(123, Desk().order(0)))
        self.assertIn(ORDER, [message.target for message in observed])
