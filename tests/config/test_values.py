"""Single values: what each type takes, and the words for it."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.values import convert, expected, names_of, shown


class Color(StrEnum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class ConvertTests(SynchronousTestCase):
    """Values that a type takes, and values that it does not."""

    def test_valid_values_are_converted(self) -> None:
        for value, kind, converted in (
            (5, Decimal, Decimal(5)),
            (Decimal("0.10"), Decimal | None, Decimal("0.10")),
            ("17:00", time | None, time(17)),
            ("America/Chicago", ZoneInfo, ZoneInfo("America/Chicago")),
            ("red", Color, Color.RED),
            (3, Annotated[int, msgspec.Meta(ge=1)] | None, 3),
        ):
            found = convert(value, kind)
            self.assertEqual((found, type(found)), (converted, type(converted)))

    def test_invalid_values_are_refused(self) -> None:
        amounts: tuple[Any, ...] = (
            "5",
            True,
            0,
            -1,
            10**12,
            Decimal("nan"),
            Decimal("1E-99"),
            1.5,
        )
        times: tuple[Any, ...] = ("7:00", "25:00", 17, "17:00:00", time(17))
        zones: tuple[Any, ...] = (
            "Chicago",
            "America",
            "../etc/passwd",
            "",
            1,
            True,
            [],
            {},
            Decimal(1),
        )
        for kind, values in ((Decimal, amounts), (time, times), (ZoneInfo, zones)):
            for value in values:
                with self.subTest(kind=kind, value=value):
                    self.assertRaises((ValueError, ArithmeticError), convert, value, kind)


class WordsTests(SynchronousTestCase):
    """What messages say of types and values."""

    def test_a_type_is_described_by_the_values_that_it_takes(self) -> None:
        described = Annotated[str, msgspec.Meta(description="a ticker")]
        for kind, words in (
            (bool, "true or false"),
            (Annotated[int, msgspec.Meta(gt=0, le=9)], "a whole number above 0 up to 9"),
            (Annotated[float, msgspec.Meta(ge=0, lt=1)] | None, "a number from 0 and below 1"),
            (Decimal, "an amount above 0, such as 500 or 0.50, without quotes"),
            (described | None, "a ticker"),
            (Annotated[tuple[int, ...], msgspec.Meta(min_length=1)], "a list of at least 1"),
            (int | str, "a whole number or a text"),
            (Color, 'one of "red", "blue"'),
            (Literal["net"], '"net"'),
            (ZoneInfo, 'the name of a time zone, such as "America/Chicago"'),
        ):
            self.assertEqual(expected(kind), words)

    def test_the_choices_of_a_type_are_known_by_name(self) -> None:
        self.assertEqual(names_of(Color | None), ["red", "blue"])
        self.assertIn("America/Chicago", names_of(ZoneInfo))
        self.assertEqual(names_of(str), [])

    def test_a_value_is_shown_as_toml_on_one_short_line(self) -> None:
        for value, words in (
            (True, "true"),
            ("two\nlines", '"two\\nlines"'),
            (5, "5"),
            (Decimal("1E+99"), "1E+99"),
            ({}, "an empty table"),
            ({"a": 1}, "a table"),
            ([], "an empty list"),
            ([1], "a list"),
        ):
            self.assertEqual(shown(value), words)
        for long in ("x" * 999, 10**9999):
            self.assertEqual(len(shown(long)), 60)
            self.assertTrue(shown(long).endswith("..."))
