"""Connections to the broker over real sockets, plain and with TLS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_twisted
import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure
from zope.interface import implementer

from riskd.gateway.interface import GatewayUnansweredError
from riskd.gateway.projectx.connections import BrokerAgent
from riskd.gateway.projectx.hub_connection import HubError
from riskd.gateway.projectx.rest import BrokerRequests, ConnectionLostError, Rest
from riskd.gateway.projectx.tls_words import NOT_TRUSTED
from riskd.gateway.projectx.websocket import HubConnector
from riskd.host.secrets import Secret
from tests.support.broker import MemoryLogin
from tests.support.waiting import until

# Twisted's own servers pass certificates and keys to pyOpenSSL in its old way.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

CLOSE = "Position/closeContract"
PLACE = "Order/place"


@implementer(IHandshakeListener)
class Connection(Protocol):
    """The server's end of a connection, which answers requests."""

    factory: Server

    def connectionMade(self) -> None:
        self._data = b""
        self.is_ready = self.factory.certificate is None
        self.received: list[str] = []
        self.factory.connections.append(self)
        self.factory.open.append(self)

    def handshakeCompleted(self) -> None:
        self.is_ready = True

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, rest = self._data.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:])
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            self._data = rest[length:]
            name = lines[0].split()[1].removeprefix("/api/")
            self.received.append(name)
            self.factory.requests.append(name)
            self.factory.answer(self, name)

    def succeed(self) -> None:
        body = b'{"success":true,"errorCode":0,"orderId":7}'
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.open.remove(self)


class Server(Factory):
    """A broker.

    :ivar connections: all that were made.
    :ivar open: those that are open.
    :ivar requests: the names of all requests.
    :ivar answer: answers a request.
    """

    noisy = False
    protocol = Connection

    def __init__(self, certificate: bytes | None) -> None:
        self.certificate = certificate
        self.connections: list[Connection] = []
        self.open: list[Connection] = []
        self.requests: list[str] = []
        self.answer: Callable[[Connection, str], None] = lambda connection, _: connection.succeed()
        if certificate is None:
            self.port = reactor.listenTCP(0, self, interface="127.0.0.1")
        else:
            options = PrivateCertificate.loadPEM(certificate).options()
            self.port = reactor.listenSSL(0, self, options, interface="127.0.0.1")

    @property
    def url(self) -> str:
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://127.0.0.1:{self.port.getHost().port}"

    async def stop(self) -> None:
        for connection in tuple(self.open):
            connection.transport.abortConnection()
        await maybeDeferred(self.port.stopListening)


class Client:
    """The client of a broker, as the gateway puts it together."""

    def __init__(self, server: Server) -> None:
        self.agent = BrokerAgent(reactor, Random(1))
        rest, urgent = (
            Rest(each, server.url, reactor) for each in (self.agent, self.agent.urgent)
        )
        login: Any = MemoryLogin()
        self.requests = BrokerRequests(rest, login, reactor, Random(1), lambda: None, urgent)
        self.agent.keep_warm(f"{server.url}/api/Status/ping", self.requests.may_ping)

    def change(self, request: str) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.requests.change(request, {"accountId": 123}))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["plain", "TLS"])
def server(
    request: pytest.FixtureRequest,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    issued = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()
    made = Server(issued if request.param == "TLS" else None)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))


@pytest.fixture
def warm_client(server: Server) -> Iterator[Callable[[int], Awaitable[Client]]]:
    """Return a function that returns a client with so many open connections."""
    clients: list[Client] = []

    async def begin(number: int) -> Client:
        clients.append(Client(server))
        clients[-1].agent.expect_commands(number)
        await clients[-1].requests.read("Account/search", {})
        await warm(server, number)
        return clients[-1]

    yield begin
    for client in clients:
        client.agent.stop()


async def warm(server: Server, number: int) -> None:
    """Wait until so many connections are open, with their handshakes done."""
    await until(lambda: len(server.open) == number and all(each.is_ready for each in server.open))


