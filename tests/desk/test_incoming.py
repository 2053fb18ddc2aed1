"""Messages of uplinks, as they come in."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk import messages
from riskd.desk.incoming import (
    MOST_COUNTED,
    Kind,
    Subject,
    read_beat,
    read_event,
    read_id,
    read_subject,
)
from riskd.desk.messages import Heartbeat, MessageError, encode_beat
from riskd.model.event_number import Number
from riskd.model.events import Event
from riskd.model.wire import encode
from riskd.testing import make_event
from tests.support.strategies import events


class SubjectTests(SynchronousTestCase):
    """A subject says whose message it is."""

    def test_each_kind_is_read(self) -> None:
        for text, expected in (
            (
                messages.event_subject("desk", "anna", "lockout_set", -7),
                Subject(instance="anna", kind=Kind.EVENT, account_id=-7, last="lockout_set"),
            ),
            (
                messages.event_subject("desk", "anna", "daemon_status", None),
                Subject(instance="anna", kind=Kind.EVENT, last="daemon_status"),
            ),
            (
                messages.quote_subject("desk", "anna", 7, "MNQZ6"),
                Subject(instance="anna", kind=Kind.QUOTE, account_id=7, last="MNQZ6"),
            ),
            (
                messages.state_subject("desk", "anna", 7),
                Subject(instance="anna", kind=Kind.STATE, account_id=7),
            ),
            (messages.beat_subject("desk", "anna"), Subject(instance="anna", kind=Kind.BEAT)),
        ):
            self.assertEqual(read_subject("desk", text), expected)

    def test_others_are_refused(self) -> None:
        for text in (
            "",
            "risk",
            "risk.desk",
            "risk.desk.anna",
            "risk.desk.anna.x",
            "risk.other.anna.beat",
            "risk.desk.an na.beat",
            "risk.desk..beat",
            "risk.desk.anna.1x.state",
            "risk.desk.anna..state",
            "risk.desk.anna.\u00b2.state",
            f"risk.desk.anna.{10**30}.state",
            "risk.desk.anna.1.ev",
            "risk.desk.anna.1.ev.x.y",
            "risk.desk.anna.1.q",
            "desk.risk.anna.beat",
        ):
            self.assertIn(
                repr(text), str(self.assertRaises(MessageError, read_subject, "desk", text))
            )

    @given(st.text(alphabet="risk.desk.anna.beat0123-*>") | st.text())
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        with contextlib.suppress(MessageError):
            read_subject("desk", text)


class EventTests(SynchronousTestCase):
    """An event must be the one that its subject says."""

    @given(events)
    def test_an_event_arrives_as_it_was(self, event: Event) -> None:
        if messages.is_quote(event):
            assert event.account_id is not None
            text = messages.quote_subject("desk", "anna", event.account_id, "MNQZ6")
        else:
            text = messages.event_subject("desk", "anna", event.type, event.account_id)
        self.assertEqual(read_event(read_subject("desk", text), encode(event)), event)

    def test_another_account_type_or_kind_is_refused(self) -> None:
        lock, quote = make_event("lockout_set", {}), make_event("MarketQuote", {})
        right = Subject(instance="anna", kind=Kind.EVENT, account_id=123, last="lockout_set")
        self.assertEqual(read_event(right, encode(lock)), lock)
        for wrong, event in (
            (msgspec.structs.replace(right, account_id=456), lock),
            (msgspec.structs.replace(right, account_id=None), lock),
            (msgspec.structs.replace(right, last="lockout_cleared"), lock),
            (msgspec.structs.replace(right, kind=Kind.QUOTE), lock),
            (msgspec.structs.replace(right, last="MarketQuote"), quote),
        ):
            refusal = self.assertRaises(MessageError, read_event, wrong, encode(event))
            self.assertIn("an event of anna is left out", str(refusal))
        for payload in (b"", b"{}", b"[" * 10_000, encode(lock)[:-9]):
            self.assertRaises(MessageError, read_event, right, payload)


class NumberTests(SynchronousTestCase):
    """Numbers and times are those that a riskd may have."""

    BEAT = Heartbeat(epoch=1, seq=2, at=datetime(2026, 11, 30, tzinfo=UTC), clock_offset=0.5)

    def test_a_number_is_read(self) -> None:
        self.assertEqual(read_id("anna.123.7.8"), Number(7, 8))
        self.assertEqual(read_beat(encode_beat(self.BEAT)), self.BEAT)

    def test_others_are_refused(self) -> None:
        for wrong in ("", "anna.123", f"anna.123.{MOST_COUNTED}.1", f"anna.123.1.{10**30}"):
            self.assertRaises(MessageError, read_id, wrong)
        for changes in (
            {"epoch": MOST_COUNTED},
            {"seq": -1},
            {"at": datetime(2026, 11, 30)},  # noqa: DTZ001  # that is what is wrong
            {"at": datetime(1, 1, 1, tzinfo=UTC)},
            {"at": datetime(9999, 12, 31, tzinfo=UTC)},
            {"clock_offset": 1e300},
            {"clock_offset": -1e300},
        ):
            beat = msgspec.structs.replace(self.BEAT, **changes)
            self.assertRaises(MessageError, read_beat, encode_beat(beat))
