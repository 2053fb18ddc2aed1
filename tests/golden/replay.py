"""Playing an event file into a real session and its real screen, on a clock that stands where the file says.

A file has a JSON object a line, each with ``at``, in seconds from the beginning:

- ``file``: from now on the state file says this: ``events`` by type and data, ``limits``, ``age`` in seconds;
  or ``trouble``, why it cannot be read.
- ``connection``: whether there is one; ``reason`` and ``retry_in`` as the client tells them.
- ``type`` and ``data``: an event; what its data lacks is filled with sample values.
- ``look``: the state file is looked at, as the console does each second.
- nothing else: the moment of the capture.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import urwid

from riskd.journal.reader import Snapshot, StateFileError
from riskd.model.account import AccountState, Limit, apply
from riskd.model.wire import encode, open_envelope
from riskd.testing import make_event
from trader.cli.console import KEYS
from trader.model.session import Session
from trader.model.ui_state import UiState
from trader.ui.screen import Screen, compose
from trader.ui.styled_text import StyledLine

BEGIN: Final = datetime(2025, 1, 17, 14, 45, 15, tzinfo=UTC)
STATES: Final = Path(__file__).parent / "states"
URL: Final = "ws://localhost:8765"
_KEYS: Final = [(key.label, key.told) for key in KEYS]


class Replay:
    """A session and its screen, at the end of an event file.

    :ivar now: the moment of the capture.
    """

    def __init__(self, path: Path) -> None:
        self.now = BEGIN
        self.ui_state = UiState()
        self._retry_in: float | None = None
        self._gateway: str | None = None
        self._content: Snapshot | str = (
            "no last known state: ~/.local/state/riskd/last-known.db is not there"
        )
        self._version = 0
        self._session = Session(
            123, lambda: self.now, lambda _important: None, self._read, lambda: self._version
        )
        self._screen = Screen(self._view, lambda: self.ui_state, lambda: self.now, _KEYS)
        for line in path.read_text().splitlines():
            self._play(json.loads(line))

    def render(self, columns: int, rows: int, **choices: Any) -> urwid.Canvas:
        """Return the picture, looked at with these choices."""
        self.ui_state = msgspec.structs.replace(UiState(), **choices)
        self._screen.redraw()
        return self._screen.render((columns, rows))

    def lines(self, columns: int, rows: int, **choices: Any) -> list[StyledLine]:
        """Return the lines of the picture before anything of them is cut."""
        ui_state = msgspec.structs.replace(UiState(), **choices)
        return compose(self._view(), ui_state, self.now, columns, rows, _KEYS)

    def _view(self) -> Any:
        return self._session.view(self._retry_in, self._gateway, URL)

    def _read(self) -> Snapshot:
        if isinstance(self._content, str):
            raise StateFileError(self._content)
        return self._content

    def _play(self, line: dict[str, Any]) -> None:
        self.now = BEGIN + timedelta(seconds=line["at"])
        if "file" in line:
            self._publish(line["file"])
        if "connection" in line:
            self._retry_in = line.get("retry_in")
            if line["connection"]:
                self._gateway = "practice"
            status = {"connected": line["connection"], "reason": line.get("reason", "connected")}
            self._session.take("connection_status", status)
        if "type" in line:
            envelope = open_envelope(encode(make_event(line["type"], line["data"])))
            self._session.take(envelope.type, envelope.read_data())
        if "look" in line:
            self._session.poll_file()

    def _publish(self, content: dict[str, Any]) -> None:
        self._version += 1
        if "trouble" in content:
            self._content = content["trouble"]
            return
        limits = {
            rule: Limit(key, json.dumps(settings))
            for rule, (key, settings) in content.get("limits", {}).items()
        }
        state = AccountState(account_id=123, limits=limits)
        for event_type, data in content.get("events", []):
            state = apply(state, make_event(event_type, data))
        as_of = self.now - timedelta(seconds=content.get("age", 0))
        self._content = Snapshot(accounts={123: state}, as_of=as_of, gateway_name="practice")
