"""The client library: which events it passes on, and when it reconnects."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import txaio
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from riskd.host.errors import UserError
from riskd.model.events import EVENT_TYPES, Event, MarketQuote
from riskd.model.wire import encode
from riskd.testing import make_event
from tests.support.stream_server import StreamServer, StreamServerEndpoint
from tests.support.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    read_client_frames,
    server_frame,
)
from trader.client import DaemonClient, Handshake, ReadEvent


class ClientTestCase(SynchronousTestCase):
    """A client of account 123 on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        # Autobahn's timers run on the loop of txaio.
        self.patch(txaio.config, "loop", self.clock)
        self.endpoint = StreamServerEndpoint(self.clock)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.client = DaemonClient(
            123,
            lambda event_type, data: self.calls.append((event_type, data)),
            reactor=self.clock,
            endpoint=self.endpoint,
        )

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [call for call in self.calls if call[0] != "connection_status"]

    @property
    def statuses(self) -> list[tuple[bool, str]]:
        self.clock.advance(0)
        return [
            (data["connected"], data["reason"])
            for kind, data in self.calls
            if kind == "connection_status"
        ]

    def connect(self, *headers: str) -> StreamServer:
        self.client.connect()
        server = self.endpoint.accept()
        server.accept_handshake(*headers)
        return server

    def delays(self, fail: Any, count: int) -> list[float]:
        """Return the seconds before each of ``count`` attempts that end with ``fail``."""
        begun = len(self.endpoint.tries)
        last = self.clock.seconds()
        delays = []
        for number in range(begun, begun + count):
            while len(self.endpoint.tries) <= number:
                self.clock.advance(0.5)
            delays.append(self.endpoint.tries[number] - last)
            fail()
            last = self.clock.seconds()
        return delays


