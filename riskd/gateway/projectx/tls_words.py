"""Why TLS failed, in words for a trader.

The usual causes are not at the broker: a network that answers in its place until one has logged in to it, as hotels'
do, a proxy or a virus scanner, and a clock that is years off.
"""

from __future__ import annotations

from typing import Final

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError

NOT_TRUSTED: Final = (
    "the certificate is not one to trust: something else may answer in the broker's place, such as this "
    "network's login page, or this machine's clock is wrong"
)
OTHER_SERVER: Final = (
    "the certificate is that of another server: something else may answer in the broker's place, such as this "
    "network's login page"
)
_FAILED: Final = "TLS failed: something else than the broker may answer"


def tls_reason(error: BaseException | None) -> str:
    """Return why TLS failed; empty if the error is none of TLS."""
    if isinstance(error, VerificationError):
        return OTHER_SERVER
    if isinstance(error, TLSError):
        return tls_reason_of_text(str(error)) or _FAILED
    return ""


def tls_reason_of_text(text: str) -> str:
    """Return the words for a text of OpenSSL's; empty if they are unknown."""
    return NOT_TRUSTED if "certificate verify failed" in text else ""
