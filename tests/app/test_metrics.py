"""The metrics page: its requests, its values, and how the reactor's lag is measured."""

from __future__ import annotations

import math
import tempfile
from datetime import timedelta
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.metrics import (
    LAG_SECONDS,
    MAX_CONNECTIONS,
    LagMeter,
    Metrics,
    metrics_services,
    metrics_site,
)
from riskd.broadcast.server import BroadcastServerFactory
from riskd.config.settings import Faults
from riskd.engine.enforcement.enforcer import WRITE_SECONDS
from riskd.gateway.enums import GatewayOrderType
from riskd.host.bounded_site import REQUEST_SECONDS
from riskd.host.loopback import listen
from riskd.testing import make_event
from tests.support.memory_transport import MemoryTransport
from tests.support.practice_daemon import ACCOUNT, BUY, MNQ, PracticeDaemon
from tests.support.recorded_daemon import RecordedDaemon
from tests.support.websocket_frames import TEXT, client_frame, handshake

PORT = 9100
HOST = f"localhost:{PORT}"
LIMIT = "[rules.max_contracts]\nlimit = 1\n"


class FollowedGateway:
    """Stands in for the engine."""

    is_reconciled = True
    clock_offset: timedelta | None = None


def connect(factory: Any, port: int, data: bytes) -> MemoryTransport:
    """Return a connection to ``factory`` on which ``data`` was sent."""
    transport = MemoryTransport(
        IPv4Address("TCP", "127.0.0.1", 50000), IPv4Address("TCP", "127.0.0.1", port)
    )
    transport.hostAddr = IPv4Address("TCP", "127.0.0.1", port)
    transport.protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 50000))
    transport.protocol.makeConnection(transport)
    transport.protocol.dataReceived(data)
    return transport


