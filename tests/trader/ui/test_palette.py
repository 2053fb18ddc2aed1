"""The themes: every style that is drawn, in colors and without."""

from __future__ import annotations

from typing import Any

import urwid
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.events import EVENT_TYPES
from tests.support.console import FILE_PROBLEMS
from tests.support.screen import ScreenTestCase
from trader.ui.palette import MONO, THEMES


class StyleTests(ScreenTestCase):
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


class PaletteTests(SynchronousTestCase):
    """The entries of each theme."""

    def test_each_style_is_in_each_theme_once(self) -> None:
        styles = {style for style, *_ in THEMES["dark"]}
        for name, theme in THEMES.items():
            names = [style for style, *_ in theme if style is not None]
            self.assertEqual(set(names), styles, name)
            self.assertEqual(len(set(names)), len(names), name)

    def test_urwid_accepts_every_entry(self) -> None:
        for theme in THEMES.values():
            for _, foreground, background, mono in theme:
                urwid.AttrSpec(foreground, background, colors=16)
                urwid.AttrSpec(mono, "default", colors=1)

    def test_urgent_styles_stand_out_without_color(self) -> None:
        for theme in THEMES.values():
            for name, _, _, mono in theme:
                if name in ("alert", "warning", "practice", "good", "select"):
                    self.assertIn("standout", mono, name)

    def test_gain_and_loss_differ_in_each_theme_that_has_colors(self) -> None:
        for name, theme in THEMES.items():
            colors = {style: foreground for style, foreground, *_ in theme}
            if name != MONO:
                self.assertNotEqual(colors["gain"], colors["loss"], name)

    def test_the_theme_for_color_blindness_has_no_red_or_green(self) -> None:
        for style, foreground, background, _ in THEMES["colorblind"]:
            for color in (foreground, background):
                self.assertNotIn("red", color, style)
                self.assertNotIn("green", color, style)
