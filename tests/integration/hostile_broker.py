"""A broker that misbehaves: the practice gateway's server, with answers and a market hub that have no bounds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from twisted.internet import reactor
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from riskd.app.launch import utc_now
from riskd.gateway.enums import GatewayOrderSide, GatewayOrderType
from riskd.gateway.fields import Payload
from riskd.gateway.signalr import (
    HANDSHAKE_REQUEST,
    SEPARATOR,
    Completion,
    Invocation,
    decode,
    encode,
    encode_handshake_response,
)
from riskd.gateway.targets import POSITION, QUOTE
from riskd.model.exact_json import decode_json, encode_json
from riskd.practice.gateway import PracticeGateway
from riskd.practice.server.hub_conversation import Topic
from riskd.practice.server.site import DEFAULT_USER_NAME, practice_site
from tests.support.websocket_frames import (
    PING,
    TEXT,
    handshake_answer,
    server_frame,
    split_client_frames,
)

LOCALHOST = "127.0.0.1"
ACCOUNT = 123

_PIECE = b" " * 65536
_API = "/api/"
_END_OF_HEAD = b"\r\n\r\n"

Answer = Callable[[Request], None]
"""Answers a request."""


@implementer(IPullProducer)
class _Endless:
    """Writes pieces for as long as they are taken."""

    def __init__(self, request: Request, pieces: Iterator[bytes]) -> None:
        self._request = request
        self._pieces = pieces
        request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            self._request.unregisterProducer()
            self._request.finish()
        else:
            self._request.write(piece)

    def stopProducing(self) -> None:
        self._pieces = iter(())


def _forever(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def three_gigabytes(request: Request) -> None:
    """State a size of 3 GB, and send it."""
    request.setHeader("Content-Length", str(3 * 1024**3))
    _Endless(request, _forever(_PIECE))


def endless_body(request: Request) -> None:
    """Send an answer without an end."""
    _Endless(request, _forever(_PIECE))


def gzip_bomb(request: Request) -> None:
    """Send gzip that unpacks to a thousand times its size, without an end."""
    request.setHeader("Content-Encoding", "gzip")
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    _Endless(request, (packer.compress(_PIECE * 16) for _ in _forever(b"")))


def deep_nesting(request: Request) -> None:
    """Send 5 MB of opening brackets."""
    request.write(b"[" * 5_000_000)
    request.finish()


VERY_MANY = 100_000
"""Rows; those of the smallest size fit into the largest answer that riskd reads."""


def very_many(name: str, real: Callable[[], list[Payload]], **row: Any) -> Answer:
    """Return an answer that lists under ``name`` what there is, and 100,000 things that there are not."""
    rows = ({"id": number, "contractId": f"C{number}", **row} for number in range(1, VERY_MANY))
    invented = b",".join(map(encode_json, rows))

    def answer(request: Request) -> None:
        there = b"".join(encode_json(each) + b"," for each in real())
        request.write(b'{"%s":[%s%s]' % (name.encode(), there, invented))
        request.write(b',"success":true,"errorCode":0}')
        request.finish()

    return answer


class HostileBroker:
    """A practice gateway's server, whose market hub and answers a test controls.

    :ivar answers: by the name of a request, what answers it in place of the exchange.
    :ivar flood: gives what the market hub sends every hundredth of a second; ``None`` for nothing.
    :ivar requests: how often each request was received.
    :ivar sent_at: when the user hub sent the latest event of an open position.
    :ivar closed_at: when a request to close a position came.
    :ivar flooded: how many bytes the market hub has sent.
    """

    def __init__(self) -> None:
        self.practice = PracticeGateway(
            reactor, utc_now, {ACCOUNT: ("MNQ", "MES")}, seed=1, is_open=True, is_quiet=True
        )
        self.site = practice_site(reactor, self.practice)
        self.site.resource = _Requests(self.site.resource, self)
        self._rest = reactor.listenTCP(0, self.site, interface=LOCALHOST)
        hubs = Factory.forProtocol(MarketHub)
        hubs.noisy = False
        hubs.broker = self
        self._hub = reactor.listenTCP(0, hubs, interface=LOCALHOST)
        self.url = f"http://{LOCALHOST}:{self._rest.getHost().port}"
        self.market_url = f"http://{LOCALHOST}:{self._hub.getHost().port}"
        self.answers: dict[str, Answer] = {}
        self.flood: Callable[[], bytes] | None = None
        self.requests: dict[str, int] = {}
        self.sent_at = self.closed_at = 0.0
        self.flooded = 0
        self.hubs: set[MarketHub] = set()
        self.practice.start()
        self.site._feed.subscribe(self._note_sent, Topic(POSITION, ACCOUNT))
        self._contracts = {one.root: one.id for one in self.practice._market.contracts}
        self._flooding = LoopingCall(self._send_flood)
        self._flooding.start(0.01)

    @property
    def gateway_table(self) -> str:
        """The table of a configuration that leads to this broker."""
        return f"""
