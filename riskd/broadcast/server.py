"""The clients, and the one way to reach them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from autobahn.twisted.websocket import WebSocketServerFactory
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITransport

from riskd import __version__
from riskd.broadcast.client import CLOSING_SECONDS, ConsoleProtocol
from riskd.broadcast.connection_log import ConnectionLog
from riskd.broadcast.eager import sender
from riskd.broadcast.frames import Frame, in_batches
from riskd.broadcast.handshake import STOPPING, UNAVAILABLE, Door
from riskd.broadcast.heartbeat import Heartbeat
from riskd.broadcast.statistics import Cut, Statistics
from riskd.model.events import Event, MarketQuote
from riskd.model.wire import encode

DEFAULT_MAX_CLIENTS: Final = 1000

GATEWAY_HEADER: Final = "Riskd-Gateway"
"""The header of the handshake's answer that names the kind of gateway, such as ``practice``."""

DRY_RUN_HEADER: Final = "Riskd-Dry-Run"
"""The header of the handshake's answer that is there, and says ``yes``, where nothing is enforced."""

_HANDSHAKE_SECONDS: Final = 5
_MAX_CLIENT_MESSAGE_BYTES: Final = 4 * 1024


class BroadcastServerFactory(WebSocketServerFactory):
    """The clients, and the one way to reach them.

    :param reactor: clock of the connection log.
    :param gateway_name: what clients are told of the gateway in the handshake.
    :param is_dry_run: whether they are told there that nothing is enforced.
    :param prepare: called for every client that asks to be let in; its handshake is completed when
        the Deferred fires.
    :param max_clients: more than these are refused with 503; as many may wait without a handshake.
    :param allowed_origins: web origins that may connect besides the daemon's own.
    :ivar connection_log: where clients' comings and goings are written down.
    :ivar statistics: what is counted.
    :ivar messages_sent: to each client that was ready all the time.
    """

    protocol = ConsoleProtocol  # type: ignore[assignment]

    def __init__(
        self,
        reactor: IReactorTime,
        *,
        gateway_name: str,
        prepare: Callable[[], Deferred[None]],
        is_dry_run: bool = False,
        max_clients: int = DEFAULT_MAX_CLIENTS,
        allowed_origins: Iterable[str] = (),
    ) -> None:
        headers = {GATEWAY_HEADER: gateway_name}
        if is_dry_run:
            headers[DRY_RUN_HEADER] = "yes"
        super().__init__(reactor=reactor, server=f"riskd/{__version__}", headers=headers)
        self.clock = reactor
        self.noisy = False
        self.door = Door(allowed_origins)
        self.statistics = Statistics()
        self.connection_log = ConnectionLog(reactor)
        self._max_clients = max_clients
        self._prepare = prepare
        self._strangers: dict[ConsoleProtocol, None] = {}
        self._joining: set[ConsoleProtocol] = set()
        self._clients: set[ConsoleProtocol] = set()
        # A client that is closing is in neither of these; of one that is ready, what sends to it.
        self._ready: dict[ConsoleProtocol, Callable[[bytes], int]] = {}
        self._behind: dict[ConsoleProtocol, None] = {}
        self.messages_sent = 0
        self._heartbeat = Heartbeat(reactor)
        self._is_closing = False
        self._unsent: list[Frame] = []
        self._flushing: IDelayedCall | None = None
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            failByDrop=False,
            maxFramePayloadSize=_MAX_CLIENT_MESSAGE_BYTES,
            maxMessagePayloadSize=_MAX_CLIENT_MESSAGE_BYTES,
            openHandshakeTimeout=_HANDSHAKE_SECONDS,
            closeHandshakeTimeout=CLOSING_SECONDS,
            # Its pings cost twice as much, and come all at once to those who came at once.
            autoPingInterval=0,
            # Origins are checked here and not by Autobahn, which would answer 400.
            allowNullOrigin=True,
        )

    @property
    def count(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    def serve_at(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Learn under which hosts and ports clients may ask for this server."""
        self.door.serve_at(addresses)

    def meet(self, stranger: ConsoleProtocol) -> None:
        """Let a connection wait for its handshake; of too many, the one goes that waits longest.

        An honest client's handshake comes with the connection, so that those who fill the door put
        out one another.
        """
        self._strangers[stranger] = None
        if len(self._strangers) > self._max_clients:
            next(iter(self._strangers)).abort(Cut.CROWD_AT_THE_DOOR)

    def join(self, client: ConsoleProtocol) -> Deferred[None]:
        """Fire when ``client`` may be let in; what is told until then is kept for it.

        So it misses nothing: what was told before is in the state file, what is told from now on it
        gets as soon as it is in.

        :raises ConnectionDeny: there are too many, or the daemon stops.
        """
        if self._is_closing:
            raise ConnectionDeny(UNAVAILABLE, STOPPING)
        if len(self._clients) + len(self._joining) >= self._max_clients:
            raise ConnectionDeny(UNAVAILABLE, "too many clients")
        # What is still to be sent was told before.
        self.flush()
        self._strangers.pop(client, None)
        self._joining.add(client)
        client.fall_behind()
        return self._prepare()

    def add(self, client: ConsoleProtocol) -> None:
        """Count a client in that was joining."""
        self._joining.discard(client)
        self._clients.add(client)
        self._heartbeat.add(client)
        self.statistics.clients = len(self._clients)

    def keep_up(self, client: ConsoleProtocol, transport: ITransport) -> None:
        """Send to ``transport`` from now on, at once, what ``client`` is to be sent: nothing waits there."""
        self._behind.pop(client, None)
        self._ready[client] = sender(transport)

    def fall_behind(self, client: ConsoleProtocol) -> None:
        """Give ``client`` from now on what it is to be sent, to be kept."""
        self._ready.pop(client, None)
        self._behind[client] = None

    def mute(self, client: ConsoleProtocol) -> None:
        """Send ``client`` nothing any more."""
        self._ready.pop(client, None)
        self._behind.pop(client, None)

    def remove(self, client: ConsoleProtocol) -> None:
        """Know ``client`` no more."""
        self._strangers.pop(client, None)
        self._joining.discard(client)
        self._clients.discard(client)
        self._heartbeat.remove(client)
        self.statistics.clients = len(self._clients)

    def broadcast(self, event: Event) -> None:
        """Send ``event`` to every client: encoded once, framed once.

        What is told in one turn of the reactor is one write to each client, at the turn's end.  So a
        burst keeps nobody waiting: neither the clients nor whatever is to be done about the burst.
        """
        data = event.data
        quote = (event.account_id, data.contract_id) if isinstance(data, MarketQuote) else None
        framed: bytes = self.prepareMessage(encode(event), doNotCompress=True).payloadHybi
        if self._flushing is None:
            self._flushing = self.clock.callLater(0, self.flush)
        self._unsent.append(Frame(framed, quote))
        self.statistics.events[event.type] += 1

    def flush(self) -> None:
        """Send what was broadcast in this turn."""
        if self._flushing is None:
            return
        if self._flushing.active():
            self._flushing.cancel()
        self._flushing = None
        unsent, self._unsent = self._unsent, []
        for frames in in_batches(unsent):
            self._send(frames)

    def _send(self, frames: list[Frame]) -> None:
        data = b"".join([frame.data for frame in frames])
        size = len(data)
        # Who cannot take it falls behind meanwhile, and who is too far behind is cut.
        ready, behind = tuple(self._ready.values()), tuple(self._behind)
        self.messages_sent += len(frames)
        self.statistics.bytes_sent += len(ready) * size
        cut_short: dict[Callable[[bytes], int], int] = {}
        for send in ready:
            try:
                sent = send(data)
            except OSError:
                # If it means the end, the connection is about to find out, and reports it in its order.
                sent = 0
            if sent != size:
                cut_short[send] = sent
        if cut_short:
            for client, send in tuple(self._ready.items()):
                if send in cut_short:
                    client.transport.write(data[cut_short[send] :])
        for client in behind:
            client.keep(frames)

    def close_all(self) -> Deferred[None]:
        """Say 1001 to every client; fire when all are gone, after two seconds at the latest.

        Who is not in yet is refused with 503, now and later.
        """
        self._is_closing = True
        self.flush()
        joining, clients = tuple(self._joining), tuple(self._clients)
        leaving = joining + clients
        gone = DeferredList([client.is_closed for client in leaving])
        late = self.clock.callLater(CLOSING_SECONDS, _abort, leaving)
        for client in joining:
            client.failHandshake(STOPPING, UNAVAILABLE)
        for client in clients:
            client.say_goodbye()

        def all_gone(_results: object) -> None:
            if late.active():
                late.cancel()

        return gone.addCallback(all_gone)


def _abort(clients: Iterable[ConsoleProtocol]) -> None:
    for client in clients:
        client.dropConnection(abort=True)
