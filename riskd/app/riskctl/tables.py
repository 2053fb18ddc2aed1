"""Times, figures and tables, as ``riskctl`` writes them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from riskd.model.formatting import dollars
from riskd.model.safe_text import printable

UNKNOWN: Final = "-"


def when(moment: datetime, now: datetime) -> str:
    """Return the local time of ``moment``, with its date unless it is today."""
    local = moment.astimezone()
    today = local.date() == now.astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def local(moment: datetime) -> str:
    """Return a local time with its date."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Container[int] = (),
    empty: str = "",
) -> list[str]:
    """Return rows under a header, each column as wide as its longest cell.

    :param right: the columns that are flush right, as numbers are.
    :param empty: the line in place of a table without rows, if there is one.
    """
    if empty and not rows:
        return [empty]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return printable("  ".join(padded).rstrip())

    return [line(row) for row in (header, *rows)]


def figure(value: Decimal | None, unit: str) -> str:
    """Return a figure in its unit; ``-`` for one that is unknown."""
    if value is None:
        return UNKNOWN
    if unit == "$":
        return dollars(value)
    # A unit is in the plural, if it has one.
    return f"{value:f} {unit.removesuffix('s') if value == 1 and len(unit) > 1 else unit}".strip()
