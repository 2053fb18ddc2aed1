"""``twistd practice-gateway`` as a user starts it, and a client of its REST API."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.waiting import DEADLINE_SECONDS, wait_until

KEY = "practice"
OWN_KEY = "a-key-that-nobody-may-see"
ACCOUNT = 123


class Gateway:
    """A practice gateway process in a directory of its own.

    :param directory: holds its state and its log.
    :param arguments: further command-line arguments.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._directory = directory
        self._arguments = arguments
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start the process, on the same port as before."""
        log_path = self._directory / "log"
        with log_path.open("ab") as log:
            # Before the process can write.
            starts = self.log.count("/hubs/market")
            self.process = subprocess.Popen(
                practice_command("--port", str(self.port), "--state", "state", *self._arguments),
                cwd=self._directory,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(
            lambda: self.log.count("/hubs/market") > starts or self.process.poll() is not None
        )
        assert self.process.poll() is None, self.log
        self.port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", self.log)[-1])

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)


def practice_command(*arguments: str) -> list[str]:
    """Return the command that starts a practice gateway with the twistd beside this Python."""
    twistd = Path(sys.executable).with_name("twistd")
    return [str(twistd), "-n", "--pidfile=", "practice-gateway", *arguments]


class Broker:
    """A logged-in client of a gateway's REST API."""

    def __init__(self, port: int, api_key: str = KEY) -> None:
        self._port = port
        self.token = ""
        self.token = self.ask("Auth/loginKey", userName="practice", apiKey=api_key)["token"]

    def ask(self, path: str, **fields: Any) -> dict[str, Any]:
        """Return the reply to a request; it must succeed."""
        reply = self.reply(path, **fields)
        assert reply.get("success"), reply
        return reply

    def reply(self, path: str, **fields: Any) -> dict[str, Any]:
        """Return the reply to a request, also one that says failure."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_SECONDS)
        try:
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            connection.request("POST", f"/api/{path}", json.dumps(fields), headers)
            reply: dict[str, Any] = json.load(connection.getresponse())
        finally:
            connection.close()
        return reply

    def contract(self, ticker: str) -> str:
        """Return the id of a contract."""
        found = self.ask("Contract/search", searchText=ticker, live=False)["contracts"]
        return str(found[0]["id"])

    def trade(self, account: int, contract: str, side: int, size: int = 1) -> int:
        """Place a market order; return its id."""
        order = {"accountId": account, "contractId": contract, "type": 2}
        return int(self.ask("Order/place", **order, side=side, size=size)["orderId"])

    def held(self, account: int) -> dict[str, int]:
        """Return an account's sizes by contract id."""
        positions = self.ask("Position/searchOpen", accountId=account)["positions"]
        return {held["contractId"]: held["size"] for held in positions}


def key_file(directory: Path, key: str = OWN_KEY, mode: int = 0o600) -> None:
    """Write the file of the API key."""
    path = directory / "key"
    path.write_text(f"{key}\n")
    path.chmod(mode)


def config(directory: Path, url: str, rules: str = "") -> str:
    """Write a configuration of riskd for the gateway at ``url``; return its path."""
    path = directory / "riskd.toml"
    path.write_text(
        f"""
        {rules}
        [gateway]
        kind = "projectx"
        user_name = "practice"
        key_file = "key"
        rest_url = "{url}"
        user_hub_url = "{url}/hubs/user"
        market_hub_url = "{url}/hubs/market"
        [[accounts]]
        id = {ACCOUNT}
        watch = ["MNQ"]
        """
    )
    return os.fspath(path)