Begin = Callable[[int], Awaitable[Client]]


@pytest_twisted.ensureDeferred
async def test_commands_leave_on_connections_that_are_open(
    server: Server, warm_client: Begin
) -> None:
    client = await warm_client(4)
    server.answer = lambda _connection, _name: None
    asked = [client.change(CLOSE) for _ in range(4)]
    await until(lambda: server.requests.count(CLOSE) == 4)
    assert len(server.connections) == 4
    assert [each.received.count(CLOSE) for each in server.connections] == [1] * 4
    for connection in server.connections:
        connection.succeed()
    await gatherResults(asked)


@pytest_twisted.ensureDeferred
async def test_connections_that_the_broker_closes_are_replaced_before_they_are_needed(
    server: Server, warm_client: Begin
) -> None:
    client = await warm_client(3)
    for _ in range(3):
        before = tuple(server.open)
        for connection in before:
            connection.transport.loseConnection()
        await until(lambda before=before: not set(before) & set(server.open))
        await warm(server, 3)
        made = len(server.connections)
        await client.change(PLACE)
        assert len(server.connections) == made


@pytest_twisted.ensureDeferred
async def test_one_connection_that_the_broker_closes_is_replaced(
    server: Server, warm_client: Begin
) -> None:
    await warm_client(2)
    lost, kept = server.open
    lost.transport.loseConnection()
    await until(lambda: lost not in server.open)
    await warm(server, 2)
    assert kept in server.open


def close_the_first(server: Server, name: str) -> None:
    """Close the connection of the first request of a name, without an answer; answer all others."""

    def answer(connection: Connection, received: str) -> None:
        if received == name and server.requests.count(name) == 1:
            connection.transport.loseConnection()
        else:
            connection.succeed()

    server.answer = answer


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("name", [CLOSE, "Order/cancel"])
async def test_a_close_or_cancel_on_a_connection_that_is_being_closed_is_sent_again(
    server: Server, warm_client: Begin, name: str
) -> None:
    client = await warm_client(2)
    before = set(server.open)
    close_the_first(server, name)
    assert (await client.change(name))["orderId"] == 7
    assert server.requests.count(name) == 2
    (second,) = (
        each for each in server.connections if name in each.received and each in server.open
    )
    # The other one may have been closed at the same time.
    assert second not in before


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("name", [PLACE, "Position/partialCloseContract", "Order/modify"])
async def test_no_other_change_is_sent_again(
    server: Server, warm_client: Begin, name: str
) -> None:
    client = await warm_client(2)
    close_the_first(server, name)
    with pytest.raises(ConnectionLostError):
        await client.change(name)
    await warm(server, 2)
    assert server.requests.count(name) == 1


@pytest_twisted.ensureDeferred
async def test_closes_that_meet_a_broker_that_closes_all_connections_arrive(
    server: Server, warm_client: Begin
) -> None:
    client = await warm_client(4)
    old = set(server.open)

    def answer(connection: Connection, _name: str) -> None:
        if connection in old:
            connection.transport.loseConnection()
        else:
            connection.succeed()

    server.answer = answer
    await gatherResults([client.change(CLOSE) for _ in range(4)])
    assert server.requests.count(CLOSE) == 8


@pytest_twisted.ensureDeferred
async def test_after_the_stop_no_connection_is_open(server: Server, warm_client: Begin) -> None:
    client = await warm_client(4)
    client.agent.stop()
    await until(lambda: not server.open)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("server", ["TLS"], indirect=True)
async def test_a_certificate_of_another_authority_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    client = Client(server)
    try:
        with pytest.raises(GatewayUnansweredError) as unanswered:
            await client.change(CLOSE)
    finally:
        client.agent.stop()
    assert unanswered.value.why == NOT_TRUSTED
    with pytest.raises(HubError) as unopened:
        await HubConnector(reactor, f"{server.url}/hubs/user")(
            Secret(""), lambda _invocation: None
        )
    assert str(unopened.value) == NOT_TRUSTED
    assert server.requests == []
