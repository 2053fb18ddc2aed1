"""The one-time token and the cookie."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from trader.web.admission import Admission


class AdmissionTests(SynchronousTestCase):
    """Which browsers are admitted."""

    def setUp(self) -> None:
        self.admission = Admission()

    def test_a_token_admits_once(self) -> None:
        token = self.admission.token.encode()
        cookie = self.admission.redeem(token)
        assert cookie is not None
        self.assertTrue(self.admission.is_admitted(cookie.encode()))
        self.assertIsNone(self.admission.redeem(token))

    def test_the_next_token_admits_another_browser(self) -> None:
        first = self.admission.token
        self.admission.redeem(first.encode())
        self.assertNotEqual(self.admission.token, first)
        self.assertIsNotNone(self.admission.redeem(self.admission.token.encode()))

    def test_a_wrong_token_spends_nothing(self) -> None:
        token = self.admission.token
        for wrong in (b"", token[:-1].encode(), f"{token}x".encode(), "ä".encode(), b"\xff"):
            self.assertIsNone(self.admission.redeem(wrong))
        self.assertEqual(self.admission.token, token)

    def test_no_cookie_and_a_wrong_one_admit_nobody(self) -> None:
        other = Admission()
        foreign = other.redeem(other.token.encode())
        assert foreign is not None
        for wrong in (None, b"", foreign.encode(), self.admission.token.encode()):
            self.assertFalse(self.admission.is_admitted(wrong))

    def test_every_run_has_secrets_of_its_own(self) -> None:
        runs = [Admission() for _ in range(5)]
        secrets = {secret for run in runs for secret in (run.place, run.token)}
        self.assertEqual(len(secrets), 10)
        self.assertTrue(all(len(secret) >= 12 for secret in secrets))
