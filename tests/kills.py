"""Kill a daemon at random moments, and check the files that it leaves.

``python -m tests.kills 200`` kills 200 times; the test suite does 20.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import websocket

from riskd.journal.reader import published_mark, read_published
from riskd.journal.schema import PUBLISHED_NAME
from riskd.model.wire import from_fields
from tests.support.hurried_daemon import plain
from tests.support.waiting import DEADLINE_SECONDS
from trader.model.session import Session

_DURABLE = ("lockout_set", "enforcement_action", "GatewayUserTrade")


class Victim:
    """A hurried daemon, a client, and two consoles fed by that client."""

    def __init__(self, state: Path, log: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.hurried_daemon", "0", str(state)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert self.process.stdout is not None
        port = self.process.stdout.readline().decode().strip()
        assert port, "the daemon did not start"
        self.stream = websocket.create_connection(
            f"ws://127.0.0.1:{port}", timeout=DEADLINE_SECONDS
        )
        self.consoles = {}
        for account in (123, 456):
            console = Session(
                account,
                lambda: datetime.now(UTC),
                lambda _important: None,
                read_file=lambda: read_published(state),
                file_version=lambda: published_mark(state),
            )
            console.receive_status("connection_status", {"connected": True, "reason": ""})
            self.consoles[account] = console
        self.announced: list[dict[str, Any]] = []

    def listen(self, seconds: float) -> None:
        """Receive events for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._take_one()

    def _take_one(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.stream.recv(), parse_float=Decimal)
        for account, console in self.consoles.items():
            if message["account_id"] in (None, account):
                event = from_fields(message["type"], message["account_id"], message["data"])
                console.receive(event.type, lambda event=event: event)
        if message["type"] in _DURABLE:
            self.announced.append(message)
        return message

    def check_consoles(self) -> None:
        """Check that the consoles, from copy and stream, know what the daemon knows."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        mark = f"mark {random.getrandbits(40):x}"
        self.process.stdin.write(mark.encode() + b"\n")
        self.process.stdin.flush()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self._take_one()["data"].get("message") != mark:
            assert time.monotonic() < deadline, "the daemon never announced the mark"
        states = json.loads(self.process.stdout.readline())
        for account, console in self.consoles.items():
            seen = plain(console.view().account)
            assert json.loads(msgspec.json.encode(seen)) == states[str(account)]
        self.process.stdin.write(b"go on\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kill the daemon as a power cut would."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        # Events sent before the kill count as announced, though the client had not read them yet.
        try:
            while True:
                self._take_one()
        except (websocket.WebSocketException, OSError, ValueError):
            self.stream.shutdown()


def check_files(state: Path, announced: list[dict[str, Any]]) -> None:
    """Check that the published copy is sound and the journal lost nothing announced."""
    copy = sqlite3.connect(state / PUBLISHED_NAME)
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    copy.close()
    accounts = read_published(state).accounts
    for message in announced:
        account = accounts[message["account_id"]]
        data = message["data"]
        if message["type"] == "lockout_set":
            assert data["rule_id"] in account.lockouts, message
        elif message["type"] == "enforcement_action":
            assert any(done.rule_id == data["rule_id"] for done in account.enforcement), message
        else:
            assert data["id"] in account.trades, message


def run(times: int, seed: int | None = None) -> None:
    """Kill a daemon many times; after each kill check its files and its restart."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile() as log:
        state = Path(directory)
        announced: list[dict[str, Any]] = []
        for _ in range(times):
            victim = Victim(state, log)
            try:
                # The daemon has recovered by itself and a handshake is complete: the copy is up to date.
                check_files(state, announced)
                victim.check_consoles()
                victim.listen(chance.uniform(0, 0.1))
                victim.check_consoles()
                victim.listen(chance.uniform(0, 0.1))
            finally:
                victim.kill()
            announced += victim.announced
            # Right after the kill the copy may be behind, but it is complete.
            check_files(state, [])
        assert len(announced) > times, "nothing happened"
        print(f"{times} kills, {len(announced)} announcements, none lost")  # noqa: T201


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
