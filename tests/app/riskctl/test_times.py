"""Times on the command line of ``riskctl``."""

from __future__ import annotations

import argparse
import io
from contextlib import redirect_stderr
from datetime import UTC, datetime, timedelta
from typing import Any

from riskd.app.riskctl.main import parse
from riskd.app.riskctl.times import seconds_of_minutes, since, until
from tests.support.control import NOW
from tests.support.riskctl import ZonedTestCase


class MomentTests(ZonedTestCase):
    """Moments on the command line; times without an offset are local."""

    def test_until_is_the_next_moment(self) -> None:
        for text, moment in (
            ("16:30", datetime(2026, 11, 23, 21, 30, tzinfo=UTC)),
            ("13:00", datetime(2026, 11, 24, 18, tzinfo=UTC)),
            ("9:15", datetime(2026, 11, 24, 14, 15, tzinfo=UTC)),
            ("2026-11-23T14:30", datetime(2026, 11, 23, 19, 30, tzinfo=UTC)),
            ("2026-11-23T20:00Z", datetime(2026, 11, 23, 20, tzinfo=UTC)),
            ("2026-11-24", datetime(2026, 11, 24, 5, tzinfo=UTC)),
        ):
            self.assertEqual(until(text, NOW), moment, text)

    def test_since_is_the_last_moment(self) -> None:
        for text, moment in (
            ("12:30", datetime(2026, 11, 23, 17, 30, tzinfo=UTC)),
            ("16:30", datetime(2026, 11, 22, 21, 30, tzinfo=UTC)),
            ("2d", NOW - timedelta(days=2)),
            ("3h", NOW - timedelta(hours=3)),
            ("30m", NOW - timedelta(minutes=30)),
            ("2026-11-01", datetime(2026, 11, 1, 4, tzinfo=UTC)),
        ):
            self.assertEqual(since(text, NOW), moment, text)

    def refusal(self, read: Any, text: str, now: datetime = NOW) -> str:
        return str(self.assertRaises(argparse.ArgumentTypeError, read, text, now))

    def test_until_is_within_a_year_and_says_so(self) -> None:
        expected = "expected one within the next 366 days, such as 16:00, 2026-11-24T08:30 or 2026-11-24T14:30Z"
        for text, why in (
            ("2026-11-23T12:00", "is in the past"),
            ("2026-11-23T17:59:59Z", "is in the past"),
            ("2027-11-25", "is too far away"),
            ("9999-12-30", "is too far away"),
            ("tomorrow", "is not a time"),
            ("24:30", "is not a time"),
            ("0001-01-01", "is not a time"),
            ("", "is not a time"),
        ):
            self.assertEqual(self.refusal(until, text), f"{text!r} {why}; {expected}")
        self.assertEqual(until("2027-11-24T13:00", NOW), NOW + timedelta(days=366))

    def test_an_option_is_named_with_its_mistake(self) -> None:
        with redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit):
            parse(["lock", "123", "--reason", "x", "--until", "2026-11-01"], NOW)
        self.assertIn(
            "argument --until: '2026-11-01' is in the past; expected one", said.getvalue()
        )

    def test_a_time_that_the_clocks_leave_out_is_refused(self) -> None:
        """On 2027-03-14 New York's clocks go from 02:00 to 03:00."""
        evening = datetime(2027, 3, 14, 3, tzinfo=UTC)
        for text in ("02:30", "2027-03-14T02:30"):
            self.assertEqual(
                self.refusal(until, text, evening),
                f"{text!r} does not exist on 2027-03-14, when the clocks are set forward; "
                "expected another time, such as 2027-03-14T03:30-04:00",
            )
        self.assertEqual(until("2027-03-14T02:30-05:00", evening).hour, 7)
        # The times of other days exist.
        self.assertEqual(since("02:30", evening), datetime(2027, 3, 13, 7, 30, tzinfo=UTC))
        noon = datetime(2027, 3, 14, 16, tzinfo=UTC)
        self.assertEqual(until("02:30", noon), datetime(2027, 3, 15, 6, 30, tzinfo=UTC))
        self.assertIn("does not exist", self.refusal(since, "02:30", noon))

    def test_a_time_that_comes_twice_needs_its_offset(self) -> None:
        """On 2026-11-01 New York's clocks go from 02:00 to 01:00."""
        evening = datetime(2026, 11, 1, 3, tzinfo=UTC)
        for text in ("01:30", "2026-11-01T01:30"):
            self.assertEqual(
                self.refusal(until, text, evening),
                f"{text!r} comes twice on 2026-11-01, when the clocks are set back; "
                "expected it with its offset, such as 2026-11-01T01:30-04:00",
            )
        self.assertEqual(until("2026-11-01T01:30-05:00", evening).hour, 6)
        # A list that begins earlier lacks nothing.
        self.assertEqual(since("01:30", evening + timedelta(hours=9)).hour, 5)

    def test_since_is_not_in_the_future(self) -> None:
        self.assertIn(
            "'2026-11-24' is in the future; expected one before now, such as 2d",
            self.refusal(since, "2026-11-24"),
        )

    def test_minutes_are_sent_as_seconds(self) -> None:
        """The daemon adds them to the broker's time; riskctl's clock may be wrong."""
        self.assertEqual(seconds_of_minutes("90"), 5400)

    def test_text_that_is_not_a_moment_is_refused(self) -> None:
        for read, text in (
            (until, "25:00"),
            (until, "tomorrow"),
            (until, "2026-11-23T12:00"),
            (until, "0001-01-01"),
            (since, "2w"),
            (since, ""),
        ):
            with self.assertRaises(argparse.ArgumentTypeError, msg=text):
                read(text, NOW)
        for text in ("0", "-5", "1.5", "99999999999999999999"):
            with self.assertRaises(argparse.ArgumentTypeError, msg=text):
                seconds_of_minutes(text)
