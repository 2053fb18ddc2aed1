"""A journal with values that no riskd writes: a table or a sentence, never an exception."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from contextlib import closing

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.main import main
from riskd.journal.schema import JOURNAL_NAME
from riskd.journal.store import Store
from tests import examples
from tests.support.absurd import LEAVES, VALUES, changed, places
from tests.support.directories import temporary_directory
from tests.support.journal import NOON, full_state

_DAY = (
    '{"day":"2025-01-16","start":50000.5,"close":49950.25,"net_pnl":-50.25,"trades":3,"best":12.5,'
    '"worst":-40.0,"enforced":1}'
)
_REPORTS = ("journal", "days", "trades", "equity", "report")


class AbsurdJournalTests(SynchronousTestCase):
    """The reports of riskctl."""

    def setUp(self) -> None:
        self.directory = temporary_directory(self)
        store = Store(self.directory)
        store.open([123], NOON)
        store.write([full_state()], "practice", NOON)
        store.publish()
        store.close()
        journal = self.directory / JOURNAL_NAME
        with closing(sqlite3.connect(journal, isolation_level=None)) as file:
            file.execute("PRAGMA journal_mode = DELETE")
            file.execute("INSERT INTO log VALUES (NULL, 123, 1737115200000, 'day', ?)", (_DAY,))
            file.execute("INSERT INTO equity VALUES (1737115200000, 123, '5', '5', '-5', '1')")
        self.journal, self.image = journal, journal.read_bytes()
        tables = ("log", "enforcement", "results", "equity", "contracts")
        self.places = list(places(self.image, tables))

    def report(self, image: bytes) -> str:
        """Write all reports of a journal; return what they wrote to standard error."""
        self.journal.write_bytes(image)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for name in _REPORTS:
                self.assertIn(main(["--state", str(self.directory), name, "123"]), (0, 1))
        self.assertLess(len(out.getvalue()), 100_000)
        return err.getvalue()

    def test_any_absurd_value_anywhere(self) -> None:
        @settings(max_examples=examples(25))
        @given(st.data())
        def report_any(data: st.DataObject) -> None:
            place = data.draw(st.sampled_from(self.places))
            value = data.draw(st.sampled_from(LEAVES if place[2] else VALUES))
            # SQLite itself refuses some values.
            with contextlib.suppress(sqlite3.Error):
                self.report(changed(self.image, place, value))

        report_any()

    def test_an_absurd_amount_is_a_sentence(self) -> None:
        self.assertEqual(self.report(self.image), "")
        for place in (
            ("log", "data", ("net_pnl",)),
            ("results", "data", ("pnl",)),
            ("equity", "equity", ()),
            ("contracts", "tick_size", ()),
        ):
            with self.subTest(place=place):
                (line,) = self.report(changed(self.image, place, "9e999999")).splitlines()[:1]
                self.assertIn("riskctl: cannot read the ", line)
                self.assertIn("is damaged", line)
