"""The activity feed of a session: what happened, in lines, oldest first."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from riskd.model.account import AccountState
from riskd.model.events import DRY_RUN_NOTE, DaemonStatus, EnforcementAction, Event
from riskd.model.settings_changes import CHANGE_BEGINS, latest_changes
from trader.model.wording import FeedLine, line_for, settings_line

_MAX_LINES: Final = 500

_COMPARED: Final = 60
"""Characters by which a change in the file and its status are the same; a status may be cut."""


class Feed:
    """The lines of the feed, and the one that flashes.

    :ivar lines: the lines, oldest first.
    :ivar flash: the newest line that flashes, whatever its age; ``None`` before the first.
    """

    def __init__(self) -> None:
        self.lines: tuple[FeedLine, ...] = ()
        self.flash: FeedLine | None = None
        self._actions: set[EnforcementAction] = set()
        self._changes: set[tuple[datetime, str]] = set()

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

    def is_known(self, status: DaemonStatus) -> bool:
        """Return whether a status announces a change of settings that the file had.

        It is noted, so that the file adds no line for it later.
        """
        if not status.message.startswith(CHANGE_BEGINS):
            return False
        sentence = status.message.removesuffix(f" {DRY_RUN_NOTE}")
        key = (status.timestamp, sentence[:_COMPARED])
        is_known = key in self._changes
        self._changes.add(key)
        return is_known

    def insert_changes(self, account: AccountState) -> None:
        """Add the changes of settings in the file, each once."""
        for change in latest_changes(account):
            key = (change.at, change.sentence[:_COMPARED])
            if key not in self._changes:
                self._changes.add(key)
                self._insert(settings_line(change.sentence, change.at))

    def insert(self, event: Event, before: AccountState, at: datetime) -> None:
        """Add the line of an event of the file at the time of the event.

        :param before: the account before the event.
        """
        line = line_for(event, before, at)
        if line is not None:
            self._insert(line)

    def _insert(self, line: FeedLine) -> None:
        place = len(self.lines)
        while place and self.lines[place - 1].at > line.at:
            place -= 1
        self.lines = (*self.lines[:place], line, *self.lines[place:])[-_MAX_LINES:]
