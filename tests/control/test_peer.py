"""The name of the user at the other end of a Unix socket."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from riskd.control.peer import UNKNOWN_OPERATOR, operator_of, peer_uid
from riskd.host.users import user_name


class FakeSocket:
    """A socket with a given answer to ``getsockopt``."""

    def __init__(self, answer: bytes | OSError) -> None:
        self._answer = answer

    def getsockopt(self, *_arguments: int) -> bytes:
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer


class PeerTests(SynchronousTestCase):
    """User ids and names."""

    def uid(self, platform: str, answer: bytes | OSError) -> int | None:
        self.patch(sys, "platform", platform)
        connection: Any = FakeSocket(answer)
        return peer_uid(connection)

    def test_linux(self) -> None:
        self.patch(socket, "SO_PEERCRED", 17)
        self.assertEqual(self.uid("linux", struct.pack("iII", 4711, 1000, 100)), 1000)

    def test_darwin(self) -> None:
        self.assertEqual(self.uid("darwin", struct.pack("IIh", 0, 501, 1) + bytes(66)), 501)
        self.assertIsNone(self.uid("darwin", struct.pack("IIh", 1, 501, 1) + bytes(66)))

    def test_a_system_that_does_not_say_gives_no_user_id(self) -> None:
        self.assertIsNone(self.uid("plan9", b""))
        self.assertIsNone(self.uid("linux", OSError("no such option")))

    def test_a_user_without_a_name_is_named_by_the_user_id(self) -> None:
        self.assertEqual(user_name(0), "root")
        self.assertEqual(user_name(4_000_000), "uid 4000000")

    def test_an_operator_without_a_user_id_is_unknown(self) -> None:
        transport: Any = type("Transport", (), {"getHandle": lambda _self: FakeSocket(OSError())})
        self.assertEqual(operator_of(transport()), UNKNOWN_OPERATOR)
