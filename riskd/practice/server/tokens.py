"""Session tokens: JSON Web Tokens that outlive the process that issued them."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from uuid import uuid4

import jwt

LIFETIME: Final = timedelta(hours=24)
"""How long a token is good.  Source: the ProjectX Gateway API documentation."""

_ALGORITHM: Final = "HS256"
_KEY_PURPOSE: Final = b"session tokens of a practice gateway"


class Tokens:
    """Issues tokens to a client with the API key, and checks them.

    The signing key is derived from the API key: after a restart tokens are still good, but with another
    API key they are not.

    :param user_name: the only user.
    :param api_key: that user's key.
    :param now: returns the time of day, aware.
    """

    def __init__(self, user_name: str, api_key: str, now: Callable[[], datetime]) -> None:
        self._user_name = user_name
        self._api_key = api_key
        self._now = now
        self._signing_key = hmac.digest(api_key.encode(), _KEY_PURPOSE, sha256)
        self._revoked: dict[str, int] = {}
        # A client sends one token with each request.
        self._claims = lru_cache(maxsize=64)(self._read)

    def log_in(self, user_name: str, api_key: str) -> str | None:
        """Return a new token, or ``None`` for a wrong name or key."""
        # Compare both, and in constant time, so that the time taken reveals nothing of either.
        is_user = hmac.compare_digest(user_name.encode(), self._user_name.encode())
        is_key = hmac.compare_digest(api_key.encode(), self._api_key.encode())
        return self.issue() if is_user & is_key else None

    def issue(self) -> str:
        """Return a new token; older ones stay good."""
        now = self._now()
        claims = {
            "sub": self._user_name,
            # Tokens of the same second differ, so that each can be revoked alone.
            "jti": uuid4().hex,
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME).timestamp()),
        }
        return jwt.encode(claims, self._signing_key, _ALGORITHM)

    def is_good(self, token: str) -> bool:
        """Return whether ``token`` was issued here, has not expired and is not revoked."""
        claims = self._claims(token)
        return (
            claims is not None
            and self._now().timestamp() < claims["exp"]
            and claims["jti"] not in self._revoked
        )

    def revoke(self, token: str) -> None:
        """Refuse ``token`` from now on, for as long as this process lives."""
        claims = self._claims(token)
        if claims is None:
            return
        now = self._now().timestamp()
        # Forget expired tokens, which are refused anyway.
        self._revoked = {key: expiry for key, expiry in self._revoked.items() if now < expiry}
        self._revoked[claims["jti"]] = claims["exp"]

    def _read(self, token: str) -> dict[str, Any] | None:
        """Return what a token says; ``None`` if it was not issued here."""
        try:
            return jwt.decode(
                token,
                self._signing_key,
                algorithms=[_ALGORITHM],
                # Times are compared with ``now``; PyJWT would use the machine's clock.
                options={
                    "require": ["sub", "jti", "exp"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
                subject=self._user_name,
            )
        except (jwt.PyJWTError, ValueError):
            return None
