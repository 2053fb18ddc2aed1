"""Brokers that a test leads: the practice exchange in this process, and the same over the network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Protocol

from twisted.internet import reactor

from riskd.gateway.exact_json import decode_json, encode_json
from riskd.gateway.interface import IGateway, Payload
from riskd.gateway.projectx.credentials import Credentials, Secret
from riskd.gateway.projectx.gateway import ProjectXGateway, make_agent
from riskd.gateway.projectx.websocket import HubConnector
from riskd.practice.gateway import PracticeGateway
from tests.support.practice_daemon import ACCOUNT


class WallClock:
    """The time of day, on a clock that can be set and then goes on by itself."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self.was_set: list[Callable[[], None]] = []

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def set_to(self, moment: datetime) -> None:
        self.ahead = moment - datetime.now(UTC)
        for tell in self.was_set:
            tell()


class Broker(Protocol):
    """Where the account is."""

    @property
    def gateway(self) -> IGateway:
        """The way to it."""

    def stop(self) -> None:
        """Be gone."""

    def move(self, contract_id: str, last: str) -> None:
        """Let the market trade at ``last``."""

    def permit(self, may_trade: bool) -> None:
        """Allow or forbid the account to trade."""

    def place(self, order: Payload) -> int:
        """Place an order as the trader; return its id."""

    def positions(self) -> list[Payload]:
        """Return what is held."""

    def working(self) -> list[Payload]:
        """Return the orders that work."""


class EmbeddedBroker:
    """The practice exchange in this process.

    :ivar gateway: the way to it.
    """

    def __init__(self, clock: WallClock) -> None:
        self._practice = PracticeGateway(reactor, clock, {ACCOUNT: ()}, is_open=False)
        self.gateway: IGateway = self._practice

    def stop(self) -> None:
        """There is nothing to stop."""

    def move(self, contract_id: str, last: str) -> None:
        self._practice.move_market(contract_id, Decimal(last))

    def permit(self, may_trade: bool) -> None:
        self._practice.set_can_trade(ACCOUNT, may_trade)

    def place(self, order: Payload) -> int:
        placed: list[int] = []
        self._practice.place_order(ACCOUNT, order).addCallback(placed.append)
        return placed[0]

    def positions(self) -> list[Payload]:
        return self._practice.exchange.open_positions(ACCOUNT)

    def working(self) -> list[Payload]:
        return self._practice.exchange.open_orders(ACCOUNT)


class ExchangeProcess:
    """The practice exchange in another process; what a test says to it bypasses its server.

    :ivar port: the port of its server.
    """

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.integration.exchange_process",
                str(ACCOUNT),
                str(clock.ahead.total_seconds()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        clock.was_set.append(self._set_clock)

    def stop(self) -> None:
        self._clock.was_set.remove(self._set_clock)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def say(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(encode_json([name, *arguments]) + b"\n")
        self._process.stdin.flush()
        return decode_json(self._process.stdout.readline())

    def _set_clock(self) -> None:
        self.say("set_ahead", Decimal(str(self._clock.ahead.total_seconds())))

    def move(self, contract_id: str, last: str) -> None:
        self.say("move", contract_id, last)

    def permit(self, may_trade: bool) -> None:
        self.say("permit", may_trade)

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

    :ivar gateway: the way to it, over the network.
    """

    def __init__(self, clock: WallClock) -> None:
        super().__init__(clock)
        self.gateway = remote_gateway(clock, self.port, self.port)


def remote_gateway(clock: WallClock, rest_port: int, hub_port: int) -> IGateway:
    """Return the way to an exchange in another process."""
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
