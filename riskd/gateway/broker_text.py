"""Text of the broker, made safe where it comes in.

Behind this, no text of the broker breaks a line, commands a terminal, reverses what stands beside it, or shows
the API key or a token.
"""

from __future__ import annotations

from typing import Final

from riskd.host.secrets import redacted
from riskd.model.safe_text import printable

MAX_LENGTH: Final = 200
"""The longest text that is kept, in characters."""

_MAX_READ: Final = 64 * 1024
"""How much of a text is searched for secrets; what is cut off is not shown."""


def broker_text(value: object, limit: int = MAX_LENGTH) -> str:
    """Return a value of the broker as text without secrets, in one printable line.

    :param value: a text, or what came in its place.
    :param limit: the most characters.
    """
    if isinstance(value, (list, dict)):
        # Writing it out could take long, or fail where it is nested deeply.
        return f"a {type(value).__name__}"
    # A text of megabytes must not take long; and a secret must be found before it is cut.
    return printable(redacted(str(value)[:_MAX_READ])[:limit])[:limit]
