"""The practice gateway's server in memory, on a clock of the test's."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import txaio
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.gateway import PracticeGateway
from riskd.practice.server.site import practice_site
from tests.support.memory_transport import MemoryTransport
from tests.support.websocket_frames import PING, PONG, TEXT, client_frame, handshake, read_frames

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
PORT = 5000
HOST = f"localhost:{PORT}"
USER, KEY = "practice", "a key"
MNQ, ES = "CON.F.US.MNQ.M26", "CON.F.US.EP.M26"
SINCE = "2026-01-01T00:00:00Z"
SEPARATOR = b"\x1e"


class Reply(NamedTuple):
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def fields(self) -> Any:
        return json.loads(self.body)


class Wire:
    """A connection to the server: a client's bytes in, the server's out."""

    def __init__(self, site: Any) -> None:
        protocol = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50000))
        self.transport = MemoryTransport(
            IPv4Address("TCP", "127.0.0.1", 50000), IPv4Address("TCP", "127.0.0.1", PORT)
        )
        self.transport.hostAddr = IPv4Address("TCP", "127.0.0.1", PORT)
        self.transport.protocol = protocol
        protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        if self.transport.connected:
            # A hub takes the connection over from HTTP.
            self.transport.protocol.dataReceived(data)

    def take(self) -> bytes:
        data = self.transport.value()
        self.transport.clear()
        return bytes(data)

    @property
    def is_gone(self) -> bool:
        return not self.transport.connected


class HubClient(Wire):
    """A client of a hub, its WebSocket open.

    :ivar answer: the status of the upgrade.
    """

    def __init__(
        self,
        site: Any,
        path: str,
        *,
        host: str = HOST,
        headers: tuple[str, ...] = (),
        hello: bytes = b'{"protocol":"json","version":1}',
    ) -> None:
        super().__init__(site)
        self.send(handshake(host, path, headers=headers))
        head, _blank, rest = self.take().partition(b"\r\n\r\n")
        self.answer = int(head.split(b" ")[1])
        self.frames: list[tuple[int, bytes]] = []
        assert rest == b"" or self.answer != 101
        if self.answer == 101 and hello:
            self.say(hello)

    def say(self, *records: bytes) -> None:
        """Send records in one message."""
        self.send(client_frame(TEXT, b"".join(record + SEPARATOR for record in records)))

    def invoke(self, target: str, *arguments: Any, invocation_id: str | None = "1") -> None:
        fields: dict[str, Any] = {"type": 1, "target": target, "arguments": list(arguments)}
        if invocation_id is not None:
            fields["invocationId"] = invocation_id
        self.say(json.dumps(fields).encode())

    def ping(self) -> None:
        self.send(client_frame(PING, b"there?"))

    def raw_records(self) -> list[bytes]:
        """Return the received records, each from a message of its own; keep other frames."""
        records = []
        for opcode, payload in read_frames(self.take()):
            self.frames.append((opcode, payload))
            if opcode == TEXT:
                *whole, rest = payload.split(SEPARATOR)
                assert rest == b"", "a message that does not end with a record"
                records += whole
        return records

    def records(self) -> list[Any]:
        return [json.loads(record) for record in self.raw_records()]

    def events(self) -> list[Any]:
        """Return the received invocations."""
        return [record for record in self.records() if record.get("type") == 1]

    @property
    def has_pong(self) -> bool:
        self.raw_records()
        return (PONG, b"there?") in self.frames


class PracticeServerTestCase(SynchronousTestCase):
    """A server of a practice gateway whose market is shut unless a test opens it."""

    def setUp(self) -> None:
        self.clock = Clock()
        # Autobahn's timers run on the loop of txaio.
        self.patch(txaio.config, "loop", self.clock)
        self.jumped = timedelta()
        self.make()

    def make(self, **options: Any) -> None:
        """Create gateway and server anew."""
        accounts: dict[int, tuple[str, ...]] = {123: (), 456: ()}
        options = {"seed": 7, "is_open": False, **options}
        self.gateway = PracticeGateway(self.clock, self.now, accounts, **options)
        self.site = practice_site(self.clock, self.gateway, USER, KEY)
        self.gateway.start()
        self.site.doStart()
        self.addCleanup(self.site.doStop)
        self.token = ""
        self.token = self.ask("Auth/loginKey", userName=USER, apiKey=KEY)["token"]

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock.seconds()) + self.jumped

    # REST.

    def request(
        self,
        path: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        headers: tuple[str, ...] = (),
        host: str = HOST,
    ) -> Reply:
        """Return the response to a request, sent and received as bytes."""
        wire = Wire(self.site)
        bearer = (f"Authorization: Bearer {self.token}",) if self.token else ()
        lines = (
            f"{method} {path} HTTP/1.1",
            f"Host: {host}",
            f"Content-Length: {len(body)}",
            *(headers or bearer),
        )
        wire.send("\r\n".join([*lines, "", ""]).encode() + body)
        return read_reply(wire.take())

    def reply(self, path: str, **fields: Any) -> Reply:
        return self.request(f"/api/{path}", json.dumps(fields).encode())

    def ask(self, path: str, **fields: Any) -> dict[str, Any]:
        """Return the fields of a response that must succeed."""
        reply = self.reply(path, **fields)
        self.assertEqual((reply.status, reply.fields.get("success")), (200, True), reply.body)
        answered: dict[str, Any] = reply.fields
        return answered

    def refused(self, path: str, **fields: Any) -> dict[str, Any]:
        """Return the fields of a refusal, whose HTTP status is 200."""
        reply = self.reply(path, **fields)
        self.assertEqual((reply.status, reply.fields["success"]), (200, False), reply.body)
        self.assertTrue(reply.fields["errorMessage"])
        answered: dict[str, Any] = reply.fields
        return answered

    def place(self, side: int = 0, size: int = 1, **fields: Any) -> int:
        """Place an order in MNQ, by default at the market; return its id."""
        order = {"accountId": 123, "contractId": MNQ, "type": 2, "side": side, "size": size}
        placed: int = self.ask("Order/place", **{**order, **fields})["orderId"]
        return placed

    def move(self, price: str, contract: str = MNQ) -> None:
        self.ask("Practice/moveMarket", contractId=contract, price=float(price))

    # Hubs.

    def hub(self, name: str = "user", **options: Any) -> HubClient:
        """Return a client after its handshake."""
        client = HubClient(self.site, f"/hubs/{name}?access_token={self.token}", **options)
        self.assertEqual(client.answer, 101)
        if "hello" not in options:
            self.assertEqual(client.records(), [{}])
        return client

    def subscribe(self, client: HubClient, method: str, *arguments: Any) -> None:
        client.invoke(method, *arguments)
        answer = {"type": 3, "invocationId": "1", "result": 0}
        self.assertEqual(json.loads(first_record(client)), answer)


def first_record(client: HubClient) -> bytes:
    """Return the first received record, and leave the others."""
    data = client.transport.value()
    opcode, payload = read_frames(data)[0]
    assert opcode == TEXT
    header = 2 if len(payload) < 126 else 4
    client.transport.clear()
    client.transport.write(data[header + len(payload) :])
    return payload.removesuffix(SEPARATOR)


def read_reply(data: bytes) -> Reply:
    """Return the response in ``data``."""
    head, _blank, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Reply(int(first.split(" ")[1]), headers, body)


def market_order() -> dict[str, Any]:
    """Return the body of an order for one MNQ at the market."""
    return {"accountId": 123, "contractId": MNQ, "type": 2, "side": 0, "size": 1}


def bars(contract: str, **changes: Any) -> dict[str, Any]:
    """Return the body of a request for minute bars."""
    return {
        "contractId": contract,
        "live": False,
        "startTime": SINCE,
        "endTime": "2027-01-01T00:00:00Z",
        "unit": 2,
        "unitNumber": 1,
        "limit": 20000,
        "includePartialBar": False,
        **changes,
    }
