"""The practice gateway's server, with other people's clients and as a user runs it."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import websocket
from twisted.internet import reactor

from riskd.app.launch import utc_now
from riskd.host.bounded_site import REQUEST_SECONDS
from riskd.practice.gateway import PracticeGateway
from riskd.practice.server.hub_sockets import MAX_UNSENT_BYTES
from riskd.practice.server.site import DEFAULT_API_KEY, DEFAULT_USER_NAME, practice_site
from riskd.practice.server.tokens import Tokens
from tests.integration.event_stream import EventStream
from tests.integration.practice_gateway import Broker, Gateway, practice_command
from tests.support.required import missing
from tests.support.twistd import Twistd
from tests.support.waiting import DEADLINE_SECONDS, until, wait_until
from tests.support.websocket_frames import TEXT, client_frame, handshake

ACCOUNT = 123
SCRIPTS = Path(__file__).parent / "signalr"
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "practice-gateway.md"
EVENTS = {
    "GatewayUserAccount",
    "GatewayUserOrder",
    "GatewayUserPosition",
    "GatewayUserTrade",
    "GatewayQuote",
    "GatewayTrade",
    "GatewayDepth",
}

Begin = Callable[..., Gateway]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Begin]:
    """Return a function that starts a practice gateway; it is killed after the test."""
    started: list[Gateway] = []

    def begin(*arguments: str) -> Gateway:
        own = tmp_path / f"gateway-{len(started)}"
        own.mkdir()
        started.append(Gateway(own, *arguments))
        return started[-1]

    yield begin
    for each in started:
        each.process.kill()
        each.process.wait()


# The program.


def test_positions_and_tokens_survive_a_restart(gateway: Begin) -> None:
    """Clients that keep their token on disk do not log in again."""
    place = gateway("--quiet")
    broker = Broker(place.port)
    contract = broker.contract("MNQ")
    broker.trade(ACCOUNT, contract, side=0, size=2)
    assert place.end() == 0
    place.start()
    assert broker.held(ACCOUNT) == {contract: 2}
    assert "Traceback" not in place.log


def test_with_quiet_the_market_moves_and_no_practice_trader_trades(gateway: Begin) -> None:
    broker = Broker(gateway("--quiet", "--practice-seed", "7").port)
    contract = broker.contract("MES")
    first = broker.trade(ACCOUNT, contract, side=0)
    prices = set()

    def has_moved() -> bool:
        bars = broker.ask(
            "History/retrieveBars",
            contractId=contract,
            live=False,
            startTime="2020-01-01T00:00:00Z",
            endTime="2100-01-01T00:00:00Z",
            unit=1,
            unitNumber=1,
            limit=1,
            includePartialBar=True,
        )["bars"]
        prices.update(bar["c"] for bar in bars)
        return len(prices) > 1

    wait_until(has_moved)
    orders = broker.ask("Order/search", accountId=ACCOUNT, startTimestamp="2020-01-01T00:00:00Z")
    assert [order["id"] for order in orders["orders"]] == [first]


def test_the_accounts_of_a_configuration_are_traded(gateway: Begin, tmp_path: Path) -> None:
    config = tmp_path / "riskd.toml"
    config.write_text('[[accounts]]\nid = 7\nwatch = ["MNQ"]\n')
    place = gateway("--config", str(config))
    accounts = Broker(place.port).ask("Account/search", onlyActiveAccounts=True)["accounts"]
    assert [account["id"] for account in accounts] == [7]


def test_only_the_key_from_the_file_is_accepted(gateway: Begin, tmp_path: Path) -> None:
    """Neither the key nor a token is ever in the log."""
    key_file = tmp_path / "key"
    key_file.write_text("a-key-of-its-own\n")
    key_file.chmod(0o600)
    place = gateway("--key-file", str(key_file))
    broker = Broker(place.port, "a-key-of-its-own")
    refused = broker.reply("Auth/loginKey", userName="practice", apiKey="practice")
    assert (refused["errorCode"], refused["token"]) == (3, None)
    hub = websocket.create_connection(
        f"ws://127.0.0.1:{place.port}/hubs/user?access_token={broker.token}",
        timeout=DEADLINE_SECONDS,
    )
    hub.send('{"protocol":"json","version":1}\x1e')
    assert hub.recv() == "{}\x1e"
    hub.close()
    wait_until(lambda: "left the user hub" in place.log)
    assert broker.token not in place.log
    assert "a-key-of-its-own" not in place.log


def test_half_sent_bodies_keep_no_client_out(gateway: Begin) -> None:
    place = gateway("--quiet")
    # As few as a macOS shell allows; each connection takes one.
    resource.prlimit(place.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    half = b"POST /api/Auth/loginKey HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nhalf"
    with ExitStack() as held:
        for _ in range(300):
            waiting = held.enter_context(socket.create_connection(("127.0.0.1", place.port)))
            waiting.sendall(half)
        begun = time.monotonic()
        assert Broker(place.port).contract("MNQ")
        assert time.monotonic() - begun < REQUEST_SECONDS
    assert "Traceback" not in place.log


def test_a_start_that_is_refused_is_one_line(gateway: Begin, tmp_path: Path) -> None:
    place = gateway("--quiet")
    open_key = tmp_path / "open"
    open_key.write_text("key\n")
    open_key.chmod(0o644)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[[accounts]]\n")
    state = tmp_path / "gateway-0" / "state"
    starts = (
        (("--port", str(place.port)), "is already in use"),
        (("--port", "0", "--state", str(state)), "uses the state directory"),
        (("--key-file", str(open_key)), "expected 0600: chmod 600"),
        (("--config", str(wrong)), "accounts[0].id"),
        (("--interface", "0.0.0.0"), "not a loopback address"),
        (("--nonsense",), "nonsense"),
    )
    processes = [
        subprocess.Popen(
            practice_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for arguments, _words in starts
    ]
    for process, (_arguments, words) in zip(processes, starts, strict=True):
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
        (line,) = errors.splitlines()
        assert line.startswith("practice-gateway: "), line
        assert words in line
        assert (process.returncode, output) == (1, "")


def test_riskd_guards_what_is_traded_through_its_practice_port(
    twistd: Callable[..., Twistd], tmp_path: Path
) -> None:
    """The practice port trades the accounts that riskd guards."""
    config = tmp_path / "riskd.toml"
    config.write_text(
        "[rules.max_contracts]\nlimit = 1\nreduce_to_limit = true\n[[accounts]]\nid = 7\n"
    )
    daemon = twistd("--port", "0", "--practice-port", "0", "--config", str(config))
    port = int(daemon.log.rpartition("http://127.0.0.1:")[2].split("/")[0].split(":")[0])
    stream = EventStream(daemon.port)
    broker = Broker(port)
    contract = broker.contract("MNQ")
    broker.trade(7, contract, side=0, size=3)
    wait_until(lambda: broker.held(7) == {contract: 1})
    stream.next("enforcement_action")
    told = {json.loads(text)["type"] for text in stream.texts}
    assert {"GatewayUserOrder", "GatewayUserPosition"} <= told
    stream.close()


@pytest_twisted.ensureDeferred
async def test_a_client_that_reads_nothing_is_disconnected() -> None:
    """Beyond the kernel's buffers it costs at most a megabyte."""
    gateway = PracticeGateway(reactor, utc_now, {ACCOUNT: ()}, is_open=False)
    site = practice_site(reactor, gateway)
    gateway.start()
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    (hub,) = (each for each in site._hubs if each.name == "market")
    contract = gateway.exchange.store.contracts()[0]["id"]
    token = Tokens(DEFAULT_USER_NAME, DEFAULT_API_KEY, utc_now).issue()
    number = port.getHost().port
    with socket.create_connection(("127.0.0.1", number)) as stalled:
        stalled.sendall(handshake(f"localhost:{number}", f"/hubs/market?access_token={token}"))
        await until(lambda: hub.clients)
        stalled.sendall(client_frame(TEXT, b'{"protocol":"json","version":1}\x1e'))
        for subject in ("Quotes", "Trades", "MarketDepth"):
            call = {"type": 1, "target": f"SubscribeContract{subject}", "arguments": [contract]}
            stalled.sendall(client_frame(TEXT, json.dumps(call).encode() + b"\x1e"))
        await until(lambda: len(site._feed._subscribers) == 3)
        (client,) = hub.clients
        most = 0

        def is_cut() -> bool:
            nonlocal most
            for _ in range(500):
                gateway.move_market(contract, Decimal(20000))
                waiting = len(client.transport.dataBuffer) + client.transport._tempDataLen
                most = max(most, waiting)
            return not hub.clients

        await until(is_cut)
    assert MAX_UNSENT_BYTES / 2 < most < MAX_UNSENT_BYTES * 1.2
    await port.stopListening()
    await gateway.stop()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_commands_of_the_practice_gateways_page_work(gateway: Begin) -> None:
    place = gateway("--quiet")
    section = DOCUMENT.read_text(encoding="utf-8").split("\n## ")[2]
    blocks = [block for block in section.split("```")[1::2] if "twistd" not in block]
    script = "".join(blocks).replace("localhost:5000", f"127.0.0.1:{place.port}")
    done = subprocess.run(
        ["bash", "-euc", script],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    accounts, order, positions = (json.loads(line) for line in done.stdout.splitlines())
    assert (len(accounts["accounts"]), order["success"]) == (2, True)
    assert [held["size"] for held in positions["positions"]] == [5]


# The official client.


@pytest.fixture(scope="module")
def signalr_client() -> Path:
    """Return the client's script, beside the packages that it needs."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing("there is no Node with npm here", "NODE")
    if (SCRIPTS / "node_modules").is_dir():
        return SCRIPTS / "client.mjs"
    packages = b"".join(
        (SCRIPTS / name).read_bytes() for name in ("package.json", "package-lock.json")
    )
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cached = home / "riskd-tests" / hashlib.sha256(packages).hexdigest()[:16]
    if not cached.is_dir():
        install(str(npm), cached)
    shutil.copy(SCRIPTS / "client.mjs", cached / f"client-{os.getpid()}.mjs")
    return cached / f"client-{os.getpid()}.mjs"


def install(npm: str, cached: Path) -> None:
    """Install the client's packages in a cache, safely beside other test processes."""
    own = cached.with_name(f"{cached.name}.{os.getpid()}")
    own.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SCRIPTS / name, own)
    done = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"],
        cwd=own,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        shutil.rmtree(own)
        missing(f"npm ci failed: {done.stderr}", "NODE")
    try:
        own.rename(cached)
    except OSError:
        shutil.rmtree(own)


