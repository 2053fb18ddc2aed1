"""``twistd -n riskd`` as a user runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import websocket

from tests.integration.event_stream import EventStream
from tests.integration.programs import run
from tests.support.asyncapi import errors_of_message
from tests.support.twistd import Twistd, twistd_command
from tests.support.waiting import DEADLINE_SECONDS, wait_until
from tests.support.websocket_frames import handshake

Start = Callable[..., Twistd]

PROTOCOL = Path(__file__).parent.parent.parent / "docs" / "protocol.md"


def connect(daemon: Twistd, **options: Any) -> websocket.WebSocket:
    return websocket.create_connection(
        f"ws://localhost:{daemon.port}", timeout=DEADLINE_SECONDS, **options
    )


def documented_fields() -> dict[str, dict[str, str]]:
    """Return each event's fields and types from the tables of the protocol's page."""
    fields = {}
    for section in PROTOCOL.read_text(encoding="utf-8").split("\n### ")[1:]:
        name = section.split("`")[1]
        rows = re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section, re.MULTILINE)
        # The actions have a table of their own, which lists no fields.
        fields[name] = {field: kind for field, kind in rows if field.islower() or kind in CHECKS}
    return fields


TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
CHECKS: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: type(value) is int,
    "float": lambda value: type(value) in (int, float),
    "float or null": lambda value: value is None or type(value) in (int, float),
    "string": lambda value: isinstance(value, str),
    "string (ISO 8601)": lambda value: TIMESTAMP.fullmatch(value) is not None,
    "bool": lambda value: type(value) is bool,
    "object": lambda value: isinstance(value, dict),
}


@pytest.fixture(scope="module")
def daemon(shared_twistd: Start, tmp_path_factory: pytest.TempPathFactory) -> Twistd:
    """Start a daemon for the tests that do not end it."""
    state = tmp_path_factory.mktemp("state")
    arguments = ("--port", "0", "--metrics-port", "0", "--state", str(state))
    return shared_twistd(*arguments, "--practice-seed", "27")


@pytest.fixture(scope="module")
def messages(daemon: Twistd) -> list[str]:
    """Return the stream up to where both accounts have had a quote, an order and a position."""
    stream = EventStream(daemon.port)
    seen: dict[int, set[str]] = {123: set(), 456: set()}
    wanted = {"MarketQuote", "GatewayUserOrder", "GatewayUserPosition"}

    def is_last(message: dict[str, Any]) -> bool:
        seen.setdefault(message["account_id"], set()).add(message["type"])
        return all(wanted <= seen[account] for account in (123, 456))

    stream.next_message(is_last)
    stream.close()
    return stream.texts


def test_a_capture_matches_the_protocols_tables(messages: list[str]) -> None:
    """Each message of a capture has the fields and types of the protocol's tables."""
    fields = documented_fields()
    assert len(fields) == 9
    for text in messages:
        assert len(text.encode()) < 1024
        message = json.loads(text)
        assert (
            text == json.dumps(message, separators=(",", ":"), ensure_ascii=False) or "." in text
        )
        assert list(message) == ["type", "account_id", "data"]
        documented = fields[message["type"]]
        assert list(message["data"]) == list(documented)
        for name, value in message["data"].items():
            assert CHECKS[documented[name]](value), (message["type"], name, value)


def test_a_capture_matches_asyncapi_yaml(messages: list[str]) -> None:
    assert [error for text in messages for error in errors_of_message(text)] == []


def test_the_log_names_both_listeners_and_the_practice_gateway(daemon: Twistd) -> None:
    assert f"listening on ws://127.0.0.1:{daemon.port}" in daemon.log
    assert "PRACTICE" in daemon.log
    if socket.has_ipv6:
        assert f"listening on ws://[::1]:{daemon.port}" in daemon.log


def test_metrics_are_served(daemon: Twistd) -> None:
    stream = connect(daemon)
    (port,) = re.findall(r"metrics at http://127\.0\.0\.1:(\d+)/metrics", daemon.log)
    # Clients of other tests may still be disconnecting.
    wait_until(lambda: "riskd_clients 1.0" in page_at(int(port)))
    lines = page_at(int(port))
    assert "riskd_gateway_in_step 1.0" in lines
    wait_until(lambda: "riskd_reactor_lag_seconds_count 0.0" not in page_at(int(port)))
    stream.shutdown()


