"""The activity feed of a session: what happened, in lines, oldest first."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from riskd.model.account import AccountState
from riskd.model.broker import on_wire
from riskd.model.events import (
    DRY_RUN_NOTE,
    DaemonStatus,
    EnforcementAction,
    Event,
    EventData,
    GatewayUserTrade,
    LockoutSet,
)
from riskd.model.settings_changes import CHANGE_BEGINS, latest_changes
from trader.model.wording import FeedLine, line_for, settings_line

_MAX_LINES: Final = 500

_MAX_FILLED: Final = 50
"""The most trades of the file that get a line at once, the newest."""

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
        self._noted: set[object] = set()
        self._changes: set[tuple[datetime, str]] = set()

    def add(self, line: FeedLine) -> None:
        """Add a line at the end."""
        self.lines = (*self.lines, line)[-_MAX_LINES:]
        if line.flashes:
            self.flash = line

    def note(self, event: Event) -> None:
        """Note that an event of the stream has its line, so that the file adds none."""
        match event.data:
            case GatewayUserTrade(id=trade_id):
                self._noted.add(trade_id)
            case EnforcementAction() | LockoutSet():
                self._noted.add(event.data)

    def insert_known(self, account: AccountState) -> None:
        """Add the trades, locks, actions and changes of settings in the file, each once."""
        trades = [trade for key, trade in account.trades.items() if key not in self._noted]
        self._noted.update(account.trades)
        trades.sort(key=lambda trade: (trade.timestamp, trade.id))
        for trade in trades[-_MAX_FILLED:]:
            self._insert_event(account, on_wire(trade), trade.timestamp)
        for lock in account.lockouts.values():
            self._insert_once(account, lock, lock.locked_at)
        for action in account.enforcement:
            self._insert_once(account, action, action.timestamp)
        self._insert_changes(account)

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

    def _insert_changes(self, account: AccountState) -> None:
        for change in latest_changes(account):
            key = (change.at, change.sentence[:_COMPARED])
            if key not in self._changes:
                self._changes.add(key)
                self._insert(settings_line(change.sentence, change.at))

    def _insert_once(
        self, account: AccountState, data: EnforcementAction | LockoutSet, at: datetime
    ) -> None:
        if data not in self._noted:
            self._noted.add(data)
            self._insert_event(account, data, at)

    def _insert_event(
        self,
        account: AccountState,
        data: EventData,
        at: datetime,
    ) -> None:
        """Add the line of an event of the file at the time of the event."""
        line = line_for(Event(account.account_id, data), account, at)
        if line is not None:
            self._insert(line)

    def _insert(self, line: FeedLine) -> None:
        place = len(self.lines)
        while place and self.lines[place - 1].at > line.at:
            place -= 1
        self.lines = (*self.lines[:place], line, *self.lines[place:])[-_MAX_LINES:]
