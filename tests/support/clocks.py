"""The reactor's clock, for tests that start a program; and rates."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from riskd.host import timing


def keep_clock(case: SynchronousTestCase) -> None:
    """Restore the clock of the tests' reactor at the end of ``case``."""
    from twisted.internet import reactor  # noqa: PLC0415  # the one that the tests have

    case.patch(reactor, "seconds", reactor.seconds)  # type: ignore[attr-defined]


def has_steady_clock() -> bool:
    """Return whether the tests' reactor uses the steady clock."""
    from twisted.internet import reactor  # noqa: PLC0415  # the one that the tests have

    return reactor.seconds is timing._seconds  # type: ignore[attr-defined]


def most_in_a_second(moments: list[float]) -> int:
    """Return how many of ``moments`` are in the fullest second, wherever it begins."""
    # The moments are sums of binary fractions, so their last digits are inexact.
    return max(sum(begin <= moment < begin + 1 - 1e-9 for moment in moments) for begin in moments)
