"""Session tokens: their issue, their expiry and their revocation."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta

import jwt
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from riskd.practice.server.tokens import LIFETIME, Tokens

# Far from the machine's time of day, which tokens must not use.
START = datetime(1999, 12, 31, 12, 0, tzinfo=UTC)


class TokenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.time = START
        self.tokens = self.make()

    def make(self, user: str = "somebody", key: str = "a key") -> Tokens:
        return Tokens(user, key, lambda: self.time)

    def test_a_token_has_three_parts_that_an_address_may_hold(self) -> None:
        token = self.tokens.issue()
        self.assertIsNotNone(re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}", token))

    def test_a_client_can_read_when_its_token_expires(self) -> None:
        """Clients read it from the middle part, which needs no key."""
        middle = self.tokens.issue().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        self.assertEqual(claims["exp"], (START + timedelta(hours=24)).timestamp())

    def test_name_and_key_must_both_be_right(self) -> None:
        self.assertIsNotNone(self.tokens.log_in("somebody", "a key"))
        for name, key in (("somebody", "x"), ("x", "a key"), ("", ""), ("somebody", "a keyé")):
            self.assertIsNone(self.tokens.log_in(name, key))

    def test_a_token_is_good_until_it_expires(self) -> None:
        token = self.tokens.issue()
        self.time += LIFETIME - timedelta(seconds=1)
        self.assertTrue(self.tokens.is_good(token))
        self.time += timedelta(seconds=1)
        self.assertFalse(self.tokens.is_good(token))

    def test_the_clock_of_the_machine_does_not_matter(self) -> None:
        for year in (1999, 2099):
            self.time = START.replace(year=year)
            self.assertTrue(self.tokens.is_good(self.tokens.issue()), year)

    def test_a_token_is_good_after_a_restart_unless_the_key_changed(self) -> None:
        token = self.tokens.issue()
        self.assertTrue(self.make().is_good(token))
        self.assertFalse(self.make(key="another").is_good(token))
        self.assertFalse(self.make(user="another").is_good(token))

    def test_tokens_differ_and_are_revoked_one_by_one(self) -> None:
        first, second = self.tokens.issue(), self.tokens.issue()
        self.assertNotEqual(first, second)
        self.tokens.revoke(first)
        self.assertFalse(self.tokens.is_good(first))
        self.assertTrue(self.tokens.is_good(second))

    def test_an_expired_token_is_not_kept_as_revoked(self) -> None:
        for _ in range(3):
            self.tokens.revoke(self.tokens.issue())
            self.time += LIFETIME
        self.assertEqual(len(self.tokens._revoked), 1)

    def test_a_token_issued_elsewhere_is_not_good(self) -> None:
        key = self.tokens._signing_key
        claims = {"sub": "somebody", "jti": "1", "exp": int(START.timestamp()) + 60}
        self.assertTrue(self.tokens.is_good(jwt.encode(claims, key)))
        for token in (
            "",
            "x",
            "a.b.c",
            "é.é.é",
            jwt.encode(claims, b"x" * 32),
            jwt.encode(claims, "", "none"),
            jwt.encode({**claims, "sub": "x"}, key),
            *(jwt.encode({**claims, name: None}, key) for name in claims),
            *(jwt.encode({k: v for k, v in claims.items() if k != name}, key) for name in claims),
        ):
            self.assertFalse(self.tokens.is_good(token), token)
            self.tokens.revoke(token)

    @given(st.text())
    def test_any_text_can_be_checked(self, text: str) -> None:
        tokens = Tokens("somebody", "a key", lambda: START)
        self.assertFalse(tokens.is_good(text))
        tokens.revoke(text)
