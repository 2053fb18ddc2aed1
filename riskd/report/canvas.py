"""What charts are drawn on: leather's pictures, with shapes that functions draw.

leather projects data onto a picture and draws axes; what it has not, such as a mark at a moment, is drawn here.
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

from riskd.model.formatting import dollars

INK: Final = "#1a1a1a"
_GRID: Final = "#dddddd"

_STEPS: Final = (10, 30, 60, 120, 180, 360)
"""How many minutes may be between two labels of the time, if not days."""

_HOUR: Final = 60
_DAY: Final = 24 * _HOUR
"""Minutes."""

_MOST_LABELS: Final = 13
"""With less than a day between two of them."""

_DAYS: Final = timedelta(minutes=_STEPS[-1]) * _MOST_LABELS
"""A longer chart has dates in place of times."""

_NUMBER: Final = re.compile(r"-?\d+\.\d{2,}")


class Mark(msgspec.Struct, frozen=True):
    """Something that happened, on a chart."""

    at: datetime
    label: str


class Band(msgspec.Struct, frozen=True):
    """A time in which something lasted, such as a lock, on a chart."""

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
    def labeled(self) -> list[datetime]:
        """The full hours of the clock, or parts of them, that have a label."""
        length = self.ended - self.began
        step = next(
            (each for each in _STEPS if length <= _MOST_LABELS * timedelta(minutes=each)), _DAY
        )
        days = -(-length // (_MOST_LABELS * timedelta(days=1)))
        first = self.began.replace(minute=0, second=0, microsecond=0)
        apart = timedelta(minutes=min(step, _HOUR))
        found = [first + apart * number for number in range(length // apart + _HOUR)]
        labels = [
            each
            for each in found
            if self.began <= each <= self.ended
            and self._minutes_of_day(each) % step == 0
            and (step < _DAY or self.local(each).toordinal() % days == 0)
        ]
        # leather makes its own where it is given none.
        return labels or [self.began]

    def _minutes_of_day(self, moment: datetime) -> int:
        local = self.local(moment)
        return local.hour * _HOUR + local.minute

    def label(self, minutes: Any) -> str:
        """Return the text at a label, by the minutes from the beginning."""
        local = self.local(self.began + timedelta(minutes=float(minutes)))
        return f"{local:%b} {local.day}" if self.ended - self.began > _DAYS else f"{local:%H:%M}"


class Exact(leather.Linear):  # type: ignore[misc]  # leather has no types
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


class Drawn(Shape):  # type: ignore[misc]  # leather has no types
    """A shape that a function draws on a chart."""

    def __init__(self, draw: Callable[[Canvas], None]) -> None:
        self._draw = draw

    def validate_series(self, series: Any) -> None:
        """Accept any data."""

    def to_svg(
        self, width: Any, height: Any, x_scale: Any, y_scale: Any, _series: Any, _palette: Any
    ) -> ET.Element:
        """Return what the function has drawn."""
        canvas = Canvas(float(width), float(height), x_scale, y_scale)
        self._draw(canvas)
        return canvas.group

    def legend_to_svg(self, _series: Any, _palette: Any) -> list[Any]:
        """Return nothing: what is drawn has its name beside it."""
        return []


class Canvas:
    """Where a chart is drawn, in the picture's own units."""

    def __init__(self, width: float, height: float, x_scale: Any, y_scale: Any) -> None:
        self.width, self.height = width, height
        self._x, self._y = x_scale, y_scale
        self.group = ET.Element("g")

    def x(self, value: Any) -> float:
        """Return where a value is, from the left."""
        return float(self._x.project(value, 0, self.width))

    def y(self, value: Any) -> float:
        """Return where a value is, from the top."""
        return float(self._y.project(value, self.height, 0))

    def column(self, value: str) -> float:
        """Return the middle of a column."""
        left, right = self._x.project_interval(value, 0, self.width)
        return float(left + right) / 2

    def add(self, tag: str, text: str = "", /, **attributes: object) -> None:
        """Add an element; its attributes have ``_`` for ``-``."""
        names = {name.replace("_", "-"): str(value) for name, value in attributes.items()}
        element = ET.SubElement(self.group, tag, names)
        element.text = text or None

    def text(self, x: float, y: float, text: str, **more: object) -> None:
        """Add a text."""
        # A white edge keeps it legible on lines.
        edge: dict[str, object] = {"paint_order": "stroke", "stroke": "white", "stroke_width": 3}
        look = {"font_family": FONT, "font_size": 13, "fill": INK, **edge, **more}
        self.add("text", text, x=x, y=y, **look)

    def path(self, points: Sequence[tuple[float, float]], **more: object) -> None:
        """Add a line through points."""
        if points:
            steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            self.add("path", d=f"M{steps}", fill="none", **more)


FONT: Final = "Helvetica, Arial, sans-serif"


def _set_theme() -> None:
    """Set the looks of all of leather's charts, which are its own global names."""
    theme.background_color = "none"
    theme.margin = 0.012
    theme.tick_font_family = FONT
    theme.tick_font_size = 13
    theme.tick_font_char_height = 13
    theme.tick_color = _GRID
    theme.zero_color = "#888888"
    theme.label_color = INK


def svg_of(chart: Any, width: int, height: int, title: str) -> str:
    """Return a chart as an SVG element for a page.

    :param title: what it shows, for a reader who cannot see it.
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


def round_ticks(bottom: Decimal, top: Decimal) -> list[Decimal]:
    """Return about six round amounts between two."""
    rough = (top - bottom) / 6
    power = Decimal(10) ** rough.adjusted()
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    first = (bottom / step).to_integral_value(rounding="ROUND_CEILING") * step
    return [first + step * number for number in range(int((top - first) / step) + 1)]


def short(amount: Decimal) -> str:
    """Return an amount without cents, if it has none."""
    return dollars(amount).removesuffix(".00")
