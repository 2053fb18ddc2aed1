"""The program ``riskctl``: its command line, and what its terminal can show."""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd import __version__
from riskd.app.riskctl.arguments import make_parser
from riskd.app.riskctl.later import Later
from riskd.app.riskctl.main import main, parse
from tests.support.control import NOW
from tests.support.directories import temporary_directory


def commands_of(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield the parser of each command, in place of a command with steps those of its steps."""
    groups = [action for action in parser._actions if action.nargs == argparse.PARSER]
    for group in groups:
        assert isinstance(group.choices, dict)
        for command in group.choices.values():
            yield from commands_of(command)
    if not groups:
        yield parser


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
            "desk",
            "desk init",
            "desk init alpha",
            "desk init alpha --server",
            "desk add alpha",
            "desk revoke",
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
        for command in commands_of(make_parser(NOW)):
            named = [*command._defaults.values(), *(each.const for each in command._actions)]
            functions = [each for each in named if isinstance(each, Later)]
            self.assertTrue(functions, command.prog)
            for each in functions:
                self.assertTrue(callable(each.function), command.prog)


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
