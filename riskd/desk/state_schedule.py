"""When an uplink sends which account's state.

Each copy that riskd publishes has all accounts, and while a market moves, each has other quotes in it.  So a state whose
account has changed is sent at once, and one that only has other quotes or a later number, seldom: quotes travel by
themselves.  Otherwise each event of one account would send the states of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final

from riskd.desk.messages import PublishedState

SELDOM_SECONDS: Final = 30.0
"""How long a state may have old quotes, or the number of an earlier event."""

REST_SECONDS: Final = 6.0
"""The same once nothing is published any more; in a market that moves, quotes are every 5 seconds."""

OF_QUOTES: Final = ("quotes", "equity")
"""The tables that each quote changes."""


class StateSchedule:
    """The states of one riskd's accounts, over one connection."""

    def __init__(self) -> None:
        self._sent: dict[int, tuple[PublishedState, float]] = {}
        self._waiting: dict[int, tuple[PublishedState, float]] = {}

    def published(self, states: Mapping[int, PublishedState], now: float) -> None:
        """Take the states of a new copy.

        :param now: the time by a steady clock.
        """
        self._waiting = {
            account_id: (state, due)
            for account_id, state in states.items()
            if (due := self._due(account_id, state, now)) < inf
        }

    def take_due(self, now: float) -> dict[int, PublishedState]:
        """Return the states to send now, by account id; each is returned once."""
        due = {key: state for key, (state, at) in self._waiting.items() if at <= now}
        for account_id, state in due.items():
            del self._waiting[account_id]
            self._sent[account_id] = state, now
        return due

    def _due(self, account_id: int, state: PublishedState, now: float) -> float:
        if account_id not in self._sent:
            return now
        known, at = self._sent[account_id]
        if tables_of_account(known) != tables_of_account(state):
            return now
        if known.number == state.number and known.tables == state.tables:
            return inf
        return min(at + SELDOM_SECONDS, now + REST_SECONDS)


def tables_of_account(state: PublishedState) -> dict[str, list[list[int | float | str | None]]]:
    """Return the tables that something else than a quote changes."""
    return {name: rows for name, rows in state.tables.items() if name not in OF_QUOTES}
