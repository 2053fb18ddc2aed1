"""The shortest trace that still fails in the same way (delta debugging)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from tests.simulation.day import Act


def shortened(
    trace: Sequence[Act], fails: Callable[[Sequence[Act]], bool], seconds: float, enough: int = 1
) -> list[Act]:
    """Return a part of ``trace`` that still fails.

    :param fails: plays acts and returns whether they fail in the same way.
    :param seconds: how long to look for a shorter one.
    :param enough: how many acts are few enough.
    """
    ends, acts = monotonic() + seconds, list(trace)
    size = max(1, len(acts) // 2)
    while monotonic() < ends and len(acts) > enough:
        first, has_shortened = 0, False
        while first < len(acts) and monotonic() < ends:
            rest = acts[:first] + acts[first + size :]
            if rest and fails(rest):
                acts, has_shortened = rest, True
            else:
                first += size
        if size > 1:
            size //= 2
        elif not has_shortened:
            break
    return acts
