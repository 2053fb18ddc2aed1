"""The Host/Origin check: only clients and pages of this machine are served.

A web page from elsewhere sends its own ``Origin``.  A page whose name was made to resolve to this machine
(DNS rebinding) sends that name as ``Host``.  A page that embeds an address as an image or a script sends
neither, but its browser says so in ``Sec-Fetch-Site``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PORT: Final = 80


def url_host(address: str) -> str:
    """Return an address as URLs write it, an IPv6 address in brackets."""
    return f"[{address}]" if ":" in address else address


class SameHostCheck:
    """The values of ``Host`` and ``Origin`` that a server accepts.

    :param addresses: IP address and port of each socket that the server listens on.
    :param allowed_origins: web origins that are accepted besides the server's own.
    :param needs_port: whether ``Host`` must have the port; some HTTP clients leave it out.
    """

    def __init__(
        self,
        addresses: Iterable[tuple[str, int]],
        allowed_origins: Iterable[str] = (),
        *,
        needs_port: bool = True,
    ) -> None:
        own = {
            (url_host(name), port)
            for address, port in addresses
            for name in (*_LOCAL_NAMES, address)
        }
        self._hosts = {f"{name}:{port}" for name, port in own}
        self._origins = {f"http://{host}" for host in self._hosts} | set(allowed_origins)
        # Browsers leave the default port out of an origin.
        self._origins |= {f"http://{name}" for name, port in own if port == _DEFAULT_PORT}
        if not needs_port:
            self._hosts |= {name for name, _port in own}

    def foreign_header(self, host: str | None, origin: str | None) -> str | None:
        """Return which of ``Origin`` and ``Host`` is foreign; ``None`` if neither is.

        :param origin: ``None`` from a client that is not a web page.
        """
        # Compared as a whole: a URL that is not taken apart cannot be taken apart wrongly.
        if origin is not None and origin not in self._origins:
            return "Origin"
        return None if (host or "").strip().lower() in self._hosts else "Host"


def is_same_host(request: Any) -> bool:
    """Return whether ``Host`` and ``Origin`` of a request both name this machine."""
    here = request.getHost()
    check = SameHostCheck([(here.host, here.port)], needs_port=False)
    return check.foreign_header(request.getHeader("host"), request.getHeader("origin")) is None


def is_foreign_fetch(request: Any) -> bool:
    """Return whether a browser makes the request for a page of another site.

    A person who follows a link is let in: the page with the link cannot read where it leads.

    Source: W3C Fetch Metadata Request Headers; clients that are no browsers send none of them.
    """
    site = request.getHeader("sec-fetch-site")
    is_followed_link = (
        request.getHeader("sec-fetch-mode") == "navigate"
        and request.getHeader("sec-fetch-dest") == "document"
    )
    return site not in (None, "none", "same-origin") and not is_followed_link
