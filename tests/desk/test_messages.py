"""What travels between an uplink and a relay."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk import messages
from riskd.desk.messages import (
    Heartbeat,
    MessageError,
    PublishedState,
    decode_beat,
    decode_state,
    encode_beat,
    encode_state,
    message_id,
    number_of,
)
from riskd.model.event_number import Number
from riskd.model.events import Status


class SubjectTests(SynchronousTestCase):
    """Subjects and the ids of messages."""

    def test_each_kind_of_message_has_its_subject(self) -> None:
        for subject, expected in (
            (
                messages.event_subject("desk", "anna", "lockout_set", 123),
                "risk.desk.anna.123.ev.lockout_set",
            ),
            (
                messages.event_subject("desk", "anna", "daemon_status", None),
                "risk.desk.anna.all.ev.daemon_status",
            ),
            (messages.quote_subject("desk", "anna", 123, "MNQZ6"), "risk.desk.anna.123.q.MNQZ6"),
            (messages.state_subject("desk", "anna", 123), "risk.desk.anna.123.state"),
            (messages.beat_subject("desk", "anna"), "risk.desk.anna.beat"),
        ):
            self.assertEqual(subject, expected)

    def test_a_ticker_never_adds_a_token_or_a_wildcard(self) -> None:
        for ticker in ("A.B", "*", ">", "a b", "", "\u202e"):
            token = messages.quote_subject("desk", "anna", 1, ticker).rpartition(".q.")[2]
            self.assertRegex(token, r"^[A-Za-z0-9_-]+$")

    @given(st.integers(0, 10**15 - 1), st.integers(0, 10**15 - 1), st.none() | st.integers())
    def test_an_id_has_the_number(self, epoch: int, seq: int, account_id: int | None) -> None:
        number = Number(epoch, seq)
        self.assertEqual(number_of(message_id("anna", account_id, number, b"secret")), number)

    def test_an_id_is_the_same_again_and_another_machines_is_not(self) -> None:
        one, again, other = (
            message_id("anna", 123, Number(1, 2), secret) for secret in (b"a", b"a", b"b")
        )
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)

    def test_what_is_no_id_is_named(self) -> None:
        for wrong in ("", "anna", "anna.1.x", "1.2.-3", "anna.1.\u00b2"):
            self.assertIn(repr(wrong), str(self.assertRaises(MessageError, number_of, wrong)))


class PayloadTests(SynchronousTestCase):
    """Payloads come back as they were, and nothing else is taken."""

    STATE = PublishedState(
        schema=6,
        epoch=2,
        seq=7,
        facts={"gateway": "practice"},
        tables={"positions": [[1, "x", None]]},
    )

    def test_a_state_comes_back(self) -> None:
        self.assertEqual(decode_state(encode_state(self.STATE)), self.STATE)
        self.assertEqual(self.STATE.number, Number(2, 7))

    def test_a_heartbeat_comes_back(self) -> None:
        beat = Heartbeat(
            epoch=1, seq=2, at=datetime.now(UTC), status=Status.ERROR, message="x", accounts=(1, 2)
        )
        self.assertEqual(decode_beat(encode_beat(beat)), beat)
        self.assertEqual(beat.number, Number(1, 2))

    def test_what_is_neither_is_refused(self) -> None:
        for wrong in (b"", b"{}", b"[" * 5_000_000, zlib.compress(b"{}"), zlib.compress(b"[" * 9)):
            self.assertRaises(MessageError, decode_state, wrong)
            self.assertRaises(MessageError, decode_beat, wrong)

    def test_a_bomb_is_not_decompressed(self) -> None:
        bomb = zlib.compress(b" " * (messages.MAX_STATE_BYTES + 1))
        self.assertRaises(MessageError, decode_state, bomb)
        self.assertRaises(MessageError, decode_state, encode_state(self.STATE)[:-4])
