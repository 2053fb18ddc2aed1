"""Which browsers may see the console.

A one-time token in the printed URL admits a browser; a cookie keeps it admitted.  Both are random and held in
memory alone, so after a restart no browser is admitted.

Browsers send a cookie to every port of a host, and another user of this machine may serve a page on one.  So the
cookie is for one path, which is random too: no page elsewhere makes a browser ask for it.
"""

from __future__ import annotations

import secrets
from typing import Final

_PLACE_BYTES: Final = 9
_TOKEN_BYTES: Final = 18
_COOKIE_BYTES: Final = 32


class Admission:
    """The secrets of one run.

    :ivar place: the random first part of the path of every page.
    :ivar token: admits the next browser.
    """

    def __init__(self) -> None:
        self.place = secrets.token_urlsafe(_PLACE_BYTES)
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._cookie = secrets.token_urlsafe(_COOKIE_BYTES)

    def redeem(self, token: bytes) -> str | None:
        """Return the cookie for a browser with the token, which is worthless from now."""
        if not _is_equal(token, self.token):
            return None
        self.token = secrets.token_urlsafe(_TOKEN_BYTES)
        return self._cookie

    def is_admitted(self, cookie: bytes | None) -> bool:
        """Return whether a browser has the cookie."""
        return cookie is not None and _is_equal(cookie, self._cookie)


def _is_equal(given: bytes, secret: str) -> bool:
    """Compare in a time that says nothing about the secret."""
    return secrets.compare_digest(given, secret.encode())