def page_at(port: int) -> list[str]:
    """Return the lines of the metrics page."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)) as asked:
        asked.request("GET", "/metrics")
        return asked.getresponse().read().decode().splitlines()


def test_the_two_accounts_trade_different_contracts(messages: list[str]) -> None:
    quoted: dict[int, set[str]] = {123: set(), 456: set()}
    for message in map(json.loads, messages):
        if message["type"] == "MarketQuote":
            quoted[message["account_id"]].add(message["data"]["contractId"])
    assert min(len(contracts) for contracts in quoted.values()) >= 3
    assert not quoted[123] & quoted[456]


def test_ctrl_c_stops_the_daemon_cleanly(twistd: Start) -> None:
    daemon = twistd("--port", "0")
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait() == 0
    assert "Traceback" not in daemon.log


def test_sigterm_stops_the_daemon_cleanly(twistd: Start) -> None:
    """Every client gets STOPPING and 1001, even beside one that never answers; exit status 0."""
    daemon = twistd("--port", "0")
    streams = [connect(daemon) for _ in range(3)]
    silent = connect(daemon)
    begun = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    for stream in streams:
        last = None
        while True:
            opcode, data = stream.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                break
            last = json.loads(data)
        assert last is not None
        assert (last["type"], last["data"]["status"]) == ("daemon_status", "STOPPING")
        assert data[:2] == (1001).to_bytes(2, "big")
        stream.shutdown()
    assert daemon.wait() == 0
    assert time.monotonic() - begun < 3
    silent.shutdown()
    assert "Traceback" not in daemon.log


def check_that_starts_are_refused(*starts: tuple[list[str], str]) -> None:
    """Start daemons that must refuse to start, all at once; each says why in one line."""
    processes = [
        subprocess.Popen(
            twistd_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for arguments, _ in starts
    ]
    for process, (arguments, words) in zip(processes, starts, strict=True):
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode != 0, arguments
        assert output == ""
        (line,) = errors.splitlines()
        assert words in line


def test_a_start_that_is_refused_is_one_line(daemon: Twistd) -> None:
    check_that_starts_are_refused(
        (["--port", str(daemon.port)], f"port {daemon.port} on 127.0.0.1 is already in use"),
        (["--interface", "0.0.0.0"], "not a loopback address"),
        (["--port", "http"], "'http' is not a number"),
        (["--nonsense"], "nonsense"),
    )


def test_another_loopback_address_is_served(tmp_path: Path) -> None:
    process = subprocess.Popen(
        twistd_command("--port", "0", "--interface", "127.0.0.2"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    line = next(line for line in process.stdout if "listening on" in line)
    port = re.findall(r"ws://127\.0\.0\.2:(\d+)", line)[0]
    stream = websocket.create_connection(f"ws://127.0.0.2:{port}", timeout=DEADLINE_SECONDS)
    assert json.loads(stream.recv())
    stream.shutdown()
    process.terminate()
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0


def test_the_log_can_be_json(tmp_path: Path) -> None:
    with subprocess.Popen(
        twistd_command("--port", "0", "--log-format", "json"), cwd=tmp_path, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines = []
        while not any("RUNNING" in json.dumps(line) for line in lines):
            lines.append(json.loads(process.stdout.readline()))
        process.terminate()
    assert {"log_time", "log_level", "log_namespace"} <= set(lines[-1])


def answer_to(daemon: Twistd, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", daemon.port), DEADLINE_SECONDS) as peer:
        peer.sendall(request)
        return peer.recv(4096)


def test_foreign_pages_and_garbage_are_refused_and_no_client_notices(daemon: Twistd) -> None:
    honest = connect(daemon)
    host = f"localhost:{daemon.port}"
    for request, status in (
        (handshake(host, headers=("Origin: http://evil.example",)), b"403"),
        (handshake(host, headers=("Origin: null",)), b"403"),
        (handshake("evil.example"), b"403"),
        (handshake(host, "/events"), b"404"),
        (f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), b"426"),
        (b"\x00" + os.urandom(10_000), b"400"),
    ):
        answer = answer_to(daemon, request)
        assert answer.split(b" ")[1] == status, answer
    for payload, opcode, code in (
        ("hello", websocket.ABNF.OPCODE_TEXT, 1008),
        (b"\x00\x01", websocket.ABNF.OPCODE_BINARY, 1008),
        (b"x" * 1_000_000, websocket.ABNF.OPCODE_BINARY, 1009),
    ):
        rude = connect(daemon)
        try:
            rude.send(payload, opcode)
            frames = iter(rude.recv_frame, None)
            closing = next(frame for frame in frames if frame.opcode == 8)
            assert closing.data[:2] == code.to_bytes(2, "big")
        except (ConnectionResetError, BrokenPipeError):
            assert code == 1009
        rude.shutdown()
    refusals = (
        "foreign Origin",
        "foreign Host",
        "there is nothing but /",
        "not a WebSocket handshake",
        "one-way",
        "code 1009",
    )
    wait_until(lambda: all(words in daemon.log for words in refusals))
    assert json.loads(honest.recv())
    honest.shutdown()
    assert "Traceback" not in daemon.log


def has_node_websocket() -> bool:
    node = shutil.which("node")
    return (
        bool(node)
        and not subprocess.run(
            [
                node,
                "--experimental-websocket",
                "-e",
                "new WebSocket('ws://localhost:1').onerror=()=>{}",
            ],
            capture_output=True,
            check=False,
        ).returncode
    )


@pytest.mark.skipif(not has_node_websocket(), reason="no Node with a built-in WebSocket here")
def test_a_node_client_receives_the_stream(daemon: Twistd) -> None:
    program = f"""
        const stream = new WebSocket("ws://localhost:{daemon.port}");
        stream.onmessage = message => {{ console.log(message.data); stream.close(); }};
    """
    result = run("node", "--experimental-websocket", "-e", program)
    # Mostly a quote; it may be any event.
    assert errors_of_message(result.stdout.splitlines()[0]) == []
