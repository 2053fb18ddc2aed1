"""Reading TOML: files, the lines of keys, and mistakes in tables of any type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.config.toml import (
    WRONG,
    ConfigError,
    NoFileError,
    TableReader,
    key_lines,
    nearest,
    path_text,
    read_text,
)
from tests.support.directories import temporary_directory


class ReadTextTests(SynchronousTestCase):
    """Files that are configurations, and files that are not."""

    def setUp(self) -> None:
        self.path = temporary_directory(self) / "riskd.toml"

    def problem(self) -> str:
        (problem,) = self.assertRaises(ConfigError, read_text, self.path).problems
        self.assertIn(str(self.path), problem)
        return problem

    def test_the_text_of_a_file_is_returned(self) -> None:
        self.path.write_text("a = 'µ'", encoding="utf-8")
        self.assertEqual(read_text(self.path), "a = 'µ'")

    def test_a_missing_file_has_an_error_of_its_own(self) -> None:
        self.assertIn("cannot be read: No such file", self.problem())
        self.assertRaises(NoFileError, read_text, self.path)

    def test_a_directory_is_refused(self) -> None:
        self.path.mkdir()
        self.assertIn("cannot be read: Is a directory", self.problem())

    def test_a_device_is_read(self) -> None:
        """A console without settings may be given /dev/null."""
        self.assertEqual(read_text(Path("/dev/null")), "")

    def test_bytes_that_are_not_utf_8_are_refused_with_their_line(self) -> None:
        self.path.write_bytes(b"a = 1\nb = '\xff'")
        self.assertIn(", line 2: not UTF-8 text", self.problem())

    def test_a_byte_order_mark_is_no_part_of_the_text(self) -> None:
        self.path.write_bytes("\ufeffsize = 1".encode())
        self.assertEqual(read_text(self.path), "size = 1")

    def test_a_file_of_over_256_kib_is_refused(self) -> None:
        self.path.write_bytes(b"#" * (256 * 1024 + 1))
        self.assertIn("expected at most 262144 bytes", self.problem())


class KeyLinesTests(SynchronousTestCase):
    """The lines on which tables and keys begin."""

    def test_tables_keys_and_items_of_lists_of_tables_have_lines(self) -> None:
        text = (
            'a = 1\n[b.c] # here\n"d e".f = 2\n[[g]]\nh=3\n[ g . i ]\nj=4\n[[g]]\n[[g.k]]\nl=5\n'
        )
        self.assertEqual(
            key_lines(text),
            {
                ("a",): 1,
                ("b", "c"): 2,
                ("b", "c", "d e", "f"): 3,
                ("g", 0): 4,
                ("g", 0, "h"): 5,
                ("g", 0, "i"): 6,
                ("g", 0, "i", "j"): 7,
                ("g", 1): 8,
                ("g", 1, "k", 0): 9,
                ("g", 1, "k", 0, "l"): 10,
            },
        )


class Inner(msgspec.Struct, frozen=True):
    """A table in a table."""

    size: int
    note: str = ""


class Outer(msgspec.Struct, frozen=True):
    """A table with a field of each kind of collection."""

    inner: Inner = Inner(size=0)
    items: tuple[Inner, ...] = ()
    names: frozenset[str] = frozenset()
    limits: (
        Annotated[
            dict[Annotated[str, msgspec.Meta(pattern="^[A-Z]+$")], int], msgspec.Meta(max_length=2)
        ]
        | None
    ) = None
    pair: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.pair[0] > self.pair[1]:
            raise ValueError("pair: expected the lower number first")


class TableReaderTests(SynchronousTestCase):
    """Tables as Structs, with all of their mistakes."""

    def read(self, text: str) -> tuple[Any, tuple[str, ...]]:
        """Return what ``text`` is read as, and the messages of its mistakes."""
        reader = TableReader(text, "x.toml")
        read = reader.struct(reader.tables, Outer, ())
        try:
            reader.check()
        except ConfigError as error:
            return read, error.problems
        return read, ()

    def test_tables_and_collections_become_the_types_of_the_fields(self) -> None:
        read, problems = self.read(
            'items = [{ size = 1 }, { size = 2, note = "n" }]\nnames = ["b", "a"]\n'
            "limits = { MNQ = 5 }\npair = [1, 2]\n[inner]\nsize = 3\n"
        )
        self.assertEqual(problems, ())
        self.assertEqual(
            read,
            Outer(
                inner=Inner(3),
                items=(Inner(1), Inner(2, "n")),
                names=frozenset({"a", "b"}),
                limits={"MNQ": 5},
                pair=(1, 2),
            ),
        )

    def test_each_mistake_is_reported_once_with_its_line_and_path(self) -> None:
        read, problems = self.read(
            "items = [{ size = 1 }, { note = 2 }]\nlimits = { mnq = 5, ES = true }\n[inner]\nsise = 3\n"
        )
        self.assertIs(read, WRONG)
        self.assertEqual(
            problems,
            (
                "x.toml, line 1: items[1].note: expected a text, got 2",
                "x.toml, line 1: items[1].size: missing; expected a whole number",
                'x.toml, line 2: limits.mnq: expected a text like ^[A-Z]+$, got "mnq"',
                "x.toml, line 2: limits.ES: expected a whole number, got true",
                "x.toml, line 3: inner.size: missing; expected a whole number",
                "x.toml, line 4: inner.sise: unknown key; did you mean size?",
            ),
        )

    def test_a_collection_of_the_wrong_type_or_length_is_reported_as_a_whole(self) -> None:
        for text, words in (
            ("items = {}", "items: expected a list, got an empty table"),
            ("limits = [1]", "limits: expected a table of at most 2, got a list"),
            ("limits = { A = 1, B = 2, C = 3 }", "limits: expected a table of at most 2"),
        ):
            _read, (problem,) = self.read(text)
            self.assertIn(words, problem)

    def test_a_contradiction_is_reported_at_the_field_that_it_names(self) -> None:
        _read, problems = self.read("pair = [2, 1]")
        self.assertEqual(problems, ("x.toml, line 1: pair: expected the lower number first",))


class WordsTests(SynchronousTestCase):
    """Paths and names in messages."""

    def test_a_path_is_written_as_in_toml_and_odd_keys_are_quoted_and_shortened(self) -> None:
        self.assertEqual(path_text(("accounts", 1, "rules", "x")), "accounts[1].rules.x")
        self.assertEqual(path_text(("a", "odd\nkey")), 'a."odd\\nkey"')
        self.assertLess(len(path_text(("a" * 100,))), 70)

    def test_an_unknown_name_is_answered_with_the_nearest_or_all_known_ones(self) -> None:
        self.assertEqual(nearest("limt", ["limit", "mode"]), "; did you mean limit?")
        self.assertEqual(nearest("xyz", ["limit", "mode"]), "; known are limit, mode")
        self.assertEqual(nearest("xyz", []), "; known are none")
