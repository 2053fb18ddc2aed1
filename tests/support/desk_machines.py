"""The machines of a desk: a trader's with riskd and uplink, and the desk's with a relay."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import websocket

from riskd.journal.outbox import read_outbox
from riskd.journal.reader import read_published
from riskd.model.account import AccountState, RiskState
from riskd.model.event_number import Number
from tests.support.nats_server import free_ports
from tests.support.twistd import Twistd
from tests.support.waiting import DEADLINE_SECONDS, wait_until

PRACTICE = Path(__file__).parents[2] / "riskd/config/practice.toml"

Told = tuple[str, int | None, str]
"""Type, account and data of an event, as JSON with its keys in order."""


def told(event_type: str, account_id: int | None, data: Any) -> Told:
    """Return an event so that it can be compared."""
    return event_type, account_id, json.dumps(data, sort_keys=True)


class TraderMachine:
    """A trader's machine: riskd on paper with an outbox, and an uplink.

    :param config: ``desk.toml`` of the uplink.
    :param settings: the rest of ``riskd.toml``; by default that of riskd without one.
    :param seed: of the practice gateway; without one it keeps its accounts over a restart.
    """

    def __init__(
        self, directory: Path, config: Path, settings: str = "", seed: int | None = 7
    ) -> None:
        self.state = directory / "state"
        self._directory = directory
        self._config = config
        self._seed = () if seed is None else ("--practice-seed", str(seed))
        (self.port,) = free_ports(1)
        directory.mkdir()
        outbox = "[desk]\noutbox = true\n"
        (directory / "riskd.toml").write_text(f"{settings or PRACTICE.read_text()}\n{outbox}")
        with config.open("a") as file:
            file.write(f'\n[uplink]\nurl = "ws://localhost:{self.port}"\n')
        self.riskd: Twistd | None = None
        self.uplink: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start both."""
        self.start_riskd()
        self.start_uplink()

    def start_riskd(self) -> None:
        """Start riskd; wait until it is RUNNING."""
        arguments = ("--config", "riskd.toml", "--port", str(self.port), *self._seed)
        self.riskd = Twistd(self._directory, *arguments, f"--state={self.state}")

    def start_uplink(self) -> None:
        """Start the uplink."""
        self.uplink = start(
            self._directory / "uplink.log", "riskd-uplink", f"--config={self._config}"
        )

    @property
    def uplink_log(self) -> str:
        """What the uplink has logged since its last start."""
        return (self._directory / "uplink.log").read_text()

    @property
    def is_followed(self) -> bool:
        """Whether the uplink has met riskd, which tells it where the outbox is."""
        return "riskd is there" in self.uplink_log

    def kill_riskd(self) -> None:
        """End riskd as a power cut would."""
        assert self.riskd is not None
        self.riskd.process.kill()
        self.riskd.wait()

    def kill_uplink(self) -> None:
        """End the uplink likewise."""
        assert self.uplink is not None
        self.uplink.kill()
        self.uplink.wait()

    def stop_riskd(self) -> None:
        """End riskd in order."""
        assert self.riskd is not None
        self.riskd.send_signal(signal.SIGTERM)
        self.riskd.wait()

    def stop(self) -> None:
        """End all that runs."""
        for process in (self.riskd and self.riskd.process, self.uplink):
            end(process)

    @property
    def outbox(self) -> list[Told]:
        """All events of accounts so far."""
        events = read_outbox(self.state, Number(0, 0), 1_000_000)
        return [
            told(each.type, each.account_id, json.loads(each.data))
            for each in events
            if each.account_id is not None
        ]

    def trade(self, events: int) -> None:
        """Wait until the outbox has so many more events."""
        before = len(self.outbox)
        wait_until(lambda: len(self.outbox) >= before + events)


class DeskMachine:
    """The desk's machine: a relay.

    :param config: ``desk.toml`` of the relay.
    """

    def __init__(self, directory: Path, config: Path) -> None:
        self.state = directory / "state"
        self._log = directory / "log"
        self._config = config
        (self.port,) = free_ports(1)
        directory.mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the relay; wait until it listens."""
        self._process = start(
            self._log,
            "riskd-relay",
            f"--config={self._config}",
            f"--port={self.port}",
            f"--state={self.state}",
        )
        process = self._process
        wait_until(lambda: "listening on ws://" in self.log or process.poll() is not None)
        assert process.poll() is None, self.log

    @property
    def pid(self) -> int:
        """The relay's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged since its last start."""
        return self._log.read_text()

    def has_said(self, words: str) -> bool:
        """Return whether it has broadcast a status with these words."""
        return re.search(rf"\] status .*{re.escape(words)}", self.log) is not None

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it if it runs."""
        end(self._process)


class Recorder:
    """A client of a stream that records all but quotes.

    :ivar events: those of accounts, in the order of receipt.
    :ivar statuses: status and message of each ``daemon_status``.
    """

    def __init__(self, port: int) -> None:
        self.events: list[Told] = []
        self.statuses: list[tuple[str, str]] = []
        self._socket = websocket.create_connection(
            f"ws://localhost:{port}", timeout=DEADLINE_SECONDS
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while message := self._socket.recv():
                event = json.loads(message)
                data = event["data"]
                if event["account_id"] is None:
                    self.statuses.append((data["status"], data["message"]))
                elif event["type"] != "MarketQuote":
                    self.events.append(told(event["type"], event["account_id"], data))
        except (OSError, websocket.WebSocketException):
            # The relay was killed.
            pass

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()
        self._thread.join(DEADLINE_SECONDS)


def published(state: Path) -> dict[int, AccountState]:
    """Return the accounts of a published copy, without quotes and the daemon's status."""
    return {
        key: msgspec.structs.replace(each, daemon=None, quotes={}, risk=RiskState())
        for key, each in read_published(state).accounts.items()
    }


def is_part(events: Sequence[Told], of: Sequence[Told]) -> bool:
    """Return whether events follow each other without a gap in a longer sequence."""
    length = len(events)
    return any(list(of[at : at + length]) == list(events) for at in range(len(of) - length + 1))


def start(log: Path, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a twistd program."""
    twistd = Path(sys.executable).with_name("twistd")
    with log.open("wb") as file:
        return subprocess.Popen(
            [twistd, "-n", "--pidfile=", program, *arguments],
            cwd=log.parent,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def end(process: subprocess.Popen[bytes] | None) -> None:
    """End a process in order, if it runs."""
    if process is not None and process.poll() is None:
        process.terminate()
        process.wait(DEADLINE_SECONDS)
