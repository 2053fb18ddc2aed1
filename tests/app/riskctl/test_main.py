"""The program ``riskctl``: its command line, and what its terminal can show."""

from __future__ import annotations

import argparse
import io
import os
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd import __version__
from riskd.app.riskctl.arguments import Later, make_parser, seconds_of_minutes, since, until
from riskd.app.riskctl.main import main, parse
from tests.support.control import NOW
from tests.support.directories import temporary_directory
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


class CommandLineTests(SynchronousTestCase):
    """Mistakes, reasons and defaults."""

    def test_a_wrong_command_line_shows_the_usage_and_exits_with_2(self) -> None:
        for words in (
            "",
            "dance",
            "unlock 123",
            "unlock --reason x",
            "unlock abc --reason x",
            "unlock 0 --reason x",
            "lock 123",
            "lock 123 --reason x --minutes 5 --until 16:00",
            "journal 123 --csv --jsonl",
            "check-config",
            "floor 123",
            "floor 48500",
            "floor 123 48,500",
            "floor 123 $48500",
            "floor 123 48500.125",
            "floor 123 1e3",
            "floor 123 nan",
            "floor 123 4850000000",
            "floor 123 48500 --reason x",
        ):
            self.assert_usage(words.split())
        self.assert_usage(["lock", "123", "--reason", "  "])

    def assert_usage(self, arguments: list[str]) -> None:
        with redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit) as end:
            parse(arguments, NOW)
        self.assertEqual(end.exception.code, 2, arguments)
        self.assertTrue(said.getvalue().startswith("usage: riskctl"))

    def test_a_reason_that_is_not_utf_8_keeps_its_readable_characters(self) -> None:
        given = os.fsdecode(b"caf\xe9 na\xc3\xafve")
        for command in ("lock", "unlock", "flatten"):
            reason = parse([command, "123", "--reason", given], NOW).reason
            self.assertEqual(reason, "caf? na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve")
            msgspec.json.encode(reason)

    def test_a_floor_is_an_amount_that_may_be_below_zero(self) -> None:
        for text in ("48500", "48500.5", "0", "-2000", "-1999.75"):
            options = parse(["floor", "123", text], NOW)
            self.assertEqual((str(options.amount), options.is_confirmed), (text, False))
        self.assertTrue(parse(["floor", "123", "48500", "--yes"], NOW).is_confirmed)
        with redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit):
            parse(["floor", "123", "$48,500"], NOW)
        sentence = "'$48,500' is not an amount in dollars such as 48500 or 48500.25"
        self.assertIn(sentence, said.getvalue())

    def test_a_lock_without_an_end_lasts_until_it_is_unlocked(self) -> None:
        self.assertIsNone(parse(["lock", "123", "--reason", "x"], NOW).until)

    def test_version_is_a_line_of_its_own(self) -> None:
        with redirect_stdout(io.StringIO()) as shown, self.assertRaises(SystemExit) as end:
            parse(["--version"], NOW)
        self.assertEqual((shown.getvalue(), end.exception.code), (f"riskctl {__version__}\n", 0))

    def test_each_command_finds_the_functions_that_it_runs(self) -> None:
        """They are named and imported late, so that a misspelled one would only show when it runs."""
        commands = next(
            action for action in make_parser(NOW)._actions if action.nargs == argparse.PARSER
        )
        assert isinstance(commands.choices, dict)
        for name, command in commands.choices.items():
            named = [*command._defaults.values(), *(each.const for each in command._actions)]
            functions = [each for each in named if isinstance(each, Later)]
            self.assertTrue(functions, name)
            for each in functions:
                self.assertTrue(callable(each.function), name)


class TerminalTests(SynchronousTestCase):
    def test_characters_that_the_terminal_cannot_show_are_replaced(self) -> None:
        path = Path(
            temporary_directory(self), "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{SNOWMAN}.toml"
        )
        path.write_text("[[accounts]]\nid = 1\n")
        shown = io.BytesIO()
        terminal = io.TextIOWrapper(shown, encoding="latin-1")
        with redirect_stdout(terminal):
            self.assertEqual(main(["check-config", str(path)]), 0)
        self.assertIn(b"caf\xe9 ?.toml is correct", shown.getvalue())
