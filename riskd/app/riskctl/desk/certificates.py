"""Certificates of a desk, signed by an authority of its own.

Whoever has none of them is refused.  All of them end with the authority, after ten years.  What ends one earlier is the server's list of users: each
certificate names its user by a text that no other certificate has, so a trader's new certificate never lets the old one
in again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME: Final = timedelta(days=3652)

_BEFORE: Final = timedelta(days=1)
"""A certificate counts from this time before it was made, for clocks that are behind."""

_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH


class Credentials(NamedTuple):
    """A certificate and its private key, in PEM."""

    certificate: str
    key: str


class Authority:
    """Signs certificates.

    :param certificate: its own.
    :param key: its private key.
    """

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def new(cls, name: str) -> Authority:
        """Return a new authority."""
        key = _new_key()
        subject = _subject(name)
        serial = x509.random_serial_number()
        builder = _builder(
            subject, subject, key.public_key(), serial, datetime.now(UTC) + LIFETIME
        )
        for extension in (
            x509.BasicConstraints(ca=True, path_length=0),
            _key_usage(is_authority=True),
        ):
            builder = builder.add_extension(extension, critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def read(cls, credentials: Credentials) -> Authority:
        """Return the authority that has been written.

        :raises ValueError: it is none.
        """
        certificate = x509.load_pem_x509_certificate(credentials.certificate.encode())
        key = serialization.load_pem_private_key(credentials.key.encode(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("expected a key of an elliptic curve")
        if key.public_key() != certificate.public_key():
            raise ValueError("expected the key of its certificate")
        return cls(certificate, key)

    @property
    def credentials(self) -> Credentials:
        """Its own certificate and key."""
        return _credentials(self._certificate, self._key)

    def user(self, desk: str, name: str) -> tuple[str, Credentials]:
        """Return a new user of the server, as it names them, and the user's credentials.

        It cannot pose as a server: programs check what a certificate is for.
        """
        serial = x509.random_serial_number()
        # Of all that a certificate may say, the server compares this letter by letter.
        user = f"urn:riskd:{desk}:{name}:{serial:x}"
        names = [x509.UniformResourceIdentifier(user)]
        return user, self._issue(name, names, (_CLIENT,), serial)

    def server(self, name: str, host: str) -> Credentials:
        """Return credentials of a server for its clients.

        :param host: where they connect to, which they check.
        """
        return self._issue(name, [_host_name(host)], (_SERVER,), x509.random_serial_number())

    def cluster_member(self, name: str, host: str) -> Credentials:
        """Return credentials of a server for the other servers.

        It connects to them, and they to it.
        """
        usages = (_SERVER, _CLIENT)
        return self._issue(name, [_host_name(host)], usages, x509.random_serial_number())

    def _issue(
        self,
        name: str,
        alternative_names: Sequence[x509.GeneralName],
        usages: tuple[x509.ObjectIdentifier, ...],
        serial: int,
    ) -> Credentials:
        key = _new_key()
        issuer = self._certificate
        builder = _builder(
            _subject(name), issuer.subject, key.public_key(), serial, issuer.not_valid_after_utc
        )
        for extension, is_critical in (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (_key_usage(is_authority=False), True),
            (x509.ExtendedKeyUsage(usages), False),
            (x509.SubjectAlternativeName(alternative_names), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical=is_critical)
        return _credentials(builder.sign(self._key, hashes.SHA256()), key)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    serial: int,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(datetime.now(UTC) - _BEFORE)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _credentials(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Credentials:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Credentials(
        certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
