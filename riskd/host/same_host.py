"""Who may knock: whoever asks for this machine by one of its own names, and no stranger's web page."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def may_enter(host: str | None, origin: str | None, port: int) -> bool:
    """Tell whether a request may be looked at.

    A page from elsewhere sends its own ``Origin``; one whose name was made to resolve to this machine
    sends its own name as ``Host``.

    :param host: the ``Host`` header; some clients leave the port out of it.
    :param origin: the ``Origin`` header; ``None`` if there is none, as from all that is no page.
    :param port: where the request came in.
    """
    return _is_loopback(host or "", port, default=port) and (
        origin is None
        or (
            origin.startswith("http://")
            and _is_loopback(origin.removeprefix("http://"), port, default=80)
        )
    )


def _is_loopback(authority: str, port: int, *, default: int) -> bool:
    try:
        parts = urlsplit(f"//{authority.strip()}")
        is_own_port = (parts.port or default) == port
    except ValueError:
        return False
    if parts.netloc != authority.strip() or "@" in authority or not is_own_port:
        return False
    name = parts.hostname or ""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
