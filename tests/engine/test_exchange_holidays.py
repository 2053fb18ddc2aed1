"""RULE-009 with the holidays of CME on the practice exchange, on Thanksgiving."""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from tests.support.practice_daemon import BUY, MNQ, PracticeDaemon

BEFORE = datetime(2026, 11, 26, 17, 59, 30, tzinfo=UTC)
"""Half a minute before 12:00 in Chicago."""


class EarlyCloseTests(SynchronousTestCase):
    def test_an_account_is_flat_and_locked_from_the_early_close_to_the_next_session(self) -> None:
        daemon = PracticeDaemon(
            """
            [rules.session_block_outside]
            allowed_hours = { start = "17:00", end = "16:00" }
            holidays = "CME"
            """,
            now=BEFORE,
        )
        self.addCleanup(daemon.close)
        daemon.move(MNQ, "21000")
        daemon.trade(BUY, 1)
        daemon.advance(29)
        self.assertEqual((daemon.held, daemon.locks), ({MNQ: 1}, []))
        daemon.advance(3)
        self.assertEqual(daemon.held, {})
        (lock,) = daemon.locks
        self.assertEqual(lock.locked_until, datetime(2026, 11, 26, 23, tzinfo=UTC))