def page(text: str) -> dict[str, float]:
    """Return the samples of a page, by name and labels."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


class MetricsTests(SynchronousTestCase):
    """Requests and values."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = BroadcastServerFactory(
            self.clock,
            gateway_name="practice",
            addresses=[("127.0.0.1", 8765)],
            prepare=lambda: succeed(None),
        )
        self.factory.setProtocolOptions(autoPingInterval=0)
        self.engine = FollowedGateway()
        self.metrics = Metrics()
        self.metrics.read_from(self.factory.statistics, self.engine)
        self.site = metrics_site(self.metrics.registry, self.clock)

    def get(self, *headers: str, host: str = HOST) -> tuple[int, dict[str, str], str]:
        """Return status, headers and body of the answer to a request."""
        lines = ["GET /metrics HTTP/1.1", f"Host: {host}", *headers, "Connection: close"]
        transport = connect(self.site, PORT, "\r\n".join([*lines, "", ""]).encode())
        head, _blank, body = transport.value().decode().partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        named = dict(field.split(": ", 1) for field in fields)
        return int(status.split(" ")[1]), {key.lower(): named[key] for key in named}, body

    def samples(self) -> dict[str, float]:
        return page(self.get()[2])

    def test_the_page_is_in_the_format_of_prometheus(self) -> None:
        status, headers, body = self.get()
        self.assertEqual(status, 200)
        self.assertTrue(headers["content-type"].startswith("text/plain; version="), headers)
        self.assertIn("# TYPE riskd_clients gauge", body)

    def test_a_connection_gets_one_response_and_no_line_in_the_log(self) -> None:
        asked = f"GET /metrics HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() * 100
        with capturedLogs() as logged:
            transport = connect(self.site, PORT, asked)
        self.assertEqual(transport.value().count(b"HTTP/1.1 200"), 1)
        self.assertFalse(transport.connected)
        self.assertEqual(logged, [])

    def test_methods_other_than_get_are_refused(self) -> None:
        for host in (HOST, "evil.example"):
            asked = f"HEAD /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            with capturedLogs() as logged:
                transport = connect(self.site, PORT, asked)
            self.assertTrue(transport.value().startswith(b"HTTP/1.1 405"))
            self.assertEqual(logged, [])

    def test_a_body_is_discarded(self) -> None:
        kept: list[object] = []
        self.patch(tempfile, "TemporaryFile", lambda *_: kept.append(None))
        body = b"x" * 200_000
        head = f"POST /metrics HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n\r\n"
        transport = connect(self.site, PORT, head.encode() + body)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 405"))
        chunked = f"POST /metrics HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        transport = connect(self.site, PORT, chunked.encode() + chunks)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 405"))
        self.assertEqual(kept, [])

    def test_connections_are_limited_in_number_and_time(self) -> None:
        silent = [connect(self.site, PORT, b"GET /metrics HTTP/1.1\r\n") for _ in range(40)]
        self.assertEqual(sum(transport.connected for transport in silent), MAX_CONNECTIONS)
        self.assertEqual(self.get()[0], 200)
        self.clock.advance(REQUEST_SECONDS)
        self.assertFalse(any(transport.connected for transport in silent))

    def test_a_foreign_web_page_is_refused(self) -> None:
        for answer in (
            self.get("Origin: https://evil.example"),
            self.get("Origin: null"),
            self.get(host=f"evil.example:{PORT}"),
            self.get(host="localhost:8765"),
        ):
            self.assertEqual((answer[0], answer[2]), (403, "Foreign Host or Origin.\n"))
        self.assertEqual(self.get(host=f"127.0.0.1:{PORT}")[0], 200)
        self.assertFalse(
            [name for name in self.get(f"Origin: http://{HOST}")[1] if "access-control" in name]
        )

    def test_a_fetch_by_the_page_of_another_site_is_refused(self) -> None:
        """An image or a script is fetched without ``Origin``."""
        for site in ("cross-site", "same-site", "nonsense"):
            for more in ((), ("Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image")):
                status, _headers, body = self.get(f"Sec-Fetch-Site: {site}", *more)
                self.assertEqual(status, 403, site)
                self.assertNotIn("riskd_clients", body)
            framed = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe")
            self.assertEqual(self.get(f"Sec-Fetch-Site: {site}", *framed)[0], 403)
        for site in ("none", "same-origin"):
            self.assertEqual(self.get(f"Sec-Fetch-Site: {site}")[0], 200)

    def test_a_person_may_follow_a_link_to_the_page(self) -> None:
        """Prometheus links the pages that it reads."""
        followed = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
        self.assertEqual(self.get("Sec-Fetch-Site: same-site", *followed)[0], 200)

    def test_no_answer_is_taken_for_a_script(self) -> None:
        for answer in (self.get(), self.get(host="evil.example"), self.get("Origin: null")):
            self.assertEqual(answer[1]["x-content-type-options"], "nosniff")
            self.assertEqual(answer[1]["cross-origin-resource-policy"], "same-origin")

    def test_clients_are_counted_while_connected(self) -> None:
        self.assertEqual(self.samples()["riskd_clients"], 0)
        client = connect(self.factory, 8765, handshake("localhost:8765"))
        self.assertEqual(self.samples()["riskd_clients"], 1)
        client.abortConnection()
        self.assertEqual(self.samples()["riskd_clients"], 0)

    def test_events_are_counted_by_type_and_bytes_by_client(self) -> None:
        for _ in range(2):
            connect(self.factory, 8765, handshake("localhost:8765")).clear()
        for kind in ("MarketQuote", "MarketQuote", "lockout_set"):
            self.factory.broadcast(make_event(kind, {}))
        self.clock.advance(0)
        samples = self.samples()
        self.assertEqual(samples['riskd_events_total{type="MarketQuote"}'], 2)
        self.assertEqual(samples['riskd_events_total{type="lockout_set"}'], 1)
        self.assertGreater(samples["riskd_sent_bytes_total"], 6 * 100)

    def test_a_client_that_sends_a_message_is_counted_as_cut(self) -> None:
        client = connect(self.factory, 8765, handshake("localhost:8765"))
        client.protocol.dataReceived(client_frame(TEXT, b"hello"))
        self.assertEqual(self.samples()['riskd_clients_cut_total{reason="sent_a_message"}'], 1)

    def test_backlogs_and_conflated_quotes_are_shown(self) -> None:
        self.factory.statistics.queue_bytes = 1000
        self.factory.statistics.conflated_quotes = 7
        samples = self.samples()
        self.assertEqual(samples["riskd_queue_bytes"], 1000)
        self.assertEqual(samples["riskd_conflated_quotes_total"], 7)

    def test_the_clocks_offset_is_shown(self) -> None:
        self.assertTrue(math.isnan(self.samples()["riskd_clock_offset_seconds"]))
        self.engine.clock_offset = timedelta(seconds=-1.25)
        self.assertEqual(self.samples()["riskd_clock_offset_seconds"], -1.25)

    def test_whether_the_gateway_is_followed_is_shown(self) -> None:
        self.assertEqual(self.samples()["riskd_gateway_in_step"], 1)
        self.engine.is_reconciled = False
        self.assertEqual(self.samples()["riskd_gateway_in_step"], 0)

    def test_observations_are_in_the_histograms(self) -> None:
        self.metrics.action.observe(0.004)
        self.metrics.lag.observe(0.3)
        samples = self.samples()
        self.assertEqual(samples["riskd_breach_to_action_seconds_count"], 1)
        self.assertEqual(samples["riskd_breach_to_action_seconds_sum"], 0.004)
        self.assertEqual(samples['riskd_breach_to_action_seconds_bucket{le="0.005"}'], 1)
        self.assertEqual(samples['riskd_reactor_lag_seconds_bucket{le="0.25"}'], 0)
        self.assertEqual(samples['riskd_reactor_lag_seconds_bucket{le="0.5"}'], 1)


