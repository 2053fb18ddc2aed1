"""A practice gateway that a test drives."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.settings import NO_FAULTS, Faults
from riskd.gateway.fields import Payload
from riskd.gateway.interface import GatewayRefusedError
from riskd.gateway.payload_listener import PayloadListener
from riskd.practice.account_store import AccountStore
from riskd.practice.gateway import PracticeGateway
from riskd.practice.market import STEP_SECONDS

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
ACCOUNTS = {123: ("MNQ", "MES", "MCL"), 456: ("NQ", "ES", "M2K", "MGC")}
NOBODY_TRADES: dict[int, tuple[str, ...]] = {123: (), 456: ()}
MNQ = "CON.F.US.MNQ.M26"
ES = "CON.F.US.EP.M26"
LISTED = {"MNQ", "ENQ", "MES", "EP", "M2K", "MCLE", "MGC"}
ORDER, TRADE = "GatewayUserOrder", "GatewayUserTrade"
POSITION, ACCOUNT_EVENT = "GatewayUserPosition", "GatewayUserAccount"


_SEARCHES: dict[str, Callable[..., Any]] = {
    "Account/search": AccountStore.account,
    "Position/searchOpen": AccountStore.open_positions,
    "Order/searchOpen": AccountStore.open_orders,
    "Order/search": AccountStore.orders,
    "Order/searchById": AccountStore.order,
    "Trade/search": AccountStore.trades,
    "Contract/searchById": AccountStore.contract,
}


def payloads_of(gateway: PracticeGateway, request: str, *arguments: Any) -> Deferred[Any]:
    """Return a Deferred of the answer to a search, in the broker's own fields."""
    return gateway.ask(request, _SEARCHES[request], *arguments)


class Recorder(PayloadListener):
    """Keeps the events it receives, as the broker sends them, and may act on those of accounts.

    :param act: called with the target and the payload of each event of an account.
    """

    def __init__(self, act: Callable[[str, Payload], object] | None = None) -> None:
        self._act = act
        self.received: list[tuple[str, str | None, Payload]] = []

    def user_event(self, target: str, payload: Payload) -> None:
        self.received.append((target, None, payload))
        if self._act is not None:
            self._act(target, payload)

    def market_event(self, target: str, contract_id: str, payload: Payload) -> None:
        self.received.append((target, contract_id, payload))

    def clock_reported(self, at: datetime, precision: float, delay: float) -> None:
        pass

    def user_events(self, target: str = "") -> list[Payload]:
        return [
            payload
            for kind, contract_id, payload in self.received
            if contract_id is None and target in ("", kind)
        ]

    def targets(self) -> list[str]:
        """Return the kinds of the account events."""
        return [target for target, contract_id, _payload in self.received if contract_id is None]

    def quotes(self) -> list[tuple[str, Payload]]:
        return [
            (contract_id, payload)
            for _target, contract_id, payload in self.received
            if contract_id
        ]


class GatewayDriver:
    """Drives a practice gateway: its clock and its listener.

    :ivar origin: the time of day when the clock was at zero.
    """

    def __init__(
        self,
        accounts: dict[int, tuple[str, ...]] = NOBODY_TRADES,
        seed: int | None = 7,
        act: Callable[[str, Payload], object] | None = None,
        hours: float = 0,
        **options: Any,
    ) -> None:
        self.origin = START
        self.clock = Clock()
        self.clock.advance(hours * 3600)
        self.gateway = PracticeGateway(self.clock, self.now, accounts, seed=seed, **options)
        self.listener = Recorder(act)

    def now(self) -> datetime:
        return self.origin + timedelta(seconds=self.clock.seconds())

    def start(self) -> GatewayDriver:
        self.gateway.open_market(self.listener)
        return self

    def run(self, seconds: float) -> None:
        """Let time pass, one step of the market after another."""
        self.clock.pump([STEP_SECONDS] * int(seconds / STEP_SECONDS))

    def order(self, side: int, size: int = 1, contract_id: str = MNQ, **fields: Any) -> Payload:
        return {"contractId": contract_id, "type": 2, "side": side, "size": size, **fields}


class GatewayTestCase(SynchronousTestCase):
    def refusal(self, asked: Deferred[Any]) -> tuple[str, int]:
        """Return request and code of the refusal with which ``asked`` has failed."""
        error = self.failureResultOf(asked, GatewayRefusedError).value
        return error.request, error.code


PRICE = Decimal("21000.00")
PLACE, CANCEL, CHANGE = "Order/place", "Order/cancel", "Order/modify"
CLOSE, PARTIAL_CLOSE = "Position/closeContract", "Position/partialCloseContract"


class FaultyGatewayDriver(GatewayDriver):
    """Drives a shut practice gateway whose faults a test sets after the start."""

    def __init__(self, **options: Any) -> None:
        super().__init__(is_open=False, **options)
        self.start()
        self.gateway.move_market(MNQ, PRICE)
        self.listener.received.clear()

    def inject(self, **faults: Any) -> None:
        self.gateway.faults = Faults(**faults)

    def heal(self) -> None:
        self.gateway.faults = NO_FAULTS

    def held(self) -> list[int]:
        return [held["size"] for held in self.gateway.exchange.store.open_positions(123)]

    def working(self) -> list[Payload]:
        return self.gateway.exchange.store.open_orders(123)


class FaultsTestCase(GatewayTestCase):
    """A gateway with faults, and requests to it."""

    def setUp(self) -> None:
        self.driver = FaultyGatewayDriver()
        self.gateway = self.driver.gateway

    def hold(self, size: int) -> None:
        self.successResultOf(self.gateway.place_order(123, self.driver.order(0, size)))

    def work(self) -> int:
        order = self.driver.order(0, 2, type=1, limitPrice=PRICE - 100)
        return self.successResultOf(self.gateway.place_order(123, order))

    def requests(self) -> list[tuple[str, Callable[[], Deferred[Any]]]]:
        """Open a position, place an order, and return a request for each change."""
        self.hold(3)
        order_id = self.work()
        gateway = self.gateway
        return [
            (PLACE, lambda: gateway.place_order(123, self.driver.order(0))),
            (CHANGE, lambda: gateway.modify_order(123, order_id, {"size": 5})),
            (CANCEL, lambda: gateway.cancel_order(123, order_id)),
            (PARTIAL_CLOSE, lambda: gateway.partial_close_contract(123, MNQ, 1)),
            (CLOSE, lambda: gateway.close_contract(123, MNQ)),
        ]

    def reads(self) -> list[Callable[[], Deferred[Any]]]:
        gateway = self.gateway
        return [
            lambda: payloads_of(gateway, "Account/search", 123),
            lambda: payloads_of(gateway, "Position/searchOpen", 123),
            lambda: payloads_of(gateway, "Order/searchOpen", 123),
            lambda: payloads_of(gateway, "Order/searchById", 123, 1),
            lambda: payloads_of(gateway, "Trade/search", 123, START),
            lambda: payloads_of(gateway, "Contract/searchById", MNQ),
        ]
