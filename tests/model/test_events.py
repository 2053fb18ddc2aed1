"""Events: values that fit the wire from the moment they are made."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.model.events import (
    DaemonStatus,
    Event,
    EventError,
    LockoutSet,
    MarketQuote,
    Status,
    plain_number,
)
from riskd.model.wire import MAX_MESSAGE_BYTES, encode

MOMENT = datetime(2025, 1, 17, 14, 45, 15, 123456, UTC)


class EventTests(SynchronousTestCase):
    def test_only_a_status_has_no_account(self) -> None:
        status = DaemonStatus(status=Status.RUNNING, message="", timestamp=MOMENT)
        lockout = LockoutSet(reason="", locked_until=None, rule_id="RULE-003", locked_at=MOMENT)
        self.assertRaises(EventError, Event, 123, status)
        self.assertRaises(EventError, Event, None, lockout)

    def test_a_long_sentence_is_cut_and_the_event_is_not_lost(self) -> None:
        lockout = LockoutSet(
            reason="\N{FIRE}" * 5000, locked_until=None, rule_id="RULE-003", locked_at=MOMENT
        )
        self.assertTrue(lockout.reason.endswith("\N{FIRE}…"))
        self.assertLess(len(encode(Event(1, lockout))), MAX_MESSAGE_BYTES)

    def test_an_average_without_end_is_cut_to_the_places_of_the_wire(self) -> None:
        data = MarketQuote(
            contract_id="C",
            bid=Decimal(1) / 3,
            ask=Decimal("1E+3"),
            last=Decimal(2),
            timestamp=MOMENT,
        )
        self.assertEqual(str(data.bid), "0.333333333333")
        self.assertEqual(str(data.ask), "1000")

    def test_zero_has_no_sign(self) -> None:
        for written in ("-0", "-0.000", "-0E+5", "-0.0000000000009", "-0E-20"):
            self.assertEqual(str(plain_number(Decimal(written))), "0", written)
        self.assertEqual(str(plain_number(Decimal("-0.00"))), "0.00")
