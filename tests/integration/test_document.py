"""The protocol document's own tests, against a real daemon on a real port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest_twisted
import websocket
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from riskd.testing import DaemonHarness
from tests.support.waiting import until, wait_until
from trader.client import DaemonClient

Received = list[tuple[str, dict[str, Any]]]


class Recorder:
    """A client of account 123 that keeps its callbacks."""

    def __init__(self, daemon: DaemonHarness) -> None:
        self.calls: Received = []
        self.client = DaemonClient(
            account_id=123,
            event_callback=lambda event_type, data: self.calls.append((event_type, data)),
            url=f"ws://localhost:{daemon.port}",
        )
        self.client.connect()

    @property
    def events(self) -> Received:
        return [call for call in self.calls if call[0] != "connection_status"]

    def disconnect(self) -> Deferred[None]:
        return self.client.disconnect()


@pytest_twisted.ensureDeferred
async def test_connection(shared_harness: DaemonHarness) -> None:
    """Test 1: a client connects."""
    recorder = Recorder(shared_harness)
    await until(lambda: recorder.client.connected)
    await recorder.disconnect()


@pytest_twisted.ensureDeferred
async def test_event_reception(shared_harness: DaemonHarness) -> None:
    """Test 2: a client receives an event."""
    recorder = Recorder(shared_harness)
    await until(lambda: recorder.client.connected)
    shared_harness.trigger_test_event(
        "GatewayUserTrade", {"accountId": 123, "profitAndLoss": -45.50}
    )
    await until(lambda: recorder.events)
    assert len(recorder.events) == 1
    assert recorder.events[0][0] == "GatewayUserTrade"
    assert recorder.events[0][1]["profitAndLoss"] == -45.50
    await recorder.disconnect()


@pytest_twisted.ensureDeferred
async def test_account_filtering(shared_harness: DaemonHarness) -> None:
    """Test 3: a client does not pass on events of another account."""
    recorder = Recorder(shared_harness)
    await until(lambda: recorder.client.connected)
    shared_harness.trigger_test_event(
        "GatewayUserTrade", {"accountId": 456, "profitAndLoss": -100}
    )
    shared_harness.trigger_test_event("daemon_status", {})
    await until(lambda: recorder.events)
    assert [kind for kind, _ in recorder.events] == ["daemon_status"]
    await recorder.disconnect()


@pytest_twisted.ensureDeferred
async def test_reconnection(shared_harness: DaemonHarness) -> None:
    """Test 4: a client reconnects by itself."""
    recorder = Recorder(shared_harness)
    await until(lambda: recorder.client.connected)
    await deferToThread(shared_harness.stop)
    await until(lambda: not recorder.client.connected)
    await deferToThread(shared_harness.start)
    await until(lambda: recorder.client.connected)
    await recorder.disconnect()


class DocumentedClient:
    """The document's recommended client: websocket-client, on a thread."""

    def __init__(
        self, port: int, account_id: int, event_callback: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self.account_id = account_id
        self.event_callback = event_callback
        self.connected = False
        self.ws = websocket.WebSocketApp(
            f"ws://localhost:{port}",
            on_message=self._on_message,
            on_error=self._on_error,
            on_close=self._on_close,
            on_open=self._on_open,
        )
        self.thread = threading.Thread(target=self.ws.run_forever, daemon=True)
        self.thread.start()

    def _on_open(self, ws: websocket.WebSocketApp) -> None:
        self.connected = True
        self.socket = ws.sock
        self.event_callback("connection_status", {"connected": True})

    def _on_message(self, ws: object, message: str) -> None:
        event = json.loads(message)
        event_account_id = event.get("account_id")
        if event_account_id is None or event_account_id == self.account_id:
            self.event_callback(event["type"], event["data"])

    def _on_error(self, ws: object, error: object) -> None:
        self.connected = False

    def _on_close(self, ws: object, close_status_code: int, close_msg: str) -> None:
        self.connected = False
        self.event_callback("connection_status", {"connected": False, "code": close_status_code})


def test_the_documents_client_receives_the_stream(harness: DaemonHarness) -> None:
    """Another library's client receives the same stream, and the daemon's close code."""
    calls: Received = []
    client = DocumentedClient(
        harness.port, 123, lambda event_type, data: calls.append((event_type, data))
    )
    wait_until(lambda: client.connected)
    harness.trigger_test_event("GatewayUserTrade", {"accountId": 123, "profitAndLoss": -45.50})
    harness.trigger_test_event("GatewayUserTrade", {"accountId": 456})
    harness.trigger_test_event("daemon_status", {})
    wait_until(lambda: len(calls) == 3)
    assert [kind for kind, _ in calls] == [
        "connection_status",
        "GatewayUserTrade",
        "daemon_status",
    ]
    assert calls[1][1]["profitAndLoss"] == -45.50
    harness.stop()
    wait_until(lambda: not client.connected)
    client.thread.join()
    client.socket.shutdown()  # the library leaves closing to the garbage collector
    assert calls[-2][1]["status"] == "STOPPING"
    assert calls[-1] == ("connection_status", {"connected": False, "code": 1001})
