"""Certificates: what each is for, and for how long."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from riskd.app.riskctl.desk.certificates import LIFETIME, Authority, Credentials


def parsed(credentials: Credentials) -> x509.Certificate:
    return x509.load_pem_x509_certificate(credentials.certificate.encode())


def usages(credentials: Credentials) -> set[x509.ObjectIdentifier]:
    return set(parsed(credentials).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def names(credentials: Credentials) -> x509.SubjectAlternativeName:
    extensions = parsed(credentials).extensions
    return extensions.get_extension_for_class(x509.SubjectAlternativeName).value


class CertificateTests(SynchronousTestCase):
    """What an authority signs."""

    def setUp(self) -> None:
        self.authority = Authority.new("desk alpha")
        self.user, self.trader = self.authority.user("alpha", "anna")
        self.server = self.authority.server("alpha-1", "desk.example")
        self.member = self.authority.cluster_member("alpha-1", "10.0.0.5")

    def test_a_user_is_named_and_can_be_no_server(self) -> None:
        self.assertEqual(usages(self.trader), {ExtendedKeyUsageOID.CLIENT_AUTH})
        named = names(self.trader).get_values_for_type(x509.UniformResourceIdentifier)
        self.assertEqual(named, [self.user])
        self.assertRegex(self.user, r"^urn:riskd:alpha:anna:[0-9a-f]{16,}$")

    def test_a_user_who_comes_again_is_another_one(self) -> None:
        again, _ = self.authority.user("alpha", "anna")
        self.assertNotEqual(again, self.user)

    def test_a_server_is_for_its_host_and_can_be_no_user(self) -> None:
        self.assertEqual(usages(self.server), {ExtendedKeyUsageOID.SERVER_AUTH})
        hosts = names(self.server).get_values_for_type(x509.DNSName)
        self.assertEqual(hosts, ["desk.example"])

    def test_servers_show_each_other_who_they_are(self) -> None:
        both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
        self.assertEqual(usages(self.member), both)
        (host,) = names(self.member).get_values_for_type(x509.IPAddress)
        self.assertEqual(str(host), "10.0.0.5")

    def test_all_end_with_their_authority(self) -> None:
        authority = parsed(self.authority.credentials)
        self.assertGreater(
            authority.not_valid_after_utc - authority.not_valid_before_utc, LIFETIME
        )
        for each in (self.trader, self.server, self.member):
            certificate = parsed(each)
            certificate.verify_directly_issued_by(authority)
            self.assertEqual(certificate.not_valid_after_utc, authority.not_valid_after_utc)

    def test_an_authority_comes_back_and_signs_as_before(self) -> None:
        again = Authority.read(self.authority.credentials)
        self.assertEqual(again.credentials, self.authority.credentials)
        _, ben = again.user("alpha", "ben")
        parsed(ben).verify_directly_issued_by(parsed(self.authority.credentials))

    def test_what_is_no_authority_is_refused(self) -> None:
        certificate, key = self.authority.credentials
        other = Authority.new("desk alpha").credentials
        for wrong in (("", key), (certificate, ""), (certificate, other.key), (key, certificate)):
            self.assertRaises(ValueError, Authority.read, Credentials(*wrong))
