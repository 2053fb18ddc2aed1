"""The themes have every style that is drawn."""

from __future__ import annotations

from typing import Any

from riskd.model.events import EVENT_TYPES
from tests.support.console import FILE_PROBLEMS
from tests.support.screen import (
    ScreenTestCase,
)
from trader.ui.palette import THEMES


class PaletteTests(ScreenTestCase):
    """Styles on the screen, and styles in the themes."""

    def test_every_style_that_is_drawn_is_in_each_theme(self) -> None:
        used: set[Any] = set()
        for prepare in (
            lambda: None,
            self.poll_file,
            lambda: self.file.fail(FILE_PROBLEMS[0]),
            self.poll_file,
            self.connect,
            self.fill,
            self.lose,
            self.connect,
        ):
            prepare()
            used |= {style for style, _ in self.styles(120, 40)}
        for event_type in EVENT_TYPES:
            self.receive(event_type)
            used |= {style for style, _ in self.styles(120, 40)}
        self.receive("GatewayUserTrade", profitAndLoss=5000)
        self.receive("GatewayUserOrder", state=4)
        for seconds in (6, 40):
            self.wait(seconds)
            used |= {style for style, _ in self.styles(120, 40)}
        used.discard(None)
        for name, theme in THEMES.items():
            self.assertEqual(used - {style for style, *_ in theme}, set(), name)
