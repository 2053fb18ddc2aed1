"""The offset of this machine's clock, in words, and when it is a problem."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

WARNING: Final = timedelta(seconds=0.5)
"""A larger offset is a warning; rules, locks and days follow the broker's clock all the same."""

ERROR: Final = timedelta(seconds=2)
"""A larger offset is an error: times on screens and in logs are wrong, and so may be other programs."""

REMEDY: Final = "let a time server set it, for example with timedatectl set-ntp true"

_MENDED: Final = 0.75
"""A warning or an error ends only when the offset is below this share of its threshold."""


def offset_words(offset: timedelta) -> str:
    """Return an offset in words.

    :param offset: how far the broker's clock is ahead of this machine's.
    """
    seconds = abs(offset.total_seconds())
    if seconds < 0.0005:  # noqa: PLR2004  # what rounds to no millisecond
        return "this machine's clock shows the broker's time"
    side = "behind" if offset > timedelta() else "ahead of"
    return f"this machine's clock is {seconds:,.3f} s {side} the broker's"


def exceeds(offset: timedelta, threshold: timedelta, *, has_exceeded: bool) -> bool:
    """Return whether an offset is beyond a threshold.

    :param has_exceeded: whether it was before; it has to fall clearly below the threshold then.
    """
    return abs(offset) > (threshold * _MENDED if has_exceeded else threshold)


def error_sentence(offset: timedelta) -> str:
    """Return the message of ``daemon_status`` for an offset beyond :data:`ERROR`."""
    # Without the figure, which changes all the time, unless it says how far the clock is set wrong.
    words = offset_words(timedelta(seconds=round(offset.total_seconds())))
    words = words.replace(".000 s", " s")
    return f"{words[0].upper()}{words[1:]}: {REMEDY}. riskd goes by the broker's time"


def offset_fact(offset: timedelta | None) -> str | None:
    """Return an offset as the state file has it: seconds with milliseconds."""
    return None if offset is None else f"{offset.total_seconds():.3f}"


def span_words(span: timedelta) -> str:
    """Return the length of a time span in words, such as ``1:30:00`` or ``2.5 s``."""
    seconds = abs(span.total_seconds())
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    return str(timedelta(seconds=round(seconds)))
