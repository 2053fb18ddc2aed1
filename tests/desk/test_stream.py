"""What an uplink takes from the broadcast."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.stream import Stream
from riskd.model.wire import encode
from riskd.testing import make_event


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.stream = Stream(self.clock.seconds)

    def quote(self, last: float, account: int = 123, contract: str = "MNQ") -> bytes:
        at = "2025-01-17T14:45:15Z"
        data = {"accountId": account, "contractId": contract, "last": last, "timestamp": at}
        return encode(make_event("MarketQuote", data))

    def test_the_latest_quote_of_each_contract_is_taken_once(self) -> None:
        for message in (
            self.quote(1),
            self.quote(2),
            self.quote(3, contract="ES"),
            self.quote(4, 456),
        ):
            self.stream.received(message)
        self.assertEqual(
            self.stream.take_quotes(),
            {
                (123, "MNQ"): self.quote(2),
                (123, "ES"): self.quote(3, contract="ES"),
                (456, "MNQ"): self.quote(4, 456),
            },
        )
        self.assertEqual(self.stream.take_quotes(), {})

    def test_other_events_come_with_the_outbox(self) -> None:
        self.stream.received(encode(make_event("GatewayUserTrade", {})))
        self.assertEqual(self.stream.take_quotes(), {})

    def test_the_age_is_that_of_the_last_event(self) -> None:
        self.assertIsNone(self.stream.age)
        self.stream.received(encode(make_event("daemon_status", {})))
        self.clock.advance(7)
        self.assertEqual(self.stream.age, 7)

    def test_what_is_no_event_is_ignored(self) -> None:
        for message in (
            b"",
            b"{",
            b"[1]",
            b"\xff",
            b'{"type":"MarketQuote","account_id":1,"data":{}}',
        ):
            self.stream.received(message)
        self.assertEqual(self.stream.take_quotes(), {})

    def test_the_handshake_names_the_state_directory(self) -> None:
        for named, directory in (
            ("/var/lib/risk%20d/last-known.db", Path("/var/lib/risk d")),
            ("/var/lib/other.db", Path("/var/lib/risk d")),
            ("last-known.db", Path("/var/lib/risk d")),
        ):
            self.stream.opened({"riskd-state": named})
            self.assertEqual((self.stream.directory, self.stream.is_open), (directory, True))
        self.stream.closed()
        self.assertFalse(self.stream.is_open)
