"""What is sent to a target, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from trader.alerts.alert import PRESSING, Alert, Kind, make_alert
from trader.alerts.outbox import (
    BURST,
    COLLAPSE_SECONDS,
    MAX_ALERTS,
    REFILL_SECONDS,
    RETRY_SECONDS,
    SPACING_SECONDS,
    Outbox,
)

NOW = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
BEGIN = 1000.0


def alert(kind: Kind, number: int = 0) -> Alert:
    """Return an alert with a number."""
    return make_alert(kind, NOW, account="1", gateway="PRACTICE", text=str(number))


class OutboxTests(SynchronousTestCase):
    """An outbox whose target takes whatever it is sent."""

    def setUp(self) -> None:
        self.outbox = Outbox()
        self.now = BEGIN

    def add(self, *kinds: Kind) -> None:
        for number, kind in enumerate(kinds):
            self.outbox.add(alert(kind, number), self.now)

    def send(self) -> int:
        """Wait until a message is due and send it; return the number of its alerts."""
        wait = self.outbox.due_in(self.now)
        assert wait is not None
        self.now += wait
        alerts, _dropped = self.outbox.take(self.now)
        self.outbox.sent()
        return len(alerts)

    def test_an_empty_outbox_is_never_due(self) -> None:
        self.assertIsNone(self.outbox.due_in(self.now))

    def test_alerts_of_one_moment_share_a_message(self) -> None:
        self.add(Kind.ENFORCEMENT, Kind.LOCKOUT)
        self.now += COLLAPSE_SECONDS / 2
        self.add(Kind.LIMIT)
        self.assertEqual(self.send(), 3)
        self.assertEqual(self.now, BEGIN + COLLAPSE_SECONDS)
        self.assertIsNone(self.outbox.due_in(self.now))

    def test_a_flood_becomes_few_messages_and_then_a_few_a_minute(self) -> None:
        sent = []
        for _ in range(20):
            self.add(Kind.ENFORCEMENT)
            self.send()
            sent.append(self.now - BEGIN)
        self.assertEqual(sent[0], COLLAPSE_SECONDS)
        waits = [later - earlier for earlier, later in pairwise(sent)]
        self.assertTrue(all(wait >= SPACING_SECONDS for wait in waits), waits)
        self.assertEqual(waits[:3], [SPACING_SECONDS] * 3)
        self.assertTrue(all(wait == REFILL_SECONDS for wait in waits[-10:]), waits)

    def test_pressing_news_does_not_wait_behind_a_flood(self) -> None:
        for _ in range(10):
            self.add(Kind.ENFORCEMENT)
            self.send()
        for kind in PRESSING:
            self.add(Kind.ENFORCEMENT)
            self.assertGreater(self.outbox.due_in(self.now) or 0, 10)
            self.add(kind)
            self.assertLessEqual(self.outbox.due_in(self.now) or 0, SPACING_SECONDS)
            self.send()

    def test_nothing_is_taken_while_a_message_is_under_way(self) -> None:
        self.add(Kind.GONE)
        self.now += COLLAPSE_SECONDS
        self.outbox.take(self.now)
        self.add(Kind.BACK)
        self.assertIsNone(self.outbox.due_in(self.now))
        self.outbox.sent()
        self.assertEqual(self.outbox.due_in(self.now), SPACING_SECONDS)

    def test_what_failed_is_sent_again_with_what_has_come_meanwhile(self) -> None:
        self.add(Kind.GONE)
        self.now += COLLAPSE_SECONDS
        for wait in (*RETRY_SECONDS, RETRY_SECONDS[-1], RETRY_SECONDS[-1]):
            self.outbox.take(self.now)
            self.assertEqual(self.outbox.failed(self.now), wait)
            self.assertEqual(self.outbox.due_in(self.now), wait)
            self.now += wait
        self.add(Kind.BACK)
        alerts, _ = self.outbox.take(self.now)
        self.assertEqual([each.kind for each in alerts], [Kind.GONE, Kind.BACK])
        self.outbox.sent()
        # A success ends the waits.
        self.add(Kind.GONE)
        self.now += SPACING_SECONDS
        self.outbox.take(self.now)
        self.assertEqual(self.outbox.failed(self.now), RETRY_SECONDS[0])

    def test_a_target_that_is_down_for_days_costs_bounded_memory_and_keeps_the_gravest(
        self,
    ) -> None:
        self.add(Kind.LOCKOUT)
        for number in range(3 * MAX_ALERTS):
            self.outbox.add(alert(Kind.SUMMARY, number), self.now)
        alerts, dropped = self.outbox.take(self.now)
        self.assertEqual((len(alerts), dropped), (MAX_ALERTS, 2 * MAX_ALERTS + 1))
        self.assertIs(alerts[0].kind, Kind.LOCKOUT)
        self.assertEqual(alerts[-1].fields["text"], str(3 * MAX_ALERTS - 1))
        # A failure loses neither them nor their number.
        self.outbox.failed(self.now)
        again, dropped = self.outbox.take(self.now)
        self.assertEqual((again, dropped), (alerts, 2 * MAX_ALERTS + 1))

    def test_at_the_end_nothing_waits(self) -> None:
        for _ in range(10):
            self.add(Kind.ENFORCEMENT)
            self.send()
        self.add(Kind.SUMMARY)
        self.outbox.hurry()
        self.assertEqual(self.outbox.due_in(self.now), 0)

    @given(
        st.lists(
            st.tuples(st.sampled_from(Kind), st.floats(0, 100, allow_nan=False), st.booleans()),
            max_size=60,
        )
    )
    def test_every_alert_arrives_once_and_messages_stay_few(
        self, course: list[tuple[Kind, float, bool]]
    ) -> None:
        """Whatever comes when, and whichever attempts fail."""
        outbox, now, arrived, messages = Outbox(), BEGIN, list[str](), list[float]()

        def send_due(until: float, *, fails: bool = False) -> float:
            at = now
            while (wait := outbox.due_in(at)) is not None and at + wait <= until:
                at += wait
                alerts, dropped = outbox.take(at)
                assert not dropped
                if fails:
                    outbox.failed(at)
                else:
                    outbox.sent()
                    messages.append(at)
                    arrived.extend(each.fields["text"] for each in alerts)
            return until

        for number, (kind, pause, fails) in enumerate(course):
            outbox.add(alert(kind, number), now)
            now = send_due(now + pause, fails=fails)
        now = send_due(now + 100 * REFILL_SECONDS)
        self.assertEqual(arrived, [str(number) for number in range(len(course))])
        for place, begin in enumerate(messages):
            within = [at for at in messages[place:] if at < begin + REFILL_SECONDS]
            self.assertLessEqual(len(within), BURST + 1)
