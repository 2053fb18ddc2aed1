"""The charts of a report, as SVG without scripts, fonts or style sheets.

leather projects data onto a picture and draws axes, lines and columns; what it has not, such as a mark at a moment, is a
shape of ours.  The same data give the same bytes.  Everything can be told apart without colors: lines by their dashes
and their names, losses by being below zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from xml.etree import ElementTree as ET

import leather
import msgspec
from leather import theme
from leather.shapes import Shape

from riskd.journal.history import EquityLine
from riskd.model.formatting import dollars
from riskd.report.levels import Level, Point

WIDTH: Final = 1000
"""Of the curve, in its own units; a page scales it."""

_COLUMNS_WIDTH: Final = 480

_INK: Final = "#1a1a1a"
_GRID: Final = "#dddddd"
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

_STEPS: Final = (1, 2, 3, 6)
"""How many hours may be between two labels of the time, if not days."""

_DAY_HOURS: Final = 24
_LABELS: Final = timedelta(hours=13)
"""With an hour between two labels, as long may a chart be; with more hours, longer."""

_DAYS: Final = 6 * _LABELS
"""A longer chart has dates in place of times."""

_NUMBER: Final = re.compile(r"-?\d+\.\d{2,}")


class Mark(msgspec.Struct, frozen=True):
    """Something that happened, on a chart."""

    at: datetime
    label: str


class Band(msgspec.Struct, frozen=True):
    """A time in which something was so, on a chart."""

    began: datetime
    ended: datetime
    label: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """The time that a chart shows.

    :ivar local: returns a moment in the time zone of its clock.
    """

    began: datetime
    ended: datetime
    local: Callable[[datetime], datetime]

    def place(self, moment: datetime) -> Decimal:
        """Return the minutes from the beginning to a moment."""
        inside = min(max(moment, self.began), self.ended)
        return Decimal(int((inside - self.began).total_seconds())) / 60

    @property
    def hours(self) -> list[datetime]:
        """The full hours of the clock that have a label."""
        length = self.ended - self.began
        step = next((hours for hours in _STEPS if length <= hours * _LABELS), _DAY_HOURS)
        days = -(-length // (_LABELS * _DAY_HOURS))
        first = self.began.replace(minute=0, second=0, microsecond=0)
        found = [
            first + timedelta(hours=number)
            for number in range(int(length / timedelta(hours=1)) + 2)
        ]
        return [
            each
            for each in found
            if self.began <= each <= self.ended
            and self.local(each).hour % step == 0
            and (step < _DAY_HOURS or self.local(each).toordinal() % days == 0)
        ]

    def label(self, minutes: Any) -> str:
        """Return the text at a label, by the minutes from the beginning."""
        local = self.local(self.began + timedelta(minutes=float(minutes)))
        return f"{local:%b} {local.day}" if self.ended - self.began > _DAYS else f"{local:%H:%M}"


class _Exact(leather.Linear):  # type: ignore[misc]  # leather has no types
    """A scale that ends where its data end, not at the next round figure."""

    def __init__(self, least: Decimal, most: Decimal) -> None:
        super().__init__(least, most)
        self._least, self._length = least, most - least

    def contains(self, _value: Any) -> bool:
        """Return true: what is outside is drawn at the edge."""
        return True

    def project(self, value: Any, range_min: Any, range_max: Any) -> Decimal:
        """Return the place of a value between two ends."""
        share = (Decimal(value) - self._least) / self._length
        return Decimal(range_min) + (Decimal(range_max) - Decimal(range_min)) * share


class _Drawn(Shape):  # type: ignore[misc]  # leather has no types
    """A shape that a function draws on a chart."""

    def __init__(self, draw: Callable[[_Canvas], None]) -> None:
        self._draw = draw

    def validate_series(self, series: Any) -> None:
        """Accept any data."""

    def to_svg(
        self, width: Any, height: Any, x_scale: Any, y_scale: Any, _series: Any, _palette: Any
    ) -> ET.Element:
        """Return what the function has drawn."""
        canvas = _Canvas(float(width), float(height), x_scale, y_scale)
        self._draw(canvas)
        return canvas.group

    def legend_to_svg(self, _series: Any, _palette: Any) -> list[Any]:
        """Return nothing: what is drawn has its name beside it."""
        return []


class _Canvas:
    """Where a chart is drawn, in the picture's own units."""

    def __init__(self, width: float, height: float, x_scale: Any, y_scale: Any) -> None:
        self.width, self.height = width, height
        self._x, self._y = x_scale, y_scale
        self.group = ET.Element("g")

    def x(self, value: Any) -> float:
        return float(self._x.project(value, 0, self.width))

    def y(self, value: Any) -> float:
        return float(self._y.project(value, self.height, 0))

    def column(self, value: str) -> float:
        """Return the middle of a column."""
        left, right = self._x.project_interval(value, 0, self.width)
        return float(left + right) / 2

    def add(self, tag: str, text: str = "", /, **attributes: object) -> None:
        names = {name.replace("_", "-"): str(value) for name, value in attributes.items()}
        element = ET.SubElement(self.group, tag, names)
        element.text = text or None

    def text(self, x: float, y: float, text: str, **more: object) -> None:
        # A white edge keeps it legible on lines.
        edge: dict[str, object] = {"paint_order": "stroke", "stroke": "white", "stroke_width": 3}
        look = {"font_family": _FONT, "font_size": 13, "fill": _INK, **edge, **more}
        self.add("text", text, x=x, y=y, **look)

    def path(self, points: Sequence[tuple[float, float]], **more: object) -> None:
        if points:
            steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            self.add("path", d=f"M{steps}", fill="none", **more)


