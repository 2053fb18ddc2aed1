"""What a commitment lets wait, in words with a countdown."""

from __future__ import annotations

from datetime import datetime

from riskd.model.account import AccountState
from riskd.model.commitment import DAILY_RESET, Wait, commitment_of
from riskd.model.formatting import counted
from trader.model.formatting import countdown, until


def commitment_words(account: AccountState) -> str:
    """Return how long what loosens waits, in a sentence; empty if nothing does."""
    terms = commitment_of(account).terms
    if not terms:
        return ""
    times = ["until the daily reset" if each == DAILY_RESET else each for each in terms]
    return f"Committed: what loosens the limits waits {', or longer: '.join(times)}"


def waits_in_words(account: AccountState, now: datetime) -> list[str]:
    """Return what waits, in a sentence each; what ends first comes first."""
    return [_words(each, now) for each in _soonest_first(account, now)]


def next_wait(account: AccountState, now: datetime) -> str:
    """Return what waits and ends first, and how much more does; empty if nothing."""
    waits = waits_in_words(account, now)
    more = f" (and {counted(len(waits) - 1, 'more change')})" if waits[1:] else ""
    return f"{waits[0]}{more}" if waits else ""


def _soonest_first(account: AccountState, now: datetime) -> list[Wait]:
    waits = commitment_of(account).waits
    return sorted(waits, key=lambda each: (each.is_over, each.until is None, each.until or now))


def _words(wait: Wait, now: datetime) -> str:
    if wait.is_over:
        return f"Takes effect at the next start of riskd: {wait.sentence}"
    if wait.until is None:
        return f"Waits: {wait.sentence}"
    left = (wait.until - now).total_seconds()
    # Only the daemon ends a wait, and it may be down when the time is up.
    time = f"{countdown(left)} left" if left > 0 else "time is up; the daemon ends it"
    return f"Waits until {until(wait.until, now)} ({time}): {wait.sentence}"
