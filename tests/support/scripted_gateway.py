"""A gateway that sends and answers what a test says, and an engine on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from riskd.config.settings import AccountSettings, Settings
from riskd.engine.service import EngineService
from riskd.gateway import mapping, targets
from riskd.gateway.commands import Command
from riskd.gateway.fields import Payload
from riskd.gateway.interface import (
    Found,
    GatewayRefusedError,
    GatewayUnreadableError,
    IGateway,
    IGatewayListener,
)
from riskd.gateway.payload_listener import PayloadListener, found, readable
from riskd.journal.service import JournalService
from riskd.journal.store import Store
from riskd.model.broker import BrokerAccount, BrokerOrder, BrokerPosition, BrokerTrade
from riskd.model.contracts import Contract
from riskd.model.events import Event, EventData
from tests.support.directories import temporary_directory
from tests.support.disk import SlowDisk

MNQ, ES, MCL = "CON.F.US.MNQ.H25", "CON.F.US.EP.H25", "CON.F.US.MCLE.G25"

NOON = datetime(2025, 1, 17, 12, 0, tzinfo=UTC)


def position(size: int, contract_id: str = MNQ, account_id: int = 123, **more: Any) -> Payload:
    return {
        "id": 1,
        "accountId": account_id,
        "contractId": contract_id,
        "creationTimestamp": NOON.isoformat(),
        "type": 1 if size else 0,
        "size": size,
        "averagePrice": Decimal(21000),
        **more,
    }


def order(status: int, identifier: int = 7, contract_id: str = MNQ, **more: Any) -> Payload:
    return {
        "id": identifier,
        "accountId": 123,
        "contractId": contract_id,
        "creationTimestamp": NOON.isoformat(),
        "updateTimestamp": NOON.isoformat(),
        "status": status,
        "type": 4,
        "side": 1,
        "size": 2,
        "stopPrice": Decimal(20990),
        **more,
    }


def trade(identifier: int, pnl: str | None, **more: Any) -> Payload:
    return {
        "id": identifier,
        "accountId": 123,
        "contractId": MNQ,
        "creationTimestamp": NOON.isoformat(),
        "profitAndLoss": None if pnl is None else Decimal(pnl),
        "size": 2,
        **more,
    }


def quote(last: int) -> Payload:
    return {"bestBid": last, "bestAsk": last + 1, "lastPrice": last}


@implementer(IGateway)
class ScriptedGateway:
    """Tells what the test says, and answers with what the test gave it."""

    name = "practice"
    answer_seconds = 2.0

    def __init__(self, now: Callable[[], datetime] = lambda: NOON) -> None:
        self.now = now
        self.quotes_followed: list[str] = []
        self.commands_expected: list[int] = []
        self.accounts_followed: list[int] = []
        self.room = 100
        self.positions: dict[int, list[Payload]] = {}
        self.orders: dict[int, list[Payload]] = {}
        self.trades: dict[int, list[Payload]] = {}
        self.ended: dict[int, Payload] = {}
        self.trades_since: dict[int, datetime] = {}
        self.contracts: dict[str, Payload] = {}
        self.contracts_asked: list[str] = []
        self.started: Deferred[None] = succeed(None)
        self.is_stopped = False
        self.commands: list[Command] = []

    def start(self, listener: IGatewayListener) -> Deferred[None]:
        self.listener = listener
        listener.clock_reported(self.now(), 0.0, 0.0)
        return self.started

    def stop(self) -> Deferred[None]:
        self.is_stopped = True
        return succeed(None)

    def has_room(self, requests: int) -> bool:
        return requests <= self.room

    def follow_account(self, account_id: int) -> None:
        self.accounts_followed.append(account_id)

    def follow_quotes(self, contract_id: str) -> None:
        self.quotes_followed.append(contract_id)

    def expect_commands(self, number: int) -> None:
        self.commands_expected.append(number)

    def search_open_positions(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[Found[BrokerPosition]]:
        return succeed(found(targets.POSITION, self.positions.get(account_id, []), BrokerPosition))

    def search_open_orders(
        self, account_id: int, *, urgent: bool = False
    ) -> Deferred[Found[BrokerOrder]]:
        return succeed(found(targets.ORDER, self.orders.get(account_id, []), BrokerOrder))

    def search_orders(
        self, account_id: int, since: datetime, *, urgent: bool = False
    ) -> Deferred[Found[BrokerOrder]]:
        raise NotImplementedError

    def search_order(
        self, account_id: int, order_id: int, *, urgent: bool = False
    ) -> Deferred[BrokerOrder]:
        if order_id not in self.ended:
            return fail(GatewayRefusedError("Order/searchById", 1, "not found"))
        try:
            return succeed(readable("Order/searchById", self.ended[order_id], mapping.order))
        except GatewayUnreadableError:
            return fail()

    def search_trades(self, account_id: int, since: datetime) -> Deferred[Found[BrokerTrade]]:
        self.trades_since[account_id] = since
        return succeed(found(targets.TRADE, self.trades.get(account_id, []), BrokerTrade))

    def search_contract(self, contract_id: str) -> Deferred[Contract]:
        self.contracts_asked.append(contract_id)
        if contract_id not in self.contracts:
            return fail(GatewayRefusedError("Contract/searchById", 1, "not found"))
        try:
            return succeed(
                readable("Contract/searchById", self.contracts[contract_id], mapping.contract)
            )
        except GatewayUnreadableError:
            return fail()

    def search_account(self, account_id: int) -> Deferred[BrokerAccount]:
        return succeed(BrokerAccount(can_trade=True))

    def carry_out(self, command: Command) -> Deferred[int | None]:
        self.commands.append(command)
        return succeed(None)


class EngineTestCase(SynchronousTestCase):
    """Accounts 123 (watches MNQ) and 456 (watches nothing) on a scripted gateway."""

    def setUp(self) -> None:
        self.time = NOON
        self.clock = Clock()
        self.directory = temporary_directory(self)
        self.disk = SlowDisk()
        self.make()

    def make(self) -> None:
        """Make a daemon without a network, as at every start."""
        self.gateway = ScriptedGateway(self.now)
        self.told: list[Event] = []
        store = Store(self.directory)
        self.addCleanup(store.close)
        self.journal = JournalService(self.clock, store, self.disk, self.now, "practice")
        self.engine = EngineService(
            self.clock,
            self.gateway,
            Settings(accounts=(AccountSettings(id=123, watch=("MNQ",)), AccountSettings(id=456))),
            self.journal,
            self.told.append,
            self.now,
        )
        self.payloads = PayloadListener(self.engine)
        self.journal.startService()

    def now(self) -> datetime:
        return self.time + timedelta(seconds=self.clock.seconds())

    def start(self) -> None:
        self.engine.startService()
        self.told.clear()

    def stop(self) -> None:
        self.successResultOf(self.engine.stopService())
        self.successResultOf(self.journal.stopService())

    def user(self, target: str, payload: Payload) -> None:
        self.time += timedelta(milliseconds=1)
        self.payloads.user_event(target, payload)

    def take(self) -> list[EventData]:
        data = [event.data for event in self.told]
        self.told.clear()
        return data
