"""The test harness: sample events, and errors of a daemon that does not run."""

from __future__ import annotations

import json
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.events import EVENT_TYPES, EventError, UnknownEventTypeError
from riskd.model.wire import decode, encode
from riskd.testing import DaemonHarness, make_event
from tests import in_one_runner


class SampleTests(SynchronousTestCase):
    """Events made of the fields that a test gives."""

    def test_every_type_has_a_valid_sample(self) -> None:
        for event_type in EVENT_TYPES:
            event = make_event(event_type, {})
            self.assertEqual(event.type, event_type)
            self.assertEqual(decode(encode(event)), event)

    def test_given_fields_replace_the_samples(self) -> None:
        event = make_event("GatewayUserTrade", {"accountId": 456, "profitAndLoss": -45.50})
        wire = json.loads(encode(event), parse_float=Decimal)
        self.assertEqual(wire["account_id"], 456)
        self.assertEqual(wire["data"]["profitAndLoss"], Decimal("-45.50"))
        self.assertNotIn("accountId", wire["data"])

    def test_a_float_becomes_the_decimal_that_it_is_written_as(self) -> None:
        event = make_event("daily_reset", {"previous_pnl": 0.1})
        self.assertEqual(event.data.previous_pnl, Decimal("0.1"))

    def test_sample_trades_have_different_ids(self) -> None:
        ids = {make_event("GatewayUserTrade", {}).data.id for _ in range(3)}
        self.assertEqual(len(ids), 3)

    def test_a_mistake_names_its_field(self) -> None:
        self.assertRaises(UnknownEventTypeError, make_event, "GatewayUserTrades", {})
        for event_type, data, field in (
            ("GatewayUserTrade", {"profitAndLoss": "lots"}, "GatewayUserTrade.profitAndLoss"),
            ("GatewayUserTrade", {"profit": 1}, "GatewayUserTrade.profit"),
            ("GatewayUserTrade", {"accountId": "123"}, "accountId"),
            ("GatewayUserTrade", {"accountId": None}, "account_id"),
            ("daemon_status", {"accountId": 123}, "account_id"),
        ):
            error = self.assertRaises(EventError, make_event, event_type, data)
            self.assertEqual(error.field, field)


@in_one_runner
class CrashedHarnessTests(SynchronousTestCase):
    """A harness whose daemon has died."""

    def test_a_crashed_daemon_raises_and_can_be_started_again(self) -> None:
        daemon = DaemonHarness()
        self.addCleanup(daemon.kill)
        daemon.start()
        assert daemon._process is not None
        daemon._process.kill()
        daemon._process.wait()
        for _ in range(2):
            error = self.assertRaises(RuntimeError, daemon.trigger_test_event, "daemon_status", {})
            self.assertRegex(str(error), "is gone|not running")
        daemon.stop()
        daemon.start()
        daemon.trigger_test_event("daemon_status", {})


class StoppedHarnessTests(SynchronousTestCase):
    """A harness whose daemon is not started."""

    def test_a_stopped_daemon_triggers_nothing(self) -> None:
        error = self.assertRaises(
            RuntimeError, DaemonHarness().trigger_test_event, "daemon_status", {}
        )
        self.assertIn("not running", str(error))

    def test_stopping_a_stopped_daemon_does_nothing(self) -> None:
        DaemonHarness().stop()
