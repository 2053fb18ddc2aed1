"""Where a gateway is: URLs to which a login and its token may be sent.

A token must never travel in the clear.  So a URL is ``https``; ``http`` is for a gateway on this very
machine.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

MAX_URL: Final = 200
"""Characters that a URL may have."""

_WANTED: Final = "a URL such as https://api.topstepx.com"


def checked_url(url: str) -> str:
    """Return ``url`` without a slash at its end.

    :raises ValueError: it is no place for a token; the message says what was expected.  What may be a
        secret in the URL is not repeated.
    """
    if "@" in url:
        raise ValueError("expected a URL without a user name or password in it")
    if "?" in url or "#" in url:
        raise ValueError("expected a URL without a query or fragment (what follows a ? or #)")
    if not (len(url) <= MAX_URL and url.isascii() and url.isprintable() and " " not in url):
        raise ValueError(
            f"expected {_WANTED}, of up to {MAX_URL} ASCII characters without blanks, got {url[:60]!r}"
        )
    parts = _split(url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))
    if not is_safe:
        raise ValueError(
            "expected https://, or http:// to 127.0.0.1, localhost or [::1] "
            f"(a token must not travel in the clear), got {url!r}"
        )
    return url.rstrip("/")


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        has_place = False
    if not has_place:
        raise ValueError(f"expected {_WANTED}, got {url!r}")
    return parts


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return host is not None and ip_address(host).is_loopback
    except ValueError:
        return False
