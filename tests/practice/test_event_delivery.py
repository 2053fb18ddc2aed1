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
    GatewayDriver,
    GatewayTestCase,
)


class ActingListenerTests(GatewayTestCase):
    """A listener that makes a request while it receives an event."""

    def closing_driver(self, accounts: dict[int, tuple[str, ...]]) -> GatewayDriver:
        """Return a driver whose listener closes each position of account 123 at once.

        It acts on the trade's event, which comes before the position's.
        """

        def act(target: str, payload: Payload) -> None:
            is_opening = target == TRADE and "profitAndLoss" not in payload
            if is_opening and payload["accountId"] == 123:
                closing = driver.gateway.close_contract(123, payload["contractId"])
                closing.addErrback(position_changed)

        def position_changed(failure: Failure) -> None:
            # The events of a step are delivered after it, so the position may have changed since.
            failure.trap(GatewayRefusedError)

        driver = GatewayDriver(accounts, act=act)
        return driver

    def test_events_of_a_listeners_request_come_after_those_before_it(self) -> None:
        driver = self.closing_driver(NOBODY_TRADES).start()
        self.successResultOf(driver.gateway.place_order(123, driver.order(0, 2)))
        self.assertEqual(
            [
                target
                for target, contract_id, _payload in driver.listener.received
                if not contract_id
            ],
            [ORDER, ORDER, TRADE, POSITION, ACCOUNT_EVENT] * 2,
        )
        opened, closed = driver.listener.user_events(ACCOUNT_EVENT)
        self.assertTrue(opened["balance"] > closed["balance"])

    def test_the_last_event_of_each_position_is_its_state(self) -> None:
        driver = self.closing_driver(ACCOUNTS).start()
        for _ in range(120):
            driver.run(1)
            received = {
                position["contractId"]: position["size"]
                for position in driver.listener.user_events(POSITION)
                if position["accountId"] == 123
            }
            held = {
                position["contractId"]: position["size"]
                for position in self.successResultOf(driver.gateway.search_open_positions(123))
            }
            self.assertEqual({key: size for key, size in received.items() if size}, held)
        self.assertTrue(received)


class ObserverTests(GatewayTestCase):
    """Observers beside the listener."""

    def test_an_observer_receives_what_the_listener_receives(self) -> None:
        """In the same order, even if the listener acts on an event."""

        def act(target: str, payload: Payload) -> None:
            if target == TRADE and "profitAndLoss" not in payload:
                driver.gateway.close_contract(123, payload["contractId"])

        driver = GatewayDriver(act=act)
        observed: list[Any] = []
        driver.gateway.observe(lambda message: observed.append(tuple(message)))
        driver.start()
        driver.gateway.place_order(123, driver.order(0))
        driver.run(5)
        self.assertEqual(observed, driver.listener.received)
        self.assertTrue(driver.listener.user_events(POSITION))

    def test_a_failing_observer_does_not_disturb_the_others(self) -> None:
        driver = GatewayDriver()
        observed: list[Message] = []

        def fail(_message: Message) -> None:
            raise ZeroDivisionError

        driver.gateway.observe(fail)
        driver.gateway.observe(observed.append)
        driver.start()
        self.assertEqual(len(observed), len(driver.listener.received))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), len(observed))

    def test_an_observer_receives_nothing_while_the_gateway_is_stopped(self) -> None:
        driver = GatewayDriver()
        observed: list[Message] = []
        driver.gateway.observe(observed.append)
        driver.start()
        driver.gateway.stop()
        observed.clear()
        driver.gateway.place_order(123, driver.order(0))
        self.assertEqual(observed, [])
        driver.start()
        self.assertTrue(observed)

    def test_a_gateway_may_run_without_a_listener(self) -> None:
        observed: list[Message] = []
        gateway = GatewayDriver().gateway
        gateway.observe(observed.append)
        gateway.start()
        self.successResultOf(gateway.place_order(123, GatewayDriver().order(0)))
        self.assertIn(ORDER, [message.target for message in observed])
