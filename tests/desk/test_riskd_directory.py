"""Where an uplink's riskd has its state, also while riskd is down."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.broadcast.server import STATE_HEADER
from riskd.desk.riskd_directory import RiskdDirectory
from riskd.desk.settings import DeskSettings
from riskd.desk.stream import Stream
from riskd.journal.schema import PUBLISHED_NAME
from tests.support.directories import temporary_directory

KEY = Path("/key")
SETTINGS = DeskSettings(
    directory=Path("/"),
    desk="alpha",
    instance="anna",
    servers=("tls://desk.example:4222",),
    certificate=KEY,
    key=KEY,
    ca=KEY,
)


class DirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = temporary_directory(self) / "riskd"
        self.state = temporary_directory(self)
        self.start()

    def start(self, settings: DeskSettings = SETTINGS) -> None:
        """Start an uplink, while riskd is down."""
        self.stream = Stream(lambda: 0.0)
        self.place = RiskdDirectory(settings, self.stream, self.root)

    def answer(self, directory: Path) -> None:
        """Let riskd answer, and name its directory."""
        self.stream.opened({STATE_HEADER.lower(): quote(str(directory / PUBLISHED_NAME))})

    def test_the_last_one_is_taken_while_riskd_is_down(self) -> None:
        self.assertIsNone(self.place.current())
        self.answer(self.state)
        self.assertEqual((self.place.current(), self.place.is_told), (self.state, True))
        self.start()
        self.assertEqual((self.place.current(), self.place.is_told), (self.state, False))

    def test_what_riskd_says_comes_first(self) -> None:
        self.answer(self.state)
        self.place.current()
        self.start()
        other = temporary_directory(self)
        self.answer(other)
        self.assertEqual(self.place.current(), other)
        self.start()
        self.assertEqual(self.place.current(), other)

    def test_what_the_settings_say_comes_before_that(self) -> None:
        self.start(msgspec.structs.replace(SETTINGS, uplink_state=self.root))
        self.answer(self.state)
        self.assertEqual(self.place.current(), self.root)

    def test_another_desk_or_trader_has_another(self) -> None:
        self.answer(self.state)
        self.place.current()
        for change in ({"desk": "beta"}, {"instance": "ben"}):
            self.start(msgspec.structs.replace(SETTINGS, **change))
            self.assertIsNone(self.place.current())

    def test_one_that_is_gone_or_makes_no_sense_is_none(self) -> None:
        self.answer(self.state)
        self.place.current()
        (file,) = self.root.iterdir()
        for text in ("", "[]", '{"directory": "x"}', '{"directory": "/nowhere/at/all"}'):
            file.write_text(text)
            self.start()
            self.assertIsNone(self.place.current())

    def test_a_place_that_cannot_be_written_stops_nothing(self) -> None:
        self.root.write_text("no directory")
        self.answer(self.state)
        self.assertEqual(self.place.current(), self.state)
