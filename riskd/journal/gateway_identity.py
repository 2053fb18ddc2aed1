"""Which gateway a state directory belongs to.

Locks, unfinished flattens and baselines are those of accounts at one gateway.  A lock of a paper account
would close a position of the real account with the same number, so a journal is never used for another
gateway than the one that it records.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import msgspec

PRACTICE: Final = "practice"
"""The kind of the embedded gateway, which trades paper and has neither URL nor login."""

KINDS: Final = (PRACTICE, "projectx")
"""The kinds of gateway that this riskd knows."""

DESK: Final = "desk"
"""Stands for the gateways of all daemons of a desk, in what its relay publishes; no riskd follows it."""

_KEY_DIGITS: Final = 8
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class GatewayIdentity(msgspec.Struct, frozen=True):
    """A gateway: its kind, the URL of its REST API, and the user name of the login.

    :ivar kind: one of :data:`KINDS`, or :data:`DESK`.
    :ivar url: empty for practice and a desk; otherwise as :func:`gateway_identity` writes it.
    :ivar login: empty for practice; the name of a desk.
    """

    kind: str
    url: str = ""
    login: str = ""

    @property
    def key(self) -> str:
        """A short name, also for a directory; it shows neither URL nor login."""
        if not (self.url or self.login):
            return self.kind
        digest = sha256(f"{self.url}\n{self.login.casefold()}".encode()).hexdigest()
        return f"{self.kind}-{digest[:_KEY_DIGITS]}"

    def __str__(self) -> str:
        if not (self.url or self.login):
            return f"the {self.kind} gateway"
        if self.kind == DESK:
            return f"the desk {self.login}"
        return f"the {self.kind} gateway at {self.url} with the login {self.login!r}"


def gateway_identity(kind: str, url: str = "", login: str = "") -> GatewayIdentity:
    """Return the identity of a gateway, with its URL in one spelling.

    The practice gateway runs in the daemon's process, so its URL and login are dropped.
    """
    if kind == PRACTICE:
        return GatewayIdentity(kind)
    return GatewayIdentity(kind, _one_spelling(url), login)


def _one_spelling(url: str) -> str:
    # Another spelling of the same URL must not begin another directory, without the locks of this one.
    parts = urlsplit(url)
    place = (parts.hostname or "").lower()
    if ":" in place:
        place = f"[{place}]"
    if parts.port is not None and parts.port != _DEFAULT_PORTS.get(parts.scheme):
        place += f":{parts.port}"
    return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
