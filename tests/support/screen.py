"""The screen of the console over a session in memory, rendered to text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from riskd.model.account import Limit
from tests.support.console import MNQ, SessionTestCase, at
from trader.model.ui_state import UiState
from trader.ui.pages import PAGES
from trader.ui.screen import Screen
from trader.ui.terminal import StyledCanvas

MES = "CON.F.US.MES.U25"
UNKNOWN_CONTRACT = "CON.F.US.XYZ.U25"

SIZES = ((80, 24), (120, 40), (240, 80), (79, 23), (60, 20), (40, 12), (20, 6), (80, 3), (1, 1))

CONTROL_CHARACTERS = (
    "Bad \x1b[31mnews\x1b[0m\nsecond\r\ttabbed \x9b1m\u202ebackwards\u200b \u2028end\x7f"
)
"""A text that would break rows or command a terminal."""

LIMITS = {
    "DAY": Limit("daily_reset", '{"reset_time": "17:00:00", "time_zone": "UTC"}'),
    "RULE-001": Limit("max_contracts", '{"limit": 4}'),
    "RULE-003": Limit("daily_realized_loss", '{"loss_limit": 500}'),
    "RULE-004": Limit("daily_unrealized_loss", '{"loss_limit": 300, "scope": "total"}'),
    "RULE-010": Limit("auth_loss_guard", "{}"),
}


class ScreenTestCase(SessionTestCase):
    """A screen before the first connection; the file has an empty account."""

    def setUp(self) -> None:
        super().setUp()
        self.retry_in: float | None = None
        self.gateway_name: str | None = None
        self.is_dry_run = False
        self.name = ""
        self.silent_for: float | None = None
        self.url = ""
        self.ui_state = UiState()
        self.file.publish(gateway_name=None)
        self.screen = Screen(
            lambda: self.session.view(
                self.retry_in,
                self.gateway_name,
                self.url,
                is_dry_run=self.is_dry_run,
                silent_for=self.silent_for,
                name=self.name,
            ),
            lambda: self.ui_state,
            lambda: self.now,
            [("q", "quit")],
        )

    def connect(self) -> None:
        """Report a completed handshake with the practice gateway."""
        self.retry_in = None
        self.gateway_name = "practice"
        super().connect()

    def lose(self, reason: str = "lost connection to daemon", retry_in: float = 1.0) -> None:
        """Report a lost connection or a failed attempt, and the seconds to the next one."""
        self.retry_in = retry_in
        super().lose(reason)

    def poll_file(self) -> None:
        """Let the session poll the state file, as the console does each second."""
        self.session.poll_file()

    def turn(self, name: str) -> None:
        """Show a page."""
        self.change(page=[page.name for page in PAGES].index(name))

    def change(self, **choices: Any) -> None:
        """Change fields of the UI state."""
        self.ui_state = msgspec.structs.replace(self.ui_state, **choices)

    def canvas(self, columns: int = 80, rows: int = 24) -> StyledCanvas:
        """Return what is drawn."""
        self.screen.redraw()
        return self.screen.render((columns, rows))

    def rows(self, columns: int = 80, rows: int = 24) -> list[str]:
        """Return the text of each row, without the blanks at its end."""
        return [text.decode().rstrip() for text in self.canvas(columns, rows).text]

    def shown(self, columns: int = 80, rows: int = 24) -> str:
        """Return the text of the screen."""
        return "\n".join(self.rows(columns, rows))

    def row(self, *words: str, columns: int = 80, rows: int = 24) -> str:
        """Return the only row that has all ``words``, with every run of blanks made one."""
        found = [
            " ".join(text.split())
            for text in self.rows(columns, rows)
            if all(word in text for word in words)
        ]
        self.assertEqual(len(found), 1, f"{words} in:\n{self.shown(columns, rows)}")
        return found[0]

    def below(self, words: str, columns: int = 80, rows: int = 24) -> list[str]:
        """Return the rows between the first that has ``words`` and the footer."""
        shown = self.rows(columns, rows)
        begin = next(index for index, row in enumerate(shown) if words in row)
        return shown[begin + 1 : -1]

    def styles(self, columns: int = 80, rows: int = 24) -> Iterator[tuple[Any, str]]:
        """Yield style and text of each run of characters."""
        for content in self.canvas(columns, rows).content():
            for style, _character_set, text in content:
                yield style, text.decode()

    def styles_of(self, number: str) -> set[str]:
        """Return the styles of a number above the feed, which has its own styles."""
        runs = list(self.styles())
        feed = next(index for index, (_, text) in enumerate(runs) if text == "Activity")
        return {style for style, text in runs[:feed] if number in text}

    def style_of(self, text: str) -> Any:
        """Return the style of the first run that contains ``text``."""
        return next(style for style, run in self.styles() if text in run)

    def fill(self) -> None:
        """Connect, and receive something for every panel."""
        self.connect()
        self.receive("GatewayUserPosition", contractId=MNQ, size=3, averagePrice=21000.50)
        self.receive("MarketQuote", contractId=MNQ, last=21001.00, timestamp=at(0))
        self.receive("GatewayUserPosition", contractId=MES, size=1, averagePrice=5800)
        self.receive("GatewayUserOrder", contractId=MNQ, type=4, stopPrice=20990.25)
        self.receive("GatewayUserTrade", profitAndLoss=-1234.50)
        self.receive("lockout_set", reason="Daily loss limit hit: -$550")
        self.receive("enforcement_action")
        self.receive("daemon_status", status="STOPPING", message="The daemon is stopping")


class PageTestCase(ScreenTestCase):
    """One page of a connected session; the state file has :data:`LIMITS`."""

    page = "Overview"

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(limits=LIMITS, gateway_name="practice")
        self.turn(self.page)
        self.connect()
