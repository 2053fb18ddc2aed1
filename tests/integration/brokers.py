"""Brokers that a test controls: the practice exchange, in this process or over the network."""

from __future__ import annotations

import atexit
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Protocol

from twisted.internet import reactor

from riskd.gateway.fields import Payload
from riskd.gateway.interface import IGateway
from riskd.gateway.projectx.credentials import Credentials
from riskd.gateway.projectx.gateway import ProjectXGateway, make_agent
from riskd.gateway.projectx.websocket import HubConnector
from riskd.host.secrets import Secret
from riskd.model.exact_json import decode_json, encode_json
from riskd.practice.gateway import PracticeGateway
from tests.support.practice_daemon import ACCOUNT


class WallClock:
    """A wall clock that a test can set; it runs on from there."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self.when_set: list[Callable[[], None]] = []

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def set_to(self, moment: datetime) -> None:
        self.ahead = moment - datetime.now(UTC)
        for callback in self.when_set:
            callback()


class Broker(Protocol):
    """A broker that holds the account."""

    @property
    def gateway(self) -> IGateway:
        """The gateway to the exchange."""

    def stop(self) -> None:
        """Stop the broker."""

    def move(self, contract_id: str, last: str) -> None:
        """Trade at ``last``."""

    def set_can_trade(self, may_trade: bool) -> None:
        """Set the permission for the account to trade."""

    def place(self, order: Payload) -> int:
        """Place an order of the trader's; return its id."""

    def positions(self) -> list[Payload]:
        """Return the open positions."""

    def working(self) -> list[Payload]:
        """Return the working orders."""


class EmbeddedBroker:
    """The practice exchange in this process.

    :ivar gateway: the gateway to the exchange.
    """

    def __init__(self, clock: WallClock) -> None:
        self._practice = PracticeGateway(reactor, clock, {ACCOUNT: ()}, is_open=False)
        self.gateway: IGateway = self._practice

    def stop(self) -> None:
        """Do nothing: the exchange lives in this process."""

    def move(self, contract_id: str, last: str) -> None:
        self._practice.move_market(contract_id, Decimal(last))

    def set_can_trade(self, may_trade: bool) -> None:
        self._practice.set_can_trade(ACCOUNT, may_trade)

    def place(self, order: Payload) -> int:
        placed: list[int] = []
        self._practice.place_order(ACCOUNT, order).addCallback(placed.append)
        return placed[0]

    def positions(self) -> list[Payload]:
        return self._practice.exchange.store.open_positions(ACCOUNT)

    def working(self) -> list[Payload]:
        return self._practice.exchange.store.open_orders(ACCOUNT)


_COMMAND = [sys.executable, "-m", "tests.integration.exchange_process", str(ACCOUNT)]
_free: list[subprocess.Popen[bytes]] = []
"""Processes without an exchange.  A start costs more than most tests; a new exchange costs nothing."""


@atexit.register
def end_free_processes() -> None:
    while _free:
        with _free.pop() as process:
            process.kill()


class ExchangeProcess:
    """A new practice exchange in another process; a test's commands bypass its server.

    :ivar port: the port of its server.
    """

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._process = (
            _free.pop()
            if _free
            else subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        self.port: int = self.say("begin", self._seconds_ahead)
        clock.when_set.append(self._set_clock)

    @property
    def _seconds_ahead(self) -> Decimal:
        return Decimal(str(self._clock.ahead.total_seconds()))

    def stop(self) -> None:
        self._clock.when_set.remove(self._set_clock)
        self.say("end")
        _free.append(self._process)

    def say(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(encode_json([name, *arguments]) + b"\n")
        self._process.stdin.flush()
        return decode_json(self._process.stdout.readline())

    def _set_clock(self) -> None:
        self.say("set_ahead", self._seconds_ahead)

    def move(self, contract_id: str, last: str) -> None:
        self.say("move", contract_id, last)

    def set_can_trade(self, may_trade: bool) -> None:
        self.say("set_can_trade", may_trade)

    def place(self, order: Payload) -> int:
        placed: int = self.say("place", order)
        return placed

    def positions(self) -> list[Payload]:
        found: list[Payload] = self.say("positions")
        return found

    def working(self) -> list[Payload]:
        found: list[Payload] = self.say("working")
        return found


class RemoteBroker(ExchangeProcess):
    """The practice exchange in another process.

    :ivar gateway: the ProjectX client of the exchange.
    """

    def __init__(self, clock: WallClock) -> None:
        super().__init__(clock)
        self.gateway = remote_gateway(clock, self.port, self.port)


def remote_gateway(clock: WallClock, rest_port: int, hub_port: int) -> IGateway:
    """Return a ProjectX client of an exchange in another process."""
    hubs = f"http://127.0.0.1:{hub_port}/hubs"
    return ProjectXGateway(
        reactor,
        clock,
        agent=make_agent(reactor),
        rest_url=f"http://127.0.0.1:{rest_port}",
        connect_user_hub=HubConnector(reactor, f"{hubs}/user"),
        connect_market_hub=HubConnector(reactor, f"{hubs}/market"),
        credentials=lambda: Credentials("practice", Secret("practice")),
        watch=["MNQ"],
        random=Random(),
    )
