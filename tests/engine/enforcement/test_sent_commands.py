"""What was sent, and what may be sent again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.engine.enforcement.sent_commands import RETRY_SECONDS, Done, Outcome, SentCommands

MNQ, ORDER = ("position", "MNQ"), ("order", 7)


class SentCommandsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sent = SentCommands()

    def carry_out(self, outcome: Outcome, now: float = 0.0, identity: str = "first") -> None:
        self.sent.begin(MNQ, identity, now)
        self.sent.end(MNQ, outcome, now)

    def test_nothing_is_sent_twice_at_a_time(self) -> None:
        self.sent.begin(MNQ, "first", 0.0)
        self.assertFalse(self.sent.may_send(MNQ, "first"))
        self.assertFalse(self.sent.may_send(MNQ, "second"))
        self.assertTrue(self.sent.may_send(ORDER))

    def test_what_was_accepted_is_repeated_after_a_search_of_a_second_later(self) -> None:
        for outcome in (Outcome.ACCEPTED, Outcome.NOT_FOUND):
            self.carry_out(outcome, now=10.0)
            for sent_at, may_repeat in ((9.0, False), (10.99, False), (11.0, True)):
                self.sent.listed(MNQ, "first", sent_at)
                self.assertEqual(self.sent.may_send(MNQ, "first"), may_repeat)

    def test_the_next_position_in_a_contract_is_another_one(self) -> None:
        self.carry_out(Outcome.ACCEPTED)
        self.assertTrue(self.sent.may_send(MNQ, "second"))
        self.assertTrue(self.sent.is_another(MNQ, "second"))
        self.assertFalse(self.sent.is_another(MNQ, "first"))
        self.sent.listed(MNQ, "second", 60.0)
        self.assertFalse(self.sent.may_send(MNQ, "first"))

    def test_what_failed_is_repeated_on_the_ladder(self) -> None:
        waits = []
        for _ in range(7):
            self.sent.begin(MNQ, "first", 0.0)
            waits.append(self.sent.end(MNQ, Outcome.REFUSED, 0.0))
            self.assertFalse(self.sent.may_send(MNQ, "first"))
            self.sent.repeat(MNQ)
            self.assertTrue(self.sent.may_send(MNQ, "first"))
        self.assertEqual(waits, [*RETRY_SECONDS, 5.0, 5.0])

    def test_a_position_is_of_after_a_listing_by_its_first_close(self) -> None:
        self.carry_out(Outcome.REFUSED, now=1.0)
        self.carry_out(Outcome.REFUSED, now=3.0)
        self.assertFalse(self.sent.is_after(MNQ, "first", 2.0))
        self.assertTrue(self.sent.is_after(MNQ, "first", 0.5))

    def test_a_repetition_that_comes_late_repeats_nothing(self) -> None:
        self.carry_out(Outcome.REFUSED)
        self.carry_out(Outcome.ACCEPTED)
        self.sent.repeat(MNQ)
        self.assertFalse(self.sent.may_send(MNQ, "first"))

    def test_each_position_counts_once(self) -> None:
        self.carry_out(Outcome.UNANSWERED, now=1.0)
        self.carry_out(Outcome.NOT_FOUND, now=2.0)
        self.carry_out(Outcome.ACCEPTED, now=3.0, identity="second")
        self.assertTrue(self.sent.is_any_after(2.5))
        self.assertEqual(self.sent.take_done(2.5), Done(1, 0))
        self.assertEqual(self.sent.take_done(), Done(1, 0))
        self.assertEqual(self.sent.take_done(), Done(0, 0))
        self.assertFalse(self.sent.is_any_after(0.0))

    def test_what_was_not_there_or_was_refused_does_not_count(self) -> None:
        for outcome in (Outcome.NOT_FOUND, Outcome.REFUSED):
            self.carry_out(outcome)
        self.assertEqual(self.sent.take_done(), Done(0, 0))

    def test_another_flatten_forgets_what_is_over(self) -> None:
        self.carry_out(Outcome.ACCEPTED)
        self.sent.forget()
        self.assertFalse(self.sent.may_send(MNQ, "first"))
        self.sent.take_done()
        self.sent.forget()
        self.assertTrue(self.sent.may_send(MNQ, "first"))

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "c"]),
                st.sampled_from([one for one in Outcome if one is not Outcome.UNDER_WAY]),
                st.floats(0.0, 2.0),
            )
        )
    )
    def test_an_accepted_close_is_never_repeated_within_a_second(
        self, steps: list[tuple[str, Outcome, float]]
    ) -> None:
        """Whatever is listed and however often what failed is due, and however the positions change."""
        sent = SentCommands()
        now = 0.0
        accepted_at: dict[str, float] = {}
        last = ""
        for identity, outcome, passed in steps:
            now += passed
            sent.listed(MNQ, identity, now)
            sent.repeat(MNQ)
            if sent.may_send(MNQ, identity):
                if identity == last and identity in accepted_at:
                    self.assertGreaterEqual(now, accepted_at[identity] + 1.0)
                sent.begin(MNQ, identity, now)
                sent.end(MNQ, outcome, now)
                last = identity
                accepted_at.pop(identity, None)
                if outcome in (Outcome.ACCEPTED, Outcome.NOT_FOUND):
                    accepted_at[identity] = now
            done = sent.take_done()
            self.assertIn(done.closed, (0, 1))
