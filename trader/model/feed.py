"""The activity feed of a session: what happened, in lines, oldest first."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from riskd.model.account import AccountState
from riskd.model.events import EnforcementAction, Event
from trader.model.wording import FeedLine, line_for

_MAX_LINES: Final = 500


class Feed:
    """The lines of the feed, and the one that flashes.

    :ivar lines: the lines, oldest first.
    :ivar flash: the newest line that flashes, whatever its age; ``None`` before the first.
    """

    def __init__(self) -> None:
        self.lines: tuple[FeedLine, ...] = ()
        self.flash: FeedLine | None = None
        self._actions: set[EnforcementAction] = set()

    def add(self, line: FeedLine) -> None:
        """Add a line at the end."""
        self.lines = (*self.lines, line)[-_MAX_LINES:]
        if line.flashes:
            self.flash = line

    def note(self, action: EnforcementAction) -> None:
        """Note that an action of the stream has its line, so that the file adds none."""
        self._actions.add(action)

    def insert_actions(self, account: AccountState) -> None:
        """Add the actions of the file, each once."""
        for action in account.enforcement:
            if action not in self._actions:
                self._actions.add(action)
                self.insert(Event(account.account_id, action), account, action.timestamp)

    def insert(self, event: Event, before: AccountState, at: datetime) -> None:
        """Add the line of an event of the file at the time of the event.

        :param before: the account before the event.
        """
        line = line_for(event, before, at)
        if line is None:
            return
        place = len(self.lines)
        while place and self.lines[place - 1].at > at:
            place -= 1
        self.lines = (*self.lines[:place], line, *self.lines[place:])[-_MAX_LINES:]
