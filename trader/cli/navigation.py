"""What the trader chooses to see, by keys and by the mouse."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any, Final, NamedTuple

import msgspec
import urwid

from trader.model.account_row import ORDERS, AccountList
from trader.model.all_accounts import AllAccounts
from trader.model.formatting import terminal_text
from trader.model.session import Session
from trader.model.ui_state import FILTERS, UiState
from trader.model.view import View
from trader.ui.accounts_page import found_rows, selected_account_text, selected_row
from trader.ui.pages import PAGES, Body
from trader.ui.palette import MONO, THEMES
from trader.ui.screen import all_body, page_at, page_body, place_among_all, text_to_copy

_LONGEST_SEARCH: Final = 30

_NO_SCREENS: Final = Fraction(0)

_NOTHING_OPEN: Final = dict.fromkeys(("is_help", "is_open", "is_glance", "is_typing"), False)

_ACTIVITY: Final = [page.name for page in PAGES].index("Activity")


class Place(NamedTuple):
    """What was on the screen, to return to.

    :ivar opened: the account; ``None`` for all.
    """

    ui_state: UiState
    opened: int | None


class Navigation:
    """The page, row, search and looks that are chosen; a method is what a key does.

    :param ui_state: what is shown first, and how.
    :param account_id: the account to show; ``None`` for all.
    :param accounts: what there is to see.
    :param terminal: what it is drawn on; its theme and mouse are chosen here.
    :param view_of: returns the view of a session now.
    :param follow_all: makes the console follow all accounts.
    :param note: shows a line of the program itself, in a style.
    :param help_keys: label and effect of each key.
    :ivar ui_state: what is shown, and how; each choice replaces it.
    :ivar opened: the account that is shown; ``None`` for all.
    """

    def __init__(
        self,
        ui_state: UiState,
        account_id: int | None,
        accounts: AllAccounts,
        terminal: Any,
        view_of: Callable[[Session], View],
        follow_all: Callable[[], object],
        note: Callable[[str, str], object],
        help_keys: list[tuple[str, str]],
    ) -> None:
        self.ui_state = msgspec.structs.replace(ui_state, is_all=account_id is None)
        self.opened = account_id
        self._accounts = accounts
        self._terminal = terminal
        self._colors = terminal.colors
        self._view_of = view_of
        self._follow_all = follow_all
        self._note = note
        self._help = help_keys

    @property
    def session(self) -> Session:
        """The session of the account that is opened."""
        assert self.opened is not None  # noqa: S101  # where none is, all are shown
        return self._accounts.sessions[self.opened]

    def view(self) -> View:
        """Return the view of the account that is opened."""
        return self._view_of(self.session)

    def listed(self) -> AccountList:
        """Return all accounts, in the chosen order."""
        return self._accounts.listed(self.ui_state.order)

    def _choose(self, **choices: Any) -> None:
        """Change fields of the UI state."""
        self.ui_state = msgspec.structs.replace(self.ui_state, **choices)

    @property
    def place(self) -> Place:
        """What is shown, without what was being typed or was paused."""
        ui_state = msgspec.structs.replace(self.ui_state, is_typing=False, paused_feed=None)
        return Place(ui_state, self.opened)

    def return_to(self, place: Place) -> None:
        """Show what was shown before, from the beginning on."""
        if place.opened != self.opened:
            self._follow_all()
            if place.opened is not None:
                # Its state comes with the connection, which may drop an account that is followed no more.
                self._accounts.expect(place.opened)
        self.ui_state, self.opened = place
        self.apply_theme()

    def click(self, column: int, row: int) -> None:
        """Show the page whose name was clicked in the last row of the screen."""
        columns, rows = self._terminal.get_cols_rows()
        is_footer = row == rows - 1 and not self.ui_state.is_all
        page = page_at(self.ui_state, columns, column) if is_footer else None
        if page is not None:
            self.show_page(page)

    def quit(self) -> None:
        """End the program.

        :raises urwid.ExitMainLoop: always; it ends urwid's loop.
        """
        raise urwid.ExitMainLoop

    def show_page(self, number: int) -> None:
        """Show the page ``number``; past the last page, begin with the first again.

        Where all accounts are shown, it is that of the selected one.
        """
        if self.ui_state.is_all and not self._open_account():
            return
        self._choose(page=number % len(PAGES), row=0, scroll=0, search="", **_NOTHING_OPEN)

    def turn_page(self, pages: int) -> None:
        """Show the page so many further."""
        if not self.ui_state.is_all:
            self.show_page(self.ui_state.page + pages)

    def move(self, rows: int = 0, screens: Fraction = _NO_SCREENS) -> None:
        """Select the row so many further down, or scroll what has no rows."""
        ui_state, body = self.ui_state, self._body()
        rows += int(screens * body.height) or (screens > 0) - (screens < 0)
        if ui_state.is_all and not ui_state.is_help:
            self._select_account(rows)
            return
        place = "scroll" if ui_state.is_help or PAGES[ui_state.page].rows is None else "row"
        begin = min(getattr(ui_state, place), body.places - 1)
        self._choose(**{place: max(0, min(begin + rows, body.places - 1))})

    def _select_account(self, rows: int, *, turns: bool = False) -> None:
        """Select the account so many rows further down.

        :param turns: whether the first row comes after the last one.
        """
        found = found_rows(self.listed(), self.ui_state, machine_time())
        if found:
            place = selected_row(found, self.ui_state) + rows
            place = place % len(found) if turns else max(0, min(place, len(found) - 1))
            self._choose(account=found[place].account_id)

    def next_found(self, rows: int) -> None:
        """Select the found row ``rows`` further down; after the last, the first."""
        if self.ui_state.is_all:
            self._select_account(rows, turns=bool(self.ui_state.search))
            return
        body = self._body()
        if self.ui_state.search and PAGES[self.ui_state.page].rows is not None and body.places:
            self._choose(row=(self.ui_state.row + rows) % body.places)
        else:
            self.move(rows)

    def _body(self) -> Body:
        columns, rows = self._terminal.get_cols_rows()
        if self.ui_state.is_all:
            return all_body(
                self.listed(), self.ui_state, machine_time(), columns, rows, self._help
            )
        now = self.session.now()
        return page_body(self.view(), self.ui_state, now, columns, rows, self._help)

    def open_row(self) -> None:
        """Keep the search that is being typed, or show the selected row in full."""
        if self.ui_state.is_typing:
            self._choose(is_typing=False)
        elif self.ui_state.is_all:
            self._open_account()
        elif PAGES[self.ui_state.page].rows is not None and self._body().places:
            self._choose(is_open=True, is_help=False)

    def _open_account(self) -> bool:
        """Show the selected account; return whether there is one."""
        found = found_rows(self.listed(), self.ui_state, machine_time())
        if not found:
            return False
        self.opened = found[selected_row(found, self.ui_state)].account_id
        # The place among all stays for the way back.
        self._choose(is_all=False, account=self.opened)
        self.show_page(0)
        return True

    def show_all(self) -> None:
        """Show all accounts."""
        if self.ui_state.is_all:
            return
        self._follow_all()
        self._choose(is_all=True, account=self.opened, scroll=0, search="", **_NOTHING_OPEN)
        self.opened = None

    def change_order(self) -> None:
        """Put all accounts in the next order."""
        if self.ui_state.is_all:
            self._choose(order=(self.ui_state.order + 1) % len(ORDERS))

    def close(self) -> None:
        """Close what is open: the help or a row, else the search, else the account."""
        ui_state = self.ui_state
        if ui_state.is_help or ui_state.is_open or ui_state.is_glance:
            self._choose(is_help=False, is_open=False, is_glance=False, scroll=0)
        elif ui_state.search or ui_state.is_typing or not self._accounts.are_all:
            self._end_search()
        else:
            self.show_all()

    def _end_search(self) -> None:
        """Show the rows again that were left out; the selected one stays selected."""
        if self.ui_state.is_all:
            self._select_account(0)
        elif self.ui_state.search:
            columns, rows = self._terminal.get_cols_rows()
            now = self.session.now()
            self._choose(row=place_among_all(self.view(), self.ui_state, now, columns, rows))
        self._choose(search="", is_typing=False, scroll=0)

    def show_help(self) -> None:
        """Show the keys, or close them."""
        self._choose(is_help=not self.ui_state.is_help, scroll=0)

    def begin_search(self) -> None:
        """Search for the text that is typed from now on."""
        self._choose(search="", row=0, scroll=0, **{**_NOTHING_OPEN, "is_typing": True})

    def type_search(self, key: str) -> None:
        """Add a letter to the text of the search, or take the last one away."""
        text = self.ui_state.search
        if key == "backspace":
            text = text[:-1]
        elif len(key) == 1 and key.isprintable():
            text += key
        self._choose(search=text[:_LONGEST_SEARCH], row=0, scroll=0)

    def filter_feed(self) -> None:
        """Show the activity; if it is shown already, filter it by the next kind."""
        if self.ui_state.page == _ACTIVITY:
            following = (self.ui_state.filter + 1) % len(FILTERS)
            self._choose(filter=following, row=0, **_NOTHING_OPEN)
        else:
            self.show_page(_ACTIVITY)

    def pause_feed(self) -> None:
        """Show the activity, and pause it or let it run again."""
        self.show_page(_ACTIVITY)
        self._choose(paused_feed=self.view().feed if self.ui_state.paused_feed is None else None)

    def change_theme(self) -> None:
        """Show the next theme."""
        names = list(THEMES)
        self._choose(theme=names[(names.index(self.ui_state.theme) + 1) % len(names)])
        self.apply_theme()
        self._terminal.clear()

    def apply_theme(self) -> None:
        """Give the terminal the colors of the theme."""
        theme = self.ui_state.theme
        self._terminal.set_terminal_properties(colors=1 if theme == MONO else self._colors)
        self._terminal.register_palette(THEMES[theme])

    def toggle(self, choice: str) -> None:
        """Negate a boolean field of the UI state."""
        self._choose(**{choice: not getattr(self.ui_state, choice)})

    def toggle_glance(self) -> None:
        """Show or leave the large figures of one account; the list of all has none."""
        if not self.ui_state.is_all:
            self.toggle("is_glance")

    def toggle_mouse(self) -> None:
        """Take the mouse from the terminal, or give it back."""
        self.toggle("has_mouse")
        self._terminal.set_mouse_tracking(self.ui_state.has_mouse)

    def copy(self) -> None:
        """Copy the selected row to the terminal's clipboard."""
        text = self._selected_text()
        if text and not self._terminal.is_congested:
            self._terminal.copy_to_clipboard(terminal_text(text))
            self._note(f"Copied: {text}", "dim")

    def _selected_text(self) -> str:
        if self.ui_state.is_all:
            return selected_account_text(self.listed(), self.ui_state, machine_time())
        columns, rows = self._terminal.get_cols_rows()
        return text_to_copy(self.view(), self.ui_state, self.session.now(), columns, rows)


def machine_time() -> datetime:
    """Return the time by this machine's clock, aware."""
    return datetime.now(UTC)
