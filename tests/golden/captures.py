"""The captures: states by size, theme and page; and the docs' pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import urwid

from tests.golden.all_accounts import ALL_ACCOUNTS, AllAccountsScenario
from tests.golden.scenario import STATES, Scenario
from tests.golden.svg import svg
from trader.ui.pages import PAGES
from trader.ui.palette import MONO, THEMES

SCREENS: Final = Path(__file__).parent / "screens"
PICTURES: Final = Path(__file__).parents[2] / "docs" / "pictures"

SIZES: Final = ((60, 14), (80, 24), (120, 40), (200, 60))
_PAGES_OF_STATE: Final = {
    "three-positions": ("Trades",),
    "near-a-limit": ("Trades", "Limits"),
    "funded": ("Trades", "Limits"),
    "reduce-only": ("Lockouts", "Limits", "Trades"),
    "cooldown": ("Lockouts",),
    "daily-lock": ("Lockouts", "Activity", "Trades"),
    "permanent-lock": ("Lockouts", "Limits"),
    "reconnecting": ("Connection",),
    "quiet-market": ("Connection",),
    "last-known-state": ("Limits", "Lockouts"),
    "login-refused": ("Limits",),
    "no-state-file": ("Limits", "Lockouts", "Connection"),
}
_GLANCED: Final = (
    "near-a-limit",
    "daily-lock",
    "funded",
    "reduce-only",
    "no-state-file",
    "last-known-state",
)
_VIEWS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("help", "quiet-market", {"is_help": True}),
    ("search", "daily-lock", {"page": 4, "search": "mnq", "row": 1}),
    ("opened-row", "daily-lock", {"page": 3, "is_open": True}),
    ("opened-trade", "three-positions", {"page": 1, "row": 1, "is_open": True}),
    ("silent-glance", "silent", {"is_glance": True}),
    ("no-stop-glance", "three-positions", {"is_glance": True}),
)
"""What is opened over a state, by the name of its captures; a theme makes no difference that the states lack."""

_PICTURES: Final[tuple[tuple[str, str, int, int, dict[str, Any]], ...]] = (
    ("overview", "three-positions", 120, 34, {}),
    ("near-a-limit", "near-a-limit", 80, 24, {}),
    ("trades", "near-a-limit", 80, 24, {"page": 1}),
    ("limits", "near-a-limit", 100, 16, {"page": 2}),
    ("reduce-only", "reduce-only", 80, 24, {}),
    ("floor", "funded", 80, 16, {"page": 2}),
    ("lockouts", "daily-lock", 80, 26, {"page": 3}),
    ("activity", "daily-lock", 80, 24, {"page": 4}),
    ("connection", "reconnecting", 80, 20, {"page": 5}),
    ("last-known-state", "last-known-state", 80, 24, {}),
    ("light", "daily-lock", 80, 24, {"theme": "light"}),
    ("colorblind", "three-positions", 80, 24, {"theme": "colorblind"}),
    ("narrow", "three-positions", 60, 20, {}),
    ("glance", "reduce-only", 80, 24, {"is_glance": True}),
    ("keys", "quiet-market", 80, 24, {"is_help": True}),
)


@contextmanager
def in_utc() -> Iterator[None]:
    """Make UTC the local time, wherever this runs."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def captures() -> Iterator[tuple[Path, str]]:
    """Yield path and content of each capture."""
    with in_utc():
        scenarios = {path.stem: Scenario(path) for path in sorted(STATES.glob("*.jsonl"))}
        for name, scenario in scenarios.items():
            yield from _of_state(name, scenario)
        for name, state, choices in _VIEWS:
            for columns, rows in SIZES:
                canvas = scenarios[state].render(columns, rows, **choices)
                yield SCREENS / f"{name}-{columns}x{rows}.txt", _text(canvas)
        for columns, rows in SIZES:
            canvas = ALL_ACCOUNTS["accounts"]().render(columns, rows, search="near")
            yield SCREENS / f"accounts-search-{columns}x{rows}.txt", _text(canvas)
        for name, make in ALL_ACCOUNTS.items():
            yield from _of_all_accounts(name, make())
        picture = ALL_ACCOUNTS["accounts"]().render(120, 22)
        yield PICTURES / "accounts.svg", svg(picture, THEMES["dark"])
        for name, state, columns, rows, choices in _PICTURES:
            canvas = scenarios[state].render(columns, rows, **choices)
            yield PICTURES / f"{name}.svg", svg(canvas, THEMES[choices.get("theme", "dark")])


def _of_all_accounts(name: str, scenario: AllAccountsScenario) -> Iterator[tuple[Path, str]]:
    for columns, rows in SIZES:
        canvas = scenario.render(columns, rows)
        yield SCREENS / f"{name}-{columns}x{rows}.txt", _text(canvas)
    if name == "accounts-200":
        for account, order in ((5007, 1), (5199, 2)):
            canvas = scenario.render(60, 14, account=account, order=order)
            yield SCREENS / f"{name}-{account}-60x14.txt", _text(canvas)
        return
    canvas = scenario.render(80, 24, is_ascii=True)
    yield SCREENS / f"{name}-80x24-ascii.txt", _text(canvas)
    for theme in THEMES:
        yield SCREENS / f"{name}-80x24-{theme}.txt", _styled(scenario.render(80, 24), theme)


def _of_state(name: str, scenario: Scenario) -> Iterator[tuple[Path, str]]:
    for columns, rows in SIZES:
        canvas = scenario.render(columns, rows)
        yield SCREENS / f"{name}-{columns}x{rows}.txt", _text(canvas)
    canvas = scenario.render(80, 24, is_ascii=True)
    yield SCREENS / f"{name}-80x24-ascii.txt", _text(canvas)
    for theme in THEMES:
        yield SCREENS / f"{name}-80x24-{theme}.txt", _styled(scenario.render(80, 24), theme)
    for columns, rows in SIZES if name in _GLANCED else ():
        canvas = scenario.render(columns, rows, is_glance=True)
        yield SCREENS / f"{name}-glance-{columns}x{rows}.txt", _text(canvas)
    for page in _PAGES_OF_STATE.get(name, ()):
        number = [one.name for one in PAGES].index(page)
        canvas = scenario.render(80, 24, page=number)
        yield SCREENS / f"{name}-{page.lower()}-80x24.txt", _text(canvas)


def _text(canvas: urwid.Canvas) -> str:
    return "".join(f"{row.decode().rstrip()}\n" for row in canvas.text)


def _styled(canvas: urwid.Canvas, theme: str) -> str:
    """Return each run of characters after its colors or attributes."""
    appearance = {
        name: attributes if theme == MONO else f"{foreground} on {background}"
        for name, foreground, background, attributes in THEMES[theme]
    }
    rows = []
    for row in canvas.content():
        runs = [
            f"{{{appearance.get(style, '')}}}{text.decode()}"
            for style, _, text in row
            if text.strip() or style is not None
        ]
        rows.append("".join(runs).rstrip())
    return "\n".join(rows) + "\n"
