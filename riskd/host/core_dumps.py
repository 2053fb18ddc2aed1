"""Keep what is in this process's memory off the disk and from other processes.

A core dump holds the API key and the token; tools that collect dumps keep them, and may send them on.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""Source: prctl(2)."""


def forbid_core_dumps() -> None:
    """Let nothing dump this process, and on Linux let none of the same user trace it.

    A dump that is piped to a program ignores the limit of its size, but not that it is forbidden.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A kernel that refuses this does not exist; a libc without it does, and has the limit above.
        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
