"""A ProjectX gateway in memory, and the broker's ends of its connections."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from riskd.gateway.interface import IGatewayListener
from riskd.gateway.projectx.credentials import Credentials
from riskd.gateway.projectx.gateway import ProjectXGateway, make_agent
from riskd.model.broker import BrokerNews, BrokerQuote
from tests.support.broker import (
    CREDENTIALS,
    HttpConnection,
    HubEnd,
    MemoryBroker,
    MemoryHub,
    TimeOfDay,
    Upper,
    make_token,
    observed,
)
from tests.support.waiting import step_until

MNQ = "CON.F.US.MNQ.U25"
FIRST, SECOND, THIRD = (make_token(name) for name in ("first", "second", "third"))


@implementer(IGatewayListener)
class Listener:
    """Keeps what it receives."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now
        self.received: list[tuple[Any, ...]] = []
        self.clock_reports: list[tuple[datetime, float, float]] = []

    def receive(self, account_id: int, news: BrokerNews) -> None:
        self.received.append(("news", account_id, news))

    def receive_quote(self, quote: BrokerQuote) -> None:
        self.received.append(("quote", quote))

    def feed_lost(self, sentence: str) -> None:
        self.received.append(("lost", sentence))

    def feed_restored(self) -> None:
        self.received.append(("restored",))

    def clock_reported(self, at: datetime, precision: float, delay: float) -> None:
        self.clock_reports.append((at, precision, delay))

    def gateway_problem(self, source: str, sentence: str) -> None:
        self.received.append(("problem", source, sentence))

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [received[1:] for received in self.received if received[0] == kind]


class HttpRequest(NamedTuple):
    """A request that waits for its answer."""

    connection: HttpConnection
    request: str
    token: str
    body: Any


class GatewayTestCase(SynchronousTestCase):
    ACCOUNTS: tuple[int, ...] = (123,)
    WATCH: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.events = observed(self)
        self.broker = MemoryBroker(self)
        self.reactor: MemoryReactorClock = self.broker.reactor
        self.user, self.market = MemoryHub(self.reactor), MemoryHub(self.reactor)
        self.listener = Listener(TimeOfDay(self.reactor))
        self.credentials: Credentials | Exception = CREDENTIALS
        self.gateway = ProjectXGateway(
            self.reactor,
            TimeOfDay(self.reactor),
            agent=make_agent(self.reactor),
            rest_url="http://127.0.0.1:8080",
            connect_user_hub=self.user,
            connect_market_hub=self.market,
            credentials=self.find_credentials,
            watch=self.WATCH,
            random=Upper(),
        )
        for account_id in self.ACCOUNTS:
            self.gateway.follow_account(account_id)
        self.answered: dict[int, int] = {}

    def find_credentials(self) -> Credentials:
        if isinstance(self.credentials, Exception):
            raise self.credentials
        return self.credentials

    @property
    def asked(self) -> list[HttpRequest]:
        """The requests that wait for an answer."""
        self.broker.accept_all()
        found = []
        for connection in self.broker.connections:
            if connection.transport.connected:
                requests = connection.requests[self.answered.get(id(connection), 0) :]
                for first, headers, body in requests:
                    name = first.removeprefix("POST /api/").removesuffix(" HTTP/1.1")
                    token = headers.get("Authorization", "").removeprefix("Bearer ")
                    fields = json.loads(body) if body else None
                    found.append(HttpRequest(connection, name, token, fields))
        return found

    @property
    def waiting(self) -> list[str]:
        return [asked.request for asked in self.asked]

    def count(self, request: str) -> int:
        """Return how often a request was sent."""
        self.broker.accept_all()
        return sum(
            first.split()[1] == f"/api/{request}"
            for connection in self.broker.connections
            for first, _, _ in connection.requests
        )

    def take(self, request: str) -> HttpRequest:
        asked = next(asked for asked in self.asked if asked.request == request)
        key = id(asked.connection)
        self.answered[key] = self.answered.get(key, 0) + 1
        return asked

    def answer(self, request: str, **fields: Any) -> HttpRequest:
        asked = self.take(request)
        asked.connection.succeed(**fields)
        self.broker.flush()
        return asked

    def answer_badly(self, request: str, status: str = "502 Bad Gateway") -> None:
        self.take(request).connection.answer(b"", status)
        self.broker.flush()

    def log_in(self, token: str = FIRST) -> HttpRequest:
        return self.answer("Auth/loginKey", token=token)

    def pass_until_login(self) -> None:
        step_until(lambda: "Auth/loginKey" in self.waiting, lambda: self.pass_time(0.25))

    def start(self) -> tuple[HubEnd, HubEnd]:
        """Start, and bring everything up; return the broker's ends of both hubs."""
        self.started = self.gateway.start(self.listener)
        self.log_in()
        return self.bring_up()

    def bring_up(self) -> tuple[HubEnd, HubEnd]:
        ends = self.user.accept(), self.market.accept()
        for end in ends:
            end.open()
        return ends

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which no hub is silent and pings are answered."""
        for _ in range(int(seconds * 4)):
            self.reactor.advance(0.25)
            self.broker.accept_all()
            for connection in self.broker.connections:
                connection.answer_pings()
            for end in (*self.user.ends, *self.market.ends):
                end.ping()
