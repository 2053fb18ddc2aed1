"""What a relay says of a trader's riskd, in the message of a ``daemon_status``.

The relay makes these sentences (:mod:`riskd.desk.links`), and programs that show a desk tell them apart by their
beginnings.
"""

from __future__ import annotations

import re
from typing import Final

LINK_LOST: Final = "LINK LOST"
"""Nothing is known of the riskd any more."""

DAEMON_GONE: Final = "DAEMON GONE"
"""The trader's machine is heard of, and no riskd runs there."""

LAGGING: Final = "LAGGING"
"""The riskd has events that have not come."""

WAITING: Final = "Waiting for the first heartbeat"
"""The relay was started a moment ago, or the trader has just joined: nothing is known yet."""

OF_RELAY: Final = "The relay"
"""The relay itself has a problem, and not one of the riskd's."""

_OF_LINKS: Final = (LINK_LOST, DAEMON_GONE, LAGGING, WAITING)

_NAME: Final = "([A-Za-z0-9_-]{1,32})"
_WHOSE_LINK: Final = re.compile(rf"{_NAME} \((?:accounts? -?\d|no account yet)")
_WHOSE_WORDS: Final = re.compile(rf"{_NAME}: ")


def trader_in(message: str) -> str:
    """Return whose riskd a message is about; empty if it names nobody."""
    is_of_link = message.startswith(_OF_LINKS)
    found = _WHOSE_LINK.search(message) if is_of_link else _WHOSE_WORDS.match(message)
    return found[1] if found else ""
