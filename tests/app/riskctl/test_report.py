"""``riskctl report``: its files, its options, and what it refuses."""

from __future__ import annotations

import csv
import io
import os
import stat
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import date
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import msgspec

from riskd.app.riskctl.main import main
from riskd.model.account import LogEntry, with_risk
from riskd.model.day_report import DayReport
from riskd.model.exact_json import encode_json
from tests.support.directories import temporary_directory
from tests.support.journal import NOON, full_state
from tests.support.report_page import Page
from tests.support.riskctl import ZonedTestCase
from tests.support.state_directories import write_earlier_state

_EARLIER = DayReport(
    day=date(2025, 1, 16),
    start=Decimal(50000),
    close=Decimal("49987.50"),
    net_pnl=Decimal("-12.50"),
    trades=2,
    best=Decimal(4),
    worst=Decimal("-16.50"),
    enforced=0,
)


class ReportTests(ZonedTestCase):
    """A journal with a day that has ended and one that is running."""

    def setUp(self) -> None:
        super().setUp()
        self.state = temporary_directory(self) / "state"
        ended = encode_json(msgspec.structs.asdict(_EARLIER)).decode()
        line = LogEntry(NOON.replace(day=16, hour=23), "day", ended)
        write_earlier_state(self.state, "practice", with_risk(full_state(), log=(line,)))
        self.file = self.state.parent / "day.html"

    def run_report(self, *arguments: str) -> tuple[int, str, str]:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            status = main(["--state", str(self.state), "report", *(arguments or ("123",))])
        return status, out.getvalue(), err.getvalue()

    def assert_fails(self, sentence: str, *arguments: str) -> None:
        status, out, err = self.run_report(*arguments)
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err, f"riskctl: {sentence}\n")

    def test_without_a_file_the_last_day_is_written_to_standard_output(self) -> None:
        status, out, err = self.run_report()
        self.assertEqual((status, err), (0, ""))
        page = Page(out)
        self.assertTrue(page.text.startswith("Friday, January 17, 2025, account 123"))
        self.assertIn("still running, as of", page.text)

    def test_the_file_is_new_and_private(self) -> None:
        status, out, err = self.run_report("123", "-o", str(self.file))
        self.assertEqual((status, out, err), (0, "", f"riskctl: {self.file} is written\n"))
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(self.file.read_text(), self.run_report()[1])

    def test_a_file_that_exists_stays(self) -> None:
        self.file.write_text("mine")
        sentence = f"{self.file} exists, and is not overwritten; -o FILE names another file"
        self.assert_fails(sentence, "123", "-o", str(self.file))
        link = self.file.with_name("link.html")
        link.symlink_to("nowhere")
        self.assert_fails(sentence.replace("day.html", "link.html"), "123", "-o", str(link))
        self.assertEqual(self.file.read_text(), "mine")

    def test_where_no_file_can_be_nothing_is_left(self) -> None:
        path = self.file.parent / "none" / "day.html"
        self.assert_fails(
            f"{path} cannot be written: No such file or directory", "123", "-o", str(path)
        )

    def test_the_executions_are_a_csv_file_beside_it(self) -> None:
        status, _, err = self.run_report("123", "-o", str(self.file), "--csv")
        self.assertEqual((status, len(err.splitlines())), (0, 2))
        beside = self.file.with_suffix(".csv")
        self.assertEqual(stat.S_IMODE(beside.stat().st_mode), 0o600)
        (row,) = csv.DictReader(beside.read_text().splitlines())
        self.assertEqual((row["pnl"], row["fees"], row["side"]), ("-45.50", "1.48", "long"))

    def test_a_csv_file_needs_a_page_and_a_name_of_its_own(self) -> None:
        self.assert_fails(
            "--csv writes a file beside the page: expected -o FILE, too", "123", "--csv"
        )
        path = self.file.with_suffix(".csv")
        self.assert_fails(
            f"-o {path}: the trades would have the same name; expected FILE.html",
            *("123", "--csv", "-o", str(path)),
        )
        path.write_text("mine")
        sentence = f"{path} exists, and is not overwritten; -o FILE names another file"
        self.assert_fails(sentence, "123", "--csv", "-o", str(self.file))
        self.assertFalse(self.file.exists())

    def test_a_day_is_named_by_its_date(self) -> None:
        page = Page(self.run_report("123", "--day", "2025-01-16")[1])
        self.assertIn("Thursday, January 16, 2025", page.text)
        self.assertIn("Trading day from Wed 2025-01-15 17:00 to Thu 2025-01-16 17:00", page.text)
        self.assertIn("No trade.", page.text)
        self.assertIn("No chart: the journal has no equity of this day.", page.text)

    def test_a_day_that_the_journal_does_not_know_is_an_error(self) -> None:
        self.assert_fails(
            f"the journal in {self.state} has no trading day 2025-01-15 of account 123; it has 2 days, "
            "2025-01-16 to 2025-01-17",
            *("123", "--day", "2025-01-15"),
        )

    def test_no_day_since_then_is_an_error_that_says_which_there_are(self) -> None:
        self.assert_fails(
            f"the journal in {self.state} has no trading day after 2025-01-20 00:00 of account 123; it has 2 days, "
            "2025-01-16 to 2025-01-17",
            *("123", "--since", "2025-01-20"),
        )

    def test_an_account_without_a_day(self) -> None:
        self.assert_fails(f"the journal in {self.state} has no account 132; it has 123", "132")

    def test_several_days_have_a_table_of_days(self) -> None:
        page = Page(self.run_report("123", "--since", "2025-01-10")[1])
        rows = page.rows("days")
        self.assertEqual(
            [row["Day"] for row in rows], ["Thu 2025-01-16", "Fri 2025-01-17 running"]
        )
        self.assertEqual(rows[0]["Close"], "$49,987.50")
        self.assertIn("Jan 16 to Jan 17, 2025", page.text)

    def test_what_is_no_date_is_refused(self) -> None:
        with redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit) as raised:
            main(["report", "123", "--day", "yesterday"])
        self.assertEqual(raised.exception.code, 2)
        self.assertIn("'yesterday' is not a date; expected one such as 2026-11-24", err.getvalue())

    def test_without_the_extra_a_sentence_names_it(self) -> None:
        for package in ("jinja2", "leather"):
            with patch.dict(sys.modules, {package: None}):
                for name in ("riskd.report.page", "riskd.report.charts"):
                    sys.modules.pop(name, None)
                self.assert_fails(
                    f"{package} is not installed; run: pip install 'riskd[report]'",
                    *("123", "-o", str(self.file)),
                )
        self.assertFalse(self.file.exists())


class JournalTests(ZonedTestCase):
    """A journal that is missing."""

    def test_a_missing_journal_is_a_sentence(self) -> None:
        state = Path(temporary_directory(self))
        with redirect_stderr(io.StringIO()) as err:
            self.assertEqual(main(["--state", os.fspath(state), "report", "123"]), 1)
        self.assertEqual(err.getvalue(), f"riskctl: no journal: {state}/riskd.db is not there\n")
