"""riskd as a whole, its broadcast alone, and plain Autobahn."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred, succeed
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, globalLogPublisher
from twisted.protocols.basic import LineOnlyReceiver

from riskd.app import tap
from riskd.app.launch import freeze_garbage
from riskd.broadcast.server import BroadcastServerFactory, BroadcastService
from riskd.config.loader import parse_settings
from riskd.gateway.payload_listener import PayloadListener
from riskd.gateway.signalr import Invocation, RecordReader, decode, encode
from riskd.host.loopback import listen
from riskd.journal.state_directory import StateDirectory
from riskd.model.events import Event
from riskd.practice.gateway import PracticeGateway
from tests.benchmarks.workload import (
    ACCOUNT,
    ASK,
    BACKLOG,
    BID,
    CONTRACT,
    MOMENT,
    NO_STAMP,
    Measured,
    Progress,
    quote,
    say,
    text,
)

_MAX_CLIENTS: Final = 10_000
_CONFIG: Final = f"""
[server]
max_clients = {_MAX_CLIENTS}
[[accounts]]
id = {ACCOUNT}
watch = ["MNQ"]
"""


class TwistedPeer:
    """A server on Twisted.

    :param reactor: the running reactor.
    :ivar codes: how many clients were closed with each code, where counted.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor

        self.codes: Counter[str] = Counter()

    @property
    def count(self) -> int:
        raise NotImplementedError

    def sleep(self, seconds: float) -> Deferred[None]:
        return deferLater(self.reactor, seconds)

    def listen(self) -> Deferred[int]:
        """Accept clients; return a Deferred that fires with the port."""
        raise NotImplementedError

    async def emit(self, stamps: Sequence[int]) -> None:
        raise NotImplementedError


class Autobahn(TwistedPeer):
    """Autobahn as its examples use it: a ``sendMessage`` to each client."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self._clients: set[Any] = set()

    @property
    def count(self) -> int:
        return len(self._clients)

    def listen(self) -> Deferred[int]:
        clients = self._clients

        class Protocol(WebSocketServerProtocol):
            def onOpen(self) -> None:
                clients.add(self)

            def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
                clients.discard(self)

        factory = WebSocketServerFactory(reactor=self.reactor)
        factory.protocol = Protocol
        port = self.reactor.listenTCP(0, factory, BACKLOG, "127.0.0.1")
        return succeed(port.getHost().port)

    async def emit(self, stamps: Sequence[int]) -> None:
        for stamp in stamps:
            message = text(stamp)
            for client in self._clients:
                client.sendMessage(message, isBinary=False)


class BroadcastOnly(TwistedPeer):
    """riskd's broadcast, given events."""

    def listen(self) -> Deferred[int]:
        sockets = listen(0, "127.0.0.1")
        port = sockets[0].getsockname()[1]
        self.factory = BroadcastServerFactory(
            self.reactor,
            gateway_name="benchmark",
            addresses=[listening.getsockname()[:2] for listening in sockets],
            prepare=lambda: succeed(None),
            max_clients=_MAX_CLIENTS,
        )
        BroadcastService(self.reactor, self.factory, sockets).startService()
        return succeed(port)

    @property
    def count(self) -> int:
        return self.factory.statistics.clients

    async def emit(self, stamps: Sequence[int]) -> None:
        for stamp in stamps:
            self.factory.broadcast(Event(ACCOUNT, quote(stamp)))
        self.factory.flush()


