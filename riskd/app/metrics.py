"""riskd's own numbers, for a Prometheus on this machine.

Nearly all of them are read when they are asked for, in the reactor, so that nothing is counted twice and
no event waits for a counter.  What cannot be read afterwards is measured: how late the reactor is, and
how long a breach waits for the first thing that is done about it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from riskd.host.loopback import LoopbackServer
from riskd.host.same_host import is_same_host

LOOK_SECONDS: Final = 0.1
"""How often the reactor is asked how late it is."""

MAX_CONNECTIONS: Final = 16
"""As many may ask at a time."""

_ANSWER_SECONDS: Final = 5
_LAG_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_ACTION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

_PATH: Final = b"/metrics"
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_METHOD_NOT_ALLOWED: Final = 405

_log = Logger()


class FollowsGateway(Protocol):
    """What is in step with a gateway, or is not."""

    @property
    def is_reconciled(self) -> bool:
        """Whether the gateway is followed now."""


class BroadcastCounts(Protocol):
    """What a broadcast counts of itself; its factory's ``statistics`` are this."""

    clients: int
    bytes_sent: int
    queue_bytes: int
    conflated_quotes: int

    @property
    def events(self) -> Mapping[str, int]:
        """Events by type."""

    @property
    def cut(self) -> Mapping[Any, int]:
        """Connections ended from this side, by reason."""


def broadcast_metrics(counts: BroadcastCounts) -> Iterator[Metric]:
    """Yield the numbers of the broadcast."""
    yield GaugeMetricFamily("riskd_clients", "Clients connected.", value=counts.clients)
    yield _by_label("riskd_events", "Events broadcast.", "type", counts.events)
    yield CounterMetricFamily(
        "riskd_sent_bytes",
        "Bytes of events handed to the clients' connections.",
        value=counts.bytes_sent,
    )
    yield GaugeMetricFamily(
        "riskd_queue_bytes",
        "Bytes of events kept for clients that cannot take them yet.",
        value=counts.queue_bytes,
    )
    yield CounterMetricFamily(
        "riskd_conflated_quotes",
        "Quotes that a newer one took the place of before a client could take them.",
        value=counts.conflated_quotes,
    )
    yield _by_label("riskd_clients_cut", "Connections ended from this side.", "reason", counts.cut)


