"""Recorded days, replayed through the pure core."""

from __future__ import annotations

import functools

from twisted.trial.unittest import SynchronousTestCase

from riskd.rules.interface import ChangeStop, Flatten, LiftLock, PlaceStop, WithdrawStop
from tests.support.replay import Replay, recording, settings

DAYS = 10
_INTENTS = {Flatten, LiftLock, PlaceStop, ChangeStop, WithdrawStop}


def replayed() -> Replay:
    replay = Replay(settings())
    for moments in recording(DAYS):
        replay.hear(moments)
    return replay


@functools.cache
def once() -> Replay:
    """Return the replay that tests share."""
    return replayed()


class ReplayTests(SynchronousTestCase):
    def test_what_is_decided_follows_from_what_was_recorded(self) -> None:
        again = replayed()
        self.assertEqual(again.decided, once().decided)
        self.assertEqual(again.state, once().state)

    def test_the_recording_is_in_order(self) -> None:
        times = [moment.at for moments in recording(DAYS) for moment in moments]
        self.assertEqual(times, sorted(times))

    def test_most_rules_have_something_to_decide(self) -> None:
        decided = once().decided
        rules = {one.rule_id for one in decided}
        self.assertGreaterEqual(len(rules), 8, sorted(rules))
        kinds = {type(one.command) for one in decided}
        self.assertLessEqual(_INTENTS, kinds)

    def test_what_is_opened_under_a_lock_is_decided_on(self) -> None:
        reasons = [
            one.command.reason for one in once().decided if isinstance(one.command, Flatten)
        ]
        self.assertTrue(any(reason.startswith("Locked: ") for reason in reasons))
