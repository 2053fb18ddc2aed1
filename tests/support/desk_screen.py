"""A console of all accounts on a terminal, which is read as soon as something is drawn."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.support.pseudo_terminal import PseudoTerminal
from tests.support.waiting import wait_until

LOCKS = ("LOCKED", "COOLDOWN")
"""What a row says of a locked account."""

_HEAD = "may trade"
_NEXT = "net today"
_READ_SECONDS = 0.05


class Change(NamedTuple):
    """A row that says something else than before.

    :ivar at: when the console wrote it, by the steady clock.
    :ivar account: as the row names it.
    :ivar standing: what the account may do.
    """

    at: float
    account: str
    standing: str


class DeskScreen(PseudoTerminal):
    """A console of all accounts of a relay.

    :ivar changes: of the rows, in this order; of a lock's end that comes nearer there is none.
    """

    def __init__(self, port: int, state: Path, rows: int = 24) -> None:
        super().__init__(120, rows)
        self.changes: list[Change] = []
        self._known: dict[str, str] = {}
        self._is_closed = False
        self.start("--url", f"ws://localhost:{port}", "--state", str(state))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def standings(self) -> dict[str, str]:
        """What each account may do, as its row says now."""
        return dict(self._known)

    def wait_for_standing(self, standing: str, accounts: Iterable[str]) -> float:
        """Wait until the rows of all accounts say something; return when the last one did."""
        wanted = set(accounts)
        wait_until(lambda: all(self._known.get(each, "").startswith(standing) for each in wanted))
        return max(each.at for each in tuple(self.changes) if each.account in wanted)

    def close(self) -> None:
        """End the console."""
        self._is_closed = True
        self._thread.join()
        super().close()

    def _watch(self) -> None:
        while not self._is_closed:
            if select.select([self._master], [], [], _READ_SECONDS)[0]:
                # Emulating the screen takes this process longer than writing it took the console.
                at = time.monotonic()
                self.drain()
                self._note(at)

    def _note(self, at: float) -> None:
        rows = self.rows
        head = next((number for number, row in enumerate(rows) if _HEAD in row), None)
        if head is None:
            return
        begin, end = rows[head].index(_HEAD), rows[head].index(_NEXT) - 2
        for row in rows[head + 1 :]:
            account, standing = row[1:begin].strip(), _words(row[begin:end])
            if not account or not standing:
                # The table ends there.
                return
            if self._known.get(account) != standing:
                self._known[account] = standing
                self.changes.append(Change(at, account, standing))


def _words(standing: str) -> str:
    """Return what an account may do without the minutes that a cooldown is still to last."""
    words = standing.strip()
    return LOCKS[1] if words.startswith(LOCKS[1]) else words
