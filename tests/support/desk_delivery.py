"""What clients of a relay were told, compared with what entered the outboxes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import websocket

from riskd.desk.desk_accounts import RECORD, Record
from riskd.journal.outbox import OutboxEvent
from riskd.journal.reader import StateFileError, open_to_read
from riskd.journal.schema import JOURNAL_NAME
from riskd.model.event_number import Number
from tests.support.desk_machines import Told, told
from tests.support.waiting import DEADLINE_SECONDS

_RETRY_SECONDS = 0.1
_RECORDS = "SELECT account_id, data FROM settings WHERE name = ?"

_ALL = Number(2**62, 0)
"""Where nobody looked at the copy, it may have had anything."""


class Connection:
    """What came over one connection.

    :param known: of each account, the number up to which the copy had all events after the handshake; ``None`` if that
        was not looked at.
    :ivar events: those of accounts that are no quotes, with the steady clock's time of receipt.
    """

    def __init__(self, known: Mapping[int, Number] | None = None) -> None:
        self.known = known
        self.events: list[tuple[float, Told]] = []

    def of(self, account_id: int) -> list[Told]:
        """Return the events of an account."""
        return [each for _at, each in self.events if each[1] == account_id]


class Watch:
    """A client of a stream that connects again after each loss, and records all but quotes.

    :param look: called after each handshake; see :class:`Connection`.
    """

    def __init__(
        self, port: int, look: Callable[[], Mapping[int, Number] | None] = lambda: None
    ) -> None:
        self.connections: list[Connection] = []
        self._url = f"ws://localhost:{port}"
        self._look = look
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def events(self) -> list[tuple[float, Told]]:
        """All events so far."""
        return [
            each for connection in tuple(self.connections) for each in tuple(connection.events)
        ]

    def close(self) -> None:
        """Connect no more."""
        self._is_closed = True

    def _run(self) -> None:
        while not self._is_closed:
            try:
                client = websocket.create_connection(self._url, timeout=DEADLINE_SECONDS)
                self._receive(client, Connection(self._look()))
            except (OSError, websocket.WebSocketException):
                time.sleep(_RETRY_SECONDS)

    def _receive(self, client: websocket.WebSocket, connection: Connection) -> None:
        self.connections.append(connection)
        while message := client.recv():
            at = time.monotonic()
            if "MarketQuote" in message[:40]:
                continue
            event = json.loads(message)
            if event["account_id"] is not None:
                connection.events.append(
                    (at, told(event["type"], event["account_id"], event["data"]))
                )


def console_connections(lines: Iterable[str]) -> list[Connection]:
    """Return what ``trader-console --json`` has written, connection by connection."""
    connections: list[Connection] = []
    for line in lines:
        event = json.loads(line)
        if event["type"] == "connection_status":
            if event["data"]["connected"]:
                connections.append(Connection())
        elif event["account_id"] is not None and event["type"] != "MarketQuote":
            connections[-1].events.append(
                (0.0, told(event["type"], event["account_id"], event["data"]))
            )
    return connections


def event_told(event: OutboxEvent) -> Told:
    """Return an event of an outbox so that it can be compared."""
    return told(event.type, event.account_id, json.loads(event.data))


def known_numbers(state: Path) -> dict[int, Number]:
    """Return, of each account of a relay, the number up to which it has all events.

    Of none before there is a journal.
    """
    try:
        with open_to_read(state / JOURNAL_NAME, "journal") as (journal, _version):
            rows = journal.execute(_RECORDS, (RECORD,)).fetchall()
    except StateFileError:
        return {}
    records = {account_id: msgspec.json.decode(data, type=Record) for account_id, data in rows}
    return {key: record.known for key, record in records.items() if record.known is not None}


class Delivery(NamedTuple):
    """How many events came.

    :ivar live: over the stream.
    :ivar copied: while there was no connection, in the copy that a client reads after the next handshake.
    :ivar lost: in neither.
    :ivar doubled: once more over the stream, or out of order, or were in no outbox.
    """

    live: int = 0
    copied: int = 0
    lost: int = 0
    doubled: int = 0


def delivery(
    wanted: Sequence[tuple[Number, Told]],
    connections: Iterable[tuple[Mapping[int, Number] | None, Sequence[Told]]],
    account_id: int,
) -> Delivery:
    """Compare what came of an account with what entered the outbox, in order.

    Within a connection nothing may be left out.

    :param connections: of each, :attr:`Connection.known` and the events of the account.
    """
    live = copied = lost = doubled = at = 0
    known: Number | None = None

    def skip(until: int) -> None:
        nonlocal copied, lost, at
        found = sum(known is not None and number <= known for number, _ in wanted[at:until])
        copied, lost, at = copied + found, lost + until - at - found, until

    for numbers, events in connections:
        known = _ALL if numbers is None else numbers.get(account_id)
        for event in events:
            found = next((i for i in range(at, len(wanted)) if wanted[i][1] == event), None)
            if found is None:
                doubled += 1
                continue
            skip(found)
            live, at, known = live + 1, found + 1, None
        if numbers is not None and known is not None:
            skip(max(at, sum(number <= known for number, _ in wanted)))
    skip(len(wanted))
    return Delivery(live, copied, lost, doubled)
