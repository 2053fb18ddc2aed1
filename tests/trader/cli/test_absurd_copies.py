"""A published copy with values that no riskd writes: a sentence, or a screen; never an exception."""

from __future__ import annotations

import sqlite3
import time
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from riskd.journal.reader import StateFileError, read_published
from riskd.journal.schema import PUBLISHED_NAME
from riskd.journal.store import Store
from riskd.model.account import AccountState, apply
from riskd.testing import make_event
from tests import examples
from tests.support.absurd import LEAVES, VALUES, Place, changed, places
from tests.support.console import BEGIN
from tests.support.directories import temporary_directory
from tests.support.journal import full_state
from tests.support.screen import LIMITS, ScreenTestCase
from trader.cli.headless import PlainLines
from trader.model.session import Session
from trader.ui.pages import PAGES

ABSURD = st.sampled_from(VALUES), st.sampled_from(LEAVES)


def account() -> AccountState:
    """Return an account that has something on each page."""
    state = msgspec.structs.replace(full_state(), limits=LIMITS)
    for event_type, data in (
        ("GatewayUserPosition", {"id": 2, "contractId": "CON.F.US.MES.U25", "size": 1}),
        ("MarketQuote", {"contractId": "CON.F.US.MES.U25", "last": 5800}),
        ("enforcement_action", {"timestamp": "2025-01-17T11:02:00Z"}),
    ):
        state = apply(state, make_event(event_type, data))
    return state


class AbsurdCopyTests(ScreenTestCase):
    """The console over a copy on the disk."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = temporary_directory(self)
        store = Store(self.directory)
        store.open([123], BEGIN)
        store.write([account()], "practice", BEGIN, clock_offset="0.5")
        store.publish()
        store.close()
        self.copy = self.directory / PUBLISHED_NAME
        self.image = self.copy.read_bytes()
        self.places = list(places(self.image))

    def show(self, image: bytes) -> str:
        """Let a console read the copy, without a daemon and with one; return its last sentence."""
        self.copy.write_bytes(image)
        written: list[str] = []
        begun = time.monotonic()
        try:
            read_published(self.directory)
        except StateFileError as error:
            written.append(str(error))
            self.assertTrue(str(error).isprintable(), error)
            self.assertLess(len(str(error)), 500)
        self.session = Session(
            123,
            lambda: self.now,
            lambda _important: None,
            lambda: read_published(self.directory),
            lambda: self.copy.stat().st_mtime_ns,
        )
        self.session.poll_file()
        self.draw()
        lines = PlainLines(self.session, written.append)
        lines.receive_status("connection_status", {"connected": True, "reason": "connected"})
        event = make_event("GatewayUserTrade", {"profitAndLoss": -12.5})
        lines.receive(event.type, lambda: event)
        self.now += timedelta(seconds=20)
        self.session.poll_file()
        self.draw()
        lines.receive_status("connection_status", {"connected": False, "reason": "lost"})
        self.draw()
        self.assertLess(time.monotonic() - begun, 10)
        self.assertLess(max(map(len, written), default=0), 2000)
        return written[0]

    def draw(self) -> None:
        for number in range(len(PAGES)):
            self.change(page=number)
            self.assertTrue(self.shown(100, 40))

    def test_any_absurd_value_anywhere(self) -> None:
        @settings(max_examples=examples(25))
        @given(st.data())
        def show_any(data: st.DataObject) -> None:
            place = data.draw(st.sampled_from(self.places))
            value = data.draw(ABSURD[bool(place[2])])
            self.show(changed_or_same(self.image, place, value))

        show_any()

    def test_absurd_amounts_are_a_sentence(self) -> None:
        for place in (
            ("accounts", "realized_pnl", ()),
            ("contracts", "tick_size", ()),
            ("accounts", "balance", ("agreed",)),
            ("days", "data", ("net",)),
            ("positions", "data", ("averagePrice",)),
            ("quotes", "data", ("last",)),
            ("limits", "settings", ("loss_limit",)),
        ):
            for value in ("9e999999", "1e-999999"):
                with self.subTest(place=place, value=value):
                    if value == "1e-999999" and place[0] in ("positions", "quotes"):
                        continue  # It is cut to 0.
                    sentence = self.show(changed(self.image, place, value))
                    self.assertIn("cannot read the last known state", sentence)
                    self.assertIn("is damaged", sentence)


def changed_or_same(image: bytes, place: Place, value: Any) -> bytes:
    """Return a changed copy; SQLite itself refuses some values."""
    try:
        return changed(image, place, value)
    except sqlite3.Error:
        return image
