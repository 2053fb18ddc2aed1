"""The charts of a report, as SVG without scripts, fonts or style sheets.

The same data give the same bytes.  Everything can be told apart without colors: lines by their dashes and their names,
losses by being below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import leather

from riskd.journal.history import EquityLine
from riskd.model.formatting import dollars
from riskd.report.canvas import (
    FONT,
    INK,
    Band,
    Canvas,
    Drawn,
    Exact,
    Mark,
    Span,
    round_ticks,
    short,
    svg_of,
)
from riskd.report.levels import Level, Point

WIDTH: Final = 1000
"""Of the curve, in its own units; a page scales it."""

_COLUMNS_WIDTH: Final = 480

_CURVE: Final = "#0b4f8a"
_BELOW: Final = "#a3341f"
_BAND: Final = "#e9e4dc"
_OTHER_DASHES: Final = ("8 4", "2 3", "8 3 2 3")

_LONGEST_GAP: Final = timedelta(minutes=10)
"""Between two figures of the equity; in a longer one it is not known, and the line is dotted."""

_MOST_POINTS: Final = 1500
"""About how many points a curve has."""

_MOST_FAR: Final = 3
"""How many heights of the curve a level may be away from it, and still be on the chart."""

_LEAST_HEIGHT: Final = Decimal(100)
"""In dollars: the curve of a quiet day must not look wild."""


def equity_chart(
    minutes: Sequence[EquityLine],
    span: Span,
    levels: Sequence[Level],
    *,
    marks: Sequence[Mark] = (),
    bands: Sequence[Band] = (),
) -> tuple[str, list[str]]:
    """Return the curve of the equity, and what is too far away from it to be shown.

    :param minutes: at least one.
    """
    parts = _thinned(_without_gaps([(each.at, each.equity) for each in minutes]))
    points = [point for part in parts for point in part]
    low, high = _range([amount for _, amount in points])
    room = max(high - low, _LEAST_HEIGHT) * _MOST_FAR
    # The nearest one is always drawn, and what is about as near.
    room = max(room, min((_distance(each, low, high) for each in levels), default=room) * 2)
    shown, far = [], []
    for level in levels:
        if _distance(level, low, high) <= room:
            shown.append(level)
        else:
            far.append(f"{level.name} at {dollars(level.points[-1][1])}")
    for level in shown:
        inside = [amount for _at, amount in level.points]
        low, high = min(low, *inside), max(high, *inside)
    edge = max((high - low) * Decimal("0.06"), Decimal(10))
    bottom, top = low - edge, high + edge * 3
    chart = _chart(
        [lambda canvas: _draw_bands(canvas, span, bands)],
        [
            *[
                lambda canvas, number=number, level=level: _draw_level(canvas, span, level, number)
                for number, level in enumerate(shown)
            ],
            lambda canvas: _draw_curve(canvas, span, parts),
            lambda canvas: _draw_marks(canvas, span, marks),
        ],
    )
    chart.set_x_scale(Exact(Decimal(0), max(span.place(span.ended), Decimal(1))))
    chart.set_y_scale(Exact(bottom, top))
    chart.add_x_axis(
        [span.place(each) for each in span.labeled],
        lambda value, _index, _count: span.label(value),
    )
    chart.add_y_axis(round_ticks(bottom, top), lambda value, _index, _count: short(Decimal(value)))
    return svg_of(
        chart, WIDTH, 400, "Equity of the day with floor, limits and what riskd did"
    ), far


def _distance(level: Level, low: Decimal, high: Decimal) -> Decimal:
    """Return how far a level is from a curve at most."""
    amounts = [amount for _at, amount in level.points]
    return max(low - min(amounts), max(amounts) - high, Decimal(0))


def _chart(below: Sequence[Any], above: Sequence[Any]) -> Any:
    """Return a chart on which functions draw, in this order."""
    chart = leather.Chart()
    for draw in (*below, *above):
        # leather asks the data for their types and their range.
        chart.add_series(leather.Series([(0, 0), (1, 1)]), Drawn(draw))
    return chart


def _range(amounts: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    low, high = min(amounts), max(amounts)
    missing = max(_LEAST_HEIGHT - (high - low), Decimal(0)) / 2
    return low - missing, high + missing


def _without_gaps(points: Sequence[Point]) -> list[list[Point]]:
    """Return the parts of a curve in which it is known."""
    parts: list[list[Point]] = []
    for point in points:
        if not parts or point[0] - parts[-1][-1][0] > _LONGEST_GAP:
            parts.append([])
        parts[-1].append(point)
    return parts


def _thinned(parts: Sequence[Sequence[Point]]) -> list[list[Point]]:
    """Return parts of a curve with fewer points: the extremes of each few."""
    length = 4 * -(-sum(map(len, parts)) // _MOST_POINTS)
    if length == len(("first", "lowest", "highest", "last")):
        return [list(part) for part in parts]
    return [
        [point for at in range(0, len(part), length) for point in _outline(part[at : at + length])]
        for part in parts
    ]


def _outline(points: Sequence[Point]) -> list[Point]:
    ends = (points[0], min(points, key=_amount), max(points, key=_amount), points[-1])
    return sorted(set(ends))


def _amount(point: Point) -> Decimal:
    return point[1]


def _draw_curve(canvas: Canvas, span: Span, parts: Sequence[Sequence[Point]]) -> None:
    before: tuple[float, float] | None = None
    for part in parts:
        places = [(canvas.x(span.place(at)), canvas.y(amount)) for at, amount in part]
        if before is not None:
            dotted = [before, places[0]]
            canvas.path(dotted, stroke=_CURVE, stroke_width=1, stroke_dasharray="1 4")
        canvas.path(places, stroke=_CURVE, stroke_width=2, stroke_linejoin="round")
        if len(places) == 1:
            canvas.add("circle", cx=places[0][0], cy=places[0][1], r=2, fill=_CURVE)
        before = places[-1]
    if before is not None:
        canvas.add("circle", cx=before[0], cy=before[1], r=3.5, fill=_CURVE)


def _draw_level(canvas: Canvas, span: Span, level: Level, number: int) -> None:
    steps: list[tuple[float, float]] = []
    for at, amount in level.points:
        x, y = canvas.x(span.place(at)), canvas.y(amount)
        if steps:
            steps.append((x, steps[-1][1]))
        steps.append((x, y))
    steps.append((canvas.width, steps[-1][1]))
    is_floor = level.name == "floor"
    dashes = "none" if is_floor else _OTHER_DASHES[number % len(_OTHER_DASHES)]
    canvas.path(steps, stroke=INK, stroke_width=2.5 if is_floor else 1.5, stroke_dasharray=dashes)
    # Beside each other: two limits may be near each other.
    place = 6 + number * 230
    name, first, last = level.name, level.points[0][1], level.points[-1][1]
    canvas.text(place, _height_at(steps, place) - 6, f"{name} {dollars(first)}")
    if last != first:
        end = canvas.width - 6
        canvas.text(end, steps[-1][1] - 6, f"{name} {dollars(last)}", text_anchor="end")


def _height_at(steps: Sequence[tuple[float, float]], x: float) -> float:
    """Return where a line of steps is at a place."""
    return next((y for at, y in reversed(steps) if at <= x), steps[0][1])


def _draw_bands(canvas: Canvas, span: Span, bands: Sequence[Band]) -> None:
    for band in bands:
        left, right = (canvas.x(span.place(each)) for each in (band.began, band.ended))
        width = max(right - left, 1.0)
        canvas.add("rect", x=left, y=0, width=width, height=canvas.height, fill=_BAND)
        if width > 9 * len(band.label):
            canvas.text(left + 5, canvas.height - 6, band.label, font_size=12)


def _draw_marks(canvas: Canvas, span: Span, marks: Sequence[Mark]) -> None:
    ends: list[float] = [-1.0] * 3
    for mark in marks:
        x = canvas.x(span.place(mark.at))
        # The first of three rows in which it has room, else beside the others of the one with most.
        row = next(
            (number for number, end in enumerate(ends) if x - 10 > end), ends.index(min(ends))
        )
        place = max(x, ends[row] + 11)
        ends[row] = place + 10
        y = 10 + row * 22
        canvas.add("line", x1=x, x2=x, y1=y, y2=canvas.height, stroke=INK, stroke_width=1)
        canvas.add("line", x1=x, x2=place, y1=y, y2=y, stroke=INK, stroke_width=1)
        canvas.add("circle", cx=place, cy=y, r=10, fill="white", stroke=INK, stroke_width=1.5)
        canvas.add(
            "text",
            mark.label,
            x=place,
            y=y + 4.5,
            text_anchor="middle",
            font_size=12,
            font_family=FONT,
            fill=INK,
        )


def columns_chart(amounts: Sequence[tuple[str, Decimal]], title: str) -> str:
    """Return amounts as columns above and below zero, each with its figure.

    :param amounts: at least one, each with a name of its own.
    """
    names = [name for name, _amount in amounts]
    values = [amount for _name, amount in amounts]
    low, high = min(*values, Decimal(0)), max(*values, Decimal(0))
    edge = max((high - low) * Decimal("0.15"), Decimal(1))
    bottom, top = (
        low - edge * (low < 0),
        high + edge * (1 if high > 0 or not low else Decimal("0.3")),
    )
    chart = leather.Chart()
    chart.add_series(
        leather.Series([(name, float(amount)) for name, amount in amounts]),
        Drawn(lambda canvas: _draw_columns(canvas, amounts)),
    )
    chart.set_x_scale(leather.Ordinal(names))
    chart.set_y_scale(Exact(bottom, top))
    chart.add_x_axis()
    chart.add_y_axis(round_ticks(bottom, top), lambda value, _index, _count: short(Decimal(value)))
    return svg_of(chart, _COLUMNS_WIDTH, 250, title)


def _draw_columns(canvas: Canvas, amounts: Sequence[tuple[str, Decimal]]) -> None:
    zero = canvas.y(Decimal(0))
    width = min(canvas.width / len(amounts) * 0.62, 90.0)
    for name, amount in amounts:
        middle, end = canvas.column(name), canvas.y(amount)
        is_loss = amount < 0
        canvas.add(
            "rect",
            x=middle - width / 2,
            y=min(zero, end),
            width=width,
            height=abs(end - zero),
            fill="white" if is_loss else _CURVE,
            stroke=_BELOW if is_loss else _CURVE,
            stroke_width=2,
        )
        y = end + 16 if is_loss else end - 6
        canvas.text(middle, y, short(amount), text_anchor="middle", font_size=12)
    canvas.add("line", x1=0, x2=canvas.width, y1=zero, y2=zero, stroke=INK, stroke_width=1)
