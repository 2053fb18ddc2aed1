"""What the trader has chosen to see, as a value that each key press replaces."""

from __future__ import annotations

from typing import Final

import msgspec

from trader.model.wording import FeedLine

FILTERS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("everything", frozenset()),
    ("trades", frozenset({"GatewayUserTrade"})),
    ("positions", frozenset({"GatewayUserPosition"})),
    ("orders", frozenset({"GatewayUserOrder"})),
    ("lockouts", frozenset({"lockout_set", "lockout_cleared"})),
    ("enforcement", frozenset({"enforcement_action"})),
    ("daemon", frozenset({"daemon_status", "daily_reset", "console"})),
)
"""The feed's filters: a name, and the kinds that pass; the empty set passes all."""


class UiState(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a view is shown, and how.

    :ivar is_all: whether all accounts are shown, in place of the pages of one.
    :ivar order: the index of their order in :data:`trader.model.account_row.ORDERS`.
    :ivar account: the one of them that is selected; ``None`` for the first.
    :ivar page: the index of the page.
    :ivar row: the index of the selected row, on a page that has rows.
    :ivar scroll: how many lines of a page without rows, or of the help, are above the screen.
    :ivar is_open: whether the selected row is shown in full, in place of the page.
    :ivar search: only rows that have this text in them are shown, in capitals or not; empty: all.
    :ivar is_typing: whether that text is being typed.
    :ivar filter: the index of the feed's filter in :data:`FILTERS`.
    :ivar paused_feed: the lines that the feed had when the trader paused it; ``None`` while it runs.
        Their number would not do: actions from the state file are inserted between others.
    :ivar is_glance: whether the large figures, to be read from across the room, are shown in place of the page.
    :ivar is_help: whether the keys are shown in place of the page.
    :ivar is_ascii: whether only ASCII characters are drawn.
    :ivar is_muted: whether bell and hook are silent for everything but lockouts.
    :ivar has_mouse: whether the console receives the mouse, in place of the terminal.
    :ivar is_page: whether it is a page in a browser, which no key ends.
    :ivar theme: the theme's name.
    """

    is_all: bool = False
    order: int = 0
    account: int | None = None
    page: int = 0
    row: int = 0
    scroll: int = 0
    is_open: bool = False
    search: str = ""
    is_typing: bool = False
    filter: int = 0
    paused_feed: tuple[FeedLine, ...] | None = None
    is_glance: bool = False
    is_help: bool = False
    is_ascii: bool = False
    is_muted: bool = False
    has_mouse: bool = False
    is_page: bool = False
    theme: str = "dark"

    def visible_lines(self, feed: tuple[FeedLine, ...]) -> tuple[FeedLine, ...]:
        """Return the lines of ``feed`` to show, newest first."""
        feed = feed if self.paused_feed is None else self.paused_feed
        kinds = FILTERS[self.filter][1]
        return tuple(line for line in reversed(feed) if not kinds or line.kind in kinds)