class RetryTests(ClientTestCase):
    """The delay before the next attempt."""

    def drop_handshake(self) -> None:
        self.endpoint.accept().drop()

    def answer_500(self) -> None:
        self.endpoint.accept().send(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")

    def keep_silent(self) -> None:
        server = self.endpoint.accept()
        while server.transport.connected:
            self.clock.advance(0.5)

    @property
    def failures(self) -> tuple[Any, ...]:
        return (self.endpoint.refuse, self.drop_handshake, self.answer_500, self.keep_silent)

    def test_until_the_first_connection_it_tries_every_5_seconds(self) -> None:
        self.client.connect()
        self.assertEqual(self.endpoint.tries, [0])
        self.endpoint.refuse()
        self.assertEqual(self.delays(self.endpoint.refuse, 7), [5.0] * 7)

    def test_after_a_loss_it_tries_after_1_2_4_8_10_10_seconds(self) -> None:
        self.connect().drop()
        self.assertEqual(self.delays(self.endpoint.refuse, 7), [1, 2, 4, 8, 10, 10, 10])

    def test_a_completed_handshake_restarts_the_delays(self) -> None:
        self.connect().drop()
        self.delays(self.endpoint.refuse, 3)
        self.clock.advance(8)
        server = self.endpoint.accept()
        server.accept_handshake()
        server.drop()
        self.assertEqual(self.delays(self.endpoint.refuse, 3), [1, 2, 4])

    def test_tcp_without_a_handshake_is_a_failed_attempt(self) -> None:
        self.client.connect()
        self.endpoint.refuse()
        for fail in self.failures:
            self.assertEqual(self.delays(fail, 2), [5, 5])
        self.assertFalse(self.client.connected)

    def test_tcp_without_a_handshake_does_not_restart_the_delays(self) -> None:
        self.connect().drop()
        delays = []
        for fail in self.failures:
            delays += self.delays(fail, 1)
        self.assertEqual(delays, [1, 2, 4, 8])

    def test_an_attempt_that_hangs_is_canceled_after_5_seconds(self) -> None:
        self.client.connect()
        server = self.endpoint.accept()
        self.clock.pump([0.2] * 27)
        self.assertFalse(server.transport.connected)

    def test_the_time_of_the_next_attempt_is_known(self) -> None:
        self.client.connect()
        self.assertEqual(self.client.retry_at, None)
        self.endpoint.refuse()
        self.assertEqual(self.client.retry_at, 5)
        self.clock.advance(5)
        self.endpoint.accept().accept_handshake()
        self.assertEqual(self.client.retry_at, None)


class StatusTests(ClientTestCase):
    """The status of the connection that the client reports."""

    def test_connected_means_the_handshake_is_complete(self) -> None:
        self.client.connect()
        server = self.endpoint.accept()
        self.assertEqual((self.client.connected, self.calls), (False, []))
        server.accept_handshake("Riskd-Gateway: practice")
        self.assertTrue(self.client.connected)
        self.assertEqual(
            self.calls, [("connection_status", {"connected": True, "reason": "connected"})]
        )
        self.assertEqual(self.client.gateway_name, "practice")

    def test_a_dry_run_is_known_from_the_handshake(self) -> None:
        server = self.connect("Riskd-Dry-Run: yes")
        self.assertTrue(self.client.is_dry_run)
        server.drop()
        self.clock.advance(1)
        self.endpoint.accept().accept_handshake()
        self.assertFalse(self.client.is_dry_run)

    def test_a_failed_attempt_and_a_lost_connection_are_reported_differently(self) -> None:
        self.client.connect()
        self.endpoint.refuse()
        self.clock.advance(5)
        server = self.endpoint.accept()
        server.accept_handshake()
        server.drop()
        self.clock.advance(1)
        self.endpoint.refuse()
        self.assertEqual(
            self.statuses,
            [
                (False, "cannot connect to daemon (is it running?)"),
                (True, "connected"),
                (False, "lost connection to daemon"),
                (False, "cannot connect to daemon (is it running?)"),
            ],
        )

    def test_the_close_reason_of_the_daemon_is_reported(self) -> None:
        self.connect().close(1001, b"the daemon is stopping")
        self.assertEqual(
            self.statuses[-1], (False, "lost connection to daemon: the daemon is stopping")
        )

    def test_a_rejected_handshake_is_reported_with_its_status(self) -> None:
        self.client.connect()
        self.endpoint.accept().send(b"HTTP/1.1 503 too many clients\r\n\r\n")
        ((connected, reason),) = self.statuses
        self.assertFalse(connected)
        self.assertTrue(reason.startswith("cannot connect to daemon: "), reason)
        self.assertIn("503", reason)

    def test_a_daemon_that_accepts_and_does_not_answer_is_reported_as_such(self) -> None:
        self.client.connect()
        server = self.endpoint.accept()
        self.clock.pump([0.2] * 30)
        self.assertFalse(server.transport.connected)
        self.assertEqual(self.statuses, [(False, "cannot connect to daemon: it does not answer")])

    def test_an_answer_to_the_handshake_that_is_too_long_ends_the_connection(self) -> None:
        self.client.connect()
        server = self.endpoint.accept()
        for _ in range(200):
            if server.transport.connected:
                server.send(b"HTTP/1.1 101 " + b"x" * 1000)
        self.assertFalse(server.transport.connected)
        self.assertIn("too long", self.statuses[-1][1])

    def test_a_long_gateway_name_is_truncated(self) -> None:
        self.connect("Riskd-Gateway: " + "x" * 10_000)
        self.assertEqual(self.client.gateway_name, "x" * 20)

    def test_a_daemon_that_sends_nothing_is_disconnected_within_a_minute(self) -> None:
        server = self.connect()
        self.clock.pump([0.2] * 300)
        self.assertFalse(server.transport.connected)
        self.assertFalse(self.client.connected)
        self.assertEqual(
            self.statuses[-1],
            (False, "lost connection to daemon: it has not answered for 20 s"),
        )

    def test_a_client_in_a_hurry_notices_a_daemon_that_hangs(self) -> None:
        self.client = DaemonClient(
            123,
            lambda event_type, data: self.calls.append((event_type, data)),
            reactor=self.clock,
            endpoint=self.endpoint,
            keepalive_seconds=3,
        )
        self.connect()
        self.clock.pump([0.2] * 40)
        self.assertEqual(
            self.statuses[-1],
            (False, "lost connection to daemon: it has not answered for 3 s"),
        )


class SilenceTests(ClientTestCase):
    """A daemon that does not answer, before it counts as lost."""

    def setUp(self) -> None:
        super().setUp()
        self.client = DaemonClient(
            123,
            lambda event_type, data: self.calls.append((event_type, data)),
            reactor=self.clock,
            endpoint=self.endpoint,
            keepalive_seconds=5,
        )

    def test_it_is_silent_from_a_second_after_a_ping_until_it_answers(self) -> None:
        self.assertIsNone(self.client.silent_seconds)
        server = self.connect()
        self.clock.pump([0.1] * 58)
        self.assertIsNone(self.client.silent_seconds)
        self.clock.pump([0.1] * 10)
        silent = self.client.silent_seconds
        assert silent is not None
        self.assertAlmostEqual(silent, 6.8, delta=0.3)
        self.clock.pump([0.1] * 40)
        self.assertFalse(server.transport.connected)
        self.assertIsNone(self.client.silent_seconds)

    def test_any_word_of_it_ends_the_silence(self) -> None:
        server = self.connect()
        self.clock.pump([0.1] * 70)
        self.assertIsNotNone(self.client.silent_seconds)
        server.send(server_frame(TEXT, encode(make_event("daemon_status", {}))))
        self.clock.pump([0.1])
        self.assertIsNone(self.client.silent_seconds)


class HandshakeTests(ClientTestCase):
    """What the daemon says of itself, and a daemon that is refused."""

    def setUp(self) -> None:
        super().setUp()
        self.handshakes: list[Handshake] = []
        self.refusal = ""
        self.client = DaemonClient(
            123,
            lambda event_type, data: self.calls.append((event_type, data)),
            reactor=self.clock,
            endpoint=self.endpoint,
            admit=self.admit,
        )

    def admit(self, handshake: Handshake) -> None:
        self.handshakes.append(handshake)
        if self.refusal:
            raise UserError(self.refusal)

    def read(self, *headers: str) -> Handshake:
        self.connect(*headers)
        return self.handshakes[-1]

    def test_the_headers_are_read(self) -> None:
        handshake = self.read(
            "Riskd-Gateway: practice",
            "Riskd-State: /var/caf%C3%A9%20%25/last-known.db",
            "Riskd-Instance: 0123abc",
        )
        self.assertEqual(
            handshake,
            Handshake(
                gateway_name="practice",
                state_file=Path("/var/caf\N{LATIN SMALL LETTER E WITH ACUTE} %/last-known.db"),
                instance="0123abc",
            ),
        )

    def test_an_earlier_daemon_sends_none(self) -> None:
        self.assertEqual(self.read(), Handshake())

    def test_only_an_absolute_path_of_a_published_copy_is_taken(self) -> None:
        for path in ("last-known.db", "/etc/passwd", "%2", "/dev/stdin", "//"):
            handshake = self.read(f"Riskd-State: {path}")
            self.assertIsNone(handshake.state_file, path)
            self.client.disconnect()
        self.assertEqual(len(self.read("Riskd-Instance: " + "x" * 9_000).instance), 64)

    def test_a_refused_daemon_is_a_failed_attempt(self) -> None:
        self.refusal = "it trades paper"
        server = self.connect("Riskd-Gateway: practice")
        server.send_event("lockout_set")
        self.assertEqual(read_client_frames(server.transport.value()), [(CLOSE, b"\x03\xe8")])
        server.close(1000)
        self.assertFalse(self.client.connected)
        self.assertEqual(self.statuses, [(False, "cannot connect to daemon: it trades paper")])
        self.assertEqual(self.events, [])
        self.assertIsNone(self.client.gateway_name)

        def refuse() -> None:
            server = self.endpoint.accept()
            server.accept_handshake()
            server.close(1000)

        self.assertEqual(self.delays(refuse, 2), [5, 5])
        self.refusal = ""
        self.clock.advance(5)
        self.endpoint.accept().accept_handshake()
        self.assertTrue(self.client.connected)


class FindUrlTests(SynchronousTestCase):
    """A daemon that is looked for at each attempt."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.patch(txaio.config, "loop", self.reactor)
        self.calls: list[tuple[bool, str]] = []
        self.urls: list[str] = []
        self.client = DaemonClient(
            123,
            lambda _type, data: self.calls.append((data["connected"], data["reason"])),
            reactor=self.reactor,
            find_url=self.find,
        )
        self.addCleanup(self.client.disconnect)

    def find(self) -> str:
        if not self.urls:
            raise UserError("several riskd run")
        return self.urls[-1]

    def test_each_attempt_goes_to_the_url_of_the_moment(self) -> None:
        self.urls = ["ws://127.0.0.1:9001"]
        self.client.connect()
        self.urls = ["ws://127.0.0.1:9002"]
        self.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(ConnectError()))
        # HostnameEndpoint waits for further addresses.
        self.reactor.pump([1] * 7)
        self.assertEqual([port for _host, port, *_ in self.reactor.tcpClients], [9001, 9002])
        self.assertEqual(self.client._factory.port, 9002)  # type: ignore[union-attr]

    def test_a_daemon_that_is_not_found_is_a_failed_attempt(self) -> None:
        self.client.connect()
        self.reactor.advance(0)
        self.assertEqual(self.calls, [(False, "cannot connect to daemon: several riskd run")])
        self.urls = ["ws://127.0.0.1:9001"]
        self.reactor.advance(5)
        self.assertEqual(len(self.reactor.tcpClients), 1)


class DisconnectTests(ClientTestCase):
    """Disconnecting, and connecting again."""

    def test_it_closes_with_1000_and_makes_no_more_attempts(self) -> None:
        server = self.connect()
        gone = self.client.disconnect()
        self.assertEqual(read_client_frames(server.transport.value()), [(CLOSE, b"\x03\xe8")])
        self.assertFalse(self.client.connected)
        self.successResultOf(gone)
        self.clock.pump([1] * 60)
        self.assertEqual(len(self.endpoint.tries), 1)
        self.assertEqual(self.statuses[1:], [(False, "disconnected")])

    def test_it_cancels_the_next_attempt(self) -> None:
        self.client.connect()
        self.endpoint.refuse()
        self.successResultOf(self.client.disconnect())
        self.clock.pump([1] * 60)
        self.assertEqual((len(self.endpoint.tries), self.client.retry_at), (1, None))

    def test_it_cancels_an_attempt_in_progress(self) -> None:
        self.client.connect()
        self.client.disconnect()
        self.clock.pump([1] * 60)
        self.assertEqual((len(self.endpoint.tries), self.statuses), (1, []))

    def test_it_can_be_followed_by_connect(self) -> None:
        for _ in range(2):
            server = self.connect()
            server.send_event("daemon_status")
            self.client.disconnect()
        self.assertEqual([kind for kind, _ in self.events], ["daemon_status"] * 2)
        self.assertEqual([connected for connected, _ in self.statuses], [True, False, True, False])

    def test_a_second_connect_or_disconnect_does_nothing(self) -> None:
        self.client.connect()
        self.client.connect()
        self.assertEqual(len(self.endpoint.tries), 1)
        self.client.disconnect()
        self.successResultOf(self.client.disconnect())

    def test_no_event_is_passed_on_after_disconnect(self) -> None:
        server = self.connect()
        # The connection closes later than disconnect() returns.
        server.transport.loseConnection = lambda: None
        self.client.disconnect()
        server.send_event("daemon_status")
        server.drop()
        self.assertEqual(self.events, [])

    def test_the_callback_may_disconnect(self) -> None:
        for fail in (True, False):
            self.calls.clear()
            self.endpoint.tries.clear()
            self.client = DaemonClient(
                123,
                lambda kind, data: (self.calls.append((kind, data)), self.client.disconnect()),
                reactor=self.clock,
                endpoint=self.endpoint,
            )
            self.client.connect()
            if fail:
                self.endpoint.refuse()
            else:
                self.endpoint.accept().accept_handshake()
            self.clock.pump([0.5] * 60)
            self.assertEqual(len(self.endpoint.tries), 1)
            self.assertFalse(self.client.connected)


class EventTests(ClientTestCase):
    """Which events are passed on, and how malformed messages are counted."""

    def test_events_of_the_account_and_daemon_wide_ones_are_passed_on_and_no_others(self) -> None:
        server = self.connect()
        server.send_event("GatewayUserTrade", accountId=123, id=1)
        server.send_event("GatewayUserTrade", accountId=456, id=2)
        server.send_event("daemon_status")
        self.assertEqual(
            [(kind, data.get("id")) for kind, data in self.events],
            [("GatewayUserTrade", 1), ("daemon_status", None)],
        )

    def test_a_client_of_every_account_receives_the_events_of_all(self) -> None:
        received: list[Event | None] = []
        self.client = DaemonClient(
            None,
            lambda _type, _data: None,
            reactor=self.clock,
            endpoint=self.endpoint,
            take_event=lambda _type, read: received.append(read()),
        )
        server = self.connect()
        for account_id in (123, 456):
            server.send_event("GatewayUserTrade", accountId=account_id)
        server.send_event("daemon_status")
        self.assertEqual([event and event.account_id for event in received], [123, 456, None])

    def test_all_nine_events_are_passed_on(self) -> None:
        server = self.connect()
        for event_type in EVENT_TYPES:
            server.send_event(event_type)
        self.assertEqual([kind for kind, _ in self.events], list(EVENT_TYPES))

    def test_data_is_the_json_object_with_exact_numbers(self) -> None:
        server = self.connect()
        event = make_event("GatewayUserTrade", {"profitAndLoss": -45.5, "quantity": 2})
        server.send(server_frame(TEXT, encode(event)))
        ((_, data),) = self.events
        self.assertEqual(data, json.loads(encode(event), parse_float=Decimal)["data"])
        self.assertEqual(data["profitAndLoss"], -45.50)
        self.assertEqual(data["profitAndLoss"], Decimal("-45.50"))

    def test_unknown_types_and_keys_are_passed_on(self) -> None:
        server = self.connect()
        server.send(server_frame(TEXT, b'{"type":"news","account_id":123,"data":{"a":[1]}}'))
        message = json.loads(encode(make_event("daemon_status", {})))
        message["data"]["later"] = 1
        server.send(server_frame(TEXT, json.dumps(message).encode()))
        self.assertEqual(self.events[0], ("news", {"a": [1]}))
        self.assertEqual(self.events[1][1]["later"], 1)
        self.assertEqual(sum(self.client.dropped.values()), 0)

    def test_malformed_messages_are_counted_and_the_first_of_a_kind_is_logged(self) -> None:
        server = self.connect()
        wrong_bid = json.loads(encode(make_event("MarketQuote", {})))
        wrong_bid["data"]["bid"] = "21000"
        with capturedLogs() as captured:
            for message in (
                b"not json",
                b"[]",
                b'{"type":"MarketQuote","account_id":123}',
                b'{"type":"MarketQuote","account_id":123,"data":{}}',
                json.dumps(wrong_bid).encode(),
                json.dumps(wrong_bid).encode(),
            ):
                server.send(server_frame(TEXT, message))
            server.send(server_frame(BINARY, b"{}"))
        warnings = [each for each in captured if each["log_namespace"] == "trader.client"]
        self.assertEqual(
            dict(self.client.dropped),
            {"message": 3, "data": 1, "MarketQuote.contractId": 1, "MarketQuote.bid": 2},
        )
        self.assertEqual(len(warnings), 4)
        server.send_event("daemon_status")
        self.assertEqual([kind for kind, _ in self.events], ["daemon_status"])

    def test_a_connection_status_from_the_daemon_is_dropped(self) -> None:
        server = self.connect()
        forged = {
            "type": "connection_status",
            "account_id": None,
            "data": {"connected": False, "reason": "call 555"},
        }
        server.send(server_frame(TEXT, json.dumps(forged).encode()))
        self.assertEqual(self.statuses, [(True, "connected")])
        self.assertEqual(self.client.dropped["type"], 1)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
        st.sampled_from([*EVENT_TYPES, "news"]),
    )
    def test_no_message_ends_the_stream(self, data: Any, event_type: str) -> None:
        envelope = {"type": event_type, "account_id": 123, "data": data}
        for message in (data, envelope):
            self.client.message_received(json.dumps(message).encode())

    def test_no_number_or_moment_ends_the_stream(self) -> None:
        server = self.connect()
        for field, value in (
            ("bid", "1e99999999999999999999"),
            ("bid", "-1e999999"),
            ("timestamp", '"0001-01-01T00:00:00+23:59"'),
            ("timestamp", '"9999-12-31T23:59:59-01:00"'),
        ):
            message = json.loads(encode(make_event("MarketQuote", {})))
            message["data"][field] = "VALUE"
            text = json.dumps(message).replace('"VALUE"', value)
            server.send(server_frame(TEXT, text.encode()))
        self.assertEqual(sum(self.client.dropped.values()), 4)
        self.assertTrue(self.client.connected)

    def test_the_data_of_another_account_is_not_decoded(self) -> None:
        server = self.connect()
        server.send(server_frame(TEXT, b'{"type":"MarketQuote","account_id":456,"data":{}}'))
        self.assertEqual(sum(self.client.dropped.values()), 0)

    def test_the_number_of_counted_kinds_is_bounded(self) -> None:
        server = self.connect()
        for number in range(200):
            message = {"type": f"t{number}", "account_id": 123, "data": []}
            server.send(server_frame(TEXT, json.dumps(message).encode()))
        self.assertEqual(len(self.client.dropped), 101)
        self.assertEqual(self.client.dropped["other"], 100)

    def test_a_callback_that_raises_is_logged_and_the_stream_goes_on(self) -> None:
        seen = []

        def fail_once(event_type: str, _data: object) -> None:
            seen.append(event_type)
            if event_type == "MarketQuote":
                raise RuntimeError("an error of the script")

        self.client = DaemonClient(123, fail_once, reactor=self.clock, endpoint=self.endpoint)
        server = self.connect()
        server.send_event("MarketQuote")
        server.send_event("daemon_status")
        self.assertEqual(seen, ["connection_status", "MarketQuote", "daemon_status"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def connect_lazily(self, callback: Callable[[str, ReadEvent], object]) -> StreamServer:
        """Connect a client whose events go to the lazy ``callback``."""
        self.client = DaemonClient(
            123,
            lambda event_type, data: self.calls.append((event_type, data)),
            reactor=self.clock,
            endpoint=self.endpoint,
            take_event=callback,
        )
        return self.connect()

    def test_the_lazy_callback_reads_the_events_that_were_sent(self) -> None:
        taken: list[tuple[str, ReadEvent]] = []
        server = self.connect_lazily(lambda event_type, read: taken.append((event_type, read)))
        sent = [make_event(event_type, {}) for event_type in EVENT_TYPES]
        for event in sent:
            server.send(server_frame(TEXT, encode(event)))
        self.assertEqual([event_type for event_type, _ in taken], list(EVENT_TYPES))
        self.assertEqual([read() for _, read in taken], sent)
        self.assertEqual(self.events, [])
        self.assertEqual(self.statuses, [(True, "connected")])

    def test_the_lazy_callback_receives_no_event_of_another_account(self) -> None:
        taken: list[str] = []
        server = self.connect_lazily(lambda event_type, _read: taken.append(event_type))
        server.send_event("MarketQuote", accountId=456)
        server.send_event("GatewayUserTrade")
        self.assertEqual(taken, ["GatewayUserTrade"])

    def test_a_malformed_message_is_dropped_when_the_lazy_callback_reads_it(self) -> None:
        found: list[Event | None] = []
        server = self.connect_lazily(lambda _event_type, read: found.append(read()))
        for message in (
            b'{"type":"MarketQuote","account_id":123,"data":{}}',
            b'{"type":"connection_status","account_id":null,"data":{"connected":false}}',
            b'{"type":"news","account_id":123,"data":{}}',
        ):
            server.send(server_frame(TEXT, message))
        self.assertEqual(found, [None] * 3)
        self.assertEqual(dict(self.client.dropped), {"MarketQuote.contractId": 1, "type": 1})

    def test_a_lazy_callback_that_raises_is_logged_and_the_stream_goes_on(self) -> None:
        seen = []

        def fail_once(event_type: str, _read: ReadEvent) -> None:
            seen.append(event_type)
            if event_type == "MarketQuote":
                raise RuntimeError("an error of the script")

        server = self.connect_lazily(fail_once)
        server.send_event("MarketQuote")
        server.send_event("daemon_status")
        self.assertEqual(seen, ["MarketQuote", "daemon_status"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_an_event_counts_as_a_pong(self) -> None:
        server = self.connect()
        self.clock.pump([1] * 30)
        server.send_event("MarketQuote")
        self.clock.pump([1] * 20)
        self.assertTrue(self.client.connected)
        self.clock.pump([1] * 30)
        self.assertFalse(self.client.connected)

    def test_a_message_received_in_pieces_is_passed_on_whole(self) -> None:
        server = self.connect()
        message = encode(make_event("MarketQuote", {}))
        whole = server_frame(TEXT, message)
        for begin in range(0, len(whole), 7):
            server.send(whole[begin : begin + 7])
        self.assertEqual([kind for kind, _ in self.events], ["MarketQuote"])

    def test_the_client_sends_only_pongs(self) -> None:
        server = self.connect()
        server.send_event("MarketQuote")
        server.send(server_frame(PING, b"x"))
        self.assertEqual(read_client_frames(server.transport.value()), [(10, b"x")])


class BusyTests(ClientTestCase):
    """A stream whose events come faster than it pays to wake up for each."""

    def receive(self, server: StreamServer, seconds: float, count: int = 1) -> list[str]:
        """Send so many events, so many seconds apart; return what the client does after each."""
        states = []
        for _ in range(count):
            self.clock.advance(seconds)
            server.send_event("MarketQuote")
            states.append(server.transport.producerState)
        return states

    def test_events_of_a_busy_stream_gather_for_3_milliseconds(self) -> None:
        server = self.connect()
        states = self.receive(server, 0.001, 200)
        self.assertEqual(set(states[:60]), {"producing"})
        self.assertEqual(set(states[100:]), {"paused"})
        # None of them waits that has arrived.
        self.assertEqual(len(self.events), 200)
        for _ in range(3):
            self.clock.advance(0.003)
            self.assertEqual(server.transport.producerState, "producing")
            server.send(server_frame(TEXT, encode(make_event("MarketQuote", {}))) * 3)
            self.assertEqual(server.transport.producerState, "paused")
            self.clock.advance(0.002)
            self.assertEqual(server.transport.producerState, "paused")
        self.assertEqual(self.receive(server, 1), ["producing"])

    def test_events_that_are_further_apart_are_read_as_they_come(self) -> None:
        self.assertNotIn("paused", self.receive(self.connect(), 0.002, 500))

    def test_a_handful_at_once_makes_no_stream_busy(self) -> None:
        server = self.connect()
        self.receive(server, 0.016, 100)
        for _ in range(10):
            self.assertNotIn("paused", self.receive(server, 0.0001, 5))
            self.receive(server, 0.016, 5)

    def test_what_has_gathered_is_read_in_the_turn_in_which_the_pause_ends(self) -> None:
        server = self.connect()
        self.receive(server, 0.001, 200)
        gathered = [server_frame(TEXT, encode(make_event("MarketQuote", {}))) * 3] * 5

        def read() -> None:
            if gathered:
                server.send(gathered.pop())

        directlyProvides(server.transport, IReadDescriptor)
        server.transport.doRead = read
        self.patch(server.transport, "resumeProducing", lambda: resumed.append(len(self.events)))
        resumed: list[int] = []
        for left in (4, 3, 2, 1, 0):
            self.clock.advance(0.003)
            self.assertEqual(len(gathered), left)
        self.assertEqual(resumed, [])
        self.clock.advance(0.003)
        self.assertEqual(resumed, [215])

    def test_what_cannot_be_read_ends_the_connection(self) -> None:
        server = self.connect()
        self.receive(server, 0.001, 200)

        def fail() -> None:
            raise SystemExit

        directlyProvides(server.transport, IReadDescriptor)
        server.transport.doRead = fail
        self.clock.advance(0.003)
        self.assertFalse(server.transport.connected)
        self.assertFalse(self.client.connected)
        self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)

    def test_a_loss_while_they_gather_leaves_nothing_behind(self) -> None:
        server = self.connect()
        self.assertEqual(self.receive(server, 0.001, 200)[-1], "paused")
        server.drop()
        # A transport that is gone cannot be resumed.
        self.patch(server.transport, "resumeProducing", lambda: self.fail("it is gone"))
        self.clock.advance(0.5)


class WaitingQuotesTests(ClientTestCase):
    """Quotes that wait until they are asked for."""

    def setUp(self) -> None:
        super().setUp()
        self.begun = 0
        self.received: list[object] = []
        self.client = DaemonClient(
            123,
            lambda _type, status: self.received.append(status["connected"]),
            reactor=self.clock,
            endpoint=self.endpoint,
            take_event=self.take,
            quotes_wait=self.wait,
        )
        self.server = self.connect()

    def take(self, event_type: str, read: ReadEvent) -> None:
        event = read()
        is_quote = event is not None and isinstance(event.data, MarketQuote)
        self.received.append(int(event.data.last) if is_quote else event_type)  # type: ignore[union-attr]

    def wait(self) -> None:
        self.begun += 1

    def test_the_daemon_is_asked_to_let_them_wait_as_well(self) -> None:
        self.assertIn(b"GET /?quote_interval_ms=100 HTTP/1.1", self.server.request)
        for account_id, url, path in (
            (123, "ws://localhost:8765/", b"/?quote_interval_ms=100"),
            (None, "ws://localhost:8765", b"/?quote_interval_ms=10"),
            (123, "ws://localhost:8765?a=b", b"/?a=b&quote_interval_ms=100"),
            (123, "ws://localhost:8765/?quote_interval_ms=50", b"/?quote_interval_ms=50"),
        ):
            client = DaemonClient(
                account_id,
                lambda *_: None,
                url,
                reactor=self.clock,
                endpoint=self.endpoint,
                quotes_wait=self.wait,
            )
            client.connect()
            server = self.endpoint.accept()
            server.accept_handshake()
            self.assertIn(b"GET %s HTTP/1.1" % path, server.request)

    def test_they_are_passed_on_in_order_when_they_are_asked_for(self) -> None:
        for last in (3, 1, 2):
            self.server.send_event("MarketQuote", last=last)
        self.server.send_event("MarketQuote", accountId=456)
        self.assertEqual((self.received, self.begun), ([True], 1))
        self.assertTrue(self.client.has_quotes)
        self.client.pass_on_quotes()
        self.client.pass_on_quotes()
        self.assertEqual(self.received, [True, 3, 1, 2])
        self.assertFalse(self.client.has_quotes)
        self.server.send_event("MarketQuote", last=4)
        self.assertEqual(self.begun, 2)

    def test_any_other_event_comes_after_them(self) -> None:
        self.server.send_event("MarketQuote", last=1)
        self.server.send_event("GatewayUserTrade")
        self.server.send_event("MarketQuote", last=2)
        self.server.send_event("daemon_status")
        self.assertEqual(self.received, [True, 1, "GatewayUserTrade", 2, "daemon_status"])

    def test_so_does_a_quote_of_another_form(self) -> None:
        self.server.send_event("MarketQuote", last=1)
        _account, quote = encode(make_event("MarketQuote", {"last": 2})).split(b",", 1)
        self.server.send(server_frame(TEXT, b'{ "type":"MarketQuote",' + quote))
        self.assertEqual(self.received, [True, 1, 2])

    def test_no_more_than_a_hundred_wait(self) -> None:
        for last in range(1, 102):
            self.assertEqual(self.received, [True])
            self.server.send_event("MarketQuote", last=last)
        self.assertEqual(self.received, [True, *range(1, 102)])
        self.assertFalse(self.client.has_quotes)

    def test_a_loss_passes_them_on(self) -> None:
        self.server.send_event("MarketQuote", last=1)
        self.server.drop()
        self.clock.advance(0)
        self.assertEqual(self.received, [True, 1, False])

    def test_an_error_of_who_is_told_is_logged_and_the_stream_goes_on(self) -> None:
        self.wait = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        self.client._quotes_wait = self.wait
        self.server.send_event("MarketQuote", last=1)
        self.server.send_event("GatewayUserTrade")
        self.assertEqual(self.received, [True, 1, "GatewayUserTrade"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_who_disconnects_on_one_of_them_receives_no_more(self) -> None:
        def take(event_type: str, read: ReadEvent) -> None:
            self.take(event_type, read)
            self.client.disconnect()

        self.client._take_event = take
        for last in (1, 2):
            self.server.send_event("MarketQuote", last=last)
        self.server.send_event("GatewayUserTrade")
        self.assertEqual(self.received, [True, 1, False])

    def test_a_client_that_is_disconnected_receives_none(self) -> None:
        self.server.send_event("MarketQuote", last=1)
        self.client.disconnect()
        self.client.pass_on_quotes()
        self.assertEqual(self.received, [True, False])


class UrlTests(ClientTestCase):
    """The URL of the daemon."""

    def request_to(self, url: str) -> bytes:
        self.client = DaemonClient(
            1, lambda *_: None, url, reactor=self.clock, endpoint=self.endpoint
        )
        return self.connect().request

    def test_the_host_header_names_the_host_of_the_url(self) -> None:
        for url, host in (
            ("ws://localhost:8765", b"localhost:8765"),
            ("ws://127.0.0.1:9", b"127.0.0.1:9"),
            ("ws://[::1]:8765", b"[::1]:8765"),
        ):
            self.assertIn(b"\r\nHost: " + host + b"\r\n", self.request_to(url))

    def test_an_invalid_url_is_rejected_and_quoted(self) -> None:
        for url in (
            "http://localhost",
            "wss://localhost:1",
            "localhost:8765",
            "ws://",
            "ws://h:x",
        ):
            error = self.assertRaises(
                ValueError, DaemonClient, 1, lambda *_: None, url, reactor=self.clock
            )
            self.assertIn(repr(url), str(error))
