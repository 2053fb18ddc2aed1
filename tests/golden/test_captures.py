"""The captures are what the console draws, and what the documentation shows."""

from __future__ import annotations

import difflib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.golden.all_accounts import ALL_ACCOUNTS
from tests.golden.captures import PICTURES, SCREENS, SIZES, captures
from tests.golden.scenario import STATES, Scenario
from trader.model.account_row import ORDERS
from trader.ui.pages import PAGES
from trader.ui.palette import THEMES
from trader.ui.styled_text import text_of

STATES_CAPTURED = (
    "first-start",
    "quiet-market",
    "three-positions",
    "silent",
    "dry-run",
    "near-a-limit",
    "funded",
    "reduce-only",
    "cooldown",
    "daily-lock",
    "permanent-lock",
    "reconnecting",
    "last-known-state",
    "daemon-stopping",
    "login-refused",
    "no-state-file",
)
HOW_TO_UPDATE = "; if the change is right, python -m tests.golden makes all of them again"


class CaptureTests(SynchronousTestCase):
    """Each capture, compared with what is drawn."""

    def test_every_capture_is_what_is_drawn(self) -> None:
        for path, content in captures():
            self.assertTrue(path.exists(), f"{path.name} is missing{HOW_TO_UPDATE}")
            known = path.read_text()
            if known != content:
                self.fail(f"{path.name} has changed{HOW_TO_UPDATE}\n{_difference(known, content)}")

    def test_no_line_is_cut_without_an_ellipsis_on_any_page_at_any_size(self) -> None:
        for path in sorted(STATES.glob("*.jsonl")):
            scenario = Scenario(path)
            for page in range(len(PAGES)):
                for columns, rows in ((60, 14), (60, 20), (80, 24), (100, 30), (120, 40)):
                    for line in scenario.lines(columns, rows, page=page):
                        said = text_of(line).rstrip()
                        self.assertLessEqual(len(said), columns, (path.stem, page, said))

    def test_no_line_about_all_accounts_is_wider_than_the_screen(self) -> None:
        for name, make in ALL_ACCOUNTS.items():
            scenario = make()
            for columns, rows in ((60, 14), (61, 20), (78, 24), (80, 24), (120, 40), (182, 40)):
                for order in range(len(ORDERS)):
                    lines = scenario.lines(columns, rows, order=order)
                    self.assertEqual(len(lines), rows)
                    for line in lines:
                        said = text_of(line).rstrip()
                        self.assertLessEqual(len(said), columns, (name, said))

    def test_no_capture_is_left_over(self) -> None:
        wanted = {path for path, _ in captures()}
        found = {*SCREENS.iterdir(), *PICTURES.glob("*.svg")}
        self.assertEqual({path.name for path in found - wanted}, set())

    def test_every_state_is_captured_at_every_size_and_in_every_theme(self) -> None:
        self.assertEqual({path.stem for path in STATES.iterdir()}, set(STATES_CAPTURED))
        names = {path.name for path, _ in captures()}
        for state in STATES_CAPTURED:
            for columns, rows in SIZES:
                self.assertIn(f"{state}-{columns}x{rows}.txt", names)
            for theme in THEMES:
                self.assertIn(f"{state}-80x24-{theme}.txt", names)

    def test_the_documentation_shows_every_picture(self) -> None:
        documentation = Path(PICTURES.parent / "console.md").read_text()
        for path in PICTURES.glob("*.svg"):
            self.assertIn(f"(pictures/{path.name})", documentation)


def _difference(known: str, content: str) -> str:
    return "\n".join(difflib.unified_diff(known.splitlines(), content.splitlines(), lineterm=""))