[gateway]
kind = "projectx"
user_name = "{DEFAULT_USER_NAME}"
rest_url = "{self.url}"
user_hub_url = "{self.url}/hubs/user"
market_hub_url = "{self.market_url}/hubs/market"
"""

    async def close(self) -> None:
        """Stop serving."""
        self._flooding.stop()
        for hub in tuple(self.hubs):
            hub.transport.abortConnection()
        for port in (self._rest, self._hub):
            await port.stopListening()
        await self.practice.stop()

    def contract(self, ticker: str) -> str:
        """Return the id of a contract."""
        return self._contracts[ticker]

    def buy(self, ticker: str) -> None:
        """Fill an order to buy."""
        order = {
            "contractId": self.contract(ticker),
            "side": int(GatewayOrderSide.BID),
            "size": 1,
            "type": int(GatewayOrderType.MARKET),
        }
        self.practice.place_order(ACCOUNT, order)

    def size(self, ticker: str) -> int:
        """Return the size of a position."""
        held = self.practice.exchange.store.open_positions(ACCOUNT)
        contract_id = self.contract(ticker)
        return sum(each["size"] for each in held if each["contractId"] == contract_id)

    def invent_positions(self) -> None:
        """List 100,000 positions in contracts that there are not."""
        held = very_many(
            "positions",
            lambda: self.practice.exchange.store.open_positions(ACCOUNT),
            type=1,
            size=1,
            averagePrice=1,
        )
        self.answers["Position/searchOpen"] = held

    def invent_orders(self) -> None:
        """List 100,000 orders in contracts that there are not."""
        working = very_many(
            "orders",
            lambda: self.practice.exchange.store.open_orders(ACCOUNT),
            side=0,
            size=1,
            status=1,
        )
        self.answers["Order/searchOpen"] = working

    def _note_sent(self, record: bytes) -> None:
        data = decode_json(record.rstrip(SEPARATOR))["arguments"][0]["data"]
        if data["size"]:
            self.sent_at = reactor.seconds()

    def _send_flood(self) -> None:
        if self.flood is not None and self.hubs:
            data = self.flood()
            for hub in tuple(self.hubs):
                if not hub.is_full:
                    self.flooded += len(data)
                    hub.transport.write(data)

    def quote(self, number: int) -> bytes:
        """Return a quote of MNQ, near its price, as a frame."""
        contract_id = self.contract("MNQ")
        known = self.practice.exchange.quote(contract_id)
        assert known is not None
        last = known.last + Decimal("0.25") * (number % 2)
        payload = {
            "symbol": "F.US.MNQ",
            "lastPrice": last,
            "bestBid": last - Decimal("0.25"),
            "bestAsk": last + Decimal("0.25"),
            "change": Decimal("12.25"),
            "changePercent": Decimal("0.06"),
            "timestamp": utc_now().isoformat(),
        }
        return server_frame(TEXT, encode(Invocation(QUOTE, (contract_id, payload))))

    # What floods the market hub.

    def quotes(self, a_second: int) -> Callable[[], bytes]:
        """Return a flood of quotes, which change."""
        return lambda: b"".join(self.quote(each) for each in range(a_second // 100))

    def endless_record(self) -> bytes:
        """Return a part of a record that never ends."""
        return server_frame(TEXT, b" " * 500_000, final=True)

    def full_records(self) -> bytes:
        """Return a message that is full of the smallest records."""
        return server_frame(TEXT, encode(Invocation("x", ())) * 20_000)

    def full_record(self) -> bytes:
        """Return a record with thousands of quotes."""
        payload = {"lastPrice": 21000, "bestBid": 21000, "bestAsk": 21001}
        invocation = Invocation(QUOTE, (self.contract("MNQ"), *[payload] * 10_000))
        return server_frame(TEXT, encode(invocation))

    def empty_frames(self) -> bytes:
        """Return thousands of pings."""
        return server_frame(PING) * 20_000


class _Requests(Resource):
    """Counts the requests, and answers some of them itself."""

    isLeaf = True

    def __init__(self, inner: Any, broker: HostileBroker) -> None:
        super().__init__()
        self._inner = inner
        self._broker = broker

    def render(self, request: Any) -> Any:
        broker, name = self._broker, request.path.decode().removeprefix(_API)
        broker.requests[name] = broker.requests.get(name, 0) + 1
        if name == "Position/closeContract":
            broker.closed_at = reactor.seconds()
        if name not in broker.answers:
            return self._inner.render(request)
        request.notifyFinish().addErrback(lambda _lost: None)
        broker.answers[name](request)
        return NOT_DONE_YET


@implementer(IPushProducer)
class MarketHub(Protocol):
    """A market hub that accepts every subscription, and sends what the test says.

    :ivar is_full: whether the client does not read as fast as the hub sends.
    """

    def connectionMade(self) -> None:
        self._broker: HostileBroker = self.factory.broker
        self._begun = b""
        self._is_open = self.is_full = False

    def dataReceived(self, data: bytes) -> None:
        self._begun += data
        if not self._is_open:
            head, found, rest = self._begun.partition(_END_OF_HEAD)
            if not found:
                return
            self._is_open, self._begun = True, rest
            self.transport.write(handshake_answer(head + found))
        # TCP may bring a frame in parts.
        frames, self._begun = split_client_frames(self._begun)
        for opcode, payload in frames:
            if opcode == TEXT:
                self._receive(payload)

    def _receive(self, payload: bytes) -> None:
        if payload == HANDSHAKE_REQUEST:
            self.transport.write(server_frame(TEXT, encode_handshake_response()))
            self.transport.registerProducer(self, True)
            self._broker.hubs.add(self)
            return
        message = decode(payload.rstrip(SEPARATOR))
        if isinstance(message, Invocation) and message.invocation_id is not None:
            self.transport.write(server_frame(TEXT, encode(Completion(message.invocation_id, 0))))

    def pauseProducing(self) -> None:
        self.is_full = True

    def resumeProducing(self) -> None:
        self.is_full = False

    def stopProducing(self) -> None:
        self.is_full = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._broker.hubs.discard(self)
