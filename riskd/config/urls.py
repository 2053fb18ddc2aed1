"""URLs that a login and its token may be sent to.

A token must never travel in the clear, so a URL is ``https``; ``http`` is only for a gateway on this
machine, such as the practice gateway.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

MAX_URL: Final = 200
"""The longest URL, in characters."""

_WANTED: Final = "a URL such as https://api.topstepx.com"


def checked_url(url: str) -> str:
    """Return ``url`` without a slash at its end.

    :raises ValueError: a token must not be sent there; the message says what was expected.  It does not
        repeat those parts of the URL that may hold a secret.
    """
    if "@" in url:
        raise ValueError("expected a URL without a user name or password in it")
    if "?" in url or "#" in url:
        raise ValueError("expected a URL without a query or fragment (what follows a ? or #)")
    # ASCII: a look-alike letter from another alphabet would send the login to another host.
    if not (len(url) <= MAX_URL and url.isascii() and url.isprintable() and " " not in url):
        raise ValueError(
            f"expected {_WANTED}, of up to {MAX_URL} ASCII characters without blanks, got {url[:60]!r}"
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if not host:
        raise ValueError(f"expected {_WANTED}, got {url!r}")
    if not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise ValueError(
            "expected https://, or http:// to 127.0.0.1, localhost or [::1] "
            f"(a token must not travel in the clear), got {url!r}"
        )
    # Callers append paths that begin with a slash.
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
