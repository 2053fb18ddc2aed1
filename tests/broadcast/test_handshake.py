"""The checks of a handshake whose request is not complete yet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.broadcast.handshake import may_become_handshake
from tests.support.websocket_frames import handshake


class HandshakeTests(SynchronousTestCase):
    """Bytes that may be the beginning of a handshake, and bytes that cannot."""

    @given(st.integers(0, len(handshake())))
    def test_every_beginning_of_a_handshake_may_become_one(self, length: int) -> None:
        self.assertTrue(may_become_handshake(handshake()[:length]))

    def test_bytes_without_a_method_cannot(self) -> None:
        for received in (b"\x16\x03\x01", b"get / HTTP/1.1\r\n", b"GET\r\n", b"A" * 17):
            self.assertFalse(may_become_handshake(received), received)

    def test_size_and_lines_are_limited(self) -> None:
        self.assertTrue(may_become_handshake(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 199))
        self.assertFalse(may_become_handshake(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200))
        self.assertTrue(may_become_handshake(b"GET /".ljust(16 * 1024, b"x")))
        self.assertFalse(may_become_handshake(b"GET /".ljust(16 * 1024 + 1, b"x")))