class Riskd(TwistedPeer):
    """riskd with its journal, from the bytes of a broker's hub to its clients."""

    def listen(self) -> Deferred[int]:
        sockets = listen(0, "127.0.0.1")
        port = sockets[0].getsockname()[1]
        gateway = PracticeGateway(self.reactor, tap.utc_now, {ACCOUNT: ("MNQ",)}, is_open=False)
        self._directory = tempfile.TemporaryDirectory()
        state = StateDirectory(Path(self._directory.name))
        settings = parse_settings(_CONFIG, "benchmark", {})
        daemon, self._engine = tap.assemble(
            tap.EngineService, self.reactor, gateway, sockets, state, settings, {}
        )
        self._payloads = PayloadListener(self._engine)
        self._factory: BroadcastServerFactory = self._engine._broadcast.__self__
        self._records = RecordReader()
        globalLogPublisher.addObserver(self._logged)
        self.reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
        self.reactor.addSystemEventTrigger("after", "shutdown", self._directory.cleanup)
        daemon.startService()
        # As the running daemon does.
        freeze_garbage()
        return self._engine.started.addCallback(lambda _: port)

    @property
    def count(self) -> int:
        return self._factory.statistics.clients

    async def emit(self, stamps: Sequence[int]) -> None:
        for record in self._records.feed(b"".join(map(hub_record, stamps))):
            message = decode(record)
            if isinstance(message, Invocation):
                contract_id, payload = message.arguments
                self._payloads.market_event(message.target, contract_id, payload)
        # With bytes from a socket the reactor would do this before it polls again.
        self._factory.flush()

    def _logged(self, event: LogEvent) -> None:
        if "code" in event:
            self.codes[str(event["code"])] += 1


class Positions(Riskd):
    """riskd, receiving a position that changes: none of these events may be dropped."""

    async def emit(self, stamps: Sequence[int]) -> None:
        for stamp in stamps:
            self._payloads.user_event("GatewayUserPosition", position(stamp))


class Mixture(Riskd):
    """riskd, receiving quotes and, every tenth time, a position."""

    async def emit(self, stamps: Sequence[int]) -> None:
        await super().emit(stamps[: len(stamps) * 9 // 10])
        for stamp in stamps[len(stamps) * 9 // 10 :]:
            self._payloads.user_event("GatewayUserPosition", position(stamp))


def _hub_record(last: int) -> bytes:
    stamp = MOMENT.isoformat()
    payload = {
        "symbol": "F.US.MNQ",
        "bestBid": BID,
        "bestAsk": ASK,
        "lastPrice": last,
        "lastUpdated": stamp,
        "timestamp": stamp,
    }
    return encode(Invocation("GatewayQuote", (CONTRACT, payload)))


_BEFORE, _, _AFTER = _hub_record(NO_STAMP).partition(b"%d" % NO_STAMP)


def hub_record(stamp: int) -> bytes:
    """Return the record in which a broker's hub sends a quote."""
    return b"%s%d%s" % (_BEFORE, stamp, _AFTER)


def position(stamp: int) -> dict[str, Any]:
    """Return the record in which a broker's hub sends a position, each with another size."""
    return {
        "id": 1,
        "accountId": ACCOUNT,
        "contractId": CONTRACT,
        "creationTimestamp": MOMENT.isoformat(),
        "updateTimestamp": MOMENT.isoformat(),
        "type": 1,
        "size": stamp,
        "averagePrice": BID,
    }


class _Commands(LineOnlyReceiver):
    delimiter = b"\n"

    def __init__(self, peer: TwistedPeer, measured: Measured) -> None:
        self._peer = peer
        self._measured = measured

    def lineReceived(self, line: bytes) -> None:
        answered = Deferred.fromCoroutine(self._measured.answer(line))
        answered.addCallbacks(self.sendLine, self._failed)

    def _failed(self, failure: Any) -> None:
        failure.printTraceback()
        self._peer.reactor.stop()

    def connectionLost(self, reason: object = None) -> None:
        if self._peer.reactor.running:
            self._peer.reactor.stop()


def serve(make: Callable[[Any], TwistedPeer], progress: Progress) -> None:
    """Serve until standard input ends."""
    from twisted.internet import reactor  # noqa: PLC0415  # the installed reactor

    peer = make(reactor)

    def listening(port: int) -> None:
        say(port=port)
        StandardIO(_Commands(peer, Measured(peer, progress)))

    reactor.callWhenRunning(lambda: peer.listen().addCallback(listening))
    reactor.run()


def serve_on_uvloop(make: Callable[[Any], TwistedPeer], progress: Progress) -> None:
    """Serve on ``twistd --reactor asyncio``, with the event loop of uvloop."""
    import uvloop  # noqa: PLC0415
    from twisted.internet import asyncioreactor  # noqa: PLC0415

    asyncioreactor.install(uvloop.new_event_loop())
    serve(make, progress)
