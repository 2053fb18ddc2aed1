"""riskd's metrics, for a Prometheus on this machine.

Most values are read when the page is requested, so that nothing is counted twice and no event waits for a
counter.  Two cannot be read afterwards and are measured: the reactor's lag, and the time from the decision
to flatten to the first request to the broker.

Pages are made in the reactor's thread, unlike by prometheus_client's own resource: the values that they
read belong to that thread, and no event waits for a lock.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from twisted.application.service import Service
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.web.resource import Resource
from twisted.web.server import Request

from riskd.broadcast.statistics import Statistics
from riskd.engine.service import EngineService
from riskd.host.bounded_site import BodilessRequest, BoundedSite
from riskd.host.loopback import LoopbackServer
from riskd.host.same_host import is_foreign_fetch, is_same_host
from riskd.recording.recording_engine import RecordingEngine

LAG_SECONDS: Final = 0.1
"""The time between two measurements of the reactor's lag."""

MAX_CONNECTIONS: Final = 16
"""Each connection takes a file descriptor, which the clients of the stream need."""

_PATH: Final = b"/metrics"


class Metrics(Collector):
    """The metrics that are measured, and those that are read on request.

    :ivar registry: all metrics.
    :ivar lag: observes seconds by which a timer of the reactor was late.
    :ivar action: observes seconds from the decision to flatten to the first request.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lag = Histogram(
            "riskd_reactor_lag_seconds",
            "How late a timer of the reactor was.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
            registry=self.registry,
        )
        self.action = Histogram(
            "riskd_breach_to_action_seconds",
            "From deciding on a flatten to the first request to the broker that closes or cancels.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
            registry=self.registry,
        )

    def read_from(self, statistics: Statistics, engine: EngineService | RecordingEngine) -> None:
        """Read the values of the broadcast and of the engine on each request from now on."""
        self._statistics = statistics
        self._engine = engine
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the values of the broadcast and of the engine."""
        statistics = self._statistics
        yield GaugeMetricFamily("riskd_clients", "Clients connected.", value=statistics.clients)
        yield _by_label("riskd_events", "Events broadcast.", "type", statistics.events)
        yield CounterMetricFamily(
            "riskd_sent_bytes",
            "Bytes of events handed to the clients' connections.",
            value=statistics.bytes_sent,
        )
        yield GaugeMetricFamily(
            "riskd_queue_bytes",
            "Bytes of events in the backlogs of congested clients.",
            value=statistics.queue_bytes,
        )
        yield CounterMetricFamily(
            "riskd_conflated_quotes",
            "Quotes that a newer quote replaced before a congested client received them.",
            value=statistics.conflated_quotes,
        )
        yield _by_label(
            "riskd_clients_cut", "Connections ended by the server.", "reason", statistics.cut
        )
        yield GaugeMetricFamily(
            "riskd_gateway_in_step",
            "1 while riskd follows the gateway and can miss none of its events.",
            value=int(self._engine.is_reconciled),
        )
        offset: timedelta | None = self._engine.clock_offset
        yield GaugeMetricFamily(
            "riskd_clock_offset_seconds",
            "By how much the broker's clock is ahead of this machine's; NaN while that is unknown.",
            value=math.nan if offset is None else offset.total_seconds(),
        )


def _by_label(
    name: str, documentation: str, label: str, counts: Mapping[Any, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for key, count in counts.items():
        family.add_metric([str(key)], count)
    return family


class LagMeter(Service):
    """Measures again and again how late the reactor's timers are.

    :param clock: the reactor.
    :param observe: receives each lag in seconds.
    """

    def __init__(self, clock: IReactorTime, observe: Callable[[float], None]) -> None:
        self._clock = clock
        self._observe = observe
        self._due = 0.0
        self._loop: LoopingCall = LoopingCall.withCount(self._measure)
        self._loop.clock = clock

    def startService(self) -> None:
        """Start measuring."""
        super().startService()
        self._due = self._clock.seconds() + LAG_SECONDS
        self._loop.start(LAG_SECONDS, now=False)

    def stopService(self) -> None:
        """Stop measuring."""
        super().stopService()
        self._loop.stop()

    def _measure(self, count: int) -> None:
        # Of several calls that were due, the first has waited longest.
        self._observe(self._clock.seconds() - self._due)
        self._due += count * LAG_SECONDS


class MetricsResource(Resource):
    """The metrics in Prometheus' text format, for requests that name this machine."""

    isLeaf = True

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def render(self, request: Request) -> bytes:
        """Answer one request per connection.

        Pipelined requests would keep the daemon busy.
        """
        request.setHeader("Connection", "close")
        request.channel.persistent = False
        # A browser may neither take this text for a script nor show it within another site's page.
        request.setHeader("X-Content-Type-Options", "nosniff")
        request.setHeader("Cross-Origin-Resource-Policy", "same-origin")
        if request.method != b"GET":
            request.setResponseCode(HTTPStatus.METHOD_NOT_ALLOWED)
            request.setHeader("Allow", "GET")
            # Twisted logs a line for each HEAD that is answered with a body.
            return b""
        if not is_same_host(request):
            request.setResponseCode(HTTPStatus.FORBIDDEN)
            return b"Foreign Host or Origin.\n"
        if is_foreign_fetch(request):
            request.setResponseCode(HTTPStatus.FORBIDDEN)
            return b"Sec-Fetch-Site: the page of another site asks.\n"
        if request.path != _PATH:
            request.setResponseCode(HTTPStatus.NOT_FOUND)
            return b"There is nothing but %s.\n" % _PATH
        request.setHeader("Content-Type", CONTENT_TYPE_LATEST)
        return generate_latest(self._registry)


def metrics_site(registry: CollectorRegistry, clock: IReactorTime) -> IProtocolFactory:
    """Return the factory that serves the metrics of ``registry``."""
    return BoundedSite(MetricsResource(registry), clock, MAX_CONNECTIONS, BodilessRequest)


def metrics_services(
    reactor: Any, metrics: Metrics, sockets: list[socket.socket]
) -> tuple[Service, ...]:
    """Return the services of the metrics page and of measuring the reactor's lag."""
    site = metrics_site(metrics.registry, reactor)
    return (
        LoopbackServer(reactor, site, sockets, "metrics at http://{place}/metrics"),
        LagMeter(reactor, metrics.lag.observe),
    )
