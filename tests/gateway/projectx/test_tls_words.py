"""Why TLS failed, in words."""

from __future__ import annotations

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from service_identity.exceptions import DNSMismatch, IPAddressMismatch
from service_identity.hazmat import DNS_ID, IPAddress_ID
from twisted.trial.unittest import SynchronousTestCase

from riskd.gateway.projectx.tls_words import NOT_TRUSTED, OTHER_SERVER, tls_reason


class ReasonTests(SynchronousTestCase):
    def test_no_error_of_a_library_is_shown_as_it_is(self) -> None:
        unknown = TLSError([("SSL routines", "", "wrong version number")])
        for error, reason in (
            (TLSError([("SSL routines", "", "certificate verify failed")]), NOT_TRUSTED),
            (VerificationError(errors=[DNSMismatch(DNS_ID("api.topstepx.com"))]), OTHER_SERVER),
            (
                VerificationError(errors=[IPAddressMismatch(IPAddress_ID("10.0.0.1"))]),
                OTHER_SERVER,
            ),
        ):
            self.assertEqual(tls_reason(error), reason)
        self.assertTrue(tls_reason(unknown).startswith("TLS failed"))
        self.assertNotIn("(", tls_reason(unknown))

    def test_another_error_is_none_of_tls(self) -> None:
        self.assertEqual(tls_reason(OSError("no network")), "")
        self.assertEqual(tls_reason(None), "")
