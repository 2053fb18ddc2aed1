"""Secrets in texts of others."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from riskd.host.secrets import REDACTED, Secret, redacted

KEY: Final = "aB3/xY+z9-_.secret=="


class RedactedTests(SynchronousTestCase):
    """What an echo of a secret leaves."""

    def setUp(self) -> None:
        self.secret = Secret(KEY)

    def test_an_echo_is_removed(self) -> None:
        self.assertEqual(redacted(f"key {KEY} and {KEY}"), f"key {REDACTED} and {REDACTED}")

    def test_an_echo_with_escaped_signs_is_removed(self) -> None:
        escaped = json.dumps(KEY).replace("/", "\\/").replace("+", "\\u002B")
        percent = quote(KEY, safe="")
        for echo in (percent, percent.replace("%2F", "%2f"), escaped.strip('"')):
            self.assertEqual(redacted(f"<{echo}>"), f"<{REDACTED}>")

    def test_a_secret_that_is_a_word_is_left(self) -> None:
        Secret("practice")
        self.assertEqual(redacted("the practice gateway"), "the practice gateway")

    def test_the_secrets_that_were_used_last_are_removed(self) -> None:
        for number in range(100):
            Secret(f"a token of the past {number:03}")
            Secret(KEY)
        self.assertEqual(redacted(f"{KEY} a token of the past 090"), f"{REDACTED} {REDACTED}")

    def test_a_secret_in_use_is_removed_whatever_came_after_it(self) -> None:
        for number in range(100):
            Secret(f"a later token {number:03}")
        self.assertEqual(redacted(f"{KEY}, {self.secret!r}"), f"{REDACTED}, Secret(...)")

    def test_a_secret_within_another_leaves_no_rest_of_it(self) -> None:
        tokens = [Secret(text) for text in ("a short token", "a short token and more")]
        self.assertEqual(redacted("a short token and more"), REDACTED)
        del tokens