class SignalRClient:
    """The official client in a process; its output is a list of objects."""

    def __init__(self, script: Path, directory: Path, *arguments: str) -> None:
        self._said = directory / "said"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                ["node", str(script), *arguments],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> list[dict[str, Any]]:
        whole, _newline, _begun = self._said.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def wait_for(self, wanted: Callable[[list[dict[str, Any]]], bool]) -> None:
        wait_until(lambda: wanted(self.said) or self.process.poll() is not None)
        assert self.process.poll() is None, self._said.read_text()

    def stop(self) -> int:
        self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode


def subscribed(times: int) -> Callable[[list[dict[str, Any]]], bool]:
    """Return whether both hubs were subscribed so often."""
    return lambda said: sum(line.get("state") == "subscribed" for line in said) == 2 * times


def received(said: list[dict[str, Any]]) -> set[str]:
    """Return the events received since the hubs were last subscribed."""
    last = max(i for i, line in enumerate(said) if line.get("state") == "subscribed")
    return {line["target"] for line in said[last:] if "target" in line}


@pytest.mark.parametrize(
    ("mode", "end"), [("negotiate", signal.SIGTERM), ("skip", signal.SIGKILL)]
)
def test_the_official_client_receives_all_events_and_reconnects(
    gateway: Begin, signalr_client: Path, tmp_path: Path, mode: str, end: signal.Signals
) -> None:
    """With and without negotiation; after a close message and after a dropped connection."""
    place = gateway("--quiet")
    broker = Broker(place.port)
    contract = broker.contract("MNQ")
    client = SignalRClient(
        signalr_client, tmp_path, place.url, broker.token, str(ACCOUNT), contract, mode
    )
    try:
        client.wait_for(subscribed(1))
        answers = [line for line in client.said if "method" in line]
        assert [line["result"] for line in answers if "result" in line] == [0] * 7
        assert [line["error"] for line in answers if "error" in line] == [
            "Unknown hub method 'SubscribeNothing'"
        ] * 2
        broker.trade(ACCOUNT, contract, side=0)
        client.wait_for(lambda said: received(said) == EVENTS)
        check_events(client.said, contract)
        place.end(end)
        client.wait_for(lambda said: any(line.get("state") == "reconnecting" for line in said))
        place.start()
        client.wait_for(subscribed(2))
        broker.trade(ACCOUNT, contract, side=1)
        client.wait_for(lambda said: received(said) == EVENTS)
        broker.ask("Practice/logout")
        client.wait_for(
            lambda said: (
                {line["hub"] for line in said if line.get("target") == "GatewayLogout"}
                == {"user", "market"}
            )
        )
        assert client.stop() == 0
    finally:
        client.process.kill()
        client.process.wait()


def check_events(said: list[dict[str, Any]], contract: str) -> None:
    """Check the events of a purchase."""
    events: dict[str, list[list[Any]]] = {}
    for line in said:
        if "target" in line:
            events.setdefault(line["target"], []).append(line["arguments"])
    orders = [wrapped["data"] for (wrapped,) in events["GatewayUserOrder"]]
    assert [order["status"] for order in orders] == [1, 2]
    assert [wrapped["action"] for (wrapped,) in events["GatewayUserOrder"]] == [0, 1]
    [[trade]] = events["GatewayUserTrade"]
    assert "profitAndLoss" not in trade["data"]
    [[position]] = events["GatewayUserPosition"]
    assert (position["action"], position["data"]["size"], position["data"]["type"]) == (0, 1, 1)
    assert len(events["GatewayUserAccount"]) in (2, 3, 4)
    first_quote = events["GatewayQuote"][0]
    assert first_quote[0] == contract
    assert {"symbol", "bestBid", "bestAsk", "lastPrice"} <= set(first_quote[1])
    assert all(key == contract for key, _trades in events["GatewayTrade"])
