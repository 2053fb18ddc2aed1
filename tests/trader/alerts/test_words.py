"""Alerts in words, and several as one message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from trader.alerts.alert import (
    ACTION_FAILED,
    COMMON_FIELDS,
    FACTS,
    NOT_ENFORCED,
    Alert,
    Kind,
    make_alert,
    sample,
)
from trader.alerts.words import check_words, compose, line
from trader.model.formatting import clock

NOW = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
KINDS = st.sampled_from(Kind)


def alert(kind: Kind = Kind.LOCKOUT, text: str = "text", **fields: str) -> Alert:
    """Return an alert of account 123."""
    return make_alert(kind, NOW, account="123", gateway="PRACTICE", text=text, **fields)


class LineTests(SynchronousTestCase):
    """One alert in one line."""

    def test_the_usual_words_name_the_account_and_say_all(self) -> None:
        text = line(alert(text="LOCKED OUT"), {})
        self.assertEqual(text, f"{clock(NOW)} account 123 (PRACTICE): LOCKED OUT")

    def test_news_of_the_daemon_name_no_account(self) -> None:
        self.assertEqual(
            line(alert(Kind.GONE, "riskd is GONE"), {}), f"{clock(NOW)} riskd is GONE"
        )

    def test_own_words_have_the_fields_of_the_kind(self) -> None:
        words = {Kind.LOCKOUT: "{{!}} {account}: {rule} until {until}"}
        locked = alert(rule="RULE-003", until="17:00:00")
        self.assertEqual(line(locked, words), f"{clock(NOW)} {{!}} 123: RULE-003 until 17:00:00")

    def test_a_field_with_braces_is_shown_as_it_is(self) -> None:
        self.assertIn("{account.__class__}", line(alert(text="{account.__class__}"), {}))

    def test_own_words_of_several_lines_become_one(self) -> None:
        self.assertEqual(line(alert(), {Kind.LOCKOUT: "a\n{text}"}), f"{clock(NOW)} a text")

    def test_text_of_the_broker_is_escaped(self) -> None:
        hostile = alert(text="a\x1b[2J\nb\u202ec", reason="\x9b31m")
        text = line(hostile, {Kind.LOCKOUT: "{text} {reason}"})
        self.assertTrue(text.isprintable(), text)
        self.assertIn(r"a\x1b[2J b\u202ec \x9b31m", text)

    @given(KINDS)
    def test_a_sample_has_every_field_that_words_may_have(self, kind: Kind) -> None:
        names = [*COMMON_FIELDS, *FACTS[kind].fields]
        words = " ".join(f"{{{name}}}" for name in names)
        check_words(kind, words)
        shown = sample(kind, NOW)
        self.assertEqual(set(shown.fields), set(names))
        for name in names:
            self.assertIn(shown.fields[name], line(shown, {kind: words}))
        # Its usual sentence is one, with the samples in their places.
        self.assertIn("TEST, nothing has happened. ", shown.fields["text"])
        self.assertNotIn("{", shown.fields["text"])


class CheckTests(SynchronousTestCase):
    """Words that cannot be used."""

    def problem(self, words: str, kind: Kind = Kind.LOCKOUT) -> str:
        return str(self.assertRaises(ValueError, check_words, kind, words))

    def test_an_unknown_field_is_refused_with_the_nearest(self) -> None:
        self.assertEqual(self.problem("{untill}"), "unknown field {untill}; did you mean until?")
        self.assertIn("known are account, gateway, text, reason, rule", self.problem("{xyz}"))

    def test_a_field_of_another_kind_is_refused(self) -> None:
        self.assertIn("unknown field {percent}", self.problem("{percent}"))
        check_words(Kind.LIMIT, "{percent}")

    def test_braces_without_partner_and_all_but_plain_fields_are_refused(self) -> None:
        for words in ("{", "}", "{text", "text}"):
            self.assertIn("a brace has no partner", self.problem(words))
        for words in ("{text!r}", "{text:>10}"):
            self.assertIn("without anything behind the name", self.problem(words))
        for words in ("{}", "{0}", "{text.__class__}", "{text[0]}"):
            self.assertIn("unknown field", self.problem(words))

    def test_empty_words_are_refused(self) -> None:
        self.assertIn("got none", self.problem(" "))


class ComposeTests(SynchronousTestCase):
    """Several alerts as one message."""

    def test_the_gravest_gives_the_title_and_the_urgency(self) -> None:
        message = compose([alert(Kind.SUMMARY), alert(Kind.GONE), alert(Kind.BACK)], {}, 1000)
        self.assertEqual(message.title, "riskd is GONE, and 2 more")
        self.assertEqual(message.urgency, "failure")
        self.assertEqual(len(message.body.splitlines()), 3)

    def test_the_title_claims_no_action_that_failed_or_is_a_dry_run(self) -> None:
        acted = alert(Kind.ENFORCEMENT)
        failed = msgspec.structs.replace(acted, variant=ACTION_FAILED)
        dry = msgspec.structs.replace(acted, variant=NOT_ENFORCED)
        message = compose([acted, dry, failed], {}, 1000)
        self.assertEqual(message.title, "riskd FAILED to act, and 2 more")
        self.assertEqual(message.urgency, "failure")
        self.assertEqual(compose([dry], {}, 1000).title, "Dry run: riskd would have acted")

    def test_without_room_the_gravest_stay_and_the_rest_is_counted(self) -> None:
        alerts = [alert(Kind.ENFORCEMENT, f"action {number}") for number in range(100)]
        alerts.insert(50, alert(Kind.LOCKOUT, "LOCKED"))
        lines = compose(alerts, {}, 300, dropped=7).body.splitlines()
        self.assertIn("LOCKED", lines[0])
        self.assertTrue(lines[-2].endswith("action 99"), lines)
        self.assertEqual(
            lines[-1], f"and {101 - (len(lines) - 1) + 7} more; the console shows them"
        )

    @given(
        st.lists(st.tuples(KINDS, st.text(max_size=400)), min_size=1, max_size=30),
        st.integers(80, 2000),
        st.integers(0, 3),
    )
    def test_a_message_has_its_room_and_the_gravest(
        self, news: list[tuple[Kind, str]], room: int, dropped: int
    ) -> None:
        alerts = [alert(kind, text) for kind, text in news]
        message = compose(alerts, {}, room, dropped)
        self.assertLessEqual(len(message.body), room)
        lines = message.body.splitlines()
        gravest = min(alerts, key=lambda each: each.gravity)
        of_gravest: Any = {
            line(each, {})[:30] for each in alerts if each.gravity == gravest.gravity
        }
        self.assertTrue(any(each[:30] in of_gravest for each in lines), lines)
        left_out = len(alerts) - sum(not each.endswith("shows them") for each in lines) + dropped
        self.assertEqual(lines[-1].startswith(f"and {left_out} more"), left_out > 0)