class LagMeterTests(SynchronousTestCase):
    """The reactor's lag."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lags: list[float] = []
        self.meter = LagMeter(self.clock, self.lags.append)
        self.meter.startService()

    def pass_time(self, *seconds: float) -> list[float]:
        self.lags.clear()
        self.clock.pump(seconds)
        return [round(lag, 6) for lag in self.lags]

    def test_timers_in_time_have_no_lag(self) -> None:
        self.assertEqual(self.pass_time(*[LAG_SECONDS] * 3), [0, 0, 0])

    def test_a_late_turn_is_measured_once(self) -> None:
        self.assertEqual(self.pass_time(LAG_SECONDS * 1.5, LAG_SECONDS / 2), [0.05, 0])

    def test_a_long_stall_is_one_measurement_of_its_whole_length(self) -> None:
        self.assertEqual(self.pass_time(LAG_SECONDS * 10, LAG_SECONDS), [0.9, 0])

    def test_the_measurement_ends(self) -> None:
        self.meter.stopService()
        self.assertEqual(self.pass_time(1.0), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ServiceTests(SynchronousTestCase):
    """The services of the metrics, from start to stop."""

    def test_the_services_listen_measure_and_stop(self) -> None:
        reactor = MemoryReactorClock()
        metrics = Metrics()
        sockets = listen(0, "127.0.0.1")
        self.addCleanup(sockets[0].close)
        port = sockets[0].getsockname()[1]
        service = MultiService()
        for part in metrics_services(reactor, metrics, sockets):
            part.setServiceParent(service)
        with capturedLogs() as logged:
            service.startService()
        self.assertEqual(
            [formatEvent(event) for event in logged],
            [f"metrics at http://127.0.0.1:{port}/metrics"],
        )
        ((_number, _family, site),) = reactor.adoptedPorts
        found = [
            connect(
                site,
                port,
                f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode(),
            )
            for path in ("/metrics", "/")
        ]
        self.assertEqual(
            [answer.value()[:12] for answer in found], [b"HTTP/1.1 200", b"HTTP/1.1 404"]
        )
        reactor.advance(LAG_SECONDS)
        count = metrics.registry.get_sample_value("riskd_reactor_lag_seconds_count")
        self.assertEqual(count, 1)
        self.successResultOf(service.stopService())
        self.assertEqual(reactor.getDelayedCalls(), [])


class ActionTests(SynchronousTestCase):
    """The time from the decision to flatten to the first request."""

    def setUp(self) -> None:
        self.daemon = PracticeDaemon(LIMIT)
        self.addCleanup(self.daemon.close)
        self.daemon.advance(1)

    def test_each_flatten_is_measured_once(self) -> None:
        for count in (1, 2):
            self.daemon.trade(BUY, 2)
            self.daemon.advance(5)
            self.assertEqual((self.daemon.held, self.daemon.waits), ({}, [0.0] * count))

    def test_the_wait_for_a_slow_disk_is_measured(self) -> None:
        self.daemon.disk.is_slow = True
        self.daemon.trade(BUY, 2)
        self.assertEqual(self.daemon.waits, [])
        self.daemon.advance(WRITE_SECONDS)
        self.assertEqual([round(wait, 6) for wait in self.daemon.waits], [WRITE_SECONDS])

    def test_repeated_requests_are_not_measured(self) -> None:
        self.daemon.disk.is_slow = True
        self.daemon.trade(BUY, 2)
        self.daemon.gateway.faults = Faults(refuse=1.0)
        self.daemon.disk.is_slow = False
        self.daemon.disk.catch_up()
        self.daemon.advance(10)
        self.assertNotEqual(self.daemon.held, {})
        self.assertEqual(self.daemon.waits, [0.0])

    def test_a_recorded_daemon_measures_too(self) -> None:
        account = f"[[accounts]]\nid = {ACCOUNT}\n"
        daemon = RecordedDaemon(f"{LIMIT}{account}", is_open=False)
        self.addCleanup(daemon.clean_up)
        self.addCleanup(daemon.end)
        daemon.advance(1)
        self.assertTrue(daemon.engine.is_reconciled)
        order = {
            "contractId": MNQ,
            "type": int(GatewayOrderType.MARKET),
            "side": int(BUY),
            "size": 2,
        }
        daemon.gateway.place_order(ACCOUNT, order)
        daemon.advance(5)
        self.assertEqual(len(daemon.waits), 1)


class ReconciledTests(SynchronousTestCase):
    """Whether riskd follows the gateway."""

    def test_the_gateway_is_not_followed_while_the_feed_is_lost(self) -> None:
        daemon = PracticeDaemon()
        self.addCleanup(daemon.close)
        engine = daemon.engine
        self.assertTrue(engine.is_reconciled)
        engine.feed_lost("The feed is lost")
        self.assertFalse(engine.is_reconciled)
        engine.feed_restored()
        self.assertTrue(engine.is_reconciled)

    def test_the_gateway_is_not_followed_before_it_answers(self) -> None:
        daemon = PracticeDaemon()
        self.addCleanup(daemon.close)
        daemon.stop()
        daemon.gateway.faults = Faults(failed_reads=1.0)
        daemon.restart()
        daemon.advance(1)
        self.assertFalse(daemon.engine.is_reconciled)
