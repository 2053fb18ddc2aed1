"""When which account's state is sent."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.desk.messages import PublishedState
from riskd.desk.state_schedule import REST_SECONDS, SELDOM_SECONDS, StateSchedule


def state(seq: int = 1, **tables: Any) -> PublishedState:
    """Return a state with these tables."""
    return PublishedState(schema=1, epoch=1, seq=seq, facts={"as_of": str(seq)}, tables=tables)


class ScheduleTests(SynchronousTestCase):
    """A schedule of two accounts."""

    def setUp(self) -> None:
        self.schedule = StateSchedule()
        self.assertEqual(self.published(0, one=state(), other=state()), {1: state(), 2: state()})

    def published(
        self, now: float, one: PublishedState, other: PublishedState
    ) -> dict[int, PublishedState]:
        """Publish the states of both; return what is sent."""
        self.schedule.published({1: one, 2: other}, now)
        return self.schedule.take_due(now)

    def test_a_state_is_sent_once(self) -> None:
        self.assertEqual(self.schedule.take_due(1000), {})
        self.assertEqual(self.published(1000, state(), state()), {})
        self.assertEqual(self.schedule.take_due(2000), {})

    def test_what_changes_an_account_is_sent_at_once_and_its_state_alone(self) -> None:
        changed = state(2, orders=[[1, "x"]])
        self.assertEqual(self.published(1, changed, state(2)), {1: changed})

    def test_other_quotes_and_a_later_number_are_sent_seldom(self) -> None:
        for quiet in (
            state(2),
            msgspec.structs.replace(state(), epoch=2),
            state(quotes=[[1, "MNQ", "{}"]]),
            state(equity=[[1, 1, "9"]]),
        ):
            self.schedule = StateSchedule()
            self.published(0, state(), state())
            for second in range(1, int(SELDOM_SECONDS)):
                self.assertEqual(self.published(second, quiet, state()), {}, second)
            self.assertEqual(self.published(SELDOM_SECONDS, quiet, state()), {1: quiet})
            self.assertEqual(self.published(SELDOM_SECONDS + 1, quiet, state()), {})

    def test_once_nothing_is_published_any_more_the_last_of_it_is_sent(self) -> None:
        last = state(quotes=[[1, "MNQ", "{}"]])
        self.assertEqual(self.published(1, last, state()), {})
        self.assertEqual(self.schedule.take_due(1 + REST_SECONDS), {1: last})
        self.assertEqual(self.schedule.take_due(1000), {})

    def test_what_is_as_it_was_sent_is_not_sent_again(self) -> None:
        self.assertEqual(self.published(1, state(2), state()), {})
        self.assertEqual(self.published(2, state(), state()), {})
        self.assertEqual(self.schedule.take_due(1000), {})


@st.composite
def _courses(draw: st.DrawFn) -> list[tuple[float, int, int]]:
    """Return at which times there were which rows and quotes."""
    steps = draw(
        st.lists(
            st.tuples(st.floats(0, 40), st.integers(0, 2), st.integers(0, 2)),
            min_size=1,
            max_size=30,
        )
    )
    at, course = 0.0, []
    for pause, row, quote in steps:
        at += pause
        course.append((at, row, quote))
    return course


class AnyCourseTests(SynchronousTestCase):
    """Whatever is published, and whenever."""

    @given(_courses())
    def test_the_desk_has_each_change_of_an_account_and_at_last_everything(
        self, course: list[tuple[float, int, int]]
    ) -> None:
        schedule, has, made = StateSchedule(), None, None
        for at, row, quote in course:
            has = schedule.take_due(at).get(1, has)
            made = state(len(course), orders=[[row]], quotes=[[quote]])
            schedule.published({1: made}, at)
            has = schedule.take_due(at).get(1, has)
            assert has is not None
            self.assertEqual(has.tables["orders"], [[row]])
        self.assertEqual(schedule.take_due(course[-1][0] + REST_SECONDS).get(1, has), made)
