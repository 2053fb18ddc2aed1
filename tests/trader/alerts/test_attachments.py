"""Reports that are attached to the summary of a day."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from unittest.mock import patch

import msgspec
from twisted.logger import capturedLogs

from riskd.report import page
from tests.support.journal import NOON, StoreTestCase, full_state
from tests.support.report_page import Page
from trader.alerts.alert import Alert, Kind, sample
from trader.alerts.attachments import attach_reports, no_attachment
from trader.alerts.words import Attachment

DAY = date(2025, 1, 17)
SUMMARY = msgspec.structs.replace(sample(Kind.SUMMARY, NOON), day=DAY)


class AttachmentTests(StoreTestCase):
    """A journal of riskd."""

    def attach(self, alert: Alert = SUMMARY) -> Attachment | str:
        return attach_reports(lambda: self.directory)(alert)

    def test_a_summary_has_the_page_of_its_day(self) -> None:
        self.write(full_state())
        attached = self.attach()
        assert isinstance(attached, Attachment)
        self.assertEqual(attached.name, "riskd-123-2025-01-17.html")
        self.assertIn("Friday, January 17, 2025", Page(attached.content).text)

    def test_nothing_is_attached_to_other_alerts(self) -> None:
        self.assertEqual(self.attach(sample(Kind.LOCKOUT, NOON)), "")
        self.assertEqual(self.attach(sample(Kind.SUMMARY, NOON)), "")
        self.assertEqual(no_attachment(SUMMARY), "")

    def test_a_report_that_cannot_be_made_is_a_sentence(self) -> None:
        begin = "account 123: the report of 2025-01-17 is not attached: "
        attached = attach_reports(lambda: Path("/nowhere"))(SUMMARY)
        self.assertEqual(attached, f"{begin}no journal: /nowhere/riskd.db is not there")
        unknown = attach_reports(lambda: None)(SUMMARY)
        self.assertEqual(unknown, f"{begin}where riskd keeps its journal is not known")
        with patch.dict(sys.modules, {"leather": None}):
            for name in ("page", "charts", "canvas"):
                sys.modules.pop(f"riskd.report.{name}", None)
            missing = self.attach()
        self.assertEqual(
            missing, f"{begin}leather is not installed; run: pip install 'riskd[report]'"
        )

    def test_an_internal_error_is_logged_and_said(self) -> None:
        self.write(full_state())
        self.patch(page, "write_page", lambda *_: 1 / 0)
        with capturedLogs() as logs:
            said = self.attach()
        self.assertIn("is not attached: internal error", str(said))
        self.assertEqual([each["account"] for each in logs], [123])
        self.flushLoggedErrors(ZeroDivisionError)
