"""The commands of ``riskctl`` that ask the daemon, and how they word its answers."""

from __future__ import annotations

import json
import os

import msgspec

from riskd.model.account import Flattening
from riskd.model.events import Action, LockoutSet
from riskd.rules.interface import Gauge
from tests.support.control import NOW, a_rule
from tests.support.riskctl import AskingTestCase


class OnlineTests(AskingTestCase):
    """Each command, from the command line to the text of its answer."""

    def test_status_shows_the_accounts(self) -> None:
        self.assertIn("123", self.ask("status"))

    def test_status_as_json(self) -> None:
        report = json.loads(self.ask("status", "--json"))
        self.assertEqual(report["accounts"][0]["account"], 123)

    def test_rules_shows_the_gauges(self) -> None:
        self.account.rules = (a_rule("RULE-1", lambda *_: (Gauge(name="daily loss"),)),)
        self.assertIn("daily loss", self.ask("rules", "123"))
        report = json.loads(self.ask("rules", "123", "--json"))
        self.assertEqual(report["rules"][0]["rule_id"], "RULE-1")

    def test_a_lock_is_confirmed_with_its_end(self) -> None:
        text = self.ask("lock", "123", "--reason", "lunch")
        self.assertEqual(text, "account 123 was flattened and is locked until it is unlocked")
        self.assertEqual(self.account.received, [("lock", "lunch", "jane", None)])

    def test_a_reason_that_is_not_utf_8_is_sent_with_question_marks(self) -> None:
        self.ask("lock", "123", "--reason", os.fsdecode(b"caf\xe9"))
        self.assertEqual(self.account.received, [("lock", "caf?", "jane", None)])

    def test_a_lock_that_ends_before_another_names_the_others_rule(self) -> None:
        self.account.apply(
            LockoutSet(reason="loss", locked_until=None, rule_id="RULE-003", locked_at=NOW)
        )
        text = self.ask("lock", "123", "--reason", "lunch", "--minutes", "5")
        self.assertIn("locked until it is unlocked by RULE-003", text)

    def test_an_unlock_is_confirmed(self) -> None:
        self.account.lock("lunch", "jane", None)
        self.assertEqual(self.ask("unlock", "123", "--reason", "x"), "account 123 is unlocked")

    def test_an_unlock_of_an_account_that_is_not_locked_fails(self) -> None:
        self.begin("unlock", "123", "--reason", "x")
        self.answer()
        self.assertEqual(self.failure_text(), "account 123 is not locked")

    def test_a_flatten_is_confirmed(self) -> None:
        self.assertEqual(self.ask("flatten", "123"), "account 123 was flattened")
        self.assertEqual(self.account.received, [("flatten", "Flattened by hand", "jane")])

    def test_a_flatten_that_the_broker_has_not_confirmed_is_under_way(self) -> None:
        plan = Flattening(
            action=Action.CLOSE_ALL_POSITIONS, rule_id="OPERATOR", reason="x", begun=NOW
        )
        state = self.account.account_state
        self.account.account_state = msgspec.structs.replace(
            state, risk=msgspec.structs.replace(state.risk, flattening=plan)
        )
        self.assertEqual(self.ask("flatten", "123"), "account 123 is being flattened")

    def test_a_refusal_is_shown_in_the_daemons_words(self) -> None:
        self.begin("flatten", "99")
        self.answer()
        self.assertEqual(self.failure_text(), "riskd does not follow account 99, only 123")
