"""What configurations would have enforced first, day by day."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from riskd.recording.compared_days import DayComparison
from riskd.recording.format import Recording
from tests.support.practice_daemon import ACCOUNT, BUY, CATALOGUE, MNQ, SELL
from tests.support.recorded_daemon import RecordedDaemon, settings_of

ONE, OTHER = f"[[accounts]]\nid = {ACCOUNT}\n", "[[accounts]]\nid = 456\n"
BEFORE_RESET = datetime(2026, 11, 23, 22, 59, tzinfo=UTC)
MONDAY, TUESDAY = date(2026, 11, 23), date(2026, 11, 24)


class DayComparisonTests(SynchronousTestCase):
    def test_each_day_has_its_own_figures(self) -> None:
        """A recording over the daily reset: a loss before it, and a position after it."""
        daemon = RecordedDaemon(f"{ONE}{OTHER}", now=BEFORE_RESET, is_open=False)
        self.addCleanup(daemon.clean_up)
        daemon.advance(3)
        for price, side, size in ((21000, BUY, 2), (20970, SELL, 2), (20970, BUY, 3)):
            daemon.gateway.move_market(MNQ, Decimal(price))
            daemon.gateway.place_order(
                ACCOUNT, {"contractId": MNQ, "type": 2, "side": int(side), "size": size}
            )
            daemon.advance(30, step=1)
        daemon.gateway.move_market(MNQ, Decimal(20975))
        daemon.advance(3)
        recorded = daemon.end().read_bytes()
        comparison = DayComparison(
            [
                settings_of(f"[rules.daily_net_loss]\nloss_limit = 100\n{ONE}"),
                settings_of(f"[rules.max_contracts]\nlimit = 2\n{ONE}{OTHER}"),
            ],
            CATALOGUE,
        )
        for _ in range(2):
            # The same day twice is the same day.
            comparison.add(Recording(io.BytesIO(recorded), "days.jsonl"))
        days = {(each.day, each.account): each for each in comparison.days}
        self.assertEqual(
            sorted(days), [(MONDAY, 123), (MONDAY, 456), (TUESDAY, 123), (TUESDAY, 456)]
        )
        monday, tuesday = days[MONDAY, ACCOUNT], days[TUESDAY, ACCOUNT]
        # Two contracts fell by 30 points and crossed the spread, and have fees of $0.37 each way.
        self.assertEqual(monday.net_pnl, Decimal("-123.48"))
        loss, none = monday.first[0], monday.first[1]
        assert loss is not None
        self.assertEqual((loss.rule_id, none), ("RULE-013", None))
        self.assertEqual(loss.net_pnl, Decimal("-122.74"))
        self.assertEqual(loss.at, datetime(2026, 11, 23, 22, 59, 33, tzinfo=UTC))
        size = tuesday.first[1]
        assert size is not None
        self.assertEqual((tuesday.first[0], size.rule_id), (None, "RULE-001"))
        self.assertEqual(tuesday.net_pnl, 3 * (Decimal("9.00") - Decimal("0.37")))
        self.assertEqual(days[TUESDAY, 456].first, {1: None})
