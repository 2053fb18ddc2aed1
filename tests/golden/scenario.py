"""A scenario file, played into a real session and its real screen.

Each line of a file is a JSON object.  ``at``, in seconds from the beginning, sets the clock; the other keys
say what happens then:

- ``file``: the daemon publishes a state file with these ``events`` (type and data), ``limits`` and
  ``balance``, written ``age`` seconds ago.  Its trades have a side and a price, which the wire lacks.
- ``connection``: the client connects, or loses the connection for a ``reason`` and retries in ``retry_in``
  seconds.
- ``type`` and ``data``: an event is received; missing fields get sample values.
- ``silent_for``: the seconds for which the daemon, which is connected, has not answered.
- ``poll``: the session polls the state file, as the console makes it do each second.

A line with ``at`` alone is the moment of the capture.
"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import urwid

from riskd.model.account import Limit
from riskd.model.balance import Balance
from riskd.model.broker import BrokerTrade
from riskd.model.contracts import known_contract
from riskd.model.events import Event, GatewayUserTrade, OrderSide
from riskd.model.wire import decode, encode
from riskd.testing import make_event
from tests.support.console import BEGIN, StateFile
from trader.cli.keys import KEYS
from trader.model.session import Session
from trader.model.ui_state import UiState
from trader.ui.screen import Screen, compose
from trader.ui.styled_text import StyledLine

STATES: Final = Path(__file__).parent / "states"
URL: Final = "ws://localhost:8765"
_PRICES: Final = {"MNQ": Decimal(21000), "MES": Decimal(6000), "MCL": Decimal(77)}
"""Near the quotes of the scenarios, by ticker."""

_KEYS: Final = [(key.label, key.effect) for key in KEYS]


class Scenario:
    """A session and its screen at the end of a scenario file.

    :ivar now: the moment of the capture.
    """

    def __init__(self, path: Path) -> None:
        self.now = BEGIN
        self.ui_state = UiState()
        self._retry_in: float | None = None
        self._gateway: str | None = None
        self._silent_for: float | None = None
        self._file = StateFile()
        self._file.fail("no last known state: ~/.local/state/riskd/last-known.db is not there")
        self._session = Session(
            123, lambda: self.now, lambda _important: None, self._file.read, self._file.version
        )
        self._screen = Screen(self._view, lambda: self.ui_state, lambda: self.now, _KEYS)
        for line in path.read_text().splitlines():
            self._play(json.loads(line))

    def render(self, columns: int, rows: int, **choices: Any) -> urwid.Canvas:
        """Return what is drawn with these fields of the UI state."""
        self.ui_state = msgspec.structs.replace(UiState(), **choices)
        self._screen.redraw()
        return self._screen.render((columns, rows))

    def lines(self, columns: int, rows: int, **choices: Any) -> list[StyledLine]:
        """Return the lines that are drawn, before the canvas cuts them."""
        ui_state = msgspec.structs.replace(UiState(), **choices)
        return compose(self._view(), ui_state, self.now, columns, rows, _KEYS)

    def _view(self) -> Any:
        return self._session.view(self._retry_in, self._gateway, URL, silent_for=self._silent_for)

    def _play(self, line: dict[str, Any]) -> None:
        self.now = BEGIN + timedelta(seconds=line["at"])
        self._silent_for = line.get("silent_for")
        if "file" in line:
            self._publish(line["file"], line["at"])
        if "connection" in line:
            self._retry_in = line.get("retry_in")
            if line["connection"]:
                self._gateway = "practice"
            status = {"connected": line["connection"], "reason": line.get("reason", "connected")}
            self._session.receive_status("connection_status", status)
        if "type" in line:
            event = decode(encode(make_event(line["type"], line["data"])))
            self._session.receive(event.type, lambda: event)
        if "poll" in line:
            self._session.poll_file()

    def _publish(self, content: dict[str, Any], seconds: float) -> None:
        events = [
            _as_journaled(make_event(event_type, data))
            for event_type, data in content.get("events", [])
        ]
        limits = {
            rule: Limit(key, json.dumps(settings))
            for rule, (key, settings) in content.get("limits", {}).items()
        }
        balance = msgspec.convert(content.get("balance", {}), Balance, strict=False)
        self._file.publish(
            *events, seconds=seconds - content.get("age", 0), limits=limits, balance=balance
        )


def _as_journaled(event: Event) -> Event:
    """Return a trade as the broker has reported it: odd ones sold, the others bought, at a price."""
    trade = event.data
    if not isinstance(trade, GatewayUserTrade):
        return event
    contract = known_contract(trade.contract_id)
    assert contract is not None
    reported = BrokerTrade(
        **msgspec.structs.asdict(trade),
        side=OrderSide.SELL if trade.id % 2 else OrderSide.BUY,
        price=_PRICES[contract.root] + trade.id * contract.tick_size,
    )
    return Event(event.account_id, reported)
