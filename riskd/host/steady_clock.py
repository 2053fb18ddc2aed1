"""A reactor's clock that nobody sets.

Twisted's reactors time everything by the time of day: set back by an hour, by a person or by a time server,
they do nothing of what is due for an hour.
"""

from __future__ import annotations

import time
from typing import Any, Final

_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def use_steady_clock(reactor: Any) -> None:
    """Let ``reactor`` time from now on by a clock that only goes forward; call it before anything is timed.

    Where the system has one that goes on while the machine sleeps, it is that: what fell due meanwhile is
    done at the awakening.
    """
    # Delayed calls, too, take this attribute for the clock.
    reactor.seconds = _seconds


def _seconds() -> float:
    return time.clock_gettime(_CLOCK)
