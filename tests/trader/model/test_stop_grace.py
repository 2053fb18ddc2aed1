"""Seconds until riskd closes a position without a stop, as the events of a session tell them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from riskd.model.account import Limit
from riskd.model.events import DRY_RUN_NOTE
from riskd.testing import make_event
from tests.support.console import MNQ, at
from tests.support.screen import LIMITS, PageTestCase
from trader.model.account_row import account_row
from trader.model.formatting import clock
from trader.model.standing_words import standing_words
from trader.model.stop_grace import Unprotected, unprotected

GRACE = {**LIMITS, "RULE-008": Limit("no_stop_loss_grace", '{"grace_period_seconds": 30}')}
STOP = {"id": 5, "type": 3, "side": 2, "size": 2, "stopPrice": 20990}
SIZES = ((60, 14), (80, 24), (120, 40))


class StopGraceTests(PageTestCase):
    """A position of two contracts, opened now, where stops must follow within 30 s."""

    def setUp(self) -> None:
        super().setUp()
        self.file.publish(limits=GRACE)
        self.connect()
        self.receive("GatewayUserPosition", **self.position)

    @property
    def position(self) -> dict[str, Any]:
        """A position that was just opened."""
        opened = {"createdAt": at(0), "updatedAt": at(0)}
        return {"contractId": MNQ, "size": 2, "type": 1, "averagePrice": 21000, **opened}

    def work(self, **fields: Any) -> None:
        """Receive the stop, with other fields."""
        self.receive("GatewayUserOrder", **{**STOP, "state": 1, **fields})

    @property
    def bare(self) -> Unprotected | None:
        return unprotected(self.session.view(is_dry_run=self.is_dry_run), self.now).get(MNQ)

    def left(self) -> float | None:
        """Return the seconds left; ``None`` if only the daemon knows them."""
        bare = self.bare
        assert bare is not None
        ends = bare.closes_at
        return None if ends is None else (ends - self.now).total_seconds()

    def check_words(self, words: str) -> None:
        """Check that each size of the overview, and the glance, have these words."""
        for columns, rows in SIZES:
            self.change(is_glance=False)
            row = next(row for row in self.rows(columns, rows) if row.startswith("MNQU5    Long"))
            self.assertIn(words, row)
            self.assertNotIn("…", row)
        row = account_row(self.session.view(), self.now)
        self.assertEqual(standing_words(row, self.now, 18), words)

    def test_the_seconds_stand_where_the_position_is(self) -> None:
        self.assertEqual(self.left(), 30)
        self.check_words("NO STOP 0:30")
        self.wait(7)
        self.check_words("NO STOP 0:23")
        self.change(is_glance=True)
        self.assertIn("riskd closes MNQU5 unless a stop covers it", self.shown(80, 24))

    def test_a_stop_of_a_part_leaves_the_seconds(self) -> None:
        self.wait(10)
        self.work(size=1)
        self.assertEqual(self.left(), 20)
        for columns, rows in SIZES:
            self.assertIn("STOP 1/2 0:20", self.shown(columns, rows))

    def test_a_stop_ends_them_and_its_end_begins_them_anew(self) -> None:
        self.work()
        self.assertIsNone(self.bare)
        self.wait(300)
        self.assertIsNone(self.bare)
        self.work(state=3)
        self.assertEqual(self.left(), 30)
        self.wait(12)
        # A trade reads the copy again, which does not know of it.
        self.file.publish(
            make_event("GatewayUserPosition", self.position), limits=GRACE, seconds=312
        )
        self.receive("daemon_status", status="RUNNING", message="In step")
        self.assertEqual(self.left(), 18)

    def test_a_stop_that_went_without_a_connection_leaves_them_unknown(self) -> None:
        self.work()
        self.wait(300)
        self.lose()
        self.assertIsNone(self.bare)
        position = make_event("GatewayUserPosition", self.position)
        self.file.publish(position, limits=GRACE, seconds=300)
        self.connect()
        self.assertIsNone(self.left())
        self.check_words("NO STOP")
        why = account_row(self.session.view(), self.now).why
        self.assertEqual(why, "riskd closes MNQU5 within 30 s unless a stop covers it")

    def test_a_riskd_that_does_not_enforce_closes_nothing(self) -> None:
        self.receive("daemon_status", status="ERROR", message="no connection")
        self.assertIsNone(self.bare)
        self.receive("daemon_status", status="RUNNING", message=f"In step{DRY_RUN_NOTE}")
        self.assertIsNone(self.bare)
        self.assertIn("NO STOP", self.shown())

    def test_without_the_rule_there_are_none(self) -> None:
        self.file.publish(make_event("GatewayUserPosition", self.position), limits=LIMITS)
        self.connect()
        self.assertIsNone(self.bare)
        self.assertIn("NO STOP", self.shown())

    def test_a_lock_is_said_before_it(self) -> None:
        self.receive("lockout_set", locked_until=at(3600))
        row = account_row(self.session.view(), self.now)
        end = clock(self.now + timedelta(hours=1))
        self.assertIn(f"LOCKED until {end}", standing_words(row, self.now))