_FONT: Final = "Helvetica, Arial, sans-serif"


def _set_theme() -> None:
    """Set the looks of all of leather's charts, which are its own global names."""
    theme.background_color = "none"
    theme.margin = 0.012
    theme.tick_font_family = _FONT
    theme.tick_font_size = 13
    theme.tick_font_char_height = 13
    theme.tick_color = _GRID
    theme.zero_color = "#888888"
    theme.label_color = _INK


def _svg(chart: Any, width: int, height: int, title: str) -> str:
    """Return a chart as an SVG element for a page.

    :param title: what it shows, for who cannot see it.
    """
    _set_theme()
    root = ET.Element(
        "svg",
        {
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "aria-label": title,
            "xmlns": "http://www.w3.org/2000/svg",
        },
    )
    root.append(chart.to_svg_group(width, height))
    for element in root.iter():
        for name, value in element.attrib.items():
            # leather computes with 28 digits.
            if name != "aria-label":
                element.set(name, _NUMBER.sub(lambda found: f"{float(found[0]):.1f}", value))
    return ET.tostring(root, "unicode")


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
    chart.set_x_scale(_Exact(Decimal(0), max(span.place(span.ended), Decimal(1))))
    chart.set_y_scale(_Exact(bottom, top))
    chart.add_x_axis(
        [span.place(each) for each in span.hours],
        lambda value, _index, _count: (
            f"{span.local(span.began + timedelta(minutes=float(value))):%H:%M}"
        ),
    )
    chart.add_y_axis(
        _round_ticks(bottom, top), lambda value, _index, _count: _short(Decimal(value))
    )
    return _svg(chart, WIDTH, 400, "Equity of the day with floor, limits and what riskd did"), far


def _distance(level: Level, low: Decimal, high: Decimal) -> Decimal:
    """Return how far a level is from a curve at most."""
    amounts = [amount for _at, amount in level.points]
    return max(low - min(amounts), max(amounts) - high, Decimal(0))


def _chart(below: Sequence[Any], above: Sequence[Any]) -> Any:
    """Return a chart on which functions draw, in this order."""
    chart = leather.Chart()
    for draw in (*below, *above):
        # leather asks the data for their types and their range.
        chart.add_series(leather.Series([(0, 0), (1, 1)]), _Drawn(draw))
    return chart


