"""The program ``riskctl``: its command line, and what its terminal can show."""

from __future__ import annotations

import argparse
import io
import os
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
