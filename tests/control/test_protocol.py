"""The AMP commands of the operator's socket: how a value goes through a box."""

from __future__ import annotations

from typing import Any

from twisted.protocols.amp import AmpBox
from twisted.trial.unittest import SynchronousTestCase

from riskd.control.protocol import Json, Request


class JsonTests(SynchronousTestCase):
    """A value as JSON in an AMP box."""

    def test_a_long_value_takes_several_entries(self) -> None:
        request = Request(account=1, reason="x" * 150_000)
        box = AmpBox()
        Json(Request).toBox(b"request", box, {"request": request}, None)
        self.assertEqual(list(box), [b"request", b"request-1", b"request-2"])
        objects: dict[str, Any] = {}
        Json(Request).fromBox(b"request", AmpBox.copy(box), objects, None)
        self.assertEqual(objects["request"], request)
