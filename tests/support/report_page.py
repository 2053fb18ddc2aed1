"""A report as its reader sees it: the tables and figures of a page."""

from __future__ import annotations

from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

from riskd.report.journaled import read_journaled, trading_days
from riskd.report.page import write_page

_VOID = frozenset({"meta", "br", "rect", "line", "circle", "path"})


class Page(HTMLParser):
    """The text of a page.

    :ivar tables: the cells of each table with an id, its head and foot included, row by row.
    :ivar figures: the figures at the top, by their names; of several with one name the first.
    :ivar tags: each start tag and its attributes, in order.
    :ivar text: all of it, in one line.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tables: dict[str, list[list[str]]] = {}
        self.figures: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._parts: list[str] = []
        self._table: list[list[str]] | None = None
        self._name = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.text = " ".join("".join(self._parts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._parts.append(" ")
        self.tags.append((tag, attributes))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(attributes.get("id") or "", [])
        elif tag == "tr" and self._table is not None:
            self._table.append([])
        elif tag in ("td", "th") and self._table is not None:
            self._table[-1].append("")
        elif tag == "dt":
            self._name = ""

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag, f"</{tag}> closes nothing"
        self._parts.append(" ")
        if tag == "table":
            self._table = None

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self._parts.append(data)
        if self._table is not None and ("td" in self._open or "th" in self._open):
            self._table[-1][-1] += data
        elif "dt" in self._open:
            self._name += data
        elif "dd" in self._open and "small" not in self._open:
            self.figures.setdefault(self._name, data)

    def rows(self, table: str) -> list[dict[str, str]]:
        """Return the rows of a table by the words of its head, without its foot."""
        head, *rows = self.tables.get(table, [[]])
        return [
            dict(zip(head, map(str.strip, row), strict=True))
            for row in rows
            if len(row) == len(head)
        ]


def report_of(directory: Path, account_id: int, day: int = -1) -> Page:
    """Return the report of one day that a journal knows; by default the last."""
    journaled = read_journaled(directory, account_id)
    known = trading_days(journaled)
    return Page(write_page(journaled, known, [known[day]]))


def amount(text: str) -> Decimal:
    """Return the amount that a page shows as ``-$1,234.50``."""
    return Decimal(text.replace("$", "").replace(",", ""))