def _by_label(
    name: str, documentation: str, label: str, counts: Mapping[Any, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for key, count in counts.items():
        family.add_metric([str(key)], count)
    return family


def engine_metrics(engine: FollowsGateway) -> Iterator[Metric]:
    """Yield the numbers of the pipeline."""
    yield GaugeMetricFamily(
        "riskd_gateway_in_step",
        "1 while the gateway is followed and none of its events may be missing.",
        value=int(engine.is_reconciled),
    )


class Metrics:
    """What is measured, and what is read when somebody asks.

    :ivar registry: all of it.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._lag = Histogram(
            "riskd_reactor_lag_seconds",
            "How late a timer of the reactor was.",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )
        self._action = Histogram(
            "riskd_breach_to_action_seconds",
            "From deciding on a flatten to the first request to the broker that closes or cancels.",
            buckets=_ACTION_BUCKETS,
            registry=self.registry,
        )

    def acted(self, seconds: float) -> None:
        """Take how long a breach waited."""
        self._action.observe(seconds)

    def was_late(self, seconds: float) -> None:
        """Take how late the reactor was."""
        self._lag.observe(seconds)

    def read_from(self, counts: BroadcastCounts, engine: FollowsGateway) -> None:
        """Read what the broadcast and the pipeline know whenever somebody asks."""
        self.registry.register(_Reading(counts, engine))


class _Reading(Collector):
    """What is read when somebody asks."""

    def __init__(self, counts: BroadcastCounts, engine: FollowsGateway) -> None:
        self._counts = counts
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Yield all of it."""
        yield from broadcast_metrics(self._counts)
        yield from engine_metrics(self._engine)


class LagMeter:
    """Asks the reactor again and again how late it is.

    :param clock: the reactor.
    :param was_late: told each time, in seconds.
    """

    def __init__(self, clock: IReactorTime, was_late: Callable[[float], None]) -> None:
        self._clock = clock
        self._was_late = was_late
        self._due = 0.0
        self._looking: LoopingCall = LoopingCall.withCount(self._look)
        self._looking.clock = clock

    def start(self) -> None:
        """Begin."""
        self._due = self._clock.seconds() + LOOK_SECONDS
        self._looking.start(LOOK_SECONDS, now=False).addErrback(
            lambda failure: _log.failure("measuring the reactor", failure)
        )

    def stop(self) -> None:
        """Leave off."""
        if self._looking.running:
            self._looking.stop()

    def _look(self, count: int) -> None:
        # Of those that were skipped, the first has waited longest.
        self._was_late(self._clock.seconds() - self._due)
        self._due += count * LOOK_SECONDS


class MetricsResource(Resource):
    """A page of all numbers, as Prometheus reads them; none for a web page from elsewhere.

    It is made in the reactor's thread, unlike prometheus_client's own: what it reads belongs there.
    """

    isLeaf = True

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def render(self, request: Request) -> bytes | int:
        """Answer once a connection: one that asked again and again would keep the daemon busy."""
        request.setHeader("Connection", "close")
        request.channel.persistent = False
        if request.method != b"GET":
            request.setResponseCode(_METHOD_NOT_ALLOWED)
            request.setHeader("Allow", "GET")
            # Twisted writes a line for each HEAD that is answered with more.
            return b""
        answer: bytes | int = super().render(request)
        return answer

    def render_GET(self, request: Request) -> bytes:
        """Return the numbers as they are now."""
        if not is_same_host(request):
            request.setResponseCode(_FORBIDDEN)
            return b"Foreign Host or Origin.\n"
        if request.path != _PATH:
            request.setResponseCode(_NOT_FOUND)
            return b"There is nothing but %s.\n" % _PATH
        request.setHeader("Content-Type", CONTENT_TYPE_LATEST)
        return generate_latest(self._registry)


class _BodilessRequest(Request):
    """A request of whose body nothing is kept, neither in memory nor on the disk."""

    def gotLength(self, _length: int | None) -> None:
        super().gotLength(0)

    def handleContentChunk(self, data: bytes) -> None:
        pass


class _MetricsSite(Site):
    def log(self, request: HTTPRequest) -> None:
        """Write nothing: who asks does so every few seconds, or wants to fill the log."""


class _FewAtATime(WrappingFactory):
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]  # as factories may
        """Let nobody in who would take the descriptors that others need."""
        return super().buildProtocol(addr) if len(self.protocols) < MAX_CONNECTIONS else None


def metrics_site(registry: CollectorRegistry, clock: IReactorTime) -> IProtocolFactory:
    """Return what answers with the numbers of ``registry``."""
    site = _MetricsSite(
        MetricsResource(registry),
        requestFactory=_BodilessRequest,
        timeout=_ANSWER_SECONDS,
        reactor=clock,
    )
    site.noisy = False
    return _FewAtATime(site)


class MetricsService(LoopbackServer):
    """The metrics page on its sockets and the measurement of the reactor's lag.

    :param sockets: listening; the service takes them over.
    """

    def __init__(self, reactor: Any, metrics: Metrics, sockets: list[socket.socket]) -> None:
        site = metrics_site(metrics.registry, reactor)
        super().__init__(reactor, site, sockets, "metrics at http://{place}/metrics")
        self._meter = LagMeter(reactor, metrics.was_late)

    def startService(self) -> None:
        """Measure and answer."""
        super().startService()
        self._meter.start()

    def stopService(self) -> Deferred[Any]:
        """Stop measuring and answering."""
        self._meter.stop()
        return super().stopService()
