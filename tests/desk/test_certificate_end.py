"""That certificates end is told a month before."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.desk.certificates import LIFETIME, Authority
from riskd.desk.certificate_end import WARNED, CertificateWatch, certificate_end

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


class EndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[str] = []

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.clock.seconds())

    def watch(self, end: datetime | None) -> None:
        watch = CertificateWatch(self.clock, end, self.now, self.told.append)
        watch.startService()
        self.addCleanup(watch.stopService)

    def test_the_end_is_that_of_the_authority(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.assertIsNone(certificate_end(context))
        context.load_verify_locations(cadata=Authority.new("desk alpha").credentials.certificate)
        end = certificate_end(context)
        assert end is not None
        self.assertLess(abs(datetime.now(UTC) + LIFETIME - end), timedelta(minutes=1))

    def test_it_is_told_from_a_month_before_each_day(self) -> None:
        self.watch(NOON + WARNED + DAY / 2)
        self.assertEqual(self.told, [""])
        self.clock.pump([DAY.total_seconds()] * 2)
        self.assertEqual(len(self.told), 3)
        for words in self.told[1:]:
            self.assertIn("the certificates of the desk end on Dec 31 2026", words)

    def test_that_they_have_ended_is_told_too(self) -> None:
        self.watch(NOON - DAY)
        self.assertIn("have ended on Nov 29 2026", self.told[0])

    def test_nothing_is_told_of_an_unknown_end(self) -> None:
        self.watch(None)
        self.assertEqual(self.told, [""])
