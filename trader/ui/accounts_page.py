"""All accounts: a row each, and the selected one in words below the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from riskd.model.formatting import counted
from trader.model.account_row import (
    MAY_HAVE_CHANGED,
    ORDERS,
    AccountList,
    AccountRow,
    Standing,
)
from trader.model.formatting import UNKNOWN, age, clock, money
from trader.model.gauge_words import figure, usage_words, whole_percent
from trader.model.limit_usage import LimitUsage
from trader.model.same import Same
from trader.model.standing_words import standing_words
from trader.model.ui_state import UiState
from trader.model.view import Source
from trader.ui.disconnected import source_lines, unknown_line
from trader.ui.gauges import LEVEL_STYLES, bar
from trader.ui.header import daemon_lines, header
from trader.ui.pages import Body, row_mark, search_line, visible
from trader.ui.styled_text import (
    MARK_WIDTH,
    StyledLine,
    fit,
    panel_title,
    pnl_style,
    table_row,
    wrap,
)

WHOSE: Final = "all accounts"
"""What the header says in place of an account."""

_LONGEST_NAME: Final = 24
"""Columns for a name where every other column has room."""

_NO_FLOOR: Final = "no floor"
_NO_DATA: Final = "NO DATA"
_WERE: Final = " were:"

_STANDING_STYLES: Final = {
    Standing.UNKNOWN: "dim",
    Standing.FREE: "text",
    Standing.NEAR: "caution",
    Standing.REDUCE_ONLY: "caution",
    Standing.NO_STOP: "loss",
    Standing.LINK_LOST: "dim",
    Standing.NOT_GUARDED: "alert",
    Standing.COOLDOWN: "loss",
    Standing.LOCKED: "loss",
}
_GRAVEST_FIRST: Final = tuple(reversed(Standing))

_NO_TIME: Final = datetime.min.replace(tzinfo=UTC)

_CACHED: Final = 512
"""Rows whose cells are kept."""

_FIXED_ROWS: Final = 8
"""Rows of the screen that show no account, at least."""

_TALL: Final = 16
"""From so many rows on, the selected account has room for longer sentences."""

_SOURCES: Final = {Source.LIVE: "LIVE", Source.LAST_KNOWN: "LAST", Source.NOTHING: UNKNOWN}

Cell = tuple[str, str]
"""Style and text."""


class Column(NamedTuple):
    """A column of the table.

    :ivar width: in columns of the screen; negative aligns to the right.
    :ivar cell: returns a cell of this width.
    """

    head: str
    width: int
    cell: Callable[[AccountRow, datetime, int], Cell]

    @property
    def is_lasting(self) -> bool:
        """Whether its cell stays the same for as long as the row does."""
        return self.cell not in (_standing, _source, _age)


def _standing(row: AccountRow, now: datetime, width: int) -> Cell:
    style = _STANDING_STYLES[row.standing]
    if not row.is_guarded:
        style = "alert"
    return (style, standing_words(row, now, width))


def _net(row: AccountRow, _now: datetime, width: int) -> Cell:
    return _amount(row.net_pnl, width)


def _open(row: AccountRow, _now: datetime, width: int) -> Cell:
    return _amount(row.open_pnl, width)


def _amount(amount: Decimal | None, width: int = 100) -> Cell:
    return (
        ("dim", UNKNOWN) if amount is None else (pnl_style(amount), _short(money(amount), width))
    )


def _short(figures: str, width: int) -> str:
    """Return dollars without their cents where these have no room.

    A number that is cut would be another number.
    """
    for text in (figures, figures.rpartition(".")[0] or figures):
        if len(text) <= width:
            return text
    return "too much"


def _contracts(row: AccountRow, _now: datetime, _width: int) -> Cell:
    return ("text", UNKNOWN if row.contracts is None else str(row.contracts))


def _bar(row: AccountRow, _now: datetime, width: int) -> Cell:
    share = row.share
    if row.nearest is None or share is None:
        return ("dim", "")
    return (LEVEL_STYLES[row.nearest.level], bar(share, width))


def _percent(row: AccountRow, _now: datetime, _width: int) -> Cell:
    share = row.share
    if row.nearest is None or share is None:
        return ("dim", UNKNOWN)
    return (LEVEL_STYLES[row.nearest.level], f"{whole_percent(share)} %")


def _limit(row: AccountRow, _now: datetime, _width: int) -> Cell:
    return ("text", row.nearest.name if row.nearest else UNKNOWN)


def _headroom(row: AccountRow, _now: datetime, width: int) -> Cell:
    return ("text", _short(_floor_figure(row), width))


def _floor_figure(row: AccountRow) -> str:
    if row.floor is None:
        return UNKNOWN if row.has_floor else _NO_FLOOR
    return figure(row.floor.headroom, row.floor.unit)


def _source(row: AccountRow, now: datetime, _width: int) -> Cell:
    return ("dim", _source_and_age(row, now))


def _age(row: AccountRow, now: datetime, _width: int) -> Cell:
    """Return the age alone: the header has the source."""
    words = _source_and_age(row, now)
    return ("dim", words if words == _NO_DATA else words.partition(" ")[2] or UNKNOWN)


def _source_and_age(row: AccountRow, now: datetime) -> str:
    if row.source is Source.LIVE and not row.is_current:
        # The age would be that of the daemon's error.
        return _NO_DATA
    if row.known_at is None:
        return _SOURCES[row.source]
    return f"{_SOURCES[row.source]} {age((now - row.known_at).total_seconds())}"


def _why(row: AccountRow, _now: datetime, _width: int) -> Cell:
    return ("text", row.why)


_NARROW_COLUMNS: Final = (
    Column("may trade", 18, _standing),
    Column("net today", -11, _net),
    Column("nearest", 7, _bar),
    Column("", -5, _percent),
)
_MIDDLE_COLUMNS: Final = (
    Column("may trade", 18, _standing),
    Column("net today", -11, _net),
    Column("open", -11, _open),
    Column("held", -4, _contracts),
    Column("nearest", 7, _bar),
    Column("", -5, _percent),
)
_WIDE_COLUMNS: Final = (
    Column("may trade", 18, _standing),
    Column("net today", -10, _net),
    Column("open", -10, _open),
    Column("held", -4, _contracts),
    Column("", 5, _bar),
    Column("used", -5, _percent),
    Column("nearest limit", 24, _limit),
    Column("above floor", -11, _headroom),
    Column("age", 7, _age),
)
_WIDER_COLUMNS: Final = (
    Column("may trade", 29, _standing),
    Column("net today", -11, _net),
    Column("open", -11, _open),
    Column("held", -4, _contracts),
    Column("", 13, _bar),
    Column("used", -5, _percent),
    Column("nearest limit", 24, _limit),
    Column("above floor", -11, _headroom),
    Column("source", 11, _source),
)
_WIDEST_COLUMNS: Final = (*_WIDER_COLUMNS, Column("why", 34, _why))
_TABLES: Final = (
    (180, _WIDEST_COLUMNS),
    (143, _WIDER_COLUMNS),
    (118, _WIDE_COLUMNS),
    (76, _MIDDLE_COLUMNS),
    (0, _NARROW_COLUMNS),
)
"""The columns after the name, by the width from which on there is room for them."""


def top(listed: AccountList, now: datetime, columns: int) -> list[StyledLine]:
    """Return the lines above the table; the last one flashes, or counts the accounts."""
    link = listed.link
    lines = [header(link, now, columns, WHOSE)]
    lines += [*source_lines(link, now, columns), *daemon_lines(link, columns)]
    if listed.rows and listed.problem and not link.file_problem:
        lines += wrap("warning", f"There may be more accounts: {listed.problem}", columns)
    if listed.flash is not None:
        return [*lines, *wrap(listed.flash.style, listed.flash.text, columns, 1)]
    return [*lines, fit(_counts(listed.rows), columns)]


def _counts(rows: Sequence[AccountRow]) -> StyledLine:
    """Return how many accounts are not guarded, locked, near a limit and so on."""
    # An account that is not guarded may be locked as well, and counts for both.
    found = Counter(row.standing for row in rows)
    found[Standing.NOT_GUARDED] = sum(not row.is_guarded for row in rows)
    is_live = all(row.source is Source.LIVE for row in rows)
    line: StyledLine = []
    for standing in (Standing.NOT_GUARDED, *_GRAVEST_FIRST):
        if number := found.pop(standing, 0):
            word = "unknown" if standing is Standing.UNKNOWN else standing.value
            style = _STANDING_STYLES[standing]
            if standing in MAY_HAVE_CHANGED and not is_live:
                style = "dim"
                if (style, _WERE) not in line:
                    line.append((style, _WERE))
            line += [(style, f" {number} {word} "), (None, " ")]
    return line


def found_rows(listed: AccountList, ui_state: UiState, now: datetime) -> tuple[AccountRow, ...]:
    """Return the rows that have the text of the search in them."""
    wanted = ui_state.search.casefold()
    return (
        tuple([row for row in listed.rows if wanted in _searched(row, now)])
        if wanted
        else listed.rows
    )


def _searched(row: AccountRow, now: datetime) -> str:
    limit = row.nearest.name if row.nearest else ""
    return f"{row.name} {row.account_id} {standing_words(row, now)} {limit} {row.why}".casefold()


def selected_row(rows: Sequence[AccountRow], ui_state: UiState) -> int:
    """Return the place of the selected account; the first if it has no row."""
    ids = [row.account_id for row in rows]
    return ids.index(ui_state.account) if ui_state.account in ids else 0


def accounts_body(
    listed: AccountList, ui_state: UiState, now: datetime, columns: int, rows: int
) -> Body:
    """Return the table and the selected account, at most ``rows`` lines."""
    found = found_rows(listed, ui_state, now)
    heading = [_title(listed, ui_state, columns), *search_line(ui_state, len(found))]
    if not listed.rows:
        return Body([*heading, unknown_line(listed.problem)][:rows], 1, 1)
    table = _table_for(columns - MARK_WIDTH)
    heading.append([(None, " " * MARK_WIDTH), *_heads(table, columns - MARK_WIDTH)])
    selected = selected_row(found, ui_state)
    detail = _detail(found[selected], now, columns, is_tall=rows >= _TALL) if found else []
    height = max(1, rows - len(heading) - len(detail))
    shown = visible(selected, len(found), height)
    lines = [
        [
            row_mark(number, selected, len(found), shown),
            *_row(found[number], table, now, columns - MARK_WIDTH, listed.flashing),
        ]
        for number in shown
    ]
    # The detail stays at the bottom of the page, so that it does not jump from row to row.
    padding = [StyledLine() for _ in range(height - len(shown))]
    return Body([*heading, *lines, *padding, *detail][:rows], len(found), height)


def in_sight(listed: AccountList, ui_state: UiState, now: datetime, rows: int) -> list[int]:
    """Return the accounts whose rows are in sight, or nearly so.

    :param rows: of the screen.
    """
    found = found_rows(listed, ui_state, now)
    height = max(1, rows - _FIXED_ROWS)
    shown = visible(selected_row(found, ui_state), len(found), height)
    return [found[number].account_id for number in shown]


def selected_account_text(listed: AccountList, ui_state: UiState, now: datetime) -> str:
    """Return the selected account in words; empty if there is none."""
    found = found_rows(listed, ui_state, now)
    if not found:
        return ""
    row = found[selected_row(found, ui_state)]
    why = f": {row.why}" if row.why else ""
    return f"{_label(row)}: {standing_words(row, now)}{why}; {'; '.join(_figures(row, now))}"


def _title(listed: AccountList, ui_state: UiState, columns: int) -> StyledLine:
    count = counted(len(listed.rows), "account") if listed.rows else "Accounts"
    text = f"{count}, {ORDERS[ui_state.order].words}"
    return panel_title(text, columns, "o changes the order")


def _name_width(table: Sequence[Column], columns: int) -> int:
    return columns - sum([abs(column.width) + 1 for column in table]) - 1


# The cells of a row are kept by the very table.
@lru_cache(maxsize=_CACHED)
def _table_for(columns: int) -> Sequence[Column]:
    """Return the columns after the name; a reason gets the room that is left."""
    table = next(table for least, table in _TABLES if columns >= least)
    extra = _name_width(table, columns) - _LONGEST_NAME
    if table is not _WIDEST_COLUMNS or extra <= 0:
        return table
    return (*table[:-1], table[-1]._replace(width=table[-1].width + extra))


def _heads(table: Sequence[Column], columns: int) -> StyledLine:
    heads = [("dim", column.head, column.width) for column in table]
    return table_row([("dim", "account", _name_width(table, columns)), *heads])


def _row(
    row: AccountRow,
    table: Sequence[Column],
    now: datetime,
    width: int,
    flashing: Collection[int],
) -> StyledLine:
    passing = tuple(
        [column.cell(row, now, abs(column.width)) for column in _passing_columns(Same(table))]
    )
    return _known_row(Same(row), Same(table), passing, width, row.account_id in flashing)


@lru_cache(maxsize=_CACHED)
def _passing_columns(table: Same[Sequence[Column]]) -> tuple[Column, ...]:
    """Return the columns whose cells depend on the time."""
    return tuple([column for column in table.value if not column.is_lasting])


# Of the rows in sight, most are as in the draw before.
@lru_cache(maxsize=_CACHED)
def _known_row(
    known: Same[AccountRow],
    table: Same[Sequence[Column]],
    passing: tuple[Cell, ...],
    width: int,
    is_flashing: bool,
) -> StyledLine:
    """Return the row of an account.

    :param passing: the cells that depend on the time.
    """
    row, others = known.value, iter(passing)
    cells = [("strong", row.label, _name_width(table.value, width))]
    for column in table.value:
        style, text = (
            column.cell(row, _NO_TIME, abs(column.width)) if column.is_lasting else next(others)
        )
        cells.append((style, text, column.width))
    if is_flashing:
        # An account that was just locked stands out as a whole.
        cells = [("alert", text, size) for _, text, size in cells]
    elif not row.is_current:
        cells = [(style if style == "alert" else "dim", text, size) for style, text, size in cells]
    return fit(table_row(cells), width)


def _detail(row: AccountRow, now: datetime, columns: int, *, is_tall: bool) -> list[StyledLine]:
    """Return the selected account in words: what it may do and why, then its figures."""
    label = _label(row)
    most = 2 if is_tall else 1
    title = panel_title(fit([(None, label)], columns - 24)[0][1], columns, "Enter opens it")
    state, why = standing_words(row, now), f": {row.why}" if row.why else ""
    if row.standing is Standing.UNKNOWN:
        state, why = f"{UNKNOWN} {row.why}", ""
    return [
        title,
        *wrap(_standing(row, now, columns)[0], f"{state}{why}", columns, most),
        *_fitting(_figures(row, now), columns, most),
    ]


def _fitting(clauses: Sequence[str], columns: int, most: int) -> list[StyledLine]:
    """Return as many whole clauses as so many lines have room for."""
    lines = wrap("text", clauses[0], columns, most)
    for end in range(2, len(clauses) + 1):
        more = wrap("text", "; ".join(clauses[:end]), columns, most + 1)
        if len(more) > most:
            break
        lines = more
    return lines


def _label(row: AccountRow) -> str:
    number = f"account {row.account_id}"
    return f"{row.name} ({number})" if row.name else number.capitalize()


def _figures(row: AccountRow, now: datetime) -> list[str]:
    """Return the figures in words, the most important first."""
    return [
        _usage(row.nearest),
        f"{UNKNOWN} contracts" if row.contracts is None else counted(row.contracts, "contract"),
        f"net {_amount(row.net_pnl)[1]}, open {_amount(row.open_pnl)[1]}",
        _floor(row),
        _source_words(row, now),
    ]


def _source_words(row: AccountRow, now: datetime) -> str:
    words = _source_and_age(row, now)
    if words == _NO_DATA:
        return "no data of the broker yet"
    return words if row.known_at is None else f"{words} ago ({clock(row.known_at)})"


def _usage(usage: LimitUsage | None) -> str:
    return f"nearest limit {UNKNOWN}" if usage is None else f"{usage.name} {usage_words(usage)}"


def _floor(row: AccountRow) -> str:
    figure_ = _floor_figure(row)
    return figure_ if figure_ == _NO_FLOOR else f"{figure_} above the floor"