def _range(amounts: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    low, high = min(amounts), max(amounts)
    missing = max(_LEAST_HEIGHT - (high - low), Decimal(0)) / 2
    return low - missing, high + missing


def _round_ticks(bottom: Decimal, top: Decimal) -> list[Decimal]:
    """Return about six round amounts between two."""
    rough = (top - bottom) / 6
    power = Decimal(10) ** rough.adjusted()
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    first = (bottom / step).to_integral_value(rounding="ROUND_CEILING") * step
    return [first + step * number for number in range(int((top - first) / step) + 1)]


def _short(amount: Decimal) -> str:
    """Return an amount without cents, if it has none."""
    return dollars(amount).removesuffix(".00")


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


def _draw_curve(canvas: _Canvas, span: Span, parts: Sequence[Sequence[Point]]) -> None:
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


def _draw_level(canvas: _Canvas, span: Span, level: Level, number: int) -> None:
    steps: list[tuple[float, float]] = []
    for at, amount in level.points:
        x, y = canvas.x(span.place(at)), canvas.y(amount)
        if steps:
            steps.append((x, steps[-1][1]))
        steps.append((x, y))
    steps.append((canvas.width, steps[-1][1]))
    is_floor = level.name == "floor"
    dashes = "none" if is_floor else _OTHER_DASHES[number % len(_OTHER_DASHES)]
    canvas.path(steps, stroke=_INK, stroke_width=2.5 if is_floor else 1.5, stroke_dasharray=dashes)
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


def _draw_bands(canvas: _Canvas, span: Span, bands: Sequence[Band]) -> None:
    for band in bands:
        left, right = (canvas.x(span.place(each)) for each in (band.began, band.ended))
        width = max(right - left, 1.0)
        canvas.add("rect", x=left, y=0, width=width, height=canvas.height, fill=_BAND)
        if width > 9 * len(band.label):
            canvas.text(left + 5, canvas.height - 6, band.label, font_size=12)


def _draw_marks(canvas: _Canvas, span: Span, marks: Sequence[Mark]) -> None:
    ends: list[float] = [-1.0] * 3
    for mark in marks:
        x = canvas.x(span.place(mark.at))
        # The first of three rows in which it has room.
        row = next((number for number, end in enumerate(ends) if x - 10 > end), len(ends) - 1)
        ends[row] = x + 10
        y = 10 + row * 22
        canvas.add("line", x1=x, x2=x, y1=y, y2=canvas.height, stroke=_INK, stroke_width=1)
        canvas.add("circle", cx=x, cy=y, r=10, fill="white", stroke=_INK, stroke_width=1.5)
        canvas.add(
            "text",
            mark.label,
            x=x,
            y=y + 4.5,
            text_anchor="middle",
            font_size=12,
            font_family=_FONT,
            fill=_INK,
        )


def columns_chart(amounts: Sequence[tuple[str, Decimal]], title: str) -> str:
    """Return amounts as columns above and below zero, each with its figure.

    :param amounts: at least one, each with a name of its own.
    """
    names = [name for name, _amount in amounts]
    values = [amount for _name, amount in amounts]
    low, high = min(*values, Decimal(0)), max(*values, Decimal(0))
    edge = max((high - low) * Decimal("0.15"), Decimal(1))
    bottom, top = low - edge * (low < 0), high + edge * (high > 0 or not low)
    chart = leather.Chart()
    chart.add_series(
        leather.Series([(name, float(amount)) for name, amount in amounts]),
        _Drawn(lambda canvas: _draw_columns(canvas, amounts)),
    )
    chart.set_x_scale(leather.Ordinal(names))
    chart.set_y_scale(_Exact(bottom, top))
    chart.add_x_axis()
    chart.add_y_axis(
        _round_ticks(bottom, top), lambda value, _index, _count: _short(Decimal(value))
    )
    return _svg(chart, _COLUMNS_WIDTH, 250, title)


def _draw_columns(canvas: _Canvas, amounts: Sequence[tuple[str, Decimal]]) -> None:
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
        canvas.text(middle, y, _short(amount), text_anchor="middle", font_size=12)
    canvas.add("line", x1=0, x2=canvas.width, y1=zero, y2=zero, stroke=_INK, stroke_width=1)
