"""What the rules that start cooldowns have in common."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from riskd.model.unlocks import Unlock
from riskd.rules.builtin import cooldown_after_loss, trade_frequency_limit
from riskd.rules.cooldowns import settings_at, start_cooldown, was_just_executed
from riskd.rules.interface import Flatten, Lock
from tests.support.rules import NOON, at

RULE = "RULE-006"


class CooldownTests(SynchronousTestCase):
    def test_a_cooldown_never_looks_shorter_than_it_is(self) -> None:
        for seconds, shown in ((60, 60), (60.001, 61), (59.999, 60), (0.001, 1)):
            flatten = start_cooldown("why", at(seconds), NOON)
            lock = Lock(until=at(seconds), cooldown_seconds=shown)
            self.assertEqual(flatten, Flatten(reason="why", lock=lock))

    def test_a_trade_is_new_for_ten_seconds_and_where_the_brokers_clock_is_ahead(self) -> None:
        for seconds, expected in ((9.999, True), (10, False), (-60, True)):
            self.assertIs(was_just_executed(NOON - timedelta(seconds=seconds), NOON), expected)


class SettingsTests(SynchronousTestCase):
    """The settings in force at an unlock."""

    def test_they_are_those_of_the_journal(self) -> None:
        settings = trade_frequency_limit.Settings(max_trades=7)
        unlock = Unlock(at=NOON, settings={RULE: msgspec.json.encode(settings).decode()})
        self.assertEqual(settings_at(unlock, RULE, trade_frequency_limit.Settings), settings)
        self.assertIsNone(settings_at(unlock, RULE, cooldown_after_loss.Settings))
        self.assertIsNone(settings_at(unlock, "RULE-007", cooldown_after_loss.Settings))

    def test_what_cannot_be_read_is_unknown(self) -> None:
        for text in ("", "{", "[]", '{"max_trades": 0}', '{"of": "another version"}'):
            unlock = Unlock(at=NOON, settings={RULE: text})
            self.assertIsNone(settings_at(unlock, RULE, trade_frequency_limit.Settings), text)
