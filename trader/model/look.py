"""What the trader has chosen to see, as a value; each key makes a new one of it."""

from __future__ import annotations

from typing import Final

import msgspec

from trader.model.activity import Line

FILTERS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("everything", frozenset()),
    ("trades", frozenset({"GatewayUserTrade"})),
    ("positions", frozenset({"GatewayUserPosition"})),
    ("orders", frozenset({"GatewayUserOrder"})),
    ("lockouts", frozenset({"lockout_set", "lockout_cleared"})),
    ("enforcement", frozenset({"enforcement_action"})),
    ("daemon", frozenset({"daemon_status", "daily_reset", "console"})),
)
"""What the feed can be narrowed to, and the kinds of line that it has then; none means all."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a view, and how.

    :ivar page: the number of the page, from 0.
    :ivar row: the number of the chosen row on a page of rows, from 0.
    :ivar filter: the number of the filter of the feed, see :data:`FILTERS`.
    :ivar paused: the feed as it was when it was paused; ``None`` while it runs.
    :ivar is_help: whether the keys are shown in place of the page.
    :ivar is_ascii: whether nothing but ASCII is drawn.
    :ivar is_muted: whether bell and hook are silent, but for lockouts.
    :ivar has_mouse: whether the mouse is the console's, and not the terminal's.
    :ivar theme: the name of the theme.
    """

    page: int = 0
    row: int = 0
    filter: int = 0
    paused: tuple[Line, ...] | None = None
    is_help: bool = False
    is_ascii: bool = False
    is_muted: bool = False
    has_mouse: bool = False
    theme: str = "dark"


def at_page(look: Look, page: int) -> Look:
    """Show a page, from its first row."""
    return msgspec.structs.replace(look, page=page, row=0, is_help=False)


def moved(look: Look, rows: int, count: int) -> Look:
    """Choose the row that is so many below, of ``count``; the first and the last are as far as it goes."""
    row = max(0, min(look.row + rows, count - 1))
    return msgspec.structs.replace(look, row=row)


def next_filter(look: Look) -> Look:
    """Narrow the feed to the next kind."""
    return msgspec.structs.replace(look, filter=(look.filter + 1) % len(FILTERS), row=0)


def paused_or_not(look: Look, lines: tuple[Line, ...]) -> Look:
    """Stop the feed at ``lines``, or let it run again."""
    paused = lines if look.paused is None else None
    return msgspec.structs.replace(look, paused=paused, row=0)


def shown_lines(look: Look, lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Return the lines of the feed that are shown, newest first."""
    lines = lines if look.paused is None else look.paused
    kinds = FILTERS[look.filter][1]
    return tuple(line for line in reversed(lines) if not kinds or line.kind in kinds)
